// detect MODEL TEXT_ADAPTER IMAGE_ADAPTER PHOTO: cv::Mat of every kind is used without a copy.
// Prints the score of the photograph as read by cv::imread; fails if another kind gives another
// map.
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <aaclip/aaclip.hpp>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

// A view of a Mat's pixels; the Mat must outlive it.
static aaclip_image_view view_of(const cv::Mat &mat)
{
    aaclip_pixel_format format;
    switch (mat.type()) {
    case CV_8UC1:
        format = AACLIP_PIXEL_GRAY8;
        break;
    case CV_8UC3:
        format = AACLIP_PIXEL_BGR8;
        break;
    case CV_8UC4:
        format = AACLIP_PIXEL_BGRA8;
        break;
    case CV_16UC1:
        format = AACLIP_PIXEL_GRAY16;
        break;
    case CV_16UC3:
        format = AACLIP_PIXEL_BGR16;
        break;
    default:
        throw std::invalid_argument("a Mat of type " + std::to_string(mat.type()));
    }
    return {mat.data, static_cast<std::uint32_t>(mat.cols), static_cast<std::uint32_t>(mat.rows),
            mat.step, format};
}

// The same picture inside a larger one: its rows are not contiguous.
static cv::Mat strided(const cv::Mat &mat)
{
    cv::Mat framed;
    cv::copyMakeBorder(mat, framed, 3, 5, 7, 11, cv::BORDER_CONSTANT, cv::Scalar::all(200));
    const cv::Mat inside = framed(cv::Rect(7, 3, mat.cols, mat.rows));
    if (inside.isContinuous())
        throw std::logic_error("a strided Mat expected");
    return inside;
}

static cv::Mat converted(const cv::Mat &mat, int code)
{
    cv::Mat other;
    cv::cvtColor(mat, other, code);
    return other;
}

static cv::Mat sixteen_bit(const cv::Mat &mat)
{
    cv::Mat other;
    mat.convertTo(other, CV_16U, 257);
    return other;
}

// The heat map as a Mat, in the detector's memory.
static cv::Mat heat(const aaclip::detection &found)
{
    const auto map = found.heat();
    return cv::Mat(static_cast<int>(map.height()), static_cast<int>(map.width()), CV_32F,
                   const_cast<float *>(map.data()));
}

static bool same(aaclip::detector &detector, const char *kind, const cv::Mat &expected,
                 const cv::Mat &mat)
{
    const aaclip_image_view view = view_of(mat);
    const cv::Mat found = heat(detector.detect(view, "object"));
    const bool equal = view.pixels == mat.data && found.size() == expected.size() &&
                       cv::norm(found, expected, cv::NORM_INF) == 0;
    if (!equal)
        std::fprintf(stderr, "%s: another map\n", kind);
    return equal;
}

static int run(char **files)
{
    const aaclip::model model(files[0]);
    const aaclip::adapters adapters(model, {files[1], files[2]});
    aaclip::text_cache cache(model, adapters);
    cache.build("object", "metal nut");
    aaclip::detector detector(model, adapters, cache);

    const cv::Mat bgr = cv::imread(files[3], cv::IMREAD_COLOR);
    if (bgr.empty())
        throw std::runtime_error(std::string(files[3]) + ": OpenCV does not read it");
    const cv::Mat bgra = converted(bgr, cv::COLOR_BGR2BGRA);
    const cv::Mat grey = converted(bgr, cv::COLOR_BGR2GRAY);
    const cv::Mat grey_bgr = converted(grey, cv::COLOR_GRAY2BGR);

    const aaclip::detection found = detector.detect(view_of(bgr), "object");
    const float score = found.score;
    const cv::Mat colour_map = heat(found).clone(); // the next detection overwrites it
    bool right = same(detector, "strided BGR", colour_map, strided(bgr));
    right &= same(detector, "BGRA", colour_map, bgra);
    right &= same(detector, "strided BGRA", colour_map, strided(bgra));
    right &= same(detector, "16-bit BGR", colour_map, sixteen_bit(bgr));
    right &= same(detector, "strided 16-bit BGR", colour_map, strided(sixteen_bit(bgr)));

    const cv::Mat grey_map = heat(detector.detect(view_of(grey_bgr), "object")).clone();
    right &= cv::norm(grey_map, colour_map, cv::NORM_INF) > 0;
    right &= same(detector, "grey", grey_map, grey);
    right &= same(detector, "strided grey", grey_map, strided(grey));
    right &= same(detector, "16-bit grey", grey_map, sixteen_bit(grey));
    right &= same(detector, "strided 16-bit grey", grey_map, strided(sixteen_bit(grey)));
    std::printf("score %.9g\n", static_cast<double>(score));
    return right ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return std::fprintf(stderr, "usage: detect MODEL TEXT IMAGE PHOTO\n"), 2;
    try {
        return run(argv + 1);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
