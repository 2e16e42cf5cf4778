/* Stands in for libFuzzer: runs the target over every file of the folders given, and over damaged
 * copies of each (cut off, a bit flipped, a byte repeated), so that the corpus is a test
 * everywhere. Fails when there is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Folder {
    const char *path;
    int files;
} Folder;

/* From memory of exactly that size, so that a sanitizer sees an overrun. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        exit(2);
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_damaged(uint8_t *data, size_t size)
{
    enum { DAMAGES = 400 };
    uint32_t random = 12345;
    for (int i = 0; size && i < DAMAGES; i++) {
        random = random * 1664525 + 1013904223;
        size_t at = (random >> 8) % size;
        uint8_t kept = data[at];
        run(data, at);
        data[at] ^= (uint8_t)(1u << (random >> 5 & 7));
        run(data, size);
        data[at] = at ? data[at - 1] : 0xFF;
        run(data, size);
        data[at] = kept;
    }
}

static bool run_file(void *user, const char *name)
{
    Folder *folder = user;
    char path[4096];
    Arena arena;
    char *data;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    arena_init(&arena, NULL, 0, NULL);
    if (!os_read_file(&arena, path, 64 << 20, &data, &size)) {
        run((uint8_t *)data, size);
        run_damaged((uint8_t *)data, size);
        folder->files++;
    }
    arena_finish(&arena);
    return true;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        Folder folder = {argv[i], 0};
        if (os_list_dir(argv[i], run_file, &folder))
            fprintf(stderr, "%s: cannot be listed\n", argv[i]);
        files += folder.files;
    }
    printf("%d files\n", files);
    return files ? 0 : 1;
}
