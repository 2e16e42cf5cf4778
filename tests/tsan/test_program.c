/* Sessions of one program on several threads, on one pool: the first of them prepares the
 * constants, the others wait; runs share nothing. A plain program, to be built with the thread
 * sanitizer too. */
#include <pthread.h>

#include "hand_program.h"

enum { THREADS = 4, ROUNDS = 200, ROWS = 250, PICKS = 20 };

static void *use_program(void *user)
{
    Program *program = user;
    Session *s;
    Report report;
    static _Thread_local float x[4 * ROWS], y[4 * ROWS], z[4 * PICKS], c[4 * ROWS];
    static _Thread_local int64_t index[PICKS];
    EXPECT(session_create(program, NULL, &s, &report) == ST_ok);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t n = 1 + (round * 37) % ROWS;
        SessionShape shapes[] = {
            {2, (int64_t[]){n, 4}}, {1, (int64_t[]){PICKS}}, {2, (int64_t[]){n, 4}}};
        EXPECT(session_set_shapes(s, shapes, &report) == ST_ok);
        for (int64_t i = 0; i < 4 * n; i++)
            x[i] = (float)(round + i);
        for (int i = 0; i < PICKS; i++)
            index[i] = i % n;
        EXPECT(session_run(s, (const void *[]){x, index, x}, (void *[]){y, z, c}, &report) ==
               ST_ok);
        for (int64_t i = 0; i < 4 * n; i++)
            EXPECT(y[i] == 3 * (x[i] + 2 * hand_weight[i % 4]) && c[i] == x[i]);
        EXPECT(memcmp(z, y, 16) == 0);
    }
    session_destroy(s);
    return NULL;
}

int main(void)
{
    HandProgram h;
    pthread_t threads[THREADS];
    hand_program_open(&h);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, use_program, h.program) == 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    hand_program_close(&h);
    puts("ok");
    return 0;
}
