#include "model/model.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/threads.h"
#include "model/fingerprint.h"
#include "model/save.h"
#include "model/tower.h"

struct aaclip_model {
    atomic_int references;
    aac_checkpoint *checkpoint;
    aac_dispatch dispatch;
    aaclip_precision precision;
    aac_dtype type;
    uint64_t vision_fingerprint, text_fingerprint;
    char fingerprint[40];
    char *packed_folder;
    aac_mutex *mutex; /* guards what follows */
    aac_vision_tower *vision;
    int block_users; /* of the image tower's blocks */
    aac_text_tower *text;
    int text_users;
};

/* The towers are a cache: filling it does not change the model's observable state. */
static aaclip_model *writable(const aaclip_model *model)
{
    return (aaclip_model *)model;
}

aaclip_status aaclip_model_options_init_sized(aaclip_model_options *options, size_t struct_size)
{
    const aaclip_model_options own = {.size = sizeof own};
    return aac_options_write(options, struct_size, &own, sizeof own, "aaclip_model_options");
}

static void fingerprint_parts(aac_fingerprint *fingerprint, const aac_parts *parts)
{
    for (int i = 0; i < 3; i++) {
        aac_tensor part = parts->part[parts->count == 3 ? i : 0];
        if (parts->count == 1) { /* q, k, v as in layouts that split them */
            part.shape[0] /= 3;
            part.data = (const char *)part.data +
                        i * part.shape[0] * part.stride[0] * (int64_t)aac_dtype_size(part.dtype);
        }
        aac_fingerprint_tensor(fingerprint, &part, AAC_FINGERPRINT_BLOCK_SAMPLES, false);
    }
}

/* Its samples touch most of a file's pages; they are released block by block. */
static void fingerprint_blocks(aac_fingerprint *fingerprint, const aac_tensor_file *file,
                               const aac_block_tensors *blocks, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const aac_tensor *const tensors[] = {&blocks[i].ln_1_weight, &blocks[i].ln_1_bias,
                                             &blocks[i].out_weight,  &blocks[i].out_bias,
                                             &blocks[i].ln_2_weight, &blocks[i].ln_2_bias,
                                             &blocks[i].fc_weight,   &blocks[i].fc_bias,
                                             &blocks[i].proj_weight, &blocks[i].proj_bias};
        fingerprint_parts(fingerprint, &blocks[i].qkv_weight);
        fingerprint_parts(fingerprint, &blocks[i].qkv_bias);
        for (size_t j = 0; j < sizeof tensors / sizeof *tensors; j++)
            aac_fingerprint_tensor(fingerprint, tensors[j], AAC_FINGERPRINT_BLOCK_SAMPLES, false);
        aac_tensor_file_release(file);
    }
}

static uint64_t fingerprint_tower(const aac_tensor *const *tensors, size_t count,
                                  const aac_tensor_file *file, const aac_block_tensors *blocks,
                                  int64_t layers)
{
    aac_fingerprint fingerprint = aac_fingerprint_start();
    for (size_t i = 0; i < count; i++)
        aac_fingerprint_tensor(&fingerprint, tensors[i], AAC_FINGERPRINT_TOWER_SAMPLES, false);
    fingerprint_blocks(&fingerprint, file, blocks, layers);
    return fingerprint.value;
}

static aaclip_status fingerprint_model(aaclip_model *model)
{
    aaclip_status status = AACLIP_OK;
    const aac_checkpoint *c = model->checkpoint;
    const aac_tensor *const vision[] = {
        &c->patch_weight, &c->class_embedding, &c->vision_position, &c->ln_pre_weight,
        &c->ln_pre_bias,  &c->ln_post_weight,  &c->ln_post_bias,    &c->vision_projection};
    const aac_tensor *const text[] = {&c->token_embedding, &c->text_position, &c->ln_final_weight,
                                      &c->ln_final_bias, &c->text_projection};
    model->vision_fingerprint = fingerprint_tower(vision, sizeof vision / sizeof *vision, c->file,
                                                  c->vision_blocks, c->vision.layers);
    if (c->has_text)
        model->text_fingerprint = fingerprint_tower(text, sizeof text / sizeof *text, c->file,
                                                    c->text_blocks, c->text.layers);
    else
        status =
            aac_load_optional_key(c->file, "aaclip.text_fingerprint", &model->text_fingerprint);
    snprintf(model->fingerprint, sizeof model->fingerprint, "%016llx-%016llx",
             (unsigned long long)model->vision_fingerprint,
             (unsigned long long)model->text_fingerprint);
    return status;
}

/* Whether the chosen backend multiplies such matrices, or a fast fallback (not `reference`). */
static bool has_product(const aaclip_model *model, aac_dtype type, bool quantized)
{
    const aac_op_desc product = {.op = AAC_OP_LINEAR,
                                 .linear = {.rows = 1,
                                            .inputs = model->checkpoint->vision.mlp,
                                            .outputs = model->checkpoint->vision.width,
                                            .x = type,
                                            .y = type,
                                            .bias = true,
                                            .quantized = quantized}};
    const aac_backend *chosen = model->dispatch.chain[0],
                      *found = aac_dispatch_choose(&model->dispatch, &product);
    return found->supports(&product) && (found != &aac_backend_reference || found == chosen);
}

static aaclip_status choose_precision(aaclip_model *model, aaclip_precision precision)
{
    const aac_backend *chosen = model->dispatch.chain[0];
    bool native = has_product(model, AAC_BF16, false), slow = chosen == &aac_backend_reference;
    bool int8 = precision == AACLIP_PRECISION_INT8;
    if (precision == AACLIP_PRECISION_BF16 && !native)
        return aac_error(
            AACLIP_ERROR_UNSUPPORTED,
            "precision bf16: backend '%s' has no bfloat16 matrix products on this processor",
            chosen->name);
    if (int8 && !has_product(model, AAC_F32, true))
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "precision int8: backend '%s' has no 8-bit integer matrix products",
                         chosen->name);
    bool tf32 = precision == AACLIP_PRECISION_TF32, f16 = precision == AACLIP_PRECISION_F16;
    if (f16 && !has_product(model, AAC_F16, false))
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "precision f16: backend '%s' has no float16 matrix products",
                         chosen->name);
    if (tf32 && !chosen->tensor_float)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "precision tf32: backend '%s' has no TF32 matrix products", chosen->name);
    /* What int8 leaves in floating point follows `auto`. */
    bool narrow = precision == AACLIP_PRECISION_BF16 ||
                  ((int8 || precision == AACLIP_PRECISION_AUTO) && native && !slow);
    model->precision = narrow ? AACLIP_PRECISION_BF16 : AACLIP_PRECISION_F32;
    if (int8 || tf32 || f16)
        model->precision = precision;
    model->dispatch.tensor_float = tf32;
    model->type = f16 ? AAC_F16 : narrow ? AAC_BF16 : AAC_F32;
    return AACLIP_OK;
}

static void log_backends(const aaclip_model *model)
{
    for (int op = 0; op < AAC_OP_COUNT; op++)
        aac_log(AACLIP_LOG_DEBUG, "%s: %s runs on %s",
                model->checkpoint->file ? aac_tensor_file_path(model->checkpoint->file) : "model",
                aac_op_name((aac_op)op),
                aaclip_model_operation_backend(model, aac_op_name((aac_op)op)));
}

static aaclip_status keep_folder(aaclip_model *model, const char *folder)
{
    if (!folder)
        return AACLIP_OK;
    if (aac_path_kind_of(folder) != AAC_PATH_DIRECTORY)
        return aac_error(
            AACLIP_ERROR_NOT_FOUND,
            "aaclip_model_options.packed_folder: expected a folder, found none at '%s'", folder);
    model->packed_folder = aac_strdup(folder);
    return model->packed_folder ? AACLIP_OK : aac_error_memory();
}

/* Where the checkpoint is: at a path; with `bytes` in memory. */
typedef struct model_source {
    const char *path;
    const void *bytes;
    size_t size;
} model_source;

static aaclip_status open_checkpoint(aac_checkpoint **checkpoint, const model_source *source)
{
    return source->bytes
               ? aac_checkpoint_open_memory(checkpoint, source->bytes, source->size, source->path)
               : aac_checkpoint_open(checkpoint, source->path);
}

static aaclip_status open_parts(aaclip_model *model, const model_source *source,
                                const aaclip_model_options *options)
{
    int threads = (int)(options->threads ? options->threads : aac_processor_count());
    if (threads > aac_threads_limit())
        threads = aac_threads_limit();
    threads = aac_threads_possible(threads);
    model->mutex = aac_mutex_new();
    if (!model->mutex)
        return aac_error_memory();
    aaclip_status status = keep_folder(model, options->packed_folder);
    if (!status)
        status = aac_dispatch_open(&model->dispatch, options->backend, threads);
    if (!status)
        status = open_checkpoint(&model->checkpoint, source);
    if (!status)
        status = choose_precision(model, options->precision);
    return status;
}

static aaclip_status open_model(aaclip_model **out, const model_source *source,
                                const aaclip_model_options *options)
{
    aaclip_model_options own = {.size = sizeof own};
    aaclip_status status = aac_options_read(&own, sizeof own, options, "aaclip_model_options");
    if (!status && own.threads > 4096)
        status =
            aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                      "aaclip_model_options.threads: expected 0 to 4096, found %u", own.threads);
    if (!status && (unsigned)own.precision > AACLIP_PRECISION_F16)
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                           "aaclip_model_options.precision: expected 0 to %d, found %d",
                           AACLIP_PRECISION_F16, (int)own.precision);
    if (!status && source->bytes && own.packed_folder)
        status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                           "aaclip_model_options.packed_folder: expected none for a model in "
                           "memory, found '%s'",
                           own.packed_folder);
    if (status)
        return status;
    aaclip_model *model = aac_calloc(1, sizeof *model);
    if (!model)
        return aac_error_memory();
    atomic_init(&model->references, 1);
    status = open_parts(model, source, &own);
    if (!status)
        status = fingerprint_model(model);
    if (status) {
        aaclip_model_close(&model);
        return status;
    }
    log_backends(model);
    *out = model;
    return AACLIP_OK;
}

aaclip_status aaclip_model_open(aaclip_model **model, const char *path,
                                const aaclip_model_options *options)
{
    if (model)
        *model = NULL;
    if (!model || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_model_open: model or path is NULL");
    return open_model(model, &(model_source){.path = path}, options);
}

aaclip_status aaclip_model_open_memory(aaclip_model **model, const void *bytes, size_t size,
                                       const char *name, const aaclip_model_options *options)
{
    if (model)
        *model = NULL;
    if (!model || !bytes || !name)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_model_open_memory: model, bytes or name is NULL");
    return open_model(model, &(model_source){name, bytes, size}, options);
}

aaclip_model *aac_model_retain(const aaclip_model *model)
{
    if (model)
        atomic_fetch_add(&writable(model)->references, 1);
    return writable(model);
}

void aaclip_model_close(aaclip_model **handle)
{
    if (!handle || !*handle)
        return;
    aaclip_model *model = *handle;
    *handle = NULL;
    if (atomic_fetch_sub(&model->references, 1) != 1)
        return;
    aac_vision_tower_free(&model->vision, model->checkpoint, &model->dispatch);
    aac_text_tower_free(&model->text, model->checkpoint, &model->dispatch);
    aac_checkpoint_close(&model->checkpoint);
    aac_mutex_free(model->mutex);
    aac_free(model->packed_folder);
    aac_free(model);
}

const aac_checkpoint *aac_model_checkpoint(const aaclip_model *model)
{
    return model->checkpoint;
}

const aac_dispatch *aac_model_dispatch(const aaclip_model *model)
{
    return &model->dispatch;
}

aac_dtype aac_model_type(const aaclip_model *model)
{
    return model->type;
}

aac_dtype aac_model_block_type(const aaclip_model *model)
{
    return model->precision == AACLIP_PRECISION_INT8 ? AAC_I8 : model->type;
}

uint64_t aac_model_vision_fingerprint(const aaclip_model *model)
{
    return model->vision_fingerprint;
}

uint64_t aac_model_text_fingerprint(const aaclip_model *model)
{
    return model->text_fingerprint;
}

aaclip_status aac_model_open_packer(const aaclip_model *model, aac_packer *packer,
                                    const aac_tensor_file *source, const char *part, aac_dtype type,
                                    uint64_t fingerprint)
{
    aaclip_precision precision = type == AAC_I8     ? AACLIP_PRECISION_INT8
                                 : type == AAC_BF16 ? AACLIP_PRECISION_BF16
                                 : type == AAC_F16  ? AACLIP_PRECISION_F16
                                                    : AACLIP_PRECISION_F32;
    const aac_packer_setup setup = {
        .dispatch = &model->dispatch,
        .folder = model->packed_folder,
        .source = source,
        .part = part,
        .precision = aaclip_precision_name(precision),
        .fingerprint = fingerprint,
    };
    return aac_packer_open(packer, &setup);
}

static aaclip_status pack_vision_blocks(aaclip_model *model)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): loaded before */
    if (model->vision->blocks)
        return AACLIP_OK;
    aac_packer packer;
    aac_dtype type = aac_model_block_type(model);
    aaclip_status status = aac_model_open_packer(model, &packer, model->checkpoint->file, "image",
                                                 type, model->vision_fingerprint);
    if (!status)
        status = aac_vision_tower_pack_blocks(model->vision, model->checkpoint, &packer, type);
    aac_packer_close(&packer);
    return status;
}

static aaclip_status pack_text(aaclip_model *model)
{
    aac_packer packer;
    aaclip_status status = aac_model_open_packer(model, &packer, model->checkpoint->file, "text",
                                                 model->type, model->text_fingerprint);
    if (!status)
        status = aac_text_tower_new(&model->text, model->checkpoint, &packer, model->type);
    aac_packer_close(&packer);
    return status;
}

aaclip_status aac_model_acquire_vision(const aaclip_model *model, bool blocks,
                                       const aac_vision_tower **tower)
{
    aaclip_model *own = writable(model);
    *tower = NULL;
    aaclip_status status = aac_mutex_take(own->mutex);
    if (status)
        return status;
    status = aac_tensor_file_check(own->checkpoint->file); /* encoders also read it directly */
    if (!status && !own->vision)
        status = aac_vision_tower_new(&own->vision, own->checkpoint, &own->dispatch, own->type);
    if (!status && blocks)
        status = pack_vision_blocks(own);
    if (!status && !blocks && !own->block_users)
        aac_vision_tower_free_blocks(own->vision, own->checkpoint, &own->dispatch);
    if (!status && blocks)
        own->block_users++;
    *tower = status ? NULL : own->vision;
    aac_mutex_unlock(own->mutex);
    return status;
}

/* False if a fork has left the mutex behind: see aac_mutex_take. *locked: false in a log function
 * that closes a handle while its thread prepares another one's weights. */
static bool lock_for_release(aaclip_model *model, bool *locked)
{
    *locked = false;
    if (aac_mutex_is_orphan(model->mutex))
        return false;
    if (aac_mutex_is_own(model->mutex))
        return true;
    aac_mutex_lock(model->mutex);
    return *locked = true;
}

void aac_model_release_vision(const aaclip_model *model, bool blocks)
{
    aaclip_model *own = writable(model);
    bool locked;
    if (!lock_for_release(own, &locked))
        return;
    own->block_users -= blocks;
    if (locked)
        aac_mutex_unlock(own->mutex);
}

aaclip_status aac_model_acquire_text(const aaclip_model *model, const aac_text_tower **tower)
{
    aaclip_model *own = writable(model);
    *tower = NULL;
    if (!own->checkpoint->has_text)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: a deployment bundle has no text tower, so no class can be added",
                         aac_tensor_file_path(own->checkpoint->file));
    aaclip_status status = aac_mutex_take(own->mutex);
    if (status)
        return status;
    status = aac_tensor_file_check(own->checkpoint->file);
    if (!status && !own->text)
        status = pack_text(own);
    if (!status)
        own->text_users++;
    *tower = status ? NULL : own->text;
    aac_mutex_unlock(own->mutex);
    return status;
}

void aac_model_release_text(const aaclip_model *model)
{
    aaclip_model *own = writable(model);
    bool locked;
    if (!lock_for_release(own, &locked))
        return;
    if (--own->text_users == 0)
        aac_text_tower_free(&own->text, own->checkpoint, &own->dispatch);
    if (locked)
        aac_mutex_unlock(own->mutex);
}

aac_activation aac_model_activation(const aaclip_model *model, aaclip_activation activation)
{
    if (activation == AACLIP_ACTIVATION_CHECKPOINT)
        return model->checkpoint->activation == AAC_CHECKPOINT_GELU ? AAC_ACTIVATION_GELU
                                                                    : AAC_ACTIVATION_QUICK_GELU;
    return activation == AACLIP_ACTIVATION_GELU ? AAC_ACTIVATION_GELU : AAC_ACTIVATION_QUICK_GELU;
}

int64_t aac_model_default_size(const aaclip_model *model)
{
    int64_t patch = model->checkpoint->patch, trained = patch * model->checkpoint->grid;
    return trained == 336 ? 518 / patch * patch : trained;
}

aaclip_status aac_model_image_size(const aaclip_model *model, uint32_t asked, const char *what,
                                   int64_t *size)
{
    int64_t patch = model->checkpoint->patch;
    const int64_t largest = 8192; /* cost grows with the fourth power */
    *size = asked ? asked : aac_model_default_size(model);
    if (*size % patch == 0 && *size <= largest)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                     "%s.image_size: expected a multiple of the patch size %lld up to %lld, found "
                     "%lld",
                     what, (long long)patch, (long long)largest, (long long)*size);
}

static void fill_info(aaclip_model_info *info, const aaclip_model *model)
{
    const aac_checkpoint *checkpoint = model->checkpoint;
    *info = (aaclip_model_info){
        .size = sizeof *info,
        .path = aac_tensor_file_path(checkpoint->file),
        .layout = checkpoint->layout,
        .backend = model->dispatch.chain[0]->name,
        .precision = model->precision,
        .threads = (uint32_t)model->dispatch.threads,
        .activation = checkpoint->activation == AAC_CHECKPOINT_GELU ? AACLIP_ACTIVATION_GELU
                                                                    : AACLIP_ACTIVATION_QUICK_GELU,
        .image_layers = (uint32_t)checkpoint->vision.layers,
        .image_width = (uint32_t)checkpoint->vision.width,
        .image_heads = (uint32_t)checkpoint->vision.heads,
        .image_mlp = (uint32_t)checkpoint->vision.mlp,
        .patch_size = (uint32_t)checkpoint->patch,
        .trained_image_size = (uint32_t)(checkpoint->patch * checkpoint->grid),
        .embedding = (uint32_t)checkpoint->embedding,
        .has_text = checkpoint->has_text,
        .fingerprint = model->fingerprint,
    };
    if (checkpoint->has_text) {
        info->text_layers = (uint32_t)checkpoint->text.layers;
        info->text_width = (uint32_t)checkpoint->text.width;
        info->text_heads = (uint32_t)checkpoint->text.heads;
        info->text_mlp = (uint32_t)checkpoint->text.mlp;
        info->context = (uint32_t)checkpoint->context;
        info->vocabulary = (uint32_t)checkpoint->vocabulary;
    }
}

aaclip_status aaclip_model_get_info(const aaclip_model *model, aaclip_model_info *info)
{
    if (!model || !info)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_model_get_info: NULL argument");
    aaclip_model_info own;
    fill_info(&own, model);
    return aac_options_write(info, info->size, &own, sizeof own, "aaclip_model_info");
}
