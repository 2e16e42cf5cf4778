/* The public interface: programs as files of their own, weights included. What libquern_runtime
 * loads without a model, a pack or a compiler.
 *
 *   magic[8] size:8 hash:16 | count:8 { input:8 bytes:8 data.. to a multiple of 8 } | image
 *
 * Size and hash are of what stands between: the contents of inputs that the program was compiled
 * for. The image (image.h) checks itself; all weights of its plan are inline. */
#include <string.h>

#include "base/hash.h"
#include "base/os_file.h"
#include "base/text.h"
#include "runtime/api.h"

static const char magic[8] = "QNPROG1";
enum { HEADER_BYTES = 32 };

/* --- saving --- */

static void put_int(Text *out, uint64_t value)
{
    text_put(out, (const char *)&value, 8);
}

static void put_contents(Text *out, const qn_program *p)
{
    static const char zeros[8];
    uint64_t count = 0;
    for (uint32_t i = 0; i < p->plan->input_count; i++)
        count += p->contents[i] != NULL;
    put_int(out, count);
    for (uint32_t i = 0; i < p->plan->input_count; i++) {
        if (!p->contents[i])
            continue;
        size_t bytes = (size_t)p->inputs[i].info.bytes;
        put_int(out, i);
        put_int(out, bytes);
        text_put(out, p->contents[i], bytes);
        text_put(out, zeros, (8 - bytes % 8) % 8);
    }
}

static void make_header(uint8_t header[HEADER_BYTES], const void *contents, size_t size)
{
    Hash128 hash = hash_bytes(contents, size);
    const uint64_t fields[] = {size, hash.high, hash.low};
    memcpy(header, magic, sizeof magic);
    memcpy(header + sizeof magic, fields, sizeof fields);
}

/* The plan with its weights inside. */
static Plan with_weights(Cx *cx, const qn_program *p)
{
    Plan plan = *p->plan;
    plan.weights = NEW_ARRAY(cx->arena, PlanWeight, plan.weight_count);
    for (uint32_t i = 0; i < plan.weight_count; i++) {
        const PlanWeight *w = &p->plan->weights[i];
        const void *data =
            w->file == PLAN_INLINE ? w->data : (const char *)p->files[w->file].data + w->offset;
        plan.weights[i] = (PlanWeight){PLAN_INLINE, 0, w->bytes, data};
    }
    return plan;
}

typedef struct Save {
    const qn_program *program;
    qn_string path;
} Save;

static void save_job(Cx *cx, void *user)
{
    const Save *save = user;
    const qn_program *p = save->program;
    const char *path = api_text(cx, save->path);
    Image image;
    uint8_t header[HEADER_BYTES];
    Text contents;
    text_init(&contents, cx->arena);
    put_contents(&contents, p);
    if (cx_failed(cx) || !image_read(cx, p->image.data, p->image.size, &image))
        return;
    Plan plan = with_weights(cx, p);
    PlanBytes bytes = image_write(cx, &plan, &image.code);
    make_header(header, contents.data, contents.length);
    const OsPart parts[] = {
        {header, sizeof header}, {contents.data, contents.length}, {bytes.data, bytes.size}};
    int error = os_write_file(path, parts, sizeof parts / sizeof *parts);
    if (error)
        cx_fail(cx, ST_io, "%s cannot be written: %s", path, os_error_text(error));
}

qn_status qn_program_save(qn_program *program, qn_string path)
{
    Cx cx;
    Report report = {0};
    if (!program || !program->loaded)
        return QN_BAD_ARGUMENT;
    Save save = {program, path};
    cx_init(&cx, &program->context->from, 0);
    cx_run(&cx, save_job, &save);
    qn_status status = api_status(&report, &cx);
    cx_finish(&cx);
    if (status != QN_OK)
        program->report = report;
    return status;
}

/* --- loading --- */

typedef struct Open {
    qn_program *program;
    qn_string path;
    const uint8_t *data;   /* of the whole file */
    size_t size, contents; /* contents: bytes of them */
    bool stays;
} Open;

static void close_map(void *map)
{
    os_unmap(map);
}

static void map_job(Cx *cx, void *user)
{
    Open *open = user;
    const char *path = api_text(cx, open->path);
    if (cx_failed(cx))
        return;
    OsMap *map = NEW(cx->arena, OsMap);
    *map = OS_MAP_NONE;
    cx_cleanup(cx, close_map, map);
    int error = os_map_file(path, map);
    if (!error)
        error = os_map_check(map);
    if (error)
        cx_fail(cx, ST_io, "%s cannot be read: %s", path, os_error_text(error));
    open->data = map->data;
    open->size = map->size;
    open->stays = true;
}

/* Where the image begins. */
static void header_job(Cx *cx, void *user)
{
    Open *open = user;
    uint8_t expected[HEADER_BYTES];
    uint64_t size = 0;
    if (open->size >= HEADER_BYTES && memcmp(open->data, magic, sizeof magic) == 0)
        memcpy(&size, open->data + sizeof magic, 8);
    if (size >= 8 && size % 8 == 0 && size <= open->size - HEADER_BYTES) {
        make_header(expected, open->data + HEADER_BYTES, (size_t)size);
        if (memcmp(open->data, expected, HEADER_BYTES) == 0) {
            open->contents = (size_t)size;
            return;
        }
    }
    cx_fail(cx, ST_bad_file, "%.*s: not a saved program, or a damaged one",
            (int)(open->path.length < 500 ? open->path.length : 500),
            open->path.length ? open->path.data : "memory");
}

/* The contents that inputs have to have, once the inputs are known. */
static void take_contents(Cx *cx, qn_program *p, void *user)
{
    const Open *open = user;
    const uint8_t *at = open->data + HEADER_BYTES, *end = at + open->contents;
    uint64_t count;
    memcpy(&count, at, 8);
    at += 8;
    for (uint64_t i = 0; i < count && !cx_failed(cx); i++) {
        uint64_t fields[2] = {UINT64_MAX, 0};
        if (end - at >= 16)
            memcpy(fields, at, 16);
        if (fields[0] >= p->plan->input_count || p->inputs[fields[0]].info.bytes < 0 ||
            fields[1] != (uint64_t)p->inputs[fields[0]].info.bytes ||
            fields[1] > (uint64_t)(end - at) - 16) {
            cx_fail(cx, ST_bad_file, "contents of inputs of a saved program do not fit them");
            return;
        }
        p->contents[fields[0]] = arena_copy(cx->arena, at + 16, (size_t)fields[1]);
        at += 16 + (fields[1] + 7) / 8 * 8;
    }
}

static qn_status load(Open *open)
{
    qn_program *p = open->program;
    if (!cx_failed(&p->cx))
        cx_run(&p->cx, header_job, open);
    if (cx_failed(&p->cx))
        return api_status(&p->report, &p->cx);
    const uint8_t *image = open->data + HEADER_BYTES + open->contents;
    ProgramSource source = {.image = {image, open->size - HEADER_BYTES - open->contents},
                            .stays = open->stays && (uintptr_t)image % 8 == 0,
                            .more = take_contents,
                            .user = open};
    return api_program_load(p, &source);
}

static qn_status load_new(qn_context *context, Open *open, qn_program **program)
{
    if (!program)
        return QN_BAD_ARGUMENT;
    *program = NULL;
    if (!context)
        return QN_BAD_ARGUMENT;
    double start = api_now_ms();
    qn_program *p = *program = open->program = api_program_new(context);
    if (!p)
        return QN_OUT_OF_MEMORY;
    if (!open->data)
        cx_run(&p->cx, map_job, open);
    qn_status status = load(open);
    p->compile_ms = api_now_ms() - start;
    return status;
}

qn_status qn_program_load(qn_context *context, qn_string path, qn_program **program)
{
    Open open = {.path = path};
    return load_new(context, &open, program);
}

qn_status qn_program_from_memory(qn_context *context, const void *data, size_t bytes,
                                 qn_program **program)
{
    Open open = {.data = data ? data : (const uint8_t *)"", .size = bytes, .stays = true};
    return load_new(context, &open, program);
}
