/* Replaces lib/backend/cuda/ptx.cuh: does what its instructions do, lane by lane. */
#ifndef TEST_EMULATED_PTX_CUH
#define TEST_EMULATED_PTX_CUH

#include "backend/cuda/kernels.cuh"

static inline void copy_16(unsigned to, const void *from, int bytes)
{
    emulated::copy_later(to, from, 16, bytes);
}

static inline void copy_8(unsigned to, const void *from, int bytes)
{
    emulated::copy_later(to, from, 8, bytes);
}

static inline void end_group()
{
    emulated::end_copy_group();
}

template <int LEFT> static inline void wait_for_own_groups()
{
    emulated::finish_copies(LEFT);
}

static inline void load_four(float values[4], unsigned from)
{
    memcpy(values, emulated::at_address(from), 4 * sizeof *values);
}

static inline unsigned element(unsigned row_address, int column)
{
    return static_cast<const uint16_t *>(emulated::at_address(row_address))[column];
}

static inline void load_matrices(unsigned fragment[4], unsigned from)
{
    int lane = emulated::own_lane;
    emulated::meet_warp("ldmatrix", &from, sizeof from);
    for (int i = 0; i < 4; i++) {
        unsigned row = emulated::of_lane<unsigned>(8 * i + lane / 4);
        fragment[i] = element(row, 2 * (lane % 4)) | element(row, 2 * (lane % 4) + 1) << 16;
    }
}

static inline void load_transposed(unsigned fragment[4], unsigned from)
{
    int lane = emulated::own_lane;
    emulated::meet_warp("ldmatrix.trans", &from, sizeof from);
    for (int i = 0; i < 4; i++) {
        unsigned first = emulated::of_lane<unsigned>(8 * i + 2 * (lane % 4));
        unsigned second = emulated::of_lane<unsigned>(8 * i + 2 * (lane % 4) + 1);
        fragment[i] = element(first, lane / 4) | element(second, lane / 4) << 16;
    }
}

template <typename T> static inline float number(unsigned bits)
{
    const uint16_t own = (uint16_t)bits;
    T value;
    memcpy(&value, &own, sizeof value);
    return load(&value);
}

template <typename T> static inline float half_of(unsigned pair, int which)
{
    return number<T>(which ? pair >> 16 : pair);
}

struct alignas(emulated::slot) product_operands {
    unsigned left[4], right[2];
};

/* left (16, 16): a lane has columns 2 (lane % 4), + 1 of rows lane / 4, + 8; then 8 columns
 * further. right (16, 8): rows 2 (lane % 4), + 1 of column lane / 4; then 8 rows further. */
template <typename T>
static inline void multiply(float sums[4], const unsigned left[4], unsigned right0, unsigned right1)
{
    int lane = emulated::own_lane;
    const product_operands own = {{left[0], left[1], left[2], left[3]}, {right0, right1}};
    emulated::meet_warp("mma.m16n8k16", &own, sizeof own);
    for (int i = 0; i < 4; i++) {
        const auto *by_row = &emulated::of_lane<product_operands>(lane / 4 * 4);
        const auto *by_column = &emulated::of_lane<product_operands>((2 * (lane % 4) + i % 2) * 4);
        for (int pair = 0; pair < 8; pair++) {
            unsigned a = by_row[pair % 4].left[i / 2 + pair / 4 * 2];
            unsigned b = by_column[pair % 4].right[pair / 4];
            sums[i] += half_of<T>(a, 0) * half_of<T>(b, 0);
            sums[i] += half_of<T>(a, 1) * half_of<T>(b, 1);
        }
    }
}

static inline float power_of_two(float x)
{
    float y = exp2f(x);
    return y < 1.17549435e-38f ? 0 : y;
}

#endif
