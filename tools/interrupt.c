/* The handler does what may be done in one: it stores two words. */
#include "tools/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

#include "tools/verbs.h"

enum { GRACE = 60 /* seconds */ };

static volatile sig_atomic_t came; /* the signal that came first */
static qn_session **volatile session_at;

static void on_signal(int number)
{
    qn_session **at = session_at;
    if (!at) /* too late: what is left is short */
        return;
    if (!came)
        came = number;
    qn_cancel(__atomic_load_n(at, __ATOMIC_ACQUIRE), 1);
}

static void catch_once(int number)
{
    struct sigaction old, action = {.sa_handler = on_signal};
    action.sa_flags = (int)(SA_RESETHAND | SA_RESTART);
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

static void set_timer(double seconds, time_t again)
{
    struct itimerval timer = {.it_interval = {.tv_sec = again}};
    timer.it_value.tv_sec = (time_t)seconds;
    timer.it_value.tv_usec = (suseconds_t)((seconds - (double)timer.it_value.tv_sec) * 1e6);
    if (seconds > 0 && !timer.it_value.tv_sec && !timer.it_value.tv_usec)
        timer.it_value.tv_usec = 1; /* 0 would be never */
    setitimer(ITIMER_REAL, &timer, NULL);
}

void interrupt_begin(qn_session **session, double seconds)
{
    session_at = session;
    catch_once(SIGINT);
    if (seconds <= 0)
        return;
    catch_once(SIGALRM);
    set_timer(seconds, GRACE);
}

void interrupt_end(void)
{
    if (session_at)
        set_timer(0, 0);
    session_at = NULL;
}

int interrupt_status(void)
{
    return !came ? 0 : came == SIGALRM ? EXIT_LATE : EXIT_INTERRUPTED;
}
