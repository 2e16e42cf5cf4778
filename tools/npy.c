/* Reading and writing of .npy: the header is a Python dict literal of three known keys; the data
 * then is brought to little-endian, row-major, packed form. */
#include "tools/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/dtype.h"
#include "base/os_file.h"
#include "tools/npy_text.h"

static const unsigned char MAGIC[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

enum { MOST_CHARACTERS = 1 << 24 };

/* What the header says. */
typedef struct Header {
    char order, kind; /* of '<' '>' '|' and of 'b' 'i' 'u' 'f' 'c' 'V' 'U' */
    int size;         /* bytes of an element in the file */
    bool fortran;
    int rank;
    int64_t dims[QN_MAX_RANK];
    bool has_descr, has_order, has_shape;
    const unsigned char *data;
    size_t bytes;
} Header;

typedef struct Cursor {
    const char *at, *end;
} Cursor;

static void skip_space(Cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t'))
        c->at++;
}

static bool take(Cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool take_word(Cursor *c, const char *word)
{
    size_t length = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

/* A quoted string without escapes; at most 31 bytes. */
static bool take_string(Cursor *c, char text[32])
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return false;
    char quote = *c->at++;
    size_t length = 0;
    while (c->at < c->end && *c->at != quote && length < 31)
        text[length++] = *c->at++;
    text[length] = 0;
    return c->at < c->end && *c->at++ == quote;
}

static bool take_int(Cursor *c, int64_t *value)
{
    skip_space(c);
    const char *start = c->at;
    *value = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, *c->at - '0', value))
            return false;
        c->at++;
    }
    return c->at > start;
}

/* "(2, 3)", "(2,)", "()" */
static bool take_shape(Cursor *c, Header *h, Fail *fail)
{
    if (!take(c, '('))
        return fail_set(fail, "bad shape in the header");
    while (!take(c, ')')) {
        if (h->rank == QN_MAX_RANK)
            return fail_set(fail, "more than %d dims", QN_MAX_RANK);
        if (!take_int(c, &h->dims[h->rank++]))
            return fail_set(fail, "bad shape in the header");
        if (!take(c, ',')) {
            if (!take(c, ')'))
                return fail_set(fail, "bad shape in the header");
            break;
        }
    }
    h->has_shape = true;
    return true;
}

/* "<f4" */
static bool take_descr(Cursor *c, Header *h, Fail *fail)
{
    char text[32];
    if (!take_string(c, text))
        return fail_set(fail, "element type is a structure or malformed; only plain numbers, "
                              "booleans and strings can be read");
    size_t digits = strspn(text + (strlen(text) >= 2 ? 2 : 0), "0123456789");
    if (strlen(text) < 3 || strlen(text) > 10 || digits != strlen(text) - 2 ||
        !strchr("<>|=", text[0]) || !strchr("biufcVU", text[1]))
        return fail_set(fail, "element type '%s' cannot be read", text);
    h->order = text[0];
    h->kind = text[1];
    h->size = 0;
    for (const char *p = text + 2; *p; p++)
        h->size = h->size * 10 + (*p - '0');
    bool texts = h->kind == 'U';
    if (h->size == 0 ||
        (texts ? h->size > MOST_CHARACTERS : h->size > 16 || (h->size & (h->size - 1))))
        return fail_set(fail, "element type '%s' cannot be read", text);
    if (texts)
        h->size *= 4;
    h->has_descr = true;
    return true;
}

static bool take_entry(Cursor *c, Header *h, Fail *fail)
{
    char key[32];
    if (!take_string(c, key) || !take(c, ':'))
        return fail_set(fail, "the header is not a dict of strings");
    if (!strcmp(key, "descr") && !h->has_descr)
        return take_descr(c, h, fail);
    if (!strcmp(key, "shape") && !h->has_shape)
        return take_shape(c, h, fail);
    if (!strcmp(key, "fortran_order") && !h->has_order) {
        h->has_order = true;
        h->fortran = take_word(c, "True");
        return h->fortran || take_word(c, "False") || fail_set(fail, "bad fortran_order");
    }
    return fail_set(fail, "unexpected or repeated key in the header");
}

static bool take_dict(Cursor *c, Header *h, Fail *fail)
{
    if (!take(c, '{'))
        return fail_set(fail, "the header is not a dict");
    while (!take(c, '}')) {
        if (!take_entry(c, h, fail))
            return false;
        if (!take(c, ',')) {
            if (!take(c, '}'))
                return fail_set(fail, "the header is not a dict");
            break;
        }
    }
    skip_space(c);
    if (c->at != c->end && !(*c->at == 0 && c->at + 1 == c->end))
        return fail_set(fail, "something follows the dict in the header");
    if (!h->has_descr || !h->has_shape || !h->has_order)
        return fail_set(fail, "the header lacks descr, shape or fortran_order");
    return true;
}

static bool parse_header(const unsigned char *data, size_t size, Header *h, Fail *fail)
{
    if (size < 10 || memcmp(data, MAGIC, sizeof MAGIC) != 0)
        return fail_set(fail, "not a .npy file");
    size_t start = data[6] == 1 ? 10 : 12;
    if (data[6] < 1 || data[6] > 3)
        return fail_set(fail, ".npy format version %d is not known", data[6]);
    if (size < start)
        return fail_set(fail, "truncated in the header");
    size_t length = (size_t)data[8] | (size_t)data[9] << 8;
    if (start == 12)
        length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (length > size - start)
        return fail_set(fail, "truncated in the header");
    Cursor c = {(const char *)data + start, (const char *)data + start + length};
    h->data = data + start + length;
    h->bytes = size - start - length;
    return take_dict(&c, h, fail);
}

/* The type that the header names by itself; QN_NONE for raw bytes. */
static qn_dtype named_dtype(const Header *h)
{
    static const struct {
        char kind;
        int size;
        qn_dtype dtype;
    } names[] = {{'b', 1, QN_BOOL}, {'i', 1, QN_I8},   {'i', 2, QN_I16}, {'i', 4, QN_I32},
                 {'i', 8, QN_I64},  {'u', 1, QN_U8},   {'u', 2, QN_U16}, {'u', 4, QN_U32},
                 {'u', 8, QN_U64},  {'f', 2, QN_F16},  {'f', 4, QN_F32}, {'f', 8, QN_F64},
                 {'c', 8, QN_C64},  {'c', 16, QN_C128}};
    if (h->kind == 'U')
        return QN_STRING;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].kind == h->kind && names[i].size == h->size)
            return names[i].dtype;
    }
    return QN_NONE;
}

/* Types without a name in NumPy: how the file may spell them. */
static bool is_raw_of(const Header *h, qn_dtype want)
{
    switch (want) {
    case QN_BF16: return h->size == 2 && (h->kind == 'V' || h->kind == 'u');
    case QN_F8E4M3:
    case QN_F8E4M3FNUZ:
    case QN_F8E5M2:
    case QN_F8E5M2FNUZ:
    case QN_E8M0:
    case QN_F4E2M1:
    case QN_U4:
    case QN_U2: return h->size == 1 && (h->kind == 'V' || h->kind == 'u');
    case QN_I4:
    case QN_I2: return h->size == 1 && (h->kind == 'V' || h->kind == 'i');
    case QN_NONE:
    case QN_F32:
    case QN_U8:
    case QN_I8:
    case QN_U16:
    case QN_I16:
    case QN_I32:
    case QN_I64:
    case QN_STRING:
    case QN_BOOL:
    case QN_F16:
    case QN_F64:
    case QN_U32:
    case QN_U64:
    case QN_C64:
    case QN_C128: return false;
    }
    return false;
}

/* Where element `index` of the row-major result lies in the file's order. */
static int64_t file_index(const void *header, int64_t index)
{
    const Header *h = header;
    if (!h->fortran)
        return index;
    int64_t coords[QN_MAX_RANK] = {0}, at = 0;
    for (int i = h->rank - 1; i >= 0; i--) {
        coords[i] = index % h->dims[i];
        index /= h->dims[i];
    }
    for (int i = h->rank - 1; i >= 0; i--)
        at = at * h->dims[i] + coords[i];
    return at;
}

/* One element below 8 bits from its byte in the file; false when the byte does not fit. */
static bool pack(Tensor *to, int64_t index, int bits, unsigned char byte)
{
    bool is_signed = to->dtype == QN_I4 || to->dtype == QN_I2;
    unsigned mask = (1U << bits) - 1, value = byte & mask;
    unsigned sign = value >> (bits - 1);
    if (byte != value && !(is_signed && sign && byte == (value | (0xffU & ~mask))))
        return false;
    if (is_signed && byte == value && sign)
        return false;
    int per_byte = 8 / bits;
    unsigned char *at = (unsigned char *)to->data + index / per_byte;
    *at = (unsigned char)(*at | value << (index % per_byte * bits));
    return true;
}

static bool copy_elements(const Header *h, Tensor *to, Fail *fail)
{
    if (to->dtype == QN_STRING) {
        const NpyTexts texts = {h->data, h->size / 4, h->order == '>'};
        return npy_texts_read(&texts, file_index, h, to, fail);
    }
    int bits = dtype_bits((Dtype)to->dtype);
    int part = h->kind == 'c' ? h->size / 2 : h->size; /* what has a byte order */
    bool swap = h->order == '>' && part > 1;
    if (!swap && !h->fortran && bits >= 8 && to->dtype != QN_BOOL) {
        memcpy(to->data, h->data, to->bytes);
        return true;
    }
    for (int64_t i = 0; i < to->count; i++) {
        const unsigned char *from = h->data + file_index(h, i) * h->size;
        unsigned char *at = (unsigned char *)to->data + i * h->size;
        if (bits < 8) {
            if (!pack(to, i, bits, *from))
                return fail_set(fail, "element %" PRId64 " (byte %d) does not fit %s", i, *from,
                                dtype_name((Dtype)to->dtype));
        } else if (to->dtype == QN_BOOL) {
            *at = *from != 0;
        } else {
            for (int b = 0; b < h->size; b++)
                at[b] = from[swap ? b / part * part + (part - 1 - b % part) : b];
        }
    }
    return true;
}

static bool parse(const void *data, size_t size, qn_dtype want, Tensor *to, Fail *fail)
{
    Header h = {0};
    if (!parse_header(data, size, &h, fail))
        return false;
    qn_dtype named = named_dtype(&h);
    if (want == QN_NONE)
        want = named;
    if (want == QN_NONE)
        return fail_set(fail, "raw elements '%c%d' need a model to say what they are", h.kind,
                        h.size);
    if (want != named && !is_raw_of(&h, want))
        return fail_set(fail, "holds elements of type %c%d, not %s", h.kind, h.size,
                        dtype_name((Dtype)want));
    Tensor shape = {.rank = h.rank, .count = 1};
    for (int i = 0; i < h.rank; i++) {
        if (h.dims[i] && __builtin_mul_overflow(shape.count, h.dims[i], &shape.count))
            return fail_set(fail, "its shape overflows");
    }
    for (int i = 0; i < h.rank; i++)
        shape.count = h.dims[i] ? shape.count : 0;
    int64_t bytes;
    if (__builtin_mul_overflow(shape.count, h.size, &bytes) || (uint64_t)bytes != h.bytes)
        return fail_set(fail, "holds %zu bytes of data; its shape and type need another number",
                        h.bytes);
    return tensor_make(to, want, h.rank, h.dims, fail) && copy_elements(&h, to, fail);
}

bool npy_parse(const char *name, const void *data, size_t size, qn_dtype want, Tensor *to,
               Fail *fail)
{
    *to = (Tensor){0};
    if (parse(data, size, want, to, fail))
        return true;
    tensor_free(to);
    return fail_prefix(fail, "%s", name);
}

bool npy_read(const char *path, qn_dtype want, Tensor *to, Fail *fail)
{
    OsMap map;
    *to = (Tensor){0};
    int error = os_map_file(path, &map);
    if (error)
        return fail_set(fail, "%s: %s", path, os_error_text(error));
    bool done = npy_parse(path, map.data, map.size, want, to, fail);
    os_unmap(&map);
    return done;
}

/* How a type is written. */
static const char *descr_of(qn_dtype dtype)
{
    switch (dtype) {
    case QN_BOOL: return "|b1";
    case QN_I8:
    case QN_I4:
    case QN_I2: return "|i1";
    case QN_U8:
    case QN_U4:
    case QN_U2: return "|u1";
    case QN_I16: return "<i2";
    case QN_I32: return "<i4";
    case QN_I64: return "<i8";
    case QN_U16: return "<u2";
    case QN_U32: return "<u4";
    case QN_U64: return "<u8";
    case QN_F16: return "<f2";
    case QN_F32: return "<f4";
    case QN_F64: return "<f8";
    case QN_C64: return "<c8";
    case QN_C128: return "<c16";
    case QN_BF16: return "<V2";
    case QN_F8E4M3:
    case QN_F8E4M3FNUZ:
    case QN_F8E5M2:
    case QN_F8E5M2FNUZ:
    case QN_E8M0:
    case QN_F4E2M1: return "|V1";
    case QN_NONE:
    case QN_STRING: return NULL;
    }
    return NULL;
}

/* `characters` of a string. */
static bool write_elements(FILE *file, const Tensor *tensor, int64_t characters)
{
    if (tensor->dtype == QN_STRING)
        return npy_texts_write(file, tensor, characters);
    int bits = dtype_bits((Dtype)tensor->dtype);
    if (bits >= 8)
        return fwrite(tensor->data, 1, tensor->bytes, file) == tensor->bytes;
    bool is_signed = tensor->dtype == QN_I4 || tensor->dtype == QN_I2;
    int per_byte = 8 / bits;
    unsigned mask = (1U << bits) - 1;
    for (int64_t i = 0; i < tensor->count; i++) {
        unsigned byte = ((const unsigned char *)tensor->data)[i / per_byte];
        unsigned value = byte >> (i % per_byte * bits) & mask;
        if (is_signed && value >> (bits - 1))
            value |= 0xffU & ~mask;
        if (putc((int)value, file) == EOF)
            return false;
    }
    return true;
}

/* The header, padded so that the data starts at a multiple of 64. */
static bool write_header(FILE *file, const Tensor *tensor, const char *descr)
{
    char text[512];
    int length =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int32_t i = 0; i < tensor->rank; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "%s%" PRId64 "%s",
                           i ? ", " : "", tensor->dims[i], tensor->rank == 1 ? "," : "");
    length += snprintf(text + length, sizeof text - (size_t)length, "), }");
    int total = (10 + length + 1 + 63) / 64 * 64;
    while (length < total - 10 - 1)
        text[length++] = ' ';
    text[length++] = '\n';
    unsigned char start[10] = {[6] = 1, [7] = 0};
    memcpy(start, MAGIC, sizeof MAGIC);
    start[8] = (unsigned char)(length & 0xff);
    start[9] = (unsigned char)(length >> 8);
    return fwrite(start, 1, 10, file) == 10 &&
           fwrite(text, 1, (size_t)length, file) == (size_t)length;
}

/* 0, or what went wrong. Streams have a descriptor of their own, since they close it. */
static int write_all(int file, const Tensor *tensor, const char *descr, int64_t characters)
{
    int copy = dup(file);
    FILE *stream = copy < 0 ? NULL : fdopen(copy, "wb");
    if (!stream) {
        int error = errno;
        if (copy >= 0)
            close(copy);
        return error;
    }
    bool done = write_header(stream, tensor, descr) && write_elements(stream, tensor, characters);
    int error = done ? 0 : errno;
    if (fclose(stream) && !error)
        error = errno;
    return error;
}

bool npy_write(int file, const Tensor *tensor, Fail *fail)
{
    const char *descr = descr_of(tensor->dtype);
    char text_descr[32];
    int64_t characters = 0;
    if (tensor->dtype == QN_STRING) {
        characters = npy_texts_width(tensor, fail);
        if (characters < 0)
            return false;
        snprintf(text_descr, sizeof text_descr, "<U%" PRId64, characters);
        descr = text_descr;
    }
    if (!descr)
        return fail_set(fail, "elements of type %s cannot be written",
                        dtype_name((Dtype)tensor->dtype));
    int error = write_all(file, tensor, descr, characters);
    return !error || fail_set(fail, "%s", os_error_text(error));
}
