/* Writes JSON objects, one line each. Commas and quoting are taken care of; nesting is the
 * caller's. Texts may hold any bytes: those that are no UTF-8 become U+FFFD. */
#ifndef QUERN_TOOLS_JSON_H
#define QUERN_TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Json {
    FILE *file;
    bool comma; /* before the next item */
} Json;

/* `key` NULL: an item of an array, or the outermost value. `bracket` is '{' or '['. */
void json_open(Json *json, const char *key, char bracket);
void json_close(Json *json, char bracket); /* '}' or ']' */
void json_text(Json *json, const char *key, const char *text);
void json_int(Json *json, const char *key, int64_t value);
/* `value` that is not finite becomes null. */
void json_number(Json *json, const char *key, double value);
void json_null(Json *json, const char *key);

#endif
