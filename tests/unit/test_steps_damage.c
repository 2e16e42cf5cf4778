/* Hostile plans with steps: numbers changed in their bytes, and rules of the order of things
 * broken. */
#include "base/hash.h"
#include "tests/unit/steps_plan.h"

static void seal(uint8_t *data, size_t size)
{
    Hash128 hash = hash_bytes(data + 48, size - 48);
    uint64_t fields[] = {size - 48, hash.high, hash.low};
    memcpy(data + 24, fields, sizeof fields);
}

typedef struct Bytes {
    const uint8_t *data;
    size_t size;
} Bytes;

static void read_bytes(Cx *c, void *user)
{
    const Bytes *b = user;
    plan_read(c, b->data, b->size);
}

Test(steps_damage, hostile_bytes)
{
    static const int64_t values[] = {-1, 0, 1, 2, 3, 5, 8, 13, 21, 34, UINT32_MAX, INT64_MAX};
    char *text = golden_named("graph/steps.graph");
    job.text = text;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, compile, &job), ST_ok, "%s", cx.message);
    PlanBytes bytes = plan_write(&cx, job.compiled.plan);
    uint8_t *data = aligned_alloc(64, (bytes.size + 63) / 64 * 64);
    memcpy(data, bytes.data, bytes.size);
    size_t refused = 0, tried = 0;
    for (size_t at = 48; at < bytes.size; at += 8)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++, tried++) {
            Cx other;
            uint8_t before[8];
            Bytes all = {data, bytes.size};
            memcpy(before, data + at, 8);
            memcpy(data + at, &values[v], 8);
            seal(data, bytes.size);
            cx_init(&other, NULL, 64 << 20);
            Status status = cx_run(&other, read_bytes, &all);
            cr_assert(status == ST_ok || status == ST_bad_file || status == ST_out_of_memory);
            refused += status != ST_ok;
            cx_finish(&other);
            memcpy(data + at, before, 8);
        }
    cr_expect(refused * 2 > tried, "%zu of %zu", refused, tried);
    free(data);
    llvm_module_close(&job.llvm);
    cx_finish(&cx);
    free(text);
}

/* ---- rules of the order of things */

typedef void Spoil(Plan *plan);

static uint32_t control(const Plan *plan, PlanStepKind kind)
{
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].kind == kind)
            return i;
    cr_assert_fail("no such step");
    return 0;
}

static void spoil_host_name(Plan *p)
{
    p->hosts[0].name = "rm";
}
static void spoil_late_dim(Plan *p)
{
    p->blocks[0].step_count += p->blocks[1].step_count;
    p->blocks[1].step_count = 0;
}
static void spoil_blocks(Plan *p)
{
    p->blocks[p->block_count - 1].step_count++;
}
static void spoil_region_in_itself(Plan *p)
{
    uint32_t loop = control(p, PS_loop), at = control(p, PS_branch);
    p->branches[p->steps[at].kernel].yes = p->loops[p->steps[loop].kernel].region;
}
static void spoil_region_main(Plan *p)
{
    p->loops[0].region = 0;
}
static void spoil_dim_source(Plan *p)
{
    for (uint32_t i = 0; i < p->dim_count; i++)
        if (p->tensors[p->dims[i].tensor].place != PP_input)
            p->dims[i].tensor = p->outputs[4].tensor;
}
static void spoil_carried_place(Plan *p)
{
    p->tensors[p->loops[0].carried[0].out].place = PP_slab;
}
static void spoil_carried_type(Plan *p)
{
    p->tensors[p->loops[0].carried[0].in].dtype = DT_i32;
}
static void spoil_alias_of_nothing(Plan *p)
{
    p->loops[0].carried[0].result = PLAN_NONE;
}
static void spoil_condition(Plan *p)
{
    p->branches[0].condition = p->loops[0].trip;
}
static void spoil_result_weight(Plan *p)
{
    p->hosts[0].input_count--;
    p->hosts[0].result_count++;
}
static void spoil_body_tensor_outside(Plan *p)
{
    p->branches[0].condition = p->loops[0].again;
}
static void spoil_output(Plan *p)
{
    p->outputs[0].tensor = p->loops[0].carried[0].out;
}

Test(steps_damage, rules)
{
    static Spoil *const spoils[] = {spoil_host_name,
                                    spoil_late_dim,
                                    spoil_blocks,
                                    spoil_region_in_itself,
                                    spoil_region_main,
                                    spoil_dim_source,
                                    spoil_carried_place,
                                    spoil_carried_type,
                                    spoil_alias_of_nothing,
                                    spoil_condition,
                                    spoil_result_weight,
                                    spoil_body_tensor_outside,
                                    spoil_output};
    char *text = golden_named("graph/steps.graph");
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        job = (Job){.text = text};
        cx_init(&cx, NULL, 0);
        cr_assert_eq(cx_run(&cx, compile, &job), ST_ok, "%s", cx.message);
        cr_assert(plan_check(&cx, job.compiled.plan), "%s", cx.message);
        spoils[i](job.compiled.plan);
        cr_expect(!plan_check(&cx, job.compiled.plan), "rule %zu", i);
        cr_expect_eq(cx.status, ST_bad_file, "rule %zu", i);
        llvm_module_close(&job.llvm);
        cx_finish(&cx);
    }
    free(text);
}
