/**
 * @file
 * Cancelling long-running calls: from a signal handler or another thread, or at a deadline.
 */
#ifndef AACLIP_CANCEL_H
#define AACLIP_CANCEL_H

#include <aaclip/export.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * A flag that calls poll while they work:
 *
 *     static volatile sig_atomic_t stop;
 *     static void on_interrupt(int number) { (void)number; stop = 1; }
 *     ...
 *     signal(SIGINT, on_interrupt);
 *     aaclip_watch_cancel(&stop);
 *     status = aaclip_trainer_epoch(trainer, &losses); // AACLIP_ERROR_CANCELLED after Ctrl-C
 */

/**
 * From now on calls of the calling thread poll *flag between operations and tiles of attention,
 * between pieces of files and images, between the names in files, and while they wait for other
 * threads; once it is not 0, they return CANCELLED. NULL, the default in every new thread, stops
 * that. Returns the flag that was watched before: a thread watches one flag at a time, so code that
 * sets its own until it returns hides that of its caller. A deadline is watched beside the flag.
 *
 * Any call that returns a status may then return CANCELLED, in place of the errors that its
 * description lists. It leaves the same state as any failed call: a file is unchanged, a text cache
 * has all new classes or none, a trainer has taken its step or not begun it, and continues bit for
 * bit as if it had not been interrupted. Every handle stays usable. While the flag is raised, later
 * calls of this thread end, too; calls that close handles always run.
 *
 * The caller owns the flag and keeps it until another one is watched. Any number of threads may
 * watch one flag. It is read as one atomic int and may be written at any time by an atomic store:
 * as a C11 atomic_int (a pointer to it may be cast), a C++ std::atomic<int>, or a volatile
 * sig_atomic_t in a signal handler.
 */
AACLIP_API const volatile int *aaclip_watch_cancel(const volatile int *flag);

/**
 * From now on calls of the calling thread that have not ended in `seconds` from now return
 * CANCELLED as with a raised flag, also while they wait; so do later ones, until another deadline
 * is set. It is checked where the flag is: a call ends some time after its deadline, or succeeds if
 * it has nothing left to check. INFINITY, the default in every new thread, and NaN: no deadline; 0
 * or less: one that has passed.
 *
 * Returns the seconds that were left of the former deadline: INFINITY if there was none, below 0 if
 * it had passed. To go back to it, set it less the time since. Within another deadline, take the
 * smaller of both.
 */
AACLIP_API double aaclip_set_deadline(double seconds);

AACLIP_END_DECLS

#endif
