#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "evaluate/components.h"
#include "evaluate/metrics_types.h"

#define MAX_BINS     (1u << 24)
#define LARGEST_SIZE 1e38f /* so that differences of values are finite */

static const aaclip_metrics_options default_options = {
    .size = sizeof default_options,
    .mode = AACLIP_METRICS_EXACT,
    .domain = AACLIP_DOMAIN_INDUSTRIAL,
    .wanted = AACLIP_METRICS_ALL,
    .bins = 65536,
    .memory_limit = (uint64_t)4 << 30,
};

aaclip_status aaclip_metrics_options_init_sized(aaclip_metrics_options *options, size_t struct_size)
{
    return aac_options_write(options, struct_size, &default_options, sizeof default_options,
                             "aaclip_metrics_options");
}

static aaclip_status check_options(const aaclip_metrics_options *options)
{
    if ((unsigned)options->mode > AACLIP_METRICS_HISTOGRAM ||
        (unsigned)options->domain > AACLIP_DOMAIN_MEDICAL)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_metrics_options: unknown mode %d or domain %d", (int)options->mode,
                         (int)options->domain);
    if (!options->wanted || options->wanted & ~(uint32_t)AACLIP_METRICS_ALL)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_metrics_options: wanted: expected bits 1 and 2, found %u",
                         options->wanted);
    if (options->bins < 2 || options->bins > MAX_BINS)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_metrics_options: bins: expected 2 to %u, found %u", MAX_BINS,
                         options->bins);
    return AACLIP_OK;
}

aaclip_status aaclip_metrics_new(aaclip_metrics **metrics, const aaclip_metrics_options *options)
{
    if (!metrics)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_metrics_new: no output");
    *metrics = NULL;
    aaclip_metrics_options own = default_options;
    aaclip_status status = aac_options_read(&own, sizeof own, options, "aaclip_metrics_options");
    if (!status)
        status = check_options(&own);
    if (status)
        return status;
    *metrics = aac_calloc(1, sizeof **metrics);
    if (!*metrics)
        return aac_error_memory();
    (*metrics)->options = own;
    return AACLIP_OK;
}

static void free_class(aac_metrics_class *category)
{
    for (size_t i = 0; i < category->pixels_count; i++)
        aac_free(category->pixels[i].block);
    aac_free(category->pixels);
    aac_free(category->images);
    aac_free(category->histogram.bins);
    aac_free(category->name);
}

static void free_room(aac_pixel_room *room)
{
    aac_free(room->labels);
    aac_free(room->order[0]);
    aac_free(room->order[1]);
    *room = (aac_pixel_room){0};
}

void aaclip_metrics_close(aaclip_metrics **handle)
{
    if (!handle || !*handle)
        return;
    aaclip_metrics *metrics = *handle;
    *handle = NULL;
    for (size_t i = 0; i < metrics->class_count; i++)
        free_class(&metrics->classes[i]);
    aac_free(metrics->classes);
    aac_names_clear(&metrics->class_names);
    free_room(&metrics->room);
    aac_free(metrics);
}

/* Room for `more` items; false when out of memory. */
static bool reserve(void **items, size_t count, size_t *capacity, size_t more, size_t size)
{
    if (more <= *capacity - count)
        return true;
    size_t needed;
    void *moved =
        aac_size_add(&needed, count, more) ? aac_grow(*items, capacity, needed, size) : NULL;
    if (!moved)
        return false;
    *items = moved;
    return true;
}

static bool reserve_class(aaclip_metrics *metrics, size_t more)
{
    void *classes = metrics->classes;
    bool done = reserve(&classes, metrics->class_count, &metrics->class_capacity, more,
                        sizeof *metrics->classes);
    metrics->classes = classes;
    return done && aac_names_reserve(&metrics->class_names, more);
}

static bool reserve_images(aac_metrics_class *category, size_t images, size_t pixels)
{
    void *items = category->images, *kept = category->pixels;
    bool done =
        reserve(&items, category->count, &category->capacity, images, sizeof *category->images) &&
        reserve(&kept, category->pixels_count, &category->pixels_capacity, pixels,
                sizeof *category->pixels);
    category->images = items;
    category->pixels = kept;
    return done;
}

static aac_metrics_class *find_class(const aaclip_metrics *metrics, const char *name)
{
    const size_t number = aac_names_find(&metrics->class_names, name);
    return number == AAC_NO_NAME ? NULL : &metrics->classes[number];
}

/* The name is not found until keep_class: if the first image fails, the class is dropped again. */
static aaclip_status add_class(aac_metrics_class **category, aaclip_metrics *metrics,
                               const char *name)
{
    char *copy = reserve_class(metrics, 1) ? aac_strdup(name) : NULL;
    if (!copy)
        return aac_error_memory();
    *category = &metrics->classes[metrics->class_count++];
    **category = (aac_metrics_class){.name = copy};
    return AACLIP_OK;
}

/* Makes the last class known, in reserved room. */
static void keep_class(aaclip_metrics *metrics)
{
    const size_t number = metrics->class_count - 1;
    aac_names_add(&metrics->class_names, metrics->classes[number].name, number);
}

static bool is_usable(float value)
{
    return fabsf(value) <= LARGEST_SIZE; /* never true of NaN */
}

static aaclip_status check_arguments(const char *class_name, const float *map, const uint8_t *mask,
                                     uint32_t width, uint32_t height, float score, int label)
{
    if (!class_name || !*class_name)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_metrics_add: no class name");
    if (label < -1 || label > 1)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "class %s: label: expected -1, 0 or 1, found %d", class_name, label);
    if (!is_usable(score))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "class %s: score: expected a finite number up to 1e38, found %g",
                         class_name, (double)score);
    if (map ? !width || !height : width || height || mask)
        return aac_error(
            AACLIP_ERROR_INVALID_ARGUMENT,
            "class %s: expected a map and its size, or no map, mask or size; found %ux%u",
            class_name, width, height);
    if ((uint64_t)width * height >= UINT32_MAX)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "class %s: map: expected fewer than 2^32 - 1 pixels, found %ux%u",
                         class_name, width, height);
    return AACLIP_OK;
}

/* Fills in the smallest and the largest value. */
static aaclip_status measure_map(aac_scored_image *image, const char *class_name, size_t number,
                                 const float *map, uint32_t width, uint32_t height)
{
    const size_t count = (size_t)width * height;
    image->least = image->largest = map[0];
    for (size_t i = 0; i < count; i++) {
        if (!is_usable(map[i]))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "class %s: map of image %zu: row %zu, column %zu: expected a finite "
                             "number up to 1e38, found %g",
                             class_name, number, i / width, i % width, (double)map[i]);
        if (map[i] < image->least)
            image->least = map[i];
        if (map[i] > image->largest)
            image->largest = map[i];
    }
    return AACLIP_OK;
}

static aaclip_status make_room(aac_pixel_room *room, size_t pixels, bool sorting)
{
    if (pixels > room->pixels)
        free_room(room);
    if (!room->labels)
        room->labels = aac_alloc_array(pixels, sizeof *room->labels);
    for (int i = 0; sorting && i < 2; i++)
        if (!room->order[i])
            room->order[i] = aac_alloc_array(pixels, sizeof *room->order[i]);
    if (!room->labels || (sorting && (!room->order[0] || !room->order[1]))) {
        free_room(room);
        return aac_error_memory();
    }
    if (pixels > room->pixels)
        room->pixels = pixels;
    return AACLIP_OK;
}

/* The ground truth of one image: its regions, and their total number of pixels. */
typedef struct truth {
    double *overlaps; /* 1 / area of each region */
    size_t regions, abnormal;
} truth;

static aaclip_status find_truth(truth *found, uint32_t *labels, const uint8_t *mask, uint32_t width,
                                uint32_t height)
{
    *found = (truth){0};
    if (!mask) {
        memset(labels, 0, (size_t)width * height * sizeof *labels);
        return AACLIP_OK;
    }
    aac_component *components;
    aaclip_status status =
        aac_find_components(&components, &found->regions, labels, mask, width, height);
    if (status)
        return status;
    found->overlaps = aac_alloc_array(found->regions, sizeof *found->overlaps);
    for (size_t i = 0; found->overlaps && i < found->regions; i++) {
        found->overlaps[i] = 1 / (double)components[i].area;
        found->abnormal += components[i].area;
    }
    aac_free(components);
    return found->overlaps ? AACLIP_OK : aac_error_memory();
}

static aaclip_status keep_pixels(aaclip_metrics *metrics, aac_metrics_class *category,
                                 const truth *known, const float *map, size_t count)
{
    const uint64_t bytes =
        aac_pixels_size(count - known->abnormal, known->abnormal, known->regions);
    const uint64_t limit = metrics->options.memory_limit;
    if (metrics->pixel_bytes > limit || bytes > limit - metrics->pixel_bytes)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY,
                         "class %s: exact metrics would keep %llu bytes of pixels; expected up to "
                         "memory_limit, %llu: raise it, or use AACLIP_METRICS_HISTOGRAM",
                         category->name, (unsigned long long)(metrics->pixel_bytes + bytes),
                         (unsigned long long)limit);
    aac_pixels *pixels = &category->pixels[category->pixels_count];
    aaclip_status status = aac_pixels_keep(pixels, &metrics->room, map, count, known->abnormal,
                                           known->overlaps, known->regions);
    if (status)
        return status;
    category->pixels_count++;
    metrics->pixel_bytes += bytes;
    return AACLIP_OK;
}

static aaclip_status add_pixels(aaclip_metrics *metrics, aac_metrics_class *category,
                                const aac_scored_image *image, const float *map,
                                const uint8_t *mask, uint32_t width, uint32_t height)
{
    const size_t count = (size_t)width * height;
    const bool exact = metrics->options.mode == AACLIP_METRICS_EXACT;
    truth known = {0};
    aaclip_status status = make_room(&metrics->room, count, exact);
    if (!status)
        status = find_truth(&known, metrics->room.labels, mask, width, height);
    if (!status && exact)
        status = keep_pixels(metrics, category, &known, map, count);
    else if (!status)
        status = aac_histogram_add(&category->histogram, metrics->options.bins, map,
                                   metrics->room.labels, known.overlaps, count, image->least,
                                   image->largest);
    aac_free(known.overlaps);
    if (status)
        return status;
    category->totals.normal += count - known.abnormal;
    category->totals.abnormal += known.abnormal;
    category->totals.regions += known.regions;
    return AACLIP_OK;
}

/* Everything that can fail comes before the image is counted. */
static aaclip_status add_image(aaclip_metrics *metrics, aac_metrics_class *category,
                               const aac_scored_image *image, const float *map, const uint8_t *mask,
                               uint32_t width, uint32_t height)
{
    const bool known = map && (mask || image->label == 0);
    const bool exact = metrics->options.mode == AACLIP_METRICS_EXACT;
    if (!reserve_images(category, 1, exact))
        return aac_error_memory();
    aaclip_status status = AACLIP_OK;
    if (known && metrics->options.wanted & AACLIP_METRICS_PIXELS)
        status = add_pixels(metrics, category, image, map, mask, width, height);
    if (status)
        return status;
    category->images[category->count++] = *image;
    category->computed = false;
    return AACLIP_OK;
}

aaclip_status aaclip_metrics_add(aaclip_metrics *metrics, const char *class_name, const float *map,
                                 const uint8_t *mask, uint32_t width, uint32_t height, float score,
                                 int label)
{
    if (!metrics)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_metrics_add: no metrics");
    aaclip_status status = check_arguments(class_name, map, mask, width, height, score, label);
    if (status)
        return status;
    aac_metrics_class *category = find_class(metrics, class_name);
    const bool is_new = !category;
    aac_scored_image image = {.score = score, .has_map = map, .label = label};
    if (map)
        status =
            measure_map(&image, class_name, category ? category->count : 0, map, width, height);
    if (!status && is_new)
        status = add_class(&category, metrics, class_name);
    if (status)
        return status;
    status = add_image(metrics, category, &image, map, mask, width, height);
    if (status && is_new)
        free_class(&metrics->classes[--metrics->class_count]);
    else if (is_new)
        keep_class(metrics);
    return status;
}

/* Reserves room for everything to be moved, so that moving cannot fail halfway. */
static bool reserve_merge(aaclip_metrics *metrics, const aaclip_metrics *other)
{
    if (!reserve_class(metrics, other->class_count))
        return false;
    for (size_t i = 0; i < other->class_count; i++) {
        const aac_metrics_class *added = &other->classes[i];
        aac_metrics_class *category = find_class(metrics, added->name);
        if (category && !reserve_images(category, added->count, added->pixels_count))
            return false;
    }
    return true;
}

static void merge_class(aac_metrics_class *category, aac_metrics_class *added)
{
    memcpy(category->images + category->count, added->images, added->count * sizeof *added->images);
    category->count += added->count;
    if (added->pixels_count)
        memcpy(category->pixels + category->pixels_count, added->pixels,
               added->pixels_count * sizeof *added->pixels);
    category->pixels_count += added->pixels_count;
    added->pixels_count = 0;
    aac_histogram_merge(&category->histogram, &added->histogram);
    category->totals.normal += added->totals.normal;
    category->totals.abnormal += added->totals.abnormal;
    category->totals.regions += added->totals.regions;
    category->computed = false;
    free_class(added);
}

aaclip_status aaclip_metrics_merge(aaclip_metrics *metrics, aaclip_metrics **other)
{
    if (!metrics || !other || !*other)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_metrics_merge: NULL argument");
    if (*other == metrics)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_metrics_merge: cannot merge metrics with themselves");
    const aaclip_metrics_options *a = &metrics->options, *b = &(*other)->options;
    if (a->mode != b->mode || a->domain != b->domain || a->wanted != b->wanted ||
        a->bins != b->bins)
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "aaclip_metrics_merge: made with different options");
    if (!reserve_merge(metrics, *other))
        return aac_error_memory();
    for (size_t i = 0; i < (*other)->class_count; i++) {
        aac_metrics_class *added = &(*other)->classes[i];
        aac_metrics_class *category = find_class(metrics, added->name);
        if (category) {
            merge_class(category, added);
        } else {
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): room was reserved */
            metrics->classes[metrics->class_count++] = *added;
            keep_class(metrics);
        }
    }
    metrics->pixel_bytes += (*other)->pixel_bytes;
    (*other)->class_count = 0;
    aaclip_metrics_close(other);
    return AACLIP_OK;
}

size_t aaclip_metrics_class_count(const aaclip_metrics *metrics)
{
    return metrics ? metrics->class_count : 0;
}

const char *aaclip_metrics_class_name(const aaclip_metrics *metrics, size_t index)
{
    return metrics && index < metrics->class_count ? metrics->classes[index].name : NULL;
}
