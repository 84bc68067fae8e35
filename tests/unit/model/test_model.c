/* What a model tells of itself. */
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
#include "model/block_backward.h"
#include "model/vision_encoder_parts.h"

/* Trained at 336, so that detection is at 504: 144 patches in place of 64. */
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
static aac_vision_encoder *make_encoder(const aaclip_model *model)
{
    aaclip_config config;
    aac_vision_encoder *encoder;
    int64_t size;
    aaclip_config_init(&config, AACLIP_PROFILE_DOCUMENT);
    assert_int_equal(aac_config_resolve(&config, sizes.layers, sizes.text_layers), AACLIP_OK);
    assert_int_equal(aac_model_image_size(model, 0, "test", &size), AACLIP_OK);
    assert_int_equal(size, 504);
    const aac_vision_setup setup = {.config = &config, .image_size = size, .training = true};
    if (aac_vision_encoder_new(&encoder, model, &setup))
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_run_where_the_model_says),
    };
    return cmocka_run_group_tests_name("model", tests, scratch_folder_make, scratch_folder_remove);
}
