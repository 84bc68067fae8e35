/* cuBLASLt behind dlopen, so that the library also loads without it. */
#include <dlfcn.h>
#include <pthread.h>

#include <cublasLt.h>

#include "backend/cuda/cuda.h"
#include "core/error.h"
#include "core/memory.h"

#define WORKSPACE (32u << 20) /* as its documentation recommends for Hopper */
#define DEVICES   64

struct aac_cuda_product {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
    float beta;
    bool bias;
};

static struct {
    bool loaded;
    cublasLtHandle_t handles[DEVICES]; /* one per device, made for its first product and kept */
    __typeof__(&cublasLtCreate) create;
    __typeof__(&cublasLtMatmulDescCreate) operation_new;
    __typeof__(&cublasLtMatmulDescDestroy) operation_free;
    __typeof__(&cublasLtMatmulDescSetAttribute) operation_set;
    __typeof__(&cublasLtMatrixLayoutCreate) layout_new;
    __typeof__(&cublasLtMatrixLayoutDestroy) layout_free;
    __typeof__(&cublasLtMatmulPreferenceCreate) preference_new;
    __typeof__(&cublasLtMatmulPreferenceDestroy) preference_free;
    __typeof__(&cublasLtMatmulPreferenceSetAttribute) preference_set;
    __typeof__(&cublasLtMatmulAlgoGetHeuristic) choose;
    __typeof__(&cublasLtMatmul) multiply;
} lt;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t handles_mutex = PTHREAD_MUTEX_INITIALIZER;

static void *open_library(void)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

static void load(void)
{
    void *library = open_library();
    if (!library)
        return;
    const struct {
        void *slot;
        const char *name;
    } symbols[] = {
        {&lt.create, "cublasLtCreate"},
        {&lt.operation_new, "cublasLtMatmulDescCreate"},
        {&lt.operation_free, "cublasLtMatmulDescDestroy"},
        {&lt.operation_set, "cublasLtMatmulDescSetAttribute"},
        {&lt.layout_new, "cublasLtMatrixLayoutCreate"},
        {&lt.layout_free, "cublasLtMatrixLayoutDestroy"},
        {&lt.preference_new, "cublasLtMatmulPreferenceCreate"},
        {&lt.preference_free, "cublasLtMatmulPreferenceDestroy"},
        {&lt.preference_set, "cublasLtMatmulPreferenceSetAttribute"},
        {&lt.choose, "cublasLtMatmulAlgoGetHeuristic"},
        {&lt.multiply, "cublasLtMatmul"},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol)
            return;
        *(void **)symbols[i].slot = symbol;
    }
    lt.loaded = true;
}

bool aac_cuda_blaslt_available(void)
{
    pthread_once(&once, load);
    return lt.loaded;
}

/* The handle of the thread's device. */
static aaclip_status find_handle(cublasLtHandle_t *handle)
{
    int device = 0;
    aaclip_status status = aac_cuda_error("device", (int)cudaGetDevice(&device));
    if (!status && device >= DEVICES)
        status = aac_error(AACLIP_ERROR_UNSUPPORTED,
                           "cuBLASLt: device %d: expected a number below %d", device, DEVICES);
    if (status)
        return status;
    pthread_mutex_lock(&handles_mutex);
    cublasStatus_t failed =
        lt.handles[device] ? CUBLAS_STATUS_SUCCESS : lt.create(&lt.handles[device]);
    if (failed)
        lt.handles[device] = NULL;
    *handle = lt.handles[device];
    pthread_mutex_unlock(&handles_mutex);
    if (!failed)
        return AACLIP_OK;
    return aac_error(failed == CUBLAS_STATUS_ALLOC_FAILED ? AACLIP_ERROR_OUT_OF_MEMORY
                                                          : AACLIP_ERROR_BACKEND,
                     "cuBLASLt: device %d: creating a handle: status %d", device, (int)failed);
}

static cudaDataType_t type_of(aac_dtype type)
{
    return type == AAC_F16 ? CUDA_R_16F : type == AAC_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* cuBLAS is column-major: a row-major matrix is its transpose there. */
static bool describe(aac_cuda_product *product, const aac_cuda_product_shape *shape)
{
    const cublasOperation_t first = shape->transposed_b ? CUBLAS_OP_N : CUBLAS_OP_T;
    const cublasOperation_t second = shape->transposed_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cudaDataType_t type = type_of(shape->type), d = type_of(shape->d);
    uint64_t r = (uint64_t)shape->rows, o = (uint64_t)shape->outputs, k = (uint64_t)shape->inner;
    const cublasComputeType_t compute =
        shape->tensor_float ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    return !lt.operation_new(&product->operation, compute, CUDA_R_32F) &&
           !lt.operation_set(product->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first,
                             sizeof first) &&
           !lt.operation_set(product->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                             sizeof second) &&
           !lt.layout_new(&product->a, type, shape->transposed_a ? r : k,
                          shape->transposed_a ? k : r,
                          shape->transposed_a ? shape->rows : shape->inner) &&
           !lt.layout_new(&product->b, type, shape->transposed_b ? o : k,
                          shape->transposed_b ? k : o,
                          shape->transposed_b ? shape->outputs : shape->inner) &&
           !lt.layout_new(&product->d, d, o, r, shape->outputs);
}

static bool set_epilogue(aac_cuda_product *product, cublasLtEpilogue_t epilogue)
{
    return !lt.operation_set(product->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                             sizeof epilogue);
}

/* Excludes split-K algorithms that round partial sums to the type of `d` before adding them. */
static bool choose(aac_cuda_product *product, aac_dtype d)
{
    cublasLtMatmulPreference_t preference = NULL;
    const size_t workspace = WORKSPACE;
    const uint32_t alignment = 16; /* rows of odd length are aligned only to their element */
    const uint32_t reductions =
        d == AAC_F32 ? CUBLASLT_REDUCTION_SCHEME_MASK : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    bool done = !lt.preference_new(&preference) &&
                !lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                   sizeof workspace) &&
                !lt.preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                   &reductions, sizeof reductions) &&
                !lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                   &alignment, sizeof alignment) &&
                !lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                   &alignment, sizeof alignment) &&
                !lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                   &alignment, sizeof alignment) &&
                !lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                                   &alignment, sizeof alignment) &&
                !lt.choose(product->handle, product->operation, product->b, product->a, product->d,
                           product->d, preference, 1, &result, &found) &&
                found == 1;
    if (preference)
        lt.preference_free(preference);
    if (!done)
        return false;
    product->algorithm = result.algo;
    product->workspace = result.workspaceSize;
    return true;
}

/* With the bias in the epilogue if there is an algorithm for that. */
static bool choose_epilogue(aac_cuda_product *product, const aac_cuda_product_shape *shape)
{
    product->bias =
        shape->bias && set_epilogue(product, CUBLASLT_EPILOGUE_BIAS) && choose(product, shape->d);
    return product->bias ||
           (set_epilogue(product, CUBLASLT_EPILOGUE_DEFAULT) && choose(product, shape->d));
}

aaclip_status aac_cuda_product_new(aac_cuda_product **out, const aac_cuda_product_shape *shape)
{
    aac_cuda_product *product = *out = aac_calloc(1, sizeof *product);
    if (!product)
        return aac_error_memory();
    product->beta = shape->accumulate ? 1.0f : 0.0f;
    aaclip_status status = find_handle(&product->handle);
    if (!status && !(describe(product, shape) && choose_epilogue(product, shape)))
        status = aac_error(AACLIP_ERROR_BACKEND,
                           "cuBLASLt: no algorithm for a %s matrix product %lldx%lldx%lld",
                           aac_dtype_name(shape->type), (long long)shape->rows,
                           (long long)shape->outputs, (long long)shape->inner);
    if (!status)
        return AACLIP_OK;
    aac_cuda_product_free(product);
    *out = NULL;
    return status;
}

void aac_cuda_product_free(aac_cuda_product *product)
{
    if (!product)
        return;
    if (product->operation)
        lt.operation_free(product->operation);
    cublasLtMatrixLayout_t layouts[] = {product->a, product->b, product->d};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i])
            lt.layout_free(layouts[i]);
    aac_free(product);
}

size_t aac_cuda_product_workspace(const aac_cuda_product *product)
{
    return product->workspace;
}

bool aac_cuda_product_adds_bias(const aac_cuda_product *product)
{
    return product->bias;
}

aaclip_status aac_cuda_product_run(const aac_cuda_product *product, const void *a, const void *b,
                                   const void *bias, const void *c, void *d, void *workspace)
{
    const float one = 1;
    cublasLtMatmulDescOpaque_t operation = *product->operation; /* the bias differs per run */
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (product->bias)
        status =
            lt.operation_set(&operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = lt.multiply(product->handle, &operation, &one, b, product->b, a, product->a,
                             &product->beta, c, product->d, d, product->d, &product->algorithm,
                             workspace, product->workspace, aac_cuda_stream());
    return status == CUBLAS_STATUS_SUCCESS
               ? AACLIP_OK
               : aac_error(AACLIP_ERROR_BACKEND, "cuBLASLt: matrix product: status %d",
                           (int)status);
}
