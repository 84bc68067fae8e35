/* Safetensors: what is written conforms to the format; every false claim in a header is named. */
#define _GNU_SOURCE

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <aaclip/model.h>
#include <cmocka.h>
#include <jansson.h>

#include "../text/scratch_folder.h"
#include "core/memory.h"
#include "core/platform.h"
#include "files/tensor_file.h"
#include "system.h"

/* Opening must fail with exactly "<path>: <text>"; "..." stands for text of the JSON library. */
static void refuse(const char *path, aaclip_status expected, const char *text)
{
    aac_tensor_file *file;
    char *whole = aac_format("%s: %s", path, text), *open_end = strstr(whole, "...");
    size_t length = open_end ? (size_t)(open_end - whole) : strlen(whole) + 1;
    aaclip_status status = aac_tensor_file_open(&file, path);
    assert_null(file);
    if (status != expected || strncmp(aaclip_last_error(), whole, length) != 0)
        fail_msg("expected %d with\n%s\nfound %d with\n%s", (int)expected, whole, (int)status,
                 aaclip_last_error());
    aac_free(whole);
}

/* A file of this header, which may hold zero bytes, and `data` bytes behind it. */
static char *write_header(const char *folder, const char *header, size_t length, size_t data)
{
    unsigned char *bytes = calloc(8 + length + data, 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    char *path = scratch_file(folder, "lie.safetensors", bytes, 8 + length + data);
    free(bytes);
    return path;
}

static void refuse_header(const char *folder, const char *header, size_t data,
                          aaclip_status expected, const char *text)
{
    char *path = write_header(folder, header, strlen(header), data);
    refuse(path, expected, text);
    aac_free(path);
}

static aac_tensor matrix(const char *name, aac_dtype dtype, const void *data)
{
    return (aac_tensor){
        .name = name, .dtype = dtype, .rank = 2, .shape = {2, 3}, .stride = {3, 1}, .data = data};
}

/* The rules of the format: rising ranges without holes up to the end, texts as metadata. */
static void check_format(const char *path)
{
    aac_mapping file;
    assert_int_equal(aac_map_file(&file, path), AACLIP_OK);
    size_t length = 0;
    for (int i = 0; i < 8; i++)
        length |= (size_t)file.data[i] << 8 * i;
    assert_int_equal((8 + length) % 64, 0);
    assert_int_equal(file.data[8], '{');
    json_t *header = json_loadb((const char *)file.data + 8, length, JSON_REJECT_DUPLICATES, NULL);
    const char *name;
    json_t *entry;
    json_int_t reached = 0;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        json_t *range = json_object_get(entry, "data_offsets");
        assert_int_equal(json_integer_value(json_array_get(range, 0)), reached);
        reached = json_integer_value(json_array_get(range, 1));
    }
    assert_int_equal(8 + length + (size_t)reached, file.size);
    json_decref(header);
    aac_unmap_file(&file);
}

static void check_floats(const aac_tensor_file *file, const char *name, aac_dtype dtype,
                         const float *expected)
{
    float found[6];
    const aac_tensor *tensor = aac_tensor_file_find(file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, dtype);
    assert_int_equal(aac_tensor_elements(tensor), 6);
    aac_tensor_to_f32(tensor, found);
    assert_memory_equal(found, expected, sizeof found);
}

static void what_is_written_is_read(void **state)
{
    static const float values[] = {1, -2, 0.5f, 4, 1024, -0.25f};
    static const float turned[] = {1, 4, -2, 1024, 0.5f, -0.25f};
    static const int64_t integers[] = {1, -2, 3, INT64_C(1) << 40, 0, -1};
    char *path = aac_format("%s/own.safetensors", (char *)*state);
    aac_tensor transposed = matrix("transposed", AAC_F32, values);
    transposed.shape[0] = 3;
    transposed.shape[1] = 2;
    transposed.stride[0] = 1;
    transposed.stride[1] = 3;
    const aac_tensor_source sources[] = {
        {matrix("as it is", AAC_F32, values), AAC_F32},
        {matrix("half", AAC_F32, values), AAC_F16},
        {matrix("brain \"\xc3\xbc\"\n", AAC_F32, values), AAC_BF16},
        {transposed, AAC_F32},
        {matrix("integers", AAC_I64, integers), AAC_I64},
        {{.name = "scalar", .data = values}, AAC_F32},
        {{.name = "nothing", .rank = 2, .shape = {0, 7}, .stride = {7, 1}, .data = values},
         AAC_F16},
    };
    const aac_metadata metadata[] = {{"key", "a \"text\" \xc3\xbc"}, {"empty", ""}};
    const size_t count = sizeof sources / sizeof *sources;
    assert_int_equal(aac_safetensors_write(path, sources, count, metadata, 2), AACLIP_OK);
    check_format(path);
    aac_tensor_file *file;
    assert_int_equal(aac_tensor_file_open(&file, path), AACLIP_OK);
    assert_int_equal(aac_tensor_file_count(file), count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(aac_tensor_file_at(file, i)->name, sources[i].tensor.name);
    check_floats(file, "as it is", AAC_F32, values);
    check_floats(file, "half", AAC_F16, values);
    check_floats(file, "brain \"\xc3\xbc\"\n", AAC_BF16, values);
    check_floats(file, "transposed", AAC_F32, turned);
    assert_memory_equal(aac_tensor_file_find(file, "integers")->data, integers, sizeof integers);
    assert_int_equal(aac_tensor_file_find(file, "scalar")->rank, 0);
    assert_int_equal(aac_tensor_elements(aac_tensor_file_find(file, "nothing")), 0);
    assert_string_equal(aac_tensor_file_string(file, "key"), metadata[0].value);
    assert_string_equal(aac_tensor_file_string(file, "empty"), "");
    aac_tensor_file_close(&file);
    aac_free(path);
}

static void what_cannot_be_written_leaves_nothing(void **state)
{
    static const int64_t integers[6];
    const aac_tensor_source narrowed = {matrix("n", AAC_I64, integers), AAC_U8};
    const aac_tensor_source fine = {matrix("n", AAC_I64, integers), AAC_I64};
    const aac_metadata latin = {"key", "\xfc"};
    char *path = aac_format("%s/out.safetensors", (char *)*state);
    assert_int_equal(aac_safetensors_write(path, &narrowed, 1, NULL, 0), AACLIP_ERROR_UNSUPPORTED);
    assert_string_equal(aaclip_last_error(), "n: cannot be stored as uint8");
    assert_int_not_equal(aac_safetensors_write(path, &fine, 1, &latin, 1), AACLIP_OK);
    assert_non_null(strstr(aaclip_last_error(), path));
    assert_int_equal(aac_safetensors_write(*state, &fine, 1, NULL, 0), AACLIP_ERROR_IO);
    assert_non_null(strstr(aaclip_last_error(), "Is a directory"));
    assert_int_equal(system_count_files(*state), 0);
    aac_free(path);
}

static void no_file_of_tensors_is_told(void **state)
{
    static const char neither[] =
        "expected a safetensors file or a torch.save zip archive, found neither";
    static const char *const contents[] = {"{", "12345678", "12345678[", "\x89PNG\r\n\x1a\n  "};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        char *path = scratch_text(*state, "file", contents[i]);
        refuse(path, AACLIP_ERROR_FORMAT, neither);
        aac_free(path);
    }
    char *path = scratch_text(*state, "file", "");
    refuse(path, AACLIP_ERROR_FORMAT, "the file is empty");
    aac_free(path);
    aac_tensor_file *file;
    assert_int_equal(aac_tensor_file_open(&file, ""), AACLIP_ERROR_NOT_FOUND);
    assert_non_null(strstr(aaclip_last_error(), "the empty path: "));
    refuse(*state, AACLIP_ERROR_IO, "expected a regular file");
}

static void pipes_are_neither_read_nor_replaced(void **state)
{
    if (!system_is_posix())
        skip();
    static const int64_t integers[6];
    const aac_tensor_source fine = {matrix("n", AAC_I64, integers), AAC_I64};
    char *pipe = aac_format("%s/pipe", (char *)*state);
    assert_int_equal(system_make_pipe(pipe), 0);
    refuse(pipe, AACLIP_ERROR_IO, "expected a regular file");
    assert_int_equal(aac_safetensors_write(pipe, &fine, 1, NULL, 0), AACLIP_ERROR_IO);
    assert_non_null(strstr(aaclip_last_error(), "not a regular file"));
    assert_int_equal(system_count_files(*state), 1); /* the pipe */
    aac_free(pipe);
}

static void lies_about_the_length_are_refused(void **state)
{
    static const struct {
        unsigned char length[8];
        const char *text;
    } lies[] = {
        {{4}, "safetensors: header of 4 bytes in a file of 11 bytes"},
        {{0xff, 0xff, 0xff, 0xff}, "safetensors: header of 4294967295 bytes in a file of 11 bytes"},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
         "safetensors: header of 18446744073709551615 bytes in a file of 11 bytes"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        unsigned char bytes[11] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}', ' '};
        memcpy(bytes, lies[i].length, 8);
        char *path = scratch_file(*state, "lie.safetensors", bytes, sizeof bytes);
        refuse(path, AACLIP_ERROR_FORMAT, lies[i].text);
        aac_free(path);
    }
    char *path = scratch_file(*state, "large.safetensors", "\x01\xe1\xf5\x05\0\0\0\0{", 9);
    assert_int_equal(system_resize_file(path, 100000001 + 8), 0);
    refuse(path, AACLIP_ERROR_FORMAT,
           "safetensors: header: expected at most 100000000 bytes, found 100000001");
    aac_free(path);
}

#define A "{\"a\":{\"dtype\":\"F32\",\"shape\":"

static void lies_of_a_header_are_named(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *text;
    } lies[] = {
        {"{\"a\":", 0, "safetensors: header: ..."},
        {"{nonsense}", 0, "safetensors: header: ..."},
        {"{} {}", 0, "safetensors: header: end of file expected..."},
        {"{\"\xff\":1}", 0, "safetensors: header: unable to decode byte 0xff..."},
        {"{\"a\\u0000b\":1}", 0, "safetensors: header: NUL byte in object key not supported..."},
        {"{\"a\":1,\"a\":2}", 0, "safetensors: header: duplicate object key..."},
        {"{\"a\":5}", 0, "a: expected a dtype"},
        {"{\"a\":{}}", 0, "a: expected a dtype"},
        {"{\"a\":{\"dtype\":7}}", 0, "a: expected a dtype"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, "a: expected a shape of at most 8 numbers"},
        {A "4,\"data_offsets\":[0,4]}}", 4, "a: expected a shape of at most 8 numbers"},
        {A "[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "a: expected a shape of at most 8 numbers"},
        {A "[2,-1],\"data_offsets\":[0,8]}}", 8, "a: shape: dimension 1 is not a valid size"},
        {A "[1.5],\"data_offsets\":[0,8]}}", 8, "a: shape: dimension 0 is not a valid size"},
        {A "[\"2\"],\"data_offsets\":[0,8]}}", 8, "a: shape: dimension 0 is not a valid size"},
        {A "[4611686018427387904,4],\"data_offsets\":[0,8]}}", 8,
         "a: shape: dimension 0 is not a valid size"},
        {A "[0,4611686018427387904,2],\"data_offsets\":[0,0]}}", 0, "a: shape: too large"},
        {A "[2305843009213693952,2,0],\"data_offsets\":[0,0]}}", 0,
         "a: shape: dimension 1 is not a valid size"},
        {A "[99999999999999999999],\"data_offsets\":[0,8]}}", 8,
         "safetensors: header: too big integer..."},
        {A "[2]}}", 8, "a: data_offsets: expected two ascending numbers"},
        {A "[2],\"data_offsets\":8}}", 8, "a: data_offsets: expected two ascending numbers"},
        {A "[2],\"data_offsets\":[0]}}", 8, "a: data_offsets: expected two ascending numbers"},
        {A "[2],\"data_offsets\":[0,8,9]}}", 8, "a: data_offsets: expected two ascending numbers"},
        {A "[2],\"data_offsets\":[0,\"8\"]}}", 8,
         "a: data_offsets: expected two ascending numbers"},
        {A "[2],\"data_offsets\":[-8,0]}}", 8, "a: data_offsets: expected two ascending numbers"},
        {A "[2],\"data_offsets\":[8,0]}}", 8, "a: data_offsets: expected two ascending numbers"},
        {A "[2],\"data_offsets\":[0,8]}}", 7,
         "a: data_offsets: end 8 is beyond the file's 7 bytes of data"},
        {A "[1],\"data_offsets\":[9223372036854775803,9223372036854775807]}}", 4,
         "a: data_offsets: end 9223372036854775807 is beyond the file's 4 bytes of data"},
        {A "[3],\"data_offsets\":[0,8]}}", 8, "a: expected 12 bytes for its shape, found 8"},
        {A "[2],\"data_offsets\":[0,8]}}", 9,
         "safetensors: expected 8 bytes of data for the tensors, found 9"},
        {"{}", 1, "safetensors: expected 0 bytes of data for the tensors, found 1"},
        {A "[1],\"data_offsets\":[4,8]}}", 8, "a: data_offsets: expected to begin at 0, found 4"},
        {A "[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\",\"shape\":[],"
           "\"data_offsets\":[7,8]}}",
         8, "b: shares bytes with a"},
        {A "[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
           "\"data_offsets\":[0,8]}}",
         8, "b: shares bytes with a"},
        {"{\"__metadata__\":[]}", 0, "__metadata__: expected an object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "__metadata__: k: expected a string"},
        {"{\"__metadata__\":{\"k\":{\"l\":\"m\"}}}", 0, "__metadata__: k: expected a string"},
        {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", 0,
         "safetensors: header: \\u0000 is not allowed..."},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        refuse_header(*state, lies[i].header, lies[i].data, AACLIP_ERROR_FORMAT, lies[i].text);
    refuse_header(*state, "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
                  AACLIP_ERROR_UNSUPPORTED, "a: numbers of type F8_E4M3 are not supported");
    char *path = write_header(*state, "{\0}", 3, 0);
    refuse(path, AACLIP_ERROR_FORMAT, "safetensors: header: ...");
    aac_free(path);
}

static void deep_nesting_is_refused(void **state)
{
    const size_t depth = 100000;
    char *header = malloc(depth + 6);
    assert_non_null(header);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', depth);
    header[5 + depth] = '\0';
    refuse_header(*state, header, 0, AACLIP_ERROR_FORMAT,
                  "safetensors: header: maximum parsing depth reached...");
    free(header);
}

static void every_truncation_is_refused(void **state)
{
    static const char header[] = A
        "[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"I8\","
        "\"shape\":[3],\"data_offsets\":[8,11]}}";
    char *path = write_header(*state, header, strlen(header), 11);
    aac_tensor_file *file;
    assert_int_equal(aac_tensor_file_open(&file, path), AACLIP_OK);
    assert_int_equal(aac_tensor_file_count(file), 2);
    aac_tensor_file_close(&file);
    for (size_t size = 8 + strlen(header) + 11; size-- > 0;) {
        assert_int_equal(system_resize_file(path, size), 0);
        assert_int_equal(aac_tensor_file_open(&file, path), AACLIP_ERROR_FORMAT);
        assert_int_equal(strncmp(aaclip_last_error(), path, strlen(path)), 0);
    }
    aac_free(path);
}

/* The status of opening a file of these bytes and looking for damage; *whole: aaclip_verify_file's.
 */
static aaclip_status verify(const char *folder, const char *bytes, size_t size,
                            aaclip_status *whole)
{
    char *path = scratch_file(folder, "changed.safetensors", bytes, size);
    aac_tensor_file *file;
    aaclip_status status = aac_tensor_file_open(&file, path);
    if (!status)
        status = aac_tensor_file_verify(file);
    aac_tensor_file_close(&file);
    *whole = aaclip_verify_file(path);
    aac_free(path);
    return status;
}

static void every_changed_byte_is_found(void **state)
{
    static const float values[] = {1, -2, 0.5f, 4, 1024, -0.25f};
    const aac_tensor_source source = {matrix("weight", AAC_F32, values), AAC_F32};
    const aac_metadata metadata = {"key", "\"aaclip.checksum\":\"00000000\""};
    char *path = aac_format("%s/own.safetensors", (char *)*state);
    assert_int_equal(aac_safetensors_write(path, &source, 1, &metadata, 1), AACLIP_OK);
    aac_mapping mapping;
    assert_int_equal(aac_read_file(&mapping, path), AACLIP_OK);
    char *bytes = malloc(mapping.size), *key;
    aaclip_status whole;
    memcpy(bytes, mapping.data, mapping.size);
    assert_int_equal(verify(*state, bytes, mapping.size, &whole), AACLIP_OK);
    assert_int_equal(whole, AACLIP_OK);
    for (size_t i = mapping.size; i-- > 0;) {
        bytes[i] ^= 1;
        key = strstr(bytes + 8, "\"aaclip.checksum\":\"");
        if (key && strspn(key + 19, "0123456789abcdef") == 8) /* else there is none */
            assert_int_not_equal(verify(*state, bytes, mapping.size, &whole), AACLIP_OK);
        else
            verify(*state, bytes, mapping.size, &whole);
        assert_int_not_equal(whole, AACLIP_OK);
        bytes[i] ^= 1;
    }
    for (size_t size = 0; size < mapping.size; size++) { /* cut off */
        verify(*state, bytes, size, &whole);
        assert_int_equal(whole, AACLIP_ERROR_FORMAT);
    }
    memcpy(strstr(bytes + 8, "aaclip.checksum\":"), "another.program", 15);
    bytes[mapping.size - 1] ^= 1;
    assert_int_equal(verify(*state, bytes, mapping.size, &whole), AACLIP_OK);
    assert_int_equal(whole, AACLIP_ERROR_UNSUPPORTED);
    free(bytes);
    aac_unmap_file(&mapping);
    aac_free(path);
}

#define IN_SCRATCH(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, scratch_folder_make, scratch_folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(what_is_written_is_read),     IN_SCRATCH(what_cannot_be_written_leaves_nothing),
        IN_SCRATCH(no_file_of_tensors_is_told),  IN_SCRATCH(lies_about_the_length_are_refused),
        IN_SCRATCH(lies_of_a_header_are_named),  IN_SCRATCH(deep_nesting_is_refused),
        IN_SCRATCH(every_truncation_is_refused), IN_SCRATCH(pipes_are_neither_read_nor_replaced),
        IN_SCRATCH(every_changed_byte_is_found),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
