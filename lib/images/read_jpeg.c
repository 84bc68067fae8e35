/* JPEG files, grey or colour, as RGB8. */
#include "images/decoders.h"

#include "core/cancel.h"
#include "core/error.h"

#ifdef AAC_HAVE_JPEG

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "core/limits.h"

/* A progressive file may repeat itself many times; ordinary ones have a dozen scans. */
#define MAX_SCANS 500
/* Over all scans: 32 scans of the largest image allowed by default, or of the largest under a
 * raised limit. */
#define MOST_BLOCK_VISITS (UINT64_C(1) << 28)
#define MOST_PIXELS       (UINT64_C(1) << 32) /* that a JPEG can have */

struct decoder {
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    uint64_t blocks; /* of 8x8 samples, of all components */
    bool too_many_scans, cancelled;
    char text[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr codec)
{
    struct decoder *decoder = codec->client_data;
    codec->err->format_message(codec, decoder->text);
    longjmp(decoder->escape, 1);
}

/* Damage that libjpeg recovers from is no error in Pillow; it is logged, never printed. */
static void on_message(j_common_ptr codec, int level)
{
    char text[JMSG_LENGTH_MAX];
    if (level >= 0 || codec->err->num_warnings++)
        return;
    codec->err->format_message(codec, text);
    aac_log(AACLIP_LOG_WARNING, "JPEG: %s", text);
}

static void start_source(j_decompress_ptr codec)
{
    (void)codec;
}

static boolean refuse_to_fill(j_decompress_ptr codec)
{
    ERREXIT(codec, JERR_INPUT_EOF); /* all data was supplied at the start */
    return FALSE;
}

static void skip_bytes(j_decompress_ptr codec, long count)
{
    struct jpeg_source_mgr *source = codec->src;
    if (count <= 0)
        return;
    if ((size_t)count > source->bytes_in_buffer)
        ERREXIT(codec, JERR_INPUT_EOF);
    source->next_input_byte += count;
    source->bytes_in_buffer -= (size_t)count;
}

static uint64_t most_scans(const struct decoder *decoder)
{
    const uint64_t limit = aac_limit(AAC_LIMIT_IMAGE_PIXELS);
    uint64_t visits = (limit < MOST_PIXELS ? limit : MOST_PIXELS) * 3 / 64 * 32;
    if (visits < MOST_BLOCK_VISITS)
        visits = MOST_BLOCK_VISITS;
    const uint64_t most = visits / (decoder->blocks + !decoder->blocks);
    return most < MAX_SCANS ? most : MAX_SCANS;
}

/* Called for every row of blocks that is read or written. */
static void monitor(j_common_ptr codec)
{
    struct decoder *decoder = codec->client_data;
    uint64_t scans = (uint64_t)((j_decompress_ptr)codec)->input_scan_number;
    decoder->too_many_scans = scans > most_scans(decoder);
    decoder->cancelled = aac_cancel_look() != AACLIP_OK;
    if (!decoder->too_many_scans && !decoder->cancelled)
        return;
    longjmp(decoder->escape, 1);
}

static aaclip_status report(const struct decoder *decoder)
{
    if (decoder->cancelled)
        return AACLIP_ERROR_CANCELLED; /* the check recorded its text */
    if (decoder->too_many_scans)
        return aac_error(AACLIP_ERROR_FORMAT, "JPEG: too many scans: expected at most %llu",
                         (unsigned long long)most_scans(decoder));
    switch (decoder->errors.msg_code) {
    case JERR_OUT_OF_MEMORY:
        return aac_error_memory();
    case JERR_INPUT_EOF:
        return aac_error(AACLIP_ERROR_FORMAT, "JPEG: the file is truncated");
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_IMAGE_TOO_BIG:
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "JPEG: %s", decoder->text);
    default:
        return aac_error(AACLIP_ERROR_FORMAT, "JPEG: %s", decoder->text);
    }
}

static bool read_header(struct decoder *decoder, const uint8_t *data, size_t size)
{
    struct jpeg_decompress_struct *codec = &decoder->codec;
    if (setjmp(decoder->escape))
        return false;
    jpeg_create_decompress(codec);
    decoder->source = (struct jpeg_source_mgr){
        .next_input_byte = data,
        .bytes_in_buffer = size,
        .init_source = start_source,
        .fill_input_buffer = refuse_to_fill,
        .skip_input_data = skip_bytes,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = start_source,
    };
    codec->src = &decoder->source;
    decoder->progress.progress_monitor = monitor;
    codec->progress = &decoder->progress;
    jpeg_read_header(codec, TRUE);
    return true;
}

static aaclip_status check_kind(const struct jpeg_decompress_struct *codec)
{
    if (codec->data_precision != 8)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "JPEG: expected 8 bits per sample, found %d",
                         codec->data_precision);
    if (codec->num_components == 4)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "JPEG: expected grey or colour, found CMYK");
    if (codec->num_components != 1 && codec->num_components != 3)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "JPEG: expected 1 or 3 components, found %d",
                         codec->num_components);
    /* hardly any program writes it, and a few bytes of it can stand for any number of pixels */
    if (codec->arith_code)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "JPEG: expected Huffman coding, found arithmetic coding");
    return AACLIP_OK;
}

static bool read_rows(struct decoder *decoder, aac_pixels *pixels)
{
    struct jpeg_decompress_struct *codec = &decoder->codec;
    if (setjmp(decoder->escape))
        return false;
    codec->out_color_space = JCS_RGB;
    jpeg_start_decompress(codec);
    while (codec->output_scanline < codec->output_height) {
        JSAMPROW row = pixels->rgb + (size_t)codec->output_scanline * pixels->width * 3;
        jpeg_read_scanlines(codec, &row, 1);
    }
    jpeg_finish_decompress(codec);
    return true;
}

/* Every block has at least one Huffman code of at least one bit; libjpeg fills missing blocks with
 * grey. */
static aaclip_status check_size(struct decoder *decoder, size_t size)
{
    const struct jpeg_decompress_struct *codec = &decoder->codec;
    aaclip_status status = aac_pixels_check(codec->image_width, codec->image_height);
    for (int i = 0; i < codec->num_components; i++)
        decoder->blocks +=
            (uint64_t)codec->comp_info[i].width_in_blocks * codec->comp_info[i].height_in_blocks;
    if (status)
        return status;
    return aac_pixels_check_file("JPEG", codec->image_width, codec->image_height,
                                 decoder->blocks / 8, size);
}

static aaclip_status decode(struct decoder *decoder, aac_pixels *pixels, const uint8_t *data,
                            size_t size)
{
    if (!read_header(decoder, data, size))
        return report(decoder);
    aaclip_status status = check_kind(&decoder->codec);
    if (!status)
        status = check_size(decoder, size);
    if (!status)
        status = aac_pixels_new(pixels, decoder->codec.image_width, decoder->codec.image_height);
    if (status)
        return status;
    return read_rows(decoder, pixels) ? AACLIP_OK : report(decoder);
}

aaclip_status aac_read_jpeg(aac_pixels *pixels, const uint8_t *data, size_t size,
                            const aac_window *window)
{
    (void)window; /* 8 bits */
    struct decoder decoder;
    memset(&decoder, 0, sizeof decoder);
    decoder.codec.err = jpeg_std_error(&decoder.errors);
    decoder.errors.error_exit = on_error;
    decoder.errors.emit_message = on_message;
    decoder.codec.client_data = &decoder;
    aaclip_status status = decode(&decoder, pixels, data, size);
    jpeg_destroy_decompress(&decoder.codec);
    return status;
}

#else

aaclip_status aac_read_jpeg(aac_pixels *pixels, const uint8_t *data, size_t size,
                            const aac_window *window)
{
    (void)window; /* 8 bits */
    (void)pixels, (void)data, (void)size;
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "JPEG: not supported by this build");
}

#endif
