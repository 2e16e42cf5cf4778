/* The verbs of the tool (verbs.def). Each takes its own command line, argv[0] being the verb, and
 * returns an exit status. */
#ifndef QUERN_TOOLS_VERBS_H
#define QUERN_TOOLS_VERBS_H

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,        /* the work could not be done, or a check failed; a message said why */
    EXIT_BAD_USAGE = 2,     /* the command line was wrong */
    EXIT_LATE = 124,        /* the time limit was over */
    EXIT_INTERRUPTED = 130, /* by Ctrl-C */
};

#define VERB(name, what) int verb_##name(int argc, char **argv);
#include "tools/verbs.def"
#undef VERB

#endif
