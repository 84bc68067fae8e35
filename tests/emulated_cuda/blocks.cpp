/* Execution of thread blocks, and their shared memory; see emulated.h. */
#include "emulated.h"

#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;
const emulated::slot *emulated::met;
int emulated::own_lane;

namespace
{

using namespace emulated;

/* Where a fiber stopped. */

constexpr size_t stack_bytes = (size_t)128 << 10;

#ifdef __x86_64__
/* ucontext.h makes a system call at every switch, which would take nearly all of the time. */
extern "C" void emulated_switch(void **from, void *to);
asm(R"(
.text
.type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulated_switch, . - emulated_switch
)");

struct context {
    void *stack_pointer;
};

void switch_context(context *from, context *to)
{
    emulated_switch(&from->stack_pointer, to->stack_pointer);
}

void make_context(context *made, char *stack, void (*main)())
{
    void **top = reinterpret_cast<void **>(stack + stack_bytes) - 2; /* as after a call */
    *top = reinterpret_cast<void *>(main);
    made->stack_pointer = top - 6;
}
#else
using context = ucontext_t;

void switch_context(context *from, context *to)
{
    swapcontext(from, to);
}

void make_context(context *made, char *stack, void (*main)())
{
    getcontext(made);
    made->uc_stack.ss_sp = stack;
    made->uc_stack.ss_size = stack_bytes;
    makecontext(made, main, 0);
}
#endif

/* Blocks */

constexpr unsigned most_threads = 1024;
constexpr size_t window_bytes = (size_t)256 << 10; /* addresses in descriptors have 18 bits */

enum class state { ready, at_block, at_warp, done };

struct later_copy {
    unsigned to;
    const void *from;
    int bytes, given;
};

struct fiber {
    context stopped;
    char *stack;
    state now;
    const char *what;
    const slot *read; /* which of the warp's slots */
    std::vector<later_copy> open;
    std::vector<std::vector<later_copy>> groups;
};

struct warp {
    unsigned generation;
    slot slots[2][lanes];
};

std::mutex device_mutex; /* one kernel at a time */
std::vector<fiber> fibers;
std::vector<warp> warps;
context scheduler;
unsigned running, blocks_run;
bool at_once; /* copies to shared memory arrive immediately */
const std::function<void()> *kernel_now;
char *window;
size_t window_used, dynamic_now;
std::map<const void *, size_t> placed; /* of shared declarations */

fiber &own()
{
    return fibers[running];
}

void finish(const later_copy &copy)
{
    char *to = static_cast<char *>(at_address(copy.to));
    if (copy.given > 0)
        memcpy(to, copy.from, (size_t)copy.given);
    memset(to + copy.given, 0, (size_t)(copy.bytes - copy.given));
}

void wait(state until)
{
    fiber &mine = own();
    mine.now = until;
    switch_context(&mine.stopped, &scheduler);
}

void fiber_main()
{
    (*kernel_now)();
    if (!own().open.empty() || !own().groups.empty())
        finish_copies(-1);
    wait(state::done);
}

void make_room(unsigned threads)
{
    if (!window) {
        void *twice = mmap(nullptr, 2 * window_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (twice == MAP_FAILED)
            give_up("no memory");
        window = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(twice) + window_bytes - 1) /
                                          window_bytes * window_bytes);
    }
    if (threads != 1 && (threads > most_threads || threads % lanes > 0))
        give_up("a block has whole warps, at most 32, or one thread");
    while (fibers.size() < threads) {
        fibers.emplace_back();
        fibers.back().stack = static_cast<char *>(
            mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    }
    warps.resize((threads + lanes - 1) / lanes);
}

void begin_block(unsigned threads)
{
    if (window_used > 0)
        memset(window, 0xff, window_used);
    placed.clear();
    window_used = dynamic_now;
    for (unsigned i = 0; i < threads; i++) {
        fiber &made = fibers[i];
        make_context(&made.stopped, made.stack, fiber_main);
        made.now = state::ready;
    }
}

/* All lanes have arrived: they may continue. */
void release_warp(unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        if (fibers[i].what != fibers[first].what && strcmp(fibers[i].what, fibers[first].what) != 0)
            give_up("lanes of a warp wait for different things: ", fibers[i].what);
        fibers[i].now = state::ready;
    }
    warps[first / lanes].generation++;
}

/* Runs a warp until its threads are at the block's barrier, or done. */
void run_warp(unsigned first, unsigned end, bool backwards)
{
    for (;;) {
        unsigned waiting = 0;
        const char *what = "";
        for (unsigned i = first; i < end; i++) {
            running = backwards ? first + end - 1 - i : i;
            fiber &next = own();
            if (next.now == state::ready) {
                threadIdx.x = running;
                own_lane = (int)(running % lanes);
                met = next.read;
                switch_context(&scheduler, &next.stopped);
            }
            if (next.now == state::at_warp) {
                waiting++;
                what = next.what;
            }
        }
        if (waiting == 0)
            return;
        if (waiting != end - first)
            give_up("not all lanes of a warp come to: ", what);
        release_warp(first, end);
    }
}

void run_block(unsigned threads, bool backwards)
{
    unsigned warp_count = (unsigned)warps.size();
    begin_block(threads);
    for (unsigned done = 0; done < threads;) {
        for (unsigned i = 0; i < warp_count; i++) {
            unsigned first = (backwards ? warp_count - 1 - i : i) * lanes;
            run_warp(first, first + lanes < threads ? first + lanes : threads, backwards);
        }
        done = 0;
        for (unsigned i = 0; i < threads; i++) {
            done += fibers[i].now == state::done;
            if (fibers[i].now == state::at_block)
                fibers[i].now = state::ready;
        }
    }
}

} // namespace

namespace emulated
{

void give_up(const char *what, const char *detail)
{
    fprintf(stderr, "emulated CUDA: %s%s (block %u %u %u, thread %u)\n", what, detail, blockIdx.x,
            blockIdx.y, blockIdx.z, threadIdx.x);
    abort();
}

void run_kernel(const launch &shape, const std::function<void()> &kernel)
{
    std::lock_guard<std::mutex> lock(device_mutex);
    gridDim = shape.grid, blockDim = shape.block;
    dynamic_now = (shape.dynamic + 127) / 128 * 128;
    if (shape.dynamic > shared_bytes || shape.block.y != 1 || shape.block.z != 1 ||
        shape.grid.x < 1 || shape.grid.y < 1 || shape.grid.z < 1 || shape.grid.y > 65535 ||
        shape.grid.z > 65535)
        give_up("a kernel of this shape does not start");
    make_room(shape.block.x);
    kernel_now = &kernel;
    for (unsigned z = 0; z < shape.grid.z; z++)
        for (unsigned y = 0; y < shape.grid.y; y++)
            for (unsigned x = 0; x < shape.grid.x; x++, blocks_run++) {
                blockIdx = dim3(x, y, z);
                at_once = blocks_run / 2 % 2;
                run_block(shape.block.x, blocks_run % 2);
            }
}

void *shared_memory(const void *which, size_t bytes, size_t align)
{
    auto at = placed.find(which);
    if (at != placed.end())
        return window + at->second;
    size_t begin = (window_used + align - 1) / align * align;
    if (begin + bytes > shared_bytes)
        give_up("more shared memory than there is");
    memset(window + window_used, 0xff, begin + bytes - window_used);
    window_used = begin + bytes;
    placed[which] = begin;
    return window + begin;
}

void *dynamic_memory()
{
    return window;
}

unsigned address_of(const void *p)
{
    ptrdiff_t offset = static_cast<const char *>(p) - window;
    if (offset < 0 || (size_t)offset >= window_bytes)
        give_up("an address in shared memory is wanted");
    return (unsigned)offset;
}

void *at_address(unsigned address)
{
    if (address >= window_used)
        give_up("an address behind the block's shared memory");
    return window + address;
}

void meet_block()
{
    wait(state::at_block);
}

void meet_warp(const char *what, const void *bytes, size_t count)
{
    warp &mine = warps[running / lanes];
    own().what = what;
    own().read = mine.slots[mine.generation % 2];
    if (count > sizeof(slot))
        give_up("too much for a slot: ", what);
    if (count > 0)
        memcpy(mine.slots[mine.generation % 2][running % lanes].bytes, bytes, count);
    wait(state::at_warp);
}

void copy_later(unsigned to, const void *from, int bytes, int given)
{
    const later_copy copy = {to, from, bytes, given};
    if (at_once)
        finish(copy);
    else
        own().open.push_back(copy);
}

void end_copy_group()
{
    own().groups.push_back(std::move(own().open));
    own().open.clear();
}

void finish_copies(int groups_left)
{
    if (groups_left < 0)
        end_copy_group();
    auto &groups = own().groups;
    size_t left = groups_left < 0 ? 0 : (size_t)groups_left;
    for (; groups.size() > left; groups.erase(groups.begin()))
        for (const later_copy &copy : groups.front())
            finish(copy);
}

} // namespace emulated
