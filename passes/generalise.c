/* Works on the text of nests: a *form* is the text with a mark in place of each size that may
 * differ, and nests of equal form are a class. A class of several becomes the text with dims,
 *
 *   in b0 f32 [$, $]     64 576 | 128 1152 | 256 256      in b0 f32 [64*dim0, 64*dim1]
 *   axis block $          2     | 4        | 8            axis block 2*dim0
 *   axis k $             576    | 1152     | 256          axis k 64*dim1
 *
 * which is tried out in a job of its own: proofs about dims may fail, or cost guards. */
#include "passes/generalise.h"

#include <ctype.h>
#include <string.h>

#include "base/map.h"

enum {
    MARK = '$',
    LARGE_MARK = '&',
    /* An axis beyond this is cut into several tasks, one below is not: two kinds of code. */
    LARGE = 1 << 14,
    LONGEST_BOX = 64
};

/* A distinct nest. */
typedef struct Form {
    Nest *nest;
    const char *text, *form;
    uint32_t count, capacity;
    int64_t *sizes;  /* by mark */
    Generalised out; /* nest NULL: not decided yet */
} Form;

typedef struct Class {
    uint32_t count, capacity;
    Form **members;
} Class;

/* --- forms --- */

/* Points of a box along axes that lanes run over, or 0: sizes shape the code in other ways. */
static int64_t box_points(Cx *cx, const Nest *nest, const Caps *caps)
{
    Schedule schedule = schedule_choose(cx, nest, caps);
    if (schedule.skeleton == SK_blocks)
        return LONGEST_BOX;
    if (schedule.skeleton != SK_general)
        return 0;
    int64_t width = caps->vector_bits ? caps->vector_bits / 32 : 4;
    int64_t lanes = width * schedule.field[SF_vec], rows = schedule.field[SF_rows];
    return rows > lanes ? rows : lanes;
}

/* The axes along which some access is contiguous: what lanes run over is among them. */
static uint64_t lane_axes(Cx *cx, const Nest *nest)
{
    uint64_t lanes = 0;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        int axis = v->op == V_load ? access_unit_axis(cx, nest, v->access, ~0ull) : -1;
        lanes |= axis >= 0 ? 1ull << axis : 0;
    }
    for (uint32_t i = 0; i < nest->store_count; i++) {
        int axis = access_unit_axis(cx, nest, nest->stores[i].access, ~0ull);
        lanes |= axis >= 0 ? 1ull << axis : 0;
    }
    return lanes;
}

/* Puts the number at `at`, or a mark for it; gives where it ends. */
static const char *put_size(Cx *cx, Form *f, Text *out, const char *at)
{
    int64_t value = 0;
    size_t length = 0;
    for (; isdigit((unsigned char)at[length]); length++)
        value = value < INT32_MAX ? value * 10 + (at[length] - '0') : value;
    if (value < 2 || value >= INT32_MAX) { /* broadcasts; what no dim is */
        text_put(out, at, length);
        return at + length;
    }
    char mark = value > LARGE ? LARGE_MARK : MARK;
    text_put(out, &mark, 1);
    VEC_PUSH(cx->arena, f->sizes, f->count, f->capacity, value);
    return at + length;
}

/* Extents, strides and the offset. */
static void put_buffer(Cx *cx, Form *f, Text *out, const char *line, const char *end)
{
    const char *at = memchr(line, '[', (size_t)(end - line));
    at = at ? at : end;
    text_put(out, line, (size_t)(at - line));
    while (at < end) {
        if (end - at > 6 && memcmp(at, " align", 6) == 0)
            break;
        if (isdigit((unsigned char)*at))
            at = put_size(cx, f, out, at);
        else
            text_put(out, at++, 1);
    }
    text_put(out, at, (size_t)(end - at));
}

static void put_axis(Cx *cx, Form *f, Text *out, const char *line, const char *end, bool fixed)
{
    const char *at = end;
    while (isdigit((unsigned char)at[-1]))
        at--;
    if (fixed || at == end || at[-1] != ' ') {
        text_put(out, line, (size_t)(end - line));
        return;
    }
    text_put(out, line, (size_t)(at - line));
    put_size(cx, f, out, at);
}

/* Limits of guards that are numbers. */
static void put_value(Cx *cx, Form *f, Text *out, const char *line, const char *end)
{
    for (const char *at = line; at < end;) {
        bool less = end - at > 3 && memcmp(at, " < ", 3) == 0;
        text_put(out, at, less ? 3 : 1);
        at += less ? 3 : 1;
        const char *after = at;
        while (less && isdigit((unsigned char)*after))
            after++;
        if (after > at && (*after == ',' || *after == '\n' || strncmp(after, " else", 5) == 0))
            at = put_size(cx, f, out, at);
    }
}

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

static void make_form(Cx *cx, Form *f, const Caps *caps)
{
    int64_t box = f->nest->dim_count ? 0 : box_points(cx, f->nest, caps);
    f->form = f->text;
    if (!box)
        return;
    uint64_t lanes = lane_axes(cx, f->nest);
    int axis = 0;
    Text out;
    text_init(&out, cx->arena);
    for (const char *line = f->text; *line;) {
        const char *end = line + strcspn(line, "\n"), *word = line + strspn(line, " ");
        if (begins(word, "in ") || begins(word, "out ") || begins(word, "const ") ||
            begins(word, "scratch ")) {
            put_buffer(cx, f, &out, line, end);
        } else if (begins(word, "axis ")) {
            bool lane = lanes >> axis & 1;
            put_axis(cx, f, &out, line, end,
                     lane && !expr_is_const(expr_modi(cx, f->nest->axes[axis].extent, box), 0));
            axis++;
        } else {
            put_value(cx, f, &out, line, end);
        }
        text_put(&out, "\n", 1);
        line = end + (*end == '\n');
    }
    f->form = out.data;
}

/* --- dims --- */

typedef struct Dims {
    const Class *class;
    uint32_t count, capacity;
    int64_t **values; /* by dim, by member */
} Dims;

static int64_t common(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The dim of a mark and what it is multiplied by; false when the size is the same everywhere. */
static bool find_dim(Cx *cx, Dims *dims, uint32_t mark, uint32_t *dim, int64_t *factor)
{
    const Class *class = dims->class;
    int64_t *values = NEW_ARRAY(cx->arena, int64_t, class->count);
    bool same = true;
    *factor = 0;
    for (uint32_t m = 0; m < class->count; m++) {
        values[m] = class->members[m]->sizes[mark];
        same &= values[m] == values[0];
        *factor = common(values[m], *factor);
    }
    for (uint32_t m = 0; m < class->count; m++)
        values[m] /= *factor;
    for (*dim = 0; *dim < dims->count && !same; ++*dim)
        if (memcmp(dims->values[*dim], values, class->count * sizeof *values) == 0)
            return true;
    if (!same)
        VEC_PUSH(cx->arena, dims->values, dims->count, dims->capacity, values);
    return !same;
}

static void put_dims(Text *out, const Dims *dims)
{
    for (uint32_t d = 0; d < dims->count; d++) {
        int64_t low = dims->values[d][0], high = low;
        for (uint32_t m = 1; m < dims->class->count; m++) {
            int64_t value = dims->values[d][m];
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        text_add(out, "  dim dim%u %lld..%lld\n", d, (long long)low, (long long)high);
    }
}

/* The text of the nest with dims. */
static const char *general_text(Cx *cx, Dims *dims)
{
    const Form *first = dims->class->members[0];
    Text body, all;
    text_init(&body, cx->arena);
    text_init(&all, cx->arena);
    const char *line = strchr(first->form, '\n') + 1;
    uint32_t mark = 0, dim;
    for (const char *at = line; *at; at++) {
        int64_t factor;
        if (*at != MARK && *at != LARGE_MARK)
            text_put(&body, at, 1);
        else if (find_dim(cx, dims, mark++, &dim, &factor))
            text_add(&body, "(%lld*dim%u)", (long long)factor, dim);
        else
            text_add(&body, "%lld", (long long)first->sizes[mark - 1]);
    }
    text_put(&all, first->form, (size_t)(line - first->form));
    put_dims(&all, dims);
    text_put(&all, body.data, body.length);
    return all.data;
}

/* --- trying --- */

/* Operations on boxes, and guards of what they load and store. */
static uint32_t count_work(const TileBlock *block)
{
    uint32_t count = 0;
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next) {
        count += op->kind != TO_for;
        for (uint32_t i = 0; i < op->value_count; i++)
            if (op->values[i]->op == V_load)
                count += (uint32_t)op->values[i]->access->guard_count;
        for (uint32_t i = 0; i < op->store_count; i++)
            count += (uint32_t)op->stores[i].access->guard_count;
        count += count_work(op->body) + count_work(op->other);
    }
    return count;
}

typedef struct Trial {
    const char *general, *member;
    const Caps *caps;
    bool fits;
} Trial;

/* How much code there is; UINT32_MAX for none, or when it wants more than the nest's buffers. */
static uint32_t code_size(Cx *cx, const char *text, const Caps *caps)
{
    Lowered lowered;
    uint32_t count = 0;
    Nest *nest = nest_parse(cx, "nest", text);
    if (!nest)
        return UINT32_MAX;
    Schedule schedule = schedule_choose(cx, nest, caps);
    if (!schedule_apply(cx, nest, &schedule, caps, &lowered) || lowered.pack_count ||
        lowered.prog->buffer_count != nest->buffer_count)
        return UINT32_MAX;
    for (uint32_t g = 0; g < lowered.prog->grid_count; g++)
        count += count_work(&lowered.prog->grids[g]->body);
    return count;
}

static void try_general(Cx *cx, void *user)
{
    Trial *trial = user;
    uint32_t general = code_size(cx, trial->general, trial->caps);
    if (general == UINT32_MAX || cx_failed(cx))
        return;
    uint32_t member = code_size(cx, trial->member, trial->caps);
    trial->fits = !cx_failed(cx) && member != UINT32_MAX && general <= member;
}

static bool fits(Cx *cx, const char *general, const Form *member, const Caps *caps)
{
    Cx own;
    Trial trial = {.general = general, .member = member->text, .caps = caps};
    cx_init(&own, cx->arena->from, 0);
    cx_run(&own, try_general, &trial);
    cx_finish(&own);
    return trial.fits;
}

static void generalise_class(Cx *cx, const Class *class, const Caps *caps)
{
    Dims dims = {.class = class};
    const char *text = general_text(cx, &dims);
    if (!dims.count || !fits(cx, text, class->members[0], caps))
        return;
    Nest *nest = nest_parse(cx, "nest", text);
    if (!nest)
        return;
    for (uint32_t m = 0; m < class->count; m++) {
        uint32_t *values = NEW_ARRAY(cx->arena, uint32_t, dims.count);
        for (uint32_t d = 0; d < dims.count; d++)
            values[d] = (uint32_t)dims.values[d][m];
        class->members[m]->out = (Generalised){nest, values};
    }
}

/* --- the whole --- */

static Form *form_of(Cx *cx, Map *texts, Nest *nest, const Caps *caps)
{
    Text text;
    text_init(&text, cx->arena);
    nest_print(&text, nest);
    Form *f = map_find_text(texts, text.data);
    if (f)
        return f;
    f = NEW(cx->arena, Form);
    *f = (Form){.nest = nest, .text = text.data};
    make_form(cx, f, caps);
    map_set_text(texts, text.data, f);
    return f;
}

void generalise(Cx *cx, uint32_t count, Nest *const *nests, const Caps *caps, Generalised *out)
{
    Map texts, forms;
    map_init(&texts, cx->arena);
    map_init(&forms, cx->arena);
    Form **form = NEW_ARRAY(cx->arena, Form *, count);
    for (uint32_t i = 0; i < count; i++)
        form[i] = form_of(cx, &texts, nests[i], caps);
    for (uint32_t i = 0; i < texts.count; i++) {
        Form *f = texts.entries[i].value;
        Class *class = map_find_text(&forms, f->form);
        if (!class) {
            class = NEW(cx->arena, Class);
            map_set_text(&forms, f->form, class);
        }
        VEC_PUSH(cx->arena, class->members, class->count, class->capacity, f);
    }
    for (uint32_t i = 0; i < forms.count && !cx_failed(cx); i++)
        generalise_class(cx, forms.entries[i].value, caps);
    for (uint32_t i = 0; i < count; i++)
        out[i] = form[i]->out.nest ? form[i]->out : (Generalised){form[i]->nest, NULL};
}
