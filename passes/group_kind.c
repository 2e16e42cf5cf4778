/* What nodes are to fusion (group.c). */
#include "passes/group_impl.h"
#include "passes/lower_nest.h"

/* Sums, differences and products of positions and numbers, and conditions on them: indices and
 * guards that lowering sees through. */
static bool is_position(const GraphNode *node)
{
    ScalarOp op = (ScalarOp)node->attrs[AT_scalar].i;
    Dtype dtype = node->output->dtype;
    bool number = dtype == DT_i64 && (op == S_add || op == S_sub || op == S_mul);
    bool condition = dtype == DT_bool && (op == S_le || op == S_lt || op == S_and);
    bool all = node->op == OP_map && (number || condition);
    for (int i = 0; all && i < node->input_count; i++) {
        const Tensor *x = node->inputs[i];
        all = group_node_kind(x->producer) == K_free &&
              (x->dtype == DT_i64 || x->dtype == DT_bool) &&
              (x->producer->op != OP_constant || x->rank == 0 || x->elements);
    }
    return all;
}

bool group_is_table(const GraphNode *node)
{
    enum { MOST_SELECTIONS = 16 };
    const Tensor *out = node->output;
    int64_t count = 1, step;
    if (node->op != OP_constant)
        return false;
    for (int d = 0; d < out->rank; d++)
        count *= out->shape[d]->value;
    return !out->elements || (count > MOST_SELECTIONS && !lower_progression(out, count, &step));
}

NodeKind group_node_kind(const GraphNode *node)
{
    if ((node->output->elements && node->op != OP_input) || is_position(node))
        return K_free;
    switch (node->op) {
    case OP_none:
    case OP_list:
    case OP_count:
    case OP_input:
    case OP_constant:
    case OP_fill:
    case OP_iota:
    case OP_dim_value:
    case OP_shape_value: return K_free;
    case OP_reshape:
    case OP_expand:
    case OP_transpose:
    case OP_slice: return K_view;
    case OP_map:
    case OP_cast:
    case OP_bitcast:
    case OP_pad:
    case OP_concat:
    case OP_gather:
    case OP_gather_elements:
    case OP_gather_nd: return K_map;
    case OP_reduce:
    case OP_softmax:
    case OP_normalize: return K_row;
    case OP_arg:
    case OP_scan:
    case OP_window:
    case OP_window_arg:
    case OP_scatter_elements:
    case OP_scatter_nd: return K_combine;
    case OP_matmul:
    case OP_conv:
    case OP_conv_transpose: return K_contraction;
    case OP_part:
    case OP_loop:
    case OP_branch:
    case OP_host: return K_step;
    }
    return K_step;
}
