/* The checksum in the library's own safetensors files, against accidental damage. */
#ifndef AAC_FILES_CHECKSUM_H
#define AAC_FILES_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

/* Metadata: 8 hexadecimal digits, the CRC-32 of the whole file with zeros in their place. */
#define AAC_CHECKSUM_KEY    "aaclip.checksum"
#define AAC_CHECKSUM_DIGITS 8
#define AAC_CHECKSUM_BLANK  "00000000"

/* Where the digits are in a header (the JSON text, without its length); 0: there are none. */
size_t aac_checksum_find(const unsigned char *header, size_t length);
/* Continues a CRC-32 that began with 0. */
uint32_t aac_checksum_add(uint32_t crc, const void *data, size_t size);
/* FORMAT if a file that has a checksum has another one. May be cancelled. */
aaclip_status aac_checksum_check(const unsigned char *file, size_t size);

#endif
