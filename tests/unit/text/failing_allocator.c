#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct countdown {
    int left; /* allocations before the one that fails */
    int alive;
} countdown;

static void *allocate(size_t size, void *user)
{
    countdown *count = user;
    if (count->left-- == 0)
        return NULL;
    count->alive++;
    return malloc(size);
}

static void deallocate(void *pointer, void *user)
{
    countdown *count = user;
    count->alive--;
    free(pointer);
}

int fail_each_allocation(aaclip_status (*work)(void *user), void *user)
{
    for (int failures = 0;; failures++) {
        countdown count = {failures, 0};
        aaclip_set_allocator(&(aaclip_allocator){allocate, deallocate, &count});
        aaclip_status status = work(user);
        aaclip_set_allocator(NULL);
        assert_int_equal(count.alive, 0);
        if (status == AACLIP_OK)
            return failures;
        assert_int_equal(status, AACLIP_ERROR_OUT_OF_MEMORY);
        assert_string_equal(aaclip_last_error(), "out of memory");
    }
}
