/* Everything that aaclip-evaluate opens, and how. */
#ifndef EXAMPLES_EVALUATE_SESSION_H
#define EXAMPLES_EVALUATE_SESSION_H

#include "evaluate.h"
#include "command_line.h"

typedef struct session {
    const command_line *arguments;
    aaclip_model *model;
    aaclip_dataset *dataset;
    aaclip_text_cache *cache;
    aaclip_domain domain;
    aaclip_config config;
    result_store store;
    aaclip_calibration *calibrations; /* of the classes, to decide by; NULL: none given */
    evaluation *results;
    char **sections; /* of the report */
    size_t count;
    uint32_t image_size;
    float tile_overlap; /* 0 without tiles */
    bool uncalibrated;  /* thresholds were requested, but could not be made */
    progress_bar bar;
} session;

/* Opens data set, model and store, and lists the checkpoints; false with a message. */
bool open_session(session *state);
void close_session(session *state);

/*
 * Text vectors of all classes, once for all checkpoints, which share the text adapters. Kept in the
 * output folder under the data set's name, which selects the phrases.
 */
bool open_cache(session *state, const aaclip_adapters *adapters);

/*
 * For each class a hash of everything but the image that affects an image's result. Free it; NULL
 * with a message on failure.
 */
uint64_t *class_keys(const session *state, const evaluation *result);

/* Whether thresholds can be made from the data set and written; false with a message. */
bool can_calibrate(const session *state);
/* Makes and writes the thresholds that the command line asks for. */
bool calibrate(const session *state, const evaluation *result, const aaclip_adapters *adapters,
               const aaclip_detector *detector);
/* Prints how good a class's thresholds are on its images, and warns about useless ones. */
void tell_of_thresholds(const session *state, const evaluation *result, size_t class_index,
                        const aaclip_calibration *chosen);

/* FOLDER/CLASS.json must be a file of that folder. */
bool names_a_file(const char *class_name);
/* Opens the calibration of every class; false with a message. */
bool open_calibrations(session *state);
/* Whether they were made with this detector. */
bool check_calibrations(const session *state, const aaclip_detector *detector);

#endif
