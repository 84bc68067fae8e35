/* Archives of the torch writer, read by the library; PyTorch reads them in
 * tests/reference/test_torch_written.py. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../text/failing_allocator.h"
#include "../text/scratch_folder.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/tensor_file.h"
#include "files/torch_writer.h"
#include "files/zip.h"
#include "system.h"

static char *in_folder(void **state, const char *name)
{
    return aac_format("%s/%s", (const char *)*state, name);
}

static aac_torch_writer *open_writer(const char *path)
{
    aac_torch_writer *writer;
    assert_int_equal(aac_torch_writer_open(&writer, path), AACLIP_OK);
    return writer;
}

static double number_of(const aac_tensor_file *file, const char *name)
{
    double value;
    if (!aac_tensor_file_number(file, name, &value))
        fail_msg("%s: no number", name);
    return value;
}

/* A list of a few values of every kind. */
static void put_values(aac_torch_writer *writer, const double *numbers, size_t count)
{
    aac_torch_text(writer, "numbers");
    aac_torch_begin(writer, AAC_TORCH_LIST);
    for (size_t i = 0; i < count; i++)
        aac_torch_number(writer, numbers[i]);
    aac_torch_end(writer);
    aac_torch_text(writer, "nested");
    aac_torch_begin(writer, AAC_TORCH_ORDERED_DICT);
    aac_torch_integer(writer, -3);
    aac_torch_begin(writer, AAC_TORCH_TUPLE);
    aac_torch_none(writer);
    aac_torch_boolean(writer, true);
    aac_torch_boolean(writer, false);
    aac_torch_text(writer, "\xc3\xbc\xf0\x9f\x99\x82");
    aac_torch_begin(writer, AAC_TORCH_TUPLE);
    aac_torch_end(writer);
    aac_torch_end(writer);
    aac_torch_end(writer);
}

static void every_kind_of_value_comes_back(void **state)
{
    static const double numbers[] = {0.1, -0.0, 5e-324, 1.7976931348623157e308};
    static const int64_t integers[] = {0,          255,         256,       65535,
                                       65536,      -1,          INT32_MAX, INT32_MIN,
                                       2147483648, -2147483649, 1ll << 53, -(1ll << 53)};
    const size_t count = sizeof integers / sizeof *integers;
    char *path = in_folder(state, "values.pth"), name[32];
    aac_torch_writer *writer = open_writer(path);
    aac_torch_begin(writer, AAC_TORCH_DICT);
    put_values(writer, numbers, 4);
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "integer %zu", i);
        aac_torch_text(writer, name);
        aac_torch_integer(writer, integers[i]);
    }
    aac_torch_end(writer);
    assert_int_equal(aac_torch_writer_commit(&writer), AACLIP_OK);
    assert_null(writer);
    aac_tensor_file *file;
    assert_int_equal(aac_tensor_file_open(&file, path), AACLIP_OK);
    assert_int_equal(aac_tensor_file_get_kind(file), AAC_FILE_TORCH_STATE);
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "numbers.%zu", i);
        double value = number_of(file, name);
        assert_memory_equal(&value, &numbers[i], sizeof value);
    }
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "integer %zu", i);
        assert_true(number_of(file, name) == (double)integers[i]);
    }
    assert_true(number_of(file, "nested.-3.1") == 1);
    assert_true(number_of(file, "nested.-3.2") == 0);
    assert_string_equal(aac_tensor_file_string(file, "nested.-3.3"), "\xc3\xbc\xf0\x9f\x99\x82");
    aac_tensor_file_close(&file);
    aac_free(path);
}

/* Views of 24 float32 numbers and of 16-bit ones. */
static size_t make_views(aac_tensor *views)
{
    static float base[24];
    static uint16_t halves[6];
    for (int i = 0; i < 24; i++)
        base[i] = (float)i / 3;
    for (int i = 0; i < 6; i++)
        halves[i] = aac_f32_to_f16((float)i - 2.5f);
    const aac_tensor made[] = {
        {"plain", AAC_F32, 2, {4, 6}, {6, 1}, base, false},
        {"transposed", AAC_F32, 2, {6, 4}, {1, 6}, base, false},
        {"block", AAC_F32, 3, {2, 2, 2}, {12, 4, 2}, base + 4, false},
        {"repeated", AAC_F32, 2, {3, 5}, {1, 0}, base + 7, false},
        {"scalar", AAC_F32, 0, {0}, {0}, base + 5, false},
        {"empty", AAC_F32, 2, {0, 5}, {5, 1}, base, false},
        {"half", AAC_F16, 2, {2, 3}, {3, 1}, halves, false},
        {"unaligned", AAC_F32, 1, {5}, {1}, (const char *)base + 2, false},
    };
    memcpy(views, made, sizeof made);
    return sizeof made / sizeof *made;
}

static void tensors_come_back_contiguous_and_aligned(void **state)
{
    aac_tensor views[16];
    size_t count = make_views(views);
    char *path = in_folder(state, "tensors.pth");
    aac_torch_writer *writer = open_writer(path);
    aac_torch_begin(writer, AAC_TORCH_DICT);
    for (size_t i = 0; i < count; i++) {
        aac_torch_text(writer, views[i].name);
        aac_torch_tensor(writer, &views[i]);
    }
    aac_torch_end(writer);
    assert_int_equal(aac_torch_writer_commit(&writer), AACLIP_OK);
    aac_tensor_file *file;
    assert_int_equal(aac_tensor_file_open(&file, path), AACLIP_OK);
    assert_int_equal(aac_tensor_file_count(file), count);
    for (size_t i = 0; i < count; i++) {
        float expected[32], found[32];
        const aac_tensor *tensor = aac_tensor_file_find(file, views[i].name);
        assert_non_null(tensor);
        assert_int_equal(tensor->dtype, AAC_F32);
        assert_int_equal(tensor->rank, views[i].rank);
        assert_memory_equal(tensor->shape, views[i].shape, sizeof(int64_t) * (size_t)tensor->rank);
        assert_true(aac_tensor_is_contiguous(tensor));
        assert_int_equal((uintptr_t)tensor->data % 64, 0); /* the mapping begins at a page */
        aac_tensor_to_f32(&views[i], expected);
        aac_tensor_to_f32(tensor, found);
        assert_memory_equal(found, expected, sizeof(float) * (size_t)aac_tensor_elements(tensor));
    }
    aac_tensor_file_close(&file);
    aac_free(path);
}

/* Each spoils a fresh writer; all are the same kind of mistake. */
static void end_without_beginning(aac_torch_writer *writer)
{
    aac_torch_end(writer);
}

static void open_list(aac_torch_writer *writer)
{
    aac_torch_begin(writer, AAC_TORCH_LIST);
}

static void two_values(aac_torch_writer *writer)
{
    aac_torch_integer(writer, 1);
    aac_torch_integer(writer, 2);
}

static void number_as_key(aac_torch_writer *writer)
{
    aac_torch_begin(writer, AAC_TORCH_DICT);
    aac_torch_number(writer, 1);
    aac_torch_none(writer);
    aac_torch_end(writer);
}

static void key_without_value(aac_torch_writer *writer)
{
    aac_torch_begin(writer, AAC_TORCH_ORDERED_DICT);
    aac_torch_text(writer, "key");
    aac_torch_end(writer);
}

static void nested_too_deep(aac_torch_writer *writer)
{
    for (int i = 0; i < 65; i++)
        aac_torch_begin(writer, AAC_TORCH_LIST);
    for (int i = 0; i < 65; i++)
        aac_torch_end(writer);
}

static void latin_1(aac_torch_writer *writer)
{
    aac_torch_text(writer, "na\xefve");
}

static void nothing(aac_torch_writer *writer)
{
    (void)writer;
}

static void misplaced_values_are_refused_and_leave_no_file(void **state)
{
    static const struct {
        void (*spoil)(aac_torch_writer *writer);
        const char *text;
    } cases[] = {
        {end_without_beginning, "end without begin"},
        {open_list, "expected one complete value"},
        {two_values, "found a second"},
        {number_as_key, "as a dict key"},
        {key_without_value, "without a value"},
        {nested_too_deep, "at most 64"},
        {latin_1, "not UTF-8"},
        {nothing, "expected one complete value"},
    };
    char *path = in_folder(state, "refused.pth");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aac_torch_writer *writer = open_writer(path);
        cases[i].spoil(writer);
        assert_int_equal(aac_torch_writer_commit(&writer), AACLIP_ERROR_INVALID_ARGUMENT);
        assert_null(writer);
        if (!strstr(aaclip_last_error(), cases[i].text))
            fail_msg("\"%s\" in: %s", cases[i].text, aaclip_last_error());
    }
    char **names;
    size_t count;
    assert_int_equal(aac_list_folder(&names, &count, *state), AACLIP_OK);
    for (size_t i = 0; i < count; i++)
        assert_null(strstr(names[i], "refused"));
    aac_list_free(names, count);
    aac_free(path);
}

static void the_first_failure_is_kept(void **state)
{
    char *path = in_folder(state, "first.pth");
    aac_torch_writer *writer = open_writer(path);
    aac_torch_begin(writer, AAC_TORCH_LIST);
    aac_torch_text(writer, NULL);
    aac_torch_end(writer);
    aac_torch_end(writer);
    assert_int_equal(aac_torch_writer_commit(&writer), AACLIP_ERROR_OUT_OF_MEMORY);
    assert_string_equal(aaclip_last_error(), "out of memory");
    writer = open_writer(path);
    aac_torch_writer_discard(&writer);
    assert_null(writer);
    aac_torch_writer_discard(&writer);
    assert_int_equal(aac_path_kind_of(path), AAC_PATH_MISSING);
    aac_free(path);
}

static void an_unwritable_place_is_an_io_error(void **state)
{
    char *path = in_folder(state, "no/such/folder.pth");
    aac_torch_writer *writer;
    assert_int_equal(aac_torch_writer_open(&writer, path), AACLIP_ERROR_IO);
    assert_null(writer);
    assert_non_null(strstr(aaclip_last_error(), path));
    aac_free(path);
}

static void a_full_disk_is_an_io_error_and_leaves_no_file(void **state)
{
    if (!system_is_posix())
        skip();
    static const float values[4096];
    const aac_tensor tensor = {
        .dtype = AAC_F32, .rank = 1, .shape = {4096}, .stride = {1}, .data = values};
    char *path = in_folder(state, "full.pth");
    assert_int_equal(system_limit_files(8192), 0);
    aac_torch_writer *writer = open_writer(path);
    aac_torch_begin(writer, AAC_TORCH_LIST);
    aac_torch_tensor(writer, &tensor);
    aac_torch_tensor(writer, &tensor);
    aac_torch_end(writer);
    aaclip_status status = aac_torch_writer_commit(&writer);
    assert_int_equal(system_limit_files(0), 0);
    assert_int_equal(status, AACLIP_ERROR_IO);
    assert_non_null(strstr(aaclip_last_error(), "full.pth: cannot write"));
    assert_int_equal(aac_path_kind_of(path), AAC_PATH_MISSING);
    aac_free(path);
}

/* More entries than the plain end record can count. */
static void many_tensors_need_zip64(void **state)
{
    const size_t count = 65536;
    const float one = 1;
    const aac_tensor scalar = {.dtype = AAC_F32, .data = &one};
    char *path = in_folder(state, "many.pth");
    aac_torch_writer *writer = open_writer(path);
    aac_torch_begin(writer, AAC_TORCH_LIST);
    for (size_t i = 0; i < count; i++)
        aac_torch_tensor(writer, &scalar);
    aac_torch_end(writer);
    assert_int_equal(aac_torch_writer_commit(&writer), AACLIP_OK);
    aac_mapping mapping;
    aac_zip zip;
    assert_int_equal(aac_map_file(&mapping, path), AACLIP_OK);
    assert_int_equal(aac_zip_read(&zip, mapping.data, mapping.size), AACLIP_OK);
    assert_int_equal(zip.count, count + 3);
    for (size_t i = 0; i < zip.count; i++)
        assert_int_equal(aac_zip_check_crc(&zip.entries[i]), AACLIP_OK);
    aac_zip_clear(&zip);
    aac_unmap_file(&mapping);
    aac_tensor_file *file;
    assert_int_equal(aac_tensor_file_open(&file, path), AACLIP_OK);
    assert_int_equal(aac_tensor_file_count(file), count);
    aac_tensor_file_close(&file);
    remove(path);
    aac_free(path);
}

static aaclip_status write_sample(void *user)
{
    static const float values[] = {1, 2, 3, 4, 5, 6};
    const aac_tensor transposed = {
        .dtype = AAC_F32, .rank = 2, .shape = {3, 2}, .stride = {1, 3}, .data = values};
    aac_torch_writer *writer;
    aaclip_status status = aac_torch_writer_open(&writer, user);
    if (status)
        return status;
    aac_torch_begin(writer, AAC_TORCH_LIST);
    for (int i = 0; i < 100; i++) { /* beyond the first room of every array */
        aac_torch_text(writer, "a text of some length that fills the pickle");
        aac_torch_tensor(writer, &transposed);
    }
    aac_torch_end(writer);
    return aac_torch_writer_commit(&writer);
}

static void every_failed_allocation_is_reported(void **state)
{
    char *path = in_folder(state, "sample.pth");
    assert_true(fail_each_allocation(write_sample, path) > 100);
    aac_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_comes_back),
        cmocka_unit_test(tensors_come_back_contiguous_and_aligned),
        cmocka_unit_test(misplaced_values_are_refused_and_leave_no_file),
        cmocka_unit_test(the_first_failure_is_kept),
        cmocka_unit_test(an_unwritable_place_is_an_io_error),
        cmocka_unit_test(a_full_disk_is_an_io_error_and_leaves_no_file),
        cmocka_unit_test(many_tensors_need_zip64),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("torch writer", tests, scratch_folder_make,
                                       scratch_folder_remove);
}
