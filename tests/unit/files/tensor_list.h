/* Lists of named tensors for tests to corrupt and write: those of a small CLIP, in two layouts. */
#ifndef AAC_TESTS_TENSOR_LIST_H
#define AAC_TESTS_TENSOR_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "files/tensor_file.h"

typedef struct listed_tensor {
    char name[128];
    aac_dtype dtype;
    int rank;
    int64_t shape[AAC_MAX_RANK];
} listed_tensor;

/* All zeros is an empty list. */
typedef struct tensor_list {
    listed_tensor tensors[160];
    size_t count;
    float value; /* of every float32 element; of other types all bits are 0 */
} tensor_list;

/* Sizes of the small CLIP. */
typedef struct clip_sizes {
    int64_t width, layers, mlp, patch, grid, embedding;
    int64_t text_width, text_layers, text_mlp, context, vocabulary;
} clip_sizes;

void tensor_list_openai(tensor_list *list, const char *prefix, const clip_sizes *sizes);
void tensor_list_huggingface(tensor_list *list, const clip_sizes *sizes);

/* float32; columns 0 makes a vector. */
void tensor_list_add(tensor_list *list, const char *name, int64_t rows, int64_t columns);
/* NULL when absent. */
listed_tensor *tensor_list_find(tensor_list *list, const char *name);
void tensor_list_remove(tensor_list *list, const char *name);
/* Of all tensors. */
void tensor_list_set_type(tensor_list *list, aac_dtype dtype);

/* Ends the program when the file cannot be written; returns `folder`/`name`, for aac_free. */
char *tensor_list_write(const tensor_list *list, const char *folder, const char *name,
                        const aac_metadata *metadata, size_t metadata_count);

#endif
