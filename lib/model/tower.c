#include "model/tower.h"

#include "core/error.h"
#include "core/memory.h"

static aaclip_status pack_blocks(aac_block **out, const aac_block_tensors *tensors, int64_t count,
                                 aac_packer *packer, aac_dtype type)
{
    aac_block *blocks = *out = aac_calloc((size_t)count, sizeof *blocks);
    if (!blocks)
        return aac_error_memory();
    aaclip_status status = AACLIP_OK;
    for (int64_t i = 0; !status && i < count; i++)
        status = aac_block_pack(&blocks[i], &tensors[i], packer, type);
    return status;
}

static void free_blocks(aac_block *blocks, int64_t count, const aac_dispatch *dispatch)
{
    for (int64_t i = 0; blocks && i < count; i++)
        aac_block_clear(&blocks[i], dispatch);
    aac_free(blocks);
}

/* (width, 3, patch, patch) as (width, 3 * patch * patch). */
static aaclip_status pack_patches(aac_weight **weight, const aac_tensor *convolution,
                                  const aac_dispatch *dispatch, aac_dtype type)
{
    int64_t width = convolution->shape[0], columns = aac_tensor_elements(convolution) / width;
    float *copy = NULL;
    aac_tensor matrix = *convolution;
    if (!aac_tensor_is_contiguous(convolution)) {
        matrix.data = copy = aac_vector_new(convolution);
        matrix.dtype = AAC_F32;
        if (!copy)
            return aac_error_memory();
    }
    matrix.rank = 2;
    matrix.shape[1] = matrix.stride[0] = columns;
    matrix.stride[1] = 1;
    aaclip_status status = aac_dispatch_pack(dispatch, weight, &matrix, NULL, 1, type);
    aac_free(copy);
    return status;
}

void aac_vision_tower_free(aac_vision_tower **out, const aac_checkpoint *checkpoint,
                           const aac_dispatch *dispatch)
{
    aac_vision_tower *tower = *out;
    if (!tower)
        return;
    aac_vision_tower_free_blocks(tower, checkpoint, dispatch);
    aac_weight_free(&tower->patch);
    aac_weight_free(&tower->projection);
    aac_device_free(dispatch, tower->ln_pre_gain);
    aac_device_free(dispatch, tower->ln_pre_bias);
    aac_device_free(dispatch, tower->ln_post_gain);
    aac_device_free(dispatch, tower->ln_post_bias);
    aac_free(tower);
    *out = NULL;
}

aaclip_status aac_vision_tower_new(aac_vision_tower **out, const aac_checkpoint *checkpoint,
                                   const aac_dispatch *dispatch, aac_dtype type)
{
    aac_vision_tower *tower = *out = aac_calloc(1, sizeof *tower);
    if (!tower)
        return aac_error_memory();
    float **const vectors[] = {&tower->ln_pre_gain, &tower->ln_pre_bias, &tower->ln_post_gain,
                               &tower->ln_post_bias};
    const aac_tensor *const tensors[] = {&checkpoint->ln_pre_weight, &checkpoint->ln_pre_bias,
                                         &checkpoint->ln_post_weight, &checkpoint->ln_post_bias};
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < sizeof vectors / sizeof *vectors; i++)
        status = aac_device_vector(dispatch, vectors[i], tensors[i]);
    if (!status)
        status = pack_patches(&tower->patch, &checkpoint->patch_weight, dispatch, type);
    /* CLIP stores it as (width, embedding), for x @ projection */
    const aac_tensor projection = aac_tensor_transposed(&checkpoint->vision_projection);
    if (!status)
        status = aac_dispatch_pack(dispatch, &tower->projection, &projection, NULL, 1, type);
    if (status)
        aac_vision_tower_free(out, checkpoint, dispatch);
    return status;
}

aaclip_status aac_vision_tower_pack_blocks(aac_vision_tower *tower,
                                           const aac_checkpoint *checkpoint, aac_packer *packer,
                                           aac_dtype type)
{
    if (tower->blocks)
        return AACLIP_OK;
    aaclip_status status = pack_blocks(&tower->blocks, checkpoint->vision_blocks,
                                       checkpoint->vision.layers, packer, type);
    if (!status)
        status = aac_packer_finish(packer, &tower->packed);
    if (status)
        aac_vision_tower_free_blocks(tower, checkpoint, packer->dispatch);
    return status;
}

void aac_vision_tower_free_blocks(aac_vision_tower *tower, const aac_checkpoint *checkpoint,
                                  const aac_dispatch *dispatch)
{
    free_blocks(tower->blocks, checkpoint->vision.layers, dispatch);
    tower->blocks = NULL;
    aac_tensor_file_close(&tower->packed);
}

void aac_text_tower_free(aac_text_tower **out, const aac_checkpoint *checkpoint,
                         const aac_dispatch *dispatch)
{
    aac_text_tower *tower = *out;
    if (!tower)
        return;
    free_blocks(tower->blocks, checkpoint->text.layers, dispatch);
    aac_weight_free(&tower->projection);
    aac_free(tower->position);
    aac_device_free(dispatch, tower->ln_final_gain);
    aac_device_free(dispatch, tower->ln_final_bias);
    aac_tensor_file_close(&tower->packed);
    aac_free(tower);
    *out = NULL;
}

aaclip_status aac_text_tower_new(aac_text_tower **out, const aac_checkpoint *checkpoint,
                                 aac_packer *packer, aac_dtype type)
{
    aac_text_tower *tower = *out = aac_calloc(1, sizeof *tower);
    if (!tower)
        return aac_error_memory();
    tower->position = aac_vector_new(&checkpoint->text_position);
    aaclip_status status = tower->position ? AACLIP_OK : aac_error_memory();
    if (!status)
        status = aac_device_vector(packer->dispatch, &tower->ln_final_gain,
                                   &checkpoint->ln_final_weight);
    if (!status)
        status =
            aac_device_vector(packer->dispatch, &tower->ln_final_bias, &checkpoint->ln_final_bias);
    /* CLIP stores it as (width, embedding), for x @ projection */
    const aac_tensor projection = aac_tensor_transposed(&checkpoint->text_projection);
    if (!status)
        status = aac_packer_pack(packer, &tower->projection, &projection, NULL, 1, type);
    if (!status)
        status = pack_blocks(&tower->blocks, checkpoint->text_blocks, checkpoint->text.layers,
                             packer, type);
    if (!status)
        status = aac_packer_finish(packer, &tower->packed);
    if (status)
        aac_text_tower_free(out, checkpoint, packer->dispatch);
    return status;
}
