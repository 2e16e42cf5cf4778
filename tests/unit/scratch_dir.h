/* A folder of the test's own, removed with all that is in it. */
#ifndef QUERN_TESTS_SCRATCH_DIR_H
#define QUERN_TESTS_SCRATCH_DIR_H

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/os_file.h"

static char scratch_dir[] = "/tmp/quern-test-XXXXXX";

static inline void scratch_make(void)
{
    cr_assert_not_null(mkdtemp(scratch_dir));
}

static inline bool scratch_remove_entry(void *user, const char *name)
{
    char inner[400];
    snprintf(inner, sizeof inner, "%s/%s", (const char *)user, name);
    struct stat st;
    if (!lstat(inner, &st) && S_ISDIR(st.st_mode)) /* links are not followed */
        os_list_dir(inner, scratch_remove_entry, inner);
    os_remove(inner);
    return true;
}

static inline void scratch_drop(void)
{
    os_list_dir(scratch_dir, scratch_remove_entry, scratch_dir);
    os_remove(scratch_dir);
}

#endif
