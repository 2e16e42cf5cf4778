/* The public interface: programs as files of their own, weights included: packs with a saved
 * program (saved.h). What libquern_runtime loads without a model or a compiler. */
#include "runtime/api.h"
#include "runtime/saved.h"

/* --- saving --- */

typedef struct Save {
    qn_program *program;
    qn_string path;
} Save;

static void save_job(Cx *cx, void *user)
{
    const Save *save = user;
    qn_program *p = save->program;
    const char *path = api_text(cx, save->path);
    Report report = {0};
    Image image;
    PackList list = {0};
    if (cx_failed(cx) || !image_read(cx, p->image.data, p->image.size, &image))
        return;
    if (p->program && program_prepare(p->program, NULL, &report) != ST_ok) {
        cx_fail(cx, report.status, "%s", report.text);
        return;
    }
    SavedSource source = {p->plan, &image.code, p->files, p->program};
    const Executor *executor = &p->context->executor;
    if (saved_add(cx, executor, &source, &list))
        pack_write(cx, executor, path, &list);
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
    const void *data; /* NULL: it is a file */
    size_t size;
    Saved saved;
} Open;

static void close_pack(void *pack)
{
    pack_close(pack);
}

/* The pack stays open as long as the program's job. */
static void open_job(Cx *cx, void *user)
{
    Open *open = user;
    Pack *pack = NEW(cx->arena, Pack);
    const char *path = api_text(cx, open->path);
    if (cx_failed(cx))
        return;
    cx_cleanup(cx, close_pack, pack);
    if (open->data ? pack_open_memory(cx, open->data, open->size, pack) : pack_open(cx, path, pack))
        saved_find(cx, &open->program->context->executor, pack, &open->saved);
}

static qn_status load(qn_context *context, Open *open, qn_program **program)
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
    p->remembers = true;
    cx_run(&p->cx, open_job, open);
    qn_status status = api_status(&p->report, &p->cx);
    if (status == QN_OK) {
        ProgramSource source = {.image = open->saved.image,
                                .stays = true,
                                .file_count = open->saved.file_count,
                                .files = open->saved.files};
        status = api_program_load(p, &source);
    }
    p->compile_ms = api_now_ms() - start;
    return status;
}

qn_status qn_program_load(qn_context *context, qn_string path, qn_program **program)
{
    Open open = {.path = path};
    return load(context, &open, program);
}

qn_status qn_program_from_memory(qn_context *context, const void *data, size_t bytes,
                                 qn_program **program)
{
    Open open = {.data = data ? data : "", .size = data ? bytes : 0};
    return load(context, &open, program);
}
