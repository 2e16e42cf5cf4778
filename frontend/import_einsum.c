/* Importer of Einsum, by way of matrix products.
 *
 * An operand is a tensor whose axes carry labels: letters, or the dims of an ellipsis counted from
 * the right. A label that an operand has twice is made a diagonal; one that nothing else needs is
 * summed. Two operands are then multiplied: labels in both that are needed later are the batch,
 * those that are not are contracted, the rest are rows and columns: a [batch.., rows.., k..] ->
 * [batch.., M, K],  b -> [batch.., K, N],  product -> [batch.., rows.., columns..] */
#include "frontend/import_ops.h"

#include <ctype.h>
#include <string.h>

enum { ELLIPSIS = 128, LABELS = 160, MOST_OPERANDS = 16 };

typedef struct Term {
    Tensor *tensor;
    int rank;
    int labels[MAX_RANK];
} Term;

typedef struct Einsum {
    Import *im;
    int count;
    Term terms[MOST_OPERANDS];
    Term result; /* labels only */
    const Expr *extents[LABELS];
} Einsum;

static int find_label(const Term *t, int label)
{
    for (int d = 0; d < t->rank; d++)
        if (t->labels[d] == label)
            return d;
    return -1;
}

/* Labels of one operand, up to a comma, an arrow or the end. `dots` dims for the ellipsis. */
static bool read_labels(Einsum *e, const char **at, int dots, Term *t)
{
    const char *p = *at;
    bool seen = false;
    t->rank = 0;
    for (; *p && *p != ',' && !(p[0] == '-' && p[1] == '>'); p++) {
        int wanted = 1, first = (unsigned char)*p;
        if (*p == ' ')
            continue;
        if (p[0] == '.' && p[1] == '.' && p[2] == '.' && !seen) {
            seen = true;
            wanted = dots;
            first = ELLIPSIS;
            p += 2;
        } else if (!isalpha((unsigned char)*p)) {
            fail(e->im, ST_bad_model, "the equation holds '%c'",
                 isprint((unsigned char)*p) ? *p : '?');
            return false;
        }
        if (wanted < 0 || t->rank + wanted > MAX_RANK) {
            fail(e->im, ST_bad_model, "the equation has more labels than the operand has dims");
            return false;
        }
        for (int i = 0; i < wanted; i++)
            t->labels[t->rank++] = first == ELLIPSIS ? ELLIPSIS + wanted - 1 - i : first;
    }
    *at = p;
    return true;
}

static int letters(const char *p)
{
    int count = 0;
    for (; *p && *p != ',' && !(p[0] == '-' && p[1] == '>'); p++)
        count += isalpha((unsigned char)*p) != 0;
    return count;
}

static bool read_operands(Einsum *e, const OnnxNode *n, const char **at, int *dots)
{
    *dots = 0;
    for (uint32_t i = 0; i < n->input_count; i++) {
        Term *t = &e->terms[e->count++];
        t->tensor = arg(e->im, n, i);
        int own = t->tensor->rank - letters(*at);
        if (!read_labels(e, at, own, t))
            return false;
        if (t->rank != t->tensor->rank) {
            fail(e->im, ST_bad_model, "operand %u is of rank %d, the equation says %d", i,
                 t->tensor->rank, t->rank);
            return false;
        }
        for (int d = 0; d < t->rank; d++) {
            *dots = t->labels[d] >= ELLIPSIS && own > *dots ? own : *dots;
            const Expr **extent = &e->extents[t->labels[d]];
            bool free = t->labels[d] >= ELLIPSIS || !*extent;
            *extent = !*extent ? t->tensor->shape[d]
                               : graph_broadcast(e->im->graph, *extent, t->tensor->shape[d]);
            if (!*extent ||
                (!free && !graph_same_dim(e->im->graph, *extent, t->tensor->shape[d]))) {
                fail(e->im, ST_bad_model, "the operands do not agree on a label");
                return false;
            }
        }
        bool last = i + 1 == n->input_count;
        if (!last && **at != ',') {
            fail(e->im, ST_bad_model, "the equation has fewer operands than the node");
            return false;
        }
        *at += !last;
    }
    return true;
}

/* Without an arrow: the ellipsis, then the labels that occur once, in alphabetical order. */
static void implied_result(Einsum *e, int dots)
{
    for (int i = 0; i < dots && e->result.rank < MAX_RANK; i++)
        e->result.labels[e->result.rank++] = ELLIPSIS + dots - 1 - i;
    for (int label = 0; label < ELLIPSIS; label++) {
        int times = 0;
        for (int i = 0; i < e->count; i++)
            for (int d = 0; d < e->terms[i].rank; d++)
                times += e->terms[i].labels[d] == label;
        if (times == 1 && e->result.rank < MAX_RANK)
            e->result.labels[e->result.rank++] = label;
    }
}

static void remove_dim(Term *t, int d)
{
    t->rank--;
    memmove(t->labels + d, t->labels + d + 1, (size_t)(t->rank - d) * sizeof *t->labels);
}

/* A label twice in one operand: keep where the positions are equal, then sum one axis away. */
static void take_diagonals(Einsum *e, Term *t)
{
    Import *im = e->im;
    for (int d = 0; d < t->rank; d++) {
        for (int k = t->rank - 1; k > d && !tensor_is_poison(t->tensor); k--) {
            if (t->labels[k] != t->labels[d])
                continue;
            Tensor *x = t->tensor;
            Tensor *a = graph_iota(im->graph, DT_i64, x->rank, x->shape, d);
            Tensor *b = graph_iota(im->graph, DT_i64, x->rank, x->shape, k);
            int64_t axis[] = {k};
            Tensor *kept = pick(im, ew(im, S_eq, a, b), x, scalar(im, x, 0));
            t->tensor = reduce(im, M_sum, kept, 1, axis, false);
            remove_dim(t, k);
        }
    }
}

/* Whether a label is in the result or in an operand from `from` on. */
static bool needed(const Einsum *e, int label, int from)
{
    if (find_label(&e->result, label) >= 0)
        return true;
    for (int i = from; i < e->count; i++)
        if (find_label(&e->terms[i], label) >= 0)
            return true;
    return false;
}

/* Sums labels that only `t` has; `other` may be NULL. */
static void sum_private(Einsum *e, Term *t, const Term *other, int from)
{
    int64_t axes[MAX_RANK];
    int count = 0;
    for (int d = 0; d < t->rank; d++)
        if (!needed(e, t->labels[d], from) && !(other && find_label(other, t->labels[d]) >= 0))
            axes[count++] = d;
    t->tensor = count ? reduce(e->im, M_sum, t->tensor, count, axes, false) : t->tensor;
    while (count-- > 0)
        remove_dim(t, (int)axes[count]);
}

/* Puts the axes in the order of `labels` (all of which t has). */
static Tensor *ordered(Einsum *e, const Term *t, int count, const int *labels)
{
    int64_t perm[MAX_RANK];
    if (tensor_is_poison(t->tensor))
        return t->tensor;
    CHECK(count == t->rank);
    for (int d = 0; d < count; d++)
        perm[d] = find_label(t, labels[d]);
    return graph_transpose(e->im->graph, t->tensor, perm);
}

typedef struct Sets {
    int batch[MAX_RANK], rows[MAX_RANK], columns[MAX_RANK], inner[MAX_RANK];
    int batches, row_count, column_count, inner_count;
} Sets;

/* An operand as [batch.., first, second], where first and second join the dims of two sets. */
static Tensor *as_matrix(Einsum *e, const Term *t, const Sets *s, const int *first, int first_count,
                         const int *second, int second_count)
{
    Import *im = e->im;
    int labels[3 * MAX_RANK], count = 0;
    for (int i = 0; i < s->batches; i++)
        labels[count++] = s->batch[i];
    for (int i = 0; i < first_count; i++)
        labels[count++] = first[i];
    for (int i = 0; i < second_count; i++)
        labels[count++] = second[i];
    Tensor *x = ordered(e, t, count, labels);
    if (tensor_is_poison(x))
        return x;
    const Expr *shape[MAX_RANK + 2];
    for (int i = 0; i < s->batches; i++)
        shape[i] = x->shape[i];
    shape[s->batches] = product(im, x, s->batches, s->batches + first_count);
    shape[s->batches + 1] = product(im, x, s->batches + first_count, count);
    return reshape(im, x, s->batches + 2, shape);
}

static void contract(Einsum *e, Term *a, Term *b, int from)
{
    Import *im = e->im;
    Sets s = {.batches = 0};
    sum_private(e, a, b, from);
    sum_private(e, b, a, from);
    for (int d = 0; d < a->rank; d++) {
        int label = a->labels[d];
        if (find_label(b, label) < 0)
            s.rows[s.row_count++] = label;
        else if (needed(e, label, from))
            s.batch[s.batches++] = label;
        else
            s.inner[s.inner_count++] = label;
    }
    for (int d = 0; d < b->rank; d++)
        if (find_label(a, b->labels[d]) < 0)
            s.columns[s.column_count++] = b->labels[d];
    int rank = s.batches + s.row_count + s.column_count;
    if (rank > MAX_RANK || s.batches + 2 > MAX_RANK) {
        fail(im, ST_limit, "a product of rank %d", rank);
        return;
    }
    Tensor *left = as_matrix(e, a, &s, s.rows, s.row_count, s.inner, s.inner_count);
    Tensor *right = as_matrix(e, b, &s, s.inner, s.inner_count, s.columns, s.column_count);
    Term out = {.rank = 0};
    const Expr *shape[MAX_RANK];
    for (int i = 0; i < s.batches; i++)
        out.labels[out.rank++] = s.batch[i];
    for (int i = 0; i < s.row_count; i++)
        out.labels[out.rank++] = s.rows[i];
    for (int i = 0; i < s.column_count; i++)
        out.labels[out.rank++] = s.columns[i];
    Tensor *y = graph_matmul(im->graph, left, right);
    for (int d = 0; d < out.rank && !tensor_is_poison(y); d++) {
        int own = find_label(a, out.labels[d]);
        shape[d] = d < s.batches ? y->shape[d]
                   : own >= 0    ? a->tensor->shape[own]
                                 : b->tensor->shape[find_label(b, out.labels[d])];
    }
    out.tensor = reshape(im, y, out.rank, shape);
    *a = out;
}

Tensor *import_einsum(Import *im, const OnnxNode *n)
{
    Einsum *e = NEW(im->cx->arena, Einsum);
    const char *at = attr_s(im, n, "equation", "");
    int dots;
    e->im = im;
    if (!n->input_count || n->input_count > MOST_OPERANDS)
        return fail(im, ST_unsupported, "%u operands", n->input_count);
    if (!read_operands(e, n, &at, &dots))
        return graph_poison(im->graph);
    if (at[0] == '-' && at[1] == '>') {
        at += 2;
        if (!read_labels(e, &at, dots, &e->result))
            return graph_poison(im->graph);
    } else {
        implied_result(e, dots);
    }
    if (*at)
        return fail(im, ST_bad_model, "the equation has more operands than the node");
    Term *all = &e->terms[0];
    for (int i = 0; i < e->count; i++)
        take_diagonals(e, &e->terms[i]);
    for (int i = 1; i < e->count && !cx_failed(im->cx); i++)
        contract(e, all, &e->terms[i], i + 1);
    sum_private(e, all, NULL, e->count);
    for (int d = 0; d < e->result.rank; d++)
        if (find_label(all, e->result.labels[d]) < 0 ||
            find_label(&e->result, e->result.labels[d]) != d)
            return fail(im, ST_bad_model,
                        "the result has a label twice, or one that no operand has");
    return cx_failed(im->cx) ? graph_poison(im->graph)
                             : ordered(e, all, e->result.rank, e->result.labels);
}
