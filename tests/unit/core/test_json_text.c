/* JSON as text, also if the program has given jansson its own allocator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <aaclip/config.h>

#include "core/config.h"
#include "core/json_text.h"
#include "core/memory.h"

#define HEADER 16

static int blocks;

/* Blocks that must not be passed to free(). */
static void *allocate(size_t size)
{
    char *block = malloc(size + HEADER);
    blocks += block != NULL;
    return block ? block + HEADER : NULL;
}

static void deallocate(void *block)
{
    blocks -= block != NULL;
    free(block ? (char *)block - HEADER : NULL);
}

static int give_jansson_ours(void **state)
{
    (void)state;
    json_set_alloc_funcs(allocate, deallocate);
    return 0;
}

static int give_jansson_malloc(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free);
    return blocks;
}

static void test_text(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:i, s:[s]}", "a", 1, "b", "c\n");
    char *text = aac_json_text(value, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"a\":1,\"b\":[\"c\\n\"]}");
    aac_free(text);
    json_decref(value);
}

static void test_what_has_no_text(void **state)
{
    (void)state;
    json_t *number = json_integer(1);
    assert_null(aac_json_text(NULL, 0));
    assert_null(aac_json_text(number, 0)); /* only JSON_ENCODE_ANY writes it */
    json_decref(number);
}

static void test_config(void **state)
{
    (void)state;
    aaclip_config config, again = {.size = sizeof again};
    assert_int_equal(aaclip_config_init(&config, AACLIP_PROFILE_DOCUMENT), AACLIP_OK);
    char *text = aac_config_to_json(&config);
    assert_non_null(text);
    assert_int_equal(aac_config_from_json(&again, text, "test"), AACLIP_OK);
    assert_null(aac_config_difference(&config, &again));
    aac_free(text);
}

static char *spaces_before(const char *value, size_t spaces)
{
    char *text = malloc(spaces + strlen(value) + 1);
    assert_non_null(text);
    memset(text, ' ', spaces);
    memcpy(text + spaces, value, strlen(value) + 1);
    return text;
}

static void test_embedded(void **state)
{
    (void)state;
    json_t *value;
    aaclip_config config = {.size = sizeof config};
    char *most = spaces_before("{}", AAC_EMBEDDED_JSON - 2);
    char *more = spaces_before("{}", AAC_EMBEDDED_JSON - 1);
    assert_int_equal(aac_json_embedded(&value, most, "here"), AACLIP_OK);
    json_decref(value);
    assert_int_equal(aac_json_embedded(&value, more, "here"), AACLIP_ERROR_FORMAT);
    assert_null(value);
    assert_string_equal(aaclip_last_error(), "here: expected at most 65536 bytes, found 65537");
    assert_int_equal(aac_json_embedded(&value, "{\"a\": 1, \"a\": 2}", "here"),
                     AACLIP_ERROR_FORMAT);
    assert_int_equal(aac_config_from_json(&config, more, "file"), AACLIP_ERROR_FORMAT);
    assert_string_equal(aaclip_last_error(),
                        "file: metadata aaclip.config: expected at most 65536 "
                        "bytes, found 65537");
    free(most);
    free(more);
}

static void test_numbers(void **state)
{
    (void)state;
    double value = 7;
    char *most = spaces_before("1e-5", 60), *more = spaces_before("1e-5", 61);
    assert_true(aac_json_number_read(most, &value));
    assert_true(value > 0.9e-5 && value < 1.1e-5);
    value = 7;
    assert_false(aac_json_number_read(more, &value));
    assert_false(aac_json_number_read("\"1\"", &value));
    assert_false(aac_json_number_read("", &value));
    assert_true(value > 6);
    free(most);
    free(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, give_jansson_ours, give_jansson_malloc),
        cmocka_unit_test_setup_teardown(test_what_has_no_text, give_jansson_ours,
                                        give_jansson_malloc),
        cmocka_unit_test_setup_teardown(test_config, give_jansson_ours, give_jansson_malloc),
        cmocka_unit_test(test_embedded),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
