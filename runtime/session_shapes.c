/* Sizes and memory of sessions: checking shapes, laying blocks out, memory that grows.
 *
 * Blocks whose sizes follow from the inputs are laid out by set_shapes, so that their runs take no
 * memory. When that fails they are laid out again with the dims before, for which there was enough.
 * The others are laid out in a run, when the dims they use are not those of the last time. */
#include <stdio.h>
#include <string.h>

#include "runtime/session_impl.h"

/* --- memory --- */

static void *take(Session *s, int64_t size, bool host)
{
    if (host)
        return s->from->alloc(s->from->user, (size_t)size, MEMORY_ALIGN);
    return size <= s->device->limits.largest ? s->device->type->alloc(s->device, size) : NULL;
}

void session_release(Session *s, Memory *memory, bool host)
{
    if (memory->data && host)
        s->from->release(s->from->user, memory->data, (size_t)memory->size);
    else if (memory->data)
        s->device->type->release(s->device, memory->data, memory->size);
    *memory = (Memory){0};
}

/* In a run half as much again as it was, so that what grows step by step is seldom copied. */
Status session_grow(Session *s, Memory *memory, int64_t bytes, int64_t keep, bool host,
                    Report *report)
{
    if (memory->data && memory->size >= bytes)
        return ST_ok;
    int64_t more = s->running && memory->size < INT64_MAX / 2 ? memory->size + memory->size / 2 : 0;
    int64_t align = s->device->limits.align;
    int64_t size = memory_round_to(bytes > more ? bytes : more, align);
    size = size >= 0 && size < align ? align : size;
    Memory grown = {size > 0 ? take(s, size, host) : NULL, size};
    if (!grown.data)
        return report_fail(report, ST_out_of_memory,
                           "no memory for %lld bytes of intermediate results", (long long)bytes);
    Status status = ST_ok;
    if (keep && host)
        memcpy(grown.data, memory->data, (size_t)keep);
    else if (keep)
        status = s->device->type->copy(s->stream, grown.data, memory->data, keep, report);
    if (status == ST_ok && memory->data && !host) /* work may still use it */
        status = s->device->type->wait(s->stream, NULL, report);
    session_release(s, memory, host);
    *memory = grown;
    return status;
}

void *pieces_take(Session *s, Pieces *pieces, size_t size)
{
    size_t head = (sizeof(Piece) + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    if (size > SIZE_MAX / 4)
        return NULL;
    size = (size + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    Piece *piece = pieces->first;
    if (!piece || piece->size - piece->used < size) {
        size_t least = piece ? 2 * piece->size : 4096;
        size_t whole = head + size > least ? head + size : least;
        piece = s->from->alloc(s->from->user, whole, MEMORY_ALIGN);
        if (!piece)
            return NULL;
        *piece = (Piece){pieces->first, whole, head};
        pieces->first = piece;
    }
    char *data = (char *)piece + piece->used;
    piece->used += size;
    return data;
}

/* Pieces double, so the last one alone holds as much as all before it. */
void pieces_empty(Session *s, Pieces *pieces)
{
    Piece *first = pieces->first;
    if (!first)
        return;
    Pieces rest = {first->next};
    pieces_finish(s, &rest);
    first->next = NULL;
    first->used = (sizeof(Piece) + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
}

void pieces_finish(Session *s, Pieces *pieces)
{
    while (pieces->first) {
        Piece *piece = pieces->first;
        pieces->first = piece->next;
        s->from->release(s->from->user, piece, piece->size);
    }
}

/* --- dims --- */

int64_t session_bytes(Dtype dtype, int rank, const int64_t *extents)
{
    int64_t count = 1;
    for (int d = 0; d < rank; d++)
        if (extents[d] < 0 || __builtin_mul_overflow(count, extents[d], &count))
            return -1;
    return plan_bytes(dtype, count);
}

Status session_extents(const Session *s, uint32_t tensor, int64_t *extents, Report *report)
{
    const PlanTensor *t = &s->plan->tensors[tensor];
    for (int d = 0; d < t->rank; d++)
        if (!expr_code_run(t->shape[d], s->dims, &extents[d]))
            return report_fail(report, ST_limit, "the size of a tensor overflows");
    return ST_ok;
}

static Status check_dim(const PlanDim *dim, int64_t value, const char *what, Report *report)
{
    if (value == 0 && dim->lo > 0)
        return report_fail(report, ST_bad_argument,
                           "%s: dim %u, '%s', is 0; a dim that was left open when compiling is at "
                           "least 1: compile for this shape",
                           what, dim->axis, dim->name);
    if (value < dim->lo || value > dim->hi)
        return report_fail(report, ST_bad_argument,
                           "%s: dim %u, '%s', is %lld; it has to be in %lld..%lld", what, dim->axis,
                           dim->name, (long long)value, (long long)dim->lo, (long long)dim->hi);
    if (value % dim->div)
        return report_fail(report, ST_bad_argument,
                           "%s: dim %u, '%s', is %lld; it has to be a multiple of %lld", what,
                           dim->axis, dim->name, (long long)value, (long long)dim->div);
    return ST_ok;
}

/* Gives the dim its value; 0 where it would be a share for nobody. */
static void set_dim(Session *s, uint32_t number, const int64_t *extents)
{
    const PlanDim *dim = &s->plan->dims[number];
    int64_t by;
    bool shared = expr_code_run(dim->by, s->dims, &by) && by >= 1;
    s->dims[number] = shared ? extents[dim->axis] / by : 0;
}

void session_bind(Session *s, uint32_t tensor, const int64_t *extents)
{
    for (uint32_t d = s->bound[tensor]; d; d = s->next_bound[d - 1])
        set_dim(s, d - 1, extents);
}

Status session_tell(Session *s, uint32_t tensor, const int64_t *extents, const char *what,
                    Report *report)
{
    const PlanTensor *t = &s->plan->tensors[tensor];
    session_bind(s, tensor, extents);
    for (uint32_t d = s->bound[tensor]; d; d = s->next_bound[d - 1])
        if (check_dim(&s->plan->dims[d - 1], s->dims[d - 1], what, report) != ST_ok)
            return report->status;
    for (int d = 0; d < t->rank; d++) {
        int64_t want;
        if (!expr_code_run(t->shape[d], s->dims, &want) || want != extents[d])
            return report_fail(report, ST_bad_argument,
                               "%s: dim %d is %lld; as the model is written it would be %lld", what,
                               d, (long long)extents[d], (long long)want);
    }
    return ST_ok;
}

static Status check_rank(const Session *s, uint32_t input, const SessionShape *shape,
                         Report *report)
{
    const PlanPort *port = &s->plan->inputs[input];
    int rank = s->plan->tensors[port->tensor].rank;
    if (shape->rank != rank)
        return report_fail(report, ST_bad_argument, "input '%s' has %d dims, %d are given",
                           port->name, rank, shape->rank);
    for (int d = 0; d < rank; d++)
        if (shape->dims[d] < 0)
            return report_fail(report, ST_bad_argument, "input '%s': dim %d is negative (%lld)",
                               port->name, d, (long long)shape->dims[d]);
    return ST_ok;
}

static bool is_input_dim(const Session *s, uint32_t dim)
{
    return s->plan->tensors[s->plan->dims[dim].tensor].place == PP_input;
}

static Status read_dims(Session *s, const SessionShape *shapes, Report *report)
{
    for (uint32_t i = 0; i < s->plan->dim_count; i++) {
        const PlanDim *dim = &s->plan->dims[i];
        char what[300];
        if (!is_input_dim(s, i)) {
            s->dims[i] = 0;
            continue;
        }
        uint32_t input = s->plan->tensors[dim->tensor].index;
        const char *name = s->plan->inputs[input].name;
        if (!shapes || !shapes[input].dims)
            return report_fail(
                report, ST_bad_argument,
                "the shape of input '%s' is missing: its dim %u, '%s', has no number", name,
                dim->axis, dim->name);
        snprintf(what, sizeof what, "input '%s'", name);
        set_dim(s, i, shapes[input].dims);
        if (check_dim(dim, s->dims[i], what, report) != ST_ok)
            return report->status;
    }
    return ST_ok;
}

/* What input dims must be, once symbols have values: numbers, and equal symbols equal. */
static Status compare_dims(const Session *s, uint32_t input, const SessionShape *shape,
                           Report *report)
{
    const PlanPort *port = &s->plan->inputs[input];
    const PlanTensor *t = &s->plan->tensors[port->tensor];
    for (int d = 0; d < t->rank; d++) {
        int64_t want;
        if (!expr_code_run(t->shape[d], s->dims, &want))
            return report_fail(report, ST_limit, "input '%s': the size of dim %d overflows",
                               port->name, d);
        if (want == shape->dims[d])
            continue;
        const char *symbol = port->symbols[d] ? port->symbols[d] : "";
        return report_fail(report, ST_bad_argument,
                           "input '%s': dim %d is %lld; it has to be %lld%s%s%s", port->name, d,
                           (long long)shape->dims[d], (long long)want, *symbol ? ", as '" : "",
                           symbol, *symbol ? "' elsewhere" : "");
    }
    return ST_ok;
}

static Status set_dims(Session *s, const SessionShape *shapes, Report *report)
{
    for (uint32_t i = 0; shapes && i < s->plan->input_count; i++)
        if (shapes[i].dims && check_rank(s, i, &shapes[i], report) != ST_ok)
            return report->status;
    if (read_dims(s, shapes, report) != ST_ok)
        return report->status;
    for (uint32_t i = 0; shapes && i < s->plan->input_count; i++)
        if (shapes[i].dims && compare_dims(s, i, &shapes[i], report) != ST_ok)
            return report->status;
    return ST_ok;
}

static void take_slot(void *user, uint32_t slot)
{
    *(uint32_t *)user = slot;
}

/* The dim of an input that the code is; NULL when it is anything else. */
static const PlanDim *as_input_dim(const Session *s, ExprCode code)
{
    enum { WORDS_OF_A_SYMBOL = 2 };
    uint32_t slot = PLAN_NONE;
    if (code.count == WORDS_OF_A_SYMBOL)
        expr_code_slots(code, take_slot, &slot);
    return slot != PLAN_NONE && is_input_dim(s, slot) ? &s->plan->dims[slot] : NULL;
}

static const char *input_of(const Session *s, const PlanDim *dim)
{
    return s->plan->inputs[s->plan->tensors[dim->tensor].index].name;
}

/* The node, and where the caller finds what does not fit. */
static Status fail_assumption(const Session *s, const PlanCheck *check, int64_t a, int64_t b,
                              Report *report)
{
    const PlanDim *dim = as_input_dim(s, check->a), *other = as_input_dim(s, check->b);
    char also[300] = "";
    if (!dim && !other)
        return report_fail(report, ST_bad_argument,
                           "%s: with these shapes two dims that have to %s are %lld and %lld",
                           check->source, check->rule == SIZE_multiple ? "divide" : "agree",
                           (long long)a, (long long)b);
    if (dim && other)
        snprintf(also, sizeof also, ", as dim %u of input '%s'", other->axis, input_of(s, other));
    int64_t is = dim ? a : b, needed = dim ? b : a;
    dim = dim ? dim : other;
    const char *multiple = check->rule == SIZE_multiple ? "a multiple of " : "";
    return report_fail(report, ST_bad_argument,
                       "input '%s': dim %u, '%s', is %lld; %s needs %s%lld%s%s", input_of(s, dim),
                       dim->axis, dim->name, (long long)is, check->source, multiple,
                       (long long)needed, check->rule == SIZE_equal_or_one ? " or 1" : "", also);
}

static Status check_assumptions(const Session *s, const Block *block, Report *report)
{
    for (uint32_t i = block->check; i < block->check + block->check_count; i++) {
        const PlanCheck *check = &s->plan->checks[i];
        int64_t a, b;
        if (!expr_code_run(check->a, s->dims, &a) || !expr_code_run(check->b, s->dims, &b))
            return report_fail(report, ST_limit, "%s: the size of a dim overflows", check->source);
        if (!size_rule_holds((SizeRule)check->rule, a, b))
            return fail_assumption(s, check, a, b, report);
    }
    return ST_ok;
}

/* --- blocks --- */

bool session_is_ours(const Session *s, const PlanStep *step)
{
    return step->kind > PS_copy || (step->kind == PS_copy && !s->device->limits.host_memory &&
                                    s->plan->tensors[step->buffers[0]].dtype == DT_string);
}

static bool in_slab(const Session *s, uint32_t tensor)
{
    PlanPlace place = s->plan->tensors[tensor].place;
    return place == PP_slab ||
           (!session_on_host(s, tensor) && (place == PP_input || place == PP_output));
}

static Status measure(Session *s, const Block *block, Report *report)
{
    for (uint32_t i = 0; i < block->tensor_count; i++) {
        uint32_t t = block->tensors[i];
        s->bytes[t] = plan_tensor_bytes(&s->plan->tensors[t], s->dims);
        if (s->bytes[t] < 0)
            return report_fail(report, ST_limit,
                               "with these shapes the size of a tensor overflows");
    }
    return ST_ok;
}

static void live(Session *s, const Block *block, uint32_t step, uint32_t t, uint32_t *count)
{
    if (s->home[t] != (uint32_t)(block - s->blocks) || !in_slab(s, t))
        return;
    uint32_t *slot = s->work; /* by tensor: 1 + item */
    PlanPlace place = s->plan->tensors[t].place;
    bool stays = s->last[t] == UINT32_MAX || place == PP_output;
    uint32_t last = stays ? block->step_count : s->last[t];
    if (!slot[t]) {
        int64_t size = memory_round_to(s->bytes[t], s->device->limits.align);
        s->item_tensor[*count] = t;
        s->items[*count] = (MemoryItem){size, place == PP_input ? 0 : step, last, 0};
        slot[t] = ++*count;
    }
    MemoryItem *item = &s->items[slot[t] - 1];
    item->last = last > item->last ? last : item->last;
}

/* Lives of the block's slab tensors, then offsets; the size, or -1. */
static int64_t lay_out_slab(Session *s, const Block *block, uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < block->tensor_count; i++)
        s->work[block->tensors[i]] = 0;
    for (uint32_t i = 0; i < s->plan->input_count; i++)
        if (s->used[i])
            live(s, block, 0, s->plan->inputs[i].tensor, count);
    for (uint32_t i = 0; i < block->step_count; i++) {
        const PlanStep *step = &s->plan->steps[block->step + i];
        for (uint32_t b = 0; b < step->buffer_count; b++)
            if (step->buffers[b] != PLAN_NONE)
                live(s, block, i, step->buffers[b], count);
        /* what a loop stacks in the slab is in no list of buffers */
        for (uint32_t k = 0;
             step->kind == PS_loop && k < s->plan->loops[step->kernel].stacked_count; k++)
            live(s, block, i, s->plan->loops[step->kernel].stacked[k].result, count);
    }
    for (uint32_t i = 0; i < *count; i++)
        if (s->items[i].size < 0)
            return -1;
    return memory_assign(s->items, *count, s->work);
}

/* Own memory that kernels of the block write; anew in each iteration, as loops swap it. */
static Status place_own(Session *s, const Block *block, Report *report)
{
    for (uint32_t i = 0; i < block->tensor_count; i++) {
        uint32_t t = block->tensors[i];
        if (s->plan->tensors[t].place != PP_own)
            continue;
        if (session_grow(s, &s->own[t], s->bytes[t], 0, session_on_host(s, t), report) != ST_ok)
            return report->status;
        s->address[t] = s->own[t].data;
    }
    return ST_ok;
}

/* Sizes and memory of a block for the dims in force; takes nothing when all fits in what it has. */
static Status lay_out(Session *s, Block *block, Report *report)
{
    block->ready = false;
    if (check_assumptions(s, block, report) != ST_ok || measure(s, block, report) != ST_ok)
        return report->status;
    if (!launches_set_dims(&block->launches, s->dims))
        return report_fail(report, ST_limit, "with these shapes the size of a kernel overflows");
    uint32_t count;
    int64_t size = lay_out_slab(s, block, &count);
    if (size < 0)
        return report_fail(report, ST_limit, "with these shapes the memory needed overflows");
    if (session_grow(s, &block->slab, size, 0, false, report) != ST_ok)
        return report->status;
    for (uint32_t i = 0; i < count; i++)
        s->address[s->item_tensor[i]] = (char *)block->slab.data + s->items[i].offset;
    for (uint32_t i = 0; i < block->dim_count; i++)
        block->values[i] = s->dims[block->dims[i]];
    if (place_own(s, block, report) != ST_ok)
        return report->status;
    block->ready = true;
    return ST_ok;
}

/* Launches but those from `begin` to the next step of the session's: some of their tensors have no
 * memory yet, or that of an iteration before, which is nothing for a device to look at. */
static void hide_others(const Session *s, Block *block, uint32_t begin)
{
    uint32_t end = begin;
    while (end < block->step_count && !session_is_ours(s, &s->plan->steps[block->step + end]))
        end++;
    void **at = block->launches.buffers;
    for (uint32_t i = 0; i < block->step_count; i++)
        for (uint32_t b = 0; b < block->launches.steps[i].buffer_count; b++, at++)
            if (i < begin || i >= end)
                *at = NULL;
}

Status session_addresses(Session *s, Block *block, uint32_t begin, Report *report)
{
    const DeviceType *type = s->device->type;
    launches_set_memory(&block->launches, s->address);
    if (!s->device->limits.host_memory) {
        hide_others(s, block, begin);
        if (type->wait(s->stream, NULL, report) != ST_ok)
            return report->status;
    }
    return type->bind(s->stream, &block->launches, report);
}

Status session_enter(Session *s, Block *block, Report *report)
{
    bool same = block->ready;
    for (uint32_t i = 0; same && i < block->dim_count; i++)
        same = block->values[i] == s->dims[block->dims[i]];
    if ((same ? place_own(s, block, report) : lay_out(s, block, report)) != ST_ok)
        return report->status;
    return session_addresses(s, block, 0, report);
}

/* --- set_shapes --- */

/* Both memories of carried values whose size is known, so that runs take none. */
static Status take_carried(Session *s, Report *report)
{
    for (uint32_t l = 0; l < s->plan->loop_count; l++)
        for (uint32_t i = 0; i < s->plan->loops[l].carried_count; i++) {
            uint32_t out = s->plan->loops[l].carried[i].out;
            if (s->own[out].data && session_grow(s, &s->spare[out], s->bytes[out], 0,
                                                 session_on_host(s, out), report) != ST_ok)
                return report->status;
        }
    return ST_ok;
}

/* Whether these shapes contradict a body of a loop or branch. The run may not come to it; one that
 * does lays the block out, and is told. */
static bool is_contradicted(const Session *s, uint32_t block)
{
    Report ignored = {0};
    return block >= s->plan->regions[0] &&
           check_assumptions(s, &s->blocks[block], &ignored) != ST_ok;
}

static Status lay_out_fixed(Session *s, Report *report)
{
    for (uint32_t b = 0; b < s->block_count; b++) {
        s->blocks[b].ready = false;
        if (!s->blocks[b].dim_count && !is_contradicted(s, b) &&
            lay_out(s, &s->blocks[b], report) != ST_ok)
            return report->status;
    }
    if (take_carried(s, report) != ST_ok)
        return report->status;
    return s->plain ? session_addresses(s, &s->blocks[0], 0, report) : ST_ok;
}

static Status measure_ports(Session *s, Report *report)
{
    for (uint32_t i = 0; i < s->plan->input_count + s->plan->output_count; i++) {
        uint32_t t = i < s->plan->input_count ? s->plan->inputs[i].tensor
                                              : s->plan->outputs[i - s->plan->input_count].tensor;
        PlanPlace place = s->plan->tensors[t].place;
        if (place != PP_input && place != PP_output)
            continue;
        s->bytes[t] = plan_tensor_bytes(&s->plan->tensors[t], s->dims);
        if (s->bytes[t] < 0)
            return report_fail(report, ST_limit,
                               "with these shapes the size of a tensor overflows");
    }
    return ST_ok;
}

Status session_set_shapes(Session *s, const SessionShape *shapes, Report *report)
{
    memcpy(s->before, s->dims, s->plan->dim_count * sizeof *s->dims);
    Status status = set_dims(s, shapes, report);
    bool changed = status == ST_ok;
    if (changed && (status = measure_ports(s, report)) == ST_ok)
        status = lay_out_fixed(s, report);
    if (status == ST_ok) {
        s->shaped = true;
        s->ran = false;
        return ST_ok;
    }
    memcpy(s->dims, s->before, s->plan->dim_count * sizeof *s->dims);
    Report ignored = {0};
    if (changed && s->shaped &&
        (measure_ports(s, &ignored) != ST_ok || lay_out_fixed(s, &ignored) != ST_ok))
        s->shaped = false; /* the device refuses what it took before */
    return status;
}
