/* Tuning records: their text, what they are found by, and that bad ones change nothing. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os_file.h"
#include "include/quern.h"
#include "jit/records.h"
#include "tests/unit/scratch_dir.h"
#include "runtime/cache.h"

#define MODEL QUERN_SOURCE_DIR "/examples/digits/digits.onnx"

static Cx cx;

static void start(void)
{
    scratch_make();
    cx_init(&cx, NULL, 0);
}

static void stop(void)
{
    cx_finish(&cx);
    scratch_drop();
}

TestSuite(records, .init = start, .fini = stop);

#define HASH "0123456789abcdef0123456789abcdef"
#define LINE                                                                                       \
    HASH " x86-64-v4 before 2000 ns after 1500 ns threads 2: contraction mr=8 nv=3 ku=4 mt=8 "     \
         "pack=1\n"

static Records read_records(const char *text)
{
    Records records;
    records_init(&records, cx.arena);
    records_read(&cx, &records, "r.qnr", text);
    cr_assert(!cx_failed(&cx));
    return records;
}

Test(records, text)
{
    Records records = read_records("# measured on a quiet day\n\n" LINE "   # the end\n");
    Text text;
    Hash128 nest;
    cr_assert_eq(records.count, 1);
    cr_assert_eq(records.bad, 0);
    text_init(&text, cx.arena);
    record_print(&text, &records.list[0]);
    cr_assert_str_eq(text.data, LINE);
    cr_assert(hash_from_hex(HASH, &nest));
    const Record *found = records_find(&records, nest, "x86-64-v4");
    cr_assert_not_null(found);
    cr_assert_eq(found->schedule.field[SF_nv], 3);
    cr_assert_null(records_find(&records, nest, "x86-64-v3"));
    nest.low ^= 1;
    cr_assert_null(records_find(&records, nest, "x86-64-v4"));
    records = read_records(LINE LINE);
    cr_assert_eq(records.count, 1);
}

static Records read_both(const char *first, const char *second)
{
    return read_records(arena_printf(cx.arena, "%s\n%s", first, second));
}

/* Joined files: of two for one kernel the later one counts, unless it is worse. */
Test(records, merging)
{
    const char *slow = HASH " x86-64-v4 before 2000 ns after 1900 ns threads 1: general vec=4";
    const char *fast = HASH " x86-64-v4 before 2000 ns after 1000 ns threads 1: general vec=8";
    const char *same = HASH " x86-64-v4 before 9000 ns after 1000 ns threads 1: general vec=1";
    const char *other = HASH " x86-64-v3 before 2000 ns after 1000 ns threads 1: general vec=1";
    cr_assert_eq(read_both(slow, fast).list[0].schedule.field[SF_vec], 8);
    cr_assert_eq(read_both(fast, slow).list[0].schedule.field[SF_vec], 8);
    cr_assert_eq(read_both(fast, same).list[0].schedule.field[SF_vec], 1);
    cr_assert_eq(read_both(fast, other).count, 2);
}

Test(records, digest)
{
    Hash128 one, two, three;
    const char *other = "1" HASH;
    Records a = read_records(LINE), none = read_records("");
    cr_assert_not(records_digest(&cx, &none, "x86-64-v4", &one));
    cr_assert_not(records_digest(&cx, &a, "x86-64-v3", &one));
    cr_assert(records_digest(&cx, &a, "x86-64-v4", &one));
    const char *second = arena_printf(
        cx.arena, "%.32s x86-64-v4 before 1 ns after 1 ns threads 1: general vec=1\n", other);
    Records b = read_records(arena_printf(cx.arena, "%s%s", second, LINE));
    Records c = read_records(arena_printf(cx.arena, "%s%s", LINE, second));
    cr_assert(records_digest(&cx, &b, "x86-64-v4", &two));
    cr_assert(records_digest(&cx, &c, "x86-64-v4", &three));
    cr_assert_not(hash_equal(one, two));
    cr_assert(hash_equal(two, three));
}

Test(records, bad_lines)
{
    static const char *const bad[] = {
        "soup",
        HASH,
        HASH " x86-64-v4 before 1 ns after 1 ns threads 1:",
        HASH " x86-64-v4 before 1 ns after 1 ns threads 1: soup vec=1",
        HASH " x86-64-v4 before 1 ns after 1 ns threads 1: general vec=99",
        HASH " x86-64-v4 before 1 ns after 1 ns threads 1: general vec=1 mr=3",
        HASH " x86-64-v4 before 1 ns after 1 ns threads 1: general vec=1 general vec=1",
        HASH " x86-64-v4 before 1 us after 1 us threads 1: general vec=1",
        HASH " x86-64-v4 before -1 ns after 1 ns threads 1: general vec=1",
        HASH " x86-64-v9 before 1 ns after 1 ns threads 1: general vec=1",
        "0123 x86-64-v4 before 1 ns after 1 ns threads 1: general vec=1",
        HASH "0 x86-64-v4 before 1 ns after 1 ns threads 1: general vec=1",
        HASH " x86-64-v4 before 99999999999999999999 ns after 1 ns threads 1: general vec=1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Records records = read_records(arena_printf(cx.arena, LINE "%s\n" LINE, bad[i]));
        cr_assert_eq(records.bad, 1, "%s", bad[i]);
        cr_assert_eq(records.count, 1);
        cr_assert_not_null(strstr(records.first_bad, "r.qnr:2: "), "%s", records.first_bad);
    }
    char *line = arena_array(cx.arena, 5001, 1);
    memset(line, 'x', 5000);
    cr_assert_eq(read_records(line).bad, 1);
}

/* Each flipped bit: a record, none, or two lines of which neither is. */
Test(records, flipped)
{
    char line[] = LINE;
    for (size_t bit = 0; bit < 8 * (sizeof line - 1); bit++) {
        line[bit / 8] ^= (char)(1 << bit % 8);
        if (memchr(line, 0, sizeof line - 1) == NULL) {
            Records records = read_records(line);
            cr_assert_leq(records.count, 1);
            for (uint32_t i = 0; i < records.count; i++)
                for (int f = 0; f < SF_count; f++)
                    cr_assert_geq(records.list[i].schedule.field[f], 0);
        }
        line[bit / 8] ^= (char)(1 << bit % 8);
    }
}

/* --- nests --- */

static Hash128 hash_nest(const char *text)
{
    Nest *nest = nest_parse(&cx, "nest", text);
    cr_assert_not_null(nest, "%s", cx.message);
    return record_nest(&cx, nest);
}

Test(records, names)
{
    Hash128 a =
        hash_nest("nest n {\n dim N 1..64\n in x f32 [N, 8]\n out y f32 [N, 8]\n axis i N\n"
                  " axis j 8\n %0 = load x[i, j]\n %1 = exp f32 %0\n store y[i, j] %1\n}\n");
    Hash128 b = hash_nest("nest other {\n dim batch 1..64\n in in0 f32 [batch, 8]\n"
                          " out out_2 f32 [batch, 8]\n axis row batch\n axis exp_ 8\n"
                          " %0 = load in0[row, exp_]\n %1 = exp f32 %0\n"
                          " store out_2[row, exp_] %1\n}\n");
    Hash128 size = hash_nest("nest n {\n dim N 1..64\n in x f32 [N, 9]\n out y f32 [N, 9]\n"
                             " axis i N\n axis j 9\n %0 = load x[i, j]\n %1 = exp f32 %0\n"
                             " store y[i, j] %1\n}\n");
    Hash128 order = hash_nest("nest n {\n dim N 1..64\n in x f32 [N, 8]\n out y f32 [N, 8]\n"
                              " axis i N\n axis j 8\n %0 = load x[i, j]\n %1 = log f32 %0\n"
                              " store y[i, j] %1\n}\n");
    cr_assert(hash_equal(a, b));
    cr_assert_not(hash_equal(a, size));
    cr_assert_not(hash_equal(a, order));
}

Test(records, fits)
{
    Nest *nest = nest_parse(&cx, "nest",
                            "nest n {\n in x f32 [8]\n out y f32 [8]\n axis i 8\n"
                            " %0 = load x[i]\n store y[i] %0\n}\n");
    const Caps *cpu = target_find("x86-64-v3"), *gpu = target_find("sm_80");
    Schedule general = schedule_default(SK_general), contraction = schedule_default(SK_contraction),
             tiles = schedule_default(SK_tiles), blocks = schedule_default(SK_blocks);
    cr_assert(record_fits(&cx, nest, &general, cpu));
    cr_assert_not(record_fits(&cx, nest, &contraction, cpu));
    cr_assert_not(record_fits(&cx, nest, &tiles, cpu));
    cr_assert_not(record_fits(&cx, nest, &general, gpu));
    cr_assert(record_fits(&cx, nest, &blocks, gpu));
    cr_assert(!cx_failed(&cx));
}

/* Neighbours: within the ranges, all different, never the one itself. */
Test(records, neighbours)
{
    for (int skeleton = 0; skeleton < SK_count; skeleton++) {
        Schedule from = schedule_default((Skeleton)skeleton), list[128];
        int count = 0;
        while (count < 128 && schedule_neighbour(&from, count, &list[count])) {
            Text text;
            Scan scan;
            Schedule parsed;
            text_init(&text, cx.arena);
            schedule_print(&text, &list[count]);
            scan_init(&scan, &cx, "schedule", text.data);
            cr_assert(schedule_parse(&scan, &parsed), "%s", text.data);
            cr_assert(schedule_equal(&parsed, &list[count]));
            cr_assert_not(schedule_equal(&from, &list[count]));
            for (int i = 0; i < count; i++)
                cr_assert_not(schedule_equal(&list[i], &list[count]), "%s", text.data);
            count++;
        }
        cr_assert(count >= 3 && count < 128, "%d", count); /* a scan has one field */
    }
}

/* --- programs --- */

static int warnings;

static void count_warning(void *user, qn_log_level level, const char *text)
{
    (void)user;
    (void)level;
    cr_assert_not_null(strstr(text, "passed over"), "%s", text);
    warnings++;
}

static qn_dim_value one = {.symbol = {"N", 1}, .value = 1};
static const qn_compile_options options = {.dims = &one, .dim_count = 1};

/* Schedules of the program's kernels, a line each; *cached as in qn_program_info. */
static const char *schedules(const char *records, const char *cache, int *cached)
{
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_kernel_info kernel;
    qn_program_info info;
    Text text;
    qn_context_options what = {.threads = 1, .cache_dir = qn_str(cache), .log = count_warning};
    cr_assert_eq(qn_context_create(&what, &context), QN_OK);
    if (records)
        cr_assert_eq(qn_context_add_records(context, qn_str(records)), QN_OK, "%s",
                     qn_context_message(context));
    cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
    cr_assert_eq(qn_program_compile(model, &options, &program), QN_OK);
    text_init(&text, cx.arena);
    for (int i = 0; qn_program_kernel(program, 0, i, &kernel) == QN_OK; i++)
        text_add(&text, "%s\n", kernel.schedule.data);
    cr_assert_eq(qn_program_describe(program, &info), QN_OK);
    *cached = info.cached;
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
    return text.data;
}

static const char *write_text(const char *name, const char *text)
{
    const char *path = arena_printf(cx.arena, "%s/%s", scratch_dir, name);
    OsPart part = {text, strlen(text)};
    cr_assert_eq(os_write_file(path, &part, 1), 0);
    return path;
}

typedef struct Tuned {
    int count, better;
    Text records; /* of all, with the schedule that was found, better or not */
} Tuned;

static void take_kernel(void *user, const qn_tuned_kernel *kernel)
{
    Tuned *t = user;
    t->count++;
    t->better += kernel->better;
    cr_assert_gt(kernel->before_us, 0);
    cr_assert_gt(kernel->schedule.length, 0);
    cr_assert_eq(kernel->better != 0, kernel->record.length > 0);
    if (kernel->better)
        text_add(&t->records, "%s\n", kernel->record.data);
}

/* Tuning a little: what it hands out is taken by the next compile. */
Test(records, tuning, .timeout = 60)
{
    qn_context *context;
    qn_model *model;
    Tuned tuned = {0};
    qn_context_options what = {.threads = 1, .log = count_warning};
    text_init(&tuned.records, cx.arena);
    cr_assert_eq(qn_context_create(&what, &context), QN_OK);
    cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
    qn_tune_options tune = {.seconds = 1, .kernel = take_kernel, .user = &tuned};
    cr_assert_eq(qn_program_tune(model, &options, &tune), QN_OK, "%s", qn_model_message(model));
    cr_assert_geq(tuned.count, 3);
    Records records = read_records(tuned.records.data);
    cr_assert_eq(records.bad, 0);
    cr_assert_eq((int)records.count, tuned.better);
    qn_compile_options gpu = {.device = qn_str("sm_80"), .elsewhere = 1};
    cr_assert_eq(qn_program_tune(model, &gpu, &tune), QN_UNSUPPORTED);
    cr_assert_not_null(strstr(qn_model_message(model), "sm_80"));
    qn_model_release(model);
    qn_context_release(context);
    int cached;
    schedules(write_text("r.qnr", tuned.records.data), "", &cached);
    cr_assert_eq(warnings, 0);
}

/* Hash of the first kernel's nest. */
static void hash_first(char hex[HASH_HEX_SIZE])
{
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_string text;
    qn_compile_options what = options;
    what.keep_text = QN_TEXT_NEST;
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
    cr_assert_eq(qn_program_compile(model, &what, &program), QN_OK);
    cr_assert_eq(qn_program_text(program, QN_TEXT_NEST, &text), QN_OK);
    char *nest = arena_strdup(cx.arena, text.data), *end = strstr(nest, "\n}\n");
    cr_assert_not_null(end);
    end[3] = 0;
    hash_to_hex(hash_nest(nest), hex);
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
}

static const char *record_for(const char *schedule)
{
    char hex[HASH_HEX_SIZE];
    hash_first(hex);
    return arena_printf(cx.arena, "%s %s before 2 ns after 1 ns threads 1: %s\n", hex,
                        target_host_cpu()->name, schedule);
}

/* A record is taken; which ones were consulted is part of the key; the cache's own are used. */
Test(records, in_compiles)
{
    static const char wanted[] = "contraction mr=3 nv=1 ku=2 mt=4 pack=1\n";
    int cached;
    char cache[100];
    snprintf(cache, sizeof cache, "%s/cache", scratch_dir);
    const char *path = write_text("r.qnr", record_for(wanted));
    const char *plain = schedules(NULL, cache, &cached);
    cr_assert_eq(cached, 0);
    cr_assert_neq(strncmp(plain, wanted, sizeof wanted - 1), 0, "%s", plain);
    const char *tuned = schedules(path, cache, &cached);
    cr_assert_eq(cached, 0);
    cr_assert_eq(strncmp(tuned, wanted, sizeof wanted - 1), 0, "%s", tuned);
    cr_assert_str_eq(strchr(tuned, '\n'), strchr(plain, '\n')); /* the others are as before */
    cr_assert_str_eq(schedules(path, cache, &cached), tuned);
    cr_assert_eq(cached, 1);
    cr_assert_str_eq(schedules(NULL, cache, &cached), plain);
    cr_assert_eq(cached, 1);
    write_text("cache/tuning.qnr", record_for(wanted));
    cr_assert_str_eq(schedules(NULL, cache, &cached), tuned);
    cr_assert_eq(cached, 1);
    cr_assert_eq(warnings, 0);
}

static int files, odd;

static bool count_file(void *user, const char *name)
{
    (void)user;
    (void)name;
    files++;
    return true;
}

static bool damage_nests(void *user, const char *name)
{
    char *data;
    size_t size;
    Entry entry;
    const char *path = arena_printf(cx.arena, "%s/%s", (const char *)user, name);
    cr_assert_eq(os_read_file(cx.arena, path, 1 << 24, &data, &size), 0);
    cr_assert(entry_peek(data, size, size, &entry));
    if (entry.kind == ENTRY_nests) {
        data[size - 1] ^= 1;
        OsPart part = {data, size};
        cr_assert_eq(os_write_file(path, &part, 1), 0);
        files++;
    }
    return true;
}

/* Whole entries whose data is too long by a byte, or of zeros. */
static bool replace_nests(void *user, const char *name)
{
    char *data;
    size_t size;
    Entry entry;
    Cache cache = cache_in(user, 1 << 24);
    const char *path = arena_printf(cx.arena, "%s/%s", (const char *)user, name);
    cr_assert_eq(os_read_file(cx.arena, path, 1 << 24, &data, &size), 0);
    cr_assert(entry_peek(data, size, size, &entry));
    if (entry.kind != ENTRY_nests)
        return true;
    Entry zeros = {ENTRY_nests, entry.parts, arena_alloc(cx.arena, entry.size + 1),
                   entry.size + (size_t)odd};
    cr_assert_null(cache.storage.class->put(&cache.storage, &cx, &executor_inline, &zeros));
    return true;
}

/* Records of other models leave every program where it is, and so do those that a program's own
 * records came with. */
Test(records, of_other_models)
{
    static const char wanted[] = "contraction mr=3 nv=1 ku=2 mt=4 pack=1";
    const char *own = record_for(wanted), *target = target_host_cpu()->name;
    const char *others = arena_printf(
        cx.arena, HASH " %s before 2 ns after 1 ns threads 1: general vec=4\n", target);
    const char *both = arena_printf(cx.arena, "%s%s", others, own);
    char cache[100];
    int cached;
    snprintf(cache, sizeof cache, "%s/cache", scratch_dir);
    const char *plain = schedules(NULL, cache, &cached);
    cr_assert_eq(os_list_dir(cache, count_file, cache), 0);
    cr_assert_eq(files, 1); /* without records nobody asks for nests */
    cr_assert_str_eq(schedules(write_text("o.qnr", others), cache, &cached), plain);
    cr_assert_eq(cached, 1);
    const char *tuned = schedules(write_text("b.qnr", both), cache, &cached);
    cr_assert_eq(cached, 0);
    cr_assert_eq(strncmp(tuned, wanted, sizeof wanted - 1), 0, "%s", tuned);
    cr_assert_str_eq(schedules(write_text("r.qnr", own), cache, &cached), tuned);
    cr_assert_eq(cached, 1);
    files = 0;
    cr_assert_eq(os_list_dir(cache, damage_nests, cache), 0);
    cr_assert_eq(files, 1);
    for (int i = 0; i < 2; i++) { /* listed again, and found again */
        cr_assert_str_eq(schedules(write_text("b.qnr", both), cache, &cached), tuned);
        cr_assert_eq(cached, 1);
    }
    cr_assert_str_eq(schedules(write_text("o.qnr", others), cache, &cached), plain);
    cr_assert_eq(cached, 1);
    cr_assert_eq(warnings, 0);
}

/* Hashes of nests that are none, in an entry that is whole: no record is for the program. */
Test(records, foreign_nests)
{
    static const char wanted[] = "contraction mr=3 nv=1 ku=2 mt=4 pack=1";
    char dir[100];
    int cached;
    snprintf(dir, sizeof dir, "%s/cache", scratch_dir);
    const char *path = write_text("r.qnr", record_for(wanted));
    const char *plain = schedules(NULL, dir, &cached);
    schedules(path, dir, &cached);
    cr_assert_eq(cached, 0);
    cr_assert_eq(os_list_dir(dir, replace_nests, dir), 0);
    cr_assert_str_eq(schedules(path, dir, &cached), plain);
    cr_assert_eq(cached, 1);
    odd = 1; /* a size that is no list: listed again */
    cr_assert_eq(os_list_dir(dir, replace_nests, dir), 0);
    cr_assert_str_neq(schedules(path, dir, &cached), plain);
    cr_assert_eq(cached, 1);
}

/* Records that are none, and a schedule that the kernel does not take: one warning, and what the
 * cost model says. */
Test(records, refused)
{
    static const char *const bad[] = {"tiles bm=64", "attention"};
    int cached;
    const char *plain = schedules(NULL, "", &cached);
    for (int i = 0; i < 2; i++) {
        const char *text = arena_printf(cx.arena, "%s%s", record_for(bad[i]), i ? "" : "soup\n");
        warnings = 0;
        const char *got = schedules(write_text("r.qnr", text), "", &cached);
        cr_assert_str_eq(got, plain, "%s", bad[i]);
        cr_assert_eq(warnings, 1);
    }
    qn_context *context;
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_context_add_records(context, qn_str("/nowhere/r.qnr")), QN_MISSING);
    cr_assert_not_null(strstr(qn_context_message(context), "/nowhere/r.qnr"));
    cr_assert_eq(qn_context_add_records(context, qn_str(scratch_dir)), QN_IO);
    qn_context_release(context);
}
