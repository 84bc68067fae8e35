#include "camera.h"

#include <string.h>

#include "noise.h"
#include "numbers.h"

enum { TONES = 4096 };

static const struct {
    const char *words;
    float exposure, red, blue;
} lights[] = {
    {"neutral light", 1, 1, 1},
    {"warm light", 1, 1.16f, 0.80f},
    {"cool light", 1, 0.88f, 1.14f},
    {"dim light", 0.55f, 1, 1},
    {"bright light", 1.2f, 1, 1},
    {"soft daylight", 1.05f, 0.96f, 1.04f},
    {"warm lamp light", 0.8f, 1.2f, 0.74f},
};

camera_setting camera_draw(chance *stream)
{
    unsigned kind = chance_below(stream, sizeof lights / sizeof *lights);
    float exposure = lights[kind].exposure * chance_between(stream, 0.93f, 1.07f);
    camera_setting drawn = {.light = lights[kind].words};
    drawn.blur = chance_between(stream, 0.06f, 0.2f);
    drawn.vignette = chance_between(stream, 0.03f, 0.16f);
    drawn.gain[0] = exposure * lights[kind].red * chance_between(stream, 0.98f, 1.02f);
    drawn.gain[1] = exposure;
    drawn.gain[2] = exposure * lights[kind].blue * chance_between(stream, 0.98f, 1.02f);
    drawn.read_noise = chance_between(stream, 0.0015f, 0.004f);
    drawn.shot_noise = chance_between(stream, 0.0001f, 0.0004f);
    drawn.seed = (uint32_t)chance_bits(stream);
    return drawn;
}

/* From linear light: sRGB's curve, with a soft shoulder towards white. */
static void make_tones(uint8_t *tones)
{
    for (int i = 0; i < TONES; i++) {
        float value = 1.6f * ((float)i + 0.5f) / TONES;
        value = value < 0.7f ? value : 0.7f + 0.3f * (1 - exponential2((0.7f - value) * 4.8f));
        value = value < 0.0031308f ? 12.92f * value : 1.055f * power(value, 1 / 2.4f) - 0.055f;
        tones[i] = (uint8_t)(clamp(value, 0, 1) * 255 + 0.5f);
    }
}

/* The lens's blur of a point over its neighbours; wider where pixels are smaller. */
static void blur_lens(float *plane, float *scratch, unsigned side, float share)
{
    const unsigned times = side < 384 ? 1 : side / 192;
    const unsigned last = side - 1;
    for (unsigned pass = 0; pass < 2 * times; pass++) {
        for (unsigned y = 0; y < side; y++) {
            const float *row = plane + (size_t)y * side;
            for (unsigned x = 0; x < side; x++)
                scratch[(size_t)x * side + y] =
                    row[x] * (1 - 2 * share) +
                    share * (row[x ? x - 1 : 0] + row[x < last ? x + 1 : last]);
        }
        memcpy(plane, scratch, (size_t)side * side * sizeof *plane);
    }
}

/* Roughly normal: the sum of four bytes, with a standard deviation of 1. */
static float gaussian(uint32_t seed, int place, int channel)
{
    uint32_t bits = noise_hash(seed, place, channel);
    uint32_t sum = (bits & 0xff) + (bits >> 8 & 0xff) + (bits >> 16 & 0xff) + (bits >> 24);
    return ((float)sum - 510) * (1 / 147.8f);
}

static void expose_channel(uint8_t *rgb, const float *plane, unsigned side,
                           const camera_setting *camera, int channel, const uint8_t *tones)
{
    const float step = 2 / (float)side;
    for (unsigned y = 0; y < side; y++)
        for (unsigned x = 0; x < side; x++) {
            size_t i = (size_t)y * side + x;
            float from_centre = square((float)x * step - 1) + square((float)y * step - 1);
            float value = plane[i] * camera->gain[channel] * (1 - camera->vignette * from_centre);
            value = value > 0 ? value : 0;
            float spread = sqrtf(square(camera->read_noise) + camera->shot_noise * value);
            value += spread * gaussian(camera->seed, (int)i, channel);
            rgb[3 * i + (size_t)channel] = tones[(int)clamp(value * (TONES / 1.6f), 0, TONES - 1)];
        }
}

void camera_expose(uint8_t *rgb, float *light, float *scratch, unsigned side,
                   const camera_setting *camera)
{
    const size_t count = (size_t)side * side;
    uint8_t tones[TONES];
    make_tones(tones);
    for (int channel = 0; channel < 3; channel++) {
        blur_lens(light + (size_t)channel * count, scratch, side, camera->blur);
        expose_channel(rgb, light + (size_t)channel * count, side, camera, channel, tones);
    }
}
