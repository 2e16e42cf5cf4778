/* How the runtime reports: a status and a message in memory of the caller's. */
#ifndef QUERN_RUNTIME_REPORT_H
#define QUERN_RUNTIME_REPORT_H

#include "base/cx.h"

typedef struct Report {
    Status status;
    char text[1000];
} Report;

/* Sets both, whatever was there, and returns the status. The text is made fit to be shown. */
Status report_fail(Report *report, Status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* ST_cancelled. */
Status report_cancelled(Report *report);

#endif
