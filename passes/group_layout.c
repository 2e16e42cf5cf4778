/* Layouts of tensors between kernels. Convolutions and pools compute fastest with the channels
 * innermost: every tensor between kernels that one of them makes or reads is laid out so. Inputs,
 * outputs and weights of the model keep the order the caller knows. */
#include "passes/group_impl.h"

const TensorLayout *group_layouts(Cx *cx, const Graph *graph, const Grouping *grouping)
{
    TensorLayout *layouts = NEW_ARRAY(cx->arena, TensorLayout, grouping->tensor_count);
    bool *spatial = NEW_ARRAY(cx->arena, bool, grouping->tensor_count);
    for (uint32_t g = 0; g < grouping->count; g++) {
        const GroupInfo *info = &grouping->groups[g];
        for (uint32_t i = 0; i < info->node_count; i++) {
            const GraphNode *node = info->nodes[i];
            if (node->op != OP_conv && node->op != OP_window)
                continue;
            spatial[node->inputs[0]->id] = true;
            spatial[info->group.roots[0]->id] |=
                graph_same_shape(info->group.roots[0], node->output);
        }
    }
    for (uint32_t o = 0; o < graph->output_count; o++)
        spatial[graph->outputs[o]->id] = false;
    for (uint32_t i = 0; i < graph->node_count; i++)
        for (int k = 0; k < graph->nodes[i]->input_count; k++)
            if (group_node_kind(graph->nodes[i]) == K_step)
                spatial[graph->nodes[i]->inputs[k]->id] = false;
    for (uint32_t g = 0; g < grouping->count; g++) {
        const Tensor *t = grouping->groups[g].group.roots[0];
        TensorLayout *layout = &layouts[t->id];
        if (!spatial[t->id] || t->rank < 3 || grouping->groups[g].init)
            continue;
        layout->strides = NEW_ARRAY(cx->arena, const Expr *, t->rank);
        for (int i = 1; i < t->rank; i++)
            layout->order[i] = i == t->rank - 1 ? 1 : i + 1;
        const Expr *stride = expr_const(cx, 1);
        for (int i = t->rank - 1; i >= 0; i--) {
            layout->strides[layout->order[i]] = stride;
            stride = expr_mul(cx, stride, t->shape[layout->order[i]]);
        }
    }
    return layouts;
}
