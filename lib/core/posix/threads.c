/* Threads, signals, time, random numbers and processors on Linux, macOS and similar systems. */
#define _GNU_SOURCE

#include "core/platform.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "core/memory.h"

static pthread_once_t forks_once = PTHREAD_ONCE_INIT;
static void (*_Atomic before_fork)(void);
static unsigned forks; /* changes only in a forked child, while it has one thread */

static void count_fork(void)
{
    forks++;
}

static void prepare_fork(void)
{
    void (*prepare)(void) = atomic_load(&before_fork);
    if (prepare)
        prepare();
}

static void watch_forks(void)
{
    pthread_atfork(prepare_fork, NULL, count_fork);
}

void aac_forks_watch(void (*prepare)(void))
{
    if (prepare)
        atomic_store(&before_fork, prepare);
    pthread_once(&forks_once, watch_forks);
}

unsigned aac_forks(void)
{
    return forks;
}

struct aac_mutex {
    pthread_mutex_t native;
    atomic_uint holder;  /* 0: none; else the holding process's number of forks + 1 */
    atomic_uint process; /* the owner of `native`, in forks; with RENEWING during its renewal */
    _Atomic(const char *) thread; /* the holding one's `identity` */
};

static AAC_THREAD_LOCAL const char identity; /* its address tells threads apart */

#define RENEWING (1u << 31)

/*
 * When the process was forked, a thread left behind may have held `native` just before it set
 * `holder` or just after it cleared it: it had not begun its work, or had finished. So the first to
 * use a mutex without a holder in a new process reinitialises it.
 */
static void renew(aac_mutex *mutex)
{
    unsigned found = atomic_load(&mutex->process);
    while (found != forks && atomic_load(&mutex->holder) == 0) {
        if (found == (forks | RENEWING)) {
            sched_yield();
            found = atomic_load(&mutex->process);
        } else if (atomic_compare_exchange_weak(&mutex->process, &found, forks | RENEWING)) {
            pthread_mutex_init(&mutex->native, NULL);
            atomic_store(&mutex->process, forks);
            return;
        }
    }
}

static void hold(aac_mutex *mutex)
{
    atomic_store_explicit(&mutex->holder, forks + 1, memory_order_relaxed);
    atomic_store_explicit(&mutex->thread, &identity, memory_order_relaxed);
}

static void release(aac_mutex *mutex)
{
    atomic_store_explicit(&mutex->thread, NULL, memory_order_relaxed);
    atomic_store_explicit(&mutex->holder, 0, memory_order_relaxed);
}

aac_mutex *aac_mutex_new(void)
{
    aac_mutex *mutex = aac_alloc(sizeof *mutex);
    if (mutex && pthread_mutex_init(&mutex->native, NULL) != 0) {
        aac_free(mutex);
        return NULL;
    }
    if (mutex) {
        atomic_init(&mutex->holder, 0);
        atomic_init(&mutex->process, forks);
        atomic_init(&mutex->thread, NULL);
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
    renew(mutex);
    pthread_mutex_lock(&mutex->native);
    hold(mutex);
}

bool aac_mutex_try(aac_mutex *mutex)
{
    renew(mutex);
    if (pthread_mutex_trylock(&mutex->native) != 0)
        return false;
    hold(mutex);
    return true;
}

bool aac_mutex_is_orphan(const aac_mutex *mutex)
{
    unsigned holder = atomic_load_explicit(&mutex->holder, memory_order_relaxed);
    return holder && holder != forks + 1;
}

bool aac_mutex_is_own(const aac_mutex *mutex)
{
    return atomic_load_explicit(&mutex->thread, memory_order_relaxed) == &identity;
}

void aac_mutex_unlock(aac_mutex *mutex)
{
    release(mutex);
    pthread_mutex_unlock(&mutex->native);
}

struct aac_condition {
    pthread_cond_t native;
    unsigned forks; /* of the process that made it */
};

/* The clock of conditions. On macOS they have only the settable one. */
#ifdef __APPLE__
#define WAITING_CLOCK CLOCK_REALTIME
#else
#define WAITING_CLOCK CLOCK_MONOTONIC
#endif

static bool start_condition(pthread_cond_t *native)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool started = true;
#ifndef __APPLE__
    started = pthread_condattr_setclock(&attributes, WAITING_CLOCK) == 0;
#endif
    started = started && pthread_cond_init(native, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return started;
}

aac_condition *aac_condition_new(void)
{
    aac_condition *condition = aac_alloc(sizeof *condition);
    if (condition && !start_condition(&condition->native)) {
        aac_free(condition);
        return NULL;
    }
    if (condition)
        condition->forks = forks;
    return condition;
}

void aac_condition_free(aac_condition *condition)
{
    if (!condition)
        return;
    if (condition->forks == forks) /* else it may wait for threads that do not exist here */
        pthread_cond_destroy(&condition->native);
    aac_free(condition);
}

void aac_condition_wait(aac_condition *condition, aac_mutex *mutex)
{
    release(mutex);
    pthread_cond_wait(&condition->native, &mutex->native);
    hold(mutex);
}

void aac_condition_wait_for(aac_condition *condition, aac_mutex *mutex, double seconds)
{
    struct timespec end;
    clock_gettime(WAITING_CLOCK, &end);
    int64_t nanoseconds = end.tv_nsec + (int64_t)(1e9 * seconds);
    end.tv_sec += (time_t)(nanoseconds / 1000000000);
    end.tv_nsec = (long)(nanoseconds % 1000000000);
    release(mutex);
    pthread_cond_timedwait(&condition->native, &mutex->native, &end);
    hold(mutex);
}

void aac_condition_wake_all(aac_condition *condition)
{
    pthread_cond_broadcast(&condition->native);
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

struct aac_thread {
    pthread_t native;
    unsigned forks; /* of the process that made it */
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
    thread->forks = forks;
    thread->work = work;
    thread->user = user;
    aac_signals signals; /* for the program's threads */
    aac_signals_block(&signals);
    int failure = pthread_create(&thread->native, NULL, run_thread, thread);
    aac_signals_restore(&signals);
    if (failure) {
        aac_free(thread);
        return NULL;
    }
    return thread;
}

void aac_thread_join(aac_thread *thread)
{
    if (!thread)
        return;
    if (thread->forks == forks)
        pthread_join(thread->native, NULL);
    aac_free(thread);
}

typedef struct trial_thread {
    pthread_t native;
    pthread_mutex_t *gate; /* closed until all are there */
    long number;           /* by which the system knows it */
} trial_thread;

static void *pass_gate(void *argument)
{
    trial_thread *own = argument;
#ifdef __linux__
    own->number = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(own->gate);
    pthread_mutex_unlock(own->gate);
    return NULL;
}

/* Linux counts a thread for a moment after it was joined: limits still apply to it. */
static void await_end(const trial_thread *thread)
{
    pthread_join(thread->native, NULL);
#ifdef __linux__
    for (int i = 0; i < 1000 && syscall(SYS_tgkill, getpid(), thread->number, 0) == 0; i++)
        aac_sleep(i < 10 ? 0 : 1e-4);
#endif
}

int aac_threads_try(int count)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    trial_thread *threads = malloc((size_t)count * sizeof *threads); /* not worth failing a call */
    if (!threads)
        return count;
    int started = 0;
    pthread_mutex_lock(&gate);
    for (; started < count; started++) {
        threads[started] = (trial_thread){.gate = &gate};
        if (pthread_create(&threads[started].native, NULL, pass_gate, &threads[started]) != 0)
            break;
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++)
        await_end(&threads[i]);
    pthread_mutex_destroy(&gate);
    free(threads);
    return started;
}

double aac_seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void aac_sleep(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)(1e9 * (seconds - (double)time.tv_sec));
    nanosleep(&time, NULL);
}

bool aac_system_random(void *bytes, size_t size)
{
    return getentropy(bytes, size) == 0;
}

#ifdef CPU_ALLOC
#define MOST_PROCESSORS ((size_t)1 << 20)

/* Processors of this process, if the system has at most `most`; else -1 with EINVAL. */
static int count_allowed(size_t most)
{
    size_t size = CPU_ALLOC_SIZE(most);
    cpu_set_t *set = CPU_ALLOC(most);
    int count = -1, failure = ENOMEM;
    if (set && sched_getaffinity(0, size, set) == 0)
        count = CPU_COUNT_S(size, set);
    else if (set)
        failure = errno;
    CPU_FREE(set);
    errno = failure;
    return count;
}
#endif

unsigned aac_processor_count(void)
{
#ifdef CPU_ALLOC
    int allowed = -1;
    errno = EINVAL;
    for (size_t most = CPU_SETSIZE; allowed < 0 && errno == EINVAL && most <= MOST_PROCESSORS;
         most *= 2)
        allowed = count_allowed(most);
    if (allowed > 0)
        return (unsigned)allowed;
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}
