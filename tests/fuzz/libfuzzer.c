/* libFuzzer's entry point: one input after another, with memory from the arena. */
#include <stdbool.h>

#include "arena.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started; /* the target's one-time setup is done */
    fuzz_one(data, size);
    if (started)
        arena_reset();
    else
        arena_start();
    started = true;
    return 0;
}
