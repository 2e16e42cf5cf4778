/* Emission in parallel: programs are dealt to threads by length of text, longest first to the one
 * with least. The threads are ours because LLVM wants a large stack, and because a caller's
 * executor is not for work that takes so long. */
#include "jit/emit.h"

#include <pthread.h>
#include <string.h>

#include "codegen/c_print.h"
#include "jit/build_nvrtc.h"

enum { STACK_BYTES = 16 << 20, MAX_EMITTERS = 16, EACH = 8 << 10 };

typedef struct Emitter {
    Cx cx;
    const EmitOptions *options;
    const KernelText **texts;
    uint32_t count;
    size_t load;
    CodePiece piece;
    pthread_t thread;
    bool started;
} Emitter;

/* --- one piece, by kind --- */

static bool emit_object(Cx *cx, const EmitOptions *o, TileProg *const *progs, int count,
                        CodePiece *piece)
{
    ObjectBytes object;
    if (!o->llvm->emit(cx, progs, count, o->caps, (LlvmOptions){0}, &object))
        return false;
    *piece = (CodePiece){object.data, object.size};
    return true;
}

static bool emit_opencl(Cx *cx, const EmitOptions *o, TileProg *const *progs, int count,
                        CodePiece *piece)
{
    Text text;
    text_init(&text, cx->arena);
    if (!c_print_all(cx, &text, progs, count, dialect_for(o->caps)))
        return false;
    *piece = (CodePiece){text.data, text.length};
    return true;
}

static bool emit_cubin(Cx *cx, const EmitOptions *o, TileProg *const *progs, int count,
                       CodePiece *piece)
{
    CodePiece source;
    NvrtcBuild build;
    if (!emit_opencl(cx, o, progs, count, &source) ||
        !build_nvrtc(cx, source.data, o->caps, &build))
        return false;
    *piece = (CodePiece){build.cubin, build.size};
    return true;
}

typedef bool EmitPiece(Cx *cx, const EmitOptions *options, TileProg *const *progs, int count,
                       CodePiece *piece);

typedef struct KindRow {
    const char *name;
    EmitPiece *emit; /* NULL: nothing is generated */
} KindRow;

static const KindRow kinds[CODE_count] = {
    [CODE_none] = {"none", NULL},
    [CODE_object] = {"object", emit_object},
    [CODE_opencl] = {"opencl", emit_opencl},
    [CODE_cubin] = {"cubin", emit_cubin},
    [CODE_tile] = {"tile", NULL},
};

CodeKind emit_kind(const Caps *caps)
{
    switch (caps->kind) {
    case TK_cpu: return CODE_object;
    case TK_opencl_cpu:
    case TK_opencl: return CODE_opencl;
    case TK_cuda: return CODE_cubin;
    }
    return CODE_none;
}

const char *emit_target_name(Cx *cx, const Caps *caps, CodeKind kind)
{
    return arena_printf(cx->arena, "%s %s", caps->name, kinds[kind].name);
}

/* --- threads --- */

static void emit_all(Cx *cx, void *user)
{
    Emitter *e = user;
    TileProg **progs = NEW_ARRAY(cx->arena, TileProg *, e->count);
    for (uint32_t i = 0; i < e->count; i++) {
        progs[i] = tile_parse(cx, e->texts[i]->name, e->texts[i]->text);
        if (cx_failed(cx))
            return;
        progs[i]->name = e->texts[i]->name;
    }
    kinds[e->options->kind].emit(cx, e->options, progs, (int)e->count, &e->piece);
}

static void *emitter_main(void *user)
{
    Emitter *e = user;
    cx_run(&e->cx, emit_all, e);
    return NULL;
}

static void start(Emitter *e)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    e->started = pthread_create(&e->thread, &attr, emitter_main, e) == 0;
    pthread_attr_destroy(&attr);
}

/* Deals texts in the order of length; returns how many emitters have work. Every kernel costs about
 * as much as 8 KB of text besides its own: what all have, and code that repeats itself under a
 * short text. */
static int deal(Cx *cx, Emitter *emitters, int threads, const KernelText *texts, uint32_t count)
{
    const KernelText **order = NEW_ARRAY(cx->arena, const KernelText *, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at && order[at - 1]->length < texts[i].length; at--)
            order[at] = order[at - 1];
        order[at] = &texts[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        Emitter *least = &emitters[0];
        for (int t = 1; t < threads; t++)
            if (emitters[t].load < least->load)
                least = &emitters[t];
        least->texts[least->count++] = order[i];
        least->load += EACH + order[i]->length;
    }
    return count < (uint32_t)threads ? (int)count : threads;
}

/* Runs the emitters and gives their pieces, in the job's arena. Nothing may jump out of it. */
static void run_emitters(Cx *cx, Emitter *emitters, int used, CodePiece *pieces)
{
    for (int t = 0; t < used; t++) {
        cx_init(&emitters[t].cx, cx->arena->from, 0);
        start(&emitters[t]);
    }
    for (int t = 0; t < used; t++) {
        if (emitters[t].started)
            pthread_join(emitters[t].thread, NULL);
        else
            emitter_main(&emitters[t]); /* the system has no more threads */
        cx_merge(cx, &emitters[t].cx);
    }
    for (int t = 0; t < used; t++) {
        CodePiece *piece = &emitters[t].piece;
        void *copy = cx_failed(cx) ? NULL : arena_try_alloc(cx->arena, piece->size);
        if (copy)
            memcpy(copy, piece->data, piece->size);
        else
            cx_fail(cx, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
        pieces[t] = (CodePiece){copy, piece->size};
        cx_finish(&emitters[t].cx);
    }
}

/* The programs themselves: the simulator reads them. */
static void give_tiles(Cx *cx, const KernelText *texts, uint32_t count, CodeImage *code)
{
    CodePiece *pieces = NEW_ARRAY(cx->arena, CodePiece, count);
    for (uint32_t i = 0; i < count; i++)
        pieces[i] = (CodePiece){texts[i].text, texts[i].length};
    *code = (CodeImage){CODE_tile, count, pieces};
}

bool emit_code(Cx *cx, const EmitOptions *options, const KernelText *texts, uint32_t count,
               CodeImage *code)
{
    int threads = options->threads;
    threads = threads < 1 ? 1 : threads > MAX_EMITTERS ? MAX_EMITTERS : threads;
    *code = (CodeImage){.kind = options->kind};
    if (options->kind == CODE_tile)
        give_tiles(cx, texts, count, code);
    if (!kinds[options->kind].emit)
        return true;
    Emitter *emitters = NEW_ARRAY(cx->arena, Emitter, threads);
    for (int t = 0; t < threads; t++) {
        emitters[t].options = options;
        emitters[t].texts = NEW_ARRAY(cx->arena, const KernelText *, count);
    }
    int used = deal(cx, emitters, threads, texts, count);
    CodePiece *pieces = NEW_ARRAY(cx->arena, CodePiece, used);
    *code = (CodeImage){options->kind, (uint32_t)used, pieces};
    run_emitters(cx, emitters, used, pieces);
    return !cx_failed(cx);
}
