/* The same classes compiled without exceptions: every call returns its status. */
#include <aaclip/aaclip.hpp>

#include "expect.hpp"

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#error "compile with -fno-exceptions"
#endif

static void failures_are_told()
{
    aaclip_status status = AACLIP_OK;
    const aaclip::model missing("no-such-file.pt", nullptr, &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND && !missing);
    EXPECT(std::string(aaclip_last_error()).find("no-such-file.pt") != std::string::npos);
    aaclip::model model;
    EXPECT(aaclip_model_open(model.out(), "no-such-file.pt", nullptr) == AACLIP_ERROR_NOT_FOUND);
    EXPECT(!model);
    const aaclip::text_cache cache(missing, aaclip::adapters(), nullptr, nullptr, &status);
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT && !cache);
}

static void a_photograph_is_detected()
{
    aaclip_status status = AACLIP_ERROR_IO;
    const aaclip::model model(NANO_MODEL, nullptr, &status);
    EXPECT(!status && model.info(&status).embedding > 0);
    const aaclip::adapters adapters(model, {TEXT_FILE, IMAGE_FILE}, nullptr, &status);
    EXPECT(!status);
    bool go_on = false;
    aaclip::text_cache cache(
        model, adapters, nullptr, [&go_on](std::size_t, std::size_t) { return go_on; }, &status);
    EXPECT(!status);
    cache.build("cat", "cat", &status);
    EXPECT(status == AACLIP_ERROR_CANCELLED && cache.size() == 0);
    go_on = true;
    cache.build("cat", "cat", &status);
    EXPECT(!status && cache.size() == 1);
    aaclip::detector detector(model, adapters, cache, nullptr, &status);
    const aaclip::image image(PHOTO, &status);
    const aaclip::detection found = detector.detect(image, "cat", &status);
    EXPECT(!status && found.heat().size() > 0 && found.score > 0 && found.score < 1);
    EXPECT(detector.detect(image, "dog", &status).heat().size() == 0);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND);
    EXPECT(found.decision() == aaclip::verdict::undecided);
    const std::uint8_t roi[] = {1, 0};
    detector.set_roi({roi, 1, 1, 2, AACLIP_PIXEL_GRAY8}, &status);
    EXPECT(status == AACLIP_OK);
    detector.set_roi({roi, 0, 0}, &status);
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    detector.clear_roi(&status);
    EXPECT(status == AACLIP_OK);
    const aaclip_calibration none = aaclip::load_calibration("no-such-file.json", &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND);
    EXPECT(aaclip::decide(none, 0, {}, {}, &status) == aaclip::verdict::undecided);
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    const aaclip::text_cache opened(model, adapters, "no-such-file", nullptr, nullptr, &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND && !opened);
}

int main()
{
    failures_are_told();
    a_photograph_is_detected();
    return failures != 0;
}
