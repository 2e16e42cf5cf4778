/* Probabilities of classes from those of pairs. */
#include "host_case.h"

TestSuite(host_couple);

static void expect_near(const HostCase *c, const char *dims, const double *values, double reach)
{
    cr_assert_eq(c->status, ST_ok, "%s", c->report.text);
    host_case_shape(c, 0, dims);
    const float *p = c->outputs[0].data;
    for (int64_t i = 0; i < host_case_count(c, 0); i++)
        cr_expect(fabs((double)p[i] - values[i]) <= reach, "[%lld] is %.9g, not %.9g", (long long)i,
                  (double)p[i], values[i]);
}

/* Pairs that contradict one another, as onnxruntime's SVMClassifier couples them. */
Test(host_couple, as_others)
{
    HostCase *c = host_case();
    IN(c, f32, "2,3", 0.59868766, 0.31002552, 0.80218389, 0.88079708, 0.26894142, 0.62245933);
    IN_INT(c, 3);
    RUN(c, "couple", DT_f32);
    expect_near(c, "2,3",
                (const double[]){0.3241994380950928, 0.4231865406036377, 0.2526141405105591,
                                 0.33859720826148987, 0.23165923357009888, 0.4297436773777008},
                1e-6);
    c = host_case();
    IN(c, f32, "1,1", 0.66818777);
    IN_INT(c, 2);
    RUN(c, "couple", DT_f32);
    expect_near(c, "1,2", (const double[]){0.6649432182312012, 0.33505678176879883}, 1e-6);
}

/* Pairs that p explains: r[i,j] = p[i] / (p[i] + p[j]) for p = 0.1, 0.2, 0.3, 0.4. */
Test(host_couple, consistent_pairs)
{
    HostCase *c = host_case();
    IN(c, f32, "1,6", 1.0 / 3, 1.0 / 4, 1.0 / 5, 2.0 / 5, 2.0 / 6, 3.0 / 7);
    IN_INT(c, 4);
    RUN(c, "couple", DT_f32);
    expect_near(c, "1,4", (const double[]){0.1, 0.2, 0.3, 0.4}, 0.01);
}

Test(host_couple, of_nothing)
{
    HostCase *c = host_case();
    IN(c, f32, "0,3", 0);
    IN_INT(c, 3);
    RUN(c, "couple", DT_f32);
    expect_near(c, "0,3", NULL, 0);
}

Test(host_couple, refuses)
{
    HostCase *c = host_case();
    IN(c, f32, "1,2", 0.5, 0.5);
    IN_INT(c, 3);
    cr_assert_eq(RUN(c, "couple", DT_f32), ST_bad_argument);
    cr_expect(strstr(c->report.text, "2 pairs of 3 classes"), "%s", c->report.text);
    for (int refuse = 1; refuse <= 2; refuse++) {
        c = host_case();
        IN(c, f32, "1,1", 0.5);
        IN_INT(c, 2);
        c->refuse = refuse;
        cr_assert_eq(RUN(c, "couple", DT_f32), ST_out_of_memory);
    }
}
