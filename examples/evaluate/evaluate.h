/* Shared by the parts of aaclip-evaluate: rows of images, the store of finished ones, pictures. */
#ifndef EXAMPLES_EVALUATE_H
#define EXAMPLES_EVALUATE_H

#include <stdint.h>

#include <jansson.h>

#include "common.h"

#define PROGRAM "aaclip-evaluate"

/* An anomaly map, or a mask with 1 where abnormal. Without tiles all maps have one size. */
typedef struct map_image {
    float *values;
    uint32_t width, height;
} map_image;

typedef struct mask_image {
    uint8_t *marks;
    uint32_t width, height;
} mask_image;

/* A detector's result for one image, without the map. */
typedef struct image_scores {
    float score, map_least, map_largest;
    uint32_t levels, width, height; /* the photograph's size */
} image_scores;

/* Map values of the first and the last colour. */
typedef struct map_scale {
    float least, largest;
} map_scale;

/* Decisions on images or pixels against their labels. */
typedef struct confusion {
    uint64_t true_positives, false_positives, true_negatives, false_negatives;
} confusion;

typedef struct image_row {
    const aaclip_sample *sample;
    uint64_t id; /* of image, checkpoint and settings together */
    bool done, reused;
    image_scores scores;
    float dataset_score;
    map_scale scale;  /* of its class */
    float peak;       /* of the map as a probability at the photograph's size, for thresholds */
    bool defective;   /* by the calibration */
    confusion pixels; /* by its map threshold; zeros where pixels are unknown */
    char *failure;    /* NULL, or why this image does not count */
} image_row;

/* Decisions with a calibration over a class, or over all. */
enum { RATE_COUNT = 4 };
typedef struct class_decisions {
    const aaclip_calibration *thresholds; /* NULL: of all */
    confusion images, pixels;
    double rates[RATE_COUNT]; /* sensitivity, specificity, pixel Dice, pixel IoU; may be NaN */
} class_decisions;

/* One checkpoint's results over the data set. */
typedef struct evaluation {
    char *name;
    string_list files;
    aaclip_metrics *metrics; /* open while the checkpoint is evaluated */
    image_row *rows;
    size_t count, computed, reused, failed;
    double seconds;
    string_list classes;          /* as the metrics count them */
    aaclip_metric_values *values; /* of the classes, then their mean */
    class_decisions *decisions;   /* likewise; NULL without --calibration */
    char *pictures;               /* folder of pictures within --out; NULL: none */
} evaluation;

/* FNV-1a, 64 bits. */
#define HASH_START 14695981039346656037u
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size);
uint64_t hash_text(uint64_t hash, const char *text);

char *format_text(const char *format, ...) AACLIP_PRINTF(1, 2);
/* Like mkdir -p, with a message on failure. */
bool make_folder_of(const char *path); /* the folder that the file will be in */
/* Reports the library's last error unless the status is AACLIP_OK. */
bool failed(aaclip_status status);
/* FOLDER/CLASS/[DEFECT-]STEM-NUMBER.ENDING, of characters that any file system accepts. */
char *image_file(const char *folder, const aaclip_sample *sample, uint64_t number,
                 const char *ending);

/*
 * Finished images below a folder: scores.jsonl, one line each, appended once the image's map is
 * complete in cache/. A truncated last line does not count and is overwritten.
 */
typedef struct stored_line {
    uint64_t id;
    image_scores scores;
} stored_line;

typedef struct result_store {
    char *cache, *path;  /* folder of maps; scores.jsonl */
    value_window window; /* that photos are opened with */
    FILE *log;
    stored_line *lines; /* in order of id */
    size_t count;
} result_store;

bool store_open(result_store *store, const char *folder, const value_window *window);
void store_close(result_store *store);
bool store_find(const result_store *store, uint64_t id, image_scores *scores);
/* Reads the map into new memory; false if the file is missing or not as written. */
bool store_read_map(const result_store *store, const image_row *row, map_image *map);
/* `map` may be NULL: only scores are kept. False with a message. */
bool store_add(result_store *store, const image_row *row, const map_image *map);

/* Reads a mask at its own size: abnormal where Pillow's convert("L") does not give black. */
aaclip_status mask_open(mask_image *mask, const char *path);
/* Pillow's NEAREST. */
bool mask_resize(const mask_image *mask, uint8_t *resized, uint32_t width, uint32_t height);
/*
 * Writes photo, mask and heat map side by side, each at most `most` pixels wide and high, and the
 * scale of colours with the largest value at the top. The map comes from the store; without one,
 * and for an unknown mask, the panel is grey.
 */
aaclip_status write_panels(const char *path, const image_row *row, const result_store *store,
                           uint32_t most);
/* FOLDER/CLASS/NAME.png of an image. */
char *picture_file(const char *folder, const aaclip_sample *sample);
/* Writes panels of all images to `pictures` in `out`, after score_dataset has set the scales. False
 * with a message. */
bool draw_pictures(const evaluation *result, const result_store *store, const char *out,
                   progress_bar *bar);

/* How a checkpoint is run over the data set. */
typedef struct evaluation_plan {
    aaclip_detector *detector;
    result_store *store; /* NULL: nothing is stored */
    const uint64_t *class_keys;
    const aaclip_calibration *calibrations; /* of the classes, to decide by; NULL: no decision */
    bool pixels, peaks, pictures;           /* what is wanted of the maps */
    value_window window;                    /* that photos are opened with */
    progress_bar *bar;
} evaluation_plan;

/* Reading, computing and writing overlap. False if it had to stop; failed images do not stop it.
 */
bool evaluate_images(evaluation *result, const evaluation_plan *plan);

/*
 * Fills in dataset_score of all rows, as the metrics define it, and their scale: from the smallest
 * value of the class to the largest as in the published evaluation, but at least up to "undecided",
 * so that good parts alone stay blue.
 */
void score_dataset(evaluation *result, aaclip_domain domain);

/* Whether an image with a known peak is defective. */
aaclip_status decide_image(image_row *row, const aaclip_calibration *calibration);
/* Counts pixels that the map threshold calls abnormal against `truth`, of the map's size or
 * NULL. */
aaclip_status decide_pixels(image_row *row, const map_image *map, const uint8_t *truth,
                            const aaclip_calibration *calibration);
/* Makes result->decisions from the rows. False with a message. */
bool sum_decisions(evaluation *result, const aaclip_calibration *calibrations);

/* Columns of the table: percent, "n/a" if not available. */
enum { COLUMN_COUNT = 7, COLUMN_SIZE = 24 };
extern const char *const column_names[COLUMN_COUNT];
void column_texts(const aaclip_metric_values *values, char texts[COLUMN_COUNT][COLUMN_SIZE]);
void percent_text(double share, char text[COLUMN_SIZE]);
/* Those of the table of decisions: counts of images, then rates. */
enum { DECISION_COUNT = 4 + RATE_COUNT };
extern const char *const decision_names[DECISION_COUNT];
void decision_texts(const class_decisions *decisions, char texts[DECISION_COUNT][COLUMN_SIZE]);
/* Name of a row of evaluation.values. */
const char *values_name(const evaluation *result, size_t index);

void print_table(const evaluation *result);
/* By the calibration at `path`. */
void print_decisions(const evaluation *result, const char *path);
/* Takes ownership of `settings`; the results are added to it. */
bool write_results_json(const char *path, json_t *settings, const evaluation *results,
                        size_t count);
bool write_scores_csv(const char *path, const evaluation *results, size_t count);

#endif
