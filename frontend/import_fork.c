/* The nodes of a graph in their order, and Ifs that cannot be one node (forks).
 *
 * Exporters write `If(a dim is 1) then Squeeze(x) else x`: the sides give different ranks, so the
 * types of what follows depend on the condition. What follows, as far as it depends on the If, is
 * then imported twice, into the two bodies of a branch, until both have the same types again:
 *
 *     c -- If --.                         c -- branch --- join ---.
 *     x -- node --- join -- node    =>          | then: yes, node  \
 *               (no rank)                       | else: no, node    node
 *
 * The branch ends at the earliest such place, which is looked for among more and more of the nodes
 * (twice as many each time). An If within a subgraph or function may not come to one there: then
 * the failure stays, and the node around is forked instead: it is imported again with the choice
 * made. A side that contradicts itself on the way is refused by the run (import_if.c), and nothing
 * is imported twice.
 *
 * For editors. 1: choices are told by counting the open Ifs met within a node, those inside of
 * forks apart, so importing a node again under the same choices has to meet the same Ifs. 2: the
 * failure that wants a fork goes up like any other (importers see poison), so an importer needs to
 * know nothing of forks; one whose body is a graph of its own (Loop) ends the way, since the
 * condition is not seen outside. */
#include "frontend/import_body.h"

/* Forks within one another: what follows them is imported up to twice as often for each. */
enum { MOST_FORKS = 3, FIRST_REACH = 4 };

/* Nodes to import. Those from `stop` on only say what is used later. */
typedef struct Run {
    const OnnxGraph *graph; /* whose outputs are used later too */
    const OnnxNode **nodes;
    uint32_t stop, count;
    const Choice *choices; /* for nodes[0], numbered from its first open If on */
} Run;

/* One side of a fork, imported up to somewhere. */
typedef struct Way {
    Side side;
    Tensor **values; /* by output of the nodes so far, one node behind the other; NULL: not there */
    Trial trial;
    bool open; /* holds a fork that comes to no join so far */
} Way;

static void import_run(Import *im, Run run);

/* ---- names that nodes use */

typedef void Visit(void *user, const char *name);

static bool has_graphs(const OnnxNode *n)
{
    for (uint32_t i = 0; i < n->attr_count; i++)
        if (n->attrs[i].type == OA_graph || n->attrs[i].type == OA_graphs)
            return true;
    return false;
}

static void each_use(const OnnxNode *n, Visit *visit, void *user)
{
    for (uint32_t i = 0; i < n->input_count; i++)
        visit(user, n->inputs[i]);
    for (uint32_t i = 0; i < n->attr_count; i++) {
        const OnnxAttr *attr = &n->attrs[i];
        bool graphs = (attr->type == OA_graph || attr->type == OA_graphs) && !attr->ref[0];
        for (uint32_t g = 0; graphs && g < attr->count; g++) {
            for (uint32_t k = 0; k < attr->graphs[g]->node_count; k++)
                each_use(&attr->graphs[g]->nodes[k], visit, user);
            for (uint32_t k = 0; k < attr->graphs[g]->output_count; k++)
                visit(user, attr->graphs[g]->outputs[k].name);
        }
    }
}

typedef struct Marks {
    bool *marked; /* by name */
    bool hit;
} Marks;

static void look_up(void *user, const char *name)
{
    Marks *marks = user;
    marks->hit |= name[0] && marks->marked[onnx_name_id(name)];
}

/* Imports the nodes that do not depend on nodes[0], which leaves the others; those with bodies stay
 * too, since they may be forks. */
static void part_dependents(Import *im, Run *run)
{
    Marks marks = {NEW_ARRAY(im->cx->arena, bool, im->value_count), false};
    const OnnxNode **nodes = NEW_ARRAY(im->cx->arena, const OnnxNode *, run->count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < run->stop; i++) {
        const OnnxNode *n = run->nodes[i];
        marks.hit = i == 0 || n->function || has_graphs(n);
        if (!marks.hit)
            each_use(n, look_up, &marks);
        for (uint32_t k = 0; marks.hit && k < n->output_count; k++)
            marks.marked[onnx_name_id(n->outputs[k])] = true;
        if (marks.hit)
            nodes[count++] = n;
        else
            import_node(im, n);
    }
    uint32_t stop = count;
    for (uint32_t i = run->stop; i < run->count; i++)
        nodes[count++] = run->nodes[i];
    run->nodes = nodes;
    run->stop = stop;
    run->count = count;
}

typedef struct Last {
    uint32_t *at; /* by name: the last node that uses it; the graph's outputs: UINT32_MAX */
    uint32_t node;
} Last;

static void note_last(void *user, const char *name)
{
    Last *last = user;
    last->at[onnx_name_id(name)] = last->node;
}

static const uint32_t *last_uses(Import *im, const Run *run)
{
    Last last = {NEW_ARRAY(im->cx->arena, uint32_t, im->value_count), 0};
    for (; last.node < run->count; last.node++)
        each_use(run->nodes[last.node], note_last, &last);
    last.node = UINT32_MAX;
    for (uint32_t i = 0; i < run->graph->output_count; i++)
        note_last(&last, run->graph->outputs[i].name);
    return last.at;
}

/* ---- one side */

/* What nodes[0 .. reach) give, by name. */
typedef struct Given {
    const char *name;
    uint32_t node;
} Given;

typedef struct Reach {
    uint32_t nodes, count;
    const Given *given; /* `count` of them */
} Reach;

static Reach reach_of(Import *im, const Run *run, uint32_t nodes)
{
    uint32_t count = 0, capacity = 0;
    Given *list = NULL;
    for (uint32_t i = 0; i < nodes; i++)
        for (uint32_t k = 0; k < run->nodes[i]->output_count; k++)
            if (wants(run->nodes[i], k)) {
                Given given = {run->nodes[i]->outputs[k], i};
                VEC_PUSH(im->cx->arena, list, count, capacity, given);
            }
    return (Reach){nodes, count, list};
}

/* Imports one side and what follows it into a body. */
static void import_way(Import *im, const Run *run, const Reach *reach, const Choice *choice,
                       Way *way)
{
    uint32_t mark = im->undo_count;
    Run own = *run;
    own.stop = reach->nodes;
    own.choices = choice;
    way->values = NEW_ARRAY(im->cx->arena, Tensor *, reach->count + 1);
    way->open = false;
    trial_begin(im, &way->trial);
    if (body_begin(im, &way->side.body, run->graph->name)) {
        im->depth++;
        for (uint32_t i = 0; i < reach->count; i++) /* names of graphs around are hidden */
            bind(im, reach->given[i].name, NULL);
        import_run(im, own);
        way->open = im->fork.condition != NULL;
        if (way->open) {
            im->fork = (Fork){0};
            cx_recover(im->cx);
        }
        for (uint32_t i = 0; i < reach->count; i++)
            way->values[i] = import_visible(im, im->values[onnx_name_id(reach->given[i].name)]);
        leave_scope(im, mark);
        im->depth--;
        body_end(im, &way->side.body);
    }
    collect(im);
    trial_end(im, &way->trial);
}

/* ---- where the sides join */

static bool is_tensor(const Tensor *tensor)
{
    return tensor && !is_list(tensor) && !tensor_is_poison(tensor);
}

static bool same_type(const Tensor *a, const Tensor *b)
{
    return is_tensor(a) && is_tensor(b) && a->dtype == b->dtype && a->rank == b->rank;
}

/* The least number of nodes behind which all that is used later has the same types on both ways;
 * 0: none. */
static uint32_t find_join(Import *im, const Reach *reach, const uint32_t *last, const Way ways[2])
{
    /* by number of nodes, as differences: values that differ, and that the join would give */
    int64_t *differ = NEW_ARRAY(im->cx->arena, int64_t, (size_t)reach->nodes + 2);
    int64_t *give = NEW_ARRAY(im->cx->arena, int64_t, (size_t)reach->nodes + 2);
    int64_t differing = 0, giving = 0;
    for (uint32_t i = 0; i < reach->count; i++) {
        uint32_t node = reach->given[i].node, end = last[onnx_name_id(reach->given[i].name)];
        if (end <= node)
            continue;
        end = end < reach->nodes ? end : reach->nodes;
        int64_t *list = same_type(ways[0].values[i], ways[1].values[i]) ? give : differ;
        list[node + 1]++;
        list[end + 1]--;
    }
    for (uint32_t k = 1; k <= reach->nodes; k++) {
        differing += differ[k];
        giving += give[k];
        if (!differing && giving <= GRAPH_MAX_RESULTS)
            return k;
    }
    return 0;
}

/* The branch over the first `nodes` nodes; its results stand for what they give. */
static void join(Import *im, const Fork *fork, uint32_t nodes, const Reach *reach,
                 const uint32_t *last, Way ways[2])
{
    Side sides[] = {ways[0].side, ways[1].side};
    const char **names = NEW_ARRAY(im->cx->arena, const char *, reach->count + 1);
    Tensor **outputs = NEW_ARRAY(im->cx->arena, Tensor *, reach->count + 1);
    const char *text = onnx_node_text(im->cx->arena, fork->node);
    uint32_t count = 0;
    for (int s = 0; s < 2; s++)
        sides[s].results = NEW_ARRAY(im->cx->arena, Tensor *, reach->count + 1);
    for (uint32_t i = 0; i < reach->count; i++) {
        if (reach->given[i].node >= nodes || last[onnx_name_id(reach->given[i].name)] < nodes)
            continue;
        names[count] = reach->given[i].name;
        for (int s = 0; s < 2; s++)
            sides[s].results[count] = ways[s].values[i];
        count++;
    }
    im->cx->where = im->graph->source = text;
    if (count)
        branch_of(im, fork->condition, sides, count, outputs);
    im->cx->where = im->graph->source = NULL;
    bool failed = collect(im);
    for (uint32_t i = 0; i < count; i++)
        bind(im, names[i], failed ? graph_poison(im->graph) : outputs[i]);
}

/* ---- forks */

/* Imports both sides of the fork and what follows until they join. True when it is done with some
 * nodes, which are no longer in the run; false when there is no join. */
static bool import_sides(Import *im, Run *run, const Fork *fork, uint32_t first)
{
    Choice choices[] = {{fork->number - first, fork->node, true, NULL, run->choices},
                        {fork->number - first, fork->node, false, NULL, run->choices}};
    const uint32_t *last = last_uses(im, run);
    for (uint32_t nodes = FIRST_REACH;; nodes *= 2) {
        Way ways[2];
        nodes = nodes < run->stop ? nodes : run->stop;
        Reach reach = reach_of(im, run, nodes);
        for (int s = 0; s < 2; s++)
            import_way(im, run, &reach, &choices[s], &ways[s]);
        const Trial trials[] = {ways[0].trial, ways[1].trial};
        int bad = trial_refused(im, trials);
        if (bad >= 0) {
            Choice *only = NEW(im->cx->arena, Choice);
            *only = choices[!bad];
            only->refuse = trials[bad].why;
            run->choices = only;
            return true;
        }
        bool failed = trials[0].status != ST_ok || trials[1].status != ST_ok;
        uint32_t done = failed ? 1 : find_join(im, &reach, last, ways);
        if (failed)
            give_up_node(im, run->nodes[0]);
        else if (done)
            join(im, fork, done, &reach, last, ways);
        if (done) {
            *run = (Run){run->graph, run->nodes + done, run->stop - done, run->count - done, NULL};
            return true;
        }
        if (nodes == run->stop)
            return false;
    }
}

/* Makes the fork that nodes[0] of the run wants, in the graph it stands in. As import_sides; when
 * there is no join, the failure is as it was. */
static bool make_fork(Import *im, Run *run, uint32_t first)
{
    const Fork fork = im->fork;
    const Choice *choices = im->choices;
    uint32_t open_ifs = im->open_ifs;
    Status status = im->cx->status;
    const char *message = arena_strdup(im->cx->arena, im->cx->message);
    im->fork = (Fork){0};
    cx_recover(im->cx);
    im->choices = NULL; /* they are for Ifs outside of the sides */
    im->forks++;
    part_dependents(im, run);
    bool done = import_sides(im, run, &fork, first);
    im->forks--;
    im->choices = choices;
    im->open_ifs = open_ifs; /* however much was tried */
    if (done)
        return true;
    im->fork = fork;
    im->cx->status = status;
    im->cx->message = message;
    return false;
}

/* nodes[0] of the run has just failed and wants a fork. True when the run goes on with what is left
 * of it; false when the graph around has to make the fork. `first`: open Ifs met before the node.
 */
static bool import_fork(Import *im, Run *run, uint32_t first)
{
    bool here = im->fork.condition->producer->graph == im->graph;
    if (here && im->forks < MOST_FORKS && make_fork(im, run, first))
        return true;
    if (here && im->depth)
        return false;
    give_up_node(im, run->nodes[0]);
    *run = (Run){run->graph, run->nodes + 1, run->stop - 1, run->count - 1, NULL};
    return true;
}

/* The choices made for a node, which meets its first open If now. */
static void import_chosen(Import *im, const OnnxNode *n, const Choice *choices)
{
    const Choice *outer = im->choices;
    uint32_t first = im->open_ifs;
    for (; choices; choices = choices->next) {
        Choice *choice = NEW(im->cx->arena, Choice);
        *choice = *choices;
        choice->number += first;
        choice->next = im->choices;
        im->choices = choice;
    }
    import_node(im, n);
    im->choices = outer;
}

static void import_run(Import *im, Run run)
{
    while (run.stop) {
        uint32_t first = im->open_ifs;
        import_chosen(im, run.nodes[0], run.choices);
        if (!im->fork.condition)
            run = (Run){run.graph, run.nodes + 1, run.stop - 1, run.count - 1, NULL};
        else if (!import_fork(im, &run, first))
            return;
    }
}

void import_nodes(Import *im, const OnnxGraph *graph)
{
    const OnnxNode **nodes = NEW_ARRAY(im->cx->arena, const OnnxNode *, graph->node_count + 1);
    for (uint32_t i = 0; i < graph->node_count; i++)
        nodes[i] = &graph->nodes[i];
    import_run(im, (Run){graph, nodes, graph->node_count, graph->node_count, NULL});
}
