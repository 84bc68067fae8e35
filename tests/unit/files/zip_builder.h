/* Builds zip archives in memory, valid or not, for testing their readers. */
#ifndef AAC_TESTS_ZIP_BUILDER_H
#define AAC_TESTS_ZIP_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zip_builder {
    unsigned char bytes[1 << 16];
    size_t size;
    unsigned char central[1 << 14];
    size_t central_size;
    unsigned count;
} zip_builder;

/* Adds a stored entry and returns the offset of its local header. */
size_t zip_builder_add(zip_builder *zip, const char *name, const void *data, size_t size);
/* Appends the central directory and the end record. */
void zip_builder_finish(zip_builder *zip);

/* Offsets of fields inside the records, for tests that corrupt them. */
enum {
    LOCAL_FLAGS = 6,
    LOCAL_METHOD = 8,
    LOCAL_CRC = 14,
    LOCAL_SIZE = 22,
    LOCAL_NAME_LENGTH = 26,
    LOCAL_NAME = 30,
    CENTRAL_FLAGS = 8,
    CENTRAL_METHOD = 10,
    CENTRAL_CRC = 16,
    CENTRAL_STORED_SIZE = 20,
    CENTRAL_SIZE = 24,
    CENTRAL_NAME_LENGTH = 28,
    CENTRAL_EXTRA_SIZE = 30,
    CENTRAL_OFFSET = 42,
    CENTRAL_NAME = 46,
    END_SIZE = 22,
    END_DISK = 4,
    END_COUNT = 10,
    END_DIRECTORY_SIZE = 12,
    END_DIRECTORY_OFFSET = 16
};

void put_u16(unsigned char *at, unsigned value);
void put_u32(unsigned char *at, uint32_t value);

#endif
