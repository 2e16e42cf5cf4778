/* NumPy's .npy files (format versions 1 to 3), of numbers, booleans and strings.
 *
 * Types NumPy has no name for are read and written as raw bytes of their size, as the ml_dtypes
 * package saves them: bf16 as '<V2', float8 and e8m0 as '|V1'. Types below 8 bits have one element
 * to a byte: u4 and u2 as '|u1', i4 and i2 as '|i1', f4e2m1 as '|V1'. Reading accepts unsigned
 * integers of the size for all of these, either byte order and either element order.
 *
 * Files are hostile input: the header is parsed within bounds, and the data must have exactly the
 * size that the header states. */
#ifndef QUERN_TOOLS_NPY_H
#define QUERN_TOOLS_NPY_H

#include "tools/tensor.h"

/* Reads a file whose elements are of type `want`; QN_NONE = of the type that the file names. The
 * message starts with the path. */
bool npy_read(const char *path, qn_dtype want, Tensor *to, Fail *fail);
/* The same for a file in memory; `name` is for messages. */
bool npy_parse(const char *name, const void *data, size_t size, qn_dtype want, Tensor *to,
               Fail *fail);
/* Writes to an open file, which stays the caller's. */
bool npy_write(int file, const Tensor *tensor, Fail *fail);

#endif
