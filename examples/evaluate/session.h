/* Everything that aaclip-evaluate has open, and how it is opened. */
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
    aaclip_calibration *calibrations; /* of the classes, to decide by; NULL: none was given */
    evaluation *results;
    char **sections; /* of the report */
    size_t count;
    uint32_t image_size;
    float tile_overlap; /* 0 without tiles */
    bool uncalibrated;  /* thresholds were asked for, but could not be made */
    progress_bar bar;
} session;

/* Opens data set, model and store, and lists the checkpoints; false with a message. */
bool open_session(session *state);
void close_session(session *state);

/*
 * Text vectors of all classes, once for all checkpoints: they have the text adapters in common.
 * Kept in the output folder under the data set's name, which chooses the phrases.
 */
bool open_cache(session *state, const aaclip_adapters *adapters);

/*
 * For each class a number that stands for everything but the image that decides what an image
 * gives. Free it; NULL with a message on failure.
 */
uint64_t *class_keys(const session *state, const evaluation *result);

/* Whether thresholds can be made of the data set, and written; false with a message. */
bool can_calibrate(const session *state);
/* Makes and writes the thresholds that the command line asks for. */
bool calibrate(const session *state, const evaluation *result, const aaclip_adapters *adapters,
               const aaclip_detector *detector);
/* Prints how good thresholds of a class are on its images, and warns of useless ones. */
void tell_of_thresholds(const session *state, const evaluation *result, size_t class_index,
                        const aaclip_calibration *chosen);

/* Opens the calibration of every class; false with a message. */
bool open_calibrations(session *state);
/* Whether they were made for this detector. */
bool check_calibrations(const session *state, const aaclip_detector *detector);

#endif
