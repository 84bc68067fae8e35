/* What the image tests share: golden files, checksums, synthetic pixels, a failing allocator. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The bytes of a golden file, to be freed with free; fails the test if there is none. */
uint8_t *golden_bytes(const char *name, size_t *size);
FILE *golden_open(const char *name);
uint32_t golden_crc(const void *bytes, size_t size);

/* The same bytes as noise() of tests/reference/make_image_goldens.py. */
void fill_noise(uint8_t *bytes, size_t count, uint32_t seed);

/* Lets `count` allocations of the library succeed and fails the rest. */
void fail_allocations_after(long count);
/* Back to malloc; returns whether an allocation failed. */
int stop_failing_allocations(void);

#endif
