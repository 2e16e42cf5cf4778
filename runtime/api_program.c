/* The public interface: programs, loaded from an image, and what can be asked of them. */
#include "runtime/api.h"

#include <string.h>

#include "base/cpu.h"

/* --- loading --- */

static void set_port(Cx *cx, const Plan *plan, const PlanPort *from, Port *port)
{
    const PlanTensor *t = &plan->tensors[from->tensor];
    port->dims = NEW_ARRAY(cx->arena, qn_dim, t->rank);
    for (int d = 0; d < t->rank; d++) {
        int64_t value = -1;
        if (expr_code_valid(t->shape[d], 0))
            expr_code_run(t->shape[d], NULL, &value);
        port->dims[d] = (qn_dim){value, api_string(value < 0 ? from->symbols[d] : "")};
    }
    port->info = (qn_tensor_info){api_string(from->name), (qn_dtype)t->dtype, t->rank, port->dims,
                                  plan_fixed_bytes(t)};
}

/* Pointers to the weights in the model's files. */
static const void **find_weights(Cx *cx, const Plan *plan, const ProgramSource *source)
{
    const void **weights = NEW_ARRAY(cx->arena, const void *, plan->weight_count);
    for (uint32_t i = 0; i < plan->weight_count; i++) {
        const PlanWeight *w = &plan->weights[i];
        if (w->file == PLAN_INLINE)
            continue;
        if (w->file >= source->file_count ||
            (uint64_t)(w->offset + w->bytes) > source->files[w->file].size)
            cx_fail(cx, ST_bad_file, "the plan is for another model: weight %u is not in its files",
                    i);
        else
            weights[i] = (const char *)source->files[w->file].data + w->offset;
    }
    return weights;
}

/* Machine code for another processor must not be run; that it is well formed says nothing. */
static bool runs_here(Cx *cx, const qn_program *p, const Image *image)
{
    const char *level = cpu_level();
    if (image->code.kind != CODE_object || cpu_runs(p->plan->target))
        return true;
    cx_fail(cx, ST_unsupported, "the program is for '%s'; this processor is %s", p->plan->target,
            level ? level : "below every supported level");
    return false;
}

static bool load_code(Cx *cx, qn_program *p, const Image *image)
{
    Target target;
    Cache cache;
    if (!runs_here(cx, p, image))
        return false;
    if (!p->device && api_find_target(cx, p->context, p->plan->target, &target))
        p->device = target.device;
    if (cx_failed(cx))
        return false;
    if (p->device->type->load(p->device, p->plan, &image->code, api_directory(p, &cache), &p->code,
                              &p->report) != ST_ok)
        cx_fail(cx, p->report.status, "%s", p->report.text);
    return !cx_failed(cx);
}

static void set_ports(Cx *cx, qn_program *p)
{
    p->inputs = NEW_ARRAY(cx->arena, Port, p->plan->input_count);
    p->outputs = NEW_ARRAY(cx->arena, Port, p->plan->output_count);
    for (uint32_t i = 0; i < p->plan->input_count; i++)
        set_port(cx, p->plan, &p->plan->inputs[i], &p->inputs[i]);
    for (uint32_t i = 0; i < p->plan->output_count; i++)
        set_port(cx, p->plan, &p->plan->outputs[i], &p->outputs[i]);
}

typedef struct Load {
    qn_program *program;
    const ProgramSource *source;
} Load;

static void load_job(Cx *cx, void *user)
{
    const Load *load = user;
    const ProgramSource *source = load->source;
    qn_program *p = load->program;
    Image image;
    const void *data = source->image.data;
    if (!source->stays)
        data = arena_copy(cx->arena, data, source->image.size);
    if (!image_read(cx, data, source->image.size, &image))
        return;
    p->image = (PlanBytes){data, source->image.size};
    p->parts = source->parts ? arena_strdup(cx->arena, source->parts) : NULL;
    p->file_count = source->file_count;
    p->files = source->files;
    p->plan = plan_read(cx, image.plan, image.plan_size);
    if (!p->plan)
        return;
    for (uint32_t i = 0; i < image.code.count; i++)
        p->object_bytes += (int64_t)image.code.pieces[i].size;
    if (!source->elsewhere && !load_code(cx, p, &image))
        return;
    p->plan_bytes = (int64_t)image.plan_size;
    set_ports(cx, p);
    ProgramParts parts = {.plan = p->plan,
                          .weights = find_weights(cx, p->plan, source),
                          .device = p->device,
                          .code = p->code,
                          .from = &p->context->from,
                          .constants = p->parts ? api_constants : NULL,
                          .constants_user = p,
                          .customs = &p->context->customs};
    if (!cx_failed(cx) && !source->elsewhere &&
        program_create(&parts, &p->program, &p->report) != ST_ok)
        cx_fail(cx, p->report.status, "%s", p->report.text);
    p->loaded = !cx_failed(cx);
}

qn_program *api_program_new(qn_context *context)
{
    qn_program *p = api_alloc(context, sizeof *p);
    if (!p)
        return NULL;
    atomic_init(&p->refs, 1);
    p->context = qn_context_retain(context);
    cx_init(&p->cx, &context->from, 0);
    return p;
}

qn_status api_program_load(qn_program *program, const ProgramSource *source)
{
    Load load = {program, source};
    cx_run(&program->cx, load_job, &load);
    return api_status(&program->report, &program->cx);
}

/* --- handles --- */

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
    if (program->code)
        program->device->type->unload(program->code);
    cx_finish(&program->cx);
    if (program->release_owner)
        program->release_owner(program->owner);
    api_free(context, program, sizeof *program);
    qn_context_release(context);
}

const char *qn_program_message(const qn_program *program)
{
    return program ? program->report.text : API_NO_HANDLE;
}

/* --- asking --- */

qn_status qn_program_input(const qn_program *program, int32_t index, qn_tensor_info *info)
{
    if (!program || !program->loaded || !info)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= program->plan->input_count)
        return QN_MISSING;
    *info = program->inputs[index].info;
    return QN_OK;
}

qn_status qn_program_output(const qn_program *program, int32_t index, qn_tensor_info *info)
{
    if (!program || !program->loaded || !info)
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

/* As plan_step_times, without any sizes. */
static double step_times(const PlanStep *step)
{
    return expr_code_valid(step->times, 0) ? plan_step_times(step, NULL) : -1;
}

qn_status qn_program_describe(const qn_program *program, qn_program_info *info)
{
    if (!program || !program->loaded || !info)
        return QN_BAD_ARGUMENT;
    const Plan *plan = program->plan;
    *info = (qn_program_info){.target = api_string(plan->target),
                              .inputs = (int32_t)plan->input_count,
                              .outputs = (int32_t)plan->output_count,
                              .kernels = (int32_t)plan->step_count,
                              .distinct_kernels = (int32_t)plan->kernel_count,
                              .init_kernels = (int32_t)plan->init_count,
                              .cached = program->cached,
                              .grows = plan_grows(plan),
                              .plan_bytes = program->plan_bytes,
                              .object_bytes = program->object_bytes,
                              .init_bytes =
                                  program->program ? program_info(program->program).init_bytes : 0,
                              .compile_ms = program->compile_ms};
    for (uint32_t i = 0; i < plan->weight_count; i++)
        info->weight_bytes += plan->weights[i].bytes;
    for (uint32_t i = 0; i < plan->step_count; i++)
        info->flops += step_flops(&plan->steps[i]) *
                       (step_times(&plan->steps[i]) < 0 ? 1 : step_times(&plan->steps[i]));
    return QN_OK;
}

static int64_t step_bytes(const Plan *plan, const PlanStep *step)
{
    int64_t sum = 0;
    for (uint32_t b = 0; b < step->buffer_count; b++) {
        if (step->buffers[b] == PLAN_NONE)
            continue;
        const PlanTensor *t = &plan->tensors[step->buffers[b]];
        int64_t bytes = plan_fixed_bytes(t);
        if (bytes < 0)
            return -1;
        sum += bytes;
    }
    return sum;
}

qn_status qn_program_kernel(const qn_program *program, int32_t init, int32_t index,
                            qn_kernel_info *info)
{
    if (!program || !program->loaded || !info)
        return QN_BAD_ARGUMENT;
    const Plan *plan = program->plan;
    if (index < 0 || (uint32_t)index >= (init ? plan->init_count : plan->step_count))
        return QN_MISSING;
    const PlanStep *step = init ? &plan->init[index] : &plan->steps[index];
    const char *name = step->kind == PS_kernel   ? plan->kernels[step->kernel].name
                       : step->kind == PS_host   ? plan->hosts[step->kernel].name
                       : step->kind == PS_loop   ? "loop"
                       : step->kind == PS_branch ? "branch"
                                                 : "copy";
    bool kernel = step->kind == PS_kernel;
    *info =
        (qn_kernel_info){.name = api_string(name),
                         .nodes = api_string(step->nodes),
                         .why = api_string(step->why),
                         .schedule = api_string(step->schedule),
                         .phases = kernel ? (int32_t)plan->kernels[step->kernel].phase_count : 1,
                         .flops = step_flops(step),
                         .bytes = step_bytes(plan, step),
                         .times = step_times(step)};
    return QN_OK;
}

qn_status qn_program_text(const qn_program *program, uint32_t which, qn_string *text)
{
    if (!program || !program->loaded || !text)
        return QN_BAD_ARGUMENT;
    for (int i = 0; i < API_TEXTS; i++)
        if (which == 1u << i && program->texts[i]) {
            *text = api_string(program->texts[i]);
            return QN_OK;
        }
    return QN_MISSING;
}

qn_status qn_program_wants(const qn_program *program, int32_t index, qn_string *input)
{
    if (!program || !input)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= program->wanted_count)
        return QN_MISSING;
    *input = program->wanted[index];
    return QN_OK;
}
