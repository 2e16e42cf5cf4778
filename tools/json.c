/* A writer of JSON text; what reads it back is on the other side of a pipe. */
#include "tools/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/utf8.h"

/* Characters that must not go to a terminal are escaped; all of them have four digits. */
static void quoted(FILE *file, const char *text)
{
    putc('"', file);
    for (const char *p = text, *end = text + strlen(text); p < end;) {
        uint32_t code;
        size_t length = utf8_read(p, (size_t)(end - p), &code);
        if (!length)
            fputs("\\ufffd", file);
        else if (!utf8_is_plain(code))
            fprintf(file, "\\u%04" PRIx32, code);
        else if (code == '"' || code == '\\')
            fprintf(file, "\\%c", *p);
        else
            fwrite(p, 1, length, file);
        p += length ? length : 1;
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
