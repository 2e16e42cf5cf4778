/* Plans as bytes. One function per struct serves both directions: writing, it appends fields;
 * reading, it fills them from the bytes. Everything is a multiple of 8 bytes, so that code and
 * texts are used where they lie.
 *
 *   magic[8] version:8 abi:8 size:8 hash:16 | body
 *
 * Numbers are 8 bytes, least significant first. A text is its length, the bytes, at least one NUL,
 * up to a multiple of 8. A list is its count, then the items. Counts are compared with what is left
 * of the bytes before anything is allocated: an item takes at least 8 of them. Rules between fields
 * are plan_check's (plan_check.c). */
#include "runtime/plan.h"

#include <string.h>

#include "base/hash.h"
#include "base/kernel_abi.h"
#include "base/text.h"
#include "runtime/host.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "code is used where it lies");

static const char magic[8] = "QNPLAN";
enum { HEADER_BYTES = 48 };

typedef struct Codec {
    Cx *cx;
    bool reading;
    Text out;
    const uint8_t *at, *end;
} Codec;

static void bad(Codec *c, const char *what)
{
    cx_fail(c->cx, ST_bad_file, "damaged plan: %s", what);
    c->at = c->end;
}

static void io_i64(Codec *c, int64_t *value)
{
    if (!c->reading) {
        text_put(&c->out, (const char *)value, 8);
    } else if (c->end - c->at < 8) {
        bad(c, "it is too short");
        *value = 0;
    } else {
        memcpy(value, c->at, 8);
        c->at += 8;
    }
}

/* A number in [0, limit]. */
static uint32_t io_limited(Codec *c, int64_t value, int64_t limit, const char *what)
{
    io_i64(c, &value);
    if (value >= 0 && value <= limit)
        return (uint32_t)value;
    bad(c, what);
    return 0;
}

static void io_u32(Codec *c, uint32_t *value)
{
    *value = io_limited(c, *value, UINT32_MAX, "number out of range");
}

static uint32_t io_count(Codec *c, uint32_t count)
{
    return io_limited(c, count, c->reading ? (c->end - c->at) / 8 : UINT32_MAX, "count");
}

/* `count` items of `size` bytes, allocated when reading. */
static void *io_list(Codec *c, void *items, uint32_t *count, size_t size)
{
    *count = io_count(c, *count);
    return c->reading ? arena_array(c->cx->arena, *count, size) : items;
}

/* Raw bytes with padding: at least `extra` zeros behind. */
static const void *io_bytes(Codec *c, const void *data, int64_t *size, int64_t extra)
{
    static const char zeros[8];
    io_i64(c, size);
    int64_t padded = *size < 0 || *size > INT64_MAX - 16 ? -1 : (*size + extra + 7) / 8 * 8;
    if (!c->reading) {
        text_put(&c->out, data, (size_t)*size);
        text_put(&c->out, zeros, (size_t)(padded - *size));
        return data;
    }
    if (padded < 0 || padded > c->end - c->at) {
        bad(c, "length");
        *size = 0;
        return "";
    }
    const uint8_t *at = c->at;
    c->at += padded;
    return at;
}

static void io_text(Codec *c, const char **text)
{
    int64_t size = c->reading ? 0 : (int64_t)strlen(*text);
    const char *data = io_bytes(c, *text, &size, 1);
    if (c->reading && (data[size] || strlen(data) != (size_t)size)) {
        bad(c, "text");
        data = "";
    }
    *text = data;
}

static void io_code(Codec *c, ExprCode *code)
{
    code->count = io_count(c, code->count);
    if (c->reading) {
        code->words = (const int64_t *)(const void *)c->at;
        c->at += 8 * (size_t)code->count;
    } else {
        text_put(&c->out, (const char *)code->words, 8 * (size_t)code->count);
    }
}

static const uint32_t *io_numbers(Codec *c, const uint32_t *numbers, uint32_t *count)
{
    *count = io_count(c, *count);
    uint32_t *read = c->reading ? NEW_ARRAY(c->cx->arena, uint32_t, *count) : NULL;
    for (uint32_t i = 0; i < *count; i++) {
        uint32_t number = c->reading ? 0 : numbers[i];
        io_u32(c, &number);
        if (read)
            read[i] = number;
    }
    return read ? read : numbers;
}

static void io_dim(Codec *c, PlanDim *dim)
{
    io_text(c, &dim->name);
    io_i64(c, &dim->lo);
    io_i64(c, &dim->hi);
    io_i64(c, &dim->div);
    io_u32(c, &dim->tensor);
    io_u32(c, &dim->axis);
    io_code(c, &dim->by);
}

static void io_check(Codec *c, PlanCheck *check)
{
    io_code(c, &check->a);
    io_code(c, &check->b);
    io_u32(c, &check->rule);
    io_text(c, &check->source);
}

static void io_weight(Codec *c, PlanWeight *weight)
{
    io_u32(c, &weight->file);
    io_i64(c, &weight->offset);
    if (weight->file == PLAN_INLINE)
        weight->data = io_bytes(c, weight->data, &weight->bytes, 0);
    else
        io_i64(c, &weight->bytes);
}

static void io_tensor(Codec *c, PlanTensor *tensor)
{
    tensor->dtype = (Dtype)io_limited(c, tensor->dtype, DT_count - 1, "element type");
    tensor->place = (PlanPlace)io_limited(c, tensor->place, PP_count - 1, "place");
    io_u32(c, &tensor->index);
    tensor->rank = (int)io_limited(c, tensor->rank, PLAN_RANK, "rank");
    for (int d = 0; d < tensor->rank; d++)
        io_code(c, &tensor->shape[d]);
}

static void io_port(Codec *c, PlanPort *port)
{
    io_text(c, &port->name);
    io_u32(c, &port->tensor);
    for (int d = 0; d < PLAN_RANK; d++) {
        if (!c->reading && !port->symbols[d])
            port->symbols[d] = "";
        io_text(c, &port->symbols[d]);
    }
    if (io_limited(c, port->contents != NULL, 1, "contents of an input"))
        port->contents = io_bytes(c, port->contents, &port->content_bytes, 0);
}

static void io_kernel(Codec *c, PlanKernel *kernel)
{
    io_text(c, &kernel->name);
    kernel->least = io_numbers(c, kernel->least, &kernel->dim_count);
    io_u32(c, &kernel->buffer_count);
    io_i64(c, &kernel->scratch);
    io_u32(c, &kernel->may_fail);
    PlanPhase *phases = NULL;
    kernel->phase_count = io_count(c, kernel->phase_count);
    if (c->reading)
        kernel->phases = phases = NEW_ARRAY(c->cx->arena, PlanPhase, kernel->phase_count);
    for (uint32_t p = 0; p < kernel->phase_count; p++) {
        PlanPhase phase = kernel->phases[p];
        io_code(c, &phase.tasks);
        io_u32(c, &phase.threads);
        io_u32(c, &phase.shared);
        if (phases)
            phases[p] = phase;
    }
}

static void io_step(Codec *c, PlanStep *step)
{
    step->kind = (PlanStepKind)io_limited(c, step->kind, PS_count - 1, "kind of step");
    io_u32(c, &step->kernel);
    step->buffers = io_numbers(c, step->buffers, &step->buffer_count);
    step->dims = io_numbers(c, step->dims, &step->dim_count);
    io_code(c, &step->flops);
    io_code(c, &step->times);
    io_text(c, &step->picks);
    io_text(c, &step->nodes);
    io_text(c, &step->why);
    io_text(c, &step->schedule);
}

static void io_host(Codec *c, PlanHost *host)
{
    io_text(c, &host->name);
    io_u32(c, &host->input_count);
    host->dtypes = io_numbers(c, host->dtypes, &host->result_count);
}

static void io_carried(Codec *c, PlanCarried *carried)
{
    io_u32(c, &carried->initial);
    io_u32(c, &carried->in);
    io_u32(c, &carried->out);
    io_u32(c, &carried->result);
}

static void io_stacked(Codec *c, PlanStacked *stacked)
{
    io_u32(c, &stacked->out);
    io_u32(c, &stacked->in_place);
    io_u32(c, &stacked->result);
}

static void io_merge(Codec *c, PlanMerge *merge)
{
    io_u32(c, &merge->yes);
    io_u32(c, &merge->no);
    io_u32(c, &merge->result);
}

static void io_block(Codec *c, PlanBlock *block)
{
    io_u32(c, &block->step_count);
    io_u32(c, &block->check_count);
}

#define IO_ALL(c, list, count, each)                                                               \
    do {                                                                                           \
        (list) = io_list((c), (list), &(count), sizeof *(list));                                   \
        for (uint32_t i_ = 0; i_ < (count) && !cx_failed((c)->cx); i_++)                           \
            each((c), &(list)[i_]);                                                                \
    } while (0)

static void io_loop(Codec *c, PlanLoop *loop)
{
    io_u32(c, &loop->region);
    io_u32(c, &loop->trip);
    io_u32(c, &loop->condition);
    io_u32(c, &loop->counter);
    io_u32(c, &loop->again);
    IO_ALL(c, loop->carried, loop->carried_count, io_carried);
    IO_ALL(c, loop->stacked, loop->stacked_count, io_stacked);
}

static void io_branch(Codec *c, PlanBranch *branch)
{
    io_u32(c, &branch->condition);
    io_u32(c, &branch->yes);
    io_u32(c, &branch->no);
    IO_ALL(c, branch->merges, branch->merge_count, io_merge);
}

static void io_plan(Codec *c, Plan *plan)
{
    io_text(c, &plan->target);
    IO_ALL(c, plan->dims, plan->dim_count, io_dim);
    IO_ALL(c, plan->checks, plan->check_count, io_check);
    IO_ALL(c, plan->weights, plan->weight_count, io_weight);
    IO_ALL(c, plan->tensors, plan->tensor_count, io_tensor);
    IO_ALL(c, plan->inputs, plan->input_count, io_port);
    IO_ALL(c, plan->outputs, plan->output_count, io_port);
    IO_ALL(c, plan->kernels, plan->kernel_count, io_kernel);
    IO_ALL(c, plan->hosts, plan->host_count, io_host);
    IO_ALL(c, plan->loops, plan->loop_count, io_loop);
    IO_ALL(c, plan->branches, plan->branch_count, io_branch);
    IO_ALL(c, plan->regions, plan->region_count, io_u32);
    IO_ALL(c, plan->blocks, plan->block_count, io_block);
    IO_ALL(c, plan->init, plan->init_count, io_step);
    IO_ALL(c, plan->steps, plan->step_count, io_step);
}

/* What stands in a header of a plan with this body. */
static void make_header(uint8_t header[HEADER_BYTES], const uint8_t *body, size_t size)
{
    Hash128 hash = hash_bytes(body, size);
    const uint64_t fields[] = {PLAN_VERSION, KERNEL_ABI, size, hash.high, hash.low};
    memcpy(header, magic, sizeof magic);
    memcpy(header + sizeof magic, fields, sizeof fields);
}

PlanBytes plan_write(Cx *cx, const Plan *plan)
{
    static const char space[HEADER_BYTES];
    Codec c = {.cx = cx};
    text_init(&c.out, cx->arena);
    text_put(&c.out, space, HEADER_BYTES);
    Plan copy = *plan; /* io functions write back what they were given */
    io_plan(&c, &copy);
    uint8_t *data = (uint8_t *)c.out.data;
    make_header(data, data + HEADER_BYTES, c.out.length - HEADER_BYTES);
    return (PlanBytes){data, c.out.length};
}

static bool read_header(Cx *cx, const uint8_t *data, size_t size)
{
    uint8_t expected[HEADER_BYTES];
    if (size < HEADER_BYTES || size % 8 || memcmp(data, magic, sizeof magic) != 0) {
        cx_fail(cx, ST_bad_file, "not a plan");
        return false;
    }
    make_header(expected, data + HEADER_BYTES, size - HEADER_BYTES);
    if (memcmp(data + 8, expected + 8, 16) != 0) {
        cx_fail(cx, ST_bad_file, "a plan of another version of Quern");
        return false;
    }
    if (memcmp(data, expected, HEADER_BYTES) != 0) {
        cx_fail(cx, ST_bad_file, "damaged plan: size or checksum");
        return false;
    }
    return true;
}

Plan *plan_read(Cx *cx, const void *data, size_t size)
{
    CHECK((uintptr_t)data % 8 == 0);
    const uint8_t *bytes = data;
    if (!read_header(cx, bytes, size))
        return NULL;
    Codec c = {.cx = cx, .reading = true, .at = bytes + HEADER_BYTES, .end = bytes + size};
    Plan *plan = NEW(cx->arena, Plan);
    io_plan(&c, plan);
    if (!cx_failed(cx) && c.at != c.end)
        bad(&c, "more bytes than it needs");
    return !cx_failed(cx) && plan_check(cx, plan) ? plan : NULL;
}

static void mark(bool *used, uint32_t tensor)
{
    if (tensor != PLAN_NONE)
        used[tensor] = true;
}

/* The tensors that a loop or branch uses besides its list of buffers. */
static void mark_control(const Plan *plan, const PlanStep *step, bool *used)
{
    if (step->kind == PS_loop) {
        const PlanLoop *loop = &plan->loops[step->kernel];
        const uint32_t scalars[] = {loop->trip, loop->condition, loop->counter, loop->again};
        for (int i = 0; i < 4; i++)
            mark(used, scalars[i]);
        for (uint32_t i = 0; i < loop->carried_count; i++) {
            const PlanCarried *v = &loop->carried[i];
            const uint32_t all[] = {v->initial, v->in, v->out, v->result};
            for (int k = 0; k < 4; k++)
                mark(used, all[k]);
        }
        for (uint32_t i = 0; i < loop->stacked_count; i++) {
            mark(used, loop->stacked[i].out);
            mark(used, loop->stacked[i].result);
        }
    } else if (step->kind == PS_branch) {
        const PlanBranch *branch = &plan->branches[step->kernel];
        mark(used, branch->condition);
        for (uint32_t i = 0; i < branch->merge_count; i++) {
            mark(used, branch->merges[i].yes);
            mark(used, branch->merges[i].no);
            mark(used, branch->merges[i].result);
        }
    }
}

void plan_run_uses(const Plan *plan, bool *used)
{
    for (uint32_t i = 0; i < plan->step_count; i++) {
        for (uint32_t b = 0; b < plan->steps[i].buffer_count; b++)
            mark(used, plan->steps[i].buffers[b]);
        mark_control(plan, &plan->steps[i], used);
    }
}

bool plan_grows(const Plan *plan)
{
    for (uint32_t i = 0; i < plan->dim_count; i++)
        if (plan->tensors[plan->dims[i].tensor].place != PP_input)
            return true;
    return false;
}

double plan_step_times(const PlanStep *step, const int64_t *dims)
{
    int64_t times;
    return expr_code_run(step->times, dims, &times) && times >= 0 ? (double)times : -1;
}

int64_t plan_bytes(Dtype dtype, int64_t count)
{
    int64_t bytes;
    if (dtype != DT_string)
        return dtype_bytes(dtype, count);
    return __builtin_mul_overflow(count, (int64_t)sizeof(HostString), &bytes) ? -1 : bytes;
}

int64_t plan_tensor_bytes(const PlanTensor *tensor, const int64_t *dims)
{
    int64_t count = 1, extent;
    for (int d = 0; d < tensor->rank; d++)
        if (!expr_code_run(tensor->shape[d], dims, &extent) || extent < 0 ||
            __builtin_mul_overflow(count, extent, &count))
            return -1;
    return plan_bytes(tensor->dtype, count);
}

int64_t plan_fixed_bytes(const PlanTensor *tensor)
{
    for (int d = 0; d < tensor->rank; d++)
        if (!expr_code_valid(tensor->shape[d], 0))
            return -1;
    return plan_tensor_bytes(tensor, NULL);
}
