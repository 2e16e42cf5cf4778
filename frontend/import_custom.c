/* Operators of the application: a node becomes the host operation `custom`, with the operator's
 * key, the node's inputs and the attributes of the signature as operands. Shapes are what the
 * operator's shape function says of what is known now; what it does not know is bound when the step
 * has run. */
#include "frontend/import_ops.h"

enum { MOST_LIST = 4096, MOST_KNOWN = 1 << 14 };

const CustomOperator *import_find_custom(const Import *im, const OnnxNode *n)
{
    const ImportOptions *o = im->options;
    return o && o->find_custom ? o->find_custom(o->customs, n->domain, n->op, n->opset) : NULL;
}

static Tensor *float_list(Import *im, int64_t count, const float *values)
{
    return graph_constant(im->graph, NULL, DT_f32, 1, &count,
                          arena_copy(im->cx->arena, values, (size_t)count * sizeof *values));
}

static Tensor *float_value(Import *im, double value)
{
    float copy = (float)value;
    return graph_constant(im->graph, NULL, DT_f32, 0, NULL,
                          arena_copy(im->cx->arena, &copy, sizeof copy));
}

/* An attribute as an operand. */
static Tensor *attr_operand(Import *im, const OnnxNode *n, const CustomAttr *wanted)
{
    const OnnxAttr *found = attr(im, n, wanted->name);
    bool real = wanted->dtype == DT_f32;
    if (!found && !wanted->has_default)
        return fail(im, ST_bad_model, "attribute '%s' of the registered signature is missing",
                    wanted->name);
    OnnxAttrType type = wanted->list ? (real ? OA_floats : OA_ints) : (real ? OA_float : OA_int);
    if (found && found->type != type)
        return fail(im, ST_bad_model,
                    "attribute '%s' is of type %s; the registered signature says %s", wanted->name,
                    onnx_attr_type_name(found->type), onnx_attr_type_name(type));
    if (wanted->list && found->count > MOST_LIST)
        return fail(im, ST_limit, "attribute '%s' has more than %d elements", wanted->name,
                    MOST_LIST);
    if (wanted->list)
        return real ? float_list(im, found->count, found->floats)
                    : host_ints(im, (int)found->count, found->ints);
    if (real)
        return float_value(im, found ? (double)found->floats[0] : wanted->value);
    return host_int(im, found ? found->ints[0] : (int64_t)wanted->value);
}

/* What is known of an input. */
static CustomOperand operand_of(Import *im, const Tensor *x)
{
    int64_t *dims = NEW_ARRAY(im->cx->arena, int64_t, x->rank + 1);
    for (int d = 0; d < x->rank; d++)
        dims[d] = x->shape[d]->kind == EX_const ? x->shape[d]->value : -1;
    /* What the program's key does not cover must not decide anything (jit/program_key.h). */
    const void *data = x->bytes <= MOST_KNOWN ? x->data : NULL;
    return (CustomOperand){x->dtype, x->rank, dims, data};
}

/* The type of result `index`; without a shape function that of the first input. `tensors` are
 * inputs, then attributes. */
static bool set_result_type(Import *im, const CustomOperator *op, Tensor *const *tensors, int index,
                            HostResult *result)
{
    int64_t dims[CUSTOM_RANK];
    CustomOperand operands[CUSTOM_PARAMS];
    const CustomSignature *s = &op->signature;
    *result = (HostResult){.dtype = s->results[index].dtype};
    if (!op->shape) {
        if (s->input_count)
            result->rank = tensors[0]->rank, result->shape = tensors[0]->shape;
        return true;
    }
    for (int i = 0; i < s->input_count + s->attr_count; i++)
        operands[i] = operand_of(im, tensors[i]);
    if (op->shape(op, operands, index, &result->rank, dims) != ST_ok) {
        fail(im, ST_bad_argument, "the registered shape function fails for output %d", index);
        return false;
    }
    const Expr **shape = NEW_ARRAY(im->cx->arena, const Expr *, result->rank + 1);
    for (int d = 0; d < result->rank; d++)
        shape[d] = dims[d] < 0 ? NULL : expr_const(im->cx, dims[d]);
    result->shape = shape;
    return true;
}

/* The node's inputs as the signature counts them; false after a failure. */
static bool get_inputs(Import *im, const OnnxNode *n, const CustomSignature *s, Tensor **inputs)
{
    if (n->input_count > (uint32_t)s->input_count || n->output_count > (uint32_t)s->result_count) {
        fail(im, ST_bad_model, "%u inputs and %u outputs; the registered signature has %d and %d",
             n->input_count, n->output_count, s->input_count, s->result_count);
        return false;
    }
    for (int i = 0; i < s->input_count; i++)
        inputs[i] = arg_maybe(im, n, (uint32_t)i);
    for (int i = 0; i < s->param_count; i++) {
        const CustomParam *p = &s->params[i];
        bool value = p->word == CW_scalar, memory = p->word == CW_tensor;
        const Tensor *x = value || memory ? inputs[p->operand] : NULL;
        if ((value && !x) || (x && x->dtype != p->dtype)) {
            fail(im, ST_bad_model, "input %d is %s; the registered signature says %s", p->operand,
                 x ? dtype_name(x->dtype) : "left out", dtype_name(p->dtype));
            return false;
        }
    }
    return true;
}

Tensor *import_custom(Import *im, const OnnxNode *n, const CustomOperator *op)
{
    const CustomSignature *s = &op->signature;
    Tensor *inputs[CUSTOM_PARAMS], *operands[1 + 2 * CUSTOM_PARAMS], *outputs[CUSTOM_PARAMS];
    HostResult results[CUSTOM_PARAMS];
    char key[CUSTOM_KEY];
    int count = 0;
    if (!get_inputs(im, n, s, inputs))
        return NULL;
    custom_key(op, key);
    operands[count++] = host_text(im, key);
    for (int i = 0; i < s->input_count; i++)
        operands[count++] = host_arg(im, inputs[i]);
    for (int i = 0; i < s->attr_count; i++)
        operands[count++] = attr_operand(im, n, &s->attrs[i]);
    for (int i = 0; i < count; i++)
        if (tensor_is_poison(operands[i]))
            return NULL;
    for (int i = 0; i < s->result_count; i++)
        if (!set_result_type(im, op, operands + 1, i, &results[i]))
            return NULL;
    if (!graph_host(im->graph, "custom", count, operands, s->result_count, results, outputs))
        return NULL;
    for (uint32_t i = 1; i < n->output_count; i++)
        set_result(im, i, outputs[i]);
    return outputs[0];
}
