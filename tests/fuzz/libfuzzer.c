/* libFuzzer's entry point: an input after the other, with memory from the arena. */
#include <stdbool.h>

#include "arena.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started; /* what the target keeps is made */
    fuzz_one(data, size);
    if (started)
        arena_reset();
    else
        arena_start();
    started = true;
    return 0;
}
