/* Parts are compared line by line. Lines of one name ("dim n .." and "dim n ..") are the same thing
 * with another value when their first words after the name agree. */
#include "runtime/explain.h"

#include <string.h>

#include "base/text.h"

enum { MAX_LINES = 1024 };

typedef struct Line {
    const char *name, *value; /* terminated copies */
} Line;

typedef struct Lines {
    Line lines[MAX_LINES];
    uint32_t count;
} Lines;

/* What a line is about. `labelled`: the first word of the value belongs to the name. */
static const struct Aspect {
    const char *name;
    bool labelled;
    int weight; /* of being equal, when looking for the nearest entry */
    const char *what;
} aspects[] = {
    {"target", false, 4, "target"},
    {"source", false, 2, "build of Quern"},
    {"formats", false, 1, "format of plans"},
    {"graph", false, 8, "graph"},
    {"model", false, 16, "structure of the model"},
    {"constants", false, 4,
     "small constants, where the weights lie in the file, or the application's operators"},
    {"dim", true, 2, "dim"},
    {"shape", true, 2, "shape of input"},
    {"contents", true, 2, "contents of input"},
    {"records", false, 1, "tuning records"},
};

static const struct Aspect *aspect_of(const char *name)
{
    for (size_t i = 0; i < sizeof aspects / sizeof *aspects; i++)
        if (strcmp(aspects[i].name, name) == 0)
            return &aspects[i];
    return NULL;
}

/* The label's length of a line that has one, with the space behind it. */
static size_t label_length(const Line *line)
{
    const struct Aspect *aspect = aspect_of(line->name);
    if (!aspect || !aspect->labelled)
        return 0;
    size_t length = strcspn(line->value, " ");
    return length + (line->value[length] == ' ');
}

static void split(Cx *cx, const char *parts, Lines *out)
{
    out->count = 0;
    while (*parts && out->count < MAX_LINES) {
        size_t length = strcspn(parts, "\n"), name = 0;
        while (name < length && parts[name] != ' ')
            name++;
        size_t from = name + (name < length);
        out->lines[out->count++] =
            (Line){arena_printf(cx->arena, "%.*s", (int)name, parts),
                   arena_printf(cx->arena, "%.*s", (int)(length - from), parts + from)};
        parts += length + (parts[length] == '\n');
    }
}

/* The line about the same thing; NULL = there is none. */
static const Line *find(const Lines *in, const Line *line)
{
    size_t label = label_length(line);
    for (uint32_t i = 0; i < in->count; i++) {
        const Line *other = &in->lines[i];
        if (strcmp(other->name, line->name) == 0 && label_length(other) == label &&
            strncmp(other->value, line->value, label) == 0)
            return other;
    }
    return NULL;
}

static int score(const Lines *wanted, const Lines *there)
{
    int sum = 0;
    for (uint32_t i = 0; i < wanted->count; i++) {
        const struct Aspect *aspect = aspect_of(wanted->lines[i].name);
        const Line *other = find(there, &wanted->lines[i]);
        if (aspect && other && strcmp(other->value, wanted->lines[i].value) == 0)
            sum += aspect->weight;
    }
    return sum;
}

/* Hashes say nothing to people. */
static bool is_hash(const char *value)
{
    return strspn(value, "0123456789abcdef") == HASH_HEX_SIZE - 1 && !value[HASH_HEX_SIZE - 1];
}

static const char *describe(Cx *cx, const Line *wanted, const Line *there)
{
    const Line *line = wanted ? wanted : there;
    const struct Aspect *aspect = aspect_of(line->name);
    size_t label = label_length(line);
    const char *a = wanted ? wanted->value + label : "none",
               *b = there ? there->value + label : "none";
    const char *what = aspect ? aspect->what : line->name;
    if (label)
        what = arena_printf(cx->arena, "%s '%.*s'", what,
                            (int)(label - (line->value[label - 1] == ' ')), line->value);
    bool opaque = (is_hash(a) || !wanted) && (is_hash(b) || !there);
    if (opaque && wanted && there)
        return arena_printf(cx->arena, "%s: differs", what);
    if (opaque)
        return arena_printf(cx->arena, "%s: %s here, %s there", what, wanted ? "some" : "none",
                            there ? "some" : "none");
    return arena_printf(cx->arena, "%s: %s here, %s there", what, a, b);
}

typedef struct Search {
    Cx *cx;
    const Storage *storage;
    Lines *wanted, *other;
    Explanation *best;
    int best_score;
    const char *best_parts;
} Search;

static bool consider(void *user, const StorageItem *item)
{
    Search *s = user;
    if (!item->whole || item->entry.kind != ENTRY_program)
        return true;
    s->best->programs++;
    split(s->cx, item->entry.parts, s->other);
    int sum = score(s->wanted, s->other);
    if (sum > s->best_score) {
        s->best_score = sum;
        s->best->storage = s->storage;
        s->best->key = item->key;
        s->best_parts = item->entry.parts;
    }
    return true;
}

static void list_differences(Cx *cx, const Lines *wanted, const Lines *there, bool skip_records,
                             Explanation *out)
{
    uint32_t capacity = 0;
    for (uint32_t i = 0; i < wanted->count; i++) {
        const Line *line = &wanted->lines[i], *other = find(there, line);
        if ((skip_records && strcmp(line->name, "records") == 0) ||
            (other && strcmp(other->value, line->value) == 0))
            continue;
        VEC_PUSH(cx->arena, out->lines, out->count, capacity, describe(cx, line, other));
    }
    for (uint32_t i = 0; i < there->count; i++) {
        const Line *line = &there->lines[i];
        if (find(wanted, line) || (skip_records && strcmp(line->name, "records") == 0))
            continue;
        VEC_PUSH(cx->arena, out->lines, out->count, capacity, describe(cx, NULL, line));
    }
}

Explanation explain_program(Cx *cx, const char *parts, Storage *const *storages, uint32_t count)
{
    Explanation best = {0};
    Search search = {.cx = cx,
                     .wanted = NEW(cx->arena, Lines),
                     .other = NEW(cx->arena, Lines),
                     .best = &best,
                     .best_score = -1};
    split(cx, parts, search.wanted);
    for (uint32_t i = 0; i < count; i++) {
        search.storage = storages[i];
        (void)storages[i]->class->list(storages[i], cx, consider, &search);
    }
    if (!best.storage)
        return best;
    bool by_base = hash_equal(best.key, entry_key(search.best_parts).base) &&
                   !hash_equal(best.key, entry_key(search.best_parts).whole);
    split(cx, search.best_parts, search.other);
    list_differences(cx, search.wanted, search.other, by_base, &best);
    return best;
}
