/* The public interface: programs. A compile makes an image in a job whose memory is given back; the
 * program is then loaded from the image, as it is when the image comes from the cache. */
#include "jit/api.h"

#include <stdio.h>
#include <string.h>

#include "jit/api_contents.h"
#include "jit/cache.h"
#include "jit/image.h"
#include "jit/program_key.h"

/* --- options --- */

typedef struct Compilation {
    qn_program *program;
    qn_compile_options options;
    const Caps *caps;
    ImportOptions import;
    ImportProblems problems;
    PlanBytes image;
    Compiled compiled;
} Compilation;

static const Caps *find_target(Cx *cx, qn_string device)
{
    const char *name = api_text(cx, device);
    const Caps *caps = !*name || strcmp(name, "cpu") == 0 ? target_host_cpu() : target_find(name);
    if (caps && caps->kind == TK_cpu)
        return caps;
    if (!*name || strcmp(name, "cpu") == 0)
        cx_fail(cx, ST_unsupported, "this processor is below every supported level");
    else
        cx_fail(cx, caps ? ST_unsupported : ST_missing, "no device '%s' in this version", name);
    return NULL;
}

/* Names of the symbols of a model's input dims, each once. */
static uint32_t list_symbols(Cx *cx, const qn_model *model, const char ***names)
{
    Map seen;
    map_init(&seen, cx->arena);
    for (uint32_t i = 0; i < model->input_count; i++) {
        const qn_tensor_info *info = &model->inputs[i].info;
        for (int d = 0; d < info->rank; d++) {
            const char *name = info->dims[d].symbol.data;
            if (info->dims[d].value >= 0)
                continue;
            if (!*name)
                name = arena_printf(cx->arena, "%s_%d", info->name.data, d);
            map_set_text(&seen, name, &seen);
        }
    }
    *names = NEW_ARRAY(cx->arena, const char *, seen.count);
    for (uint32_t i = 0; i < seen.count; i++)
        (*names)[i] = seen.entries[i].key;
    return seen.count;
}

static void set_dim(Cx *cx, ImportDim *dims, uint32_t count, const qn_dim_value *given)
{
    const char *name = api_text(cx, given->symbol);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(dims[i].name, name) != 0)
            continue;
        if (given->min > 0)
            dims[i].lo = given->min;
        if (given->max > 0)
            dims[i].hi = given->max;
        if (given->value > 0)
            dims[i].lo = dims[i].hi = given->value;
        if (dims[i].lo > dims[i].hi)
            cx_fail(cx, ST_bad_argument, "dim '%s': the bounds %lld..%lld hold no number", name,
                    (long long)dims[i].lo, (long long)dims[i].hi);
        return;
    }
    Text known;
    text_init(&known, cx->arena);
    text_put(&known, "", 0);
    for (uint32_t i = 0; i < count && i < 10; i++)
        text_add(&known, "%s%s", i ? ", " : "; it has ", dims[i].name);
    cx_fail(cx, ST_bad_argument, "no input of the model has the dim '%s'%s", name,
            known.length ? known.data : "");
}

static void set_dims(Cx *cx, Compilation *c)
{
    const char **names;
    uint32_t count = list_symbols(cx, c->program->model, &names);
    ImportDim *dims = NEW_ARRAY(cx->arena, ImportDim, count);
    int bits = count <= 1 ? 20 : count <= 3 ? 16 : 12;
    for (uint32_t i = 0; i < count; i++)
        dims[i] = (ImportDim){names[i], 1, INT64_C(1) << bits, 1};
    for (size_t i = 0; i < c->options.dim_count; i++)
        set_dim(cx, dims, count, &c->options.dims[i]);
    c->import.dims = dims;
    c->import.dim_count = count;
}

static void set_shape(Cx *cx, const qn_model *model, size_t position, const qn_shape *given,
                      ImportShape *shape)
{
    const char *name = api_text(cx, given->name);
    if (!*name && position < model->input_count)
        name = model->inputs[position].info.name.data;
    bool known = false;
    for (uint32_t i = 0; i < model->input_count; i++)
        known |= strcmp(model->inputs[i].info.name.data, name) == 0;
    if (!known)
        cx_fail(cx, ST_bad_argument, "the model has no input '%s'", name);
    else if (given->rank < 0 || given->rank > QN_MAX_RANK || (given->rank && !given->dims))
        cx_fail(cx, ST_bad_argument, "the shape of input '%s' has rank %d", name, given->rank);
    if (cx_failed(cx))
        return;
    *shape = (ImportShape){.input = name, .rank = given->rank};
    for (int d = 0; d < given->rank; d++)
        shape->dims[d] = given->dims[d] < 0 ? -1 : given->dims[d];
}

static void set_shapes(Cx *cx, Compilation *c)
{
    ImportShape *shapes = NEW_ARRAY(cx->arena, ImportShape, c->options.shape_count);
    for (size_t i = 0; i < c->options.shape_count; i++)
        set_shape(cx, c->program->model, i, &c->options.shapes[i], &shapes[i]);
    c->import.shapes = shapes;
    c->import.shape_count = (uint32_t)c->options.shape_count;
}

/* --- compiling --- */

static bool report_progress(void *user, int64_t done, int64_t total, const char *what)
{
    const Compilation *c = user;
    return c->options.progress(c->options.progress_user, done, total, what) != 0;
}

/* From the model to an image. */
static void build_image(Cx *cx, Compilation *c)
{
    qn_program *p = c->program;
    Graph *graph = import_model(cx, p->model->onnx, &c->import, &c->problems);
    if (cx_failed(cx))
        return;
    CompileOptions options = {.caps = c->caps,
                              .llvm = api_llvm(p->context, cx),
                              .file_count = p->model->file_count,
                              .files = p->model->files,
                              .threads = qn_context_threads(p->context),
                              .keep = c->options.keep_text,
                              .progress = c->options.progress ? report_progress : NULL,
                              .progress_user = c};
    if (options.llvm && compile_graph(cx, graph, &options, &c->compiled))
        c->image = image_write(cx, &c->compiled);
}

static void warn_once(qn_context *context, const char *why)
{
    char text[600];
    if (!context->log || atomic_exchange(&context->warned, true))
        return;
    snprintf(text, sizeof text, "compiled programs are not kept: %s", why);
    context->log(context->log_user, QN_LOG_WARNING, text);
}

typedef struct Check {
    PlanBytes bytes;
    Image *image;
} Check;

/* Everything but the weights: form, checksums, the rules of plans. */
static void check_image(Cx *cx, void *user)
{
    Check *c = user;
    if (image_read(cx, c->bytes.data, c->bytes.size, c->image))
        plan_read(cx, c->image->plan, c->image->plan_size);
}

/* An image from the cache counts only when it is whole; whether it fits the model is found out by
 * loading it. */
static bool find_image(Cx *cx, Compilation *c, const Cache *cache, Hash128 key)
{
    Cx own;
    Image image;
    if (!cache_get(cx, cache, key, &c->image))
        return false;
    cx_init(&own, &c->program->context->from, 0);
    Check check = {c->image, &image};
    cx_run(&own, check_image, &check);
    bool whole = !cx_failed(&own);
    cx_finish(&own);
    return whole;
}

static void compile_job(Cx *cx, void *user)
{
    Compilation *c = user;
    qn_program *p = c->program;
    Cache cache = {c->options.no_cache ? NULL : p->context->cache_dir, p->context->cache_limit};
    Hash128 key = {0, 0};
    c->caps = find_target(cx, c->options.device);
    set_dims(cx, c);
    set_shapes(cx, c);
    if (!cx_failed(cx))
        api_set_contents(cx, p->model, c->options.contents, c->options.content_count, &c->import);
    if (cx_failed(cx) || !onnx_model_check(cx, p->model->onnx))
        return;
    if (cache.dir) {
        key = program_key(p->model->onnx, p->model->file_count, p->model->files, &c->import,
                          c->caps->name);
        if (!c->options.keep_text && find_image(cx, c, &cache, key)) {
            p->cached = true;
            return;
        }
    }
    build_image(cx, c);
    if (cx_failed(cx) || !cache.dir)
        return;
    const char *why = cache_put(cx, &cache, key, c->image);
    if (why)
        warn_once(p->context, why);
}

/* --- loading --- */

static void set_port(Cx *cx, const Plan *plan, const PlanPort *from, Port *port)
{
    const PlanTensor *t = &plan->tensors[from->tensor];
    bool fixed = true;
    port->dims = NEW_ARRAY(cx->arena, qn_dim, t->rank);
    for (int d = 0; d < t->rank; d++) {
        int64_t value = -1;
        if (!expr_code_valid(t->shape[d], 0) || !expr_code_run(t->shape[d], NULL, &value))
            fixed = false;
        port->dims[d] = (qn_dim){value, api_string(value < 0 ? from->symbols[d] : "")};
    }
    port->info = (qn_tensor_info){api_string(from->name), (qn_dtype)t->dtype, t->rank, port->dims,
                                  fixed ? plan_tensor_bytes(t, NULL) : -1};
}

/* Pointers to the weights in the model's files. */
static const void **find_weights(Cx *cx, const qn_program *p)
{
    const Plan *plan = p->plan;
    const void **weights = NEW_ARRAY(cx->arena, const void *, plan->weight_count);
    for (uint32_t i = 0; i < plan->weight_count; i++) {
        const PlanWeight *w = &plan->weights[i];
        if (w->file == PLAN_INLINE)
            continue;
        if (w->file >= p->model->file_count ||
            (uint64_t)(w->offset + w->bytes) > p->model->files[w->file].size)
            cx_fail(cx, ST_bad_file, "the plan is for another model: weight %u is not in its files",
                    i);
        else
            weights[i] = (const char *)p->model->files[w->file].data + w->offset;
    }
    return weights;
}

static KernelEntry *find_entry(void *user, const char *name)
{
    const qn_program *p = user;
    KernelEntry *entry = NULL;
    for (uint32_t i = 0; i < p->object_count && !entry; i++)
        entry = object_find(p->objects[i], name);
    return entry;
}

static bool load_objects(Cx *cx, qn_program *p, const Image *image)
{
    p->objects = NEW_ARRAY(cx->arena, Object *, image->object_count);
    for (uint32_t i = 0; i < image->object_count; i++) {
        const char *why;
        Object *object = object_load(image->objects[i].data, image->objects[i].size, &why);
        if (!object) {
            cx_fail(cx, ST_bad_file, "machine code: %s", why);
            return false;
        }
        p->objects[p->object_count++] = object;
        p->object_bytes += (int64_t)image->objects[i].size;
    }
    return true;
}

static void load_job(Cx *cx, void *user)
{
    Compilation *c = user;
    qn_program *p = c->program;
    Image image;
    for (int i = 0; i < KEEP_count; i++)
        if (c->compiled.texts[i])
            p->texts[i] = arena_strdup(cx->arena, c->compiled.texts[i]);
    const void *data = arena_copy(cx->arena, c->image.data, c->image.size);
    if (!image_read(cx, data, c->image.size, &image))
        return;
    p->plan = plan_read(cx, image.plan, image.plan_size);
    if (!p->plan || !load_objects(cx, p, &image))
        return;
    p->plan_bytes = (int64_t)image.plan_size;
    p->inputs = NEW_ARRAY(cx->arena, Port, p->plan->input_count);
    p->outputs = NEW_ARRAY(cx->arena, Port, p->plan->output_count);
    for (uint32_t i = 0; i < p->plan->input_count; i++)
        set_port(cx, p->plan, &p->plan->inputs[i], &p->inputs[i]);
    for (uint32_t i = 0; i < p->plan->output_count; i++)
        set_port(cx, p->plan, &p->plan->outputs[i], &p->outputs[i]);
    api_keep_contents(cx, p, &c->import);
    ProgramParts parts = {.plan = p->plan,
                          .weights = find_weights(cx, p),
                          .find = find_entry,
                          .find_user = p,
                          .from = &p->context->from,
                          .executor = p->context->executor};
    if (!cx_failed(cx) && program_create(&parts, &p->program, &p->report) != ST_ok)
        cx_fail(cx, p->report.status, "%s", p->report.text);
}

static void wanted_job(Cx *cx, void *user)
{
    const Compilation *c = user;
    api_keep_wanted(cx, c->program, &c->problems);
}

static void copy_options(Compilation *c, const qn_compile_options *options)
{
    size_t size = options && options->size ? options->size : sizeof c->options;
    if (options)
        memcpy(&c->options, options, size < sizeof c->options ? size : sizeof c->options);
}

qn_status qn_program_compile(qn_model *model, const qn_compile_options *options,
                             qn_program **program)
{
    Compilation c = {0};
    Cx cx;
    if (!program)
        return QN_BAD_ARGUMENT;
    *program = NULL;
    if (!model || !model->onnx)
        return QN_BAD_ARGUMENT;
    qn_program *p = *program = api_alloc(model->context, sizeof *p);
    if (!p)
        return QN_OUT_OF_MEMORY;
    double start = api_now_ms();
    atomic_init(&p->refs, 1);
    p->context = qn_context_retain(model->context);
    p->model = qn_model_retain(model);
    cx_init(&p->cx, &p->context->from, 0);
    c.program = p;
    copy_options(&c, options);
    cx_init(&cx, &p->context->from, 0);
    cx_run(&cx, compile_job, &c);
    qn_status status = api_status(&p->report, &cx);
    if (status == QN_OK) {
        cx_run(&p->cx, load_job, &c);
        status = api_status(&p->report, &p->cx);
    } else if (c.problems.wanted_count) {
        cx_run(&p->cx, wanted_job, &c);
    }
    cx_finish(&cx);
    p->compile_ms = api_now_ms() - start;
    return status;
}

qn_program *qn_program_retain(qn_program *program)
{
    atomic_fetch_add(&program->refs, 1);
    return program;
}

void qn_program_release(qn_program *program)
{
    if (!program || atomic_fetch_sub(&program->refs, 1) != 1)
        return;
    qn_context *context = program->context;
    program_destroy(program->program);
    for (uint32_t i = 0; i < program->object_count; i++)
        object_close(program->objects[i]);
    cx_finish(&program->cx);
    qn_model_release(program->model);
    api_free(context, program, sizeof *program);
    qn_context_release(context);
}

const char *qn_program_message(const qn_program *program)
{
    return program ? program->report.text : status_text(ST_out_of_memory);
}

/* --- asking --- */

qn_status qn_program_input(const qn_program *program, int32_t index, qn_tensor_info *info)
{
    if (!program || !program->program || !info)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= program->plan->input_count)
        return QN_MISSING;
    *info = program->inputs[index].info;
    return QN_OK;
}

qn_status qn_program_output(const qn_program *program, int32_t index, qn_tensor_info *info)
{
    if (!program || !program->program || !info)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= program->plan->output_count)
        return QN_MISSING;
    *info = program->outputs[index].info;
    return QN_OK;
}

static double step_flops(const PlanStep *step)
{
    int64_t flops = 0;
    bool known = expr_code_valid(step->flops, 0) && expr_code_run(step->flops, NULL, &flops);
    return known ? (double)flops : 0;
}

qn_status qn_program_describe(const qn_program *program, qn_program_info *info)
{
    if (!program || !program->program || !info)
        return QN_BAD_ARGUMENT;
    const Plan *plan = program->plan;
    *info = (qn_program_info){.target = api_string(plan->target),
                              .inputs = (int32_t)plan->input_count,
                              .outputs = (int32_t)plan->output_count,
                              .kernels = (int32_t)plan->step_count,
                              .distinct_kernels = (int32_t)plan->kernel_count,
                              .init_kernels = (int32_t)plan->init_count,
                              .cached = program->cached,
                              .plan_bytes = program->plan_bytes,
                              .object_bytes = program->object_bytes,
                              .init_bytes = program_info(program->program).init_bytes,
                              .compile_ms = program->compile_ms};
    for (uint32_t i = 0; i < plan->weight_count; i++)
        info->weight_bytes += plan->weights[i].bytes;
    for (uint32_t i = 0; i < plan->step_count; i++)
        info->flops += step_flops(&plan->steps[i]);
    return QN_OK;
}

static int64_t step_bytes(const Plan *plan, const PlanStep *step)
{
    int64_t sum = 0;
    for (uint32_t b = 0; b < step->buffer_count; b++) {
        const PlanTensor *t = &plan->tensors[step->buffers[b]];
        for (int d = 0; d < t->rank; d++)
            if (!expr_code_valid(t->shape[d], 0))
                return -1;
        sum += plan_tensor_bytes(t, NULL);
    }
    return sum;
}

qn_status qn_program_kernel(const qn_program *program, int32_t init, int32_t index,
                            qn_kernel_info *info)
{
    if (!program || !program->program || !info)
        return QN_BAD_ARGUMENT;
    const Plan *plan = program->plan;
    if (index < 0 || (uint32_t)index >= (init ? plan->init_count : plan->step_count))
        return QN_MISSING;
    const PlanStep *step = init ? &plan->init[index] : &plan->steps[index];
    bool copy = step->kind == PS_copy;
    *info = (qn_kernel_info){.name = api_string(copy ? "copy" : plan->kernels[step->kernel].name),
                             .nodes = api_string(step->nodes),
                             .why = api_string(step->why),
                             .schedule = api_string(step->schedule),
                             .phases = copy ? 1 : (int32_t)plan->kernels[step->kernel].phase_count,
                             .flops = step_flops(step),
                             .bytes = step_bytes(plan, step)};
    return QN_OK;
}

qn_status qn_program_text(const qn_program *program, uint32_t which, qn_string *text)
{
    if (!program || !program->program || !text)
        return QN_BAD_ARGUMENT;
    for (int i = 0; i < KEEP_count; i++)
        if (which == 1u << i && program->texts[i]) {
            *text = api_string(program->texts[i]);
            return QN_OK;
        }
    return QN_MISSING;
}
