/* For tests of host steps, loops and branches: a graph's text, compiled for this processor. */
#ifndef QUERN_TESTS_STEPS_PLAN_H
#define QUERN_TESTS_STEPS_PLAN_H

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jit/compile.h"
#include "jit/llvm_module.h"

typedef struct Job {
    const char *text;
    Compiled compiled;
    LlvmModule llvm;
} Job;

static Cx cx;
static Job job;

static inline void compile(Cx *c, void *user)
{
    Job *j = user;
    Graph *graph = graph_parse(c, "text", j->text);
    if (!graph || !graph_verify(graph) || !llvm_module_open(c, &j->llvm, NULL))
        return;
    graph_sweep(graph);
    CompileOptions options = {
        .caps = target_host_cpu(), .kind = CODE_object, .llvm = j->llvm.api, .threads = 1};
    compile_graph(c, graph, &options, &j->compiled);
}

/* A text of tests/golden/graph; to be freed. */
static inline char *read_golden(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/golden/graph/%s", QUERN_SOURCE_DIR, name);
    FILE *in = fopen(path, "rb");
    cr_assert(in, "cannot open %s", path);
    char *text = calloc(1, 1 << 16);
    cr_assert(fread(text, 1, (1 << 16) - 1, in) > 0);
    fclose(in);
    return text;
}

#endif
