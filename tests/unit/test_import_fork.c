/* Ifs whose sides give different types, as models through the public interface: every side is taken
 * in runs of one program. */
#include <stdio.h>

#include "body_wire.h"
#include "model_run.h"

TestSuite(import_fork, .init = wire_init, .fini = wire_finish);

/* If c then x squeezed along `axis` (a weight) else x. */
static Wire squeeze_if(const char *c, const char *x, const char *axis, const char *y)
{
    char inputs[32], inner[2][16];
    snprintf(inputs, sizeof inputs, "%s,%s", x, axis);
    snprintf(inner[0], sizeof *inner, "%s_yes", y);
    snprintf(inner[1], sizeof *inner, "%s_no", y);
    return if_node(c, subgraph("yes", "", NODES(node("Squeeze", inputs, inner[0])), inner[0]),
                   subgraph("no", "", NODES(same(x, inner[1])), inner[1]), y);
}

/* Whether the last dim of x is 1, as exporters ask. */
#define LAST_IS_ONE                                                                                \
    node("Shape", "x", "shape"), node("Gather", "shape,index", "last"),                            \
        node("Equal", "last,number", "c")
static const Item squeezed[] = {OPEN("x", "2,3", "N,M", 1, 2, 3, 4, 5, 6),
                                W64("index", "", 1),
                                W64("number", "", 1),
                                W64("axis", "1", 1),
                                {NULL, DT_none, NULL, NULL, false, NULL}};

static Wire total(const char *x, const char *y)
{
    return with_int(node("ReduceSum", x, y), "keepdims", 0);
}

/* The sides come together at a sum, and what is not of the If stays outside. */
Test(import_fork, joins)
{
    Wire n[] = {LAST_IS_ONE,
                squeeze_if("c", "x", "axis", "s"),
                node("Abs", "x", "apart"),
                node("Neg", "s", "m"),
                total("m", "sum"),
                node("Mul", "sum,apart", "y"),
                {0}};
    ModelRun r = model_open(whole(n, squeezed, ITEMS(GIVES(f32, "y", "N,M"))));
    model_expect(&r, ITEMS(squeezed[0]), ITEMS(F32("y", "2,3", -21, -42, -63, -84, -105, -126)));
    model_expect(&r, ITEMS(F32("x", "2,1", 3, -4)), ITEMS(F32("y", "2,1", 3, 4)));
    model_expect(&r, ITEMS(F32("x", "1,2", 1, 1)), ITEMS(F32("y", "1,2", -2, -2)));
    model_close(&r);
}

/* They come together at the end only, far behind, and twice: the whole rest is there for each. */
Test(import_fork, joins_late)
{
    Wire n[] = {squeeze_if("b", "x", "axis", "s"),
                squeeze_if("c", "s", "first", "t"),
                node("Neg", "t", "t1"),
                node("Abs", "t1", "t2"),
                node("Add", "t2,x", "t3"),
                node("Neg", "t3", "t4"),
                node("Add", "t4,s", "t5"),
                node("Reshape", "t5,flat", "y"),
                {0}};
    const Item *in =
        ITEMS(ITEM(bool, "b", "", 0), ITEM(bool, "c", "", 0), OPEN("x", "1,2", "N,M", 1, -2),
              W64("axis", "1", 1), W64("first", "1", 0), W64("flat", "1", -1));
    const Item yes = ITEM(bool, "b", "", 1), also = ITEM(bool, "c", "", 1);
    ModelRun r = model_open(whole(n, in, ITEMS(GIVES(f32, "y", "K"))));
    model_expect(&r, in, ITEMS(F32("y", "2", -1, -2)));
    model_expect(&r, ITEMS(in[0], also, F32("x", "1,2", 1, -2)), ITEMS(F32("y", "2", -1, -2)));
    model_expect(&r, ITEMS(yes, in[1], F32("x", "2,1", 1, -2)),
                 ITEMS(F32("y", "4", -1, -5, 2, -2)));
    model_expect(&r, ITEMS(yes, also, F32("x", "1,1", -2)), ITEMS(F32("y", "1", -2)));
    model_fails(&r, ITEMS(yes, in[1], F32("x", "1,2", 1, -2)), "(Squeeze)");
    model_close(&r);
}

/* A side that what follows cannot take is refused by the run, with the reason. */
Test(import_fork, refuses_a_side)
{
    Wire flip = with_name(with_ints(node("Transpose", "s", "y"), "perm", "1,0"), "flip");
    ModelRun r = model_open(whole(NODES(LAST_IS_ONE, squeeze_if("c", "x", "axis", "s"), flip),
                                  squeezed, ITEMS(GIVES(f32, "y", "M,N"))));
    model_expect(&r, ITEMS(squeezed[0]), ITEMS(F32("y", "3,2", 1, 4, 2, 5, 3, 6)));
    model_fails(&r, ITEMS(F32("x", "2,1", 3, -4)), "'flip' (Transpose): perm of 2 axes for [N]");
    model_expect(&r, ITEMS(F32("x", "1,2", 3, -4)), ITEMS(F32("y", "2,1", 3, -4)));
    model_close(&r);
    Wire n[] = {LAST_IS_ONE,
                squeeze_if("c", "x", "axis", "s"),
                flip,
                with_name(with_ints(node("Transpose", "s", "z"), "perm", "0"), "odd"),
                {0}};
    model_refused(whole(n, squeezed, ITEMS(GIVES(f32, "y", "M,N"))), "'flip' (Transpose)");
}

/* The If is in a side that is known to be taken, which gives its ranks on: the node around is the
 * one to be forked. Names in the side hide those around. */
Test(import_fork, within_known)
{
    Wire inner =
        subgraph("inner", "", NODES(squeeze_if("c", "x", "axis", "s"), node("Neg", "s", "t")), "t");
    Wire other = subgraph("other", "", NODES(node("MatMul", "x,x,x", "u")), "u");
    Wire n[] = {LAST_IS_ONE,
                node("Abs", "x", "t"),
                if_node("true", inner, other, "v"),
                node("Add", "v,v", "w"),
                total("w", "z"),
                node("Mul", "z,t", "y"),
                {0}};
    const Item *in =
        ITEMS(squeezed[0], squeezed[1], squeezed[2], squeezed[3], ITEM(bool, "true", "", 1));
    ((Item *)(uintptr_t)in)[4].weight = true;
    ModelRun r = model_open(whole(n, in, ITEMS(GIVES(f32, "y", "N,M"))));
    model_expect(&r, ITEMS(F32("x", "1,2", 1, 2)), ITEMS(F32("y", "1,2", -6, -12)));
    model_expect(&r, ITEMS(F32("x", "2,1", 3, -4)), ITEMS(F32("y", "2,1", 6, 8)));
    model_close(&r);
}

/* An If that differs within a side of one that is open as well: three ways, two of one rank. */
Test(import_fork, within_open)
{
    Wire inner = subgraph("inner", "", NODES(squeeze_if("c", "x", "axis", "s")), "s");
    Wire other = subgraph("other", "", NODES(node("Neg", "x", "u")), "u");
    Wire n[] = {if_node("b", inner, other, "v"),
                node("Add", "v,v", "w"),
                node("Reshape", "w,flat", "y"),
                {0}};
    const Item *in =
        ITEMS(ITEM(bool, "b", "", 1), ITEM(bool, "c", "", 1), OPEN("x", "2,1", "N,M", 1, 2),
              W64("axis", "1", 1), W64("flat", "1", -1));
    ModelRun r = model_open(whole(n, in, ITEMS(GIVES(f32, "y", "K"))));
    model_expect(&r, in, ITEMS(F32("y", "2", 2, 4)));
    model_expect(&r, ITEMS(in[0], ITEM(bool, "c", "", 0), F32("x", "1,2", 3, 4)),
                 ITEMS(F32("y", "2", 6, 8)));
    model_expect(&r, ITEMS(ITEM(bool, "b", "", 0), in[1], F32("x", "1,2", 3, 4)),
                 ITEMS(F32("y", "2", -6, -8)));
    model_close(&r);
}

/* Sides of different element types, and of sequences of different lengths. */
Test(import_fork, other_types)
{
    Wire whole_numbers =
        subgraph("ints", "", NODES(with_int(node("Cast", "x", "i"), "to", DT_i64)), "i");
    Wire same_numbers = subgraph("floats", "", NODES(same("x", "f")), "f");
    Wire n[] = {if_node("b", whole_numbers, same_numbers, "v"),
                node("Add", "v,v", "w"),
                with_int(node("Cast", "w", "y"), "to", DT_f32),
                {0}};
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), OPEN("x", "2", "N", 1.5, -2.5)),
               *no = ITEMS(ITEM(bool, "b", "", 0), in[1]);
    ModelRun r = model_open(whole(n, in, ITEMS(GIVES(f32, "y", "N"))));
    model_expect(&r, in, ITEMS(F32("y", "2", 2, -4)));
    model_expect(&r, no, ITEMS(F32("y", "2", 3, -5)));
    model_close(&r);
    Wire one = subgraph("one", "", NODES(node("SequenceConstruct", "x", "s1")), "s1");
    Wire two = subgraph("two", "", NODES(node("SequenceConstruct", "x,x", "s2")), "s2");
    Wire join = with_int(node("ConcatFromSequence", "s", "y"), "axis", 0);
    r = model_open(
        whole(NODES(if_node("b", one, two, "s"), join), in, ITEMS(GIVES(f32, "y", "K"))));
    model_expect(&r, in, ITEMS(F32("y", "2", 1.5, -2.5)));
    model_expect(&r, no, ITEMS(F32("y", "4", 1.5, -2.5, 1.5, -2.5)));
    model_close(&r);
}

/* In a loop, whose iterations take either side; ranks that leave its body have nowhere to join. */
Test(import_fork, within_loop)
{
    Wire n[] = {same("c", "d"),
                node("Equal", "i,number", "odd"),
                squeeze_if("odd", "v", "axis", "s"),
                node("Add", "s,s", "t"),
                node("Reshape", "t,shape", "w"),
                {0}};
    const Item *in = ITEMS(I64("n", "", 3), F32("x", "2,1", 1, 2), W64("number", "", 1),
                           W64("axis", "1", 1), W64("shape", "2", 2, 1));
    ModelRun r =
        model_open(whole(NODES(loop_node("n,,x", subgraph("body", "i,c,v", n, "d,w"), "y")), in,
                         ITEMS(GIVES(f32, "y", "2,1"))));
    model_expect(&r, in, ITEMS(F32("y", "2,1", 8, 16)));
    model_expect(&r, ITEMS(I64("n", "", 1), in[1]), ITEMS(F32("y", "2,1", 2, 4)));
    model_close(&r);
    Wire body = subgraph("body", "i,c,v", n, "d,t");
    model_refused(whole(NODES(loop_node("n,,x", body, "y")), in, ITEMS(GIVES(f32, "y", "2,1"))),
                  "output 0 is of rank 1 in one branch and 2 in the other");
}

Test(import_fork, refused)
{
    Wire n[] = {LAST_IS_ONE, squeeze_if("c", "x", "axis", "s"), node("Neg", "s", "y"), {0}};
    model_refused(whole(n, squeezed, ITEMS(GIVES(f32, "y", "N,M"))),
                  "(If): output 0 is of rank 1 in one branch and 2 in the other, what follows it "
                  "does not bring them together");
}

/* Each of `count` Ifs adds a dim or not; what follows is there two to the count times. */
static Wire adds_dims(int count, const Item *in)
{
    Wire n[8] = {{0}};
    for (int i = 0; i < count; i++) {
        char x[16], to[16], inputs[32], inner[2][24];
        snprintf(x, sizeof x, i ? "s%d" : "x", i);
        snprintf(to, sizeof to, "s%d", i + 1);
        snprintf(inputs, sizeof inputs, "%s,first", x);
        snprintf(inner[0], sizeof *inner, "%s_yes", to);
        snprintf(inner[1], sizeof *inner, "%s_no", to);
        n[i] = if_node(i % 2 ? "c" : "b",
                       subgraph("yes", "", NODES(node("Unsqueeze", inputs, inner[0])), inner[0]),
                       subgraph("no", "", NODES(same(x, inner[1])), inner[1]), to);
    }
    n[count] = node("Shape", count == 3 ? "s3" : "s4", "y");
    return whole(n, in, ITEMS(GIVES(i64, "y", "K")));
}

Test(import_fork, bounded)
{
    const Item *in = ITEMS(ITEM(bool, "b", "", 1), ITEM(bool, "c", "", 0),
                           OPEN("x", "2,3", "N,M", 1, 2, 3, 4, 5, 6), W64("first", "1", 0));
    const Item *no = ITEMS(ITEM(bool, "b", "", 0), ITEM(bool, "c", "", 1), in[2]);
    ModelRun r = model_open(adds_dims(3, in));
    model_expect(&r, in, ITEMS(I64("y", "4", 1, 1, 2, 3)));
    model_expect(&r, no, ITEMS(I64("y", "3", 1, 2, 3)));
    model_close(&r);
    model_refused(adds_dims(4, in), "what follows it does not bring them together");
}
