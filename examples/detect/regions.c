#include "regions.h"

#include <stdlib.h>
#include <string.h>

static aaclip_status open_calibration(region_setup *setup, const region_options *options,
                                      const aaclip_adapters *adapters)
{
    aaclip_status status = aaclip_calibration_init(&setup->calibration);
    if (options->calibration)
        status = aaclip_calibration_load(&setup->calibration, options->calibration);
    else if (adapters)
        status = aaclip_adapters_get_calibration(adapters, &setup->calibration);
    setup->calibrated = !status && (options->calibration || adapters);
    if (status == AACLIP_ERROR_NOT_FOUND && !options->calibration)
        status = AACLIP_OK;
    if (options->has_threshold)
        setup->calibration.map_threshold = (float)options->threshold;
    return status;
}

/* Nonzero where not black. */
static aaclip_status open_roi(region_setup *setup, const char *path)
{
    aaclip_image *image = NULL;
    aaclip_status status = aaclip_image_open(&image, path);
    if (status)
        return status;
    const aaclip_image_view view = aaclip_image_get_view(image);
    const uint8_t *rgb = view.pixels;
    size_t pixels = (size_t)view.width * view.height;
    setup->roi = malloc(pixels);
    setup->nowhere = true;
    for (size_t i = 0; setup->roi && i < pixels; i++) {
        setup->roi[i] = rgb[3 * i] || rgb[3 * i + 1] || rgb[3 * i + 2];
        setup->nowhere &= !setup->roi[i];
    }
    setup->roi_path = path;
    setup->roi_width = view.width;
    setup->roi_height = view.height;
    aaclip_image_close(&image);
    return setup->roi ? AACLIP_OK : AACLIP_ERROR_OUT_OF_MEMORY;
}

aaclip_status region_setup_open(region_setup *setup, const region_options *options,
                                const aaclip_adapters *adapters)
{
    setup->min_area = options->min_area;
    aaclip_status status = open_calibration(setup, options, adapters);
    return status || !options->roi ? status : open_roi(setup, options->roi);
}

bool region_setup_belongs(region_setup *setup, const char *class_name, const char *vectors,
                          const char *program)
{
    char *own = setup->calibration.class_name;
    bool belongs = !*own || strcmp(own, class_name) == 0 ||
                   !complain(program, "thresholds are for class '%s', not '%s'", own, class_name);
    if (*own)
        snprintf(own, sizeof setup->calibration.class_name, "%s",
                 strlen(vectors) < sizeof setup->calibration.class_name ? vectors : "");
    return belongs;
}

void region_setup_close(region_setup *setup)
{
    free(setup->roi);
    setup->roi = NULL;
}

void region_setup_options(const region_setup *setup, bool wanted, aaclip_detector_options *options)
{
    options->find_regions = wanted && !setup->nowhere;
    options->min_area = setup->min_area;
    options->calibration = setup->calibrated || options->find_regions ? &setup->calibration : NULL;
}

aaclip_status region_setup_look(const region_setup *setup, aaclip_detector *detector)
{
    const bool unused = setup->nowhere && !setup->calibrated;
    return aaclip_detector_set_roi(detector, unused ? NULL : setup->roi, setup->roi_width,
                                   setup->roi_height);
}

bool region_setup_fits(const region_setup *setup, const aaclip_image_view *photo,
                       const char *photo_path, const char *program)
{
    if (!setup->roi || (setup->roi_width == photo->width && setup->roi_height == photo->height))
        return true;
    return !complain(program, "%s: expected %ux%u pixels as %s has, found %ux%u", setup->roi_path,
                     photo->width, photo->height, photo_path, setup->roi_width, setup->roi_height);
}

aaclip_status region_report_keep(region_report *report, const aaclip_result *result)
{
    report->defective = result->defective;
    report->count = result->region_count;
    if (!report->count)
        return AACLIP_OK;
    report->regions = malloc(report->count * sizeof *report->regions);
    if (!report->regions)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    memcpy(report->regions, result->regions, report->count * sizeof *report->regions);
    return AACLIP_OK;
}

void region_report_clear(region_report *report)
{
    free(report->regions);
    *report = (region_report){0};
}

aaclip_status write_mask(const char *path, const region_setup *setup, const float *probability,
                         const aaclip_image_view *photo)
{
    uint8_t *mask = malloc((size_t)photo->width * photo->height);
    if (!mask)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    const aaclip_image_view view = {mask, photo->width, photo->height, 0, AACLIP_PIXEL_GRAY8};
    aaclip_status status =
        aaclip_map_threshold(probability, setup->roi, photo->width, photo->height,
                             setup->calibration.map_threshold, mask);
    if (!status)
        status = aaclip_write_png(path, &view);
    free(mask);
    return status;
}

static json_t *region_to_json(const aaclip_region *region)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:I, s:f, s:i, s:i, s:f}", "x", (int)region->x, "y",
                     (int)region->y, "width", (int)region->width, "height", (int)region->height,
                     "area", (json_int_t)region->area, "peak", (double)region->peak, "peak_x",
                     (int)region->peak_x, "peak_y", (int)region->peak_y, "mean",
                     (double)region->mean);
}

bool region_report_to_json(const region_report *report, const region_setup *setup, json_t *image)
{
    int failed = 0;
    json_t *regions = json_array();
    for (size_t i = 0; i < report->count; i++)
        failed |= json_array_append_new(regions, region_to_json(&report->regions[i]));
    if (setup->calibrated)
        failed |= json_object_set_new(image, "decision", json_boolean(report->defective));
    failed |= json_object_set_new(image, "regions", regions);
    return !failed;
}

bool region_setup_to_json(const region_setup *setup, json_t *root)
{
    const aaclip_calibration *calibration = &setup->calibration;
    int failed = 0;
    if (setup->calibrated) {
        failed |= json_object_set_new(root, "image_threshold",
                                      json_real((double)calibration->image_threshold));
        failed |= json_object_set_new(root, "decide_by",
                                      json_string(decide_by_names[calibration->decide_by]));
    }
    failed |=
        json_object_set_new(root, "map_threshold", json_real((double)calibration->map_threshold));
    return !failed;
}
