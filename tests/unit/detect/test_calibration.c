/* Thresholds by hand and by exhaustive search, the decision, and calibrations in files. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/aaclip.h>

#include "core/memory.h"
#include "failing_allocator.h"
#include "scratch_folder.h"

#define NANO GOLDEN_DIR "/nano"

static void must(aaclip_status status)
{
    if (status)
        fail_msg("%s", aaclip_last_error());
}

static void refuses(aaclip_status status, aaclip_status expected, const char *words)
{
    assert_int_equal(status, expected);
    if (!strstr(aaclip_last_error(), words))
        fail_msg("expected \"%s\", found \"%s\"", words, aaclip_last_error());
}

#define refused(call, words) refuses((call), AACLIP_ERROR_INVALID_ARGUMENT, words)

static float quantile(const float *scores, size_t count, double rate)
{
    float threshold;
    must(aaclip_calibrate_quantile(scores, count, rate, &threshold));
    return threshold;
}

static float above(float value)
{
    return nextafterf(value, INFINITY);
}

static void quantiles_by_hand(void **state)
{
    (void)state;
    const float scores[] = {0.3f, 0.9f, 0.1f, 0.7f, 0.5f}, tied[] = {1, 2, 2, 2};
    const float same[] = {0.5f, 0.5f, 0.5f}, negative[] = {-1, -2}, zero = 0;
    assert_true(quantile(scores, 5, 0) == above(0.9f));
    assert_true(quantile(scores, 5, 0.19) == above(0.9f)); /* fewer images than 1 / rate */
    assert_true(quantile(scores, 5, 0.2) == above(0.7f));  /* one alarm of five */
    assert_true(quantile(scores, 5, 0.99) == above(0.1f)); /* four */
    assert_true(quantile(tied, 4, 0.5) == above(2));       /* two would be three */
    assert_true(quantile(tied, 4, 0.75) == above(1));
    assert_true(quantile(same, 3, 0.9) == above(0.5f));
    assert_true(quantile(negative, 2, 0.5) == above(-2));
    assert_true(quantile(&zero, 1, 0.5) == above(0) && above(0) > 0);
}

/* 0.29 * 100 is below 29 in double; 29 of 100 are 0.29 all the same. */
static void shares_are_exact(void **state)
{
    (void)state;
    float scores[1000];
    for (int count = 1; count <= 1000; count++) {
        scores[count - 1] = (float)(count - 1);
        for (int allowed = 0; allowed < count; allowed += 1 + count / 50) {
            const double rate = (double)allowed / count;
            assert_true(quantile(scores, (size_t)count, rate) ==
                        above((float)(count - 1 - allowed)));
        }
    }
}

static size_t reaching(const float *scores, size_t count, float threshold)
{
    size_t alarms = 0;
    for (size_t i = 0; i < count; i++)
        alarms += scores[i] >= threshold;
    return alarms;
}

/* The threshold holds the rate and the float before it does not. */
static void quantiles_are_the_smallest(void **state)
{
    (void)state;
    float scores[40];
    srand(3);
    for (int i = 0; i < 2000; i++) {
        const size_t count = 1 + (size_t)rand() % 40;
        const int levels = 1 + rand() % 30;
        for (size_t j = 0; j < count; j++)
            scores[j] = (float)(rand() % levels) / 7 - 1;
        const double rate = (double)rand() / ((double)RAND_MAX + 1);
        const float threshold = quantile(scores, count, rate);
        const float before = nextafterf(threshold, -INFINITY);
        assert_true((double)reaching(scores, count, threshold) / (double)count <= rate);
        assert_true((double)reaching(scores, count, before) / (double)count > rate);
    }
}

static void quantile_refusals(void **state)
{
    (void)state;
    const float scores[] = {1, NAN, INFINITY}, largest = FLT_MAX;
    float threshold = 7;
    refused(aaclip_calibrate_quantile(scores, 0, 0.1, &threshold), "at least one score");
    refused(aaclip_calibrate_quantile(NULL, 1, 0.1, &threshold), "at least one score");
    refused(aaclip_calibrate_quantile(scores, 1, 0.1, NULL), "");
    refused(aaclip_calibrate_quantile(scores, 1, 1, &threshold), "found 1");
    refused(aaclip_calibrate_quantile(scores, 1, -0.1, &threshold), "found -0.1");
    refused(aaclip_calibrate_quantile(scores, 1, NAN, &threshold), "false alarm rate");
    refused(aaclip_calibrate_quantile(scores, 2, 0.1, &threshold), "score 1");
    refused(aaclip_calibrate_quantile(scores + 2, 1, 0.1, &threshold), "found inf");
    refused(aaclip_calibrate_quantile(&largest, 1, 0.1, &threshold), "no finite number is above");
    assert_true(threshold == 7);
}

static double f1_at(const float *scores, const int *labels, size_t count, float threshold)
{
    double found = 0, wrong = 0;
    for (size_t i = 0; i < count; i++) {
        found += scores[i] >= threshold && labels[i];
        wrong += (scores[i] >= threshold) != labels[i];
    }
    return 2 * found / (2 * found + wrong);
}

static void f1_by_hand(void **state)
{
    (void)state;
    /* 0.8 gives 2/3, 0.4 gives 4/5 and 0.2 gives 2/3 */
    const float scores[] = {0.1f, 0.4f, 0.6f, 0.8f};
    const int labels[] = {0, 1, 0, 1};
    float threshold;
    double f1;
    must(aaclip_calibrate_f1(scores, labels, 4, &threshold, &f1));
    assert_true(threshold == 0.25f); /* between 0.4 and the next lower one */
    assert_true(fabs(f1 - 0.8) < 1e-15);
    must(aaclip_calibrate_f1(scores + 1, labels + 1, 2, &threshold, &f1));
    assert_true(threshold == 0.4f); /* there is none */
    must(aaclip_calibrate_f1(scores, labels, 4, &threshold, NULL));
}

static void f1_tries_every_score(void **state)
{
    (void)state;
    float scores[30], threshold;
    int labels[30];
    double f1;
    srand(4);
    for (int i = 0; i < 500; i++) {
        const size_t count = 2 + (size_t)rand() % 29;
        for (size_t j = 0; j < count; j++) {
            scores[j] = (float)(rand() % 12) / 9 - 0.5f;
            labels[j] = j < 2 ? (int)j : rand() % 2;
        }
        must(aaclip_calibrate_f1(scores, labels, count, &threshold, &f1));
        assert_true(fabs(f1 - f1_at(scores, labels, count, threshold)) < 1e-15);
        float best = INFINITY, below = -INFINITY;
        for (size_t j = 0; j < count; j++) {
            best = scores[j] >= threshold ? fminf(best, scores[j]) : best;
            below = scores[j] < threshold ? fmaxf(below, scores[j]) : below;
        }
        assert_true(isinf(below) ? threshold == best
                                 : fabsf(threshold - (below + best) / 2) < 1e-6f);
        for (size_t j = 0; j < count; j++) {
            const double other = f1_at(scores, labels, count, scores[j]);
            assert_true(other <= f1 + 1e-15 && (scores[j] <= best || other < f1 - 1e-15));
        }
    }
}

static void f1_refusals(void **state)
{
    (void)state;
    const float scores[] = {1, 2}, broken[] = {1, NAN};
    const int labels[] = {0, 1}, normal[] = {0, 0}, abnormal[] = {1, 1}, unknown[] = {0, -1};
    float threshold = 7;
    double f1 = 7;
    refused(aaclip_calibrate_f1(NULL, labels, 2, &threshold, &f1), "NULL");
    refused(aaclip_calibrate_f1(scores, NULL, 2, &threshold, &f1), "NULL");
    refused(aaclip_calibrate_f1(scores, labels, 2, NULL, &f1), "NULL");
    refused(aaclip_calibrate_f1(scores, labels, 0, &threshold, &f1), "found 0 and 0");
    refused(aaclip_calibrate_f1(scores, normal, 2, &threshold, &f1), "found 2 and 0");
    refused(aaclip_calibrate_f1(scores, abnormal, 2, &threshold, &f1), "found 0 and 2");
    refused(aaclip_calibrate_f1(scores, unknown, 2, &threshold, &f1), "label 1");
    refused(aaclip_calibrate_f1(broken, labels, 2, &threshold, &f1), "score");
    assert_true(threshold == 7 && f1 == 7);
}

static aaclip_calibration example(void)
{
    aaclip_calibration calibration;
    must(aaclip_calibration_init(&calibration));
    calibration.image_threshold = above(0.7f);
    calibration.map_threshold = 1.0f / 3;
    calibration.false_alarm_rate = 0.01;
    calibration.images = 250;
    return calibration;
}

static void decisions(void **state)
{
    (void)state;
    const aaclip_calibration calibration = example();
    const float map[] = {1, 0.2f, above(1.0f / 3), 1.0f / 3};
    const uint8_t roi[] = {0, 1, 0, 0}, edge[] = {0, 1, 0, 9}, none[4] = {0};
    bool defective = true;
    must(aaclip_decide(&calibration, 0.7f, NULL, NULL, 0, 0, &defective));
    assert_false(defective);
    must(aaclip_decide(&calibration, above(0.7f), NULL, NULL, 0, 0, &defective));
    assert_true(defective);
    must(aaclip_decide(&calibration, 0.9f, map, roi, 2, 2, &defective));
    assert_false(defective); /* what lies outside does not count */
    must(aaclip_decide(&calibration, 0, map, edge, 4, 1, &defective));
    assert_true(defective);
    refused(aaclip_decide(&calibration, 0, map, none, 2, 2, &defective), "no pixel selected");
    refused(aaclip_decide(&calibration, 0, NULL, roi, 2, 2, &defective), "map is NULL");
    refused(aaclip_decide(&calibration, NAN, map, NULL, 2, 2, &defective), "score");
    refused(aaclip_decide(NULL, 0, map, roi, 2, 2, &defective), "NULL");
    refused(aaclip_decide(&calibration, 0, map, roi, 2, 2, NULL), "NULL");
}

/* Without a region of interest. */
static bool decide_by(aaclip_decide_by what, float score, const float *map)
{
    aaclip_calibration calibration = example();
    bool defective;
    calibration.decide_by = what;
    must(aaclip_decide(&calibration, score, map, NULL, 2, 1, &defective));
    return defective;
}

static void what_decides(void **state)
{
    (void)state;
    const float low[] = {0, 0.3f}, high[] = {0.5f, 0};
    const uint8_t roi[] = {0, 1};
    assert_false(decide_by(AACLIP_DECIDE_BY_SCORE, 0.7f, high));
    assert_true(decide_by(AACLIP_DECIDE_BY_SCORE, 0.8f, low));
    assert_true(decide_by(AACLIP_DECIDE_BY_MAP, 0.7f, high));
    assert_false(decide_by(AACLIP_DECIDE_BY_MAP, 0.8f, low));
    assert_true(decide_by(AACLIP_DECIDE_BY_MAP, NAN, high)); /* it is not looked at */
    assert_true(decide_by(AACLIP_DECIDE_BY_EITHER, 0.7f, high));
    assert_true(decide_by(AACLIP_DECIDE_BY_EITHER, 0.8f, low));
    assert_false(decide_by(AACLIP_DECIDE_BY_EITHER, 0.7f, low));
    aaclip_calibration calibration = example();
    bool defective = true;
    calibration.decide_by = AACLIP_DECIDE_BY_EITHER;
    refused(aaclip_decide(&calibration, 0.8f, NULL, NULL, 0, 0, &defective), "map is NULL");
    refused(aaclip_decide(&calibration, NAN, high, NULL, 2, 1, &defective), "score");
    must(aaclip_decide(&calibration, 0.8f, high, roi, 2, 1, &defective));
    assert_false(defective); /* the map inside it alone */
    calibration.decide_by = (aaclip_decide_by)3;
    refused(aaclip_decide(&calibration, 0, high, NULL, 2, 1, &defective), "decide_by");
}

static void assert_same(const aaclip_calibration *found, const aaclip_calibration *expected)
{
    assert_int_equal(found->size, expected->size);
    assert_true(found->image_threshold == expected->image_threshold);
    assert_true(found->map_threshold == expected->map_threshold);
    assert_true(found->false_alarm_rate == expected->false_alarm_rate);
    assert_int_equal(found->method, expected->method);
    assert_int_equal(found->images, expected->images);
    assert_int_equal(found->decide_by, expected->decide_by);
    assert_int_equal(found->image_size, expected->image_size);
    assert_int_equal(found->tile, expected->tile);
    assert_true(found->tile_overlap == expected->tile_overlap);
    assert_int_equal(found->domain, expected->domain);
    assert_true(found->model_fingerprint == expected->model_fingerprint);
    assert_true(found->adapters_fingerprint == expected->adapters_fingerprint);
    assert_string_equal(found->class_name, expected->class_name);
    assert_true(found->class_fingerprint == expected->class_fingerprint);
    assert_true(found->window_low == expected->window_low);
    assert_true(found->window_high == expected->window_high);
}

static void set_origin(aaclip_calibration *calibration)
{
    calibration->image_size = 518;
    calibration->tile = 700;
    calibration->tile_overlap = 0.3f;
    calibration->domain = AACLIP_DOMAIN_MEDICAL;
    calibration->model_fingerprint = UINT64_MAX - 1;
    calibration->adapters_fingerprint = 5;
    calibration->class_fingerprint = 1ull << 63;
    calibration->window_low = 1.0 / 3;
    calibration->window_high = 4095;
    strcpy(calibration->class_name, "metal \"nut\" \xc3\xa9");
}

static char *path_in(void **state, const char *name)
{
    return aac_format("%s/%s", (const char *)*state, name);
}

static void files_keep_every_bit(void **state)
{
    char *path = path_in(state, "calibration.json");
    aaclip_calibration calibration = example(), found = {.size = sizeof found};
    must(aaclip_calibration_save(&calibration, path));
    must(aaclip_calibration_load(&found, path));
    assert_same(&found, &calibration);
    calibration.image_threshold = -FLT_MIN / 3;
    calibration.map_threshold = FLT_MAX;
    calibration.false_alarm_rate = 0;
    calibration.method = AACLIP_CALIBRATION_F1_MAX;
    calibration.images = 1ull << 53;
    calibration.decide_by = AACLIP_DECIDE_BY_EITHER;
    memset(calibration.class_name, 'x', sizeof calibration.class_name - 1);
    must(aaclip_calibration_save(&calibration, path));
    must(aaclip_calibration_load(&found, path));
    assert_same(&found, &calibration);
    set_origin(&calibration);
    calibration.decide_by = AACLIP_DECIDE_BY_MAP;
    must(aaclip_calibration_save(&calibration, path));
    must(aaclip_calibration_load(&found, path));
    assert_same(&found, &calibration);
    aac_free(path);
}

static void structs_of_other_sizes(void **state)
{
    char *path = path_in(state, "calibration.json");
    aaclip_calibration calibration = example(), found;
    calibration.size = offsetof(aaclip_calibration, false_alarm_rate);
    must(aaclip_calibration_save(&calibration, path));
    memset(&found, 0xff, sizeof found);
    found.size = offsetof(aaclip_calibration, images);
    must(aaclip_calibration_load(&found, path));
    assert_int_equal(found.size, offsetof(aaclip_calibration, images));
    assert_true(found.map_threshold == calibration.map_threshold);
    assert_true(found.false_alarm_rate == 0); /* the part that was not given */
    assert_true(found.images == UINT64_MAX);
    found.size = 0;
    refused(aaclip_calibration_load(&found, path), "aaclip_calibration");
    refused(aaclip_calibration_init_sized(&found, 3), "aaclip_calibration");
    aac_free(path);
}

static void wrong_calibrations_are_not_saved(void **state)
{
    char *path = path_in(state, "wrong.json");
    const aaclip_calibration good = example();
    aaclip_calibration calibration = good;
    calibration.image_threshold = NAN;
    refused(aaclip_calibration_save(&calibration, path), "image_threshold");
    calibration = good;
    calibration.map_threshold = INFINITY;
    refused(aaclip_calibration_save(&calibration, path), "map_threshold");
    calibration = good;
    calibration.false_alarm_rate = 1;
    refused(aaclip_calibration_save(&calibration, path), "false_alarm_rate");
    calibration = good;
    calibration.method = (aaclip_calibration_method)2;
    refused(aaclip_calibration_save(&calibration, path), "method");
    calibration = good;
    calibration.images = (1ull << 53) + 1;
    refused(aaclip_calibration_save(&calibration, path), "images");
    calibration = good;
    calibration.decide_by = (aaclip_decide_by)3;
    refused(aaclip_calibration_save(&calibration, path), "decide_by");
    calibration = good;
    calibration.domain = (aaclip_domain)2;
    refused(aaclip_calibration_save(&calibration, path), "domain");
    calibration = good;
    calibration.tile_overlap = NAN;
    refused(aaclip_calibration_save(&calibration, path), "tile_overlap");
    calibration = good;
    calibration.window_low = calibration.window_high = 5;
    refused(aaclip_calibration_save(&calibration, path), "window_low: expected two finite numbers");
    calibration = good;
    memset(calibration.class_name, 'x', sizeof calibration.class_name);
    refused(aaclip_calibration_save(&calibration, path), "class_name: expected a string that ends");
    strcpy(calibration.class_name, "\xff");
    refused(aaclip_calibration_save(&calibration, path), "class_name: expected UTF-8");
    calibration = good;
    calibration.size = 0;
    refused(aaclip_calibration_save(&calibration, path), "size");
    refused(aaclip_calibration_save(NULL, path), "NULL");
    refused(aaclip_calibration_save(&good, NULL), "NULL");
    refuses(aaclip_calibration_load(&calibration, path), AACLIP_ERROR_NOT_FOUND, "wrong.json");
    refused(aaclip_calibration_load(NULL, path), "NULL");
    refused(aaclip_calibration_load(&calibration, NULL), "NULL");
    aac_free(path);
}

#define PLAIN                                                                                      \
    "\"image_threshold\": 1, \"map_threshold\": 0, \"false_alarm_rate\": 0, \"images\": 1, "       \
    "\"method\": \"f1_max\""
#define ORIGIN PLAIN ", \"image_size\": 70, \"tile\": 0, \"tile_overlap\": 0, "

static void broken_files(void **state)
{
    const struct {
        const char *text, *words;
    } cases[] = {
        {"", "bad.json"},
        {"[]", "expected a JSON object"},
        {"{}", "image_threshold: expected a number"},
        {"{\"image_threshold\": 1e300}", "image_threshold: expected a number"},
        {"{\"image_threshold\": 1}", "map_threshold: expected a number"},
        {"{\"image_threshold\": 1, \"map_threshold\": true}", "map_threshold: expected a number"},
        {"{\"image_threshold\": 1, \"map_threshold\": 0}", "false_alarm_rate: expected 0 or more"},
        {"{\"image_threshold\": 1, \"map_threshold\": 0, \"false_alarm_rate\": 1}",
         "false_alarm_rate: expected 0 or more"},
        {"{\"image_threshold\": 1, \"map_threshold\": 0, \"false_alarm_rate\": 0, \"images\": 1,"
         " \"method\": \"guess\"}",
         "method: expected quantile or f1_max"},
        {"{\"image_threshold\": 1, \"map_threshold\": 0, \"false_alarm_rate\": 0, \"images\": -1,"
         " \"method\": \"f1_max\"}",
         "images: expected an integer"},
        {"{\"image_threshold\": 1, \"map_threshold\": 0, \"false_alarm_rate\": 0, \"images\": 1.5,"
         " \"method\": \"f1_max\"}",
         "images: expected an integer"},
        {"{" PLAIN ", \"decide_by\": \"luck\"}", "decide_by: expected score, map or either"},
        {"{" PLAIN ", \"decide_by\": 1}", "decide_by: expected score, map or either"},
        {"{" PLAIN ", \"class_name\": 1}", "class_name: expected a string"},
        {"{" PLAIN ", \"class_fingerprint\": 1}", "class_fingerprint: expected 16"},
        {"{" PLAIN ", \"window_low\": 5, \"window_high\": 5}", "window_low: expected two numbers"},
        {"{" PLAIN ", \"window_high\": 5}", "window_low: expected two numbers"},
        {"{" PLAIN ", \"window_low\": -5}", "window_low: expected two numbers"},
        {"{" PLAIN ", \"window_low\": \"0\", \"window_high\": 5}",
         "window_low: expected two numbers"},
        {"{" PLAIN ", \"image_size\": 70}", "domain: expected industrial or medical"},
        {"{" PLAIN ", \"image_size\": -70, \"domain\": \"medical\"}",
         "image_size: expected a number of pixels"},
        {"{" PLAIN ", \"image_size\": 70, \"domain\": \"medical\"}",
         "tile: expected a number of pixels"},
        {"{" PLAIN ", \"image_size\": 70, \"domain\": \"medical\", \"tile\": 0}",
         "tile_overlap: expected a number"},
        {"{" ORIGIN "\"domain\": \"medical\"}", "model_fingerprint: expected 16"},
        {"{" ORIGIN "\"domain\": \"medical\", \"model_fingerprint\": \"000000000000000g\"}",
         "model_fingerprint: expected 16"},
        {"{" ORIGIN "\"domain\": \"medical\", \"model_fingerprint\": \"0000000000000001\", "
         "\"adapters_fingerprint\": 3}",
         "adapters_fingerprint: expected 16"},
    };
    aaclip_calibration found = example();
    const aaclip_calibration before = found;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = scratch_text(*state, "bad.json", cases[i].text);
        refuses(aaclip_calibration_load(&found, path), AACLIP_ERROR_FORMAT, cases[i].words);
        refuses(aaclip_calibration_load(&found, path), AACLIP_ERROR_FORMAT, "bad.json");
        assert_same(&found, &before);
        aac_free(path);
    }
    char *path = scratch_text(*state, "later.json",
                              "{\"image_threshold\": 1, \"map_threshold\": 0, \"method\": "
                              "\"f1_max\", \"false_alarm_rate\": 0, \"images\": 1, \"later\": 2}");
    must(aaclip_calibration_load(&found, path));
    assert_int_equal(found.method, AACLIP_CALIBRATION_F1_MAX);
    aac_free(path);
    path = scratch_text(*state, "capitals.json",
                        "{" PLAIN ", \"class_fingerprint\": \"00000000000000AB\"}");
    must(aaclip_calibration_load(&found, path));
    assert_int_equal(found.class_fingerprint, 0xab);
    aac_free(path);
}

typedef struct trained {
    aaclip_model *model;
    aaclip_adapters *adapters;
} trained;

static aaclip_adapters *open_adapters(const aaclip_model *model, const char *first,
                                      const char *second)
{
    const char *const files[] = {first, second};
    aaclip_adapters *adapters = NULL;
    must(aaclip_adapters_open(&adapters, model, files, second ? 2 : 1, NULL));
    return adapters;
}

static trained open_trained(void)
{
    trained all = {0};
    must(aaclip_model_open(&all.model, NANO "/clip.pt", NULL));
    all.adapters = open_adapters(all.model, NANO "/adapters-document/text_adapter.pth",
                                 NANO "/adapters-document/image_adapter_20.pth");
    return all;
}

static void close_trained(trained *all)
{
    aaclip_adapters_close(&all->adapters);
    aaclip_model_close(&all->model);
}

static void expect_calibration(const aaclip_model *model, const char *path,
                               const aaclip_calibration *expected)
{
    aaclip_calibration found = {.size = sizeof found};
    aaclip_adapters *adapters = open_adapters(model, path, NULL);
    must(aaclip_adapters_get_calibration(adapters, &found));
    assert_same(&found, expected);
    aaclip_adapters_close(&adapters);
}

static void adapters_keep_theirs(void **state)
{
    trained all = open_trained();
    char *first = path_in(state, "first.safetensors"), *second = path_in(state, "second.st");
    aaclip_calibration calibration = example(), found = example();
    found.images = 3;
    refuses(aaclip_adapters_get_calibration(all.adapters, &found), AACLIP_ERROR_NOT_FOUND,
            "no calibration");
    assert_int_equal(found.images, 3);
    must(aaclip_adapters_save_calibrated(all.adapters, &calibration, first));
    refuses(aaclip_adapters_get_calibration(all.adapters, &found), AACLIP_ERROR_NOT_FOUND, "");
    expect_calibration(all.model, first, &calibration);

    aaclip_adapters *reopened = open_adapters(all.model, first, NULL);
    assert_true(aaclip_adapters_has_text(reopened) && aaclip_adapters_has_image(reopened));
    must(aaclip_adapters_save(reopened, second));
    expect_calibration(all.model, second, &calibration);
    calibration.image_threshold = 0.25f;
    calibration.method = AACLIP_CALIBRATION_F1_MAX;
    must(aaclip_adapters_save_calibrated(reopened, &calibration, second)); /* in place of the old */
    expect_calibration(all.model, second, &calibration);
    must(aaclip_adapters_save(all.adapters, second));
    aaclip_adapters *without = open_adapters(all.model, second, NULL);
    refuses(aaclip_adapters_get_calibration(without, &found), AACLIP_ERROR_NOT_FOUND, "");

    refused(aaclip_adapters_save_calibrated(NULL, &calibration, second), "NULL");
    refused(aaclip_adapters_save_calibrated(reopened, NULL, second), "NULL");
    refused(aaclip_adapters_save_calibrated(reopened, &calibration, NULL), "NULL");
    calibration.map_threshold = NAN;
    refused(aaclip_adapters_save_calibrated(reopened, &calibration, second), "map_threshold");
    refused(aaclip_adapters_get_calibration(NULL, &found), "NULL");
    refused(aaclip_adapters_get_calibration(reopened, NULL), "NULL");
    aaclip_adapters_close(&without);
    aaclip_adapters_close(&reopened);
    aac_free(first);
    aac_free(second);
    close_trained(&all);
}

static void bundles_keep_it(void **state)
{
    trained all = open_trained();
    char *path = path_in(state, "adapters.safetensors"), *bundle = path_in(state, "bundle.st");
    const aaclip_calibration calibration = example();
    const char *const name = "nut", *const phrase = "metal nut";
    aaclip_text_cache *cache = NULL;
    aaclip_model *deployed = NULL;
    must(aaclip_adapters_save_calibrated(all.adapters, &calibration, path));
    aaclip_adapters *reopened = open_adapters(all.model, path, NULL);
    must(aaclip_text_cache_new(&cache, all.model, reopened, NULL));
    must(aaclip_text_cache_build(cache, &name, &phrase, 1));
    must(aaclip_bundle_save(all.model, reopened, cache, bundle, false));
    must(aaclip_model_open(&deployed, bundle, NULL));
    expect_calibration(deployed, bundle, &calibration);
    aaclip_model_close(&deployed);
    aaclip_text_cache_close(&cache);
    aaclip_adapters_close(&reopened);
    aac_free(path);
    aac_free(bundle);
    close_trained(&all);
}

static aaclip_status calibrate_and_save(void *user)
{
    const float scores[] = {1, 2, 3};
    const int labels[] = {0, 1, 1};
    aaclip_calibration calibration = example();
    aaclip_status status = aaclip_calibrate_quantile(scores, 3, 0.5, &calibration.image_threshold);
    if (!status)
        status = aaclip_calibrate_f1(scores, labels, 3, &calibration.map_threshold, NULL);
    return status ? status : aaclip_calibration_save(&calibration, user);
}

static void out_of_memory(void **state)
{
    char *path = path_in(state, "memory.json");
    assert_true(fail_each_allocation(calibrate_and_save, path) > 5);
    aac_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_by_hand),
        cmocka_unit_test(shares_are_exact),
        cmocka_unit_test(quantiles_are_the_smallest),
        cmocka_unit_test(quantile_refusals),
        cmocka_unit_test(f1_by_hand),
        cmocka_unit_test(f1_tries_every_score),
        cmocka_unit_test(f1_refusals),
        cmocka_unit_test(decisions),
        cmocka_unit_test(what_decides),
        cmocka_unit_test(files_keep_every_bit),
        cmocka_unit_test(structs_of_other_sizes),
        cmocka_unit_test(wrong_calibrations_are_not_saved),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(adapters_keep_theirs),
        cmocka_unit_test(bundles_keep_it),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("calibration", tests, scratch_folder_make,
                                       scratch_folder_remove);
}
