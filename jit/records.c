/* Records: text, look-up, and the name-free text of a nest.
 *
 * Names of dims, axes, buffers and bound integers come from models or passes; in the text that is
 * hashed each is replaced by a number in the order of appearance, so that equal work in different
 * models has one record. */
#include "jit/records.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/target.h"

enum { LINE_BYTES = 1000, NAME_BYTES = 64 };

/* --- the table --- */

void records_init(Records *records, Arena *arena)
{
    *records = (Records){0};
    map_init(&records->map, arena);
}

static size_t make_key(char key[NAME_BYTES + 32], Hash128 nest, const char *target)
{
    size_t length = strnlen(target, NAME_BYTES);
    memcpy(key, &nest, sizeof nest);
    memcpy(key + sizeof nest, target, length);
    return sizeof nest + length;
}

void records_add(Records *records, const Record *record)
{
    char key[NAME_BYTES + 32];
    size_t length = make_key(key, record->nest, record->target);
    uintptr_t known = (uintptr_t)map_find(&records->map, key, length);
    if (known && records->list[known - 1].after_ns < record->after_ns)
        return;
    if (known) {
        records->list[known - 1] = *record;
        return;
    }
    VEC_PUSH(records->map.arena, records->list, records->count, records->capacity, *record);
    map_set(&records->map, key, length, (void *)(uintptr_t)records->count);
}

const Record *records_find(const Records *records, Hash128 nest, const char *target)
{
    char key[NAME_BYTES + 32];
    size_t length = make_key(key, nest, target);
    uintptr_t known = (uintptr_t)map_find(&records->map, key, length);
    return known ? &records->list[known - 1] : NULL;
}

static int by_nest(const void *a, const void *b)
{
    const Record *const *x = a, *const *y = b;
    return memcmp(&(*x)->nest, &(*y)->nest, sizeof(Hash128));
}

bool records_digest(Cx *cx, const Records *records, const char *target, Hash128 *digest)
{
    const Record **sorted = NEW_ARRAY(cx->arena, const Record *, records->count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < records->count; i++)
        if (strcmp(records->list[i].target, target) == 0)
            sorted[count++] = &records->list[i];
    qsort(sorted, count, sizeof *sorted, by_nest);
    Hasher hasher;
    hash_init(&hasher);
    for (uint32_t i = 0; i < count; i++) {
        Text text;
        text_init(&text, cx->arena);
        schedule_print(&text, &sorted[i]->schedule);
        hash_add(&hasher, &sorted[i]->nest, sizeof sorted[i]->nest);
        hash_add_text(&hasher, text.data);
    }
    *digest = hash_finish(&hasher);
    return count > 0;
}

/* --- text --- */

void record_print(Text *text, const Record *record)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(record->nest, hex);
    text_add(text, "%s %s before %" PRId64 " ns after %" PRId64 " ns threads %" PRId32 ": ", hex,
             record->target, record->before_ns, record->after_ns, record->threads);
    schedule_print(text, &record->schedule);
    text_add(text, "\n");
}

typedef struct Parse {
    Scan scan;
    Schedule schedule;
    const char *text;
} Parse;

static void parse_schedule(Cx *cx, void *user)
{
    Parse *p = user;
    scan_init(&p->scan, cx, "schedule", p->text);
    if (schedule_parse(&p->scan, &p->schedule) && p->scan.kind != TOK_end)
        scan_fail(&p->scan, "something behind it");
}

/* NULL, or what is wrong with a line. */
static const char *parse_line(Cx *cx, const char *line, Record *record)
{
    char hex[HASH_HEX_SIZE], target[NAME_BYTES];
    int at = 0;
    if (sscanf(line,
               "%32[0-9a-f] %63s before %18" SCNd64 " ns after %18" SCNd64 " ns threads %5" SCNd32
               ": %n",
               hex, target, &record->before_ns, &record->after_ns, &record->threads, &at) != 5 ||
        !at || !hash_from_hex(hex, &record->nest))
        return "not a record";
    const Caps *caps = target_find(target);
    if (!caps)
        return "no such target";
    record->target = caps->name;
    if (record->before_ns < 0 || record->after_ns < 0)
        return "a negative time";
    Cx own;
    Parse parse = {.text = line + at};
    cx_init(&own, cx->arena->from, 0);
    cx_run(&own, parse_schedule, &parse);
    const char *why = cx_failed(&own) ? arena_strdup(cx->arena, own.message) : NULL;
    cx_finish(&own);
    record->schedule = parse.schedule;
    return why;
}

void records_read(Cx *cx, Records *records, const char *file, const char *text)
{
    for (int number = 1; *text; number++) {
        char line[LINE_BYTES];
        size_t length = strcspn(text, "\n"), start = strspn(text, " \t\r");
        const char *at = text;
        text += length + (text[length] == '\n');
        if (start >= length || at[start] == '#')
            continue;
        Record record = {0};
        const char *why = "too long";
        if (length < sizeof line) {
            memcpy(line, at, length);
            line[length] = 0;
            why = parse_line(cx, line, &record);
        }
        if (!why) {
            records_add(records, &record);
            continue;
        }
        if (!records->bad++)
            records->first_bad = arena_printf(records->map.arena, "%s:%d: %s", file, number, why);
    }
}

/* --- nests --- */

static bool starts_name(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

static bool is_in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* A word of the text, or NULL at the end. What is between words is copied to `out`. */
static const char *next_word(const char **at, size_t *length, Text *out)
{
    const char *from = *at;
    while (**at && !starts_name(**at)) {
        /* numbers and %values are no words, and may hold letters */
        if (isdigit((unsigned char)**at) || **at == '%')
            for (++*at; is_in_name(**at);)
                ++*at;
        else
            ++*at;
    }
    if (out)
        text_put(out, from, (size_t)(*at - from));
    const char *word = *at;
    while (is_in_name(**at))
        ++*at;
    *length = (size_t)(*at - word);
    return *length ? word : NULL;
}

/* Notes the names that the text declares: the word behind `dim`, `axis`, `bind` or a buffer's role.
 */
static void find_names(const char *text, Map *names)
{
    static const char *const declaring[] = {"dim", "axis", "bind", "in", "const", "out", "scratch"};
    size_t length;
    bool declares = false;
    for (const char *word; (word = next_word(&text, &length, NULL));) {
        if (declares && !map_find(names, word, length))
            map_set(names, word, length, (void *)(uintptr_t)(names->count + 1));
        bool keyword = false;
        for (size_t i = 0; i < sizeof declaring / sizeof *declaring; i++)
            keyword |= strlen(declaring[i]) == length && memcmp(declaring[i], word, length) == 0;
        declares = !declares && keyword;
    }
}

Hash128 record_nest(Cx *cx, const Nest *nest)
{
    Text text, plain;
    Map names;
    size_t length;
    text_init(&text, cx->arena);
    text_init(&plain, cx->arena);
    map_init(&names, cx->arena);
    nest_print(&text, nest);
    const char *at = text.data + strcspn(text.data, "{"); /* the nest's own name goes too */
    find_names(at, &names);
    for (const char *word; (word = next_word(&at, &length, &plain));) {
        uintptr_t known = (uintptr_t)map_find(&names, word, length);
        if (known)
            text_add(&plain, "@%u", (unsigned)known);
        else
            text_put(&plain, word, length);
    }
    return hash_bytes(plain.data, plain.length);
}

typedef struct Trial {
    const char *text;
    const Schedule *schedule;
    const Caps *caps;
} Trial;

static void try_schedule(Cx *cx, void *user)
{
    const Trial *trial = user;
    Lowered lowered;
    Nest *nest = nest_parse(cx, "nest", trial->text);
    if (nest)
        schedule_apply(cx, nest, trial->schedule, trial->caps, &lowered);
}

bool record_fits(Cx *cx, const Nest *nest, const Schedule *schedule, const Caps *caps)
{
    Cx own;
    Text text;
    text_init(&text, cx->arena);
    nest_print(&text, nest);
    Trial trial = {text.data, schedule, caps};
    cx_init(&own, cx->arena->from, 0);
    cx_run(&own, try_schedule, &trial);
    bool fits = !cx_failed(&own);
    cx_finish(&own);
    return fits;
}
