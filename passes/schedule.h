/* Schedules: how a nest becomes a tile program. A flat list of small integers per skeleton; never
 * changes the meaning of a nest beyond the order of additions.
 *
 * contraction: out[b, m, n] = epilogue(sum over k of a[b, m, k] * b[b, n, k]), matrix products and
 * convolutions, on CPUs.
 *   mr, nv    register tile: mr rows by nv vectors
 *   ku        steps of k in one body
 *   mt        row tiles a task runs through before the next column block
 *   pack      0: b is read where it lies; else packed in column blocks of one register tile, at
 * load when it is constant. At run time 1: in a phase of its own; 2: by each task, into a panel of
 * its own (a phase when the panel would be larger than half an L2)
 *
 * attention: softmax of scores times values, on CPUs; mr, nv, ku, mt as above, of both products
 *   keys      register tiles of keys in a block
 *
 * scan: cumulative sums and the like, on CPUs
 *   vec       vectors of results that a task walks along with
 *
 * scatter: elements stored where indices say, on CPUs
 *   vec       vectors of results that a task owns, where updates do not choose among them
 *
 * general: everything else (maps, transposes, reductions, rows, windows), on CPUs.
 *   vec       vectors of the contiguous axis in a box
 *   rows      points of a second parallel axis in a box
 *   grain     points a task computes, about
 *   keep      1: values used in two passes over a row are kept
 *
 * tiles: a contraction on a GPU. A block computes bm x bn outputs, bk steps of k at a time from
 * shared memory, with a ring of `stages` slots.
 *
 * blocks: everything else on a GPU. A block computes a box of threads * each points, at least
 * `rows` of them along a second axis.
 *
 * flash: attention on a GPU. A block computes bm rows, bn keys at a time from shared memory, with a
 * ring of `stages` slots. */
#ifndef QUERN_PASSES_SCHEDULE_H
#define QUERN_PASSES_SCHEDULE_H

#include "ir/nest.h"
#include "ir/tile.h"

typedef enum Skeleton {
    SK_contraction,
    SK_attention,
    SK_scan,
    SK_scatter,
    SK_general,
    SK_tiles,
    SK_blocks,
    SK_flash,
    SK_count
} Skeleton;

typedef enum ScheduleField {
#define SCHEDULE(field, skeletons, lowest, highest, standard) SF_##field,
#include "passes/schedule.def"
#undef SCHEDULE
    SF_count
} ScheduleField;

typedef struct Schedule {
    Skeleton skeleton;
    int32_t field[SF_count];
} Schedule;

/* Text: `contraction mr=8 nv=3 ku=4 mt=8 pack=1`. Parsing fills defaults and checks
 * ranges. */
void schedule_print(Text *text, const Schedule *schedule);
bool schedule_parse(Scan *scan, Schedule *schedule);
Schedule schedule_default(Skeleton skeleton);
/* The next schedule in a walk over small candidate sets for tuning and property tests; false at the
 * end. `index` counts from 0. */
bool schedule_candidate(const Nest *nest, const Caps *caps, int index, Schedule *schedule);

/* Schedules one step away: each field of the skeleton one up, one down, doubled, halved, within its
 * range. False at the end; `index` counts from 0. Not all of them fit a nest. */
bool schedule_neighbour(const Schedule *from, int index, Schedule *schedule);
bool schedule_equal(const Schedule *a, const Schedule *b);

/* The cost model's choice: a pure function of nest and target. */
Schedule schedule_choose(Cx *cx, const Nest *nest, const Caps *caps);
/* Its choice among the skeletons that take any nest, general and blocks. They load by maps only, so
 * whatever is not proven of an index becomes a guard (tile_secure). */
Schedule schedule_plain(Cx *cx, const Nest *nest, const Caps *caps);

/* A constant operand in packed form: `nest` reads the original (buffer 0) and writes the packed
 * buffer (buffer 1), which takes the place of buffer `index` of the program. Run once at load. */
typedef struct PackedConst {
    int index;
    Nest *nest;
} PackedConst;

typedef struct Lowered {
    TileProg *prog; /* its buffers are the nest's, in order, then scratch buffers */
    int pack_count;
    PackedConst packs[4];
} Lowered;

/* Nest and schedule to an unplaced program. Fails with ST_unsupported when the schedule does not
 * fit the nest. */
bool schedule_apply(Cx *cx, Nest *nest, const Schedule *schedule, const Caps *caps, Lowered *out);

/* What a nest's contraction is made of, or has == false. Axis sets are bit masks over axis numbers.
 */
typedef struct Contraction {
    bool has;
    Value *sum;   /* the V_reduce */
    Value *a, *b; /* factors: a carries the M axes, b the N axes */
    uint64_t batch, m, n, k;
} Contraction;
Contraction nest_contraction(Cx *cx, const Nest *nest);
/* What a nest's attention is made of, or has == false: weighted = sum over l of e * v, sum = sum of
 * e, e = exp(x - max), max = max over l of x, and x computed from dot = sum over c of q * k. */
typedef struct Attention {
    bool has;
    Value *weighted, *sum, *max, *e, *x, *v, *dot, *q, *k;
    int l, c, n;       /* axes: keys, depth of the scores, contiguous axis of the output */
    uint64_t batch, m; /* of the output: shared with k and v; rows */
    const Expr *last;  /* x is -inf for keys over it, or NULL; uses axes of the output */
} Attention;
Attention nest_attention(Cx *cx, const Nest *nest);

/* What a nest's scan is made of, or has == false: reduce over s of select(s before i, x, identity).
 */
typedef struct PrefixScan {
    bool has, reverse, exclusive;
    Value *reduce, *x;
    int i, s; /* axes: of the result; reduced */
} PrefixScan;
PrefixScan nest_scan(Cx *cx, const Nest *nest);

/* What a nest's scatter is made of, or has == false: each point of the reduced axes sends `update`
 * to where axis[k] == at[k] for all k, if the conditions hold; it takes the place of the element
 * there or is combined with it. */
enum { MAX_CONDITIONS = 16 };
typedef struct Scatter {
    bool has, combines;
    ScalarOp combine;
    Value *old, *update, *hit;
    const Value *last;  /* bound to the number of the update that stays; NULL: none, or combines */
    const Expr *number; /* of an update */
    uint64_t axes, indexed,
        reduced; /* of the result; of them, those that updates choose; updates */
    int count, condition_count;
    int axis[MAX_RANK];
    Value *at[MAX_RANK];
    Value *conditions[MAX_CONDITIONS];
} Scatter;
Scatter nest_scatter(const Nest *nest);

/* Coefficient-1 axis of an access in its linearised offset, or -1. */
int access_unit_axis(Cx *cx, const Nest *nest, const Access *access, uint64_t among);
/* offset + sum of index * stride, in elements. */
const Expr *access_offset(Cx *cx, const Access *access);

#endif
