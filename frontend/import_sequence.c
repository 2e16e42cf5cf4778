/* Importers: sequences and optionals, as lists known while importing; nothing of them is left in
 * the graph. */
#include "frontend/import_ops.h"

enum { MOST_ITEMS = 4096 };

/* ---- lists */

Tensor *list_make(Import *im, ListKind kind, int count, Tensor *const *items)
{
    static const char *const names[] = {"sequence", "optional", "map"};
    Cx *cx = im->cx;
    for (int i = 0; i < count; i++)
        if (tensor_is_poison(items[i]))
            return graph_poison(im->graph);
    GraphNode *node = NEW(cx->arena, GraphNode);
    Tensor *list = NEW(cx->arena, Tensor);
    *node = (GraphNode){.op = OP_list,
                        .input_count = count,
                        .inputs = arena_copy(cx->arena, items, (size_t)count * sizeof *items),
                        .output = list,
                        .attrs = {[AT_mode] = attr_name(names[kind])}};
    *list = (Tensor){.producer = node, .weight = -1};
    return list;
}

bool is_list(const Tensor *tensor)
{
    return tensor->producer->op == OP_list;
}

ListKind list_kind(const Tensor *list)
{
    char first = list->producer->attrs[AT_mode].name[0];
    return first == 's' ? LIST_sequence : first == 'o' ? LIST_optional : LIST_map;
}

static bool is_optional(const Tensor *x)
{
    return is_list(x) && list_kind(x) == LIST_optional;
}

int list_count(const Tensor *list)
{
    return list->producer->input_count;
}

Tensor *list_item(const Tensor *list, int i)
{
    return list->producer->inputs[i];
}

/* Input i, which has to be a sequence; NULL after a failure. */
static Tensor *arg_sequence(Import *im, const OnnxNode *n, uint32_t i)
{
    Tensor *list = arg_any(im, n, i);
    if (list && is_list(list) && list_kind(list) == LIST_sequence)
        return list;
    fail(im, ST_bad_model, "input %u is not a sequence%s", i,
         list && is_list(list) && list_kind(list) == LIST_map ? " of tensors" : "");
    return NULL;
}

/* A position in a list of `count`; from the end when negative. False when it is not known (without
 * a failure) or out of range (with one). */
static bool known_position(Import *im, const Tensor *x, int count, bool end_too, int *position)
{
    if (tensor_is_poison(x) || !x->elements || tensor_count_const(im->cx, x) != 1 ||
        x->elements[0]->kind != EX_const)
        return false;
    int64_t at = x->elements[0]->value;
    if (at < -count || at >= count + end_too) {
        fail(im, ST_bad_model, "position %lld in a sequence of %d", (long long)at, count);
        return false;
    }
    *position = (int)(at < 0 ? at + count : at);
    return true;
}

/* ---- sequences */

Tensor *import_sequence_empty(Import *im, const OnnxNode *n)
{
    (void)n;
    return list_make(im, LIST_sequence, 0, NULL);
}

Tensor *import_sequence_construct(Import *im, const OnnxNode *n)
{
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, n->input_count + 1);
    for (uint32_t i = 0; i < n->input_count; i++)
        items[i] = arg(im, n, i);
    return list_make(im, LIST_sequence, (int)n->input_count, items);
}

/* The tensors of a list along a new axis; they have one shape. */
static Tensor *stacked(Import *im, const Tensor *list, int axis)
{
    int count = list_count(list);
    Tensor **parts = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    for (int i = 0; i < count; i++) {
        if (is_list(list_item(list, i)))
            return fail(im, ST_unsupported, "sequences of sequences as one tensor");
        int at = axis_of(im, axis, list_item(list, i)->rank + 1);
        parts[i] = unsqueeze(im, list_item(list, i), at);
        axis = at;
    }
    return graph_concat(im->graph, count, parts, axis);
}

/* A position that is known only in the run picks from equal tensors. */
Tensor *import_sequence_at(Import *im, const OnnxNode *n)
{
    Tensor *list = arg_sequence(im, n, 0), *position = arg(im, n, 1);
    int at;
    if (!list || cx_failed(im->cx))
        return graph_poison(im->graph);
    if (known_position(im, position, list_count(list), false, &at))
        return list_item(list, at);
    if (cx_failed(im->cx) || !list_count(list))
        return fail(im, ST_bad_model, "an element of an empty sequence");
    Tensor *all = stacked(im, list, 0);
    if (cx_failed(im->cx))
        return fail(im, ST_unsupported,
                    "elements of several shapes at a position not known when "
                    "compiling");
    return graph_gather(im->graph, all, reshape(im, position, 0, NULL), 0);
}

static Tensor *open_position(Import *im, const Tensor *position)
{
    return cx_failed(im->cx) ? graph_poison(im->graph) : unknown(im, position, "the position");
}

Tensor *import_sequence_insert(Import *im, const OnnxNode *n)
{
    Tensor *list = arg_sequence(im, n, 0), *item = arg(im, n, 1), *position = arg_maybe(im, n, 2);
    if (!list || cx_failed(im->cx))
        return graph_poison(im->graph);
    int count = list_count(list), at = count;
    if (position && !known_position(im, position, count, true, &at))
        return open_position(im, position);
    if (count >= MOST_ITEMS)
        return fail(im, ST_limit, "a sequence of more than %d elements", MOST_ITEMS);
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    for (int i = 0; i <= count; i++)
        items[i] = i == at ? item : list_item(list, i - (i > at));
    return list_make(im, LIST_sequence, count + 1, items);
}

Tensor *import_sequence_erase(Import *im, const OnnxNode *n)
{
    Tensor *list = arg_sequence(im, n, 0), *position = arg_maybe(im, n, 1);
    if (!list || cx_failed(im->cx))
        return graph_poison(im->graph);
    int count = list_count(list), at = count - 1;
    if (!count)
        return fail(im, ST_bad_model, "an element of an empty sequence");
    if (position && !known_position(im, position, count, false, &at))
        return open_position(im, position);
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, count);
    for (int i = 0; i < count - 1; i++)
        items[i] = list_item(list, i + (i >= at));
    return list_make(im, LIST_sequence, count - 1, items);
}

Tensor *import_sequence_length(Import *im, const OnnxNode *n)
{
    Tensor *list = arg_sequence(im, n, 0);
    if (!list)
        return graph_poison(im->graph);
    const Expr *count = expr_const(im->cx, list_count(list));
    return graph_elements(im->graph, 0, NULL, &count);
}

/* Where the parts of an axis end: sizes from `split` (one number: that size, the last part what is
 * left), or parts of one element. False after a failure. */
static bool read_parts(Import *im, Tensor *split, const Expr *extent, int *count,
                       const Expr **sizes)
{
    int64_t total = extent->kind == EX_const ? extent->value : -1, each = 1;
    if (split && split->rank == 1) {
        if (!split->elements || split->shape[0]->kind != EX_const) {
            unknown(im, split, "the split");
            return false;
        }
        *count = (int)split->shape[0]->value;
        for (int i = 0; i < *count; i++)
            sizes[i] = split->elements[i];
        return true;
    }
    int one;
    if (split && (!known_ints(im, split, "the split", &one, &each) || each < 1)) {
        fail(im, ST_bad_model, "parts of %lld elements", (long long)each);
        return false;
    }
    if (total < 0 || (total + each - 1) / each > MOST_ITEMS) {
        fail(im, ST_unsupported, "the extent of the axis is not known or more than %d parts",
             MOST_ITEMS);
        return false;
    }
    *count = (int)((total + each - 1) / each);
    for (int i = 0; i < *count; i++)
        sizes[i] = expr_const(im->cx, i < *count - 1 ? each : total - i * each);
    return true;
}

Tensor *import_split_to_sequence(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *split = arg_maybe(im, n, 1);
    int axis = axis_of(im, attr_i(im, n, "axis", 0), x->rank), count;
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    const Expr **sizes = NEW_ARRAY(im->cx->arena, const Expr *, MOST_ITEMS);
    if (!read_parts(im, split, x->shape[axis], &count, sizes))
        return graph_poison(im->graph);
    bool keep = split || attr_i(im, n, "keepdims", 1);
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    const Expr *start = expr_const(im->cx, 0);
    for (int i = 0; i < count; i++) {
        items[i] = slice_axis(im, x, axis, start, sizes[i]);
        items[i] = keep ? items[i] : squeeze(im, items[i], axis);
        start = expr_add(im->cx, start, sizes[i]);
    }
    if (!graph_same_dim(im->graph, start, x->shape[axis]))
        return fail(im, ST_bad_model, "the parts do not add up to axis %d of %s", axis,
                    tensor_shape_text(im->cx, x));
    return list_make(im, LIST_sequence, count, items);
}

Tensor *import_concat_from_sequence(Import *im, const OnnxNode *n)
{
    Tensor *list = arg_sequence(im, n, 0);
    int64_t axis = attr_i(im, n, "axis", 0);
    if (!list || cx_failed(im->cx))
        return graph_poison(im->graph);
    int count = list_count(list);
    if (!count || !attr(im, n, "axis"))
        return fail(im, ST_bad_model, "an empty sequence as one tensor, or no axis");
    if (attr_i(im, n, "new_axis", 0))
        return stacked(im, list, (int)(axis < -MAX_RANK || axis > MAX_RANK ? MAX_RANK + 1 : axis));
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, count);
    for (int i = 0; i < count; i++) {
        items[i] = list_item(list, i);
        if (is_list(items[i]))
            return fail(im, ST_unsupported, "sequences of sequences as one tensor");
    }
    return graph_concat(im->graph, count, items, axis_of(im, axis, items[0]->rank));
}

/* The body, once per element of the first sequence. Other sequences go along with it, tensors stay.
 */
Tensor *import_sequence_map(Import *im, const OnnxNode *n)
{
    Tensor *list = arg_sequence(im, n, 0);
    const OnnxAttr *body = attr(im, n, "body");
    if (!list || !body || body->type != OA_graph ||
        body->graphs[0]->input_count != n->input_count ||
        body->graphs[0]->output_count < n->output_count)
        return fail(im, ST_bad_model, "the body does not fit the node's inputs and outputs");
    int count = list_count(list);
    uint32_t outputs = im->result_count;
    Tensor **inputs = NEW_ARRAY(im->cx->arena, Tensor *, n->input_count + 1),
           **results = NEW_ARRAY(im->cx->arena, Tensor *, outputs + 1),
           **lists = NEW_ARRAY(im->cx->arena, Tensor *, (size_t)outputs * (size_t)(count + 1));
    for (int k = 0; k < count; k++) {
        for (uint32_t i = 0; i < n->input_count; i++) {
            inputs[i] = arg_any(im, n, i);
            bool moves = inputs[i] && is_list(inputs[i]);
            if (moves && list_count(inputs[i]) != count)
                return fail(im, ST_bad_model, "sequences of %d and %d elements", count,
                            list_count(inputs[i]));
            inputs[i] = moves ? list_item(inputs[i], k) : inputs[i];
        }
        if (!import_subgraph(im, body->graphs[0], inputs, results, outputs))
            return graph_poison(im->graph);
        for (uint32_t o = 0; o < outputs; o++) {
            if (!results[o] || tensor_is_poison(results[o]))
                return graph_poison(im->graph);
            lists[o * (size_t)(count + 1) + (size_t)k] = results[o];
        }
    }
    for (uint32_t o = 0; o < outputs; o++)
        set_result(im, o, list_make(im, LIST_sequence, count, lists + o * (size_t)(count + 1)));
    return outputs ? im->results[0] : graph_poison(im->graph);
}

/* ---- optionals */

/* Without an input an optional that is not there. */
Tensor *import_optional(Import *im, const OnnxNode *n)
{
    Tensor *x = arg_any(im, n, 0);
    return list_make(im, LIST_optional, x ? 1 : 0, &x);
}

/* Since opset 18 what is no optional counts as one that is there. */
Tensor *import_optional_get_element(Import *im, const OnnxNode *n)
{
    Tensor *x = arg_any(im, n, 0);
    if (!x)
        return arg(im, n, 0);
    if (!is_optional(x))
        return x;
    return list_count(x) ? list_item(x, 0) : fail(im, ST_bad_model, "the optional holds nothing");
}

Tensor *import_optional_has_element(Import *im, const OnnxNode *n)
{
    const Tensor *x = arg_any(im, n, 0);
    bool there = x && !(is_optional(x) && !list_count(x));
    const Expr *value = expr_const(im->cx, there);
    return graph_elements_of(im->graph, DT_bool, 0, NULL, &value);
}
