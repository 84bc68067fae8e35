/* The emulated devices: memory, streams, graphs, and the host API; see emulated.h. */
#include "emulated.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_runtime_api.h"

namespace
{

using namespace emulated;

int setting(const char *name, int otherwise)
{
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

/* Memory */

constexpr size_t device_bytes = (size_t)256 << 20, page_bytes = 4096;

struct piece {
    size_t bytes;
    int device; /* -1: page-locked host memory */
};

std::mutex memory_mutex;
std::map<const char *, piece> pieces;
std::map<int, size_t> used;
thread_local int current_device;
thread_local cudaError_t last_error;

cudaError_t fail(cudaError_t error)
{
    if (error)
        last_error = error;
    return error;
}

/* The piece that `memory` points into, or just past; NULL for none. */
const piece *find(const void *memory)
{
    auto at = pieces.upper_bound(static_cast<const char *>(memory));
    if (at == pieces.begin())
        return nullptr;
    --at;
    return static_cast<const char *>(memory) <= at->first + at->second.bytes ? &at->second
                                                                             : nullptr;
}

bool is_pageable(const void *memory)
{
    std::lock_guard<std::mutex> lock(memory_mutex);
    return !find(memory);
}

const pid_t home = getpid();

size_t whole_pages(size_t bytes)
{
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

/* Page-locked memory is not mapped in a forked process. */
void *map_pages(size_t bytes)
{
    void *memory = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, whole_pages(bytes), MADV_DONTFORK))
        return nullptr;
    return memory;
}

cudaError_t allocate(void **memory, size_t bytes, int device)
{
    std::lock_guard<std::mutex> lock(memory_mutex);
    *memory = nullptr;
    if (getpid() != home) /* the devices stayed with the parent process */
        return fail(cudaErrorInvalidValue);
    if (device >= 0 && (bytes > device_bytes || used[device] > device_bytes - bytes))
        return fail(cudaErrorMemoryAllocation);
    *memory = device < 0 ? map_pages(bytes) : aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*memory)
        return fail(cudaErrorMemoryAllocation);
    memset(*memory, 0xff, bytes); /* reads before the first write give NaN */
    pieces[static_cast<char *>(*memory)] = {bytes, device};
    used[device] += bytes;
    return cudaSuccess;
}

cudaError_t release(void *memory, bool host)
{
    std::lock_guard<std::mutex> lock(memory_mutex);
    if (!memory)
        return cudaSuccess;
    auto at = pieces.find(static_cast<char *>(memory));
    if (at == pieces.end() || (at->second.device < 0) != host || getpid() != home)
        return fail(cudaErrorInvalidValue);
    if (host)
        munmap(memory, whole_pages(at->second.bytes));
    else
        free(memory);
    used[at->second.device] -= at->second.bytes;
    pieces.erase(at);
    return cudaSuccess;
}

/* Streams */

using task = std::function<void()>;
using tasks = std::vector<task>;

struct recording {
    tasks done;
    bool broken = false;
};

} // namespace

struct CUstream_st {
    int device;
    std::atomic<bool> left{false}; /* no more tasks are added */
    std::mutex mutex, running;     /* `mutex`: for `waiting`; `running`: held while tasks run */
    std::deque<task> waiting;
    std::unique_ptr<recording> recorded;
};

namespace
{

std::mutex streams_mutex;
std::map<const void *, std::shared_ptr<CUstream_st>> streams;
thread_local int running_device; /* of the running task */

std::shared_ptr<CUstream_st> find_stream(const void *stream)
{
    std::lock_guard<std::mutex> lock(streams_mutex);
    auto at = streams.find(stream);
    return at == streams.end() ? nullptr : at->second;
}

CUstream_st &own_stream(const void *stream)
{
    auto found = find_stream(stream);
    if (!found || found->left)
        give_up("no stream that was made is given");
    if (found->device != current_device)
        give_up("a stream of another device is given");
    return *found;
}

bool take(CUstream_st &stream, task *next)
{
    std::lock_guard<std::mutex> lock(stream.mutex);
    if (stream.waiting.empty())
        return false;
    *next = std::move(stream.waiting.front());
    stream.waiting.pop_front();
    return true;
}

/* Runs the waiting tasks in order. */
void work_off(CUstream_st &stream)
{
    std::lock_guard<std::mutex> turn(stream.running);
    running_device = stream.device;
    for (task next; take(stream, &next);)
        next();
}

void work_off_all()
{
    std::vector<std::shared_ptr<CUstream_st>> all;
    {
        std::lock_guard<std::mutex> lock(streams_mutex);
        for (const auto &stream : streams)
            all.push_back(stream.second);
    }
    for (const auto &stream : all) {
        work_off(*stream);
        if (!stream->left)
            continue;
        std::lock_guard<std::mutex> lock(streams_mutex);
        streams.erase(stream.get());
    }
}

/* As freeing does, in the process that has the devices. */
void wait_for_devices()
{
    if (getpid() == home)
        work_off_all();
}

} // namespace

namespace emulated
{

void queue(const void *stream, std::function<void()> task)
{
    CUstream_st &own = own_stream(stream);
    if (own.recorded) {
        own.recorded->done.push_back(std::move(task));
        return;
    }
    std::lock_guard<std::mutex> lock(own.mutex);
    own.waiting.push_back(std::move(task));
}

void expect_device_memory(const void *argument)
{
    std::lock_guard<std::mutex> lock(memory_mutex);
    if (!argument)
        return;
    const piece *found = find(argument);
    if (!found)
        give_up("a kernel is given memory of the host");
    if (found->device >= 0 && found->device != running_device)
        give_up("a kernel is given memory of another device");
}

} // namespace emulated

/* The host API */

using moment = std::chrono::steady_clock::time_point;

struct CUevent_st {
    std::shared_ptr<moment> at;
    const void *stream;
};
struct CUgraph_st {
    tasks done;
};
struct CUgraphExec_st {
    tasks done;
};

extern "C" {

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    default:
        return "invalid argument";
    }
}

cudaError_t cudaGetDeviceCount(int *devices)
{
    *devices = setting("AACLIP_EMULATED_DEVICES", 2);
    return *devices > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current_device;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    int devices;
    cudaError_t error = cudaGetDeviceCount(&devices);
    if (error || device < 0 || device >= devices)
        return fail(cudaErrorInvalidDevice);
    current_device = device;
    return cudaSuccess;
}

/* Compute capability 8.0, or 9.0, which has warp groups. */
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int device)
{
    (void)device;
    int capability = setting("AACLIP_EMULATED_CAPABILITY", 90);
    *value = which == cudaDevAttrComputeCapabilityMajor   ? capability / 10
             : which == cudaDevAttrComputeCapabilityMinor ? capability % 10
                                                          : 4;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    return allocate(memory, bytes, current_device);
}

cudaError_t cudaFree(void *memory)
{
    wait_for_devices();
    return release(memory, false);
}

cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
    return allocate(memory, bytes, -1);
}

cudaError_t cudaFreeHost(void *memory)
{
    wait_for_devices();
    return release(memory, true);
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *memory)
{
    std::lock_guard<std::mutex> lock(memory_mutex);
    const piece *found = find(memory);
    *attributes = {!found               ? cudaMemoryTypeUnregistered
                   : found->device >= 0 ? cudaMemoryTypeDevice
                                        : cudaMemoryTypeHost,
                   found && found->device >= 0 ? found->device : 0};
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    (void)kind;
    CUstream_st &own = own_stream(stream);
    if (bytes == 0)
        return cudaSuccess;
    bool from_pageable = is_pageable(from), to_pageable = is_pageable(to);
    if (own.recorded && (from_pageable || to_pageable))
        give_up("memory of the host that is not page-locked is recorded");
    if (from_pageable) { /* read before the call returns */
        const char *begin = static_cast<const char *>(from);
        auto kept = std::make_shared<std::vector<char>>(begin, begin + bytes);
        queue(stream, [=] { memcpy(to, kept->data(), bytes); });
    } else {
        queue(stream, [=] { memcpy(to, from, bytes); });
    }
    if (to_pageable)
        work_off(own);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    queue(stream, [=] {
        expect_device_memory(memory);
        memset(memory, value, bytes);
    });
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    CUstream_st &own = own_stream(stream);
    if (!own.recorded) {
        work_off(own);
        return cudaSuccess;
    }
    own.recorded->broken = true;
    return fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = new CUevent_st{std::make_shared<moment>(), nullptr};
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    auto at = event->at;
    event->stream = stream;
    queue(stream, [=] { *at = std::chrono::steady_clock::now(); });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    auto stream = find_stream(event->stream);
    if (stream)
        work_off(*stream);
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    *milliseconds = std::chrono::duration<float, std::milli>(*to->at - *from->at).count();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    auto made = std::make_shared<CUstream_st>();
    made->device = current_device;
    std::lock_guard<std::mutex> lock(streams_mutex);
    streams[made.get()] = made;
    *stream = made.get();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    auto found = find_stream(stream);
    if (!found)
        return fail(cudaErrorInvalidValue);
    found->left = true; /* without waiting for its remaining tasks */
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    CUstream_st &own = own_stream(stream);
    if (own.recorded)
        return fail(cudaErrorStreamCaptureUnsupported);
    own.recorded = std::make_unique<recording>();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    CUstream_st &own = own_stream(stream);
    *graph = nullptr;
    if (!own.recorded)
        return fail(cudaErrorInvalidValue);
    std::unique_ptr<recording> made = std::move(own.recorded);
    if (made->broken)
        return fail(cudaErrorStreamCaptureInvalidated);
    *graph = new CUgraph_st{std::move(made->done)};
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *made = new CUgraphExec_st{graph->done};
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    for (const auto &task : graph->done)
        queue(stream, task);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}
}
