/* Reads handwritten digits with the model of examples/digits:
 *     digits MODEL IMAGES.npy LABELS.npy
 * Prints some images with the digit the model sees, the accuracy over all, and how long a cold
 * start (everything is compiled), a warm start (taken from the cache) and a run take. Exit status 1
 * when something fails. */
#include <quern.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 10 };

/* An .npy file: magic, version, length of a text header, then elements. */
typedef struct Npy {
    unsigned char *file;
    void *data;
    long count; /* first dim of the shape */
    size_t bytes;
} Npy;

typedef struct Road {
    qn_model *model;
    qn_program *program;
    qn_session *session;
} Road;

static double now_ms(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "digits: %s: %s\n", what, why);
    exit(1);
}

static Npy read_npy(const char *path, const char *type)
{
    Npy npy = {0};
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        fail(path, "cannot be read");
    long size = ftell(file);
    rewind(file);
    npy.file = calloc(1, (size_t)size + 1);
    if (size < 10 || !npy.file || fread(npy.file, 1, (size_t)size, file) != (size_t)size ||
        memcmp(npy.file, "\x93NUMPY\x01", 7) != 0)
        fail(path, "not a version 1 .npy file");
    fclose(file);
    long header = 10 + npy.file[8] + 256 * npy.file[9];
    if (header > size)
        fail(path, "its header is cut off");
    npy.data = npy.file + header;
    npy.bytes = (size_t)(size - header);
    npy.file[header - 1] = 0;
    const char *text = (const char *)npy.file + 10, *shape = strstr(text, "'shape': (");
    if (!shape || !strstr(text, type))
        fail(path, "elements of another type");
    npy.count = strtol(shape + strlen("'shape': ("), NULL, 10);
    return npy;
}

static Road start(qn_context *context, const char *path, int fresh)
{
    Road r = {NULL, NULL, NULL};
    if (qn_model_open(context, qn_str(path), NULL, &r.model) != QN_OK)
        fail(path, qn_model_message(r.model));
    qn_compile_options options = {.no_cache = fresh};
    if (qn_program_compile(r.model, &options, &r.program) != QN_OK)
        fail(path, qn_program_message(r.program));
    if (qn_session_create(r.program, NULL, &r.session) != QN_OK)
        fail(path, qn_session_message(r.session));
    return r;
}

static void stop(Road *r)
{
    qn_session_release(r->session);
    qn_program_release(r->program);
    qn_model_release(r->model);
}

static void run(qn_session *session, const Npy *images, float *logits)
{
    qn_shape shape = {.rank = 4, .dims = (int64_t[]){images->count, 1, SIDE, SIDE}};
    if (qn_session_set_shapes(session, &shape, 1) != QN_OK)
        fail("shapes", qn_session_message(session));
    qn_buffer in = {.data = images->data, .bytes = images->bytes};
    qn_buffer out = {.data = logits, .bytes = (size_t)images->count * CLASSES * sizeof *logits};
    if (qn_run(session, &in, 1, &out, 1) != QN_OK)
        fail("run", qn_session_message(session));
}

static int best_of(const float *logits)
{
    int best = 0;
    for (int c = 1; c < CLASSES; c++)
        if (logits[c] > logits[best])
            best = c;
    return best;
}

/* Images beside each other, with what the model sees below. */
static void show(const float *images, const float *logits, const int64_t *labels, int count)
{
    static const char shades[] = " .:-=+*#%@";
    float most = 0;
    for (int i = 0; i < count * PIXELS; i++)
        most = images[i] > most ? images[i] : most;
    for (int y = 0; y < SIDE; y++) {
        for (int i = 0; i < count; i++) {
            for (int x = 0; x < SIDE; x++) {
                float v = most > 0 ? images[i * PIXELS + y * SIDE + x] / most : 0;
                char c = shades[(int)(v * 9.0f)];
                printf("%c%c", c, c);
            }
            printf("  ");
        }
        printf("\n");
    }
    for (int i = 0; i < count; i++) {
        int seen = best_of(logits + i * CLASSES);
        printf("sees %d, is %d %-5s ", seen, (int)labels[i], seen == labels[i] ? "" : "WRONG");
    }
    printf("\n\n");
}

int main(int argc, char **argv)
{
    char cache[4096];
    qn_context *context;
    if (argc != 4) {
        fprintf(stderr, "usage: digits MODEL IMAGES.npy LABELS.npy\n");
        return 2;
    }
    Npy images = read_npy(argv[2], "<f4"), labels = read_npy(argv[3], "<i8");
    if (images.count < 5 || images.bytes != (size_t)images.count * PIXELS * sizeof(float) ||
        labels.count != images.count || labels.bytes != (size_t)labels.count * sizeof(int64_t))
        fail(argv[2], "images and labels do not belong together");
    qn_context_options options = {0};
    if (qn_cache_default_dir(cache, sizeof cache) == QN_OK)
        options.cache_dir = qn_str(cache);
    if (qn_context_create(&options, &context) != QN_OK)
        fail("context", "out of memory");
    float *logits = calloc((size_t)images.count * CLASSES, sizeof *logits);
    if (!logits)
        fail("results", "out of memory");

    double t0 = now_ms();
    Road cold = start(context, argv[1], 1);
    double t1 = now_ms();
    run(cold.session, &images, logits);
    double t2 = now_ms();
    run(cold.session, &images, logits);
    double t3 = now_ms();
    Road kept = start(context, argv[1], 0); /* in the cache from here on */
    stop(&kept);
    double t4 = now_ms();
    Road warm = start(context, argv[1], 0);
    double t5 = now_ms();
    qn_program_info info;
    qn_program_describe(warm.program, &info);

    long right = 0;
    show(images.data, logits, labels.data, 5);
    for (long i = 0; i < images.count; i++)
        right += best_of(logits + i * CLASSES) == ((int64_t *)labels.data)[i];
    printf("accuracy    %ld of %ld (%.1f %%)\n", right, images.count,
           100.0 * (double)right / (double)images.count);
    printf("cold start  %.2f ms (%d kernels compiled)\n", t1 - t0, (int)info.distinct_kernels);
    printf("warm start  %.2f ms (%s)\n", t5 - t4,
           info.cached ? "from the cache" : "compiled again");
    printf("first run   %.3f ms, then %.3f ms (%ld images, %d threads)\n", t2 - t1, t3 - t2,
           images.count, (int)qn_context_threads(context));
    stop(&cold);
    stop(&warm);
    qn_context_release(context);
    free(logits);
    free(images.file);
    free(labels.file);
    return 0;
}
