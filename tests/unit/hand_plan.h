/* A plan built by hand, whose kernels are plain C functions:
 *
 *   init   p[4] = 2 * w[4]                 through a passing tensor q = w; the 4 is the step's
 *   run    t[N,4] = x[N,4] + p             one task per row
 *          y[N,4] = 3 * t                  two phases: r = 2 * t, y = r + t; r is scratch memory
 *          z[M,4] = y[i[M]]                sets the error cell
 *          c[N,4] = x                      a copy
 *
 * and the assumption that N / 300 = M / 21, or one of them is 1; with inputs x f32 [N, 4], i i64
 * [M], x2 f32 [N, 4] (not used, but its N is the same). */
#ifndef QUERN_TESTS_HAND_PLAN_H
#define QUERN_TESTS_HAND_PLAN_H

#include <string.h>

#include "base/kernel_abi.h"
#include "runtime/plan.h"

enum { T_x, T_i, T_x2, T_w, T_q, T_p, T_t, T_r, T_y, T_z, T_c, T_count };

static const float hand_weight[4] = {1, 2, 3, 4};

static void twice_0(const KernelArgs *a, int64_t begin, int64_t end, void *scratch)
{
    (void)scratch;
    for (int64_t i = begin; i < end; i++)
        ((float *)a->buffers[1])[i] = 2 * ((const float *)a->buffers[0])[i];
}

static void add_row_0(const KernelArgs *a, int64_t begin, int64_t end, void *scratch)
{
    float *row = scratch; /* to see that workers have their own */
    for (int64_t n = begin; n < end; n++) {
        memcpy(row, (const float *)a->buffers[0] + 4 * n, 16);
        for (int i = 0; i < 4; i++)
            ((float *)a->buffers[2])[4 * n + i] = row[i] + ((const float *)a->buffers[1])[i];
    }
}

static void thrice_0(const KernelArgs *a, int64_t begin, int64_t end, void *scratch)
{
    (void)scratch;
    for (int64_t i = 4 * begin; i < 4 * end; i++)
        ((float *)a->buffers[2])[i] = 2 * ((const float *)a->buffers[0])[i];
}

static void thrice_1(const KernelArgs *a, int64_t begin, int64_t end, void *scratch)
{
    (void)scratch;
    /* backwards, so that a phase that starts early is seen */
    int64_t last = 4 * a->dims[0] - 1;
    for (int64_t i = 4 * begin; i < 4 * end; i++)
        ((float *)a->buffers[1])[last - i] =
            ((const float *)a->buffers[2])[last - i] + ((const float *)a->buffers[0])[last - i];
}

static void pick_0(const KernelArgs *a, int64_t begin, int64_t end, void *scratch)
{
    (void)scratch;
    for (int64_t m = begin; m < end; m++) {
        int64_t at = ((const int64_t *)a->buffers[1])[m];
        if (at < 0 || at >= a->dims[1]) {
            *a->error = 2;
            continue;
        }
        memcpy((float *)a->buffers[2] + 4 * m, (const float *)a->buffers[0] + 4 * at, 16);
    }
}

static KernelEntry *hand_find(void *user, const char *name)
{
    (void)user;
    static const struct {
        const char *name;
        KernelEntry *entry;
    } all[] = {{"twice_0", twice_0},
               {"add_row_0", add_row_0},
               {"thrice_0", thrice_0},
               {"thrice_1", thrice_1},
               {"pick_0", pick_0}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].entry;
    return NULL;
}

/* Symbols of the plan, as expressions. */
typedef struct HandDims {
    const Expr *n, *m;
} HandDims;

static int hand_slot(void *user, const Expr *sym)
{
    const HandDims *dims = user;
    return sym == dims->n ? 0 : sym == dims->m ? 1 : -1;
}

static void hand_kernel(PlanKernel *k, Cx *cx, const char *name, uint32_t dims, uint32_t buffers,
                        uint32_t phases, ExprCode tasks)
{
    PlanPhase *all = NEW_ARRAY(cx->arena, PlanPhase, phases);
    for (uint32_t p = 0; p < phases; p++)
        all[p] = (PlanPhase){tasks, 1, 0};
    *k = (PlanKernel){name, dims, buffers, phases, NEW_ARRAY(cx->arena, uint32_t, dims), all, 0, 0};
}

static PlanStep hand_step(Cx *cx, PlanStepKind kind, uint32_t kernel, uint32_t dim_count,
                          uint32_t buffer_count, const uint32_t *buffers, ExprCode flops)
{
    static const uint32_t dims[] = {0, 1}, swapped[] = {1, 0};
    static const int64_t once[] = {0, 1};
    return (PlanStep){.kind = kind,
                      .kernel = kernel,
                      .buffer_count = buffer_count,
                      .buffers = arena_copy(cx->arena, buffers, buffer_count * sizeof *buffers),
                      .dim_count = dim_count,
                      .dims = dim_count == 2 ? swapped : dims,
                      .flops = flops,
                      .times = {2, once},
                      .picks = kernel == 3 ? "node 'other' (Gather)\nnode 'pick' (Gather)" : "",
                      .nodes = "",
                      .why = "",
                      .schedule = ""};
}

static void hand_tensors(Cx *cx, PlanTensor *t, const ExprCode *code)
{
    ExprCode n = code[0], m = code[1], four = code[2];
    (void)cx;
    t[T_x] = (PlanTensor){DT_f32, PP_input, 0, 2, {n, four}};
    t[T_i] = (PlanTensor){DT_i64, PP_input, 1, 1, {m}};
    t[T_x2] = (PlanTensor){DT_f32, PP_input, 2, 2, {n, four}};
    t[T_w] = (PlanTensor){DT_f32, PP_weight, 0, 1, {four}};
    t[T_q] = (PlanTensor){DT_f32, PP_init, 0, 1, {four}};
    t[T_p] = (PlanTensor){DT_f32, PP_init, 0, 1, {four}};
    t[T_t] = (PlanTensor){DT_f32, PP_slab, 0, 2, {n, four}};
    t[T_r] = (PlanTensor){DT_f32, PP_slab, 0, 2, {n, four}};
    t[T_y] = (PlanTensor){DT_f32, PP_output, 0, 2, {n, four}};
    t[T_z] = (PlanTensor){DT_f32, PP_output, 1, 2, {m, four}};
    t[T_c] = (PlanTensor){DT_f32, PP_output, 2, 2, {n, four}};
}

static Plan *hand_plan(Cx *cx)
{
    HandDims d = {expr_sym(cx, "N", 0, 1000, 1), expr_sym(cx, "M", 1, 64, 2)};
    const Expr *sizes[] = {d.n, d.m, expr_const(cx, 4), expr_muli(cx, d.n, 4)};
    ExprCode code[4];
    for (int i = 0; i < 4; i++)
        code[i] = expr_compile(cx, sizes[i], hand_slot, &d);
    const ExprCode one = expr_compile(cx, expr_const(cx, 1), hand_slot, &d);
    Plan *p = NEW(cx->arena, Plan);
    p->target = "hand";
    p->dim_count = 2;
    p->dims = NEW_ARRAY(cx->arena, PlanDim, 2);
    p->dims[0] = (PlanDim){"N", 0, 1000, 1, T_x, 0, one};
    p->dims[1] = (PlanDim){"M", 1, 64, 2, T_i, 0, one};
    p->check_count = 1;
    p->checks = NEW_ARRAY(cx->arena, PlanCheck, 1);
    p->checks[0] = (PlanCheck){expr_compile(cx, expr_divi(cx, d.n, 300), hand_slot, &d),
                               expr_compile(cx, expr_divi(cx, d.m, 21), hand_slot, &d), 1,
                               "node 'wide' (Add)"};
    p->weight_count = 1;
    p->weights = NEW_ARRAY(cx->arena, PlanWeight, 1);
    p->weights[0] = (PlanWeight){PLAN_INLINE, 0, sizeof hand_weight, hand_weight};
    p->tensor_count = T_count;
    p->tensors = NEW_ARRAY(cx->arena, PlanTensor, T_count);
    hand_tensors(cx, p->tensors, code);
    p->input_count = p->output_count = 3;
    p->inputs = NEW_ARRAY(cx->arena, PlanPort, 3);
    p->inputs[0] = (PlanPort){.name = "x", .tensor = T_x, .symbols = {"N"}};
    p->inputs[1] = (PlanPort){.name = "i", .tensor = T_i, .symbols = {"M"}};
    p->inputs[2] = (PlanPort){.name = "x2", .tensor = T_x2, .symbols = {"N"}};
    p->outputs = NEW_ARRAY(cx->arena, PlanPort, 3);
    p->outputs[0] = (PlanPort){.name = "y", .tensor = T_y, .symbols = {"N"}};
    p->outputs[1] = (PlanPort){.name = "z", .tensor = T_z, .symbols = {"M"}};
    p->outputs[2] = (PlanPort){.name = "c", .tensor = T_c, .symbols = {"N"}};
    p->kernel_count = 4;
    p->kernels = NEW_ARRAY(cx->arena, PlanKernel, 4);
    hand_kernel(&p->kernels[0], cx, "twice", 1, 2, 1, code[0]); /* its own dim is not N */
    p->kernels[0].least = arena_copy(cx->arena, &(uint32_t){1}, sizeof(uint32_t));
    hand_kernel(&p->kernels[1], cx, "add_row", 1, 3, 1, code[0]);
    hand_kernel(&p->kernels[2], cx, "thrice", 1, 3, 2, code[0]);
    hand_kernel(&p->kernels[3], cx, "pick", 2, 3, 1, code[0]); /* its own dims are M, N */
    p->kernels[1].scratch = 16;
    p->kernels[3].may_fail = 1;
    p->region_count = p->block_count = 1;
    p->regions = NEW_ARRAY(cx->arena, uint32_t, 1);
    p->regions[0] = 1;
    p->blocks = NEW_ARRAY(cx->arena, PlanBlock, 1);
    p->blocks[0] = (PlanBlock){4, 1};
    p->init_count = 2;
    p->init = NEW_ARRAY(cx->arena, PlanStep, 2);
    p->init[0] = hand_step(cx, PS_copy, 0, 0, 2, (uint32_t[]){T_w, T_q}, code[2]);
    p->init[1] = hand_step(cx, PS_kernel, 0, 1, 2, (uint32_t[]){T_q, T_p}, code[2]);
    p->init[1].dims = arena_copy(cx->arena, &(uint32_t){4}, sizeof(uint32_t));
    p->step_count = 4;
    p->steps = NEW_ARRAY(cx->arena, PlanStep, 4);
    p->steps[0] = hand_step(cx, PS_kernel, 1, 1, 3, (uint32_t[]){T_x, T_p, T_t}, code[3]);
    p->steps[1] = hand_step(cx, PS_kernel, 2, 1, 3, (uint32_t[]){T_t, T_y, T_r}, code[3]);
    p->steps[2] = hand_step(cx, PS_kernel, 3, 2, 3, (uint32_t[]){T_y, T_i, T_z}, code[3]);
    p->steps[3] = hand_step(cx, PS_copy, 0, 0, 2, (uint32_t[]){T_x, T_c}, code[3]);
    return p;
}

#endif
