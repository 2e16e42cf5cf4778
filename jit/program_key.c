/* Parts of a program's key: the sources that generate programs (a build-time hash), the target, the
 * skeleton of the model, where each constant lies and the contents of those that are small or that
 * the plan has to carry, the bounds of the dims, the shapes, the contents of inputs. No paths, no
 * names of files, no environment. */
#include "jit/program_key.h"

#include <string.h>

#include "base/kernel_abi.h"
#include "base/text.h"
#include "base/utf8.h"
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

/* A name from a model or a command line as one word. */
static void put_word(Text *out, const char *word)
{
    if (!*word)
        text_add(out, "\"\"");
    uint32_t code;
    for (size_t length; *word; word += length) {
        length = utf8_read(word, strlen(word), &code);
        if (length && utf8_is_plain(code) && !strchr(" %\"", *word)) {
            text_put(out, word, length);
            continue;
        }
        length += !length;
        for (size_t i = 0; i < length; i++)
            text_add(out, "%%%02x", (unsigned char)word[i]);
    }
}

static void put_hash(Text *out, Hash128 hash)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(hash, hex);
    text_put(out, hex, HASH_HEX_SIZE - 1);
}

static void put_sizes(Text *out, int rank, const int64_t *dims)
{
    for (int d = 0; d < rank; d++)
        text_add(out, "%s%lld", d ? "x" : " ", (long long)dims[d]);
}

static void put_options(Text *out, const ImportOptions *import)
{
    for (uint32_t i = 0; i < import->dim_count; i++) {
        const ImportDim *dim = &import->dims[i];
        text_add(out, "dim ");
        put_word(out, dim->name);
        text_add(out, " %lld..%lld by %lld\n", (long long)dim->lo, (long long)dim->hi,
                 (long long)dim->div);
    }
    for (uint32_t i = 0; i < import->shape_count; i++) {
        text_add(out, "shape ");
        put_word(out, import->shapes[i].input);
        put_sizes(out, import->shapes[i].rank, import->shapes[i].dims);
        text_add(out, "\n");
    }
    for (uint32_t i = 0; i < import->value_count; i++) {
        const ImportValue *value = &import->values[i];
        int64_t count = 1;
        for (int d = 0; d < value->rank; d++)
            count *= value->dims[d];
        text_add(out, "contents ");
        put_word(out, value->input);
        text_add(out, " %s", dtype_name(value->dtype));
        put_sizes(out, value->rank, value->dims);
        text_add(out, " ");
        put_hash(out,
                 hash_bytes(value->data, (size_t)((count * dtype_bits(value->dtype) + 7) / 8)));
        text_add(out, "\n");
    }
}

static Hash128 constants_of(const KeySource *source)
{
    const OnnxModel *model = source->model;
    Key k = {.file_count = source->file_count, .files = source->files, .import = source->import};
    hash_init(&k.hasher);
    add_graph(&k, &model->graph);
    for (uint32_t i = 0; i < model->function_count; i++)
        add_function(&k, &model->functions[i]);
    return hash_finish(&k.hasher);
}

const char *program_key_parts(Cx *cx, const KeySource *source)
{
    const OnnxModel *model = source->model;
    Text out;
    text_init(&out, cx->arena);
    text_add(&out, "kind program\ntarget %s\nsource %s\nformats plan %d abi %d\ngraph ",
             source->target, QUERN_SOURCE_HASH, PLAN_VERSION, KERNEL_ABI);
    put_word(&out, model->graph.name);
    text_add(&out, " %u nodes\nmodel ", model->graph.node_count);
    put_hash(&out, hash_bytes(model->skeleton, model->skeleton_size));
    text_add(&out, "\nconstants ");
    put_hash(&out, constants_of(source));
    text_add(&out, "\n");
    put_options(&out, source->import);
    return out.data;
}

const char *program_key_with_records(Cx *cx, const char *parts, Hash128 digest)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(digest, hex);
    return arena_printf(cx->arena, "%srecords %s\n", parts, hex);
}
