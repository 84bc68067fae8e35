/* A folder with any bytes as weights and as configuration: what opens must be consistent. */
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/platform.h"
#include "files/checkpoint.h"
#include "fuzz.h"
#include "scratch.h"

#define MOST_ELEMENTS 65536

static void check_tower(const aac_tower_shape *tower, const aac_block_tensors *blocks)
{
    if (tower->width < 1 || tower->layers < 1 || tower->mlp < 1 || tower->heads < 1 ||
        tower->width % tower->heads || !(tower->layer_norm_eps > 0) || !blocks)
        abort();
    for (int64_t i = 0; i < tower->layers; i++)
        if (!blocks[i].proj_bias.data || !blocks[i].qkv_bias.part[0].data)
            abort();
}

static void check(const aac_checkpoint *checkpoint)
{
    check_tower(&checkpoint->vision, checkpoint->vision_blocks);
    if (checkpoint->has_text)
        check_tower(&checkpoint->text, checkpoint->text_blocks);
    if (checkpoint->grid * checkpoint->grid + 1 != checkpoint->vision_position.shape[0])
        abort();
    for (size_t i = 0; i < aac_tensor_file_count(checkpoint->file); i++) {
        const aac_tensor *tensor = aac_tensor_file_at(checkpoint->file, i);
        int64_t elements = aac_tensor_elements(tensor);
        float *values =
            elements <= MOST_ELEMENTS ? malloc((size_t)(elements + 1) * sizeof *values) : NULL;
        if (values)
            aac_tensor_to_f32(tensor, values);
        free(values);
    }
}

/* Input: a little-endian 16-bit length, as many bytes of configuration, then the weights. */
void fuzz_one(const uint8_t *data, size_t size)
{
    static const char *const configs[] = {"config.json", "open_clip_config.json"};
    if (size < 2)
        return;
    size_t config_size = (size_t)data[0] | (size_t)data[1] << 8;
    data += 2;
    size -= 2;
    config_size = config_size < size ? config_size : size;
    for (int i = 0; i < 2; i++) {
        char *path = fuzz_write(configs[i], data, config_size);
        if (!config_size)
            remove(path);
        aac_free(path);
    }
    aac_free(fuzz_write("model.safetensors", data + config_size, size - config_size));
    aac_checkpoint *checkpoint;
    aaclip_status status = aac_checkpoint_open(&checkpoint, fuzz_folder());
    if ((status == AACLIP_OK) != (checkpoint != NULL) || (status && !*aaclip_last_error()))
        abort();
    if (checkpoint)
        check(checkpoint);
    aac_checkpoint_close(&checkpoint);
}

size_t fuzz_prefix(const uint8_t *data, size_t size)
{
    return size < 2 ? size : 2 + ((size_t)data[0] | (size_t)data[1] << 8);
}
