/* Ctrl-C and time limits: one request to what a verb is doing, met where it looks. */
#ifndef QUERN_TOOLS_INTERRUPT_H
#define QUERN_TOOLS_INTERRUPT_H

#include "quern.h"

/* From here on SIGINT, and SIGALRM after `seconds` (0 = never), cancel what the session at *session
 * does, and are remembered. The second SIGINT, and a minute more after the limit, end the
 * process as if this were not here. A SIGINT that is ignored stays so. For one verb at a time. */
void interrupt_begin(qn_session **session, double seconds);
/* The limit is off, and the session may go. Does nothing when there was no begin. */
void interrupt_end(void);
/* EXIT_LATE or EXIT_INTERRUPTED once one of them came; else 0. */
int interrupt_status(void);

#endif
