/* Building OpenCL programs. One option beyond the language version: division and square root are
 * rounded correctly where the device can; no option relaxes anything. */
#include "runtime/opencl_build.h"

static const char *options(const OpenclApi *api, cl_device_id device)
{
    cl_device_fp_config config = 0;
    api->clGetDeviceInfo(device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    return config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT
               ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt"
               : "-cl-std=CL1.2";
}

static const OpenclApi *need_api(Cx *cx)
{
    const char *why = NULL;
    const OpenclApi *api = opencl_api(&why);
    if (!api)
        cx_fail(cx, ST_missing, "%s", why);
    return api;
}

static void report(Cx *cx, const OpenclApi *api, cl_program program, cl_device_id device,
                   cl_int code)
{
    size_t size = 0;
    api->clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *log = arena_alloc(cx->arena, size + 1);
    if (api->clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, log, NULL) !=
        CL_SUCCESS)
        log[0] = 0;
    cx_fail(cx, ST_device, "OpenCL build failed (%d): %.800s", (int)code, log);
}

cl_program opencl_build(Cx *cx, cl_context context, cl_device_id device, const char *source,
                        size_t length)
{
    const OpenclApi *api = need_api(cx);
    cl_int code = CL_SUCCESS;
    if (!api)
        return NULL;
    cl_program program = api->clCreateProgramWithSource(context, 1, &source, &length, &code);
    if (!program)
        return cx_fail(cx, ST_device, "clCreateProgramWithSource failed (%d)", (int)code), NULL;
    code = api->clBuildProgram(program, 1, &device, options(api, device), NULL, NULL);
    if (code == CL_SUCCESS)
        return program;
    report(cx, api, program, device, code);
    api->clReleaseProgram(program);
    return NULL;
}

const void *opencl_build_save(Cx *cx, cl_program program, size_t *size)
{
    const OpenclApi *api = need_api(cx);
    size_t sizes[1] = {0};
    if (!api)
        return NULL;
    cl_int code =
        api->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof sizes, sizes, NULL);
    if (code != CL_SUCCESS || sizes[0] == 0)
        return cx_fail(cx, ST_device, "the OpenCL driver gives no binary (%d)", (int)code), NULL;
    unsigned char *binaries[1] = {arena_alloc(cx->arena, sizes[0])};
    code = api->clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binaries, binaries, NULL);
    if (code != CL_SUCCESS)
        return cx_fail(cx, ST_device, "the OpenCL driver gives no binary (%d)", (int)code), NULL;
    *size = sizes[0];
    return binaries[0];
}

cl_program opencl_build_load(cl_context context, cl_device_id device, const void *binary,
                             size_t size)
{
    const OpenclApi *api = opencl_api(NULL);
    const unsigned char *data = binary;
    cl_int status = CL_SUCCESS, code = CL_SUCCESS;
    if (!api)
        return NULL;
    cl_program program =
        api->clCreateProgramWithBinary(context, 1, &device, &size, &data, &status, &code);
    if (!program)
        return NULL;
    if (code == CL_SUCCESS && status == CL_SUCCESS &&
        api->clBuildProgram(program, 1, &device, options(api, device), NULL, NULL) == CL_SUCCESS)
        return program;
    api->clReleaseProgram(program);
    return NULL;
}

/* --- kept binaries --- */

/* Everything that a binary depends on; what the driver says of itself as a hash, for it may be any
 * text. */
static const char *binary_parts(Cx *cx, const OpenclApi *api, cl_device_id device,
                                const char *source, size_t length)
{
    static const cl_device_info texts[] = {CL_DEVICE_NAME, CL_DEVICE_VENDOR, CL_DEVICE_VERSION,
                                           CL_DRIVER_VERSION, CL_DEVICE_EXTENSIONS};
    char driver[HASH_HEX_SIZE], text[HASH_HEX_SIZE];
    Hasher hasher;
    hash_init(&hasher);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t size = 0;
        api->clGetDeviceInfo(device, texts[i], 0, NULL, &size);
        char *value = arena_alloc(cx->arena, size + 1);
        api->clGetDeviceInfo(device, texts[i], size, value, NULL);
        hash_add_text(&hasher, value);
    }
    hash_to_hex(hash_finish(&hasher), driver);
    hash_to_hex(hash_bytes(source, length), text);
    return arena_printf(cx->arena, "kind binary\ndriver %s\noptions %s\ntext %s\n", driver,
                        options(api, device), text);
}

cl_program opencl_build_kept(Cx *cx, cl_context context, cl_device_id device, const char *source,
                             size_t length, Storage *kept)
{
    const OpenclApi *api = need_api(cx);
    Entry entry = {.kind = ENTRY_binary};
    cl_program program = NULL;
    if (!api)
        return NULL;
    entry.parts = kept ? binary_parts(cx, api, device, source, length) : "";
    if (kept && storage_get(kept, cx, &executor_inline, entry_key(entry.parts), &entry) &&
        entry.kind == ENTRY_binary)
        program = opencl_build_load(context, device, entry.data, entry.size);
    if (program)
        return program;
    program = opencl_build(cx, context, device, source, length);
    if (program && kept && (entry.data = opencl_build_save(cx, program, &entry.size)))
        (void)kept->class->put(kept, cx, &executor_inline, &entry);
    return program;
}
