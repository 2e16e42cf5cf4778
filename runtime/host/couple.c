/* Probabilities of classes from those of their pairs: the second method of Wu, Lin and Weng,
 * "Probability Estimates for Multi-class Classification by Pairwise Coupling" (JMLR 5, 2004), as
 * libsvm iterates it: p minimises the sum over pairs of (r[j,i] p[i] - r[i,j] p[j])^2, and stops
 * at a tolerance that the results can tell, so the order of steps is theirs. */
#include <math.h>

#include "runtime/host/args.h"

/* host_couple: r (f32) [n, pairs], of each pair i < j of classes in order the probability of i,
 * above 0 and below 1; the number of classes -> p [n, classes]. */
static const HostParam couple_in[] = {{"r", TYPE(f32), 2, 2, false},
                                      {"classes", TYPE(i64), 0, 1, false}};
static const HostParam couple_out[] = {{"p", TYPE(f32), 2, 2, false}};
static const HostForm form = {"couple", couple_in, couple_out, 2, 1, false};

enum { MOST_CLASSES = 1000, MOST_ROUNDS = 100 };

/* p' Q p is what is minimised; q [k, k]. */
static void fill_matrix(int64_t k, const float *r, float *q)
{
    for (int64_t i = 0; i < k; i++)
        q[i * k + i] = 0;
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = i + 1; j < k; j++) {
            float first = *r++, second = 1 - first;
            q[i * k + i] += second * second;
            q[j * k + j] += first * first;
            q[i * k + j] = q[j * k + i] = -first * second;
        }
}

/* qp = Q p; gives p' Q p. */
static float multiply(int64_t k, const float *q, const float *p, float *qp)
{
    float pqp = 0;
    for (int64_t i = 0; i < k; i++) {
        qp[i] = 0;
        for (int64_t j = 0; j < k; j++)
            qp[i] += q[i * k + j] * p[j];
        pqp += p[i] * qp[i];
    }
    return pqp;
}

static bool has_settled(int64_t k, const float *qp, float pqp)
{
    float most = 0;
    for (int64_t i = 0; i < k; i++)
        most = fmaxf(most, fabsf(qp[i] - pqp));
    return most < 0.005f / (float)k;
}

static void couple(int64_t k, const float *q, float *qp, float *p)
{
    for (int64_t i = 0; i < k; i++)
        p[i] = 1 / (float)k;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        float pqp = multiply(k, q, p, qp);
        if (has_settled(k, qp, pqp))
            return;
        for (int64_t i = 0; i < k; i++) {
            float own = q[i * k + i], step = (pqp - qp[i]) / own;
            p[i] += step;
            pqp = (pqp + step * (step * own + 2 * qp[i])) / (1 + step) / (1 + step);
            for (int64_t j = 0; j < k; j++) {
                qp[j] = (qp[j] + step * q[i * k + j]) / (1 + step);
                p[j] /= 1 + step;
            }
        }
    }
}

Status host_couple(HostCall *call)
{
    const HostTensor *r = &call->inputs[0];
    int64_t k;
    if (!args_check(call, &form) || !args_int(call, &form, 1, 2, MOST_CLASSES, &k))
        return args_status(call);
    if (r->dims[1] != k * (k - 1) / 2)
        return args_fail(call, &form, "%lld pairs of %lld classes", (long long)r->dims[1],
                         (long long)k);
    const int64_t dims[] = {r->dims[0], k};
    float *scratch = args_scratch(call, k * (k + 1), sizeof *scratch);
    float *p = scratch ? call->output(call, 0, 2, dims) : NULL;
    if (!p)
        return args_status(call);
    for (int64_t n = 0; n < dims[0]; n++) {
        fill_matrix(k, (const float *)r->data + n * r->dims[1], scratch);
        couple(k, scratch, scratch + k * k, p + n * k);
    }
    return ST_ok;
}
