#include "files/checksum.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <aaclip/model.h>
#include <zlib.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/bytes.h"
#include "files/tensor_index.h"

static bool is_checksum(const unsigned char *text)
{
    for (int i = 0; i < AAC_CHECKSUM_DIGITS; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return text[AAC_CHECKSUM_DIGITS] == '"';
}

size_t aac_checksum_find(const unsigned char *header, size_t length)
{
    static const char before[] = "\"" AAC_CHECKSUM_KEY "\":\"";
    const size_t size = sizeof before - 1;
    for (size_t at = 0; at + size + AAC_CHECKSUM_DIGITS < length; at++)
        if (header[at] == '"' && memcmp(header + at, before, size) == 0)
            return is_checksum(header + at + size) ? at + size : 0;
    return 0;
}

uint32_t aac_checksum_add(uint32_t crc, const void *data, size_t size)
{
    return size ? (uint32_t)crc32_z(crc, data, size) : crc; /* begins anew for NULL */
}

/* A file that is read from its beginning. */
typedef struct checksum_run {
    unsigned char *header; // so far, with its length before it
    size_t held, capacity, wanted;
    size_t digits; // where they are in it; 0: nowhere
    uint32_t crc;
} checksum_run;

/* The header is complete. */
static aaclip_status begin(checksum_run *run)
{
    const size_t found = aac_checksum_find(run->header + 8, run->held - 8);
    if (!found)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "has no checksum: an older version or another program wrote it");
    run->digits = 8 + found;
    const size_t after = run->digits + AAC_CHECKSUM_DIGITS;
    run->crc = aac_checksum_add(0, run->header, run->digits);
    run->crc = aac_checksum_add(run->crc, AAC_CHECKSUM_BLANK, AAC_CHECKSUM_DIGITS);
    run->crc = aac_checksum_add(run->crc, run->header + after, run->held - after);
    return AACLIP_OK;
}

/* Its length, then the header itself. Takes `size` bytes at most; *taken of them. */
static aaclip_status take_header(checksum_run *run, const unsigned char *bytes, size_t size,
                                 size_t *taken)
{
    const size_t some = size < run->wanted - run->held ? size : run->wanted - run->held;
    unsigned char *header = aac_grow(run->header, &run->capacity, run->held + some, 1);
    if (!header)
        return aac_error_memory();
    run->header = header;
    memcpy(header + run->held, bytes, some);
    run->held += some;
    *taken = some;
    if (run->held < run->wanted)
        return AACLIP_OK;
    if (run->wanted > 8)
        return begin(run);
    const uint64_t length = aac_read_u64(header);
    if (!length || length > AAC_LARGEST_HEADER)
        return aac_error(AACLIP_ERROR_FORMAT, "expected a safetensors file, found no header");
    run->wanted += (size_t)length;
    return AACLIP_OK;
}

static aaclip_status add(void *user, const unsigned char *bytes, size_t size)
{
    checksum_run *run = user;
    aaclip_status status = aac_cancel_look();
    for (size_t taken = 0; !status && size && run->held < run->wanted; size -= taken) {
        status = take_header(run, bytes, size, &taken);
        bytes += taken;
    }
    if (!status)
        run->crc = aac_checksum_add(run->crc, bytes, size);
    return status;
}

/* After the last byte. */
static aaclip_status finish(const checksum_run *run)
{
    char digits[AAC_CHECKSUM_DIGITS + 1];
    if (!run->digits)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "expected a safetensors file, found the end of the file in its header");
    const char *expected = (const char *)run->header + run->digits;
    snprintf(digits, sizeof digits, "%08x", (unsigned)run->crc);
    if (memcmp(digits, expected, AAC_CHECKSUM_DIGITS) == 0)
        return AACLIP_OK;
    return aac_error(
        AACLIP_ERROR_FORMAT,
        "damaged: expected checksum %.8s, found %s (if the file was edited on purpose, "
        "remove " AAC_CHECKSUM_KEY " from its metadata)",
        expected, digits);
}

/* With the path before errors, as aac_read_pieces has it before its own. */
typedef struct file_check {
    checksum_run run;
    const char *path;
} file_check;

static aaclip_status add_named(void *user, const unsigned char *bytes, size_t size)
{
    file_check *named = user;
    const aaclip_status status = add(&named->run, bytes, size);
    return status ? aac_error_prefix(status, "%s", named->path) : AACLIP_OK;
}

aaclip_status aac_checksum_check(const unsigned char *file, size_t size)
{
    const uint64_t length = size < 8 ? 0 : aac_read_u64(file);
    if (!length || length > size - 8 || !aac_checksum_find(file + 8, (size_t)length))
        return AACLIP_OK;
    checksum_run run = {.wanted = 8};
    aaclip_status status = AACLIP_OK;
    for (size_t at = 0, some; !status && at < size; at += some) {
        some = size - at < AAC_FILE_PIECE ? size - at : AAC_FILE_PIECE;
        status = add(&run, file + at, some);
    }
    if (!status)
        status = finish(&run);
    aac_free(run.header);
    return status;
}

aaclip_status aaclip_verify_file(const char *path)
{
    if (!path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_verify_file: no path");
    file_check named = {{.wanted = 8}, path};
    aaclip_status status = aac_read_pieces(path, add_named, &named);
    if (!status) {
        status = finish(&named.run);
        if (status)
            aac_error_prefix(status, "%s", path);
    }
    aac_free(named.run.header);
    return status;
}
