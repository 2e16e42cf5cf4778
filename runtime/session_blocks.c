/* What a session knows of its plan before any shape: which block a tensor gets its memory in and
 * how long it is used there, and what each block is made of. */
#include "runtime/session_impl.h"

/* --- what the steps use --- */

/* A step on the way to the present one: those around it are loops and branches. */
typedef struct Place {
    const struct Place *around;
    uint32_t block, step; /* step of the block */
} Place;

typedef struct Uses {
    Session *s;
    const Place *at;
    bool *sized; /* by tensor: memory that the session's own steps size */
} Uses;

/* A body's step uses a tensor of a block around it until the step ends whose body it is. */
static void use_tensor(const Uses *u, uint32_t tensor)
{
    Session *s = u->s;
    if (s->home[tensor] == UINT32_MAX)
        s->home[tensor] = u->at->block;
    const Place *place = u->at;
    while (place && place->block != s->home[tensor])
        place = place->around;
    if (!place)
        s->last[tensor] = UINT32_MAX;
    else if (s->last[tensor] < place->step)
        s->last[tensor] = place->step;
}

/* What a loop or branch reads when a body's last block is done, or has another tensor lie in. */
static void keep_tensor(const Uses *u, uint32_t tensor)
{
    use_tensor(u, tensor);
    u->s->last[tensor] = UINT32_MAX;
}

static void keep_loop(const Uses *u, const PlanLoop *loop)
{
    if (loop->again != PLAN_NONE)
        keep_tensor(u, loop->again);
    for (uint32_t i = 0; i < loop->carried_count; i++)
        if (loop->carried[i].result != PLAN_NONE)
            keep_tensor(u, loop->carried[i].initial);
    for (uint32_t i = 0; i < loop->stacked_count; i++) {
        keep_tensor(u, loop->stacked[i].out);
        use_tensor(u, loop->stacked[i].result);
    }
}

static void keep_branch(const Uses *u, const PlanBranch *branch)
{
    for (uint32_t i = 0; i < branch->merge_count; i++) {
        keep_tensor(u, branch->merges[i].yes);
        keep_tensor(u, branch->merges[i].no);
    }
}

static void size_results(Uses *u, const PlanStep *step)
{
    const Plan *plan = u->s->plan;
    if (step->kind == PS_host)
        for (uint32_t b = plan->hosts[step->kernel].input_count; b < step->buffer_count; b++)
            if (step->buffers[b] != PLAN_NONE)
                u->sized[step->buffers[b]] = true;
    if (step->kind == PS_loop) {
        const PlanLoop *loop = &plan->loops[step->kernel];
        if (loop->counter != PLAN_NONE)
            u->sized[loop->counter] = true;
        for (uint32_t i = 0; i < loop->stacked_count; i++)
            u->sized[loop->stacked[i].result] = true;
    }
}

static void use_region(Uses *u, uint32_t region);

static void use_step(Uses *u, const PlanStep *step)
{
    const Plan *plan = u->s->plan;
    for (uint32_t b = 0; b < step->buffer_count; b++)
        if (step->buffers[b] != PLAN_NONE)
            use_tensor(u, step->buffers[b]);
    size_results(u, step);
    if (step->kind == PS_loop) {
        use_region(u, plan->loops[step->kernel].region);
        keep_loop(u, &plan->loops[step->kernel]);
    }
    if (step->kind == PS_branch) {
        use_region(u, plan->branches[step->kernel].yes);
        use_region(u, plan->branches[step->kernel].no);
        keep_branch(u, &plan->branches[step->kernel]);
    }
}

/* Regions as a run goes: bodies where their step is. */
static void use_region(Uses *u, uint32_t region)
{
    Session *s = u->s;
    Place place = {u->at, 0, 0};
    u->at = &place;
    for (uint32_t b = 0; b < s->plan->regions[region]; b++) {
        place.block = s->first_block[region] + b;
        const Block *block = &s->blocks[place.block];
        for (place.step = 0; place.step < block->step_count; place.step++)
            use_step(u, &s->plan->steps[block->step + place.step]);
    }
    u->at = place.around;
}

static void divide(Session *s)
{
    const Plan *plan = s->plan;
    uint32_t at = 0, step = 0, check = 0;
    for (uint32_t r = 0; r < plan->region_count; r++) {
        s->first_block[r] = at;
        for (uint32_t b = 0; b < plan->regions[r]; b++, at++) {
            const PlanBlock *from = &plan->blocks[at];
            s->blocks[at] = (Block){.region = r,
                                    .step = step,
                                    .step_count = from->step_count,
                                    .check = check,
                                    .check_count = from->check_count};
            step += from->step_count;
            check += from->check_count;
        }
    }
}

static void find_uses(Session *s, bool *sized)
{
    const Plan *plan = s->plan;
    Uses uses = {s, NULL, sized};
    for (uint32_t t = 0; t < plan->tensor_count; t++)
        s->home[t] = plan->tensors[t].place == PP_input ? 0 : UINT32_MAX;
    use_region(&uses, 0);
    for (uint32_t i = 0; i < plan->output_count; i++)
        s->last[plan->outputs[i].tensor] = UINT32_MAX;
    for (uint32_t i = 0; i < plan->dim_count; i++) {
        uint32_t t = plan->dims[i].tensor;
        if (plan->tensors[t].place == PP_input)
            continue;
        s->next_bound[i] = s->bound[t];
        s->bound[t] = i + 1;
    }
}

/* --- what blocks are made of --- */

typedef struct BlockDims {
    Session *s;
    uint32_t number, *seen; /* by dim: 1 + last block that uses it */
    uint32_t capacity;
} BlockDims;

static void use_dim(void *user, uint32_t dim)
{
    BlockDims *d = user;
    const Plan *plan = d->s->plan;
    Block *block = &d->s->blocks[d->number];
    if (plan->tensors[plan->dims[dim].tensor].place == PP_input || d->seen[dim] == d->number + 1)
        return;
    d->seen[dim] = d->number + 1;
    VEC_PUSH(d->s->cx.arena, block->dims, block->dim_count, d->capacity, dim);
}

static void use_shape(BlockDims *d, uint32_t tensor)
{
    const PlanTensor *t = &d->s->plan->tensors[tensor];
    for (int i = 0; i < t->rank; i++)
        expr_code_slots(t->shape[i], use_dim, d);
}

static void list_dims(Session *s, uint32_t number, uint32_t *seen)
{
    const Plan *plan = s->plan;
    Block *block = &s->blocks[number];
    BlockDims dims = {s, number, seen, 0};
    for (uint32_t i = 0; i < block->tensor_count; i++)
        use_shape(&dims, block->tensors[i]);
    for (uint32_t i = block->check; i < block->check + block->check_count; i++) {
        expr_code_slots(plan->checks[i].a, use_dim, &dims);
        expr_code_slots(plan->checks[i].b, use_dim, &dims);
    }
    for (uint32_t i = 0; i < block->step_count; i++) {
        const PlanStep *step = &plan->steps[block->step + i];
        for (uint32_t d = 0; d < step->dim_count; d++)
            use_dim(&dims, step->dims[d]);
        for (uint32_t b = 0; step->kind == PS_copy && b < 2; b++)
            use_shape(&dims, step->buffers[b]);
    }
    block->values = NEW_ARRAY(s->cx.arena, int64_t, block->dim_count);
}

/* Tensors that get memory with their block. */
static bool is_blocks(const Session *s, uint32_t tensor, const bool *sized)
{
    PlanPlace place = s->plan->tensors[tensor].place;
    return s->home[tensor] != UINT32_MAX &&
           (place == PP_slab || place == PP_input || place == PP_output ||
            (place == PP_own && !sized[tensor]));
}

static void fill_blocks(Session *s, const bool *sized)
{
    uint32_t *capacity = NEW_ARRAY(s->cx.arena, uint32_t, s->block_count);
    uint32_t *seen = NEW_ARRAY(s->cx.arena, uint32_t, s->plan->dim_count);
    for (uint32_t t = 0; t < s->plan->tensor_count; t++)
        if (is_blocks(s, t, sized) && s->home[t] < s->block_count) {
            Block *block = &s->blocks[s->home[t]];
            VEC_PUSH(s->cx.arena, block->tensors, block->tensor_count, capacity[s->home[t]], t);
        }
    s->plain = s->block_count == 1;
    for (uint32_t b = 0; b < s->block_count; b++) {
        list_dims(s, b, seen);
        for (uint32_t i = 0; i < s->blocks[b].step_count; i++)
            s->plain &= !session_is_ours(s, &s->plan->steps[s->blocks[b].step + i]);
    }
}

/* --- the whole --- */

void session_blocks(Session *s)
{
    bool *sized = NEW_ARRAY(s->cx.arena, bool, s->plan->tensor_count);
    divide(s);
    find_uses(s, sized);
    fill_blocks(s, sized);
}

bool session_is_steady(const Session *s, const PlanLoop *loop)
{
    for (uint32_t b = 0; b < s->plan->regions[loop->region]; b++) {
        const Block *block = &s->blocks[s->first_block[loop->region] + b];
        for (uint32_t i = 0; i < block->step_count; i++)
            if (session_is_ours(s, &s->plan->steps[block->step + i]))
                return false;
        if (block->dim_count)
            return false;
    }
    for (uint32_t i = 0; i < loop->carried_count; i++)
        if (loop->carried[i].in != PLAN_NONE && s->bound[loop->carried[i].in])
            return false;
    return true;
}
