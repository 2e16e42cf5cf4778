/* An operator of our own: a C function that a model names. Runs examples/custom/histogram.onnx,
 * which counts how many of some numbers fall into each of 4 bins (and doubles that, to have a
 * kernel behind the operator too): custom_operator examples/custom/histogram.onnx 1 2.5 -3 7 ... */
#include <quern.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 100, BINS = 4 };

/* What the model's operator does: an ordinary function that knows nothing of Quern. */
static void histogram(const float *x, int64_t count, int64_t bins, float limit, int64_t *out)
{
    for (int64_t b = 0; b < bins; b++)
        out[b] = 0;
    for (int64_t i = 0; i < count; i++)
        if (x[i] >= 0 && x[i] < limit)
            out[(int64_t)(x[i] / limit * (float)bins)]++;
}

/* Its output has as many elements as the attribute `bins` says, which comes behind the input. */
static qn_status histogram_shape(void *user, const qn_operand *operands, int32_t operand_count,
                                 int32_t output, int32_t *rank, int64_t *dims)
{
    (void)user;
    (void)operand_count;
    (void)output;
    int64_t bins = *(const int64_t *)operands[1].data;
    *rank = 1;
    dims[0] = bins;
    return bins >= 0 ? QN_OK : QN_BAD_MODEL;
}

static const qn_operator the_operator = {
    .domain = {"org.example", 11},
    .name = {"Histogram", 9},
    .signature = {"f32* count:0 i64:bins f32:limit=1 -> i64*", 41},
    .function = (void (*)(void))histogram,
    .shape = histogram_shape,
};

int main(int argc, char **argv)
{
    static float x[MOST];
    static int64_t z[BINS];
    qn_context *context;
    qn_model *model = NULL;
    qn_program *program = NULL;
    qn_session *session = NULL;
    int count = argc - 2;
    if (count < 1 || count > MOST || qn_context_create(NULL, &context) != QN_OK)
        return fputs("usage: custom_operator MODEL NUMBER... (at most 100)\n", stderr), 2;
    for (int i = 0; i < count; i++)
        x[i] = strtof(argv[2 + i], NULL);
    if (qn_custom_operator(context, &the_operator) != QN_OK)
        return puts(qn_context_message(context)), 1;
    if (qn_model_open(context, qn_str(argv[1]), NULL, &model) != QN_OK)
        return puts(qn_model_message(model)), 1;
    if (qn_program_compile(model, NULL, &program) != QN_OK)
        return puts(qn_program_message(program)), 1;
    if (qn_session_create(program, NULL, &session) != QN_OK)
        return puts(qn_session_message(session)), 1;
    qn_shape shape = {.rank = 1, .dims = (int64_t[]){count}};
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = z, .bytes = sizeof z};
    if (qn_session_set_shapes(session, &shape, 1) != QN_OK ||
        qn_run(session, &in, 1, &out, 1) != QN_OK)
        return puts(qn_session_message(session)), 1;
    for (int b = 0; b < BINS; b++)
        printf("%lld%c", (long long)z[b], b < BINS - 1 ? ' ' : '\n');
    qn_session_release(session);
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
    return 0;
}
