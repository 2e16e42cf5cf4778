/* Writes the text into a fresh private directory, runs `cc`, opens the shared object, and removes
 * the directory at once (the mapping stays). The compiler is looked up on PATH; nothing of the
 * source reaches its command line. */
#include "jit/build_c.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os_lib.h"

extern char **environ;

enum { PATH_BYTES = 256, LOG_BYTES = 700 };

typedef struct Job {
    char dir[64];
    char source[PATH_BYTES], object[PATH_BYTES], log[PATH_BYTES];
} Job;

static bool job_start(Cx *cx, Job *job)
{
    snprintf(job->dir, sizeof job->dir, "%s/quern-XXXXXX", P_tmpdir);
    if (!mkdtemp(job->dir))
        return cx_fail(cx, ST_io, "cannot make a directory in %s", P_tmpdir), false;
    snprintf(job->source, sizeof job->source, "%s/kernel.c", job->dir);
    snprintf(job->object, sizeof job->object, "%s/kernel.so", job->dir);
    snprintf(job->log, sizeof job->log, "%s/log", job->dir);
    return true;
}

static void job_finish(Job *job)
{
    unlink(job->source);
    unlink(job->object);
    unlink(job->log);
    rmdir(job->dir);
}

static bool write_source(Cx *cx, const Job *job, const char *source)
{
    FILE *file = fopen(job->source, "w");
    size_t length = strlen(source);
    bool ok = file && fwrite(source, 1, length, file) == length;
    if (file)
        ok = fclose(file) == 0 && ok;
    if (!ok)
        cx_fail(cx, ST_io, "cannot write %s", job->source);
    return ok;
}

static bool run_compiler(Cx *cx, const Job *job, const Caps *caps)
{
    char march[64] = "-DQUERN_BASELINE";
    if (caps->cpu && strncmp(caps->cpu, "x86-64", 6) == 0)
        snprintf(march, sizeof march, "-march=%s", caps->cpu);
    const char *width = caps->vector_bits == 512 ? "-mprefer-vector-width=512" : "-DQUERN_WIDTH";
    const char *args[] = {"cc",
                          "-std=gnu17",
                          "-O2",
                          "-ftree-vectorize",
                          "-fno-math-errno",
                          "-fno-trapping-math",
                          "-ffp-contract=off",
                          "-fwrapv",
                          "-fno-strict-aliasing",
                          "-w",
                          "-shared",
                          "-fPIC",
                          march,
                          width,
                          "-o",
                          job->object,
                          job->source,
                          "-lm",
                          NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return cx_fail(cx, ST_io, "cannot start cc"), false;
    posix_spawn_file_actions_addopen(&actions, 2, job->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid;
    int failed = posix_spawnp(&pid, "cc", &actions, NULL, (char *const *)(uintptr_t)args, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return cx_fail(cx, ST_missing, "there is no C compiler (cc) on the PATH"), false;
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    char text[LOG_BYTES] = "";
    FILE *log = fopen(job->log, "r");
    if (log) {
        text[fread(text, 1, sizeof text - 1, log)] = 0;
        fclose(log);
    }
    cx_fail(cx, ST_internal, "cc failed: %s", text);
    return false;
}

CModule *build_c(Cx *cx, const char *source, const Caps *caps)
{
    Job job;
    OsLib *lib = NULL;
    if (!job_start(cx, &job))
        return NULL;
    if (write_source(cx, &job, source) && run_compiler(cx, &job, caps)) {
        lib = os_lib_open(job.object, false);
        if (!lib)
            cx_fail(cx, ST_internal, "cannot load what cc made: %s", os_lib_error());
    }
    job_finish(&job);
    return (CModule *)lib;
}

void *build_c_find(CModule *module, const char *name)
{
    return os_lib_find((OsLib *)module, name);
}

void build_c_free(CModule *module)
{
    os_lib_close((OsLib *)module);
}
