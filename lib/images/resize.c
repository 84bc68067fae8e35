/*
 * Pillow's BICUBIC and NEAREST, bit for bit. Bicubic filters along the rows first and then along
 * the columns, in integers: weights have 22 fractional bits and each pass rounds to 8 bits.
 */
#include "images/resize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <omp.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/limits.h"
#include "core/memory.h"
#include "core/threads.h"
#include "images/view.h"

#define WEIGHT_BITS 22
/* A weight is high * 2^12 + low, so that both halves are products of 16-bit numbers. */
#define LOW_BITS 12
/* The horizontal pass works on whole vectors of taps. */
#define TAP_GROUP 8
/* Columns that the vertical pass sums at a time; the sums stay in the first-level cache. */
#define COLUMN_GROUP 512
/* Below this many pixels, threads cost more than they save. */
#define PARALLEL_PIXELS 65536
/* Pixels between cancellation checks. */
#define PIXELS_TOGETHER (1u << 21)
/* Of all threads' rows that are being filtered: fewer threads work on very long rows. */
#define MOST_SCRATCH ((size_t)64 << 20)

/* The filter along one axis: output i is a weighted sum of `taps` inputs from first[i] on. */
struct axis {
    size_t taps; /* of every output; those beyond the filter's support weigh 0 */
    uint32_t *first;
    int16_t *high, *low; /* [output * taps + tap] */
};

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static void axis_free(struct axis *axis)
{
    aac_free(axis->first);
    aac_free(axis->high);
    aac_free(axis->low);
}

static void set_weight(struct axis *axis, size_t index, double weight)
{
    double scaled = weight * (1 << WEIGHT_BITS);
    int32_t fixed = (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    int32_t high = (fixed + (1 << (LOW_BITS - 1))) >> LOW_BITS;
    axis->high[index] = (int16_t)high;
    axis->low[index] = (int16_t)(fixed - high * (1 << LOW_BITS));
}

/* Fills the weights of output i; the filter is normalised over the inputs that exist. */
static void set_output(struct axis *axis, uint32_t i, uint32_t in, double scale, double support)
{
    const double stretch = scale < 1.0 ? 1.0 : scale, shrink = 1.0 / stretch;
    const double center = (i + 0.5) * scale;
    int64_t first = (int64_t)(center - support + 0.5);
    int64_t end = (int64_t)(center + support + 0.5);
    if (first < 0)
        first = 0;
    if (end > in)
        end = in;
    double sum = 0;
    for (int64_t x = first; x < end; x++)
        sum += bicubic(((double)x - center + 0.5) * shrink);
    axis->first[i] = (uint32_t)first;
    size_t index = i * axis->taps;
    for (int64_t x = first; x < end; x++) {
        double weight = bicubic(((double)x - center + 0.5) * shrink);
        set_weight(axis, index++, sum != 0.0 ? weight / sum : weight);
    }
}

/* `group`: the taps are padded with zeros to a multiple of it. */
static aaclip_status axis_init(struct axis *axis, uint32_t in, uint32_t out, size_t group)
{
    const double scale = (double)in / out, support = 2.0 * (scale < 1.0 ? 1.0 : scale);
    double reach = ceil(support) * 2 + 1;
    size_t taps = reach < in ? (size_t)reach : in;
    axis->taps = (taps + group - 1) / group * group;
    size_t count;
    if (!aac_size_multiply(&count, axis->taps, out))
        return aac_error_memory();
    axis->first = aac_alloc_array(out, sizeof *axis->first);
    axis->high = aac_calloc(count, sizeof *axis->high);
    axis->low = aac_calloc(count, sizeof *axis->low);
    if (!axis->first || !axis->high || !axis->low)
        return aac_error_memory();
    for (uint32_t i = 0; i < out; i++)
        set_output(axis, i, in, scale, support);
    return AACLIP_OK;
}

/* The sum of both halves, rounded and clipped. Unsigned arithmetic, as the high half may wrap. */
static inline uint8_t to_pixel(int32_t high, int32_t low)
{
    uint32_t sum = ((uint32_t)high << LOW_BITS) + (uint32_t)low + (1u << (WEIGHT_BITS - 1));
    int32_t value = (int32_t)sum >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void split_row(const aaclip_image_view *image, uint32_t y, int16_t *planes, size_t length)
{
    const aac_layout layout = aac_view_layout(image);
    const uint8_t *row = aac_view_row(image, y);
    for (size_t c = 0; c < 3; c++)
        for (size_t x = 0; x < image->width; x++)
            planes[c * length + x] = row[x * layout.step + layout.offset[c]];
}

static void filter_row(const struct axis *axis, const int16_t *planes, size_t length,
                       uint32_t width, uint8_t *rgb)
{
    for (uint32_t i = 0; i < width; i++) {
        const int16_t *red = planes + axis->first[i], *green = red + length, *blue = green + length;
        const int16_t *high = axis->high + i * axis->taps, *low = axis->low + i * axis->taps;
        int32_t red_high = 0, green_high = 0, blue_high = 0, red_low = 0, green_low = 0,
                blue_low = 0;
        for (size_t t = 0; t < axis->taps; t++) {
            red_high += red[t] * high[t];
            red_low += red[t] * low[t];
            green_high += green[t] * high[t];
            green_low += green[t] * low[t];
            blue_high += blue[t] * high[t];
            blue_low += blue[t] * low[t];
        }
        rgb[3 * (size_t)i] = to_pixel(red_high, red_low);
        rgb[3 * (size_t)i + 1] = to_pixel(green_high, green_low);
        rgb[3 * (size_t)i + 2] = to_pixel(blue_high, blue_low);
    }
}

/* Rows of the image between cancellation checks. */
static uint32_t rows_together(uint32_t width)
{
    return width < PIXELS_TOGETHER ? PIXELS_TOGETHER / width : 1;
}

/* Worth sharing among threads. */
static bool is_large(uint32_t width, uint32_t height)
{
    return (uint64_t)width * height >= PARALLEL_PIXELS;
}

/* Where rows of the new width come from. */
struct row_source {
    const aaclip_image_view *image;
    uint32_t width;
    struct axis axis; /* none if the image has that width */
    size_t length;    /* of a row of `scratch`: the last taps may reach beyond the image */
    int threads;
    int16_t *scratch; /* three planes for each thread */
};

static int count_threads(const aaclip_image_view *image, size_t row_bytes)
{
    if (!is_large(image->width, image->height))
        return 1;
    const size_t most = MOST_SCRATCH / row_bytes + 1;
    const int threads = omp_get_max_threads();
    return most < (size_t)threads ? (int)most : threads;
}

static void source_free(struct row_source *source)
{
    aac_free(source->scratch);
    axis_free(&source->axis);
}

/* Free it even after a failure. */
static aaclip_status source_init(struct row_source *source, const aaclip_image_view *image,
                                 uint32_t width)
{
    *source = (struct row_source){.image = image, .width = width};
    if (width == image->width)
        return AACLIP_OK;
    aaclip_status status = axis_init(&source->axis, image->width, width, TAP_GROUP);
    if (status)
        return status;
    source->length = image->width + source->axis.taps;
    const size_t bytes = source->length * sizeof *source->scratch;
    source->threads = count_threads(image, 3 * bytes);
    source->scratch = aac_calloc((size_t)source->threads * 3, bytes);
    return source->scratch ? AACLIP_OK : aac_error_memory();
}

static void resize_rows(const struct row_source *source, uint32_t begin, uint32_t end, uint8_t *rgb)
{
    const size_t samples = (size_t)source->width * 3;
#pragma omp parallel for schedule(static) num_threads(source->threads)
    for (uint32_t y = begin; y < end; y++) {
        int16_t *planes = source->scratch + (size_t)omp_get_thread_num() * 3 * source->length;
        split_row(source->image, y, planes, source->length);
        filter_row(&source->axis, planes, source->length, source->width,
                   rgb + (y - begin) * samples);
    }
}

/* Rows `begin` to `end` - 1 of the image, of the new width. */
static aaclip_status make_rows(const struct row_source *source, uint32_t begin, uint32_t end,
                               uint8_t *rgb)
{
    const size_t samples = (size_t)source->width * 3;
    const uint32_t together = rows_together(source->image->width);
    aaclip_status status = AACLIP_OK;
    for (uint32_t stop; !status && begin < end; begin = stop) {
        stop = end - begin > together ? begin + together : end;
        if (source->scratch)
            resize_rows(source, begin, stop, rgb);
        for (uint32_t y = begin; !source->scratch && y < stop; y++)
            aac_view_row_rgb(source->image, y, rgb + (y - begin) * samples);
        rgb += (stop - begin) * samples;
        status = aac_cancel_look();
    }
    return status;
}

/* Up to COLUMN_GROUP samples of output row y; `samples` is the length of a row. */
static void filter_samples(const struct axis *axis, uint32_t y, const uint8_t *rows, size_t taps,
                           size_t samples, size_t count, uint8_t *out)
{
    int32_t high[COLUMN_GROUP] = {0}, low[COLUMN_GROUP] = {0};
    for (size_t t = 0; t < taps; t++) {
        const int16_t weight_high = axis->high[y * axis->taps + t];
        const int16_t weight_low = axis->low[y * axis->taps + t];
        const uint8_t *row = rows + t * samples;
        for (size_t i = 0; i < count; i++) {
            high[i] += (int16_t)row[i] * weight_high;
            low[i] += (int16_t)row[i] * weight_low;
        }
    }
    for (size_t i = 0; i < count; i++)
        out[i] = to_pixel(high[i], low[i]);
}

/* Output rows that are made together, and the rows of the new width that they are made of. */
struct band {
    uint32_t begin, end, first, stop;
};

static struct band next_band(const struct axis *axis, uint32_t begin, uint32_t together,
                             uint32_t in, uint32_t out)
{
    const uint32_t end = out - begin > together ? begin + together : out;
    const uint32_t last = axis->first[end - 1];
    return (struct band){begin, end, axis->first[begin],
                         axis->taps < in - last ? last + (uint32_t)axis->taps : in};
}

static void filter_band(const struct axis *axis, const struct band *band, const uint8_t *rows,
                        size_t samples, bool parallel, uint8_t *rgb)
{
#pragma omp parallel for schedule(static) if (parallel)
    for (uint32_t y = band->begin; y < band->end; y++) {
        const size_t first = axis->first[y] - band->first, left = band->stop - axis->first[y];
        const size_t taps = axis->taps < left ? axis->taps : left;
        for (size_t x = 0; x < samples; x += COLUMN_GROUP)
            filter_samples(axis, y, rows + first * samples + x, taps, samples,
                           samples - x < COLUMN_GROUP ? samples - x : COLUMN_GROUP,
                           rgb + y * samples + x);
    }
}

/* From the rows of the source to `out` rows, in bands: of a long image only some rows of the new
 * width exist at a time. Those that the next band needs, too, are moved to its start. */
static aaclip_status filter_rows(const struct row_source *source, const struct axis *axis,
                                 uint32_t out, uint8_t *rgb)
{
    const uint32_t in = source->image->height;
    const size_t samples = (size_t)source->width * 3;
    const bool parallel = is_large(source->width, out);
    /* an output row reads as many more rows as the image shrinks by */
    const uint32_t scale = in / out + 1, together = rows_together(source->width) / scale + 1;
    struct band band = {0};
    uint32_t most = 0, held = 0;
    for (uint32_t done = 0; done < out; done = band.end) {
        band = next_band(axis, done, together, in, out);
        most = band.stop - band.first > most ? band.stop - band.first : most;
    }
    uint8_t *rows = aac_alloc_array(most, samples);
    aaclip_status status = rows ? AACLIP_OK : aac_error_memory();
    for (uint32_t done = 0, before = 0; !status && done < out; done = band.end) {
        band = next_band(axis, done, together, in, out);
        memmove(rows, rows + (band.first - before) * samples, (held - band.first) * samples);
        status = make_rows(source, held, band.stop, rows + (held - band.first) * samples);
        if (!status)
            filter_band(axis, &band, rows, samples, parallel, rgb);
        before = band.first;
        held = band.stop;
    }
    aac_free(rows);
    return status;
}

static aaclip_status resize(const aaclip_image_view *image, uint32_t width, uint32_t height,
                            uint8_t *rgb)
{
    struct row_source source;
    struct axis axis = {0};
    aaclip_status status = source_init(&source, image, width);
    if (!status && height == image->height)
        status = make_rows(&source, 0, height, rgb);
    else if (!status) {
        status = axis_init(&axis, image->height, height, 1);
        if (!status)
            status = filter_rows(&source, &axis, height, rgb);
    }
    axis_free(&axis);
    source_free(&source);
    return status;
}

/*
 * A long, narrow image takes far more time than its pixels, as all its rows get the new width
 * first, and weights for every pixel of its length. Where one side grows while the other shrinks,
 * the image with only the first of them resized must be within the limit, too.
 */
static aaclip_status check_shape(const aaclip_image_view *image, uint32_t width, uint32_t height)
{
    const bool wider = width > image->width && height < image->height;
    const bool higher = height > image->height && width < image->width;
    const uint32_t across = wider ? width : image->width, down = higher ? height : image->height;
    const uint64_t most = aac_limit(AAC_LIMIT_IMAGE_PIXELS);
    if ((!wider && !higher) || (uint64_t)across * down <= most)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_UNSUPPORTED,
                     "resizing %ux%u to %ux%u: expected at most %llu pixels with the shorter side "
                     "resized, found %ux%u" AAC_LIMIT_HINT,
                     image->width, image->height, width, height, (unsigned long long)most, across,
                     down);
}

aaclip_status aaclip_image_resize(const aaclip_image_view *image, uint32_t width, uint32_t height,
                                  uint8_t *rgb)
{
    aaclip_status status = aac_view_check(image);
    if (!status)
        status = aac_size_check(width, height);
    if (status)
        return status;
    if (!rgb)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_image_resize: no output");
    status = check_shape(image, width, height);
    if (status)
        return status;
    const bool alone = !is_large(image->width, image->height) && !is_large(width, height);
    /* threads started here later compute the towers */
    aac_team team = alone ? aac_threads_set(1) : aac_threads_keep();
    status = resize(image, width, height, rgb);
    aac_threads_restore(team);
    return status;
}

/* The input that each output takes. Pillow accumulates the scale, rounding errors included. */
static uint32_t *nearest_inputs(uint32_t in, uint32_t out)
{
    uint32_t *inputs = aac_alloc_array(out, sizeof *inputs);
    const double scale = (double)in / out;
    double position = scale * 0.5;
    for (uint32_t i = 0; inputs && i < out; i++, position += scale)
        inputs[i] = position < in ? (uint32_t)position : in - 1;
    return inputs;
}

static bool is_set(const uint8_t *pixel, const aac_layout *layout, bool wide)
{
    if (wide) {
        for (size_t i = 0; i < layout->step; i++)
            if (pixel[i])
                return true;
        return false;
    }
    return aac_grey(pixel[layout->offset[0]], pixel[layout->offset[1]], pixel[layout->offset[2]]);
}

void aac_mask_values(const aaclip_image_view *mask, bool *any_set, bool *any_clear)
{
    const aac_layout layout = aac_view_layout(mask);
    const bool wide = aac_view_is_wide(mask);
    *any_set = *any_clear = false;
    for (uint32_t y = 0; y < mask->height && !(*any_set && *any_clear); y++) {
        const uint8_t *row = aac_view_row(mask, y);
        for (uint32_t x = 0; x < mask->width; x++)
            *(is_set(row + x * layout.step, &layout, wide) ? any_set : any_clear) = true;
    }
}

aaclip_status aac_resize_mask(const aaclip_image_view *mask, uint32_t width, uint32_t height,
                              uint8_t *out)
{
    aaclip_status status = aac_view_check(mask);
    if (!status)
        status = aac_size_check(width, height);
    if (status)
        return status;
    const aac_layout layout = aac_view_layout(mask);
    const bool wide = aac_view_is_wide(mask);
    uint32_t *columns = nearest_inputs(mask->width, width);
    uint32_t *rows = nearest_inputs(mask->height, height);
    if (!columns || !rows)
        status = aac_error_memory();
    for (uint32_t y = 0; !status && y < height; y++) {
        const uint8_t *row = aac_view_row(mask, rows[y]);
        for (uint32_t x = 0; x < width; x++)
            out[(size_t)y * width + x] = is_set(row + columns[x] * layout.step, &layout, wide);
    }
    aac_free(columns);
    aac_free(rows);
    return status;
}

aaclip_status aaclip_mask_resize(const uint8_t *mask, uint32_t width, uint32_t height,
                                 uint32_t new_width, uint32_t new_height, uint8_t *resized)
{
    if (!mask || !resized)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_mask_resize: no mask or no output");
    aaclip_status status = aac_size_check(width, height);
    if (!status)
        status = aac_size_check(new_width, new_height);
    if (status)
        return status;
    uint32_t *columns = nearest_inputs(width, new_width);
    uint32_t *rows = nearest_inputs(height, new_height);
    if (!columns || !rows)
        status = aac_error_memory();
    for (uint32_t y = 0; !status && y < new_height; y++) {
        const uint8_t *from = mask + (size_t)rows[y] * width;
        uint8_t *to = resized + (size_t)y * new_width;
        for (uint32_t x = 0; x < new_width; x++)
            to[x] = from[columns[x]];
        status = aac_cancel_look();
    }
    aac_free(columns);
    aac_free(rows);
    return status;
}
