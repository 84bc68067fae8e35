/**
 * @file
 * Ending calls that run long: from a signal handler, or from another thread.
 */
#ifndef AACLIP_CANCEL_H
#define AACLIP_CANCEL_H

#include <aaclip/export.h>

AACLIP_BEGIN_DECLS

/**
 * @file
 *
 * A flag that calls look at while they work:
 *
 *     static volatile sig_atomic_t stop;
 *     static void on_interrupt(int number) { (void)number; stop = 1; }
 *     ...
 *     signal(SIGINT, on_interrupt);
 *     aaclip_watch_cancel(&stop);
 *     status = aaclip_trainer_epoch(trainer, &losses); // AACLIP_ERROR_CANCELLED after Ctrl-C
 */

/**
 * From now on calls of the calling thread look at *flag between operations and tiles of attention,
 * between pieces of files and images, between the names that files hold, and while they wait for
 * other threads; once it is not 0, they end with CANCELLED. NULL, as in every new thread, ends
 * that. Returns what was watched before.
 *
 * Any call that returns a status may then return CANCELLED, in place of the errors that its text
 * lists. It leaves what any failed call leaves: a file stands as it was, a text cache has all new
 * classes or none, a trainer has taken its step or not begun it, and goes on with the same bits as
 * if it had not been disturbed. Every handle stays usable. As long as the flag is raised, following
 * calls of this thread end, too; those that close handles always do their work.
 *
 * The caller owns the flag and keeps it until another one is watched. Any number of threads may
 * watch one flag. It is read as one atomic int, and anyone may write it at any time by an atomic
 * store: as atomic_int of C11 (a pointer to it may be cast), std::atomic<int> of C++, or volatile
 * sig_atomic_t in a signal handler.
 */
AACLIP_API const volatile int *aaclip_watch_cancel(const volatile int *flag);

AACLIP_END_DECLS

#endif
