/* Values for inputs that the user gave none for. */
#ifndef QUERN_TOOLS_FILL_H
#define QUERN_TOOLS_FILL_H

#include "tools/tensor.h"

/* Floats: normally distributed, mean 0, deviation 1. Integers: 0 or 1, so that they are legal as
 * indices of almost anything. Strings: one letter. The same name gives the same values. False, with
 * a message, without memory for strings. */
bool fill_random(Tensor *tensor, const char *name, Fail *fail);

#endif
