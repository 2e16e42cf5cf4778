/* The parser of tile programs (the printer is tile_text.c, the grammar is in tile.h; operations on
 * boxes are in tile_parse_box.c).
 *
 * Recursive descent over the shared scanner; builds with the builder. It checks the grammar and
 * what the builder relies on (ranks, counts, positive extents); every other rule is left to
 * tile_verify. Names are scoped by remembering the size of the name table. After a failure the
 * scanner stands at the end of the text, so loops end by themselves. */
#include "ir/tile_parse.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

enum { MAX_THREADS = 1024 };

const Expr *tile_parse_expr(TileParse *p)
{
    const Expr *e = names_parse_expr(&p->names, &p->scan);
    if (expr_is_poison(e) && !cx_failed(p->cx))
        scan_fail(&p->scan, "expression overflows or divides by zero");
    return e;
}

int tile_parse_int(TileParse *p, int lo, int hi)
{
    int64_t value = scan_int(&p->scan);
    if (value >= lo && value <= hi)
        return (int)value;
    if (!cx_failed(p->cx))
        scan_fail(&p->scan, "a number in %d..%d is required", lo, hi);
    return lo;
}

static int parse_parts(TileParse *p, const char *word, LayoutPart parts[MAX_PARTS])
{
    int count = 0;
    scan_expect(&p->scan, word);
    scan_expect(&p->scan, "(");
    if (scan_accept(&p->scan, ")"))
        return 0;
    do {
        if (count == MAX_PARTS) {
            scan_fail(&p->scan, "more than %d parts", MAX_PARTS);
            return 0;
        }
        LayoutPart *part = &parts[count++];
        part->dim = tile_parse_int(p, -1, MAX_BOX - 1);
        scan_expect(&p->scan, ":");
        part->extent = tile_parse_int(p, 1, TILE_MAX_EXTENT);
        scan_expect(&p->scan, ":");
        part->stride = tile_parse_int(p, 0, TILE_MAX_EXTENT);
    } while (scan_accept(&p->scan, ","));
    scan_expect(&p->scan, ")");
    return count;
}

Layout *tile_parse_layout(TileParse *p)
{
    Layout *layout = NEW(p->cx->arena, Layout);
    layout->lane_count = parse_parts(p, "lanes", layout->lanes);
    layout->reg_count = parse_parts(p, "regs", layout->regs);
    return layout;
}

static int parse_shape(TileParse *p, int shape[MAX_BOX])
{
    int rank = 0;
    scan_expect(&p->scan, "[");
    if (scan_accept(&p->scan, "]"))
        return 0;
    do {
        if (rank == MAX_BOX) {
            scan_fail(&p->scan, "more than %d dimensions", MAX_BOX);
            return 0;
        }
        shape[rank++] = tile_parse_int(p, 1, TILE_MAX_EXTENT);
    } while (scan_accept(&p->scan, ","));
    scan_expect(&p->scan, "]");
    return rank;
}

/* tile acc f32 [8, 48] register */
static void parse_tile(TileParse *p)
{
    Scan *scan = &p->scan;
    int shape[MAX_BOX] = {0};
    const char *name = scan_name(scan);
    Dtype dtype = names_parse_dtype(scan);
    int rank = parse_shape(p, shape);
    TileScope scope = scan_accept(scan, "shared") ? TS_shared : TS_register;
    if (scope == TS_register)
        scan_expect(scan, "register");
    if (cx_failed(p->cx))
        return;
    Tile *tile = tile_new(p->prog, p->grid, name, dtype, scope, rank, shape);
    if (scan_accept(scan, "pad"))
        tile->pad = tile_parse_int(p, 1, TILE_MAX_EXTENT);
    if (scan_accept(scan, "slots"))
        tile->slots = tile_parse_int(p, 1, 64);
    if (scan_accept(scan, "swizzle"))
        tile->swizzle = tile_parse_int(p, 32, 128);
    if (scan_is(scan, "lanes"))
        tile->layout = tile_parse_layout(p);
    names_add(&p->names, scan,
              (Named){.name = name, .axis = -1, .tile = tile, .dtype = dtype, .rank = rank});
}

Tile *tile_parse_name(TileParse *p)
{
    Scan *scan = &p->scan;
    const Named *named =
        scan->kind == TOK_name ? names_find_place(&p->names, scan->start, scan->length) : NULL;
    if (!named || !named->tile) {
        scan_fail(scan, "expected the name of a tile");
        return NULL;
    }
    scan_next(scan);
    return named->tile;
}

/* ---- operations */

static void parse_block(TileParse *p, TileBlock *at);

/* for k 0..768 step 4 stages 3 { } */
static void parse_for(TileParse *p, TileBlock *at)
{
    Scan *scan = &p->scan;
    const char *name = scan_name(scan);
    const Expr *lo = tile_parse_expr(p), *var;
    scan_expect(scan, "..");
    const Expr *hi = tile_parse_expr(p);
    int step = scan_accept(scan, "step") ? tile_parse_int(p, 1, INT_MAX) : 1;
    if (cx_failed(p->cx))
        return;
    TileBlock *body = tile_for(p->prog, at, name, lo, hi, step, &var);
    if (scan_accept(scan, "stages"))
        at->last->stages = tile_parse_int(p, 1, 64);
    uint32_t scope = p->names.count;
    names_add_sym(&p->names, scan, name, var, -1);
    parse_block(p, body);
    p->names.count = scope;
}

/* At `if`. */
static void parse_if(TileParse *p, TileBlock *at)
{
    Access guards = {0};
    if (!access_parse_guards(&p->scan, &p->names, &guards, false))
        return;
    TileOp *op = tile_if(p->prog, at, guards.guards, guards.guard_count);
    parse_block(p, op->body);
    if (scan_accept(&p->scan, "else")) {
        op->other = NEW(p->cx->arena, TileBlock);
        parse_block(p, op->other);
    }
}

/* T <- S */
static bool parse_pair(TileParse *p, Tile **dst, Tile **src)
{
    *dst = tile_parse_name(p);
    scan_expect(&p->scan, "<");
    scan_expect(&p->scan, "-");
    *src = tile_parse_name(p);
    return !cx_failed(p->cx);
}

static void parse_reduce(TileParse *p, TileBlock *at)
{
    Scan *scan = &p->scan;
    Tile *dst, *src;
    if (!parse_pair(p, &dst, &src) || !scan_expect(scan, "dim"))
        return;
    int dim = tile_parse_int(p, 0, MAX_BOX - 1);
    int monoid = scan->kind == TOK_name ? monoid_find(scan->start, scan->length) : -1;
    if (monoid < 0) {
        scan_fail(scan, "expected a monoid");
        return;
    }
    scan_next(scan);
    tile_reduce(p->prog, at, dst, src, dim, (Monoid)monoid);
}

static void parse_convert(TileParse *p, TileBlock *at)
{
    Tile *dst, *src;
    if (!parse_pair(p, &dst, &src) || !scan_expect(&p->scan, "via"))
        return;
    Tile *via = tile_parse_name(p);
    if (via)
        tile_convert(p->prog, at, dst, src, via);
}

static void parse_op(TileParse *p, TileBlock *at)
{
    Scan *scan = &p->scan;
    if (scan_accept(scan, "for"))
        parse_for(p, at);
    else if (scan_is(scan, "if"))
        parse_if(p, at);
    else if (scan_accept(scan, "map"))
        tile_parse_box(p, at, TO_map);
    else if (scan_accept(scan, "mma"))
        tile_parse_box(p, at, TO_mma);
    else if (scan_accept(scan, "copy"))
        tile_parse_box(p, at, TO_copy);
    else if (scan_accept(scan, "prefetch"))
        tile_parse_box(p, at, TO_prefetch);
    else if (scan_accept(scan, "reduce"))
        parse_reduce(p, at);
    else if (scan_accept(scan, "convert"))
        parse_convert(p, at);
    else if (scan_accept(scan, "barrier"))
        tile_sync(p->prog, at, TO_barrier, 0);
    else if (scan_accept(scan, "commit"))
        tile_sync(p->prog, at, TO_commit, 0);
    else if (scan_accept(scan, "wait"))
        tile_sync(p->prog, at, TO_wait, tile_parse_int(p, 0, 64));
    else
        scan_fail(scan, "expected an operation");
}

static void parse_block(TileParse *p, TileBlock *at)
{
    if (!scan_enter(&p->scan))
        return;
    scan_expect(&p->scan, "{");
    while (!cx_failed(p->cx) && !scan_accept(&p->scan, "}"))
        parse_op(p, at);
    scan_leave(&p->scan);
}

/* ---- the program */

/* grid (jb 64, ib (M + 7) floordiv 8) threads 128 as t */
static bool parse_grid_head(TileParse *p)
{
    Scan *scan = &p->scan;
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int rank = 0;
    scan_expect(scan, "(");
    while (!cx_failed(p->cx) && !scan_is(scan, ")")) {
        if (rank == MAX_GRID) {
            scan_fail(scan, "more than %d grid dimensions", MAX_GRID);
            return false;
        }
        names[rank] = scan_name(scan);
        extents[rank++] = tile_parse_expr(p);
        if (!scan_accept(scan, ","))
            break;
    }
    scan_expect(scan, ")");
    if (cx_failed(p->cx))
        return false;
    p->grid = tile_grid(p->prog, rank, names, extents);
    for (int i = 0; i < rank; i++)
        names_add_sym(&p->names, scan, names[i], p->grid->ids[i], -1);
    if (scan_accept(scan, "threads"))
        p->grid->threads = tile_parse_int(p, 1, MAX_THREADS);
    if (scan_accept(scan, "as")) {
        const char *name = scan_name(scan);
        if (!name)
            return false;
        p->grid->thread = expr_sym(p->cx, name, 0, p->grid->threads - 1, 1);
        names_add_sym(&p->names, scan, name, p->grid->thread, -1);
    }
    return !cx_failed(p->cx);
}

static void parse_grid(TileParse *p)
{
    uint32_t scope = p->names.count;
    if (!parse_grid_head(p))
        return;
    scan_expect(&p->scan, "{");
    while (scan_accept(&p->scan, "tile"))
        parse_tile(p);
    while (!cx_failed(p->cx) && !scan_accept(&p->scan, "}"))
        parse_op(p, &p->grid->body);
    p->names.count = scope;
}

/* Names of targets hold dashes, which are several tokens: read from the text itself. */
static const Caps *parse_target(TileParse *p)
{
    Scan *scan = &p->scan;
    char name[32] = "";
    size_t length = 0;
    while (isalnum((unsigned char)scan->start[length]) || scan->start[length] == '-' ||
           scan->start[length] == '_')
        length++;
    if (length > 0 && length < sizeof name) {
        memcpy(name, scan->start, length);
        const Caps *caps = target_find(name);
        if (caps) {
            scan->at = scan->start + length;
            scan_next(scan);
            return caps;
        }
    }
    scan_fail(scan, "unknown target '%.*s'", length < 40 ? (int)length : 40, scan->start);
    return NULL;
}

static void parse_item(TileParse *p)
{
    Scan *scan = &p->scan;
    BufferRole role;
    if (scan_accept(scan, "dim")) {
        const Expr *dim = dim_parse(scan, &p->names);
        if (dim)
            tile_use_dim(p->prog, dim);
    } else if (scan_accept(scan, "equal")) {
        DimsEqual equal;
        if (equal_parse(scan, &p->names, &equal))
            VEC_PUSH(p->prog->cx->arena, p->prog->equals, p->prog->equal_count, p->prog->equal_cap,
                     equal);
    } else if (role_find(scan, &role)) {
        Buffer *buffer = buffer_parse(scan, &p->names);
        if (buffer) {
            p->names.count--; /* the name must mean the program's copy */
            names_add_buffer(&p->names, scan, tile_use_buffer(p->prog, buffer));
        }
    } else if (scan_accept(scan, "grid")) {
        parse_grid(p);
    } else {
        scan_fail(scan, "expected dim, a buffer or grid");
    }
}

TileProg *tile_parse(Cx *cx, const char *file, const char *text)
{
    TileParse p = {.cx = cx};
    scan_init(&p.scan, cx, file, text);
    names_init(&p.names, cx);
    scan_expect(&p.scan, "tile");
    const char *name = scan_name(&p.scan);
    const Caps *caps = name ? parse_target(&p) : NULL;
    if (!caps)
        return NULL;
    p.prog = tile_prog(cx, name, caps);
    p.prog->placed = scan_accept(&p.scan, "placed");
    scan_expect(&p.scan, "{");
    while (!cx_failed(cx) && !scan_accept(&p.scan, "}"))
        parse_item(&p);
    if (!cx_failed(cx) && p.scan.kind != TOK_end)
        scan_fail(&p.scan, "text after the program");
    return cx_failed(cx) ? NULL : p.prog;
}
