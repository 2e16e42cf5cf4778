/* The table of names of a text: flat and searched linearly, since a kernel has tens of names. */
#include "ir/names.h"

#include <ctype.h>
#include <string.h>

enum { MAX_VALUES = 1 << 20, MAX_NAMES = 4096 };

void names_init(Names *names, Cx *cx)
{
    *names = (Names){.cx = cx};
}

bool name_is_legal(const char *name)
{
    static const char *const words[] = {"if",    "else",  "min",  "max",  "mod",     "floordiv",
                                        "inf",   "nan",   "wrap", "in",   "strides", "offset",
                                        "align", "store", "mult", "axis", "dim",     "out"};
    if (!name || !(isalpha((unsigned char)*name) || *name == '_'))
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_')
            return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(name, words[i]) == 0)
            return false;
    return true;
}

static const Named *find(const Names *names, const char *name, size_t length, bool sym)
{
    for (uint32_t i = 0; i < names->count; i++) {
        const Named *n = &names->items[i];
        if ((n->sym != NULL) == sym && strlen(n->name) == length &&
            memcmp(n->name, name, length) == 0)
            return n;
    }
    return NULL;
}

const Named *names_find_sym(const Names *names, const char *name, size_t length)
{
    return find(names, name, length, true);
}

const Named *names_find_place(const Names *names, const char *name, size_t length)
{
    return find(names, name, length, false);
}

bool names_add(Names *names, Scan *scan, Named named)
{
    if (!named.name)
        return false;
    if (!name_is_legal(named.name))
        scan_fail(scan, "'%s' cannot be a name", named.name);
    else if (find(names, named.name, strlen(named.name), named.sym != NULL))
        scan_fail(scan, "'%s' is defined already", named.name);
    else if (names->count >= MAX_NAMES)
        scan_fail(scan, "more than %d names", MAX_NAMES);
    else
        VEC_PUSH(names->cx->arena, names->items, names->count, names->cap, named);
    return !cx_failed(names->cx);
}

bool names_add_sym(Names *names, Scan *scan, const char *name, const Expr *sym, int axis)
{
    return names_add(names, scan, (Named){.name = name, .sym = sym, .axis = axis});
}

bool names_add_buffer(Names *names, Scan *scan, const Buffer *buffer)
{
    return names_add(names, scan,
                     (Named){.name = buffer->name,
                             .axis = -1,
                             .buffer = buffer,
                             .dtype = buffer->dtype,
                             .rank = buffer->rank});
}

bool names_set_value(Names *names, Scan *scan, uint32_t number, Value *value)
{
    while (names->value_count <= number && number < MAX_VALUES)
        VEC_PUSH(names->cx->arena, names->values, names->value_count, names->value_cap, NULL);
    if (number >= MAX_VALUES)
        scan_fail(scan, "%%%u: value numbers end at %d", number, MAX_VALUES - 1);
    else if (names->values[number])
        scan_fail(scan, "%%%u is defined already", number);
    else
        names->values[number] = value;
    return !cx_failed(names->cx);
}

bool names_parse_number(Scan *scan, uint32_t *number)
{
    uint32_t n = 0;
    bool good = scan->kind == TOK_name && scan->start[0] == '%' && scan->length > 1;
    for (size_t i = 1; good && i < scan->length; i++) {
        good = isdigit((unsigned char)scan->start[i]) && n < MAX_VALUES;
        n = n * 10 + (uint32_t)(scan->start[i] - '0');
    }
    if (!good || n >= MAX_VALUES) {
        scan_fail(scan, "expected a value (%%number)");
        return false;
    }
    *number = n;
    scan_next(scan);
    return true;
}

Value *names_parse_value(Names *names, Scan *scan)
{
    Scan before = *scan;
    uint32_t number;
    if (!names_parse_number(scan, &number))
        return NULL;
    if (number < names->value_count && names->values[number])
        return names->values[number];
    *scan = before;
    scan_fail(scan, "%%%u is not defined", number);
    return NULL;
}

static const Expr *find_expr(void *user, const char *name, size_t length)
{
    const Named *n = names_find_sym(user, name, length);
    return n ? n->sym : NULL;
}

const Expr *names_parse_expr(Names *names, Scan *scan)
{
    const Expr *e = expr_parse(scan, find_expr, names);
    return e && !cx_failed(names->cx) ? e : expr_poison(names->cx);
}

Dtype names_parse_dtype(Scan *scan)
{
    Dtype dtype = scan->kind == TOK_name ? dtype_find(scan->start, scan->length) : DT_none;
    if (dtype == DT_none || dtype_compute(dtype) == DT_none) {
        scan_fail(scan, "expected an element type");
        return DT_none;
    }
    scan_next(scan);
    return dtype;
}
