/* A model whose file is in memory computes what it computes from disk, and its bytes stay as they
 * are. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fixture.h"
#include "scratch.h"

#define MINI MODELS_DIR "/aaclip-mini" /* its matrices are larger than pages */

static const char *const nut[] = {"nut"}, *const screw[] = {"screw"};
static const char *const classes[] = {"wood", "metal_nut"};

/* A file's bytes, twice; the first copy begins at an odd address. */
typedef struct file_bytes {
    char *memory, *bytes, *kept;
    size_t size;
} file_bytes;

static file_bytes read_bytes(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const size_t size = (size_t)ftell(file);
    rewind(file);
    file_bytes read = {malloc(size + 1), NULL, malloc(size), size};
    read.bytes = read.memory + 1;
    assert_int_equal(fread(read.bytes, 1, size, file), size);
    memcpy(read.kept, read.bytes, size);
    fclose(file);
    return read;
}

static void free_bytes(file_bytes *read)
{
    assert_memory_equal(read->bytes, read->kept, read->size);
    free(read->memory);
    free(read->kept);
}

static kept_result detect_once(const fixture *all)
{
    aaclip_image_view view = aaclip_image_get_view(all->image);
    aaclip_detector *detector = make_detector(all, true);
    const aaclip_result result = detect(detector, &view, "nut");
    kept_result kept = keep_result(&result);
    aaclip_detector_close(&detector);
    return kept;
}

/* The mini model with the vectors of "nut", and untrained adapters of its image tower. */
static void open_mini(fixture *all)
{
    must(aaclip_model_open(&all->model, MINI "/clip.safetensors", NULL));
    must(aaclip_text_cache_new(&all->cache, all->model, NULL, NULL));
    must(aaclip_text_cache_build(all->cache, nut, nut, 1));
    must(aaclip_image_open(&all->image, PHOTO));
}

static void a_bundle_in_memory_detects_the_same(void **state)
{
    const scratch_file file = scratch_path(*state, "bundle.safetensors");
    fixture all = {0}, own = {0};
    open_mini(&all);
    kept_result expected = detect_once(&all);
    must(aaclip_bundle_save(all.model, NULL, all.cache, file.path, false));
    aaclip_model_close(&all.model);
    aaclip_text_cache_close(&all.cache);
    file_bytes bundle = read_bytes(file.path);
    must(aaclip_model_open_memory(&own.model, bundle.bytes, bundle.size, "parts", NULL));
    must(aaclip_adapters_open(&own.adapters, own.model, NULL, 0, NULL));
    must(aaclip_text_cache_open(&own.cache, own.model, own.adapters, NULL, NULL));
    own.image = all.image;
    for (int again = 0; again < 2; again++) {
        kept_result found = detect_once(&own);
        assert_true(same_bits(&expected, &found));
        free_result(&found);
    }
    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(own.model, &info));
    assert_string_equal(info.path, "parts");
    must_fail(aaclip_text_cache_build(own.cache, screw, screw, 1), AACLIP_ERROR_UNSUPPORTED,
              "parts");
    fixture_close(&own);
    free_bytes(&bundle);
    free_result(&expected);
}

static void a_bundle_on_disk_needs_its_path_once(void **state)
{
    const scratch_file file = scratch_path(*state, "bundle.safetensors");
    fixture all, own = {0};
    fixture_open(&all, NULL, 1);
    kept_result expected = detect_once(&all);
    must(aaclip_bundle_save(all.model, all.adapters, all.cache, file.path, false));
    own.model = NULL;
    must(aaclip_model_open(&own.model, file.path, NULL));
    must(aaclip_adapters_open(&own.adapters, own.model, NULL, 0, NULL));
    must(aaclip_text_cache_open(&own.cache, own.model, own.adapters, NULL, NULL));
    must(aaclip_image_open(&own.image, PHOTO));
    kept_result found = detect_once(&own);
    assert_true(same_bits(&expected, &found));
    aaclip_adapters *none = (aaclip_adapters *)state;
    must_fail(aaclip_adapters_open(&none, all.model, NULL, 0, NULL), AACLIP_ERROR_FORMAT,
              NANO_MODEL ": expected text_adapter.* or image_adapter.* tensors");
    assert_null(none);
    aaclip_text_cache *cache = (aaclip_text_cache *)state;
    must_fail(aaclip_text_cache_open(&cache, all.model, all.adapters, NULL, NULL),
              AACLIP_ERROR_FORMAT, NANO_MODEL);
    assert_null(cache);
    free_result(&expected);
    free_result(&found);
    fixture_close(&own);
    fixture_close(&all);
}

/* The text tower, too; nothing is looked for in the working folder. */
static void a_whole_model_in_memory_builds_texts(void **state)
{
    (void)state;
    fixture all = {0}, own = {0};
    open_mini(&all);
    kept_result expected = detect_once(&all);
    file_bytes model = read_bytes(MINI "/clip.safetensors");
    must(aaclip_model_open_memory(&own.model, model.bytes, model.size, "merges.txt", NULL));
    must(aaclip_text_cache_new(&own.cache, own.model, NULL, NULL));
    must_fail(aaclip_text_cache_build(own.cache, nut, nut, 1), AACLIP_ERROR_NOT_FOUND,
              "aaclip_text_cache_options.vocabulary");
    aaclip_text_cache_close(&own.cache);
    aaclip_text_cache_options options;
    must(aaclip_text_cache_options_init(&options));
    options.vocabulary = MINI "/merges.txt";
    must(aaclip_text_cache_new(&own.cache, own.model, NULL, &options));
    must(aaclip_text_cache_build(own.cache, nut, nut, 1));
    own.image = all.image;
    all.image = NULL;
    kept_result found = detect_once(&own);
    assert_true(same_bits(&expected, &found));
    free_result(&expected);
    free_result(&found);
    fixture_close(&all);
    fixture_close(&own);
    free_bytes(&model);
}

/* Matrices are packed for each step, and their pages left. */
static void training_leaves_the_bytes_alone(void **state)
{
    (void)state;
    file_bytes bytes = read_bytes(MINI "/clip.safetensors");
    fixture all = {0};
    must(aaclip_model_open_memory(&all.model, bytes.bytes, bytes.size, "mini", NULL));
    aaclip_text_cache_options texts;
    must(aaclip_text_cache_options_init(&texts));
    texts.vocabulary = MINI "/merges.txt";
    must(aaclip_text_cache_new(&all.cache, all.model, NULL, &texts));
    must(aaclip_text_cache_build(all.cache, classes, classes, 2));
    aaclip_dataset *dataset = open_training_set();
    aaclip_trainer_options options;
    must(aaclip_trainer_options_init(&options, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_DOCUMENT));
    options.image_size = IMAGE_SIZE;
    options.recompute = true;
    aaclip_trainer *trainer = NULL;
    must(aaclip_trainer_new(&trainer, all.model, dataset, all.cache, &options));
    aaclip_losses losses = {.size = sizeof losses};
    must(aaclip_trainer_step(trainer, &losses));
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&dataset);
    fixture_close(&all);
    free_bytes(&bytes);
}

static void what_is_no_model_is_refused(void **state)
{
    file_bytes bytes = read_bytes(MINI "/clip.safetensors");
    aaclip_model *model = (aaclip_model *)state;
    const size_t sizes[] = {0, 1, 8, 9, 1000, bytes.size - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        must_fail(aaclip_model_open_memory(&model, bytes.bytes, sizes[i], "part", NULL),
                  AACLIP_ERROR_FORMAT, "part: ");
        assert_null(model);
    }
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.packed_folder = *state;
    must_fail(aaclip_model_open_memory(&model, bytes.bytes, bytes.size, "part", &options),
              AACLIP_ERROR_INVALID_ARGUMENT, "packed_folder");
    assert_null(model);
    free_bytes(&bytes);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(a_bundle_in_memory_detects_the_same),
        IN_SCRATCH(a_bundle_on_disk_needs_its_path_once),
        cmocka_unit_test(a_whole_model_in_memory_builds_texts),
        cmocka_unit_test(training_leaves_the_bytes_alone),
        IN_SCRATCH(what_is_no_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
