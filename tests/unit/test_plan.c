/* Plans: rules, bytes and back, hostile bytes; the memory planner. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "runtime/memory.h"
#include "runtime/plan.h"
#include "tests/unit/hand_plan.h"

static Cx cx;

static void start(void)
{
    cx_init(&cx, NULL, 0);
    (void)hand_find;
    (void)hand_weight;
}

static void stop(void)
{
    cx_finish(&cx);
}

TestSuite(plan, .init = start, .fini = stop);

static PlanBytes written;

static void write_hand(Cx *c, void *user)
{
    *(Plan **)user = hand_plan(c);
    cr_assert(plan_check(c, *(Plan **)user), "%s", c->message);
    written = plan_write(c, *(Plan **)user);
}

static void write_again(Cx *c, void *user)
{
    Plan **plan = user;
    *plan = plan_read(c, written.data, written.size);
    if (*plan)
        written = plan_write(c, *plan);
}

/* plan -> bytes -> plan -> bytes is the identity on bytes, and what came back says the same. */
Test(plan, round_trip)
{
    Plan *first, *second;
    cr_assert_eq(cx_run(&cx, write_hand, &first), ST_ok);
    PlanBytes before = written;
    cr_assert_eq(cx_run(&cx, write_again, &second), ST_ok, "%s", cx.message);
    cr_assert_eq(before.size, written.size);
    cr_assert_neq(before.data, written.data);
    cr_assert_eq(memcmp(before.data, written.data, before.size), 0);
    cr_assert_str_eq(second->target, "hand");
    cr_assert_eq(second->dims[1].div, 2);
    cr_assert_eq(second->step_count, 4);
    cr_assert_eq(second->steps[2].buffers[1], (uint32_t)T_i);
    cr_assert_eq(second->steps[2].dims[0], 1u);
    cr_assert_str_eq(second->steps[2].nodes, first->steps[2].nodes);
    cr_assert_eq(second->kernels[2].phase_count, 2);
    cr_assert_eq(memcmp(second->weights[0].data, hand_weight, sizeof hand_weight), 0);
    cr_assert_eq(plan_tensor_bytes(&second->tensors[T_t], (int64_t[]){5, 2}), 80);
}

static const char *read_error(const uint8_t *data, size_t size)
{
    static Cx other;
    static char text[1024];
    Plan *plan;
    written = (PlanBytes){data, size};
    cx_init(&other, NULL, 64 << 20);
    Status status = cx_run(&other, write_again, &plan);
    snprintf(text, sizeof text, "%s", other.message ? other.message : "");
    cx_finish(&other);
    cr_assert(status == ST_ok || status == ST_bad_file || status == ST_out_of_memory, "%s", text);
    return status == ST_ok ? NULL : text;
}

/* A copy whose checksum is right. */
static void seal(uint8_t *data, size_t size)
{
    Hash128 hash = hash_bytes(data + 48, size - 48);
    uint64_t fields[] = {size - 48, hash.high, hash.low};
    memcpy(data + 24, fields, sizeof fields);
}

Test(plan, damage_is_seen)
{
    Plan *plan;
    cr_assert_eq(cx_run(&cx, write_hand, &plan), ST_ok);
    size_t size = written.size;
    uint8_t *data = aligned_alloc(64, (size + 63) / 64 * 64);
    memcpy(data, written.data, size);
    for (size_t cut = 0; cut < size; cut += 8)
        cr_assert_not_null(read_error(data, cut));
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 0x10;
        cr_assert_not_null(read_error(data, size), "byte %zu", i);
        data[i] ^= 0x10;
    }
    cr_assert_null(read_error(data, size));
    free(data);
}

/* With a right checksum the fields themselves are checked: nothing crashes, and what is accepted
 * keeps the rules. */
Test(plan, hostile_fields)
{
    static const int64_t values[] = {-1,      INT64_MIN,  INT64_MAX, INT64_MAX - 7, 1, UINT32_MAX,
                                     1 << 20, 0x7FFFFFFF, 255};
    Plan *plan;
    cr_assert_eq(cx_run(&cx, write_hand, &plan), ST_ok);
    size_t size = written.size, refused = 0, tried = 0;
    uint8_t *data = aligned_alloc(64, (size + 63) / 64 * 64);
    memcpy(data, written.data, size);
    for (size_t at = 48; at < size; at += 8)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            uint8_t before[8];
            memcpy(before, data + at, 8);
            memcpy(data + at, &values[v], 8);
            seal(data, size);
            refused += read_error(data, size) != NULL;
            tried++;
            memcpy(data + at, before, 8);
        }
    cr_assert(refused * 2 > tried, "%zu of %zu", refused, tried);
    for (size_t cut = 48; cut < size; cut += 8) {
        uint8_t *half = aligned_alloc(64, (cut + 63) / 64 * 64);
        memcpy(half, data, cut);
        seal(half, cut);
        cr_assert_not_null(read_error(half, cut), "cut at %zu", cut);
        free(half);
    }
    free(data);
}

typedef void Spoil(Plan *plan);

static void spoil_step_tensor(Plan *p)
{
    static const uint32_t buffers[] = {T_x, T_count, T_t};
    p->steps[0].buffers = buffers;
}
static void spoil_step_kernel(Plan *p)
{
    p->steps[0].kernel = 4;
}
static void spoil_init_reads_input(Plan *p)
{
    static const uint32_t buffers[] = {T_x, T_p};
    p->init[1].buffers = buffers;
}
static void spoil_init_size(Plan *p)
{
    static const uint32_t sizes[] = {0}; /* what reads the tensor would find nothing written */
    p->init[1].dims = sizes;
}
static void spoil_init_size_count(Plan *p)
{
    p->init[1].dim_count = 0;
}
static void spoil_init_copy_size(Plan *p)
{
    p->init[0].dim_count = 1;
}
static void spoil_weight_size(Plan *p)
{
    p->weights[0].bytes = 12;
}
static void spoil_weight_range(Plan *p)
{
    p->weights[0] = (PlanWeight){0, INT64_MAX, 16, NULL};
}
static void spoil_port(Plan *p)
{
    p->outputs[1].tensor = T_y;
}
static void spoil_dim_origin(Plan *p)
{
    p->dims[0].axis = 2;
}
static void spoil_dim_share(Plan *p)
{
    static const int64_t words[] = {1, 1}; /* dim 1, which is itself */
    p->dims[1].by = (ExprCode){2, words};
}
static void spoil_check_rule(Plan *p)
{
    p->checks[0].rule = SIZE_RULES;
}
static void spoil_init_shape(Plan *p)
{
    p->tensors[T_p].shape[0] = p->tensors[T_x].shape[0];
}
static void spoil_name(Plan *p)
{
    p->kernels[0].name = "../twice";
}
static void spoil_scratch(Plan *p)
{
    p->kernels[0].scratch = -1;
}
static void spoil_code(Plan *p)
{
    static const int64_t words[] = {1, 2};
    p->steps[0].flops = (ExprCode){2, words};
}
static void spoil_copy_types(Plan *p)
{
    p->tensors[T_c].dtype = DT_i32;
}

static void spoil_contents_of_open_size(Plan *p)
{
    p->inputs[0].contents = hand_weight;
    p->inputs[0].content_bytes = 16;
}
static void spoil_contents_of_output(Plan *p)
{
    p->outputs[0].contents = hand_weight;
    p->outputs[0].content_bytes = plan_fixed_bytes(&p->tensors[T_y]);
}

static void check_spoiled(Cx *c, void *user)
{
    Plan *plan = hand_plan(c);
    ((Spoil **)user)[0](plan);
    plan_check(c, plan);
}

Test(plan, rules)
{
    static Spoil *const spoils[] = {spoil_step_tensor,
                                    spoil_step_kernel,
                                    spoil_init_reads_input,
                                    spoil_init_size,
                                    spoil_init_size_count,
                                    spoil_init_copy_size,
                                    spoil_weight_size,
                                    spoil_weight_range,
                                    spoil_port,
                                    spoil_dim_origin,
                                    spoil_dim_share,
                                    spoil_check_rule,
                                    spoil_init_shape,
                                    spoil_name,
                                    spoil_scratch,
                                    spoil_code,
                                    spoil_copy_types,
                                    spoil_contents_of_open_size,
                                    spoil_contents_of_output};
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        Cx own;
        Spoil *spoil = spoils[i];
        cx_init(&own, NULL, 0);
        cr_assert_eq(cx_run(&own, check_spoiled, (void *)&spoil), ST_bad_file, "rule %zu", i);
        cx_finish(&own);
    }
}

Test(plan, memory_lives_apart)
{
    srand(7);
    for (int round = 0; round < 200; round++) {
        enum { COUNT = 40 };
        MemoryItem items[COUNT];
        uint32_t work[2 * COUNT];
        int64_t sum = 0;
        for (int i = 0; i < COUNT; i++) {
            uint32_t first = (uint32_t)(rand() % 60);
            items[i] = (MemoryItem){rand() % 5000, first, first + (uint32_t)(rand() % 8), -1};
            sum += memory_round(items[i].size);
        }
        int64_t size = memory_assign(items, COUNT, work);
        cr_assert(size >= 0 && size <= sum);
        for (int i = 0; i < COUNT; i++) {
            cr_assert(items[i].offset >= 0 && items[i].offset % MEMORY_ALIGN == 0);
            cr_assert(items[i].offset + items[i].size <= size);
            for (int j = 0; j < i; j++) {
                const MemoryItem *a = &items[i], *b = &items[j];
                bool together = a->first <= b->last && b->first <= a->last;
                bool overlap = a->offset < b->offset + b->size && b->offset < a->offset + a->size;
                cr_assert(!together || !overlap || !a->size || !b->size);
            }
        }
    }
}

/* A chain of equal tensors needs two of them. */
Test(plan, memory_is_reused)
{
    MemoryItem items[10];
    uint32_t work[20];
    for (uint32_t i = 0; i < 10; i++)
        items[i] = (MemoryItem){1000, i, i + 1, 0};
    cr_assert_eq(memory_assign(items, 10, work), 2 * 1024);
    items[0].size = INT64_MAX;
    cr_assert_eq(memory_assign(items, 10, work), -1);
    items[0].size = items[1].size = INT64_MAX / 64 * 64 - 64;
    cr_assert_eq(memory_assign(items, 10, work), -1);
}
