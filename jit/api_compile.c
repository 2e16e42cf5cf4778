/* The public interface: compiling. It makes an image in a job whose memory is given back; the
 * program is then loaded from the image, as it is when the image comes from the cache. */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "jit/api_contents.h"
#include "jit/cache.h"
#include "jit/llvm_module.h"
#include "jit/program_key.h"

_Static_assert((int)MAX_RANK == (int)PLAN_RANK && (int)KEEP_count == (int)API_TEXTS,
               "compiler and runtime agree");

/* The code generator, opened on first use; NULL after cx_fail. */
static const LlvmApi *find_llvm(qn_context *context, Cx *cx)
{
    LlvmModule module;
    pthread_mutex_lock(&context->lock);
    if (!context->compiler && llvm_module_open(cx, &module, context->compiler_path))
        context->compiler = module.api;
    const LlvmApi *api = context->compiler;
    pthread_mutex_unlock(&context->lock);
    return cx_failed(cx) ? NULL : api;
}

/* --- options --- */

typedef struct Compilation {
    qn_program *program;
    qn_model *model;
    qn_compile_options options;
    Target target;
    const Caps *caps;
    ImportOptions import;
    ImportProblems problems;
    PlanBytes image;
    Compiled compiled;
} Compilation;

static bool find_target(Cx *cx, Compilation *c)
{
    qn_context *context = c->program->context;
    if (!api_find_target(cx, context, api_text(cx, c->options.device), &c->target))
        return false;
    c->program->device = c->target.device;
    c->caps = target_find(c->target.name);
    CHECK(c->caps);
    return true;
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
    uint32_t count = list_symbols(cx, c->model, &names);
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
        set_shape(cx, c->model, i, &c->options.shapes[i], &shapes[i]);
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
    Graph *graph = import_model(cx, c->model->onnx, &c->import, &c->problems);
    if (cx_failed(cx))
        return;
    CompileOptions options = {.caps = c->caps,
                              .kind = c->target.kind,
                              .file_count = c->model->file_count,
                              .files = c->model->files,
                              .threads = qn_context_threads(p->context),
                              .keep = c->options.keep_text,
                              .progress = c->options.progress ? report_progress : NULL,
                              .progress_user = c};
    if (options.kind == CODE_object)
        options.llvm = find_llvm(p->context, cx);
    if (!cx_failed(cx) && compile_graph(cx, graph, &options, &c->compiled))
        c->image = image_write(cx, c->compiled.plan, &c->compiled.code);
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

static const CustomOperator *find_custom(const void *customs, const char *domain, const char *name,
                                         int64_t opset)
{
    return customs_find(customs, domain, name, opset);
}

static void compile_job(Cx *cx, void *user)
{
    Compilation *c = user;
    qn_program *p = c->program;
    Cache cache = {c->options.no_cache ? NULL : p->context->cache_dir, p->context->cache_limit};
    Hash128 key = {0, 0};
    if (!find_target(cx, c))
        return;
    c->import.find_custom = find_custom;
    c->import.customs = &p->context->customs;
    set_dims(cx, c);
    set_shapes(cx, c);
    if (!cx_failed(cx))
        api_set_contents(cx, c->model, c->options.contents, c->options.content_count, &c->import);
    if (cx_failed(cx) || !onnx_model_check(cx, c->model->onnx))
        return;
    if (cache.dir) {
        key = program_key(c->model->onnx, c->model->file_count, c->model->files, &c->import,
                          emit_target_name(cx, c->caps, c->target.kind));
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

/* --- the program --- */

/* What the program keeps of the compile that no image has. */
static void keep_more(Cx *cx, qn_program *p, void *user)
{
    const Compilation *c = user;
    for (int i = 0; i < KEEP_count; i++)
        if (c->compiled.texts[i])
            p->texts[i] = arena_strdup(cx->arena, c->compiled.texts[i]);
    api_keep_contents(cx, p, &c->import);
}

static void release_model(void *model)
{
    qn_model_release(model);
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
    double start = api_now_ms();
    qn_program *p = *program = api_program_new(model->context);
    if (!p)
        return QN_OUT_OF_MEMORY;
    p->owner = qn_model_retain(model);
    p->release_owner = release_model;
    c.program = p;
    c.model = model;
    copy_options(&c, options);
    cx_init(&cx, &p->context->from, 0);
    cx_run(&cx, compile_job, &c);
    qn_status status = api_status(&p->report, &cx);
    if (status == QN_OK) {
        ProgramSource source = {.image = c.image,
                                .file_count = model->file_count,
                                .files = model->files,
                                .more = keep_more,
                                .user = &c};
        status = api_program_load(p, &source);
    } else if (c.problems.wanted_count) {
        cx_run(&p->cx, wanted_job, &c);
    }
    cx_finish(&cx);
    p->compile_ms = api_now_ms() - start;
    return status;
}
