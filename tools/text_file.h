/* Text files that tools take: nests and tile programs. */
#ifndef QUERN_TOOLS_TEXT_FILE_H
#define QUERN_TOOLS_TEXT_FILE_H

#include "base/cx.h"

/* The file's text in the job's arena, terminated; at most 16 MiB, no zero bytes. NULL after
 * cx_fail. */
char *text_file_read(Cx *cx, const char *path);

#endif
