/* Finding test folders, and running one of them. */
#include "tools/cases.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tools/bind.h"

enum { DEPTH = 8, PATH_SIZE = 4096 };
#define SETS "test_data_set_"

const char *case_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool matches(const char *name, const char *filter)
{
    if (!filter)
        return true;
    return strpbrk(filter, "*?[") ? fnmatch(filter, name, 0) == 0 : strstr(name, filter) != NULL;
}

/* Whether there is such a file; `type`: S_IFREG or S_IFDIR. */
static bool has(const char *directory, const char *name, mode_t type)
{
    char path[PATH_SIZE];
    struct stat st;
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);
    return length < PATH_SIZE && stat(path, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

static bool add(Cases *cases, const char *path, Fail *fail)
{
    if (cases->count == cases->capacity) {
        size_t capacity = cases->capacity ? 2 * cases->capacity : 256;
        char **paths = realloc(cases->paths, capacity * sizeof *paths);
        if (!paths)
            return fail_set(fail, "out of memory");
        cases->paths = paths;
        cases->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy)
        return fail_set(fail, "out of memory");
    cases->paths[cases->count++] = copy;
    return true;
}

static bool find(Cases *cases, const char *directory, const char *filter, int depth, Fail *fail)
{
    if (has(directory, "model.onnx", S_IFREG) || has(directory, SETS "0", S_IFDIR))
        return !matches(case_name(directory), filter) || add(cases, directory, fail);
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, alphasort);
    if (count < 0)
        return fail_set(fail, "%s: %s", directory, strerror(errno));
    bool done = true;
    for (int i = 0; i < count; i++) {
        char path[PATH_SIZE];
        struct stat st;
        const char *name = entries[i]->d_name;
        int length = snprintf(path, sizeof path, "%s/%s", directory, name);
        if (done && *name != '.' && depth < DEPTH && length < PATH_SIZE && stat(path, &st) == 0 &&
            S_ISDIR(st.st_mode))
            done = find(cases, path, filter, depth + 1, fail);
        free(entries[i]);
    }
    free(entries);
    return done;
}

bool cases_find(Cases *cases, const char *directory, const char *filter, Fail *fail)
{
    char path[PATH_SIZE];
    size_t length = strlen(directory);
    while (length > 1 && directory[length - 1] == '/')
        length--;
    if (length >= sizeof path)
        return fail_set(fail, "%s: the name is too long", directory);
    memcpy(path, directory, length);
    path[length] = 0;
    return find(cases, path, filter, 0, fail);
}

void cases_free(Cases *cases)
{
    for (size_t i = 0; i < cases->count; i++)
        free(cases->paths[i]);
    free(cases->paths);
    *cases = (Cases){0};
}

static Verdict verdict(Outcome outcome, const char *reason, const Fail *fail)
{
    Verdict v = {.outcome = outcome};
    snprintf(v.reason, sizeof v.reason, "%s", reason);
    snprintf(v.detail, sizeof v.detail, "%s", fail ? fail->text : "");
    return v;
}

/* The verdict on a call of the library that failed. */
static Verdict refused(const Setup *setup, const char *step, const Fail *fail)
{
    char reason[128];
    snprintf(reason, sizeof reason, "%s: %s", step, qn_status_text(setup->status));
    bool skip = setup->status == QN_UNSUPPORTED;
    return verdict(skip ? CASE_SKIPPED : CASE_FAILED, reason, fail);
}

/* Reads the inputs of a data set. Values that are no tensors are left to the compile, which knows
 * whether it can do without them. */
static bool read_inputs(Binding *binding, Setup *setup, const char *folder, Fail *fail)
{
    for (int32_t i = 0; i < binding->input_count; i++) {
        char path[PATH_SIZE];
        qn_tensor_info info;
        qn_kind kind = QN_OTHER;
        qn_model_input_kind(setup->model, i, &kind);
        bool is_list = kind == QN_SEQUENCE || kind == QN_OPTIONAL || kind == QN_MAP;
        if (qn_model_input(setup->model, i, &info) != QN_OK ||
            (!is_list && qn_dtype_bits(info.dtype) == 0 && info.dtype != QN_STRING))
            continue;
        int length = snprintf(path, sizeof path, "%s/input_%d.pb", folder, i);
        if (length >= PATH_SIZE)
            return fail_set(fail, "%s: the name is too long", folder);
        if (is_list ? !bind_read_list(binding, setup, i, path, fail)
                    : !bind_read(binding, setup, i, path, fail))
            return false;
    }
    char extra[32];
    snprintf(extra, sizeof extra, "input_%d.pb", binding->input_count);
    return !has(folder, extra, S_IFREG) ||
           fail_set(fail, "%s/%s: the model has %d inputs", folder, extra, binding->input_count);
}

/* Output number *at of the program, and those after it, against a value that was expected. */
static Verdict compare_value(const Binding *binding, const Setup *setup, const PbValue *expected,
                             Tolerance tolerance, int32_t *at)
{
    Fail fail = {""};
    qn_tensor_info info;
    for (int32_t i = 0; expected->is_list && i < expected->count; i++) {
        Verdict v = compare_value(binding, setup, &expected->items[i], tolerance, at);
        if (v.outcome != CASE_PASSED)
            return v;
    }
    if (expected->is_list)
        return verdict(CASE_PASSED, "", NULL);
    int32_t i = (*at)++;
    if (i >= binding->output_count) {
        fail_set(&fail, "more than %d tensors are expected", binding->output_count);
        return verdict(CASE_FAILED, "number of outputs", &fail);
    }
    const Tensor *actual = &binding->outputs[i], *want = &expected->tensor;
    if (compare_tensors(actual, want, tolerance, &fail))
        return verdict(CASE_PASSED, "", NULL);
    bool like = actual->dtype == want->dtype && tensor_same_shape(actual, want);
    const char *reason = like                           ? "wrong values"
                         : actual->dtype == want->dtype ? "wrong shape"
                                                        : "wrong type";
    if (qn_program_output(setup->program, i, &info) == QN_OK)
        fail_prefix(&fail, "output '%s'", info.name.data);
    return verdict(CASE_FAILED, reason, &fail);
}

static Verdict compare_outputs(const Binding *binding, const Setup *setup, const char *folder,
                               Tolerance tolerance)
{
    Fail fail = {""};
    char path[PATH_SIZE];
    qn_kind kind;
    int32_t count = 0, at = 0;
    for (; qn_model_output_kind(setup->model, count, &kind) == QN_OK; count++) {
        PbValue expected;
        int length = snprintf(path, sizeof path, "%s/output_%d.pb", folder, count);
        if (length >= PATH_SIZE || !read_pb_value(path, kind, &expected, &fail))
            return verdict(CASE_FAILED, "expected output cannot be read", &fail);
        Verdict v = compare_value(binding, setup, &expected, tolerance, &at);
        pb_value_free(&expected);
        if (v.outcome != CASE_PASSED)
            return v;
    }
    char extra[32];
    snprintf(extra, sizeof extra, "output_%d.pb", count);
    if (!has(folder, extra, S_IFREG) && at == binding->output_count)
        return verdict(CASE_PASSED, "", NULL);
    fail_set(&fail, "%s does not have %d outputs of %d tensors", folder, count,
             binding->output_count);
    return verdict(CASE_FAILED, "number of outputs", &fail);
}

/* Whether the model draws random numbers, so that only types and shapes of what it gives are known.
 * (Dropout is not among them: with a seed its numbers are the reference implementation's.) */
static bool draws_numbers(const Setup *setup)
{
    static const char *const names[] = {"Bernoulli",         "Multinomial",  "RandomUniform",
                                        "RandomUniformLike", "RandomNormal", "RandomNormalLike"};
    qn_operator_info info;
    for (int32_t i = 0; qn_model_operator(setup->model, i, &info) == QN_OK; i++)
        for (size_t k = 0; !info.domain.length && k < sizeof names / sizeof *names; k++)
            if (info.name.length == strlen(names[k]) &&
                !memcmp(info.name.data, names[k], info.name.length))
                return true;
    return false;
}

static Verdict run_set(Setup *setup, Binding *binding, const char *folder, Tolerance tolerance)
{
    Fail fail = {""};
    if (!read_inputs(binding, setup, folder, &fail))
        return verdict(CASE_FAILED, "input cannot be read", &fail);
    if (!bind_compile(binding, setup, &fail))
        return refused(setup, "compile", &fail);
    if (!setup_session(setup, &fail)) {
        Verdict v = refused(setup, "session", &fail);
        v.outcome = CASE_FAILED;
        return v;
    }
    if (!bind_finish(binding, setup, FILL_NONE, &fail))
        return verdict(CASE_FAILED, "inputs or outputs cannot be passed", &fail);
    setup->status = bind_run(binding, setup->session);
    if (setup->status != QN_OK) {
        fail_set(&fail, "%s", qn_session_message(setup->session));
        Verdict v = refused(setup, "run", &fail);
        v.outcome = CASE_FAILED;
        return v;
    }
    if (!bind_collect(binding, setup, &fail))
        return verdict(CASE_FAILED, "outputs cannot be taken", &fail);
    Verdict v = compare_outputs(binding, setup, folder, tolerance);
    bool random = v.outcome == CASE_FAILED && !strcmp(v.reason, "wrong values");
    return random && draws_numbers(setup)
               ? verdict(CASE_SKIPPED, "random numbers; types and shapes are right", NULL)
               : v;
}

/* One data set from the model's file on: each has its own shapes. */
static Verdict open_and_run(Setup *setup, const char *path, const char *folder, Tolerance tolerance)
{
    Fail fail = {""};
    char model[PATH_SIZE];
    Binding binding = {0};
    Verdict v;
    snprintf(model, sizeof model, "%s/model.onnx", path);
    setup->shape_count = 0;
    if (!setup_open(setup, model, &fail))
        v = refused(setup, "open", &fail);
    else if (!bind_begin(&binding, setup, &fail))
        v = verdict(CASE_FAILED, "the model cannot be described", &fail);
    else
        v = run_set(setup, &binding, folder, tolerance);
    bind_free(&binding);
    setup_close(setup);
    return v;
}

static int is_set(const struct dirent *entry)
{
    return !strncmp(entry->d_name, SETS, sizeof SETS - 1);
}

/* How many data sets there are, however numbered; -1 when the folder cannot be read. */
static int count_sets(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_set, NULL);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    if (count >= 0)
        free(entries);
    return count;
}

Verdict case_run(Setup *setup, const char *path, Tolerance tolerance)
{
    Fail fail;
    Verdict v = {.outcome = CASE_FAILED, .reason = "no " SETS "0"};
    int set = 0, count = count_sets(path);
    for (;; set++) {
        char folder[PATH_SIZE];
        struct stat st;
        int length = snprintf(folder, sizeof folder, "%s/" SETS "%d", path, set);
        if (length >= PATH_SIZE || stat(folder, &st) != 0)
            break;
        v = open_and_run(setup, path, folder, tolerance);
        if (v.outcome != CASE_PASSED)
            return v;
    }
    if (!set || set == count)
        return v;
    fail_set(&fail, "%d folders " SETS "*, and no " SETS "%d", count, set);
    return verdict(CASE_FAILED, "data sets are missing", &fail);
}
