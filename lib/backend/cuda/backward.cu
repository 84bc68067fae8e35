/* Gradients of the operations on rows, and Adam. */
#include "backend/cuda/kernels.cuh"

/* With n = (x - mean) * scale and g = gain * dy: (g - mean(g) - n * mean(g * n)) * scale. rounded:
 * receives the new y as well, or NULL. */
template <typename T>
static __global__ void layer_norm_backward(const float *x, const float *dy, const float *gain,
                                           float *y, T *rounded, int columns, float epsilon)
{
    int64_t start = (int64_t)blockIdx.x * columns;
    float sum = 0, squares = 0, gradient = 0, product = 0;
    x += start, dy += start, y += start;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        sum += x[i];
    float mean = block_sum(sum) / columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        squares += (x[i] - mean) * (x[i] - mean);
    float scale = rsqrtf(block_sum(squares) / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        gradient += gain[i] * dy[i];
        product += gain[i] * dy[i] * (x[i] - mean) * scale;
    }
    gradient = block_sum(gradient) / columns;
    product = block_sum(product) / columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        y[i] += (gain[i] * dy[i] - gradient - (x[i] - mean) * scale * product) * scale;
        if (rounded)
            store(rounded + start + i, y[i]);
    }
}

/* A warp has a row, as in the forward kernel. */
template <typename T>
static __global__ void layer_norm_backward_in_registers(const float *x, const float *dy,
                                                        const float *gain, float *y, T *rounded,
                                                        int rows, int columns, float epsilon)
{
    int row = (int)((blockIdx.x * blockDim.x + threadIdx.x) / WARP), lane = threadIdx.x % WARP;
    if (row >= rows)
        return;
    int64_t start = (int64_t)row * columns + 4 * lane;
    float values[LANE_VALUES / 4][4], slopes[LANE_VALUES / 4][4];
    float sum = 0, squares = 0, gradient = 0, product = 0;
#pragma unroll
    for (int i = 0; i < LANE_VALUES / 4; i++)
        if (i * 4 * WARP < columns) {
            *(float4 *)values[i] = *(const float4 *)(x + start + i * 4 * WARP);
            float4 d = *(const float4 *)(dy + start + i * 4 * WARP);
            float4 g = *(const float4 *)(gain + i * 4 * WARP + 4 * lane);
            *(float4 *)slopes[i] = make_float4(g.x * d.x, g.y * d.y, g.z * d.z, g.w * d.w);
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
        if (i * 4 * WARP < columns)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                values[i][j] = (values[i][j] - mean) * scale;
                gradient += slopes[i][j];
                product += slopes[i][j] * values[i][j];
            }
    gradient = warp_sum(gradient) / columns;
    product = warp_sum(product) / columns;
#pragma unroll
    for (int i = 0; i < LANE_VALUES / 4; i++)
        if (i * 4 * WARP < columns) {
            int64_t at = start + i * 4 * WARP;
            float4 sums = *(const float4 *)(y + at);
            sums.x += (slopes[i][0] - gradient - values[i][0] * product) * scale;
            sums.y += (slopes[i][1] - gradient - values[i][1] * product) * scale;
            sums.z += (slopes[i][2] - gradient - values[i][2] * product) * scale;
            sums.w += (slopes[i][3] - gradient - values[i][3] * product) * scale;
            *(float4 *)(y + at) = sums;
            if (rounded)
                store_four(rounded + at, sums.x, sums.y, sums.z, sums.w);
        }
}

template <typename T>
static int run_layer_norm_backward(const aac_op_desc *desc, const aac_op_args *args)
{
    int rows = (int)desc->layer_norm.rows, columns = (int)desc->layer_norm.columns;
    const float *x = (const float *)args->x, *dy = (const float *)args->dy;
    float *y = (float *)args->y, epsilon = desc->layer_norm.epsilon;
    T *rounded = (T *)args->rounded;
    if (columns % (4 * WARP) == 0 && columns <= WARP * LANE_VALUES && is_aligned(x) &&
        is_aligned(dy) && is_aligned(y) && is_aligned(args->gain) && is_aligned(rounded))
        layer_norm_backward_in_registers<<<blocks_for(rows, FEW_THREADS / WARP), FEW_THREADS, 0,
                                           STREAM>>>(x, dy, args->gain, y, rounded, rows, columns,
                                                     epsilon);
    else
        layer_norm_backward<<<(unsigned)rows, ROW_THREADS, 0, STREAM>>>(x, dy, args->gain, y,
                                                                        rounded, columns, epsilon);
    return cudaGetLastError();
}

extern "C" int aac_cuda_layer_norm_backward(const aac_op_desc *desc, const aac_op_args *args,
                                            void *scratch)
{
    (void)scratch;
    return with_type(desc->layer_norm.y, [=](auto rounded) {
        return run_layer_norm_backward<decltype(rounded)>(desc, args);
    });
}

static __global__ void blend_backward(const float *x, const float *a, const float *dy, float *y,
                                      float *da, int columns, float weight)
{
    int64_t start = (int64_t)blockIdx.x * columns;
    float x_squares = 0, a_squares = 0, product = 0;
    x += start, a += start, dy += start, y += start, da += start;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        x_squares += x[i] * x[i];
        a_squares += a[i] * a[i];
        product += a[i] * dy[i];
    }
    float x_norm = sqrtf(block_sum(x_squares)), a_norm = sqrtf(block_sum(a_squares));
    product = block_sum(product);
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float gradient = dy[i], along_a = 0, along_x = 0;
        if (a_norm > 0) {
            along_a = x_norm / a_norm * (gradient - product / a_norm * (a[i] / a_norm));
            along_x = x_norm > 0 ? product / a_norm * (x[i] / x_norm) : 0.0f;
        }
        da[i] = weight * along_a;
        y[i] = (1 - weight) * gradient + weight * along_x;
    }
}

extern "C" int aac_cuda_blend_backward(const aac_op_desc *desc, const aac_op_args *args,
                                       void *scratch)
{
    (void)scratch;
    blend_backward<<<(unsigned)desc->blend.rows, ROW_THREADS, 0, STREAM>>>(
        (const float *)args->x, args->a, (const float *)args->dy, (float *)args->y, args->da,
        (int)desc->blend.columns, desc->blend.weight);
    return cudaGetLastError();
}

/* With n = x / |x|: (dy - n * (n . dy)) / |x|. */
static __global__ void normalize_backward(const float *x, const float *dy, float *y, int columns,
                                          float share, bool mean)
{
    int64_t start = (int64_t)blockIdx.x * columns;
    float squares = 0, along = 0;
    x += start, y += start, dy += mean ? 0 : start;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        squares += x[i] * x[i];
        along += x[i] * dy[i];
    }
    float norm = sqrtf(block_sum(squares));
    along = block_sum(along);
    float factor = share / fmaxf(norm, 1e-12f);
    float turn = norm > 1e-12f ? along / norm / norm : 0.0f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        y[i] = factor * (dy[i] - turn * x[i]);
}

extern "C" int aac_cuda_normalize_backward(const aac_op_desc *desc, const aac_op_args *args,
                                           void *scratch)
{
    (void)scratch;
    bool mean = desc->normalize.mean;
    normalize_backward<<<(unsigned)desc->normalize.rows, ROW_THREADS, 0, STREAM>>>(
        (const float *)args->x, (const float *)args->dy, (float *)args->y,
        (int)desc->normalize.columns, mean ? 1.0f / (float)desc->normalize.rows : 1.0f, mean);
    return cudaGetLastError();
}

static __device__ float derivative(float x, aac_activation kind, float slope)
{
    float sigmoid = __fdividef(1.0f, 1.0f + __expf(-1.702f * x));
    switch (kind) {
    case AAC_ACTIVATION_QUICK_GELU:
        return sigmoid + 1.702f * x * sigmoid * (1 - sigmoid);
    case AAC_ACTIVATION_GELU:
        return 0.5f * erfcf(-x * 0.70710678118654752f) +
               x * expf(-0.5f * x * x) * 0.39894228040143268f;
    case AAC_ACTIVATION_LEAKY_RELU:
        return x > 0 ? 1.0f : slope; /* at 0 as in PyTorch */
    default:
        return 1;
    }
}

/* In place when y == dy; like activate() in rows.cu. */
template <typename T>
static __global__ void activate_backward(const T *x, const T *dy, T *y, int64_t count,
                                         aac_activation kind, float slope, bool aligned)
{
    int64_t at = EACH * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x);
    if (!aligned || at + EACH > count) {
        for (int64_t end = min(at + EACH, count); at < end; at++)
            store(y + at, load(dy + at) * derivative(load(x + at), kind, slope));
        return;
    }
    float values[EACH], slopes[EACH];
    load_each(values, x + at);
    load_each(slopes, dy + at);
#pragma unroll
    for (int i = 0; i < EACH; i++)
        slopes[i] *= derivative(values[i], kind, slope);
    store_each(y + at, slopes);
}

template <typename T>
static int run_activate_backward(const aac_op_desc *desc, const aac_op_args *args)
{
    int64_t count = desc->activate.rows * desc->activate.columns;
    bool aligned = is_aligned(args->x) && is_aligned(args->dy) && is_aligned(args->y);
    activate_backward<<<blocks_for(count, EACH * ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
        (const T *)args->x, (const T *)args->dy, (T *)args->y, count, desc->activate.activation,
        desc->activate.slope, aligned);
    return cudaGetLastError();
}

extern "C" int aac_cuda_activate_backward(const aac_op_desc *desc, const aac_op_args *args,
                                          void *scratch)
{
    (void)scratch;
    return desc->activate.type == AAC_BF16 ? run_activate_backward<bf16>(desc, args)
                                           : run_activate_backward<float>(desc, args);
}

/* A block has one source and finds its rows in order, so that the sum is the same in every run. */
static __global__ void gather_backward(const float *dy, float *y, const int32_t *index, int rows,
                                       int columns)
{
    y += (int64_t)blockIdx.x * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float sum = 0;
        for (int row = 0; row < rows; row++)
            if (index[row] == (int)blockIdx.x)
                sum += dy[(int64_t)row * columns + i];
        y[i] = sum;
    }
}

extern "C" int aac_cuda_gather_backward(const aac_op_desc *desc, const aac_op_args *args,
                                        void *scratch)
{
    (void)scratch;
    gather_backward<<<(unsigned)desc->gather.sources, ROW_THREADS, 0, STREAM>>>(
        (const float *)args->dy, (float *)args->y, args->index, (int)desc->gather.rows,
        (int)desc->gather.columns);
    return cudaGetLastError();
}

static __global__ void similarity_to_rows(const float *dy, const float *a, float *y, int64_t count,
                                          int columns, float scale)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    int64_t row = i / columns, column = i % columns;
    y[i] = scale * (dy[2 * row] * a[column] + dy[2 * row + 1] * a[columns + column]);
}

/* A block has 32 columns of one of the pair; each of its warps takes every eighth row. */
static __global__ void similarity_to_pair(const float *dy, const float *x, float *da, int rows,
                                          int columns, float scale)
{
    __shared__ float sums[ROW_THREADS];
    int column = blockIdx.x * WARP + threadIdx.x % WARP, side = blockIdx.y;
    float sum = 0;
    for (int row = threadIdx.x / WARP; row < rows && column < columns; row += ROW_THREADS / WARP)
        sum += dy[2 * row + side] * x[(int64_t)row * columns + column];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= WARP || column >= columns)
        return;
    for (int i = 1; i < ROW_THREADS / WARP; i++)
        sum += sums[i * WARP + threadIdx.x];
    da[side * columns + column] += scale * sum;
}

extern "C" int aac_cuda_similarity_backward(const aac_op_desc *desc, const aac_op_args *args,
                                            void *scratch)
{
    (void)scratch;
    int rows = (int)desc->similarity.rows, columns = (int)desc->similarity.columns;
    int64_t count = (int64_t)rows * columns;
    const float *dy = (const float *)args->dy;
    if (args->y)
        similarity_to_rows<<<blocks_for(count, ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
            dy, args->a, (float *)args->y, count, columns, desc->similarity.scale);
    if (args->da)
        similarity_to_pair<<<dim3(blocks_for(columns, WARP), 2), ROW_THREADS, 0, STREAM>>>(
            dy, (const float *)args->x, args->da, rows, columns, desc->similarity.scale);
    return cudaGetLastError();
}

static __global__ void set_one(float *y)
{
    *y = 1;
}

/* Any thread that finds a non-finite value clears *y, which set_one() has set. */
static __global__ void finite(const float *x, float *y, int64_t count)
{
    bool all = true;
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        all = all && isfinite(x[i]);
    if (!all)
        *y = 0;
}

extern "C" int aac_cuda_finite(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const unsigned most = 1024, needed = blocks_for(desc->finite.count, ROW_THREADS);
    const unsigned blocks = needed < most ? needed : most;
    set_one<<<1, 1, 0, STREAM>>>((float *)args->y);
    finite<<<blocks, ROW_THREADS, 0, STREAM>>>((const float *)args->x, (float *)args->y,
                                               desc->finite.count);
    return cudaGetLastError();
}

/* In double: cheap next to the matrix products, and steps agree with the other backends. */
static __global__ void adam(float *y, const float *dy, float *first, float *second, int64_t count,
                            double beta1, double beta2, double rate, double second_root,
                            double epsilon)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    double gradient = dy[i];
    double m = beta1 * first[i] + (1 - beta1) * gradient;
    double v = beta2 * second[i] + (1 - beta2) * gradient * gradient;
    first[i] = (float)m;
    second[i] = (float)v;
    y[i] = (float)(y[i] - rate * m / (sqrt(v) / second_root + epsilon));
}

extern "C" int aac_cuda_adam(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    const aac_adam_step *step = args->adam;
    double first_share = 1 - pow(step->beta1, (double)step->step);
    double second_share = 1 - pow(step->beta2, (double)step->step);
    adam<<<blocks_for(desc->adam.count, ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
        (float *)args->y, (const float *)args->dy, step->first_moment, step->second_moment,
        desc->adam.count, step->beta1, step->beta2, step->rate / first_share, sqrt(second_share),
        step->epsilon);
    return cudaGetLastError();
}
