/* Decoders against Pillow, and with malformed files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <aaclip/image.h>

#include "golden.h"

#ifdef AAC_HAVE_JPEG
#define HAVE_JPEG 1
#else
#define HAVE_JPEG 0
#endif

#ifdef AAC_HAVE_PNG
#define HAVE_PNG 1
#else
#define HAVE_PNG 0
#endif

struct listed {
    char name[64];
    uint32_t width, height;
    uint32_t crc;
};

static int next_listed(FILE *listing, struct listed *file)
{
    while (fscanf(listing, "%63s %u %u %u", file->name, &file->width, &file->height, &file->crc) ==
           4)
        if ((HAVE_JPEG || !strstr(file->name, ".jpg")) && (HAVE_PNG || !strstr(file->name, ".png")))
            return 1;
    return 0;
}

static uint32_t image_crc(const aaclip_image *image)
{
    aaclip_image_view view = aaclip_image_get_view(image);
    assert_int_equal(view.format, AACLIP_PIXEL_RGB8);
    assert_int_equal(view.stride, view.width * 3);
    return golden_crc(view.pixels, (size_t)view.width * view.height * 3);
}

/* Decodes from a block of exactly `size` bytes, so that a sanitizer sees every read beyond it. */
static aaclip_status decode_exact(aaclip_image **image, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    aaclip_status status = aaclip_image_decode(image, copy, size, "picture");
    free(copy);
    if (status) {
        assert_null(*image);
        assert_true(strstr(aaclip_last_error(), "picture") || status == AACLIP_ERROR_OUT_OF_MEMORY);
    }
    return status;
}

static void expect(const uint8_t *bytes, size_t size, aaclip_status expected, const char *text)
{
    aaclip_image *image;
    aaclip_status status = decode_exact(&image, bytes, size);
    if (status != expected || (text && !strstr(aaclip_last_error(), text)))
        fail_msg("expected %s (%s), found %s: %s", aaclip_status_string(expected),
                 text ? text : "any", aaclip_status_string(status), aaclip_last_error());
    aaclip_image_close(&image);
}

static void every_kind_equals_pillow(void **state)
{
    (void)state;
    FILE *listing = golden_open("decoded.txt");
    struct listed file;
    int count = 0;
    while (next_listed(listing, &file)) {
        char path[1024];
        snprintf(path, sizeof path, "%s/images/%s", GOLDEN_DIR, file.name);
        aaclip_image *image;
        if (aaclip_image_open(&image, path))
            fail_msg("%s", aaclip_last_error());
        aaclip_image_view view = aaclip_image_get_view(image);
        if (view.width != file.width || view.height != file.height || image_crc(image) != file.crc)
            fail_msg("%s: other pixels than Pillow's", file.name);
        aaclip_image_close(&image);
        assert_null(image);
        count++;
    }
    fclose(listing);
    assert_true(count > (HAVE_PNG ? 80 : 60));
}

static void refusals_are_clear(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = golden_bytes("other.gif", &size);
    expect(bytes, size, AACLIP_ERROR_UNSUPPORTED, "another type of file");
    free(bytes);
    bytes = golden_bytes("palette8.png", &size);
    expect(bytes, HAVE_PNG ? 20 : size, HAVE_PNG ? AACLIP_ERROR_FORMAT : AACLIP_ERROR_UNSUPPORTED,
           HAVE_PNG ? "truncated" : "PNG: not supported by this build");
    free(bytes);
    bytes = golden_bytes("cmyk.jpg", &size);
    expect(bytes, size, AACLIP_ERROR_UNSUPPORTED, HAVE_JPEG ? "CMYK" : "this build");
    free(bytes);
    bytes = golden_bytes("twelve-bits.jpg", &size);
    expect(bytes, size, AACLIP_ERROR_UNSUPPORTED, HAVE_JPEG ? "12" : "this build");
    free(bytes);
    expect((const uint8_t *)"", 0, AACLIP_ERROR_FORMAT, "the file is empty");
    aaclip_image *image;
    assert_int_equal(aaclip_image_open(&image, "/nonexistent/picture.png"), AACLIP_ERROR_NOT_FOUND);
    assert_null(image);
    assert_non_null(strstr(aaclip_last_error(), "/nonexistent/picture.png"));
    assert_int_equal(aaclip_image_open(&image, "/"), AACLIP_ERROR_IO);
    assert_int_equal(aaclip_image_open(&image, NULL), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_open(NULL, "x"), AACLIP_ERROR_INVALID_ARGUMENT);
    assert_int_equal(aaclip_image_decode(&image, NULL, 3, "x"), AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip_image_close(NULL);
    aaclip_image_close(&image);
}

static size_t find(const uint8_t *bytes, size_t size, const char *text, size_t length)
{
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(bytes + i, text, length) == 0)
            return i;
    fail_msg("the fixture holds no %.*s", (int)length, text);
    return 0;
}

/* What may be missing at the end of a file: only what comes after the last pixel. */
static size_t dispensable(const struct listed *file, const uint8_t *bytes, size_t size)
{
    if (strstr(file->name, ".jpg"))
        return 0;
    if (strstr(file->name, ".png"))
        return size - find(bytes, size, "IEND", 4) + 4;
    return 4; /* the padding of the last row, the end marks of run lengths */
}

/* Every shorter file is refused, or gives the same pixels where nothing that counts is missing. */
static void truncated_files_are_refused(void **state)
{
    (void)state;
    FILE *listing = golden_open("decoded.txt");
    struct listed file;
    while (next_listed(listing, &file)) {
        if (strstr(file.name, "chelsea"))
            continue;
        size_t size;
        uint8_t *bytes = golden_bytes(file.name, &size);
        for (size_t cut = 0; cut < size; cut++) {
            aaclip_image *image;
            aaclip_status status = decode_exact(&image, bytes, cut);
            if (!status &&
                (cut + dispensable(&file, bytes, size) < size || image_crc(image) != file.crc))
                fail_msg("%s: %zu of %zu bytes pass", file.name, cut, size);
            if (status && status != AACLIP_ERROR_FORMAT &&
                !(status == AACLIP_ERROR_UNSUPPORTED && cut < 8))
                fail_msg("%s: %zu bytes: %s", file.name, cut, aaclip_last_error());
            aaclip_image_close(&image);
        }
        free(bytes);
    }
    fclose(listing);
}

/* Nothing to compare with: no crash, no leak, and a text for every refusal. */
static void damaged_files_do_not_crash(void **state)
{
    (void)state;
    FILE *listing = golden_open("decoded.txt");
    struct listed file;
    int refused = 0;
    while (next_listed(listing, &file)) {
        if (strstr(file.name, "chelsea"))
            continue;
        size_t size;
        uint8_t *bytes = golden_bytes(file.name, &size);
        for (size_t i = 0; i < size; i += i < 128 ? 1 : 11) {
            static const uint8_t changes[] = {0x01, 0x80, 0xff};
            for (size_t k = 0; k < sizeof changes; k++) {
                /* The high bytes of a BMP's sides ask for much memory: legal, only slow. */
                if (strstr(file.name, ".bmp") && (i == 20 || i == 24))
                    continue;
                bytes[i] ^= changes[k];
                aaclip_image *image;
                if (decode_exact(&image, bytes, size))
                    refused++;
                aaclip_image_close(&image);
                bytes[i] ^= changes[k];
            }
        }
        free(bytes);
    }
    fclose(listing);
    assert_true(refused > 1000);
}

static void put_le32(uint8_t *bytes, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

#ifdef AAC_HAVE_PNG
static void put_be32(uint8_t *bytes, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* A PNG fixture with other sides and a checksum that fits. */
static void expect_sides(const char *name, uint32_t width, uint32_t height, aaclip_status expected,
                         const char *text)
{
    size_t size;
    uint8_t *bytes = golden_bytes(name, &size);
    put_be32(bytes + 16, width);
    put_be32(bytes + 20, height);
    put_be32(bytes + 29, golden_crc(bytes + 12, 17));
    expect(bytes, size, expected, text);
    free(bytes);
}

static void expect_png_size(uint32_t width, uint32_t height, aaclip_status expected,
                            const char *text)
{
    expect_sides("rgb8.png", width, height, expected, text);
}

static void png_headers_that_lie(void **state)
{
    (void)state;
    expect_sides("chelsea.png", 5592406, 1, AACLIP_ERROR_UNSUPPORTED,
                 "expected at most 16777216 bytes a row, found 16777218");
    expect_png_size(0, 13, AACLIP_ERROR_FORMAT, NULL);
    expect_png_size(19, 0, AACLIP_ERROR_FORMAT, NULL);
    expect_png_size(19, 14, AACLIP_ERROR_FORMAT, NULL);
    expect_png_size(13378, 13378, AACLIP_ERROR_UNSUPPORTED, "178956970");
    expect_png_size(0x7fffffff, 1, AACLIP_ERROR_UNSUPPORTED, NULL);
    expect_png_size(0x7fffffff, 0x7fffffff, AACLIP_ERROR_UNSUPPORTED, NULL);
    expect_png_size(0x80000000, 1, AACLIP_ERROR_FORMAT, NULL);
    /* a row or an image of half a gigabyte in some hundred bytes */
    expect_png_size(178956970, 1, AACLIP_ERROR_FORMAT, "expected at least 520223 bytes");
    expect_png_size(13377, 13377, AACLIP_ERROR_FORMAT, "expected at least 520186 bytes");
    expect_png_size(0xffffffff, 0xffffffff, AACLIP_ERROR_FORMAT, NULL);
    size_t size;
    uint8_t *bytes = golden_bytes("rgb8.png", &size);
    bytes[29] ^= 1;
    expect(bytes, size, AACLIP_ERROR_FORMAT, "CRC");
    bytes[29] ^= 1;
    size_t data = find(bytes, size, "IDAT", 4);
    bytes[data + 20] ^= 1;
    expect(bytes, size, AACLIP_ERROR_FORMAT, NULL);
    bytes[data + 20] ^= 1;
    put_be32(bytes + data - 4, 0xffffffff);
    expect(bytes, size, AACLIP_ERROR_FORMAT, NULL);
    put_be32(bytes + data - 4, 0x7fffffff);
    expect(bytes, size, AACLIP_ERROR_FORMAT, "truncated");
    free(bytes);
}

static void png_chunks_out_of_order(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = golden_bytes("palette8.png", &size), *moved = malloc(size);
    const size_t header = 8 + 25, palette = 12 + 768;
    assert_non_null(moved);
    memcpy(moved, bytes, 8); /* the palette before the header */
    memcpy(moved + 8, bytes + header, palette);
    memcpy(moved + 8 + palette, bytes + 8, 25);
    memcpy(moved + header + palette, bytes + header + palette, size - header - palette);
    expect(moved, size, AACLIP_ERROR_FORMAT, NULL);
    memcpy(moved, bytes, header); /* no palette at all */
    memcpy(moved + header, bytes + header + palette, size - header - palette);
    expect(moved, size - palette, AACLIP_ERROR_FORMAT, NULL);
    memcpy(moved, bytes, header); /* no pixels */
    memcpy(moved + header, bytes + size - 12, 12);
    expect(moved, header + 12, AACLIP_ERROR_FORMAT, NULL);
    free(moved);
    free(bytes);
}

#else

static void png_headers_that_lie(void **state)
{
    (void)state;
    skip(); /* a build without PNG */
}

static void png_chunks_out_of_order(void **state)
{
    (void)state;
    skip();
}
#endif

static void expect_bmp_field(const char *name, size_t at, uint32_t value, aaclip_status expected,
                             const char *text)
{
    size_t size;
    uint8_t *bytes = golden_bytes(name, &size);
    put_le32(bytes + at, value);
    expect(bytes, size, expected, text);
    free(bytes);
}

static void bmp_headers_that_lie(void **state)
{
    (void)state;
    enum { OFFSET = 10, HEADER = 14, WIDTH = 18, HEIGHT = 22, DEPTH = 26, KIND = 30, COLOURS = 46 };
    const char *name = "bits24.bmp";
    expect_bmp_field(name, OFFSET, 0xffffffff, AACLIP_ERROR_FORMAT, "truncated");
    expect_bmp_field(name, OFFSET, 100, AACLIP_ERROR_FORMAT, "truncated");
    expect_bmp_field(name, HEADER, 0xffffffff, AACLIP_ERROR_UNSUPPORTED, "header");
    expect_bmp_field(name, HEADER, 41, AACLIP_ERROR_UNSUPPORTED, "header");
    expect_bmp_field(name, WIDTH, 0, AACLIP_ERROR_FORMAT, NULL);
    expect_bmp_field(name, HEIGHT, 0, AACLIP_ERROR_FORMAT, NULL);
    expect_bmp_field(name, HEIGHT, 0x80000000, AACLIP_ERROR_FORMAT, NULL);
    expect_bmp_field(name, WIDTH, 0xffffffff, AACLIP_ERROR_FORMAT, NULL);
    expect_bmp_field(name, HEIGHT, 12, AACLIP_ERROR_FORMAT, "truncated");
    expect_bmp_field(name, DEPTH, 2 << 16 | 1, AACLIP_ERROR_UNSUPPORTED, "depth");
    expect_bmp_field(name, KIND, 4, AACLIP_ERROR_UNSUPPORTED, "compression");
    expect_bmp_field(name, KIND, 1, AACLIP_ERROR_FORMAT, "compression");
    expect_bmp_field("bits8.bmp", KIND, 3, AACLIP_ERROR_FORMAT, "compression");
    expect_bmp_field("bits8.bmp", COLOURS, 65537, AACLIP_ERROR_UNSUPPORTED, "palette");
    expect_bmp_field("rle8.bmp", WIDTH, 0x7fffffff, AACLIP_ERROR_UNSUPPORTED, "178956970");
    expect_bmp_field("rle8.bmp", OFFSET, 0xfffffffe, AACLIP_ERROR_FORMAT, "truncated");
    expect_bmp_field("fields32-bgrx-40.bmp", 54, 0x00fe0000, AACLIP_ERROR_UNSUPPORTED, "fields");
    expect_bmp_field("fields16-565-40.bmp", 54, 0, AACLIP_ERROR_UNSUPPORTED, "fields");
}

/* A run-length BMP of 4x2 pixels with a grey ramp as palette. */
static size_t make_runs(uint8_t *bytes, const uint8_t *runs, size_t count, uint32_t compression)
{
    const uint32_t bits = compression == 1 ? 8 : 4, colours = 1u << bits;
    memset(bytes, 0, 54);
    memcpy(bytes, "BM", 2);
    put_le32(bytes + 10, 54 + 4 * colours);
    put_le32(bytes + 14, 40);
    put_le32(bytes + 18, 4);
    put_le32(bytes + 22, 2);
    put_le32(bytes + 26, bits << 16 | 1);
    put_le32(bytes + 30, compression);
    for (uint32_t i = 0; i < colours; i++)
        put_le32(bytes + 54 + 4 * i, i * 0x10101);
    memcpy(bytes + 54 + 4 * colours, runs, count);
    return 54 + 4 * colours + count;
}

/* `expected`: 8 pixels, the bottom row first; NULL when the file is to be refused. */
static void expect_runs(const char *runs, size_t count, uint32_t compression, const char *expected)
{
    uint8_t bytes[54 + 1024 + 64];
    size_t size = make_runs(bytes, (const uint8_t *)runs, count, compression);
    aaclip_image *image;
    aaclip_status status = decode_exact(&image, bytes, size);
    if (!expected) {
        assert_int_equal(status, AACLIP_ERROR_FORMAT);
        return;
    }
    assert_int_equal(status, AACLIP_OK);
    const uint8_t *pixels = aaclip_image_get_view(image).pixels;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pixels[3 * ((1 - i / 4) * 4 + i % 4)], expected[i]);
    aaclip_image_close(&image);
}

static void run_lengths_stay_inside(void **state)
{
    (void)state;
    expect_runs("\4\1\0\0\4\2\0\1", 8, 1, "\1\1\1\1\2\2\2\2");
    expect_runs("\xff\1\0\0\xff\2", 6, 1, "\1\1\1\1\2\2\2\2"); /* runs are cut at the row */
    expect_runs("\2\1\0\1", 4, 1, "\1\1\0\0\0\0\0\0");         /* an early end: colour 0 */
    expect_runs("\0\2\1\1\3\7", 6, 1, "\0\0\0\0\0\7\7\7");     /* a move */
    expect_runs("\0\2\xff\xff", 4, 1, "\0\0\0\0\0\0\0\0");     /* a move out of the image */
    expect_runs("\0\x0a\1\2\3\4\5\6\7\10", 10, 1, "\1\2\3\4\5\6\7\10"); /* literals, cut */
    expect_runs("\0\5\x12\x34\x50\0\0\0", 8, 2, "\1\2\3\4\5\0\0\0");
    expect_runs("", 0, 1, NULL);
    expect_runs("\4", 1, 1, NULL);
    expect_runs("\4\1", 2, 1, NULL);
    expect_runs("\0\2\1", 3, 1, NULL);
    expect_runs("\0\5\1\2\3\4", 6, 1, NULL);
    expect_runs("\0\5\x12\x34", 4, 2, NULL);
}

#ifdef AAC_HAVE_JPEG
static void jpeg_headers_that_lie(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = golden_bytes("colour-420.jpg", &size);
    size_t frame = find(bytes, size, "\xff\xc0", 2);
    uint8_t *sides = bytes + frame + 5;
    const uint8_t own[4] = {sides[0], sides[1], sides[2], sides[3]};
    memset(sides, 0, 4);
    expect(bytes, size, AACLIP_ERROR_FORMAT, NULL);
    memset(sides, 0xff, 4);
    expect(bytes, size, AACLIP_ERROR_UNSUPPORTED, NULL);
    memcpy(sides, "\x40\0\x40\0", 4); /* 16384 a side: libjpeg would, the limit does not */
    expect(bytes, size, AACLIP_ERROR_UNSUPPORTED, "178956970");
    memcpy(sides, "\x34\x41\x34\x41", 4); /* libjpeg would paint half a gigabyte grey */
    expect(bytes, size, AACLIP_ERROR_FORMAT, "truncated: expected at least 525008 bytes");
    memcpy(sides, own, 4);
    bytes[frame + 1] = 0xc9;
    expect(bytes, size, AACLIP_ERROR_UNSUPPORTED, "found arithmetic coding");
    bytes[frame + 1] = 0xc0;
    size_t tables = find(bytes, size, "\xff\xc4", 2);
    bytes[tables + 5] = 255; /* more codes of one bit than there are */
    expect(bytes, size, AACLIP_ERROR_FORMAT, NULL);
    free(bytes);
}

/* One scan of a progressive file said again and again would keep a reader busy for hours. */
static void endless_scans_are_refused(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = golden_bytes("grey-progressive.jpg", &size);
    size_t scan = find(bytes, size, "\xff\xda", 2), end = scan + 2;
    while (bytes[end] != 0xff || bytes[end + 1] == 0)
        end++;
    const size_t length = end - scan, repeats = 600;
    uint8_t *longer = malloc(scan + repeats * length + 2);
    assert_non_null(longer);
    memcpy(longer, bytes, scan);
    for (size_t i = 0; i < repeats; i++)
        memcpy(longer + scan + i * length, bytes + scan, length);
    memcpy(longer + scan + repeats * length, "\xff\xd9", 2);
    expect(longer, scan + repeats * length + 2, AACLIP_ERROR_FORMAT, "at most 500");
    size_t frame = find(longer, scan, "\xff\xc2", 2);
    memcpy(longer + frame + 5, "\x34\x41\x34\x41", 4); /* 13377 a side: a minute's work */
    expect(longer, scan + 400 * length, AACLIP_ERROR_FORMAT, "expected at least 349");
    free(longer);
    free(bytes);
}

#else

static void jpeg_headers_that_lie(void **state)
{
    (void)state;
    skip(); /* a build without JPEG */
}

static void endless_scans_are_refused(void **state)
{
    (void)state;
    skip();
}
#endif

static void allocations_may_fail(void **state)
{
    (void)state;
    static const char *const names[] = {
        "bits8.bmp",           "rle4.bmp",
#ifdef AAC_HAVE_PNG
        "rgb8-interlaced.png", "grey16.png", "palette4.png",
#endif
#ifdef AAC_HAVE_JPEG
        "colour-420.jpg",
#endif
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        uint8_t *bytes = golden_bytes(names[i], &size);
        aaclip_image *image;
        assert_int_equal(decode_exact(&image, bytes, size), AACLIP_OK);
        const uint32_t crc = image_crc(image);
        aaclip_image_close(&image);
        for (long n = 0, refused = 1; refused; n++) {
            fail_allocations_after(n);
            aaclip_status status = aaclip_image_decode(&image, bytes, size, "picture");
            refused = stop_failing_allocations();
            assert_int_equal(status, refused ? AACLIP_ERROR_OUT_OF_MEMORY : AACLIP_OK);
            if (!status)
                assert_int_equal(image_crc(image), crc);
            aaclip_image_close(&image);
        }
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_equals_pillow),    cmocka_unit_test(refusals_are_clear),
        cmocka_unit_test(truncated_files_are_refused), cmocka_unit_test(damaged_files_do_not_crash),
        cmocka_unit_test(png_headers_that_lie),        cmocka_unit_test(png_chunks_out_of_order),
        cmocka_unit_test(bmp_headers_that_lie),        cmocka_unit_test(run_lengths_stay_inside),
        cmocka_unit_test(jpeg_headers_that_lie),       cmocka_unit_test(endless_scans_are_refused),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
