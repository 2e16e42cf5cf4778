/* Saving makes a plan whose weights are numbered anew: those that steps read, then, when init steps
 * are done now, what they left for the run, as weights too. What nothing reads any more becomes
 * empty, so that tensors keep their numbers. */
#include "runtime/saved.h"

#include <string.h>

#include "base/hash_ranges.h"
#include "base/text.h"
#include "runtime/image.h"

static const char weight_line[] = "weight ";

static const char *weight_parts(Cx *cx, const char *hex)
{
    return arena_printf(cx->arena, "kind weight\ncontents %.*s\n", HASH_HEX_SIZE - 1, hex);
}

/* --- saving --- */

typedef struct Saving {
    Cx *cx;
    const SavedSource *source;
    Plan plan;        /* as it is saved */
    HashRange *files; /* its weights' data */
    uint32_t file_count;
    bool *used; /* by tensor */
} Saving;

/* Operands of host steps are aligned to their elements, which only init steps see to. */
static bool reads_init(const Plan *plan, const PlanStep *step)
{
    for (uint32_t b = 0; step->kind == PS_host && b < plan->hosts[step->kernel].input_count; b++)
        if (plan->tensors[step->buffers[b]].place == PP_init)
            return true;
    return false;
}

static bool can_fold(const SavedSource *source)
{
    const Plan *plan = source->plan;
    if (!source->program || !program_parts(source->program)->device->limits.host_memory)
        return false;
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (reads_init(plan, &plan->steps[i]))
            return false;
    return true;
}

/* The bytes as a weight in a file of their own. */
static PlanWeight in_file(Saving *s, const void *data, int64_t bytes)
{
    s->files[s->file_count] = (HashRange){.data = data, .size = (size_t)bytes};
    return (PlanWeight){s->file_count++, 0, bytes, NULL};
}

static PlanWeight saved_weight(Saving *s, uint32_t tensor)
{
    const Plan *from = s->source->plan;
    const PlanTensor *t = &from->tensors[tensor];
    if (t->place == PP_init)
        return in_file(s, program_tensors(s->source->program)[tensor], plan_fixed_bytes(t));
    const PlanWeight *w = &from->weights[t->index];
    if (w->file == PLAN_INLINE)
        return *w;
    return in_file(s, (const char *)s->source->files[w->file].data + w->offset, w->bytes);
}

static void make_plan(Saving *s, bool fold)
{
    Cx *cx = s->cx;
    const Plan *from = s->source->plan;
    Plan *plan = &s->plan;
    ExprCode none = expr_compile(cx, expr_const(cx, 0), NULL, NULL);
    *plan = *from;
    plan->tensors = arena_copy(cx->arena, from->tensors, from->tensor_count * sizeof(PlanTensor));
    plan->weights = NEW_ARRAY(cx->arena, PlanWeight, from->tensor_count);
    plan->weight_count = 0;
    if (fold)
        plan->init_count = 0;
    for (uint32_t t = 0; t < from->tensor_count; t++) {
        PlanTensor *tensor = &plan->tensors[t];
        if (tensor->place != PP_weight && !(fold && tensor->place == PP_init))
            continue;
        PlanWeight weight = {PLAN_INLINE, 0, 0, ""};
        if (s->used[t])
            weight = saved_weight(s, t);
        else
            *tensor = (PlanTensor){.dtype = tensor->dtype, .rank = 1, .shape = {none}};
        tensor->place = PP_weight;
        tensor->index = plan->weight_count;
        plan->weights[plan->weight_count++] = weight;
    }
}

static void find_used(Saving *s, bool fold)
{
    const Plan *plan = s->source->plan;
    plan_run_uses(plan, s->used);
    for (uint32_t i = 0; i < plan->init_count && !fold; i++)
        for (uint32_t b = 0; b < plan->init[i].buffer_count; b++)
            s->used[plan->init[i].buffers[b]] = true;
}

static void add_entries(Saving *s, PlanBytes image, PackList *list)
{
    char hex[HASH_HEX_SIZE];
    Text parts;
    text_init(&parts, s->cx->arena);
    hash_to_hex(hash_bytes(image.data, image.size), hex);
    text_add(&parts, "kind saved\ntarget %s\nimage %s\n", s->plan.target, hex);
    for (uint32_t i = 0; i < s->file_count; i++) {
        hash_to_hex(s->files[i].hash, hex);
        text_add(&parts, "%s%s\n", weight_line, hex);
        Entry weight = {ENTRY_weight, weight_parts(s->cx, hex), s->files[i].data, s->files[i].size};
        pack_list_add(s->cx, list, &weight);
    }
    if (parts.length > ENTRY_PARTS)
        cx_fail(s->cx, ST_limit, "the program has %u weights, too many to be saved", s->file_count);
    Entry saved = {ENTRY_saved, parts.data, image.data, image.size};
    pack_list_add(s->cx, list, &saved);
}

bool saved_add(Cx *cx, const Executor *executor, const SavedSource *source, PackList *list)
{
    uint32_t count = source->plan->tensor_count;
    bool fold = can_fold(source);
    Saving s = {.cx = cx,
                .source = source,
                .files = NEW_ARRAY(cx->arena, HashRange, count),
                .used = NEW_ARRAY(cx->arena, bool, count)};
    find_used(&s, fold);
    make_plan(&s, fold);
    hash_ranges(cx->arena, executor, s.files, s.file_count);
    PlanBytes image = image_write(cx, &s.plan, source->code);
    add_entries(&s, image, list);
    return !cx_failed(cx);
}

/* --- loading --- */

typedef struct Search {
    uint32_t at, found, count;
} Search;

static bool look_at(void *user, const StorageItem *item)
{
    Search *s = user;
    if (item->whole && item->entry.kind == ENTRY_saved) {
        s->found = s->at;
        s->count++;
    }
    s->at++;
    return true;
}

static bool find_weight(Cx *cx, const Executor *executor, Pack *pack, const char *hex,
                        FileRange *file)
{
    Entry entry;
    EntryKey key = entry_key(weight_parts(cx, hex));
    if (storage_get(&pack->storage, cx, executor, key, &entry) && entry.kind == ENTRY_weight) {
        *file = (FileRange){.data = entry.data, .size = entry.size};
        return true;
    }
    if (!cx_failed(cx))
        cx_fail(cx, ST_bad_file, "%s: a weight of the saved program is not there",
                pack->storage.name);
    return false;
}

static const char *next_weight(const char *line)
{
    while (*line && strncmp(line, weight_line, strlen(weight_line)) != 0) {
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return *line ? line + strlen(weight_line) : NULL;
}

bool saved_find(Cx *cx, const Executor *executor, Pack *pack, Saved *saved)
{
    Search search = {0};
    Entry entry;
    pack->storage.class->list(&pack->storage, cx, look_at, &search);
    if (search.count != 1) {
        cx_fail(cx, ST_bad_file, "%s: the pack holds %u saved programs, not one",
                pack->storage.name, search.count);
        return false;
    }
    if (!pack_entry(cx, pack, executor, search.found, &entry))
        return false;
    FileRange *files = NULL;
    uint32_t capacity = 0;
    *saved = (Saved){.image = {entry.data, entry.size}};
    for (const char *at = next_weight(entry.parts); at; at = next_weight(at)) {
        FileRange file;
        if (!find_weight(cx, executor, pack, at, &file))
            return false;
        VEC_PUSH(cx->arena, files, saved->file_count, capacity, file);
    }
    saved->files = files;
    return true;
}
