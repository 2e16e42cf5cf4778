/* Windows over the spatial axes of x [n, c, spatial..]: what convolutions and pooling share. */
#ifndef QUERN_FRONTEND_IMPORT_WINDOW_H
#define QUERN_FRONTEND_IMPORT_WINDOW_H

#include "frontend/import_ops.h"

/* One entry per spatial axis. Sizes that follow from dims are expressions. */
typedef struct Window {
    int spatial;
    const Expr *kernel[MAX_RANK], *reach[MAX_RANK]; /* taps; (taps - 1) * dilation + 1 */
    int64_t strides[MAX_RANK], dilations[MAX_RANK];
    const Expr *before[MAX_RANK], *after[MAX_RANK]; /* padding that is asked for */
    const Expr *last[MAX_RANK]; /* padding behind so that the last window just fits: `after`, but
                                   for ceil_mode */
} Window;

/* An attribute of `count` numbers, each `other` when it is absent; fails when it lists another
 * number of them or one that is out of all reason. */
bool window_list(Import *im, const OnnxNode *n, const char *name, int count, int64_t other,
                 int64_t *list);
/* Reads kernel_shape, strides, dilations, pads, auto_pad, ceil_mode. The taps are those of the
 * weights `w`, where there are some. */
bool window_read(Import *im, const OnnxNode *n, const Tensor *x, const Tensor *w, Window *window);
/* Strides, dilations and pads of a node. Padding that depends on a dim is put around x, filled with
 * `fill`, else x stays. */
Tensor *window_pad(Import *im, Tensor *x, const Window *window, double fill, Attr at[AT_count]);

#endif
