/* What devices' memory is counted in: taken, given back, limited, and met by forks at any moment.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#ifndef _WIN32
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "backend/account.h"
#include "core/threads.h"

static void *take_memory(size_t bytes)
{
    return malloc(bytes);
}

static void give_memory(void *memory)
{
    free(memory);
}

static void memory_is_counted_up_to_the_limit(void **state)
{
    (void)state;
    void *first = aac_account_allocate(0, 100, take_memory);
    void *other = aac_account_allocate(AAC_ACCOUNTS + 5, 7, take_memory);
    assert_non_null(first);
    assert_non_null(other);
    assert_int_equal(aac_account_used(0), 100);
    assert_int_equal(aac_account_used(AAC_ACCOUNTS - 1), 7);
    aac_account_set_limit(0, 150);
    assert_int_equal(aac_account_limit(0), 150);
    assert_null(aac_account_allocate(0, 51, take_memory));
    void *second = aac_account_allocate(0, 50, take_memory);
    assert_non_null(second);
    aac_account_release(first, give_memory);
    assert_int_equal(aac_account_used(0), 50);
    aac_account_release(second, give_memory);
    aac_account_release(other, give_memory);
    aac_account_release(NULL, give_memory);
    aac_account_set_limit(0, 0);
    assert_int_equal(aac_account_used(0), 0);
}

#ifndef _WIN32

#define BLOCKS 2000 /* the list is long enough for a release to keep the lock for a while */

static atomic_bool stop;

static void *use_memory(void *user)
{
    void **blocks = user;
    for (size_t i = 0; !atomic_load(&stop); i = (i + 1) % BLOCKS) {
        aac_account_release(blocks[i], give_memory);
        blocks[i] = aac_account_allocate(1, 1, take_memory);
    }
    return NULL;
}

static bool child_is_not_kept_waiting(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        aac_account_set_limit(1, 1u << 20);
        _exit(aac_account_used(1) <= BLOCKS ? 0 : 1);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static void forks_meet_the_accounts_anywhere(void **state)
{
    enum { FORKS = 50 };
    (void)state;
    static void *blocks[BLOCKS];
    pthread_t thread;
    aac_threads_limit(); /* forks are counted from here on, as once a model is open */
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = aac_account_allocate(1, 1, take_memory);
    assert_int_equal(pthread_create(&thread, NULL, use_memory, blocks), 0);
    bool good = true;
    for (int i = 0; good && i < FORKS; i++)
        good = child_is_not_kept_waiting();
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < BLOCKS; i++)
        aac_account_release(blocks[i], give_memory);
    assert_true(good);
    assert_int_equal(aac_account_used(1), 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_counted_up_to_the_limit),
#ifndef _WIN32
        cmocka_unit_test(forks_meet_the_accounts_anywhere),
#endif
    };
    return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
