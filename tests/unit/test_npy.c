/* .npy files: what NumPy writes is read, what we write is read back, and damaged files are refused
 * with a message. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/npy.h"

/* A version 1 file in memory: the header text padded as the format wants, then the data. */
typedef struct File {
    unsigned char bytes[1024];
    size_t size;
} File;

static File file_of(const char *header, const void *data, size_t size)
{
    File f = {.bytes = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0}};
    size_t length = strlen(header);
    f.bytes[8] = (unsigned char)(length & 0xff);
    f.bytes[9] = (unsigned char)(length >> 8);
    memcpy(f.bytes + 10, header, length);
    if (size)
        memcpy(f.bytes + 10 + length, data, size);
    f.size = 10 + length + size;
    return f;
}

static Tensor read_ok(const char *header, const void *data, size_t size, qn_dtype want)
{
    File f = file_of(header, data, size);
    Tensor t;
    Fail fail = {""};
    cr_assert(npy_parse("f.npy", f.bytes, f.size, want, &t, &fail), "%s: %s", header, fail.text);
    return t;
}

static void read_bad(const char *header, size_t size, qn_dtype want, const char *message)
{
    static const unsigned char data[512];
    File f = file_of(header, data, size);
    Tensor t;
    Fail fail = {""};
    cr_assert_not(npy_parse("f.npy", f.bytes, f.size, want, &t, &fail), "%s was taken", header);
    cr_assert(strstr(fail.text, message), "%s: said '%s'", header, fail.text);
    cr_assert_eq(strncmp(fail.text, "f.npy: ", 7), 0);
    cr_assert_null(t.data);
}

Test(npy, row_major)
{
    float data[6] = {0, 1, 2, 3, 4, 5};
    Tensor t = read_ok("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
                       data, sizeof data, QN_NONE);
    cr_assert(t.dtype == QN_F32 && t.rank == 2 && t.dims[0] == 2 && t.dims[1] == 3);
    cr_assert(t.count == 6 && t.bytes == 24 && memcmp(t.data, data, 24) == 0);
    tensor_free(&t);
}

Test(npy, column_major_and_big_endian)
{
    unsigned char data[12] = {0, 0, 0, 3, 0, 1, 0, 4, 0, 2, 0, 5}; /* [[0,1,2],[3,4,5]] */
    Tensor t =
        read_ok("{\"shape\":(2,3),'fortran_order':True,'descr':'>i2'}", data, sizeof data, QN_I16);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(((int16_t *)t.data)[i], i);
    tensor_free(&t);
}

Test(npy, scalar_empty_bool)
{
    double number = 2.5;
    Tensor t =
        read_ok("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", &number, 8, QN_NONE);
    cr_assert(t.rank == 0 && t.count == 1 && *(double *)t.data == 2.5);
    tensor_free(&t);
    t = read_ok("{'descr': '<i8', 'fortran_order': False, 'shape': (3, 0)}", NULL, 0, QN_NONE);
    cr_assert(t.rank == 2 && t.count == 0 && t.bytes == 0);
    tensor_free(&t);
    unsigned char flags[3] = {0, 1, 7};
    t = read_ok("{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", flags, 3, QN_BOOL);
    cr_assert(memcmp(t.data, (unsigned char[]){0, 1, 1}, 3) == 0);
    tensor_free(&t);
}

Test(npy, types_without_a_name)
{
    unsigned char bf16[4] = {0x80, 0x3f, 0x00, 0x40}, nibbles[3] = {0xff, 7, 0xf8};
    Tensor t = read_ok("{'descr': '<V2', 'fortran_order': False, 'shape': (2,)}", bf16, 4, QN_BF16);
    cr_assert(memcmp(t.data, bf16, 4) == 0);
    tensor_free(&t);
    t = read_ok("{'descr': '|i1', 'fortran_order': False, 'shape': (3,)}", nibbles, 3, QN_I4);
    cr_assert(t.bytes == 2 && memcmp(t.data, (unsigned char[]){0x7f, 0x08}, 2) == 0);
    tensor_free(&t);
    read_bad("{'descr': '<V2', 'fortran_order': False, 'shape': (2,)}", 4, QN_NONE, "need a model");
    read_bad("{'descr': '<V2', 'fortran_order': False, 'shape': (2,)}", 4, QN_F32, "not f32");
    unsigned char large[1] = {16};
    File f = file_of("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", large, 1);
    Fail fail = {""};
    cr_assert_not(npy_parse("f", f.bytes, f.size, QN_U4, &t, &fail));
    cr_assert(strstr(fail.text, "does not fit u4"), "%s", fail.text);
}

Test(npy, damaged)
{
    static const char good[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    read_bad(good, 23, QN_NONE, "23 bytes");
    read_bad(good, 25, QN_NONE, "25 bytes");
    read_bad(good, 24, QN_I32, "not i32");
    read_bad("", 0, QN_NONE, "not a dict");
    read_bad("{'descr': '<f4', 'shape': (2,)}", 8, QN_NONE, "lacks");
    read_bad("{'descr': '<f4', 'descr': '<f4'}", 8, QN_NONE, "repeated key");
    read_bad("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} os", 8, QN_NONE, "follows");
    read_bad("{'descr': '<f4', 'fortran_order': maybe, 'shape': (2,)}", 8, QN_NONE,
             "fortran_order");
    read_bad("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", 8, QN_NONE, "shape");
    read_bad("{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}", 8, QN_NONE, "shape");
    read_bad("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 8,
             QN_NONE, "shape");
    read_bad("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", 8,
             QN_NONE, "overflows");
    read_bad("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,)}", 8,
             QN_NONE, "8 bytes");
    read_bad("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1)}", 4,
             QN_NONE, "dims");
    read_bad("{'descr': '<S5', 'fortran_order': False, 'shape': (2,)}", 40, QN_NONE, "'<S5'");
    read_bad("{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}", 6, QN_NONE, "'<f3'");
    read_bad("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8, QN_NONE,
             "structure");
    read_bad("{'descr': '<f4", 8, QN_NONE, "structure");
}

/* No prefix of a good file is taken, nor read past its end (the sanitizer looks). */
Test(npy, truncated)
{
    float data[2] = {1, 2};
    File f = file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", data, 8);
    for (size_t size = 0; size < f.size; size++) {
        unsigned char *copy = malloc(size + 1);
        memcpy(copy, f.bytes, size);
        unsigned char *exact = realloc(copy, size ? size : 1);
        Tensor t;
        Fail fail = {""};
        cr_assert_not(npy_parse("f", exact, size, QN_NONE, &t, &fail), "%zu bytes were taken",
                      size);
        cr_assert(fail.text[0]);
        free(exact);
    }
}

Test(npy, versions)
{
    File f = file_of("", NULL, 0);
    static const char header[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}";
    f.bytes[6] = 2;
    f.bytes[8] = (unsigned char)strlen(header);
    f.bytes[9] = f.bytes[10] = f.bytes[11] = 0;
    memcpy(f.bytes + 12, header, strlen(header));
    f.bytes[12 + strlen(header)] = 42;
    f.size = 13 + strlen(header);
    Tensor t;
    Fail fail = {""};
    cr_assert(npy_parse("f", f.bytes, f.size, QN_NONE, &t, &fail), "%s", fail.text);
    cr_assert_eq(*(unsigned char *)t.data, 42);
    tensor_free(&t);
    f.bytes[11] = 0xff;
    cr_assert_not(npy_parse("f", f.bytes, f.size, QN_NONE, &t, &fail));
    cr_assert(strstr(fail.text, "truncated"), "%s", fail.text);
    f.bytes[6] = 4;
    cr_assert_not(npy_parse("f", f.bytes, f.size, QN_NONE, &t, &fail));
    cr_assert(strstr(fail.text, "version 4"), "%s", fail.text);
}

static char path[] = "/tmp/quern-npy-XXXXXX";

/* An empty file to write to; removed by its name. */
static int open_file(void)
{
    int file = mkstemp(path);
    cr_assert(file >= 0);
    return file;
}

/* Every type, through a file and back. */
Test(npy, round_trip)
{
    int file = open_file();
    int64_t dims[3] = {2, 1, 3};
    for (int dtype = QN_F32; dtype <= QN_I2; dtype++) {
        Tensor t, back;
        Fail fail = {""};
        if (dtype == QN_STRING)
            continue;
        cr_assert(tensor_make(&t, (qn_dtype)dtype, 3, dims, &fail), "%s", fail.text);
        for (size_t i = 0; i < t.bytes; i++)
            ((unsigned char *)t.data)[i] = (unsigned char)(dtype == QN_BOOL ? i & 1 : 37 * i + 11);
        if (dtype == QN_U4 || dtype == QN_I4 || dtype == QN_F4E2M1 || dtype == QN_U2 ||
            dtype == QN_I2)
            ((unsigned char *)t.data)[t.bytes - 1] &= dtype >= QN_U2 ? 0x0f : 0xff;
        cr_assert_eq(ftruncate(file, 0), 0);
        cr_assert_eq(lseek(file, 0, SEEK_SET), 0);
        cr_assert(npy_write(file, &t, &fail), "%s", fail.text);
        cr_assert(npy_read(path, (qn_dtype)dtype, &back, &fail), "%s", fail.text);
        cr_assert(back.dtype == t.dtype && tensor_same_shape(&back, &t));
        cr_assert_eq(memcmp(back.data, t.data, t.bytes), 0, "type %d", dtype);
        tensor_free(&t);
        tensor_free(&back);
    }
    close(file);
    remove(path);
}

Test(npy, files)
{
    Tensor t;
    Fail fail = {""};
    cr_assert_not(npy_read("/nowhere/x.npy", QN_NONE, &t, &fail));
    cr_assert(strstr(fail.text, "/nowhere/x.npy"));
    cr_assert_not(npy_read("/", QN_NONE, &t, &fail));
    t = (Tensor){.dtype = QN_NONE};
    cr_assert_not(npy_write(-1, &t, &fail));
    cr_assert(strstr(fail.text, "none"));
    t.dtype = QN_F32;
    cr_assert_not(npy_write(-1, &t, &fail));
    cr_assert(strstr(fail.text, "Bad file descriptor"), "%s", fail.text);
}

/* UTF-8 here, UTF-32 there, filled up with NULs. */
Test(npy, strings)
{
    static const char *const texts[] = {"", "abc", "\xc3\xa9\xe2\x82\xac", "\xf0\x9f\x99\x82"};
    int64_t dims[2] = {2, 2};
    qn_string list[4];
    Tensor t, back;
    Fail fail = {""};
    int file = open_file();
    for (int i = 0; i < 4; i++)
        list[i] = qn_str(texts[i]);
    cr_assert(tensor_make(&t, QN_STRING, 2, dims, &fail) && tensor_set_strings(&t, list, &fail));
    cr_assert(npy_write(file, &t, &fail), "%s", fail.text);
    cr_assert(npy_read(path, QN_STRING, &back, &fail), "%s", fail.text);
    cr_assert(tensor_same_shape(&back, &t));
    for (int i = 0; i < 4; i++) {
        qn_string text = ((qn_string *)back.data)[i];
        cr_expect(text.length == strlen(texts[i]) && !memcmp(text.data, texts[i], text.length));
    }
    list[3] = qn_str("\xff");
    cr_assert(tensor_set_strings(&t, list, &fail));
    cr_assert_not(npy_write(file, &t, &fail));
    cr_expect(strstr(fail.text, "string 3 is not UTF-8"), "%s", fail.text);
    list[3] = (qn_string){"a", 2};
    cr_assert(tensor_set_strings(&t, list, &fail));
    cr_assert_not(npy_write(file, &t, &fail));
    cr_expect(strstr(fail.text, "ends in a NUL"), "%s", fail.text);
    tensor_free(&t);
    tensor_free(&back);
    close(file);
    remove(path);
}

Test(npy, foreign_strings)
{
    const unsigned char data[16] = {0, 0, 0, 'a', 0, 0, 0, 0, 0, 0, 0, 'b', 0, 0, 0, 'c'};
    Tensor t =
        read_ok("{'descr': '>U2', 'fortran_order': True, 'shape': (2,), }\n", data, 16, QN_NONE);
    const qn_string *list = t.data;
    cr_expect(t.dtype == QN_STRING && list[0].length == 1 && *list[0].data == 'a');
    cr_expect(list[1].length == 2 && !memcmp(list[1].data, "bc", 2));
    tensor_free(&t);
    Fail fail = {""};
    File f = file_of("{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }\n", data, 16);
    cr_assert_not(npy_parse("f", f.bytes, f.size, QN_NONE, &t, &fail));
    cr_expect(strstr(fail.text, "no character"), "%s", fail.text);
    read_bad("{'descr': '<U0', 'fortran_order': False, 'shape': (9,), }\n", 0, QN_NONE, "'<U0'");
}

Test(tensor, limits)
{
    Tensor t;
    Fail fail = {""};
    int64_t dims[QN_MAX_RANK + 1] = {1LL << 40, 1LL << 40, 0};
    cr_assert(tensor_make(&t, QN_F32, 3, dims, &fail), "%s", fail.text);
    cr_assert_eq(t.count, 0);
    tensor_free(&t);
    cr_assert_not(tensor_make(&t, QN_F32, 2, dims, &fail));
    cr_assert(strstr(fail.text, "overflows"));
    cr_assert_not(tensor_make(&t, QN_F32, QN_MAX_RANK + 1, dims, &fail));
    dims[0] = -1;
    cr_assert_not(tensor_make(&t, QN_F32, 1, dims, &fail));
    cr_assert_not(tensor_make(&t, QN_NONE, 0, dims, &fail));
}
