/* Tuning records: schedules that were measured to be better than the cost model's, as text that
 * people may read, keep under version control and join with `cat`. One line each:
 *
 *   <hash of the nest> <target> before 12345 ns after 10210 ns threads 2: contraction mr=8 nv=3 ..
 *
 * Empty lines and lines that start with '#' mean nothing. The hash is that of the nest's text with
 * the names taken out. Of two records for one nest and target the later one counts, unless it is
 * worse. Records are advice from an untrusted source: a line that is none is passed over, and a
 * schedule that the nest does not take is not used. */
#ifndef QUERN_JIT_RECORDS_H
#define QUERN_JIT_RECORDS_H

#include "base/hash.h"
#include "base/map.h"
#include "passes/schedule.h"

enum { RECORDS_BYTES = 64 << 20 }; /* of a file, at most */

typedef struct Record {
    Hash128 nest;
    const char *target;
    Schedule schedule;
    int64_t before_ns, after_ns; /* medians */
    int32_t threads;             /* that these are for; the record holds for any number */
} Record;

/* In an arena. All zero but `map` is empty: records_init. */
typedef struct Records {
    Record *list;
    uint32_t count, capacity;
    Map map;               /* target and hash -> 1 + number */
    uint32_t bad;          /* lines that are no records */
    const char *first_bad; /* "FILE:LINE: what is wrong" */
} Records;

void records_init(Records *records, Arena *arena);
/* Adds what a text holds; `file` is for messages. */
void records_read(Cx *cx, Records *records, const char *file, const char *text);
void records_add(Records *records, const Record *record);
const Record *records_find(const Records *records, Hash128 nest, const char *target);
/* A line, with its end. */
void record_print(Text *text, const Record *record);

Hash128 record_nest(Cx *cx, const Nest *nest);
/* Whether the nest takes the schedule: exactly what schedule_apply says, tried on a copy. */
bool record_fits(Cx *cx, const Nest *nest, const Schedule *schedule, const Caps *caps);
/* Hash of the records of a target, whatever their order; false when there are none. */
bool records_digest(Cx *cx, const Records *records, const char *target, Hash128 *digest);

#endif
