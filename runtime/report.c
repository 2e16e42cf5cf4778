/* Messages of the runtime. */
#include "runtime/report.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

Status report_fail(Report *report, Status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(report->text, sizeof report->text, fmt, args);
    va_end(args);
    utf8_make_plain(report->text, true);
    return report->status = status;
}

Status report_cancelled(Report *report)
{
    return report_fail(report, ST_cancelled, "cancelled by the caller");
}
