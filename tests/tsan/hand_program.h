/* The hand-written plan as a program on a pool of three, for plain programs that the thread
 * sanitizer watches. */
#ifndef QUERN_TESTS_HAND_PROGRAM_H
#define QUERN_TESTS_HAND_PROGRAM_H

#include <stdio.h>
#include <stdlib.h>

#include "runtime/device_cpu.h"
#include "runtime/session.h"
#include "tests/unit/hand_plan.h"

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

typedef struct HandProgram {
    Cx cx; /* of the plan */
    Pool *pool;
    Device *device;
    DeviceCode *code;
    Program *program;
} HandProgram;

static void build_hand_plan(Cx *cx, void *user)
{
    *(Plan **)user = hand_plan(cx);
}

static inline void hand_program_open(HandProgram *h)
{
    Plan *plan;
    Report report;
    *h = (HandProgram){.program = NULL};
    cx_init(&h->cx, NULL, 0);
    EXPECT(cx_run(&h->cx, build_hand_plan, (void *)&plan) == ST_ok);
    h->pool = pool_create(NULL, 3);
    EXPECT(h->pool);
    h->device = device_cpu_open(&allocator_system, pool_executor(h->pool));
    EXPECT(h->device &&
           device_cpu_code(h->device, plan, hand_find, NULL, &h->code, &report) == ST_ok);
    ProgramParts parts = {
        .plan = plan, .weights = (const void *[]){NULL}, .device = h->device, .code = h->code};
    EXPECT(program_create(&parts, &h->program, &report) == ST_ok);
}

static inline void hand_program_close(HandProgram *h)
{
    program_destroy(h->program);
    h->device->type->unload(h->code);
    h->device->type->close(h->device);
    pool_destroy(h->pool);
    cx_finish(&h->cx);
}

#endif
