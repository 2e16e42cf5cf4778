/* The object loader: what it accepts, and that no damaged file gets through or crashes it. */
#include "tests/unit/llvm_run.h"

static const char program[] =
    "tile two x86-64-v3 {\n"
    "  in x f32 [100]\n  scratch s f32 [100]\n  out y f32 [100]\n"
    "  grid (t 1) { map (i 100) { %0 = load x[i] %1 = exp f32 %0 store s[i] %1 } }\n"
    "  grid (t 1) { map (i 100) { %0 = load s[i] %1 = atan f32 %0 store y[i] %1 } }\n"
    "}\n";

static uint8_t *object_bytes;
static size_t object_length;

static void compile(Cx *cx, void *user)
{
    LlvmModule llvm;
    ObjectBytes bytes;
    TileProg *prog = tile_parse(cx, "test", program);
    (void)user;
    if (cx_failed(cx) || !llvm_module_open(cx, &llvm, NULL))
        return;
    if (llvm.api->emit(cx, &prog, 1, target_find("x86-64-v3"), (LlvmOptions){0}, &bytes)) {
        object_bytes = malloc(bytes.size);
        object_length = bytes.size;
        memcpy(object_bytes, bytes.data, bytes.size);
    }
    llvm_module_close(&llvm);
}

static void setup(void)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, compile, NULL), ST_ok, "%s", cx.message);
    cx_finish(&cx);
}

static void teardown(void)
{
    free(object_bytes);
}

TestSuite(object, .init = setup, .fini = teardown);

Test(object, finds_its_functions)
{
    const char *why = NULL;
    Object *object = object_load(object_bytes, object_length, &why);
    cr_assert(object, "%s", why);
    cr_assert(object_find(object, "two_0"));
    cr_assert(object_find(object, "two_1"));
    cr_assert_null(object_find(object, "two_2"));
    cr_assert_null(object_find(object, ""));
    object_close(object);
    object_close(NULL);
}

Test(object, refuses_every_truncation)
{
    for (size_t size = 0; size < object_length; size++) {
        uint8_t *copy = malloc(size + 1); /* its own block: address sanitizer sees a read past it */
        memcpy(copy, object_bytes, size);
        const char *why = NULL;
        cr_assert_null(object_load(copy, size, &why));
        cr_assert(why);
        free(copy);
    }
}

Test(object, survives_every_damaged_byte)
{
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    uint8_t *copy = malloc(object_length);
    for (size_t at = 0; at < object_length; at++) {
        for (size_t m = 0; m < sizeof masks; m++) {
            memcpy(copy, object_bytes, object_length);
            copy[at] ^= masks[m];
            const char *why = NULL;
            Object *object = object_load(copy, object_length, &why);
            cr_assert(object || why);
            object_close(object);
        }
    }
    free(copy);
}

Test(object, survives_random_damage)
{
    uint64_t state = 1;
    uint8_t *copy = malloc(object_length);
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, object_bytes, object_length);
        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            copy[(state >> 33) % object_length] = (uint8_t)(state >> 20);
        }
        const char *why = NULL;
        object_close(object_load(copy, object_length, &why));
    }
    free(copy);
}

static void open_nowhere(Cx *cx, void *user)
{
    LlvmModule llvm;
    cr_assert_not(llvm_module_open(cx, &llvm, user));
}

Test(object, a_missing_generator_is_an_error)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, open_nowhere, (void *)(uintptr_t) "/nowhere/libquern_llvm.so"),
                 ST_missing);
    cr_assert(strstr(cx.message, "/nowhere/libquern_llvm.so"));
    cx_finish(&cx);
}

static bool mapped(const char *name)
{
    char line[4096];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        found |= strstr(line, name) != NULL;
    if (maps)
        fclose(maps);
    return found;
}

Test(object, the_generator_is_gone_after_use)
{
    cr_assert_not(mapped("libquern_llvm")); /* setup has used it */
    const char *why = NULL;
    Object *object = object_load(object_bytes, object_length, &why);
    cr_assert(object, "%s", why);
    float x[100], s[100], y[100];
    for (int i = 0; i < 100; i++)
        x[i] = (float)(i - 50) / 8;
    KernelArgs args = {.buffers = (void *[]){x, s, y}};
    object_find(object, "two_0")(&args, 0, 1, NULL);
    object_find(object, "two_1")(&args, 0, 1, NULL);
    cr_assert_float_eq(y[50], 0.785398163f, 1e-6f);
    object_close(object);
}
