/* The driver of pulling: axes for the roots, loads for what lies outside, one lower_<op> per
 * canonical operation for what lies inside (lower_view.c, lower_sum.c). Shared subexpressions are
 * found again by (tensor, index, guards). */
#include "passes/lower_nest.h"

#include <string.h>

enum { MAX_PULLED = 4096 };

struct Pulled {
    Pulled *next;
    const Tensor *tensor;
    int guard_count;
    const Guard *guards;
    const Expr **index;
    Value *value;
};

typedef Value *LowerOp(Pull *p, const GraphNode *node, const Expr *const *index);

static LowerOp *const lower_ops[OP_count] = {
#define GRAPH(name, least, most, attrs) [OP_##name] = lower_##name,
#include "ir/graph.def"
#undef GRAPH
};

static Buffer *tensor_buffer(Pull *p, Tensor *tensor, BufferRole role)
{
    Buffer **slot = &p->buffers[tensor->id];
    if (*slot)
        return *slot;
    const char *name = arena_printf(p->cx->arena, "t%u", tensor->id);
    *slot = nest_buffer(p->nest, name, tensor->dtype, role, tensor->rank, tensor->shape);
    if (p->layouts && p->layouts[tensor->id].strides)
        (*slot)->strides = p->layouts[tensor->id].strides;
    VEC_PUSH(p->cx->arena, p->out->tensors, p->out->tensor_count, p->tensor_cap, tensor);
    return *slot;
}

/* One-element constants become part of the kernel. */
static Value *inline_constant(Pull *p, const Tensor *tensor)
{
    if (!tensor->data || tensor->rank > MAX_RANK)
        return NULL;
    for (int d = 0; d < tensor->rank; d++)
        if (!expr_is_const(tensor->shape[d], 1))
            return NULL;
    return nest_const(p->nest, dtype_compute(tensor->dtype),
                      dtype_load(tensor->dtype, tensor->data, 0));
}

static Value *load(Pull *p, Tensor *tensor, const Expr *const *index, const Guard *guards,
                   int count, Scalar fill)
{
    if (!count) {
        Value *constant = inline_constant(p, tensor);
        if (constant)
            return constant;
    }
    BufferRole role = tensor->producer->op == OP_constant ? BUF_const : BUF_in;
    return nest_load(p->nest, tensor_buffer(p, tensor, role), index, guards, count, fill);
}

static bool same_guards(const Pulled *m, const Pull *p)
{
    return m->guard_count == p->guard_count &&
           memcmp(m->guards, p->guards, (size_t)m->guard_count * sizeof *m->guards) == 0;
}

Value *pull(Pull *p, Tensor *tensor, const Expr *const *index)
{
    for (Pulled *m = p->memo; m; m = m->next)
        if (m->tensor == tensor && same_guards(m, p) &&
            (!tensor->rank || memcmp(m->index, index, (size_t)tensor->rank * sizeof *index) == 0))
            return m->value;
    Value *value;
    if (!p->group->inside[tensor->id]) {
        value = load(p, tensor, index, p->guards, p->guard_count, (Scalar){0});
    } else {
        const GraphNode *outer = p->node;
        p->node = tensor->producer;
        value = lower_ops[tensor->producer->op](p, tensor->producer, index);
        p->node = outer;
        DtypeClass class = dtype_class(tensor->dtype);
        if (value->dtype != dtype_compute(tensor->dtype) ||
            (class != DC_FLOAT && dtype_bits(tensor->dtype) < 32))
            value = nest_cast(p->nest, tensor->dtype, value);
    }
    Pulled *m = NEW(p->cx->arena, Pulled);
    *m = (Pulled){p->memo,
                  tensor,
                  p->guard_count,
                  arena_copy(p->cx->arena, p->guards, (size_t)p->guard_count * sizeof *p->guards),
                  arena_copy(p->cx->arena, index, (size_t)tensor->rank * sizeof *index),
                  value};
    return (p->memo = m)->value;
}

Value *pull_condition(Pull *p, const Guard *guards, int count)
{
    Nest *nest = p->nest;
    Value *all = nest_const(nest, DT_bool, (Scalar){.i = 1});
    for (int g = 0; g < count; g++) {
        Value *e = nest_index(nest, DT_i64, guards[g].e);
        if (!expr_always_le(p->cx, guards[g].lo, guards[g].e))
            all = nest_scalar(
                nest, S_and, all,
                nest_scalar(nest, S_le, nest_index(nest, DT_i64, guards[g].lo), e, NULL), NULL);
        if (!expr_always_lt(p->cx, guards[g].e, guards[g].hi))
            all = nest_scalar(
                nest, S_and, all,
                nest_scalar(nest, S_lt, e, nest_index(nest, DT_i64, guards[g].hi), NULL), NULL);
    }
    return all;
}

Value *pull_guarded(Pull *p, Tensor *tensor, const Expr *const *index, const Guard *guards,
                    int count, Scalar fill)
{
    Guard needed[MAX_RANK];
    int kept = 0;
    for (int g = 0; g < count; g++)
        if (!expr_always_le(p->cx, guards[g].lo, guards[g].e) ||
            !expr_always_lt(p->cx, guards[g].e, guards[g].hi))
            needed[kept++] = guards[g];
    if (!kept)
        return pull(p, tensor, index);
    if (p->guard_count + kept > (int)(sizeof p->guards / sizeof *p->guards)) {
        cx_fail(p->cx, ST_limit, "too many nested conditions in one kernel");
        return nest_const(p->nest, dtype_compute(tensor->dtype), fill);
    }
    if (!p->group->inside[tensor->id] && !p->guard_count)
        return load(p, tensor, index, needed, kept, fill);
    memcpy(p->guards + p->guard_count, needed, (size_t)kept * sizeof *needed);
    p->guard_count += kept;
    Value *value = pull(p, tensor, index);
    p->guard_count -= kept;
    Value *other = nest_const(p->nest, dtype_compute(value->dtype), fill);
    return nest_scalar(p->nest, S_select, pull_condition(p, needed, kept), value, other);
}

const Expr *pull_axis(Pull *p, const char *name, const Expr *extent, uint64_t *axes)
{
    if (expr_is_const(extent, 1))
        return expr_const(p->cx, 0);
    const Axis *axis =
        nest_axis(p->nest, arena_printf(p->cx->arena, "%s%d", name, p->nest->axis_count), extent);
    *axes |= 1ull << axis->number;
    return axis->sym;
}

Value *pull_reduce(Pull *p, Monoid monoid, uint64_t axes, Value *value)
{
    return axes ? nest_reduce(p->nest, monoid, axes, value) : value;
}

void pull_broadcast(Pull *p, const Tensor *operand, int rank, const Expr *const *index,
                    const Expr **out)
{
    const Expr *zero = expr_const(p->cx, 0);
    for (int d = 0; d < operand->rank; d++) {
        const Expr *i = index[rank - operand->rank + d], *extent = operand->shape[d];
        /* an extent that may be 1 at run time: clamping the index is right for 1 and changes
         * nothing otherwise */
        bool as_it_is = expr_is_const(extent, 0) || expr_always_lt(p->cx, i, extent);
        if (expr_is_const(extent, 1))
            out[d] = zero;
        else
            out[d] = as_it_is ? i : expr_min(p->cx, i, expr_addi(p->cx, extent, -1));
    }
}

/* The group count of a grouped convolution that computes this root, so that its channel axis is
 * split in groups; else 1. */
static int64_t channel_groups(const Pull *p, const Tensor *root)
{
    const GraphNode *node = root->producer;
    for (int hops = 0; hops < 32; hops++) {
        if (node->op == OP_conv)
            return node->attrs[AT_groups].i;
        if (node->op != OP_map && node->op != OP_cast)
            return 1;
        const GraphNode *next = NULL;
        for (int i = 0; i < node->input_count; i++)
            if (p->group->inside[node->inputs[i]->id] && node->inputs[i]->rank == root->rank)
                next = node->inputs[i]->producer;
        if (!next)
            return 1;
        node = next;
    }
    return 1;
}

/* Index of a reshape's result from that of its operand; false when a dim of the operand is cut. */
static bool merged_index(Pull *p, const GraphNode *node, const Expr *const *own, const Expr **index)
{
    DimSegment segments[2 * MAX_RANK];
    int count = lower_reshape_segments(p->cx, node, segments);
    for (int i = 0; i < count; i++) {
        DimSegment s = segments[i];
        const Expr *at = expr_const(p->cx, 0);
        for (int d = s.from; d < s.from + s.from_count; d++)
            at = expr_add(p->cx, expr_mul(p->cx, at, node->inputs[0]->shape[d]), own[d]);
        if (s.to_count > 1)
            return false;
        if (s.to_count)
            index[s.to] = at;
    }
    return true;
}

/* Rows, columns and batches of an attention are axes of their own, also where what follows the
 * product merges them. False when `tensor` does not come from one pointwise. */
static bool attention_index(Pull *p, Tensor *tensor, const Expr **index)
{
    const GraphNode *node = tensor->producer;
    const Expr *own[MAX_RANK];
    uint64_t axes = 0;
    if (!p->group->inside[tensor->id])
        return false;
    if (node->op == OP_matmul && lower_softmax_inside(p->group, node)) {
        for (int d = 0; d < tensor->rank; d++)
            index[d] = pull_axis(p, "a", tensor->shape[d], &axes);
        return true;
    }
    if (node->op == OP_map || node->op == OP_cast) {
        for (int i = 0; i < node->input_count; i++)
            if (graph_same_shape(node->inputs[i], tensor) &&
                attention_index(p, node->inputs[i], index))
                return true;
        return false;
    }
    if ((node->op != OP_reshape && node->op != OP_transpose) ||
        !attention_index(p, node->inputs[0], own))
        return false;
    for (int d = 0; node->op == OP_transpose && d < tensor->rank; d++)
        index[d] = own[node->attrs[AT_perm].ints[d]];
    return node->op == OP_transpose || merged_index(p, node, own, index);
}

static void root_axes(Pull *p, const Tensor *root, const Expr **index)
{
    uint64_t axes = 0;
    int64_t groups = root->rank > 1 ? channel_groups(p, root) : 1;
    for (int i = 0; i < root->rank; i++) {
        int d = p->layouts && p->layouts[root->id].strides ? p->layouts[root->id].order[i] : i;
        const Expr *extent = root->shape[d];
        bool split = d == 1 && groups > 1 && extent->kind == EX_const && extent->value > groups;
        if (split) {
            int64_t each = extent->value / groups;
            const Expr *g = pull_axis(p, "g", expr_const(p->cx, groups), &axes);
            index[d] = expr_add(p->cx, expr_muli(p->cx, g, each),
                                pull_axis(p, "o", expr_const(p->cx, each), &axes));
        } else {
            index[d] = pull_axis(p, "a", extent, &axes);
        }
    }
}

typedef struct UsedDims {
    const Graph *graph;
    bool *used; /* by dim of the graph */
} UsedDims;

static void use_dim(void *user, const Expr *sym)
{
    UsedDims *u = user;
    for (uint32_t i = 0; i < u->graph->dim_count; i++)
        u->used[i] |= u->graph->dims[i] == sym;
}

/* The dims that the group's nodes and what they read are made of: others may not be known yet when
 * the kernel runs. */
static void use_dims(Pull *p)
{
    const Graph *graph = p->graph;
    UsedDims u = {graph, NEW_ARRAY(p->cx->arena, bool, graph->dim_count)};
    for (uint32_t i = 0; i < graph->node_count && graph->dim_count; i++) {
        const GraphNode *node = graph->nodes[i];
        if (!p->group->inside[node->output->id])
            continue;
        graph_node_symbols(p->cx, node, use_dim, &u);
        for (int k = 0; k < node->input_count; k++)
            for (int d = 0; d < node->inputs[k]->rank; d++)
                expr_symbols(p->cx, node->inputs[k]->shape[d], use_dim, &u);
    }
    for (uint32_t i = 0; i < graph->dim_count; i++)
        if (u.used[i])
            nest_use_dim(p->nest, graph->dims[i]);
}

typedef struct OwnDims {
    const Nest *nest;
    bool all;
} OwnDims;

static void look_at_dim(void *user, const Expr *sym)
{
    OwnDims *own = user;
    own->all = own->all && nest_sym(own->nest, sym).kind == SYM_dim;
}

/* What is checked before a run of dims that the nest has. */
static void use_checks(Pull *p)
{
    for (const Graph *graph = p->graph; graph; graph = graph->outer)
        for (uint32_t i = 0; i < graph->check_count; i++) {
            const GraphCheck *check = &graph->checks[i];
            OwnDims own = {p->nest, check->rule == SIZE_equal && check->a != check->b};
            expr_symbols(p->cx, check->a, look_at_dim, &own);
            expr_symbols(p->cx, check->b, look_at_dim, &own);
            if (own.all && !expr_is_poison(check->a) && !expr_is_poison(check->b))
                nest_equal(p->nest, check->a, check->b);
        }
}

bool lower_group(Cx *cx, const Graph *graph, const Group *group, const TensorLayout *layouts,
                 LoweredGroup *out)
{
    *out = (LoweredGroup){0};
    Pull *p = NEW(cx->arena, Pull);
    *p = (Pull){.cx = cx, .graph = graph, .group = group, .layouts = layouts, .out = out};
    p->nest = nest_new(cx, arena_printf(cx->arena, "k%u", group->roots[0]->id));
    uint32_t tensors = 0;
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->output->id >= tensors)
            tensors = graph->nodes[i]->output->id + 1;
    p->buffers = NEW_ARRAY(cx->arena, Buffer *, tensors);
    use_dims(p);
    use_checks(p);
    const Expr *index[MAX_RANK];
    for (uint32_t r = 0; r < group->root_count; r++) {
        Tensor *root = group->roots[r];
        cx->where = root->producer->source;
        if ((!r || !graph_same_shape(root, group->roots[0])) && !attention_index(p, root, index))
            root_axes(p, root, index);
        Tensor *stored = lower_gives_bits(root->producer) ? root->producer->inputs[0] : root;
        Value *value = pull(p, stored, index);
        if (cx_failed(cx))
            return false;
        Buffer *out_buffer = tensor_buffer(p, root, BUF_out);
        out_buffer->dtype = stored->dtype;
        nest_store(p->nest, out_buffer, index, NULL, 0, value);
    }
    cx->where = NULL;
    out->nest = p->nest;
    return !cx_failed(cx) && nest_verify(p->nest);
}
