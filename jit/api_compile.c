/* The public interface: compiling. It makes an image in a job whose memory is given back; the
 * program is then loaded from the image, as it is when the image comes from the cache. */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "jit/api_contents.h"
#include "jit/llvm_module.h"
#include "jit/program_key.h"
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

/* --- options --- */

typedef struct Compilation {
    qn_program *program;
    qn_model *model;
    qn_compile_options options;
    Target target;
    const Caps *caps;
    ImportOptions import;
    ImportProblems problems;
    Records records;
    const char *parts; /* of the key */
    PlanBytes image;
    bool stays; /* the image, as long as the context */
    Compiled compiled;
} Compilation;

static bool find_target(Cx *cx, Compilation *c)
{
    const char *name = api_text(cx, c->options.device);
    c->caps = c->options.elsewhere ? target_find(name) : NULL;
    if (c->caps) {
        c->target = (Target){.name = c->caps->name, .kind = emit_kind(c->caps)};
        return true;
    }
    if (!api_find_target(cx, c->model->context, name, &c->target))
        return false;
    if (c->program)
        c->program->device = c->target.device;
    c->caps = target_find(c->target.name);
    CHECK(c->caps);
    return true;
}

/* Names of the symbols of a model's input dims, each once. */
static uint32_t list_symbols(Cx *cx, const qn_model *model, const char ***names)
{
    Map seen;
    map_init(&seen, cx->arena);
    for (uint32_t i = 0; i < model->input_count; i++) {
        const qn_tensor_info *info = &model->inputs[i].info;
        for (int d = 0; d < info->rank; d++) {
            const char *name = info->dims[d].symbol.data;
            if (info->dims[d].value >= 0)
                continue;
            if (!*name)
                name = arena_printf(cx->arena, "%s_%d", info->name.data, d);
            map_set_text(&seen, name, &seen);
        }
    }
    *names = NEW_ARRAY(cx->arena, const char *, seen.count);
    for (uint32_t i = 0; i < seen.count; i++)
        (*names)[i] = seen.entries[i].key;
    return seen.count;
}

static void set_dim(Cx *cx, ImportDim *dims, uint32_t count, const qn_dim_value *given)
{
    const char *name = api_text(cx, given->symbol);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(dims[i].name, name) != 0)
            continue;
        if (given->min > 0)
            dims[i].lo = given->min;
        if (given->max > 0)
            dims[i].hi = given->max;
        if (given->value > 0)
            dims[i].lo = dims[i].hi = given->value;
        if (dims[i].lo > dims[i].hi)
            cx_fail(cx, ST_bad_argument, "dim '%s': the bounds %lld..%lld hold no number", name,
                    (long long)dims[i].lo, (long long)dims[i].hi);
        return;
    }
    Text known;
    text_init(&known, cx->arena);
    text_put(&known, "", 0);
    for (uint32_t i = 0; i < count && i < 10; i++)
        text_add(&known, "%s%s", i ? ", " : "; it has ", dims[i].name);
    cx_fail(cx, ST_bad_argument, "no input of the model has the dim '%s'%s", name,
            known.length ? known.data : "");
}

static void set_dims(Cx *cx, Compilation *c)
{
    const char **names;
    uint32_t count = list_symbols(cx, c->model, &names);
    ImportDim *dims = NEW_ARRAY(cx->arena, ImportDim, count);
    int bits = count <= 1 ? 20 : count <= 3 ? 16 : 12;
    for (uint32_t i = 0; i < count; i++)
        dims[i] = (ImportDim){names[i], 1, INT64_C(1) << bits, 1};
    for (size_t i = 0; i < c->options.dim_count; i++)
        set_dim(cx, dims, count, &c->options.dims[i]);
    c->import.dims = dims;
    c->import.dim_count = count;
}

static void set_shape(Cx *cx, const qn_model *model, size_t position, const qn_shape *given,
                      ImportShape *shape)
{
    const char *name = api_text(cx, given->name);
    if (!*name && position < model->input_count)
        name = model->inputs[position].info.name.data;
    if (!api_is_input(model, name))
        cx_fail(cx, ST_bad_argument, "the model has no input '%s'", name);
    else if (given->rank < 0 || given->rank > QN_MAX_RANK || (given->rank && !given->dims))
        cx_fail(cx, ST_bad_argument, "the shape of input '%s' has rank %d", name, given->rank);
    if (cx_failed(cx))
        return;
    *shape = (ImportShape){.input = name, .rank = given->rank};
    for (int d = 0; d < given->rank; d++)
        shape->dims[d] = given->dims[d] < 0 ? -1 : given->dims[d];
}

static void set_shapes(Cx *cx, Compilation *c)
{
    ImportShape *shapes = NEW_ARRAY(cx->arena, ImportShape, c->options.shape_count);
    for (size_t i = 0; i < c->options.shape_count; i++)
        set_shape(cx, c->model, i, &c->options.shapes[i], &shapes[i]);
    c->import.shapes = shapes;
    c->import.shape_count = (uint32_t)c->options.shape_count;
}

/* The symbol of an input's dim among these. */
static ImportDim *find_dim(const Compilation *c, ImportDim *dims, const qn_tensor_info *info, int d)
{
    char own[600];
    const char *name = info->dims[d].symbol.data;
    if (!*name) {
        snprintf(own, sizeof own, "%s_%d", info->name.data, d);
        name = own;
    }
    for (uint32_t i = 0; i < c->import.dim_count; i++)
        if (strcmp(dims[i].name, name) == 0)
            return &dims[i];
    return NULL;
}

/* Whether the shapes say nothing that values of symbols do not say too; these are set in `dims`. */
static bool shapes_as_dims(const Compilation *c, ImportDim *dims)
{
    for (uint32_t s = 0; s < c->import.shape_count; s++) {
        const ImportShape *shape = &c->import.shapes[s];
        const qn_tensor_info *info = NULL;
        for (uint32_t i = 0; i < c->model->input_count && !info; i++)
            if (strcmp(c->model->inputs[i].info.name.data, shape->input) == 0)
                info = &c->model->inputs[i].info;
        if (!info || info->rank != shape->rank)
            return false;
        for (int d = 0; d < shape->rank; d++) {
            int64_t size = shape->dims[d];
            ImportDim *dim = info->dims[d].value < 0 ? find_dim(c, dims, info, d) : NULL;
            if (size < 0 || (!dim && info->dims[d].value == size))
                continue;
            if (!dim || size < dim->lo || size > dim->hi)
                return false;
            dim->lo = dim->hi = size;
        }
    }
    return true;
}

/* One program has one key: a shape that only gives values to symbols is the same as these values.
 */
static void fold_shapes(Cx *cx, Compilation *c)
{
    ImportDim *dims =
        arena_copy(cx->arena, c->import.dims, c->import.dim_count * sizeof *c->import.dims);
    if (!shapes_as_dims(c, dims))
        return;
    c->import.dims = dims;
    c->import.shape_count = 0;
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
                              .keep = c->options.keep_text,
                              .records = &c->records,
                              .nests = nests,
                              .progress = c->options.progress ? report_progress : NULL,
                              .progress_user = c};
    if (options.kind == CODE_object)
        options.llvm = find_llvm(context, cx);
    if (is_text_only(c))
        options.kind = CODE_none;
    if (cx_failed(cx) || !compile_graph(cx, graph, &options, &c->compiled))
        return false;
    if (c->compiled.refused)
        api_misread(context, "a tuning record's schedule does not fit its kernel");
    return true;
}

static void build_image(Cx *cx, Compilation *c)
{
    if (run_compiler(cx, c, NULL))
        c->image = image_write(cx, c->compiled.plan, &c->compiled.code);
}

static void warn_once(qn_context *context, const char *why)
{
    char text[600];
    if (!context->log || atomic_exchange(&context->warned, true))
        return;
    snprintf(text, sizeof text, "compiled programs are not kept: %s", why);
    context->log(context->log_user, QN_LOG_WARNING, text);
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

static const CustomOperator *find_custom(const void *customs, const char *domain, const char *name,
                                         int64_t opset)
{
    return customs_find(customs, domain, name, opset);
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
static bool find_kept(Cx *cx, Compilation *c, Storage *directory)
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
    return !cx_failed(cx) && directory && find_image(cx, c, directory, false);
}

/* The options as the compiler takes them, and the parts of the key. */
static bool read_options(Cx *cx, Compilation *c)
{
    if (!find_target(cx, c))
        return false;
    c->import.find_custom = find_custom;
    c->import.customs = &c->model->context->customs;
    set_dims(cx, c);
    set_shapes(cx, c);
    if (!cx_failed(cx))
        fold_shapes(cx, c);
    if (!cx_failed(cx))
        api_set_contents(cx, c->model, c->options.contents, c->options.content_count, &c->import);
    if (cx_failed(cx) || !onnx_model_check(cx, c->model->onnx))
        return false;
    KeySource source = {.model = c->model->onnx,
                        .file_count = c->model->file_count,
                        .files = c->model->files,
                        .import = &c->import,
                        .target = emit_target_name(cx, c->caps, c->target.kind)};
    Hash128 digest;
    api_read_records(cx, c->model->context, !c->options.no_cache && !c->options.packs_only,
                     &c->records);
    if (records_digest(cx, &c->records, c->caps->name, &digest))
        source.records = &digest;
    c->parts = program_key_parts(cx, &source);
    return true;
}

static void compile_job(Cx *cx, void *user)
{
    Compilation *c = user;
    qn_context *context = c->program->context;
    Cache cache = cache_in(context->cache_dir, context->cache_limit);
    bool caches =
        context->cache_dir && !c->options.no_cache && !c->options.packs_only && !is_text_only(c);
    if (!read_options(cx, c) || find_kept(cx, c, caches ? &cache.storage : NULL) || cx_failed(cx))
        return;
    build_image(cx, c);
    if (cx_failed(cx) || !caches)
        return;
    Entry entry = {ENTRY_program, c->parts, c->image.data, c->image.size};
    const char *why = cache.storage.class->put(&cache.storage, cx, &executor_inline, &entry);
    if (why)
        warn_once(context, why);
}

/* --- the program --- */

/* What the program keeps of the compile that no image has. */
static void keep_more(Cx *cx, qn_program *p, void *user)
{
    const Compilation *c = user;
    for (int i = 0; i < KEEP_count; i++)
        if (c->compiled.texts[i])
            p->texts[i] = arena_strdup(cx->arena, c->compiled.texts[i]);
    api_keep_contents(cx, p, &c->import);
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

static void copy_options(Compilation *c, const qn_compile_options *options)
{
    size_t size = options && options->size ? options->size : sizeof c->options;
    if (options)
        memcpy(&c->options, options, size < sizeof c->options ? size : sizeof c->options);
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
    if (!model || !model->onnx)
        return QN_BAD_ARGUMENT;
    double start = api_now_ms();
    qn_program *p = *program = api_program_new(model->context);
    if (!p)
        return QN_OUT_OF_MEMORY;
    p->owner = qn_model_retain(model);
    p->release_owner = release_model;
    c.program = p;
    c.model = model;
    copy_options(&c, options);
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
                                .files = model->files,
                                .more = keep_more,
                                .user = &c};
        status = api_program_load(p, &source);
    } else {
        name_file(p, &c);
        if (c.problems.wanted_count)
            cx_run(&p->cx, wanted_job, &c);
    }
    cx_finish(&cx);
    p->compile_ms = api_now_ms() - start;
    return status;
}

/* --- explaining --- */

typedef struct Explain {
    Compilation c;
    qn_line *line;
    void *user;
    bool found;
} Explain;

static void say_parts(const Explain *e, Cx *cx, const char *parts)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(entry_key(parts).whole, hex);
    e->line(e->user, arena_printf(cx->arena, "key %s, made of:", hex));
    while (*parts) {
        int length = (int)strcspn(parts, "\n");
        e->line(e->user, arena_printf(cx->arena, "  %.*s", length, parts));
        parts += length + (parts[length] == '\n');
    }
}

static void say_nearest(const Explain *e, Cx *cx, Storage *const *storages, uint32_t count)
{
    Explanation x = explain_program(cx, e->c.parts, storages, count);
    char hex[HASH_HEX_SIZE];
    hash_to_hex(x.key, hex);
    if (!x.storage)
        e->line(e->user, "there are no programs to compare with");
    else if (!x.count)
        e->line(e->user,
                arena_printf(cx->arena, "%s in %s is for it and damaged", hex, x.storage->name));
    else
        e->line(e->user, arena_printf(cx->arena, "the nearest of %u programs is %s in %s:",
                                      x.programs, hex, x.storage->name));
    for (uint32_t i = 0; i < x.count; i++)
        e->line(e->user, arena_printf(cx->arena, "  %s", x.lines[i]));
}

static void explain_job(Cx *cx, void *user)
{
    Explain *e = user;
    qn_context *context = e->c.model->context;
    Storage **storages;
    if (!read_options(cx, &e->c))
        return;
    uint32_t count = api_packs(context, cx, &storages);
    Cache cache = cache_in(context->cache_dir, context->cache_limit);
    if (context->cache_dir && !e->c.options.packs_only)
        storages[count++] = &cache.storage;
    say_parts(e, cx, e->c.parts);
    for (uint32_t i = 0; i < count && !e->found; i++) {
        Entry entry;
        e->found = storage_get(storages[i], cx, &executor_inline, entry_key(e->c.parts), &entry);
        if (cx_failed(cx))
            return;
        if (e->found)
            e->line(e->user, arena_printf(cx->arena, "it is in %s", storages[i]->name));
    }
    if (!e->found) {
        e->line(e->user, "it is not there: it would be compiled");
        say_nearest(e, cx, storages, count);
    }
}

qn_status qn_program_explain(qn_model *model, const qn_compile_options *options, qn_line *line,
                             void *user)
{
    Explain e = {.c.model = model, .line = line, .user = user};
    Cx cx;
    if (!model || !model->onnx || !line)
        return QN_BAD_ARGUMENT;
    copy_options(&e.c, options);
    cx_init(&cx, &model->context->from, 0);
    cx_run(&cx, explain_job, &e);
    qn_status status = api_status(&model->report, &cx);
    cx_finish(&cx);
    return status == QN_OK && !e.found ? QN_MISSING : status;
}

bool api_tune_source(Cx *cx, qn_model *model, const qn_compile_options *options, TuneSource *source)
{
    Compilation *c = NEW(cx->arena, Compilation);
    c->model = model;
    copy_options(c, options);
    c->options.keep_text = 0;
    c->options.progress = NULL;
    if (!read_options(cx, c) || !run_compiler(cx, c, &source->nests))
        return false;
    source->caps = c->caps;
    source->kind = c->target.kind;
    source->records = c->records;
    source->llvm = c->target.kind == CODE_object ? find_llvm(model->context, cx) : NULL;
    return !cx_failed(cx);
}
