/* Texts of tests/golden: read, and compared with what is printed now. */
#ifndef QUERN_TESTS_GOLDEN_H
#define QUERN_TESTS_GOLDEN_H

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file, or "" when there is none yet; to be freed. */
static inline char *golden_try(const char *path)
{
    enum { MOST = 1 << 20 };
    char *text = calloc(1, MOST);
    FILE *in = fopen(path, "rb");
    size_t length = in && text ? fread(text, 1, MOST - 1, in) : 0;
    cr_assert(text && length < MOST - 1, "%s is too long", path);
    if (in)
        fclose(in);
    return text;
}

static inline char *golden_read(const char *path)
{
    char *text = golden_try(path);
    cr_assert(*text, "cannot read %s", path);
    return text;
}

/* By its name in tests/golden, such as "nest/gemm_small.nest". */
static inline char *golden_named(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/golden/%s", QUERN_SOURCE_DIR, name);
    return golden_read(path);
}

/* Behind its first `kept` bytes the file holds `printed`; with QUERN_BLESS=1 it does from now on.
 */
static inline void golden_expect(const char *path, size_t kept, const char *printed)
{
    char *text = golden_try(path);
    cr_assert_leq(kept, strlen(text));
    bool same = strcmp(text + kept, printed) == 0;
    if (!same && getenv("QUERN_BLESS")) {
        FILE *out = fopen(path, "wb");
        cr_assert(out);
        fwrite(text, 1, kept, out);
        fputs(printed, out);
        fclose(out);
    } else {
        cr_expect(same, "%s: QUERN_BLESS=1 rewrites it to what is printed now:\n%s", path, printed);
    }
    free(text);
}

#endif
