/* Writes zip archives as torch.save does: stored entries, data aligned, zip64 where needed. */
#ifndef AAC_FILES_ZIP_WRITER_H
#define AAC_FILES_ZIP_WRITER_H

#include <stddef.h>

#include <aaclip/status.h>

/* Every entry's data begin at a multiple of this, so that they can be used in place when mapped. */
#define AAC_ZIP_ALIGNMENT 64

typedef struct aac_zip_writer aac_zip_writer;

/* The archive appears at `path` complete, on commit, or not at all. Errors: IO, OUT_OF_MEMORY. */
aaclip_status aac_zip_writer_open(aac_zip_writer **writer, const char *path);
/* `name`: ASCII, shorter than 64 KB, not used before. */
aaclip_status aac_zip_writer_add(aac_zip_writer *writer, const char *name, const void *data,
                                 size_t size);
/* Both free the writer and null the pointer; discard accepts a pointer to NULL. */
aaclip_status aac_zip_writer_commit(aac_zip_writer **writer);
void aac_zip_writer_discard(aac_zip_writer **writer);

#endif
