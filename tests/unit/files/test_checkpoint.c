/* Checkpoints of every layout: what opens, and how each defect is reported. */
#define _GNU_SOURCE

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../text/scratch_folder.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/checkpoint.h"
#include "system.h"
#include "tensor_list.h"
#include "zip_builder.h"

static const clip_sizes small = {
    .width = 32,
    .layers = 2,
    .mlp = 48,
    .patch = 4,
    .grid = 3,
    .embedding = 24,
    .text_width = 16,
    .text_layers = 3,
    .text_mlp = 40,
    .context = 8,
    .vocabulary = 20,
};

static tensor_list openai(void)
{
    tensor_list list = {0};
    tensor_list_openai(&list, "", &small);
    return list;
}

static tensor_list huggingface(void)
{
    tensor_list list = {0};
    tensor_list_huggingface(&list, &small);
    return list;
}

/* Opening must fail with a text that begins with the file, or with `file` inside `path`. */
static void refuse(const char *path, const char *file, aaclip_status expected, const char *text)
{
    aac_checkpoint *checkpoint;
    char *start = file ? aac_format("%s/%s: ", path, file) : aac_format("%s: ", path);
    aaclip_status status = aac_checkpoint_open(&checkpoint, path);
    const char *found = aaclip_last_error();
    assert_null(checkpoint);
    if (status != expected || strncmp(found, start, strlen(start)) != 0 || !strstr(found, text))
        fail_msg("expected %d with\n%s%s\nfound %d with\n%s", (int)expected, start, text,
                 (int)status, found);
    aac_free(start);
}

static void refuse_list(const tensor_list *list, const char *folder, aaclip_status expected,
                        const char *text)
{
    char *path = tensor_list_write(list, folder, "clip.safetensors", NULL, 0);
    refuse(path, NULL, expected, text);
    aac_free(path);
}

static aac_checkpoint *open_well(const char *path, const char *layout)
{
    aac_checkpoint *checkpoint;
    if (aac_checkpoint_open(&checkpoint, path))
        fail_msg("%s", aaclip_last_error());
    assert_string_equal(checkpoint->layout, layout);
    assert_true(checkpoint->has_text);
    assert_int_equal(checkpoint->vision.width, small.width);
    assert_int_equal(checkpoint->vision.layers, small.layers);
    assert_int_equal(checkpoint->vision.mlp, small.mlp);
    assert_int_equal(checkpoint->patch, small.patch);
    assert_int_equal(checkpoint->grid, small.grid);
    assert_int_equal(checkpoint->embedding, small.embedding);
    assert_int_equal(checkpoint->vision_projection.shape[0], small.width);
    assert_int_equal(checkpoint->text.width, small.text_width);
    assert_int_equal(checkpoint->text.layers, small.text_layers);
    assert_int_equal(checkpoint->text.mlp, small.text_mlp);
    assert_int_equal(checkpoint->context, small.context);
    assert_int_equal(checkpoint->vocabulary, small.vocabulary);
    assert_int_equal(checkpoint->text_projection.shape[0], small.text_width);
    return checkpoint;
}

static void state_dicts_open_with_every_prefix(void **state)
{
    static const char *const prefixes[] = {
        "", "state_dict.", "module.", "state_dict.module.", "model.", "state_dict.model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        tensor_list list = {0};
        tensor_list_openai(&list, prefixes[i], &small);
        char *path = tensor_list_write(&list, *state, "clip.safetensors", NULL, 0);
        aac_checkpoint *checkpoint = open_well(path, "OpenAI state dict");
        assert_int_equal(checkpoint->vision.heads, 1);
        assert_int_equal(checkpoint->activation, AAC_CHECKPOINT_QUICK_GELU);
        aac_checkpoint_close(&checkpoint);
        aac_free(path);
    }
}

static void hugging_face_opens_in_every_type(void **state)
{
    static const aac_dtype types[] = {AAC_F32, AAC_F16, AAC_BF16, AAC_F64};
    char *config = scratch_text(*state, "config.json",
                                "{\"vision_config\":{\"num_attention_heads\":4,\"hidden_act\":"
                                "\"gelu\",\"layer_norm_eps\":0.001},\"text_config\":{"
                                "\"num_attention_heads\":2,\"hidden_act\":\"gelu\","
                                "\"layer_norm_eps\":0.001}}");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tensor_list list = huggingface();
        tensor_list_set_type(&list, types[i]);
        char *path = tensor_list_write(&list, *state, "model.safetensors", NULL, 0);
        aac_checkpoint *checkpoint = open_well(*state, "Hugging Face");
        assert_int_equal(checkpoint->vision_blocks[1].qkv_weight.count, 3);
        assert_int_equal(checkpoint->token_embedding.dtype, types[i]);
        assert_int_equal(checkpoint->vision.heads, 4);
        assert_int_equal(checkpoint->text.heads, 2);
        assert_int_equal(checkpoint->activation, AAC_CHECKPOINT_GELU);
        assert_true(checkpoint->text.layer_norm_eps == 0.001f);
        aac_checkpoint_close(&checkpoint);
        aac_free(path);
    }
    aac_free(config);
}

static void a_missing_config_takes_the_usual_values(void **state)
{
    tensor_list list = huggingface();
    char *path = tensor_list_write(&list, *state, "model.safetensors", NULL, 0);
    aac_checkpoint *checkpoint = open_well(*state, "Hugging Face");
    assert_int_equal(checkpoint->vision.heads, 1);
    assert_int_equal(checkpoint->activation, AAC_CHECKPOINT_QUICK_GELU);
    assert_true(checkpoint->vision.layer_norm_eps == 1e-5f);
    aac_checkpoint_close(&checkpoint);
    aac_free(path);
}

typedef struct journal {
    int warnings;
    char last[512];
} journal;

static void record(aaclip_log_level level, const char *message, void *user)
{
    journal *own = user;
    own->warnings += level == AACLIP_LOG_WARNING;
    snprintf(own->last, sizeof own->last, "%s", message);
}

static journal open_and_listen(const char *path, const char *layout)
{
    journal heard = {0};
    aaclip_set_log(record, AACLIP_LOG_WARNING, &heard);
    aac_checkpoint *checkpoint = open_well(path, layout);
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    aac_checkpoint_close(&checkpoint);
    return heard;
}

/* Whether a state dict is OpenAI's or LAION's only a configuration tells. */
static void what_is_guessed_of_a_state_dict_is_told(void **state)
{
    static const aac_metadata activation = {"aaclip.activation", "gelu"};
    tensor_list list = openai();
    char *path = tensor_list_write(&list, *state, "clip.safetensors", NULL, 0);
    journal heard = open_and_listen(path, "OpenAI state dict");
    assert_int_equal(heard.warnings, 1);
    assert_non_null(strstr(heard.last, path));
    assert_non_null(strstr(heard.last, "no open_clip_config.json beside it; assuming QuickGELU"));
    char *config = scratch_text(*state, "open_clip_config.json", "{\"model_cfg\":{}}");
    assert_int_equal(open_and_listen(path, "open_clip").warnings, 0);
    assert_int_equal(remove(config), 0);
    aac_free(path);
    path = tensor_list_write(&list, *state, "clip.safetensors", &activation, 1);
    assert_int_equal(open_and_listen(path, "libaaclip").warnings, 0);
    aac_free(config);
    aac_free(path);
}

/* Spoils one tensor after the other; each time the text must name the spoilt one. */
static void spoil_each(const tensor_list *whole, const char *folder,
                       void (*spoil)(listed_tensor *tensor), const char *text)
{
    for (size_t i = 0; i < whole->count; i++) {
        tensor_list list = *whole;
        char *named = aac_format("%s: expected ", whole->tensors[i].name);
        spoil(&list.tensors[i]);
        char *path = tensor_list_write(&list, folder, "clip.safetensors", NULL, 0);
        aac_checkpoint *checkpoint;
        aaclip_status status = aac_checkpoint_open(&checkpoint, path);
        const char *found = aaclip_last_error();
        if ((status != AACLIP_ERROR_FORMAT && status != AACLIP_ERROR_MISMATCH) ||
            strncmp(found, path, strlen(path)) != 0 || !strstr(found, named) ||
            !strstr(found, text))
            fail_msg("expected %s...%s\nfound %d with %s", named, text, (int)status, found);
        aac_free(named);
        aac_free(path);
    }
}

static void add_dimension(listed_tensor *tensor)
{
    tensor->shape[tensor->rank++] = 1;
}

static void empty_it(listed_tensor *tensor)
{
    tensor->shape[0] = 0;
}

static void make_integers(listed_tensor *tensor)
{
    tensor->dtype = AAC_I32;
}

static void every_spoilt_tensor_is_named(void **state)
{
    tensor_list lists[] = {openai(), huggingface()};
    const char *conv[] = {"visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"};
    for (int i = 0; i < 2; i++) {
        spoil_each(&lists[i], *state, add_dimension, ", found ");
        spoil_each(&lists[i], *state, empty_it, ", found 0");
        spoil_each(&lists[i], *state, make_integers, "expected floating point");
        tensor_list without = lists[i];
        tensor_list_remove(&without, conv[i]);
        refuse_list(&without, *state, AACLIP_ERROR_FORMAT,
                    "expected a CLIP with visual.conv1.weight or "
                    "vision_model.embeddings.patch_embedding.weight, found neither");
    }
}

static void every_missing_tensor_is_named(void **state)
{
    tensor_list lists[] = {openai(), huggingface()};
    for (int i = 0; i < 2; i++)
        for (size_t j = 1; j < lists[i].count; j++) { /* after the patches, which tell the layout */
            tensor_list list = lists[i];
            char *text = aac_format("%s: expected ", lists[i].tensors[j].name);
            tensor_list_remove(&list, lists[i].tensors[j].name);
            refuse_list(&list, *state, AACLIP_ERROR_FORMAT, text);
            assert_non_null(strstr(aaclip_last_error(), ", found no such tensor"));
            aac_free(text);
        }
}

static void a_missing_text_tower_is_told(void **state)
{
    static const char *const image[] = {"visual.", "vision_model.", "visual_projection."};
    const tensor_list lists[] = {openai(), huggingface()};
    for (int i = 0; i < 2; i++) {
        tensor_list list = lists[i];
        for (size_t j = 0; j < lists[i].count; j++) {
            const char *name = lists[i].tensors[j].name;
            bool of_image = false;
            for (int k = 0; k < 3; k++)
                of_image = of_image || strncmp(name, image[k], strlen(image[k])) == 0;
            if (!of_image)
                tensor_list_remove(&list, name);
        }
        refuse_list(&list, *state, AACLIP_ERROR_FORMAT,
                    "expected an image tower and a text tower, found no text tower");
    }
}

static void shapes_must_agree(void **state)
{
    static const struct {
        const char *name;
        int dimension;
        int64_t size;
        aaclip_status status;
        const char *text;
    } lies[] = {
        {"visual.proj", 0, 31, AACLIP_ERROR_MISMATCH, "visual.proj: expected 32 x ?, found 31x24"},
        {"text_projection", 1, 25, AACLIP_ERROR_MISMATCH,
         "text_projection: expected 16 x 24, found 16x25"},
        {"visual.conv1.weight", 1, 1, AACLIP_ERROR_MISMATCH,
         "visual.conv1.weight: expected floating point width x 3 x patch x patch, found 32x1x4x4"},
        {"visual.conv1.weight", 3, 5, AACLIP_ERROR_MISMATCH, "found 32x3x4x5"},
        {"visual.conv1.weight", 0, 16, AACLIP_ERROR_MISMATCH,
         "visual.class_embedding: expected 16, found 32"},
        {"visual.positional_embedding", 0, 11, AACLIP_ERROR_UNSUPPORTED,
         "expected a square grid and a class token, found 11 rows"},
        {"visual.positional_embedding", 0, 1, AACLIP_ERROR_UNSUPPORTED, "found 1 rows"},
        {"visual.transformer.resblocks.1.mlp.c_fc.weight", 0, 47, AACLIP_ERROR_MISMATCH,
         "visual.transformer.resblocks.1.mlp.c_fc.weight: expected 48 x 32, found 47x32"},
        {"transformer.resblocks.2.attn.in_proj_weight", 0, 47, AACLIP_ERROR_MISMATCH,
         "transformer.resblocks.2.attn.in_proj_weight: expected 48 x 16, found 47x16"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        tensor_list list = openai();
        tensor_list_find(&list, lies[i].name)->shape[lies[i].dimension] = lies[i].size;
        refuse_list(&list, *state, lies[i].status, lies[i].text);
    }
}

static void towers_need_blocks_without_gaps(void **state)
{
    clip_sizes sizes = small;
    sizes.layers = 0;
    tensor_list list = {0};
    tensor_list_openai(&list, "", &sizes);
    refuse_list(&list, *state, AACLIP_ERROR_FORMAT,
                "visual.transformer.resblocks.0.ln_1.weight: expected 32, found no such tensor");
    sizes.layers = 1;
    sizes.text_layers = 0;
    list.count = 0;
    tensor_list_huggingface(&list, &sizes);
    refuse_list(
        &list, *state, AACLIP_ERROR_FORMAT,
        "text_model.encoder.layers.0.layer_norm1.weight: expected 16, found no such tensor");
    list = openai();
    tensor_list_add(&list, "transformer.resblocks.4.ln_1.weight", small.text_width, 0);
    refuse_list(&list, *state, AACLIP_ERROR_FORMAT,
                "transformer.resblocks.3.ln_1.weight: expected 16, found no such tensor");
    list = openai();
    tensor_list_add(&list, "transformer.resblocks.99999999999999999999.ln_1.weight", 16, 0);
    refuse_list(&list, *state, AACLIP_ERROR_FORMAT, "transformer.resblocks.3.ln_1.weight");
    list = openai(); /* of another tower, or no number: none of our business */
    tensor_list_add(&list, "other.transformer.resblocks.9.ln_1.weight", 16, 0);
    tensor_list_add(&list, "transformer.resblocks.x.ln_1.weight", 16, 0);
    char *path = tensor_list_write(&list, *state, "clip.safetensors", NULL, 0);
    aac_checkpoint *checkpoint = open_well(path, "OpenAI state dict");
    aac_checkpoint_close(&checkpoint);
    aac_free(path);
}

/* A ResNet's stem shares its name with the patch convolution of a transformer. */
static void other_image_towers_are_told(void **state)
{
    static const char *const prefixes[] = {"", "module.", "state_dict."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        tensor_list list = {0};
        char name[128], *text;
        tensor_list_openai(&list, prefixes[i], &small);
        snprintf(name, sizeof name, "%svisual.layer1.0.conv1.weight", prefixes[i]);
        tensor_list_add(&list, name, 64, 64);
        text = aac_format("%s: expected CLIP's vision transformer, found a ResNet CLIP", name);
        refuse_list(&list, *state, AACLIP_ERROR_UNSUPPORTED, text);
        aac_free(text);
    }
    char *config = scratch_text(*state, "open_clip_config.json",
                                "{\"model_cfg\":{\"vision_cfg\":{\"layers\":[3,4,6,3]}}}");
    tensor_list list = openai();
    tensor_list_add(&list, "visual.layer1.0.conv1.weight", 64, 64);
    char *path = tensor_list_write(&list, *state, "open_clip_model.safetensors", NULL, 0);
    refuse(*state, "open_clip_model.safetensors", AACLIP_ERROR_UNSUPPORTED, "a ResNet CLIP");
    tensor_list timm = {0};
    tensor_list_add(&timm, "visual.trunk.patch_embed.proj.weight", 8, 8);
    refuse_list(&timm, *state, AACLIP_ERROR_UNSUPPORTED,
                "visual.trunk.patch_embed.proj.weight: expected CLIP's vision transformer, found a "
                "timm tower");
    aac_free(config);
    aac_free(path);
}

typedef struct config_case {
    const char *json;
    aaclip_status status; /* AACLIP_OK: opens, with `heads` */
    const char *text;
    int64_t heads;
} config_case;

static void check_configs(const char *folder, const char *weights, const char *name,
                          const config_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *path = scratch_text(folder, name, cases[i].json);
        if (cases[i].status) {
            /* what the weights contradict is told of the weights, what is malformed of the config
             */
            bool of_config = strncmp(cases[i].text, "image tower", 11) != 0 &&
                             strncmp(cases[i].text, "text tower", 10) != 0;
            refuse(folder, of_config ? name : weights, cases[i].status, cases[i].text);
        } else {
            aac_checkpoint *checkpoint;
            if (aac_checkpoint_open(&checkpoint, folder))
                fail_msg("%s\n%s", cases[i].json, aaclip_last_error());
            assert_int_equal(checkpoint->vision.heads, cases[i].heads);
            aac_checkpoint_close(&checkpoint);
        }
        aac_free(path);
    }
}

#define VISION(fields) "{\"vision_config\":{" fields "}}"

static void absurd_hugging_face_configs_are_refused(void **state)
{
    static const config_case cases[] = {
        {"{}", AACLIP_OK, NULL, 1},
        {VISION(""), AACLIP_OK, NULL, 1},
        {VISION("\"num_attention_heads\":8"), AACLIP_OK, NULL, 8},
        {"", AACLIP_ERROR_FORMAT, "line 1: ", 0},
        {"[1]", AACLIP_ERROR_FORMAT, "expected a JSON object", 0},
        {"{\"vision_config\":", AACLIP_ERROR_FORMAT, "line 1: ", 0},
        {"{\"vision_config\":{},\"vision_config\":{}}", AACLIP_ERROR_FORMAT, "duplicate", 0},
        {"{\"vision_config\":7}", AACLIP_ERROR_FORMAT, "vision_config: expected an object, found 7",
         0},
        {"{\"text_config\":[]}", AACLIP_ERROR_FORMAT, "text_config: expected an object, found []",
         0},
        {VISION("\"num_attention_heads\":-4"), AACLIP_ERROR_FORMAT,
         "vision_config.num_attention_heads: expected a positive whole number, found -4", 0},
        {VISION("\"num_attention_heads\":0"), AACLIP_ERROR_FORMAT, "found 0", 0},
        {VISION("\"num_attention_heads\":4.5"), AACLIP_ERROR_FORMAT, "found 4.5", 0},
        {VISION("\"num_attention_heads\":\"4\""), AACLIP_ERROR_FORMAT, "found \"4\"", 0},
        {VISION("\"num_attention_heads\":null"), AACLIP_ERROR_FORMAT, "found null", 0},
        {VISION("\"num_attention_heads\":9223372036854775808"), AACLIP_ERROR_FORMAT,
         "line 1: too big integer", 0},
        {VISION("\"num_attention_heads\":9223372036854775807"), AACLIP_ERROR_UNSUPPORTED,
         "image tower: expected a number of heads that divides the width 32, found "
         "9223372036854775807",
         0},
        {VISION("\"num_attention_heads\":5"), AACLIP_ERROR_UNSUPPORTED,
         "image tower: expected a number of heads that divides the width 32, found 5", 0},
        {"{\"text_config\":{\"num_attention_heads\":3}}", AACLIP_ERROR_UNSUPPORTED,
         "text tower: expected a number of heads that divides the width 16, found 3", 0},
        {VISION("\"layer_norm_eps\":-1e-5"), AACLIP_ERROR_FORMAT,
         "vision_config.layer_norm_eps: expected a number above 0, at most 1, found -1", 0},
        {VISION("\"layer_norm_eps\":1e300"), AACLIP_ERROR_FORMAT, "found 1", 0},
        {VISION("\"layer_norm_eps\":1e-52"), AACLIP_ERROR_FORMAT, "found 1", 0}, /* 0 in float32 */
        {VISION("\"layer_norm_eps\":1e999"), AACLIP_ERROR_FORMAT, "line 1: real number overflow",
         0},
        {VISION("\"layer_norm_eps\":\"small\""), AACLIP_ERROR_FORMAT, "found \"small\"", 0},
        {VISION("\"layer_norm_eps\":1e-6"), AACLIP_ERROR_UNSUPPORTED,
         "layer_norm_eps: expected the same for both towers, found 1e-06 and 1e-05", 0},
        {VISION("\"hidden_act\":\"relu\""), AACLIP_ERROR_UNSUPPORTED,
         "hidden_act: expected the same for both towers, found relu and quick_gelu", 0},
        {"{\"vision_config\":{\"hidden_act\":\"relu\"},\"text_config\":{\"hidden_act\":\"relu\"}}",
         AACLIP_ERROR_UNSUPPORTED, "activation: expected quick_gelu or gelu, found relu", 0},
        {VISION("\"hidden_act\":5"), AACLIP_ERROR_FORMAT,
         "vision_config.hidden_act: expected a name, found 5", 0},
    };
    tensor_list list = huggingface();
    char *path = tensor_list_write(&list, *state, "model.safetensors", NULL, 0);
    check_configs(*state, "model.safetensors", "config.json", cases, sizeof cases / sizeof *cases);
    aac_free(path);
}

#define MODEL(fields) "{\"model_cfg\":{" fields "}}"

static void absurd_open_clip_configs_are_refused(void **state)
{
    static const config_case cases[] = {
        {MODEL(""), AACLIP_OK, NULL, 1},
        {MODEL("\"vision_cfg\":{\"head_width\":4}"), AACLIP_OK, NULL, 8},
        {MODEL("\"text_cfg\":{\"hf_model_name\":null}"), AACLIP_OK, NULL, 1},
        {"{}", AACLIP_ERROR_FORMAT, "model_cfg: expected an object, found nothing", 0},
        {"{\"model_cfg\":\"ViT-L-14\"}", AACLIP_ERROR_FORMAT,
         "model_cfg: expected an object, found \"ViT-L-14\"", 0},
        {MODEL("\"vision_cfg\":[]"), AACLIP_ERROR_FORMAT,
         "model_cfg.vision_cfg: expected an object, found []", 0},
        {MODEL("\"vision_cfg\":{\"head_width\":-64}"), AACLIP_ERROR_FORMAT,
         "vision_cfg.head_width: expected a positive whole number, found -64", 0},
        {MODEL("\"vision_cfg\":{\"head_width\":\"64\"}"), AACLIP_ERROR_FORMAT, "found \"64\"", 0},
        {MODEL("\"vision_cfg\":{\"head_width\":1000000000000}"), AACLIP_ERROR_UNSUPPORTED,
         "image tower: expected a head width that divides the width 32, found 1000000000000", 0},
        {MODEL("\"vision_cfg\":{\"head_width\":5}"), AACLIP_ERROR_UNSUPPORTED,
         "image tower: expected a head width that divides the width 32, found 5", 0},
        {MODEL("\"text_cfg\":{\"heads\":0}"), AACLIP_ERROR_FORMAT, "text_cfg.heads", 0},
        {MODEL("\"text_cfg\":{\"heads\":32}"), AACLIP_ERROR_UNSUPPORTED,
         "text tower: expected a number of heads that divides the width 16, found 32", 0},
        {MODEL("\"quick_gelu\":\"yes\""), AACLIP_ERROR_FORMAT,
         "model_cfg.quick_gelu: expected true or false, found \"yes\"", 0},
        {MODEL("\"text_cfg\":{\"hf_model_name\":\"roberta-base\"}"), AACLIP_ERROR_UNSUPPORTED,
         "text_cfg.hf_model_name: expected CLIP's own tower, found roberta-base", 0},
        {MODEL("\"vision_cfg\":{\"timm_model_name\":\"convnext_base\"}"), AACLIP_ERROR_UNSUPPORTED,
         "vision_cfg.timm_model_name: expected CLIP's own tower, found convnext_base", 0},
    };
    tensor_list list = openai();
    char *path = tensor_list_write(&list, *state, "open_clip_model.safetensors", NULL, 0);
    check_configs(*state, "open_clip_model.safetensors", "open_clip_config.json", cases,
                  sizeof cases / sizeof *cases);
    aac_free(path);
}

static void hostile_configs_are_bounded(void **state)
{
    const size_t depth = 100000;
    tensor_list list = huggingface();
    char *path = tensor_list_write(&list, *state, "model.safetensors", NULL, 0);
    char *nested = malloc(depth + 32);
    int start = sprintf(nested, "{\"vision_config\":");
    memset(nested + start, '[', depth);
    nested[(size_t)start + depth] = '\0';
    char *config = scratch_text(*state, "config.json", nested);
    refuse(*state, "config.json", AACLIP_ERROR_FORMAT, "maximum parsing depth");
    assert_int_equal(system_resize_file(config, (4 << 20) + 1), 0);
    refuse(*state, "config.json", AACLIP_ERROR_FORMAT,
           "config.json: expected at most 4194304 bytes, found 4194305");
    remove(config);
    assert_int_equal(system_make_folder(config), 0); /* a folder of that name is no configuration */
    aac_checkpoint *checkpoint = open_well(*state, "Hugging Face");
    aac_checkpoint_close(&checkpoint);
    free(nested);
    aac_free(config);
    aac_free(path);
}

static void own_metadata_is_checked(void **state)
{
    static const struct {
        const char *key, *value, *text;
        aaclip_status status;
    } lies[] = {
        {"aaclip.activation", "tanh", "activation: expected quick_gelu or gelu, found tanh",
         AACLIP_ERROR_UNSUPPORTED},
        {"aaclip.vision_heads", "many",
         "metadata aaclip.vision_heads: expected a positive whole number, found many",
         AACLIP_ERROR_FORMAT},
        {"aaclip.vision_heads", "-1", "found -1", AACLIP_ERROR_FORMAT},
        {"aaclip.vision_heads", "", "found ", AACLIP_ERROR_FORMAT},
        {"aaclip.text_heads", "2x", "aaclip.text_heads", AACLIP_ERROR_FORMAT},
        {"aaclip.text_heads", "99999999999999999999", "found 9223372036854775807",
         AACLIP_ERROR_UNSUPPORTED},
        {"aaclip.layer_norm_eps", "tiny",
         "metadata aaclip.layer_norm_eps: expected a number above 0, at most 1, found tiny",
         AACLIP_ERROR_FORMAT},
        {"aaclip.layer_norm_eps", "0", "found 0", AACLIP_ERROR_FORMAT},
    };
    const tensor_list list = openai();
    aac_metadata metadata[] = {{"aaclip.activation", "gelu"},
                               {"aaclip.vision_heads", "2"},
                               {"aaclip.text_heads", "4"},
                               {"aaclip.layer_norm_eps", "0.001"}};
    char *path = tensor_list_write(&list, *state, "own.safetensors", metadata, 4);
    aac_checkpoint *checkpoint = open_well(path, "libaaclip");
    assert_int_equal(checkpoint->vision.heads, 2);
    assert_int_equal(checkpoint->text.heads, 4);
    aac_checkpoint_close(&checkpoint);
    aac_free(path);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        for (size_t j = 0; j < 4; j++)
            if (strcmp(metadata[j].key, lies[i].key) == 0) {
                aac_metadata spoilt[4];
                memcpy(spoilt, metadata, sizeof spoilt);
                spoilt[j].value = lies[i].value;
                path = tensor_list_write(&list, *state, "own.safetensors", spoilt, 4);
                refuse(path, NULL, lies[i].status, lies[i].text);
                aac_free(path);
            }
}

static void folders_must_be_clear(void **state)
{
    tensor_list list = openai();
    refuse(*state, NULL, AACLIP_ERROR_NOT_FOUND, "a single .pt or .safetensors file, found 0");
    char *first = tensor_list_write(&list, *state, "a.safetensors", NULL, 0);
    char *leftover = scratch_text(*state, "b.safetensors.x4Tq9Z", "half");
    aac_checkpoint *checkpoint = open_well(*state, "OpenAI state dict");
    aac_checkpoint_close(&checkpoint);
    char *second = scratch_text(*state, "b.pt", "");
    refuse(*state, NULL, AACLIP_ERROR_NOT_FOUND, "a single .pt or .safetensors file, found 2");
    static const char *const indices[] = {"model.safetensors.index.json",
                                          "pytorch_model.bin.index.json"};
    for (int i = 0; i < 2; i++) {
        char *index = scratch_text(*state, indices[i], "{}");
        refuse(*state, NULL, AACLIP_ERROR_UNSUPPORTED,
               "the model is split into several files; save it as one");
        remove(index);
        aac_free(index);
    }
    char *nowhere = aac_format("%s/none", (char *)*state);
    refuse(nowhere, NULL, AACLIP_ERROR_NOT_FOUND, "No such file");
    aac_free(first);
    aac_free(leftover);
    aac_free(second);
    aac_free(nowhere);
}

static void a_pipe_is_no_model(void **state)
{
    if (!system_is_posix())
        skip();
    char *pipe = aac_format("%s/model.safetensors", (char *)*state);
    assert_int_equal(system_make_pipe(pipe), 0);
    refuse(*state, "model.safetensors", AACLIP_ERROR_IO, "expected a regular file");
    aac_free(pipe);
}

static void archives_without_content_are_refused(void **state)
{
    zip_builder *zip = calloc(1, sizeof *zip);
    memcpy(zip->bytes, "PK\3\4", 4); /* something in front, but no entry */
    zip->size = 4;
    zip_builder_finish(zip);
    char *path = scratch_file(*state, "clip.pt", zip->bytes, zip->size);
    refuse(path, NULL, AACLIP_ERROR_FORMAT, "a zip archive without <folder>/data.pkl");
    aac_free(path);
    memset(zip, 0, sizeof *zip);
    zip_builder_add(zip, "clip/data.pkl", "\x80\x02}.", 4); /* an empty dict */
    zip_builder_finish(zip);
    path = scratch_file(*state, "clip.pt", zip->bytes, zip->size);
    refuse(path, NULL, AACLIP_ERROR_FORMAT, "found neither");
    aac_free(path);
    path = scratch_file(*state, "clip.safetensors", "\2\0\0\0\0\0\0\0{}", 10);
    refuse(path, NULL, AACLIP_ERROR_FORMAT, "found neither");
    aac_free(path);
    free(zip);
}

#define IN_SCRATCH(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, scratch_folder_make, scratch_folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(state_dicts_open_with_every_prefix),
        IN_SCRATCH(hugging_face_opens_in_every_type),
        IN_SCRATCH(a_missing_config_takes_the_usual_values),
        IN_SCRATCH(what_is_guessed_of_a_state_dict_is_told),
        IN_SCRATCH(every_spoilt_tensor_is_named),
        IN_SCRATCH(every_missing_tensor_is_named),
        IN_SCRATCH(a_missing_text_tower_is_told),
        IN_SCRATCH(shapes_must_agree),
        IN_SCRATCH(towers_need_blocks_without_gaps),
        IN_SCRATCH(other_image_towers_are_told),
        IN_SCRATCH(absurd_hugging_face_configs_are_refused),
        IN_SCRATCH(absurd_open_clip_configs_are_refused),
        IN_SCRATCH(hostile_configs_are_bounded),
        IN_SCRATCH(own_metadata_is_checked),
        IN_SCRATCH(folders_must_be_clear),
        IN_SCRATCH(a_pipe_is_no_model),
        IN_SCRATCH(archives_without_content_are_refused),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
