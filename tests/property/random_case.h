/* What the property tests of schedules share: a nest, several sets of data for it with the results
 * of the nest interpreter, and memory that shows every access outside a buffer. */
#ifndef QUERN_TESTS_RANDOM_CASE_H
#define QUERN_TESTS_RANDOM_CASE_H

#include "passes/schedule.h"
#include "tests/property/random_nest.h"

enum { MAX_SETS = 3 };

/* Where a nest comes from: a text, or a seed. It is built anew in every job. */
typedef struct Source {
    const char *name; /* for messages */
    const char *text; /* NULL: random_nest(seed, kind) */
    uint64_t seed;
    RandomKind kind;
} Source;

Nest *source_nest(Cx *cx, const Source *source);

/* One set of dims and data; memory from malloc. */
typedef struct DataSet {
    int64_t *dims;
    int64_t *bytes;
    void **before, **after; /* by buffer: contents before the run, and after nest_run */
    bool bad_index;         /* the interpreter met an index outside its range */
} DataSet;

typedef struct Case {
    Source source;
    uint32_t buffer_count;
    bool exact; /* results do not depend on the order of additions */
    int set_count;
    DataSet sets[MAX_SETS];
    char *text; /* the nest's print */
    char *
        why; /* NULL, or why there is no case: the nest does not verify, or the interpreter fails */
} Case;

/* Random, lowest and highest values of the dims, when there are any. `bad`: some indices are
 * illegal. */
Case *case_new(Source source, bool bad);
void case_free(Case *c);

/* Buffers that end (or start) at a page nobody may touch, with guard bytes on the other side. */
typedef struct Fence Fence;
Fence *fence_new(const Case *c, const DataSet *set, const Nest *nest, bool at_end);
void **fence_buffers(const Fence *fence);
/* Puts the contents before the run back. */
void fence_reset(Fence *fence);
void fence_free(void *fence); /* also a clean-up of a job */
/* Compares with the interpreter: NULL, or what differs (in cx's arena). Bit for bit when the case
 * is exact, but 0 is -0; else every float within 1e-5 of its own magnitude plus 1e-6 of the
 * largest. */
const char *fence_check(Cx *cx, const Fence *fence, const Nest *nest);
bool fence_same(const Fence *a, const Fence *b); /* the same bytes everywhere */

/* Fills buffers[nest->buffer_count ..] with scratch memory and replaces constants by their packed
 * form, for the interpreter of tile programs. */
bool bind_lowered(Cx *cx, const Nest *nest, const Lowered *lowered, const int64_t *dims,
                  void **buffers);

/* QUERN_LONG: how many times as many cases as usual. */
uint64_t effort(void);

typedef enum Pick { PICK_choice, PICK_candidate, PICK_random } Pick;

/* Which schedule a nest is tried with. */
typedef struct Picked {
    Pick pick;
    uint64_t number; /* of the candidate, or seed */
    bool ended;      /* out: no such candidate */
    char text[128];  /* out: the schedule */
} Picked;

/* False when there is no such candidate. */
bool pick_schedule(Cx *cx, const Nest *nest, const Caps *caps, Picked *by, Schedule *schedule);

#endif
