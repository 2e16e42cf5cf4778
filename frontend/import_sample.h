/* Reading an image at fractional positions: what GridSample and deformable convolutions share. */
#ifndef QUERN_FRONTEND_IMPORT_SAMPLE_H
#define QUERN_FRONTEND_IMPORT_SAMPLE_H

#include "frontend/import_ops.h"

typedef enum Padding { PAD_zeros, PAD_border, PAD_reflection } Padding;

/* Along one axis: pixels near a position and their weights. All of shape [n, points.., 1]. */
typedef struct Taps {
    int count;         /* 1 nearest, 2 linear, 4 cubic */
    Tensor *at[4];     /* pixel along the axis, within the image: int32 */
    Tensor *inside[4]; /* whether the tap is in the image */
    Tensor *weight[4]; /* NULL for a single tap */
} Taps;

typedef struct Sampler {
    Import *im;
    Tensor *pixels; /* [n, pixels, channels] */
    int spatial, taps;
    const Expr *extents[MAX_RANK];
    Taps axes[MAX_RANK];
    Dtype number; /* type of pixel numbers */
    Padding padding;
    bool corners; /* borders are the centres of the outer pixels, for reflection and folding */
} Sampler;

/* x [n, channels, spatial..]; `taps` as in Taps.count. The rest of the sampler is filled by then.
 */
void sampler_image(Sampler *s, Tensor *x, int taps);
/* Taps of one axis at positions p, in pixels (the first has its centre at 0): [n, points.., 1]. */
void sampler_axis(Sampler *s, int axis, Tensor *p);
/* The image there: [n, points.., channels]. */
Tensor *sampler_read(Sampler *s);

#endif
