/* Folders of ONNX backend tests: model.onnx beside test_data_set_N/{input,output}_N.pb. */
#ifndef QUERN_TOOLS_CASES_H
#define QUERN_TOOLS_CASES_H

#include "tools/compare.h"
#include "tools/setup.h"

typedef struct Cases {
    char **paths; /* folders; sorted within each folder that was searched */
    size_t count, capacity;
} Cases;

/* Adds `directory`, if it holds a model or a data set, or else what is found in its subfolders,
 * whose name matches `filter`: a part of it, or a pattern when it has '*', '?' or '['; NULL = all.
 */
bool cases_find(Cases *cases, const char *directory, const char *filter, Fail *fail);
void cases_free(Cases *cases);
/* The last component of a path. */
const char *case_name(const char *path);

typedef enum Outcome { CASE_PASSED, CASE_FAILED, CASE_SKIPPED } Outcome;

/* Plain memory, since it goes through a pipe. `reason` is short and the same for like failures. */
typedef struct Verdict {
    Outcome outcome;
    char reason[128], detail[1024];
} Verdict;

/* Runs every data set of a case. `setup` has the options. Only a compile that says QN_UNSUPPORTED
 * makes a case skipped, and that values are random numbers. What is there and cannot be used, as a
 * second input's value or a data set behind a missing one, makes it fail. */
Verdict case_run(Setup *setup, const char *path, Tolerance tolerance);

#endif
