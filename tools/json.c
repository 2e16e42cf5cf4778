/* A writer of JSON text; what reads it back is on the other side of a pipe. */
#include "tools/json.h"

#include <inttypes.h>
#include <math.h>

static void quoted(FILE *file, const char *text)
{
    putc('"', file);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(file, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            fprintf(file, "\\u%04x", *p);
        else
            putc(*p, file);
    }
    putc('"', file);
}

static void begin(Json *json, const char *key)
{
    if (json->comma)
        fputs(", ", json->file);
    json->comma = true;
    if (key) {
        quoted(json->file, key);
        fputs(": ", json->file);
    }
}

void json_open(Json *json, const char *key, char bracket)
{
    begin(json, key);
    putc(bracket, json->file);
    json->comma = false;
}

void json_close(Json *json, char bracket)
{
    putc(bracket, json->file);
    json->comma = true;
}

void json_text(Json *json, const char *key, const char *text)
{
    begin(json, key);
    quoted(json->file, text);
}

void json_int(Json *json, const char *key, int64_t value)
{
    begin(json, key);
    fprintf(json->file, "%" PRId64, value);
}

void json_number(Json *json, const char *key, double value)
{
    begin(json, key);
    if (isfinite(value))
        fprintf(json->file, "%.6g", value);
    else
        fputs("null", json->file);
}

void json_null(Json *json, const char *key)
{
    begin(json, key);
    fputs("null", json->file);
}
