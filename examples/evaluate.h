/* What the parts of aaclip-evaluate share: rows of images, the store of finished ones, pictures. */
#ifndef EXAMPLES_EVALUATE_H
#define EXAMPLES_EVALUATE_H

#include <stdint.h>

#include <jansson.h>

#include "common.h"

#define PROGRAM "aaclip-evaluate"

/* What a detector gave for one image, without its map. */
typedef struct image_scores {
    float score, map_least, map_largest;
    uint32_t levels;
} image_scores;

typedef struct image_row {
    const aaclip_sample *sample;
    uint64_t id; /* of image, checkpoint and settings together */
    bool done, reused;
    image_scores scores;
    float dataset_score;
    char *failure; /* NULL, or why this image does not count */
} image_row;

/* One checkpoint's results over the data set. */
typedef struct evaluation {
    char *name;
    string_list files;
    aaclip_metrics *metrics; /* open while the checkpoint is evaluated */
    image_row *rows;
    size_t count, computed, reused, failed;
    double seconds;
    string_list classes;          /* as the metrics count them */
    aaclip_metric_values *values; /* of the classes, and last their mean */
} evaluation;

/* FNV-1a, 64 bits. */
#define HASH_START 14695981039346656037u
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size);
uint64_t hash_text(uint64_t hash, const char *text);

char *format_text(const char *format, ...) AACLIP_PRINTF(1, 2);
/* Like mkdir -p, with a message on failure. */
bool make_folders(const char *path);
bool make_folder_of(const char *path); /* the folder that a file is to be in */
/* FOLDER/CLASS/[DEFECT-]STEM-NUMBER.ENDING, made of characters that any file system takes. */
char *image_file(const char *folder, const aaclip_sample *sample, uint64_t number,
                 const char *ending);

/*
 * Finished images below a folder: scores.jsonl, one line each, appended when the image's map stands
 * whole in cache/. A cut last line does not count and is overwritten.
 */
typedef struct stored_line {
    uint64_t id;
    image_scores scores;
} stored_line;

typedef struct result_store {
    char *cache, *path; /* folder of maps; scores.jsonl */
    FILE *log;
    stored_line *lines; /* in order of id */
    size_t count;
} result_store;

bool store_open(result_store *store, const char *folder);
void store_close(result_store *store);
bool store_find(const result_store *store, uint64_t id, image_scores *scores);
/* Reads side * side floats; false where the file is missing or not what was written. */
bool store_read_map(const result_store *store, const image_row *row, uint32_t side, float *map);
/* `map` may be NULL: then scores alone are kept. False with a message. */
bool store_add(result_store *store, const image_row *row, const float *map, uint32_t side);

/* An image with its map (side x side) and what is known of its truth (NULL: no mask). */
typedef struct picture {
    aaclip_image_view photo;
    const uint8_t *truth;
    const float *map; /* may be NULL */
    uint32_t side, levels;
    int label;
} picture;

/* Reads a mask into side x side bytes, 0 or 1, as Pillow's convert("L") and NEAREST do. */
aaclip_status read_truth(const char *path, uint32_t side, uint8_t *truth);
/* Writes photo, mask and heat map side by side, each at most `most` pixels wide and high. */
aaclip_status write_panels(const char *path, const picture *panels, uint32_t most);

/* How a checkpoint is run over the data set. */
typedef struct evaluation_plan {
    aaclip_detector *detector;
    result_store *store; /* NULL: nothing is kept */
    const uint64_t *class_keys;
    const char *pictures; /* folder; NULL: none are drawn */
    bool pixels;
    progress_bar *bar;
} evaluation_plan;

/* Reading, computing and writing overlap. False when it had to stop; failed images do not stop it.
 */
bool evaluate_images(evaluation *result, const evaluation_plan *plan);

/* Fills in dataset_score of all rows, as the metrics define it. */
void score_dataset(evaluation *result, aaclip_domain domain);

/* Columns of the table: percent, "n/a" for what is not available. */
enum { COLUMN_COUNT = 7 };
extern const char *const column_names[COLUMN_COUNT];
void column_texts(const aaclip_metric_values *values, char texts[COLUMN_COUNT][16]);
/* Name of a row of evaluation.values. */
const char *values_name(const evaluation *result, size_t index);

/* File names may hold any bytes: what is no UTF-8 becomes '?'. */
json_t *text_json(const char *text);
void print_table(const evaluation *result);
/* `settings` is given up; the results are added to it. */
bool write_results_json(const char *path, json_t *settings, const evaluation *results,
                        size_t count);
bool write_scores_csv(const char *path, const evaluation *results, size_t count);

#endif
