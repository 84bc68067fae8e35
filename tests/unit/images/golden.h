/* What the image tests share: golden files, checksums, made-up pixels, an allocator that fails. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The bytes of a golden file, freed with free; fails the test when there is none. */
uint8_t *golden_bytes(const char *name, size_t *size);
FILE *golden_open(const char *name);
uint32_t golden_crc(const void *bytes, size_t size);

/* The same bytes as noise() of tests/reference/make_image_goldens.py. */
void fill_noise(uint8_t *bytes, size_t count, uint32_t seed);

/* Lets `count` allocations of the library pass and refuses the rest. */
void fail_allocations_after(long count);
/* Back to malloc; returns whether an allocation was refused. */
int stop_failing_allocations(void);

#endif
