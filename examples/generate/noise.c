#include "noise.h"

#include "numbers.h"

uint32_t noise_hash(uint32_t seed, int x, int y)
{
    uint32_t hash = seed + (uint32_t)x * 0x9e3779b1u + (uint32_t)y * 0x85ebca77u;
    hash = (hash ^ (hash >> 15)) * 0x2c1b3c6du;
    hash = (hash ^ (hash >> 12)) * 0x297a2d39u;
    return hash ^ (hash >> 15);
}

float noise_cell(uint32_t seed, int x, int y)
{
    return (float)(noise_hash(seed, x, y) >> 8) * 0x1p-24f;
}

static float slope(uint32_t hash, float x, float y)
{
    float slope_x = (float)(hash & 0xffff) * 0x1p-15f - 1;
    float slope_y = (float)(hash >> 16) * 0x1p-15f - 1;
    return slope_x * x + slope_y * y;
}

float noise_smooth(uint32_t seed, float x, float y)
{
    int column = floor_of(x), row = floor_of(y);
    float u = x - (float)column, v = y - (float)row;
    float across = u * u * (3 - 2 * u), down = v * v * (3 - 2 * v);
    float above = mix(slope(noise_hash(seed, column, row), u, v),
                      slope(noise_hash(seed, column + 1, row), u - 1, v), across);
    float below = mix(slope(noise_hash(seed, column, row + 1), u, v - 1),
                      slope(noise_hash(seed, column + 1, row + 1), u - 1, v - 1), across);
    return 1.5f * mix(above, below, down);
}

float noise_fractal(uint32_t seed, float x, float y, float finest, int octaves)
{
    float sum = 0, strength = 1;
    for (int i = 0; i < octaves && finest < 0.7f; i++) {
        sum += strength * noise_smooth(seed + (uint32_t)i, x, y);
        x = 2 * x + 0.37f;
        y = 2 * y + 0.71f;
        finest *= 2;
        strength *= 0.5f;
    }
    return sum;
}

noise_points noise_scatter(uint32_t seed, float x, float y)
{
    int column = floor_of(x), row = floor_of(y);
    noise_points points = {.nearest = 100, .second = 100};
    for (int j = row - 1; j <= row + 1; j++)
        for (int i = column - 1; i <= column + 1; i++) {
            uint32_t hash = noise_hash(seed, i, j);
            float from_x = x - (float)i - (float)(hash & 0xffff) * 0x1p-16f;
            float from_y = y - (float)j - (float)(hash >> 16) * 0x1p-16f;
            float distance = from_x * from_x + from_y * from_y;
            if (distance < points.nearest)
                points = (noise_points){distance, points.nearest, from_x, from_y, hash};
            else if (distance < points.second)
                points.second = distance;
        }
    points.nearest = sqrtf(points.nearest);
    points.second = sqrtf(points.second);
    return points;
}
