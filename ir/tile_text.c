/* The text form of tile programs: the printer (tile_parse.c is the parser).
 *
 * The grammar is in tile.h, that of values, accesses, dims and buffers in value_text.h. Attributes
 * are printed only when they differ from their default, always in the same order, so that print ->
 * parse -> print is the identity. Names are scoped: a loop's variable and an operation's
 * coordinates end with its body, value numbers with the operation. */
#include <inttypes.h>

#include "ir/tile_impl.h"

/* ---- printing */

static const char *tile_name_of(const void *user, const struct Tile *tile)
{
    (void)user;
    return tile->name;
}

const ValueNames tile_value_names = {.tile_name = tile_name_of};

static void print_parts(Text *text, const char *word, int count, const LayoutPart *parts)
{
    text_add(text, " %s(", word);
    for (int i = 0; i < count; i++)
        text_add(text, "%s%d:%d:%d", i ? ", " : "", parts[i].dim, parts[i].extent, parts[i].stride);
    text_add(text, ")");
}

static void print_layout(Text *text, const Layout *layout)
{
    print_parts(text, "lanes", layout->lane_count, layout->lanes);
    print_parts(text, "regs", layout->reg_count, layout->regs);
}

static void print_tile(Text *text, const Tile *tile)
{
    text_add(text, "tile %s %s [", tile->name, dtype_name(tile->dtype));
    for (int i = 0; i < tile->rank; i++)
        text_add(text, "%s%d", i ? ", " : "", tile->shape[i]);
    text_add(text, "] %s", tile->scope == TS_register ? "register" : "shared");
    if (tile->pad)
        text_add(text, " pad %d", tile->pad);
    if (tile->slots != 1)
        text_add(text, " slots %d", tile->slots);
    if (tile->swizzle)
        text_add(text, " swizzle %d", tile->swizzle);
    if (tile->layout)
        print_layout(text, tile->layout);
}

static const char *const box_words[] = {
    [TO_map] = "map", [TO_mma] = "mma", [TO_copy] = "copy", [TO_prefetch] = "prefetch"};

/* The fill of a copy's load stands with the guards; without guards it stands on the operation. */
static const Access *unguarded_fill(const TileOp *op)
{
    if (op->kind != TO_copy || op->value_count != 1 || op->values[0]->op != V_load)
        return NULL;
    const Access *access = op->values[0]->access;
    return access->guard_count == 0 && access->fill.i != 0 ? access : NULL;
}

static void print_box_head(Text *text, const TileOp *op)
{
    text_add(text, "%s%s", box_words[op->kind], op->async ? " async" : "");
    if (op->kind == TO_mma)
        text_add(text, " %s", op->dst->name);
    text_add(text, " (");
    for (int i = 0; i < op->box.rank; i++)
        text_add(text, "%s%s %d", i ? ", " : "", op->box.coord[i]->name, op->box.shape[i]);
    text_add(text, ")");
    for (int i = 0; i < op->box.rank; i++) {
        if (op->box.bound[i]) {
            text_add(text, " bound %s ", op->box.coord[i]->name);
            expr_print(text, op->box.bound[i]);
        }
    }
    if (op->by) {
        text_add(text, " by");
        print_layout(text, op->by);
    }
    if (op->slot) {
        text_add(text, " slot ");
        expr_print(text, op->slot);
    }
    if (unguarded_fill(op)) {
        text_add(text, " fill ");
        scalar_print(text, op->values[0]->dtype, unguarded_fill(op)->fill);
    }
}

static void print_for_head(Text *text, const TileOp *op)
{
    text_add(text, "for %s ", op->var->name);
    expr_print(text, op->lo);
    text_add(text, "..");
    expr_print(text, op->hi);
    if (op->step != 1)
        text_add(text, " step %" PRId64, op->step);
    if (op->stages != 1)
        text_add(text, " stages %d", op->stages);
}

static void print_if_head(Text *text, const TileOp *op)
{
    Access guards = {.guard_count = op->guard_count, .guards = op->guards};
    Text part;
    text_init(&part, text->arena);
    access_print_guards(&part, &guards); /* starts with a space */
    text_add(text, "%s", op->guard_count ? part.data + 1 : "if");
}

void tile_print_head(Text *text, const TileOp *op)
{
    switch (op->kind) {
    case TO_for: print_for_head(text, op); break;
    case TO_if: print_if_head(text, op); break;
    case TO_map:
    case TO_mma:
    case TO_copy:
    case TO_prefetch: print_box_head(text, op); break;
    case TO_reduce:
        text_add(text, "reduce %s <- %s dim %d %s", op->dst->name, op->src->name, op->dim,
                 monoid_name(op->monoid));
        break;
    case TO_convert:
        text_add(text, "convert %s <- %s via %s", op->dst->name, op->src->name, op->via->name);
        break;
    case TO_barrier: text_add(text, "barrier"); break;
    case TO_commit: text_add(text, "commit"); break;
    case TO_wait: text_add(text, "wait %" PRId64, op->count); break;
    }
}

static void print_box_body(Text *text, const TileOp *op, int depth)
{
    text_add(text, " {\n");
    for (uint32_t i = 0; i < op->value_count; i++) {
        text_indent(text, depth + 1);
        if (op->kind == TO_mma)
            text_add(text, "%s%s", op->values[i] == op->a ? "a " : "",
                     op->values[i] == op->b ? "b " : "");
        value_print(text, op->values[i], &tile_value_names);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < op->store_count; i++) {
        text_indent(text, depth + 1);
        text_add(text, "store ");
        access_print(text, op->stores[i].access, &tile_value_names);
        text_add(text, " %%%u", op->stores[i].value->id);
        access_print_guards(text, op->stores[i].access);
        text_add(text, "\n");
    }
    text_indent(text, depth);
    text_add(text, "}");
}

static void print_block(Text *text, const TileBlock *block, int depth);

/* Operations are lines of their own at `depth`. */
static void print_op(Text *text, const TileOp *op, int depth)
{
    text_indent(text, depth);
    tile_print_head(text, op);
    if (op->kind == TO_map || op->kind == TO_mma || op->kind == TO_copy || op->kind == TO_prefetch)
        print_box_body(text, op, depth);
    if (op->body)
        print_block(text, op->body, depth);
    if (op->other) {
        text_add(text, " else");
        print_block(text, op->other, depth);
    }
    text_add(text, "\n");
}

static void print_block(Text *text, const TileBlock *block, int depth)
{
    text_add(text, " {\n");
    for (const TileOp *op = block->first; op; op = op->next)
        print_op(text, op, depth + 1);
    text_indent(text, depth);
    text_add(text, "}");
}

static void print_grid(Text *text, const Grid *grid)
{
    text_add(text, "  grid (");
    for (int i = 0; i < grid->rank; i++) {
        text_add(text, "%s%s ", i ? ", " : "", grid->ids[i]->name);
        expr_print(text, grid->extents[i]);
    }
    text_add(text, ")");
    if (grid->threads != 1)
        text_add(text, " threads %d", grid->threads);
    if (grid->thread)
        text_add(text, " as %s", grid->thread->name);
    text_add(text, " {\n");
    for (uint32_t i = 0; i < grid->tile_count; i++) {
        text_add(text, "    ");
        print_tile(text, grid->tiles[i]);
        text_add(text, "\n");
    }
    for (const TileOp *op = grid->body.first; op; op = op->next)
        print_op(text, op, 2);
    text_add(text, "  }\n");
}

void tile_print(Text *text, const TileProg *prog)
{
    text_add(text, "tile %s %s%s {\n", prog->name, prog->caps->name, prog->placed ? " placed" : "");
    for (uint32_t i = 0; i < prog->dim_count; i++) {
        text_add(text, "  ");
        dim_print(text, prog->dims[i]);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < prog->equal_count; i++) {
        text_add(text, "  ");
        equal_print(text, prog->equals[i]);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < prog->buffer_count; i++) {
        text_add(text, "  ");
        buffer_print(text, prog->cx, prog->buffers[i]);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < prog->grid_count; i++)
        print_grid(text, prog->grids[i]);
    text_add(text, "}\n");
}
