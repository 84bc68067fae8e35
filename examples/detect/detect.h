/* Shared by the files of aaclip-detect. */
#ifndef EXAMPLES_DETECT_H
#define EXAMPLES_DETECT_H

#include "regions.h"
#include "options.h"

#define PROGRAM "aaclip-detect"

typedef struct command_line {
    const char *model, *vocabulary, *prompts, *class_name, *dataset, *phrase, *backend, *packed;
    const char *out, *json, *csv, *text_cache;
    string_list adapters, images;
    string_list names; /* with `out`: of the pictures of each image */
    bool has_profile, has_domain, has_overlap, raw, mask, verbose;
    aaclip_profile profile;
    aaclip_domain domain;
    aaclip_precision precision;
    unsigned image_size, tile, threads;
    double tile_overlap;
    value_window window;
    region_options regions;
} command_line;

/* Everything that is open. */
typedef struct detection {
    aaclip_model *model;
    aaclip_adapters *adapters;
    aaclip_text_cache *cache;
    aaclip_detector *detector;
    region_setup regions;
    progress_bar bar;
    char class_name[256];
    char vectors[1024]; /* their name in the cache */
} detection;

/* The report on one image. */
typedef struct report_row {
    bool done;
    float score, map_maximum;
    uint32_t width, height;
    region_report found;
} report_row;

/* The images' file names without folder and extension; equal ones are numbered. */
bool name_pictures(const string_list *images, string_list *names);

/* Overlay, mask and map of image `index`, as the command line asks for. */
aaclip_status write_pictures(const command_line *arguments, const region_setup *regions,
                             size_t index, const aaclip_image_view *photo,
                             const aaclip_result *result);

/* Adds the names of these files in the folder to an image's object; false when out of memory. */
bool pictures_to_json(const command_line *arguments, size_t index, json_t *image);

/* The table on stdout, JSON and CSV: a row for each image. */
bool write_report(const command_line *arguments, const detection *session, const report_row *rows);

#endif
