/*
 * Packed weights in a folder: results are the same bit for bit; the file is created if missing, and
 * replaced if it does not fit, whatever is in its place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "scratch.h"
#include "system.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The settings that a packed file depends on: path, backend, precision. */
typedef struct setting {
    const char *model, *backend, *folder;
    aaclip_precision precision;
} setting;

static aaclip_status try_model(aaclip_model **model, const setting *how)
{
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.backend = how->backend;
    options.precision = how->precision;
    options.threads = 2;
    options.packed_folder = how->folder;
    return aaclip_model_open(model, how->model, &options);
}

/* A backend with memory of its own maps no weights: there is nothing to keep. */
static bool keeps_weights(const char *backend)
{
    return strcmp(backend, "cuda") != 0 && strcmp(backend, "guarded") != 0;
}

/* From files to a map, both towers, both adapters. */
static kept_result detect_with(const setting *how)
{
    fixture all = {0};
    must(try_model(&all.model, how));
    all.adapters = open_adapters(all.model, "document");
    must(aaclip_text_cache_new(&all.cache, all.model, all.adapters, NULL));
    must(build_classes(all.cache));
    must(aaclip_image_open(&all.image, PHOTO));
    aaclip_detector *detector = make_detector(&all, true);
    const aaclip_image_view view = aaclip_image_get_view(all.image);
    const aaclip_result result = detect(detector, &view, "nut");
    const kept_result kept = keep_result(&result);
    aaclip_detector_close(&detector);
    fixture_close(&all);
    return kept;
}

static void must_equal(const setting *how, const kept_result *expected)
{
    kept_result found = detect_with(how);
    assert_true(same_bits(expected, &found));
    free_result(&found);
}

/* A file's bytes. */
typedef struct file_bytes {
    char *data;
    size_t size;
} file_bytes;

static file_bytes read_bytes(const char *path)
{
    const size_t most = (size_t)16 << 20;
    file_bytes bytes = {malloc(most), 0};
    FILE *file = fopen(path, "rb");
    assert_true(bytes.data && file);
    bytes.size = fread(bytes.data, 1, most, file);
    assert_true(bytes.size < most);
    fclose(file);
    return bytes;
}

static void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void must_hold(const char *path, const file_bytes *expected)
{
    file_bytes found = read_bytes(path);
    assert_int_equal(found.size, expected->size);
    assert_memory_equal(found.data, expected->data, expected->size);
    free(found.data);
}

/* The one file whose name has this in it. */
static scratch_file find_file(const char *folder, const char *part)
{
    scratch_file found = {""};
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        if (strstr(entry->d_name, part)) {
            assert_string_equal(found.path, "");
            found = scratch_path(folder, entry->d_name);
        }
    closedir(listing);
    if (!*found.path)
        fail_msg("%s: no file with '%s' in its name", folder, part);
    return found;
}

static void check_same_bits(const char *backend, aaclip_precision precision)
{
    void *folder;
    assert_int_equal(scratch_make(&folder), 0);
    const setting plain = {NANO_MODEL, backend, NULL, precision};
    const setting kept = {NANO_MODEL, backend, folder, precision};
    aaclip_model *model = NULL;
    aaclip_status status = try_model(&model, &plain);
    aaclip_model_close(&model);
    if (status) {
        assert_int_equal(status, AACLIP_ERROR_UNSUPPORTED);
        print_message("%s has no %s here\n", backend, aaclip_precision_name(precision));
    } else {
        kept_result expected = detect_with(&plain);
        must_equal(&kept, &expected); /* writes */
        size_t count = scratch_count(folder);
        must_equal(&kept, &expected); /* maps */
        assert_int_equal(scratch_count(folder), count);
        print_message("%s, %s: %zu files\n", backend, aaclip_precision_name(precision), count);
        if (keeps_weights(backend))
            assert_in_range(count, 1, 4); /* towers, adapters; none of what is read in place */
        else
            assert_int_equal(count, 0);
        free_result(&expected);
    }
    assert_int_equal(scratch_remove(&folder), 0);
}

static void bits_are_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; aaclip_backend_name(i); i++) {
        const char *backend = aaclip_backend_name(i);
        for (int precision = AACLIP_PRECISION_F32; precision <= AACLIP_PRECISION_INT8; precision++)
            if (precision != AACLIP_PRECISION_AUTO && aaclip_backend_available(backend))
                check_same_bits(backend, (aaclip_precision)precision);
    }
    if (aaclip_backend_available("reference"))
        check_same_bits("reference", AACLIP_PRECISION_F16);
}

/* A folder in which everything is packed, and one file of it. */
typedef struct packed_scene {
    setting plain, kept;
    scratch_file path;
    file_bytes whole;
    kept_result expected;
} packed_scene;

static packed_scene open_scene(const char *folder, const char *model, aaclip_precision precision)
{
    packed_scene scene = {.plain = {model, NULL, NULL, precision},
                          .kept = {model, NULL, folder, precision}};
    scene.expected = detect_with(&scene.plain);
    must_equal(&scene.kept, &scene.expected);
    scene.path = find_file(folder, ".image-" /* the tower, not the adapters */);
    scene.whole = read_bytes(scene.path.path);
    return scene;
}

static void close_scene(packed_scene *scene)
{
    free(scene->whole.data);
    free_result(&scene->expected);
}

/* Weights that are not the model's: shows whether they are used. */
static void spoil_weights(const packed_scene *scene)
{
    char *copy = malloc(scene->whole.size);
    assert_non_null(copy);
    memcpy(copy, scene->whole.data, scene->whole.size);
    memset(copy + scene->whole.size / 2, 0, scene->whole.size / 4);
    write_bytes(scene->path.path, copy, scene->whole.size);
    free(copy);
}

static void the_file_is_what_is_read(void **state)
{
    packed_scene scene = open_scene(*state, NANO_MODEL, AACLIP_PRECISION_F32);
    spoil_weights(&scene);
    kept_result found = detect_with(&scene.kept);
    assert_false(same_bits(&scene.expected, &found));
    free_result(&found);
    close_scene(&scene);
}

/* The model again, in a file that was written later. */
static void another_source_is_packed_anew(void **state)
{
    const scratch_file model = scratch_path(*state, "model.safetensors");
    const scratch_file words = scratch_path(*state, "bpe_simple_vocab_16e6.txt.gz");
    file_bytes vocabulary = read_bytes(NANO "/bpe_simple_vocab_16e6.txt.gz");
    aaclip_model *original = open_model(NULL, 1);
    write_bytes(words.path, vocabulary.data, vocabulary.size);
    free(vocabulary.data);
    must(aaclip_model_save(original, model.path, true)); /* not read in place by any backend */
    packed_scene scene = open_scene(*state, model.path, AACLIP_PRECISION_F32);
    spoil_weights(&scene);
    must(aaclip_model_save(original, model.path, true));
    must_equal(&scene.kept, &scene.expected);
    spoil_weights(&scene); /* under the origin of the first file: stale */
    must_equal(&scene.kept, &scene.expected);
    aaclip_model_close(&original);
    close_scene(&scene);
}

/* The byte behind each place where the text stands becomes another one; returns how many. */
static size_t change_behind(const file_bytes *bytes, const char *text)
{
    size_t length = strlen(text), count = 0;
    for (size_t i = 0; i + length < bytes->size; i++)
        if (memcmp(bytes->data + i, text, length) == 0) {
            bytes->data[i + length] = bytes->data[i + length] == '9' ? '8' : '9';
            count++;
        }
    return count;
}

/* Another processor's, library's, version's, format's, kernels'. */
static void change_and_check(const char *folder, aaclip_precision precision)
{
    const char *const keys[] = {"libaaclip ", "bytes of ", "weights ",       "packed\":\"",
                                "\"U8\"",     "layout\"",  "data_offsets\"", "shape\":["};
    const char *const of_onednn[] = {"isa ", "onednn ", "strides ", "blocks "};
    const char *const of_simd[] = {"simd f32 ", "panels of "};
    const char *const of_simd_int8[] = {"simd int8 ", "panels of ", "limit "};
    const struct {
        const char *const *keys;
        size_t count;
        bool all; /* else the first tells whether there are any */
    } groups[] = {{keys, COUNT(keys), true},
                  {of_onednn, COUNT(of_onednn), false},
                  {of_simd, COUNT(of_simd), false},
                  {of_simd_int8, COUNT(of_simd_int8), false}};
    packed_scene scene = open_scene(folder, NANO_MODEL, precision);
    size_t layouts = 0;
    for (size_t g = 0; g < COUNT(groups); g++)
        for (size_t i = 0; i < groups[g].count; i++) {
            spoil_weights(&scene);
            file_bytes other = read_bytes(scene.path.path);
            size_t changed = change_behind(&other, groups[g].keys[i]);
            write_bytes(scene.path.path, other.data, other.size);
            free(other.data);
            if (!groups[g].all && i == 0 && changed == 0)
                break;
            assert_true(changed > 0);
            layouts += !groups[g].all && i == 0;
            must_equal(&scene.kept, &scene.expected);
            must_hold(scene.path.path, &scene.whole);
        }
    if (strstr(scene.path.path, "-onednn-"))
        assert_true(layouts > 0);
    write_bytes(scene.path.path, scene.whole.data, scene.whole.size);
    close_scene(&scene);
}

static void what_does_not_fit_is_packed_anew(void **state)
{
    change_and_check(*state, AACLIP_PRECISION_F32);
    const scratch_file packed = find_file(*state, ".image-");
    assert_int_equal(remove(packed.path), 0);
    change_and_check(*state, AACLIP_PRECISION_INT8);
}

static void broken_files_are_packed_anew(void **state)
{
    const struct {
        const char *data;
        size_t size;
    } files[] = {{"", 0},
                 {"x", 1},
                 {"{}", 2},
                 {"\xff\xff\xff\xff\xff\xff\xff\x7f{", 9},
                 {"\2\0\0\0\0\0\0\0{}", 10}};
    packed_scene scene = open_scene(*state, NANO_MODEL, AACLIP_PRECISION_INT8);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_bytes(scene.path.path, files[i].data, files[i].size);
        must_equal(&scene.kept, &scene.expected);
        must_hold(scene.path.path, &scene.whole);
    }
    for (size_t cut = 1; cut < scene.whole.size; cut = 3 * cut + 1) {
        write_bytes(scene.path.path, scene.whole.data, scene.whole.size - cut);
        must_equal(&scene.kept, &scene.expected);
        must_hold(scene.path.path, &scene.whole);
    }
    close_scene(&scene);
}

static unsigned warnings;

static void count_warning(aaclip_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == AACLIP_LOG_WARNING && strstr(text, "packed"))
        warnings++;
}

static void must_warn(const setting *how, const kept_result *expected)
{
    aaclip_model *none = NULL;
    warnings = 0;
    must_fail(aaclip_model_open(&none, "", NULL), AACLIP_ERROR_NOT_FOUND, "");
    char *before = strdup(aaclip_last_error());
    aaclip_set_log(count_warning, AACLIP_LOG_WARNING, NULL);
    must_equal(how, expected);
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    assert_true(warnings > 0);
    assert_string_equal(aaclip_last_error(), before); /* what is told is no error */
    free(before);
}

static void a_folder_that_takes_no_file_is_told(void **state)
{
    packed_scene scene = open_scene(*state, NANO_MODEL, AACLIP_PRECISION_F32);
    assert_int_equal(remove(scene.path.path), 0);
    assert_int_equal(system_make_folder(scene.path.path), 0);
    must_warn(&scene.kept, &scene.expected);
    assert_int_equal(system_remove(scene.path.path), 0);
    DIR *processes = opendir("/proc/self"); /* takes no file, not from the superuser either */
    if (processes) {
        closedir(processes);
        scene.kept.folder = "/proc/self";
        must_warn(&scene.kept, &scene.expected);
    } else {
        print_message("no /proc here\n");
    }
    close_scene(&scene);
}

typedef struct reaction {
    fixture all;
    aaclip_detector *detector;
    unsigned refused;
} reaction;

/* Within a call that holds cache and model. */
static void use_the_handles(aaclip_log_level level, const char *text, void *user)
{
    reaction *own = user;
    const char *const names[] = {"dog"};
    aaclip_detector *detector;
    (void)level;
    if (!strstr(text, "packed"))
        return;
    must_fail(new_detector(&detector, &own->all, true), AACLIP_ERROR_INVALID_ARGUMENT, "callback");
    must_fail(aaclip_text_cache_build(own->all.cache, names, names, 1),
              AACLIP_ERROR_INVALID_ARGUMENT, "callback");
    aaclip_detector_close(&own->detector);
    own->refused++;
}

static void a_log_function_waits_for_no_handle(void **state)
{
    packed_scene scene = open_scene(*state, NANO_MODEL, AACLIP_PRECISION_F32);
    reaction own = {.refused = 0};
    const scratch_file texts = find_file(*state, ".text-");
    assert_int_equal(remove(texts.path), 0);
    assert_int_equal(system_make_folder(texts.path), 0);
    must(try_model(&own.all.model, &scene.kept));
    own.all.adapters = open_adapters(own.all.model, "document");
    must(aaclip_text_cache_new(&own.all.cache, own.all.model, own.all.adapters, NULL));
    must(new_detector(&own.detector, &own.all, true));
    aaclip_set_log(use_the_handles, AACLIP_LOG_WARNING, &own);
    must(build_classes(own.all.cache));
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    assert_true(own.refused > 0);
    assert_null(own.detector);
    fixture_close(&own.all);
    close_scene(&scene);
}

static void a_folder_must_be_there(void **state)
{
    aaclip_model *model = NULL;
    const scratch_file missing = scratch_path(*state, "missing");
    const char *const folders[] = {missing.path, NANO_MODEL, ""};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const setting how = {.model = NANO_MODEL, .folder = folders[i]};
        must_fail(try_model(&model, &how), AACLIP_ERROR_NOT_FOUND, "packed_folder");
        assert_null(model);
    }
    assert_int_equal(scratch_count(*state), 0);
}

/* A bundle has no text tower; its adapters lie in the same file. Two models share what is mapped,
 * and each holds it by itself. */
static void bundles_are_kept_too(void **state)
{
    const scratch_file path = scratch_path(*state, "bundle.safetensors");
    const char *const paths[] = {path.path};
    fixture all, bundle[2] = {{0}};
    fixture_open(&all, NULL, 1);
    must(aaclip_bundle_save(all.model, all.adapters, all.cache, path.path, true));
    fixture_close(&all);
    const setting plain = {.model = path.path};
    const setting kept = {.model = path.path, .folder = *state};
    kept_result results[3];
    for (int i = 0; i < 3; i++) {
        fixture *own = &bundle[i > 0];
        fixture_close(own);
        must(try_model(&own->model, i ? &kept : &plain));
        must(aaclip_adapters_open(&own->adapters, own->model, paths, 1, NULL));
        must(aaclip_text_cache_open(&own->cache, own->model, own->adapters, path.path, NULL));
        must(aaclip_image_open(&own->image, PHOTO));
        aaclip_detector *detector = make_detector(own, true);
        const aaclip_image_view view = aaclip_image_get_view(own->image);
        const aaclip_result result = detect(detector, &view, "cat");
        results[i] = keep_result(&result);
        aaclip_detector_close(&detector);
    }
    /* The bundle, its image tower, and its adapters where float32 is not read in place. */
    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(bundle[1].model, &info));
    const bool in_place =
        strcmp(info.backend, "blas") == 0 || strcmp(info.backend, "reference") == 0;
    const size_t expected = in_place ? 2 : 3;
    assert_int_equal(scratch_count(*state), expected);
    for (int i = 1; i < 3; i++)
        assert_true(same_bits(&results[0], &results[i]));
    for (int i = 0; i < 3; i++)
        free_result(&results[i]);
    fixture_close(&bundle[0]);
    fixture_close(&bundle[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_the_same),
        cmocka_unit_test_setup_teardown(a_folder_must_be_there, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(the_file_is_what_is_read, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(another_source_is_packed_anew, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_packed_anew, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(broken_files_are_packed_anew, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(a_folder_that_takes_no_file_is_told, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(a_log_function_waits_for_no_handle, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(bundles_are_kept_too, scratch_make, scratch_remove),
    };
    if (keeps_weights(aaclip_backend_name(0)))
        return cmocka_run_group_tests(tests, NULL, NULL);
    /* the others are about the files */
    const struct CMUnitTest without_files[] = {tests[0], tests[1]};
    return cmocka_run_group_tests(without_files, NULL, NULL);
}
