/* Requests to stop from another thread, while a session runs on a pool: each ends one run, and a
 * run without one is right. A plain program, to be built with the thread sanitizer too. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/device_cpu.h"
#include "runtime/session.h"
#include "tests/unit/hand_plan.h"

enum { REQUESTS = 300, ROWS = 250, PICKS = 20 };

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static CancelFlag cancel;
static atomic_int runs, over;

static void build(Cx *cx, void *user)
{
    *(Plan **)user = hand_plan(cx);
}

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
    Cx cx;
    Plan *plan;
    Program *program;
    Session *s;
    Report report;
    pthread_t thread;
    cx_init(&cx, NULL, 0);
    EXPECT(cx_run(&cx, build, (void *)&plan) == ST_ok);
    Pool *pool = pool_create(NULL, 3);
    EXPECT(pool);
    Device *device = device_cpu_open(&allocator_system, pool_executor(pool));
    DeviceCode *code = NULL;
    EXPECT(device && device_cpu_code(device, plan, hand_find, NULL, &code, &report) == ST_ok);
    ProgramParts parts = {
        .plan = plan, .weights = (const void *[]){NULL}, .device = device, .code = code};
    EXPECT(program_create(&parts, &program, &report) == ST_ok);
    EXPECT(session_create(program, &cancel, &s, &report) == ST_ok);
    SessionShape shapes[] = {
        {2, (int64_t[]){ROWS, 4}}, {1, (int64_t[]){PICKS}}, {2, (int64_t[]){ROWS, 4}}};
    EXPECT(session_set_shapes(s, shapes, &report) == ST_ok);
    EXPECT(pthread_create(&thread, NULL, ask, NULL) == 0);
    run_all(s);
    EXPECT(pthread_join(thread, NULL) == 0);
    session_destroy(s);
    program_destroy(program);
    device->type->unload(code);
    device->type->close(device);
    pool_destroy(pool);
    cx_finish(&cx);
    puts("ok");
    return 0;
}
