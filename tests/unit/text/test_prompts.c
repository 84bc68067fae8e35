/* Prompt sets, how a phrase fills them, and the phrases of the published data sets. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include <aaclip/config.h>

#include "core/memory.h"
#include "core/platform.h"
#include "failing_allocator.h"
#include "scratch_folder.h"
#include "system.h"
#include "text/prompts.h"

static void check_list(char *const *found, size_t count, const char *const *expected,
                       size_t expected_count)
{
    assert_int_equal(count, expected_count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(found[i], expected[i]);
}

static void published_set_is_the_published_one(void **state)
{
    (void)state;
    static const char *const normal[] = {"{}", "a {}", "the {}"};
    static const char *const abnormal[] = {"a damaged {}", "a broken {}", "a {} with flaw",
                                           "a {} with defect", "a {} with damage"};
    static const char *const templates[] = {"{}.", "a photo of {}."};
    aac_prompt_set set;
    assert_int_equal(aac_prompt_set_profile(&set, AAC_PROMPTS_PUBLISHED), AACLIP_OK);
    check_list(set.normal, set.normal_count, normal, 3);
    check_list(set.abnormal, set.abnormal_count, abnormal, 5);
    check_list(set.templates, set.template_count, templates, 2);
    aac_prompt_set_clear(&set);
}

static int has(char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], text) == 0)
            return 1;
    return 0;
}

static void check_distinct(char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_false(has(list, i, list[i]));
}

static void document_set_has_the_counts_and_examples_of_the_document(void **state)
{
    (void)state;
    aac_prompt_set set;
    assert_int_equal(aac_prompt_set_profile(&set, AAC_PROMPTS_DOCUMENT), AACLIP_OK);
    assert_int_equal(set.normal_count, 6);
    assert_int_equal(set.abnormal_count, 10);
    assert_int_equal(set.template_count, 7);
    assert_true(has(set.normal, 6, "flawless {}") && has(set.normal, 6, "perfect {}"));
    assert_true(has(set.abnormal, 10, "damaged {}") && has(set.abnormal, 10, "{} with flaw"));
    assert_true(has(set.templates, 7, "a photo of a {}"));
    assert_true(has(set.templates, 7, "a cropped photo of the {}"));
    check_distinct(set.normal, 6);
    check_distinct(set.abnormal, 10);
    check_distinct(set.templates, 7);
    aac_prompt_set_clear(&set);
    assert_int_equal(aac_prompt_set_profile(&set, (aac_prompt_profile)7),
                     AACLIP_ERROR_INVALID_ARGUMENT);
}

static void state_is_filled_before_template(void **state)
{
    (void)state;
    char *states[] = {"{} with flaw", "the {}"}, *templates[] = {"a photo of {}.", "{}", "<{}>"};
    char *broken[] = {"no hole"};
    static const char *const expected[] = {
        "a photo of %s {} & ü with flaw.", "%s {} & ü with flaw", "<%s {} & ü with flaw>",
        "a photo of the %s {} & ü.",       "the %s {} & ü",       "<the %s {} & ü>"};
    char **prompts;
    size_t count;
    assert_int_equal(aac_prompts_fill(&prompts, &count, states, 2, templates, 3, "%s {} & ü"),
                     AACLIP_OK);
    check_list(prompts, count, expected, 6);
    aac_list_free(prompts, count);
    assert_int_equal(aac_prompts_fill(&prompts, &count, broken, 1, templates, 3, "x"),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aac_prompts_fill(&prompts, &count, states, 2, broken, 1, "x"),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "no hole"));
}

static void own_sets_are_read(void **state)
{
    char *path = scratch_text(*state, "prompts.json",
                              "{\"abnormal\": [\"odd {}\", \"{}!\"], \"normal\": [\"{}\"], "
                              "\"templates\": [\"\xc3\xbc {}\"]}");
    static const char *const abnormal[] = {"odd {}", "{}!"}, *const templates[] = {"\xc3\xbc {}"};
    aac_prompt_set set;
    assert_int_equal(aac_prompt_set_read(&set, path), AACLIP_OK);
    assert_int_equal(set.normal_count, 1);
    check_list(set.abnormal, set.abnormal_count, abnormal, 2);
    check_list(set.templates, set.template_count, templates, 1);
    aac_prompt_set_clear(&set);
    assert_null(set.normal);
    aac_free(path);
}

static void unusable_sets_are_refused(void **state)
{
    static const struct {
        const char *json, *reason;
    } cases[] = {
        {"", "line 1"},
        {"[]", "expected an object"},
        {"{\"normal\": [\"{}\"], \"abnormal\": [\"{}\"]}", "\"templates\""},
        {"{\"normal\": [], \"abnormal\": [\"{}\"], \"templates\": [\"{}\"]}", "\"normal\""},
        {"{\"normal\": \"{}\", \"abnormal\": [\"{}\"], \"templates\": [\"{}\"]}", "\"normal\""},
        {"{\"normal\": [\"{}\", \"ok\"], \"abnormal\": [\"{}\"], \"templates\": [\"{}\"]}",
         "\"normal\"[1]: expected a string with one \"{}\", found \"ok\""},
        {"{\"normal\": [\"{}\"], \"abnormal\": [\"{} {}\"], \"templates\": [\"{}\"]}",
         "\"abnormal\"[0]"},
        {"{\"normal\": [\"{}\"], \"abnormal\": [3], \"templates\": [\"{}\"]}", "\"abnormal\"[0]"},
        {"{\"normal\": [\"{}\"], \"abnormal\": [\"{}\"], \"template\": [\"{}\"]}", "\"template\""},
        {"{\"normal\": [\"\\u0000{}\"]}", "line 1"},
        {"{\"normal\": [\"\xff{}\"]}", "line 1"},
    };
    aac_prompt_set set;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = scratch_text(*state, "prompts.json", cases[i].json);
        assert_int_equal(aac_prompt_set_read(&set, path), AACLIP_ERROR_FORMAT);
        assert_null(set.normal);
        if (!strstr(aaclip_last_error(), cases[i].reason) || !strstr(aaclip_last_error(), path))
            fail_msg("expected \"%s\" in: %s", cases[i].reason, aaclip_last_error());
        aac_free(path);
    }
    assert_int_equal(aac_prompt_set_read(&set, "/nonexistent"), AACLIP_ERROR_NOT_FOUND);
}

static void oversized_sets_are_refused(void **state)
{
    size_t size = ((size_t)1 << 20) + 1;
    char *blank = aac_alloc(size);
    memset(blank, ' ', size);
    char *path = scratch_file(*state, "prompts.json", blank, size);
    aac_prompt_set set;
    assert_int_equal(aac_prompt_set_read(&set, path), AACLIP_ERROR_FORMAT);
    assert_non_null(strstr(aaclip_last_error(), "1048576 bytes"));
    aac_free(path);
    aac_free(blank);
}

static aaclip_status build_prompts(void *user)
{
    aac_prompt_set set;
    char **prompts;
    size_t count;
    aaclip_status status = user ? aac_prompt_set_read(&set, user)
                                : aac_prompt_set_profile(&set, AAC_PROMPTS_PUBLISHED);
    if (status)
        return status;
    status = aac_prompts_fill(&prompts, &count, set.normal, set.normal_count, set.templates,
                              set.template_count, "cable");
    if (!status)
        aac_list_free(prompts, count);
    aac_prompt_set_clear(&set);
    return status;
}

static void the_sum_of_prompts_is_bounded(void **state)
{
    (void)state;
    enum { STATES = 64, TEMPLATES = 65, LENGTH = 4097 }; /* 16.6 MB */
    static char long_state[LENGTH];
    char hole[] = "{}", *states[STATES], *templates[TEMPLATES], **filled;
    size_t count;
    memset(long_state, 's', LENGTH - 1);
    memcpy(long_state, "{}", 2);
    for (size_t i = 0; i < STATES; i++)
        states[i] = long_state;
    for (size_t i = 0; i < TEMPLATES; i++)
        templates[i] = hole;
    assert_int_equal(aac_prompts_fill(&filled, &count, states, STATES, templates, TEMPLATES, "ab"),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_null(filled);
    assert_int_equal(
        aac_prompts_fill(&filled, &count, states, STATES, templates, TEMPLATES - 1, "ab"),
        AACLIP_OK);
    aac_list_free(filled, count);
}

static void every_failed_allocation_is_reported(void **state)
{
    const int read = system_is_posix(); /* the file's content; on Windows it is mapped */
    char *path = scratch_text(*state, "prompts.json",
                              "{\"abnormal\": [\"odd {}\", \"{}!\"], \"normal\": [\"{}\"], "
                              "\"templates\": [\"a {}\"]}");
    assert_int_equal(fail_each_allocation(build_prompts, NULL), 3 + 10 + 1 + 6);
    assert_int_equal(fail_each_allocation(build_prompts, path), read + 3 + 4 + 1 + 1);
    aac_free(path);
}

static void check_dataset(size_t index, const char *dataset, json_t *entry)
{
    const char *class_name, *domain_text = json_string_value(json_object_get(entry, "domain"));
    json_t *classes = json_object_get(entry, "classes"), *phrase;
    size_t class_index = 0;
    char text[200];
    aaclip_domain domain;
    assert_string_equal(aaclip_known_dataset_name(index), dataset);
    assert_int_equal(aaclip_known_dataset_domain(dataset, &domain), AACLIP_OK);
    assert_int_equal(domain, strcmp(domain_text, "Medical") == 0 ? AACLIP_DOMAIN_MEDICAL
                                                                 : AACLIP_DOMAIN_INDUSTRIAL);
    assert_int_equal(aaclip_known_dataset_class_count(dataset), json_object_size(classes));
    json_object_foreach(classes, class_name, phrase)
    {
        assert_string_equal(aaclip_known_dataset_class_name(dataset, class_index++), class_name);
        assert_int_equal(aaclip_class_phrase(dataset, class_name, text, sizeof text), AACLIP_OK);
        assert_string_equal(text, json_string_value(phrase));
    }
    assert_null(aaclip_known_dataset_class_name(dataset, class_index));
}

static void phrases_are_those_of_the_file(void **state)
{
    (void)state;
    json_error_t error;
    json_t *datasets = json_load_file(PHRASES, 0, &error), *entry;
    assert_non_null(datasets);
    const char *dataset;
    size_t index = 0;
    json_object_foreach(datasets, dataset, entry) check_dataset(index++, dataset, entry);
    assert_int_equal(aaclip_known_dataset_count(), index);
    assert_null(aaclip_known_dataset_name(index));
    json_decref(datasets);
}

static void unknown_classes_keep_their_name(void **state)
{
    (void)state;
    char text[16];
    aaclip_domain domain;
    assert_int_equal(aaclip_class_phrase("mvtec", "steel_nut_2", text, sizeof text), AACLIP_OK);
    assert_string_equal(text, "steel nut 2");
    assert_int_equal(aaclip_class_phrase(NULL, "metal_nut", text, sizeof text), AACLIP_OK);
    assert_string_equal(text, "metal nut");
    assert_int_equal(aaclip_class_phrase("MVTEC", "screw", text, 6), AACLIP_OK);
    assert_int_equal(aaclip_class_phrase("MVTEC", "screw", text, 5), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_class_phrase("MVTe", "screw", text, sizeof text),
                     AACLIP_ERROR_NOT_FOUND);
    assert_int_equal(aaclip_known_dataset_domain("MVTecs", &domain), AACLIP_ERROR_NOT_FOUND);
    assert_string_equal(aaclip_last_error(),
                        "data set \"MVTecs\": expected one of Brain, Liver, Retina, "
                        "Colon_clinicDB, Colon_colonDB, Colon_Kvasir, Colon_cvc300, MVTec, VisA, "
                        "MPDD, BTAD");
    assert_int_equal(aaclip_known_dataset_domain("brain", &domain), AACLIP_OK);
    assert_int_equal(domain, AACLIP_DOMAIN_MEDICAL);
    assert_int_equal(aaclip_known_dataset_class_count("none"), 0);
    assert_null(aaclip_known_dataset_class_name("none", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_set_is_the_published_one),
        cmocka_unit_test(document_set_has_the_counts_and_examples_of_the_document),
        cmocka_unit_test(state_is_filled_before_template),
        cmocka_unit_test_setup_teardown(own_sets_are_read, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(unusable_sets_are_refused, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test(the_sum_of_prompts_is_bounded),
        cmocka_unit_test_setup_teardown(oversized_sets_are_refused, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test_setup_teardown(every_failed_allocation_is_reported, scratch_folder_make,
                                        scratch_folder_remove),
        cmocka_unit_test(phrases_are_those_of_the_file),
        cmocka_unit_test(unknown_classes_keep_their_name),
    };
    return cmocka_run_group_tests_name("prompts", tests, NULL, NULL);
}
