/* Random inputs: splitmix64, seeded by the input's name; a normal value is the scaled sum of four
 * uniform ones, which is near enough and needs no libm. */
#include "tools/fill.h"

#include "base/dtype.h"
#include "base/hash.h"

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static double normal(uint64_t *state)
{
    uint64_t bits = next(state);
    uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    /* The sum has mean 4 * 32767.5 and deviation 65536 * sqrt(4 / 12). */
    return ((double)sum - 131070.0) / 37837.23;
}

/* Complex numbers are pairs of floats. */
static Dtype part_of(qn_dtype dtype)
{
    return dtype == QN_C64 ? DT_f32 : dtype == QN_C128 ? DT_f64 : (Dtype)dtype;
}

static bool fill_letters(Tensor *tensor, uint64_t *state, Fail *fail)
{
    static const char letters[] = "abcdefghijklmnop";
    qn_string *list = tensor->data;
    for (int64_t i = 0; i < tensor->count; i++)
        list[i] = (qn_string){letters + (next(state) >> 60), 1};
    return tensor_set_strings(tensor, list, fail);
}

bool fill_random(Tensor *tensor, const char *name, Fail *fail)
{
    uint64_t state = hash_bytes64(name, strlen(name));
    if (tensor->dtype == QN_STRING)
        return fill_letters(tensor, &state, fail);
    Dtype dtype = part_of(tensor->dtype);
    int64_t count = tensor->count * (dtype == (Dtype)tensor->dtype ? 1 : 2);
    for (int64_t i = 0; i < count; i++) {
        Scalar value;
        if (dtype_is_float(dtype))
            value.f = normal(&state);
        else
            value.i = (int64_t)(next(&state) >> 63);
        dtype_store(dtype, tensor->data, i, value);
    }
    return true;
}
