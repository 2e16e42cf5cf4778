/* Messages of the runtime. */
#include "runtime/report.h"

#include <stdarg.h>
#include <stdio.h>

Status report_fail(Report *report, Status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(report->text, sizeof report->text, fmt, args);
    va_end(args);
    return report->status = status;
}
