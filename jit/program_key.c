/* The key is a hash of: the sources that generate programs (a build-time hash), the skeleton of the
 * model, where each constant lies, the contents of those that are small or that the plan has to
 * carry, the bounds of the dims, the shapes, the target. No paths, no names of files, no
 * environment. */
#include "jit/program_key.h"

#include <string.h>

#include "base/kernel_abi.h"
#include "jit/source_hash.h"
#include "runtime/plan.h"

typedef struct Key {
    Hasher hasher;
    uint32_t file_count;
    const FileRange *files;
    const ImportOptions *import;
} Key;

/* `read`: importers look at the contents, whatever their size: those of attributes, but of what
 * only carries a constant. */
static void add_tensor(Key *k, const OnnxTensor *tensor, bool read)
{
    hash_add_int(&k->hasher, (int64_t)tensor->size);
    uint32_t file = PLAN_INLINE;
    uintptr_t at = (uintptr_t)tensor->data;
    for (uint32_t f = 0; f < k->file_count && tensor->size; f++) {
        uintptr_t base = (uintptr_t)k->files[f].data;
        if (at < base || at - base >= k->files[f].size)
            continue;
        file = f;
        hash_add_int(&k->hasher, (int64_t)(at - base));
    }
    hash_add_int(&k->hasher, file);
    if (tensor->data && (read || tensor->size <= KEY_SMALL_CONSTANT || file == PLAN_INLINE))
        hash_add(&k->hasher, tensor->data, tensor->size);
}

static void add_graph(Key *k, const OnnxGraph *graph);

/* An operator of the application is the same as long as its signature is. */
static void add_custom(Key *k, const OnnxNode *node)
{
    const ImportOptions *o = k->import;
    const CustomOperator *op = o->find_custom && node->op
                                   ? o->find_custom(o->customs, node->domain, node->op, node->opset)
                                   : NULL;
    if (!op)
        return;
    char key[CUSTOM_KEY];
    custom_key(op, key);
    hash_add_text(&k->hasher, key);
    hash_add_text(&k->hasher, op->text);
}

static void add_node(Key *k, const OnnxNode *node)
{
    add_custom(k, node);
    for (uint32_t a = 0; a < node->attr_count; a++) {
        const OnnxAttr *attr = &node->attrs[a];
        for (uint32_t i = 0; i < attr->count; i++) {
            if (attr->type == OA_graph || attr->type == OA_graphs)
                add_graph(k, attr->graphs[i]);
            else if (attr->type == OA_tensor || attr->type == OA_tensors ||
                     attr->type == OA_sparse || attr->type == OA_sparses)
                add_tensor(k, &attr->tensors[i], strcmp(node->op, "Constant") != 0);
        }
    }
}

static void add_graph(Key *k, const OnnxGraph *graph)
{
    for (uint32_t i = 0; i < graph->init_count; i++)
        add_tensor(k, &graph->inits[i], false);
    for (uint32_t i = 0; i < graph->node_count; i++)
        add_node(k, &graph->nodes[i]);
}

static void add_function(Key *k, const OnnxFunction *function)
{
    add_graph(k, &function->body);
    OnnxNode defaults = {.attrs = function->defaults, .attr_count = function->default_count};
    add_node(k, &defaults);
}

/* Contents of an input that the import takes as known. */
static void add_value(Key *k, const ImportValue *value)
{
    int64_t count = 1;
    for (int d = 0; d < value->rank; d++)
        count *= value->dims[d];
    hash_add_text(&k->hasher, value->input);
    hash_add_int(&k->hasher, value->dtype);
    hash_add_int(&k->hasher, value->rank);
    hash_add(&k->hasher, value->dims, (size_t)value->rank * sizeof *value->dims);
    hash_add(&k->hasher, value->data, (size_t)((count * dtype_bits(value->dtype) + 7) / 8));
}

Hash128 program_key(const OnnxModel *model, uint32_t file_count, const FileRange *files,
                    const ImportOptions *import, const char *target)
{
    Key k = {.file_count = file_count, .files = files, .import = import};
    hash_init(&k.hasher);
    hash_add_text(&k.hasher, QUERN_SOURCE_HASH);
    hash_add_int(&k.hasher, PLAN_VERSION);
    hash_add_int(&k.hasher, KERNEL_ABI);
    hash_add_text(&k.hasher, target);
    hash_add_int(&k.hasher, import->dim_count);
    for (uint32_t i = 0; i < import->dim_count; i++) {
        const ImportDim *dim = &import->dims[i];
        const int64_t numbers[] = {dim->lo, dim->hi, dim->div};
        hash_add_text(&k.hasher, dim->name);
        hash_add(&k.hasher, numbers, sizeof numbers);
    }
    hash_add_int(&k.hasher, import->shape_count);
    for (uint32_t i = 0; i < import->shape_count; i++) {
        const ImportShape *shape = &import->shapes[i];
        hash_add_text(&k.hasher, shape->input);
        hash_add_int(&k.hasher, shape->rank);
        hash_add(&k.hasher, shape->dims, (size_t)shape->rank * sizeof *shape->dims);
    }
    hash_add_int(&k.hasher, import->value_count);
    for (uint32_t i = 0; i < import->value_count; i++)
        add_value(&k, &import->values[i]);
    hash_add_int(&k.hasher, (int64_t)model->skeleton_size);
    hash_add(&k.hasher, model->skeleton, model->skeleton_size);
    add_graph(&k, &model->graph);
    for (uint32_t i = 0; i < model->function_count; i++)
        add_function(&k, &model->functions[i]);
    return hash_finish(&k.hasher);
}
