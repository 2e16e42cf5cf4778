/* What importers are written with. An importer reads as a formula: helpers given a poison tensor
 * return poison, the first failure of a node is kept, and the driver reports it with the node. The
 * driver calls an importer only with inputs that are no poison; still, no helper result may be
 * looked into (shape[d], elements) without the helpers below. */
#ifndef QUERN_FRONTEND_IMPORT_OPS_H
#define QUERN_FRONTEND_IMPORT_OPS_H

#include "base/map.h"
#include "frontend/import.h"

typedef struct Frame Frame;

/* A body of a loop or branch being imported: import_scope.c. */
typedef struct Body {
    struct Body *up;
    Graph *graph, *outer;
    Map captured; /* from tensors of `outer` to the body's */
    uint32_t count, capacity;
    Tensor **captures; /* of `outer`, in the order of the body's inputs for them */
} Body;

/* An If that cannot be one node, because its sides give different types. `condition` is a tensor of
 * the graph it stands in, NULL: there is no such If. */
typedef struct Fork {
    Tensor *condition;
    const OnnxNode *node;
    uint32_t number; /* among the Ifs of open conditions, in the order in which they are met */
} Fork;

/* The side that an If takes while what follows it is imported for that side. */
typedef struct Choice {
    uint32_t number;
    const OnnxNode *node;
    bool yes;
    const char
        *refuse; /* not NULL: only this side can be; a run that takes the other is told why */
    const struct Choice *next;
} Choice;

typedef struct Import {
    Cx *cx;
    Graph *graph;
    const OnnxModel *model;
    const ImportOptions *options;
    ImportProblems *problems;
    Tensor *
        *values; /* by onnx_name_id: what a name stands for in the current scope; NULL = absent */
    const OnnxTensor **weights; /* by onnx_name_id: initializers not turned into a constant yet */
    uint32_t value_count;
    Body *body;       /* whose graph `graph` is; NULL: the model's */
    int body_count;   /* of imports of bodies so far, repeated ones included */
    Frame *frame;     /* the function call around the current node, or NULL */
    int64_t arg;      /* argument of the current node's row in onnx.def */
    Tensor **results; /* of the current node, by output */
    uint32_t result_count;
    int depth;         /* of calls, subgraphs and sides of forks */
    Fork fork;         /* wanted by the node that has just failed */
    int forks;         /* being imported, one within another */
    uint32_t open_ifs; /* met so far */
    const Choice *choices;
    Map unknown; /* operators reported as such */
    struct Undo *undo;
    uint32_t undo_count, undo_capacity;
} Import;

/* Returns the first output; further ones go through set_result. */
typedef Tensor *ImportOp(Import *im, const OnnxNode *n);
#define ONNX(domain, op, since, importer, arg) Tensor *importer(Import *im, const OnnxNode *n);
#include "frontend/onnx.def"
#undef ONNX

/* ---- import.c: the node */
Tensor *fail(Import *im, Status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Input i; fails when it is omitted. */
Tensor *arg(Import *im, const OnnxNode *n, uint32_t i);
/* Input i or NULL. Fails, as arg does, when it is a list. */
Tensor *arg_maybe(Import *im, const OnnxNode *n, uint32_t i);
/* Input i, be it a tensor or a list, or NULL. */
Tensor *arg_any(Import *im, const OnnxNode *n, uint32_t i);
/* Whether output i is used by name. */
bool wants(const OnnxNode *n, uint32_t i);
void set_result(Import *im, uint32_t i, Tensor *tensor);
/* Attributes, through the calls of functions. NULL when absent. */
const OnnxAttr *attr(Import *im, const OnnxNode *n, const char *name);
int64_t attr_i(Import *im, const OnnxNode *n, const char *name, int64_t other);
double attr_f(Import *im, const OnnxNode *n, const char *name, double other);
const char *attr_s(Import *im, const OnnxNode *n, const char *name, const char *other);
/* The position of the attribute's word (`other` when absent) among `count`; 0 after a failure. */
int attr_word(Import *im, const OnnxNode *n, const char *name, const char *const *words, int count,
              const char *other);
/* The list and its length; false when absent. */
bool attr_list(Import *im, const OnnxNode *n, const char *name, int *count, const int64_t **list);
Tensor *weight(Import *im, const OnnxTensor *tensor, const char *name);
/* A failure becomes a problem and poison outputs, unless im->fork says that the node is to be
 * forked: then it stays. */
void import_node(Import *im, const OnnxNode *n);
/* Makes a problem of the failure of a node: its outputs are poison. */
void give_up_node(Import *im, const OnnxNode *n);

/* ---- import_fork.c: the nodes of a graph in their order. A failure stays when it wants a fork
 * that the graph around has to make. */
void import_nodes(Import *im, const OnnxGraph *graph);

/* ---- import_scope.c: names, subgraphs, bodies */
void bind_weight(Import *im, const OnnxTensor *tensor);
void leave_scope(Import *im, uint32_t mark); /* what was bound since im->undo_count was `mark` */
/* The same value in the present graph, of one of the graphs around it. */
Tensor *import_visible(Import *im, Tensor *tensor);
/* Between them nodes go into a body of the present graph. False after a failure: too deep. */
bool body_begin(Import *im, Body *body, const char *name);
void body_end(Import *im, Body *body);
/* The loop of a body that was ended and has its outputs: `again` (bool []) when `until`, carried
 * values, stacked ones. Its inputs: the iteration's number (i64 []), carried values, captures. */
typedef struct BodyLoop {
    Tensor *trip,
        *condition; /* i64 [], bool []: at most so many iterations; whether there is any */
    uint32_t carried;
    Tensor *const *initial;
    bool until;
} BodyLoop;
/* Results: carried values, then stacked ones along a new axis 0. False after a failure. */
bool body_loop(Import *im, const Body *body, const BodyLoop *loop, Tensor **results);
/* Imports the nodes of a subgraph in the present scope; `inputs` are what its inputs stand for
 * (NULL: it has none), results by output of the graph. Nothing is left of it but the results. */
bool import_subgraph(Import *im, const OnnxGraph *graph, Tensor *const *inputs, Tensor **results,
                     uint32_t count);

/* ---- import_recur.c: a step applied again and again, unrolled or as a loop */
enum { RECURRENCE_VALUES = 2 };
typedef struct Recurrence {
    const char *name;
    const Expr *steps;
    bool reverse; /* t goes from the last to the first */
    bool stacks;  /* the outputs are wanted */
    int count;    /* of the values that a step hands to the next */
    /* Brings what `step` uses into the present graph, a body's. */
    void (*enter)(void *user);
    /* Replaces the values by those after step t (i64 []); gives its output. */
    Tensor *(*step)(void *user, Tensor *t, Tensor **values);
    void *user;
} Recurrence;
/* Replaces the values by those after the last step; gives the outputs along a new axis 0, by t, or
 * NULL when they are not wanted or after a failure. */
Tensor *recur(Import *im, const Recurrence *r, Tensor **values);
/* x with the extent `want` along an axis, which must be what it is: types that have to be equal. */
Tensor *with_extent(Import *im, Tensor *x, int axis, const Expr *want);
/* What a loop stacked, with axis 0 moved to `axis`, from the last to the first when reversed. */
Tensor *arrange(Import *im, Tensor *x, int axis, bool reverse);

/* ---- import_custom.c: operators of the application */
const CustomOperator *import_find_custom(const Import *im, const OnnxNode *n);
/* As an importer. */
Tensor *import_custom(Import *im, const OnnxNode *n, const CustomOperator *op);

/* ---- import_scores.c: the attribute post_transform of ai.onnx.ml, on scores [n, k]; numbers are
 * those of TreeEnsemble's attribute */
typedef enum PostTransform {
    POST_none,
    POST_softmax,
    POST_logistic,
    POST_softmax_zero,
    POST_probit,
    POST_count
} PostTransform;
PostTransform post_of(Import *im, const OnnxNode *n);
Tensor *post_apply(Import *im, PostTransform post, Tensor *scores);
/* Both. */
Tensor *post_transform(Import *im, const OnnxNode *n, Tensor *scores);

/* ---- import_text.c: strings */
Tensor *text_constant(Import *im, int rank, const int64_t *dims, const OnnxString *texts);
/* An attribute that lists strings, as a tensor [n]; [0] when absent. */
Tensor *text_list(Import *im, const OnnxNode *n, const char *name);
/* Between strings and numbers, either way. */
Tensor *text_cast(Import *im, Tensor *x, Dtype dtype);
/* The strings at positions, in their shape; `texts` are count tensors, one behind the other. */
Tensor *text_take(Import *im, Tensor *positions, int count, Tensor *const *texts);
/* Gather along an axis, of any type. */
Tensor *gather_axis(Import *im, Tensor *x, Tensor *indices, int axis);
/* Whether the importer only moves elements and an input is of strings: then it is called through
 * import_moved_texts. */
bool moves_texts(Import *im, const OnnxNode *n, ImportOp *op);
Tensor *import_moved_texts(Import *im, const OnnxNode *n, ImportOp *op);

/* What a name stands for; NULL for "" and for omitted inputs of a function. */
Tensor *lookup(Import *im, const char *name);
void bind(Import *im, const char *name, Tensor *tensor);
/* Moves the job's failure, if any, to the list of problems, so that the job goes on; whether there
 * was one. */
bool collect(Import *im);

/* ---- import_io.c: of the model */
void import_inputs(Import *im);
void import_outputs(Import *im);

/* ---- import_sequence.c: lists. While importing a sequence is a list of known length, an optional
 * a list of one element or none; elements are tensors or lists. A map is a list of two: values [n]
 * and their keys [n]; n maps with equal keys, as a sequence, have values [n, keys]. A list stands
 * where a tensor does (results, names, subgraphs) but has no type, and `arg` refuses it. */
typedef enum ListKind { LIST_sequence, LIST_optional, LIST_map } ListKind;
Tensor *list_make(Import *im, ListKind kind, int count, Tensor *const *items);
bool is_list(const Tensor *tensor);
ListKind list_kind(const Tensor *list);
int list_count(const Tensor *list);
Tensor *list_item(const Tensor *list, int i);

/* ---- import_help.c: formulas */
Tensor *ew(Import *im, ScalarOp op, Tensor *a, Tensor *b); /* b NULL: one operand */
Tensor *ew1(Import *im, ScalarOp op, Tensor *a);
Tensor *pick(Import *im, Tensor *condition, Tensor *yes, Tensor *no);
Tensor *scalar(Import *im, const Tensor *like, double value); /* rank 0, dtype of `like` */
/* Numbers of an attribute. */
typedef struct NumberList {
    Dtype dtype; /* DT_none: no list */
    int64_t count;
    const void *data;
} NumberList;
/* The lists one behind the other, then `rest`, as a constant [room]. Their type is `dtype`, or all
 * are of floats. */
Tensor *number_table(Import *im, Dtype dtype, int count, const NumberList *lists, int64_t room,
                     Scalar rest);
/* Room for a table of so many elements that a gather reads: one of four sizes an octave, so that
 * models of many such tables (trees, encoders) have few kernels. */
int64_t table_room(int64_t count);
Tensor *clamp(Import *im, Tensor *x, double lo, double hi);
Tensor *sigmoid(Import *im, Tensor *x);
Tensor *to(Import *im, Tensor *x, Dtype dtype);
/* float32 for narrower floats, float64 or float32 for integers, else itself: where a formula
 * computes. */
Tensor *wide(Import *im, Tensor *x);
const Expr *dim(Import *im, const Tensor *x, int d); /* d < 0 counts from the end */
/* 0 <= axis < rank, from a value that may be negative; fails and gives 0. */
int axis_of(Import *im, int64_t axis, int rank);
bool axes_of(Import *im, int count, const int64_t *from, int rank, int64_t *axes);
/* Notes that a compile could go on if it knew more of this input. */
void want_input(Import *im, const char *name);
/* The same of the inputs that x comes from. */
void want_inputs(Import *im, const Tensor *x);
/* Fails because the contents of x are not known when compiling; notes the inputs it comes from. */
Tensor *unknown(Import *im, const Tensor *x, const char *what);
/* Contents of a rank 0 or 1 integer tensor; false, with a failure that names `what`, when it is not
 * known at compile time or longer than MAX_RANK * 2. */
bool known_list(Import *im, const Tensor *x, const char *what, int *count, const Expr **list);
/* The same, all of them numbers. */
bool known_ints(Import *im, const Tensor *x, const char *what, int *count, int64_t *list);
/* Whether numbers are a matter of the run. */
bool is_open(const Tensor *x);
/* What host_extents makes of open sizes, by its rule and the shape of x (NULL for "plain"): `count`
 * dims, those that are not known bound by the run. A broadcast has as many as the longer operand.
 * The inputs they come from are noted: with their contents the same is made without a step. */
bool bound_extents(Import *im, Tensor *sizes, const Tensor *x, const char *rule, int *count,
                   const Expr **list);
/* known_list, or sizes of 0 and more that the run binds. */
bool sizes_of(Import *im, Tensor *sizes, const char *what, int *count, const Expr **list);
/* Number i of a list, as an i64 of rank 0. */
Tensor *list_number(Import *im, Tensor *list, int i);
/* x padded by open amounts: those before `axes`, then those after; `fill` for the mode "constant".
 */
typedef struct OpenPad {
    Tensor *x, *amounts, *fill;
    int count;
    const int *axes;
    const char *mode;
} OpenPad;
Tensor *open_pad(Import *im, const OpenPad *pad);
/* The value of a constant of one element. */
bool known_number(Import *im, const Tensor *x, const char *what, double *value);
/* List from an attribute, or from input i where that is given; *count = -1 when neither is. */
bool list_or_input(Import *im, const OnnxNode *n, const char *name, uint32_t i, int *count,
                   int64_t *list);
Tensor *reshape(Import *im, Tensor *x, int rank, const Expr *const *shape);
/* x [n] as a shape of `rank` dims with n at `axis` and 1 elsewhere. */
Tensor *along(Import *im, Tensor *x, int axis, int rank);
Tensor *unsqueeze(Import *im, Tensor *x, int axis);
Tensor *squeeze(Import *im, Tensor *x, int axis);
/* [start, start + size) of one axis. */
Tensor *slice_axis(Import *im, Tensor *x, int axis, const Expr *start, const Expr *size);
Tensor *reduce(Import *im, Monoid monoid, Tensor *x, int count, const int64_t *axes, bool keep);
Tensor *mean(Import *im, Tensor *x, int count, const int64_t *axes, bool keep);
Tensor *log_softmax(Import *im, Tensor *x, int axis); /* import_reduce.c */
/* [b, s, heads * size] as [b, heads, s, size]; rank 4 stays. import_attention.c */
Tensor *split_heads(Import *im, Tensor *x, int64_t heads);
/* One over the root of the size of a head, as a rank 0 tensor. import_attention.c */
Tensor *head_scale(Import *im, Dtype dtype, const Expr *size);
/* Number of elements over some axes, as a rank 0 tensor. */
Tensor *count_of(Import *im, const Tensor *x, int count, const int64_t *axes, Dtype dtype);
Tensor *expr_scalar(Import *im, Dtype dtype, const Expr *value);
Tensor *known_true(Import *im); /* bool [] */
/* Product of dims [from, to). */
const Expr *product(Import *im, const Tensor *x, int from, int until);
/* x of [d0.., dn] as [prod(..axis), prod(axis..)]. */
Tensor *flatten(Import *im, Tensor *x, int axis);
/* Broadcast of opset < 7: attributes broadcast and axis. */
Tensor *legacy_operand(Import *im, const OnnxNode *n, Tensor *a, Tensor *b);
/* One result of host operation `name` (a row of runtime/host.def): operands, then attributes as
 * constants, as its function says. shape[d] NULL: known only when it has run. For several results:
 * graph_host. */
Tensor *host(Import *im, const char *name, int count, Tensor *const *inputs,
             const HostResult *result);
/* Operands of host operations: what stands for an omitted one (NULL gives it), a text, an integer,
 * a list of them. */
Tensor *host_arg(Import *im, Tensor *maybe);
Tensor *host_text(Import *im, const char *text);
Tensor *host_int(Import *im, int64_t value);
Tensor *host_ints(Import *im, int count, const int64_t *values);
/* An element type from an attribute; `other` when it is absent or after a failure. import_cast.c */
Dtype dtype_attr(Import *im, const OnnxNode *n, const char *name, Dtype other);
/* To a float8 without saturation: infinity or NaN for what it cannot hold. */
Tensor *cast_open(Import *im, Tensor *x, Dtype dtype);
/* Quantisation parameters against x: one number, a list along `axis`, or blocks along it. */
Tensor *spread(Import *im, Tensor *x, Tensor *parameter, int axis);
Tensor *dequantize(Import *im, Tensor *x, Tensor *scale, Tensor *zero, int axis, Dtype result);
/* x and scale float32 and broadcasting already; zero (of any type) may be NULL. */
Tensor *quantize(Import *im, Tensor *x, Tensor *scale, Tensor *zero, Dtype result);

#endif
