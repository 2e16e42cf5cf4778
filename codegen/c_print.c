/* Kernels of a tile program: parameters, the task's grid ids, register and shared tiles, control
 * flow. Operations are printed by c_loops.c (CPU) and c_threads.c (GPU); the helpers they call are
 * collected last (c_prelude.c) and put in front. */
#include "codegen/c_impl.h"

#include <math.h>

const Dialect *dialect_for(const Caps *caps)
{
    switch (caps->kind) {
    case TK_cpu: return &dialect_c;
    case TK_opencl_cpu: return &dialect_opencl_cpu;
    case TK_opencl: return &dialect_opencl;
    case TK_cuda: return &dialect_cuda;
    }
    return NULL;
}

static const char *number(CPrint *cp, int64_t value)
{
    return arena_printf(cp->cx->arena, "%lld", (long long)value);
}

static const char *buffer_text(CPrint *cp, const Buffer *buffer)
{
    bool constant = buffer->role == BUF_in || buffer->role == BUF_const;
    const CSubst with[] = {{'n', arena_printf(cp->cx->arena, "b%d", buffer->index)},
                           {'T', c_raw_type(buffer->dtype)},
                           {'c', constant ? "const " : ""},
                           {'i', number(cp, buffer->index)}};
    return c_fill(cp, cp->dialect->buffer, with, 4);
}

static void name_dims(CPrint *cp)
{
    for (uint32_t i = 0; i < cp->prog->dim_count; i++) {
        const Expr *dim = cp->prog->dims[i];
        bool wide = dim->lo < -INT32_MAX || dim->hi > INT32_MAX;
        CName name = {dim, arena_printf(cp->cx->arena, "d%u", (unsigned)i), wide};
        VEC_PUSH(cp->cx->arena, cp->names, cp->name_count, cp->name_cap, name);
    }
}

static const char *dim_text(CPrint *cp, uint32_t i)
{
    const CSubst with[] = {{'n', arena_printf(cp->cx->arena, "a%u", (unsigned)i)},
                           {'i', number(cp, i)}};
    return c_fill(cp, cp->dialect->dim, with, 2);
}

static void put_head(CPrint *cp, int index)
{
    const Dialect *dialect = cp->dialect;
    const TileProg *prog = cp->prog;
    const CSubst with[] = {{'n', arena_printf(cp->cx->arena, "%s_%d", prog->name, index)},
                           {'t', number(cp, cp->grid->threads)}};
    c_template(cp->out, dialect->kernel, with, 2);
    if (dialect->args_struct) {
        text_add(cp->out, "\n{\n");
        cp->depth = 1;
    } else {
        for (uint32_t i = 0; i < prog->buffer_count; i++)
            text_add(cp->out, "%s%s", i ? ", " : "", buffer_text(cp, prog->buffers[i]));
        for (uint32_t i = 0; i < prog->dim_count; i++)
            text_add(cp->out, "%s%s", i || prog->buffer_count ? ", " : "", dim_text(cp, i));
        text_add(cp->out, "%s%s)\n{\n", prog->buffer_count || prog->dim_count ? ", " : "",
                 dialect->error);
        cp->depth = 1;
    }
    for (uint32_t i = 0; dialect->args_struct && i < prog->buffer_count; i++)
        c_line(cp, "%s", buffer_text(cp, prog->buffers[i]));
    for (uint32_t i = 0; dialect->args_struct && i < prog->dim_count; i++)
        c_line(cp, "%s", dim_text(cp, i));
    if (dialect->args_struct)
        c_line(cp, "%s", dialect->error);
    for (uint32_t i = 0; i < prog->dim_count; i++)
        c_line(cp, "const %s d%u = (%s)a%u;", cp->names[i].wide ? "i64" : "i32", (unsigned)i,
               cp->names[i].wide ? "i64" : "i32", (unsigned)i);
}

/* Grid ids from the number of the task, the last one fastest. */
static void put_ids(CPrint *cp)
{
    const Grid *grid = cp->grid;
    double tasks = 1;
    for (int d = 0; d < grid->rank; d++)
        tasks *= grid->extents[d]->hi == INT64_MAX ? INFINITY : (double)grid->extents[d]->hi;
    c_line(cp, tasks < INT32_MAX ? "i32 rest = (i32)task;" : "i64 rest = task;");
    for (int d = grid->rank - 1; d >= 0; d--) {
        bool wide = !(grid->ids[d]->hi < INT32_MAX);
        const char *extent = c_expr(cp, grid->extents[d]);
        const char *name = c_name(cp, grid->ids[d], "g", wide);
        const char *type = wide ? "i64" : "i32";
        if (d == 0) {
            c_line(cp, "const %s %s = (%s)rest;", type, name, type);
            break;
        }
        c_line(cp, "const %s %s = (%s)(rest %% %s);", type, name, type, extent);
        c_line(cp, "rest /= %s;", extent);
    }
}

static void put_tiles(CPrint *cp)
{
    const Dialect *dialect = cp->dialect;
    const Grid *grid = cp->grid;
    const CSubst bytes[] = {{'b', number(cp, c_shared_bytes(cp->prog, grid))}};
    if (c_shared_bytes(cp->prog, grid) > 0)
        c_line(cp, "%s", c_fill(cp, dialect->shared, bytes, 1));
    for (uint32_t i = 0; i < grid->tile_count; i++) {
        const Tile *tile = grid->tiles[i];
        const char *name = c_tile_name(cp, tile), *type = c_raw_type(tile->dtype);
        if (tile->scope == TS_shared) {
            const CSubst with[] = {
                {'n', name}, {'T', type}, {'o', number(cp, c_shared_offset(grid, tile))}};
            c_line(cp, "%s", c_fill(cp, dialect->shared_tile, with, 3));
            continue;
        }
        int64_t count = 1;
        for (int d = 0; d < tile->rank; d++)
            count *= tile->shape[d];
        if (dialect->gpu && !tile->layout)
            cx_fail(cp->cx, ST_internal, "c_print: tile %s has no layout", tile->name);
        else
            c_line(cp, "%s %s[%s];", type, name,
                   number(cp, dialect->gpu ? layout_regs(tile->layout) : count));
    }
}

static void put_block(CPrint *cp, const TileBlock *block);

static void put_for(CPrint *cp, const TileOp *op)
{
    uint32_t scope = cp->name_count;
    const char *lo = c_expr(cp, op->lo), *hi = c_expr(cp, op->hi);
    bool wide = op->lo->lo < -INT32_MAX || op->hi->hi > INT32_MAX - op->step;
    const char *name = c_name(cp, op->var, "k", wide);
    c_open(cp, "for (%s %s = %s; %s < %s; %s += %lld) ", wide ? "i64" : "i32", name, lo, name, hi,
           name, (long long)op->step);
    put_block(cp, op->body);
    c_close(cp);
    cp->name_count = scope;
}

static void put_if(CPrint *cp, const TileOp *op)
{
    const char *guard = c_guards(cp, op->guards, op->guard_count);
    c_open(cp, "if (%s) ", guard ? guard : "1");
    put_block(cp, op->body);
    c_close(cp);
    if (op->other) {
        c_open(cp, "else ");
        put_block(cp, op->other);
        c_close(cp);
    }
}

static void put_block(CPrint *cp, const TileBlock *block)
{
    for (const TileOp *op = block->first; op; op = op->next) {
        if (op->kind == TO_for) {
            put_for(cp, op);
        } else if (op->kind == TO_if) {
            put_if(cp, op);
        } else {
            c_open(cp, "%s", "");
            if (cp->dialect->gpu)
                c_gpu_op(cp, op);
            else
                c_cpu_op(cp, op);
            c_close(cp);
        }
    }
}

static void put_kernel(CPrint *cp, int index)
{
    uint32_t scope = cp->name_count;
    cp->grid = cp->prog->grids[index];
    put_head(cp, index);
    if (cp->dialect->gpu) {
        cp->tid = cp->grid->thread;
        if (!cp->tid)
            cp->tid = expr_sym(cp->cx, "tid", 0, cp->grid->threads - 1, 1);
        CName name = {cp->tid, "tid", false};
        VEC_PUSH(cp->cx->arena, cp->names, cp->name_count, cp->name_cap, name);
        c_line(cp, "%s", cp->dialect->thread);
    }
    c_indent(cp);
    text_add(cp->out, "%s\n", cp->dialect->task);
    cp->depth += cp->dialect->args_struct;
    put_ids(cp);
    put_tiles(cp);
    put_block(cp, &cp->grid->body);
    if (cp->dialect->args_struct)
        c_close(cp);
    c_close(cp);
    cp->name_count = scope;
}

static bool good_name(const char *name)
{
    for (const char *at = name; *at; at++)
        if (!(*at >= 'a' && *at <= 'z') && !(*at >= 'A' && *at <= 'Z') &&
            !(*at >= '0' && *at <= '9') && *at != '_')
            return false;
    return name[0] && !(name[0] >= '0' && name[0] <= '9');
}

static bool put_program(Cx *cx, Text *body, const TileProg *prog, const Dialect *dialect)
{
    CPrint cp = {.cx = cx, .out = body, .dialect = dialect, .prog = prog};
    if (!good_name(prog->name))
        return cx_fail(cx, ST_internal, "c_print: '%s' is no name for a kernel", prog->name), false;
    if (dialect->gpu && !prog->placed)
        return cx_fail(cx, ST_internal, "c_print: %s is not placed", prog->name), false;
    name_dims(&cp);
    for (uint32_t i = 0; i < prog->grid_count && !cx_failed(cx); i++)
        put_kernel(&cp, (int)i);
    return !cx_failed(cx);
}

bool c_print_all(Cx *cx, Text *out, TileProg *const *progs, int count, const Dialect *dialect)
{
    Text body;
    text_init(&body, cx->arena);
    for (int i = 0; i < count; i++)
        if (!put_program(cx, &body, progs[i], dialect))
            return false;
    if (count)
        c_prelude(cx, out, dialect, progs[0]->caps, body.data ? body.data : "");
    text_put(out, body.data, body.length);
    return !cx_failed(cx);
}

bool c_print(Cx *cx, Text *out, const TileProg *prog, const Dialect *dialect)
{
    TileProg *one = (TileProg *)(uintptr_t)prog; /* only read */
    return c_print_all(cx, out, &one, 1, dialect);
}
