/* What holds for devices of any kind. */
#ifndef TEST_DEVICE_CHECKS_H
#define TEST_DEVICE_CHECKS_H

#include "fixture.h"

/* A detection with everything opened on "NAME:N" and closed again. */
kept_result detect_once_on(const char *backend);
/* Two trainers, one on each device, that make a step in turn: their losses are the same. */
void train_in_turn(const char *first, const char *second);
/* Everything that is made and every call that is made of it come from a thread of their own, one
 * after the other: all is as from one thread. */
void go_from_thread_to_thread(const char *backend);
/* A forked process has no device, and says so; the one that has goes on. */
void refuse_fork(const char *backend);

#endif
