/* Options of verbs, on top of getopt_long. */
#include "tools/options.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "tools/show.h"
#include "tools/verbs.h"

enum { ID_HELP = 1 << 20 };

static bool is_letter(int id)
{
    return id >= 'a' && id <= 'z';
}

static void print_help(const Args *args)
{
    printf("usage: quern %s %s\n%s\n\noptions:\n", args->verb, args->usage, args->what);
    for (const Option *o = args->options; o->id; o++) {
        char left[64], letter[8] = "";
        if (is_letter(o->id))
            snprintf(letter, sizeof letter, "-%c, ", o->id);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-26s %s\n", left, o->help);
    }
    printf("  %-26s %s\n", "--help", "print this");
}

static void prepare(Args *args)
{
    int count = 0;
    size_t letters = (size_t)snprintf(args->shorts, sizeof args->shorts, ":h");
    for (const Option *o = args->options; o->id && count < ARGS_OPTIONS; o++) {
        if (is_letter(o->id)) {
            args->shorts[letters++] = (char)o->id;
            if (o->value)
                args->shorts[letters++] = ':';
        }
        args->longs[count++] = (struct option){
            .name = o->name, .has_arg = o->value ? required_argument : no_argument, .val = o->id};
    }
    args->longs[count++] = (struct option){.name = "help", .val = ID_HELP};
    args->longs[count] = (struct option){0};
    optind = 1;
    opterr = 0;
}

/* Nothing means anything when empty; what a script left unset shall not pass for a default. */
static int check_rest(const Args *args)
{
    for (int i = optind; i < args->argc; i++) {
        if (!*args->argv[i]) {
            args_bad(args, "argument %d is empty", i);
            return ARGS_BAD;
        }
    }
    return ARGS_END;
}

int args_next(Args *args)
{
    if (!args->longs[0].name)
        prepare(args);
    int id = getopt_long(args->argc, args->argv, args->shorts, args->longs, NULL);
    args->value = optarg;
    if (id != -1 && optarg && !*optarg)
        id = ':';
    switch (id) {
    case -1: return check_rest(args);
    case 'h':
    case ID_HELP: print_help(args); return ARGS_HELP;
    case ':': {
        int apart = optarg && optarg == args->argv[optind - 1]; /* "--option" "" */
        args_bad(args, "option '%s' needs a value", args->argv[optind - 1 - apart]);
        return ARGS_BAD;
    }
    case '?':
        if (optopt >= ' ' && optopt < 127)
            args_bad(args, "unknown option '-%c'", optopt);
        else if (optopt)
            args_bad(args, "option '%s' takes no value", args->argv[optind - 1]);
        else
            args_bad(args, "unknown or ambiguous option '%s'", args->argv[optind - 1]);
        return ARGS_BAD;
    default: return id;
    }
}

char **args_rest(const Args *args, int *count)
{
    *count = args->argc - optind;
    return args->argv + optind;
}

static void print_message(const Args *args, const char *fmt, va_list list)
{
    char text[4096];
    vsnprintf(text, sizeof text, fmt, list);
    utf8_make_plain(text, true);
    fflush(stdout);
    fprintf(stderr, "quern %s: ", args->verb);
    show_message(stderr, text);
    putc('\n', stderr);
}

int args_failed(const Args *args, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    print_message(args, fmt, list);
    va_end(list);
    return EXIT_FAILED;
}

int args_bad(const Args *args, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    print_message(args, fmt, list);
    va_end(list);
    fprintf(stderr, "`quern %s --help` lists what it takes\n", args->verb);
    return EXIT_BAD_USAGE;
}

bool parse_int(const char *text, int64_t low, int64_t high, int64_t *value)
{
    char *end;
    if (!*text || *text == ' ' || *text == '+')
        return false;
    errno = 0;
    *value = strtoimax(text, &end, 10);
    return !*end && errno == 0 && *value >= low && *value <= high;
}

bool parse_number(const char *text, double *value)
{
    char *end;
    if (!*text || *text == ' ')
        return false;
    *value = strtod(text, &end);
    return !*end && isfinite(*value) && *value >= 0;
}

bool option_int(const char *name, const char *text, int64_t low, int64_t high, int64_t *value,
                Fail *fail)
{
    return parse_int(text, low, high, value) ||
           fail_set(fail, "--%s takes a number from %" PRId64 " to %" PRId64 ", not '%s'", name,
                    low, high, text);
}

bool option_number(const char *name, const char *text, double high, const char *unit, double *value,
                   Fail *fail)
{
    return (parse_number(text, value) && *value <= high) ||
           fail_set(fail, "--%s takes %s from 0 to %g, not '%s'", name, unit, high, text);
}
