/* CausalConvWithState, LinearAttention, TensorScatter and FlexAttention, by hand. */
#include "import_case.h"

TestSuite(import_state, .init = wire_init, .fini = wire_finish);

Test(import_state, causal_conv)
{
    Wire n = node("CausalConvWithState", "x,w,b,s", "y,z");
    const Item *in = ITEMS(F32("x", "1,2,3", 1, 2, 3, 4, 5, 6), F32("w", "2,1,2", 1, 10, 1, 0),
                           F32("b", "2", 0, 100), F32("s", "1,2,1", 7, 8));
    expect_node(27, n, in,
                ITEMS(F32("y", "1,2,3", 17, 21, 32, 108, 104, 105), F32("z", "1,2,1", 3, 6)));
    Wire silu = with_text(node("CausalConvWithState", "x,w", "y,z"), "activation", "silu");
    expect_node(27, silu, ITEMS(ITEM(f16, "x", "1,1,1", 0), ITEM(f16, "w", "1,1,3", 1, 2, 3)),
                ITEMS(ITEM(f16, "y", "1,1,1", 0), ITEM(f16, "z", "1,1,2", 0, 0)));
    Wire odd = with_text(node("CausalConvWithState", "x,w", "y"), "activation", "relu");
    expect_refused(27, odd, ITEMS(F32("x", "1,1,1", 0), F32("w", "1,1,1", 1)), "activation 'relu'");
}

static Wire attention(const char *rule, const char *inputs, int heads, int groups)
{
    Wire n = with_text(node("LinearAttention", inputs, "y,s"), "update_rule", rule);
    n = with_int(with_int(n, "q_num_heads", heads), "kv_num_heads", groups);
    return with_float(n, "scale", 1);
}

/* dk = dv = 1: S = S + k v, o = q S */
Test(import_state, linear_rules)
{
    expect_node(27, attention("linear", "q,k,v,p", 1, 1),
                ITEMS(F32("q", "1,2,1", 1, 2), F32("k", "1,2,1", 3, 4), F32("v", "1,2,1", 5, 6),
                      F32("p", "1,1,1,1", 100)),
                ITEMS(F32("y", "1,2,1", 115, 278), F32("s", "1,1,1,1", 139)));
    /* exp(ln 2) doubles the state before each step */
    expect_node(27, attention("gated", "q,k,v,p,d", 1, 1),
                ITEMS(F32("q", "1,1,1", 1), F32("k", "1,1,1", 3), F32("v", "1,1,1", 5),
                      F32("p", "1,1,1,1", 100), F32("d", "1,1,1", 0.69314718056)),
                ITEMS(F32("y", "1,1,1", 215), F32("s", "1,1,1,1", 215)));
    /* the error 5 - 3 * 100, halved */
    expect_node(27, attention("delta", "q,k,v,p,,b", 1, 1),
                ITEMS(F32("q", "1,1,1", 1), F32("k", "1,1,1", 3), F32("v", "1,1,1", 5),
                      F32("p", "1,1,1,1", 100), F32("b", "1,1,1", 0.5)),
                ITEMS(F32("y", "1,1,1", -342.5), F32("s", "1,1,1,1", -342.5)));
}

/* Two query heads share a key head; the default scale is 1 / sqrt(dk); the state keeps its type. */
Test(import_state, linear_groups)
{
    Wire n = node("LinearAttention", "q,k,v,p", "y,s");
    n = with_int(with_int(with_text(n, "update_rule", "linear"), "q_num_heads", 2), "kv_num_heads",
                 1);
    expect_node(27, n,
                ITEMS(ITEM(f16, "q", "1,1,8", 1, 0, 0, 0, 0, 2, 0, 0),
                      ITEM(f16, "k", "1,1,4", 1, 2, 3, 4), ITEM(f16, "v", "1,1,1", 10),
                      F32("p", "1,1,4,1", 0, 0, 0, 1)),
                ITEMS(ITEM(f16, "y", "1,1,2", 5, 20), F32("s", "1,1,4,1", 10, 20, 30, 41)));
}

Test(import_state, linear_refused)
{
    const Item *in = ITEMS(F32("q", "1,1,1", 1), F32("k", "1,1,1", 3), F32("v", "1,1,1", 5));
    expect_refused(27, attention("some", "q,k,v", 1, 1), in, "update_rule 'some'");
    expect_refused(27, attention("gated", "q,k,v", 1, 1), in, "input 4 is missing");
    expect_refused(27, attention("linear", "q,k,v", 1, 2), in, "query heads");
    const Item *short_k =
        ITEMS(F32("q", "1,2,1", 1, 2), F32("k", "1,1,1", 3), F32("v", "1,2,1", 5, 6));
    expect_refused(27, attention("linear", "q,k,v", 1, 1), short_k, "a length of shape");
}

Test(import_state, tensor_scatter)
{
    const Item *in = ITEMS(F32("p", "2,4,1", 1, 2, 3, 4, 5, 6, 7, 8),
                           F32("u", "2,2,1", 10, 20, 30, 40), I64("w", "2", 1, 2));
    expect_node(24, node("TensorScatter", "p,u,w", "y"), in,
                ITEMS(F32("y", "2,4,1", 1, 10, 20, 4, 5, 6, 30, 40)));
    expect_node(24, node("TensorScatter", "p,u", "y"), in,
                ITEMS(F32("y", "2,4,1", 10, 20, 3, 4, 30, 40, 7, 8)));
    Wire ring =
        with_int(with_text(node("TensorScatter", "p,u,w", "y"), "mode", "circular"), "axis", 1);
    expect_node(24, ring,
                ITEMS(F32("p", "2,3", 1, 2, 3, 4, 5, 6), F32("u", "2,2", 10, 20, 30, 40),
                      I64("w", "2", 2, 4)),
                ITEMS(F32("y", "2,3", 20, 2, 10, 4, 30, 40)));
    /* what does not fit is dropped, and nothing to write leaves the past */
    expect_node(24, with_int(node("TensorScatter", "p,u,w", "y"), "axis", 1),
                ITEMS(F32("p", "1,2", 1, 2), F32("u", "1,2", 10, 20), I64("w", "1", 1)),
                ITEMS(F32("y", "1,2", 1, 10)));
    expect_node(24, with_int(node("TensorScatter", "p,u", "y"), "axis", 1),
                ITEMS(F32("p", "1,2", 1, 2), F32("u", "1,0", 0)), ITEMS(F32("y", "1,2", 1, 2)));
    expect_refused(24, with_int(node("TensorScatter", "p,u", "y"), "axis", 0), in, "axis 0");
    expect_refused(24, node("TensorScatter", "p,u", "y"),
                   ITEMS(F32("p", "1,2,2", 1, 2, 3, 4), F32("u", "1,2,1", 1, 2)), "updates of");
}

/* softmax over equal scores is 1/2 each; score_mod shifts nothing, prob_mod doubles */
Test(import_state, flex_attention)
{
    Wire body = {0};
    put_text(&body, 2, "double");
    put_wire(&body, 11, info("p", 1, "1,1,1,2"));
    put_node(&body, "Add", "p,p", "pp");
    put_wire(&body, 12, info("pp", 1, "1,1,1,2"));
    Wire n = in_domain("ai.onnx.preview", node("FlexAttention", "q,k,v", "y"));
    const Item *in = ITEMS(ITEM(f16, "q", "1,1,1,1", 0), ITEM(f16, "k", "1,1,2,1", 3, 4),
                           ITEM(f16, "v", "1,1,2,1", 10, 20));
    expect_node(26, n, in, ITEMS(ITEM(f16, "y", "1,1,1,1", 15)));
    expect_node(26, with_graph(n, "prob_mod", body), in, ITEMS(ITEM(f16, "y", "1,1,1,1", 30)));
    expect_refused(26, with_int(n, "softmax_precision", 7), in, "softmax_precision 7");
}
