/* Counts of n-grams (TfIdfVectorizer).
 *
 * Tokens become small numbers, the ranks of the pool's distinct tokens; the pool's n-grams become a
 * trie, whose edges (node, token) -> node live in one hash table. From every token of a row, with
 * every distance between tokens, the trie is followed as far as it goes; nodes that end an n-gram
 * name the column to count in. */
#include <string.h>

#include "runtime/host/order.h"

/* host_tfidf: x [c] or [n, c] of integers or strings; pool [p] of x's type: all 1-grams, all
 * 2-grams
 * ...; starts of these in the pool; columns of the n-grams; weights (f32, by column; omitted: 1);
 * limits: least and largest n, most tokens left out between two, mode (0: counts, 1: weights of
 * what is there, 2: counts times weights) -> f32 [columns] or [n, columns]. */
enum { TOKEN = TYPE(i32) | TYPE(i64) | TYPE(string) };
static const HostParam tfidf_in[] = {
    {"x", TOKEN, 1, 2, false},          {"pool", TOKEN, 1, 1, false},
    {"starts", TYPE(i64), 1, 1, false}, {"columns", TYPE(i64), 1, 1, false},
    {"weights", TYPE(f32), 1, 1, true}, {"limits", TYPE(i64), 1, 1, false},
};
static const HostParam tfidf_out[] = {{"counts", TYPE(f32), 1, 2, false}};
static const HostForm form = {"tfidf", tfidf_in, tfidf_out, 6, 1, false};

enum { MODE_tf, MODE_idf, MODE_tfidf, MOST_COLUMNS = 1 << 26 };

typedef struct Edge {
    int32_t from, token, to; /* to 0: free */
} Edge;

typedef struct Grams {
    int64_t least, largest, skip, mode;
    int64_t columns;
    int32_t nodes;
    int64_t *column; /* by node; -1: no n-gram ends here */
    Edge *edges;
    uint32_t mask;
} Grams;

/* ---- tokens: elements of the pool and of x by one numbering; -1 for what is not in the pool */

typedef struct Tokens {
    int32_t *pool, *x;
} Tokens;

static int text_tie(const void *user, int64_t a, int64_t b)
{
    const HostTensor *both = user; /* pool, x */
    int64_t first = args_count(&both[0]);
    HostString s = a < first ? args_text(&both[0])[a] : args_text(&both[1])[a - first];
    HostString t = b < first ? args_text(&both[0])[b] : args_text(&both[1])[b - first];
    return order_text(s, t);
}

/* Sorts the pool and x together; a run of equal tokens that begins in the pool has the next number
 * (the pool's elements come first, by index). */
static bool number_tokens(HostCall *call, Tokens *tokens)
{
    const HostTensor both[] = {call->inputs[1], call->inputs[0]};
    int64_t first = args_count(&both[0]), count = first + args_count(&both[1]);
    bool text = both[0].dtype == DT_string;
    OrderItem *items = args_scratch(call, count, 2 * sizeof *items);
    tokens->pool = items ? args_scratch(call, count, sizeof(int32_t)) : NULL;
    if (!tokens->pool)
        return false;
    tokens->x = tokens->pool + first;
    for (int64_t i = 0; i < count; i++) {
        const HostTensor *in = &both[i >= first];
        int64_t at = i < first ? i : i - first;
        items[i].index = i;
        if (text)
            items[i].key = order_text_key(args_text(in)[at]);
        else
            items[i].key = (uint64_t)dtype_load(in->dtype, in->data, at).i;
    }
    OrderTie *tie = text ? text_tie : NULL;
    order_sort(items, items + count, count, tie, both);
    int32_t number = -1, next = 0;
    for (int64_t i = 0; i < count; i++) {
        bool same = i && items[i].key == items[i - 1].key &&
                    (!tie || !tie(both, items[i].index, items[i - 1].index));
        if (!same)
            number = items[i].index < first ? next++ : -1;
        tokens->pool[items[i].index] = number;
    }
    return true;
}

/* ---- the trie */

static Edge *find_edge(const Grams *g, int32_t from, int32_t token)
{
    uint64_t mixed = ((uint64_t)(uint32_t)from << 32 | (uint32_t)token) * 0x9E3779B97F4A7C15u;
    uint32_t at = (uint32_t)(mixed >> 32) & g->mask;
    while (g->edges[at].to && (g->edges[at].from != from || g->edges[at].token != token))
        at = (at + 1) & g->mask;
    return &g->edges[at];
}

static void add_gram(Grams *g, const int32_t *tokens, int64_t n, int64_t column)
{
    int32_t node = 0;
    for (int64_t i = 0; i < n; i++) {
        Edge *edge = find_edge(g, node, tokens[i]);
        if (!edge->to) {
            g->column[g->nodes] = -1;
            *edge = (Edge){node, tokens[i], g->nodes++};
        }
        node = edge->to;
    }
    g->column[node] = column;
}

/* The n-grams of length n in the pool's tokens [from, to); `gram` counts all of them. */
static bool add_grams(HostCall *call, Grams *g, const int32_t *pool, const int64_t range[2],
                      int64_t n, int64_t *gram)
{
    const HostTensor *columns = &call->inputs[3];
    int64_t from = range[0], to = range[1];
    if (from < 0 || from > to || to > call->inputs[1].dims[0] || (to - from) % n) {
        args_fail(call, &form, "%lld-grams from %lld to %lld of a pool of %lld tokens",
                  (long long)n, (long long)from, (long long)to, (long long)call->inputs[1].dims[0]);
        return false;
    }
    if ((to - from) / n > columns->dims[0] - *gram) {
        args_fail(call, &form, "more n-grams than columns (%lld)", (long long)columns->dims[0]);
        return false;
    }
    for (; from < to; from += n, ++*gram)
        if (n >= g->least && n <= g->largest)
            add_gram(g, pool + from, n, ((const int64_t *)columns->data)[*gram]);
    return true;
}

static bool build(HostCall *call, Grams *g, const int32_t *pool)
{
    const HostTensor *starts = &call->inputs[2];
    int64_t count = call->inputs[1].dims[0], sizes = starts->dims[0], gram = 0;
    uint32_t slots = 16;
    if (count > INT32_MAX / 4) {
        args_fail(call, &form, "the pool is too large");
        return false;
    }
    while ((int64_t)slots < 2 * count + 2)
        slots *= 2;
    g->mask = slots - 1;
    g->edges = args_scratch(call, slots, sizeof *g->edges);
    g->column = g->edges ? args_scratch(call, count + 1, sizeof *g->column) : NULL;
    if (!g->column)
        return false;
    memset(g->edges, 0, slots * sizeof *g->edges);
    g->column[0] = -1;
    g->nodes = 1;
    for (int64_t i = 0; i < sizes; i++) {
        const int64_t *start = (const int64_t *)starts->data + i;
        const int64_t range[] = {start[0], i + 1 < sizes ? start[1] : count};
        if (!add_grams(call, g, pool, range, i + 1, &gram))
            return false;
    }
    return true;
}

/* ---- counting */

/* The n-grams that begin at a token, in `row` of c tokens, with `step` between tokens. */
static void count_from(const Grams *g, const int32_t *row, int64_t c, int64_t step, float *out)
{
    int32_t node = 0;
    /* 1-grams are the same at every distance: counted at the first */
    int64_t least = step > 1 && g->least < 2 ? 2 : g->least;
    for (int64_t n = 1, at = 0; n <= g->largest && at < c; n++) {
        node = row[at] < 0 ? 0 : find_edge(g, node, row[at])->to;
        if (!node)
            return;
        if (n >= least && g->column[node] >= 0)
            out[g->column[node]] += 1;
        if (step >= c - at)
            return;
        at += step;
    }
}

static void weigh(const Grams *g, const HostTensor *weights, float *out)
{
    const float *by_column = args_omitted(weights) ? NULL : weights->data;
    for (int64_t i = 0; i < g->columns && g->mode != MODE_tf; i++) {
        float weight = by_column ? by_column[i] : 1;
        out[i] = weight * (g->mode == MODE_idf ? out[i] > 0 : out[i]);
    }
}

static bool read_limits(HostCall *call, Grams *g)
{
    const HostTensor *limits = &call->inputs[5], *columns = &call->inputs[3],
                     *weights = &call->inputs[4];
    const int64_t *value = limits->data, *column = columns->data;
    *g = (Grams){0};
    if (limits->dims[0] != 4 || value[0] < 1 || value[1] < value[0] || value[2] < 0 ||
        value[3] < MODE_tf || value[3] > MODE_tfidf) {
        args_fail(call, &form, "limits are wrong");
        return false;
    }
    *g = (Grams){.least = value[0], .largest = value[1], .skip = value[2], .mode = value[3]};
    for (int64_t i = 0; i < columns->dims[0]; i++) {
        if (column[i] < 0 || column[i] >= MOST_COLUMNS) {
            args_fail(call, &form, "column %lld", (long long)column[i]);
            return false;
        }
        g->columns = column[i] >= g->columns ? column[i] + 1 : g->columns;
    }
    if (!args_omitted(weights) && weights->dims[0] < g->columns) {
        args_fail(call, &form, "%lld weights for %lld columns", (long long)weights->dims[0],
                  (long long)g->columns);
        return false;
    }
    return true;
}

Status host_tfidf(HostCall *call)
{
    const HostTensor *x = &call->inputs[0];
    Grams g;
    Tokens tokens;
    if (!args_check(call, &form) || !read_limits(call, &g))
        return args_status(call);
    if ((x->dtype == DT_string) != (call->inputs[1].dtype == DT_string))
        return args_fail(call, &form, "x is of type %s, the pool of type %s", dtype_name(x->dtype),
                         dtype_name(call->inputs[1].dtype));
    int64_t c = x->dims[x->rank - 1], rows = x->rank == 2 ? x->dims[0] : 1;
    const int64_t dims[] = {rows, g.columns};
    if (!number_tokens(call, &tokens) || !build(call, &g, tokens.pool))
        return args_status(call);
    float *out = call->output(call, 0, x->rank, dims + 2 - x->rank);
    if (!out)
        return args_status(call);
    int64_t steps = g.largest == 1 ? 1 : (g.skip < c ? g.skip : c) + 1;
    for (int64_t r = 0; r < rows; r++, out += g.columns) {
        const int32_t *row = tokens.x + r * c;
        memset(out, 0, (size_t)g.columns * sizeof *out);
        for (int64_t step = 1; step <= steps; step++)
            for (int64_t i = 0; i < c; i++)
                count_from(&g, row + i, c - i, step, out);
        weigh(&g, &call->inputs[4], out);
    }
    return ST_ok;
}
