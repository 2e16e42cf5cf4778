/* Saved programs from any bytes, through the public interface. The three headers inside one another
 * (file, image, plan) are made right first, then the program is loaded and asked. No session is
 * made: that would run code from the input. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "include/quern.h"
#include "tests/fuzz/limited.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_HEADER = 32, IMAGE_HEADER = 32, PLAN_HEADER = 48 };

/* size and hash of what follows, which end a header of `bytes` at `header`. */
static void fix(uint8_t *header, size_t bytes, size_t size)
{
    Hash128 hash = hash_bytes(header + bytes, size);
    const uint64_t fields[] = {size, hash.high, hash.low};
    memcpy(header + bytes - sizeof fields, fields, sizeof fields);
}

static uint64_t number(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* From the inside to the outside; stops where something is not inside. */
static void fix_headers(uint8_t *data, size_t size)
{
    uint64_t contents = size >= FILE_HEADER ? number(data + 8) : 0;
    if (size < FILE_HEADER || contents > size - FILE_HEADER)
        return;
    uint8_t *image = data + FILE_HEADER + contents;
    size_t left = size - FILE_HEADER - (size_t)contents;
    if (left >= IMAGE_HEADER + 24) {
        uint64_t plan = number(image + IMAGE_HEADER), pieces = number(image + IMAGE_HEADER + 16);
        size_t after = left - IMAGE_HEADER - 24;
        if (pieces <= after / 8 && plan >= PLAN_HEADER && plan <= after - 8 * pieces)
            fix(image + IMAGE_HEADER + 24 + 8 * pieces, PLAN_HEADER, (size_t)plan - PLAN_HEADER);
    }
    if (left >= IMAGE_HEADER)
        fix(image, IMAGE_HEADER, left - IMAGE_HEADER);
    fix(data, FILE_HEADER, (size_t)contents);
}

static void ask(const qn_program *program)
{
    qn_tensor_info info;
    qn_program_info whole;
    qn_kernel_info kernel;
    for (int32_t i = 0; qn_program_input(program, i, &info) == QN_OK; i++)
        continue;
    for (int32_t i = 0; qn_program_output(program, i, &info) == QN_OK; i++)
        continue;
    for (int32_t init = 0; init < 2; init++)
        for (int32_t i = 0; qn_program_kernel(program, init, i, &kernel) == QN_OK; i++)
            continue;
    qn_program_describe(program, &whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const qn_allocator allocator = {NULL, limited_alloc, limited_release};
    qn_context_options options = {.allocator = &allocator, .threads = 1};
    qn_context *context;
    qn_program *program;
    (void)limited;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    fix_headers(copy, size);
    if (qn_context_create(&options, &context) == QN_OK) {
        if (qn_program_from_memory(context, copy, size, &program) == QN_OK)
            ask(program);
        else if (!program || !*qn_program_message(program))
            abort();
        qn_program_release(program);
        qn_context_release(context);
    }
    free(copy);
    return 0;
}
