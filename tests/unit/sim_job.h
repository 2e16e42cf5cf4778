/* What the tests of the simulator share: running a placed program given as text, and leaving out
 * its synchronisation one by one. */
#ifndef QUERN_TESTS_SIM_JOB_H
#define QUERN_TESTS_SIM_JOB_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/tile_sim.h"

typedef struct Job {
    const char *text;
    void *buffers[4];
    int64_t dims[2];
    SimReport report;
    int64_t bad_index;
    char message[1024];
    int drop; /* leave out the n-th barrier, commit or wait, counted from 1; 0 when there was one,
                 else what is left */
    bool ok, unverified;
} Job;

/* Unlinks the n-th synchronisation of the text; n counts down to 0. */
static inline void drop_sync(TileBlock *block, int *n)
{
    for (TileOp **at = &block->first; *at && *n > 0; at = &(*at)->next) {
        TileOp *op = *at;
        if (op->body)
            drop_sync(op->body, n);
        bool sync = op->kind == TO_barrier || op->kind == TO_commit || op->kind == TO_wait;
        if (sync && *n > 0 && --*n == 0) {
            *at = op->next;
            return;
        }
    }
}

static inline void job_body(Cx *cx, void *user)
{
    Job *job = user;
    TileProg *prog = tile_parse(cx, "test", job->text);
    if (cx_failed(cx) || (!job->unverified && !tile_verify(prog)))
        return;
    drop_sync(&prog->grids[0]->body, &job->drop);
    NestRun run = {.buffers = job->buffers, .dims = job->dims};
    job->ok = tile_sim(cx, prog, &run, &job->report);
    if (job->report.worst_op)
        job->report.worst_op = strdup(job->report.worst_op);
    job->bad_index = run.bad_index;
}

static inline void job_run(Job *job)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, job_body, job);
    snprintf(job->message, sizeof job->message, "%s", cx.message ? cx.message : "");
    cr_expect_eq(job->ok, !cx_failed(&cx));
    cx_finish(&cx);
}

static inline void expect_right(Job *job)
{
    job_run(job);
    cr_assert(job->ok, "%s", job->message);
}

static inline void expect_fault(Job *job, const char *words)
{
    job_run(job);
    cr_assert(!job->ok, "the fault was not caught");
    cr_assert(strstr(job->message, words), "wanted '%s' in: %s", words, job->message);
}

/* Every synchronisation of the program is needed: without any one of them the simulator finds a
 * fault. Gives their number. */
static inline int expect_all_needed(Job *job)
{
    for (int n = 1;; n++) {
        job->drop = n;
        job_run(job);
        if (job->drop > 0) {
            cr_assert(job->ok, "%s", job->message);
            return n - 1;
        }
        cr_assert(!job->ok, "synchronisation %d left out, and no fault found", n);
        cr_assert(strstr(job->message, "race:") || strstr(job->message, "not waited for"), "%s",
                  job->message);
    }
}

static inline float small_value(int i)
{
    return (float)((i * 7 + 3) % 17 - 8);
}

#endif
