/* Decoding of images: files of one red pixel and one of (0, 128, 255), whole and damaged. */
#include "host_case.h"

#include <dirent.h>

#include "runtime/host/library.h"

TestSuite(host_image);

enum { RGB, BGR, GREY };

static HostCase *decode(const void *bytes, size_t size, int format)
{
    HostCase *c = host_case();
    host_case_bytes(c, bytes, size);
    IN_INT(c, format);
    RUN(c, "image", DT_u8);
    return c;
}

static char *read_image(const char *name, size_t *size)
{
    char path[500];
    snprintf(path, sizeof path, "%s/tests/unit/images/%s", QUERN_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    cr_assert(file, "no %s", path);
    char *bytes = host_case_block(4096);
    *size = fread(bytes, 1, 4096, file);
    fclose(file);
    return bytes;
}

static HostCase *decode_file(const char *name, int format)
{
    size_t size;
    char *bytes = read_image(name, &size);
    return decode(bytes, size, format);
}

Test(host_image, lossless_files)
{
    static const char *const names[] = {"red_blue.png", "red_blue.webp", "red_blue.tiff",
                                        "red_blue.jp2", "red_blue.j2k"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        OUT(decode_file(names[i], RGB), 0, "1,2,3", 255, 0, 0, 0, 128, 255);
        OUT(decode_file(names[i], BGR), 0, "1,2,3", 0, 0, 255, 255, 128, 0);
        OUT(decode_file(names[i], GREY), 0, "1,2,1", 76, 104);
    }
}

Test(host_image, jpeg)
{
    HostCase *c = decode_file("red_blue.jpeg", RGB);
    static const int want[] = {255, 0, 0, 0, 128, 255};
    host_case_shape(c, 0, "1,2,3");
    for (int i = 0; i < 6; i++)
        cr_expect(abs(((const uint8_t *)c->outputs[0].data)[i] - want[i]) <= 2);
}

/* Opacity is dropped, not applied; 16 bits become 8. */
Test(host_image, png_kinds)
{
    OUT(decode_file("clear_blue.png", RGB), 0, "1,2,3", 255, 0, 0, 0, 128, 255);
    OUT(decode_file("white_grey.png", GREY), 0, "1,2,1", 255, 128);
}

#define BYTES(text) text, sizeof text - 1

Test(host_image, portable_maps)
{
    OUT(decode(BYTES("P3 # comment\n2 1\n255\n255 0 0  0 128 255\n"), RGB), 0, "1,2,3", 255, 0, 0,
        0, 128, 255);
    OUT(decode(BYTES("P6\n1 1\n255\n\x01\x02\x03"), RGB), 0, "1,1,3", 1, 2, 3);
    OUT(decode(BYTES("P6 1 1 65535 \xFF\xFF\x80\x80\0\0"), RGB), 0, "1,1,3", 255, 128, 0);
    OUT(decode(BYTES("P5 2 1 15 \x0F\x00"), GREY), 0, "1,2,1", 255, 0);
    OUT(decode(BYTES("P2 1 1 4 2"), GREY), 0, "1,1,1", 128);
    OUT(decode(BYTES("P1\n3 1\n101"), GREY), 0, "1,3,1", 0, 255, 0);
    OUT(decode(BYTES("P4\n9 1\n\x80\x80"), GREY), 0, "1,9,1", 0, 255, 255, 255, 255, 255, 255, 255,
        0);
    OUT(decode(
            BYTES("P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n\x01\x02"
                  "\x03\x04"),
            BGR),
        0, "1,1,3", 3, 2, 1);
}

/* A bitmap's headers: pixels begin at `start`. */
static size_t bitmap(char *to, uint32_t start, int32_t width, int32_t height, uint16_t bits,
                     uint32_t kind)
{
    const uint32_t info = 40;
    const uint16_t planes = 1;
    memset(to, 0, 54);
    memcpy(to, "BM", 2);
    memcpy(to + 10, &start, 4);
    memcpy(to + 14, &info, 4);
    memcpy(to + 18, &width, 4);
    memcpy(to + 22, &height, 4);
    memcpy(to + 26, &planes, 2);
    memcpy(to + 28, &bits, 2);
    memcpy(to + 30, &kind, 4);
    return 54;
}

Test(host_image, bitmaps)
{
    char file[200];
    size_t head = bitmap(file, 54, 1, 2, 24, 0); /* rows from the bottom, of 4 bytes */
    memcpy(file + head, "\x01\x02\x03\0\x04\x05\x06\0", 8);
    OUT(decode(file, head + 8, RGB), 0, "2,1,3", 6, 5, 4, 3, 2, 1);
    bitmap(file, 54, 1, -2, 24, 0); /* from the top */
    OUT(decode(file, head + 8, RGB), 0, "2,1,3", 3, 2, 1, 6, 5, 4);
    bitmap(file, 62, 3, 1, 1, 0); /* two colours */
    memcpy(file + head, "\x01\x02\x03\0\x04\x05\x06\0\x40\0\0\0", 12);
    OUT(decode(file, head + 12, RGB), 0, "1,3,3", 3, 2, 1, 6, 5, 4, 3, 2, 1);
    bitmap(file, 54, 2, 1, 16, 0); /* 5 bits each */
    memcpy(file + head, "\x1F\x00\x00\x7C", 4);
    OUT(decode(file, head + 4, RGB), 0, "1,2,3", 0, 0, 255, 255, 0, 0);
    bitmap(file, 66, 1, 1, 32, 3); /* masks of its own */
    memcpy(file + head, "\xFF\0\0\0\0\xFF\0\0\0\0\xF0\0\x11\x22\x50\0", 16);
    OUT(decode(file, head + 16, RGB), 0, "1,1,3", 0x11, 0x22, 85);
}

Test(host_image, not_an_image_is_empty)
{
    OUT(decode("", 0, RGB), 0, "0,0,3", 0);
    OUT(decode(BYTES("GIF89a"), GREY), 0, "0,0,1", 0);
    OUT(decode(BYTES("P6"), BGR), 0, "0,0,3", 0);
    OUT(decode(BYTES("P6 4 4 255 abc"), RGB), 0, "0,0,3", 0);
    OUT(decode(BYTES("P6 0 4 255 abc"), RGB), 0, "0,0,3", 0);
    OUT(decode(BYTES("P5 1 1 0 a"), RGB), 0, "0,0,3", 0);
    char file[100];
    bitmap(file, 54, 5, 1, 24, 0);
    OUT(decode(file, 60, RGB), 0, "0,0,3", 0);
    bitmap(file, 54, 1, INT32_MIN, 24, 1);
    OUT(decode(file, 60, RGB), 0, "0,0,3", 0);
}

Test(host_image, too_large)
{
    HostCase *c = decode(BYTES("P6 100000 1 255 a"), RGB);
    cr_expect_eq(c->status, ST_limit);
    cr_expect(strstr(c->report.text, "an image of 100000 by 1 pixels"), "%s", c->report.text);
    c = decode(BYTES("P6 65536 65536 255 a"), RGB);
    cr_expect_eq(c->status, ST_limit);
}

Test(host_image, refuses)
{
    host_case_refused(decode("", 0, 3), "image: format is 3");
}

/* Cut at every byte, and every byte flipped: some result of some size, or a limit. */
Test(host_image, damaged_files, .timeout = 120)
{
    char path[500];
    snprintf(path, sizeof path, "%s/tests/unit/images", QUERN_SOURCE_DIR);
    DIR *folder = opendir(path);
    int files = 0;
    cr_assert(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t size;
        if (entry->d_name[0] == '.')
            continue;
        files++;
        char *bytes = read_image(entry->d_name, &size);
        for (size_t i = 0; i < size; i++) {
            Status status = decode(bytes, i, RGB)->status;
            cr_assert(status == ST_ok || status == ST_limit);
            bytes[i] = (char)(bytes[i] ^ 0x81);
            status = decode(bytes, size, RGB)->status;
            cr_assert(status == ST_ok || status == ST_limit, "%s byte %zu: %d", entry->d_name, i,
                      (int)status);
            bytes[i] = (char)(bytes[i] ^ 0x81);
        }
    }
    closedir(folder);
    cr_assert_eq(files, 8);
}

/* What is not there is named with its package. */
Test(host_image, library_without_a_function)
{
    HostCase *c = host_case();
    void *function;
    cr_assert_not(library_functions(&c->call, HL_png, 1, (const char *const[]){"no_such_function"},
                                    &function));
    cr_expect_eq(c->report.status, ST_missing);
    cr_expect(strstr(c->report.text, "library png lacks no_such_function"), "%s", c->report.text);
    cr_expect(strstr(c->report.text, "libpng16-16"), "%s", c->report.text);
}
