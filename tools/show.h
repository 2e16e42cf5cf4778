/* Text of others' on a terminal: names in a model, entries of a cache, strings of a result. */
#ifndef QUERN_TOOLS_SHOW_H
#define QUERN_TOOLS_SHOW_H

#include <stddef.h>
#include <stdio.h>

/* Prints to standard output, '?' for what must not go to a terminal (base/utf8.h). */
void show(const char *text, size_t length);
/* All of a terminated text; NULL is empty. */
void show_all(const char *text);
/* Prints a message (of Quern's, or a Fail). Lines behind its first are indented: names may hold
 * newlines, and what they say must not look like a line of ours. */
void show_message(FILE *file, const char *message);

#endif
