/* quern run: one model, its inputs from files or filled, any number of runs, its outputs shown and
 * written. Nothing is written before all runs succeeded. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/dtype.h"
#include "jit/weight_note.h"
#include "tools/bind.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/outputs.h"
#include "tools/show.h"
#include "tools/verbs.h"

enum { OPT_INPUT = 1, OPT_FILL, OPT_REPEAT, OPT_TIMEOUT, OPT_OUTPUT, OPT_JSON, SHOWN = 8 };

static const Option options[] = {
    {OPT_INPUT, "input", "NAME=FILE",
     "value of an input, or element x[0] of a sequence x: .npy or .pb; may be repeated"},
    {OPT_FILL, "fill", "random|zeros", "values of the inputs not given"},
    SETUP_DIM_OPTIONS,
    SETUP_GENERIC_OPTION,
    SETUP_DEVICE_OPTIONS,
    {OPT_REPEAT, "repeat", "N", "run N times and print the median time"},
    {OPT_TIMEOUT, "timeout", "SECONDS", "give up when compiling and running take longer; 0: never"},
    {OPT_OUTPUT, "output-dir", "DIR", "write every output to DIR/NAME.npy"},
    {OPT_JSON, "json", NULL, "print one JSON object instead of text"},
    SETUP_CACHE_OPTIONS,
    SETUP_PACK_OPTION,
    SETUP_RECORDS_OPTION,
    {0}};

typedef struct Work {
    Args args;
    Setup setup;
    Binding binding;
    const char *files[SETUP_ITEMS]; /* "NAME=FILE" */
    size_t file_count;
    const char *output_dir;
    Fill fill;
    int64_t repeat;
    double timeout; /* seconds; 0 = none */
    bool json;
    double median_ms;
} Work;

/* Parses the command line: EXIT_DONE to go on, -1 when the help was asked for. */
static int parse(Work *w)
{
    Fail fail;
    for (int id; (id = args_next(&w->args)) != ARGS_END;) {
        const char *value = w->args.value;
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_INPUT:
            if (w->file_count == SETUP_ITEMS)
                return args_bad(&w->args, "more than %d times --input", SETUP_ITEMS);
            if (!strchr(value, '=') || *value == '=' || value[strlen(value) - 1] == '=')
                return args_bad(&w->args, "--input takes NAME=FILE, not '%s'", value);
            w->files[w->file_count++] = value;
            break;
        case OPT_FILL:
            w->fill = !strcmp(value, "random")  ? FILL_RANDOM
                      : !strcmp(value, "zeros") ? FILL_ZEROS
                                                : FILL_NONE;
            if (w->fill == FILL_NONE)
                return args_bad(&w->args, "--fill takes random or zeros, not '%s'", value);
            break;
        case OPT_REPEAT:
            if (!option_int("repeat", value, 1, 10000000, &w->repeat, &fail))
                return args_bad(&w->args, "%s", fail.text);
            break;
        case OPT_TIMEOUT:
            if (!option_number("timeout", value, 1e9, "seconds", &w->timeout, &fail))
                return args_bad(&w->args, "%s", fail.text);
            break;
        case OPT_OUTPUT: w->output_dir = value; break;
        case OPT_JSON: w->json = true; break;
        default:
            if (!setup_option(&w->setup, id, value, &fail))
                return args_bad(&w->args, "%s", fail.text);
        }
    }
    return EXIT_DONE;
}

/* "NAME=FILE" where NAME is an input, since both may hold '='. */
static bool read_input(Work *w, const char *text, Fail *fail)
{
    for (const char *at = strchr(text, '='); at; at = strchr(at + 1, '=')) {
        size_t length = (size_t)(at - text);
        int done = bind_read_named(&w->binding, &w->setup, text, length, at + 1, fail);
        if (done >= 0)
            return done;
    }
    w->setup.status = QN_BAD_ARGUMENT;
    qn_string name = {text, strcspn(text, "=")};
    const char *note = weight_note(w->setup.model, name);
    return fail_set(fail, "the model has no input '%.*s'%s", (int)name.length, text,
                    *note ? note : "; `quern inspect` lists them");
}

static bool read_inputs(Work *w, Fail *fail)
{
    for (size_t i = 0; i < w->file_count; i++)
        if (!read_input(w, w->files[i], fail))
            return false;
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool run_all(Work *w, Fail *fail)
{
    double *times = calloc((size_t)w->repeat, sizeof *times);
    if (!times)
        return fail_set(fail, "out of memory");
    bool done = true;
    for (int64_t i = 0; i < w->repeat && done && !interrupt_status(); i++) {
        double start = now_ms();
        w->setup.status = bind_run(&w->binding, w->setup.session);
        times[i] = now_ms() - start;
        if (w->setup.status != QN_OK)
            done = fail_set(fail, "%s", qn_session_message(w->setup.session));
    }
    qsort(times, (size_t)w->repeat, sizeof *times, by_value);
    w->median_ms = times[w->repeat / 2];
    free(times);
    return done;
}

static void print_number(Dtype dtype, const void *data, int64_t index)
{
    if (dtype == DT_c64 || dtype == DT_c128) {
        Dtype part = dtype == DT_c64 ? DT_f32 : DT_f64;
        printf(" %.6g%+.6gj", dtype_load(part, data, 2 * index).f,
               dtype_load(part, data, 2 * index + 1).f);
        return;
    }
    Scalar value = dtype_load(dtype, data, index);
    if (dtype_is_float(dtype))
        printf(" %.6g", value.f);
    else if (dtype_class(dtype) == DC_UINT)
        printf(" %" PRIu64, (uint64_t)value.i);
    else
        printf(" %" PRId64, value.i);
}

static void print_values(const Tensor *t)
{
    const qn_string *strings = t->data;
    for (int64_t i = 0; i < t->count && i < SHOWN; i++) {
        if (t->dtype == QN_STRING) {
            printf(" '");
            show(strings[i].data, strings[i].length < 200 ? strings[i].length : 200);
            putchar('\'');
        } else {
            print_number((Dtype)t->dtype, t->data, i);
        }
    }
    if (t->count > SHOWN)
        printf(" ..");
}

static void print_text(const Work *w)
{
    for (int32_t i = 0; i < w->binding.output_count; i++) {
        char text[TENSOR_TEXT];
        qn_tensor_info info;
        qn_program_output(w->setup.program, i, &info);
        show_all(info.name.data);
        printf(" %s:", tensor_text(&w->binding.outputs[i], text));
        print_values(&w->binding.outputs[i]);
        putchar('\n');
    }
    if (w->repeat > 1)
        printf("median of %" PRId64 " runs: %.4f ms\n", w->repeat, w->median_ms);
}

static void print_json(const Work *w, const char *model)
{
    Json json = {.file = stdout};
    json_open(&json, NULL, '{');
    json_text(&json, "model", model);
    json_text(&json, "device", w->setup.device ? w->setup.device : "cpu");
    json_int(&json, "threads", qn_context_threads(w->setup.context));
    json_int(&json, "runs", w->repeat);
    json_number(&json, "median_ms", w->median_ms);
    json_open(&json, "outputs", '[');
    for (int32_t i = 0; i < w->binding.output_count; i++) {
        const Tensor *t = &w->binding.outputs[i];
        qn_tensor_info info;
        qn_program_output(w->setup.program, i, &info);
        json_open(&json, NULL, '{');
        json_text(&json, "name", info.name.data);
        json_text(&json, "dtype", qn_dtype_name(t->dtype));
        json_open(&json, "shape", '[');
        for (int32_t d = 0; d < t->rank; d++)
            json_int(&json, NULL, t->dims[d]);
        json_close(&json, ']');
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    putchar('\n');
}

/* Up to the end of the last run: what Ctrl-C and the time limit end. */
static bool compute(Work *w, const char *path, Fail *fail)
{
    interrupt_begin(&w->setup.session, w->timeout);
    bool done = setup_open(&w->setup, path, fail) && bind_begin(&w->binding, &w->setup, fail) &&
                read_inputs(w, fail) && bind_compile(&w->binding, &w->setup, fail) &&
                setup_session(&w->setup, fail) &&
                bind_finish(&w->binding, &w->setup, w->fill, fail) && run_all(w, fail);
    interrupt_end();
    if (interrupt_status() == EXIT_LATE)
        return fail_set(fail, "not done after %g s (--timeout)", w->timeout);
    return interrupt_status() ? fail_set(fail, "interrupted") : done;
}

static bool work(Work *w, const char *path, Fail *fail)
{
    if (!compute(w, path, fail) || !bind_collect(&w->binding, &w->setup, fail))
        return false;
    if (w->output_dir && !outputs_write(&w->binding, w->setup.program, w->output_dir, fail))
        return false;
    if (w->json)
        print_json(w, path);
    else
        print_text(w);
    return true;
}

int verb_run(int argc, char **argv)
{
    static Work w;
    w = (Work){.args = {.verb = "run",
                        .usage = "MODEL [OPTION...]",
                        .what = "Runs a model and shows the first values of its outputs.\n"
                                "Ctrl-C ends it where it is, and nothing is written; again: at "
                                "once.",
                        .options = options,
                        .argc = argc,
                        .argv = argv},
               .repeat = 1};
    int status = parse(&w);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    int count;
    char **rest = args_rest(&w.args, &count);
    if (count != 1)
        return args_bad(&w.args, count ? "one model at a time" : "no model given");
    Fail fail = {""};
    bool done = work(&w, rest[0], &fail);
    bind_free(&w.binding);
    setup_close(&w.setup);
    if (done)
        return EXIT_DONE;
    status = args_failed(&w.args, "%s", fail.text);
    return interrupt_status() ? interrupt_status() : status;
}
