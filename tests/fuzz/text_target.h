/* A target of a text form: what its parser takes and its verifier accepts, its print gives again.
 * The file that includes this says how one text is read and printed. */
#ifndef QUERN_TESTS_FUZZ_TEXT_TARGET_H
#define QUERN_TESTS_FUZZ_TEXT_TARGET_H

#include <stdlib.h>
#include <string.h>

#include "base/cx.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parses, verifies and prints; false, with the reason in `cx`, where the first two refuse. */
static bool print_again(Cx *cx, const char *name, const char *text, Text *out);

static void print_twice(Cx *cx, void *user)
{
    Text first, second;
    text_init(&first, cx->arena);
    text_init(&second, cx->arena);
    if (!print_again(cx, "input", user, &first))
        return;
    if (!print_again(cx, "printed", first.data, &second))
        BUG("what was printed is refused: %s\n%s", cx->message, first.data);
    if (strcmp(first.data, second.data) != 0)
        BUG("printed:\n%s\nand printed again:\n%s", first.data, second.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    Cx cx;
    cx_init(&cx, NULL, 64 << 20);
    cx_run(&cx, print_twice, text);
    cx_finish(&cx);
    free(text);
    return 0;
}

#endif
