/* A model written by onnx_wire.h through the public interface, on the CPU: compiled, run, compared
 * with values computed by hand. What a body of a loop or branch is needs a session; the interpreter
 * of import_case.h knows kernels only. */
#ifndef QUERN_TESTS_MODEL_RUN_H
#define QUERN_TESTS_MODEL_RUN_H

#include "import_case.h"

#include "include/quern.h"

typedef struct ModelRun {
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
} ModelRun;

/* A model of these nodes. */
static inline Wire whole(const Wire *nodes, const Item *in, const Item *out)
{
    int count = 0;
    while (nodes[count].data)
        count++;
    return case_graph(18, nodes, count, in, out);
}

static inline ModelRun model_open_with(Wire bytes, const qn_compile_options *options)
{
    ModelRun r = {NULL, NULL, NULL, NULL};
    cr_assert_eq(qn_context_create(NULL, &r.context), QN_OK);
    cr_assert_eq(qn_model_from_memory(r.context, bytes.data, bytes.size, NULL, &r.model), QN_OK,
                 "%s", qn_model_message(r.model));
    cr_assert_eq(qn_program_compile(r.model, options, &r.program), QN_OK, "%s",
                 qn_program_message(r.program));
    cr_assert_eq(qn_session_create(r.program, NULL, &r.session), QN_OK, "%s",
                 qn_session_message(r.session));
    return r;
}

/* Open dims stay open. */
static inline ModelRun model_open(Wire bytes)
{
    return model_open_with(bytes, NULL);
}

static inline void model_close(ModelRun *r)
{
    qn_session_release(r->session);
    qn_program_release(r->program);
    qn_model_release(r->model);
    qn_context_release(r->context);
}

enum { MODEL_PORTS = 8 };

/* Shapes and memory of the inputs, in the model's order; how many. The session has the shapes. */
static inline size_t model_feed(const ModelRun *r, const Item *in, qn_buffer *inputs)
{
    int64_t dims[MODEL_PORTS][MAX_RANK];
    qn_shape shapes[MODEL_PORTS] = {{.rank = 0}};
    size_t count = 0;
    for (; in->name; in++) {
        if (in->weight)
            continue;
        cr_assert_lt(count, MODEL_PORTS);
        shapes[count] = (qn_shape){.rank = item_dims(in, dims[count]), .dims = dims[count]};
        inputs[count++] = (qn_buffer){.data = item_data(in),
                                      .bytes = (size_t)dtype_bytes(in->dtype, item_count(in)) + 8};
    }
    cr_assert_eq(qn_session_set_shapes(r->session, shapes, count), QN_OK, "%s",
                 qn_session_message(r->session));
    return count;
}

static inline void model_compare(const ModelRun *r, int32_t index, const Item *want,
                                 const void *data)
{
    int64_t dims[MAX_RANK];
    int rank = item_dims(want, dims);
    qn_tensor_info info;
    cr_assert_eq(qn_session_output(r->session, index, &info), QN_OK);
    cr_assert_eq(info.rank, rank, "%s is of rank %d", want->name, (int)info.rank);
    for (int d = 0; d < rank; d++)
        cr_assert_eq(info.dims[d].value, dims[d], "%s: dim %d is %lld, not %lld", want->name, d,
                     (long long)info.dims[d].value, (long long)dims[d]);
    if (!data)
        cr_assert_eq(qn_session_output_data(r->session, index, &data), QN_OK, "%s",
                     qn_session_message(r->session));
    for (int64_t i = 0; i < item_count(want); i++) {
        Scalar raw = dtype_load(want->dtype, data, i);
        double got = dtype_convert(DT_f64, dtype_compute(want->dtype), raw).f;
        cr_expect(fabs(got - want->values[i]) <= 1e-6 + 1e-5 * fabs(want->values[i]),
                  "%s[%lld] is %.9g, not %.9g", want->name, (long long)i, got, want->values[i]);
    }
}

/* Memory of the outputs whose sizes are known; how many outputs there are. */
static inline int32_t model_room(const ModelRun *r, qn_buffer *outputs)
{
    qn_tensor_info info;
    int32_t count = 0;
    for (; qn_session_output(r->session, count, &info) == QN_OK; count++) {
        cr_assert_lt(count, MODEL_PORTS);
        if (info.bytes >= 0)
            outputs[count] =
                (qn_buffer){.data = NEW_ARRAY(&wire_arena, char, (size_t)info.bytes + 1),
                            .bytes = (size_t)info.bytes};
    }
    return count;
}

/* A run makes `out` of `in`; outputs whose size only the run tells are the session's. */
static inline void model_expect(const ModelRun *r, const Item *in, const Item *out)
{
    qn_buffer inputs[MODEL_PORTS] = {{.data = NULL}}, outputs[MODEL_PORTS] = {{.data = NULL}};
    size_t fed = model_feed(r, in, inputs);
    int32_t count = model_room(r, outputs);
    cr_assert_eq(qn_run(r->session, inputs, fed, outputs, (size_t)count), QN_OK, "%s",
                 qn_session_message(r->session));
    for (int32_t i = 0; i < count; i++) {
        cr_assert(out[i].name, "output %d is not wanted", (int)i);
        model_compare(r, i, &out[i], outputs[i].data);
    }
}

/* The run fails, with a message that holds `text`. */
static inline void model_fails(const ModelRun *r, const Item *in, const char *text)
{
    qn_buffer inputs[MODEL_PORTS] = {{.data = NULL}}, outputs[MODEL_PORTS] = {{.data = NULL}};
    size_t fed = model_feed(r, in, inputs), count = (size_t)model_room(r, outputs);
    cr_assert_neq(qn_run(r->session, inputs, fed, outputs, count), QN_OK, "wanted '%s'", text);
    cr_expect(strstr(qn_session_message(r->session), text), "'%s' is not in: %s", text,
              qn_session_message(r->session));
}

/* It does not compile, with a message that holds `text`. */
static inline void model_refused(Wire bytes, const char *text)
{
    ModelRun r = {NULL, NULL, NULL, NULL};
    cr_assert_eq(qn_context_create(NULL, &r.context), QN_OK);
    cr_assert_eq(qn_model_from_memory(r.context, bytes.data, bytes.size, NULL, &r.model), QN_OK,
                 "%s", qn_model_message(r.model));
    cr_assert_neq(qn_program_compile(r.model, NULL, &r.program), QN_OK, "wanted '%s'", text);
    cr_expect(strstr(qn_program_message(r.program), text), "'%s' is not in: %s", text,
              qn_program_message(r.program));
    model_close(&r);
}

#endif
