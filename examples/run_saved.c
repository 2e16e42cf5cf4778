/* Runs a program that `quern export MODEL -o FILE` wrote, on ones: run_saved FILE
 * Needs neither the model nor a compiler: link it with libquern_runtime. */
#include <quern.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    qn_context *context;
    qn_program *program = NULL;
    qn_session *session = NULL;
    qn_tensor_info input, output;
    if (argc != 2 || qn_context_create(NULL, &context) != QN_OK)
        return 2;
    if (qn_program_load(context, qn_str(argv[1]), &program) != QN_OK)
        return puts(qn_program_message(program)), 1;
    if (qn_session_create(program, NULL, &session) != QN_OK)
        return puts(qn_session_message(session)), 1;
    if (qn_session_input(session, 0, &input) != QN_OK ||
        qn_session_output(session, 0, &output) != QN_OK || input.bytes < 0 || output.bytes < 0)
        return puts("this example is for programs of fixed sizes with an input and an output"), 1;
    float *x = malloc((size_t)input.bytes), *y = malloc((size_t)output.bytes);
    for (int64_t i = 0; x && i < input.bytes / 4; i++)
        x[i] = 1;
    qn_buffer in = {.data = x, .bytes = (size_t)input.bytes};
    qn_buffer out = {.data = y, .bytes = (size_t)output.bytes};
    if (!x || !y || qn_run(session, &in, 1, &out, 1) != QN_OK)
        return puts(qn_session_message(session)), 1;
    for (int64_t i = 0; i < 10 && i < output.bytes / 4; i++)
        printf("%s[%d] = %g\n", output.name.data, (int)i, (double)y[i]);
    free(x);
    free(y);
    qn_session_release(session);
    qn_program_release(program);
    qn_context_release(context);
    return 0;
}
