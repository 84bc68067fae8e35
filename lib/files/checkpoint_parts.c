#include "files/checkpoint_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

#define LONGEST_NAME 256
#define MOST_LAYERS  1000
#define LARGEST_SIZE 0x7fffffff

static bool size_fits(int64_t expected, int64_t found)
{
    return expected < 0 ? found >= 1 && found <= LARGEST_SIZE : found == expected;
}

/* "1024x?" for sizes that may be anything. */
static const char *wanted_text(char *text, int64_t rows, int64_t columns)
{
    char first[24] = "?", second[24] = "?";
    if (rows >= 0)
        snprintf(first, sizeof first, "%lld", (long long)rows);
    if (columns > 0)
        snprintf(second, sizeof second, "%lld", (long long)columns);
    snprintf(text, AAC_SHAPE_TEXT, columns ? "%s x %s" : "%s", first, second);
    return text;
}

void aac_take_tensor(aac_taker *taker, aac_tensor *tensor, const char *name, int64_t rows,
                     int64_t columns)
{
    if (taker->status)
        return;
    char full[LONGEST_NAME], wanted[AAC_SHAPE_TEXT], shape[AAC_SHAPE_TEXT];
    const char *path = aac_tensor_file_path(taker->file);
    snprintf(full, sizeof full, "%s%s", taker->prefix, name);
    const aac_tensor *found = aac_tensor_file_find(taker->file, full);
    wanted_text(wanted, rows, columns);
    if (!found) {
        taker->status = aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected %s, found no such tensor",
                                  path, full, wanted);
        return;
    }
    int rank = columns ? 2 : 1;
    bool fits = found->rank == rank && size_fits(rows, found->shape[0]) &&
                (!columns || size_fits(columns, found->shape[1]));
    if (!fits)
        taker->status = aac_error(AACLIP_ERROR_MISMATCH, "%s: %s: expected %s, found %s", path,
                                  full, wanted, aac_shape_text(shape, found->shape, found->rank));
    else if (!aac_dtype_is_floating(found->dtype))
        taker->status = aac_error(AACLIP_ERROR_FORMAT, "%s: %s: expected floating point, found %s",
                                  path, full, aac_dtype_name(found->dtype));
    else
        *tensor = *found;
}

void aac_expect_text(aac_taker *taker, const char *norm, const char *embedding)
{
    char names[2][LONGEST_NAME];
    snprintf(names[0], LONGEST_NAME, "%s%s", taker->prefix, norm);
    snprintf(names[1], LONGEST_NAME, "%s%s", taker->prefix, embedding);
    if (!taker->status && !aac_tensor_file_find(taker->file, names[0]) &&
        !aac_tensor_file_find(taker->file, names[1]))
        taker->status = aac_error(AACLIP_ERROR_FORMAT,
                                  "%s: expected an image tower and a text tower, found no text "
                                  "tower: neither %s nor %s",
                                  aac_tensor_file_path(taker->file), names[0], names[1]);
}

void aac_take_patches(aac_taker *taker, aac_checkpoint *checkpoint, const char *name)
{
    const int64_t largest_patch = 1024;
    char full[LONGEST_NAME], found[AAC_SHAPE_TEXT] = "no such tensor";
    snprintf(full, sizeof full, "%s%s", taker->prefix, name);
    const aac_tensor *tensor = aac_tensor_file_find(taker->file, full);
    bool fits = tensor && tensor->rank == 4 && size_fits(-1, tensor->shape[0]) &&
                tensor->shape[1] == 3 && tensor->shape[2] >= 1 &&
                tensor->shape[2] <= largest_patch && tensor->shape[2] == tensor->shape[3] &&
                aac_dtype_is_floating(tensor->dtype);
    if (fits) {
        checkpoint->patch_weight = *tensor;
        checkpoint->vision.width = tensor->shape[0];
        checkpoint->patch = tensor->shape[2];
        return;
    }
    if (tensor)
        aac_shape_text(found, tensor->shape, tensor->rank);
    taker->status = aac_error(AACLIP_ERROR_MISMATCH,
                              "%s: %s: expected floating point width x 3 x patch x patch, found %s",
                              aac_tensor_file_path(taker->file), full, found);
}

/* One more than the largest N of the names "<prefix><stem>N.*", at most MOST_LAYERS: whoever takes
 * the layers' tensors sees gaps. */
static int64_t count_layers(const aac_tensor_file *file, const char *prefix, const char *stem)
{
    char start[LONGEST_NAME];
    int length = snprintf(start, sizeof start, "%s%s", prefix, stem);
    int64_t count = 0;
    for (size_t i = 0; i < aac_tensor_file_count(file); i++) {
        const char *name = aac_tensor_file_at(file, i)->name;
        if (strncmp(name, start, (size_t)length) != 0)
            continue;
        char *end;
        unsigned long number = strtoul(name + length, &end, 10);
        if (end == name + length || *end != '.')
            continue;
        int64_t needed = number < MOST_LAYERS ? (int64_t)number + 1 : MOST_LAYERS;
        count = needed > count ? needed : count;
    }
    return count;
}

static void take_module(aac_taker *taker, aac_tensor *weight, aac_tensor *bias, const char *stem,
                        const char *module, int64_t rows, int64_t columns)
{
    char name[LONGEST_NAME];
    snprintf(name, sizeof name, "%s%s.weight", stem, module);
    aac_take_tensor(taker, weight, name, rows, columns);
    snprintf(name, sizeof name, "%s%s.bias", stem, module);
    aac_take_tensor(taker, bias, name, rows, 0);
}

static void take_qkv(aac_taker *taker, aac_block_tensors *block, const char *stem,
                     const aac_block_names *names, int64_t width)
{
    const int count = names->qkv_weight[1] ? 3 : 1;
    const int64_t rows = 3 * width / count;
    char name[LONGEST_NAME];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s%s", stem, names->qkv_weight[i]);
        aac_take_tensor(taker, &block->qkv_weight.part[i], name, rows, width);
        snprintf(name, sizeof name, "%s%s", stem, names->qkv_bias[i]);
        aac_take_tensor(taker, &block->qkv_bias.part[i], name, rows, 0);
    }
    block->qkv_weight.count = block->qkv_bias.count = count;
}

static void take_block(aac_taker *taker, aac_block_tensors *block, const char *stem,
                       const aac_block_names *names, const aac_tower_shape *shape)
{
    int64_t width = shape->width, mlp = shape->mlp;
    take_module(taker, &block->ln_1_weight, &block->ln_1_bias, stem, names->ln_1, width, 0);
    take_qkv(taker, block, stem, names, width);
    take_module(taker, &block->out_weight, &block->out_bias, stem, names->out, width, width);
    take_module(taker, &block->ln_2_weight, &block->ln_2_bias, stem, names->ln_2, width, 0);
    take_module(taker, &block->fc_weight, &block->fc_bias, stem, names->fc, mlp, width);
    take_module(taker, &block->proj_weight, &block->proj_bias, stem, names->proj, width, mlp);
}

aac_block_tensors *aac_take_blocks(aac_taker *taker, const aac_block_names *names, const char *stem,
                                   aac_tower_shape *shape)
{
    char name[LONGEST_NAME], block[LONGEST_NAME / 2];
    aac_tensor norm = {0}, fc = {0};
    shape->layers = count_layers(taker->file, taker->prefix, stem);
    snprintf(name, sizeof name, "%s0.%s.weight", stem, names->ln_1);
    aac_take_tensor(taker, &norm, name, shape->width, 0); /* at least one block */
    snprintf(name, sizeof name, "%s0.%s.weight", stem, names->fc);
    aac_take_tensor(taker, &fc, name, -1, shape->width);
    if (taker->status)
        return NULL;
    shape->mlp = fc.shape[0];
    aac_block_tensors *blocks = aac_calloc((size_t)shape->layers, sizeof *blocks);
    if (!blocks)
        taker->status = aac_error_memory();
    for (int64_t i = 0; blocks && i < shape->layers; i++) {
        snprintf(block, sizeof block, "%s%lld.", stem, (long long)i);
        take_block(taker, &blocks[i], block, names, shape);
    }
    return blocks;
}
