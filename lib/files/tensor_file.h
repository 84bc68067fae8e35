/* One view of every file that holds named tensors: safetensors, torch.save zips, TorchScript. */
#ifndef AAC_FILES_TENSOR_FILE_H
#define AAC_FILES_TENSOR_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

#include "core/tensor.h"

typedef enum aac_tensor_file_kind {
    AAC_FILE_SAFETENSORS,
    AAC_FILE_TORCH_STATE, /* torch.save of dicts */
    AAC_FILE_TORCHSCRIPT  /* torch.jit.save: a tree of modules */
} aac_tensor_file_kind;

/*
 * Mapped and immutable after open; shared freely between threads. Tensors and strings point into
 * the file and live until close. Nested dicts and modules are flattened: names joined with '.',
 * integer keys in decimal (`text_optimizer.state.0.exp_avg`), list and tuple items by index.
 */
typedef struct aac_tensor_file aac_tensor_file;

/* The type is detected from the content. Errors name path and entry: NOT_FOUND, IO, FORMAT,
 * UNSUPPORTED. */
aaclip_status aac_tensor_file_open(aac_tensor_file **file, const char *path);
/*
 * The same for bytes in memory, which are not copied: they must live as long as the file and not
 * change. `name` stands for the path in error texts.
 */
aaclip_status aac_tensor_file_open_memory(aac_tensor_file **file, const void *bytes, size_t size,
                                          const char *name);
/* Another handle of the same file or memory. */
aaclip_status aac_tensor_file_reopen(aac_tensor_file **file, const aac_tensor_file *from);
/* Whether it is in memory: there is no folder around it. */
bool aac_tensor_file_in_memory(const aac_tensor_file *file);
void aac_tensor_file_close(aac_tensor_file **file);

/*
 * Call before a file's tensors are read again: IO if it has been written to since it was opened, as
 * far as the system can tell. A file renamed over it does not matter. Accepts NULL.
 */
aaclip_status aac_tensor_file_check(const aac_tensor_file *file);
/*
 * FORMAT if it has a checksum (files/checksum.h) that is not that of its bytes. Reads the whole
 * file; nothing is checked above 64 MB. May be cancelled.
 */
aaclip_status aac_tensor_file_verify(const aac_tensor_file *file);
/* Lets what has been read leave memory; it is loaded again when read. Any thread. */
void aac_tensor_file_release(const aac_tensor_file *file);

/* Bytes of the file, and when it was last written (core/platform.h). */
size_t aac_tensor_file_size(const aac_tensor_file *file);
int64_t aac_tensor_file_changed(const aac_tensor_file *file);
/* Announces that all of it will be read soon, from large pages if the system has them for files. */
void aac_tensor_file_prefetch(const aac_tensor_file *file);

const char *aac_tensor_file_path(const aac_tensor_file *file);
aac_tensor_file_kind aac_tensor_file_get_kind(const aac_tensor_file *file);

/* In the order of the file. */
size_t aac_tensor_file_count(const aac_tensor_file *file);
const aac_tensor *aac_tensor_file_at(const aac_tensor_file *file, size_t index);
/* NULL if there is none of that name; O(1). */
const aac_tensor *aac_tensor_file_find(const aac_tensor_file *file, const char *name);
/* Whether there is one whose name begins with `prefix`. */
bool aac_tensor_file_has(const aac_tensor_file *file, const char *prefix);

/* Values other than tensors (a checkpoint's `epoch`, an optimizer's `lr`): false when absent. */
bool aac_tensor_file_number(const aac_tensor_file *file, const char *name, double *value);
/* A safetensors `__metadata__` entry or a string value of a pickle; NULL when absent. */
const char *aac_tensor_file_string(const aac_tensor_file *file, const char *name);

/* A safetensors writer: describe everything, then write it at once, atomically. */
typedef struct aac_tensor_source {
    aac_tensor tensor; /* `name` set; any strides; stored contiguous in `stored_as` */
    aac_dtype stored_as;
} aac_tensor_source;

typedef struct aac_metadata {
    const char *key, *value;
} aac_metadata;

aaclip_status aac_safetensors_write(const char *path, const aac_tensor_source *tensors,
                                    size_t tensor_count, const aac_metadata *metadata,
                                    size_t metadata_count);

#endif
