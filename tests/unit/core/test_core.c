/* Errors, memory, files and number formats: the foundation of everything else. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>
#ifndef _WIN32
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <aaclip/limits.h>
#include <aaclip/version.h>

#include "core/error.h"
#include "core/hex_key.h"
#include "core/memory.h"
#include "core/names.h"
#include "core/platform.h"
#include "core/platform_parts.h"
#include "core/tensor.h"
#include "core/workspace.h"
#include "system.h"

static void version_matches_headers(void **state)
{
    (void)state;
    assert_string_equal(aaclip_version_string(), AACLIP_VERSION_STRING);
    assert_int_equal(aaclip_version(), AACLIP_VERSION);
}

static void error_text_gains_a_prefix(void **state)
{
    (void)state;
    aac_error(AACLIP_ERROR_FORMAT, "expected %d, found %d", 3, 4);
    assert_int_equal(aac_error_prefix(AACLIP_ERROR_FORMAT, "weights.pt"), AACLIP_ERROR_FORMAT);
    assert_string_equal(aaclip_last_error(), "weights.pt: expected 3, found 4");
    char longer[4000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    aac_error(AACLIP_ERROR_IO, "%s", longer);
    aac_error_prefix(AACLIP_ERROR_IO, "%s", longer);
    assert_true(strlen(aaclip_last_error()) < sizeof longer);
}

static void control_characters_become_visible(void **state)
{
    (void)state;
    char longest[2000];
    aac_error(AACLIP_ERROR_FORMAT, "a\x1b[2J\n\x7f\xc2\x9b%s", "\xc3\xbc\xc2\xa0\xe4\xb8\x80");
    assert_string_equal(aaclip_last_error(),
                        "a\\x1b[2J\\x0a\\x7f\\xc2\\x9b\xc3\xbc\xc2\xa0\xe4\xb8\x80");
    aac_error_prefix(AACLIP_ERROR_FORMAT, "b\r");
    assert_memory_equal(aaclip_last_error(), "b\\x0d: a\\x1b[2J", 14);
    memset(longest, 7, sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    aac_error(AACLIP_ERROR_FORMAT, "%s", longest);
    assert_int_equal(strlen(aaclip_last_error()) % 4, 0); /* cut between characters */
}

static void half_precision_round_trips(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float half = aac_f16_to_f32((uint16_t)bits), brain = aac_bf16_to_f32((uint16_t)bits);
        if (!isnan(half))
            assert_int_equal(aac_f32_to_f16(half), bits);
        else
            assert_true(isnan(aac_f16_to_f32(aac_f32_to_f16(half))));
        if (!isnan(brain))
            assert_int_equal(aac_f32_to_bf16(brain), bits);
    }
    assert_int_equal(aac_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(aac_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(aac_f32_to_f16(0x1p-25f), 0); /* tie to even */
    assert_int_equal(aac_f32_to_f16(0x1.000002p-25f), 1);
    assert_int_equal(aac_f32_to_bf16(1.00390625f), 0x3f80); /* tie to even */
}

static void size_arithmetic_refuses_to_wrap(void **state)
{
    (void)state;
    assert_null(aac_alloc(SIZE_MAX - 10));
    assert_null(aac_alloc_array(SIZE_MAX / 2, 3));
    char *grown = aac_realloc(NULL, 3);
    memcpy(grown, "ab", 3);
    grown = aac_realloc(grown, 1000);
    assert_string_equal(grown, "ab");
    assert_int_equal((uintptr_t)grown % AAC_ALIGNMENT, 0);
    aac_free(grown);
    size_t capacity = 0;
    int *items = aac_grow(NULL, &capacity, 1, sizeof *items);
    assert_true(items && capacity >= 1);
    items[0] = 7;
    const size_t before = capacity;
    assert_ptr_equal(aac_grow(items, &capacity, before, sizeof *items), items);
    items = aac_grow(items, &capacity, before + 1, sizeof *items);
    assert_int_equal(capacity, 2 * before);
    assert_int_equal(items[0], 7);
    assert_null(aac_grow(items, &capacity, SIZE_MAX / 2, sizeof *items));
    assert_null(aac_grow(items, &capacity, SIZE_MAX / sizeof *items, sizeof *items));
    assert_int_equal(capacity, 2 * before);
    aac_free(items);
}

static void a_workspace_never_seems_small(void **state)
{
    (void)state;
    aac_workspace workspace = {0};
    aac_take(&workspace, 3, 4);
    assert_int_equal(workspace.used, 64);
    const size_t counts[] = {SIZE_MAX / 2, (size_t)PTRDIFF_MAX / 4, 1};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        aac_take(&workspace, counts[i], 4);
        assert_true(workspace.used >= PTRDIFF_MAX);
    }
}

static void *refuse(size_t size, void *user)
{
    (void)size, (void)user;
    return NULL;
}

static void release(void *pointer, void *user)
{
    (void)user;
    free(pointer);
}

/* The text is that of the allocation that failed last, whichever succeeded in between. */
static void a_limit_is_told_once_and_of_the_last_failure(void **state)
{
    (void)state;
    const aaclip_limits limits = {.size = sizeof limits, .memory_bytes = 10000};
    assert_int_equal(aaclip_limits_set(&limits), AACLIP_OK);
    char *most = aac_alloc(9000);
    assert_null(aac_alloc(1000));
    char *fits = aac_alloc(100);
    assert_non_null(most);
    assert_non_null(fits);
    assert_int_equal(aac_error_memory(), AACLIP_ERROR_OUT_OF_MEMORY);
    assert_non_null(strstr(aaclip_last_error(), "expected at most 10000 bytes, found 10256;"));
    aac_error_memory();
    assert_string_equal(aaclip_last_error(), "out of memory");
    aac_error_prefix(AACLIP_ERROR_OUT_OF_MEMORY, "file");
    assert_string_equal(aaclip_last_error(), "out of memory");
    aac_free(fits);
    aac_free(most);

    assert_null(aac_alloc(10000));
    assert_null(aac_alloc_array(SIZE_MAX / 2, 3));
    aac_error_memory();
    assert_string_equal(aaclip_last_error(), "out of memory");

    assert_null(aac_alloc(10000));
    aaclip_set_allocator(&(aaclip_allocator){refuse, release, NULL});
    for (int i = 0; i < 10; i++)
        assert_null(aac_alloc(9000)); /* and counts nothing */
    aaclip_set_allocator(NULL);
    aac_error_memory();
    assert_string_equal(aaclip_last_error(), "out of memory");
    most = aac_alloc(10000 - 128);
    assert_non_null(most);
    assert_int_equal(aaclip_limits_set(NULL), AACLIP_OK);
    assert_null(aac_alloc(SIZE_MAX - 200)); /* with the rest more than can be counted */
    aac_error_memory();
    assert_string_equal(aaclip_last_error(), "out of memory");
    aac_free(most);
}

static void keys_are_sixteen_digits(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "", "0", "0x00000000000001", "000000000000000g", "00000000000000001", " 000000000000001"};
    char text[AAC_HEX_KEY_SIZE];
    uint64_t key = 0;
    assert_string_equal(aac_hex_key(text, 0x0123456789abcdef), "0123456789abcdef");
    assert_true(aac_hex_key_read(text, &key));
    assert_int_equal(key, 0x0123456789abcdef);
    assert_true(aac_hex_key_read("FFFFFFFFFFFFFFfe", &key));
    assert_int_equal(key, UINT64_MAX - 1);
    assert_false(aac_hex_key_read(NULL, &key));
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        assert_false(aac_hex_key_read(malformed[i], &key));
    assert_int_equal(key, UINT64_MAX - 1);
}

static void writer_is_all_or_nothing(void **state)
{
    (void)state;
    char *folder = system_temporary_folder("aaclip-core");
    assert_non_null(folder);
    char *path = aac_format("%s/file", folder);
    aac_writer *writer = NULL;
    assert_int_equal(aac_writer_open(&writer, path), AACLIP_OK);
    assert_int_equal(aac_writer_write(writer, "abc", 3), AACLIP_OK);
    assert_int_equal(aac_path_kind_of(path), AAC_PATH_MISSING);
    aac_writer_discard(&writer);
    assert_null(writer);
    char **names;
    size_t count;
    assert_int_equal(aac_list_folder(&names, &count, folder), AACLIP_OK);
    assert_int_equal(count, 0);
    aac_list_free(names, count);
    assert_int_equal(aac_writer_open(&writer, path), AACLIP_OK);
    assert_int_equal(aac_writer_write(writer, "abc", 3), AACLIP_OK);
    assert_int_equal(aac_writer_commit(&writer), AACLIP_OK);
    aac_mapping mapping;
    assert_int_equal(aac_map_file(&mapping, path), AACLIP_OK);
    assert_int_equal(mapping.size, 3);
    assert_memory_equal(mapping.data, "abc", 3);
    aac_unmap_file(&mapping);
    assert_int_equal(aac_writer_open(&writer, folder), AACLIP_ERROR_IO);
    assert_non_null(strstr(aaclip_last_error(), folder));
    aac_free(path);
    assert_int_equal(system_remove(folder), 0);
    free(folder);
}

/* Pieces below, at and above the writer's buffer come out in order, read and mapped. */
static void pieces_of_any_size_are_written(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 65534, 1, 0, 65536, 3, 65537, 70, 200000, 65535, 2};
    enum { TOTAL = 462219 };
    char *folder = system_temporary_folder("aaclip-core");
    assert_non_null(folder);
    char *path = aac_format("%s/file", folder);
    unsigned char *bytes = malloc(TOTAL);
    assert_true(path && bytes);
    for (size_t i = 0; i < TOTAL; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    aac_writer *writer;
    assert_int_equal(aac_writer_open(&writer, path), AACLIP_OK);
    size_t written = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(aac_writer_write(writer, bytes + written, sizes[i]), AACLIP_OK);
        written += sizes[i];
    }
    assert_int_equal(written, TOTAL);
    assert_int_equal(aac_writer_commit(&writer), AACLIP_OK);
    aaclip_status (*const takes[])(aac_mapping *, const char *) = {aac_map_file, aac_read_file};
    for (int i = 0; i < 2; i++) {
        aac_mapping whole;
        assert_int_equal(takes[i](&whole, path), AACLIP_OK);
        assert_int_equal(whole.size, TOTAL);
        assert_memory_equal(whole.data, bytes, TOTAL);
        aac_unmap_file(&whole);
        assert_int_equal(takes[i](&whole, folder), AACLIP_ERROR_IO);
        assert_int_equal(takes[i](&whole, "no/such/file"), AACLIP_ERROR_NOT_FOUND);
    }
    free(bytes);
    aac_free(path);
    assert_int_equal(system_remove(folder), 0);
    free(folder);
}

/* Characters of two, three and four bytes, in names that are written, read, listed and removed. */
static void names_are_utf8(void **state)
{
    (void)state;
    static const char name[] = "Gew\xc3\xa4hr \xe9\x83\xa8\xe5\x93\x81 \xf0\x9f\x94\xa9";
    char *folder = system_temporary_folder("aaclip-core"), **names;
    assert_non_null(folder);
    char *path = aac_format("%s/%s", folder, name);
    aac_writer *writer;
    aac_mapping mapping;
    size_t count;
    for (int again = 0; again < 2; again++) { /* the second one takes the place of the first */
        const char text = (char)('a' + again);
        assert_int_equal(aac_writer_open(&writer, path), AACLIP_OK);
        assert_int_equal(aac_writer_write(writer, &text, 1), AACLIP_OK);
        assert_int_equal(aac_writer_commit(&writer), AACLIP_OK);
        assert_int_equal(aac_map_file(&mapping, path), AACLIP_OK);
        assert_int_equal(mapping.data[0], text);
        aac_unmap_file(&mapping);
    }
    aac_appender *log;
    assert_int_equal(aac_appender_open(&log, path), AACLIP_OK);
    assert_int_equal(aac_appender_write(log, "c\n", 2), AACLIP_OK);
    aac_appender_close(&log);
    assert_null(log);
    assert_int_equal(aac_map_file(&mapping, path), AACLIP_OK);
    assert_int_equal(mapping.size, 3); /* a line ends in one byte */
    assert_memory_equal(mapping.data, "bc\n", 3);
    aac_unmap_file(&mapping);
    assert_int_equal(aac_path_kind_of(path), AAC_PATH_FILE);
    assert_int_equal(aac_list_folder(&names, &count, folder), AACLIP_OK);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], name);
    aac_list_free(names, count);
    assert_int_equal(aac_writer_open(&writer, path), AACLIP_OK);
    aac_writer_discard(&writer);
    aac_file_remove(path);
    assert_int_equal(system_count_files(folder), 0);
    aac_free(path);
    assert_int_equal(system_remove(folder), 0);
    free(folder);
}

static void write_text(const char *path, const char *text)
{
    aac_writer *writer;
    assert_int_equal(aac_writer_open(&writer, path), AACLIP_OK);
    assert_int_equal(aac_writer_write(writer, text, strlen(text)), AACLIP_OK);
    assert_int_equal(aac_writer_commit(&writer), AACLIP_OK);
}

static void check_text(const char *path, const char *text)
{
    aac_mapping file;
    assert_int_equal(aac_read_file(&file, path), AACLIP_OK);
    assert_int_equal(file.size, strlen(text));
    assert_memory_equal(file.data, text, file.size);
    aac_unmap_file(&file);
}

/* Systems have 255 bytes, which a temporary name must not pass either, nor cut a character. */
static void long_names_are_written(void **state)
{
    (void)state;
    char *folder = system_temporary_folder("aaclip-core"), name[250] = "x";
    assert_non_null(folder);
    for (size_t i = 1; i + 2 < sizeof name; i += 2)
        memcpy(name + i, "\xc3\xa4", 3);
    char *path = aac_format("%s/%s", folder, name);
    write_text(path, "long");
    check_text(path, "long");
    assert_int_equal(system_count_files(folder), 1);
    aac_free(path);
    assert_int_equal(system_remove(folder), 0);
    free(folder);
}

#ifndef _WIN32
static unsigned permissions(const char *path)
{
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
    return info.st_mode & 07777;
}

static void replaced_files_keep_their_permissions(void **state)
{
    (void)state;
    static const mode_t modes[] = {0600, 0640, 0444, 0755};
    char *folder = system_temporary_folder("aaclip-core"), *path = aac_format("%s/file", folder);
    const mode_t mask = umask(027);
    write_text(path, "new");
    umask(mask);
    assert_int_equal(permissions(path), 0640);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        write_text(path, "newer");
        assert_int_equal(permissions(path), modes[i]);
    }
    aac_free(path);
    assert_int_equal(system_remove(folder), 0);
    free(folder);
}

static void links_are_written_through(void **state)
{
    (void)state;
    char *folder = system_temporary_folder("aaclip-core");
    char *inner = aac_format("%s/inner", folder), *file = aac_format("%s/inner/file", folder);
    char *link = aac_format("%s/link", folder), *again = aac_format("%s/again", folder);
    struct stat info;
    assert_int_equal(system_make_folder(inner), 0);
    assert_int_equal(symlink("inner/file", link), 0);
    assert_int_equal(symlink("link", again), 0);
    write_text(file, "old");
    assert_int_equal(chmod(file, 0600), 0);
    write_text(again, "new");
    check_text(file, "new");
    assert_int_equal(permissions(file), 0600);
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(lstat(again, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(remove(file), 0); /* where nothing is, the link itself is replaced */
    write_text(link, "own");
    permissions(link);
    aac_free(inner);
    aac_free(file);
    aac_free(link);
    aac_free(again);
    assert_int_equal(system_remove(folder), 0);
    free(folder);
}
#endif

static void paths_are_cut_at_separators(void **state)
{
    (void)state;
    assert_string_equal(aac_path_name("a/b.pt"), "b.pt");
    assert_string_equal(aac_path_name("b.pt"), "b.pt");
    assert_string_equal(aac_path_name("a/"), "");
    assert_true(aac_path_is_absolute("/a") && !aac_path_is_absolute("a/b"));
    assert_false(aac_path_is_absolute(""));
#ifdef _WIN32
    assert_string_equal(aac_path_name("C:\\a\\b.pt"), "b.pt");
    assert_string_equal(aac_path_name("a\\b/c.pt"), "c.pt");
    assert_true(aac_path_is_absolute("C:\\a") && aac_path_is_absolute("d:/a"));
    assert_true(aac_path_is_absolute("\\\\server\\share"));
    assert_string_equal(aac_path_name("C:b.pt"), "b.pt"); /* in a folder of the drive */
    assert_string_equal(aac_path_name("C:a\\b.pt"), "b.pt");
#else
    assert_string_equal(aac_path_name("a\\b.pt"), "a\\b.pt"); /* a name like any other */
    assert_false(aac_path_is_absolute("C:/a"));
    assert_string_equal(aac_path_name("C:b.pt"), "C:b.pt");
#endif
}

static void strided_tensors_become_rows(void **state)
{
    (void)state;
    const uint16_t data[] = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600}; /* 1 .. 6 */
    aac_tensor transposed = {
        .dtype = AAC_F16, .rank = 2, .shape = {3, 2}, .stride = {1, 3}, .data = data};
    float out[6];
    aac_tensor_to_f32(&transposed, out);
    const float expected[] = {1, 4, 2, 5, 3, 6};
    assert_memory_equal(out, expected, sizeof expected);
    aac_tensor_rows_to_f32(&transposed, 1, 2, out);
    assert_memory_equal(out, expected + 2, 4 * sizeof *expected);
    assert_false(aac_tensor_is_contiguous(&transposed));
    char text[AAC_SHAPE_TEXT];
    assert_string_equal(aac_shape_text(text, transposed.shape, 2), "3x2");
}

static void names_are_found_again(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static char texts[COUNT][8];
    aac_names names = {0};
    assert_int_equal(aac_names_find(&names, "0"), AAC_NO_NAME);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "%zu", i);
        assert_true(aac_names_reserve(&names, 1));
        assert_int_equal(aac_names_find(&names, texts[i]), AAC_NO_NAME);
        aac_names_add(&names, texts[i], i);
    }
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(aac_names_find(&names, texts[i]), i);
    assert_int_equal(aac_names_find(&names, ""), AAC_NO_NAME);
    assert_false(aac_names_reserve(&names, SIZE_MAX));
    assert_int_equal(aac_names_find(&names, "999"), 999);
    aac_names_empty(&names);
    assert_int_equal(aac_names_find(&names, "999"), AAC_NO_NAME);
    aac_names_add(&names, texts[7], 3);
    assert_int_equal(aac_names_find(&names, "7"), 3);
    aac_names_clear(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_matches_headers),
        cmocka_unit_test(error_text_gains_a_prefix),
        cmocka_unit_test(control_characters_become_visible),
        cmocka_unit_test(half_precision_round_trips),
        cmocka_unit_test(size_arithmetic_refuses_to_wrap),
        cmocka_unit_test(a_workspace_never_seems_small),
        cmocka_unit_test(a_limit_is_told_once_and_of_the_last_failure),
        cmocka_unit_test(keys_are_sixteen_digits),
        cmocka_unit_test(writer_is_all_or_nothing),
        cmocka_unit_test(pieces_of_any_size_are_written),
        cmocka_unit_test(names_are_utf8),
        cmocka_unit_test(long_names_are_written),
#ifndef _WIN32
        cmocka_unit_test(replaced_files_keep_their_permissions),
        cmocka_unit_test(links_are_written_through),
#endif
        cmocka_unit_test(paths_are_cut_at_separators),
        cmocka_unit_test(strided_tensors_become_rows),
        cmocka_unit_test(names_are_found_again),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
