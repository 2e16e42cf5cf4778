/* Golden schedules: for every tests/golden/schedule/NAME.TARGET.tile, the nest tests/golden/nest/NAME.nest under the cost model's
 * choice for TARGET prints as that file: schedule line, program, nests that pack constants. QUERN_BLESS=1 rewrites. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os_file.h"
#include "passes/schedule.h"
#include "tests/unit/golden.h"

typedef struct Golden {
    const char *expected, *nest, *target;
    char *printed;
} Golden;

static void print_schedule(Cx *cx, void *user)
{
    Golden *g = user;
    char *text;
    size_t size;
    int error = os_read_file(cx->arena, g->nest, 1 << 20, &text, &size);
    if (error) {
        cx_fail(cx, ST_io, "%s: %s", g->nest, os_error_text(error));
        return;
    }
    Nest *nest = nest_parse(cx, g->nest, text);
    const Caps *caps = target_find(g->target);
    if (!caps)
        cx_fail(cx, ST_bad_argument, "%s: no target '%s'", g->expected, g->target);
    if (cx_failed(cx) || !nest_verify(nest))
        return;
    Schedule schedule = schedule_choose(cx, nest, caps);
    Lowered lowered;
    if (!schedule_apply(cx, nest, &schedule, caps, &lowered))
        return;
    Text out;
    text_init(&out, cx->arena);
    text_add(&out, "# ");
    schedule_print(&out, &schedule);
    text_add(&out, "\n");
    tile_print(&out, lowered.prog);
    for (int i = 0; i < lowered.pack_count; i++)
        nest_print(&out, lowered.packs[i].nest);
    g->printed = strdup(out.data);
}

/* ".../schedule/NAME.TARGET.tile" */
static void check_file(const char *file)
{
    const char *stem = strrchr(file, '/') + 1, *dot = strchr(stem, '.');
    cr_assert(dot, "%s", file);
    char nest[4096], target[64];
    snprintf(nest, sizeof nest, "%s/tests/golden/nest/%.*s.nest", QUERN_SOURCE_DIR, (int)(dot - stem), stem);
    snprintf(target, sizeof target, "%.*s", (int)(strlen(dot + 1) - strlen(".tile")), dot + 1);
    Golden g = {.expected = file, .nest = nest, .target = target};
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, print_schedule, &g);
    cr_assert(cx.status == ST_ok, "%s: %s", file, cx.message);
    golden_expect(file, 0, g.printed);
    free(g.printed);
    cx_finish(&cx);
}

Test(golden_schedule, programs_are_as_written)
{
    glob_t found;
    cr_assert(glob(QUERN_SOURCE_DIR "/tests/golden/schedule/*.tile", 0, NULL, &found) == 0);
    cr_assert(found.gl_pathc >= 10);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_file(found.gl_pathv[i]);
    globfree(&found);
}
