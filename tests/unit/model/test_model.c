/* What a model reports about itself. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/aaclip.h>

#include "../files/tensor_list.h"
#include "../text/scratch_folder.h"
#include "backend/backend.h"
#include "core/config.h"
#include "core/memory.h"
#include "core/platform.h"
#include "core/platform_parts.h"
#include "model/block_backward.h"
#include "model/block_stream.h"
#include "model/vision_encoder_parts.h"
#include "system.h"

/* Trained at 336, so that detection is at 504: 144 patches instead of 64. */
static const clip_sizes sizes = {
    .width = 2,
    .layers = 4,
    .mlp = 4,
    .patch = 42,
    .grid = 8,
    .embedding = 6,
    .text_width = 4,
    .text_layers = 4,
    .text_mlp = 4,
    .context = 8,
    .vocabulary = 20,
};

static aaclip_model *open_model(const char *folder, const char *backend)
{
    tensor_list clip = {.value = 0.5f};
    aaclip_model *model;
    aaclip_model_options options;
    tensor_list_openai(&clip, "", &sizes);
    char *path = tensor_list_write(&clip, folder, "clip.safetensors", NULL, 0);
    aaclip_model_options_init(&options);
    options.backend = backend;
    options.threads = 1;
    if (aaclip_model_open(&model, path, &options))
        fail_msg("%s", aaclip_last_error());
    aac_free(path);
    return model;
}

/* The encoder of training, at the size that the model takes by itself. */
static aaclip_status try_encoder(aac_vision_encoder **encoder, const aaclip_model *model)
{
    aaclip_config config;
    int64_t size;
    aaclip_config_init(&config, AACLIP_PROFILE_DOCUMENT);
    assert_int_equal(aac_config_resolve(&config, sizes.layers, sizes.text_layers), AACLIP_OK);
    assert_int_equal(aac_model_image_size(model, 0, "test", &size), AACLIP_OK);
    assert_int_equal(size, 504);
    const aac_vision_setup setup = {.config = &config, .image_size = size, .training = true};
    return aac_vision_encoder_new(encoder, model, &setup);
}

static aac_vision_encoder *make_encoder(const aaclip_model *model)
{
    aac_vision_encoder *encoder;
    if (try_encoder(&encoder, model))
        fail_msg("%s", aaclip_last_error());
    return encoder;
}

static void same(const aaclip_model *model, const aac_plan *plan)
{
    const char *operation = aac_op_name(plan->desc.op);
    const char *told = aaclip_model_operation_backend(model, operation);
    if (strcmp(told, plan->backend->name) != 0)
        fail_msg("%s is planned on %s, told as %s", operation, plan->backend->name, told);
}

static void check_backend(const char *folder, const char *backend)
{
    aaclip_model *model = open_model(folder, backend);
    aac_vision_encoder *encoder = make_encoder(model);
    aac_block_backward_plan back;
    assert_int_equal(
        aac_block_backward_plan_make(&back, &encoder->block.shape, aac_model_dispatch(model)),
        AACLIP_OK);
    const aac_plan *const plans[] = {
        encoder->gather,   encoder->normalize,       encoder->block.norm, encoder->block.qkv,
        encoder->block.fc, encoder->block.attention, back.attention,      back.norm,
        back.proj,         encoder->block.activate,  back.activate};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        same(model, plans[i]);
    aac_block_backward_plan_clear(&back);
    aac_vision_encoder_free(&encoder);
    aaclip_model_close(&model);
}

static void operations_run_where_the_model_says(void **state)
{
    for (size_t i = 0; aaclip_backend_name(i); i++)
        if (aaclip_backend_available(aaclip_backend_name(i)))
            check_backend(*state, aaclip_backend_name(i));
}

static void refuse(aaclip_status status, const char *path)
{
    char *expected = aac_format("%s: changed since it was opened", path);
    assert_int_equal(status, AACLIP_ERROR_IO);
    assert_string_equal(aaclip_last_error(), expected);
    aac_free(expected);
}

static void a_file_that_is_written_over_is_not_read_on(void **state)
{
    aaclip_model *model = open_model(*state, "reference");
    char *path = aac_format("%s/clip.safetensors", (char *)*state);
    char *copy = aac_format("%s/copy.safetensors", (char *)*state);
    const aac_text_tower *text;
    aac_vision_encoder *encoder;
    const aac_checkpoint *checkpoint = aac_model_checkpoint(model);
    const aac_block *block;
    aac_block_stream stream;
    aac_block_stream_init(&stream, checkpoint->file, checkpoint->vision_blocks,
                          aac_model_dispatch(model), AAC_F32);
    assert_int_equal(aac_block_stream_get(&stream, 0, &block), AACLIP_OK);
    assert_int_equal(aac_model_acquire_text(model, &text), AACLIP_OK);
    scratch_write_over(path);
    refuse(try_encoder(&encoder, model), path);
    refuse(aac_model_acquire_text(model, &text), path);
    assert_null(text);
    refuse(aac_block_stream_get(&stream, 1, &block), path);
    aac_block_stream_clear(&stream);
    refuse(aaclip_model_save(model, copy, false), path);
    assert_int_equal(aac_path_kind_of(copy), AAC_PATH_MISSING);
    aac_model_release_text(model);
    aaclip_model_close(&model);
    aac_free(path);
    aac_free(copy);
}

static void a_file_that_was_replaced_stays_what_it_was(void **state)
{
    if (!system_is_posix())
        skip(); /* Windows does not let go of the name of what is mapped */
    aaclip_model *model = open_model(*state, "reference");
    char *path = aac_format("%s/clip.safetensors", (char *)*state);
    aac_sleep(0.05);
    assert_int_equal(aaclip_model_save(model, path, true), AACLIP_OK);
    aac_vision_encoder *encoder = make_encoder(model);
    aac_vision_encoder_free(&encoder);
    aac_file_remove(path);
    encoder = make_encoder(model);
    aac_vision_encoder_free(&encoder);
    aaclip_model_close(&model);
    aac_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_run_where_the_model_says),
        cmocka_unit_test(a_file_that_is_written_over_is_not_read_on),
        cmocka_unit_test(a_file_that_was_replaced_stays_what_it_was),
    };
    return cmocka_run_group_tests_name("model", tests, scratch_folder_make, scratch_folder_remove);
}
