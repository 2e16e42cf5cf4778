/* Operators of the application: signatures, calls through libffi, and what is refused. */
#include "tests/unit/host_case.h"

#include "runtime/host/custom.h"

/* --- signatures --- */

static const char *parse_error(const char *text)
{
    static char why[300];
    static CustomSignature s;
    return custom_parse(&s, text, why, sizeof why) ? "" : why;
}

Test(custom, signature_is_taken_apart)
{
    char why[100];
    static CustomSignature s;
    cr_assert(custom_parse(&s,
                           " f32*  f64 count:0 dim:1.3 i64*:axes count:axes f32:a=-1.5 user -> "
                           "status f32* i8*",
                           why, sizeof why),
              "%s", why);
    cr_assert_eq(s.param_count, 8);
    cr_assert_eq(s.input_count, 2);
    cr_assert_eq(s.attr_count, 2);
    cr_assert_eq(s.result_count, 2);
    cr_assert(s.status && !s.results[0].returned);
    cr_assert_eq(s.params[1].word, CW_scalar);
    cr_assert_eq(s.params[3].operand, 1);
    cr_assert_eq(s.params[3].axis, 3);
    cr_assert_eq(s.params[5].word, CW_attr_count);
    cr_assert_str_eq(s.attrs[0].name, "axes");
    cr_assert(s.attrs[0].list && !s.attrs[0].has_default);
    cr_assert_eq(s.attrs[1].value, -1.5);
    cr_assert_eq(s.results[1].dtype, DT_i8);
}

Test(custom, wrong_signatures_say_why)
{
    static const char *const wrong[][2] = {
        {"", "results are missing"},
        {"f32*", "results are missing"},
        {"f32* ->", "results are missing"},
        {"-> f32* ->", "'->'"},
        {"f33* -> f32*", "'f33*' is no type"},
        {"f16 -> f32*", "cannot be passed by value"},
        {"i4* -> f32*", "smaller than a byte"},
        {"count:1 f32* -> f32*", "there is no input 1"},
        {"count:x f32* -> f32*", "names no input"},
        {"f32* dim:0 -> f32*", "no dim of an input"},
        {"f32* dim:0.99 -> f32*", "names no input"},
        {"f32* rank:99999999999999999999 -> f32*", "names no input"},
        {"f32* f64:a -> f32*", "no type of attributes"},
        {"f32* f32:a=x -> f32*", "no default"},
        {"f32* i64*:a=1 -> f32*", "no default"},
        {"f32* f32: -> f32*", "needs the name"},
        {"f32* f32:a i64:a -> f32*", "names an attribute again"},
        {"f32* -> f32* f32", "only the first result"},
        {"f32* -> f16", "not what a C function returns"},
        {"f32* -> f32* status", "first result"},
        {"f32* -> status f32", "only the first result"},
        {"f32* -> string*", "whole bytes"},
        {"f32* -> f32*x", "no type of a result"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect(strstr(parse_error(wrong[i][0]), wrong[i][1]), "\"%s\" gives \"%s\"", wrong[i][0],
                  parse_error(wrong[i][0]));
    char many[400] = "", longest[200];
    for (int i = 0; i < CUSTOM_PARAMS + 1; i++)
        strcat(many, "f32* ");
    strcat(many, "-> f32*");
    cr_assert(strstr(parse_error(many), "too many"));
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    cr_assert(strstr(parse_error(longest), "too long"));
}

/* --- calls --- */

static void scale(const float *x, int64_t n, float alpha, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = alpha * x[i];
}

static void sizes(void *user, int64_t rank, const int64_t *dims, int64_t d1, const int64_t *axes,
                  int64_t axis_count, const uint16_t *half, const float *x, int64_t *out)
{
    out[0] = rank;
    out[1] = dims[0];
    out[2] = d1;
    out[3] = axis_count;
    out[4] = axis_count ? axes[axis_count - 1] : -1;
    out[5] = half == NULL && x;
    ++*(int *)user;
}

/* One of every type by value, in an order in which wrong widths show. */
static double all_types(int8_t a, double b, uint8_t c, float d, int16_t e, uint16_t f, int32_t g,
                        uint32_t h, int64_t i, uint64_t j, bool k)
{
    return a + 2 * b + 3 * c + 4 * (double)d + 5 * e + 6 * f + 7.0 * g + 8.0 * h + 9.0 * (double)i +
           10.0 * (double)j + 11 * k;
}

static int8_t negated(int8_t x)
{
    return (int8_t)-x;
}

static int32_t refuse(const float *x, int64_t n, float *y)
{
    y[0] = n ? x[0] : 0;
    return 8;
}

/* Two inputs and the list `axes` behind them. */
static qn_status shape_six(void *user, const qn_operand *operands, int32_t operand_count,
                           int32_t output, int32_t *rank, int64_t *dims)
{
    (void)user;
    bool right = operand_count == 3 && operands[2].dtype == QN_I64 && operands[2].dims[0] == 2 &&
                 ((const int64_t *)operands[2].data)[1] == 8;
    *rank = 1;
    dims[0] = right ? 6 + output : 0;
    return QN_OK;
}

static qn_status shape_wrong(void *user, const qn_operand *inputs, int32_t input_count,
                             int32_t output, int32_t *rank, int64_t *dims)
{
    (void)inputs;
    (void)input_count;
    (void)output;
    *rank = *(int *)user;
    for (int d = 0; d < 12; d++)
        dims[d] = -1;
    return QN_OK;
}

static Customs customs = {&allocator_system, NULL};

#define FUNCTION(f) ((void (*)(void))(f))

static Report add_report;

static Status add(const char *name, const char *signature, void (*function)(void),
                  qn_operator_shape *shape, void *user)
{
    qn_operator op = {.domain = qn_str("test"),
                      .name = qn_str(name),
                      .signature = qn_str(signature),
                      .function = function,
                      .shape = shape,
                      .user = user};
    return customs_add(&customs, &op, &add_report);
}

static HostCase *call_of(const char *key)
{
    HostCase *c = host_case();
    c->call.customs = &customs;
    host_case_text(c, key);
    return c;
}

static Status call(HostCase *c, int count, const Dtype *dtypes)
{
    return host_case_run(c, "custom", count, dtypes);
}

Test(custom_call, tensor_size_attribute)
{
    cr_assert_eq(add("Scale", "f32* count:0 f32:alpha -> f32*", FUNCTION(scale), NULL, NULL), ST_ok,
                 "%s", add_report.text);
    HostCase *c = call_of("test Scale 1");
    IN(c, f32, "2,3", 1, 2, 3, 4, 5, 6);
    IN(c, f32, "", 0.5);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), ST_ok, "%s", c->report.text);
    cr_assert_eq(c->outputs[0].rank, 2);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(((const float *)c->outputs[0].data)[i], 0.5f * (float)(i + 1));
    customs_finish(&customs);
}

Test(custom_call, sizes_lists_user_and_omitted_inputs)
{
    static int calls;
    cr_assert_eq(add("Sizes", "user rank:1 dims:1 dim:1.1 i64*:axes count:axes f16* f32* -> i64*",
                     FUNCTION(sizes), shape_six, &calls),
                 ST_ok, "%s", add_report.text);
    HostCase *c = call_of("test Sizes 1");
    IN_NONE(c);
    IN(c, f32, "2,3", 1, 2, 3, 4, 5, 6);
    IN(c, i64, "2", 7, 8);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_i64}), ST_ok, "%s", c->report.text);
    static const int64_t expected[] = {2, 2, 3, 2, 8, 1};
    cr_assert_arr_eq(c->outputs[0].data, expected, sizeof expected);
    cr_assert_eq(calls, 1);
    c = call_of("test Sizes 1");
    IN_NONE(c);
    IN(c, f32, "2", 1, 2);
    IN(c, i64, "2", 7, 8);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_i64}), ST_bad_argument);
    cr_assert(strstr(c->report.text, "dim"), "%s", c->report.text);
    cr_assert_eq(calls, 1);
    customs_finish(&customs);
}

Test(custom_call, every_type_by_value)
{
    cr_assert_eq(add("All", "i8 f64 u8 f32 i16 u16 i32 u32 i64 u64 bool -> f64",
                     FUNCTION(all_types), NULL, NULL),
                 ST_ok, "%s", add_report.text);
    HostCase *c = call_of("test All 1");
    IN(c, i8, "", -5);
    IN(c, f64, "1", 0.25);
    IN(c, u8, "", 200);
    IN(c, f32, "1,1", 1.5);
    IN(c, i16, "", -300);
    IN(c, u16, "", 60000);
    IN(c, i32, "", -70000);
    IN(c, u32, "", 4000000000.0);
    IN(c, i64, "", -5e9);
    IN(c, u64, "", 6e9);
    IN(c, bool, "", 1);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f64}), ST_ok, "%s", c->report.text);
    cr_assert_eq(c->outputs[0].rank, 0);
    cr_assert_eq(*(const double *)c->outputs[0].data,
                 all_types(-5, 0.25, 200, 1.5f, -300, 60000, -70000, 4000000000u, -5000000000,
                           6000000000u, true));
    customs_finish(&customs);
}

Test(custom_call, narrow_return_value)
{
    cr_assert_eq(add("Negated", "i8 -> i8", FUNCTION(negated), NULL, NULL), ST_ok);
    HostCase *c = call_of("test Negated 1");
    IN(c, i8, "1", 77);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_i8}), ST_ok, "%s", c->report.text);
    cr_assert_eq(*(const int8_t *)c->outputs[0].data, -77);
    customs_finish(&customs);
}

Test(custom_call, status_is_the_run_s)
{
    cr_assert_eq(add("Refuse", "f32* count:0 -> status f32*", FUNCTION(refuse), NULL, NULL), ST_ok);
    HostCase *c = call_of("test Refuse 1");
    IN(c, f32, "2", 1, 2);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), (Status)QN_BAD_INDEX);
    cr_assert(strstr(c->report.text, "'Refuse'") && strstr(c->report.text, "returned 8"), "%s",
              c->report.text);
    customs_finish(&customs);
}

/* Plans are untrusted: other operands than the signature's are refused, the function not called. */
Test(custom_call, hostile_operands)
{
    cr_assert_eq(add("Scale", "f32* count:0 f32:alpha -> f32*", FUNCTION(scale), NULL, NULL),
                 ST_ok);
    HostCase *c = call_of("test Other 1");
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), ST_missing);
    cr_assert(strstr(c->report.text, "qn_custom_operator"), "%s", c->report.text);
    c = host_case();
    cr_assert_eq(call(c, 0, (Dtype[1]){DT_none}), ST_missing);
    c = call_of("test Scale 1");
    IN(c, f32, "2", 1, 2);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), ST_bad_argument); /* too few */
    c = call_of("test Scale 1");
    IN(c, f64, "2", 1, 2);
    IN(c, f32, "", 1);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), ST_bad_argument); /* type */
    c = call_of("test Scale 1");
    IN(c, f32, "2", 1, 2);
    IN(c, f32, "2", 1, 1);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), ST_bad_argument); /* two for one */
    c = call_of("test Scale 1");
    IN(c, f32, "2", 1, 2);
    IN(c, f32, "", 1);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f64}), ST_bad_argument); /* type of the result */
    c = call_of("test Scale 1");
    IN(c, f32, "2", 1, 2);
    IN(c, f32, "", 1);
    c->refuse = 1;
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), ST_out_of_memory);
    customs_finish(&customs);
}

Test(custom_call, wrong_shape_functions)
{
    static int rank;
    cr_assert_eq(
        add("Wrong", "f32* count:0 f32:alpha -> f32*", FUNCTION(scale), shape_wrong, &rank), ST_ok);
    static const int wrong[] = {-1, 13, 100};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rank = wrong[i];
        HostCase *bad = call_of("test Wrong 1");
        IN(bad, f32, "2", 1, 2);
        IN(bad, f32, "", 1);
        cr_assert_eq(call(bad, 1, (Dtype[]){DT_f32}), ST_bad_argument);
        cr_assert(strstr(bad->report.text, "shape function fails"), "%s", bad->report.text);
    }
    rank = 3;
    HostCase *c = call_of("test Wrong 1");
    IN(c, f32, "2", 1, 2);
    IN(c, f32, "", 1);
    cr_assert_eq(call(c, 1, (Dtype[]){DT_f32}), ST_bad_argument);
    cr_assert(strstr(c->report.text, "does not know"), "%s", c->report.text);
    customs_finish(&customs);
}

/* --- the list --- */

Test(custom_call, versions_and_doubles)
{
    qn_operator op = {.domain = qn_str("ai.onnx"),
                      .name = qn_str("F"),
                      .since = 3,
                      .signature = qn_str("f64 -> f64"),
                      .function = FUNCTION(negated)};
    cr_assert_eq(customs_add(&customs, &op, &add_report), ST_ok, "%s", add_report.text);
    cr_assert_eq(customs_add(&customs, &op, &add_report), ST_bad_argument);
    cr_assert(strstr(add_report.text, "registered already"), "%s", add_report.text);
    op.since = 5;
    cr_assert_eq(customs_add(&customs, &op, &add_report), ST_ok);
    cr_assert_null(customs_find(&customs, "", "F", 2));
    cr_assert_eq(customs_find(&customs, "", "F", 4)->since, 3);
    cr_assert_eq(customs_find(&customs, "", "F", 9)->since, 5);
    cr_assert_null(customs_find(&customs, "other", "F", 9));
    cr_assert_null(customs_find(NULL, "", "F", 9));
    op.function = NULL;
    cr_assert_eq(customs_add(&customs, &op, &add_report), ST_bad_argument);
    op.function = FUNCTION(negated);
    op.name = (qn_string){"a\0b", 3};
    cr_assert_eq(customs_add(&customs, &op, &add_report), ST_bad_argument);
    customs_finish(&customs);
}
