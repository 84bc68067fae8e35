/* What stage 2 frees of the frozen towers. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/memory.h"
#include "trainer_fixture.h"

#define HEADER 64 /* bytes before each allocation, holding its size */

static atomic_size_t live; /* loaders allocate, too */

static void *counting_allocate(size_t size, void *user)
{
    (void)user;
    char *memory = malloc(size + HEADER);
    if (!memory)
        return NULL;
    memcpy(memory, &size, sizeof size);
    live += size;
    return memory + HEADER;
}

static void counting_free(void *pointer, void *user)
{
    (void)user;
    size_t size;
    char *memory = (char *)pointer - HEADER;
    memcpy(&size, memory, sizeof size);
    live -= size;
    free(memory);
}

static aaclip_model_info info_of(const training *setup)
{
    aaclip_model_info info = {.size = sizeof info};
    must(aaclip_model_get_info(setup->model, &info));
    return info;
}

static size_t tower_bytes(size_t layers, size_t width, size_t mlp)
{
    return layers * (4 * width * width + 2 * width * mlp) * sizeof(float);
}

/* Bytes that are alive once a trainer has made a step and is closed. */
static size_t live_after(training *setup, bool recompute)
{
    setup->options.recompute = recompute;
    aaclip_trainer *trainer = training_run(setup, 1);
    aaclip_trainer_close(&trainer);
    return live;
}

/* One that copies what it packs: others may read the file's own memory. NULL: there is none. */
static const char *copying_backend(void)
{
    static const char *const names[] = {"onednn", "guarded"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (aaclip_backend_available(names[i]))
            return names[i];
    return NULL;
}

/* On a device it stays: to send it twice in a step is far slower. */
static void recomputing_keeps_no_image_tower(void **state)
{
    (void)state;
    const training_place place = {copying_backend(), AACLIP_PRECISION_F32, 1};
    if (!place.backend)
        skip();
    training setup;
    training_open_random(&setup, AACLIP_STAGE_IMAGE, &place);
    const aaclip_model_info info = info_of(&setup);
    size_t tower = tower_bytes(info.image_layers, info.image_width, info.image_mlp);
    size_t first = live_after(&setup, true), kept = live_after(&setup, false);
    size_t again = live_after(&setup, true);
    if (strcmp(place.backend, "guarded") == 0)
        assert_int_equal(kept, first);
    else
        assert_true(kept >= first + tower);
    assert_int_equal(again, first);
    training_close(&setup);
}

/* One has the blocks packed, the other packs its own. */
static void trainers_side_by_side(void **state)
{
    (void)state;
    training setup;
    training_open_random(&setup, AACLIP_STAGE_IMAGE, NULL);
    aaclip_trainer *kept = training_start(&setup);
    setup.options.recompute = true;
    aaclip_trainer *again = training_start(&setup);
    run_steps(again, 2);
    run_steps(kept, 2);
    assert_true(same_state(kept, again));
    aaclip_trainer_close(&kept);
    aaclip_trainer_close(&again);
    training_close(&setup);
}

static void copy_pair(const training *setup, const char *name, float *pair)
{
    size_t embedding = info_of(setup).embedding;
    must(aaclip_text_cache_get(setup->cache, name, pair, pair + embedding));
}

static void stage_2_gives_the_text_tower_back(void **state)
{
    (void)state;
    const training_place place = {copying_backend(), AACLIP_PRECISION_F32, 1};
    if (!place.backend)
        skip();
    training setup;
    training_open_random(&setup, AACLIP_STAGE_IMAGE, &place);
    const aaclip_model_info info = info_of(&setup);
    size_t tower = tower_bytes(info.text_layers, info.text_width, info.text_mlp);
    size_t bytes = 2 * info.embedding * sizeof(float);
    const char *name = "object", *words = "metal nut";
    live_after(&setup, true); /* the model keeps a little of the image tower */
    must(aaclip_text_cache_build(setup.cache, &name, &words, 1));
    float *before = malloc(bytes), *after = malloc(bytes);
    assert_true(before && after);
    copy_pair(&setup, name, before);
    size_t built = live;
    assert_true(live_after(&setup, true) + tower <= built);
    must(aaclip_text_cache_build(setup.cache, &name, &words, 1));
    copy_pair(&setup, name, after);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
    training_close(&setup);
}

int main(void)
{
    const aaclip_allocator hooks = {counting_allocate, counting_free, NULL};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recomputing_keeps_no_image_tower),
        cmocka_unit_test(trainers_side_by_side),
        cmocka_unit_test(stage_2_gives_the_text_tower_back),
    };
    aaclip_set_allocator(&hooks);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    aaclip_set_allocator(NULL);
    return failed;
}
