/* A word on names that are no inputs, for the library's messages and the tool's. */
#ifndef QUERN_JIT_WEIGHT_NOTE_H
#define QUERN_JIT_WEIGHT_NOTE_H

#include "include/quern.h"

/* What to add to "no input 'w'": that it is a weight, which the model lists as an input and has a
 * value for; "" when it is not. */
const char *weight_note(const qn_model *model, qn_string name);

#endif
