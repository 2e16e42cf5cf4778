/* What importers of operators with bodies (If, Loop, Scan) ask of them and of their results. */
#include "frontend/import_body.h"

const OnnxGraph *body_attr(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    if (found && found->type == OA_graph)
        return found->graphs[0];
    fail(im, ST_bad_model, "the graph '%s' is missing", name);
    return NULL;
}

bool known_bool(const Tensor *x, bool *value)
{
    if (!x->elements || x->elements[0]->kind != EX_const)
        return false;
    *value = x->elements[0]->value != 0;
    return true;
}

Tensor *give_up(Import *im, Tensor **results, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        results[i] = graph_poison(im->graph);
    return graph_poison(im->graph);
}

Tensor *one_element(Import *im, Tensor *x, Dtype dtype, const char *what)
{
    if (tensor_is_poison(x))
        return x;
    if (is_list(x) || x->dtype != dtype || tensor_count_const(im->cx, x) != 1)
        return fail(im, ST_bad_model, "%s is not one %s", what, dtype_name(dtype));
    return reshape(im, x, 0, NULL);
}

bool all_there(Import *im, uint32_t count, Tensor *const *results)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!results[i]) {
            fail(im, ST_bad_model, "output %u of a body has no value", i);
            return false;
        }
        if (tensor_is_poison(results[i]))
            return false;
    }
    return true;
}

bool any_list(uint32_t count, Tensor *const *list)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i] && is_list(list[i]))
            return true;
    return false;
}
