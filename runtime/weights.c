/* First the tensors and what is remembered of them, by file; then what is missing is hashed at
 * once, on all workers, and remembered. */
#include "runtime/weights.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash_ranges.h"

/* What a storage holds of a file: these, in order. */
typedef struct Known {
    int64_t offset, bytes;
    Hash128 hash;
} Known;

typedef struct Weights {
    Cx *cx;
    const WeightSource *source;
    Known *wanted;     /* by weight of the plan; bytes -1: no init step reads it */
    HashRange *ranges; /* of those that have to be hashed */
    uint32_t *weights; /* their numbers */
    uint32_t count;
} Weights;

static int by_place(const void *a, const void *b)
{
    const Known *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Marks the weights of files that init steps read. */
static bool find_wanted(Weights *w)
{
    const Plan *plan = w->source->plan;
    for (uint32_t i = 0; i < plan->weight_count; i++)
        w->wanted[i].bytes = -1;
    for (uint32_t s = 0; s < plan->init_count; s++)
        for (uint32_t b = 0; b < plan->init[s].buffer_count; b++) {
            const PlanTensor *tensor = &plan->tensors[plan->init[s].buffers[b]];
            if (tensor->place != PP_weight || plan->weights[tensor->index].file == PLAN_INLINE)
                continue;
            const PlanWeight *weight = &plan->weights[tensor->index];
            w->wanted[tensor->index] = (Known){weight->offset, weight->bytes, {0, 0}};
            if (weight->file >= w->source->file_count ||
                (uint64_t)(weight->offset + weight->bytes) > w->source->files[weight->file].size) {
                cx_fail(w->cx, ST_bad_file,
                        "the plan is for another model: weight %u is not in its files",
                        tensor->index);
                return false;
            }
        }
    return true;
}

static const char *memo_parts(Cx *cx, const OsFileId *id)
{
    return arena_printf(cx->arena, "kind hashes\nfile %llu %llu\nsize %llu\ntimes %lld %lld\n",
                        (unsigned long long)id->device, (unsigned long long)id->inode,
                        (unsigned long long)id->size, (long long)id->modified,
                        (long long)id->changed);
}

/* The remembered tensors of a file. */
static Known *recall(Weights *w, const OsFileId *id, uint32_t *count)
{
    Entry entry;
    *count = 0;
    if (!id || !w->source->memo ||
        !storage_get(w->source->memo, w->cx, &executor_inline, entry_key(memo_parts(w->cx, id)),
                     &entry) ||
        entry.kind != ENTRY_hashes || entry.size % sizeof(Known) || entry.size > 1 << 28)
        return NULL;
    *count = (uint32_t)(entry.size / sizeof(Known));
    return arena_copy(w->cx->arena, entry.data, entry.size);
}

/* Whether the times of a file tell the next change of it from what it is now. Some file systems
 * keep whole seconds, others go by the system's tick. */
static bool is_settled(const OsFileId *id)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    int64_t last = id->modified > id->changed ? id->modified : id->changed;
    int64_t grain = last % 1000000000 ? 100000000 : INT64_C(2000000000);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - last > grain;
}

/* Takes what is known of a file's tensors and lists the others. */
static void look_up(Weights *w, uint32_t file, const Known *known, uint32_t known_count)
{
    const Plan *plan = w->source->plan;
    for (uint32_t i = 0; i < plan->weight_count; i++) {
        Known *wanted = &w->wanted[i];
        if (plan->weights[i].file != file || wanted->bytes < 0)
            continue;
        const Known *found =
            known_count ? bsearch(wanted, known, known_count, sizeof *known, by_place) : NULL;
        if (found) {
            wanted->hash = found->hash;
            continue;
        }
        const char *base = w->source->files[file].data;
        w->ranges[w->count] =
            (HashRange){.data = base + wanted->offset, .size = (size_t)wanted->bytes};
        w->weights[w->count++] = i;
    }
}

/* Keeps the tensors of a file, those known before included. Failing is no harm. */
static void remember(Weights *w, uint32_t file, const Known *known, uint32_t known_count)
{
    const OsFileId *id = w->source->files[file].id;
    const Plan *plan = w->source->plan;
    uint32_t count = known_count;
    Known *all = NEW_ARRAY(w->cx->arena, Known, (size_t)known_count + w->count);
    if (known_count)
        memcpy(all, known, known_count * sizeof *all);
    for (uint32_t i = 0; i < w->count; i++)
        if (plan->weights[w->weights[i]].file == file)
            all[count++] = w->wanted[w->weights[i]];
    if (count == known_count || !id || !w->source->memo || !is_settled(id))
        return;
    qsort(all, count, sizeof *all, by_place);
    Entry entry = {ENTRY_hashes, memo_parts(w->cx, id), all, count * sizeof *all};
    (void)w->source->memo->class->put(w->source->memo, w->cx, &executor_inline, &entry);
}

bool weights_identity(Cx *cx, const WeightSource *source, Hash128 *identity)
{
    uint32_t weights = source->plan->weight_count, files = source->file_count;
    Weights w = {.cx = cx, .source = source};
    w.wanted = NEW_ARRAY(cx->arena, Known, weights);
    w.ranges = NEW_ARRAY(cx->arena, HashRange, weights);
    w.weights = NEW_ARRAY(cx->arena, uint32_t, weights);
    Known **known = NEW_ARRAY(cx->arena, Known *, files);
    uint32_t *known_count = NEW_ARRAY(cx->arena, uint32_t, files);
    if (!find_wanted(&w))
        return false;
    for (uint32_t f = 0; f < files; f++) {
        known[f] = recall(&w, source->files[f].id, &known_count[f]);
        look_up(&w, f, known[f], known_count[f]);
    }
    hash_ranges(cx->arena, source->executor, w.ranges, w.count);
    for (uint32_t i = 0; i < w.count; i++)
        w.wanted[w.weights[i]].hash = w.ranges[i].hash;
    for (uint32_t f = 0; f < files && w.count; f++)
        remember(&w, f, known[f], known_count[f]);
    Hasher hasher;
    hash_init(&hasher);
    for (uint32_t i = 0; i < weights; i++) {
        if (w.wanted[i].bytes < 0)
            continue;
        hash_add_int(&hasher, i);
        hash_add(&hasher, &w.wanted[i].hash, sizeof w.wanted[i].hash);
    }
    *identity = hash_finish(&hasher);
    return !cx_failed(cx);
}
