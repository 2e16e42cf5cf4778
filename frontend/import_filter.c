/* Importers: windows of signals and the mel filter bank, from their formulas. */
#include "frontend/import_ops.h"

#include <math.h>

static Dtype result_type(Import *im, const OnnxNode *n)
{
    int64_t dtype = attr_i(im, n, "output_datatype", DT_f32);
    if (dtype > 0 && dtype < DT_count && dtype_compute((Dtype)dtype) != DT_none)
        return (Dtype)dtype;
    fail(im, ST_bad_model, "attribute 'output_datatype' is %lld", (long long)dtype);
    return DT_f32;
}

/* a0 - a1 cos(2 pi k / N) + a2 cos(4 pi k / N) for k < size, where N is the size, or one less for
 * symmetric windows. (A symmetric window of one element is 0 / 0, as ONNX's formula has it.) */
Tensor *import_signal_window(Import *im, const OnnxNode *n)
{
    enum { HANN, HAMMING, BLACKMAN };
    static const double factors[][3] = {[HANN] = {0.5, 0.5, 0},
                                        [HAMMING] = {25.0 / 46, 21.0 / 46, 0},
                                        [BLACKMAN] = {0.42, 0.5, 0.08}};
    const double *a = factors[im->arg], pi = 3.14159265358979323846;
    const Expr *size[2 * MAX_RANK];
    Dtype dtype = result_type(im, n);
    int count;
    if (!known_list(im, arg(im, n, 0), "the size", &count, size) || count != 1)
        return fail(im, ST_bad_model, "the size is not one number");
    if (size[0]->kind == EX_const && size[0]->value < 0)
        return fail(im, ST_bad_model, "a window of %lld elements", (long long)size[0]->value);
    bool periodic = attr_i(im, n, "periodic", 1) != 0;
    Tensor *period = expr_scalar(im, DT_f64, expr_addi(im->cx, size[0], periodic ? 0 : -1));
    Tensor *k = graph_iota(im->graph, DT_f64, 1, size, 0);
    Tensor *angle = ew(im, S_div, ew(im, S_mul, k, scalar(im, k, 2 * pi)), period);
    Tensor *once = ew1(im, S_cos, angle), *twice = ew1(im, S_cos, ew(im, S_add, angle, angle));
    Tensor *y = ew(im, S_sub, scalar(im, k, a[0]), ew(im, S_mul, scalar(im, k, a[1]), once));
    return to(im, ew(im, S_add, y, ew(im, S_mul, scalar(im, k, a[2]), twice)), dtype);
}

static double mel(double hertz)
{
    return 2595 * log10(1 + hertz / 700);
}

typedef struct Mel {
    double bands, length, rate, low, high;
} Mel;

/* The spectrum's bin in which edge i of the triangles lies, of bands + 2 edges. */
static int64_t mel_edge(const Mel *m, int64_t i)
{
    double step = (mel(m->high) - mel(m->low)) / (m->bands + 2);
    double hertz = 700 * (pow(10, ((double)i * step + mel(m->low)) / 2595) - 1);
    double bin = floor((m->length + 1) * hertz / m->rate);
    return bin >= 0 && bin < 1e9 ? (int64_t)bin : bin < 0 ? -1 : (int64_t)1e9;
}

/* Triangles over the bins: band i rises from edge i to edge i + 1, where it is 1, and falls to edge
 * i + 2. ONNX gives no formula for the edges; this is its reference implementation's. */
static void mel_weights(const Mel *m, int64_t bins, int64_t bands, float *y)
{
    for (int64_t i = 0; i < bands; i++) {
        int64_t left = mel_edge(m, i), peak = mel_edge(m, i + 1), right = mel_edge(m, i + 2);
        for (int64_t j = 0; j < bins; j++) {
            double up = (double)(j - left) / (double)(peak - left);
            double down = (double)(right - j) / (double)(right - peak);
            bool rises = j >= left && j<peak, falls = j> peak && j < right;
            y[j * bands + i] = (float)(j == peak ? 1 : rises ? up : falls ? down : 0);
        }
    }
}

Tensor *import_mel_weights(Import *im, const OnnxNode *n)
{
    enum { MOST = 1 << 24 };
    static const char *const what[] = {"num_mel_bins", "dft_length", "sample_rate",
                                       "lower_edge_hertz", "upper_edge_hertz"};
    Dtype dtype = result_type(im, n);
    Mel m;
    double *fields[] = {&m.bands, &m.length, &m.rate, &m.low, &m.high};
    for (uint32_t i = 0; i < 5; i++)
        if (!known_number(im, arg(im, n, i), what[i], fields[i]))
            return graph_poison(im->graph);
    bool good = m.bands >= 0 && m.length >= 0 && m.rate >= 1 && m.low >= 0 && m.high >= m.low &&
                m.high < 1e12 && m.bands < MOST && m.length < MOST;
    int64_t dims[] = {good ? (int64_t)m.length / 2 + 1 : 0, good ? (int64_t)m.bands : 0};
    if (!good || (double)dims[0] * m.bands > MOST)
        return fail(im, ST_bad_model, "%g bands over %g bins, of %g to %g Hz", m.bands, m.length,
                    m.low, m.high);
    float *y = NEW_ARRAY(im->cx->arena, float, (size_t)(dims[0] * dims[1]) + 1);
    mel_weights(&m, dims[0], dims[1], y);
    return to(im, graph_constant(im->graph, NULL, DT_f32, 2, dims, y), dtype);
}
