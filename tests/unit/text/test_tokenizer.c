/* The tokenizer against the ids of CLIP's, and its limits. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "core/memory.h"
#include "failing_allocator.h"
#include "text/tokenizer.h"

#define SMALL_SIZE   1014
#define FULL_SIZE    49408
#define LONG_CONTEXT 2000

static aac_tokenizer *open_small(void)
{
    aac_tokenizer *tokenizer;
    assert_int_equal(aac_tokenizer_open(&tokenizer, GOLDEN_DIR "/small.txt.gz", SMALL_SIZE),
                     AACLIP_OK);
    return tokenizer;
}

/* `flip`: the vocabulary numbers its ids backwards from here; 0: it does not. */
static void check_case(const aac_tokenizer *tokenizer, const json_t *pair, int flip)
{
    const char *text = json_string_value(json_array_get(pair, 0));
    const json_t *expected = json_array_get(pair, 1);
    int32_t ids[LONG_CONTEXT];
    size_t count, index;
    const json_t *id;
    assert_int_equal(aac_tokenizer_encode(tokenizer, text, false, ids, LONG_CONTEXT, &count),
                     AACLIP_OK);
    if (count != json_array_size(expected))
        fail_msg("%s: expected %zu ids, found %zu", text, json_array_size(expected), count);
    json_array_foreach(expected, index, id)
    {
        int32_t found = flip ? flip - ids[index] : ids[index];
        if (found != json_integer_value(id))
            fail_msg("%s: token %zu: expected %d, found %d", text, index,
                     (int)json_integer_value(id), found);
    }
}

static void check_cases(const aac_tokenizer *tokenizer, const char *path, int flip)
{
    json_error_t error;
    json_t *cases = json_load_file(path, 0, &error);
    assert_non_null(cases);
    assert_true(json_array_size(cases) > 400);
    size_t index;
    json_t *pair;
    json_array_foreach(cases, index, pair) check_case(tokenizer, pair, flip);
    json_decref(cases);
}

static void small_vocabulary_gives_the_ids_of_clip(void **state)
{
    (void)state;
    aac_tokenizer *tokenizer = open_small();
    check_cases(tokenizer, GOLDEN_DIR "/small_cases.json", 0);
    aac_tokenizer_close(&tokenizer);
    assert_null(tokenizer);
}

static void vocab_json_renumbers_the_tokens(void **state)
{
    (void)state;
    static const char *const paths[] = {GOLDEN_DIR "/hugging_face", GOLDEN_DIR "/hugging_face/",
                                        GOLDEN_DIR "/hugging_face/merges.txt"};
    for (size_t i = 0; i < 3; i++) {
        aac_tokenizer *tokenizer;
        assert_int_equal(aac_tokenizer_open(&tokenizer, paths[i], SMALL_SIZE), AACLIP_OK);
        check_cases(tokenizer, GOLDEN_DIR "/small_cases.json", SMALL_SIZE - 1);
        aac_tokenizer_close(&tokenizer);
    }
}

static void full_vocabulary_gives_the_ids_of_clip(void **state)
{
    (void)state;
    const char *path = getenv("AACLIP_TEST_VOCABULARY");
    if (!path) {
        print_message("AACLIP_TEST_VOCABULARY names no bpe_simple_vocab_16e6.txt.gz\n");
        skip();
    }
    aac_tokenizer *tokenizer;
    assert_int_equal(aac_tokenizer_open(&tokenizer, path, FULL_SIZE), AACLIP_OK);
    check_cases(tokenizer, GOLDEN_DIR "/full_cases.json", 0);
    aac_tokenizer_close(&tokenizer);
}

static void long_text_is_refused_or_cut(void **state)
{
    (void)state;
    aac_tokenizer *tokenizer = open_small();
    int32_t ids[5], whole[8];
    size_t count;
    const char *text = "1 2 3 4 5 6";
    assert_int_equal(aac_tokenizer_encode(tokenizer, text, false, whole, 8, &count), AACLIP_OK);
    assert_int_equal(count, 8);
    assert_int_equal(aac_tokenizer_encode(tokenizer, text, false, ids, 5, &count),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_string_equal(aaclip_last_error(),
                        "text \"1 2 3 4 5 6\": expected at most 5 tokens, found 8");
    assert_int_equal(aac_tokenizer_encode(tokenizer, text, true, ids, 5, &count), AACLIP_OK);
    assert_int_equal(count, 5);
    assert_memory_equal(ids, whole, 4 * sizeof *ids);
    assert_int_equal(ids[4], SMALL_SIZE - 1);
    assert_int_equal(aac_tokenizer_encode(tokenizer, "1 2 3", true, ids, 5, &count), AACLIP_OK);
    assert_int_equal(count, 5);
    assert_int_equal(ids[3], whole[3]);
    aac_tokenizer_close(&tokenizer);
}

/* A level a pass; 4,000 of them would take a second. */
static void references_inside_references_have_an_end(void **state)
{
    (void)state;
    enum { MOST = 4095 };
    const size_t levels[] = {1, 15, 16, MOST};
    aac_tokenizer *tokenizer = open_small();
    int32_t ids[LONG_CONTEXT], same[LONG_CONTEXT];
    size_t count, same_count;
    char nested[4 * MOST + 2] = "&";
    assert_int_equal(aac_tokenizer_encode(tokenizer, "&", false, same, 77, &same_count), AACLIP_OK);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        for (size_t j = 0; j < levels[i]; j++)
            memcpy(nested + 1 + 4 * j, "amp;", 5);
        aaclip_status status = aac_tokenizer_encode(tokenizer, nested, false, ids, 77, &count);
        if (levels[i] < 16) {
            assert_int_equal(status, AACLIP_OK);
            assert_int_equal(count, same_count);
            assert_memory_equal(ids, same, count * sizeof *ids);
        } else {
            assert_int_equal(status, AACLIP_ERROR_INVALID_ARGUMENT);
            assert_non_null(strstr(aaclip_last_error(), "nested fewer than 16 levels deep"));
        }
    }
    aac_tokenizer_close(&tokenizer);
}

/* Ordering them takes the square of their number. */
static void marks_in_a_row_have_an_end(void **state)
{
    (void)state;
    aac_tokenizer *tokenizer = open_small();
    int32_t ids[LONG_CONTEXT];
    size_t count;
    char text[1 + 2 * 65 + 1] = "a";
    for (size_t i = 1; i + 1 < sizeof text; i += 2)
        memcpy(text + i, i % 4 == 1 ? "\xcc\x81" : "\xcc\xa3", 2);
    assert_int_equal(aac_tokenizer_encode(tokenizer, text, true, ids, 77, &count),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "at most 64 combining marks in a row"));
    text[sizeof text - 3] = 'b';
    text[sizeof text - 2] = 'c';
    assert_int_equal(aac_tokenizer_encode(tokenizer, text, true, ids, 77, &count), AACLIP_OK);
    aac_tokenizer_close(&tokenizer);
}

static void unusable_arguments_are_named(void **state)
{
    (void)state;
    static const char *const broken[] = {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80"};
    aac_tokenizer *tokenizer = open_small();
    int32_t ids[4];
    size_t count;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_int_equal(aac_tokenizer_encode(tokenizer, broken[i], false, ids, 4, &count),
                         AACLIP_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(aaclip_last_error(), "UTF-8"));
    }
    assert_int_equal(aac_tokenizer_encode(tokenizer, "a", false, ids, 1, &count),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    char *endless = aac_alloc(16386);
    memset(endless, ' ', 16385);
    endless[16385] = '\0';
    assert_int_equal(aac_tokenizer_encode(tokenizer, endless, true, ids, 4, &count),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "16384 bytes"));
    endless[16384] = '\0';
    assert_int_equal(aac_tokenizer_encode(tokenizer, endless, false, ids, 4, &count), AACLIP_OK);
    assert_int_equal(count, 2);
    aac_free(endless);
    aac_tokenizer_close(&tokenizer);
    aac_tokenizer_close(NULL);
}

static aaclip_status open_and_encode(void *user)
{
    aac_tokenizer *tokenizer;
    int32_t ids[77];
    size_t count;
    aaclip_status status = aac_tokenizer_open(&tokenizer, user, SMALL_SIZE);
    if (status)
        return status;
    status = aac_tokenizer_encode(tokenizer, "&Eacute;e\xcc\x81 <b>\n\xef\xac\x81 x", false, ids,
                                  77, &count);
    aac_tokenizer_close(&tokenizer);
    return status;
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    assert_true(fail_each_allocation(open_and_encode, GOLDEN_DIR "/small.txt.gz") > 10);
    assert_true(fail_each_allocation(open_and_encode, GOLDEN_DIR "/hugging_face") > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_vocabulary_gives_the_ids_of_clip),
        cmocka_unit_test(vocab_json_renumbers_the_tokens),
        cmocka_unit_test(full_vocabulary_gives_the_ids_of_clip),
        cmocka_unit_test(long_text_is_refused_or_cut),
        cmocka_unit_test(references_inside_references_have_an_end),
        cmocka_unit_test(marks_in_a_row_have_an_end),
        cmocka_unit_test(unusable_arguments_are_named),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
