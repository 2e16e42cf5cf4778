/* Requests to stop from another thread, while a session runs on a pool: each ends one run, and a
 * run without one is right. A plain program, to be built with the thread sanitizer too. */
#include <pthread.h>
#include <sched.h>

#include "hand_program.h"

enum { REQUESTS = 300, ROWS = 250, PICKS = 20 };

static CancelFlag cancel;
static atomic_int runs, over;

/* One request after another, at any time of a run, each after a run began since the last one. */
static void *ask(void *user)
{
    (void)user;
    for (int i = 0; i < REQUESTS; i++) {
        int before = atomic_load(&runs);
        atomic_store(&cancel, 1);
        while (atomic_load(&cancel) || atomic_load(&runs) < before + 2 + i % 3)
            sched_yield();
    }
    atomic_store(&over, 1);
    return NULL;
}

static void run_all(Session *s)
{
    static float x[4 * ROWS], y[4 * ROWS], z[4 * PICKS], c[4 * ROWS];
    static const int64_t index[PICKS] = {7};
    int cancelled = 0;
    Report report;
    for (int64_t i = 0; i < 4 * ROWS; i++)
        x[i] = (float)i;
    while (!atomic_load(&over)) {
        atomic_fetch_add(&runs, 1);
        Status status = session_run(s, (const void *[]){x, index, x}, (void *[]){y, z, c}, &report);
        EXPECT(status == ST_ok || status == ST_cancelled);
        cancelled += status == ST_cancelled;
        for (int64_t i = 0; status == ST_ok && i < 4 * ROWS; i++)
            EXPECT(y[i] == 3 * (x[i] + 2 * hand_weight[i % 4]) && c[i] == x[i]);
        EXPECT(status != ST_ok || memcmp(z, y + 28, 16) == 0);
    }
    EXPECT(cancelled == REQUESTS);
}

int main(void)
{
    HandProgram h;
    Session *s;
    Report report;
    pthread_t thread;
    hand_program_open(&h);
    EXPECT(session_create(h.program, &cancel, &s, &report) == ST_ok);
    SessionShape shapes[] = {
        {2, (int64_t[]){ROWS, 4}}, {1, (int64_t[]){PICKS}}, {2, (int64_t[]){ROWS, 4}}};
    EXPECT(session_set_shapes(s, shapes, &report) == ST_ok);
    EXPECT(pthread_create(&thread, NULL, ask, NULL) == 0);
    run_all(s);
    EXPECT(pthread_join(thread, NULL) == 0);
    session_destroy(s);
    hand_program_close(&h);
    puts("ok");
    return 0;
}
