/* Compiles a model of one float input and runs it on ones, open dims being 1: first MODEL */
#include <quern.h>
#include <stdio.h>

static float x[1 << 20], y[1 << 20];

int main(int argc, char **argv)
{
    qn_context *context;
    qn_session *session;
    qn_tensor_info output;
    qn_dim_value one = {.value = 1};
    qn_compile_options options = {.dims = &one, .dim_count = 1};
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = y, .bytes = sizeof y};
    for (int i = 0; i < 1 << 20; i++)
        x[i] = 1;
    if (argc != 2 || qn_context_create(NULL, &context) != QN_OK)
        return 2;
    qn_status status = qn_session_open(context, qn_str(argv[1]), &options, &session);
    if (status == QN_OK)
        status = qn_run(session, &in, 1, &out, 1);
    if (status != QN_OK)
        puts(qn_session_message(session));
    else if ((status = qn_session_output(session, 0, &output)) == QN_OK)
        for (int i = 0; i < 10 && i < output.bytes / 4; i++)
            printf("%s[%d] = %g\n", output.name.data, i, (double)y[i]);
    qn_session_release(session);
    qn_context_release(context);
    return status != QN_OK;
}
