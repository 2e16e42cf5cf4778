/* quern devices: what a program can be compiled for, and what can run here. */
#include <stdio.h>

#include "tools/json.h"
#include "tools/setup.h"
#include "tools/verbs.h"

enum { OPT_JSON = 1 };

static const Option options[] = {{OPT_JSON, "json", NULL, "one JSON object a line"}, {0}};

static void print_device(const qn_device_info *info, bool as_json)
{
    if (!as_json) {
        printf("%-12s %-12s %s\n", info->name.data, info->usable ? "usable" : "not usable",
               info->description.data ? info->description.data : "");
        return;
    }
    Json json = {.file = stdout};
    json_open(&json, NULL, '{');
    json_text(&json, "name", info->name.data);
    json_int(&json, "usable", info->usable != 0);
    json_text(&json, "description", info->description.data ? info->description.data : "");
    json_close(&json, '}');
    putchar('\n');
}

int verb_devices(int argc, char **argv)
{
    bool as_json = false;
    Args args = {.verb = "devices",
                 .usage = "[OPTION...]",
                 .what = "Lists devices (for --device) and targets: a target that is not usable "
                         "here can still be compiled for.",
                 .options = options,
                 .argc = argc,
                 .argv = argv};
    for (int id; (id = args_next(&args)) != ARGS_END;) {
        if (id == ARGS_HELP)
            return EXIT_DONE;
        if (id == ARGS_BAD)
            return EXIT_BAD_USAGE;
        as_json = true;
    }
    int count;
    args_rest(&args, &count);
    if (count)
        return args_bad(&args, "takes no arguments");
    qn_context *context = NULL;
    qn_context_options context_options = {.size = sizeof context_options, .threads = 1};
    qn_status status = qn_context_create(&context_options, &context);
    qn_device_info info;
    int32_t index = 0;
    while (status == QN_OK && (status = qn_device_at(context, index, &info)) == QN_OK) {
        print_device(&info, as_json);
        index++;
    }
    qn_context_release(context);
    if (status != QN_MISSING)
        return args_failed(&args, "%s", qn_status_text(status));
    return EXIT_DONE;
}
