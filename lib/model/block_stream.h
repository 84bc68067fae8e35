/* The frozen blocks of a tower, when there is no room for all: packed on demand, one at a time. */
#ifndef AAC_MODEL_BLOCK_STREAM_H
#define AAC_MODEL_BLOCK_STREAM_H

#include "model/block.h"

typedef struct aac_block_stream {
    const aac_tensor_file *file;
    const aac_block_tensors *tensors; /* of all blocks, in the file; both outlive the stream */
    aac_packer packer;                /* keeps nothing */
    aac_dtype type;
    int64_t index; /* of the block that is packed; -1: none */
    aac_block block;
} aac_block_stream;

void aac_block_stream_init(aac_block_stream *stream, const aac_tensor_file *file,
                           const aac_block_tensors *tensors, const aac_dispatch *dispatch,
                           aac_dtype type);
/* The block is valid until another one is requested. */
aaclip_status aac_block_stream_get(aac_block_stream *stream, int64_t index,
                                   const aac_block **block);
void aac_block_stream_clear(aac_block_stream *stream);

#endif
