#include "model/block_stream.h"

void aac_block_stream_init(aac_block_stream *stream, const aac_tensor_file *file,
                           const aac_block_tensors *tensors, const aac_dispatch *dispatch,
                           aac_dtype type)
{
    *stream = (aac_block_stream){
        .file = file, .tensors = tensors, .packer.dispatch = dispatch, .type = type, .index = -1};
}

aaclip_status aac_block_stream_get(aac_block_stream *stream, int64_t index, const aac_block **block)
{
    aaclip_status status = AACLIP_OK;
    *block = &stream->block;
    if (stream->index == index)
        return status;
    if (stream->index >= 0)
        aac_block_release(&stream->block, &stream->tensors[stream->index]);
    stream->index = -1;
    status = aac_tensor_file_check(stream->file);
    if (!status)
        status =
            aac_block_pack(&stream->block, &stream->tensors[index], &stream->packer, stream->type);
    if (!status)
        stream->index = index;
    return status;
}

void aac_block_stream_clear(aac_block_stream *stream)
{
    aac_block_clear(&stream->block, stream->packer.dispatch);
    stream->index = -1;
}
