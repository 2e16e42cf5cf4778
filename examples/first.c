/* Compiles a model with one float input [N, ...] and runs it on one sample of ones: first MODEL */
#include <quern.h>
#include <stdio.h>

static float x[1 << 20], y[1 << 20];

int main(int argc, char **argv)
{
    qn_context *context;
    qn_model *model;
    qn_program *program = NULL;
    qn_session *session = NULL;
    qn_tensor_info input, output;
    if (argc != 2 || qn_context_create(NULL, &context) != QN_OK)
        return 2;
    if (qn_model_open(context, qn_str(argv[1]), NULL, &model) != QN_OK)
        return puts(qn_model_message(model)), 1;
    if (qn_model_input(model, 0, &input) != QN_OK || !input.rank)
        return puts("the model has no input with dims"), 1;
    qn_dim_value one = {.symbol = input.dims[0].symbol, .value = 1};
    qn_compile_options options = {.dims = &one, .dim_count = one.symbol.length > 0};
    if (qn_program_compile(model, &options, &program) != QN_OK)
        return puts(qn_program_message(program)), 1;
    if (qn_session_create(program, NULL, &session) != QN_OK)
        return puts(qn_session_message(session)), 1;
    for (int i = 0; i < 1 << 20; i++)
        x[i] = 1;
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = y, .bytes = sizeof y};
    if (qn_run(session, &in, 1, &out, 1) != QN_OK)
        return puts(qn_session_message(session)), 1;
    qn_session_output(session, 0, &output);
    for (int i = 0; i < 10 && i < output.bytes / 4; i++)
        printf("%s[%d] = %g\n", output.name.data, i, (double)y[i]);
    qn_session_release(session);
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
    return 0;
}
