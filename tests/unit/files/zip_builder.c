#include "zip_builder.h"

#include <string.h>
#include <zlib.h>

void put_u16(unsigned char *at, unsigned value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
}

void put_u32(unsigned char *at, uint32_t value)
{
    put_u16(at, value & 0xffff);
    put_u16(at + 2, value >> 16);
}

size_t zip_builder_add(zip_builder *zip, const char *name, const void *data, size_t size)
{
    size_t offset = zip->size, name_length = strlen(name);
    uint32_t crc = (uint32_t)crc32(0, data, (unsigned)size);
    unsigned char *local = zip->bytes + zip->size;
    memset(local, 0, LOCAL_NAME);
    memcpy(local, "PK\3\4", 4);
    put_u32(local + LOCAL_CRC, crc);
    put_u32(local + LOCAL_SIZE - 4, (uint32_t)size);
    put_u32(local + LOCAL_SIZE, (uint32_t)size);
    put_u16(local + LOCAL_NAME_LENGTH, (unsigned)name_length);
    memcpy(local + LOCAL_NAME, name, name_length);
    if (size)
        memcpy(local + LOCAL_NAME + name_length, data, size);
    zip->size += LOCAL_NAME + name_length + size;
    unsigned char *central = zip->central + zip->central_size;
    memset(central, 0, CENTRAL_NAME);
    memcpy(central, "PK\1\2", 4);
    put_u32(central + CENTRAL_CRC, crc);
    put_u32(central + CENTRAL_STORED_SIZE, (uint32_t)size);
    put_u32(central + CENTRAL_SIZE, (uint32_t)size);
    put_u16(central + CENTRAL_NAME_LENGTH, (unsigned)name_length);
    put_u32(central + CENTRAL_OFFSET, (uint32_t)offset);
    memcpy(central + CENTRAL_NAME, name, name_length);
    zip->central_size += CENTRAL_NAME + name_length;
    zip->count++;
    return offset;
}

void zip_builder_finish(zip_builder *zip)
{
    uint32_t offset = (uint32_t)zip->size;
    memcpy(zip->bytes + zip->size, zip->central, zip->central_size);
    zip->size += zip->central_size;
    unsigned char *end = zip->bytes + zip->size;
    memset(end, 0, END_SIZE);
    memcpy(end, "PK\5\6", 4);
    put_u16(end + END_COUNT - 2, zip->count);
    put_u16(end + END_COUNT, zip->count);
    put_u32(end + END_DIRECTORY_SIZE, (uint32_t)zip->central_size);
    put_u32(end + END_DIRECTORY_OFFSET, offset);
    zip->size += END_SIZE;
}
