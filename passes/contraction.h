/* What the files of the contraction skeleton share: the shape of one contraction under one
 * schedule, and where the operand that the columns run over is stored. Private to them. */
#ifndef QUERN_PASSES_CONTRACTION_H
#define QUERN_PASSES_CONTRACTION_H

#include "passes/lower_value.h"

typedef struct Shape {
    Lower *lower;
    Cx *cx;
    Nest *nest;
    const Schedule *schedule;
    Contraction c;
    int n_axis; /* contiguous axis of the output; the other N axes are grid dims */
    int k_axis; /* innermost K axis */
    int m_axes[MAX_AXES], m_count;
    uint64_t outer_m; /* M axes that are grid dims */
    const Expr *rows; /* product of the M extents */
    int width, nr;    /* lanes of a vector, columns of a full tile */
    Buffer *packed;   /* or NULL: [outer b axes.., column block, k axes.., nr] */
    int packed_axes[MAX_AXES], packed_count; /* b's axes before the column block, then the K axes */
    int packed_outer;                        /* how many of them come before the column block */
    int64_t panel_rows;                      /* points of K in a task's panel; 0: no panel */
    Tile *panel;                             /* made when it is first filled */
    const Expr *column_block;
    const Expr *column_base; /* first column of the tile */
} Shape;

static inline Value *through_casts(Value *value)
{
    while (value->op == V_cast)
        value = value->args[0];
    return value;
}

/* Decides how b is stored, as the schedule says: where it lies, packed at load (adds to `out`),
 * packed in a grid of its own (emitted here), or in a panel that each task fills. */
void contraction_pack(Shape *s, Lowered *out);
/* Fills the panel with `columns` columns from s->column_base on, `bound` (or NULL) of them valid;
 * does nothing when there is no panel. */
void contraction_fill_panel(Shape *s, TileBlock *block, int columns, const Expr *bound);
bool contraction_is_packed(const Shape *s);
/* b as a value of an operation, from where it is packed. */
Value *contraction_packed_value(Shape *s, TileOp *op);

#endif
