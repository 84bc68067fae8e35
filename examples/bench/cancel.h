/* How long calls take to end once they are cancelled. */
#ifndef EXAMPLES_BENCH_CANCEL_H
#define EXAMPLES_BENCH_CANCEL_H

#include "report.h"

/* Where in a call it is cancelled: so many moments, evenly spread over its length. */
#define CANCELS 20

#define CANCEL_HELP                                                                                \
    "  --cancel           also how long calls take to end when another thread cancels them\n"

/*
 * Adds to `figure` the seconds from the raised flag to the end of `call`, which is first made once
 * undisturbed. Its status, OK when all cancelled ones are CANCELLED or too fast.
 */
aaclip_status measure_cancels(report *run, const char *figure, aaclip_status (*call)(void *user),
                              void *user);

#endif
