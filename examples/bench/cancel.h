/* How long calls take to end once they are cancelled. */
#ifndef EXAMPLES_BENCH_CANCEL_H
#define EXAMPLES_BENCH_CANCEL_H

#include "report.h"

/* Number of moments, evenly spread over a call, at which it is cancelled. */
#define CANCELS 20

#define CANCEL_HELP                                                                                \
    "  --cancel           also time how fast calls end when another thread cancels them\n"

/*
 * Adds to `figure` the seconds from raising the flag to the end of `call`, which first runs once
 * without. Returns its status, OK when all cancelled calls are CANCELLED or too fast.
 */
aaclip_status measure_cancels(report *run, const char *figure, aaclip_status (*call)(void *user),
                              void *user);

#endif
