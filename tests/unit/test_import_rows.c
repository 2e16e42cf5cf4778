/* Every row of the table of operators, given nothing, or operands that do not suit it: it imports
 * or says why not, and never crashes. */
#include "import_case.h"

TestSuite(import_rows, .init = wire_init, .fini = wire_finish);

static void import_only(Cx *cx, void *user)
{
    const Wire *wire = user;
    const OnnxModel *m = onnx_model_from_memory(cx, wire->data, wire->size, NULL);
    Graph *graph = m ? import_model(cx, m, NULL, NULL) : NULL;
    if (graph)
        graph_verify(graph);
}

/* Only the first operands have this type, the rest are integers. */
static void try_row(const ImportRow *row, const char *inputs, Dtype dtype, const char *dims)
{
    static Cx cx;
    Wire g = {0}, n = node(row->op, inputs, "y"), m = {0};
    put_text(&n, 7, row->domain);
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("a", (int)dtype, dims));
    put_wire(&g, 11, info("b", (int)dtype, dims));
    put_wire(&g, 11, info("c", DT_i64, "1"));
    put_wire(&g, 1, n);
    put_wire(&g, 12, info("y", DT_f32, "1"));
    put_int(&m, 1, 8);
    put_wire(&m, 8, opset(row->domain, row->since));
    put_wire(&m, 7, g);
    cx_init(&cx, NULL, 64 << 20);
    cx_run(&cx, import_only, &m);
    cr_expect(cx.status != ST_internal, "%s: %s", row->op, cx.message);
    cr_expect(cx.status == ST_ok || cx.message[0], "%s: no message", row->op);
    cx_finish(&cx);
}

static void try_all(const char *inputs, Dtype dtype, const char *dims)
{
    ImportRow row;
    for (uint32_t i = 0; import_row(i, &row); i++)
        try_row(&row, inputs, dtype, dims);
}

Test(import_rows, no_inputs)
{
    try_all("", DT_f32, "1");
}

Test(import_rows, one_input)
{
    try_all("a", DT_f32, "2,3");
    try_all("a", DT_bool, "");
    try_all("a", DT_f32, "0,0,0,0");
}

Test(import_rows, first_omitted)
{
    try_all(",a,b,c", DT_f32, "2,3,4,5");
}

Test(import_rows, numbers)
{
    try_all("a,b,c", DT_f32, "");
    try_all("a,b,a,b,a,b,a,b", DT_i64, "");
}

Test(import_rows, images)
{
    try_all("a,b,c", DT_f32, "1,2,3,3");
    try_all("a,b,a,b,a,b,a,b,a", DT_u8, "1,2,3,3");
}

Test(import_rows, open_sizes)
{
    try_all("a,b,c", DT_f32, "N,C,H,W");
    try_all("a,b,a,b,a,b", DT_i64, "N");
}

Test(import_rows, many_dims)
{
    try_all("a,b,c", DT_f32, "1,1,1,1,1,1,1,1,1,1,1,2");
    try_all("a,b,a,b,a,b", DT_i32, "1,1,1,1,1,1,1,1,1,1,1,2");
}

Test(import_rows, huge)
{
    try_all("a,b,c", DT_f32, "1000000,1000000,1000000");
    try_all("a,b,a,b,a,b", DT_f16, "9223372036854775807");
}

Test(import_rows, strings)
{
    try_all("a", DT_string, "2,3");
    try_all("a,b,c", DT_string, "2,3");
    try_all("a,a,a,a,a", DT_string, "N");
    try_all("c,a,b", DT_string, "");
    try_all("a,c,a,c", DT_string, "1,1,4");
}
