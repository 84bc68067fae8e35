/* What the C++ tests share: checks that count, and where the random model lies. */
#ifndef TEST_CPP_EXPECT_HPP
#define TEST_CPP_EXPECT_HPP

#include <cstdio>

#define NANO         GOLDEN_DIR "/nano"
#define NANO_MODEL   NANO "/clip.pt"
#define TEXT_FILE    NANO "/adapters-published/text_adapter.pth"
#define IMAGE_FILE   NANO "/adapters-published/image_adapter_20.pth"
#define PHOTO        GOLDEN_DIR "/images/chelsea.png"
#define TRAINING_SET GOLDEN_DIR "/train/manifest.jsonl"

static int failures;

#define EXPECT(condition) expect((condition), __FILE__, __LINE__, #condition)

static inline void expect(bool condition, const char *file, int line, const char *text)
{
    if (!condition) {
        std::fprintf(stderr, "%s:%d: %s\n", file, line, text);
        failures++;
    }
}

#endif
