/* If, Loop, Scan and recurrences of symbolic length, as models through the public interface. */
#include <stdio.h>

#include "body_wire.h"
#include "model_run.h"

TestSuite(import_loop, .init = wire_init, .fini = wire_finish);

/* ---- If */

/* Branches of different lengths: the result's length is known after the run. */
Test(import_loop, if_lengths)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), OPEN("x", "3", "N", 1, 2, 3));
    Wire yes = subgraph("yes", "", NODES(with_int(node("Concat", "x,x", "y1"), "axis", 0)), "y1");
    Wire no = subgraph("no", "", NODES(node("Neg", "x", "y2")), "y2");
    ModelRun r = model_open(whole(NODES(if_node("b", yes, no, "y"), node("Abs", "y", "z")), in,
                                  ITEMS(GIVES(f32, "y", "M"), GIVES(f32, "z", "M"))));
    model_expect(&r, in, ITEMS(F32("y", "6", 1, 2, 3, 1, 2, 3), F32("z", "6", 1, 2, 3, 1, 2, 3)));
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 0), F32("x", "2", 4, 5)),
                 ITEMS(F32("y", "2", -4, -5), F32("z", "2", 4, 5)));
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 1), F32("x", "1", 7)),
                 ITEMS(F32("y", "2", 7, 7), F32("z", "2", 7, 7)));
    model_close(&r);
}

/* A condition that is known takes its branch, whatever the other one is. */
Test(import_loop, if_known)
{
    const Item *in = ITEMS(F32("x", "2", 1, -2), ITEM(bool, "b", "", 0)), *out;
    ((Item *)(uintptr_t)in)[1].weight = true;
    out = ITEMS(F32("y", "2", -1, 2));
    Wire yes = subgraph("yes", "", NODES(node("MatMul", "x,x,x", "y1")), "y1");
    Wire no = subgraph("no", "", NODES(node("Neg", "x", "y2")), "y2");
    ModelRun r = model_open(whole(NODES(if_node("b", yes, no, "y")), in, out));
    model_expect(&r, in, out);
    model_close(&r);
}

/* A branch gives what it captured as it is; both use it, and so does what follows. */
Test(import_loop, if_captures)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), OPEN("x", "2", "N", 1, 2));
    Wire yes = subgraph("yes", "", NODES(same("t", "y1")), "y1");
    Wire no = subgraph("no", "", NODES(node("Mul", "t,x", "y2")), "y2");
    ModelRun r = model_open(
        whole(NODES(node("Add", "x,x", "t"), if_node("b", yes, no, "y"), node("Sub", "y,t", "z")),
              in, ITEMS(GIVES(f32, "y", "N"), GIVES(f32, "z", "N"))));
    model_expect(&r, in, ITEMS(F32("y", "2", 2, 4), F32("z", "2", 0, 0)));
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 0), F32("x", "2", 3, 4)),
                 ITEMS(F32("y", "2", 18, 32), F32("z", "2", 12, 24)));
    model_close(&r);
}

Test(import_loop, if_refused)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), F32("x", "2", 1, 2)),
               *out = ITEMS(GIVES(f32, "y", "M"));
    Wire line = subgraph("line", "", NODES(node("Neg", "x", "y1")), "y1");
    Wire number = subgraph("number", "", NODES(node("ReduceSum", "x", "y2")), "y2");
    Wire flat =
        subgraph("flat", "", NODES(with_int(node("ReduceSum", "x", "y2"), "keepdims", 0)), "y2");
    Wire ints = subgraph("ints", "", NODES(with_int(node("Cast", "x", "y2"), "to", 7)), "y2");
    Wire n = with_name(if_node("b", line, flat, "y"), "choice");
    model_refused(whole(NODES(n), in, out), "'choice' (If): output 0 is of rank 1 in one branch");
    n = with_name(if_node("b", line, ints, "y"), "choice");
    model_refused(whole(NODES(n), in, out), "'choice' (If): output 0 is f32 in one branch and i64");
    n = with_name(if_node("x", line, number, "y"), "choice");
    model_refused(whole(NODES(n), in, out), "'choice' (If): the condition is not one bool");
    n = with_name(with_graph(node("If", "b", "y"), "then_branch", line), "choice");
    model_refused(whole(NODES(n), in, out), "'choice' (If): the graph 'else_branch' is missing");
}

/* A branch that contradicts itself stops the run that takes it, not the other one; two stop the
 * compile. */
Test(import_loop, if_cannot_be)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), F32("x", "2", 1, 2), W32("w", "3", 1, 2, 3)),
               *out = ITEMS(GIVES(f32, "y", "2"));
    Wire line = subgraph("line", "", NODES(node("Neg", "x", "y1")), "y1");
    Wire bad = subgraph("bad", "", NODES(with_name(node("MatMul", "x,w", "y2"), "deep")), "y2");
    ModelRun r = model_open(whole(NODES(if_node("b", line, bad, "y")), in, out));
    model_expect(&r, in, ITEMS(F32("y", "2", -1, -2)));
    model_fails(&r, ITEMS(ITEM(bool, "b", "", 0), F32("x", "2", 1, 2)), "'deep' (MatMul)");
    model_close(&r);
    r = model_open(whole(NODES(if_node("b", bad, line, "y")), in, out));
    model_fails(&r, in, "'deep' (MatMul)");
    model_close(&r);
    model_refused(whole(NODES(if_node("b", bad, bad, "y")), in, out), "'deep' (MatMul)");
}

/* Shapes that contradict a side matter to the run that takes it only. */
Test(import_loop, if_not_taken)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 0), OPEN("x", "3", "N", 1, 2, 3)),
               *out = ITEMS(GIVES(f32, "y", "M"));
    Wire yes = subgraph("yes", "", NODES(with_name(node("Reshape", "x,two", "y1"), "pair")), "y1");
    Wire no = subgraph("no", "", NODES(node("Neg", "x", "y2")), "y2");
    const Item *all = ITEMS(in[0], in[1], W64("two", "1", 2));
    ModelRun r = model_open(whole(NODES(if_node("b", yes, no, "y")), all, out));
    model_expect(&r, in, ITEMS(F32("y", "3", -1, -2, -3)));
    model_fails(&r, ITEMS(ITEM(bool, "b", "", 1), F32("x", "3", 1, 2, 3)), "'pair' (Reshape)");
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 1), F32("x", "2", 4, 5)),
                 ITEMS(F32("y", "2", 4, 5)));
    model_expect(&r, in, ITEMS(F32("y", "3", -1, -2, -3)));
    model_close(&r);
}

/* One constant is a result of both sides. */
Test(import_loop, if_shares_constant)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), ITEM(bool, "c", "", 1), F32("x", "2", 1, 2)),
               *out = ITEMS(F32("y", "2", -3, -4));
    Wire one = subgraph("one", "", NODES(same("w", "i1")), "i1");
    Wire two = subgraph("two", "", NODES(same("w", "i2")), "i2");
    Wire yes =
        subgraph("yes", "", NODES(if_node("c", one, two, "i"), node("Neg", "i", "y1")), "y1");
    Wire no = subgraph("no", "", NODES(same("x", "y2")), "y2");
    const Item *all = ITEMS(in[0], in[1], in[2], W32("w", "2", 3, 4));
    ModelRun r = model_open(whole(NODES(if_node("b", yes, no, "y")), all, out));
    model_expect(&r, in, out);
    model_expect(&r, ITEMS(in[0], ITEM(bool, "c", "", 0), in[2]), out);
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 0), in[1], in[2]), ITEMS(F32("y", "2", 1, 2)));
    model_close(&r);
}

/* ---- Loop */

/* A loop in a branch, with a trip count that the run gives. */
Test(import_loop, loop_in_if)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), I64("n", "", 3), OPEN("x", "2", "N", 1, 2));
    Wire body = subgraph("body", "i,c,v", NODES(same("c", "d"), node("Add", "v,t", "w")), "d,w");
    Wire yes = subgraph("yes", "", NODES(loop_node("n,,x", body, "y1")), "y1");
    Wire no = subgraph("no", "", NODES(node("Neg", "t", "y2")), "y2");
    ModelRun r = model_open(whole(NODES(node("Mul", "x,x", "t"), if_node("b", yes, no, "y")), in,
                                  ITEMS(GIVES(f32, "y", "N"))));
    model_expect(&r, in, ITEMS(F32("y", "2", 4, 14)));
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 1), I64("n", "", 0), F32("x", "1", 5)),
                 ITEMS(F32("y", "1", 5)));
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 0), I64("n", "", 9), F32("x", "1", 5)),
                 ITEMS(F32("y", "1", -25)));
    model_close(&r);
}

/* Doubles until a bound is passed; what each iteration began with is stacked. */
Test(import_loop, loop_until)
{
    const Item *in = ITEMS(I64("n", "", 100), F32("most", "", 10), F32("x", "1", 1));
    Wire body = subgraph("body", "i,c,v",
                         NODES(node("Add", "v,v", "w"),
                               with_int(node("ReduceMax", "w", "top"), "keepdims", 0),
                               node("Less", "top,most", "d"), same("v", "s")),
                         "d,w,s");
    Wire n[] = {node("Less", "x,most", "below"), loop_node("n,below,x", body, "y,all"), {0}};
    ModelRun r = model_open(whole(n, in, ITEMS(GIVES(f32, "y", "1"), GIVES(f32, "all", "K,1"))));
    model_expect(&r, in, ITEMS(F32("y", "1", 16), F32("all", "4,1", 1, 2, 4, 8)));
    model_expect(&r, ITEMS(I64("n", "", 2), F32("most", "", 10), F32("x", "1", 1)),
                 ITEMS(F32("y", "1", 4), F32("all", "2,1", 1, 2)));
    model_expect(&r, ITEMS(I64("n", "", 2), F32("most", "", 1), F32("x", "1", 3)),
                 ITEMS(F32("y", "1", 3), F32("all", "0,1", 0)));
    model_close(&r);
}

/* No iteration: initial values, and a scan output of none, of a size that the inputs tell. */
Test(import_loop, loop_none)
{
    const Item *in = ITEMS(I64("n", "", 0), OPEN("x", "2", "N", 1, 2));
    Wire body =
        subgraph("body", "i,c,v",
                 NODES(same("c", "d"), node("Neg", "v", "w"), node("Add", "w,x", "s")), "d,w,s");
    ModelRun r = model_open(whole(NODES(loop_node("n,,x", body, "y,all")), in,
                                  ITEMS(GIVES(f32, "y", "N"), GIVES(f32, "all", "K,N"))));
    model_expect(&r, in, ITEMS(F32("y", "2", 1, 2), F32("all", "0,2", 0)));
    model_expect(&r, ITEMS(I64("n", "", -5), F32("x", "1", 4)),
                 ITEMS(F32("y", "1", 4), F32("all", "0,1", 0)));
    model_expect(&r, ITEMS(I64("n", "", 3), F32("x", "3", 4, 5, 6)),
                 ITEMS(F32("y", "3", -4, -5, -6), F32("all", "3,3", 0, 0, 0, 8, 10, 12, 0, 0, 0)));
    model_close(&r);
}

/* The carried value gets longer by each iteration, and its slices are of one size. */
Test(import_loop, loop_grows)
{
    const Item *in = ITEMS(I64("n", "", 3), OPEN("x", "1,2", "N,2", 1, 2));
    Wire body = subgraph("body", "i,c,v",
                         NODES(same("c", "d"), node("Mul", "x,x", "square"),
                               with_int(node("Concat", "v,square", "w"), "axis", 0),
                               with_ints(node("ReduceSum", "w", "s"), "axes", "0")),
                         "d,w,s");
    Wire n[] = {loop_node("n,,x", body, "y,all"), {0}};
    const Item *out = ITEMS(GIVES(f32, "y", "M,2"), GIVES(f32, "all", "K,1,2"));
    ModelRun r = model_open(case_graph(12, n, 1, in, out));
    qn_program_info what;
    cr_assert_eq(qn_program_describe(r.program, &what), QN_OK);
    cr_expect_eq(what.grows, 1);
    model_expect(
        &r, in,
        ITEMS(F32("y", "4,2", 1, 2, 1, 4, 1, 4, 1, 4), F32("all", "3,1,2", 2, 6, 3, 10, 4, 14)));
    model_expect(&r, ITEMS(I64("n", "", 1), F32("x", "2,2", 1, 2, 3, 0)),
                 ITEMS(F32("y", "4,2", 1, 2, 3, 0, 1, 4, 9, 0), F32("all", "1,1,2", 14, 6)));
    model_expect(&r, ITEMS(I64("n", "", 0), F32("x", "1,2", 1, 2)),
                 ITEMS(F32("y", "1,2", 1, 2), F32("all", "0,1,2", 0)));
    model_close(&r);
}

/* Slices of different sizes cannot be stacked: a run says so, with the node. */
Test(import_loop, loop_ragged)
{
    const Item *in = ITEMS(I64("n", "", 3), OPEN("x", "1", "N", 1));
    Wire body = subgraph(
        "body", "i,c,v",
        NODES(same("c", "d"), with_int(node("Concat", "v,x", "w"), "axis", 0), same("w", "s")),
        "d,w,s");
    Wire n[] = {with_name(loop_node("n,,x", body, "y,all"), "growing"), {0}};
    ModelRun r = model_open(whole(n, in, ITEMS(GIVES(f32, "y", "M"), GIVES(f32, "all", "K,M"))));
    model_fails(&r, in, "growing");
    model_expect(&r, ITEMS(I64("n", "", 1), F32("x", "1", 5)),
                 ITEMS(F32("y", "2", 5, 5), F32("all", "1,2", 5, 5)));
    model_close(&r);
}

/* A loop in a loop: the inner one captures the outer one's counter and value, and what is around
 * both. */
Test(import_loop, loop_in_loop)
{
    const Item *in = ITEMS(I64("n", "", 3), OPEN("x", "2", "N", 1, 2));
    Wire inner = subgraph("inner", "j,e,u",
                          NODES(same("e", "f"), node("Add", "u,t", "p"),
                                with_int(node("Cast", "i", "k"), "to", 1), node("Add", "p,k", "q")),
                          "f,q");
    Wire outer = subgraph(
        "outer", "i,c,v",
        NODES(same("c", "d"), loop_node("i,,v", inner, "w"), node("Sub", "w,v", "s")), "d,w,s");
    ModelRun r = model_open(whole(
        NODES(node("Mul", "x,x", "t"), loop_node("n,,x", outer, "y,all"), node("Add", "t,y", "z")),
        in, ITEMS(GIVES(f32, "y", "N"), GIVES(f32, "all", "K,N"), GIVES(f32, "z", "N"))));
    /* 0, 1, 2 times x * x + the outer counter */
    model_expect(&r, in,
                 ITEMS(F32("y", "2", 1 + 2 + 6, 2 + 5 + 12), F32("all", "3,2", 0, 0, 2, 5, 6, 12),
                       F32("z", "2", 10, 23)));
    model_expect(&r, ITEMS(I64("n", "", 1), F32("x", "1", 3)),
                 ITEMS(F32("y", "1", 3), F32("all", "1,1", 0), F32("z", "1", 12)));
    model_close(&r);
}

/* Two carried values change places: neither is overwritten before it is read. */
Test(import_loop, loop_swaps)
{
    const Item *in = ITEMS(I64("n", "", 3), OPEN("x", "1", "N", 1), OPEN("z", "1", "N", 2));
    Wire body =
        subgraph("body", "i,c,a,b", NODES(same("c", "d"), same("b", "p"), same("a", "q")), "d,p,q");
    ModelRun r = model_open(whole(NODES(loop_node("n,,x,z", body, "y,w")), in,
                                  ITEMS(GIVES(f32, "y", "N"), GIVES(f32, "w", "N"))));
    model_expect(&r, in, ITEMS(F32("y", "1", 2), F32("w", "1", 1)));
    model_expect(&r, ITEMS(I64("n", "", 4), F32("x", "1", 1), F32("z", "1", 2)),
                 ITEMS(F32("y", "1", 1), F32("w", "1", 2)));
    model_close(&r);
}

/* A placeholder of another rank: the first iteration is made apart, counting goes on behind it, and
 * a run without any is refused. */
Test(import_loop, loop_changes_rank)
{
    const Item *in = ITEMS(I64("n", "", 3), OPEN("x", "2", "N", 1, 2), W32("none", "", -1)),
               *out =
                   ITEMS(GIVES(f32, "y", "N"), GIVES(f32, "last", "N"), GIVES(f32, "all", "K,N"));
    Wire body = subgraph("body", "i,c,v,u",
                         NODES(same("c", "d"), with_int(node("Cast", "i", "k"), "to", 1),
                               node("Add", "v,k", "w"), node("Mul", "w,w", "q"), same("q", "s")),
                         "d,w,q,s");
    Wire n = with_name(loop_node("n,,x,none", body, "y,last,all"), "around");
    ModelRun r = model_open(whole(NODES(n), in, out));
    model_expect(&r, in,
                 ITEMS(F32("y", "2", 4, 5), F32("last", "2", 16, 25),
                       F32("all", "3,2", 1, 4, 4, 9, 16, 25)));
    model_expect(&r, ITEMS(I64("n", "", 1), F32("x", "1", 7)),
                 ITEMS(F32("y", "1", 7), F32("last", "1", 49), F32("all", "1,1", 49)));
    model_fails(&r, ITEMS(I64("n", "", 0), F32("x", "1", 7)),
                "'around' (Loop): no iteration was made, so carried value 1");
    model_close(&r);
    ((Item *)(uintptr_t)in)[0].weight = true;
    r = model_open(whole(NODES(n), in, out));
    model_expect(&r, in,
                 ITEMS(F32("y", "2", 4, 5), F32("last", "2", 16, 25),
                       F32("all", "3,2", 1, 4, 4, 9, 16, 25)));
    model_close(&r);
}

/* The same for a rank that is less after it, and a condition that ends the loop at once. */
Test(import_loop, loop_ends_with_rank)
{
    const Item *in = ITEMS(I64("n", "", 3), F32("x", "2", 3, 4), ITEM(bool, "go", "", 1)),
               *out = ITEMS(GIVES(f32, "y", ""));
    Wire body = subgraph(
        "body", "i,c,v",
        NODES(with_int(node("ReduceSum", "v", "w"), "keepdims", 0), node("Less", "i,i", "d")),
        "d,w");
    ModelRun r = model_open(whole(NODES(loop_node("n,go,x", body, "y")), in, out));
    model_expect(&r, in, ITEMS(F32("y", "", 7)));
    model_fails(&r, ITEMS(in[0], in[1], ITEM(bool, "go", "", 0)), "no iteration was made");
    model_close(&r);
}

Test(import_loop, loop_refused)
{
    const Item *in = ITEMS(I64("n", "", 3), F32("x", "2", 1, 2), W32("w3", "3", 1, 2, 3),
                           W64("zero", "1", 0)),
               *out = ITEMS(GIVES(f32, "y", "M"));
    const struct {
        Wire step;
        const char *text;
    } cases[] = {
        {node("Unsqueeze", "v,zero", "w"), "changes its rank with every iteration"},
        {with_int(node("Cast", "v", "w"), "to", 7), "is f32 before and i64 after"},
        {with_name(node("Add", "v,w3", "w"), "inner"), "'inner' (Add)"},
        {with_name(node("Nothing", "v", "w"), "inner"), "'inner' (Nothing)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Wire body = subgraph("body", "i,c,v", NODES(same("c", "d"), cases[i].step), "d,w");
        model_refused(whole(NODES(with_name(loop_node("n,,x", body, "y"), "around")), in, out),
                      cases[i].text);
    }
    Wire few = subgraph("body", "i,c", NODES(same("c", "d"), same("x", "w")), "d,w");
    model_refused(whole(NODES(with_name(loop_node("n,,x", few, "y"), "around")), in, out),
                  "'around' (Loop): the body does not fit");
    Wire odd = subgraph("body", "i,c,v", NODES(same("v", "d"), same("v", "w")), "d,w");
    model_refused(whole(NODES(with_name(loop_node("n,,x", odd, "y"), "around")), in, out),
                  "'around' (Loop): the condition is not one bool");
}

/* ---- Scan */

/* Two scanned tensors, one along its last axis from the end; outputs likewise. */
Test(import_loop, scan_directions)
{
    const Item *in = ITEMS(OPEN("s", "2", "B", 100, 200), OPEN("a", "3,2", "T,B", 1, 2, 3, 4, 5, 6),
                           OPEN("b", "2,3", "B,T", 10, 20, 30, 40, 50, 60));
    Wire body =
        subgraph("body", "v,p,q",
                 NODES(node("Add", "v,p", "w"), node("Add", "p,q", "m"), same("w", "k")), "w,m,k");
    Wire n = with_graph(node("Scan", "s,a,b", "y,m,k"), "body", body);
    n = with_ints(with_int(n, "num_scan_inputs", 2), "scan_input_axes", "0,-1");
    n = with_ints(with_ints(n, "scan_input_directions", "0,1"), "scan_output_axes", "1,0");
    n = with_ints(n, "scan_output_directions", "1,0");
    ModelRun r = model_open(whole(
        NODES(n), in, ITEMS(GIVES(f32, "y", "B"), GIVES(f32, "m", "B,T"), GIVES(f32, "k", "T,B"))));
    /* step t: p = a[t], q = b[:, T - 1 - t]; m[:, T - 1 - t] = p + q */
    model_expect(&r, in,
                 ITEMS(F32("y", "2", 109, 212),
                       F32("m", "2,3", 5 + 10, 3 + 20, 1 + 30, 6 + 40, 4 + 50, 2 + 60),
                       F32("k", "3,2", 101, 202, 104, 206, 109, 212)));
    model_expect(&r, ITEMS(F32("s", "1", 1), F32("a", "1,1", 2), F32("b", "1,1", 3)),
                 ITEMS(F32("y", "1", 3), F32("m", "1,1", 5), F32("k", "1,1", 3)));
    model_close(&r);
}

Test(import_loop, scan_refused)
{
    const Item *in = ITEMS(F32("s", "2", 1, 2), F32("a", "3,2", 1, 2, 3, 4, 5, 6)),
               *out = ITEMS(GIVES(f32, "y", "M"));
    Wire body = subgraph("body", "v,p", NODES(node("Add", "v,p", "w")), "w");
    Wire n = with_name(with_graph(node("Scan", "s,a", "y"), "body", body), "walk");
    model_refused(whole(NODES(with_int(n, "num_scan_inputs", 3)), in, out),
                  "'walk' (Scan): the body does not fit");
    Wire far = with_ints(with_int(n, "num_scan_inputs", 1), "scan_input_axes", "5");
    model_refused(whole(NODES(far), in, out), "'walk' (Scan)");
    Wire two = subgraph("body", "p,q", NODES(node("Add", "p,q", "w")), "w");
    n = with_name(with_graph(node("Scan", "s,a", "y"), "body", two), "walk");
    model_refused(whole(NODES(with_int(n, "num_scan_inputs", 2)), in, out),
                  "'walk' (Scan): the scanned tensors are of different lengths");
}

/* ---- LinearAttention as a loop: gated delta rule, dk = dv = 1, two heads, against plain C */

enum { STEPS = 40 };

static void linear_reference(const double *q, const double *k, const double *v, const double *g,
                             const double *b, int steps, double *y, double *state)
{
    for (int h = 0; h < 2; h++) {
        double s = state[h];
        for (int i = h; i < 2 * steps; i += 2) {
            s *= exp(g[i]);
            s += k[i] * b[i] * (v[i] - k[i] * s);
            y[i] = q[i] * s;
        }
        state[h] = s;
    }
}

Test(import_loop, linear_attention)
{
    static double in[5][2 * STEPS], y[2 * STEPS], state[2];
    static const char *const names[] = {"q", "k", "v", "d", "b"};
    Wire n = with_text(node("LinearAttention", "q,k,v,p,d,b", "y,s"), "update_rule", "gated_delta");
    n = with_float(with_int(with_int(n, "q_num_heads", 2), "kv_num_heads", 2), "scale", 1);
    for (int i = 0; i < 2 * STEPS; i++)
        for (int k = 0; k < 5; k++)
            in[k][i] = (i * (7 + k) % 11) / 11.0 - (k == 4 ? 0 : 0.5);
    for (int open = 0; open < 2; open++)
        for (int steps = open ? 1 : STEPS; steps <= STEPS; steps += 13) {
            char dims[16], types[16];
            Item feeds[7] = {{"p", DT_f32, "1,2,1,1", (const double[]){0.5, -1}, false, NULL}};
            snprintf(dims, sizeof dims, "1,%d,2", steps);
            snprintf(types, sizeof types, open ? "1,T,2" : "1,%d,2", steps);
            for (int k = 0; k < 5; k++)
                feeds[1 + k] = (Item){names[k], DT_f32, dims, in[k], false, types};
            state[0] = 0.5, state[1] = -1;
            linear_reference(in[0], in[1], in[2], in[3], in[4], steps, y, state);
            Item wanted[3] = {{"y", DT_f32, dims, y, false, NULL},
                              {"s", DT_f32, "1,2,1,1", state, false, NULL}};
            ModelRun r = model_open(case_graph(27, &n, 1, feeds, wanted));
            model_expect(&r, feeds, wanted);
            model_close(&r);
        }
}
