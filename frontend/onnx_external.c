/* Tensor data in files beside the model.
 *
 * The location is opened beneath the model's folder, one component at a time, through no link
 * (os_map_beneath), so a model cannot read a file its author does not own. Only `location`,
 * `offset` and `length` are acted on. A file is mapped once for all its tensors. */
#include "frontend/onnx_read.h"

#include <errno.h>
#include <string.h>

enum { HANDLES_KEPT = 16, LOCATION_BYTES = 4095 };

typedef struct Place {
    const char *location;
    uint64_t offset, length;
    bool has_offset, has_length;
} Place;

static bool read_decimal(const char *text, uint64_t *value)
{
    *value = 0;
    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9' || *value > (INT64_MAX - 9) / 10)
            return false;
        *value = *value * 10 + (uint64_t)(*at - '0');
    }
    return text[0] != 0;
}

static bool take_number(Reader *r, const char *key, const char *text, bool *has, uint64_t *value)
{
    if (*has)
        onnx_fail(r, ST_bad_model, "external data gives %s twice", key);
    else if (!read_decimal(text, value))
        onnx_fail(r, ST_bad_model, "external data: %s '%s' is not a plain number", key,
                  onnx_show(r, text));
    *has = true;
    return !cx_failed(r->cx);
}

static bool read_place(Reader *r, const PbTensor *from, Place *place)
{
    *place = (Place){0};
    for (size_t i = 0; i < from->n_external_data && !cx_failed(r->cx); i++) {
        const char *key = from->external_data[i]->key, *value = from->external_data[i]->value;
        key = key ? key : "";
        value = value ? value : "";
        if (!strcmp(key, "offset"))
            take_number(r, key, value, &place->has_offset, &place->offset);
        else if (!strcmp(key, "length"))
            take_number(r, key, value, &place->has_length, &place->length);
        else if (!strcmp(key, "location") && place->location)
            onnx_fail(r, ST_bad_model, "external data gives location twice");
        else if (!strcmp(key, "location"))
            place->location = value;
    }
    if (!place->location || !place->location[0])
        onnx_fail(r, ST_bad_model, "external data has no location");
    else if (strlen(place->location) > LOCATION_BYTES)
        onnx_fail(r, ST_limit, "external data: the location is longer than %d bytes",
                  LOCATION_BYTES);
    return !cx_failed(r->cx);
}

static void refuse(Reader *r, const char *location, int error)
{
    const char *shown = onnx_show(r, location);
    if (error == EACCES)
        onnx_fail(r, ST_bad_model,
                  "external data '%s' cannot be opened: it must be a readable file beneath the "
                  "model's folder, named without '..' or a leading '/'",
                  shown);
    else if (error == ELOOP || error == EMLINK)
        onnx_fail(r, ST_bad_model, "external data '%s' is refused: %s; put a real copy there",
                  shown, os_error_text(error));
    else if (error == EISDIR || error == EINVAL)
        onnx_fail(r, ST_bad_model, "external data '%s' is not a regular file", shown);
    else
        onnx_fail(r, ST_io, "external data '%s' beneath '%s' cannot be read: %s", shown,
                  onnx_show(r, r->base_dir), os_error_text(error));
}

static void unmap(void *map)
{
    os_unmap(map);
}

static const OsMap *find_map(Reader *r, const char *location)
{
    Arena *arena = r->cx->arena;
    location = onnx_name(r->names, location);
    for (uint32_t i = r->external_count; i--;)
        if (r->externals[i].location == location)
            return r->externals[i].map;
    OsMap *map = NEW(arena, OsMap);
    *map = OS_MAP_NONE;
    cx_cleanup(r->cx, unmap, map);
    int error = os_map_beneath(r->base_dir, location, map);
    if (error) {
        refuse(r, location, error);
        return NULL;
    }
    if (r->external_count >=
        HANDLES_KEPT) /* models with a file per tensor must not use up handles */
        os_map_detach(map);
    External external = {location, map};
    VEC_PUSH(arena, r->externals, r->external_count, r->external_capacity, external);
    VEC_PUSH(arena, r->maps, r->map_count, r->map_capacity, map);
    return map;
}

bool onnx_read_external(Reader *r, const PbTensor *from, uint64_t bytes, OnnxTensor *to)
{
    Place place;
    if (!read_place(r, from, &place))
        return false;
    if (!r->base_dir) {
        onnx_fail(r, ST_bad_model,
                  "has external data ('%s'), but a model in memory has no folder: give one",
                  onnx_show(r, place.location));
        return false;
    }
    const OsMap *map = find_map(r, place.location);
    if (!map)
        return false;
    if (place.offset > map->size || bytes > map->size - place.offset)
        onnx_fail(
            r, ST_bad_model,
            "its shape and type need %llu bytes at offset %llu of '%s', which has %zu (is the "
            "file complete?)",
            (unsigned long long)bytes, (unsigned long long)place.offset,
            onnx_show(r, place.location), map->size);
    else if (place.has_length && place.length != bytes)
        onnx_fail(r, ST_bad_model,
                  "its shape and type need %llu bytes, but external data says %llu",
                  (unsigned long long)bytes, (unsigned long long)place.length);
    else if (bytes) {
        to->data = map->data + place.offset;
        to->map = map;
    }
    return !cx_failed(r->cx);
}
