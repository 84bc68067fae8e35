#include "metric_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARTS 4

static aaclip_metrics *open_empty(const json_t *description)
{
    aaclip_metrics_options options;
    aaclip_metrics_options_init(&options);
    const char *mode = json_string_value(json_object_get(description, "mode"));
    const char *domain = json_string_value(json_object_get(description, "domain"));
    if (mode && strcmp(mode, "histogram") == 0)
        options.mode = AACLIP_METRICS_HISTOGRAM;
    if (domain && strcmp(domain, "medical") == 0)
        options.domain = AACLIP_DOMAIN_MEDICAL;
    if (json_object_get(description, "bins"))
        options.bins = (uint32_t)json_integer_value(json_object_get(description, "bins"));
    aaclip_metrics *metrics;
    return aaclip_metrics_new(&metrics, &options) ? NULL : metrics;
}

static float *read_map(const json_t *list)
{
    float *map = malloc((json_array_size(list) + 1) * sizeof *map);
    for (size_t i = 0; i < json_array_size(list); i++)
        map[i] = (float)json_number_value(json_array_get(list, i));
    return map;
}

static uint8_t *read_mask(const json_t *list)
{
    uint8_t *mask = malloc(json_array_size(list) + 1);
    for (size_t i = 0; i < json_array_size(list); i++)
        mask[i] = (uint8_t)json_integer_value(json_array_get(list, i));
    return mask;
}

static aaclip_status add_image(aaclip_metrics *metrics, const json_t *image)
{
    const json_t *map_list = json_object_get(image, "map");
    const json_t *mask_list = json_object_get(image, "mask");
    float *map = json_is_array(map_list) ? read_map(map_list) : NULL;
    uint8_t *mask = json_is_array(mask_list) ? read_mask(mask_list) : NULL;
    aaclip_status status =
        aaclip_metrics_add(metrics, json_string_value(json_object_get(image, "class")), map, mask,
                           (uint32_t)json_integer_value(json_object_get(image, "width")),
                           (uint32_t)json_integer_value(json_object_get(image, "height")),
                           (float)json_number_value(json_object_get(image, "score")),
                           (int)json_integer_value(json_object_get(image, "label")));
    free(map);
    free(mask);
    return status;
}

static aaclip_status add_all(aaclip_metrics **parts, size_t count, const json_t *images)
{
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < json_array_size(images); i++)
        status = add_image(parts[i % count], json_array_get(images, i));
    for (size_t i = 1; !status && i < count; i++)
        status = aaclip_metrics_merge(parts[0], &parts[i]);
    return status;
}

aaclip_metrics *metric_case_open(const json_t *description)
{
    aaclip_metrics *parts[MAX_PARTS] = {NULL};
    const json_int_t wanted = json_integer_value(json_object_get(description, "parts"));
    const size_t count = wanted > 1 && wanted <= MAX_PARTS ? (size_t)wanted : 1;
    for (size_t i = 0; i < count; i++)
        parts[i] = open_empty(description);
    if (add_all(parts, count, json_object_get(description, "images"))) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        for (size_t i = 0; i < count; i++)
            aaclip_metrics_close(&parts[i]);
    }
    return parts[0];
}

static void put_number(json_t *values, const char *name, double value)
{
    json_object_set_new(values, name, isnan(value) ? json_null() : json_real(value));
}

static void put_count(json_t *values, const char *name, uint64_t value)
{
    json_object_set_new(values, name, json_integer((json_int_t)value));
}

json_t *metric_case_values(const aaclip_metric_values *values)
{
    json_t *object = json_object();
    put_number(object, "pixel_auroc", values->pixel_auroc);
    put_number(object, "pixel_ap", values->pixel_ap);
    put_number(object, "pixel_f1_max", values->pixel_f1_max);
    put_number(object, "pixel_f1_threshold", values->pixel_f1_threshold);
    put_number(object, "aupro_30", values->aupro_30);
    put_number(object, "aupro_05", values->aupro_05);
    put_number(object, "image_auroc", values->image_auroc);
    put_number(object, "image_ap", values->image_ap);
    put_number(object, "image_f1_max", values->image_f1_max);
    put_number(object, "image_f1_threshold", values->image_f1_threshold);
    put_number(object, "dataset_auroc", values->dataset_auroc);
    put_number(object, "dataset_ap", values->dataset_ap);
    put_number(object, "dataset_f1_max", values->dataset_f1_max);
    put_number(object, "dataset_f1_threshold", values->dataset_f1_threshold);
    put_number(object, "pixel_auroc_error", values->pixel_auroc_error);
    put_number(object, "pixel_ap_error", values->pixel_ap_error);
    put_number(object, "pixel_f1_max_error", values->pixel_f1_max_error);
    put_number(object, "aupro_30_error", values->aupro_30_error);
    put_number(object, "aupro_05_error", values->aupro_05_error);
    put_count(object, "images", values->images);
    put_count(object, "normal_images", values->normal_images);
    put_count(object, "abnormal_images", values->abnormal_images);
    put_count(object, "normal_pixels", values->normal_pixels);
    put_count(object, "abnormal_pixels", values->abnormal_pixels);
    put_count(object, "regions", values->regions);
    return object;
}
