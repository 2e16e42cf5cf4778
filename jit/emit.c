/* Emission in parallel: programs are dealt to threads by length of text, longest first to the one
 * with least. The threads are ours because LLVM wants a large stack, and because a caller's
 * executor is not for work that takes so long. */
#include "jit/emit.h"

#include <pthread.h>
#include <string.h>

enum { STACK_BYTES = 16 << 20, MAX_EMITTERS = 16 };

typedef struct Emitter {
    Cx cx;
    const LlvmApi *api;
    const Caps *caps;
    const KernelText **texts;
    uint32_t count;
    size_t load;
    ObjectBytes object;
    pthread_t thread;
    bool started;
} Emitter;

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
    e->api->emit(cx, progs, (int)e->count, e->caps, (LlvmOptions){0}, &e->object);
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

/* Deals texts in the order of length; returns how many emitters have work. */
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
        least->load += order[i]->length;
    }
    return count < (uint32_t)threads ? (int)count : threads;
}

bool emit_kernels(Cx *cx, const LlvmApi *api, const Caps *caps, const KernelText *texts,
                  uint32_t count, int threads, uint32_t *object_count, ObjectBytes **objects)
{
    threads = threads < 1 ? 1 : threads > MAX_EMITTERS ? MAX_EMITTERS : threads;
    Emitter *emitters = NEW_ARRAY(cx->arena, Emitter, threads);
    for (int t = 0; t < threads; t++) {
        emitters[t].api = api;
        emitters[t].caps = caps;
        emitters[t].texts = NEW_ARRAY(cx->arena, const KernelText *, count);
    }
    int used = deal(cx, emitters, threads, texts, count);
    *objects = NEW_ARRAY(cx->arena, ObjectBytes, used);
    /* from here to the join nothing may jump out of this function */
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
    *object_count = (uint32_t)used;
    for (int t = 0; t < used; t++) {
        ObjectBytes *o = &emitters[t].object;
        uint8_t *copy = cx_failed(cx) ? NULL : arena_try_alloc(cx->arena, o->size);
        if (copy)
            memcpy(copy, o->data, o->size);
        else
            cx_fail(cx, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
        (*objects)[t] = (ObjectBytes){copy, o->size};
        cx_finish(&emitters[t].cx);
    }
    return !cx_failed(cx);
}
