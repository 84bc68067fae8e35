/* Checks for devices of any kind. */
#ifndef TEST_DEVICE_CHECKS_H
#define TEST_DEVICE_CHECKS_H

#include "fixture.h"

/* A detection with everything opened on "NAME:N" and closed afterwards. */
kept_result detect_once_on(const char *backend);
/* Two trainers on two devices take steps in turn: their losses are the same. */
void train_in_turn(const char *first, const char *second);
/* Each object is created, and each call made, in a thread of its own, one after the other: the
 * results are those of a single thread. */
void go_from_thread_to_thread(const char *backend);
/* A forked process has no device and says so; its parent continues. */
void refuse_fork(const char *backend);

#endif
