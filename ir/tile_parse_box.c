/* The parser of operations on boxes: map, mma, copy, prefetch (tile.h). */
#include "ir/tile_parse.h"
#include "ir/value_build.h"

/* (i 8, j 48): names and extents. */
static int parse_coords(TileParse *p, const char *names[MAX_BOX], int shape[MAX_BOX])
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
        shape[rank++] = tile_parse_int(p, 1, TILE_MAX_EXTENT);
    } while (scan_accept(&p->scan, ","));
    scan_expect(&p->scan, ")");
    return rank;
}

static void parse_bound(TileParse *p, TileOp *op)
{
    Scan *scan = &p->scan;
    for (int i = 0; i < op->box.rank; i++) {
        if (!scan_is(scan, op->box.coord[i]->name))
            continue;
        scan_next(scan);
        if (op->box.bound[i])
            scan_fail(scan, "a second bound of '%s'", op->box.coord[i]->name);
        op->box.bound[i] = tile_parse_expr(p);
        return;
    }
    scan_fail(scan, "bound: expected a coordinate of the operation");
}

static Value *make_value(TileParse *p, TileOp *op, const ParsedValue *parsed)
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
static void parse_value_line(TileParse *p, TileOp *op)
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

static void parse_store(TileParse *p, TileOp *op)
{
    Access *access = access_parse(&p->scan, &p->names);
    Value *value = access ? names_parse_value(&p->names, &p->scan) : NULL;
    if (value && access_parse_guards(&p->scan, &p->names, access, false))
        tile_store(p->prog, op, access, value);
}

static void parse_box_body(TileParse *p, TileOp *op)
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

static void parse_copy_fill(TileParse *p, TileOp *op, double fill, bool given)
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

void tile_parse_box(TileParse *p, TileBlock *at, TileOpKind kind)
{
    Scan *scan = &p->scan;
    const char *names[MAX_BOX] = {0};
    int shape[MAX_BOX] = {0};
    bool async = kind == TO_copy && scan_accept(scan, "async");
    Tile *dst = kind == TO_mma ? tile_parse_name(p) : NULL;
    int rank = parse_coords(p, names, shape);
    if (cx_failed(p->cx))
        return;
    TileOp *op = tile_op(p->prog, at, kind, rank, names, shape);
    op->async = async;
    op->dst = dst;
    while (scan_accept(scan, "bound"))
        parse_bound(p, op);
    if (scan_accept(scan, "by"))
        op->by = tile_parse_layout(p);
    if (scan_accept(scan, "slot"))
        op->slot = tile_parse_expr(p);
    bool has_fill = scan_accept(scan, "fill");
    double fill = has_fill ? scan_float(scan) : 0;
    parse_box_body(p, op);
    parse_copy_fill(p, op, fill, has_fill);
    if (kind == TO_mma && !cx_failed(p->cx) && (!op->a || !op->b))
        scan_fail(scan, "mma needs an operand a and an operand b");
}
