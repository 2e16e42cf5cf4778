/* Calling the application's operators. What a call needs (argument types, libffi's description of
 * the function) is made when the operator is registered, so that a call checks its operands against
 * the signature, gathers values and pointers, and goes.
 *
 * libffi is opened when the first operator is registered: an application without any needs none. */
#include "runtime/host/custom.h"

#include <ffi.h>
#include <stdio.h>
#include <string.h>

#include "runtime/host/library.h"

enum { MOST_ARGUMENTS = 2 * CUSTOM_PARAMS };

struct CustomEntry {
    CustomOperator op; /* first: what customs_find gives out */
    CustomEntry *next;
    void (*function)(void);
    qn_operator_shape *shape;
    void *user;
    size_t size; /* of this block, texts behind it included */
    void (*call)(ffi_cif *, void (*)(void), void *, void **);
    ffi_cif cif;
    ffi_type *types[MOST_ARGUMENTS];
    int type_count;
};

/* --- types of C --- */

typedef enum CType {
    C_void,
    C_pointer,
    C_float,
    C_double,
    C_sint8,
    C_sint16,
    C_sint32,
    C_sint64,
    C_uint8,
    C_uint16,
    C_uint32,
    C_uint64,
    C_count
} CType;

static const char *const type_names[C_count] = {
    "ffi_type_void",  "ffi_type_pointer", "ffi_type_float",  "ffi_type_double",
    "ffi_type_sint8", "ffi_type_sint16",  "ffi_type_sint32", "ffi_type_sint64",
    "ffi_type_uint8", "ffi_type_uint16",  "ffi_type_uint32", "ffi_type_uint64"};

static CType value_type(Dtype dtype)
{
    static const CType types[DT_count] = {
        [DT_f32] = C_float,  [DT_f64] = C_double, [DT_i8] = C_sint8,  [DT_i16] = C_sint16,
        [DT_i32] = C_sint32, [DT_i64] = C_sint64, [DT_u8] = C_uint8,  [DT_u16] = C_uint16,
        [DT_u32] = C_uint32, [DT_u64] = C_uint64, [DT_bool] = C_uint8};
    return types[dtype];
}

static CType param_type(const CustomParam *param)
{
    switch (param->word) {
    case CW_scalar:
    case CW_attr: return value_type(param->dtype);
    case CW_count:
    case CW_attr_count:
    case CW_rank:
    case CW_dim: return C_sint64;
    case CW_tensor:
    case CW_attr_list:
    case CW_dims:
    case CW_user: break;
    }
    return C_pointer;
}

/* libffi's description of the function. */
static bool prepare(CustomEntry *e, Report *report)
{
    static const char *const functions[] = {"ffi_prep_cif", "ffi_call"};
    const CustomSignature *s = &e->op.signature;
    void *types[C_count], *found[2];
    ffi_status (*prep)(ffi_cif *, ffi_abi, unsigned, ffi_type *, ffi_type **);
    if (!library_find(report, HL_ffi, C_count, type_names, types) ||
        !library_find(report, HL_ffi, 2, functions, found))
        return false;
    memcpy(&prep, &found[0], sizeof prep);
    memcpy(&e->call, &found[1], sizeof e->call);
    CType result = s->status ? C_sint32 : C_void;
    for (int i = 0; i < s->param_count; i++)
        e->types[e->type_count++] = types[param_type(&s->params[i])];
    for (int i = 0; i < s->result_count; i++)
        if (s->results[i].returned)
            result = value_type(s->results[i].dtype);
        else
            e->types[e->type_count++] = types[C_pointer];
    if (prep(&e->cif, FFI_DEFAULT_ABI, (unsigned)e->type_count, types[result], e->types) == FFI_OK)
        return true;
    report_fail(report, ST_unsupported, "operator '%s': libffi refuses its signature", e->op.name);
    return false;
}

/* --- the list --- */

static int operand_count(const CustomSignature *s)
{
    return s->input_count + s->attr_count;
}

static Status ask_shape(const CustomOperator *op, const CustomOperand *operands, int index,
                        int *rank, int64_t dims[CUSTOM_RANK])
{
    const CustomEntry *e = (const CustomEntry *)op;
    qn_operand all[CUSTOM_PARAMS];
    int count = operand_count(&op->signature);
    for (int i = 0; i < count; i++)
        all[i] = (qn_operand){(qn_dtype)operands[i].dtype, operands[i].rank, operands[i].dims,
                              operands[i].data};
    int32_t given = -1;
    qn_status status = e->shape(e->user, all, count, index, &given, dims);
    *rank = given;
    if (status != QN_OK || given < 0 || given > CUSTOM_RANK)
        return ST_bad_argument;
    for (int d = 0; d < given; d++)
        if (dims[d] < -1)
            return ST_bad_argument;
    return ST_ok;
}

static const char *copy_text(char **at, qn_string text)
{
    char *copy = *at;
    if (text.length)
        memcpy(copy, text.data, text.length);
    copy[text.length] = 0;
    *at += text.length + 1;
    return copy;
}

static bool is_text(qn_string text, size_t least, size_t most)
{
    return text.length >= least && text.length <= most &&
           (!text.length || (text.data && !memchr(text.data, 0, text.length)));
}

static Status fill(CustomEntry *e, const Customs *customs, const qn_operator *given, Report *report)
{
    char why[200];
    char *at = (char *)(e + 1);
    e->op.domain = copy_text(&at, given->domain);
    if (strcmp(e->op.domain, "ai.onnx") == 0)
        e->op.domain = "";
    e->op.name = copy_text(&at, given->name);
    e->op.text = copy_text(&at, given->signature);
    e->op.since = given->since > 0 ? given->since : 1;
    e->op.shape = given->shape ? ask_shape : NULL;
    e->shape = given->shape;
    e->function = given->function;
    e->user = given->user;
    const CustomOperator *same = customs_find(customs, e->op.domain, e->op.name, e->op.since);
    if (same && same->since == e->op.since)
        return report_fail(report, ST_bad_argument, "operator '%s' is registered already",
                           e->op.name);
    if (!custom_parse(&e->op.signature, e->op.text, why, sizeof why))
        return report_fail(report, ST_bad_argument, "operator '%s': %s", e->op.name, why);
    return prepare(e, report) ? ST_ok : report->status;
}

Status customs_add(Customs *customs, const qn_operator *given, Report *report)
{
    if (!given->function || !is_text(given->domain, 0, 200) || !is_text(given->name, 1, 200) ||
        !is_text(given->signature, 1, 2000))
        return report_fail(report, ST_bad_argument,
                           "an operator needs a function, and name, domain and signature as texts "
                           "of at most 200, 200 and 2,000 bytes");
    size_t size = sizeof(CustomEntry) + given->domain.length + given->name.length +
                  given->signature.length + 3;
    CustomEntry *e = customs->from->alloc(customs->from->user, size, 64);
    if (!e)
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    memset(e, 0, size);
    e->size = size;
    if (fill(e, customs, given, report) != ST_ok) {
        customs->from->release(customs->from->user, e, size);
        return report->status;
    }
    e->next = customs->first;
    customs->first = e;
    return ST_ok;
}

void customs_finish(Customs *customs)
{
    while (customs->first) {
        CustomEntry *e = customs->first;
        customs->first = e->next;
        customs->from->release(customs->from->user, e, e->size);
    }
}

const CustomOperator *customs_find(const Customs *customs, const char *domain, const char *name,
                                   int64_t version)
{
    const CustomOperator *best = NULL;
    for (const CustomEntry *e = customs ? customs->first : NULL; e; e = e->next)
        if (e->op.since <= version && (!best || e->op.since > best->since) &&
            strcmp(e->op.name, name) == 0 && strcmp(e->op.domain, domain) == 0)
            best = &e->op;
    return best;
}

/* --- calls --- */

/* Memory of an argument or of what is returned; integers narrower than a register come back as one.
 */
typedef union Value {
    double real;
    int64_t whole;
    const void *pointer;
    ffi_arg wide;
} Value;

typedef struct CustomCall {
    HostCall *host;
    const CustomEntry *entry;
    const HostTensor *inputs, *attrs;
    Value values[MOST_ARGUMENTS], returned;
    void *outputs[CUSTOM_PARAMS];
} CustomCall;

static bool fail(const CustomCall *c, const char *what, int number)
{
    report_fail(c->host->report, ST_bad_argument, "operator '%s' (\"%s\"): %s %d",
                c->entry->op.name, c->entry->op.text, what, number);
    return false;
}

static int64_t count_of(const HostTensor *t)
{
    int64_t count = 1;
    for (int d = 0; d < t->rank; d++)
        if (__builtin_mul_overflow(count, t->dims[d], &count))
            return -1;
    return count;
}

/* What the importer puts where the node leaves an input out. */
static bool is_omitted(const HostTensor *t)
{
    return t->dtype == DT_u8 && t->rank == 1 && t->dims[0] == 0;
}

static bool set_tensor(CustomCall *c, const CustomParam *p, Value *value)
{
    const HostTensor *t = &c->inputs[p->operand];
    value->pointer = t->data;
    if (t->dtype == p->dtype)
        return true;
    if (!is_omitted(t))
        return fail(c, "another element type is given for input", p->operand);
    value->pointer = NULL;
    return true;
}

static bool set_scalar(CustomCall *c, const CustomParam *p, const HostTensor *t, Value *value)
{
    if (t->dtype != p->dtype || count_of(t) != 1)
        return p->word == CW_attr
                   ? fail(c, "no single value of that type is given for attribute", p->operand)
                   : fail(c, "no single element of that type is given for input", p->operand);
    memcpy(value, t->data, (size_t)dtype_bits(t->dtype) / 8);
    return true;
}

static bool set_argument(CustomCall *c, const CustomParam *p, Value *value)
{
    const HostTensor *attr = &c->attrs[p->operand], *input = &c->inputs[p->operand];
    switch (p->word) {
    case CW_tensor: return set_tensor(c, p, value);
    case CW_scalar: return set_scalar(c, p, input, value);
    case CW_attr: return set_scalar(c, p, attr, value);
    case CW_attr_list:
        value->pointer = attr->data;
        return attr->dtype == p->dtype ||
               fail(c, "another type is given for attribute", p->operand);
    case CW_count: value->whole = count_of(input); return true;
    case CW_attr_count: value->whole = count_of(attr); return true;
    case CW_rank: value->whole = input->rank; return true;
    case CW_dim:
        if (p->axis >= input->rank)
            return fail(c, "a dim is asked for that is not there, of input", p->operand);
        value->whole = input->dims[p->axis];
        return true;
    case CW_dims: value->pointer = input->dims; return true;
    case CW_user: value->pointer = c->entry->user; return true;
    }
    return false;
}

/* Memory of result `index`, of the shape that the application says. */
static bool make_output(CustomCall *c, int index)
{
    const CustomOperator *op = &c->entry->op;
    CustomOperand operands[CUSTOM_PARAMS];
    int64_t dims[CUSTOM_RANK];
    int rank = 0;
    for (int i = 0; i < operand_count(&op->signature); i++) /* attributes lie behind inputs */
        operands[i] = (CustomOperand){c->inputs[i].dtype, c->inputs[i].rank, c->inputs[i].dims,
                                      c->inputs[i].data};
    if (op->shape && op->shape(op, operands, index, &rank, dims) != ST_ok)
        return fail(c, "its shape function fails for output", index);
    for (int d = 0; op->shape && d < rank; d++)
        if (dims[d] < 0)
            return fail(c, "its shape function does not know, though all inputs are there, output",
                        index);
    if (!op->shape && op->signature.input_count)
        rank = c->inputs[0].rank;
    if (c->host->output_dtypes[index] != op->signature.results[index].dtype)
        return fail(c, "another element type is expected of output", index);
    const int64_t *shape = op->shape || !rank ? dims : c->inputs[0].dims;
    HostTensor made = {.rank = rank, .dims = shape};
    if (op->signature.results[index].returned && count_of(&made) != 1)
        return fail(c, "what the function returns is one element, not all of output", index);
    c->outputs[index] = c->host->output(c->host, index, rank, shape);
    return c->outputs[index] != NULL;
}

static Status run(CustomCall *c)
{
    const CustomSignature *s = &c->entry->op.signature;
    void *arguments[MOST_ARGUMENTS];
    int count = 0;
    for (int i = 0; i < s->param_count; i++, count++)
        if (!set_argument(c, &s->params[i], &c->values[count]))
            return c->host->report->status;
    for (int i = 0; i < s->result_count; i++)
        if (!make_output(c, i))
            return c->host->report->status;
        else if (!s->results[i].returned)
            c->values[count++].pointer = c->outputs[i];
    for (int i = 0; i < count; i++)
        arguments[i] = &c->values[i];
    ffi_cif cif = c->entry->cif; /* libffi does not say that it leaves it alone */
    c->entry->call(&cif, c->entry->function, &c->returned, arguments);
    if (s->results[0].returned)
        memcpy(c->outputs[0], &c->returned, (size_t)dtype_bits(s->results[0].dtype) / 8);
    int32_t status = s->status ? (int32_t)c->returned.wide : 0;
    if (!status)
        return ST_ok;
    fail(c, "its function returned", status);
    if (status > 0 && status < ST_count)
        c->host->report->status = (Status)status;
    return c->host->report->status;
}

/* host_custom: key (u8 text, custom_key), inputs, attributes in the order of the signature -> its
 * results. */
Status host_custom(HostCall *call)
{
    char key[CUSTOM_KEY], own[CUSTOM_KEY];
    const HostTensor *text = call->inputs;
    size_t length =
        call->input_count && text->dtype == DT_u8 && text->rank == 1 && text->dims[0] < CUSTOM_KEY
            ? (size_t)text->dims[0]
            : 0;
    snprintf(key, sizeof key, "%.*s", (int)length, length ? (const char *)text->data : "");
    const CustomEntry *e = call->customs ? call->customs->first : NULL;
    for (; e; e = e->next) {
        custom_key(&e->op, own);
        if (strcmp(own, key) == 0)
            break;
    }
    if (!e)
        return report_fail(call->report, ST_missing,
                           "the program needs the operator '%s' of the application; register it "
                           "with qn_custom_operator",
                           key);
    const CustomSignature *s = &e->op.signature;
    if (call->input_count != 1 + s->input_count + s->attr_count ||
        call->output_count != s->result_count)
        return report_fail(call->report, ST_bad_argument,
                           "operator '%s' has another signature than the program was compiled for",
                           key);
    CustomCall c = {.host = call,
                    .entry = e,
                    .inputs = call->inputs + 1,
                    .attrs = call->inputs + 1 + s->input_count};
    return run(&c);
}
