/* Non-maximum suppression: for every image and class, boxes by falling score; one is selected when
 * it does not overlap a selected one too much. Overlap is intersection over union of areas; a box
 * without area overlaps nothing. Arithmetic in float32, as the operator states its boxes. */
#include <math.h>
#include <string.h>

#include "runtime/host/order.h"

/* host_nms: boxes [b, n, 4], scores [b, c, n], most selected per class (omitted: none), largest
 * overlap (omitted: 0), least score (omitted: no limit), centre: 1 when boxes are [x centre,
 * y centre, width, height] and 0 when they are two corners [y, x, y, x]
 * -> selected [m, 3]: image, class, box. */
static const HostParam nms_in[] = {
    {"boxes", TYPE(f32), 3, 3, false},      {"scores", TYPE(f32), 3, 3, false},
    {"most", TYPES_int, 0, 1, true},        {"overlap", TYPE(f32), 0, 1, true},
    {"least score", TYPE(f32), 0, 1, true}, {"centre", TYPE(i64), 0, 1, false},
};
static const HostParam nms_out[] = {{"selected", TYPE(i64), 2, 2, false}};
static const HostForm form = {"nms", nms_in, nms_out, 6, 1, false};

typedef struct Box {
    float x0, y0, x1, y1;
} Box;

typedef struct Nms {
    HostCall *call;
    int64_t images, classes, boxes, most;
    float overlap, least;
    bool has_least;
    Box *box; /* of one image */
    OrderItem *items;
    uint64_t *keys;    /* of the scores of one class */
    Box *chosen;       /* of one class */
    int64_t *selected; /* boxes, class after class */
    int64_t *counts;   /* of a class of an image */
} Nms;

static Box corners(const float *from, bool centre)
{
    if (centre)
        return (Box){from[0] - from[2] / 2, from[1] - from[3] / 2, from[0] + from[2] / 2,
                     from[1] + from[3] / 2};
    bool x = from[1] >= from[3], y = from[0] >= from[2];
    return (Box){from[x ? 3 : 1], from[y ? 2 : 0], from[x ? 1 : 3], from[y ? 0 : 2]};
}

static float area(const Box *b)
{
    return (b->x1 - b->x0) * (b->y1 - b->y0);
}

static bool overlaps(const Box *a, const Box *b, float limit)
{
    Box both = {fmaxf(a->x0, b->x0), fmaxf(a->y0, b->y0), fminf(a->x1, b->x1), fminf(a->y1, b->y1)};
    if (!(both.x1 > both.x0 && both.y1 > both.y0))
        return false;
    float shared = area(&both), one = area(a), other = area(b), whole = one + other - shared;
    return shared > 0 && one > 0 && other > 0 && whole > 0 && shared / whole > limit;
}

/* Candidates as a heap by falling score, since seldom all are looked at; NaN scores come last. */
static int64_t candidates(const Nms *nms, const float *scores)
{
    int64_t count = 0;
    order_keys(DT_f32, scores, 0, 1, nms->boxes, nms->keys);
    for (int64_t i = 0; i < nms->boxes; i++) {
        if (nms->has_least && !(scores[i] > nms->least))
            continue;
        nms->items[count++] = (OrderItem){isnan(scores[i]) ? UINT64_MAX : ~nms->keys[i], i};
    }
    order_heap(nms->items, count, false);
    return count;
}

/* -1 when the run is cancelled: every candidate may be compared with all that are chosen. */
static int64_t select_class(const Nms *nms, const float *scores, int64_t *selected)
{
    int64_t count = candidates(nms, scores), chosen = 0;
    while (count && chosen < nms->most) {
        if (!args_go_on(nms->call))
            return -1;
        int64_t next = nms->items[0].index;
        const Box *box = &nms->box[next];
        bool free = true;
        for (int64_t j = 0; j < chosen && free; j++)
            free = !overlaps(box, &nms->chosen[j], nms->overlap);
        nms->items[0] = nms->items[--count];
        order_sift(nms->items, count, 0, false);
        if (!free)
            continue;
        nms->chosen[chosen] = *box;
        selected[chosen++] = next;
    }
    return chosen;
}

static bool read_float(HostCall *call, int input, float *value)
{
    const HostTensor *tensor = &call->inputs[input];
    if (args_count(tensor) == 1)
        *value = *(const float *)tensor->data;
    else if (!args_omitted(tensor))
        args_fail(call, &form, "%s is not one number", nms_in[input].name);
    return args_count(tensor) == 1 || args_omitted(tensor);
}

static bool read_operands(HostCall *call, Nms *nms, int64_t *centre)
{
    const HostTensor *boxes = &call->inputs[0], *scores = &call->inputs[1];
    *nms = (Nms){.call = call,
                 .images = scores->dims[0],
                 .classes = scores->dims[1],
                 .boxes = boxes->dims[1]};
    if (boxes->dims[0] != nms->images || scores->dims[2] != nms->boxes || boxes->dims[2] != 4) {
        args_fail(
            call, &form, "boxes [%lld, %lld, %lld] do not agree with scores [%lld, %lld, %lld]",
            (long long)boxes->dims[0], (long long)boxes->dims[1], (long long)boxes->dims[2],
            (long long)scores->dims[0], (long long)scores->dims[1], (long long)scores->dims[2]);
        return false;
    }
    nms->has_least = !args_omitted(&call->inputs[4]);
    if (!args_omitted(&call->inputs[2]) &&
        !args_int(call, &form, 2, INT64_MIN, INT64_MAX, &nms->most))
        return false;
    nms->most = nms->most < 0 ? 0 : nms->most > nms->boxes ? nms->boxes : nms->most;
    return read_float(call, 3, &nms->overlap) && read_float(call, 4, &nms->least) &&
           args_int(call, &form, 5, 0, 1, centre);
}

static bool get_memory(HostCall *call, Nms *nms)
{
    nms->box = args_scratch(call, nms->boxes, 2 * sizeof *nms->box);
    nms->keys = nms->box ? args_scratch(call, nms->boxes, sizeof *nms->keys) : NULL;
    nms->items = nms->keys ? args_scratch(call, nms->boxes, sizeof *nms->items) : NULL;
    nms->selected =
        nms->items ? args_scratch(call, args_count(&call->inputs[1]), sizeof(int64_t)) : NULL;
    nms->counts =
        nms->selected ? args_scratch(call, nms->images * nms->classes, sizeof(int64_t)) : NULL;
    if (!nms->counts)
        return false;
    nms->chosen = nms->box + nms->boxes;
    return true;
}

static Status write_selected(HostCall *call, const Nms *nms, int64_t total)
{
    const int64_t dims[] = {total, 3};
    const int64_t *from = nms->selected;
    int64_t *to = call->output(call, 0, 2, dims);
    if (!to)
        return args_status(call);
    for (int64_t i = 0; i < nms->images * nms->classes; i++)
        for (int64_t j = 0; j < nms->counts[i]; j++) {
            *to++ = i / nms->classes;
            *to++ = i % nms->classes;
            *to++ = *from++;
        }
    return ST_ok;
}

Status host_nms(HostCall *call)
{
    Nms nms;
    int64_t centre, total = 0;
    if (!args_check(call, &form) || !read_operands(call, &nms, &centre) || !get_memory(call, &nms))
        return args_status(call);
    const float *boxes = call->inputs[0].data, *scores = call->inputs[1].data;
    for (int64_t b = 0; b < nms.images; b++) {
        for (int64_t i = 0; i < nms.boxes; i++)
            nms.box[i] = corners(boxes + (b * nms.boxes + i) * 4, centre);
        for (int64_t c = 0; c < nms.classes; c++) {
            int64_t at = b * nms.classes + c;
            nms.counts[at] = select_class(&nms, scores + at * nms.boxes, nms.selected + total);
            if (nms.counts[at] < 0)
                return args_status(call);
            total += nms.counts[at];
        }
    }
    return write_selected(call, &nms, total);
}
