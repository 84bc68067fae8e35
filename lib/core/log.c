/* Messages to the program's log function, which may be replaced at any time. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/error.h"
#include "core/platform.h"
#include "core/static_lock.h"

#define LOG_TEXT_SIZE 1024
#define NONE          (-1) /* less than any level */
#define NAP           1e-4 /* seconds between looks at running calls */

typedef struct log_target {
    aaclip_log_function function;
    aaclip_log_level level;
    void *user;
} log_target;

/* A thread in calls of log functions: the first of them, and those in it. */
typedef struct log_thread {
    unsigned calls;
    uint64_t target;    /* number of the first one's */
    unsigned replacing; /* how many calls of aaclip_set_log it is in */
    struct log_thread *next;
} log_thread;

static AAC_THREAD_LOCAL log_thread own;

static atomic_int most = NONE; /* the level of the target in use, to be read without the lock */

static aac_static_lock guard; /* of what follows, which each store leaves whole for a fork */
static log_target targets[2]; /* of even and odd numbers: the next one is written aside */
static _Atomic uint64_t current;
static log_thread *threads;
static unsigned forks; /* of the process that has these threads */

static void lock(void)
{
    aac_static_lock_take(&guard);
    if (forks == aac_forks())
        return;
    threads = own.calls ? &own : NULL; /* others do not exist here */
    own.next = NULL;
    forks = aac_forks();
}

static void unlock(void)
{
    aac_static_lock_release(&guard);
}

static log_target begin(void)
{
    lock();
    const uint64_t number = current;
    const log_target target = targets[number % 2];
    if (own.calls++ == 0) {
        own.target = number;
        own.next = threads;
        threads = &own;
    }
    unlock();
    return target;
}

/* A thread that has forked in a call may not be in the list. */
static void end(void)
{
    lock();
    log_thread **place = &threads;
    while (*place && *place != &own)
        place = &(*place)->next;
    if (--own.calls == 0 && *place)
        *place = own.next;
    unlock();
}

/* With the lock held: whether another thread is in a call of a target before this one. Two threads
 * that replace it in such calls would wait for each other, so neither does. */
static bool is_called_before(uint64_t target)
{
    for (const log_thread *thread = threads; thread; thread = thread->next)
        if (thread->target < target && thread != &own && !thread->replacing)
            return true;
    return false;
}

void aaclip_set_log(aaclip_log_function function, aaclip_log_level level, void *user)
{
    aac_forks_watch(NULL);
    lock();
    const uint64_t number = current + 1;
    targets[number % 2] = (log_target){function, level, user};
    current = number;
    atomic_store(&most, function ? (int)level : NONE);
    own.replacing++;
    while (is_called_before(number)) {
        unlock();
        aac_sleep(NAP);
        lock();
    }
    own.replacing--;
    unlock();
}

void aac_log(aaclip_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&most, memory_order_relaxed))
        return;
    char text[LOG_TEXT_SIZE], visible[LOG_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    aac_copy_visible(visible, sizeof visible, text);
    const aac_error_text before = aac_error_keep(); /* the function's calls may fail */
    const log_target target = begin();
    if (target.function && level <= target.level)
        target.function(level, visible, target.user);
    end();
    aac_error_restore(&before);
}
