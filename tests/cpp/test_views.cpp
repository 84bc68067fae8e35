/* Views of pixels, maps and vectors: nothing is copied, and all are equivalent. */
#include <array>
#include <cmath>

#include <aaclip/aaclip.hpp>

#include "expect.hpp"

static float sum(aaclip::view<const float> values)
{
    float total = 0;
    for (const float value : values)
        total += value;
    return total;
}

static void views_take_what_is_contiguous()
{
    const float array[] = {1, 2, 3};
    std::vector<float> vector = {1, 2, 3};
    const std::array<float, 3> standard = {{1, 2, 3}};
    EXPECT(sum(array) == 6 && sum(vector) == 6 && sum(standard) == 6 && sum({array, 2}) == 3);
    aaclip::view<float> written(vector);
    written[1] = 7;
    EXPECT(vector[1] == 7 && written.data() == vector.data() && sum(written) == 11);
    static_assert(!std::is_constructible<aaclip::view<float>, const std::vector<float> &>::value,
                  "a const vector may not be written");
    static_assert(!std::is_constructible<aaclip::view<const float>, std::vector<double> &>::value,
                  "doubles are no floats");
}

static std::string joined(const aaclip::c_strings &texts)
{
    std::string all;
    for (std::size_t i = 0; i < texts.size(); i++)
        all += std::string(texts.data()[i]) + ";";
    return all;
}

static void strings_come_in_many_ways()
{
    const char *const pointers[] = {"a", "b"};
    const char *assignable[] = {"a", "b"};
    const std::string strings[] = {"a", "b"};
    const std::array<std::string, 2> array = {{"a", "b"}};
    const std::array<const char *, 2> of_pointers = {{"a", "b"}};
    std::vector<std::string> vector = {"a", "b"};
    char word[] = "word";
    for (const std::string &found :
         {joined(pointers), joined(assignable), joined(strings), joined(array), joined(of_pointers),
          joined(vector), joined(std::vector<const char *>(2, "a")), joined({"a", array[1]})})
        EXPECT(found == "a;b;" || found == "a;a;");
    EXPECT(joined("word") == "word;" && joined(word) == "word;" &&
           joined(std::string("word")) == "word;" && joined({}).empty());
    const aaclip::c_strings copied = aaclip::c_strings(array);
    EXPECT(joined(copied) == "a;b;" && copied.data()[0] == array[0].c_str());
    static_assert(!std::is_constructible<aaclip::c_strings, std::vector<int> &>::value,
                  "numbers are no text");
#if __cplusplus >= 202002L
    EXPECT(joined(std::span<const char *const>(pointers)) == "a;b;");
#endif
}

static void grids_know_their_rows()
{
    std::vector<float> values = {0, 1, 2, 3, 4, 5};
    const aaclip::grid<float> grid(values.data(), 3, 2);
    EXPECT(grid(2, 1) == 5 && grid(0, 1) == 3 && grid.size() == 6);
    grid(1, 1) = 9;
    EXPECT(aaclip::grid<const float>(grid)(1, 1) == 9 && values[4] == 9);
    const aaclip::grid<const float> none(nullptr, 3, 2);
    EXPECT(none.size() == 0 && none.width() == 0);
    const auto regions = aaclip::find_regions(grid, 4);
    EXPECT(regions.size() == 1 && regions[0].area == 2 && regions[0].peak == 9);
    const std::uint8_t roi[] = {0, 0, 0, 0, 0, 1};
    EXPECT(aaclip::find_regions(grid, 4, 0, {roi, 3, 2})[0].area == 1);
    EXPECT(aaclip::find_regions(grid, 10).empty());
    const auto larger = aaclip::resize(grid, 5, 3); /* corners stay */
    EXPECT(larger.size() == 15 && larger[0] == 0 && larger[4] == 2 && larger[14] == 5);
}

#if __cplusplus >= 202002L
static_assert(std::is_convertible_v<std::span<const float>, aaclip::view<const float>>);
static_assert(std::is_convertible_v<aaclip::view<const float>, std::span<const float>>);
static_assert(std::is_convertible_v<aaclip::grid<const float>, std::span<const float>>);
static_assert(!std::is_convertible_v<aaclip::view<const float>, std::span<float>>);

static void spans_and_views_are_one()
{
    const std::vector<float> vector = {1, 2, 3};
    const std::span<const float> span(vector);
    const aaclip::view<const float> view = span;
    EXPECT(view.data() == vector.data() && view.size() == 3);
    const std::span<const float> back = view;
    EXPECT(back.data() == vector.data() && view.span().size() == 3);
    EXPECT(sum(span.subspan(1)) == 5);
}
#endif

/* One photograph in the memory layouts that cameras give; rows are padded. */
static std::vector<std::uint8_t> rearrange(const aaclip_image_view &rgb, const int *channels,
                                           std::size_t count, std::size_t stride)
{
    std::vector<std::uint8_t> pixels(stride * rgb.height, 0xaa);
    const auto *from = static_cast<const std::uint8_t *>(rgb.pixels);
    for (std::size_t y = 0; y < rgb.height; y++)
        for (std::size_t x = 0; x < rgb.width; x++)
            for (std::size_t c = 0; c < count; c++)
                pixels[y * stride + x * count + c] =
                    channels[c] < 0 ? 77 : from[(y * rgb.width + x) * 3 + std::size_t(channels[c])];
    return pixels;
}

static void every_layout_gives_the_same_map()
{
    const aaclip::model model(NANO_MODEL);
    aaclip::text_cache cache(model, aaclip::adapters());
    cache.build("cat", "cat");
    auto options = aaclip::defaults(aaclip_detector_options_init_sized);
    options.keep_features = true;
    aaclip::detector detector(model, aaclip::adapters(), cache, &options);
    const aaclip::image image(PHOTO);
    const aaclip_image_view rgb = image;
    const std::size_t width = rgb.width;
    const int bgr_order[] = {2, 1, 0}, bgra_order[] = {2, 1, 0, -1};
    const auto bgr = rearrange(rgb, bgr_order, 3, width * 3 + 5);
    const auto bgra = rearrange(rgb, bgra_order, 4, width * 4 + 12);
    const aaclip_image_view views[] = {
        rgb,
        {bgr.data(), rgb.width, rgb.height, width * 3 + 5, AACLIP_PIXEL_BGR8},
        {bgra.data(), rgb.width, rgb.height, width * 4 + 12, AACLIP_PIXEL_BGRA8},
    };
    const auto all = detector.detect_batch(views, {"cat", "cat", "cat"});
    EXPECT(all.size() == 3);
    EXPECT(detector.detect_batch({}, {}).empty());
    for (const aaclip::detection &one : all) {
        EXPECT(one.score == all[0].score && std::isfinite(one.score));
        EXPECT(one.heat().width() == detector.image_size() && one.heat().size() > 0);
        EXPECT(std::vector<float>(one.heat().begin(), one.heat().end()) ==
               std::vector<float>(all[0].heat().begin(), all[0].heat().end()));
        EXPECT(one.feature().size() == model.info().embedding);
        EXPECT(one.patches().size() ==
               std::size_t{one.level_count} * one.patch_rows * one.patch_columns * one.embedding);
    }
    const float score = all[0].score;
    EXPECT(detector.detect(image, std::string("cat")).score == score);

    const auto one = detector.detect(image, "cat");
    const auto large =
        aaclip::probability(aaclip::resize(one.heat(), rgb.width, rgb.height), one.level_count);
    for (const float value : large)
        EXPECT(value >= 0 && value <= 1);
    const auto *bytes = static_cast<const std::uint8_t *>(rgb.pixels);
    EXPECT(aaclip::window(rgb, 0, 255) ==
           std::vector<std::uint8_t>(bytes, bytes + width * rgb.height * 3));
    const auto picture = aaclip::overlay(rgb, {large.data(), rgb.width, rgb.height}, 0.5F);
    EXPECT(picture.size() == width * rgb.height * 3);

    /* The same in buffers of the caller. */
    std::vector<float> map(width * rgb.height);
    aaclip::resize(one.heat(), {map.data(), rgb.width, rgb.height});
    aaclip::probability(map, one.level_count, map);
    EXPECT(map == large);
    std::vector<std::uint8_t> buffer(picture.size() + 1, 7);
    const auto first = [&buffer] {
        return std::vector<std::uint8_t>(buffer.begin(), buffer.end() - 1);
    };
    aaclip::overlay(rgb, {map.data(), rgb.width, rgb.height}, 0.5F, buffer);
    EXPECT(first() == picture && buffer.back() == 7);
    aaclip::window(rgb, 0, 100, buffer);
    EXPECT(first() == aaclip::window(rgb, 0, 100) && buffer.back() == 7);

    aaclip_status status = AACLIP_OK;
    const aaclip::view<std::uint8_t> small(buffer.data(), picture.size() - 1);
    aaclip::window(rgb, 0, 100, small, &status);
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip::window({buffer.data(), 0xffffffffU, 0xffffffffU, 1, AACLIP_PIXEL_GRAY8}, 0, 1, buffer,
                   &(status = AACLIP_OK));
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip::overlay(rgb, {map.data(), rgb.width, rgb.height}, 0.5F, small, &(status = AACLIP_OK));
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip::overlay(rgb, one.heat(), 0.5F, buffer, &(status = AACLIP_OK));
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip::resize(one.heat(), {}, &(status = AACLIP_OK));
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    aaclip::probability(map, 1, {map.data(), 1}, &(status = AACLIP_OK));
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
}

/* A region of interest whose rows are padded, as in a part of a larger mask. */
static void a_roi_may_have_a_stride()
{
    const aaclip::model model(NANO_MODEL);
    aaclip::text_cache cache(model, aaclip::adapters());
    cache.build("cat", "cat");
    auto calibration = aaclip::defaults(aaclip_calibration_init_sized);
    calibration.map_threshold = 0; /* a region is the region of interest */
    auto options = aaclip::defaults(aaclip_detector_options_init_sized);
    options.calibration = &calibration;
    options.find_regions = true;
    aaclip::detector detector(model, aaclip::adapters(), cache, &options);
    const aaclip::image image(PHOTO);
    const std::uint32_t width = image.pixels().width, height = image.pixels().height;
    const auto looks_at = [&](std::uint32_t x, std::uint32_t y, std::uint32_t columns,
                              std::uint32_t rows) {
        const auto defects = detector.detect(image, "cat").defects();
        return defects.size() == 1 && defects[0].x == x && defects[0].y == y &&
               defects[0].width == columns && defects[0].height == rows;
    };
    EXPECT(looks_at(0, 0, width, height));
    const std::uint8_t compact[] = {0, 1}, padded[] = {0, 0, 9, 9, 0, 1};
    detector.set_roi({compact, 1, 2});
    EXPECT(looks_at(0, height / 2, width, height - height / 2));
    detector.set_roi({padded, 2, 2, 4, AACLIP_PIXEL_GRAY8});
    EXPECT(looks_at(width - width / 2, height / 2, width / 2, height - height / 2));

    /* What is refused leaves it as it was. */
    aaclip_status status = AACLIP_OK;
    const auto refused = [&status] {
        const bool invalid = status == AACLIP_ERROR_INVALID_ARGUMENT;
        status = AACLIP_OK;
        return invalid;
    };
    const aaclip_image_view views[] = {
        {padded, 2, 2, 4, AACLIP_PIXEL_RGB8},  {nullptr, 2, 2, 4, AACLIP_PIXEL_GRAY8},
        {padded, 0, 2, 4, AACLIP_PIXEL_GRAY8}, {padded, 2, 0, 4, AACLIP_PIXEL_GRAY8},
        {padded, 2, 2, 1, AACLIP_PIXEL_GRAY8}, {nullptr, 0, 0, 0, AACLIP_PIXEL_GRAY8},
    };
    for (const aaclip_image_view &view : views) {
        detector.set_roi(view, &status);
        EXPECT(refused());
    }
    detector.set_roi(aaclip::grid<const std::uint8_t>(), &status);
    EXPECT(refused());
    try {
        detector.set_roi({compact, 0, 2});
        EXPECT(false);
    } catch (const aaclip::error &error) {
        EXPECT(std::string(error.what()).find("clear_roi") != std::string::npos);
    }
    EXPECT(looks_at(width - width / 2, height / 2, width / 2, height - height / 2));
    detector.clear_roi();
    EXPECT(looks_at(0, 0, width, height));
    aaclip::detector().clear_roi(&status);
    EXPECT(refused());
}

static void images_decode_from_memory()
{
    std::vector<unsigned char> bytes;
    std::FILE *file = std::fopen(PHOTO, "rb");
    EXPECT(file != nullptr);
    for (int byte = 0; file && (byte = std::fgetc(file)) != EOF;)
        bytes.push_back(static_cast<unsigned char>(byte));
    if (file)
        std::fclose(file);
    const aaclip::image decoded(bytes, "chelsea"), opened(PHOTO);
    EXPECT(decoded.pixels().width == opened.pixels().width && decoded.pixels().height > 0);
}

int main()
{
    views_take_what_is_contiguous();
    strings_come_in_many_ways();
    grids_know_their_rows();
#if __cplusplus >= 202002L
    spans_and_views_are_one();
#endif
    every_layout_gives_the_same_map();
    a_roi_may_have_a_stride();
    images_decode_from_memory();
    return failures != 0;
}
