/* UTF-8, and which of its characters may be shown. Names and texts of models, packs and caches are
 * others': what goes to a terminal or a log must not move its cursor, colour it, turn the direction
 * of writing or look like a line of ours. */
#ifndef QUERN_BASE_UTF8_H
#define QUERN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `at`, where `left` > 0 bytes are; 0 when it is none: a byte out of
 * place, a longer form than needed, a surrogate, an end in the middle. */
size_t utf8_read(const char *at, size_t left, uint32_t *code);
/* No control character, end of a line, or mark that changes the direction of writing. */
bool utf8_is_plain(uint32_t code);
/* Puts '?' in place of each character that is not plain and each byte that is no character.
 * `lines`: newlines stay. The text gets no longer. */
void utf8_make_plain(char *text, bool lines);

#endif
