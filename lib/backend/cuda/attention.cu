/*
 * Attention and its gradient for all cases that flash_*.cu and group_*.cu do not take. A warp has a
 * query row (backward also: a key row) of one head and visits the rows that it sees (that see it)
 * 32 at a time, with the running maximum and sum of its softmax: the scores are never stored. Plain
 * float32 arithmetic, any head size up to AAC_CUDA_LARGEST_HEAD.
 */
#include "backend/cuda/heads.cuh"

#define WARPS 4
#define PARTS (AAC_CUDA_LARGEST_HEAD / WARP) /* values of a head per lane, at most */

template <typename T> static __device__ float dot(const float *a, const T *b, int size)
{
    float sum = 0;
    for (int i = 0; i < size; i++)
        sum += a[i] * load(b + i);
    return sum;
}

template <typename T> static __device__ void stage(float *to, const T *from, int size)
{
    for (int i = threadIdx.x % WARP; i < size; i += WARP)
        to[i] = load(from + i);
    __syncwarp();
}

/* Which rows belong together: sequences, or all rows of a tree. */
typedef struct row_groups {
    const int32_t *offsets, *parents; /* parents: for a tree, else NULL */
    int rows;                         /* of a tree */
} row_groups;

/* Where the warp's row is; false when the sequence is shorter. */
static __device__ bool find_row(const row_groups &groups, int *first, int *end, int *row)
{
    *first = groups.parents ? 0 : groups.offsets[blockIdx.z];
    *end = groups.parents ? groups.rows : groups.offsets[blockIdx.z + 1];
    *row = *first + (int)(blockIdx.x * WARPS + threadIdx.x / WARP);
    return *row < *end;
}

/* The keys that a query row sees: a range, or with parents the path from the row to its root. */
typedef struct key_walk {
    const int32_t *parents;
    int at, end;
} key_walk;

static __device__ key_walk keys_of(const row_groups &groups, const head_shape &shape, int first,
                                   int end, int row)
{
    key_walk walk = {groups.parents, groups.parents ? row : first, shape.causal ? row + 1 : end};
    return walk;
}

/* The next keys, one per lane, -1 for none. Returns their number, the same in all lanes. */
static __device__ int take_keys(key_walk *walk, int lane, int *key)
{
    int count = 0;
    *key = -1;
    if (!walk->parents) {
        count = min(WARP, walk->end - walk->at);
        if (lane < count)
            *key = walk->at + lane;
        walk->at += WARP;
        return count;
    }
    for (; count < WARP && walk->at >= 0; count++) {
        if (lane == count)
            *key = walk->at;
        walk->at = walk->parents[walk->at];
    }
    return count;
}

template <typename T>
static __global__ void attend(const T *x, T *y, row_groups groups, head_shape shape)
{
    __shared__ float queries[WARPS][AAC_CUDA_LARGEST_HEAD];
    int first, end, row, key, lane = threadIdx.x % WARP, head = blockIdx.y;
    if (!find_row(groups, &first, &end, &row))
        return;
    float *query = queries[threadIdx.x / WARP], sums[PARTS] = {0}, largest = -INFINITY, total = 0;
    x += head * shape.size;
    stage(query, x + (int64_t)row * shape.stride, shape.size);
    key_walk walk = keys_of(groups, shape, first, end, row);
    for (int count; (count = take_keys(&walk, lane, &key)) > 0;) {
        float score = -INFINITY;
        if (key >= 0)
            score = shape.scale * dot(query, x + (int64_t)key * shape.stride + shape.k, shape.size);
        float highest = fmaxf(largest, warp_max(score));
        float kept = expf(largest - highest), weight = expf(score - highest);
        largest = highest;
        total = total * kept + warp_sum(weight);
#pragma unroll
        for (int part = 0; part < PARTS; part++)
            sums[part] *= kept;
        for (int i = 0; i < count; i++) {
            float share = __shfl_sync(ALL_LANES, weight, i);
            const T *value = x + (int64_t)__shfl_sync(ALL_LANES, key, i) * shape.stride + shape.v;
#pragma unroll
            for (int part = 0; part < PARTS; part++)
                if (part * WARP + lane < shape.size)
                    sums[part] += share * load(value + part * WARP + lane);
        }
    }
    y += ((int64_t)row * shape.heads + head) * shape.size;
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        if (part * WARP + lane < shape.size)
            store(y + part * WARP + lane, sums[part] / total);
}

static bool is_tree(const aac_op_desc *desc)
{
    return desc->attention.kind == AAC_ATTENTION_TREE;
}

/* Whether flash_*.cu take it. */
static bool is_flash(const aac_op_desc *desc)
{
    return desc->attention.head_size == 64 && !is_tree(desc);
}

/* Whether group_*.cu take it, on the devices that they are compiled for; backward only with the
 * sums. */
static bool is_group(const aac_op_desc *desc)
{
    return is_flash(desc) && desc->attention.type != AAC_F32 &&
           desc->attention.kind != AAC_ATTENTION_CAUSAL && aac_cuda_has_groups();
}

extern "C" bool aac_cuda_keeps_sums(const aac_op_desc *desc)
{
    return is_group(desc);
}

static row_groups groups_of(const aac_op_desc *desc, const aac_op_args *args)
{
    bool tree = is_tree(desc);
    row_groups groups = {tree ? NULL : args->offsets, tree ? args->parents : NULL,
                         tree ? (int)desc->attention.rows : 0};
    return groups;
}

/* A warp for each row of the longest group, head and group. */
static dim3 grid_of(const aac_op_desc *desc, const aac_op_args *args)
{
    bool tree = is_tree(desc);
    return dim3(blocks_for(tree ? desc->attention.rows : desc->attention.longest, WARPS),
                (unsigned)desc->attention.heads, tree ? 1u : (unsigned)args->sequences);
}

template <typename T> static int run_forward(const aac_op_desc *desc, const aac_op_args *args)
{
    attend<<<grid_of(desc, args), WARPS * WARP, 0, STREAM>>>((const T *)args->x, (T *)args->y,
                                                             groups_of(desc, args), shape_of(desc));
    return cudaGetLastError();
}

extern "C" int aac_cuda_attention(const aac_op_desc *desc, const aac_op_args *args, void *scratch)
{
    (void)scratch;
    if (is_group(desc))
        return aac_cuda_group_attention(desc, args);
    if (is_flash(desc))
        return desc->attention.type == AAC_F32 ? aac_cuda_flash_attention_f32(desc, args)
                                               : aac_cuda_flash_attention(desc, args);
    return with_type(desc->attention.type,
                     [=](auto type) { return run_forward<decltype(type)>(desc, args); });
}

/* dq, and the state that the key rows need. */
template <typename T>
static __global__ void query_gradient(const T *x, const T *out, const T *dy, T *y,
                                      row_groups groups, head_shape shape, row_state *states)
{
    __shared__ float staged[2][WARPS][AAC_CUDA_LARGEST_HEAD];
    int first, end, row, key, count;
    int lane = threadIdx.x % WARP, head = blockIdx.y, warp = threadIdx.x / WARP;
    if (!find_row(groups, &first, &end, &row))
        return;
    float *query = staged[0][warp], *gradient = staged[1][warp], sums[PARTS] = {0};
    int64_t at = ((int64_t)row * shape.heads + head) * shape.size;
    x += head * shape.size;
    stage(query, x + (int64_t)row * shape.stride, shape.size);
    stage(gradient, dy + at, shape.size);
    float largest = -INFINITY, total = 0, along = 0;
    for (int i = lane; i < shape.size; i += WARP)
        along += gradient[i] * load(out + at + i);
    along = warp_sum(along);
    key_walk walk = keys_of(groups, shape, first, end, row);
    while (take_keys(&walk, lane, &key) > 0) {
        float score = -INFINITY;
        if (key >= 0)
            score = shape.scale * dot(query, x + (int64_t)key * shape.stride + shape.k, shape.size);
        float highest = fmaxf(largest, warp_max(score));
        total = total * expf(largest - highest) + warp_sum(expf(score - highest));
        largest = highest;
    }
    float log_sum = largest + logf(total);
    walk = keys_of(groups, shape, first, end, row);
    while ((count = take_keys(&walk, lane, &key)) > 0) {
        float slope = 0;
        if (key >= 0) {
            const T *other = x + (int64_t)key * shape.stride;
            float weight = expf(shape.scale * dot(query, other + shape.k, shape.size) - log_sum);
            slope = weight * (dot(gradient, other + shape.v, shape.size) - along) * shape.scale;
        }
        for (int i = 0; i < count; i++) {
            float share = __shfl_sync(ALL_LANES, slope, i);
            const T *from = x + (int64_t)__shfl_sync(ALL_LANES, key, i) * shape.stride + shape.k;
#pragma unroll
            for (int part = 0; part < PARTS; part++)
                if (part * WARP + lane < shape.size)
                    sums[part] += share * load(from + part * WARP + lane);
        }
    }
    y += (int64_t)row * shape.stride + head * shape.size;
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        if (part * WARP + lane < shape.size)
            store(y + part * WARP + lane, sums[part]);
    if (lane == 0) {
        row_state state = {log_sum, along};
        states[head * shape.rows + row] = state;
    }
}

/* Whether `query`, at or after `row`, sees it; in a causal or a full sequence it always does. */
static __device__ bool sees(const row_groups &groups, int query, int row)
{
    if (!groups.parents)
        return true;
    while (query > row) /* a parent precedes its children */
        query = groups.parents[query];
    return query == row;
}

/* dk and dv */
template <typename T>
static __global__ void key_gradient(const T *x, const T *dy, T *y, row_groups groups,
                                    head_shape shape, row_state *states)
{
    __shared__ float staged[2][WARPS][AAC_CUDA_LARGEST_HEAD];
    int first, end, row, lane = threadIdx.x % WARP, head = blockIdx.y, warp = threadIdx.x / WARP;
    if (!find_row(groups, &first, &end, &row))
        return;
    float *key = staged[0][warp], *value = staged[1][warp], dk[PARTS] = {0}, dv[PARTS] = {0};
    int width = shape.heads * shape.size;
    const row_state *own = states + head * shape.rows;
    x += head * shape.size;
    dy += head * shape.size;
    stage(key, x + (int64_t)row * shape.stride + shape.k, shape.size);
    stage(value, x + (int64_t)row * shape.stride + shape.v, shape.size);
    for (int tile = shape.causal || groups.parents ? row : first; tile < end; tile += WARP) {
        float weight = 0, slope = 0;
        int query = tile + lane;
        bool seen = query < end && sees(groups, query, row);
        if (seen) {
            row_state state = own[query];
            float score = shape.scale * dot(key, x + (int64_t)query * shape.stride, shape.size);
            weight = expf(score - state.log_sum);
            slope = weight * shape.scale *
                    (dot(value, dy + (int64_t)query * width, shape.size) - state.along);
        }
        unsigned by = __ballot_sync(ALL_LANES, seen);
        for (int i = 0; i < WARP; i++) {
            if (!(by >> i & 1))
                continue;
            float to_value = __shfl_sync(ALL_LANES, weight, i);
            float to_key = __shfl_sync(ALL_LANES, slope, i);
            const T *q = x + (int64_t)(tile + i) * shape.stride;
            const T *g = dy + (int64_t)(tile + i) * width;
#pragma unroll
            for (int part = 0; part < PARTS; part++)
                if (part * WARP + lane < shape.size) {
                    dk[part] += to_key * load(q + part * WARP + lane);
                    dv[part] += to_value * load(g + part * WARP + lane);
                }
        }
    }
    y += (int64_t)row * shape.stride + head * shape.size;
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        if (part * WARP + lane < shape.size) {
            store(y + shape.k + part * WARP + lane, dk[part]);
            store(y + shape.v + part * WARP + lane, dv[part]);
        }
}

template <typename T>
static int run_backward(const aac_op_desc *desc, const aac_op_args *args, row_state *states)
{
    row_groups groups = groups_of(desc, args);
    query_gradient<<<grid_of(desc, args), WARPS * WARP, 0, STREAM>>>(
        (const T *)args->x, (const T *)args->out, (const T *)args->dy, (T *)args->y, groups,
        shape_of(desc), states);
    key_gradient<<<grid_of(desc, args), WARPS * WARP, 0, STREAM>>>(
        (const T *)args->x, (const T *)args->dy, (T *)args->y, groups, shape_of(desc), states);
    return cudaGetLastError();
}

extern "C" size_t aac_cuda_attention_backward_scratch(const aac_op_desc *desc)
{
    return (size_t)(desc->attention.heads * desc->attention.rows) * sizeof(row_state);
}

extern "C" int aac_cuda_attention_backward(const aac_op_desc *desc, const aac_op_args *args,
                                           void *scratch)
{
    row_state *states = (row_state *)scratch;
    if (args->sums && is_group(desc))
        return aac_cuda_group_attention_backward(desc, args, states);
    if (is_flash(desc))
        return desc->attention.type == AAC_BF16
                   ? aac_cuda_flash_attention_backward(desc, args, states)
                   : aac_cuda_flash_attention_f32_backward(desc, args, states);
    return desc->attention.type == AAC_BF16 ? run_backward<bf16>(desc, args, states)
                                            : run_backward<float>(desc, args, states);
}
