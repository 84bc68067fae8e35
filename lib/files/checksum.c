#include "files/checksum.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <zlib.h>

#include "core/cancel.h"
#include "core/error.h"
#include "files/bytes.h"

#define MOST_AT_ONCE ((size_t)1 << 24) /* bytes between cancellation checks */

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

/* Of all bytes with zeros for the digits at `digits`. */
static aaclip_status compute(uint32_t *crc, const unsigned char *file, size_t size, size_t digits)
{
    const size_t after = digits + AAC_CHECKSUM_DIGITS;
    aaclip_status status = AACLIP_OK;
    *crc = aac_checksum_add(0, file, digits);
    *crc = aac_checksum_add(*crc, AAC_CHECKSUM_BLANK, AAC_CHECKSUM_DIGITS);
    for (size_t at = after, some; !status && at < size; at += some) {
        some = size - at < MOST_AT_ONCE ? size - at : MOST_AT_ONCE;
        *crc = aac_checksum_add(*crc, file + at, some);
        status = aac_cancel_look();
    }
    return status;
}

aaclip_status aac_checksum_check(const unsigned char *file, size_t size)
{
    const uint64_t length = size < 8 ? 0 : aac_read_u64(file);
    const size_t found =
        length && length <= size - 8 ? aac_checksum_find(file + 8, (size_t)length) : 0;
    char digits[AAC_CHECKSUM_DIGITS + 1];
    uint32_t crc;
    if (!found)
        return AACLIP_OK;
    aaclip_status status = compute(&crc, file, size, 8 + found);
    if (status)
        return status;
    snprintf(digits, sizeof digits, "%08x", (unsigned)crc);
    if (memcmp(digits, file + 8 + found, AAC_CHECKSUM_DIGITS) == 0)
        return AACLIP_OK;
    return aac_error(
        AACLIP_ERROR_FORMAT,
        "damaged: expected checksum %.8s, found %s (if the file was edited on purpose, "
        "remove " AAC_CHECKSUM_KEY " from its metadata)",
        (const char *)file + 8 + found, digits);
}
