/* Positions in data that are out of range end a run and name the node, whatever reads or writes
 * there; and operators between narrow types within one kernel. */
#include <stdio.h>
#include <string.h>

#include "body_wire.h"
#include "model_run.h"

TestSuite(positions, .init = wire_init, .fini = wire_finish);

static void check_positions(Wire n, const char *dims, int updates)
{
    static double ones[32], places[32], want[10];
    memset(want, 0, sizeof want);
    for (int i = 0; i < updates; i++)
        ones[i] = 1;
    char size[16];
    snprintf(size, sizeof size, "%d", updates);
    const Item *in = ITEMS(F32("x", "10", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
                           ((Item){"i", DT_i64, dims, places, false, NULL}),
                           ((Item){"u", DT_f32, size, ones, false, NULL})),
               *out = ITEMS(GIVES(f32, "y", "M"));
    ModelRun r = model_open(whole(NODES(with_name(n, "put")), in, out));
    for (int i = 0; i < updates; i++) {
        places[i] = i % 2 ? i % 10 : i % 10 - 10;
        want[i % 10] = 1;
    }
    model_expect(&r, in, ITEMS(((Item){"y", DT_f32, "10", want, false, NULL})));
    static const double wrong[] = {10, -11, 4294967297};
    for (int i = 0; i < 3; i++) {
        places[updates - 1] = wrong[i];
        model_fails(&r, in, "'put' (Scatter");
    }
    model_close(&r);
}

/* Few updates are looked through, many are stored one by one. */
Test(positions, of_updates)
{
    check_positions(node("ScatterND", "x,i,u", "y"), "2,1", 2);
    check_positions(node("ScatterND", "x,i,u", "y"), "20,1", 20);
    check_positions(node("ScatterElements", "x,i,u", "y"), "2", 2);
    check_positions(node("ScatterElements", "x,i,u", "y"), "10", 10);
    Wire add = with_text(node("ScatterElements", "x,i,u", "y"), "reduction", "add");
    check_positions(add, "10", 10);
}

/* The kernel computes in 32 bits what the argument is of. */
Test(positions, of_extremes_of_narrow_results)
{
    const Item *in = ITEMS(ITEM(i8, "a", "3", 100, 3, 1), ITEM(i8, "b", "3", 100, 4, 2)),
               *out = ITEMS(ITEM(i64, "y", "", 1));
    Wire largest = with_int(node("ArgMax", "t", "y"), "keepdims", 0);
    ModelRun r = model_open(whole(NODES(node("Add", "a,b", "t"), largest), in, out));
    model_expect(&r, in, out); /* 100 + 100 wraps */
    model_close(&r);
}
