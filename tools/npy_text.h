/* Strings in .npy files: NumPy keeps each as UTF-32 of one length, filled up with NULs. */
#ifndef QUERN_TOOLS_NPY_TEXT_H
#define QUERN_TOOLS_NPY_TEXT_H

#include <stdio.h>

#include "tools/tensor.h"

/* Elements of an array of strings: `characters` units of 4 bytes each. */
typedef struct NpyTexts {
    const unsigned char *data;
    int64_t characters;
    bool swap; /* most significant byte first */
} NpyTexts;

/* Fills a tensor of strings with UTF-8; `index` gives where an element lies in the file. */
bool npy_texts_read(const NpyTexts *texts, int64_t (*index)(const void *user, int64_t i),
                    const void *user, Tensor *to, Fail *fail);
/* Characters of the longest string, at least 1; -1, with a message, when one is no UTF-8 or ends in
 * a NUL. */
int64_t npy_texts_width(const Tensor *tensor, Fail *fail);
/* Strings of which npy_texts_width has been asked; false when the file takes no more. */
bool npy_texts_write(FILE *file, const Tensor *tensor, int64_t characters);

#endif
