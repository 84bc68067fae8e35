/* The CUDA backend: memory of its own, and every operation of the vtable on the thread's stream. */
#include <cuda_runtime_api.h>

#include "backend/cuda/cuda.h"
#include "core/error.h"
#include "core/memory.h"

aaclip_status aac_cuda_error(const char *what, int error)
{
    if (error == cudaSuccess)
        return AACLIP_OK;
    cudaGetLastError(); /* clears what is not fatal */
    if (error == cudaErrorMemoryAllocation)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY, "CUDA: %s: out of device memory", what);
    return aac_error(AACLIP_ERROR_BACKEND, "CUDA: %s: %s", what,
                     cudaGetErrorString((cudaError_t)error));
}

static void *allocate(size_t bytes)
{
    void *memory = NULL;
    if (cudaMalloc(&memory, bytes ? bytes : 1) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

static void release(void *memory)
{
    cudaFree(memory);
}

/* Pageable memory is read before the call returns; pinned memory, as a user's allocator may give,
 * is not. */
static aaclip_status copy(void *to, const void *from, size_t bytes)
{
    struct cudaPointerAttributes target, source;
    cudaError_t error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cudaStreamPerThread);
    if (!error)
        error = cudaPointerGetAttributes(&target, to);
    if (!error)
        error = cudaPointerGetAttributes(&source, from);
    if (!error && (target.type != cudaMemoryTypeDevice || source.type == cudaMemoryTypeHost))
        error = cudaStreamSynchronize(cudaStreamPerThread);
    return aac_cuda_error("copy", (int)error);
}

static aaclip_status clear(void *memory, size_t bytes)
{
    return aac_cuda_error("clear", (int)cudaMemsetAsync(memory, 0, bytes, cudaStreamPerThread));
}

static const aac_backend_memory memory_calls = {allocate, release, copy, clear};

aaclip_status aac_cuda_upload(void **memory, const void *from, size_t bytes)
{
    *memory = allocate(bytes);
    if (!*memory)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY, "CUDA: out of device memory for %zu bytes",
                         bytes);
    aaclip_status status = copy(*memory, from, bytes);
    if (!status) /* `from` may be freed, and another thread may use the copy */
        status = aac_cuda_error("upload", (int)cudaStreamSynchronize(cudaStreamPerThread));
    if (status) {
        release(*memory);
        *memory = NULL;
    }
    return status;
}

static bool available(void)
{
    int devices = 0;
    bool found = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
    cudaGetLastError();
    return found && aac_cuda_blaslt_available();
}

static bool has_type(aac_dtype type)
{
    return type == AAC_F32 || type == AAC_BF16;
}

static bool supports(const aac_op_desc *desc)
{
    switch (desc->op) {
    case AAC_OP_LINEAR:
        return has_type(desc->linear.x) && has_type(desc->linear.y) && !desc->linear.quantized;
    case AAC_OP_ATTENTION:
    case AAC_OP_ATTENTION_BACKWARD:
        return desc->attention.head_size <= AAC_CUDA_LARGEST_HEAD &&
               desc->attention.kind != AAC_ATTENTION_TREE;
    case AAC_OP_GATHER:
    case AAC_OP_GATHER_BACKWARD:
        return false;
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
    [AAC_OP_PATCHES] = {"patches", aac_cuda_patches},
    [AAC_OP_SIMILARITY] = {"similarity", aac_cuda_similarity},
    [AAC_OP_ANOMALY_MAP] = {"anomaly map", aac_cuda_anomaly_map},
    [AAC_OP_ACTIVATE] = {"activation", aac_cuda_activate},
    [AAC_OP_ACTIVATE_BACKWARD] = {"activation, back", aac_cuda_activate_backward},
    [AAC_OP_LAYER_NORM_BACKWARD] = {"layer norm, back", aac_cuda_layer_norm_backward},
    [AAC_OP_ATTENTION_BACKWARD] = {"attention, back", aac_cuda_attention_backward},
    [AAC_OP_BLEND_BACKWARD] = {"blend, back", aac_cuda_blend_backward},
    [AAC_OP_NORMALIZE_BACKWARD] = {"normalize, back", aac_cuda_normalize_backward},
    [AAC_OP_SIMILARITY_BACKWARD] = {"similarity, back", aac_cuda_similarity_backward},
    [AAC_OP_SEGMENTATION_LOSS] = {"segmentation loss", aac_cuda_segmentation_loss},
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
    return 0;
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    if (desc->op == AAC_OP_LINEAR)
        return aac_cuda_plan_linear(out, desc, threads);
    if (desc->op == AAC_OP_LINEAR_GRADIENT)
        return aac_cuda_plan_linear_gradient(out, desc, threads);
    aac_plan *made = *out = aac_calloc(1, sizeof *made);
    if (!made)
        return aac_error_memory();
    *made = (aac_plan){.backend = &aac_backend_cuda,
                       .desc = *desc,
                       .scratch = scratch_of(desc),
                       .threads = threads,
                       .run = run};
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
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = aac_cuda_pack,
    .weight_free = aac_cuda_weight_free,
    .memory = &memory_calls,
};
