#include "files/zip_writer.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/arena.h"
#include "files/bytes.h"
#include "files/zip_layout.h"

#define VERSION_ZIP64 45
#define FIRST_DATE    0x21 /* 1 January 1980: equal contents give equal files */
#define EXTRA_PADDING 0x4246
#define FIELD_HEADER  4 /* id and length of an extra field */
#define LARGEST_WIDE  (FIELD_HEADER + 3 * 8)

struct written {
    const char *name;
    uint64_t size, offset; /* of the local header */
    uint32_t crc;
};

struct aac_zip_writer {
    aac_writer *file;
    uint64_t position;
    struct written *entries;
    size_t count, capacity;
    aac_arena names;
};

aaclip_status aac_zip_writer_open(aac_zip_writer **out, const char *path)
{
    *out = NULL;
    aac_zip_writer *writer = aac_calloc(1, sizeof *writer);
    if (!writer)
        return aac_error_memory();
    aaclip_status status = aac_writer_open(&writer->file, path);
    if (status)
        aac_zip_writer_discard(&writer);
    *out = writer;
    return status;
}

static aaclip_status put(aac_zip_writer *writer, const void *bytes, size_t size)
{
    writer->position += size;
    return aac_writer_write(writer->file, bytes, size);
}

static uint32_t saturate(uint64_t value)
{
    return value < SATURATED_32 ? (uint32_t)value : SATURATED_32;
}

/* The zip64 field of the values that do not fit in 32 bits; returns its length, 0 if all fit. */
static size_t make_wide(unsigned char *field, const uint64_t *values, size_t count)
{
    size_t length = FIELD_HEADER;
    for (size_t i = 0; i < count; i++) {
        if (values[i] < SATURATED_32)
            continue;
        aac_write_u64(field + length, values[i]);
        length += 8;
    }
    if (length == FIELD_HEADER)
        return 0;
    aac_write_u16(field, EXTRA_ZIP64);
    aac_write_u16(field + 2, (uint16_t)(length - FIELD_HEADER));
    return length;
}

/* The local header, with a padding field that aligns the data. */
static aaclip_status put_local(aac_zip_writer *writer, const struct written *entry)
{
    unsigned char header[LOCAL_SIZE] = {0};
    unsigned char extra[LARGEST_WIDE + FIELD_HEADER + AAC_ZIP_ALIGNMENT] = {0};
    const uint64_t sizes[] = {entry->size, entry->size};
    size_t name_length = strlen(entry->name), used = make_wide(extra, sizes, 2) + FIELD_HEADER;
    uint64_t begin = writer->position + LOCAL_SIZE + name_length + used;
    size_t padding = (size_t)(-begin % AAC_ZIP_ALIGNMENT);
    aac_write_u16(extra + used - FIELD_HEADER, EXTRA_PADDING);
    aac_write_u16(extra + used - FIELD_HEADER + 2, (uint16_t)padding);
    aac_write_u32(header, LOCAL_SIGNATURE);
    aac_write_u16(header + 4, VERSION_ZIP64);
    aac_write_u16(header + 8, METHOD_STORED);
    aac_write_u16(header + 12, FIRST_DATE);
    aac_write_u32(header + 14, entry->crc);
    aac_write_u32(header + 18, saturate(entry->size));
    aac_write_u32(header + 22, saturate(entry->size));
    aac_write_u16(header + 26, (uint16_t)name_length);
    aac_write_u16(header + 28, (uint16_t)(used + padding));
    aaclip_status status = put(writer, header, sizeof header);
    if (!status)
        status = put(writer, entry->name, name_length);
    return status ? status : put(writer, extra, used + padding);
}

static aaclip_status put_central(aac_zip_writer *writer, const struct written *entry)
{
    unsigned char header[CENTRAL_SIZE] = {0}, extra[LARGEST_WIDE] = {0};
    const uint64_t values[] = {entry->size, entry->size, entry->offset};
    size_t name_length = strlen(entry->name), extra_length = make_wide(extra, values, 3);
    aac_write_u32(header, CENTRAL_SIGNATURE);
    aac_write_u16(header + 4, VERSION_ZIP64);
    aac_write_u16(header + 6, VERSION_ZIP64);
    aac_write_u16(header + 10, METHOD_STORED);
    aac_write_u16(header + 14, FIRST_DATE);
    aac_write_u32(header + 16, entry->crc);
    aac_write_u32(header + 20, saturate(entry->size));
    aac_write_u32(header + 24, saturate(entry->size));
    aac_write_u16(header + 28, (uint16_t)name_length);
    aac_write_u16(header + 30, (uint16_t)extra_length);
    aac_write_u32(header + 42, saturate(entry->offset));
    aaclip_status status = put(writer, header, sizeof header);
    if (!status)
        status = put(writer, entry->name, name_length);
    return status ? status : put(writer, extra, extra_length);
}

/* The zip64 end record and, directly after it, the locator that points to it. */
static aaclip_status put_end64(aac_zip_writer *writer, uint64_t directory)
{
    unsigned char record[END64_SIZE + END64_LOCATOR_SIZE] = {0};
    unsigned char *locator = record + END64_SIZE;
    aac_write_u32(record, END64_SIGNATURE);
    aac_write_u64(record + 4, END64_SIZE - 12); /* bytes after this field */
    aac_write_u16(record + 12, VERSION_ZIP64);
    aac_write_u16(record + 14, VERSION_ZIP64);
    aac_write_u64(record + 24, writer->count);
    aac_write_u64(record + 32, writer->count);
    aac_write_u64(record + 40, writer->position - directory);
    aac_write_u64(record + 48, directory);
    aac_write_u32(locator, END64_LOCATOR_SIGNATURE);
    aac_write_u64(locator + 8, writer->position);
    aac_write_u32(locator + 16, 1); /* file in total */
    return put(writer, record, sizeof record);
}

static aaclip_status put_end(aac_zip_writer *writer, uint64_t directory)
{
    uint64_t size = writer->position - directory;
    bool wide = writer->count >= SATURATED_16 || size >= SATURATED_32 || directory >= SATURATED_32;
    uint16_t count = wide ? SATURATED_16 : (uint16_t)writer->count;
    unsigned char record[END_SIZE] = {0};
    aac_write_u32(record, END_SIGNATURE);
    aac_write_u16(record + 8, count);
    aac_write_u16(record + 10, count);
    aac_write_u32(record + 12, wide ? SATURATED_32 : (uint32_t)size);
    aac_write_u32(record + 16, wide ? SATURATED_32 : (uint32_t)directory);
    aaclip_status status = wide ? put_end64(writer, directory) : AACLIP_OK;
    return status ? status : put(writer, record, sizeof record);
}

static aaclip_status append(aac_zip_writer *writer, const struct written *entry)
{
    struct written *entries =
        aac_grow(writer->entries, &writer->capacity, writer->count + 1, sizeof *entries);
    if (!entries)
        return aac_error_memory();
    writer->entries = entries;
    entries[writer->count++] = *entry;
    return AACLIP_OK;
}

aaclip_status aac_zip_writer_add(aac_zip_writer *writer, const char *name, const void *data,
                                 size_t size)
{
    struct written entry = {
        .name = aac_arena_text(&writer->names, name, strlen(name)),
        .size = size,
        .offset = writer->position,
        .crc = (uint32_t)crc32_z(0, data, size),
    };
    if (!entry.name)
        return aac_error_memory();
    aaclip_status status = append(writer, &entry);
    if (!status)
        status = put_local(writer, &entry);
    return status ? status : put(writer, data, size);
}

static void writer_free(aac_zip_writer **writer)
{
    aac_arena_clear(&(*writer)->names);
    aac_free((*writer)->entries);
    aac_free(*writer);
    *writer = NULL;
}

aaclip_status aac_zip_writer_commit(aac_zip_writer **out)
{
    aac_zip_writer *writer = *out;
    uint64_t directory = writer->position;
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < writer->count; i++)
        status = put_central(writer, &writer->entries[i]);
    if (!status)
        status = put_end(writer, directory);
    if (!status)
        status = aac_writer_commit(&writer->file);
    else
        aac_writer_discard(&writer->file);
    writer_free(out);
    return status;
}

void aac_zip_writer_discard(aac_zip_writer **writer)
{
    if (!*writer)
        return;
    aac_writer_discard(&(*writer)->file);
    writer_free(writer);
}
