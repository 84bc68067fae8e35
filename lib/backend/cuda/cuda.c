/* The CUDA backend: memory of its own, and every operation of the vtable on the thread's stream. */
#include <pthread.h>

#include <cuda_runtime_api.h>

#include "backend/account.h"
#include "backend/cuda/cuda.h"
#include "backend/work.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"

aaclip_status aac_cuda_error(const char *what, int error)
{
    if (error == cudaSuccess)
        return AACLIP_OK;
    cudaGetLastError(); /* clears a non-sticky error */
    if (error == cudaErrorMemoryAllocation)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY, "CUDA: %s: out of memory on the device", what);
    return aac_error(AACLIP_ERROR_BACKEND, "CUDA: %s: %s", what,
                     cudaGetErrorString((cudaError_t)error));
}

/*
 * A thread's streams, one per device, created for its first operation there. They are non-blocking:
 * they do not synchronise with the legacy default stream, which other users of CUDA in the process
 * share and could not use while a stream that synchronises with it records.
 */
static AAC_THREAD_LOCAL struct {
    cudaStream_t of[AAC_ACCOUNTS];
    unsigned forks;
} own_streams;

static pthread_once_t streams_once = PTHREAD_ONCE_INIT;
static pthread_key_t streams_key; /* for threads that have streams */
static bool has_streams_key;

static void free_streams(void *value)
{
    (void)value;
    for (int i = 0; i < AAC_ACCOUNTS && own_streams.forks == aac_forks(); i++)
        if (own_streams.of[i]) {
            cudaStreamDestroy(own_streams.of[i]);
            own_streams.of[i] = NULL;
        }
}

static void make_streams_key(void)
{
    has_streams_key = !pthread_key_create(&streams_key, free_streams);
}

/* Threads may end after the library is unloaded. */
__attribute__((destructor)) static void drop_streams_key(void)
{
    if (has_streams_key)
        pthread_key_delete(streams_key);
}

static bool make_stream(cudaStream_t *stream)
{
    if (cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking)) {
        cudaGetLastError();
        *stream = NULL;
        return false;
    }
    pthread_once(&streams_once, make_streams_key);
    own_streams.forks = aac_forks();
    if (has_streams_key)
        pthread_setspecific(streams_key, &own_streams);
    return true;
}

cudaStream_t aac_cuda_stream(void)
{
    int device = 0;
    bool counted = !cudaGetDevice(&device) && device < AAC_ACCOUNTS;
    if (!counted || (!own_streams.of[device] && !make_stream(&own_streams.of[device])))
        return cudaStreamPerThread;
    return own_streams.of[device];
}

static void *take_memory(size_t bytes)
{
    void *memory = NULL;
    if (cudaMalloc(&memory, bytes) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

static void give_memory(void *memory)
{
    cudaFree(memory);
}

static void *allocate(size_t bytes)
{
    int device = 0;
    if (cudaGetDevice(&device) == cudaSuccess)
        return aac_account_allocate(device, bytes ? bytes : 1, take_memory);
    cudaGetLastError();
    return NULL;
}

void aac_cuda_release(void *memory)
{
    aac_account_release(memory, give_memory);
}

/*
 * Waits if one side is host memory: it may then be reused, and other threads' streams see what was
 * uploaded.
 */
static aaclip_status copy(void *to, const void *from, size_t bytes)
{
    struct cudaPointerAttributes target, source;
    const cudaStream_t stream = aac_cuda_stream();
    cudaError_t error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
    if (!error)
        error = cudaPointerGetAttributes(&target, to);
    if (!error)
        error = cudaPointerGetAttributes(&source, from);
    if (!error && (target.type != cudaMemoryTypeDevice || source.type != cudaMemoryTypeDevice))
        error = cudaStreamSynchronize(stream);
    return aac_cuda_error("copy", (int)error);
}

static aaclip_status clear(void *memory, size_t bytes)
{
    return aac_cuda_error("clear", (int)cudaMemsetAsync(memory, 0, bytes, aac_cuda_stream()));
}

static aaclip_status finish(void)
{
    return aac_cuda_error("operations", (int)cudaStreamSynchronize(aac_cuda_stream()));
}

/* Page-locked, so that the device can access it directly. */
static void *allocate_host(size_t bytes)
{
    void *memory = NULL;
    if (cudaMallocHost(&memory, bytes ? bytes : 1) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

static void release_host(void *memory)
{
    cudaFreeHost(memory);
}

static const aac_backend_memory memory_calls = {.allocate = allocate,
                                                .release = aac_cuda_release,
                                                .copy = copy,
                                                .clear = clear,
                                                .finish = finish,
                                                .allocate_host = allocate_host,
                                                .release_host = release_host};

aaclip_status aac_cuda_upload(void **memory, const void *from, size_t bytes)
{
    *memory = allocate(bytes);
    if (!*memory)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY,
                         "backend 'cuda': out of memory for a weight of %zu bytes", bytes);
    aaclip_status status = copy(*memory, from, bytes);
    if (status) {
        aac_cuda_release(*memory);
        *memory = NULL;
    }
    return status;
}

/* The number of devices; `error` says why there is none. */
static int find_devices(cudaError_t *error)
{
    int count = 0;
    *error = cudaGetDeviceCount(&count);
    cudaGetLastError();
    return *error ? 0 : count;
}

static int count_devices(void)
{
    cudaError_t error;
    return find_devices(&error);
}

static int enter_device(int device)
{
    int previous = 0;
    if (cudaGetDevice(&previous) || previous != device)
        cudaSetDevice(device);
    cudaGetLastError(); /* the next call reports it */
    return previous;
}

static int attribute(enum cudaDeviceAttr which)
{
    int device = 0, value = 0;
    if (cudaGetDevice(&device) || cudaDeviceGetAttribute(&value, which, device)) {
        cudaGetLastError();
        return 0;
    }
    return value;
}

int aac_cuda_processors(void)
{
    return attribute(cudaDevAttrMultiProcessorCount);
}

bool aac_cuda_has_groups(void)
{
    return attribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
           attribute(cudaDevAttrComputeCapabilityMinor) == 0;
}

#define OLDEST 8 /* compute capability that the kernels are built for */

static int capability(int device)
{
    int major = 0;
    cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaGetLastError();
    return error ? 0 : major;
}

static aaclip_status check_device(int device)
{
    int found = capability(device);
    if (found >= OLDEST)
        return AACLIP_OK;
    return aac_error(
        AACLIP_ERROR_UNSUPPORTED,
        "backend 'cuda': device %d: expected compute capability %d.0 or more, found %d", device,
        OLDEST, found);
}

static const aac_backend_devices devices = {count_devices, enter_device, check_device};

static void *mark(void)
{
    cudaEvent_t event = NULL;
    if (!cudaEventCreate(&event) && !cudaEventRecord(event, aac_cuda_stream()))
        return event;
    cudaGetLastError();
    if (event)
        cudaEventDestroy(event);
    return NULL;
}

static double seconds_between(const void *from, const void *to)
{
    float milliseconds = -1;
    if (cudaEventSynchronize((cudaEvent_t)to) ||
        cudaEventElapsedTime(&milliseconds, (cudaEvent_t)from, (cudaEvent_t)to)) {
        cudaGetLastError();
        return -1;
    }
    return 1e-3 * (double)milliseconds;
}

static void release_mark(void *event)
{
    if (event)
        cudaEventDestroy((cudaEvent_t)event);
}

static const aac_backend_clock device_clock = {mark, seconds_between, release_mark};

/* Thread-local capture: other threads may call anything meanwhile. */
static aaclip_status begin_recording(void)
{
    return aac_cuda_error("recording", (int)cudaStreamBeginCapture(
                                           aac_cuda_stream(), cudaStreamCaptureModeThreadLocal));
}

static aaclip_status end_recording(void **recording)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t made = NULL;
    *recording = NULL;
    cudaError_t error = cudaStreamEndCapture(aac_cuda_stream(), &graph);
    if (!error)
        error = cudaGraphInstantiate(&made, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    *recording = made;
    return aac_cuda_error("recording", (int)error);
}

static aaclip_status play(void *recording)
{
    return aac_cuda_error("playing",
                          (int)cudaGraphLaunch((cudaGraphExec_t)recording, aac_cuda_stream()));
}

static void release_recording(void *recording)
{
    if (recording)
        cudaGraphExecDestroy((cudaGraphExec_t)recording);
}

static const aac_backend_recorder graphs = {begin_recording, end_recording, play,
                                            release_recording};

static bool has_new_device(void)
{
    int count = count_devices();
    bool found = false;
    for (int i = 0; !found && i < count; i++)
        found = capability(i) >= OLDEST;
    return found;
}

static bool available(void)
{
    return has_new_device() && aac_cuda_blaslt_available();
}

static const char *missing(void)
{
    cudaError_t error;
    if (find_devices(&error) > 0)
        return has_new_device() ? "libcublasLt.so.13 was not found"
                                : "no device has compute capability 8.0 or more";
    if (error == cudaErrorInsufficientDriver)
        return "no NVIDIA driver was found, or one older than CUDA 13";
    return error && error != cudaErrorNoDevice ? cudaGetErrorString(error)
                                               : "the NVIDIA driver found no device";
}

static bool has_type(aac_dtype type)
{
    return type == AAC_F32 || type == AAC_BF16 || type == AAC_F16;
}

static bool supports(const aac_op_desc *desc)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return has_type(desc->linear.x) && has_type(desc->linear.y) && !desc->linear.quantized;
    case AAC_OP_ATTENTION:
        return desc->attention.head_size <= AAC_CUDA_LARGEST_HEAD;
    case AAC_OP_ATTENTION_BACKWARD:
        return desc->attention.head_size <= AAC_CUDA_LARGEST_HEAD && !aac_op_has_f16(desc);
    case AAC_OP_ACTIVATE_BACKWARD:
    case AAC_OP_LAYER_NORM_BACKWARD:
    case AAC_OP_LINEAR_GRADIENT:
        return !aac_op_has_f16(desc);
    default:
        return desc->op < AAC_OP_COUNT;
    }
}

static const struct {
    const char *what;
    aac_cuda_launch launch;
} operations[AAC_OP_COUNT] = {
    [AAC_OP_LAYER_NORM] = {"layer norm", aac_cuda_layer_norm},
    [AAC_OP_ATTENTION] = {"attention", aac_cuda_attention},
    [AAC_OP_BLEND] = {"blend", aac_cuda_blend},
    [AAC_OP_NORMALIZE] = {"normalize", aac_cuda_normalize},
    [AAC_OP_CONVERT] = {"convert", aac_cuda_convert},
    [AAC_OP_GATHER] = {"gather", aac_cuda_gather},
    [AAC_OP_PATCHES] = {"patches", aac_cuda_patches},
    [AAC_OP_SIMILARITY] = {"similarity", aac_cuda_similarity},
    [AAC_OP_ANOMALY_MAP] = {"anomaly map", aac_cuda_anomaly_map},
    [AAC_OP_ACTIVATE] = {"activation", aac_cuda_activate},
    [AAC_OP_ACTIVATE_BACKWARD] = {"activation backward", aac_cuda_activate_backward},
    [AAC_OP_LAYER_NORM_BACKWARD] = {"layer norm backward", aac_cuda_layer_norm_backward},
    [AAC_OP_ATTENTION_BACKWARD] = {"attention backward", aac_cuda_attention_backward},
    [AAC_OP_BLEND_BACKWARD] = {"blend backward", aac_cuda_blend_backward},
    [AAC_OP_NORMALIZE_BACKWARD] = {"normalize backward", aac_cuda_normalize_backward},
    [AAC_OP_GATHER_BACKWARD] = {"gather backward", aac_cuda_gather_backward},
    [AAC_OP_SIMILARITY_BACKWARD] = {"similarity backward", aac_cuda_similarity_backward},
    [AAC_OP_SEGMENTATION_LOSS] = {"segmentation loss", aac_cuda_segmentation_loss},
    [AAC_OP_CLASSIFICATION_LOSS] = {"classification loss", aac_cuda_classification_loss},
    [AAC_OP_FINITE] = {"finite", aac_cuda_finite},
    [AAC_OP_ADAM] = {"Adam", aac_cuda_adam},
};

static aaclip_status run(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    return aac_cuda_error(operations[plan->desc.op].what,
                          operations[plan->desc.op].launch(&plan->desc, args, scratch));
}

static size_t scratch_of(const aac_op_desc *desc)
{
    if (desc->op == AAC_OP_NORMALIZE && desc->normalize.mean)
        return (size_t)desc->normalize.rows * sizeof(float);
    if (desc->op == AAC_OP_ANOMALY_MAP)
        return (size_t)(desc->anomaly_map.levels * desc->anomaly_map.grid *
                        desc->anomaly_map.grid) *
               sizeof(float);
    if (desc->op == AAC_OP_SEGMENTATION_LOSS)
        return aac_cuda_segmentation_scratch(desc);
    if (desc->op == AAC_OP_ATTENTION_BACKWARD)
        return aac_cuda_attention_backward_scratch(desc);
    return 0;
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    if (desc->op == AAC_OP_LINEAR)
        return aac_cuda_plan_linear(out, desc, threads);
    if (desc->op == AAC_OP_LINEAR_GRADIENT)
        return aac_cuda_plan_linear_gradient(out, desc, threads);
    *out = NULL;
    if (desc->op == AAC_OP_ATTENTION_BACKWARD && desc->attention.rows < 1)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "CUDA: attention backward: no rows");
    aac_plan *made = *out = aac_calloc(1, sizeof *made);
    if (!made)
        return aac_error_memory();
    *made = (aac_plan){.backend = &aac_backend_cuda,
                       .desc = *desc,
                       .scratch = scratch_of(desc),
                       .threads = threads,
                       .run = run};
    if (desc->op == AAC_OP_ATTENTION || desc->op == AAC_OP_ATTENTION_BACKWARD)
        made->keeps_sums = aac_cuda_keeps_sums(desc);
    made->rounds = desc->op == AAC_OP_LAYER_NORM_BACKWARD;
    return AACLIP_OK;
}

static void plan_free(aac_plan *made)
{
    if (made->desc.op == AAC_OP_LINEAR || made->desc.op == AAC_OP_LINEAR_GRADIENT)
        aac_cuda_free_linear(made);
    else
        aac_free(made);
}

const aac_backend aac_backend_cuda = {
    .name = "cuda",
    .devices = &devices,
    .clock = &device_clock,
    .recorder = &graphs,
    .tensor_float = true,
    .available = available,
    .missing = missing,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = aac_cuda_pack,
    .repack = aac_cuda_repack,
    .weight_free = aac_cuda_weight_free,
    .memory = &memory_calls,
};
