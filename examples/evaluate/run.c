/* Three threads pass images on in order: one reads, the caller computes, one writes and counts. */
#include "evaluate.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct job {
    image_row *row;
    aaclip_image *photo;
    mask_image truth; /* without marks when there is no mask */
    map_image map;
} job;

enum { QUEUE_ROOM = 3 };

typedef struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    job *jobs[QUEUE_ROOM];
    size_t count;
    bool closed;
} queue;

typedef struct pipeline {
    const evaluation_plan *plan;
    evaluation *result;
    queue read, computed;
    bool broken; /* of the writing thread, until it is joined */
} pipeline;

static void queue_start(queue *waiting)
{
    *waiting = (queue){0};
    pthread_mutex_init(&waiting->mutex, NULL);
    pthread_cond_init(&waiting->changed, NULL);
}

static void queue_end(queue *waiting)
{
    pthread_cond_destroy(&waiting->changed);
    pthread_mutex_destroy(&waiting->mutex);
}

static void queue_close(queue *waiting)
{
    pthread_mutex_lock(&waiting->mutex);
    waiting->closed = true;
    pthread_cond_broadcast(&waiting->changed);
    pthread_mutex_unlock(&waiting->mutex);
}

/* Waits for room. False if the queue is closed: the caller keeps the job. */
static bool queue_put(queue *waiting, job *item)
{
    pthread_mutex_lock(&waiting->mutex);
    while (waiting->count == QUEUE_ROOM && !waiting->closed)
        pthread_cond_wait(&waiting->changed, &waiting->mutex);
    bool taken = !waiting->closed;
    if (taken)
        waiting->jobs[waiting->count++] = item;
    pthread_cond_broadcast(&waiting->changed);
    pthread_mutex_unlock(&waiting->mutex);
    return taken;
}

/* The oldest job; NULL when the queue is closed and empty. */
static job *queue_take(queue *waiting)
{
    pthread_mutex_lock(&waiting->mutex);
    while (!waiting->count && !waiting->closed)
        pthread_cond_wait(&waiting->changed, &waiting->mutex);
    job *first = waiting->count ? waiting->jobs[0] : NULL;
    if (first)
        memmove(waiting->jobs, waiting->jobs + 1, --waiting->count * sizeof *waiting->jobs);
    pthread_cond_broadcast(&waiting->changed);
    pthread_mutex_unlock(&waiting->mutex);
    return first;
}

static void free_job(job *item)
{
    if (!item)
        return;
    aaclip_image_close(&item->photo);
    free(item->truth.marks);
    free(item->map.values);
    free(item);
}

static void fail_with(image_row *row, const char *text)
{
    const char *path = row->sample->image_path;
    if (!row->failure)
        row->failure = strstr(text, path) ? strdup(text) : format_text("%s: %s", path, text);
}

/* The library's error text belongs to the calling thread, until its next call. */
static void fail(image_row *row, aaclip_status status)
{
    if (status)
        fail_with(row,
                  status == AACLIP_ERROR_OUT_OF_MEMORY ? "out of memory" : aaclip_last_error());
}

/* A changed image counts as another one. */
static uint64_t image_id(const pipeline *work, const aaclip_sample *sample)
{
    struct stat info = {0};
    uint64_t id = work->plan->class_keys[sample->class_index];
    id = hash_text(id, sample->image_path);
    if (stat(sample->image_path, &info) == 0) {
        const int64_t state[] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
        id = hash_bytes(id, state, sizeof state);
    }
    return id;
}

/*
 * A mask may be smaller or larger than its photograph, but not of another aspect ratio: such a mask
 * is of something else, or the photograph was rotated after it was drawn.
 */
static void check_proportions(image_row *row, const mask_image *mask)
{
    const double least_share = 0.98;
    const double across = (double)mask->width * row->scores.height;
    const double along = (double)mask->height * row->scores.width;
    if (fmin(across, along) >= least_share * fmax(across, along))
        return;
    char *text = format_text("%s: expected the proportions of %s, %ux%u, found %ux%u",
                             row->sample->mask_path, row->sample->image_path, row->scores.width,
                             row->scores.height, mask->width, mask->height);
    fail_with(row, text ? text : "out of memory");
    free(text);
}

static void check_mask(const aaclip_sample *sample, const mask_image *mask)
{
    const size_t pixels = (size_t)mask->width * mask->height;
    if (sample->label == 1 && !memchr(mask->marks, 1, pixels))
        print_warning("%s: expected a defect, found none in %ux%u pixels", sample->mask_path,
                      mask->width, mask->height);
    if (sample->label == 1 && !memchr(mask->marks, 0, pixels))
        print_warning("%s: expected a defect, found all %ux%u pixels marked; alpha is ignored",
                      sample->mask_path, mask->width, mask->height);
}

static void read_photo(const pipeline *work, job *item)
{
    fail(item->row, open_photo(&item->photo, item->row->sample->image_path, &work->plan->window));
    const aaclip_image_view view = aaclip_image_get_view(item->photo);
    item->row->scores.width = view.width;
    item->row->scores.height = view.height;
}

static bool wants_maps(const evaluation_plan *plan)
{
    return plan->pixels || plan->peaks || plan->pictures;
}

static void read_job(const pipeline *work, job *item)
{
    const evaluation_plan *plan = work->plan;
    image_row *row = item->row;
    row->id = image_id(work, row->sample);
    row->reused = plan->store && store_find(plan->store, row->id, &row->scores) &&
                  (!wants_maps(plan) || store_read_map(plan->store, row, &item->map));
    if (!row->reused)
        read_photo(work, item);
    if (row->failure || !row->sample->mask_path)
        return;
    fail(row, mask_open(&item->truth, row->sample->mask_path));
    if (!row->failure)
        check_proportions(row, &item->truth);
    if (!row->failure)
        check_mask(row->sample, &item->truth);
}

static void *read_all(void *user)
{
    pipeline *work = user;
    for (size_t i = 0; i < work->result->count; i++) {
        job *item = calloc(1, sizeof *item);
        if (item) {
            item->row = &work->result->rows[i];
            read_job(work, item);
        }
        if (!item || !queue_put(&work->read, item)) {
            free_job(item);
            break;
        }
    }
    queue_close(&work->read);
    return NULL;
}

static void compute(const pipeline *work, job *item)
{
    image_row *row = item->row;
    aaclip_result found = {.size = sizeof found};
    const aaclip_image_view view = aaclip_image_get_view(item->photo);
    aaclip_status status =
        aaclip_detector_detect(work->plan->detector, &view, row->sample->class_name, &found);
    fail(row, status);
    if (status)
        return;
    const size_t pixels = (size_t)found.map_width * found.map_height;
    item->map = (map_image){malloc(pixels * sizeof *found.map), found.map_width, found.map_height};
    if (!item->map.values) {
        fail(row, AACLIP_ERROR_OUT_OF_MEMORY);
        return;
    }
    memcpy(item->map.values, found.map, pixels * sizeof *found.map);
    image_scores *scores = &row->scores;
    scores->score = found.score;
    scores->levels = found.level_count;
    scores->map_least = scores->map_largest = found.map[0];
    for (size_t i = 0; i < pixels; i++) {
        scores->map_least = fminf(scores->map_least, found.map[i]);
        scores->map_largest = fmaxf(scores->map_largest, found.map[i]);
    }
}

/* As in aaclip-detect, so that a threshold means the same there. */
static aaclip_status find_peak(const job *item)
{
    const image_scores *scores = &item->row->scores;
    const map_image *map = &item->map;
    const size_t pixels = (size_t)scores->width * scores->height;
    float *probability = malloc(pixels * sizeof *probability);
    if (!probability)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    aaclip_status status = aaclip_map_resize(map->values, map->width, map->height, scores->width,
                                             scores->height, probability);
    if (!status) {
        aaclip_map_probability(probability, pixels, scores->levels, probability);
        status =
            aaclip_map_peak(probability, NULL, scores->width, scores->height, &item->row->peak);
    }
    free(probability);
    return status;
}

/* Without pixels, the data-set score needs only the range of the map. */
static aaclip_status count_scores(const pipeline *work, const image_row *row)
{
    const float range[] = {row->scores.map_least, row->scores.map_largest};
    return aaclip_metrics_add(work->result->metrics, row->sample->class_name, range, NULL, 2, 1,
                              row->scores.score, row->sample->label);
}

/* The mask at the map's size; NULL without one, or on failure. */
static uint8_t *fit_truth(const job *item)
{
    if (!item->truth.marks)
        return NULL;
    const map_image *map = &item->map;
    uint8_t *truth = malloc((size_t)map->width * map->height);
    if (truth && mask_resize(&item->truth, truth, map->width, map->height))
        return truth;
    free(truth);
    fail(item->row, AACLIP_ERROR_OUT_OF_MEMORY);
    return NULL;
}

static aaclip_status count_pixels(const pipeline *work, const job *item, const uint8_t *truth)
{
    const image_row *row = item->row;
    return aaclip_metrics_add(work->result->metrics, row->sample->class_name, item->map.values,
                              truth, item->map.width, item->map.height, row->scores.score,
                              row->sample->label);
}

static aaclip_status decide(const evaluation_plan *plan, const job *item, const uint8_t *truth)
{
    image_row *row = item->row;
    const aaclip_calibration *calibration = &plan->calibrations[row->sample->class_index];
    aaclip_status status = decide_image(row, calibration);
    if (!status && plan->pixels)
        status = decide_pixels(row, &item->map, truth, calibration);
    return status;
}

/* A result that cannot be kept or counted for lack of space stops everything. */
static void write_job(pipeline *work, const job *item)
{
    image_row *row = item->row;
    const evaluation_plan *plan = work->plan;
    if (!row->failure && plan->peaks)
        fail(row, find_peak(item));
    uint8_t *truth = !row->failure && plan->pixels ? fit_truth(item) : NULL;
    if (!row->failure && plan->calibrations)
        fail(row, decide(plan, item, truth));
    if (row->failure) {
        free(truth);
        return;
    }
    aaclip_status status = plan->pixels ? count_pixels(work, item, truth) : count_scores(work, row);
    free(truth);
    work->broken = status == AACLIP_ERROR_OUT_OF_MEMORY;
    if (work->broken)
        complain(PROGRAM, "%s; --histogram needs less memory", aaclip_last_error());
    fail(row, status);
    if (!status && plan->store && !row->reused &&
        !store_add(plan->store, row, wants_maps(plan) ? &item->map : NULL)) {
        work->broken = true;
        fail_with(row, "its result cannot be kept");
    }
    row->done = !row->failure;
}

static void *write_all(void *user)
{
    pipeline *work = user;
    evaluation *result = work->result;
    for (job *item; (item = queue_take(&work->computed));) {
        if (!work->broken) {
            write_job(work, item);
            result->failed += item->row->failure != NULL;
            result->reused += item->row->done && item->row->reused;
            result->computed += item->row->done && !item->row->reused;
            if (item->row->failure)
                complain(PROGRAM, "%s", item->row->failure);
        }
        free_job(item);
        if (work->broken) {
            queue_close(&work->read);
            queue_close(&work->computed);
        }
    }
    return NULL;
}

static void compute_all(pipeline *work)
{
    progress_bar *bar = work->plan->bar;
    size_t done = 0;
    for (job *item; (item = queue_take(&work->read));) {
        if (!item->row->failure && !item->row->reused)
            compute(work, item);
        if (!queue_put(&work->computed, item))
            free_job(item);
        done++;
        snprintf(bar->detail, sizeof bar->detail, "%.3g images/s",
                 (double)done / (seconds_now() - bar->started));
        progress_update(bar, done, work->result->count);
    }
    queue_close(&work->computed);
}

bool evaluate_images(evaluation *result, const evaluation_plan *plan)
{
    pipeline work = {.plan = plan, .result = result};
    pthread_t reader, writer;
    queue_start(&work.read);
    queue_start(&work.computed);
    const double started = seconds_now();
    bool reading = pthread_create(&reader, NULL, read_all, &work) == 0;
    bool writing = reading && pthread_create(&writer, NULL, write_all, &work) == 0;
    if (writing)
        compute_all(&work);
    queue_close(&work.read);
    queue_close(&work.computed);
    if (reading)
        pthread_join(reader, NULL);
    if (writing)
        pthread_join(writer, NULL);
    else
        complain(PROGRAM, "cannot start threads");
    for (job *item; (item = queue_take(&work.read));)
        free_job(item);
    queue_end(&work.read);
    queue_end(&work.computed);
    result->seconds = seconds_now() - started;
    size_t finished = result->computed + result->reused + result->failed;
    if (writing && !work.broken && finished < result->count)
        complain(PROGRAM, "out of memory");
    return writing && !work.broken && finished == result->count;
}
