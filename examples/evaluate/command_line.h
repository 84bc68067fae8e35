/* The command line of aaclip-evaluate. */
#ifndef EXAMPLES_EVALUATE_COMMAND_LINE_H
#define EXAMPLES_EVALUATE_COMMAND_LINE_H

#include "common.h"
#include "options.h"

typedef struct command_line {
    const char *model, *vocabulary, *prompts, *phrase, *backend, *packed, *dataset, *data_root,
        *manifest;
    const char *checkpoints, *layout, *split, *out, *json, *csv, *calibrate, *calibration,
        *save_adapters, *decide_by;
    string_list adapters, classes;
    bool has_profile, has_domain, outside_paths, pictures, no_pixels, histogram, verbose;
    bool has_tile_overlap, has_rate, f1;
    aaclip_profile profile;
    aaclip_domain domain;
    aaclip_precision precision;
    unsigned image_size, threads, tile;
    double tile_overlap, false_alarm_rate;
    value_window window;
} command_line;

/* `arguments` holds the defaults; free its lists with list_clear. */
parse_result parse_command_line(command_line *arguments, int argc, char **argv);

bool wants_calibration(const command_line *arguments);
/* Output to stdout must be the only one. */
bool table_is_shown(const command_line *arguments);

#endif
