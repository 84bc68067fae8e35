/* Forward operations on rows and single values. */
#include "backend/cuda/kernels.cuh"

template <typename T>
static __global__ void layer_norm(const float *x, T *y, const float *gain, const float *bias,
                                  int columns, float epsilon)
{
    x += (int64_t)blockIdx.x * columns;
    y += (int64_t)blockIdx.x * columns;
    float sum = 0, squares = 0;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        sum += x[i];
    float mean = block_sum(sum) / columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        squares += (x[i] - mean) * (x[i] - mean);
    float scale = rsqrtf(block_sum(squares) / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        store(y + i, (x[i] - mean) * scale * gain[i] + bias[i]);
}

/* One row per warp, of up to WARP * LANE_VALUES columns (a multiple of 4 * WARP), read once. */
template <typename T>
static __global__ void layer_norm_in_registers(const float *x, T *y, const float *gain,
                                               const float *bias, int rows, int columns,
                                               float epsilon)
{
    int row = (int)((blockIdx.x * blockDim.x + threadIdx.x) / WARP), lane = threadIdx.x % WARP;
    if (row >= rows)
        return;
    float values[LANE_VALUES / 4][4], sum = 0, squares = 0;
    x += (int64_t)row * columns + 4 * lane;
    y += (int64_t)row * columns + 4 * lane;
#pragma unroll
    for (int i = 0; i < LANE_VALUES / 4; i++)
        if (i * 4 * WARP < columns) {
            *(float4 *)values[i] = *(const float4 *)(x + i * 4 * WARP);
            sum += (values[i][0] + values[i][1]) + (values[i][2] + values[i][3]);
        }
    float mean = warp_sum(sum) / columns;
#pragma unroll
    for (int i = 0; i < LANE_VALUES / 4; i++)
        if (i * 4 * WARP < columns)
#pragma unroll
            for (int j = 0; j < 4; j++)
                squares += (values[i][j] - mean) * (values[i][j] - mean);
    float scale = rsqrtf(warp_sum(squares) / columns + epsilon);
#pragma unroll
    for (int i = 0; i < LANE_VALUES / 4; i++)
        if (i * 4 * WARP < columns) {
            float4 g = *(const float4 *)(gain + i * 4 * WARP + 4 * lane);
            float4 b = *(const float4 *)(bias + i * 4 * WARP + 4 * lane);
            store_four(y + i * 4 * WARP, (values[i][0] - mean) * scale * g.x + b.x,
                       (values[i][1] - mean) * scale * g.y + b.y,
                       (values[i][2] - mean) * scale * g.z + b.z,
                       (values[i][3] - mean) * scale * g.w + b.w);
        }
}

template <typename T> static int run_layer_norm(const aac_op_desc *desc, const aac_op_args *args)
{
    int rows = (int)desc->layer_norm.rows, columns = (int)desc->layer_norm.columns;
    const float *x = (const float *)args->x;
    if (columns % (4 * WARP) == 0 && columns <= WARP * LANE_VALUES && is_aligned(x) &&
        is_aligned(args->y) && is_aligned(args->gain) && is_aligned(args->bias))
        layer_norm_in_registers<<<blocks_for(rows, FEW_THREADS / WARP), FEW_THREADS, 0, STREAM>>>(
            x, (T *)args->y, args->gain, args->bias, rows, columns, desc->layer_norm.epsilon);
    else
        layer_norm<<<(unsigned)rows, ROW_THREADS, 0, STREAM>>>(
            x, (T *)args->y, args->gain, args->bias, columns, desc->layer_norm.epsilon);
    return cudaGetLastError();
}

extern "C" int aac_cuda_layer_norm(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    return with_type(desc->layer_norm.y,
                     [=](auto y) { return run_layer_norm<decltype(y)>(desc, args); });
}

static __global__ void blend(const float *x, const float *a, float *y, int columns, float weight)
{
    x += (int64_t)blockIdx.x * columns;
    a += (int64_t)blockIdx.x * columns;
    y += (int64_t)blockIdx.x * columns;
    float a_squares = 0, x_squares = 0;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        a_squares += a[i] * a[i];
        x_squares += x[i] * x[i];
    }
    a_squares = block_sum(a_squares);
    x_squares = block_sum(x_squares);
    float factor = a_squares > 0 ? weight * sqrtf(x_squares) / sqrtf(a_squares) : 0.0f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        y[i] = factor * a[i] + (1 - weight) * x[i];
}

extern "C" int aac_cuda_blend(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    blend<<<(unsigned)desc->blend.rows, ROW_THREADS, 0, STREAM>>>(
        (const float *)args->x, args->a, (float *)args->y, (int)desc->blend.columns,
        desc->blend.weight);
    return cudaGetLastError();
}

static __global__ void normalize(const float *x, float *y, int columns)
{
    x += (int64_t)blockIdx.x * columns;
    y += (int64_t)blockIdx.x * columns;
    float squares = 0;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        squares += x[i] * x[i];
    float norm = fmaxf(sqrtf(block_sum(squares)), 1e-12f);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        y[i] = x[i] / norm;
}

static __global__ void row_norms(const float *x, float *norms, int columns)
{
    x += (int64_t)blockIdx.x * columns;
    float squares = 0;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        squares += x[i] * x[i];
    squares = block_sum(squares);
    if (threadIdx.x == 0)
        norms[blockIdx.x] = fmaxf(sqrtf(squares), 1e-12f);
}

#define MEAN_THREADS 1024

/* A block has 32 columns; each of its 32 warps takes every 32nd row. */
static __global__ void mean_of_rows(const float *x, const float *norms, float *y, int rows,
                                    int columns)
{
    __shared__ float sums[MEAN_THREADS];
    int column = blockIdx.x * WARP + threadIdx.x % WARP;
    float sum = 0;
#pragma unroll 4
    for (int row = threadIdx.x / WARP; row < rows && column < columns; row += MEAN_THREADS / WARP)
        sum += x[(int64_t)row * columns + column] / norms[row];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= WARP || column >= columns)
        return;
    for (int i = 1; i < MEAN_THREADS / WARP; i++)
        sum += sums[i * WARP + threadIdx.x];
    y[column] = sum / rows;
}

extern "C" int aac_cuda_normalize(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    unsigned rows = (unsigned)desc->normalize.rows;
    int columns = (int)desc->normalize.columns;
    const float *x = (const float *)args->x;
    if (desc->normalize.mean) {
        row_norms<<<rows, ROW_THREADS, 0, STREAM>>>(x, (float *)scratch, columns);
        mean_of_rows<<<blocks_for(columns, WARP), MEAN_THREADS, 0, STREAM>>>(
            x, (const float *)scratch, (float *)args->y, (int)rows, columns);
    } else {
        normalize<<<rows, ROW_THREADS, 0, STREAM>>>(x, (float *)args->y, columns);
    }
    return cudaGetLastError();
}

template <typename X, typename Y>
static __global__ void convert(const X *x, Y *y, int64_t count, bool aligned)
{
    int64_t at = EACH * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x);
    if (!aligned || at + EACH > count) {
        for (int64_t end = min(at + EACH, count); at < end; at++)
            store(y + at, load(x + at));
        return;
    }
    float values[EACH];
    load_each(values, x + at);
    store_each(y + at, values);
}

/* One of the two types is float32. */
template <typename X, typename Y> static int run_convert(const X *x, Y *y, int64_t count)
{
    convert<<<blocks_for(count, EACH * ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
        x, y, count, is_aligned(x) && is_aligned(y));
    return cudaGetLastError();
}

extern "C" int aac_cuda_convert(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int64_t count = desc->convert.rows * desc->convert.columns;
    if (desc->convert.x == AAC_F32)
        return aac_cuda_narrow((const float *)args->x, args->y, count, desc->convert.y);
    return with_type(desc->convert.x, [=](auto x) {
        return run_convert((const decltype(x) *)args->x, (float *)args->y, count);
    });
}

extern "C" int aac_cuda_narrow(const float *values, void *y, int64_t count, aac_dtype type)
{
    return with_type(
        type, [=](auto narrow) { return run_convert(values, (decltype(narrow) *)y, count); });
}

/* In place when x == y. Unaligned values, and a remainder below EACH, are read one by one. */
template <typename T>
static __global__ void activate(const T *x, T *y, int64_t count, aac_activation kind, float slope,
                                bool aligned)
{
    int64_t at = EACH * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x);
    if (!aligned || at + EACH > count) {
        for (int64_t end = min(at + EACH, count); at < end; at++)
            store(y + at, activation(load(x + at), kind, slope));
        return;
    }
    float values[EACH];
    load_each(values, x + at);
#pragma unroll
    for (int i = 0; i < EACH; i++)
        values[i] = activation(values[i], kind, slope);
    store_each(y + at, values);
}

template <typename T>
static int run_activate(const void *x, void *y, int64_t count, aac_activation kind, float slope)
{
    activate<<<blocks_for(count, EACH * ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
        (const T *)x, (T *)y, count, kind, slope, is_aligned(x) && is_aligned(y));
    return cudaGetLastError();
}

extern "C" int aac_cuda_activate(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int64_t count = desc->activate.rows * desc->activate.columns;
    return with_type(desc->activate.type, [=](auto type) {
        return run_activate<decltype(type)>(args->x, args->y, count, desc->activate.activation,
                                            desc->activate.slope);
    });
}

extern "C" int aac_cuda_activate_outputs(const aac_op_desc *desc, void *y)
{
    int64_t count = desc->linear.rows * desc->linear.outputs;
    return with_type(desc->linear.y, [=](auto type) {
        return run_activate<decltype(type)>(y, y, count, desc->linear.activation,
                                            desc->linear.slope);
    });
}

template <typename T>
static __global__ void gather(const T *x, T *y, const int32_t *index, int columns)
{
    x += (int64_t)index[blockIdx.x] * columns;
    y += (int64_t)blockIdx.x * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        y[i] = x[i];
}

template <typename T> static int run_gather(const aac_op_desc *desc, const aac_op_args *args)
{
    gather<<<(unsigned)desc->gather.rows, ROW_THREADS, 0, STREAM>>>(
        (const T *)args->x, (T *)args->y, args->index, (int)desc->gather.columns);
    return cudaGetLastError();
}

extern "C" int aac_cuda_gather(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    return with_type(desc->gather.type,
                     [=](auto type) { return run_gather<decltype(type)>(desc, args); });
}

template <typename T>
static __global__ void epilogue(const float *sums, const float *bias, T *y, int64_t count,
                                int columns, aac_activation kind, float slope, bool accumulate)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    float value = activation(sums[i] + (bias ? bias[i % columns] : 0.0f), kind, slope);
    store(y + i, accumulate ? load(y + i) + value : value);
}

template <typename T>
static int run_epilogue(const aac_op_desc *desc, const float *sums, const float *bias, T *y)
{
    int64_t count = desc->linear.rows * desc->linear.outputs;
    epilogue<<<blocks_for(count, ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
        sums, bias, y, count, (int)desc->linear.outputs, desc->linear.activation,
        desc->linear.slope, desc->linear.accumulate);
    return cudaGetLastError();
}

extern "C" int aac_cuda_epilogue(const aac_op_desc *desc, const float *sums, const float *bias,
                                 void *y)
{
    return with_type(desc->linear.y, [=](auto type) {
        return run_epilogue(desc, sums, bias, (decltype(type) *)y);
    });
}
