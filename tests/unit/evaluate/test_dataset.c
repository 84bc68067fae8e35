/* Manifests, benign and hostile; few-shot samples; lifetimes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/dataset.h>

#include "core/platform.h"
#include "evaluate/dataset.h"
#include "failing_allocator.h"
#include "scratch_tree.h"
#include "system.h"

static const char manifest[] =
    "{\"image_path\": \"cashew/Data/Images/Normal/405.JPG\", \"label\": 0, "
    "\"class_name\": \"cashew\"}\n"
    "{\"image_path\": \"cashew/Data/Images/Anomaly/074.JPG\", \"label\": 1, "
    "\"class_name\": \"cashew\", \"mask_path\": \"cashew/Data/Masks/Anomaly/074.png\"}\n"
    "{\"image_path\": \"pcb1/Data/Images/Normal/0739.JPG\", \"label\": 0, "
    "\"class_name\": \"pcb1\"}\n";

static char *in_root(const char *root, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void make_listed(const char *root)
{
    scratch_tree_image(root, "cashew/Data/Images/Normal/405.JPG");
    scratch_tree_image(root, "cashew/Data/Images/Anomaly/074.JPG");
    scratch_tree_image(root, "cashew/Data/Masks/Anomaly/074.png");
    scratch_tree_image(root, "pcb1/Data/Images/Normal/0739.JPG");
    scratch_tree_text(root, "full-shot.jsonl", manifest);
}

static aaclip_dataset_options defaults(void)
{
    aaclip_dataset_options options;
    assert_int_equal(aaclip_dataset_options_init(&options), AACLIP_OK);
    return options;
}

static aaclip_dataset *open_dataset(const char *root, const aaclip_dataset_options *options)
{
    aaclip_dataset *dataset;
    if (aaclip_dataset_open(&dataset, root, options))
        fail_msg("%s", aaclip_last_error());
    return dataset;
}

static void check_listed(aaclip_dataset *dataset, const char *root)
{
    assert_int_equal(aaclip_dataset_count(dataset), 3);
    assert_int_equal(aaclip_dataset_class_count(dataset), 2);
    assert_string_equal(aaclip_dataset_class_name(dataset, 0), "cashew");
    assert_string_equal(aaclip_dataset_class_name(dataset, 1), "pcb1");
    assert_null(aaclip_dataset_class_name(dataset, 2));
    assert_int_equal(aaclip_dataset_class_size(dataset, 0, 0), 1);
    assert_int_equal(aaclip_dataset_class_size(dataset, 0, 1), 1);
    assert_int_equal(aaclip_dataset_class_size(dataset, 1, 1), 0);
    assert_int_equal(aaclip_dataset_class_size(dataset, 1, 2), 0);
    const aaclip_sample *sample = aaclip_dataset_get(dataset, 1);
    assert_string_equal(sample->image_path, in_root(root, "cashew/Data/Images/Anomaly/074.JPG"));
    assert_string_equal(sample->mask_path, in_root(root, "cashew/Data/Masks/Anomaly/074.png"));
    assert_int_equal(sample->label, 1);
    assert_int_equal(aaclip_dataset_get(dataset, 2)->class_index, 1);
    assert_null(aaclip_dataset_get(dataset, 0)->mask_path);
    assert_null(aaclip_dataset_get(dataset, 3));
    aaclip_dataset_close(&dataset);
    assert_null(dataset);
}

static void manifests_are_found_or_named(void **state)
{
    const char *root = *state;
    make_listed(root);
    check_listed(open_dataset(root, NULL), root);
    check_listed(open_dataset(in_root(root, "full-shot.jsonl"), NULL), root);
    scratch_tree_text(root, "lists/all", manifest);
    aaclip_dataset_options options = defaults();
    char path[512];
    snprintf(path, sizeof path, "%s/lists/all", root);
    options.manifest = path;
    check_listed(open_dataset(root, &options), root);
    options.classes = (const char *const[]){"pcb1"};
    options.class_count = 1;
    aaclip_dataset *dataset = open_dataset(root, &options);
    assert_int_equal(aaclip_dataset_count(dataset), 1);
    aaclip_dataset_close(&dataset);
    assert_int_equal(aaclip_dataset_open(&dataset, path, &options), AACLIP_ERROR_INVALID_ARGUMENT);
    options = defaults();
    options.layout = AACLIP_LAYOUT_MANIFEST;
    remove(in_root(root, "full-shot.jsonl"));
    assert_int_equal(aaclip_dataset_open(&dataset, root, &options), AACLIP_ERROR_NOT_FOUND);
    assert_non_null(strstr(aaclip_last_error(), "full-shot.jsonl: no such file"));
}

static void manifests_may_be_written_freely(void **state)
{
    const char *root = *state;
    make_listed(root);
    char marked[sizeof manifest + 3];
    snprintf(marked, sizeof marked, "\xef\xbb\xbf%s", manifest); /* as spreadsheets save texts */
    scratch_tree_text(root, "full-shot.jsonl", marked);
    check_listed(open_dataset(root, NULL), root);
    scratch_tree_text(root, "full-shot.jsonl",
                      "\r\n  \n"
                      "{\"class_name\":\"cashew\",\"label\":0,\"extra\":[1,{\"a\":null}],"
                      "\"image_path\":\"cashew/Data/Images/Normal/405.JPG\","
                      "\"mask_path\":\"cashew/none.png\"}\r\n" /* masks of normal images are not
                                                                  looked at */
                      "{\"image_path\":\"cashew/Data/Images/Normal/405.JPG\",\"label\":0,"
                      "\"class_name\":\"cashew\",\"mask_path\":null}\n"
                      "{\"image_path\":\"cashew/../cashew/Data/Images/Anomaly/074.JPG\","
                      "\"label\":1,\"class_name\":\"caf\\u00e9\",\"mask_path\":\"\"}\n"
                      "{\"image_path\":\"pcb1/Data/Images/Normal/0739.JPG\","
                      "\"class_name\":\"pcb1\"}"); /* no label, no line end */
    aaclip_dataset *dataset = open_dataset(root, NULL);
    assert_int_equal(aaclip_dataset_count(dataset), 4);
    assert_int_equal(aaclip_dataset_class_size(dataset, 0, 0), 2);
    assert_null(aaclip_dataset_get(dataset, 0)->mask_path);
    assert_string_equal(aaclip_dataset_get(dataset, 2)->class_name, "caf\xc3\xa9");
    assert_null(aaclip_dataset_get(dataset, 2)->mask_path);
    assert_int_equal(aaclip_dataset_get(dataset, 3)->label, -1);
    aaclip_dataset_close(&dataset);
    aaclip_dataset_options options = defaults();
    options.masks = AACLIP_MASKS_REQUIRED;
    assert_int_equal(aaclip_dataset_open(&dataset, root, &options), AACLIP_ERROR_NOT_FOUND);
    assert_non_null(strstr(aaclip_last_error(), "full-shot.jsonl:5: image "));
    assert_non_null(strstr(aaclip_last_error(), "074.JPG: expected a mask, found none"));
}

static void hostile_lines_are_refused(void **state)
{
    static const char good[] =
        "{\"image_path\":\"cashew/Data/Images/Normal/405.JPG\",\"label\":0,\"class_name\":\"c\"}\n";
    static const struct {
        const char *line, *expected;
        aaclip_status status;
    } cases[] = {
        {"{", "full-shot.jsonl:2: column ", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",", "full-shot.jsonl:2: column ", AACLIP_ERROR_FORMAT},
        {"nonsense", "full-shot.jsonl:2: column ", AACLIP_ERROR_FORMAT},
        {"{} {}", "full-shot.jsonl:2: column ", AACLIP_ERROR_FORMAT},
        {"{\"label\":0,\"label\":1}", "full-shot.jsonl:2: column ", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"\xff\xfe\"}", "full-shot.jsonl:2: column ", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\\u0000b\"}", "full-shot.jsonl:2: column ", AACLIP_ERROR_FORMAT},
        {"[1]", "full-shot.jsonl:2: expected a JSON object", AACLIP_ERROR_FORMAT},
        {"{}", "full-shot.jsonl:2: \"image_path\": expected a non-empty string",
         AACLIP_ERROR_FORMAT},
        {"{\"image_path\":7,\"class_name\":\"c\"}",
         "full-shot.jsonl:2: \"image_path\": expected a non-empty string", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"label\":0}",
         "full-shot.jsonl:2: \"class_name\": expected a non-empty string", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"class_name\":\"\"}",
         "full-shot.jsonl:2: \"class_name\": expected a non-empty string", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"class_name\":\"c\",\"mask_path\":[]}",
         "full-shot.jsonl:2: \"mask_path\": expected a string or null", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"class_name\":\"c\",\"label\":2}",
         "full-shot.jsonl:2: \"label\": expected 0 or 1, found 2", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"class_name\":\"c\",\"label\":-1}",
         "full-shot.jsonl:2: \"label\": expected 0 or 1, found -1", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"class_name\":\"c\",\"label\":4294967297}",
         "full-shot.jsonl:2: \"label\": expected 0 or 1, found 4294967297", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"class_name\":\"c\",\"label\":\"1\"}",
         "full-shot.jsonl:2: \"label\": expected 0 or 1, found \"1\"", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"a\",\"class_name\":\"c\",\"label\":0.5}",
         "full-shot.jsonl:2: \"label\": expected 0 or 1, found 0.5", AACLIP_ERROR_FORMAT},
        {"{\"image_path\":\"none.png\",\"class_name\":\"c\",\"label\":0}",
         "/none.png: no such file", AACLIP_ERROR_NOT_FOUND},
        {"{\"image_path\":\"cashew\",\"class_name\":\"c\",\"label\":0}", "/cashew: no such file",
         AACLIP_ERROR_NOT_FOUND},
        {"{\"image_path\":\"cashew/Data/Images/Anomaly/074.JPG\",\"class_name\":\"c\",\"label\":1,"
         "\"mask_path\":\"none.png\"}",
         "full-shot.jsonl:2: mask ", AACLIP_ERROR_NOT_FOUND},
    };
    const char *root = *state;
    make_listed(root);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s%s\n%s", good, cases[i].line, good);
        scratch_tree_text(root, "full-shot.jsonl", text);
        aaclip_dataset *dataset = (aaclip_dataset *)state;
        assert_int_equal(aaclip_dataset_open(&dataset, root, NULL), cases[i].status);
        assert_null(dataset);
        if (!strstr(aaclip_last_error(), cases[i].expected))
            fail_msg("expected \"%s\" in \"%s\"", cases[i].expected, aaclip_last_error());
    }
    scratch_tree_text(root, "full-shot.jsonl", "\n\n");
    aaclip_dataset *dataset;
    assert_int_equal(aaclip_dataset_open(&dataset, root, NULL), AACLIP_ERROR_NOT_FOUND);
    assert_non_null(strstr(aaclip_last_error(), "full-shot.jsonl: lists no images"));
}

/* Opens a list of one image, as a mask of another or for itself. */
static aaclip_status open_one(const char *root, const char *path, bool as_mask, bool outside)
{
    char line[1200];
    snprintf(line, sizeof line,
             "{\"image_path\": \"%s\", \"label\": 1, \"class_name\": \"c\"%s%s%s}\n",
             as_mask ? "in/x.png" : path, as_mask ? ", \"mask_path\": \"" : "", as_mask ? path : "",
             as_mask ? "\"" : "");
    scratch_tree_text(root, "data/list.jsonl", line);
    char *folder = strdup(in_root(root, "data")), *list = strdup(in_root(root, "data/list.jsonl"));
    aaclip_dataset_options options = defaults();
    options.manifest = list;
    options.outside_paths = outside;
    aaclip_dataset *dataset;
    aaclip_status status = aaclip_dataset_open(&dataset, folder, &options);
    aaclip_dataset_close(&dataset);
    free(folder);
    free(list);
    return status;
}

static void lists_stay_below_their_root(void **state)
{
    const char *root = *state;
    scratch_tree_image(root, "data/in/x.png");
    scratch_tree_image(root, "out.png");
    scratch_tree_image(root, "data-too/x.png");
    char inside[600], outside[600], beside[600], winding[600];
    snprintf(inside, sizeof inside, "%s/data/in/x.png", root);
    snprintf(outside, sizeof outside, "%s/out.png", root);
    snprintf(beside, sizeof beside, "%s/data-too/x.png", root); /* begins like the root */
    snprintf(winding, sizeof winding, "%s/data/in/../../out.png", root);
    const char *const good[] = {"in/x.png", "./in//x.png", "in/../in/x.png", inside};
    const char *const bad[] = {
        "../out.png", "in/../../out.png", "..//data/in/x.png", "./../out.png", outside, beside,
        winding};
    for (int as_mask = 0; as_mask < 2; as_mask++) {
        for (size_t i = 0; i < sizeof good / sizeof *good; i++)
            assert_int_equal(open_one(root, good[i], as_mask, false), AACLIP_OK);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            assert_int_equal(open_one(root, bad[i], as_mask, false), AACLIP_ERROR_FORMAT);
            assert_non_null(strstr(aaclip_last_error(), "expected a file under"));
            assert_non_null(strstr(aaclip_last_error(), bad[i]));
            assert_int_equal(open_one(root, bad[i], as_mask, true), AACLIP_OK);
        }
    }
}

static void deep_and_long_lines_are_refused(void **state)
{
    const char *root = *state;
    enum { DEPTH = 100000, LONG = (1 << 20) + 1 };
    char *text = malloc(LONG + 1);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    scratch_tree_text(root, "full-shot.jsonl", text);
    aaclip_dataset *dataset;
    assert_int_equal(aaclip_dataset_open(&dataset, root, NULL), AACLIP_ERROR_FORMAT);
    memcpy(text, "{\"class_name\":\"c\",\"image_path\":\"", 32);
    memset(text + 32, 'x', DEPTH);
    memcpy(text + DEPTH, "\"}", 3);
    scratch_tree_text(root, "full-shot.jsonl", text);
    assert_int_equal(aaclip_dataset_open(&dataset, root, NULL), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(aaclip_last_error(), "full-shot.jsonl:1: xxx"));
    memset(text, '[', LONG);
    text[LONG] = '\0';
    scratch_tree_text(root, "full-shot.jsonl", text);
    assert_int_equal(aaclip_dataset_open(&dataset, root, NULL), AACLIP_ERROR_FORMAT);
    assert_non_null(strstr(aaclip_last_error(), "full-shot.jsonl:1: expected at most 1048576"));
    free(text);
}

static void saved_manifests_come_back(void **state)
{
    const char *root = *state;
    make_listed(root);
    aaclip_dataset *dataset = open_dataset(root, NULL);
    char path[512];
    snprintf(path, sizeof path, "%s/saved.jsonl", root);
    assert_int_equal(aaclip_dataset_save_manifest(dataset, path), AACLIP_OK);
    aac_mapping file;
    assert_int_equal(aac_map_file(&file, path), AACLIP_OK);
    assert_int_equal(file.size, strlen(manifest)); /* as Python's json.dumps writes it */
    assert_memory_equal(file.data, manifest, file.size);
    aac_unmap_file(&file);
    check_listed(open_dataset(path, NULL), root);
    snprintf(path, sizeof path, "%s/none/saved.jsonl", root);
    assert_int_equal(aaclip_dataset_save_manifest(dataset, path), AACLIP_ERROR_IO);
    assert_int_equal(aaclip_dataset_save_manifest(NULL, path), AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip_dataset_close(&dataset);
}

static void names_that_are_no_utf8_are_not_saved(void **state)
{
    if (!system_is_posix())
        skip();
    const char *root = *state;
    scratch_tree_image(root, "parts/a\xff.png");
    scratch_tree_image(root, "parts/b.png");
    aaclip_dataset *dataset = open_dataset(in_root(root, "parts"), NULL);
    char path[512];
    snprintf(path, sizeof path, "%s/saved.jsonl", root);
    assert_int_equal(aaclip_dataset_save_manifest(dataset, path), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aac_path_kind_of(path), AAC_PATH_MISSING);
    aaclip_dataset_close(&dataset);
    remove(in_root(root, "parts/a\xff.png"));
    dataset = open_dataset(in_root(root, "parts"), NULL);
    assert_int_equal(aaclip_dataset_save_manifest(dataset, path), AACLIP_OK);
    aaclip_dataset_close(&dataset);
    aaclip_dataset_options options = defaults();
    options.manifest = path;
    dataset = open_dataset(in_root(root, "parts"), &options);
    assert_int_equal(aaclip_dataset_count(dataset), 1);
    assert_int_equal(aaclip_dataset_get(dataset, 0)->label, -1);
    aaclip_dataset_close(&dataset);
}

enum { NORMAL = 12, ABNORMAL = 7 };

static aaclip_dataset *make_two_classes(const char *root)
{
    char path[64];
    for (int nut = 0; nut < 2; nut++) {
        for (int i = 0; i < NORMAL; i++) {
            snprintf(path, sizeof path, "%s/train/good/%03d.png", nut ? "nut" : "cap", i);
            scratch_tree_text(root, path, "");
        }
        for (int i = 0; i < ABNORMAL; i++) {
            snprintf(path, sizeof path, "%s/test/bent/%03d.png", nut ? "nut" : "cap", i);
            scratch_tree_text(root, path, "");
        }
    }
    return open_dataset(root, NULL);
}

static void shots_are_drawn_from_every_class(void **state)
{
    aaclip_dataset *dataset = make_two_classes(*state), *sampled, *again;
    assert_int_equal(aaclip_dataset_sample(&sampled, dataset, 4, 111), AACLIP_OK);
    assert_int_equal(aaclip_dataset_sample(&again, dataset, 4, 111), AACLIP_OK);
    aaclip_dataset_close(&dataset);
    assert_int_equal(aaclip_dataset_count(sampled), 16);
    for (size_t i = 0; i < 16; i++) {
        const aaclip_sample *sample = aaclip_dataset_get(sampled, i);
        assert_string_equal(sample->image_path, aaclip_dataset_get(again, i)->image_path);
        if (i)
            assert_true(
                strcmp(sample->image_path, aaclip_dataset_get(sampled, i - 1)->image_path) != 0);
    }
    for (size_t i = 0; i < 2; i++)
        for (int label = 0; label < 2; label++)
            assert_int_equal(aaclip_dataset_class_size(sampled, i, label), 4);
    aaclip_dataset_close(&again);
    assert_int_equal(aaclip_dataset_sample(&again, sampled, 2, 111), AACLIP_OK);
    aaclip_dataset_close(&sampled); /* a subset of a subset lives on */
    assert_int_equal(aaclip_dataset_count(again), 8);
    char path[512];
    snprintf(path, sizeof path, "%s/2-shot.jsonl", (char *)*state);
    assert_int_equal(aaclip_dataset_save_manifest(again, path), AACLIP_OK);
    aaclip_dataset_close(&again);
}

static void keep_warning(aaclip_log_level level, const char *message, void *user)
{
    char(*kept)[200] = user;
    assert_int_equal(level, AACLIP_LOG_WARNING);
    assert_int_equal(kept[0][0], 0); /* the only one */
    snprintf(*kept, sizeof *kept, "%s", message);
}

static void too_few_samples_are_told_in_one_line(void **state)
{
    aaclip_dataset *dataset = make_two_classes(*state), *sampled;
    char kept[200] = "";
    aaclip_set_log(keep_warning, AACLIP_LOG_WARNING, &kept);
    assert_int_equal(aaclip_dataset_sample(&sampled, dataset, 1000, 1), AACLIP_OK);
    aaclip_set_log(NULL, AACLIP_LOG_WARNING, NULL);
    assert_non_null(strstr(kept, "samples with label 0, wanted 1000; too few also of 3 others"));
    aaclip_dataset_close(&sampled);
    aaclip_dataset_close(&dataset);
}

static void shots_are_uniform(void **state)
{
    aaclip_dataset *dataset = make_two_classes(*state), *sampled;
    size_t drawn[2 * (NORMAL + ABNORMAL)] = {0};
    enum { DRAWS = 2000 };
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        assert_int_equal(aaclip_dataset_sample(&sampled, dataset, 3, seed), AACLIP_OK);
        for (size_t i = 0, j = 0; i < aaclip_dataset_count(sampled); i++, j++) {
            const char *path = aaclip_dataset_get(sampled, i)->image_path;
            while (strcmp(aaclip_dataset_get(dataset, j)->image_path, path) != 0)
                j++;
            drawn[j]++;
        }
        aaclip_dataset_close(&sampled);
    }
    for (size_t i = 0; i < aaclip_dataset_count(dataset); i++) {
        bool normal = aaclip_dataset_get(dataset, i)->label == 0;
        size_t expected = DRAWS * 3 / (size_t)(normal ? NORMAL : ABNORMAL);
        assert_in_range(drawn[i], expected - 110, expected + 110); /* deviation below 22 */
    }
    aaclip_dataset_close(&dataset);
}

static size_t warnings;

static void count_warning(aaclip_log_level level, const char *message, void *user)
{
    (void)user;
    warnings += level == AACLIP_LOG_WARNING && strstr(message, "7 samples with label 1, wanted 8");
}

static void fewer_than_the_shots_are_all(void **state)
{
    aaclip_dataset *dataset = make_two_classes(*state), *sampled;
    aaclip_set_log(count_warning, AACLIP_LOG_WARNING, NULL);
    assert_int_equal(aaclip_dataset_sample(&sampled, dataset, 8, 1), AACLIP_OK);
    aaclip_set_log(NULL, AACLIP_LOG_ERROR, NULL);
    assert_int_equal(warnings, 1); /* for both classes */
    assert_int_equal(aaclip_dataset_count(sampled), 2 * (8 + ABNORMAL));
    aaclip_dataset_close(&sampled);
    assert_int_equal(aaclip_dataset_sample(&sampled, dataset, 0, 1), AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip_dataset_close(&dataset);
}

static void training_needs_both_labels(void **state)
{
    const char *root = *state;
    aaclip_dataset *dataset = make_two_classes(root);
    assert_int_equal(aac_dataset_check_training(dataset), AACLIP_OK);
    aaclip_dataset_close(&dataset);
    scratch_tree_text(root, "ring/train/good/000.png", "");
    dataset = open_dataset(root, NULL);
    assert_int_equal(aac_dataset_check_training(dataset), AACLIP_ERROR_MISMATCH);
    assert_non_null(strstr(aaclip_last_error(), "class \"ring\""));
    assert_non_null(strstr(aaclip_last_error(), "found 1 normal, 0 abnormal, 0 without a label"));
    aaclip_dataset_close(&dataset);
    dataset = open_dataset(in_root(root, "cap/train/good"), NULL);
    assert_int_equal(aac_dataset_check_training(dataset), AACLIP_ERROR_MISMATCH);
    aaclip_dataset_close(&dataset);
}

static void wrong_arguments_are_refused(void **state)
{
    make_listed(*state);
    aaclip_dataset *dataset;
    aaclip_dataset_options options = defaults();
    assert_int_equal(aaclip_dataset_open(NULL, *state, NULL), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_dataset_open(&dataset, NULL, NULL), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_dataset_open(&dataset, "", NULL), AACLIP_ERROR_INVALID_ARGUMENT);
    options.layout = (aaclip_dataset_layout)8;
    assert_int_equal(aaclip_dataset_open(&dataset, *state, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    options = defaults();
    options.split = (aaclip_dataset_split)-1;
    assert_int_equal(aaclip_dataset_open(&dataset, *state, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    options = defaults();
    options.class_count = 1;
    assert_int_equal(aaclip_dataset_open(&dataset, *state, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    options = defaults();
    options.size = 3;
    assert_int_equal(aaclip_dataset_open(&dataset, *state, &options),
                     AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_dataset_count(NULL), 0);
    assert_null(aaclip_dataset_get(NULL, 0));
    aaclip_dataset_close(NULL);
}

static aaclip_status open_sample_and_save(void *root)
{
    aaclip_dataset *dataset, *sampled = NULL;
    aaclip_status status = aaclip_dataset_open(&dataset, root, NULL);
    if (!status)
        status = aaclip_dataset_sample(&sampled, dataset, 1, 0);
    char path[512];
    snprintf(path, sizeof path, "%s/1-shot.jsonl", (char *)root);
    if (!status)
        status = aaclip_dataset_save_manifest(sampled, path);
    aaclip_dataset_close(&dataset);
    aaclip_dataset_close(&sampled);
    return status;
}

static void allocations_may_fail(void **state)
{
    make_listed(*state);
    assert_true(fail_each_allocation(open_sample_and_save, *state) > 10);
}

#define in_scratch_tree(test)                                                                      \
    cmocka_unit_test_setup_teardown(test, scratch_tree_make, scratch_tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch_tree(manifests_are_found_or_named),
        in_scratch_tree(manifests_may_be_written_freely),
        in_scratch_tree(hostile_lines_are_refused),
        in_scratch_tree(lists_stay_below_their_root),
        in_scratch_tree(deep_and_long_lines_are_refused),
        in_scratch_tree(saved_manifests_come_back),
        in_scratch_tree(names_that_are_no_utf8_are_not_saved),
        in_scratch_tree(shots_are_drawn_from_every_class),
        in_scratch_tree(too_few_samples_are_told_in_one_line),
        in_scratch_tree(shots_are_uniform),
        in_scratch_tree(fewer_than_the_shots_are_all),
        in_scratch_tree(training_needs_both_labels),
        in_scratch_tree(wrong_arguments_are_refused),
        in_scratch_tree(allocations_may_fail),
    };
    return cmocka_run_group_tests_name("dataset", tests, NULL, NULL);
}
