/* For tests of host steps, loops and branches: a graph's text, compiled for this processor. */
#ifndef QUERN_TESTS_STEPS_PLAN_H
#define QUERN_TESTS_STEPS_PLAN_H

#include "jit/compile.h"
#include "jit/llvm_module.h"
#include "tests/unit/golden.h"

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

#endif
