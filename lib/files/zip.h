/* Reads zip archives whose entries are stored, as torch.save writes them (zip64 included). */
#ifndef AAC_FILES_ZIP_H
#define AAC_FILES_ZIP_H

#include <stdint.h>

#include <aaclip/status.h>

#include "files/arena.h"

/* An entry of the archive. Names are unique; contents lie inside the file and do not overlap. */
typedef struct aac_zip_entry {
    const char *name;
    const unsigned char *data; /* as stored, maybe compressed */
    uint64_t offset;           /* of the local header in the file */
    uint64_t stored_size, size;
    uint32_t crc;
    uint16_t method, flags;
} aac_zip_entry;

/* Sorted by name. All zero is an empty archive; the bytes belong to the caller and must outlive it.
 */
typedef struct aac_zip {
    aac_zip_entry *entries;
    size_t count;
    aac_arena arena;
} aac_zip;

/*
 * Reads the central directory and checks every entry against its local header. FORMAT if the
 * archive is damaged or inconsistent: sizes, names, overlapping or duplicate entries. Clear it even
 * after a failure.
 */
aaclip_status aac_zip_read(aac_zip *zip, const unsigned char *bytes, size_t size);
void aac_zip_clear(aac_zip *zip);

/* NULL if there is none of that name. */
const aac_zip_entry *aac_zip_find(const aac_zip *zip, const char *name);
/* UNSUPPORTED, naming the entry, unless its data can be used in place. */
aaclip_status aac_zip_check_stored(const aac_zip_entry *entry);
/* Reads the whole entry, which must be stored: FORMAT when it is damaged. */
aaclip_status aac_zip_check_crc(const aac_zip_entry *entry);

#endif
