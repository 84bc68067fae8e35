/* Metrics by hand and against goldens from scikit-learn, and what they refuse; regions of masks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/memory.h"
#include "evaluate/components.h"
#include "failing_allocator.h"
#include "metric_case.h"

static aaclip_metrics *open_metrics(aaclip_metrics_mode mode, aaclip_domain domain)
{
    aaclip_metrics_options options;
    aaclip_metrics *metrics;
    assert_int_equal(aaclip_metrics_options_init(&options), AACLIP_OK);
    options.mode = mode;
    options.domain = domain;
    assert_int_equal(aaclip_metrics_new(&metrics, &options), AACLIP_OK);
    return metrics;
}

static aaclip_metrics *open_exact(void)
{
    return open_metrics(AACLIP_METRICS_EXACT, AACLIP_DOMAIN_INDUSTRIAL);
}

static void add(aaclip_metrics *metrics, const char *name, const float *map, const uint8_t *mask,
                uint32_t width, float score, int label)
{
    if (aaclip_metrics_add(metrics, name, map, mask, width, map ? 1 : 0, score, label))
        fail_msg("%s", aaclip_last_error());
}

static aaclip_metric_values compute(aaclip_metrics *metrics, size_t index)
{
    aaclip_metric_values values = {.size = sizeof values};
    if (aaclip_metrics_compute(metrics, index, &values))
        fail_msg("%s", aaclip_last_error());
    return values;
}

static void expect(double found, double expected)
{
    if (isnan(expected) ? !isnan(found) : !(fabs(found - expected) <= 1e-12))
        fail_msg("expected %.17g, found %.17g", expected, found);
}

static void refuses(aaclip_status status, aaclip_status expected, const char *words)
{
    assert_int_equal(status, expected);
    if (!strstr(aaclip_last_error(), words))
        fail_msg("expected \"%s\", found \"%s\"", words, aaclip_last_error());
}

/*
 * Falling: 4 abnormal; 3 normal and abnormal, tied; 2 normal; 1 normal, abnormal.
 * ROC (0,0) (0,1/3) (1/4,2/3) (1/2,2/3) (3/4,1)... with four normal pixels, the last at 0.
 */
static void counts_ties_at_once(void **state)
{
    (void)state;
    aaclip_metrics *metrics = open_exact();
    add(metrics, "nut", (float[]){1, 4, 3, 3}, (uint8_t[]){1, 9, 1, 0}, 4, 0.5f, 1);
    add(metrics, "nut", (float[]){2, 1, 0}, NULL, 3, 0.5f, 0);
    aaclip_metric_values values = compute(metrics, 0);
    expect(values.pixel_auroc, (0.25 * (1 + 2) / 2 + 0.25 * 2 + 0.25 * (2 + 3) / 2 + 0.25 * 3) / 3);
    expect(values.pixel_ap, (1 + 2.0 / 3 + 3.0 / 6) / 3);
    expect(values.pixel_f1_max, 2 * 2.0 / (2 + 1 + 3));
    expect(values.pixel_f1_threshold, 3);
    /* One region; its parts found are the true positive rates. 0.3 lies within the flat part. */
    expect(values.aupro_30, (0.25 * (1 + 2) / 2 + 0.05 * 2) / 3 / 0.3);
    expect(values.aupro_05, (1 + 0.1) / 3);
    expect(values.image_auroc, 0.5);
    expect(values.image_ap, 0.5);
    expect(values.image_f1_max, 2.0 / 3);
    expect(values.image_f1_threshold, 0.5);
    expect(values.pixel_auroc_error, 0);
    assert_int_equal(values.images, 2);
    assert_int_equal(values.normal_pixels, 4);
    assert_int_equal(values.abnormal_pixels, 3);
    assert_int_equal(values.regions, 1);
    aaclip_metrics_close(&metrics);
    assert_null(metrics);
}

/* A small region weighs as much as a large one, and a region touches its neighbours' corners. */
static void weighs_regions_equally(void **state)
{
    (void)state;
    aaclip_metrics *metrics = open_exact();
    const float map[] = {9, 0, 0, 0, 0, 5, 0, 5};
    const uint8_t mask[] = {1, 0, 0, 1, 0, 0, 1, 0};
    assert_int_equal(aaclip_metrics_add(metrics, "nut", map, mask, 4, 2, 0, 1), AACLIP_OK);
    aaclip_metric_values values = compute(metrics, 0);
    assert_int_equal(values.regions, 2);
    /* Found: the region of one pixel first, both of the other one with the last normal pixels. */
    expect(values.aupro_05, 0.5);
    expect(values.aupro_30, 0.5);
    aaclip_metrics_close(&metrics);
}

static void names_what_is_not_available(void **state)
{
    (void)state;
    aaclip_metrics *metrics = open_exact();
    add(metrics, "normal", (float[]){1, 2}, NULL, 2, 1, 0);
    add(metrics, "normal", (float[]){1, 2}, (uint8_t[]){0, 0}, 2, 2, 0);
    add(metrics, "abnormal", (float[]){1, 2}, (uint8_t[]){1, 1}, 2, 1, 1);
    add(metrics, "unknown", (float[]){1, 2}, NULL, 2, 1, 1);
    add(metrics, "unknown", NULL, NULL, 0, 0, 0);
    for (size_t i = 0; i < 3; i++) {
        aaclip_metric_values values = compute(metrics, i);
        expect(values.pixel_auroc, NAN);
        expect(values.pixel_ap, NAN);
        expect(values.pixel_f1_max, NAN);
        expect(values.pixel_f1_threshold, NAN);
        expect(values.aupro_30, NAN);
        expect(values.aupro_05, NAN);
        expect(values.pixel_auroc_error, NAN);
        expect(values.image_auroc, i == 2 ? 1 : NAN);
        expect(values.image_f1_max, i == 2 ? 1 : NAN);
        expect(values.dataset_auroc, NAN);
        expect(values.dataset_ap, NAN);
    }
    aaclip_metric_values mean = compute(metrics, AACLIP_METRICS_MEAN);
    expect(mean.pixel_auroc, NAN);
    expect(mean.image_auroc, 1);
    expect(mean.image_f1_threshold, NAN);
    assert_int_equal(mean.images, 5);
    assert_int_equal(mean.normal_pixels, 4);
    assert_int_equal(mean.abnormal_pixels, 2);
    aaclip_curve_point points[8];
    size_t count = 1;
    assert_int_equal(aaclip_metrics_curve(metrics, 0, AACLIP_CURVE_PIXEL_ROC, points, 8, &count),
                     AACLIP_OK);
    assert_int_equal(count, 0);
    aaclip_metrics_close(&metrics);
}

/* Maps reach 1, .75 and 0 of their common range, scores 0, 1 and .25 of theirs. */
static void scores_a_data_set(aaclip_domain domain, double auroc, double threshold)
{
    aaclip_metrics *metrics = open_metrics(AACLIP_METRICS_EXACT, domain);
    add(metrics, "nut", (float[]){-2, 6}, NULL, 2, -1, 0);
    add(metrics, "nut", (float[]){4, 3}, NULL, 2, 3, 1);
    add(metrics, "nut", (float[]){-2, -2}, NULL, 2, 0, 1);
    aaclip_metric_values values = compute(metrics, 0);
    expect(values.image_auroc, 1);
    expect(values.dataset_auroc, auroc);
    expect(values.dataset_f1_threshold, threshold);
    aaclip_metrics_close(&metrics);
}

static void takes_the_published_score(void **state)
{
    (void)state;
    scores_a_data_set(AACLIP_DOMAIN_INDUSTRIAL, 0.5, 0.125);
    scores_a_data_set(AACLIP_DOMAIN_MEDICAL, 0, 0);
}

static void streams_on_after_computing(void **state)
{
    (void)state;
    aaclip_metrics *metrics = open_exact();
    add(metrics, "nut", (float[]){1, 2}, (uint8_t[]){0, 1}, 2, 0, 1);
    expect(compute(metrics, 0).pixel_auroc, 1);
    add(metrics, "nut", (float[]){3}, NULL, 1, 0, 0);
    expect(compute(metrics, 0).pixel_auroc, 0.5);
    expect(compute(metrics, AACLIP_METRICS_MEAN).pixel_auroc, 0.5);
    aaclip_metrics_close(&metrics);
}

static void refuses_what_it_cannot_count(void **state)
{
    (void)state;
    const float good[] = {1, 2}, bad[][2] = {{1, NAN}, {1, INFINITY}, {1, -INFINITY}};
    aaclip_metrics *metrics = open_exact();
    const aaclip_status wrong = AACLIP_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < 3; i++)
        refuses(aaclip_metrics_add(metrics, "nut", bad[i], NULL, 1, 2, 0, 0), wrong,
                "class nut: map of image 0: row 1, column 0: expected a finite number");
    refuses(aaclip_metrics_add(metrics, "nut", good, NULL, 2, 1, NAN, 0), wrong,
            "class nut: score: expected a finite number");
    refuses(aaclip_metrics_add(metrics, "nut", good, NULL, 2, 1, 0, 2), wrong,
            "label: expected -1, 0 or 1, found 2");
    refuses(aaclip_metrics_add(metrics, "nut", good, NULL, 0, 1, 0, 0), wrong, "found 0x1");
    refuses(aaclip_metrics_add(metrics, "nut", NULL, (uint8_t[]){1}, 0, 0, 0, 0), wrong, "no map");
    refuses(aaclip_metrics_add(metrics, "", good, NULL, 2, 1, 0, 0), wrong, "no class name");
    refuses(aaclip_metrics_add(NULL, "nut", good, NULL, 2, 1, 0, 0), wrong, "no metrics");
    assert_int_equal(aaclip_metrics_class_count(metrics), 0);
    assert_null(aaclip_metrics_class_name(metrics, 0));
    aaclip_metric_values values = {.size = sizeof values};
    refuses(aaclip_metrics_compute(metrics, 0, &values), AACLIP_ERROR_NOT_FOUND, "found 0");
    expect(compute(metrics, AACLIP_METRICS_MEAN).pixel_auroc, NAN);
    aaclip_curve_point point;
    size_t count;
    refuses(aaclip_metrics_curve(metrics, 0, AACLIP_CURVE_IMAGE_PR, &point, 1, &count), wrong,
            "expected 8 or more, found 1");
    aaclip_metrics_close(&metrics);
    aaclip_metrics_close(&metrics);
    aaclip_metrics_close(NULL);
}

static void refuses_wrong_options(void **state)
{
    (void)state;
    aaclip_metrics *metrics;
    aaclip_metrics_options options;
    aaclip_metrics_options_init(&options);
    options.bins = 1;
    refuses(aaclip_metrics_new(&metrics, &options), AACLIP_ERROR_INVALID_ARGUMENT, "bins");
    assert_null(metrics);
    aaclip_metrics_options_init(&options);
    options.wanted = 4;
    refuses(aaclip_metrics_new(&metrics, &options), AACLIP_ERROR_INVALID_ARGUMENT, "wanted");
    aaclip_metrics_options_init(&options);
    options.mode = (aaclip_metrics_mode)2;
    refuses(aaclip_metrics_new(&metrics, &options), AACLIP_ERROR_INVALID_ARGUMENT, "mode 2");
    aaclip_metrics *other = open_metrics(AACLIP_METRICS_HISTOGRAM, AACLIP_DOMAIN_INDUSTRIAL);
    metrics = open_exact();
    refuses(aaclip_metrics_merge(metrics, &other), AACLIP_ERROR_MISMATCH, "different options");
    assert_non_null(other);
    aaclip_metrics_close(&other);
    refuses(aaclip_metrics_merge(metrics, &metrics), AACLIP_ERROR_INVALID_ARGUMENT, "themselves");
    aaclip_metrics_close(&metrics);
}

/* More than the table of names begins with. */
static void finds_every_class(void **state)
{
    (void)state;
    enum { CLASSES = 300 };
    aaclip_metrics *metrics = open_exact(), *other = open_exact();
    char name[16];
    for (int i = 0; i < 4 * CLASSES; i++) {
        snprintf(name, sizeof name, "class %d", i % (2 * CLASSES));
        aaclip_metrics *to = i % (2 * CLASSES) < CLASSES ? metrics : other;
        assert_int_equal(aaclip_metrics_add(to, name, NULL, NULL, 0, 0, (float)i, 0), AACLIP_OK);
    }
    snprintf(name, sizeof name, "class %d", 0);
    assert_int_equal(aaclip_metrics_add(other, name, NULL, NULL, 0, 0, 1, 1), AACLIP_OK);
    assert_int_equal(aaclip_metrics_class_count(other), CLASSES + 1);
    assert_int_equal(aaclip_metrics_merge(metrics, &other), AACLIP_OK);
    assert_int_equal(aaclip_metrics_class_count(metrics), 2 * CLASSES);
    assert_int_equal(compute(metrics, 0).images, 3);
    for (int i = 0; i < 2 * CLASSES; i++) {
        snprintf(name, sizeof name, "class %d", i);
        assert_string_equal(aaclip_metrics_class_name(metrics, (size_t)i), name);
        assert_int_equal(aaclip_metrics_add(metrics, name, NULL, NULL, 0, 0, 1, 1), AACLIP_OK);
        assert_int_equal(compute(metrics, (size_t)i).images, i ? 3 : 4);
    }
    assert_int_equal(aaclip_metrics_class_count(metrics), 2 * CLASSES);
    aaclip_metrics_close(&metrics);
}

/* Two normal pixels and an abnormal one with its region: 4 * 2 + 8 + 8 bytes. */
static void keeps_to_its_memory_limit(void **state)
{
    (void)state;
    aaclip_metrics *metrics;
    aaclip_metrics_options options;
    aaclip_metrics_options_init(&options);
    options.memory_limit = 47;
    assert_int_equal(aaclip_metrics_new(&metrics, &options), AACLIP_OK);
    const float map[] = {1, 2, 3};
    const uint8_t mask[] = {0, 0, 1};
    add(metrics, "nut", map, mask, 3, 1, 1);
    refuses(aaclip_metrics_add(metrics, "bolt", map, mask, 3, 1, 0, 0), AACLIP_ERROR_OUT_OF_MEMORY,
            "class bolt: exact metrics would keep 48 bytes of pixels; expected up to memory_limit, "
            "47: raise it, or use AACLIP_METRICS_HISTOGRAM");
    assert_int_equal(aaclip_metrics_class_count(metrics), 1);
    expect(compute(metrics, 0).pixel_auroc, 1);
    aaclip_metrics_close(&metrics);
}

static void leaves_out_what_is_not_wanted(void **state)
{
    (void)state;
    for (uint32_t wanted = AACLIP_METRICS_PIXELS; wanted <= AACLIP_METRICS_IMAGES; wanted++) {
        aaclip_metrics *metrics;
        aaclip_metrics_options options;
        aaclip_metrics_options_init(&options);
        options.wanted = wanted;
        options.memory_limit = wanted == AACLIP_METRICS_PIXELS ? 1000 : 0;
        assert_int_equal(aaclip_metrics_new(&metrics, &options), AACLIP_OK);
        add(metrics, "nut", (float[]){1, 2}, (uint8_t[]){0, 1}, 2, 0, 0);
        add(metrics, "nut", (float[]){1, 2}, (uint8_t[]){0, 1}, 2, 1, 1);
        aaclip_metric_values values = compute(metrics, 0);
        expect(values.pixel_auroc, wanted == AACLIP_METRICS_PIXELS ? 1 : NAN);
        expect(values.image_auroc, wanted == AACLIP_METRICS_IMAGES ? 1 : NAN);
        aaclip_metrics_close(&metrics);
    }
}

/* Values that come in from narrow and near zero to wide: bins must follow and lose no pixel. */
static void histograms_follow_the_range(void **state)
{
    (void)state;
    aaclip_metrics *metrics = open_metrics(AACLIP_METRICS_HISTOGRAM, AACLIP_DOMAIN_INDUSTRIAL);
    const float sizes[] = {1e-38f, -1e-30f, 1e-3f, -5, 70, 1e30f, -1e38f};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        add(metrics, "nut", (float[]){0, sizes[i]}, (uint8_t[]){0, i % 2}, 2, 0, 0);
    aaclip_metric_values values = compute(metrics, 0);
    assert_int_equal(values.normal_pixels + values.abnormal_pixels, 14);
    /* Bins are near 3e33 wide. That of 0 holds ten normal pixels and 1e30; the one below it holds
     * two abnormal pixels; -1e38, normal, is alone. */
    expect(values.pixel_auroc, (10 * 0.5 + 1 * 3) / 33);
    expect(values.pixel_auroc_error, 10 * 0.5 / 33);
    aaclip_metrics_close(&metrics);

    metrics = open_metrics(AACLIP_METRICS_HISTOGRAM, AACLIP_DOMAIN_INDUSTRIAL);
    add(metrics, "nut", (float[]){30, 31}, (uint8_t[]){0, 1}, 2, 0, 0);
    add(metrics, "nut", (float[]){-30, 31.5f}, (uint8_t[]){0, 1}, 2, 0, 0);
    values = compute(metrics, 0);
    expect(values.pixel_auroc, 1);
    expect(values.pixel_auroc_error, 0);
    expect(values.pixel_f1_threshold, 31); /* the lower edge of its bin */
    aaclip_metrics_close(&metrics);
}

static void finds_regions(void **state)
{
    (void)state;
    const uint8_t mask[] = {
        1, 0, 0, 0, 1, 0, 1, /* a cup whose sides meet at the bottom only */
        0, 1, 0, 0, 1, 0, 1, /* */
        0, 0, 0, 0, 1, 1, 1, /* */
        7, 0, 0, 0, 0, 0, 0, /* */
        0, 0, 1, 0, 1, 0, 1, /* a comb that one row joins */
        0, 0, 0, 1, 0, 1, 0, /* */
    };
    const uint32_t expected[] = {
        1, 0, 0, 0, 2, 0, 2, /* */
        0, 1, 0, 0, 2, 0, 2, /* */
        0, 0, 0, 0, 2, 2, 2, /* */
        3, 0, 0, 0, 0, 0, 0, /* */
        0, 0, 4, 0, 4, 0, 4, /* */
        0, 0, 0, 4, 0, 4, 0, /* */
    };
    const aac_component boxes[] = {
        {2, 0, 0, 2, 2}, {7, 4, 0, 7, 3}, {1, 0, 3, 1, 4}, {5, 2, 4, 7, 6}};
    uint32_t labels[sizeof mask];
    aac_component *components;
    size_t count;
    assert_int_equal(aac_find_components(&components, &count, labels, mask, 7, 6), AACLIP_OK);
    assert_int_equal(count, 4);
    assert_memory_equal(labels, expected, sizeof labels);
    assert_memory_equal(components, boxes, sizeof boxes);
    aac_free(components);
    assert_int_equal(aac_find_components(&components, &count, labels, (uint8_t[]){0}, 1, 1),
                     AACLIP_OK);
    assert_int_equal(count, 0);
    assert_null(components);
}

static aaclip_status use_everything(void *user)
{
    const aaclip_metrics_options *options = user;
    aaclip_metrics *metrics = NULL, *other = NULL;
    aaclip_status status = aaclip_metrics_new(&metrics, options);
    if (!status)
        status = aaclip_metrics_new(&other, options);
    const float map[] = {1, 2, 3, 4};
    const uint8_t mask[] = {0, 1, 0, 1};
    for (int i = 0; !status && i < 4; i++)
        status = aaclip_metrics_add(i % 2 ? metrics : other, i < 2 ? "nut" : "bolt", map, mask, 2,
                                    2, (float)i, i % 2);
    if (!status)
        status = aaclip_metrics_add(other, "pipe", map, NULL, 4, 1, 1, 0);
    if (!status)
        status = aaclip_metrics_merge(metrics, &other);
    aaclip_metric_values values = {.size = sizeof values};
    if (!status)
        status = aaclip_metrics_compute(metrics, AACLIP_METRICS_MEAN, &values);
    aaclip_curve_point points[8];
    size_t count;
    if (!status)
        status = aaclip_metrics_curve(metrics, 0, AACLIP_CURVE_DATASET_PR, points, 8, &count);
    if (!status)
        assert_int_equal(values.images, 5);
    aaclip_metrics_close(&metrics);
    aaclip_metrics_close(&other);
    return status;
}

static void runs_out_of_memory_cleanly(void **state)
{
    (void)state;
    aaclip_metrics_options options;
    aaclip_metrics_options_init(&options);
    assert_true(fail_each_allocation(use_everything, &options) > 30);
    options.mode = AACLIP_METRICS_HISTOGRAM;
    assert_true(fail_each_allocation(use_everything, &options) > 20);
}

static void agrees_with(const json_t *expected, const char *name, const aaclip_metric_values *found)
{
    json_t *values = metric_case_values(found);
    const char *metric;
    json_t *value;
    json_object_foreach(json_object_get(expected, name), metric, value)
    {
        const json_t *own = json_object_get(values, metric);
        if (json_is_null(value) || json_is_null(own))
            assert_true(json_is_null(value) && json_is_null(own));
        else if (fabs(json_number_value(own) - json_number_value(value)) > 1e-9)
            fail_msg("%s of %s: expected %.17g, found %.17g", metric, name,
                     json_number_value(value), json_number_value(own));
    }
    json_decref(values);
}

static void agrees_with_scikit_learn(void **state)
{
    (void)state;
    json_error_t error;
    json_t *goldens = json_load_file(GOLDEN_DIR "/metrics/cases.json", 0, &error);
    assert_non_null(goldens);
    assert_true(json_array_size(goldens) >= 20);
    for (size_t i = 0; i < json_array_size(goldens); i++) {
        const json_t *golden = json_array_get(goldens, i);
        const json_t *expected = json_object_get(golden, "expected");
        aaclip_metrics *metrics = metric_case_open(json_object_get(golden, "case"));
        assert_non_null(metrics);
        const size_t classes = aaclip_metrics_class_count(metrics);
        assert_int_equal(classes + 1, json_object_size(expected));
        for (size_t j = 0; j < classes; j++) {
            aaclip_metric_values values = compute(metrics, j);
            agrees_with(expected, aaclip_metrics_class_name(metrics, j), &values);
        }
        aaclip_metric_values mean = compute(metrics, AACLIP_METRICS_MEAN);
        agrees_with(expected, "mean", &mean);
        aaclip_metrics_close(&metrics);
    }
    json_decref(goldens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_ties_at_once),
        cmocka_unit_test(weighs_regions_equally),
        cmocka_unit_test(names_what_is_not_available),
        cmocka_unit_test(takes_the_published_score),
        cmocka_unit_test(streams_on_after_computing),
        cmocka_unit_test(refuses_what_it_cannot_count),
        cmocka_unit_test(refuses_wrong_options),
        cmocka_unit_test(finds_every_class),
        cmocka_unit_test(keeps_to_its_memory_limit),
        cmocka_unit_test(leaves_out_what_is_not_wanted),
        cmocka_unit_test(histograms_follow_the_range),
        cmocka_unit_test(finds_regions),
        cmocka_unit_test(runs_out_of_memory_cleanly),
        cmocka_unit_test(agrees_with_scikit_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
