/*
 * A GPU emulated on the CPU. Work queued on a stream is executed only when the host waits for the
 * stream or frees memory, so that a missing wait shows.
 *
 * Kernels, and a kernel's blocks, run one after another. The threads of a block are fibers that
 * take turns: each runs until it waits for its warp or its block.
 *
 * The program ends with a message on deadlock, when lanes of a warp wait for different things, for
 * pointers to host memory or another device's memory in a kernel's arguments, for memory that is
 * not page-locked in a recording, for a stream of another device, and for too much shared memory.
 * Shared memory is filled with NaN until it is written.
 *
 * So that a missing barrier shows, threads take turns in the opposite order in every second block,
 * and copies to shared memory (copy_16) arrive immediately in two blocks, and in the next two only
 * when their thread waits for them.
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

/* Of the running fiber. */
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated
{

constexpr int lanes = 32;
constexpr size_t shared_bytes = 227 * 1024; /* per block, on Hopper */

struct launch {
    dim3 grid, block;
    size_t dynamic = 0;
    const void *stream;
    launch(dim3 grid, dim3 block, size_t dynamic = 0, const void *stream = nullptr)
        : grid(grid), block(block), dynamic(dynamic), stream(stream)
    {
    }
};

/* Queues a task on the stream, or records it in a graph. */
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

/* Copies the kernel's arguments immediately. */
template <typename F, typename... T> void run(const launch &shape, F kernel, T... arguments)
{
    queue(shape.stream, [=] {
        (check(arguments), ...);
        run_kernel(shape, [=] { kernel(arguments...); });
    });
}

/* Shared memory of the block, the same for all threads that reach the declaration `which`. */
void *shared_memory(const void *which, size_t bytes, size_t align);
void *dynamic_memory();
/* The address of shared memory as used by instructions: an offset. */
unsigned address_of(const void *p);
void *at_address(unsigned address);

template <typename T> T &shared(const void *which, size_t align = alignof(T))
{
    return *static_cast<T *>(shared_memory(which, sizeof(T), align));
}

/* Waits for the block, or for all lanes of the warp. Each lane passes up to 32 bytes, which the
 * others can read until the next such call, and `what` it does. */
void meet_block();
void meet_warp(const char *what, const void *bytes, size_t count);

struct alignas(32) slot {
    char bytes[32];
};
extern const slot *met; /* of the running fiber: all lanes' slots at its last warp meeting */
extern int own_lane;

template <typename T> const T &of_lane(int lane)
{
    return *reinterpret_cast<const T *>(met[lane].bytes);
}

/* Copies to shared memory that arrive later: `given` bytes of `from`, then zeros. */
void copy_later(unsigned to, const void *from, int bytes, int given);
void end_copy_group();
void finish_copies(int groups_left); /* -1: also those in no group */

} // namespace emulated

#endif
