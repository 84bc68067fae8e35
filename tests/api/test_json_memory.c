/*
 * Saves with each of jansson's allocations failing, once alone and once with all that follow: the
 * old file stays, or the new one is whole. (The library's own allocations: test_memory.c.)
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "failing_heap.h"
#include "fixture.h"
#include "scratch.h"

#define OLD "old"

typedef aaclip_status (*save_call)(const char *path);

static char *folder;
static fixture all;
static aaclip_dataset *dataset;
static aaclip_trainer *trainer;
static aaclip_calibration calibration;

static aaclip_status save_adapters(const char *path)
{
    return aaclip_adapters_save(all.adapters, path);
}

static aaclip_status save_calibrated(const char *path)
{
    return aaclip_adapters_save_calibrated(all.adapters, &calibration, path);
}

static aaclip_status save_calibration(const char *path)
{
    return aaclip_calibration_save(&calibration, path);
}

static aaclip_status save_cache(const char *path)
{
    return aaclip_text_cache_save(all.cache, path);
}

static aaclip_status save_bundle(const char *path)
{
    return aaclip_bundle_save(all.model, all.adapters, all.cache, path, false);
}

static aaclip_status save_training(const char *path)
{
    return aaclip_trainer_save(trainer, path);
}

static aaclip_status save_manifest(const char *path)
{
    return aaclip_dataset_save_manifest(dataset, path);
}

typedef struct file_bytes {
    char *data;
    size_t size;
} file_bytes;

static file_bytes read_bytes(const char *path)
{
    file_bytes bytes = {NULL, 0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    bytes.size = (size_t)ftell(file);
    rewind(file);
    bytes.data = malloc(bytes.size + 1);
    assert_non_null(bytes.data);
    assert_int_equal(fread(bytes.data, 1, bytes.size, file), bytes.size);
    fclose(file);
    return bytes;
}

static void check_file(const char *path, const file_bytes *expected)
{
    file_bytes found = read_bytes(path);
    assert_int_equal(found.size, expected->size);
    assert_memory_equal(found.data, expected->data, found.size);
    free(found.data);
}

/* A save, and the file that it writes where nothing fails. */
typedef struct save_run {
    save_call save;
    file_bytes whole;
} save_run;

static int run_save(int fail_at, bool fail_after, const void *user)
{
    const save_run *run = user;
    const file_bytes old = {(char[]){OLD}, strlen(OLD)};
    const scratch_file out = scratch_path(folder, "out");
    scratch_write(out.path, OLD);
    const size_t files = scratch_count(folder);
    const int open = heap_open_count();
    heap_arm(fail_at, fail_after);
    aaclip_status status = run->save(out.path);
    int made = heap_disarm();
    if (status && (status != AACLIP_ERROR_OUT_OF_MEMORY || fail_at < 0))
        fail_msg("%s: %s", aaclip_status_string(status), aaclip_last_error());
    check_file(out.path, status ? &old : &run->whole);
    assert_int_equal(scratch_count(folder), files);
    assert_int_equal(heap_open_count(), open);
    return made;
}

static void saves_write_all_or_nothing(void **state)
{
    (void)state;
    const struct {
        const char *name;
        save_call save;
    } saves[] = {
        {"adapters", save_adapters},       {"calibrated", save_calibrated},
        {"calibration", save_calibration}, {"text cache", save_cache},
        {"bundle", save_bundle},           {"training", save_training},
        {"manifest", save_manifest},
    };
    for (size_t i = 0; i < sizeof saves / sizeof *saves; i++) {
        const scratch_file whole = scratch_path(folder, saves[i].name);
        must(saves[i].save(whole.path));
        save_run run = {saves[i].save, read_bytes(whole.path)};
        fail_each_allocation(saves[i].name, run_save, &run);
        free(run.whole.data);
    }
}

static void *allocate_json(size_t size)
{
    return heap_allocate(size, NULL);
}

static void free_json(void *memory)
{
    heap_free(memory, NULL);
}

static int open_all(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    folder = *state;
    json_set_alloc_funcs(allocate_json, free_json);
    fixture_open(&all, NULL, 1);
    dataset = open_training_set();
    trainer = make_trainer(&all, dataset);
    must(aaclip_calibration_init(&calibration));
    calibration.image_size = IMAGE_SIZE; /* with all that tells where it comes from */
    snprintf(calibration.class_name, sizeof calibration.class_name, "nut");
    calibration.class_fingerprint = 1;
    return 0;
}

static int close_all(void **state)
{
    aaclip_trainer_close(&trainer);
    aaclip_dataset_close(&dataset);
    fixture_close(&all);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(saves_write_all_or_nothing)};
    return cmocka_run_group_tests_name("json_memory", tests, open_all, close_all);
}
