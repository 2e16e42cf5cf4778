/* Data for schedules under test, and fenced memory: every buffer lies between two pages without
 * access rights, flush with one of them, so that a read outside is caught as surely as a write;
 * the room left on the other side holds guard bytes. */
#include "tests/property/random_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, GUARD_BYTE = 0xA5 };

Nest *source_nest(Cx *cx, const Source *source)
{
    Nest *nest = source->text ? nest_parse(cx, source->name, source->text)
                              : random_nest(cx, source->seed, source->kind);
    if (!nest || !nest_verify(nest))
        return NULL;
    nest_finish(nest);
    return nest;
}

/* ---- cases */

static bool dyadic(double value)
{
    return !isfinite(value) || value * 1024 == rint(value * 1024);
}

static bool nest_is_exact(const Nest *nest)
{
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op == V_scalar && ((scalar_flags(v->scalar) & TRANS) || v->scalar == S_sqrt ||
                                  (v->scalar == S_div && dtype_is_float(v->dtype))))
            return false;
        if (v->op == V_const && dtype_is_float(v->dtype) && !dyadic(v->constant.f))
            return false;
    }
    return true;
}

static void *copy(const void *from, int64_t bytes)
{
    void *memory = malloc((size_t)bytes + 1);
    CHECK(memory);
    return memcpy(memory, from, (size_t)bytes);
}

/* Makes one index in five illegal. */
static void spoil_indices(const Nest *nest, void **buffers, const int64_t *bytes)
{
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op != V_bind || v->args[0]->op != V_load)
            continue;
        const Buffer *b = v->args[0]->access->buffer;
        for (int64_t k = 0; k < bytes[b->index] * 8 / dtype_bits(b->dtype); k += 5)
            dtype_store(b->dtype, buffers[b->index], k, (Scalar){.i = k % 2 ? 1000 : -1000});
    }
}

typedef struct Prepare {
    Case *c;
    bool bad;
} Prepare;

static void prepare_set(Cx *cx, const Nest *nest, const Prepare *p, int number)
{
    Case *c = p->c;
    DataSet *set = &c->sets[number];
    uint64_t seed = c->source.seed * MAX_SETS + (uint64_t)number;
    int64_t *dims = random_nest_dims(cx, nest, seed);
    for (uint32_t i = 0; i < nest->dim_count && number; i++)
        dims[i] = number == 1 ? nest->dims[i]->lo : nest->dims[i]->hi;
    int64_t *bytes = NEW_ARRAY(cx->arena, int64_t, nest->buffer_count);
    void **buffers = random_nest_buffers(cx, nest, dims, seed, bytes);
    if (p->bad)
        spoil_indices(nest, buffers, bytes);
    set->dims = copy(dims, (int64_t)(nest->dim_count * sizeof *dims));
    set->bytes = copy(bytes, (int64_t)(nest->buffer_count * sizeof *bytes));
    set->before = calloc(nest->buffer_count, sizeof *set->before);
    set->after = calloc(nest->buffer_count, sizeof *set->after);
    for (uint32_t i = 0; i < nest->buffer_count; i++)
        set->before[i] = copy(buffers[i], bytes[i]);
    NestRun run = {.buffers = buffers, .dims = dims};
    if (!nest_run(cx, nest, &run))
        return;
    set->bad_index = run.bad_index != 0;
    for (uint32_t i = 0; i < nest->buffer_count; i++)
        set->after[i] = copy(buffers[i], bytes[i]);
    c->set_count = number + 1;
}

static void prepare(Cx *cx, void *user)
{
    const Prepare *p = user;
    Case *c = p->c;
    const Nest *nest = source_nest(cx, &c->source);
    if (!nest)
        return;
    Text text;
    text_init(&text, cx->arena);
    nest_print(&text, nest);
    c->text = copy(text.data, (int64_t)strlen(text.data) + 1);
    c->buffer_count = nest->buffer_count;
    c->exact = nest_is_exact(nest);
    for (int i = 0; i < (nest->dim_count ? MAX_SETS : 1) && !cx_failed(cx); i++)
        prepare_set(cx, nest, p, i);
}

Case *case_new(Source source, bool bad)
{
    Case *c = calloc(1, sizeof *c);
    CHECK(c);
    c->source = source;
    Prepare p = {c, bad};
    Cx cx;
    cx_init(&cx, NULL, 0);
    if (cx_run(&cx, prepare, &p) != ST_ok)
        c->why = copy(cx.message, (int64_t)strlen(cx.message) + 1);
    cx_finish(&cx);
    return c;
}

void case_free(Case *c)
{
    for (int s = 0; s < MAX_SETS; s++) {
        DataSet *set = &c->sets[s];
        for (uint32_t i = 0; i < c->buffer_count && set->before; i++) {
            free(set->before[i]);
            free(set->after[i]);
        }
        free(set->before);
        free(set->after);
        free(set->dims);
        free(set->bytes);
    }
    free(c->text);
    free(c->why);
    free(c);
}

/* ---- fences */

typedef struct Field {
    uint8_t *map, *data;
    size_t inner; /* bytes between the two forbidden pages */
    int64_t size;
} Field;

struct Fence {
    const Case *c;
    const DataSet *set;
    uint32_t count;
    Field *fields;
    void **buffers;
};

Fence *fence_new(const Case *c, const DataSet *set, const Nest *nest, bool at_end)
{
    Fence *f = calloc(1, sizeof *f);
    CHECK(f);
    *f = (Fence){.c = c, .set = set, .count = c->buffer_count};
    f->fields = calloc(f->count, sizeof *f->fields);
    f->buffers = calloc(f->count, sizeof *f->buffers);
    for (uint32_t i = 0; i < f->count; i++) {
        Field *field = &f->fields[i];
        size_t size = (size_t)set->bytes[i], align = (size_t)nest->buffers[i]->align;
        field->size = set->bytes[i];
        field->inner = (size + 2 * PAGE - 1) / PAGE * PAGE;
        field->map =
            mmap(NULL, field->inner + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(field->map != MAP_FAILED);
        CHECK(mprotect(field->map + PAGE, field->inner, PROT_READ | PROT_WRITE) == 0);
        size_t at = at_end ? (field->inner - size) / align * align : 0;
        field->data = field->map + PAGE + at;
        f->buffers[i] = field->data;
    }
    fence_reset(f);
    return f;
}

void **fence_buffers(const Fence *fence)
{
    return fence->buffers;
}

void fence_reset(Fence *fence)
{
    for (uint32_t i = 0; i < fence->count; i++) {
        const Field *f = &fence->fields[i];
        memset(f->map + PAGE, GUARD_BYTE, f->inner);
        memcpy(f->data, fence->set->before[i], (size_t)f->size);
    }
}

void fence_free(void *fence)
{
    Fence *f = fence;
    if (!f)
        return;
    for (uint32_t i = 0; i < f->count; i++)
        munmap(f->fields[i].map, f->fields[i].inner + 2 * PAGE);
    free(f->fields);
    free(f->buffers);
    free(f);
}

static bool guards_whole(const Field *f)
{
    for (const uint8_t *p = f->map + PAGE; p < f->map + PAGE + f->inner; p++)
        if (*p != GUARD_BYTE && (p < f->data || p >= f->data + f->size))
            return false;
    return true;
}

static bool is_close(double a, double b, bool exact, double largest)
{
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    return !exact && fabs(a - b) <= 1e-5 * fabs(b) + 1e-6 * largest;
}

/* The first element that differs, or -1. */
static int64_t find_difference(const Fence *fence, Dtype dtype, uint32_t i)
{
    const void *want = fence->set->after[i], *got = fence->fields[i].data;
    int64_t count = fence->fields[i].size * 8 / dtype_bits(dtype);
    if (!dtype_is_float(dtype)) {
        for (int64_t k = 0; k < count; k++)
            if (dtype_load(dtype, got, k).i != dtype_load(dtype, want, k).i)
                return k;
        return -1;
    }
    double largest = 0, gap = dtype_bits(dtype) == 32 ? 1e15 : 1e150;
    for (int64_t k = 0; k < count; k++) {
        double x = fabs(dtype_load(dtype, want, k).f);
        if (x < gap && x > largest) /* elements between rows hold 0x5A5A.. */
            largest = x;
    }
    for (int64_t k = 0; k < count; k++)
        if (!is_close(dtype_load(dtype, got, k).f, dtype_load(dtype, want, k).f, fence->c->exact,
                      largest))
            return k;
    return -1;
}

const char *fence_check(Cx *cx, const Fence *fence, const Nest *nest)
{
    for (uint32_t i = 0; i < fence->count; i++) {
        const Buffer *b = nest->buffers[i];
        if (!guards_whole(&fence->fields[i]))
            return arena_printf(cx->arena, "memory beside buffer '%s' was written", b->name);
        int64_t k = find_difference(fence, b->dtype, i);
        if (k < 0)
            continue;
        Scalar got = dtype_load(b->dtype, fence->fields[i].data, k),
               want = dtype_load(b->dtype, fence->set->after[i], k);
        if (dtype_is_float(b->dtype))
            return arena_printf(cx->arena, "%s[%lld] is %.9g, not %.9g", b->name, (long long)k,
                                got.f, want.f);
        return arena_printf(cx->arena, "%s[%lld] is %lld, not %lld", b->name, (long long)k,
                            (long long)got.i, (long long)want.i);
    }
    return NULL;
}

bool fence_same(const Fence *a, const Fence *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (memcmp(a->fields[i].data, b->fields[i].data, (size_t)a->fields[i].size) != 0)
            return false;
    return true;
}

/* ---- schedules */

static void *scratch(Cx *cx, const Nest *nest, const int64_t *dims, const Buffer *buffer)
{
    int64_t count = buffer_reach(nest, buffer, dims);
    int64_t bytes = count < 0 ? -1 : dtype_bytes(buffer->dtype, count);
    if (bytes < 0) {
        cx_fail(cx, ST_internal, "buffer '%s' has no size", buffer->name);
        return NULL;
    }
    void *memory = arena_alloc(cx->arena, (size_t)bytes + 1);
    return memset(memory, 0x5A, (size_t)bytes);
}

bool bind_lowered(Cx *cx, const Nest *nest, const Lowered *lowered, const int64_t *dims,
                  void **buffers)
{
    const TileProg *prog = lowered->prog;
    for (uint32_t i = nest->buffer_count; i < prog->buffer_count; i++)
        if (!(buffers[i] = scratch(cx, nest, dims, prog->buffers[i])))
            return false;
    for (int i = 0; i < lowered->pack_count; i++) {
        const PackedConst *pack = &lowered->packs[i];
        void *both[2] = {buffers[pack->index], scratch(cx, nest, dims, prog->buffers[pack->index])};
        NestRun run = {.buffers = both, .dims = dims};
        if (!both[1] || !nest_verify(pack->nest) || !nest_run(cx, pack->nest, &run))
            return false;
        buffers[pack->index] = both[1];
    }
    return true;
}

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static Schedule fill_fields(Skeleton skeleton, uint64_t state)
{
    static const struct {
        int skeletons;
        int64_t lowest, highest, standard;
    } fields[] = {
#define CONTRACTION 1 << SK_contraction
#define ATTENTION 1 << SK_attention
#define SCAN 1 << SK_scan
#define SCATTER 1 << SK_scatter
#define GENERAL 1 << SK_general
#define TILES 1 << SK_tiles
#define BLOCKS 1 << SK_blocks
#define FLASH 1 << SK_flash
#define SCHEDULE(field, skeletons, lowest, highest, standard)                                      \
    {skeletons, lowest, highest, standard},
#include "passes/schedule.def"
#undef SCHEDULE
    };
    Schedule schedule = {.skeleton = skeleton};
    for (int i = 0; i < SF_count; i++) {
        if (!(fields[i].skeletons >> schedule.skeleton & 1))
            continue;
        int64_t steps = (int64_t)2 << mix(&state) % 25; /* small values as often as large ones */
        if (steps > fields[i].highest - fields[i].lowest + 1)
            steps = fields[i].highest - fields[i].lowest + 1;
        schedule.field[i] = (int32_t)(fields[i].lowest + (int64_t)(mix(&state) % (uint64_t)steps));
    }
    return schedule;
}

/* For CPUs. */
static Schedule any_schedule(uint64_t seed)
{
    uint64_t state = seed;
    static const Skeleton skeletons[] = {SK_contraction, SK_general, SK_contraction, SK_general,
                                         SK_attention};
    Skeleton skeleton = skeletons[mix(&state) % 5];
    return fill_fields(skeleton, state);
}

/* Powers of two where the target wants them. */
static Schedule gpu_schedule(uint64_t seed)
{
    uint64_t state = seed;
    static const Skeleton skeletons[] = {SK_tiles, SK_blocks, SK_flash};
    Skeleton skeleton = skeletons[mix(&state) % 3];
    Schedule schedule = fill_fields(skeleton, state);
    schedule.field[SF_threads] = 32 << mix(&state) % 4;
    if (skeleton == SK_flash) {
        schedule.field[SF_bm] = 16 << mix(&state) % 3;
        schedule.field[SF_bn] = 16 << mix(&state) % 3;
        schedule.field[SF_stages] = 1 + (int32_t)(mix(&state) % 3);
    }
    if (skeleton == SK_tiles) {
        schedule.field[SF_bm] = 16 << mix(&state) % 3;
        schedule.field[SF_bn] = 16 << mix(&state) % 3;
        schedule.field[SF_bk] = 8 << mix(&state) % 3;
        schedule.field[SF_stages] = 1 + (int32_t)(mix(&state) % 4);
    }
    return schedule;
}

uint64_t effort(void)
{
    const char *text = getenv("QUERN_LONG");
    long n = text ? strtol(text, NULL, 10) : 1;
    return n > 0 ? (uint64_t)n : 1;
}

bool pick_schedule(Cx *cx, const Nest *nest, const Caps *caps, Picked *by, Schedule *schedule)
{
    Text text;
    switch (by->pick) {
    case PICK_choice: *schedule = schedule_choose(cx, nest, caps); break;
    case PICK_candidate:
        by->ended = !schedule_candidate(nest, caps, (int)by->number, schedule);
        break;
    case PICK_random:
        *schedule = caps->kind == TK_cpu ? any_schedule(by->number) : gpu_schedule(by->number);
        break;
    }
    if (by->ended)
        return false;
    text_init(&text, cx->arena);
    schedule_print(&text, schedule);
    snprintf(by->text, sizeof by->text, "%s", text.data);
    return true;
}
