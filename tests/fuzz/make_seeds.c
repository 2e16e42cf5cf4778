/* Writes the seeds of binary formats that change with their version, so that no file of an old one
 * has to be kept: make_seeds FOLDER OBJECT gives FOLDER/plan/hand and FOLDER/image/hand, with
 * OBJECT as the image's machine code. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/os_file.h"
#include "runtime/image.h"
#include "tests/unit/hand_plan.h"

static bool write_seed(Cx *cx, const char *folder, const char *format, PlanBytes bytes)
{
    const char *path = arena_printf(cx->arena, "%s/%s", folder, format);
    mkdir(folder, 0777);
    mkdir(path, 0777);
    FILE *file = fopen(arena_printf(cx->arena, "%s/hand", path), "wb");
    bool done = file && fwrite(bytes.data, 1, bytes.size, file) == bytes.size;
    return (!file || fclose(file) == 0) && done;
}

static void make(Cx *cx, void *user)
{
    char **args = user, *object;
    size_t size;
    (void)hand_find;
    (void)hand_weight;
    if (os_read_file(cx->arena, args[2], 16 << 20, &object, &size)) {
        cx_fail(cx, ST_io, "%s cannot be read", args[2]);
        return;
    }
    const Plan *plan = hand_plan(cx);
    const CodeImage code = {CODE_object, 1, &(CodePiece){object, size}};
    if (!write_seed(cx, args[1], "plan", plan_write(cx, plan)) ||
        !write_seed(cx, args[1], "image", image_write(cx, plan, &code)))
        cx_fail(cx, ST_io, "%s cannot be written", args[1]);
}

int main(int argc, char **argv)
{
    Cx cx;
    if (argc != 3)
        return 2;
    cx_init(&cx, NULL, 0);
    Status status = cx_run(&cx, make, argv);
    if (status != ST_ok)
        fprintf(stderr, "make_seeds: %s\n", cx.message);
    cx_finish(&cx);
    return status != ST_ok;
}
