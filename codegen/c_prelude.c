/* The helpers a body calls: every identifier q_NAME or q_NAME_TYPE is looked up in the dialect's
 * snippets, then in the common ones; what a snippet calls comes before it. */
#include "codegen/c_impl.h"

#include <string.h>

typedef struct Prelude {
    Cx *cx;
    Text *out;
    const Dialect *dialect;
    const Caps *caps;
    uint32_t count, cap;
    const char **done; /* identifiers emitted or being emitted */
} Prelude;

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static const CSnippet *find_in(const CSnippet *list, const char *name, const char *type)
{
    for (; list->name; list++) {
        if (strcmp(list->name, name) != 0)
            continue;
        if (!type && !*list->types)
            return list;
        bool flt = type && type[0] == 'f';
        if (type && strchr(list->types, flt ? 'f' : 'i'))
            return list;
    }
    return NULL;
}

static bool is_type(const char *text)
{
    static const char *const types[] = {"f32", "f64", "i32", "i64", "u32", "u64"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], text) == 0)
            return true;
    return false;
}

static void emit_all(Prelude *prelude, const char *text);

static void emit_snippet(Prelude *prelude, const CSnippet *snippet, const char *type)
{
    Text text;
    text_init(&text, prelude->cx->arena);
    bool wide = strstr(type ? type : snippet->name, "64") != NULL;
    const char *suffix = wide ? "" : prelude->dialect->suffix32;
    int bits = wide ? 64 : 32, lanes = prelude->caps->vector_bits / bits;
    const char *t = type ? type : "";
    const CSubst with[] = {{'t', t},
                           {'T', strcmp(t, "f64") == 0 ? "q_f64" : t},
                           {'s', suffix},
                           {'u', wide ? "u64" : "u32"},
                           {'w', arena_printf(prelude->cx->arena, "%d", lanes)}};
    c_template(&text, snippet->text, with, 5);
    emit_all(prelude, text.data);
    text_put(prelude->out, text.data, text.length);
}

static void emit_word(Prelude *prelude, const char *word)
{
    for (uint32_t i = 0; i < prelude->count; i++)
        if (strcmp(prelude->done[i], word) == 0)
            return;
    VEC_PUSH(prelude->cx->arena, prelude->done, prelude->count, prelude->cap, word);
    char *name = arena_strdup(prelude->cx->arena, word + 2), *type = NULL;
    const CSnippet *snippet = find_in(prelude->dialect->snippets, name, NULL);
    if (!snippet)
        snippet = find_in(dialect_common, name, NULL);
    char *cut = strrchr(name, '_');
    if (!snippet && cut && is_type(cut + 1)) {
        *cut = 0;
        type = cut + 1;
        snippet = find_in(prelude->dialect->snippets, name, type);
        if (!snippet)
            snippet = find_in(dialect_common, name, type);
    }
    if (snippet)
        emit_snippet(prelude, snippet, type);
    else
        cx_fail(prelude->cx, ST_internal, "dialect %s has no helper %s", prelude->dialect->name,
                word);
}

static void emit_all(Prelude *prelude, const char *text)
{
    for (const char *at = text; *at;) {
        if (!is_word(*at)) {
            at++;
            continue;
        }
        const char *end = at;
        while (is_word(*end))
            end++;
        if (at[0] == 'q' && at[1] == '_') {
            char *word = arena_copy(prelude->cx->arena, at, (size_t)(end - at) + 1);
            word[end - at] = 0;
            emit_word(prelude, word);
        }
        at = end;
    }
}

void c_prelude(Cx *cx, Text *out, const Dialect *dialect, const Caps *caps, const char *body)
{
    Prelude prelude = {.cx = cx, .out = out, .dialect = dialect, .caps = caps};
    text_add(out, "%s", dialect->prologue);
    emit_all(&prelude, body);
}
