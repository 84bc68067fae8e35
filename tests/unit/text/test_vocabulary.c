/* Vocabulary files that are damaged, too short or inconsistent. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

#include "core/memory.h"
#include "core/platform.h"
#include "scratch_folder.h"
#include "text/tokenizer.h"

#define BYTE_TOKENS 514 /* of a vocabulary without merges */

/* Opening must fail with this status and a text that contains the file name and this reason. */
static void check_refused(char *path, int64_t size, aaclip_status status, const char *reason)
{
    aac_tokenizer *tokenizer;
    assert_int_equal(aac_tokenizer_open(&tokenizer, path, size), status);
    assert_null(tokenizer);
    if (!strstr(aaclip_last_error(), reason) || !strstr(aaclip_last_error(), path))
        fail_msg("expected \"%s\" and \"%s\" in: %s", path, reason, aaclip_last_error());
    aac_free(path);
}

static void missing_files_are_not_found(void **state)
{
    aac_tokenizer *tokenizer;
    check_refused(aac_format("%s/none.gz", (char *)*state), 600, AACLIP_ERROR_NOT_FOUND, "none.gz");
    check_refused(aac_strdup(*state), 600, AACLIP_ERROR_NOT_FOUND, "bpe_simple_vocab_16e6.txt.gz");
    char *path = scratch_text(*state, "list.txt", "#version: 1\n");
    assert_int_equal(aac_tokenizer_open(&tokenizer, path, 513), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aac_tokenizer_open(&tokenizer, path, -1), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aac_tokenizer_open(&tokenizer, path, INT64_MAX),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    aac_free(path);
}

static void the_number_of_merges_must_suffice(void **state)
{
    const char *list = "#version: 1\na b\nb c</w>\n";
    check_refused(scratch_text(*state, "list.txt", list), BYTE_TOKENS + 3, AACLIP_ERROR_MISMATCH,
                  "expected 3 merges for a vocabulary of 517, found 2");
    check_refused(scratch_text(*state, "list.txt", "#version: 1"), BYTE_TOKENS + 1,
                  AACLIP_ERROR_MISMATCH, "found 0");
    for (int64_t size = BYTE_TOKENS; size <= BYTE_TOKENS + 2; size++) { /* a surplus is cut */
        aac_tokenizer *tokenizer;
        int32_t ids[8];
        size_t count;
        char *path = scratch_text(*state, "list.txt", list);
        assert_int_equal(aac_tokenizer_open(&tokenizer, path, size), AACLIP_OK);
        assert_int_equal(aac_tokenizer_encode(tokenizer, "ab bc", false, ids, 8, &count),
                         AACLIP_OK);
        assert_int_equal(count, size == BYTE_TOKENS + 2 ? 5 : 6);
        assert_int_equal(ids[count - 1], size - 1);
        aac_tokenizer_close(&tokenizer);
        aac_free(path);
    }
}

/* Its merges are all the vocabulary's: of a longer one the ids would be those of another. */
static void merges_txt_has_no_surplus(void **state)
{
    const char *list = "#version: 1\na b\nb c</w>\n";
    check_refused(scratch_text(*state, "merges.txt", list), BYTE_TOKENS + 1, AACLIP_ERROR_MISMATCH,
                  "expected 1 merges for a vocabulary of 515, found 2");
    check_refused(scratch_text(*state, "merges.txt", list), BYTE_TOKENS + 3, AACLIP_ERROR_MISMATCH,
                  "expected 3 merges for a vocabulary of 517, found 2");
    aac_tokenizer *tokenizer;
    assert_int_equal(aac_tokenizer_open(&tokenizer, *state, BYTE_TOKENS + 2), AACLIP_OK);
    aac_tokenizer_close(&tokenizer);
    aac_free(scratch_text(*state, "merges.txt", /* OpenAI's under this name */
                          "\"bpe_simple_vocab_16e6.txt#version: 0.2\na b\nb c</w>\n"));
    assert_int_equal(aac_tokenizer_open(&tokenizer, *state, BYTE_TOKENS + 1), AACLIP_OK);
    aac_tokenizer_close(&tokenizer);
}

static void malformed_lines_are_numbered(void **state)
{
    static const struct {
        const char *list, *reason;
    } cases[] = {
        {"", "line 1: expected a line with \"#version\""},
        {"a b\nb c\n", "line 1"},
        {"#version: 1\na b\nab\n", "line 3: expected two symbols"},
        {"#version: 1\na b\na b\n", "line 3: expected a merge that produces a new symbol"},
        {"#version: 1\na b\nabc d\n", "line 3: expected two symbols that"},
        {"#version: 1\na b\na b c\n", "line 3: expected two symbols that"},
        {"#version: 1\na b\n a\n", "line 3: expected two symbols that"},
        {"#version: 1\na b\na \n", "line 3: expected two symbols that"},
        {"#version: 1\na b\n\xff\xfe a\n", "line 3: expected two symbols that"},
        {"#version: 1\na b\n\nc d\n", "line 3: expected two symbols separated"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused(scratch_text(*state, "list.txt", cases[i].list), BYTE_TOKENS + 2,
                      AACLIP_ERROR_FORMAT, cases[i].reason);
}

static void enormous_lines_are_refused(void **state)
{
    size_t size = (size_t)4 << 20;
    char *list = aac_alloc(size);
    memset(list, 'a', size);
    memcpy(list, "#version: 1\n", 12);
    check_refused(scratch_file(*state, "list.txt", list, size), BYTE_TOKENS + 1,
                  AACLIP_ERROR_FORMAT, "line 2");
    list[size / 2] = ' ';
    check_refused(scratch_file(*state, "list.txt", list, size), BYTE_TOKENS + 1,
                  AACLIP_ERROR_FORMAT, "line 2");
    aac_free(list);
}

static void damaged_gzip_is_refused(void **state)
{
    aac_mapping good;
    assert_int_equal(aac_map_file(&good, GOLDEN_DIR "/small.txt.gz"), AACLIP_OK);
    for (size_t size = 2; size < good.size; size += 97)
        check_refused(scratch_file(*state, "cut.gz", good.data, size), 1014, AACLIP_ERROR_FORMAT,
                      "gzip");
    unsigned char *bad = aac_alloc(good.size);
    for (size_t at = 10; at < good.size; at += 53) {
        memcpy(bad, good.data, good.size);
        bad[at] ^= 0x10;
        check_refused(scratch_file(*state, "bad.gz", bad, good.size), 1014, AACLIP_ERROR_FORMAT,
                      "gzip");
    }
    aac_free(bad);
    aac_unmap_file(&good);
}

static void unpacking_is_bounded(void **state)
{
    char *path = aac_format("%s/bomb.gz", (char *)*state);
    gzFile file = gzopen(path, "wb1");
    static const char zeros[1 << 20];
    for (int i = 0; i < 80; i++)
        assert_int_equal(gzwrite(file, zeros, sizeof zeros), sizeof zeros);
    gzclose(file);
    check_refused(path, 1014, AACLIP_ERROR_FORMAT, "67108864 bytes uncompressed");
}

/* The golden vocab.json with `replacement` in place of `original`. */
static void check_json(void **state, const char *original, const char *replacement,
                       aaclip_status status, const char *reason)
{
    aac_mapping file;
    assert_int_equal(aac_map_file(&file, GOLDEN_DIR "/hugging_face/vocab.json"), AACLIP_OK);
    char *json = aac_format("%.*s", (int)file.size, (const char *)file.data);
    aac_unmap_file(&file);
    const char *at = strstr(json, original);
    assert_non_null(at);
    char *edited =
        aac_format("%.*s%s%s", (int)(at - json), json, replacement, at + strlen(original));
    aac_mapping merges;
    assert_int_equal(aac_map_file(&merges, GOLDEN_DIR "/hugging_face/merges.txt"), AACLIP_OK);
    aac_free(scratch_file(*state, "merges.txt", merges.data, merges.size));
    aac_unmap_file(&merges);
    char *json_path = scratch_text(*state, "vocab.json", edited);
    aac_tokenizer *tokenizer;
    assert_int_equal(aac_tokenizer_open(&tokenizer, *state, 1014), status);
    if (!strstr(aaclip_last_error(), reason) || !strstr(aaclip_last_error(), json_path))
        fail_msg("expected \"%s\" in: %s", reason, aaclip_last_error());
    aac_free(json_path);
    aac_free(edited);
    aac_free(json);
}

static void wrong_ids_are_refused(void **state)
{
    const char *id = "\"\\\"\": 1012", *expected = "expected a unique id below 1014";
    check_json(state, id, "\"\\\"\": 1013", AACLIP_ERROR_FORMAT, expected);
    check_json(state, id, "\"\\\"\": 1014", AACLIP_ERROR_FORMAT, expected);
    check_json(state, id, "\"\\\"\": -1", AACLIP_ERROR_FORMAT, expected);
    check_json(state, id, "\"\\\"\": \"1012\"", AACLIP_ERROR_FORMAT, expected);
    check_json(state, id, "\"\\\"\": 1012.0", AACLIP_ERROR_FORMAT, expected);
    check_json(state, id, "\"\\\"\": 99999999999999999999", AACLIP_ERROR_FORMAT, "line");
    check_json(state, id, "\"unmade\": 1012", AACLIP_ERROR_FORMAT, "produces \"unmade\"");
    check_json(state, id, "\"!\": 1012", AACLIP_ERROR_FORMAT, "line");
    check_json(state, "\"\\\"\": 1012,", "", AACLIP_ERROR_MISMATCH, "1014 tokens, found 1013");
    check_json(state, "\n}", "", AACLIP_ERROR_FORMAT, "line");
    check_json(state, "{", "[", AACLIP_ERROR_FORMAT, "line");
}

static void deep_json_is_refused(void **state)
{
    char deep[20001];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    aac_free(scratch_text(*state, "merges.txt", "#version: 1\na b\n"));
    aac_free(scratch_text(*state, "vocab.json", deep));
    aac_tokenizer *tokenizer;
    assert_int_equal(aac_tokenizer_open(&tokenizer, *state, BYTE_TOKENS + 1), AACLIP_ERROR_FORMAT);
    assert_non_null(strstr(aaclip_last_error(), "vocab.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(missing_files_are_not_found, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(the_number_of_merges_must_suffice, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(merges_txt_has_no_surplus, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(malformed_lines_are_numbered, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(enormous_lines_are_refused, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(damaged_gzip_is_refused, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(unpacking_is_bounded, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(wrong_ids_are_refused, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(deep_json_is_refused, scratch_folder_make,
                                        scratch_folder_remove),
    };
    return cmocka_run_group_tests_name("vocabulary", tests, NULL, NULL);
}
