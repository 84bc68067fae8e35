/* Any bytes as the JSON of a calibration or configuration: what is read can be written and read
 * back. */
#include <stdlib.h>
#include <string.h>

#include <aaclip/aaclip.h>

#include "core/config.h"
#include "core/memory.h"
#include "fuzz.h"
#include "scratch.h"

static void check_status(aaclip_status status)
{
    if (status && !*aaclip_last_error())
        abort();
}

static bool equal(const aaclip_calibration *a, const aaclip_calibration *b)
{
    return memcmp(&a->image_threshold, &b->image_threshold, sizeof(float)) == 0 &&
           memcmp(&a->map_threshold, &b->map_threshold, sizeof(float)) == 0 &&
           memcmp(&a->false_alarm_rate, &b->false_alarm_rate, sizeof(double)) == 0 &&
           memcmp(&a->tile_overlap, &b->tile_overlap, sizeof(float)) == 0 &&
           a->method == b->method && a->images == b->images && a->decide_by == b->decide_by &&
           a->image_size == b->image_size && a->tile == b->tile && a->domain == b->domain &&
           a->model_fingerprint == b->model_fingerprint &&
           a->adapters_fingerprint == b->adapters_fingerprint &&
           a->class_fingerprint == b->class_fingerprint &&
           memcmp(&a->window_low, &b->window_low, sizeof(double)) == 0 &&
           memcmp(&a->window_high, &b->window_high, sizeof(double)) == 0 &&
           strcmp(a->class_name, b->class_name) == 0;
}

static void read_calibration(const uint8_t *data, size_t size)
{
    aaclip_calibration read, again;
    aaclip_calibration_init(&read);
    aaclip_calibration_init(&again);
    char *path = fuzz_write("calibration.json", data, size);
    aaclip_status status = aaclip_calibration_load(&read, path);
    check_status(status);
    if (!status && (aaclip_calibration_save(&read, path) || aaclip_calibration_load(&again, path) ||
                    !equal(&read, &again)))
        abort();
    aac_free(path);
}

static void read_config(const uint8_t *data, size_t size)
{
    aaclip_config read = {.size = sizeof read}, again = {.size = sizeof again};
    char *text = malloc(size + 1);
    if (!text)
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    aaclip_status status = aac_config_from_json(&read, text, "input");
    check_status(status);
    free(text);
    if (status)
        return;
    text = aac_config_to_json(&read);
    if (!text || aac_config_from_json(&again, text, "again") ||
        aac_config_difference(&read, &again) || read.level_count != again.level_count)
        abort();
    aac_free(text);
    check_status(aac_config_resolve(&read, 24, 12));
}

/* Input: 'c' for a calibration, else a configuration; then the JSON. */
void fuzz_one(const uint8_t *data, size_t size)
{
    if (size && *data == 'c')
        read_calibration(data + 1, size - 1);
    else if (size)
        read_config(data + 1, size - 1);
}
