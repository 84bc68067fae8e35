/* The text cache: building, saving, lookup; also from several threads. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <pthread.h>

#include "fixture.h"
#include "scratch.h"

#define EMBEDDING 32 /* of the nano model */

typedef struct pair {
    float normal[EMBEDDING], abnormal[EMBEDDING];
} pair;

static fixture shared;

static pair get_pair(const aaclip_text_cache *cache, const char *name)
{
    pair found;
    must(aaclip_text_cache_get(cache, name, found.normal, found.abnormal));
    return found;
}

static bool same_pair(const pair *a, const pair *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Built with other classes, prompts go through products of other sizes, which round elsewhere. */
static bool nearly_same_pair(const pair *a, const pair *b)
{
    for (int i = 0; i < EMBEDDING; i++)
        if (!(fabsf(a->normal[i] - b->normal[i]) < 1e-6f) ||
            !(fabsf(a->abnormal[i] - b->abnormal[i]) < 1e-6f))
            return false;
    return true;
}

static aaclip_text_cache *new_cache(const aaclip_text_cache_options *options)
{
    aaclip_text_cache *cache = NULL;
    must(aaclip_text_cache_new(&cache, shared.model, shared.adapters, options));
    return cache;
}

static void classes_keep_their_order(void **state)
{
    (void)state;
    aaclip_text_cache *cache = new_cache(NULL);
    assert_int_equal(aaclip_text_cache_count(cache), 0);
    must_fail(aaclip_text_cache_get(cache, "nut", NULL, NULL), AACLIP_ERROR_NOT_FOUND,
              "which is empty");
    must(build_classes(cache));
    assert_int_equal(aaclip_text_cache_count(cache), 2);
    assert_string_equal(aaclip_text_cache_name(cache, 0), "cat");
    assert_string_equal(aaclip_text_cache_name(cache, 1), "nut");
    assert_null(aaclip_text_cache_name(cache, 2));
    const char *first = aaclip_text_cache_name(cache, 0);
    const pair cat = get_pair(cache, "cat"), nut = get_pair(cache, "nut");
    assert_false(same_pair(&cat, &nut));
    assert_memory_not_equal(cat.normal, cat.abnormal, sizeof cat.normal);

    const char *const names[] = {"dog", "cat"}, *const phrases[] = {"dog", "metal nut"};
    must(aaclip_text_cache_build(cache, names, phrases, 2)); /* one new, one replaced */
    assert_int_equal(aaclip_text_cache_count(cache), 3);
    assert_ptr_equal(aaclip_text_cache_name(cache, 0), first);
    assert_string_equal(aaclip_text_cache_name(cache, 2), "dog");
    const pair replaced = get_pair(cache, "cat");
    assert_true(nearly_same_pair(&replaced, &nut));
    must_fail(aaclip_text_cache_get(cache, "Cat", NULL, NULL), AACLIP_ERROR_NOT_FOUND,
              "cat, nut, dog");
    aaclip_text_cache_close(&cache);
}

static void pairs_can_be_added(void **state)
{
    (void)state;
    aaclip_text_cache *cache = new_cache(NULL);
    pair own, twice;
    for (int i = 0; i < EMBEDDING; i++) {
        own.normal[i] = (float)i / EMBEDDING;
        own.abnormal[i] = -(float)i / EMBEDDING;
    }
    must(aaclip_text_cache_add(cache, "own", own.normal, own.abnormal));
    const pair found = get_pair(cache, "own");
    assert_true(same_pair(&found, &own));
    must(aaclip_text_cache_add(cache, "own", own.abnormal, own.normal));
    must(aaclip_text_cache_get(cache, "own", twice.abnormal, NULL));
    must(aaclip_text_cache_get(cache, "own", NULL, twice.normal));
    assert_true(same_pair(&twice, &own));
    assert_int_equal(aaclip_text_cache_count(cache), 1);
    aaclip_text_cache_close(&cache);
}

/* Whoever damages a vector must not get plausible scores. */
static void lengths_of_vectors_are_checked(void **state)
{
    const scratch_file file = scratch_path(*state, "damaged.safetensors");
    const float inputs[] = {0, 1e-4f, 200, NAN, INFINITY};
    aaclip_text_cache *cache = new_cache(NULL), *opened = NULL;
    pair own = {{1}, {0}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        own.abnormal[0] = inputs[i];
        must_fail(aaclip_text_cache_add(cache, "own", own.normal, own.abnormal),
                  AACLIP_ERROR_INVALID_ARGUMENT,
                  "class 'own': expected an abnormal vector with a length of 0.001 to 100, found ");
    }
    own.abnormal[0] = 50;
    must(aaclip_text_cache_add(cache, "own", own.normal, own.abnormal));
    must(build_classes(cache));
    must(aaclip_text_cache_save(cache, file.path));
    must(aaclip_text_cache_open(&opened, shared.model, shared.adapters, file.path, NULL));
    aaclip_text_cache_close(&opened);
    scratch_write_value(file.path, "text_cache.own", 0);
    must_fail(aaclip_text_cache_open(&opened, shared.model, shared.adapters, file.path, NULL),
              AACLIP_ERROR_FORMAT, "class 'own': expected a normal vector");
    scratch_write_value(file.path, "text_cache.own", 1);
    scratch_write_value(file.path, "text_cache.nut", 10); /* no mean of unit vectors */
    must_fail(aaclip_text_cache_open(&opened, shared.model, shared.adapters, file.path, NULL),
              AACLIP_ERROR_FORMAT, "class 'nut': expected a normal vector");
    aaclip_text_cache_close(&cache);
}

/* A built pair is the mean of what encode gives for the prompts, here a set of one each. */
static void building_follows_from_encoding(void **state)
{
    const scratch_file path_file = scratch_path(*state, "single.json");
    const char *path = path_file.path;
    scratch_write(path,
                  "{\"normal\": [\"{}\"], \"abnormal\": [\"broken {}\"],"
                  " \"templates\": [\"a photo of {}.\"]}");
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.prompts = path;
    aaclip_text_cache *cache = new_cache(&options);
    must(build_classes(cache));
    const char *const prompts[] = {"a photo of metal nut.", "a photo of broken metal nut."};
    float vectors[2][EMBEDDING];
    must(aaclip_text_cache_encode(cache, prompts, 2, &vectors[0][0]));
    const pair nut = get_pair(cache, "nut");
    for (int i = 0; i < EMBEDDING; i++) {
        assert_true(fabsf(nut.normal[i] - vectors[0][i]) < 1e-6f);
        assert_true(fabsf(nut.abnormal[i] - vectors[1][i]) < 1e-6f);
    }
    double square = 0;
    for (int i = 0; i < EMBEDDING; i++)
        square += (double)vectors[1][i] * (double)vectors[1][i];
    assert_true(fabs(square - 1) < 1e-6);
    aaclip_text_cache_close(&cache);
}

static void saved_caches_open_with_the_same_bits(void **state)
{
    const scratch_file path_file = scratch_path(*state, "cache.safetensors");
    const char *path = path_file.path;
    const char *const odd[] = {
        "a/b",
        "..",
        "\xc3\xbc\xe4\xb8\xad\xf0\x9f\x94\xa9",
        "quote\"s'",
        "back\\slash",
        "line\nbreak\ttab",
        " ",
        "__metadata__",
        "text_cache.nut",
        "\x01\x1f\x7f",
    };
    const size_t count = sizeof odd / sizeof *odd;
    char longest[1001];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    aaclip_text_cache *cache = new_cache(NULL), *opened = NULL;
    must(build_classes(cache));
    pair own = get_pair(cache, "nut");
    for (size_t i = 0; i < count; i++) {
        own.normal[0] = (float)i;
        must(aaclip_text_cache_add(cache, odd[i], own.normal, own.abnormal));
    }
    must(aaclip_text_cache_add(cache, longest, own.abnormal, own.normal));
    must(aaclip_text_cache_save(cache, path));
    must(aaclip_text_cache_open(&opened, shared.model, shared.adapters, path, NULL));
    assert_int_equal(aaclip_text_cache_count(opened), count + 3);
    for (size_t i = 0; i < count + 3; i++) {
        const char *name = aaclip_text_cache_name(cache, i);
        assert_string_equal(aaclip_text_cache_name(opened, i), name);
        const pair before = get_pair(cache, name), after = get_pair(opened, name);
        assert_true(same_pair(&before, &after));
    }
    const char *const more[] = {"dog"};
    must(aaclip_text_cache_build(opened, more, more, 1)); /* an opened cache still builds */
    aaclip_text_cache_close(&cache);
    aaclip_text_cache_close(&opened);
}

static void open_mismatch(const char *path, const aaclip_model *model,
                          const aaclip_adapters *adapters, const aaclip_text_cache_options *options)
{
    aaclip_text_cache *cache = (aaclip_text_cache *)&shared;
    must_fail(aaclip_text_cache_open(&cache, model, adapters, path, options), AACLIP_ERROR_MISMATCH,
              path);
    assert_null(cache);
}

static void saved_caches_belong_to_their_makers(void **state)
{
    const scratch_file path_file = scratch_path(*state, "cache.safetensors");
    const char *path = path_file.path;
    const scratch_file prompts_file = scratch_path(*state, "prompts.json");
    const char *prompts = prompts_file.path;
    scratch_write(prompts,
                  "{\"normal\": [\"{}\"], \"abnormal\": [\"bad {}\"],"
                  " \"templates\": [\"{}\"]}");
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.prompts = prompts;
    aaclip_model *other_model = NULL;
    must(aaclip_model_open(&other_model, GOLDEN_DIR "/model/openai-published/clip.pt", NULL));
    aaclip_adapters *document = open_adapters(shared.model, "document");
    must(aaclip_text_cache_save(shared.cache, path));
    open_mismatch(path, other_model, NULL, NULL);
    open_mismatch(path, shared.model, document, NULL);
    open_mismatch(path, shared.model, NULL, NULL);
    open_mismatch(path, shared.model, shared.adapters, &options);
    aaclip_adapters_close(&document);
    aaclip_model_close(&other_model);
}

/* Of equal prompts only the configuration tells that other vectors would have been made. */
static void saved_caches_say_their_configuration(void **state)
{
    static const char *const name[] = {"nut"};
    const scratch_file path = scratch_path(*state, "cache.safetensors");
    const scratch_file prompts = scratch_path(*state, "prompts.json");
    scratch_write(prompts.path,
                  "{\"normal\": [\"{}\"], \"abnormal\": [\"bad {}\"],"
                  " \"templates\": [\"{}\"]}");
    aaclip_config document, published;
    aaclip_text_cache_options options;
    must(aaclip_config_init(&document, AACLIP_PROFILE_DOCUMENT));
    must(aaclip_config_init(&published, AACLIP_PROFILE_PUBLISHED));
    must(aaclip_text_cache_options_init(&options));
    options.prompts = prompts.path;
    published.normalize_class_vector = document.normalize_class_vector; /* a prompt's key, too */
    options.config = &published;
    aaclip_text_cache *cache = NULL;
    must(aaclip_text_cache_new(&cache, shared.model, NULL, &options));
    must(aaclip_text_cache_build(cache, name, name, 1));
    must(aaclip_text_cache_save(cache, path.path));
    const pair before = get_pair(cache, "nut");
    aaclip_text_cache_close(&cache);
    options.config = &document;
    open_mismatch(path.path, shared.model, NULL, &options);
    options.config = NULL; /* the file's, under which the same vectors are built again */
    must(aaclip_text_cache_open(&cache, shared.model, NULL, path.path, &options));
    must(aaclip_text_cache_build(cache, name, name, 1));
    const pair after = get_pair(cache, "nut");
    assert_true(same_pair(&before, &after));
    aaclip_text_cache_close(&cache);
}

/* Adapters and weights are known by their content, not by their handle. */
static void saved_caches_open_for_the_same_weights(void **state)
{
    const scratch_file path_file = scratch_path(*state, "cache.safetensors");
    const char *path = path_file.path;
    const scratch_file model_path_file = scratch_path(*state, "model.safetensors");
    const char *model_path = model_path_file.path;
    const scratch_file adapter_path_file = scratch_path(*state, "adapters.safetensors");
    const char *adapter_path = adapter_path_file.path;
    fixture other = {.model = NULL};
    must(aaclip_text_cache_save(shared.cache, path));
    must(aaclip_model_save(shared.model, model_path, false));
    must(aaclip_adapters_save(shared.adapters, adapter_path));
    must(aaclip_model_open(&other.model, model_path, NULL));
    must(aaclip_adapters_open(&other.adapters, other.model, &adapter_path, 1, NULL));
    must(aaclip_text_cache_open(&other.cache, other.model, other.adapters, path, NULL));
    const pair before = get_pair(shared.cache, "nut"), after = get_pair(other.cache, "nut");
    assert_true(same_pair(&before, &after));
    fixture_close(&other);
}

static void files_that_are_no_caches_are_refused(void **state)
{
    const scratch_file path_file = scratch_path(*state, "text");
    const char *path = path_file.path;
    aaclip_text_cache *cache = NULL;
    scratch_write(path, "not a cache");
    must_fail(aaclip_text_cache_open(&cache, shared.model, shared.adapters, path, NULL),
              AACLIP_ERROR_FORMAT, path);
    must_fail(aaclip_text_cache_open(&cache, shared.model, shared.adapters, NANO_MODEL, NULL),
              AACLIP_ERROR_FORMAT, NANO_MODEL);
    must_fail(aaclip_text_cache_open(&cache, shared.model, shared.adapters, "missing", NULL),
              AACLIP_ERROR_NOT_FOUND, "missing");
    must_fail(aaclip_text_cache_open(&cache, shared.model, shared.adapters, *state, NULL),
              AACLIP_ERROR_IO, *state);
    assert_null(cache);
    must_fail(aaclip_text_cache_save(shared.cache, *state), AACLIP_ERROR_IO, *state);
    must_fail(aaclip_text_cache_save(shared.cache, scratch_path(*state, "no/folder").path),
              AACLIP_ERROR_IO, "no/folder");
    assert_int_equal(scratch_count(*state), 1);
}

typedef struct canceller {
    size_t calls, stop_at; /* the call that cancels, counted from 1 */
    size_t done, total;
    bool rising;
} canceller;

static bool watch(size_t done, size_t total, void *user)
{
    canceller *own = user;
    own->rising = own->rising && done >= own->done && done <= total;
    own->done = done;
    own->total = total;
    return ++own->calls != own->stop_at;
}

#define MANY 60

/* So many long prompts that the encoder takes them in several groups. */
typedef struct many_classes {
    char texts[2][MANY][64];
    const char *names[MANY], *phrases[MANY];
} many_classes;

static void name_many(many_classes *many)
{
    for (int i = 0; i < MANY; i++) {
        snprintf(many->texts[0][i], sizeof many->texts[0][i], "class %d", i);
        snprintf(many->texts[1][i], sizeof many->texts[1][i], "%d black and orange capsules", i);
        many->names[i] = many->texts[0][i];
        many->phrases[i] = many->texts[1][i];
    }
}

static void cancelling_changes_nothing(void **state)
{
    (void)state;
    many_classes many;
    canceller progress = {.rising = true};
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.progress = watch;
    options.progress_user = &progress;
    aaclip_text_cache *cache = new_cache(&options);
    name_many(&many);
    must(build_classes(cache));
    const pair cat = get_pair(cache, "cat");
    progress = (canceller){.rising = true};
    must(aaclip_text_cache_build(cache, many.names, many.phrases, MANY));
    const size_t calls = progress.calls;
    assert_true(calls >= 4);
    assert_true(progress.rising);
    assert_int_equal(progress.done, progress.total);
    aaclip_text_cache_close(&cache);
    cache = new_cache(&options);
    must(build_classes(cache));
    many.names[0] = "cat";
    for (size_t stop = 1; stop <= calls; stop++) {
        progress = (canceller){.stop_at = stop, .rising = true};
        must_fail(aaclip_text_cache_build(cache, many.names, many.phrases, MANY),
                  AACLIP_ERROR_CANCELLED, "cancelled");
        assert_int_equal(progress.calls, stop);
        assert_int_equal(aaclip_text_cache_count(cache), 2);
        const pair after = get_pair(cache, "cat");
        assert_true(same_pair(&after, &cat));
    }
    progress = (canceller){.rising = true};
    must(aaclip_text_cache_build(cache, many.names, many.phrases, MANY));
    assert_int_equal(aaclip_text_cache_count(cache), MANY + 1);
    aaclip_text_cache_close(&cache);
}

static bool use_the_cache(size_t done, size_t total, void *user)
{
    aaclip_text_cache *cache = *(aaclip_text_cache **)user;
    const char *const prompts[] = {"dog"};
    const aaclip_status expected = AACLIP_ERROR_INVALID_ARGUMENT;
    float vector[EMBEDDING];
    int32_t ids[8];
    size_t count;
    (void)done;
    (void)total;
    must_fail(aaclip_text_cache_build(cache, prompts, prompts, 1), expected, "callback");
    must_fail(aaclip_text_cache_encode(cache, prompts, 1, vector), expected, "callback");
    must_fail(aaclip_text_cache_tokenize(cache, "dog", ids, 8, &count), expected, "callback");
    must_fail(aaclip_text_cache_get(cache, "dog", vector, NULL), AACLIP_ERROR_NOT_FOUND, "dog");
    return true;
}

/* It would wait for itself. */
static void progress_cannot_build(void **state)
{
    (void)state;
    aaclip_text_cache *cache;
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.progress = use_the_cache;
    options.progress_user = &cache;
    cache = new_cache(&options);
    must(build_classes(cache));
    assert_int_equal(aaclip_text_cache_count(cache), 2);
    aaclip_text_cache_close(&cache);
}

/* Alone, together and the other way round: the same vectors but for rounding. */
static void classes_do_not_depend_on_each_other(void **state)
{
    (void)state;
    many_classes many;
    const char *names[MANY], *phrases[MANY];
    aaclip_text_cache *together = new_cache(NULL), *alone = new_cache(NULL);
    aaclip_text_cache *turned = new_cache(NULL);
    name_many(&many);
    for (int i = 0; i < MANY; i++) {
        names[i] = many.names[MANY - 1 - i];
        phrases[i] = many.phrases[MANY - 1 - i];
        must(aaclip_text_cache_build(alone, &many.names[i], &many.phrases[i], 1));
    }
    must(aaclip_text_cache_build(together, many.names, many.phrases, MANY));
    must(aaclip_text_cache_build(turned, names, phrases, MANY));
    const pair first = get_pair(together, names[0]);
    for (int i = 0; i < MANY; i++) {
        const pair built = get_pair(together, many.names[i]);
        const pair single = get_pair(alone, many.names[i]);
        const pair other = get_pair(turned, many.names[i]);
        assert_true(nearly_same_pair(&built, &single));
        assert_true(same_pair(&built, &other)); /* the prompts are sorted */
        assert_int_equal(same_pair(&built, &first), many.names[i] == names[0]);
    }
    aaclip_text_cache_close(&together);
    aaclip_text_cache_close(&alone);
    aaclip_text_cache_close(&turned);
}

/* A phrase of 100 words. */
static const char *long_phrase(char *text, size_t size)
{
    *text = '\0';
    for (int i = 0; i < 100; i++)
        strncat(text, "cat ", size - strlen(text) - 1);
    return text;
}

static void long_prompts_fail_or_are_cut(void **state)
{
    (void)state;
    char text[512];
    const char *const name[] = {"long"}, *const phrase[] = {long_phrase(text, sizeof text)};
    const char *const both[] = {"cat", phrase[0]}, *const names[] = {"short", "long"};
    int32_t ids[300], cut[300];
    size_t count = 0, cut_count = 0;
    float vector[EMBEDDING];
    aaclip_model_info info = {.size = sizeof info};
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    must(aaclip_model_get_info(shared.model, &info));
    aaclip_text_cache *strict = new_cache(&options);
    options.truncate = true;
    aaclip_text_cache *lenient = new_cache(&options);

    must_fail(aaclip_text_cache_build(strict, names, both, 2), AACLIP_ERROR_INVALID_ARGUMENT, "77");
    assert_int_equal(aaclip_text_cache_count(strict), 0); /* all classes or none */
    must_fail(aaclip_text_cache_encode(strict, phrase, 1, vector), AACLIP_ERROR_INVALID_ARGUMENT,
              "77");
    must(aaclip_text_cache_tokenize(strict, text, ids, 300, &count));
    assert_true(count > info.context);
    must_fail(aaclip_text_cache_tokenize(strict, text, ids, info.context, &count),
              AACLIP_ERROR_INVALID_ARGUMENT, "77");

    must(aaclip_text_cache_build(lenient, name, phrase, 1));
    must(aaclip_text_cache_tokenize(lenient, text, cut, info.context, &cut_count));
    must(aaclip_text_cache_tokenize(strict, text, ids, 300, &count));
    assert_int_equal(cut_count, info.context);
    assert_memory_equal(cut, ids, (info.context - 1) * sizeof *ids);
    assert_int_equal(cut[info.context - 1], ids[count - 1]);
    aaclip_text_cache_close(&strict);
    aaclip_text_cache_close(&lenient);
}

static void a_bundle_has_no_text_tower(void **state)
{
    static const char text[] = "a deployment bundle has no text tower";
    const scratch_file file = scratch_path(*state, "bundle.safetensors");
    const char *const name[] = {"bolt"};
    aaclip_text_cache *built = new_cache(NULL), *cache = NULL;
    must(build_classes(built));
    must(aaclip_bundle_save(shared.model, shared.adapters, built, file.path, false));
    aaclip_text_cache_close(&built);
    aaclip_model *model = NULL;
    aaclip_adapters *adapters = NULL;
    int32_t ids[77];
    size_t count;
    float vector[EMBEDDING];
    must(aaclip_model_open(&model, file.path, NULL));
    const char *const paths[] = {file.path};
    must(aaclip_adapters_open(&adapters, model, paths, 1, NULL));
    must(aaclip_text_cache_open(&cache, model, adapters, file.path, NULL));
    must(aaclip_text_cache_build(cache, NULL, NULL, 0)); /* none: nothing is needed */
    must(aaclip_text_cache_encode(cache, NULL, 0, NULL));
    must_fail(aaclip_text_cache_build(cache, name, name, 1), AACLIP_ERROR_UNSUPPORTED, text);
    must_fail(aaclip_text_cache_encode(cache, name, 1, vector), AACLIP_ERROR_UNSUPPORTED, text);
    must_fail(aaclip_text_cache_tokenize(cache, "a bolt", ids, 77, &count),
              AACLIP_ERROR_UNSUPPORTED, text);
    aaclip_trainer *trainer;
    aaclip_trainer_options options;
    aaclip_dataset *dataset = open_training_set();
    must(aaclip_trainer_options_init(&options, AACLIP_STAGE_TEXT, AACLIP_PROFILE_PUBLISHED));
    must_fail(aaclip_trainer_new(&trainer, model, dataset, NULL, &options),
              AACLIP_ERROR_UNSUPPORTED, "no text adapters can be trained");
    assert_null(trainer);
    aaclip_dataset_close(&dataset);
    aaclip_text_cache_close(&cache);
    aaclip_adapters_close(&adapters);
    aaclip_model_close(&model);
}

static void names_and_phrases_are_utf8(void **state)
{
    (void)state;
    const char *const good[] = {"cafe"};
    const char *const broken[] = {"caf\xe9",   "\xff",         "\x80",
                                  "a\xe4\xb8", "\xed\xa0\x80", "\xc0\xaf"};
    aaclip_text_cache *cache = new_cache(NULL);
    const pair nut = get_pair(shared.cache, "nut");
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        must_fail(aaclip_text_cache_build(cache, good, &broken[i], 1),
                  AACLIP_ERROR_INVALID_ARGUMENT,
                  "phrase of the class \"cafe\": expected UTF-8, found \"");
        assert_non_null(strstr(aaclip_last_error(), broken[i]));
        must_fail(aaclip_text_cache_build(cache, &broken[i], good, 1),
                  AACLIP_ERROR_INVALID_ARGUMENT, "class name 1 of 1: expected UTF-8, found \"");
        assert_non_null(strstr(aaclip_last_error(), broken[i]));
        must_fail(aaclip_text_cache_add(cache, broken[i], nut.normal, nut.abnormal),
                  AACLIP_ERROR_INVALID_ARGUMENT, "UTF-8");
    }
    assert_int_equal(aaclip_text_cache_count(cache), 0);
    aaclip_text_cache_close(&cache);
}

static void missing_vocabularies_are_named(void **state)
{
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = *state; /* an empty folder */
    aaclip_text_cache *cache = new_cache(&options);
    must_fail(build_classes(cache), AACLIP_ERROR_NOT_FOUND, *state);
    aaclip_text_cache_close(&cache);
    options.vocabulary = NULL;
    const scratch_file missing = scratch_path(*state, "missing.json");
    options.prompts = missing.path;
    must_fail(aaclip_text_cache_new(&cache, shared.model, shared.adapters, &options),
              AACLIP_ERROR_NOT_FOUND, "missing.json");
    assert_null(cache);
}

typedef struct reader {
    aaclip_text_cache *cache;
    const pair *cat, *dog; /* "dog" may not be there yet */
    atomic_bool *built;
    int rounds, wrong;
} reader;

static void *read_while_building(void *user)
{
    reader *own = user;
    do {
        pair found;
        own->wrong += aaclip_text_cache_get(own->cache, "cat", found.normal, found.abnormal) ||
                      !same_pair(&found, own->cat);
        aaclip_status status =
            aaclip_text_cache_get(own->cache, "dog", found.normal, found.abnormal);
        own->wrong += status ? status != AACLIP_ERROR_NOT_FOUND : !same_pair(&found, own->dog);
        size_t count = aaclip_text_cache_count(own->cache);
        const char *last = count ? aaclip_text_cache_name(own->cache, count - 1) : NULL;
        own->wrong += !last || !*last;
        own->rounds++;
    } while (!atomic_load(own->built));
    return NULL;
}

static void *build_again(void *user)
{
    reader *own = user;
    const char *const names[] = {"dog", "cat"}, *const phrases[] = {"metal nut", "cat"};
    for (int i = 0; i < 5; i++)
        own->wrong += aaclip_text_cache_build(own->cache, names, phrases, 2) != AACLIP_OK;
    atomic_store(own->built, true);
    return NULL;
}

static void caches_are_read_while_they_grow(void **state)
{
    (void)state;
    aaclip_text_cache *cache = new_cache(NULL);
    must(build_classes(cache));
    const pair cat = get_pair(cache, "cat"), dog = get_pair(cache, "nut");
    atomic_bool built = false;
    reader threads[4];
    pthread_t handles[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = (reader){cache, &cat, &dog, &built, 0, 0};
        assert_int_equal(pthread_create(&handles[i], NULL,
                                        i % 2 ? build_again : read_while_building, &threads[i]),
                         0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(handles[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(threads[i].wrong, 0);
    assert_true(threads[0].rounds > 0);
    assert_int_equal(aaclip_text_cache_count(cache), 3);
    aaclip_text_cache_close(&cache);
}

/* A build that another thread waits for, and cancels its waiting. */
typedef struct busy_build {
    aaclip_text_cache *cache;
    atomic_int begun, raised, waited_for, gave_up;
} busy_build;

static bool keep_waiting(size_t done, size_t total, void *user)
{
    enum { NAPS = 500, BEFORE = 10 };
    busy_build *own = user;
    (void)done;
    (void)total;
    atomic_store(&own->begun, 1);
    for (int i = 0; i < NAPS && !atomic_load(&own->waited_for); i++) {
        if (i == BEFORE)
            atomic_store(&own->raised, 1);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (!atomic_load(&own->waited_for))
        atomic_store(&own->gave_up, 1);
    return true;
}

static void *build_busily(void *user)
{
    must(build_classes(((busy_build *)user)->cache));
    return NULL;
}

static void a_trainer_that_waits_for_a_build_can_be_cancelled(void **state)
{
    (void)state;
    const float normal[EMBEDDING] = {1}, abnormal[EMBEDDING] = {0, 1};
    busy_build own = {NULL, 0, 0, 0, 0};
    pthread_t thread;
    aaclip_trainer *trainer;
    aaclip_trainer_options training;
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.progress = keep_waiting;
    options.progress_user = &own;
    own.cache = new_cache(&options);
    aaclip_dataset *dataset = open_training_set();
    for (size_t i = 0; i < aaclip_dataset_class_count(dataset); i++)
        must(aaclip_text_cache_add(own.cache, aaclip_dataset_class_name(dataset, i), normal,
                                   abnormal));
    must(aaclip_trainer_options_init(&training, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_PUBLISHED));
    training.image_size = 56;
    training.initial = shared.adapters;
    assert_int_equal(pthread_create(&thread, NULL, build_busily, &own), 0);
    while (!atomic_load(&own.begun))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    aaclip_watch_cancel((const volatile int *)&own.raised);
    aaclip_status status =
        aaclip_trainer_new(&trainer, shared.model, dataset, own.cache, &training);
    aaclip_watch_cancel(NULL);
    atomic_store(&own.waited_for, 1);
    pthread_join(thread, NULL);
    must_fail(status, AACLIP_ERROR_CANCELLED, "cancelled");
    assert_null(trainer);
    assert_false(own.gave_up);
    aaclip_dataset_close(&dataset);
    aaclip_text_cache_close(&own.cache);
}

/* CLIP takes the row of the largest id, and of equal ones the first. */
static void a_prompt_ends_at_its_first_end_token(void **state)
{
    (void)state;
    static const char *const prompts[] = {"a photo of a", "a photo of a <|endoftext|> cat"};
    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(shared.model, &info));
    float *vectors = malloc(2 * info.embedding * sizeof *vectors);
    must(aaclip_text_cache_encode(shared.cache, prompts, 2, vectors));
    assert_memory_equal(vectors, vectors + info.embedding, info.embedding * sizeof *vectors);
    free(vectors);
}

static int open_shared(void **state)
{
    (void)state;
    fixture_open(&shared, NULL, 1);
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    fixture_close(&shared);
    return 0;
}

#define in_scratch(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_keep_their_order),
        cmocka_unit_test(pairs_can_be_added),
        in_scratch(lengths_of_vectors_are_checked),
        in_scratch(building_follows_from_encoding),
        in_scratch(saved_caches_open_with_the_same_bits),
        in_scratch(saved_caches_belong_to_their_makers),
        in_scratch(saved_caches_say_their_configuration),
        in_scratch(saved_caches_open_for_the_same_weights),
        in_scratch(files_that_are_no_caches_are_refused),
        cmocka_unit_test(cancelling_changes_nothing),
        cmocka_unit_test(progress_cannot_build),
        cmocka_unit_test(classes_do_not_depend_on_each_other),
        cmocka_unit_test(a_prompt_ends_at_its_first_end_token),
        cmocka_unit_test(long_prompts_fail_or_are_cut),
        in_scratch(a_bundle_has_no_text_tower),
        cmocka_unit_test(names_and_phrases_are_utf8),
        in_scratch(missing_vocabularies_are_named),
        cmocka_unit_test(caches_are_read_while_they_grow),
        cmocka_unit_test(a_trainer_that_waits_for_a_build_can_be_cancelled),
    };
    return cmocka_run_group_tests_name("text cache", tests, open_shared, close_shared);
}
