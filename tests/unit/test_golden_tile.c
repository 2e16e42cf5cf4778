/* Golden tile programs: every .tile file of tests/golden/tile parses, verifies and prints as
 * itself. Files of tests/golden/tile/errors start with a line "# error: TEXT" and must fail in the
 * parser or verifier with a message that holds TEXT. Comment lines at the top of a file are kept.
 * QUERN_BLESS=1 rewrites the files. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/tile.h"
#include "tests/unit/golden.h"

typedef struct Golden {
    const char *file;
    char *text; /* of the file */
    char *printed;
} Golden;

static void parse_verify_print(Cx *cx, void *user)
{
    Golden *g = user;
    TileProg *prog = tile_parse(cx, g->file, g->text);
    if (!prog || !tile_verify(prog))
        return;
    Text text;
    text_init(&text, cx->arena);
    tile_print(&text, prog);
    g->printed = strdup(text.data);
}

static void check_file(const char *file)
{
    Golden g = {.file = file, .text = golden_read(file)};
    const char *body = g.text;
    while (*body == '#' && strchr(body, '\n'))
        body = strchr(body, '\n') + 1;
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, parse_verify_print, &g);
    cr_expect(cx.status == ST_ok, "%s: %s", file, cx.message);
    if (g.printed)
        golden_expect(file, (size_t)(body - g.text), g.printed);
    cx_finish(&cx);
    free(g.text);
    free(g.printed);
}

static void check_error(const char *file)
{
    static const char mark[] = "# error: ";
    Golden g = {.file = file, .text = golden_read(file)};
    cr_assert(strncmp(g.text, mark, strlen(mark)) == 0, "%s has no expected error", file);
    char expected[300] = "";
    sscanf(g.text + strlen(mark), "%299[^\n]", expected);
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, parse_verify_print, &g);
    cr_expect(cx.status != ST_ok && strstr(cx.message, expected), "%s: '%s' does not hold '%s'",
              file, cx.message ? cx.message : "no error", expected);
    cx_finish(&cx);
    free(g.text);
    free(g.printed);
}

/* Cut and altered texts give a program or a message; a program that verifies prints. */
static void try_text(const char *file, char *text)
{
    Golden g = {.file = file, .text = text};
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, parse_verify_print, &g);
    cr_expect((g.printed != NULL) == (cx.status == ST_ok), "%s: neither program nor message", file);
    cx_finish(&cx);
    free(g.printed);
}

static void check_hostile(const char *file)
{
    static const char letters[] = "0123456789ijkr%,:()[]{}<-*+._ \n";
    char *text = golden_read(file);
    size_t length = strlen(text);
    uint32_t seed = 1;
    for (size_t i = 0; i < length; i += 3) {
        char kept = text[i];
        text[i] = 0;
        try_text(file, text);
        seed = seed * 1664525u + 1013904223u;
        text[i] = letters[(seed >> 16) % (sizeof letters - 1)];
        try_text(file, text);
        text[i] = kept;
    }
    free(text);
}

static void for_files(const char *pattern, size_t least, void (*check)(const char *file))
{
    glob_t found;
    cr_assert(glob(pattern, 0, NULL, &found) == 0);
    cr_expect(found.gl_pathc >= least, "only %zu files", found.gl_pathc);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check(found.gl_pathv[i]);
    globfree(&found);
}

Test(golden_tile, files_print_as_themselves)
{
    for_files(QUERN_SOURCE_DIR "/tests/golden/tile/*.tile", 6, check_file);
}

Test(golden_tile, errors_are_found)
{
    for_files(QUERN_SOURCE_DIR "/tests/golden/tile/errors/*.tile", 10, check_error);
}

Test(golden_tile, hostile_text_is_refused)
{
    for_files(QUERN_SOURCE_DIR "/tests/golden/tile/*.tile", 6, check_hostile);
}
