/* Golden nests: every .nest file of tests/golden/nest parses, verifies and prints as itself, and so
 * does its print. Comment lines at the top of a file are kept. QUERN_BLESS=1 rewrites the files. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/nest.h"
#include "tests/unit/golden.h"

typedef struct Golden {
    const char *file;
    char *text;       /* of the file */
    const char *body; /* after the leading comments */
    char *printed, *again;
} Golden;

static const char *skip_comments(const char *text)
{
    while (*text == '#' && strchr(text, '\n'))
        text = strchr(text, '\n') + 1;
    return text;
}

static char *print(Cx *cx, const Nest *nest)
{
    Text text;
    text_init(&text, cx->arena);
    nest_print(&text, nest);
    return strdup(text.data);
}

static void round_trip(Cx *cx, void *user)
{
    Golden *g = user;
    Nest *nest = nest_parse(cx, g->file, g->text);
    if (!nest || !nest_verify(nest))
        return;
    g->printed = print(cx, nest);
    Nest *second = nest_parse(cx, g->file, g->printed);
    if (second)
        g->again = print(cx, second);
}

static void check_file(const char *file)
{
    Golden g = {.file = file, .text = golden_read(file)};
    g.body = skip_comments(g.text);
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, round_trip, &g);
    cr_assert(cx.status == ST_ok, "%s", cx.message);
    cr_expect_str_eq(g.printed, g.again, "%s: the print does not print as itself", file);
    golden_expect(file, (size_t)(g.body - g.text), g.printed);
    cx_finish(&cx);
    free(g.text);
    free(g.printed);
    free(g.again);
}

Test(golden_nest, files_print_as_themselves)
{
    glob_t found;
    cr_assert(glob(QUERN_SOURCE_DIR "/tests/golden/nest/*.nest", 0, NULL, &found) == 0);
    cr_expect(found.gl_pathc >= 20);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_file(found.gl_pathv[i]);
    globfree(&found);
}
