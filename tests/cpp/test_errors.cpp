/* Failures: thrown with the library's text or written to a status; callbacks that throw. */
#include <atomic>
#include <stdexcept>
#include <thread>

#include <aaclip/aaclip.hpp>

#include "expect.hpp"

/* Runs `function`, which must throw a Thrown, and returns a copy of it. */
template <typename Thrown, typename Function> static Thrown thrown_by(const Function &function)
{
    try {
        function();
    } catch (const Thrown &thrown) {
        return thrown;
    }
    throw std::logic_error("nothing was thrown");
}

static bool has(const char *text, const char *part)
{
    return std::string(text).find(part) != std::string::npos;
}

static void errors_carry_status_and_text()
{
    const auto missing = thrown_by<aaclip::error>([] { aaclip::model model("no-such-file.pt"); });
    EXPECT(missing.status() == AACLIP_ERROR_NOT_FOUND);
    EXPECT(has(missing.what(), "no-such-file.pt"));
    EXPECT(std::string(missing.what()) == aaclip_last_error());
    const std::runtime_error &base = missing; /* what other code catches */
    EXPECT(has(base.what(), "no-such-file.pt"));

    const aaclip::model model(NANO_MODEL);
    const auto format =
        thrown_by<aaclip::error>([&] { aaclip::adapters adapters(model, {PHOTO}); });
    EXPECT(format.status() != AACLIP_OK && has(format.what(), "chelsea.png"));
    aaclip::detector empty;
    EXPECT(thrown_by<aaclip::error>([&] { empty.detect(aaclip::image(PHOTO), "cat"); }).status() ==
           AACLIP_ERROR_INVALID_ARGUMENT);
    EXPECT(thrown_by<aaclip::error>([] { aaclip::model().info(); }).status() ==
           AACLIP_ERROR_INVALID_ARGUMENT);
    EXPECT(thrown_by<aaclip::error>([] { aaclip::check(AACLIP_ERROR_IO); }).status() ==
           AACLIP_ERROR_IO);
}

static void a_status_takes_the_place_of_the_exception()
{
    aaclip_status status = AACLIP_OK;
    const aaclip::model missing("no-such-file.pt", nullptr, &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND && !missing);
    EXPECT(has(aaclip_last_error(), "no-such-file.pt"));
    const aaclip::model model(NANO_MODEL, nullptr, &status);
    EXPECT(status == AACLIP_OK && model);
    aaclip::text_cache cache(model, aaclip::adapters());
    EXPECT(cache.pair("unknown", &status).first.empty() && status == AACLIP_ERROR_NOT_FOUND);
}

/* Sizes that the library, which gets pointers, could not see. */
static void sizes_that_disagree_are_refused()
{
    const aaclip::model model(NANO_MODEL);
    aaclip::text_cache cache(model, aaclip::adapters());
    const std::vector<float> vector(model.info().embedding, 0.1F), shorter(vector.size() - 1);
    cache.add("right", vector, vector);
    const auto of_vectors = thrown_by<aaclip::error>([&] { cache.add("wrong", vector, shorter); });
    EXPECT(of_vectors.status() == AACLIP_ERROR_INVALID_ARGUMENT);
    EXPECT(has(of_vectors.what(), "text_cache.add") && cache.size() == 1);
    EXPECT(has(thrown_by<aaclip::error>([&] {
                   cache.build_all({"a", "b"}, {"a"});
               }).what(),
               "as many phrases"));

    const float map[] = {0, 1, 2, 3};
    const std::uint8_t roi[] = {1, 1};
    aaclip_status status = AACLIP_OK;
    EXPECT(aaclip::find_regions({map, 2, 2}, 1, 0, {roi, 2, 1}, &status).empty());
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
    EXPECT(thrown_by<aaclip::error>([&] {
               aaclip::overlay(aaclip::image(PHOTO), {map, 2, 2}, 0.5F);
           }).status() == AACLIP_ERROR_INVALID_ARGUMENT);
    EXPECT(thrown_by<aaclip::error>([&] { aaclip::window(aaclip::image(PHOTO), 1, 1); }).status() ==
           AACLIP_ERROR_INVALID_ARGUMENT);
    EXPECT(thrown_by<aaclip::error>([&] {
               aaclip::resize({map, 2, 2}, 0xffffffffU, 0xffffffffU);
           }).status() == AACLIP_ERROR_INVALID_ARGUMENT);
}

struct stop : std::runtime_error {
    explicit stop(int number) : std::runtime_error("stop"), code(number)
    {
    }
    int code;
};

static void an_exception_of_progress_comes_out()
{
    const aaclip::model model(NANO_MODEL);
    const aaclip::adapters adapters(model, {TEXT_FILE, IMAGE_FILE});
    int mode = 1;
    aaclip::text_cache cache(model, adapters, nullptr, [&mode](std::size_t, std::size_t) {
        if (mode == 1)
            throw stop(41);
        return mode != 2;
    });
    EXPECT(thrown_by<stop>([&] { cache.build("nut", "metal nut"); }).code == 41);
    EXPECT(cache.size() == 0);
    aaclip_status status = AACLIP_OK;
    EXPECT(thrown_by<stop>([&] { cache.build("nut", "metal nut", &status); }).code == 41);
    EXPECT(status == AACLIP_ERROR_CANCELLED);
    mode = 2; /* stopped without an exception: none is left over */
    EXPECT(thrown_by<aaclip::error>([&] { cache.build("nut", "metal nut"); }).status() ==
           AACLIP_ERROR_CANCELLED);
    mode = 1; /* nor from a call that bypasses this header */
    const char *name = "nut";
    EXPECT(aaclip_text_cache_build(cache.get(), &name, &name, 1) == AACLIP_ERROR_CANCELLED);
    mode = 2;
    EXPECT(thrown_by<aaclip::error>([&] { cache.build("nut", "metal nut"); }).status() ==
           AACLIP_ERROR_CANCELLED);
    mode = 0;
    cache.build("nut", "metal nut");
    EXPECT(cache.size() == 1);
}

/* What a callback threw out of a call that bypasses this header is not thrown by a later one. */
static void an_exception_belongs_to_its_call()
{
    const aaclip::model model(NANO_MODEL);
    bool throws = true;
    const auto progress = [&throws](std::size_t, std::size_t) -> bool {
        if (throws)
            throw stop(1);
        return true;
    };
    const aaclip::text_cache inner(model, aaclip::adapters(), nullptr, progress);
    const char *const name = "nut";
    const auto bypass = [&] {
        EXPECT(aaclip_text_cache_build(inner.get(), &name, &name, 1) == AACLIP_ERROR_CANCELLED);
    };
    bypass();
    aaclip::cancel_flag flag;
    flag.raise();
    aaclip_status status = AACLIP_OK;
    {
        const aaclip::cancel_scope scope(flag);
        model.save("not-written.safetensors", false, &status);
        EXPECT(status == AACLIP_ERROR_CANCELLED);
        EXPECT(thrown_by<aaclip::error>([&] { model.save("not-written.safetensors"); }).status() ==
               AACLIP_ERROR_CANCELLED);
    }

    /* Nor by the call whose callback made it, or by one that is stopped without an exception. */
    std::size_t calls = 0;
    aaclip::text_cache outer(model, aaclip::adapters(), nullptr, [&](std::size_t, std::size_t) {
        bypass();
        return ++calls != 1;
    });
    outer.build("nut", "nut", &status);
    EXPECT(status == AACLIP_ERROR_CANCELLED && calls == 1);
    outer.build("nut", "nut", &status);
    EXPECT(status == AACLIP_OK && outer.size() == 1);

    /* Within a callback, calls of this header throw as anywhere, and the outer call what is left.
     */
    aaclip::text_cache thrower(model, aaclip::adapters(), nullptr, progress);
    aaclip::text_cache nested(model, aaclip::adapters(), nullptr, [&](std::size_t, std::size_t) {
        EXPECT(thrown_by<stop>([&] { thrower.build("nut", "nut"); }).code == 1);
        if (throws)
            throw stop(2);
        return true;
    });
    EXPECT(thrown_by<stop>([&] { nested.build("nut", "nut"); }).code == 2);
    EXPECT(thrown_by<stop>([&] { thrower.encode("a nut"); }).code == 1);
    throws = false;
    EXPECT(!thrower.encode("a nut").empty());
}

/* Options that the caller gave are kept, but for the callback. */
static void progress_joins_the_options()
{
    const aaclip::model model(NANO_MODEL);
    auto options = aaclip::defaults(aaclip_text_cache_options_init_sized);
    options.vocabulary = "no-such-vocabulary.txt";
    aaclip::text_cache cache(model, aaclip::adapters(), &options,
                             [](std::size_t, std::size_t) { return true; });
    EXPECT(has(thrown_by<aaclip::error>([&] { cache.build("nut", "nut"); }).what(),
               "no-such-vocabulary.txt"));
}

/* Each thread gets what its own callback threw. */
static void exceptions_stay_in_their_thread()
{
    const aaclip::model model(NANO_MODEL);
    const std::thread::id first = std::this_thread::get_id();
    aaclip::text_cache cache(model, aaclip::adapters(), nullptr,
                             [first](std::size_t, std::size_t) -> bool {
                                 throw stop(std::this_thread::get_id() == first ? 1 : 2);
                             });
    const auto build = [&cache](int expected, int &right) {
        for (int i = 0; i < 20; i++)
            right += thrown_by<stop>([&] { cache.build("nut", "nut"); }).code == expected;
    };
    int here = 0, there = 0;
    std::thread other([&] { build(2, there); });
    build(1, here);
    other.join();
    EXPECT(here == 20 && there == 20);
}

static void an_exception_of_training_comes_out()
{
    const aaclip::model model(NANO_MODEL);
    const aaclip::adapters adapters(model, {TEXT_FILE, IMAGE_FILE});
    const aaclip::dataset dataset(TRAINING_SET);
    aaclip::text_cache cache(model, adapters);
    for (std::size_t i = 0; i < aaclip_dataset_class_count(dataset.get()); i++) {
        const char *name = aaclip_dataset_class_name(dataset.get(), i);
        cache.build(name, name);
    }
    auto options = aaclip::defaults(aaclip_trainer_options_init_sized, AACLIP_STAGE_IMAGE,
                                    AACLIP_PROFILE_PUBLISHED);
    options.image_size = 56;
    std::uint64_t steps = 0;
    aaclip::trainer made(model, dataset, cache, options,
                         [&steps](const aaclip_training_progress &progress) {
                             steps = progress.step;
                             if (progress.step == 1)
                                 throw stop(7);
                             return progress.step < 3;
                         });
    aaclip::trainer trainer;
    trainer = std::move(made);
    EXPECT(thrown_by<stop>([&] { trainer.epoch(); }).code == 7);
    EXPECT(steps == 1 && trainer.progress().step == 1);
    EXPECT(trainer.step().images > 0); /* and goes on */
    EXPECT(thrown_by<aaclip::error>([&] { trainer.step(); }).status() == AACLIP_ERROR_CANCELLED);
    EXPECT(steps == 3 && aaclip_adapters_has_image(trainer.copy().get()));
}

/* A log may be written from threads in which nothing could be stopped. */
static void an_exception_of_the_log_is_dropped()
{
    int messages = 0;
    aaclip::set_log(
        [&messages](aaclip_log_level, const char *) {
            messages++;
            throw stop(1);
        },
        AACLIP_LOG_DEBUG);
    const aaclip::dataset dataset(TRAINING_SET);
    EXPECT(dataset.sample(1000, 1).size() == dataset.size()); /* warns: there are fewer */
    EXPECT(messages > 0);
    aaclip::set_log(nullptr, AACLIP_LOG_ERROR);
    const int before = messages;
    dataset.sample(1000, 1);
    EXPECT(messages == before);
}

/* While other threads log: what a former callback had is free again. */
static void a_log_callback_is_replaced_at_any_time()
{
    const aaclip::dataset dataset(TRAINING_SET);
    std::atomic<bool> stop(false);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&] {
            while (!stop)
                dataset.sample(1000, 1); /* warns: there are fewer */
        });
    for (int i = 0; i < 50; i++) {
        const auto messages = std::make_shared<std::atomic<int>>(0);
        aaclip::set_log(
            [messages](aaclip_log_level, const char *) {
                std::this_thread::yield();
                ++*messages;
            },
            i % 2 ? AACLIP_LOG_WARNING : AACLIP_LOG_DEBUG);
        while (*messages == 0)
            std::this_thread::yield();
        aaclip::set_log(nullptr, AACLIP_LOG_ERROR);
        EXPECT(messages.use_count() == 1);
    }
    stop = true;
    for (std::thread &thread : threads)
        thread.join();
}

/* One that replaces itself lives until it ends; several threads do so at a time. */
static void a_log_callback_replaces_itself()
{
    const aaclip::dataset dataset(TRAINING_SET);
    std::atomic<int> first(0), second(0);
    const auto alive = std::make_shared<int>(0);
    std::vector<std::thread> threads;
    aaclip::set_log(
        [&first, &second, alive](aaclip_log_level, const char *) {
            aaclip::set_log([&second](aaclip_log_level, const char *) { second++; },
                            AACLIP_LOG_WARNING);
            first += alive.use_count() > 1;
        },
        AACLIP_LOG_WARNING);
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&] {
            while (first + second < 20)
                dataset.sample(1000, 1);
        });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT(first > 0 && second > 0 && alive.use_count() == 1);
    const int before = second;
    aaclip::set_log([&second](aaclip_log_level, const char *) { second++; }, AACLIP_LOG_ERROR);
    dataset.sample(1000, 1);
    EXPECT(second == before); /* a warning */
    aaclip::set_log(nullptr, AACLIP_LOG_ERROR);
}

int main()
{
    errors_carry_status_and_text();
    a_status_takes_the_place_of_the_exception();
    sizes_that_disagree_are_refused();
    an_exception_of_progress_comes_out();
    an_exception_belongs_to_its_call();
    progress_joins_the_options();
    exceptions_stay_in_their_thread();
    an_exception_of_training_comes_out();
    an_exception_of_the_log_is_dropped();
    a_log_callback_is_replaced_at_any_time();
    a_log_callback_replaces_itself();
    return failures != 0;
}
