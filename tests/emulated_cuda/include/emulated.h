/*
 * A GPU that the processor plays. What is queued on a stream is done when the host waits for the
 * stream or frees memory, and not before: what was forgotten to wait for shows.
 *
 * A kernel's blocks follow one another, and so do kernels. The threads of a block are fibers that
 * take turns: each goes on until it waits for its warp or its block.
 *
 * What ends the program with a message: threads that wait for what never comes, lanes of a warp
 * that wait for different things, pointers to memory of the host or of another device among a
 * kernel's arguments, memory that is not page-locked in a recording, a stream of another device,
 * more shared memory than there is. Shared memory holds no numbers until it is written.
 *
 * So that a missing barrier shows, threads take turns in the opposite order in every second block,
 * and copies to shared memory (copy_16) arrive at once in two blocks, and in the next two when
 * their thread waits for them and not before.
 */
#ifndef TEST_EMULATED_CUDA_EMULATED_H
#define TEST_EMULATED_CUDA_EMULATED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>
#include <type_traits>

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z)
    {
    }
};

/* Of the fiber that runs. */
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated
{

constexpr int lanes = 32;
constexpr size_t shared_bytes = 227 * 1024; /* of a block, on Hopper */

struct launch {
    dim3 grid, block;
    size_t dynamic = 0;
    const void *stream;
    launch(dim3 grid, dim3 block, size_t dynamic = 0, const void *stream = nullptr)
        : grid(grid), block(block), dynamic(dynamic), stream(stream)
    {
    }
};

/* To be done by the stream, or recorded in a graph. */
void queue(const void *stream, std::function<void()> task);
[[noreturn]] void give_up(const char *what, const char *detail = "");
void run_kernel(const launch &shape, const std::function<void()> &kernel);
void expect_device_memory(const void *argument);

template <typename T> void check(const T &argument)
{
    if constexpr (std::is_pointer_v<T>)
        expect_device_memory(argument);
    else
        (void)argument;
}

/* The kernel's arguments are copied now. */
template <typename F, typename... T> void run(const launch &shape, F kernel, T... arguments)
{
    queue(shape.stream, [=] {
        (check(arguments), ...);
        run_kernel(shape, [=] { kernel(arguments...); });
    });
}

/* Shared memory of the block, the same for all threads that come to the declaration `which`. */
void *shared_memory(const void *which, size_t bytes, size_t align);
void *dynamic_memory();
/* As shared memory is addressed by instructions: offsets. */
unsigned address_of(const void *p);
void *at_address(unsigned address);

template <typename T> T &shared(const void *which, size_t align = alignof(T))
{
    return *static_cast<T *>(shared_memory(which, sizeof(T), align));
}

/* Waits for the block, or for all lanes of the warp, which come with up to 32 bytes each and `what`
 * they do; then their bytes can be read until the next such call. */
void meet_block();
void meet_warp(const char *what, const void *bytes, size_t count);

struct alignas(32) slot {
    char bytes[32];
};
extern const slot *met; /* of the fiber that runs: those of all lanes when it last met its warp */
extern int own_lane;

template <typename T> const T &of_lane(int lane)
{
    return *reinterpret_cast<const T *>(met[lane].bytes);
}

/* Copies to shared memory that arrive later: `given` bytes of `from`, zeros behind. */
void copy_later(unsigned to, const void *from, int bytes, int given);
void end_copy_group();
void finish_copies(int groups_left); /* -1: those that are in no group, too */

} // namespace emulated

#endif
