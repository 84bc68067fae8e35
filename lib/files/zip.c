#include "files/zip.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "files/bytes.h"
#include "files/zip_layout.h"

#define LONGEST_COMMENT 65535
#define FLAG_ENCRYPTED  1
#define FLAG_STREAMED   8 /* sizes and CRC follow the data; the header may hold zeros */

struct file {
    const unsigned char *bytes;
    uint64_t size;
};

/* The place of the central directory. */
struct directory {
    uint64_t count, offset, size;
};

static bool holds(const struct file *file, uint64_t offset, uint64_t size)
{
    return offset <= file->size && size <= file->size - offset;
}

static aaclip_status damaged(const char *what)
{
    return aac_error(AACLIP_ERROR_FORMAT, "damaged zip archive: %s", what);
}

/* The end record comes last, before a comment of the length that it states. */
static aaclip_status find_end(const struct file *file, uint64_t *position)
{
    for (uint64_t comment = 0; comment <= LONGEST_COMMENT && holds(file, 0, END_SIZE + comment);
         comment++) {
        uint64_t candidate = file->size - END_SIZE - comment;
        const unsigned char *at = file->bytes + candidate;
        if (aac_read_u32(at) == END_SIGNATURE && aac_read_u16(at + 20) == comment) {
            *position = candidate;
            return AACLIP_OK;
        }
    }
    return damaged("no end record (truncated?)");
}

static aaclip_status read_end64(const struct file *file, uint64_t end, struct directory *directory)
{
    if (end < END64_LOCATOR_SIZE)
        return damaged("no zip64 locator");
    const unsigned char *locator = file->bytes + end - END64_LOCATOR_SIZE;
    uint64_t position = aac_read_u64(locator + 8);
    if (aac_read_u32(locator) != END64_LOCATOR_SIGNATURE ||
        !holds(file, position, END64_SIZE + END64_LOCATOR_SIZE) ||
        aac_read_u32(file->bytes + position) != END64_SIGNATURE)
        return damaged("no zip64 end record");
    const unsigned char *at = file->bytes + position;
    if (aac_read_u32(at + 16) != 0 || aac_read_u32(at + 20) != 0)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "the zip archive spans several files");
    directory->count = aac_read_u64(at + 32);
    directory->size = aac_read_u64(at + 40);
    directory->offset = aac_read_u64(at + 48);
    return AACLIP_OK;
}

static aaclip_status find_directory(const struct file *file, struct directory *directory)
{
    uint64_t end = 0;
    aaclip_status status = find_end(file, &end);
    if (status)
        return status;
    const unsigned char *at = file->bytes + end;
    if (aac_read_u16(at + 4) != 0 || aac_read_u16(at + 6) != 0)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "the zip archive spans several files");
    directory->count = aac_read_u16(at + 10);
    directory->size = aac_read_u32(at + 12);
    directory->offset = aac_read_u32(at + 16);
    if (directory->count == SATURATED_16 || directory->size == SATURATED_32 ||
        directory->offset == SATURATED_32)
        status = read_end64(file, end, directory);
    if (status)
        return status;
    if (directory->offset > end || directory->size > end - directory->offset)
        return damaged("the central directory lies outside the file");
    if (directory->count > directory->size / CENTRAL_SIZE)
        return damaged("more entries than fit in the central directory");
    return AACLIP_OK;
}

/*
 * Replaces saturated 32-bit values, in order, by those of the zip64 extra field; false if one is
 * missing there.
 */
static bool widen(const unsigned char *extra, size_t extra_size, uint64_t *const *values,
                  size_t count)
{
    const unsigned char *wide = NULL;
    size_t wide_size = 0;
    while (!wide && extra_size >= 4) {
        size_t field_size = aac_read_u16(extra + 2);
        if (field_size > extra_size - 4)
            break;
        if (aac_read_u16(extra) == EXTRA_ZIP64) {
            wide = extra + 4;
            wide_size = field_size;
        }
        extra += 4 + field_size;
        extra_size -= 4 + field_size;
    }
    for (size_t i = 0; i < count; i++) {
        if (*values[i] != SATURATED_32)
            continue;
        if (!wide || wide_size < 8)
            return false;
        *values[i] = aac_read_u64(wide);
        wide += 8;
        wide_size -= 8;
    }
    return true;
}

/* One record of the central directory; `*size` receives its length. */
static aaclip_status read_central(aac_zip *zip, aac_zip_entry *entry, const unsigned char *at,
                                  uint64_t left, uint64_t *size)
{
    if (left < CENTRAL_SIZE || aac_read_u32(at) != CENTRAL_SIGNATURE)
        return damaged("a central directory record is missing");
    size_t name_length = aac_read_u16(at + 28), extra_size = aac_read_u16(at + 30);
    *size = (uint64_t)CENTRAL_SIZE + name_length + extra_size + aac_read_u16(at + 32);
    if (*size > left)
        return damaged("a record extends beyond the central directory");
    *entry = (aac_zip_entry){
        .flags = aac_read_u16(at + 8),
        .method = aac_read_u16(at + 10),
        .crc = aac_read_u32(at + 16),
        .stored_size = aac_read_u32(at + 20),
        .size = aac_read_u32(at + 24),
        .offset = aac_read_u32(at + 42),
    };
    const unsigned char *name = at + CENTRAL_SIZE;
    if (memchr(name, '\0', name_length))
        return damaged("an entry's name contains a zero byte");
    entry->name = aac_arena_text(&zip->arena, name, name_length);
    if (!entry->name)
        return aac_error_memory();
    uint64_t *const values[] = {&entry->size, &entry->stored_size, &entry->offset};
    if (!widen(name + name_length, extra_size, values, 3))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: zip64 sizes are missing", entry->name);
    if (entry->method == METHOD_STORED && entry->size != entry->stored_size)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: stored, but with two different sizes",
                         entry->name);
    return AACLIP_OK;
}

/* A streamed entry's local header may leave a value unset as zero. */
static bool agrees(uint64_t local, uint64_t central, bool streamed)
{
    return local == central || (streamed && local == 0);
}

/* Checks the local header against the central record and finds the start of the data. */
static aaclip_status locate(aac_zip_entry *entry, const struct file *file, uint64_t limit)
{
    if (entry->offset > limit || limit - entry->offset < LOCAL_SIZE ||
        aac_read_u32(file->bytes + entry->offset) != LOCAL_SIGNATURE)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: no local header at byte %llu", entry->name,
                         (unsigned long long)entry->offset);
    const unsigned char *at = file->bytes + entry->offset;
    size_t name_length = aac_read_u16(at + 26), extra_size = aac_read_u16(at + 28);
    uint64_t header_size = (uint64_t)LOCAL_SIZE + name_length + extra_size;
    uint64_t left = limit - entry->offset;
    if (header_size > left || entry->stored_size > left - header_size)
        return aac_error(
            AACLIP_ERROR_FORMAT, "%s: %llu bytes at byte %llu extend beyond the end of the data",
            entry->name, (unsigned long long)entry->stored_size, (unsigned long long)entry->offset);
    if (name_length != strlen(entry->name) ||
        memcmp(at + LOCAL_SIZE, entry->name, name_length) != 0)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: its local header has a different name",
                         entry->name);
    bool streamed = aac_read_u16(at + 6) & FLAG_STREAMED;
    uint64_t stored_size = aac_read_u32(at + 18), size = aac_read_u32(at + 22);
    uint64_t *const values[] = {&size, &stored_size};
    if (!widen(at + LOCAL_SIZE + name_length, extra_size, values, 2) ||
        aac_read_u16(at + 8) != entry->method || !agrees(size, entry->size, streamed) ||
        !agrees(stored_size, entry->stored_size, streamed) ||
        !agrees(aac_read_u32(at + 14), entry->crc, streamed))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: local header and central directory disagree",
                         entry->name);
    entry->data = at + header_size;
    return AACLIP_OK;
}

static int compare_offsets(const void *a, const void *b)
{
    const aac_zip_entry *left = a, *right = b;
    return (left->offset > right->offset) - (left->offset < right->offset);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const aac_zip_entry *)a)->name, ((const aac_zip_entry *)b)->name);
}

/* Leaves the entries sorted by name. */
static aaclip_status check_all(aac_zip *zip, const unsigned char *bytes)
{
    aaclip_status status = AACLIP_OK;
    qsort(zip->entries, zip->count, sizeof *zip->entries, compare_offsets);
    for (size_t i = 1; !status && i < zip->count; i++) {
        const aac_zip_entry *entry = &zip->entries[i - 1];
        uint64_t end = (uint64_t)(entry->data - bytes) + entry->stored_size;
        if (end > zip->entries[i].offset)
            return aac_error(AACLIP_ERROR_FORMAT, "%s and %s overlap", entry->name,
                             zip->entries[i].name);
        status = aac_cancel_look_at(i);
    }
    if (status)
        return status;
    qsort(zip->entries, zip->count, sizeof *zip->entries, compare_names);
    for (size_t i = 1; !status && i < zip->count; i++) {
        if (strcmp(zip->entries[i - 1].name, zip->entries[i].name) == 0)
            return aac_error(AACLIP_ERROR_FORMAT, "%s occurs twice", zip->entries[i].name);
        status = aac_cancel_look_at(i);
    }
    return status;
}

aaclip_status aac_zip_read(aac_zip *zip, const unsigned char *bytes, size_t size)
{
    *zip = (aac_zip){0};
    struct file file = {bytes, size};
    struct directory directory = {0};
    aaclip_status status = find_directory(&file, &directory);
    if (status)
        return status;
    size_t entries_size;
    if (!aac_size_multiply(&entries_size, (size_t)directory.count, sizeof *zip->entries))
        return aac_error_memory();
    zip->entries = aac_arena_alloc(&zip->arena, entries_size);
    if (!zip->entries)
        return aac_error_memory();
    const unsigned char *at = bytes + directory.offset;
    uint64_t left = directory.size;
    for (uint64_t i = 0; !status && i < directory.count; i++) {
        aac_zip_entry *entry = &zip->entries[i];
        uint64_t record_size = 0;
        status = read_central(zip, entry, at, left, &record_size);
        if (!status)
            status = locate(entry, &file, directory.offset);
        if (!status)
            status = aac_cancel_look_at((size_t)i);
        at += record_size;
        left -= record_size;
    }
    if (status)
        return status;
    zip->count = (size_t)directory.count;
    return check_all(zip, bytes);
}

void aac_zip_clear(aac_zip *zip)
{
    aac_arena_clear(&zip->arena);
    *zip = (aac_zip){0};
}

const aac_zip_entry *aac_zip_find(const aac_zip *zip, const char *name)
{
    const aac_zip_entry key = {.name = name};
    return zip->count ? bsearch(&key, zip->entries, zip->count, sizeof *zip->entries, compare_names)
                      : NULL;
}

aaclip_status aac_zip_check_stored(const aac_zip_entry *entry)
{
    if (entry->flags & FLAG_ENCRYPTED)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: encrypted", entry->name);
    if (entry->method != METHOD_STORED)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: compressed (method %u); expected an uncompressed archive, as "
                         "torch.save writes it",
                         entry->name, (unsigned)entry->method);
    return AACLIP_OK;
}

aaclip_status aac_zip_check_crc(const aac_zip_entry *entry)
{
    uint32_t crc = (uint32_t)crc32_z(0, entry->data, (size_t)entry->size);
    if (crc != entry->crc)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: damaged: expected CRC %08x, found %08x",
                         entry->name, (unsigned)entry->crc, (unsigned)crc);
    return AACLIP_OK;
}
