/* Threads, time, random numbers and processors on Windows 8 or newer. */
#define _WIN32_WINNT 0x0602
#define WIN32_LEAN_AND_MEAN
#define _CRT_RAND_S

#include "core/platform.h"

#include <process.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "core/memory.h"

struct aac_mutex {
    SRWLOCK native;
    atomic_ulong holder; /* the thread's number; 0: none */
};

static void hold(aac_mutex *mutex)
{
    atomic_store_explicit(&mutex->holder, GetCurrentThreadId(), memory_order_relaxed);
}

static void release(aac_mutex *mutex)
{
    atomic_store_explicit(&mutex->holder, 0, memory_order_relaxed);
}

aac_mutex *aac_mutex_new(void)
{
    aac_mutex *mutex = aac_alloc(sizeof *mutex);
    if (mutex) {
        InitializeSRWLock(&mutex->native);
        atomic_init(&mutex->holder, 0);
    }
    return mutex;
}

void aac_mutex_free(aac_mutex *mutex)
{
    aac_free(mutex);
}

void aac_mutex_lock(aac_mutex *mutex)
{
    AcquireSRWLockExclusive(&mutex->native);
    hold(mutex);
}

bool aac_mutex_try(aac_mutex *mutex)
{
    if (!TryAcquireSRWLockExclusive(&mutex->native))
        return false;
    hold(mutex);
    return true;
}

void aac_mutex_unlock(aac_mutex *mutex)
{
    release(mutex);
    ReleaseSRWLockExclusive(&mutex->native);
}

bool aac_mutex_is_own(const aac_mutex *mutex)
{
    return atomic_load_explicit(&mutex->holder, memory_order_relaxed) == GetCurrentThreadId();
}

/* There is no fork. */
bool aac_mutex_is_orphan(const aac_mutex *mutex)
{
    (void)mutex;
    return false;
}

void aac_forks_watch(void (*prepare)(void))
{
    (void)prepare;
}

unsigned aac_forks(void)
{
    return 0;
}

struct aac_condition {
    CONDITION_VARIABLE native;
};

aac_condition *aac_condition_new(void)
{
    aac_condition *condition = aac_alloc(sizeof *condition);
    if (condition)
        InitializeConditionVariable(&condition->native);
    return condition;
}

void aac_condition_free(aac_condition *condition)
{
    aac_free(condition);
}

void aac_condition_wait(aac_condition *condition, aac_mutex *mutex)
{
    release(mutex);
    SleepConditionVariableSRW(&condition->native, &mutex->native, INFINITE, 0);
    hold(mutex);
}

void aac_condition_wait_for(aac_condition *condition, aac_mutex *mutex, double seconds)
{
    release(mutex);
    SleepConditionVariableSRW(&condition->native, &mutex->native, (DWORD)(1000 * seconds), 0);
    hold(mutex);
}

void aac_condition_wake_all(aac_condition *condition)
{
    WakeAllConditionVariable(&condition->native);
}

struct aac_thread {
    HANDLE native;
    void (*work)(void *user);
    void *user;
};

static unsigned __stdcall run_thread(void *argument)
{
    aac_thread *thread = argument;
    thread->work(thread->user);
    return 0;
}

aac_thread *aac_thread_start(void (*work)(void *user), void *user)
{
    aac_thread *thread = aac_alloc(sizeof *thread);
    if (!thread)
        return NULL;
    thread->work = work;
    thread->user = user;
    thread->native = (HANDLE)_beginthreadex(NULL, 0, run_thread, thread, 0, NULL);
    if (!thread->native) {
        aac_free(thread);
        return NULL;
    }
    return thread;
}

void aac_thread_join(aac_thread *thread)
{
    if (!thread)
        return;
    WaitForSingleObject(thread->native, INFINITE);
    CloseHandle(thread->native);
    aac_free(thread);
}

/* Jobs limit processes, not threads. */
int aac_threads_try(int count)
{
    return count;
}

/* There are no signals. */
void aac_signals_block(aac_signals *previous)
{
    *previous = (aac_signals){0};
}

void aac_signals_restore(const aac_signals *previous)
{
    (void)previous;
}

double aac_seconds_now(void)
{
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (double)now.QuadPart / (double)frequency.QuadPart;
}

void aac_sleep(double seconds)
{
    Sleep((DWORD)(1000 * seconds));
}

bool aac_system_random(void *bytes, size_t size)
{
    unsigned some;
    for (size_t done = 0, count; done < size; done += count) {
        count = size - done < sizeof some ? size - done : sizeof some;
        if (rand_s(&some) != 0)
            return false;
        memcpy((char *)bytes + done, &some, count);
    }
    return true;
}

unsigned aac_processor_count(void)
{
    DWORD_PTR own, all;
    if (GetProcessAffinityMask(GetCurrentProcess(), &own, &all) && own)
        return (unsigned)__builtin_popcountll(own);
    return GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
}
