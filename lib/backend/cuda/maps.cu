/* From bytes to patches, from patch similarities to the anomaly map, and the losses. */
#include "backend/cuda/kernels.cuh"

typedef struct pixel_scale {
    float mean[3], deviation[3];
} pixel_scale;

/* Columns in the order channel, row, column. */
template <typename T>
static __global__ void patches(const uint8_t *rgb, T *y, int size, int patch, pixel_scale scale)
{
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (int64_t)3 * size * size)
        return;
    int area = patch * patch, grid = size / patch;
    int64_t cell = at / (3 * area);
    int within = (int)(at % (3 * area)), channel = within / area;
    int64_t row = cell / grid * patch + within % area / patch;
    int64_t column = cell % grid * patch + within % patch;
    float byte = rgb[3 * (row * size + column) + channel];
    store(y + at, (byte / 255.0f - scale.mean[channel]) / scale.deviation[channel]);
}

template <typename T>
static int run_patches(const aac_op_desc *desc, const aac_op_args *args, pixel_scale scale)
{
    int size = (int)desc->patches.size;
    patches<<<blocks_for((int64_t)3 * size * size, ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
        (const uint8_t *)args->x, (T *)args->y, size, (int)desc->patches.patch, scale);
    return cudaGetLastError();
}

extern "C" int aac_cuda_patches(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    pixel_scale scale;
    for (int i = 0; i < 3; i++) {
        scale.mean[i] = desc->patches.mean[i];
        scale.deviation[i] = desc->patches.deviation[i];
    }
    return with_type(desc->patches.y,
                     [=](auto type) { return run_patches<decltype(type)>(desc, args, scale); });
}

/* One row per warp. */
static __global__ void similarity(const float *x, const float *pair, float *y, int rows,
                                  int columns, float scale)
{
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    if (row >= rows)
        return;
    float normal = 0, abnormal = 0;
    x += (int64_t)row * columns;
    for (int i = threadIdx.x % WARP; i < columns; i += WARP) {
        normal += x[i] * pair[i];
        abnormal += x[i] * pair[columns + i];
    }
    normal = warp_sum(normal);
    abnormal = warp_sum(abnormal);
    if (threadIdx.x % WARP == 0) {
        y[2 * row] = scale * normal;
        y[2 * row + 1] = scale * abnormal;
    }
}

extern "C" int aac_cuda_similarity(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    int rows = (int)desc->similarity.rows;
    similarity<<<blocks_for(rows, ROW_THREADS / WARP), ROW_THREADS, 0, STREAM>>>(
        (const float *)args->x, args->a, (float *)args->y, rows, (int)desc->similarity.columns,
        desc->similarity.scale);
    return cudaGetLastError();
}

static __device__ int reflect(int i, int count)
{
    if (i < 0)
        return -i;
    return i >= count ? 2 * (count - 1) - i : i;
}

/* (s[1] + 1 - s[0]) / 2 and the blur of both axes, for each cell of each level. */
static __global__ void blur(const float *x, float *y, int cells, int grid, int half, float sigma)
{
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= cells)
        return;
    const float *level = x + (int64_t)blockIdx.y * 2 * cells;
    float sum = 0, weights = 0;
    for (int down = -half; down <= half; down++)
        for (int across = -half; across <= half; across++) {
            int at = reflect(cell / grid + down, grid) * grid + reflect(cell % grid + across, grid);
            float weight = expf(-(float)(down * down + across * across) / (2 * sigma * sigma));
            sum += weight * ((level[2 * at + 1] + 1 - level[2 * at]) / 2);
            weights += weight;
        }
    y[(int64_t)blockIdx.y * cells + cell] = sum / weights;
}

/* Bilinear with aligned corners, summed over the levels. */
static __global__ void upsample(const float *maps, float *y, int levels, int grid, int size,
                                double step)
{
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (int64_t)size * size)
        return;
    double v = (double)(at / size) * step, u = (double)(at % size) * step;
    int top = (int)v, left = (int)u;
    int bottom = min(top + 1, grid - 1), right = min(left + 1, grid - 1);
    float down = (float)(v - top), across = (float)(u - left), sum = 0;
    for (int level = 0; level < levels; level++) {
        const float *map = maps + (int64_t)level * grid * grid;
        float above = (1 - across) * map[top * grid + left] + across * map[top * grid + right];
        float below =
            (1 - across) * map[bottom * grid + left] + across * map[bottom * grid + right];
        sum += (1 - down) * above + down * below;
    }
    y[at] = sum;
}

static double step_of(int64_t grid, int64_t size)
{
    return size > 1 ? (double)(grid - 1) / (double)(size - 1) : 0;
}

extern "C" int aac_cuda_anomaly_map(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    int grid = (int)desc->anomaly_map.grid, size = (int)desc->anomaly_map.size;
    int levels = (int)desc->anomaly_map.levels, cells = grid * grid;
    blur<<<dim3(blocks_for(cells, ROW_THREADS), (unsigned)levels), ROW_THREADS, 0, STREAM>>>(
        (const float *)args->x, (float *)scratch, cells, grid, (int)desc->anomaly_map.kernel / 2,
        desc->anomaly_map.sigma);
    upsample<<<blocks_for((int64_t)size * size, ROW_THREADS), ROW_THREADS, 0, STREAM>>>(
        (const float *)scratch, (float *)args->y, levels, grid, size, step_of(grid, size));
    return cudaGetLastError();
}

/* The sums over all pixels from which the losses are computed. */
enum { FOCAL, P0, P1, T0, T1, BOTH0, BOTH1, SUMS };

typedef struct loss_shape {
    int grid, size;
    double step;
} loss_shape;

/* Probability of "abnormal" at a pixel: bilinear with aligned corners, softmax of both channels. */
static __device__ double probability(const float *x, loss_shape shape, int row, int column)
{
    double v = row * shape.step, u = column * shape.step;
    int top = (int)v, left = (int)u, grid = shape.grid;
    int bottom = min(top + 1, grid - 1), right = min(left + 1, grid - 1);
    double down = v - top, across = u - left;
#define APART(i, j) ((double)x[2 * ((i)*grid + (j)) + 1] - (double)x[2 * ((i)*grid + (j))])
    double apart = (1 - down) * ((1 - across) * APART(top, left) + across * APART(top, right)) +
                   down * ((1 - across) * APART(bottom, left) + across * APART(bottom, right));
#undef APART
    return 1 / (1 + exp(-apart));
}

/* alpha of a normal (0) or abnormal (1) pixel, from the number of abnormal ones. */
static __device__ double alpha_of(const double *abnormal, int64_t pixels, int kind)
{
    if (!abnormal || *abnormal == 0 || *abnormal == (double)pixels)
        return 1;
    double first = 2 * *abnormal / (double)pixels;
    return kind ? 2 - first : first;
}

static __global__ void count_abnormal(const uint8_t *mask, double *count, int64_t pixels)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < pixels; i += blockDim.x)
        sum += mask[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *count = sum;
}

/* Intermediate results between the passes. */
typedef struct loss_memory {
    double *rows;     // (maps, size, SUMS)
    double *totals;   // (maps, SUMS)
    double *abnormal; // (1): pixels; NULL: not balanced
    float *slopes;    // (maps, size, size): of the pixels' scores
} loss_memory;

/* The part of the map that blockIdx.y selects. */
static __device__ loss_memory own_memory(loss_memory all, loss_shape shape)
{
    int64_t map = blockIdx.y, size = shape.size;
    return {all.rows + map * size * SUMS, all.totals + map * SUMS, all.abnormal,
            all.slopes + map * size * size};
}

static __device__ const float *own_scores(const float *x, loss_shape shape)
{
    return x + (int64_t)blockIdx.y * 2 * shape.grid * shape.grid;
}

/* One row of pixels per block. */
static __global__ void sum_row(const float *x, const uint8_t *mask, loss_memory memory,
                               loss_shape shape)
{
    double sums[SUMS] = {0};
    int row = blockIdx.x;
    int64_t pixels = (int64_t)shape.size * shape.size;
    x = own_scores(x, shape);
    memory = own_memory(memory, shape);
    for (int column = threadIdx.x; column < shape.size; column += blockDim.x) {
        int kind = mask[(int64_t)row * shape.size + column];
        double p = probability(x, shape, row, column), t = kind;
        double target = kind ? 1 - 1e-5 : 1e-5;
        double pt = target * p + (1 - target) * (1 - p) + 1e-5;
        sums[FOCAL] -= alpha_of(memory.abnormal, pixels, kind) * (1 - pt) * (1 - pt) * log(pt);
        sums[P0] += 1 - p;
        sums[P1] += p;
        sums[T0] += 1 - t;
        sums[T1] += t;
        sums[BOTH0] += (1 - p) * (1 - t);
        sums[BOTH1] += p * t;
    }
    for (int i = 0; i < SUMS; i++) {
        double sum = block_sum(sums[i]);
        if (threadIdx.x == 0)
            memory.rows[(int64_t)row * SUMS + i] = sum;
    }
}

/* One sum of one map per block. */
static __global__ void sum_rows(loss_memory memory, loss_shape shape)
{
    memory = own_memory(memory, shape);
    double sum = 0;
    for (int row = threadIdx.x; row < shape.size; row += blockDim.x)
        sum += memory.rows[(int64_t)row * SUMS + blockIdx.x];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        memory.totals[blockIdx.x] = sum;
}

/* Adds the losses of all maps, always in the same order. */
static __device__ void add_losses(const double *totals, double *losses, int maps, loss_shape shape)
{
    for (int map = 0; map < maps; map++, totals += SUMS) {
        losses[0] += totals[FOCAL] / ((double)shape.size * shape.size);
        for (int i = 0; i < 2; i++)
            losses[1 + i] +=
                1 - (2 * totals[BOTH0 + i] + 1) / (totals[P0 + i] + totals[T0 + i] + 1);
    }
}

/* The interpolation weight of cell `cell` in pixel `pixel`, along one axis. */
static __device__ double share_of(int cell, int pixel, loss_shape shape)
{
    double at = pixel * shape.step;
    int before = (int)at, after = min(before + 1, shape.grid - 1);
    double across = at - before;
    return (before == cell ? 1 - across : 0) + (after == cell ? across : 0);
}

/* One row of pixels per block: the gradient with respect to each pixel's score difference. The
 * first block also adds the losses. */
static __global__ void find_slopes(const float *x, const uint8_t *mask, loss_memory memory,
                                   loss_shape shape, double *losses)
{
    int64_t pixels = (int64_t)shape.size * shape.size, row = blockIdx.x;
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0)
        add_losses(memory.totals, losses, gridDim.y, shape);
    x = own_scores(x, shape);
    memory = own_memory(memory, shape);
    const double *totals = memory.totals;
    double above0 = 2 * totals[BOTH0] + 1, below0 = totals[P0] + totals[T0] + 1;
    double above1 = 2 * totals[BOTH1] + 1, below1 = totals[P1] + totals[T1] + 1;
    for (int column = threadIdx.x; column < shape.size; column += blockDim.x) {
        int kind = mask[row * shape.size + column];
        double p = probability(x, shape, (int)row, column), t = kind;
        double target = kind ? 1 - 1e-5 : 1e-5;
        double pt = target * p + (1 - target) * (1 - p) + 1e-5;
        double by_pt = 2 * (1 - pt) * log(pt) - (1 - pt) * (1 - pt) / pt;
        double alpha = alpha_of(memory.abnormal, pixels, kind);
        double by_p = alpha * by_pt * (2 * target - 1) / (double)pixels;
        by_p += (2 * (1 - t) * below0 - above0) / (below0 * below0); /* p[0] = 1 - p */
        by_p -= (2 * t * below1 - above1) / (below1 * below1);
        memory.slopes[row * shape.size + column] = (float)(by_p * p * (1 - p));
    }
}

/* One cell per block: gathers the pixels that the cell contributes to, always in the same order. */
static __global__ void gather_slopes(loss_memory memory, float *y, loss_shape shape, float factor)
{
    int row = blockIdx.x / shape.grid, column = blockIdx.x % shape.grid, last = shape.size - 1;
    int top = 0, left = 0, bottom = last, right = last;
    if (shape.step > 0) { /* one more on each side, against rounding */
        top = max(0, (int)((row - 1) / shape.step) - 1);
        left = max(0, (int)((column - 1) / shape.step) - 1);
        bottom = (int)min((double)last, (row + 1) / shape.step + 1);
        right = (int)min((double)last, (column + 1) / shape.step + 1);
    }
    int width = right - left + 1, count = width * (bottom - top + 1);
    double sum = 0;
    memory = own_memory(memory, shape);
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        int v = top + i / width, u = left + i % width;
        sum += share_of(row, v, shape) * share_of(column, u, shape) *
               (double)memory.slopes[(int64_t)v * shape.size + u];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        y += ((int64_t)blockIdx.y * gridDim.x + blockIdx.x) * 2;
        y[0] = (float)(-(double)factor * sum);
        y[1] = (float)((double)factor * sum);
    }
}

static loss_memory lay_out(const aac_op_desc *desc, void *scratch)
{
    int64_t maps = desc->segmentation_loss.maps, size = desc->segmentation_loss.size;
    double *rows = (double *)scratch, *totals = rows + maps * size * SUMS;
    double *abnormal = totals + maps * SUMS;
    return {rows, totals, desc->segmentation_loss.balanced ? abnormal : NULL,
            (float *)(abnormal + 1)};
}

extern "C" size_t aac_cuda_segmentation_scratch(const aac_op_desc *desc)
{
    size_t maps = (size_t)desc->segmentation_loss.maps, size = (size_t)desc->segmentation_loss.size;
    return (maps * (size + 1) * SUMS + 1) * sizeof(double) + maps * size * size * sizeof(float);
}

extern "C" int aac_cuda_segmentation_loss(const aac_op_desc *desc, const aac_op_args *args,
                                          void *scratch)
{
    int grid = (int)desc->segmentation_loss.grid, size = (int)desc->segmentation_loss.size;
    unsigned maps = (unsigned)desc->segmentation_loss.maps;
    const loss_shape shape = {grid, size, step_of(grid, size)};
    const loss_memory memory = lay_out(desc, scratch);
    const dim3 rows((unsigned)size, maps), cells((unsigned)(grid * grid), maps);
    const float *x = (const float *)args->x;
    if (memory.abnormal)
        count_abnormal<<<1, 1024, 0, STREAM>>>(args->mask, memory.abnormal, (int64_t)size * size);
    sum_row<<<rows, ROW_THREADS, 0, STREAM>>>(x, args->mask, memory, shape);
    sum_rows<<<dim3(SUMS, maps), ROW_THREADS, 0, STREAM>>>(memory, shape);
    find_slopes<<<rows, ROW_THREADS, 0, STREAM>>>(x, args->mask, memory, shape, args->losses);
    gather_slopes<<<cells, ROW_THREADS, 0, STREAM>>>(memory, (float *)args->y, shape, args->factor);
    return cudaGetLastError();
}

/* A single block visits the rows in turn, so that losses are added in order. */
static __global__ void classification_loss(const float *x, const float *pairs,
                                           const int32_t *labels, float *y, double *losses,
                                           int rows, int columns, float factor)
{
    double sum = 0;
    for (int row = 0; row < rows; row++, x += columns, pairs += 2 * columns) {
        const int label = labels[row];
        double apart = 0;
        for (int i = threadIdx.x; label >= 0 && i < columns; i += blockDim.x)
            apart += (double)x[i] * ((double)pairs[i] - (double)pairs[columns + i]);
        apart = block_sum(apart);
        double wrong_minus_right = label ? apart : -apart;
        double wrong = 1 / (1 + exp(-wrong_minus_right)); /* probability of the other label */
        double towards = (double)factor * (label ? wrong : -wrong);
        for (int i = threadIdx.x; y && i < columns; i += blockDim.x)
            y[(int64_t)row * columns + i] =
                label < 0 ? 0 : (float)(towards * ((double)pairs[i] - (double)pairs[columns + i]));
        if (label >= 0)
            sum += log1p(exp(-fabs(wrong_minus_right))) +
                   (wrong_minus_right > 0 ? wrong_minus_right : 0);
    }
    if (threadIdx.x == 0)
        losses[0] += sum;
}

extern "C" int aac_cuda_classification_loss(const aac_op_desc *desc, const aac_op_args *args,
                                            void *scratch)
{
    (void)scratch;
    classification_loss<<<1, ROW_THREADS, 0, STREAM>>>(
        (const float *)args->x, args->a, args->index, (float *)args->y, args->losses,
        (int)desc->classification_loss.rows, (int)desc->classification_loss.columns, args->factor);
    return cudaGetLastError();
}
