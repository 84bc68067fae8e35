#include "train/loader.h"

#include <stdatomic.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "core/threads.h"
#include "evaluate/dataset.h"
#include "images/image.h"
#include "images/resize.h"

/* Holds the sample at position p of the order, where p % ahead is the slot's number. */
typedef struct loader_slot {
    bool ready;
    aaclip_status status;
    char *error; /* text of a failure; NULL if there was no memory for it */
    aac_sample sample;
    uint8_t *rgb, *mask;
} loader_slot;

struct aac_loader {
    aaclip_dataset *dataset;
    aac_loader_options options;
    aac_augment_options augment;
    size_t *order;
    size_t count;
    aac_thread **threads;
    unsigned thread_count;
    unsigned forks;   /* fork count of the process that has the threads */
    aac_mutex *mutex; /* guards what follows, and the slots' `ready` */
    aac_condition *changed;
    loader_slot *slots;
    size_t started;     /* next position that a thread takes */
    size_t given;       /* next position that aac_loader_next hands out */
    bool lent;          /* the sample before `given` is still in use */
    atomic_int closing; /* also cancels the threads' current samples */
};

static aaclip_status open_mask(aaclip_image **mask, const aaclip_sample *sample,
                               const aaclip_image_view *image)
{
    aaclip_status status = aac_image_open(mask, sample->mask_path, NULL);
    if (status)
        return status;
    const aaclip_image_view view = aaclip_image_get_view(*mask);
    if (view.width == image->width && view.height == image->height)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_MISMATCH, "%s: %ux%u pixels, but its mask %s has %ux%u",
                     sample->image_path, image->width, image->height, sample->mask_path, view.width,
                     view.height);
}

/* On the original mask: augmentation may legitimately move a defect out of the image. */
static void check_mask(const aaclip_sample *sample, const aaclip_image_view *mask)
{
    bool any_set, any_clear;
    aac_mask_values(mask, &any_set, &any_clear);
    if (!any_set)
        aac_log(AACLIP_LOG_WARNING, "%s: expected a defect, found none in %ux%u pixels",
                sample->mask_path, mask->width, mask->height);
    else if (!any_clear)
        aac_log(AACLIP_LOG_WARNING,
                "%s: expected a defect, found all %ux%u pixels marked; alpha is ignored",
                sample->mask_path, mask->width, mask->height);
}

/* Warns of what degrades results without an error; once, not in every epoch. */
static void check_sample(const aac_loader *loader, size_t index, const aaclip_image *image,
                         const aaclip_image_view *mask)
{
    const aaclip_sample *sample = aaclip_dataset_get(loader->dataset, index);
    if (aac_image_is_clipped(image) && aac_dataset_first(loader->dataset, index, AAC_REMARK_DEPTH))
        aac_image_warn(image, sample->image_path);
    if (sample->label == 1 && mask->pixels &&
        aac_dataset_first(loader->dataset, index, AAC_REMARK_MASK))
        check_mask(sample, mask);
}

static aac_augmentation augmentation_of(const aac_loader *loader, size_t index)
{
    const uint32_t size = loader->options.image_size;
    if (!loader->options.augment)
        return (aac_augmentation){.resized = size};
    aac_random random;
    aac_random_seed(&random, loader->options.seed,
                    aac_random_stream(AAC_RANDOM_AUGMENT, loader->options.epoch, index));
    return aac_augment_draw(&loader->augment, size, &random);
}

static aaclip_status read_sample(const aac_loader *loader, size_t index, loader_slot *slot)
{
    const aaclip_sample *sample = aaclip_dataset_get(loader->dataset, index);
    const bool masked = sample->mask_path != NULL;
    slot->sample = (aac_sample){
        .index = index,
        .class_index = sample->class_index,
        .class_name = sample->class_name,
        .label = sample->label,
        .has_mask = masked || sample->label == 0,
        .rgb = slot->rgb,
        .mask = slot->mask,
    };
    if (sample->label == 1 && !masked && loader->options.require_masks)
        return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: an abnormal image without a mask",
                         sample->image_path);
    aaclip_image *image = NULL, *mask = NULL;
    aaclip_status status =
        aac_image_open(&image, sample->image_path, aac_dataset_window(loader->dataset));
    aaclip_image_view view = aaclip_image_get_view(image), mask_view = {0};
    if (!status && masked)
        status = open_mask(&mask, sample, &view);
    if (!status && masked)
        mask_view = aaclip_image_get_view(mask);
    if (!status)
        check_sample(loader, index, image, &mask_view);
    const aac_augmentation augmentation = augmentation_of(loader, index);
    if (!status)
        status = aac_augment_apply(&augmentation, &view, masked ? &mask_view : NULL,
                                   loader->options.image_size, slot->rgb, slot->mask);
    aaclip_image_close(&image);
    aaclip_image_close(&mask);
    return status;
}

/* Fills a slot. Error texts are per thread, so the slot keeps a copy. */
static void fill_slot(const aac_loader *loader, size_t position, loader_slot *slot)
{
    slot->status = read_sample(loader, loader->order[position], slot);
    aac_free(slot->error);
    slot->error = slot->status ? aac_strdup(aaclip_last_error()) : NULL;
}

static loader_slot *slot_of(const aac_loader *loader, size_t position)
{
    return &loader->slots[position % loader->options.ahead];
}

/* With the mutex held: whether there is a next position with a free slot. */
static bool may_start(const aac_loader *loader)
{
    const size_t oldest = loader->given - loader->lent;
    return loader->started < loader->count && loader->started - oldest < loader->options.ahead;
}

static void work(void *user)
{
    aac_loader *loader = user;
    aac_threads_set(1); /* samples run in parallel, each on one thread */
    aaclip_watch_cancel((const volatile int *)&loader->closing);
    aac_mutex_lock(loader->mutex);
    while (!loader->closing && loader->started < loader->count) {
        if (!may_start(loader)) {
            aac_condition_wait(loader->changed, loader->mutex);
            continue;
        }
        const size_t position = loader->started++;
        loader_slot *slot = slot_of(loader, position);
        aac_mutex_unlock(loader->mutex);
        fill_slot(loader, position, slot);
        aac_mutex_lock(loader->mutex);
        slot->ready = true;
        aac_condition_wake_all(loader->changed);
    }
    aac_mutex_unlock(loader->mutex);
}

static void start_threads(aac_loader *loader, unsigned threads)
{
    while (loader->thread_count < threads) {
        aac_thread *thread = aac_thread_start(work, loader);
        if (!thread)
            break; /* the started ones do all the work, or aac_loader_next if there are none */
        loader->threads[loader->thread_count++] = thread;
    }
}

/* Pixels and mask. */
static size_t sample_bytes(const aac_loader_options *options)
{
    return 4 * (size_t)options->image_size * options->image_size;
}

size_t aac_loader_memory(const aac_loader_options *options)
{
    return options->ahead * sample_bytes(options);
}

static uint8_t *sample_memory(const aac_loader *loader, size_t slot)
{
    const size_t bytes = sample_bytes(&loader->options);
    return loader->options.memory ? loader->options.memory + slot * bytes : aac_alloc(bytes);
}

static aaclip_status allocate(aac_loader *loader, const size_t *order)
{
    const size_t ahead = loader->options.ahead;
    loader->mutex = aac_mutex_new();
    loader->changed = aac_condition_new();
    loader->order = aac_alloc_array(loader->count, sizeof *order);
    loader->slots = aac_calloc(ahead, sizeof *loader->slots);
    loader->threads = aac_calloc(loader->options.threads, sizeof(aac_thread *));
    bool complete =
        loader->mutex && loader->changed && loader->order && loader->slots && loader->threads;
    for (size_t i = 0; complete && i < ahead; i++) {
        uint8_t *memory = loader->slots[i].rgb = sample_memory(loader, i);
        complete = memory != NULL;
        if (memory)
            loader->slots[i].mask = memory + sample_bytes(&loader->options) / 4 * 3;
    }
    if (!complete)
        return aac_error_memory();
    if (loader->count)
        memcpy(loader->order, order, loader->count * sizeof *order);
    return AACLIP_OK;
}

static aaclip_status check_arguments(const aaclip_dataset *dataset, const size_t *order,
                                     size_t count, const aac_loader_options *options)
{
    if (!options->image_size || options->image_size > UINT16_MAX || !options->ahead)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "loader: expected an image size of 1 to %u and samples ahead, found %u "
                         "and %zu",
                         UINT16_MAX, options->image_size, options->ahead);
    for (size_t i = 0; i < count; i++)
        if (order[i] >= aaclip_dataset_count(dataset))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "loader: sample %zu: expected below %zu, found %zu", i,
                             aaclip_dataset_count(dataset), order[i]);
    return options->augment ? aac_augment_options_check(options->augment) : AACLIP_OK;
}

aaclip_status aac_loader_open(aac_loader **out, const aaclip_dataset *dataset, const size_t *order,
                              size_t count, const aac_loader_options *options)
{
    *out = NULL;
    aaclip_status status = check_arguments(dataset, order, count, options);
    if (status)
        return status;
    aac_loader *loader = aac_calloc(1, sizeof *loader);
    if (!loader)
        return aac_error_memory();
    loader->dataset = aac_dataset_retain(dataset);
    loader->options = *options;
    loader->count = count;
    if (options->augment)
        loader->augment = *options->augment;
    status = allocate(loader, order);
    if (status) {
        aac_loader_close(&loader);
        return status;
    }
    loader->forks = aac_forks();
    start_threads(loader, options->threads);
    *out = loader;
    return AACLIP_OK;
}

/* The filled slot of position `given`. */
static aaclip_status wait_for_slot(aac_loader *loader, loader_slot **found)
{
    loader_slot *slot = *found = slot_of(loader, loader->given);
    if (!loader->thread_count) {
        fill_slot(loader, loader->given, slot);
        return AACLIP_OK;
    }
    aaclip_status status = AACLIP_OK;
    aac_mutex_lock(loader->mutex);
    while (!slot->ready && !status) {
        aac_condition_wait_watching(loader->changed, loader->mutex);
        status = aac_cancel_look();
    }
    if (!status)
        slot->ready = false; /* taken */
    aac_mutex_unlock(loader->mutex);
    return status;
}

aaclip_status aac_loader_next(aac_loader *loader, const aac_sample **sample)
{
    *sample = NULL;
    aac_mutex_lock(loader->mutex);
    loader->lent = false;
    aac_condition_wake_all(loader->changed);
    aac_mutex_unlock(loader->mutex);
    if (loader->given == loader->count)
        return AACLIP_OK;
    loader_slot *slot;
    aaclip_status status = wait_for_slot(loader, &slot);
    if (status)
        return status;
    aac_mutex_lock(loader->mutex);
    loader->given++;
    loader->lent = true;
    aac_mutex_unlock(loader->mutex);
    if (!slot->status)
        *sample = &slot->sample;
    else if (!slot->error)
        return aac_error_memory();
    else
        return aac_error(slot->status, "%s", slot->error);
    return AACLIP_OK;
}

bool aac_loader_was_left(const aac_loader *loader)
{
    return loader->thread_count && loader->forks != aac_forks();
}

void aac_loader_close(aac_loader **handle)
{
    if (!*handle)
        return;
    aac_loader *loader = *handle;
    *handle = NULL;
    bool left = aac_loader_was_left(loader);
    if (loader->thread_count && !left) {
        aac_mutex_lock(loader->mutex);
        atomic_store(&loader->closing, 1);
        aac_condition_wake_all(loader->changed);
        aac_mutex_unlock(loader->mutex);
    }
    for (unsigned i = 0; i < loader->thread_count; i++)
        aac_thread_join(loader->threads[i]);
    for (size_t i = 0; loader->slots && i < loader->options.ahead; i++) {
        if (!left) /* a forked-away thread may have just freed it */
            aac_free(loader->slots[i].error);
        if (!loader->options.memory)
            aac_free(loader->slots[i].rgb);
    }
    aac_condition_free(loader->changed);
    aac_mutex_free(loader->mutex);
    aac_free(loader->slots);
    aac_free(loader->threads);
    aac_free(loader->order);
    aaclip_dataset_close(&loader->dataset);
    aac_free(loader);
}
