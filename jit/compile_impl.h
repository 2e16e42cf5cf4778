/* Inside of compiling a graph: what its two files share. */
#ifndef QUERN_JIT_COMPILE_IMPL_H
#define QUERN_JIT_COMPILE_IMPL_H

#include "jit/compile.h"
#include "passes/equal_dims.h"
#include "passes/group.h"
#include "passes/lower_nest.h"

/* What is done at load: a nest, and where it reads and writes. */
typedef struct InitNest {
    Nest *nest;
    const uint32_t *tensors; /* of the plan, by buffer of the nest */
    const char *stem, *why, *nodes;
    const char *where;      /* for messages: the node it was noted at */
    const GroupInfo *group; /* NULL: packing */
    LoweredGroup lowered;   /* of the group */
} InitNest;

typedef struct Compile {
    Cx *cx;
    Graph *graph;
    EqualDims dims;
    const Graph *equal; /* of the same nodes, by number: equal dims are one (equal_dims) */
    const CompileOptions *options;
    const Grouping *grouping;
    PlanBuild *build;
    Compiled *out;
    Text nests, tiles, placed;
    uint32_t init_count, init_cap;
    InitNest *init; /* in the order in which their steps are to be */
} Compile;

/* Scalar operations of all points. */
const Expr *compile_flops(Cx *cx, const Nest *nest);
/* Names by position, so that equal nests have equal texts. */
void compile_name_buffers(Cx *cx, Nest *nest);
/* A line for each node inside. */
const char *compile_nodes(Cx *cx, const GroupInfo *group);
/* A line for each symbol that a program binds, by number: the node that picks by it. */
const char *compile_picks(Cx *cx, const GroupInfo *group, const LoweredGroup *lowered,
                          const TileProg *prog);
/* Schedules the nest and says in `info` how; keeps the texts asked for. False after cx_fail. */
bool compile_nest(Compile *c, Nest *nest, StepInfo *info, Lowered *lowered);

/* Whether the group can be computed at load: sizes are numbers, and what it reads is there. */
bool compile_is_init(const Compile *c, const GroupInfo *group);
/* Notes the nest of such a group. */
void compile_init_group(Compile *c, const GroupInfo *group, const LoweredGroup *lowered,
                        const char *stem);
/* The init tensor that holds a constant in packed form; made once per way of packing. */
uint32_t compile_pack(Compile *c, const PackedConst *pack, const Buffer *as, uint32_t from,
                      const char *nodes);
/* Kernels and steps of everything noted; nests that differ in sizes only share a kernel. False
 * after cx_fail. */
bool compile_init_steps(Compile *c);

#endif
