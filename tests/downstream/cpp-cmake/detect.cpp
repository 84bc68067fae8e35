// detect MODEL TEXT_ADAPTER IMAGE_ADAPTER PHOTO
#include <cstdio>

#include <aaclip/aaclip.hpp>

int main(int argc, char **argv)
{
    if (argc != 5)
        return std::fprintf(stderr, "usage: detect MODEL TEXT IMAGE PHOTO\n"), 2;
    try {
        const aaclip::model model(argv[1]);
        const aaclip::adapters adapters(model, {argv[2], argv[3]});
        aaclip::text_cache cache(model, adapters);
        cache.build("object", "metal nut");
        aaclip::detector detector(model, adapters, cache);
        const auto found = detector.detect(aaclip::image(argv[4]), "object");
        std::printf("score %.9g\n", static_cast<double>(found.score));
    } catch (const aaclip::error &error) {
        std::fprintf(stderr, "%s: %s\n", aaclip_status_string(error.status()), error.what());
        return 1;
    }
    return 0;
}
