/* The public interface: compiling. It makes an image in a job whose memory is given back; the
 * program is then loaded from the image, as it is when the image comes from the cache. */
#include <stdio.h>
#include <string.h>

#include "jit/api_contents.h"
#include "jit/api_options.h"
#include "jit/llvm_module.h"
#include "runtime/explain.h"

_Static_assert((int)MAX_RANK == (int)PLAN_RANK && (int)KEEP_count == (int)API_TEXTS,
               "compiler and runtime agree");

/* The code generator, opened on first use; NULL after cx_fail. */
static const LlvmApi *find_llvm(qn_context *context, Cx *cx)
{
    LlvmModule module;
    pthread_mutex_lock(&context->lock);
    if (!context->compiler && llvm_module_open(cx, &module, context->compiler_path))
        context->compiler = module.api;
    const LlvmApi *api = context->compiler;
    pthread_mutex_unlock(&context->lock);
    return cx_failed(cx) ? NULL : api;
}

/* --- compiling --- */

static bool report_progress(void *user, int64_t done, int64_t total, const char *what)
{
    const Compilation *c = user;
    return c->options.progress(c->options.progress_user, done, total, what) != 0;
}

/* Somebody wants to read what would be made for another machine. */
static bool is_text_only(const Compilation *c)
{
    return c->options.keep_text && c->options.elsewhere;
}

/* From the model to code, or (nests) to the list of what code would be made of. */
static bool run_compiler(Cx *cx, Compilation *c, NestList *nests)
{
    qn_context *context = c->model->context;
    Graph *graph = import_model(cx, c->model->onnx, &c->import, &c->problems);
    if (cx_failed(cx))
        return false;
    CompileOptions options = {.caps = c->caps,
                              .kind = c->target.kind,
                              .file_count = c->model->file_count,
                              .files = c->model->files,
                              .threads = qn_context_threads(context),
                              .keep = nests ? 0 : c->options.keep_text,
                              .records = nests ? NULL : &c->records,
                              .nests = nests,
                              .progress = c->options.progress ? report_progress : NULL,
                              .progress_user = c};
    if (options.kind == CODE_object && !nests)
        options.llvm = find_llvm(context, cx);
    if (is_text_only(c))
        options.kind = CODE_none;
    if (cx_failed(cx) || !compile_graph(cx, graph, &options, &c->compiled))
        return false;
    if (c->compiled.refused)
        api_misread(context, "a tuning record's schedule does not fit its kernel");
    return true;
}

/* Once more from the model, as if nothing had been tried. */
static void start_again(Cx *cx, Compilation *c)
{
    cx_recover(cx);
    cx->where = NULL;
    c->problems = (ImportProblems){0};
    c->compiled = (Compiled){0};
}

static bool compile_narrowing(Cx *cx, Compilation *c, NestList *nests)
{
    while (!run_compiler(cx, c, nests)) {
        if (cx->status != ST_limit || !api_options_narrow(cx, c))
            return false;
        start_again(cx, c);
        if (nests)
            *nests = (NestList){0};
    }
    return true;
}

bool api_list_nests(Cx *cx, Compilation *c, NestList *nests)
{
    ImportOptions import = c->import;
    int bits = c->bits;
    *nests = (NestList){0};
    if (!compile_narrowing(cx, c, nests))
        return false;
    start_again(cx, c);
    c->import = import;
    c->bits = bits;
    return true;
}

static void build_image(Cx *cx, Compilation *c)
{
    if (!compile_narrowing(cx, c, NULL))
        return;
    api_keep_contents(c->compiled.plan, &c->import);
    c->image = image_write(cx, c->compiled.plan, &c->compiled.code);
}

typedef struct Check {
    PlanBytes bytes;
    Image *image;
} Check;

/* Everything but the weights: form, checksums, the rules of plans. */
static void check_image(Cx *cx, void *user)
{
    Check *c = user;
    if (image_read(cx, c->bytes.data, c->bytes.size, c->image))
        plan_read(cx, c->image->plan, c->image->plan_size);
}

/* An image from the cache counts only when it is whole; whether it fits the model is found out by
 * loading it. */
static bool is_whole(Compilation *c)
{
    Cx own;
    Image image;
    cx_init(&own, &c->program->context->from, 0);
    Check check = {c->image, &image};
    cx_run(&own, check_image, &check);
    bool whole = !cx_failed(&own);
    cx_finish(&own);
    return whole;
}

/* No pack has it: says what there is instead. */
static void fail_missing(Cx *cx, const Compilation *c, Storage *const *storages, uint32_t count)
{
    Explanation e = explain_program(cx, c->parts, storages, count);
    Text text;
    text_init(&text, cx->arena);
    for (uint32_t i = 0; i < e.count && i < 6; i++)
        text_add(&text, "%s%s", i ? "; " : "", e.lines[i]);
    if (!count)
        cx_fail(cx, ST_missing, "there is no pack to take the program from");
    else if (!e.storage)
        cx_fail(cx, ST_missing, "%s: the pack holds no program", storages[0]->name);
    else
        cx_fail(cx, ST_missing,
                "%s: the pack does not hold this program; the nearest of its %u has another: %s",
                e.storage->name, e.programs, text.length ? text.data : "checksum");
}

/* Looks in one storage, which is the context's pack or its directory. */
static bool find_image(Cx *cx, Compilation *c, Storage *storage, bool pack)
{
    Entry entry;
    if (!storage_get(storage, cx, &executor_inline, entry_key(c->parts), &entry) ||
        entry.kind != ENTRY_program)
        return false;
    c->image = (PlanBytes){entry.data, entry.size};
    c->stays = pack;
    if (!pack && !is_whole(c))
        return false;
    c->program->cached = pack ? 2 : 1;
    return true;
}

/* Packs are looked into even for a program that is to keep texts when there is no other way. */
static bool find_packed(Cx *cx, Compilation *c)
{
    Storage **storages;
    uint32_t count = api_packs(c->program->context, cx, &storages);
    if (c->options.keep_text && !c->options.packs_only)
        return false;
    for (uint32_t i = 0; i < count && !cx_failed(cx); i++)
        if (find_image(cx, c, storages[i], true))
            return true;
    if (!cx_failed(cx) && c->options.packs_only)
        fail_missing(cx, c, storages, count);
    return false;
}

static void compile_job(Cx *cx, void *user)
{
    Compilation *c = user;
    qn_context *context = c->program->context;
    Cache cache = cache_in(context->cache_dir, context->cache_limit);
    bool caches =
        context->cache_dir && !c->options.no_cache && !c->options.packs_only && !is_text_only(c);
    if (!api_options_read(cx, c) || find_packed(cx, c) || cx_failed(cx))
        return;
    if (caches && !api_use_records(cx, c, &cache.storage, true))
        return;
    if (caches && !c->options.keep_text && find_image(cx, c, &cache.storage, false))
        return;
    build_image(cx, c);
    if (cx_failed(cx) || !caches)
        return;
    Entry entry = {ENTRY_program, c->parts, c->image.data, c->image.size};
    const char *why = cache.storage.class->put(&cache.storage, cx, &executor_inline, &entry);
    if (why)
        api_warn_once(context, &context->warned, "compiled programs are not kept: %s", why);
}

/* --- the program --- */

/* What the program keeps of the compile that no image has. */
static void texts_job(Cx *cx, void *user)
{
    const Compilation *c = user;
    for (int i = 0; i < KEEP_count; i++)
        if (c->compiled.texts[i])
            c->program->texts[i] = arena_strdup(cx->arena, c->compiled.texts[i]);
}

static void release_model(void *model)
{
    qn_model_release(model);
}

static void wanted_job(Cx *cx, void *user)
{
    const Compilation *c = user;
    api_keep_wanted(cx, c->program, &c->problems);
}

/* A problem of the model is told with its file. */
static void name_file(qn_program *p, const Compilation *c)
{
    Report own = p->report;
    if (c->problems.count && c->model->path)
        report_fail(&p->report, own.status, "%s: %s", c->model->path, own.text);
}

qn_status qn_program_compile(qn_model *model, const qn_compile_options *options,
                             qn_program **program)
{
    Compilation c = {0};
    Cx cx;
    if (!program)
        return QN_BAD_ARGUMENT;
    *program = NULL;
    if (!model)
        return QN_BAD_ARGUMENT;
    double start = api_now_ms();
    qn_program *p = *program = api_program_new(model->context);
    if (!p)
        return QN_OUT_OF_MEMORY;
    if (!model->onnx)
        return (qn_status)report_fail(&p->report, ST_bad_argument, "there is no model: %s",
                                      model->report.text);
    p->owner = qn_model_retain(model);
    p->release_owner = release_model;
    c.program = p;
    c.model = model;
    api_options_copy(&c, options);
    p->remembers = !c.options.no_cache;
    cx_init(&cx, &p->context->from, 0);
    cx_run(&cx, compile_job, &c);
    qn_status status = api_status(&p->report, &cx);
    if (status == QN_OK) {
        ProgramSource source = {.image = c.image,
                                .stays = c.stays,
                                .parts = is_text_only(&c) ? NULL : c.parts,
                                .elsewhere = c.options.elsewhere != 0,
                                .file_count = model->file_count,
                                .files = model->files};
        status = api_program_load(p, &source);
        if (status == QN_OK)
            cx_run(&p->cx, texts_job, &c);
    } else {
        name_file(p, &c);
        if (c.problems.wanted_count)
            cx_run(&p->cx, wanted_job, &c);
    }
    cx_finish(&cx);
    p->compile_ms = api_now_ms() - start;
    return status;
}

bool api_tune_source(Cx *cx, qn_model *model, const qn_compile_options *options, TuneSource *source)
{
    Compilation *c = NEW(cx->arena, Compilation);
    c->model = model;
    api_options_copy(c, options);
    c->options.keep_text = 0;
    c->options.progress = NULL;
    if (!api_options_read(cx, c) || !api_list_nests(cx, c, &source->nests))
        return false;
    source->caps = c->caps;
    source->kind = c->target.kind;
    source->records = c->records;
    source->llvm = c->target.kind == CODE_object ? find_llvm(model->context, cx) : NULL;
    return !cx_failed(cx);
}
