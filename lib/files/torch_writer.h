/*
 * Writes archives like torch.save, readable by torch.load(weights_only=True). Values are added one
 * at a time, in tree order; tensors are written to disk at once.
 */
#ifndef AAC_FILES_TORCH_WRITER_H
#define AAC_FILES_TORCH_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include <aaclip/status.h>

#include "core/tensor.h"

typedef enum aac_torch_container {
    AAC_TORCH_DICT,
    AAC_TORCH_ORDERED_DICT, /* collections.OrderedDict, as state dicts are */
    AAC_TORCH_LIST,
    AAC_TORCH_TUPLE
} aac_torch_container;

/* Remembers the first failure: later additions do nothing, and commit returns it. */
typedef struct aac_torch_writer aac_torch_writer;

/* The archive appears at `path` complete, on commit, or not at all. Errors: IO, OUT_OF_MEMORY. */
aaclip_status aac_torch_writer_open(aac_torch_writer **writer, const char *path);

/* The container's values go between begin and end; in a dict: key, value, key, value ..., where a
 * key is a text or an integer. At most 64 levels deep. */
void aac_torch_begin(aac_torch_writer *writer, aac_torch_container container);
void aac_torch_end(aac_torch_writer *writer);

void aac_torch_none(aac_torch_writer *writer);
void aac_torch_boolean(aac_torch_writer *writer, bool value);
void aac_torch_integer(aac_torch_writer *writer, int64_t value);
/* PyTorch 1.13 cannot read floats with weights_only, not even its own. */
void aac_torch_number(aac_torch_writer *writer, double value);
/* UTF-8. NULL means that the caller ran out of memory making it. */
void aac_torch_text(aac_torch_writer *writer, const char *text);
/* Any type and strides; stored contiguous as float32, in a storage of its own. */
void aac_torch_tensor(aac_torch_writer *writer, const aac_tensor *tensor);

/*
 * Finishes the file; INVALID_ARGUMENT without exactly one complete value, or if anything was added
 * where it is not allowed. Both free the writer and null the pointer; discard accepts a pointer to
 * NULL.
 */
aaclip_status aac_torch_writer_commit(aac_torch_writer **writer);
void aac_torch_writer_discard(aac_torch_writer **writer);

#endif
