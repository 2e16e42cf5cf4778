/* quern: finds the verb and hands the rest of the command line to it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "quern.h"
#include "tools/verbs.h"

static const struct {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} verbs[] = {
#define VERB(name, what) {#name, what, verb_##name},
#include "tools/verbs.def"
#undef VERB
};

static void help(FILE *file)
{
    fputs("usage: quern VERB [OPTION...] [ARGUMENT...]\n"
          "Compiles ONNX models for this machine and runs them.\n\nverbs:\n",
          file);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        fprintf(file, "  %-10s %s\n", verbs[i].name, verbs[i].what);
    fputs("\n`quern VERB --help` says more. Exit status: 0 done, 1 failed, 2 wrong usage,\n"
          "124 out of time (--timeout), 130 interrupted.\n",
          file);
}

/* Descriptors that were closed would go to the first files opened, and messages into those: they
 * are opened in a way in which they are of no more use than before. And a file that reaches the
 * limit of its size (ulimit -f) is an error of that file, not the end. */
static void prepare(void)
{
    signal(SIGXFSZ, SIG_IGN);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* What a verb printed and could not be written makes its success a failure: a full disk, a closed
 * descriptor. When that was noticed before, the reason is no longer known: a line more meets it
 * again. */
static int finish(const char *verb, int status)
{
    bool lost = ferror(stdout);
    int error = fflush(stdout) ? errno : 0;
    if (lost && !error && write(STDOUT_FILENO, "\n", 1) != 1)
        error = errno;
    if ((lost || error) && status == EXIT_DONE) {
        fprintf(stderr, "quern %s: standard output: %s\n", verb, strerror(error ? error : EIO));
        return EXIT_FAILED;
    }
    return status;
}

int main(int argc, char **argv)
{
    prepare();
    if (argc < 2) {
        help(stderr);
        return EXIT_BAD_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        help(stdout);
        return finish("--help", EXIT_DONE);
    }
    if (!strcmp(argv[1], "--version")) {
        printf("quern %s\n", qn_version());
        return finish("--version", EXIT_DONE);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!strcmp(argv[1], verbs[i].name))
            return finish(argv[1], verbs[i].run(argc - 1, argv + 1));
    }
    fprintf(stderr, "quern: no verb '%s'; `quern --help` lists them\n", argv[1]);
    return EXIT_BAD_USAGE;
}
