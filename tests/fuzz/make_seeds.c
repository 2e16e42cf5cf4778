/* Writes the seeds of binary formats that change with their version, so that no file of an old one
 * has to be kept: make_seeds FOLDER OBJECT gives FOLDER/plan/hand, FOLDER/image/hand, with OBJECT
 * as the image's machine code, and FOLDER/pack/hand and /saved. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/cpu.h"
#include "base/os_file.h"
#include "base/pool.h"
#include "include/quern.h"
#include "runtime/api.h"
#include "runtime/pack.h"
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

/* A pack with a program and something packed. */
static bool write_pack(Cx *cx, const char *folder, PlanBytes image)
{
    const char *path = arena_printf(cx->arena, "%s/pack", folder);
    PackList list = {0};
    const Entry program = {ENTRY_program, "source 1\ntarget hand\n", image.data, image.size};
    const Entry packed = {ENTRY_constants, "program 1\nweights 2\n", hand_weight,
                          sizeof hand_weight};
    mkdir(path, 0777);
    pack_list_add(cx, &list, &program);
    pack_list_add(cx, &list, &packed);
    return pack_write(cx, &executor_inline, arena_printf(cx->arena, "%s/hand", path), &list);
}

/* The image as a program of this processor, saved. */
static bool write_saved(Cx *cx, const char *folder, PlanBytes image)
{
    qn_context *context;
    const char *path = arena_printf(cx->arena, "%s/pack/saved", folder);
    if (qn_context_create(NULL, &context) != QN_OK)
        return false;
    qn_program *program = api_program_new(context);
    ProgramSource source = {.image = image};
    bool done = program && api_program_load(program, &source) == QN_OK &&
                qn_program_save(program, qn_str(path)) == QN_OK;
    if (!done)
        fprintf(stderr, "make_seeds: %s\n", qn_program_message(program));
    qn_program_release(program);
    qn_context_release(context);
    return done;
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
    Plan *plan = hand_plan(cx);
    plan->target = cpu_level() ? cpu_level() : "none";
    const CodeImage code = {CODE_object, 1, &(CodePiece){object, size}};
    PlanBytes image = image_write(cx, plan, &code);
    if (!write_seed(cx, args[1], "plan", plan_write(cx, plan)) ||
        !write_seed(cx, args[1], "image", image) || !write_pack(cx, args[1], image) ||
        !write_saved(cx, args[1], image))
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
