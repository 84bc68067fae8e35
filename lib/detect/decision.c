#include "detect/decision.h"

#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "detect/calibration.h"
#include "images/resize.h"
#include "images/view.h"
#include "model/adapters.h"

aaclip_status aac_decider_open(aac_decider *decider, const aaclip_detector_options *options,
                               const aaclip_adapters *adapters)
{
    const char *path;
    aaclip_status status = aaclip_calibration_init(&decider->calibration);
    decider->calibrated = true;
    if (options->calibration)
        status = aac_calibration_read(&decider->calibration, options->calibration);
    else if (adapters && aac_adapters_calibration(adapters, &path))
        status = aaclip_adapters_get_calibration(adapters, &decider->calibration);
    else
        decider->calibrated = false;
    decider->find_regions = options->find_regions;
    decider->min_area = options->min_area;
    if (!status && decider->find_regions && !decider->calibrated)
        status = aac_error(
            AACLIP_ERROR_INVALID_ARGUMENT,
            "aaclip_detector_options.find_regions: needs a calibration, and these adapters have "
            "none; pass one from aaclip_calibration_load or aaclip_calibration_init");
    return status;
}

void aac_decider_close(aac_decider *decider)
{
    for (size_t i = 0; i < decider->class_count; i++)
        aac_free(decider->classes[i].class_name);
    aac_free(decider->classes);
    aac_free(decider->roi);
    decider->classes = NULL;
    decider->class_count = decider->class_capacity = 0;
    decider->roi = NULL;
}

static aac_class_calibration *find_class(const aac_decider *decider, const char *class_name)
{
    for (size_t i = 0; i < decider->class_count; i++)
        if (strcmp(decider->classes[i].class_name, class_name) == 0)
            return &decider->classes[i];
    return NULL;
}

/* Of a class, its own or the general one; NULL: none. */
static const aaclip_calibration *calibration_of(const aac_decider *decider, const char *class_name)
{
    const aac_class_calibration *own = find_class(decider, class_name);
    if (own)
        return &own->calibration;
    return decider->calibrated ? &decider->calibration : NULL;
}

static void remove_class(aac_decider *decider, const char *class_name)
{
    aac_class_calibration *own = find_class(decider, class_name);
    if (!own)
        return;
    aac_free(own->class_name);
    *own = decider->classes[--decider->class_count];
}

static aaclip_status add_class(aac_decider *decider, const char *class_name,
                               const aaclip_calibration *calibration)
{
    aac_class_calibration *grown = aac_grow(decider->classes, &decider->class_capacity,
                                            decider->class_count + 1, sizeof *grown);
    if (!grown)
        return aac_error_memory();
    decider->classes = grown;
    char *name = aac_strdup(class_name);
    if (!name)
        return aac_error_memory();
    grown[decider->class_count++] = (aac_class_calibration){name, *calibration};
    return AACLIP_OK;
}

aaclip_status aac_decider_set_calibration(aac_decider *decider, const char *class_name,
                                          const aaclip_calibration *calibration)
{
    if (!class_name) {
        decider->calibrated = calibration != NULL;
        if (calibration)
            decider->calibration = *calibration;
        return AACLIP_OK;
    }
    if (!calibration) {
        remove_class(decider, class_name);
        return AACLIP_OK;
    }
    aac_class_calibration *own = find_class(decider, class_name);
    if (!own)
        return add_class(decider, class_name, calibration);
    own->calibration = *calibration;
    return AACLIP_OK;
}

static bool has_pixel(const uint8_t *roi, size_t pixels)
{
    size_t i = 0;
    while (i < pixels && !roi[i])
        i++;
    return i < pixels;
}

aaclip_status aac_decider_set_roi(aac_decider *decider, const uint8_t *roi, uint32_t width,
                                  uint32_t height)
{
    uint8_t *copy = NULL;
    if (roi) {
        const size_t pixels = (size_t)width * height;
        aaclip_status status = aac_size_check(width, height);
        if (status)
            return aac_error_prefix(status, "aaclip_detector_set_roi");
        if (!has_pixel(roi, pixels))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "aaclip_detector_set_roi: no pixel selected in %ux%u", width, height);
        copy = aac_alloc(pixels);
        if (!copy)
            return aac_error_memory();
        memcpy(copy, roi, pixels);
    }
    aac_free(decider->roi);
    decider->roi = copy;
    decider->roi_width = width;
    decider->roi_height = height;
    return AACLIP_OK;
}

/* The maps at the size of the photograph. */
typedef struct photo_maps {
    uint32_t width, height;
    float *probability;
    uint8_t *roi; /* NULL: everywhere */
} photo_maps;

static aaclip_status stretch(const aac_decider *decider, const aaclip_result *result,
                             photo_maps *photo)
{
    const size_t pixels = (size_t)photo->width * photo->height;
    const aaclip_image_view roi = {decider->roi, decider->roi_width, decider->roi_height, 0,
                                   AACLIP_PIXEL_GRAY8};
    photo->probability = aac_alloc_array(pixels, sizeof *photo->probability);
    photo->roi = decider->roi ? aac_alloc(pixels) : NULL;
    if (!photo->probability || (decider->roi && !photo->roi))
        return aac_error_memory();
    aaclip_status status = aaclip_map_resize(result->map, result->map_width, result->map_height,
                                             photo->width, photo->height, photo->probability);
    if (!status && decider->roi)
        status = aac_resize_mask(&roi, photo->width, photo->height, photo->roi);
    if (!status)
        aaclip_map_probability(photo->probability, pixels, result->level_count, photo->probability);
    return status;
}

aaclip_status aac_decider_check_class(const aac_decider *decider, const aaclip_text_cache *cache,
                                      const char *class_name)
{
    const aaclip_calibration *calibration = calibration_of(decider, class_name);
    return calibration ? aac_calibration_check_class(calibration, cache, class_name) : AACLIP_OK;
}

aaclip_status aac_decider_run(const aac_decider *decider, const char *class_name, uint32_t width,
                              uint32_t height, aaclip_result *result, aaclip_region **regions)
{
    photo_maps photo = {.width = width, .height = height};
    const aaclip_calibration *calibration = calibration_of(decider, class_name);
    aaclip_status status = AACLIP_OK;
    *regions = NULL;
    if (!calibration)
        return AACLIP_OK;
    if (decider->roi || decider->find_regions || calibration->decide_by != AACLIP_DECIDE_BY_SCORE)
        status = stretch(decider, result, &photo);
    if (!status)
        status = aaclip_decide(calibration, result->score, photo.probability, photo.roi, width,
                               height, &result->defective);
    if (!status && decider->find_regions)
        status = aaclip_regions_find(regions, &result->region_count, photo.probability, photo.roi,
                                     width, height, calibration->map_threshold, decider->min_area);
    result->decided = !status;
    result->regions = *regions;
    aac_free(photo.probability);
    aac_free(photo.roi);
    return status;
}
