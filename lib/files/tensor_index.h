/* The flat list of names that the reader of a file format fills. */
#ifndef AAC_FILES_TENSOR_INDEX_H
#define AAC_FILES_TENSOR_INDEX_H

#include <aaclip/status.h>

#include "core/platform.h"
#include "files/tensor_file.h"

typedef struct aac_tensor_index aac_tensor_index;

/* Names and strings are copied; data pointers remain the caller's. FORMAT, naming it, if the name
 * is already present. */
aaclip_status aac_index_tensor(aac_tensor_index *index, const char *name, const aac_tensor *tensor);
aaclip_status aac_index_number(aac_tensor_index *index, const char *name, double value);
aaclip_status aac_index_string(aac_tensor_index *index, const char *name, const char *value,
                               size_t length);

#define AAC_LARGEST_HEADER 100000000u /* of safetensors, as in the format's reference reader */

/*
 * The readers. They check the whole mapped file and fill the index; error texts do not begin with
 * the path (aac_tensor_file_open adds it).
 */
aaclip_status aac_safetensors_read(aac_tensor_index *index, const aac_mapping *file);
/* A torch.save or torch.jit.save archive; *kind tells which. */
aaclip_status aac_torch_read(aac_tensor_index *index, const aac_mapping *file,
                             aac_tensor_file_kind *kind);

#endif
