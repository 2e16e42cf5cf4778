/* Importer: If. A condition known when compiling takes its branch; else both branches become
 * bodies. A branch that contradicts itself for the shapes at hand, as one for another rate of
 * sampling may, becomes a body that refuses to run. Branches that give other ranks or types than
 * one another cannot be one node: then what follows the If has to be imported for each of them
 * (import_fork.c), and the If is asked again, with its choice made. */
#include "frontend/import_body.h"

static bool import_side(Import *im, const OnnxGraph *graph, uint32_t count, Side *side)
{
    side->results = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    if (!body_begin(im, &side->body, graph->name))
        return false;
    bool done = import_subgraph(im, graph, NULL, side->results, count);
    body_end(im, &side->body);
    return done && all_there(im, count, side->results);
}

/* Imports both sides. When one of them contradicts itself, its problems become those of a run that
 * takes it. */
static bool import_sides(Import *im, const OnnxGraph *const graphs[2], uint32_t count,
                         Side sides[2])
{
    Trial trials[2];
    bool good[2] = {false, false};
    for (int s = 0; s < 2 && !im->fork.condition; s++) {
        trial_begin(im, &trials[s]);
        good[s] = !cx_failed(im->cx) && import_side(im, graphs[s], count, &sides[s]);
        trial_end(im, &trials[s]);
    }
    if (im->fork.condition) { /* it is all imported again */
        trial_forget(im, &trials[0]);
        return false;
    }
    if (good[0] && good[1])
        return true;
    int bad = trial_refused(im, trials);
    if (bad < 0 || !good[!bad])
        return false;
    if (any_list(count, sides[!bad].results)) {
        fail(im, ST_bad_model, "%s", trials[bad].why);
        return false;
    }
    return refuse_side(im, trials[bad].why, count, &sides[!bad], &sides[bad]);
}

/* What was chosen for this If, open number `number`, by what continues it. */
static const Choice *chosen(Import *im, const OnnxNode *n, uint32_t number)
{
    for (const Choice *choice = im->choices; choice; choice = choice->next)
        if (choice->number == number) {
            if (choice->node != n)
                fail(im, ST_limit, "what follows it could not be imported for each branch");
            return choice;
        }
    return NULL;
}

/* Fails unless the sides give the same types; what follows may still be imported for each. */
static bool sides_agree(Import *im, uint32_t count, const Side sides[2], Tensor *condition)
{
    if (any_list(count, sides[0].results) || any_list(count, sides[1].results)) {
        unknown(im, condition, "the condition of branches that give sequences");
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const Tensor *yes = sides[0].results[i], *no = sides[1].results[i];
        if (yes->dtype != no->dtype)
            fail(
                im, ST_unsupported,
                "output %u is %s in one branch and %s in the other, what follows it does not bring "
                "them together, and the condition is not known when compiling",
                i, dtype_name(yes->dtype), dtype_name(no->dtype));
        else if (yes->rank != no->rank)
            fail(im, ST_unsupported,
                 "output %u is of rank %d in one branch and %d in the other, what follows it does "
                 "not bring them together, and the condition is not known when compiling",
                 i, yes->rank, no->rank);
    }
    return !cx_failed(im->cx);
}

static Tensor *take_side(Import *im, const OnnxGraph *graph)
{
    Tensor **results = im->results;
    uint32_t count = im->result_count;
    if (!graph || !import_subgraph(im, graph, NULL, results, count))
        return give_up(im, results, count);
    return results[0];
}

static Tensor *import_open_if(Import *im, const OnnxNode *n, Tensor *condition)
{
    Side sides[2];
    Tensor **outputs = im->results;
    uint32_t count = im->result_count, number = im->open_ifs++;
    const Choice *choice = chosen(im, n, number);
    const OnnxGraph *graphs[] = {body_attr(im, n, "then_branch"), body_attr(im, n, "else_branch")};
    bool done = !cx_failed(im->cx);
    if (done && choice && !choice->refuse)
        return take_side(im, graphs[!choice->yes]);
    if (done && choice)
        done = import_side(im, graphs[!choice->yes], count, &sides[!choice->yes]) &&
               refuse_side(im, choice->refuse, count, &sides[!choice->yes], &sides[choice->yes]);
    else if (done)
        done = import_sides(im, graphs, count, sides);
    bool agree = done && sides_agree(im, count, sides, condition);
    bool fork = im->fork.condition || (done && !agree); /* also of an If within that could not */
    im->fork = fork && !choice ? (Fork){condition, n, number} : (Fork){0};
    if (!agree || !branch_of(im, condition, sides, count, outputs))
        return give_up(im, outputs, count);
    return outputs[0];
}

Tensor *import_if(Import *im, const OnnxNode *n)
{
    bool yes;
    Tensor *condition = one_element(im, arg(im, n, 0), DT_bool, "the condition");
    if (tensor_is_poison(condition))
        return condition;
    if (!known_bool(condition, &yes))
        return import_open_if(im, n, condition);
    return take_side(im, body_attr(im, n, yes ? "then_branch" : "else_branch"));
}
