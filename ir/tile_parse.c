/* The parser of tile programs (the printer is tile_text.c, the grammar is in tile.h).
 *
 * Recursive descent over the shared scanner; builds with the builder. It checks the grammar and
 * what the builder relies on (ranks, counts, positive extents); every other rule is left to
 * tile_verify. Names are scoped by remembering the size of the name table. After a failure the
 * scanner stands at the end of the text, so loops end by themselves. */
#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "ir/tile.h"
#include "ir/value_build.h"
#include "ir/value_text.h"

enum { MAX_EXTENT = 1 << 16, MAX_THREADS = 1024 };

typedef struct Parser {
    Cx *cx;
    Scan scan;
    Names names;
    TileProg *prog;
    Grid *grid;
} Parser;

static const Expr *parse_expr(Parser *p)
{
    const Expr *e = names_parse_expr(&p->names, &p->scan);
    if (expr_is_poison(e) && !cx_failed(p->cx))
        scan_fail(&p->scan, "expression overflows or divides by zero");
    return e;
}

/* An integer in lo..hi; lo after a failure. */
static int parse_int(Parser *p, int lo, int hi)
{
    int64_t value = scan_int(&p->scan);
    if (value >= lo && value <= hi)
        return (int)value;
    if (!cx_failed(p->cx))
        scan_fail(&p->scan, "a number in %d..%d is required", lo, hi);
    return lo;
}

static int parse_parts(Parser *p, const char *word, LayoutPart parts[MAX_PARTS])
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
        part->dim = parse_int(p, -1, MAX_BOX - 1);
        scan_expect(&p->scan, ":");
        part->extent = parse_int(p, 1, MAX_EXTENT);
        scan_expect(&p->scan, ":");
        part->stride = parse_int(p, 0, MAX_EXTENT);
    } while (scan_accept(&p->scan, ","));
    scan_expect(&p->scan, ")");
    return count;
}

static Layout *parse_layout(Parser *p)
{
    Layout *layout = NEW(p->cx->arena, Layout);
    layout->lane_count = parse_parts(p, "lanes", layout->lanes);
    layout->reg_count = parse_parts(p, "regs", layout->regs);
    return layout;
}

static Dtype parse_dtype(Parser *p)
{
    Scan *scan = &p->scan;
    Dtype dtype = scan->kind == TOK_name ? dtype_find(scan->start, scan->length) : DT_none;
    if (dtype == DT_none)
        scan_fail(scan, "expected an element type");
    else
        scan_next(scan);
    return dtype;
}

static int parse_shape(Parser *p, int shape[MAX_BOX])
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
        shape[rank++] = parse_int(p, 1, MAX_EXTENT);
    } while (scan_accept(&p->scan, ","));
    scan_expect(&p->scan, "]");
    return rank;
}

/* tile acc f32 [8, 48] register */
static void parse_tile(Parser *p)
{
    Scan *scan = &p->scan;
    int shape[MAX_BOX] = {0};
    const char *name = scan_name(scan);
    Dtype dtype = parse_dtype(p);
    int rank = parse_shape(p, shape);
    TileScope scope = scan_accept(scan, "shared") ? TS_shared : TS_register;
    if (scope == TS_register)
        scan_expect(scan, "register");
    if (cx_failed(p->cx))
        return;
    Tile *tile = tile_new(p->prog, p->grid, name, dtype, scope, rank, shape);
    if (scan_accept(scan, "pad"))
        tile->pad = parse_int(p, 1, MAX_EXTENT);
    if (scan_accept(scan, "slots"))
        tile->slots = parse_int(p, 1, 64);
    if (scan_accept(scan, "swizzle"))
        tile->swizzle = parse_int(p, 32, 128);
    if (scan_is(scan, "lanes"))
        tile->layout = parse_layout(p);
    names_add(&p->names, scan,
              (Named){.name = name, .axis = -1, .tile = tile, .dtype = dtype, .rank = rank});
}

static Tile *parse_tile_name(Parser *p)
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

/* ---- operations on boxes */

/* (i 8, j 48): names and extents. */
static int parse_coords(Parser *p, const char *names[MAX_BOX], int shape[MAX_BOX])
{
    int rank = 0;
    scan_expect(&p->scan, "(");
    if (scan_accept(&p->scan, ")"))
        return 0;
    do {
        if (rank == MAX_BOX) {
            scan_fail(&p->scan, "more than %d coordinates", MAX_BOX);
            return 0;
        }
        names[rank] = scan_name(&p->scan);
        shape[rank++] = parse_int(p, 1, MAX_EXTENT);
    } while (scan_accept(&p->scan, ","));
    scan_expect(&p->scan, ")");
    return rank;
}

static void parse_bound(Parser *p, TileOp *op)
{
    Scan *scan = &p->scan;
    for (int i = 0; i < op->box.rank; i++) {
        if (!scan_is(scan, op->box.coord[i]->name))
            continue;
        scan_next(scan);
        if (op->box.bound[i])
            scan_fail(scan, "a second bound of '%s'", op->box.coord[i]->name);
        op->box.bound[i] = parse_expr(p);
        return;
    }
    scan_fail(scan, "bound: expected a coordinate of the operation");
}

static Value *make_value(Parser *p, TileOp *op, const ParsedValue *parsed)
{
    const Value *v = &parsed->value;
    const Expr *sym;
    switch (v->op) {
    case V_const: return tile_const(p->prog, op, v->dtype, v->constant);
    case V_index: return tile_index(p->prog, op, v->dtype, v->index);
    case V_load: return tile_load(p->prog, op, v->access);
    case V_tile: return tile_read(p->prog, op, v->access->tile, v->access->index);
    case V_scalar: return tile_scalar(p->prog, op, v->scalar, v->args[0], v->args[1], v->args[2]);
    case V_cast: return tile_cast(p->prog, op, v->dtype, v->args[0]);
    case V_bind:
        if (expr_is_poison(v->lo) || expr_is_poison(v->hi)) {
            scan_fail(&p->scan, "bind: a range overflows");
            return NULL;
        }
        sym = expr_sym(p->cx, parsed->bind, v->lo->lo,
                       v->hi->hi > v->lo->lo ? v->hi->hi : v->lo->lo + 1,
                       1); /* two values, else it is simplified away */
        names_add_sym(&p->names, &p->scan, parsed->bind, sym, -1);
        return tile_bind(p->prog, op, v->args[0], sym, v->lo, v->hi, v->wraps);
    case V_reduce: break;
    }
    scan_fail(&p->scan, "a tile program reduces with the operation 'reduce'");
    return NULL;
}

/* %0 = ..., in an mma with its role before it */
static void parse_value_line(Parser *p, TileOp *op)
{
    bool is_a = op->kind == TO_mma && scan_accept(&p->scan, "a");
    bool is_b = op->kind == TO_mma && scan_accept(&p->scan, "b");
    ParsedValue parsed;
    if (!value_parse(&p->scan, &p->names, &parsed))
        return;
    Value *value = make_value(p, op, &parsed);
    if (!value || !names_set_value(&p->names, &p->scan, parsed.number, value))
        return;
    if ((is_a && op->a) || (is_b && op->b))
        scan_fail(&p->scan, "a second operand of the same side");
    op->a = is_a ? value : op->a;
    op->b = is_b ? value : op->b;
}

static void parse_store(Parser *p, TileOp *op)
{
    Access *access = access_parse(&p->scan, &p->names);
    Value *value = access ? names_parse_value(&p->names, &p->scan) : NULL;
    if (value && access_parse_guards(&p->scan, &p->names, access, false))
        tile_store(p->prog, op, access, value);
}

static void parse_box_body(Parser *p, TileOp *op)
{
    uint32_t scope = p->names.count;
    p->names.value_count = 0;
    for (int i = 0; i < op->box.rank; i++)
        names_add_sym(&p->names, &p->scan, op->box.coord[i]->name, op->box.coord[i], -1);
    scan_expect(&p->scan, "{");
    while (!cx_failed(p->cx) && !scan_accept(&p->scan, "}")) {
        if (scan_accept(&p->scan, "store"))
            parse_store(p, op);
        else
            parse_value_line(p, op);
    }
    p->names.count = scope;
    p->names.value_count = 0;
}

static void parse_copy_fill(Parser *p, TileOp *op, double fill, bool given)
{
    if (!given || cx_failed(p->cx))
        return;
    if (op->kind != TO_copy || op->value_count != 1 || op->values[0]->op != V_load ||
        op->values[0]->access->guard_count > 0) {
        scan_fail(&p->scan, "fill belongs to a copy of one load without guards");
        return;
    }
    Dtype dtype = op->values[0]->dtype;
    op->values[0]->access->fill = dtype_convert(dtype, DT_f64, (Scalar){.f = fill});
}

static void parse_box_op(Parser *p, TileBlock *at, TileOpKind kind)
{
    Scan *scan = &p->scan;
    const char *names[MAX_BOX] = {0};
    int shape[MAX_BOX] = {0};
    bool async = kind == TO_copy && scan_accept(scan, "async");
    Tile *dst = kind == TO_mma ? parse_tile_name(p) : NULL;
    int rank = parse_coords(p, names, shape);
    if (cx_failed(p->cx))
        return;
    TileOp *op = tile_op(p->prog, at, kind, rank, names, shape);
    op->async = async;
    op->dst = dst;
    while (scan_accept(scan, "bound"))
        parse_bound(p, op);
    if (scan_accept(scan, "by"))
        op->by = parse_layout(p);
    if (scan_accept(scan, "slot"))
        op->slot = parse_expr(p);
    bool has_fill = scan_accept(scan, "fill");
    double fill = has_fill ? scan_float(scan) : 0;
    parse_box_body(p, op);
    parse_copy_fill(p, op, fill, has_fill);
    if (kind == TO_mma && !cx_failed(p->cx) && (!op->a || !op->b))
        scan_fail(scan, "mma needs an operand a and an operand b");
}

/* ---- the other operations */

static void parse_block(Parser *p, TileBlock *at);

/* for k 0..768 step 4 stages 3 { } */
static void parse_for(Parser *p, TileBlock *at)
{
    Scan *scan = &p->scan;
    const char *name = scan_name(scan);
    const Expr *lo = parse_expr(p), *var;
    scan_expect(scan, "..");
    const Expr *hi = parse_expr(p);
    int step = scan_accept(scan, "step") ? parse_int(p, 1, INT_MAX) : 1;
    if (cx_failed(p->cx))
        return;
    TileBlock *body = tile_for(p->prog, at, name, lo, hi, step, &var);
    if (scan_accept(scan, "stages"))
        at->last->stages = parse_int(p, 1, 64);
    uint32_t scope = p->names.count;
    names_add_sym(&p->names, scan, name, var, -1);
    parse_block(p, body);
    p->names.count = scope;
}

/* At `if`. */
static void parse_if(Parser *p, TileBlock *at)
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
static bool parse_pair(Parser *p, Tile **dst, Tile **src)
{
    *dst = parse_tile_name(p);
    scan_expect(&p->scan, "<");
    scan_expect(&p->scan, "-");
    *src = parse_tile_name(p);
    return !cx_failed(p->cx);
}

static void parse_reduce(Parser *p, TileBlock *at)
{
    Scan *scan = &p->scan;
    Tile *dst, *src;
    if (!parse_pair(p, &dst, &src) || !scan_expect(scan, "dim"))
        return;
    int dim = parse_int(p, 0, MAX_BOX - 1);
    int monoid = scan->kind == TOK_name ? monoid_find(scan->start, scan->length) : -1;
    if (monoid < 0) {
        scan_fail(scan, "expected a monoid");
        return;
    }
    scan_next(scan);
    tile_reduce(p->prog, at, dst, src, dim, (Monoid)monoid);
}

static void parse_convert(Parser *p, TileBlock *at)
{
    Tile *dst, *src;
    if (!parse_pair(p, &dst, &src) || !scan_expect(&p->scan, "via"))
        return;
    Tile *via = parse_tile_name(p);
    if (via)
        tile_convert(p->prog, at, dst, src, via);
}

static void parse_op(Parser *p, TileBlock *at)
{
    Scan *scan = &p->scan;
    if (scan_accept(scan, "for"))
        parse_for(p, at);
    else if (scan_is(scan, "if"))
        parse_if(p, at);
    else if (scan_accept(scan, "map"))
        parse_box_op(p, at, TO_map);
    else if (scan_accept(scan, "mma"))
        parse_box_op(p, at, TO_mma);
    else if (scan_accept(scan, "copy"))
        parse_box_op(p, at, TO_copy);
    else if (scan_accept(scan, "prefetch"))
        parse_box_op(p, at, TO_prefetch);
    else if (scan_accept(scan, "reduce"))
        parse_reduce(p, at);
    else if (scan_accept(scan, "convert"))
        parse_convert(p, at);
    else if (scan_accept(scan, "barrier"))
        tile_sync(p->prog, at, TO_barrier, 0);
    else if (scan_accept(scan, "commit"))
        tile_sync(p->prog, at, TO_commit, 0);
    else if (scan_accept(scan, "wait"))
        tile_sync(p->prog, at, TO_wait, parse_int(p, 0, 64));
    else
        scan_fail(scan, "expected an operation");
}

static void parse_block(Parser *p, TileBlock *at)
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
static bool parse_grid_head(Parser *p)
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
        extents[rank++] = parse_expr(p);
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
        p->grid->threads = parse_int(p, 1, MAX_THREADS);
    if (scan_accept(scan, "as")) {
        const char *name = scan_name(scan);
        if (!name)
            return false;
        p->grid->thread = expr_sym(p->cx, name, 0, p->grid->threads - 1, 1);
        names_add_sym(&p->names, scan, name, p->grid->thread, -1);
    }
    return !cx_failed(p->cx);
}

static void parse_grid(Parser *p)
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
static const Caps *parse_target(Parser *p)
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

static void parse_item(Parser *p)
{
    Scan *scan = &p->scan;
    BufferRole role;
    if (scan_accept(scan, "dim")) {
        const Expr *dim = dim_parse(scan, &p->names);
        if (dim)
            tile_use_dim(p->prog, dim);
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
    Parser p = {.cx = cx};
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
