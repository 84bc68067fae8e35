/* Zip archives: what is found in valid ones, and that inconsistent ones are refused. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/platform.h"
#include "files/zip.h"
#include "zip_builder.h"

static zip_builder *new_archive(void)
{
    zip_builder *zip = calloc(1, sizeof *zip);
    zip_builder_add(zip, "root/b", "second", 6);
    zip_builder_add(zip, "root/a", "first", 5);
    zip_builder_finish(zip);
    return zip;
}

static unsigned char *central_of(zip_builder *zip)
{
    return zip->bytes + zip->size - END_SIZE - zip->central_size;
}

static unsigned char *end_of(zip_builder *zip)
{
    return zip->bytes + zip->size - END_SIZE;
}

static void refuse(const zip_builder *zip, aaclip_status expected, const char *text)
{
    aac_zip read;
    unsigned char *exact = malloc(zip->size); /* so that a sanitizer sees any byte too far */
    memcpy(exact, zip->bytes, zip->size);
    aaclip_status status = aac_zip_read(&read, exact, zip->size);
    aac_zip_clear(&read);
    free(exact);
    if (status != expected || !strstr(aaclip_last_error(), text))
        fail_msg("expected %d with '%s', found %d with '%s'", (int)expected, text, (int)status,
                 aaclip_last_error());
}

static void entries_are_found(void **state)
{
    (void)state;
    zip_builder *zip = new_archive();
    aac_zip read;
    assert_int_equal(aac_zip_read(&read, zip->bytes, zip->size), AACLIP_OK);
    assert_int_equal(read.count, 2);
    const aac_zip_entry *entry = aac_zip_find(&read, "root/a");
    assert_non_null(entry);
    assert_int_equal(entry->size, 5);
    assert_memory_equal(entry->data, "first", 5);
    assert_int_equal(aac_zip_check_stored(entry), AACLIP_OK);
    assert_int_equal(aac_zip_check_crc(entry), AACLIP_OK);
    assert_null(aac_zip_find(&read, "root/c"));
    zip->bytes[entry->data - zip->bytes] ^= 1;
    assert_int_equal(aac_zip_check_crc(entry), AACLIP_ERROR_FORMAT);
    assert_non_null(strstr(aaclip_last_error(), "root/a"));
    aac_zip_clear(&read);
    free(zip);
}

static void zip64_and_streamed_archives_are_read(void **state)
{
    (void)state;
    static const char *const names[] = {"zip64.pt", "views.pt"};
    for (int i = 0; i < 2; i++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN_DIR "/files/torch/%s", names[i]);
        aac_mapping file;
        aac_zip read;
        assert_int_equal(aac_map_file(&file, path), AACLIP_OK);
        assert_int_equal(aac_zip_read(&read, file.data, file.size), AACLIP_OK);
        const aac_zip_entry *entry = aac_zip_find(&read, "views/version");
        assert_non_null(entry);
        assert_memory_equal(entry->data, "3\n", 2);
        for (size_t j = 0; j < read.count; j++)
            assert_int_equal(aac_zip_check_crc(&read.entries[j]), AACLIP_OK);
        aac_zip_clear(&read);
        aac_unmap_file(&file);
    }
}

static void compressed_and_encrypted_entries_are_named(void **state)
{
    (void)state;
    const aac_zip_entry compressed = {.name = "root/x", .method = 8};
    assert_int_equal(aac_zip_check_stored(&compressed), AACLIP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(aaclip_last_error(), "root/x: compressed"));
    const aac_zip_entry encrypted = {.name = "root/y", .flags = 1};
    assert_int_equal(aac_zip_check_stored(&encrypted), AACLIP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(aaclip_last_error(), "root/y: encrypted"));
}

static void lies_of_the_end_record_are_refused(void **state)
{
    (void)state;
    zip_builder *zip = new_archive();
    put_u16(end_of(zip) + END_COUNT, 3);
    refuse(zip, AACLIP_ERROR_FORMAT, "more entries");
    put_u16(end_of(zip) + END_COUNT, 2);
    put_u32(end_of(zip) + END_DIRECTORY_OFFSET, 0x7fffffff);
    refuse(zip, AACLIP_ERROR_FORMAT, "outside the file");
    put_u32(end_of(zip) + END_DIRECTORY_OFFSET, 0xffffffff);
    refuse(zip, AACLIP_ERROR_FORMAT, "no zip64 end record");
    put_u32(end_of(zip) + END_DIRECTORY_OFFSET, 1);
    refuse(zip, AACLIP_ERROR_FORMAT, "central directory record");
    put_u16(end_of(zip) + END_DISK, 1);
    refuse(zip, AACLIP_ERROR_UNSUPPORTED, "several files");
    free(zip);
}

static void lies_about_an_entry_are_refused(void **state)
{
    (void)state;
    static const struct {
        int field;
        uint32_t value;
        const char *text;
    } lies[] = {
        {CENTRAL_STORED_SIZE, 7, "two different sizes"},
        {CENTRAL_CRC, 1, "disagree"},
        {CENTRAL_OFFSET, 1, "no local header"},
        {CENTRAL_OFFSET, 0x7fffffff, "no local header"},
        {CENTRAL_OFFSET, 0xffffffff, "zip64 sizes are missing"},
        {CENTRAL_NAME_LENGTH, 5, ""},
        {CENTRAL_NAME_LENGTH, 0xffff, "beyond the central directory"},
        {CENTRAL_NAME, 0x00000000, "zero byte"},
        {CENTRAL_NAME, 0x78787878, "a different name"},
        {CENTRAL_METHOD, 8, "disagree"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        zip_builder *zip = new_archive();
        put_u32(central_of(zip) + lies[i].field, lies[i].value);
        refuse(zip, AACLIP_ERROR_FORMAT, lies[i].text);
        free(zip);
    }
    zip_builder *zip = new_archive();
    put_u32(central_of(zip) + CENTRAL_SIZE, 4000);
    put_u32(central_of(zip) + CENTRAL_STORED_SIZE, 4000);
    refuse(zip, AACLIP_ERROR_FORMAT, "extend beyond");
    free(zip);
}

static void overlaps_and_duplicates_are_refused(void **state)
{
    (void)state;
    zip_builder *zip = calloc(1, sizeof *zip);
    zip_builder_add(zip, "x", "1", 1);
    zip_builder_add(zip, "x", "2", 1);
    zip_builder_finish(zip);
    refuse(zip, AACLIP_ERROR_FORMAT, "x occurs twice");
    memset(zip, 0, sizeof *zip);
    size_t first = zip_builder_add(zip, "inner", "1", 1);
    unsigned char nested[64];
    size_t nested_size = zip->size - first;
    memcpy(nested, zip->bytes + first, nested_size);
    memset(zip, 0, sizeof *zip);
    zip_builder_add(zip, "outer", nested, nested_size);
    size_t size = zip->size;
    zip_builder_add(zip, "inner", "1", 1);
    put_u32(zip->central + zip->central_size - CENTRAL_NAME - 5 + CENTRAL_OFFSET,
            (uint32_t)(size - nested_size));
    zip_builder_finish(zip);
    refuse(zip, AACLIP_ERROR_FORMAT, "outer and inner overlap");
    free(zip);
}

static void truncated_archives_are_refused(void **state)
{
    (void)state;
    zip_builder *zip = new_archive();
    for (size_t whole = zip->size; zip->size > 0;) {
        zip->size--;
        assert_true(zip->size < whole);
        refuse(zip, AACLIP_ERROR_FORMAT, "no end record");
    }
    free(zip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found),
        cmocka_unit_test(zip64_and_streamed_archives_are_read),
        cmocka_unit_test(compressed_and_encrypted_entries_are_named),
        cmocka_unit_test(lies_of_the_end_record_are_refused),
        cmocka_unit_test(lies_about_an_entry_are_refused),
        cmocka_unit_test(overlaps_and_duplicates_are_refused),
        cmocka_unit_test(truncated_archives_are_refused),
    };
    return cmocka_run_group_tests_name("zip", tests, NULL, NULL);
}
