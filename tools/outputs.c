/* All outputs are written beside their places first, then put there. */
#include "tools/outputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os_file.h"
#include "base/utf8.h"
#include "jit/model_files.h"
#include "tools/npy.h"

enum { NAME = 256, LONGEST = 200 /* bytes of a name that are taken over */ };

typedef struct Place {
    char plain[NAME]; /* what the name would be called alone */
    char name[NAME];
    OsOutput file;
} Place;

/* A name from a model as a file name: no separators, nothing that is not plain, not hidden. */
static void plain_name(const char *name, int32_t index, char text[NAME])
{
    size_t length = strlen(name);
    if (length == 0 || length > LONGEST) {
        snprintf(text, NAME, "output_%d.npy", index);
        return;
    }
    memcpy(text, name, length + 1);
    utf8_make_plain(text, false);
    for (char *at = text; (at = strpbrk(at, "/\\?"));)
        *at = '_';
    if (*text == '.')
        *text = '_';
    strcat(text, ".npy");
}

/* Whether an earlier output is called so or, `later` included, another one would like to be. */
static bool is_taken(const Place *places, int32_t count, int32_t index, bool later,
                     const char *name)
{
    for (int32_t i = 0; i < count; i++)
        if ((i < index && !strcmp(places[i].name, name)) ||
            (later && i != index && !strcmp(places[i].plain, name)))
            return true;
    return false;
}

/* What two outputs would share gets a number before it, the output's if that is free. */
static void choose_names(Place *places, int32_t count, const qn_program *program)
{
    qn_tensor_info info;
    for (int32_t i = 0; i < count; i++) {
        qn_program_output(program, i, &info);
        plain_name(info.name.data, i, places[i].plain);
    }
    for (int32_t i = 0; i < count; i++) {
        Place *p = &places[i];
        memcpy(p->name, p->plain, sizeof p->name);
        bool taken = is_taken(places, count, i, false, p->name);
        for (int32_t number = i; taken; number++) {
            snprintf(p->name, sizeof p->name, "%d_%.*s", number, NAME - 16, p->plain);
            taken = is_taken(places, count, i, true, p->name);
        }
    }
}

static bool write_one(Place *place, const char *path, const Tensor *tensor, Fail *fail)
{
    int error = os_output_open(&place->file, path);
    if (error)
        return fail_set(fail, "%s: %s", path, os_error_text(error));
    if (!npy_write(place->file.file, tensor, fail))
        return fail_prefix(fail, "%s", path);
    error = os_output_finish(&place->file);
    return !error || fail_set(fail, "%s: %s", path, os_error_text(error));
}

static bool write_all(Place *places, const Binding *binding, const char *folder, Fail *fail)
{
    char path[OS_PATH];
    for (int32_t i = 0; i < binding->output_count; i++) {
        if (snprintf(path, sizeof path, "%s/%s", folder, places[i].name) >= (int)sizeof path)
            return fail_set(fail, "the name of the output folder is too long");
        if (!write_one(&places[i], path, &binding->outputs[i], fail))
            return false;
    }
    for (int32_t i = 0; i < binding->output_count; i++) {
        int error = os_output_place(&places[i].file);
        if (error)
            return fail_set(fail, "%s/%s: %s", folder, places[i].name, os_error_text(error));
    }
    return true;
}

bool outputs_write(const Binding *binding, const qn_program *program, const char *folder,
                   Fail *fail)
{
    int32_t count = binding->output_count;
    int error = os_make_dirs(folder);
    if (error)
        return fail_set(fail, "%s: %s", folder, os_error_text(error));
    Place *places = calloc((size_t)count + 1, sizeof *places);
    if (!places)
        return fail_set(fail, "out of memory");
    for (int32_t i = 0; i < count; i++)
        places[i].file = OS_OUTPUT_NONE;
    choose_names(places, count, program);
    bool done = write_all(places, binding, folder, fail);
    for (int32_t i = 0; i < count; i++)
        os_output_drop(&places[i].file);
    free(places);
    return done;
}

/* What of the compile's the file is; NULL when it is none. */
static const char *find_use(const Setup *setup, const OsFileId *id)
{
    OsFileId other;
    int32_t number = model_file_number(setup->model, id);
    if (number >= 0)
        return number ? "weights of the model" : "the model";
    for (size_t i = 0; i < setup->record_count; i++)
        if (!os_file_id(setup->records[i], &other) && other.device == id->device &&
            other.inode == id->inode)
            return "the records (--records)";
    return NULL;
}

bool outputs_check(const Setup *setup, const char *path, Fail *fail)
{
    OsFileId id;
    const char *use = os_file_id(path, &id) ? NULL : find_use(setup, &id);
    if (use)
        return fail_set(fail, "%s: would replace %s: choose another file with -o", path, use);
    int error = os_output_check(path);
    return !error || fail_set(fail, "%s: %s", path, os_error_text(error));
}
