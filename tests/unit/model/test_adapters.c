/* Adapter files: which ones open, and how each defect is reported. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include <aaclip/aaclip.h>

#include "../files/tensor_list.h"
#include "../text/scratch_folder.h"
#include "core/config.h"
#include "core/memory.h"
#include "core/platform.h"

enum { WIDTH = 8, TEXT_WIDTH = 4, EMBEDDING = 6, LAYERS = 4, TEXT_LAYERS = 4, ADAPTED = 3 };

static const clip_sizes sizes = {
    .width = WIDTH,
    .layers = LAYERS,
    .mlp = 8,
    .patch = 2,
    .grid = 5,
    .embedding = EMBEDDING,
    .text_width = TEXT_WIDTH,
    .text_layers = TEXT_LAYERS,
    .text_mlp = 4,
    .context = 8,
    .vocabulary = 20,
};

typedef struct fixture {
    char *folder;
    aaclip_model *model;
} fixture;

static aaclip_model *open_model(const char *folder, float value)
{
    tensor_list clip = {.value = value};
    aaclip_model *model;
    aaclip_model_options options;
    tensor_list_openai(&clip, "", &sizes);
    char name[40]; /* Windows replaces no file that an open model has mapped */
    snprintf(name, sizeof name, "clip-%g.safetensors", (double)value);
    char *path = tensor_list_write(&clip, folder, name, NULL, 0);
    aaclip_model_options_init(&options);
    options.backend = "reference";
    options.threads = 1;
    if (aaclip_model_open(&model, path, &options))
        fail_msg("%s", aaclip_last_error());
    aac_free(path);
    return model;
}

static int set_up(void **state)
{
    static fixture own;
    void *folder;
    if (scratch_folder_make(&folder))
        return -1;
    own.folder = folder;
    own.model = open_model(folder, 0.5f);
    *state = &own;
    return 0;
}

static int tear_down(void **state)
{
    fixture *own = *state;
    void *folder = own->folder;
    aaclip_model_close(&own->model);
    return scratch_folder_remove(&folder);
}

static void add_module(tensor_list *list, const char *module, int number, const char *matrix,
                       int64_t rows, int64_t columns)
{
    char name[128];
    if (number < 0)
        snprintf(name, sizeof name, "%s.%s", module, matrix);
    else
        snprintf(name, sizeof name, "%s.%d.%s", module, number, matrix);
    tensor_list_add(list, name, rows, columns);
}

static void add_layers(tensor_list *list, const char *module, int64_t width, bool document)
{
    for (int i = 0; i < ADAPTED; i++) {
        if (!document) {
            add_module(list, module, i, "fc.0.weight", width, width);
            continue;
        }
        add_module(list, module, i, "fc1.weight", width / 2, width);
        add_module(list, module, i, "fc2.weight", width, width / 2);
    }
}

static tensor_list text_adapters_named(bool document, const char *projection)
{
    tensor_list list = {.value = 0.25f};
    add_layers(&list, "text_adapter", TEXT_WIDTH, document);
    add_module(&list, "text_adapter", ADAPTED, projection, EMBEDDING, TEXT_WIDTH);
    return list;
}

static tensor_list text_adapters(bool document)
{
    return text_adapters_named(document, "fc.0.weight");
}

static tensor_list image_adapters(bool document)
{
    tensor_list list = {.value = 0.25f};
    const char *matrix = document ? "fc.0.weight" : "fc.weight";
    add_layers(&list, "image_adapter.layer_adapters", WIDTH, document);
    for (int i = 0; i < LAYERS; i++)
        add_module(&list, "image_adapter.seg_proj", i, matrix, EMBEDDING, WIDTH);
    add_module(&list, "image_adapter.det_proj", -1, matrix, EMBEDDING, WIDTH);
    return list;
}

static aaclip_adapters *open_well(const fixture *own, const char *const *paths, size_t count)
{
    aaclip_adapters *adapters;
    if (aaclip_adapters_open(&adapters, own->model, paths, count, NULL))
        fail_msg("%s", aaclip_last_error());
    return adapters;
}

/* Opening must fail with a text that names the last of the files. */
static void refuse(const fixture *own, const char *const *paths, size_t count,
                   aaclip_status expected, const char *text)
{
    aaclip_adapters *adapters;
    aaclip_status status = aaclip_adapters_open(&adapters, own->model, paths, count, NULL);
    char *whole = aac_format("%s: %s", paths[count - 1], text);
    assert_null(adapters);
    if (status != expected || strncmp(aaclip_last_error(), whole, strlen(whole)) != 0)
        fail_msg("expected %d with\n%s\nfound %d with\n%s", (int)expected, whole, (int)status,
                 aaclip_last_error());
    aac_free(whole);
}

static void refuse_list(const fixture *own, const tensor_list *list, aaclip_status expected,
                        const char *text)
{
    char *path = tensor_list_write(list, own->folder, "adapters.safetensors", NULL, 0);
    refuse(own, (const char *const *)&path, 1, expected, text);
    aac_free(path);
}

static void open_in_either_order(const fixture *own, bool document, const char *projection)
{
    const tensor_list lists[] = {text_adapters_named(document, projection),
                                 image_adapters(document)};
    const bool activation = document || strcmp(projection, "fc.0.weight") == 0;
    char *text = tensor_list_write(&lists[0], own->folder, "text.safetensors", NULL, 0);
    char *image = tensor_list_write(&lists[1], own->folder, "image.safetensors", NULL, 0);
    for (int swapped = 0; swapped < 2; swapped++) {
        const char *paths[] = {swapped ? image : text, swapped ? text : image};
        aaclip_config config = {.size = sizeof config};
        aaclip_adapters *adapters = open_well(own, paths, 2);
        assert_true(aaclip_adapters_has_text(adapters));
        assert_true(aaclip_adapters_has_image(adapters));
        assert_int_equal(aaclip_adapters_get_config(adapters, &config), AACLIP_OK);
        assert_int_equal(config.profile,
                         document ? AACLIP_PROFILE_DOCUMENT : AACLIP_PROFILE_PUBLISHED);
        assert_int_equal(config.image_projection_activation, document);
        assert_int_equal(config.text_projection_activation, activation);
        assert_int_equal(config.image_adapter_layers, ADAPTED);
        assert_int_equal(config.text_adapter_layers, ADAPTED);
        assert_int_equal(config.level_count, LAYERS);
        aaclip_adapters_close(&adapters);
    }
    aac_free(text);
    aac_free(image);
}

static void the_order_of_files_does_not_matter(void **state)
{
    for (int document = 0; document < 2; document++) {
        open_in_either_order(*state, document, "fc.0.weight");
        open_in_either_order(*state, document, "fc.weight");
    }
}

static void every_wrong_shape_is_named(void **state)
{
    for (int i = 0; i < 4; i++) {
        const tensor_list whole = i < 2 ? text_adapters(i % 2) : image_adapters(i % 2);
        for (size_t j = 0; j < whole.count; j++)
            for (int dimension = 0; dimension < 2; dimension++) {
                tensor_list list = whole;
                listed_tensor *spoilt = &list.tensors[j];
                char expected[AAC_SHAPE_TEXT], found[AAC_SHAPE_TEXT];
                aac_shape_text(expected, spoilt->shape, 2);
                spoilt->shape[dimension] += j % 2 ? 1 : -1;
                aac_shape_text(found, spoilt->shape, 2);
                char *text = aac_format("%s: expected %s, found %s", spoilt->name, expected, found);
                refuse_list(*state, &list, AACLIP_ERROR_MISMATCH, text);
                aac_free(text);
            }
    }
}

static void other_ranks_and_types_are_refused(void **state)
{
    tensor_list list = image_adapters(true);
    listed_tensor *tensor = tensor_list_find(&list, "image_adapter.det_proj.fc.0.weight");
    tensor->rank = 1;
    refuse_list(*state, &list, AACLIP_ERROR_MISMATCH,
                "image_adapter.det_proj.fc.0.weight: expected 6x8, found 6");
    tensor->rank = 2;
    tensor->dtype = AAC_I64;
    refuse_list(*state, &list, AACLIP_ERROR_FORMAT,
                "image_adapter.det_proj.fc.0.weight: expected floating point, found int64");
}

/* With the published names a file cannot tell how many layer adapters it should have. */
static bool may_be_absent(const char *name)
{
    return strcmp(name, "image_adapter.layer_adapters.2.fc.0.weight") == 0;
}

static void every_missing_tensor_is_told(void **state)
{
    const fixture *own = *state;
    for (int i = 0; i < 4; i++) {
        const tensor_list whole = i < 2 ? text_adapters(i % 2) : image_adapters(i % 2);
        for (size_t j = 0; j < whole.count; j++) {
            tensor_list list = whole;
            aaclip_adapters *adapters;
            const char *name = whole.tensors[j].name;
            tensor_list_remove(&list, name);
            char *path = tensor_list_write(&list, own->folder, "adapters.safetensors", NULL, 0);
            aaclip_status status =
                aaclip_adapters_open(&adapters, own->model, (const char *const *)&path, 1, NULL);
            const char *found = aaclip_last_error();
            if (may_be_absent(name))
                assert_int_equal(status, AACLIP_OK);
            else if (status != AACLIP_ERROR_MISMATCH || strncmp(found, path, strlen(path)) != 0)
                fail_msg("%s: found %d with %s", name, (int)status, found);
            aaclip_adapters_close(&adapters);
            aac_free(path);
        }
    }
}

static void gaps_in_the_numbering_are_told(void **state)
{
    static const struct {
        bool image, document;
        const char *missing, *text;
    } gaps[] = {
        {true, false, "image_adapter.layer_adapters.1.fc.0.weight",
         "image_adapter.layer_adapters.1.fc.0.weight: expected a tensor, found none"},
        {true, true, "image_adapter.layer_adapters.2.fc1.weight",
         "image_adapter.layer_adapters.2.fc1.weight: expected a tensor, found none"},
        {true, true, "image_adapter.layer_adapters.1.fc2.weight",
         "image_adapter.layer_adapters.1.fc2.weight: expected a tensor, found none"},
        {true, false, "image_adapter.seg_proj.1.fc.weight",
         "image_adapter.seg_proj.1.fc.weight: expected a tensor, found none"},
        {true, false, "image_adapter.seg_proj.0.fc.weight",
         "image_adapter.seg_proj.0.fc.weight: expected a tensor, found none"},
        {true, false, "image_adapter.seg_proj.3.fc.weight",
         "image_adapter.seg_proj: expected 4 levels, found 3"},
        {true, false, "image_adapter.det_proj.fc.weight",
         "image_adapter.det_proj.fc.weight: expected a tensor, found none"},
        {false, true, "text_adapter.3.fc.0.weight",
         "text_adapter.3.fc.weight: expected a tensor, found none"},
        {false, true, "text_adapter.1.fc1.weight",
         "text_adapter.1.fc.weight: expected a tensor, found none"},
    };
    for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        tensor_list list =
            gaps[i].image ? image_adapters(gaps[i].document) : text_adapters(gaps[i].document);
        tensor_list_remove(&list, gaps[i].missing);
        refuse_list(*state, &list, AACLIP_ERROR_MISMATCH, gaps[i].text);
    }
}

static void projections_must_be_of_one_kind_and_at_most_eight(void **state)
{
    tensor_list list = image_adapters(false);
    for (int i = LAYERS; i < 9; i++)
        add_module(&list, "image_adapter.seg_proj", i, "fc.weight", EMBEDDING, WIDTH);
    refuse_list(*state, &list, AACLIP_ERROR_UNSUPPORTED,
                "image_adapter.seg_proj: expected at most 8 levels, found 9");
    list = image_adapters(false);
    tensor_list_remove(&list, "image_adapter.seg_proj.2.fc.weight");
    add_module(&list, "image_adapter.seg_proj", 2, "fc.0.weight", EMBEDDING, WIDTH);
    refuse_list(*state, &list, AACLIP_ERROR_MISMATCH,
                "image_adapter.seg_proj.2.fc.0.weight: expected an activation after every "
                "projection or after none");
    list = image_adapters(true);
    tensor_list_remove(&list, "image_adapter.layer_adapters.1.fc1.weight");
    tensor_list_remove(&list, "image_adapter.layer_adapters.1.fc2.weight");
    add_module(&list, "image_adapter.layer_adapters", 1, "fc.0.weight", WIDTH, WIDTH);
    refuse_list(*state, &list, AACLIP_ERROR_MISMATCH,
                "image_adapter.layer_adapters.1.fc1.weight: expected a tensor, found none");
}

/* Tensors of the one tower under the names of the other. */
static void swapped_towers_are_told(void **state)
{
    tensor_list list = {0};
    add_layers(&list, "text_adapter", WIDTH, false);
    add_module(&list, "text_adapter", ADAPTED, "fc.0.weight", EMBEDDING, WIDTH);
    refuse_list(*state, &list, AACLIP_ERROR_MISMATCH,
                "text_adapter.0.fc.0.weight: expected 4x4, found 8x8");
    list.count = 0;
    add_layers(&list, "image_adapter.layer_adapters", TEXT_WIDTH, true);
    refuse_list(*state, &list, AACLIP_ERROR_MISMATCH,
                "image_adapter.layer_adapters.0.fc1.weight: expected 4x8, found 2x4");
}

/* The same tensors with `from` at the beginning of their names replaced. */
static tensor_list renamed(const tensor_list *list, const char *from, const char *to)
{
    tensor_list result = {.value = list->value};
    for (size_t i = 0; i < list->count; i++) {
        const listed_tensor *tensor = &list->tensors[i];
        char *name = aac_format("%s%s", to, tensor->name + strlen(from));
        tensor_list_add(&result, name, tensor->shape[0], tensor->shape[1]);
        aac_free(name);
    }
    return result;
}

/* What opens is the same as without, also when it is saved. */
static void adapters_of_data_parallel_open(void **state)
{
    const fixture *own = *state;
    for (int document = 0; document < 2; document++) {
        const tensor_list plain[] = {text_adapters(document), image_adapters(document)};
        const tensor_list wrapped[] = {
            renamed(&plain[0], "text_adapter.", "text_adapter.module."),
            renamed(&plain[1], "image_adapter.", "image_adapter.module.")};
        char *text = tensor_list_write(&wrapped[0], own->folder, "text.safetensors", NULL, 0);
        char *image = tensor_list_write(&wrapped[1], own->folder, "image.safetensors", NULL, 0);
        char *saved = aac_format("%s/saved.safetensors", own->folder);
        const char *paths[] = {text, image};
        aaclip_adapters *adapters = open_well(own, paths, 2);
        assert_int_equal(aaclip_adapters_save(adapters, saved), AACLIP_OK);
        aac_tensor_file *file;
        assert_int_equal(aac_tensor_file_open(&file, saved), AACLIP_OK);
        assert_int_equal(aac_tensor_file_count(file), plain[0].count + plain[1].count);
        for (int i = 0; i < 2; i++)
            for (size_t j = 0; j < plain[i].count; j++)
                assert_non_null(aac_tensor_file_find(file, plain[i].tensors[j].name));
        aac_tensor_file_close(&file);
        aaclip_adapters_close(&adapters);
        aac_free(text);
        aac_free(image);
        aac_free(saved);
    }
}

static void bare_state_dicts_are_told_how_to_be_saved(void **state)
{
    for (int document = 0; document < 2; document++) {
        const tensor_list text = text_adapters(document), image = image_adapters(document);
        const tensor_list bare[] = {renamed(&text, "text_adapter.", ""),
                                    renamed(&image, "image_adapter.", ""),
                                    renamed(&image, "image_adapter.", "module.")};
        for (int i = 0; i < 3; i++)
            refuse_list(*state, &bare[i], AACLIP_ERROR_FORMAT,
                        i ? "expected image_adapter.* tensors, found a bare state dict; save it as "
                            "torch.save({\"image_adapter\": adapter.state_dict()}, path)"
                          : "expected text_adapter.* tensors, found a bare state dict");
    }
}

static void files_must_complement_each_other(void **state)
{
    const fixture *own = *state;
    const tensor_list lists[] = {text_adapters(true), image_adapters(true), image_adapters(false)};
    tensor_list none = {0};
    tensor_list_add(&none, "adapter.weight", 4, 4);
    char *text = tensor_list_write(&lists[0], own->folder, "text.safetensors", NULL, 0);
    char *image = tensor_list_write(&lists[1], own->folder, "image.safetensors", NULL, 0);
    char *linear = tensor_list_write(&lists[2], own->folder, "linear.safetensors", NULL, 0);
    char *other = tensor_list_write(&none, own->folder, "none.safetensors", NULL, 0);
    char *missing = aac_format("%s/missing.pth", own->folder);
    const char *two_texts[] = {text, text}, *two_images[] = {image, image};
    const char *kinds[] = {text, linear}, *three[] = {text, image, image};
    const char *nothing[] = {text, other}, *absent[] = {text, missing};
    refuse(own, two_texts, 2, AACLIP_ERROR_INVALID_ARGUMENT,
           "text_adapter: text adapters were already given by another file");
    refuse(own, two_images, 2, AACLIP_ERROR_INVALID_ARGUMENT,
           "image_adapter: image adapters were already given by another file");
    refuse(own, kinds, 2, AACLIP_ERROR_MISMATCH,
           "image_adapter: expected bottleneck adapters as configured, found linear ones");
    refuse(own, nothing, 2, AACLIP_ERROR_FORMAT,
           "expected text_adapter.* or image_adapter.* tensors, found none");
    refuse(own, absent, 2, AACLIP_ERROR_NOT_FOUND, "");
    aaclip_adapters *adapters;
    assert_int_equal(aaclip_adapters_open(&adapters, own->model, three, 3, NULL),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "at most one text and one image file, found 3"));
    assert_int_equal(aaclip_adapters_open(&adapters, own->model, three, 0, NULL),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    aac_free(text);
    aac_free(image);
    aac_free(linear);
    aac_free(other);
    aac_free(missing);
}

/* The stored configuration with one value replaced; NULL removes it. */
static char *config_with(const char *key, const char *value)
{
    aaclip_config config;
    aaclip_config_init(&config, AACLIP_PROFILE_DOCUMENT);
    assert_int_equal(aac_config_resolve(&config, LAYERS, TEXT_LAYERS), AACLIP_OK);
    config.image_adapter_layers = config.text_adapter_layers = ADAPTED;
    char *text = aac_config_to_json(&config);
    json_t *root = json_loads(text, 0, NULL);
    aac_free(text);
    if (value)
        json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(root, key);
    char *dumped = json_dumps(root, 0), *copy = aac_strdup(dumped);
    free(dumped);
    json_decref(root);
    return copy;
}

static char *write_configured(const fixture *own, const tensor_list *list, const char *name,
                              const char *key, const char *value)
{
    char *config = config_with(key, value);
    const aac_metadata metadata = {"aaclip.config", config};
    char *path = tensor_list_write(list, own->folder, name, &metadata, 1);
    aac_free(config);
    return path;
}

static void each_tower_has_the_configuration_of_its_file(void **state)
{
    const fixture *own = *state;
    const tensor_list image = image_adapters(true), text = text_adapters(true);
    char *paths[] = {
        write_configured(own, &text, "text.safetensors", "text_adapter_weight", "0.25"),
        write_configured(own, &image, "image.safetensors", "image_adapter_weight", "0.5")};
    for (int i = 0; i < 2; i++) {
        const char *const order[] = {paths[i], paths[1 - i]};
        aaclip_adapters *adapters = open_well(own, order, 2);
        aaclip_config config = {.size = sizeof config};
        assert_int_equal(aaclip_adapters_get_config(adapters, &config), AACLIP_OK);
        assert_float_equal(config.text_adapter_weight, 0.25, 0);
        assert_float_equal(config.image_adapter_weight, 0.5, 0);
        aaclip_adapters_close(&adapters);
    }
    char *other = write_configured(own, &image, "image.safetensors", "layer_adapter_slope", "0.5");
    const char *const pair[] = {paths[0], other};
    refuse(own, pair, 2, AACLIP_ERROR_MISMATCH,
           "metadata aaclip.config: layer_adapter_slope differs from the other adapters'");
    aac_free(paths[0]);
    aac_free(paths[1]);
    aac_free(other);
}

static void refuse_metadata(const fixture *own, const tensor_list *list, const char *key,
                            const char *value, aaclip_status expected, const char *text)
{
    const aac_metadata metadata = {key, value};
    char *path = tensor_list_write(list, own->folder, "adapters.safetensors", &metadata, 1);
    refuse(own, (const char *const *)&path, 1, expected, text);
    aac_free(path);
}

static void absurd_configurations_are_refused(void **state)
{
    static const char every[] = "metadata aaclip.config: expected a valid value for every field";
    static const struct {
        const char *key, *value, *text;
        aaclip_status status;
    } lies[] = {
        {"profile", NULL, every, AACLIP_ERROR_FORMAT},
        {"profile", "\"other\"", every, AACLIP_ERROR_FORMAT},
        {"profile", "1", every, AACLIP_ERROR_FORMAT},
        {"levels", NULL, every, AACLIP_ERROR_FORMAT},
        {"levels", "4", every, AACLIP_ERROR_FORMAT},
        {"levels", "[1,2,3,4,5,6,7,8,9]", every, AACLIP_ERROR_FORMAT},
        {"levels", "[1,2,3,\"4\"]", every, AACLIP_ERROR_FORMAT},
        {"levels", "[1,2,3,-4]", every, AACLIP_ERROR_FORMAT},
        {"levels", "[1,2,3,4294967300]",
         "metadata aaclip.config: aaclip_config.levels[3]: expected ascending block numbers from 1 "
         "to 4, found 4294967295",
         AACLIP_ERROR_MISMATCH},
        {"levels", "[1,3,2,4]", "metadata aaclip.config: aaclip_config.levels[2]",
         AACLIP_ERROR_MISMATCH},
        {"levels", "[1,2,4]", "image_adapter.seg_proj: expected 3 levels, found 4",
         AACLIP_ERROR_MISMATCH},
        {"image_adapter_layers", "-1", every, AACLIP_ERROR_FORMAT},
        {"image_adapter_layers", "2.5", every, AACLIP_ERROR_FORMAT},
        {"image_adapter_layers", "4294967299", "metadata aaclip.config: aaclip_config.image",
         AACLIP_ERROR_MISMATCH},
        {"image_adapter_layers", "2",
         "image_adapter: expected 2 layer adapters as configured, found 3", AACLIP_ERROR_MISMATCH},
        {"text_adapter_layers", "100",
         "metadata aaclip.config: aaclip_config.text_adapter_layers: expected at most the text "
         "tower's blocks, found 100",
         AACLIP_ERROR_MISMATCH},
        {"image_mean", "[0,0]", every, AACLIP_ERROR_FORMAT},
        {"image_mean", "[\"a\",0,0]", every, AACLIP_ERROR_FORMAT},
        {"image_deviation", "[0.2,0,0.2]",
         "aaclip_config.image_deviation: expected a positive number, found 0", AACLIP_ERROR_FORMAT},
        {"image_deviation", "[0.2,0.2,1e300]",
         "aaclip_config.image_deviation: expected a positive number, found inf",
         AACLIP_ERROR_FORMAT},
        {"image_adapter_weight", "-0.1",
         "aaclip_config.image_adapter_weight: expected 0 to 1, found -0.1", AACLIP_ERROR_FORMAT},
        {"layer_adapter_slope", "1e9", "aaclip_config.layer_adapter_slope", AACLIP_ERROR_FORMAT},
        {"projection_slope", "\"0.2\"", every, AACLIP_ERROR_FORMAT},
        {"activation", "7", "aaclip_config.activation: expected an activation, found 7",
         AACLIP_ERROR_FORMAT},
        {"layer_adapter", "-1", "aaclip_config.layer_adapter", AACLIP_ERROR_FORMAT},
        {"layer_adapter", "1",
         "image_adapter: expected linear adapters as configured, found bottleneck ones",
         AACLIP_ERROR_MISMATCH},
        {"normalize_class_vector", "1", every, AACLIP_ERROR_FORMAT},
    };
    const tensor_list list = image_adapters(true);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char *config = config_with(lies[i].key, lies[i].value);
        refuse_metadata(*state, &list, "aaclip.config", config, lies[i].status, lies[i].text);
        aac_free(config);
    }
    refuse_metadata(*state, &list, "aaclip.config", "", AACLIP_ERROR_FORMAT,
                    "metadata aaclip.config: ");
    refuse_metadata(*state, &list, "aaclip.config", "[1]", AACLIP_ERROR_FORMAT, every);
}

/* With the configuration the last layer adapter cannot go unnoticed. */
static void a_configuration_tells_what_is_missing(void **state)
{
    const fixture *own = *state;
    char *config = config_with("normalize_class_vector", "false");
    tensor_list list = image_adapters(true);
    const aac_metadata metadata = {"aaclip.config", config};
    char *path = tensor_list_write(&list, own->folder, "adapters.safetensors", &metadata, 1);
    aaclip_adapters *adapters = open_well(own, (const char *const *)&path, 1);
    aaclip_adapters_close(&adapters);
    tensor_list_remove(&list, "image_adapter.layer_adapters.2.fc1.weight");
    tensor_list_remove(&list, "image_adapter.layer_adapters.2.fc2.weight");
    refuse_metadata(own, &list, "aaclip.config", config, AACLIP_ERROR_MISMATCH,
                    "image_adapter: expected 3 layer adapters as configured, found 2");
    aac_free(path);
    aac_free(config);
}

static void adapters_of_another_model_are_refused(void **state)
{
    const fixture *own = *state;
    const tensor_list list = image_adapters(true);
    char *trained = tensor_list_write(&list, own->folder, "trained.safetensors", NULL, 0);
    char *saved = aac_format("%s/saved.safetensors", own->folder);
    aaclip_adapters *adapters = open_well(own, (const char *const *)&trained, 1);
    assert_int_equal(aaclip_adapters_save(adapters, saved), AACLIP_OK);
    aaclip_adapters_close(&adapters);
    adapters = open_well(own, (const char *const *)&saved, 1);
    aaclip_adapters_close(&adapters);
    fixture other = {own->folder, open_model(own->folder, 0.75f)};
    refuse(&other, (const char *const *)&saved, 1, AACLIP_ERROR_MISMATCH,
           "trained for a model with fingerprint ");
    aaclip_model_close(&other.model);
    refuse_metadata(own, &list, "aaclip.model_vision_fingerprint", "0123456789abcdeg",
                    AACLIP_ERROR_FORMAT,
                    "metadata aaclip.model_vision_fingerprint: expected 16 hexadecimal digits, "
                    "found 0123456789abcdeg");
    refuse_metadata(own, &list, "aaclip.text_adapter_fingerprint", "+123456789abcdef",
                    AACLIP_ERROR_FORMAT,
                    "metadata aaclip.text_adapter_fingerprint: expected 16 hexadecimal digits, "
                    "found +123456789abcdef");
    aac_free(trained);
    aac_free(saved);
}

typedef struct journal {
    int warnings;
    char last[1024];
} journal;

static void record(aaclip_log_level level, const char *message, void *user)
{
    journal *own = user;
    own->warnings += level == AACLIP_LOG_WARNING;
    snprintf(own->last, sizeof own->last, "%s", message);
}

static journal open_and_listen(const fixture *own, const char *first, const char *second)
{
    const char *paths[] = {first, second};
    journal heard = {0};
    aaclip_set_log(record, AACLIP_LOG_WARNING, &heard);
    aaclip_adapters *adapters = open_well(own, paths, 2);
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    aaclip_adapters_close(&adapters);
    return heard;
}

/* The key that the library writes for text adapters; for aac_free. */
static char *text_key(const fixture *own, const char *text)
{
    aaclip_adapters *adapters = open_well(own, &text, 1);
    char *saved = aac_format("%s/saved.safetensors", own->folder);
    aac_tensor_file *file;
    assert_int_equal(aaclip_adapters_save(adapters, saved), AACLIP_OK);
    assert_int_equal(aac_tensor_file_open(&file, saved), AACLIP_OK);
    char *key = aac_strdup(aac_tensor_file_string(file, "aaclip.text_adapter_fingerprint"));
    aac_tensor_file_close(&file);
    aaclip_adapters_close(&adapters);
    aac_free(saved);
    return key;
}

static void image_adapters_of_other_text_adapters_are_told(void **state)
{
    const fixture *own = *state;
    const tensor_list image = image_adapters(true), text = text_adapters(true);
    tensor_list changed = text;
    changed.value = 0.75f;
    char *own_text = tensor_list_write(&text, own->folder, "text.safetensors", NULL, 0);
    char *other_text = tensor_list_write(&changed, own->folder, "other.safetensors", NULL, 0);
    char *key = text_key(own, own_text);
    const aac_metadata trained = {"aaclip.text_adapter_fingerprint", key};
    const aac_metadata unknown = {"aaclip.text_adapter_fingerprint", "0000000000000000"};
    char *keyed = tensor_list_write(&image, own->folder, "keyed.safetensors", &trained, 1);
    char *zero = tensor_list_write(&image, own->folder, "zero.safetensors", &unknown, 1);
    char *plain = tensor_list_write(&image, own->folder, "plain.safetensors", NULL, 0);
    const char *const silent[][2] = {
        {own_text, keyed}, {keyed, own_text}, {other_text, plain}, {other_text, zero}};
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
        assert_int_equal(open_and_listen(own, silent[i][0], silent[i][1]).warnings, 0);
    for (int i = 0; i < 2; i++) {
        const journal told = open_and_listen(own, i ? other_text : keyed, i ? keyed : other_text);
        assert_int_equal(told.warnings, 1);
        assert_non_null(strstr(told.last, keyed));
        assert_non_null(strstr(told.last, other_text));
        assert_non_null(strstr(told.last, key));
    }
    char *const all[] = {own_text, other_text, key, keyed, zero, plain};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        aac_free(all[i]);
}

/* What was packed goes on; what would be read again is an error. */
static void files_that_are_written_over_are_not_saved(void **state)
{
    const fixture *own = *state;
    const tensor_list list = image_adapters(true);
    char *path = tensor_list_write(&list, own->folder, "over.safetensors", NULL, 0);
    char *copy = aac_format("%s/copy.safetensors", own->folder);
    char *expected = aac_format("%s: changed since it was opened", path);
    aaclip_adapters *adapters = open_well(own, (const char *const *)&path, 1);
    assert_int_equal(aaclip_adapters_save(adapters, copy), AACLIP_OK);
    scratch_write_over(path);
    assert_int_equal(aaclip_adapters_save(adapters, copy), AACLIP_ERROR_IO);
    assert_string_equal(aaclip_last_error(), expected);
    aaclip_adapters_close(&adapters);
    char *const all[] = {path, copy, expected};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        aac_free(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_files_does_not_matter),
        cmocka_unit_test(every_wrong_shape_is_named),
        cmocka_unit_test(other_ranks_and_types_are_refused),
        cmocka_unit_test(every_missing_tensor_is_told),
        cmocka_unit_test(gaps_in_the_numbering_are_told),
        cmocka_unit_test(projections_must_be_of_one_kind_and_at_most_eight),
        cmocka_unit_test(swapped_towers_are_told),
        cmocka_unit_test(adapters_of_data_parallel_open),
        cmocka_unit_test(bare_state_dicts_are_told_how_to_be_saved),
        cmocka_unit_test(files_must_complement_each_other),
        cmocka_unit_test(each_tower_has_the_configuration_of_its_file),
        cmocka_unit_test(absurd_configurations_are_refused),
        cmocka_unit_test(a_configuration_tells_what_is_missing),
        cmocka_unit_test(adapters_of_another_model_are_refused),
        cmocka_unit_test(image_adapters_of_other_text_adapters_are_told),
        cmocka_unit_test(files_that_are_written_over_are_not_saved),
    };
    return cmocka_run_group_tests_name("adapters", tests, set_up, tear_down);
}
