/* Fusion: one pass over the nodes from the results backwards. When a node is visited all its
 * readers have been placed; it joins their group, or is computed again by each reader, or becomes
 * the root of a kernel of its own.
 *
 * Rules, in order:
 *  1. What is asked for (graph outputs), what is a step of its own (on the host, loops, branches)
 * and what such a step reads is a root.
 *  2. Nodes that cost nothing to compute again (constants, fills, counters, known element lists,
 * views that several groups read or that start at an input or a weight) are inside every reader's
 * kernel; what such a view looks at is a root.
 *  3. Any other node read by several groups is a root.
 *  4. What depends on weights only never joins a kernel that runs every time: it is computed once,
 * at load. Views do join.
 *  5. A kernel has one anchor: a contraction; or reductions over the same rows (softmax, norms,
 * decomposed norms); or one other combining operation; or none.
 *  6. An anchor joins when the way from the root to it is pointwise: maps of its own shape,
 * reshapes and transposes (epilogue). Row reductions also join when they are spread back over the
 * rows they reduced.
 *  7. In front of a contraction only views and casts join: anything else would be repeated for
 * every column block.
 *  8. A bitcast to or from a float is a root: memory alone has bits.
 *  9. A concatenation joins with at most three inputs, and never in front of a contraction.
 * 10. softmax(f(q k)) v is one kernel (group_attention.c) when nothing but elementwise operations
 * of its own shape, and views that merge or exchange its outer dims, follow the product: the scores
 * stay in the cache, or in registers. On a GPU not for a few queries: the keys would have too few
 * blocks of threads.
 * 11. At most MAX_DEPTH changes of the index follow each other in a kernel, and no node is asked
 * for at more than MAX_COPIES indices: chains of concatenations would double the kernel at each.
 * 12. On a CPU a scatter is a root: its kernel stores updates one by one (sched_scatter.c).
 *
 * Requirements for editors: the result is a function of the graph alone; a group's root is its last
 * node, so roots in node order are an order of execution; every rule that stops a fusion leaves its
 * reason in GroupInfo.why. */
#include "passes/group_impl.h"

typedef struct Place {
    uint32_t group;  /* 1 + index of its group; 0 = not placed, or inside every reader */
    bool everywhere; /* computed again by each reader */
    bool used;
    bool pointwise; /* reached from the root through pointwise operations only */
    bool feeds;     /* in front of the group's contraction */
    bool weights_only;
    uint32_t depth;  /* nodes that change the index, between the root and this one */
    uint32_t copies; /* indices at which the kernel may ask for it: a bound */
} Place;

/* Every change of the index makes expressions longer, and every reader with an index of its own
 * one more copy of what is in front: both are bounded, since they multiply along chains. */
enum { MAX_DEPTH = 8, MAX_COPIES = 16 };

typedef struct Open {
    GraphNode *root;
    const char *why;
    bool contraction, combine, attention;
    const Tensor *rows; /* input of the row reductions, or NULL */
    uint64_t row_axes;
} Open;

typedef struct Fuse {
    Cx *cx;
    const Graph *graph;
    Place *places; /* by tensor id */
    uint32_t tensor_count;
    Open *open;
    uint32_t open_count, open_cap;
    bool cpu;
    GraphNode ***readers;        /* by tensor id, NULL-terminated */
    const GraphNode **attention; /* by tensor id: the product whose kernel it may join, or NULL */
} Fuse;

static uint64_t row_axes(const GraphNode *node)
{
    uint64_t axes = 0;
    if (node->op == OP_softmax)
        return 1ull << node->attrs[AT_axis].i;
    for (int i = 0; i < node->attrs[AT_axes].count; i++)
        axes |= 1ull << node->attrs[AT_axes].ints[i];
    return axes;
}

static void collect_readers(Fuse *f)
{
    Arena *arena = f->cx->arena;
    uint32_t *count = NEW_ARRAY(arena, uint32_t, f->tensor_count);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < f->graph->node_count; i++) {
            GraphNode *node = f->graph->nodes[i];
            for (int k = 0; k < node->input_count; k++) {
                uint32_t id = node->inputs[k]->id;
                if (pass)
                    f->readers[id][--count[id]] = node;
                else
                    count[id]++;
            }
        }
        for (uint32_t t = 0; !pass && t < f->tensor_count; t++)
            f->readers[t] = NEW_ARRAY(arena, GraphNode *, count[t] + 1);
    }
}

/* Whether sizes, starts or contents of a node wait for the dims of a run. */
static bool uses_dims(const GraphNode *node)
{
    const Tensor *out = node->output;
    int64_t count = 1;
    bool open = false;
    for (int d = 0; d < out->rank; d++) {
        open |= out->shape[d]->kind != EX_const;
        count *= open ? 0 : out->shape[d]->value;
    }
    for (int64_t i = 0; out->elements && i < count; i++)
        open |= out->elements[i]->kind != EX_const;
    for (int a = 0; a < AT_count; a++)
        for (int i = 0; node->attrs[a].exprs && i < node->attrs[a].count; i++)
            open |= node->attrs[a].exprs[i]->kind != EX_const;
    return open;
}

static void mark_weights_only(Fuse *f)
{
    for (uint32_t i = 0; i < f->graph->node_count; i++) {
        const GraphNode *node = f->graph->nodes[i];
        bool only = node->op != OP_input && group_node_kind(node) != K_step;
        for (int k = 0; k < node->input_count; k++)
            only &= f->places[node->inputs[k]->id].weights_only;
        f->places[node->output->id].weights_only = only && !uses_dims(node);
    }
}

static void start_group(Fuse *f, GraphNode *node, const char *why)
{
    NodeKind kind = group_node_kind(node);
    Open open = {.root = node,
                 .why = why,
                 .contraction = kind == K_contraction,
                 .combine = kind == K_combine};
    if (kind == K_row) {
        open.rows = node->inputs[0];
        open.row_axes = row_axes(node);
    }
    VEC_PUSH(f->cx->arena, f->open, f->open_count, f->open_cap, open);
    Place *place = &f->places[node->output->id];
    place->group = f->open_count;
    place->pointwise = true;
    place->feeds = false;
    place->depth = 0;
    place->copies = 1;
}

/* How a node's readers within the group see it. */
typedef struct View {
    bool pointwise; /* every reader is pointwise and reads it at its own index, a permutation or a
                       reshape of it */
    bool feeds;     /* some reader is the contraction, or in front of it */
    bool spread;    /* every reader is a map or cast of its shape or of the group's row shape */
} View;

static View readers_view(const Fuse *f, const GraphNode *node, const Open *open)
{
    View view = {true, false, true};
    for (GraphNode **r = f->readers[node->output->id]; *r; r++) {
        const Place *place = &f->places[(*r)->output->id];
        bool map = (*r)->op == OP_map || (*r)->op == OP_cast;
        bool moves = (*r)->op == OP_reshape || (*r)->op == OP_transpose;
        view.pointwise &=
            place->pointwise && (moves || (map && graph_same_shape((*r)->output, node->output)));
        view.feeds |= place->feeds || group_node_kind(*r) == K_contraction;
        bool rows = open->rows && graph_same_shape((*r)->output, open->rows);
        view.spread &= (map && (graph_same_shape((*r)->output, node->output) || rows ||
                                graph_same_shape((*r)->output, node->inputs[0]))) ||
                       group_node_kind(*r) == K_row;
    }
    return view;
}

static const char *join_row(const GraphNode *node, Open *open, const View *view)
{
    const Tensor *rows = node->inputs[0];
    uint64_t axes = row_axes(node);
    if (open->contraction || open->combine)
        return "its reader combines elements in another way";
    if (open->rows) {
        if (!graph_same_shape(open->rows, rows) || open->row_axes != axes || !view->spread)
            return "its reader reduces other rows";
        return NULL;
    }
    bool whole = graph_same_shape(open->root->output, rows);
    if (!view->pointwise && !(view->spread && whole && node->attrs[AT_keep].i))
        return "its result is not read point by point";
    open->rows = rows;
    open->row_axes = axes;
    return NULL;
}

static bool is_gather(const GraphNode *node)
{
    return node->op == OP_gather || node->op == OP_gather_elements || node->op == OP_gather_nd;
}

/* Part of an attention whose product is in this group, and so is what reads the part. */
static bool joins_attention(const Fuse *f, const GraphNode *node, Open *open)
{
    const GraphNode *product = f->attention[node->output->id];
    uint32_t group = product ? f->places[product->output->id].group : 0;
    if (!group || &f->open[group - 1] != open)
        return false;
    if (node->op == OP_softmax)
        open->attention = group_stores_attention(f->cx, (GraphNode *const *const *)f->readers,
                                                 product, open->root);
    return open->attention;
}

/* Asks for its operand at parts of its own index, or at axes of its own: nothing grows. */
static bool keeps_index(Cx *cx, const GraphNode *node)
{
    DimSegment segments[2 * MAX_RANK];
    int count = node->op == OP_reshape ? lower_reshape_segments(cx, node, segments) : 0;
    for (int i = 0; i < count; i++)
        if (segments[i].from_count > 1 || segments[i].to_count > 1)
            return false;
    return count > 0 || node->op == OP_matmul || node->op == OP_softmax;
}

/* Depth and copies of a node within its readers' group. */
static void measure(const Fuse *f, const GraphNode *node, Place *place)
{
    uint64_t same = 0,
             others = 0; /* asked for at the readers' own index, and at indices made of it */
    uint32_t depth = 0;
    for (GraphNode **r = f->readers[node->output->id]; *r; r++) {
        const Place *reader = &f->places[(*r)->output->id];
        bool keeps = (*r)->op == OP_map || (*r)->op == OP_cast;
        uint32_t to = reader->depth + !(keeps || keeps_index(f->cx, *r));
        depth = to > depth ? to : depth;
        if (!keeps)
            others += reader->copies;
        else if (reader->copies > same)
            same = reader->copies;
    }
    place->depth = depth;
    place->copies = same + others < UINT32_MAX ? (uint32_t)(same + others) : UINT32_MAX;
}

/* NULL when the node may join, else the reason why not. Updates the group's anchors. */
static const char *try_join(const Fuse *f, const GraphNode *node, Open *open, View *view)
{
    NodeKind kind = group_node_kind(node);
    *view = readers_view(f, node, open);
    const Place *place = &f->places[node->output->id];
    if (joins_attention(f, node, open)) {
        *view = (View){false, false, false};
        return NULL;
    }
    if (open->attention && is_gather(node))
        return "its reader is an attention";
    if (place->weights_only && !f->places[open->root->output->id].weights_only && kind != K_view)
        return "it depends on weights only and is computed at load";
    switch (kind) {
    case K_free:
    case K_view: return NULL;
    case K_map:
        if (node->op == OP_concat && node->input_count > 3)
            return "it joins more than three tensors";
        if (view->feeds && node->op != OP_cast)
            return "its reader is a contraction";
        return NULL;
    case K_row:
        if (view->feeds)
            return "its reader is a contraction";
        return join_row(node, open, view);
    case K_combine:
    case K_contraction:
        if (open->contraction || open->combine || open->rows)
            return "its reader combines elements too";
        if (!view->pointwise)
            return "its result is not read point by point";
        if (f->cpu && (node->op == OP_scatter_elements || node->op == OP_scatter_nd))
            return "its updates are stored one by one";
        open->contraction = kind == K_contraction;
        open->combine = kind == K_combine;
        return NULL;
    case K_step: break;
    }
    return "it is a step of its own";
}

/* The one group all readers are in; 0 when they differ. */
static uint32_t common_group(const Fuse *f, const GraphNode *node)
{
    uint32_t group = 0;
    for (GraphNode **r = f->readers[node->output->id]; *r; r++) {
        const Place *place = &f->places[(*r)->output->id];
        if (place->everywhere || !place->group || (group && group != place->group))
            return 0;
        group = place->group;
    }
    return group;
}

static bool in_memory(const Tensor *tensor)
{
    GraphOp op = tensor->producer->op;
    return op == OP_input || op == OP_constant || op == OP_part;
}

/* Steps of their own read from memory. */
static bool read_by_step(const Fuse *f, const GraphNode *node)
{
    for (GraphNode **r = f->readers[node->output->id]; *r; r++)
        if (group_node_kind(*r) == K_step)
            return true;
    return false;
}

static void place_node(Fuse *f, GraphNode *node, bool output)
{
    Place *place = &f->places[node->output->id];
    NodeKind kind = group_node_kind(node);
    if (!output && !f->readers[node->output->id][0])
        return; /* dead */
    place->used = true;
    if (node->op == OP_part)
        return;
    if (node->op == OP_input || (group_is_table(node) && !output)) {
        if (output)
            start_group(f, node, "it is a result of the model");
        return;
    }
    if (output || kind == K_step) {
        start_group(f, node, output ? "it is a result of the model" : "it is a step of its own");
        return;
    }
    if (lower_gives_bits(node)) {
        start_group(f, node, "its bits are read as another type");
        return;
    }
    if (read_by_step(f, node) && node->op != OP_constant) {
        start_group(f, node, "a loop, a branch or the host reads it");
        return;
    }
    uint32_t group = common_group(f, node);
    if (kind == K_free || (kind == K_view && (!group || in_memory(node->inputs[0])))) {
        place->everywhere = true;
        return;
    }
    if (!group) {
        start_group(f, node, "several kernels read it");
        return;
    }
    View view;
    measure(f, node, place);
    const char *why = place->depth > MAX_DEPTH     ? "too many views follow each other"
                      : place->copies > MAX_COPIES ? "its readers ask for it at too many places"
                                                   : NULL;
    if (!why)
        why = try_join(f, node, &f->open[group - 1], &view);
    if (why) {
        start_group(f, node, why);
        return;
    }
    place->group = group;
    place->pointwise = view.pointwise;
    place->feeds = view.feeds;
}

static void add_inside(Fuse *f, GroupInfo *info, bool *inside, Tensor *tensor, uint32_t group,
                       uint32_t *cap)
{
    const Place *place = &f->places[tensor->id];
    bool belongs = place->everywhere || place->group == group;
    if (inside[tensor->id] || !belongs)
        return;
    inside[tensor->id] = true;
    GraphNode *node = tensor->producer;
    for (int i = 0; i < node->input_count; i++)
        add_inside(f, info, inside, node->inputs[i], group, cap);
    VEC_PUSH(f->cx->arena, info->nodes, info->node_count, *cap, node);
}

static void finish_group(Fuse *f, GroupInfo *info, uint32_t group)
{
    Arena *arena = f->cx->arena;
    const Open *open = &f->open[group - 1];
    bool *inside = NEW_ARRAY(arena, bool, f->tensor_count);
    Tensor **roots = NEW_ARRAY(arena, Tensor *, 1);
    roots[0] = open->root->output;
    uint32_t cap = 0;
    add_inside(f, info, inside, roots[0], group, &cap);
    info->group = (Group){inside, 1, roots};
    info->init = f->places[roots[0]->id].weights_only;
    info->why = open->why;
}

Grouping *group_graph(Cx *cx, const Graph *graph, const Caps *caps)
{
    Fuse *f = NEW(cx->arena, Fuse);
    *f = (Fuse){.cx = cx, .graph = graph, .cpu = caps->kind == TK_cpu};
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->output->id >= f->tensor_count)
            f->tensor_count = graph->nodes[i]->output->id + 1;
    f->places = NEW_ARRAY(cx->arena, Place, f->tensor_count);
    f->readers = NEW_ARRAY(cx->arena, GraphNode **, f->tensor_count);
    bool *output = NEW_ARRAY(cx->arena, bool, f->tensor_count);
    for (uint32_t i = 0; i < graph->output_count; i++)
        output[graph->outputs[i]->id] = true;
    collect_readers(f);
    mark_weights_only(f);
    f->attention = group_find_attention(cx, graph, caps, (GraphNode *const *const *)f->readers,
                                        f->tensor_count);
    for (uint32_t i = graph->node_count; i-- > 0;)
        place_node(f, graph->nodes[i], output[graph->nodes[i]->output->id]);
    Grouping *grouping = NEW(cx->arena, Grouping);
    grouping->groups = NEW_ARRAY(cx->arena, GroupInfo, f->open_count);
    for (uint32_t g = f->open_count; g > 0; g--) {
        GraphOp op = f->open[g - 1].root->op;
        if (op != OP_input && op != OP_constant)
            finish_group(f, &grouping->groups[grouping->count++], g);
    }
    grouping->tensor_count = f->tensor_count;
    grouping->layouts = group_layouts(cx, graph, grouping);
    return grouping;
}
