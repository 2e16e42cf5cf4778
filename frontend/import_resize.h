/* What the two files of Resize share. */
#ifndef QUERN_FRONTEND_IMPORT_RESIZE_H
#define QUERN_FRONTEND_IMPORT_RESIZE_H

#include "frontend/import_ops.h"

enum { MOST_TAPS = 64, MOST_EXTENT = 1 << 20 };

typedef struct Resize {
    Import *im;
    const char *mode, *coordinates, *nearest, *policy;
    double cubic, extrapolation;
    bool antialias, exclude_outside;
    double scales[MAX_RANK], from[MAX_RANK], until[MAX_RANK]; /* from, until: region of interest */
    int64_t sizes[MAX_RANK];                                  /* -1 = by scale */
    const Expr *open[MAX_RANK]; /* a size that is a dim, or of an axis that is; or NULL */
} Resize;

/* Resizes an axis whose extent, before or after, is known in a run only. import_resize_open.c */
Tensor *resize_open(const Resize *r, Tensor *x, int axis);
/* Repeats each element along an axis. import_resize.c */
Tensor *resize_repeat(Import *im, Tensor *x, int axis, int64_t times);

#endif
