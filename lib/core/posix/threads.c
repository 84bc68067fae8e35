/* Threads, signals, time and processors on Linux, macOS and their kin. */
#define _GNU_SOURCE

#include "core/platform.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/memory.h"

struct aac_mutex {
    pthread_mutex_t native;
};

aac_mutex *aac_mutex_new(void)
{
    aac_mutex *mutex = aac_alloc(sizeof *mutex);
    if (mutex && pthread_mutex_init(&mutex->native, NULL) != 0) {
        aac_free(mutex);
        return NULL;
    }
    return mutex;
}

void aac_mutex_free(aac_mutex *mutex)
{
    if (!mutex)
        return;
    pthread_mutex_destroy(&mutex->native);
    aac_free(mutex);
}

void aac_mutex_lock(aac_mutex *mutex)
{
    pthread_mutex_lock(&mutex->native);
}

void aac_mutex_unlock(aac_mutex *mutex)
{
    pthread_mutex_unlock(&mutex->native);
}

struct aac_condition {
    pthread_cond_t native;
};

aac_condition *aac_condition_new(void)
{
    aac_condition *condition = aac_alloc(sizeof *condition);
    if (condition && pthread_cond_init(&condition->native, NULL) != 0) {
        aac_free(condition);
        return NULL;
    }
    return condition;
}

void aac_condition_free(aac_condition *condition)
{
    if (!condition)
        return;
    pthread_cond_destroy(&condition->native);
    aac_free(condition);
}

void aac_condition_wait(aac_condition *condition, aac_mutex *mutex)
{
    pthread_cond_wait(&condition->native, &mutex->native);
}

void aac_condition_wake_all(aac_condition *condition)
{
    pthread_cond_broadcast(&condition->native);
}

struct aac_thread {
    pthread_t native;
    void (*work)(void *user);
    void *user;
};

static void *run_thread(void *argument)
{
    aac_thread *thread = argument;
    thread->work(thread->user);
    return NULL;
}

aac_thread *aac_thread_start(void (*work)(void *user), void *user)
{
    aac_thread *thread = aac_alloc(sizeof *thread);
    if (!thread)
        return NULL;
    thread->work = work;
    thread->user = user;
    if (pthread_create(&thread->native, NULL, run_thread, thread) != 0) {
        aac_free(thread);
        return NULL;
    }
    return thread;
}

void aac_thread_join(aac_thread *thread)
{
    if (!thread)
        return;
    pthread_join(thread->native, NULL);
    aac_free(thread);
}

_Static_assert(sizeof(sigset_t) <= sizeof(aac_signals), "a set of signals must fit");

void aac_signals_block(aac_signals *previous)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t signals, before;
    sigfillset(&signals);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&signals, own[i]);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    memcpy(previous->mask, &before, sizeof before);
}

void aac_signals_restore(const aac_signals *previous)
{
    sigset_t before;
    memcpy(&before, previous->mask, sizeof before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

double aac_seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

unsigned aac_processor_count(void)
{
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}
