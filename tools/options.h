/* Command lines of verbs: one table says what options there are, and getopt_long's form and the
 * text of --help are made from it. */
#ifndef QUERN_TOOLS_OPTIONS_H
#define QUERN_TOOLS_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/tensor.h"

typedef struct Option {
    int id; /* > 0; what args_next returns; a small letter is also the short form. 0 ends the table
             */
    const char *name;  /* without the dashes */
    const char *value; /* "N": what follows it, for help; NULL = nothing */
    const char *help;
} Option;

enum { ARGS_OPTIONS = 32 };

typedef struct Args {
    const char *verb, *usage, *what; /* usage: what follows the verb; what: prose, with newlines */
    const Option *options;
    int argc;
    char **argv;
    const char *value; /* of the option args_next returned */
    struct option longs[ARGS_OPTIONS + 2];
    char shorts[2 * ARGS_OPTIONS + 3]; /* as getopt takes them */
} Args;

enum { ARGS_END = 0, ARGS_HELP = -1, ARGS_BAD = -2 };
/* The next option's id; ARGS_END when only arguments are left (args_rest); ARGS_HELP when the help
 * was printed; ARGS_BAD when a message was, also for values and arguments that are empty. */
int args_next(Args *args);
/* The arguments behind the options. */
char **args_rest(const Args *args, int *count);
/* "quern run: message" to stderr; the second adds a hint to --help. Both return the exit status. */
int args_failed(const Args *args, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int args_bad(const Args *args, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The whole text as a decimal number within [low, high]. */
bool parse_int(const char *text, int64_t low, int64_t high, int64_t *value);
/* Finite and >= 0. */
bool parse_number(const char *text, double *value);

/* The value of option --name: a number within [low, high]; false with a message that names both. */
bool option_int(const char *name, const char *text, int64_t low, int64_t high, int64_t *value,
                Fail *fail);
/* The same for a number within [0, high], which `unit` ("seconds") says the meaning of. */
bool option_number(const char *name, const char *text, double high, const char *unit, double *value,
                   Fail *fail);

#endif
