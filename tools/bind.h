/* Values of a model's inputs and outputs, and the run over them. */
#ifndef QUERN_TOOLS_BIND_H
#define QUERN_TOOLS_BIND_H

#include "tools/setup.h"

/* A sequence or optional among the inputs (its value holds nothing), what one of them holds, or the
 * values or keys of a map. */
typedef struct Element {
    char *name;
    Tensor value;
} Element;

/* Until bind_finish inputs are the model's, then the program's. */
typedef struct Binding {
    int32_t input_count, output_count, element_count;
    Element *elements;
    Tensor *inputs, *outputs;
    qn_buffer *buffers; /* inputs, then outputs */
} Binding;

typedef enum Fill { FILL_NONE, FILL_RANDOM, FILL_ZEROS } Fill;

/* After setup_open: makes room for the inputs, all without a value. */
bool bind_begin(Binding *binding, Setup *setup, Fail *fail);
/* Reads an input's value from a .npy or .pb file and makes its shape that of the compile. */
bool bind_read(Binding *binding, Setup *setup, int32_t index, const char *path, Fail *fail);
/* The same for an input that is a sequence, optional or map, from a .pb file: also gives the
 * compile their lengths. */
bool bind_read_list(Binding *binding, Setup *setup, int32_t index, const char *path, Fail *fail);
/* Finds the input that is named so, or whose element or keys are ("x[0]", "x[keys]"), and reads the
 * value, as one of these; -1 and no message when there is none. */
int bind_read_named(Binding *binding, Setup *setup, const char *name, size_t length,
                    const char *path, Fail *fail);
/* setup_compile. When it fails because contents of inputs have to be known, it is done again with
 * those that have a small value: integers and bools of at most 256 elements, floats of at most 16
 * in one dimension. */
bool bind_compile(Binding *binding, Setup *setup, Fail *fail);
/* After setup_session: checks the values there are, fills the others, makes the outputs, but those
 * that are the session's. */
bool bind_finish(Binding *binding, Setup *setup, Fill fill, Fail *fail);
/* One run; allocates nothing of its own. */
qn_status bind_run(const Binding *binding, qn_session *session);
/* After a run: copies the outputs that are the session's. */
bool bind_collect(Binding *binding, Setup *setup, Fail *fail);
void bind_free(Binding *binding); /* takes a zero Binding */

/* Index of the input named so, or -1. */
int32_t bind_find(Setup *setup, const char *name, size_t length);

/* bind_list.c, for bind.c: the value read for an input or element; NULL when there is none called
 * so. */
const Tensor *bind_value(const Binding *binding, Setup *setup, qn_string name);
/* That input's name in memory that stays: what a failed program says goes with it. */
qn_string bind_name(const Binding *binding, Setup *setup, qn_string name);
/* Puts the values that were read in the order of the program's inputs. */
bool bind_arrange(Binding *binding, Setup *setup, Fail *fail);
void bind_free_elements(Binding *binding);

/* What a .pb file holds: a tensor, or a list of values. A map is a list of its values and its keys,
 * as tensors; so is a sequence of maps with equal keys, whose values have a row for each map. */
typedef struct PbValue PbValue;
struct PbValue {
    bool is_list, is_map;
    Tensor tensor;
    int32_t count;
    PbValue *items;
};
/* A SequenceProto, OptionalProto, MapProto or, for other kinds, a TensorProto file. Nothing to free
 * after a failure. */
bool read_pb_value(const char *path, qn_kind kind, PbValue *to, Fail *fail);
void pb_value_free(PbValue *value);

/* A TensorProto file, as ONNX test data has them. The message starts with the path. */
bool read_pb(const char *path, Tensor *to, Fail *fail);

#endif
