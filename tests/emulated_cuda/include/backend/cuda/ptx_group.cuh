/* Replaces lib/backend/cuda/ptx_group.cuh: each lane computes its part from shared memory. */
#ifndef TEST_EMULATED_PTX_GROUP_CUH
#define TEST_EMULATED_PTX_GROUP_CUH

#include "backend/cuda/tiles.cuh"

static inline void begin_products()
{
}

static inline void end_products()
{
}

static inline void hold(float[COLUMNS][4])
{
}

static inline void hold(unsigned[STEPS][4])
{
}

static inline void wait_for_own_copies()
{
    emulated::finish_copies(-1);
}

/* Value `column` of a 128-byte row at the start address of a descriptor; 16-byte pieces are
 * swizzled by bits 7 to 9 of their address. */
template <typename T> static inline float described(uint64_t description, int row, int column)
{
    unsigned address = (unsigned)(description & 0x3fff) << 4;
    address += (unsigned)(row * 128 + column * 2);
    return number<T>(element(address ^ (address >> 7 & 7) << 4, 0));
}

template <typename T>
static inline void multiply_group(float sums[COLUMNS][4], uint64_t left, uint64_t right,
                                  int accumulate)
{
    int lane = emulated::own_lane, warp = (int)threadIdx.x / WARP;
    emulated::meet_warp("wgmma", nullptr, 0);
    for (int column = 0; column < COLUMNS; column++)
        for (int i = 0; i < 4; i++) {
            int row = 16 * warp + lane / 4 + i / 2 * 8, other = 8 * column + 2 * (lane % 4) + i % 2;
            float sum = accumulate ? sums[column][i] : 0;
            for (int k = 0; k < 16; k++)
                sum += described<T>(left, row, k) * described<T>(right, other, k);
            sums[column][i] = sum;
        }
}

template <typename T>
static inline void multiply_group_down(float sums[COLUMNS][4], const unsigned left[4],
                                       uint64_t right)
{
    int lane = emulated::own_lane;
    emulated::meet_warp("wgmma, left in registers", left, 4 * sizeof *left);
    struct fragment {
        unsigned pairs[4];
    };
    for (int k = 0; k < 16; k++) {
        const auto &from = emulated::of_lane<fragment>(lane / 4 * 4 + k % 8 / 2);
        for (int column = 0; column < COLUMNS; column++)
            for (int i = 0; i < 4; i++)
                sums[column][i] += half_of<T>(from.pairs[i / 2 + k / 8 * 2], k % 2) *
                                   described<T>(right, k, 8 * column + 2 * (lane % 4) + i % 2);
    }
}

#endif
