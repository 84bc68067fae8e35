/* PNG files, complete or not at all. */
#include <stdbool.h>
#include <string.h>

#include <aaclip/image.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "images/view.h"
#ifdef AAC_HAVE_PNG
#include <zlib.h>

#include "images/png_hooks.h"
#endif

/* An image being written to a PNG; `fill` gives row y as the file stores it. */
struct png_job {
    uint32_t width, height;
    int depth;
    bool grey; /* else RGB */
    void (*fill)(const struct png_job *job, uint32_t y, uint8_t *row);
    const aaclip_image_view *view;
    const float *values;
#ifdef AAC_HAVE_PNG
    aac_writer *writer;
    aac_png_failure failure;
#endif
};

#ifdef AAC_HAVE_PNG

static void write_bytes(png_structp png, png_bytep data, size_t size)
{
    struct png_job *job = png_get_io_ptr(png);
    job->failure.status = aac_writer_write(job->writer, data, size);
    if (job->failure.status)
        png_error(png, "write failed");
}

static void flush_nothing(png_structp png)
{
    (void)png;
}

/*
 * Everything that libpng may jump out of; false if it did. Compresses runs only: filtered
 * photographs have few other repeats, and searching for those took a tenth of a detection's time.
 */
static bool emit(png_structp png, png_infop info, struct png_job *job, uint8_t *row)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_write_fn(png, job, write_bytes, flush_nothing);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png, info, job->width, job->height, job->depth,
                 job->grey ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_strategy(png, Z_RLE);
    png_write_info(png, info);
    for (uint32_t y = 0; y < job->height; y++) {
        job->fill(job, y, row);
        png_write_row(png, row);
    }
    png_write_end(png, info);
    return true;
}

static aaclip_status encode(struct png_job *job, uint8_t *row)
{
    png_structp png =
        png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &job->failure, aac_png_error,
                                  aac_png_warning, &job->failure, aac_png_allocate, aac_png_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool done = info && emit(png, info, job, row);
    png_destroy_write_struct(&png, &info);
    return done ? AACLIP_OK : aac_png_report(&job->failure, AACLIP_ERROR_INVALID_ARGUMENT);
}

static aaclip_status write_png(const char *path, struct png_job *job)
{
    uint8_t *row = aac_alloc_array(job->width, 3); /* RGB8 is the widest pixel written */
    if (!row)
        return aac_error_memory();
    aaclip_status status = aac_writer_open(&job->writer, path);
    if (!status) {
        status = encode(job, row);
        if (status)
            aac_writer_discard(&job->writer);
        else
            status = aac_writer_commit(&job->writer);
    }
    aac_free(row);
    return status;
}

#else

static aaclip_status write_png(const char *path, struct png_job *job)
{
    (void)job;
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: PNG: not supported by this build", path);
}

#endif

static void fill_view(const struct png_job *job, uint32_t y, uint8_t *row)
{
    if (job->view->format == AACLIP_PIXEL_GRAY8)
        memcpy(row, aac_view_row(job->view, y), job->width);
    else
        aac_view_row_rgb(job->view, y, row);
}

static void fill_values(const struct png_job *job, uint32_t y, uint8_t *row)
{
    const float *values = job->values + (size_t)y * job->width;
    for (uint32_t x = 0; x < job->width; x++) {
        float value = values[x] > 0 ? values[x] : 0; /* NaN becomes 0 */
        uint32_t sample = (uint32_t)((value < 1 ? value : 1) * 65535.0f + 0.5f);
        row[2 * (size_t)x] = (uint8_t)(sample >> 8);
        row[2 * (size_t)x + 1] = (uint8_t)sample;
    }
}

aaclip_status aaclip_write_png(const char *path, const aaclip_image_view *image)
{
    if (!path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_write_png: no path");
    aaclip_status status = aac_view_check(image);
    if (status)
        return aac_error_prefix(status, "%s", path);
    struct png_job job = {
        .width = image->width,
        .height = image->height,
        .depth = 8,
        .grey = image->format == AACLIP_PIXEL_GRAY8,
        .fill = fill_view,
        .view = image,
    };
    return write_png(path, &job);
}

aaclip_status aaclip_write_png16(const char *path, const float *values, uint32_t width,
                                 uint32_t height)
{
    if (!path || !values)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_write_png16: no path or values");
    aaclip_status status = aac_size_check(width, height);
    if (status)
        return aac_error_prefix(status, "%s", path);
    struct png_job job = {
        .width = width,
        .height = height,
        .depth = 16,
        .grey = true,
        .fill = fill_values,
        .values = values,
    };
    return write_png(path, &job);
}
