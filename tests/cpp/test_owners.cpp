/* Owners: moves, closing in every order, and what they offer beyond the C functions. */
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <thread>
#include <type_traits>

#include <aaclip/aaclip.hpp>

#include "expect.hpp"

template <typename Owner> static void moves_only()
{
    static_assert(!std::is_copy_constructible<Owner>::value, "two owners of a handle");
    static_assert(!std::is_copy_assignable<Owner>::value, "two owners of a handle");
    static_assert(std::is_nothrow_move_constructible<Owner>::value, "std::vector would copy");
    static_assert(std::is_nothrow_move_assignable<Owner>::value, "std::vector would copy");
    static_assert(std::is_nothrow_default_constructible<Owner>::value, "empty");
    Owner empty, other(std::move(empty));
    other.reset();
    EXPECT(!empty && !other);
}

struct fixture {
    aaclip::model model;
    aaclip::adapters adapters;
    aaclip::text_cache cache;
    aaclip::detector detector;
    aaclip::image image;

    fixture()
        : model(NANO_MODEL), adapters(model, {TEXT_FILE, IMAGE_FILE}), cache(model, adapters),
          image(PHOTO)
    {
        cache.build_all({"cat", "nut"}, {"cat", "metal nut"});
        detector = aaclip::detector(model, adapters, cache);
    }
};

static void moving_takes_the_handle()
{
    aaclip::model first(NANO_MODEL);
    aaclip_model *const handle = first.get();
    aaclip::model second(std::move(first));
    EXPECT(!first && second.get() == handle);
    first = std::move(second);
    EXPECT(!second && first.get() == handle);
    aaclip::model &same = first;
    first = std::move(same);
    EXPECT(first.get() == handle);
    std::vector<aaclip::image> images;
    for (int i = 0; i < 20; i++)
        images.emplace_back(PHOTO);
    images.erase(images.begin(), images.begin() + 7);
    EXPECT(images.size() == 13 && images.back().pixels().width > 0);
    first = aaclip::model(NANO_MODEL); /* closes what it had */
    EXPECT(first.info().embedding > 0);
}

/* A progress callback that was moved along with its cache is still the one that is called. */
static void a_moved_cache_calls_back()
{
    const fixture all;
    std::size_t calls = 0;
    std::vector<aaclip::text_cache> caches;
    caches.emplace_back(all.model, all.adapters, nullptr, [&calls](std::size_t, std::size_t) {
        calls++;
        return true;
    });
    aaclip::text_cache moved;
    moved = std::move(caches.front());
    caches.clear();
    moved.build("bottle", "bottle");
    EXPECT(calls > 0 && moved.size() == 1 && std::string(moved.name(0)) == "bottle");
}

static void owners_close_in_every_order()
{
    std::array<int, 4> order = {{0, 1, 2, 3}};
    const fixture kept;
    const float expected = fixture().detector.detect(kept.image, "cat").score;
    do {
        fixture all;
        for (const int what : order) {
            if (what == 0)
                all.model.reset();
            else if (what == 1)
                all.adapters.reset();
            else if (what == 2)
                all.cache.reset();
            else
                all.detector.reset();
            if (all.detector)
                EXPECT(all.detector.detect(kept.image, "cat").score == expected);
        }
        EXPECT(!all.model && !all.adapters && !all.cache && !all.detector);
    } while (std::next_permutation(order.begin(), order.end()));
}

/* The C functions take what an owner has, and an owner what a C function makes. */
static void c_functions_take_owners()
{
    aaclip::model model;
    aaclip::check(aaclip_model_open(model.out(), NANO_MODEL, nullptr));
    aaclip::check(
        aaclip_model_open(model.out(), NANO_MODEL, nullptr)); /* the first one is closed */
    EXPECT(aaclip_model_operation_backend(model.get(), "linear") != nullptr);
    EXPECT(model.info().has_text);
}

static void options_are_the_librarys()
{
    aaclip_trainer_options expected;
    aaclip_trainer_options_init(&expected, AACLIP_STAGE_IMAGE, AACLIP_PROFILE_PUBLISHED);
    const auto found = aaclip::defaults(aaclip_trainer_options_init_sized, AACLIP_STAGE_IMAGE,
                                        AACLIP_PROFILE_PUBLISHED);
    EXPECT(found.batch_size == expected.batch_size && found.stage == expected.stage);
    EXPECT(found.milestone_count == expected.milestone_count && found.gamma == expected.gamma);
    EXPECT(aaclip::defaults(aaclip_metrics_options_init_sized).bins == 65536);
    EXPECT(aaclip::defaults(aaclip_config_init_sized, AACLIP_PROFILE_PUBLISHED).profile ==
           AACLIP_PROFILE_PUBLISHED);
}

static void options_are_given_either_way()
{
    auto for_model = aaclip::defaults(aaclip_model_options_init_sized);
    for_model.backend = "reference";
    const aaclip::model by_reference(NANO_MODEL, for_model), by_pointer(NANO_MODEL, &for_model);
    for (const aaclip::model *model : {&by_reference, &by_pointer})
        EXPECT(std::string(model->info().backend) == "reference");

    const aaclip::adapters none;
    auto for_cache = aaclip::defaults(aaclip_text_cache_options_init_sized);
    aaclip_status status = AACLIP_OK;
    for_cache.prompts = "no-such-file.json";
    const aaclip::text_cache first(by_reference, none, for_cache, nullptr, &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND);
    const aaclip::text_cache second(by_reference, none, &for_cache, nullptr, &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND);

    const aaclip::dataset parts(TRAINING_SET);
    auto for_trainer = aaclip::defaults(aaclip_trainer_options_init_sized, AACLIP_STAGE_TEXT,
                                        AACLIP_PROFILE_DOCUMENT);
    for_trainer.image_size = 56;
    const aaclip::text_cache empty;
    EXPECT(aaclip::trainer(by_reference, parts, empty, for_trainer).get() != nullptr);
    EXPECT(aaclip::trainer(by_reference, parts, empty, &for_trainer).get() != nullptr);
    const auto go_on = [](const aaclip_training_progress &) { return true; };
    EXPECT(!aaclip::trainer(by_reference, parts, empty, nullptr, go_on, &status));
    EXPECT(status == AACLIP_ERROR_INVALID_ARGUMENT);
}

/* Tests of other standards run beside this one. */
static std::string scratch(const char *name)
{
    return "cpp-" + std::to_string(__cplusplus) + "-" + name;
}

static void what_is_not_decided_is_not_good()
{
    fixture all;
    aaclip_status status = AACLIP_OK;
    EXPECT(aaclip::detection().decision() == aaclip::verdict::undecided);
    EXPECT(all.detector.detect(all.image, "cat").decision() == aaclip::verdict::undecided);
    auto calibration = aaclip::defaults(aaclip_calibration_init_sized);
    auto options = aaclip::defaults(aaclip_detector_options_init_sized);
    options.calibration = &calibration;
    for (const float threshold : {0.0F, 1.0F}) {
        calibration.image_threshold = threshold;
        aaclip::detector detector(all.model, all.adapters, all.cache, &options);
        EXPECT(detector.detect(all.image, "cat").decision() ==
               (threshold == 0 ? aaclip::verdict::defective : aaclip::verdict::good));
        EXPECT(detector.detect(all.image, "dog", &status).decision() == aaclip::verdict::undecided);
        EXPECT(status == AACLIP_ERROR_NOT_FOUND);
    }
}

/* From maps of good parts to thresholds in a file, and what they decide. */
static void thresholds_go_through_a_file()
{
    const float map[] = {0.1F, 0.2F, 0.3F, 0.9F}, scores[] = {0.1F, 0.4F, 0.2F, 0.8F};
    const std::uint8_t roi[] = {1, 1, 1, 0};
    const int labels[] = {0, 0, 0, 1};
    EXPECT(aaclip::peak({map, 2, 2}) == 0.9F && aaclip::peak({map, 2, 2}, {roi, 2, 2}) == 0.3F);
    EXPECT(aaclip::calibrate_quantile(scores, 0.25) == std::nextafter(0.4F, 1.0F));
    double f1 = 0;
    const float between = aaclip::calibrate_f1(scores, labels, &f1);
    EXPECT(f1 == 1.0 && between > 0.4F && between < 0.8F);
    EXPECT(aaclip::calibrate_f1(scores, labels) == between);

    const std::string path = scratch("calibration.json");
    auto written = aaclip::defaults(aaclip_calibration_init_sized);
    written.image_threshold = between;
    written.map_threshold = 0.5F;
    aaclip::save_calibration(written, path);
    const aaclip_calibration loaded = aaclip::load_calibration(path);
    EXPECT(loaded.image_threshold == between && loaded.map_threshold == 0.5F);
    std::remove(path.c_str());

    EXPECT(aaclip::decide(loaded, 0.8F, {}) == aaclip::verdict::defective);
    EXPECT(aaclip::decide(loaded, 0.4F, {}) == aaclip::verdict::good);
    EXPECT(aaclip::decide(loaded, 0.8F, {map, 2, 2}, {roi, 2, 2}) == aaclip::verdict::good);

    aaclip_status status = AACLIP_OK;
    const auto failed = [&status] {
        const bool told = status != AACLIP_OK;
        status = AACLIP_OK;
        return told;
    };
    EXPECT(std::isnan(aaclip::peak({map, 2, 2}, {roi, 2, 1}, &status)) && failed());
    EXPECT(std::isnan(aaclip::peak({}, {}, &status)) && failed());
    EXPECT(std::isnan(aaclip::calibrate_quantile({}, 0.25, &status)) && failed());
    EXPECT(std::isnan(aaclip::calibrate_f1(scores, {labels, 3}, nullptr, &status)) && failed());
    const auto missing = aaclip::load_calibration("no-such-file.json", &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND && failed());
    const auto undecided = aaclip::verdict::undecided;
    EXPECT(aaclip::decide(missing, 0.1F, {}, {}, &status) == undecided && failed());
    EXPECT(aaclip::decide(loaded, 0.1F, {map, 2, 2}, {roi, 2, 1}, &status) == undecided);
    EXPECT(failed());
}

static std::vector<unsigned char> file_bytes(const std::string &path)
{
    std::vector<unsigned char> bytes(1 << 24);
    std::FILE *file = std::fopen(path.c_str(), "rb");
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
    std::fclose(file);
    return bytes;
}

static void bundles_and_pictures_are_written()
{
    fixture all;
    const std::string path = scratch("bundle.safetensors");
    aaclip::save_bundle(all.model, all.adapters, all.cache, path);
    aaclip::verify_file(path);
    const aaclip::model model(path);
    const aaclip::adapters adapters(model, path);
    const aaclip::text_cache cache(model, adapters, path);
    aaclip::detector detector(model, adapters, cache);
    const float score = all.detector.detect(all.image, "cat").score;
    EXPECT(detector.detect(all.image, "cat").score == score);

    const std::vector<unsigned char> bytes = file_bytes(path);
    const aaclip::model in_memory(bytes, "part");
    static_assert(
        !std::is_constructible<aaclip::model, std::vector<unsigned char>, const char *>::value,
        "bytes that would be gone");
    const auto own = aaclip::adapters::of_bundle(in_memory);
    const auto vectors = aaclip::text_cache::of_bundle(in_memory, own);
    EXPECT(vectors.pair("cat") == all.cache.pair("cat"));
    detector = aaclip::detector(in_memory, own, vectors);
    EXPECT(detector.detect(all.image, "cat").score == score);
    std::remove(path.c_str());
    aaclip_status status = AACLIP_OK;
    aaclip::verify_file(path, &status);
    EXPECT(status == AACLIP_ERROR_NOT_FOUND);

    const std::string picture = scratch("picture.png");
    aaclip::write_png(picture, all.image);
    EXPECT(aaclip::image(picture).pixels().width == all.image.pixels().width);
    std::remove(picture.c_str());
}

static void adapters_carry_a_calibration()
{
    fixture all;
    const std::string path = scratch("calibrated.safetensors");
    auto calibration = all.detector.calibration("cat");
    EXPECT(calibration.image_size == all.detector.image_size());
    EXPECT(std::string(calibration.class_name) == "cat");
    all.detector.set_calibration("cat", &calibration);
    EXPECT(all.detector.detect(all.image, "cat").decided);
    EXPECT(!all.detector.detect(all.image, "nut").decided);
    all.detector.set_calibration("cat", nullptr);
    EXPECT(!all.detector.detect(all.image, "cat").decided);
    calibration.image_threshold = 0.25F;
    all.adapters.save(path, &calibration);
    const aaclip::adapters opened(all.model, path);
    EXPECT(opened.calibration().image_threshold == 0.25F);
    EXPECT(opened.config().profile == all.adapters.config().profile);
    std::remove(path.c_str());
}

static void caches_and_data_sets_go_through_files()
{
    const fixture all;
    const std::string path = scratch("cache.safetensors");
    all.cache.save(path);
    const aaclip::text_cache opened(all.model, all.adapters, path);
    EXPECT(opened.size() == 2 && opened.pair("nut") == all.cache.pair("nut"));
    std::size_t calls = 0;
    const auto count = [&calls](std::size_t, std::size_t) { return ++calls > 0; };
    aaclip::text_cache continued(all.model, all.adapters, path, nullptr, count);
    continued.build("bottle", "bottle");
    EXPECT(continued.size() == 3 && calls > 0);
    aaclip_status status = AACLIP_OK;
    const char *const nowhere = nullptr; /* is no new cache */
    EXPECT(!aaclip::text_cache(all.model, all.adapters, nowhere, nullptr, nullptr, &status));
    EXPECT(status != AACLIP_OK);
    std::remove(path.c_str());

    const aaclip::dataset dataset(TRAINING_SET);
    const aaclip::dataset few = dataset.sample(1, 7);
    EXPECT(few.size() > 0 && few.size() < dataset.size());
    EXPECT(few[0].class_name != nullptr && (few[0].label == 0 || few[0].label == 1));
}

static void metrics_merge()
{
    aaclip::metrics all(nullptr), other(nullptr);
    const float map[] = {0.1F, 0.2F, 0.8F, 0.9F};
    const std::uint8_t mask[] = {0, 0, 1, 1};
    all.add("nut", {map, 2, 2}, {mask, 2, 2}, 0.9F, 1);
    other.add("nut", {map, 2, 2}, {}, 0.1F, 0);
    all.merge(std::move(other));
    EXPECT(!other);
    const aaclip_metric_values values = all.compute();
    EXPECT(values.images == 2 && values.image_auroc == 1.0 && values.pixel_auroc < 1.0);
    EXPECT(!all.curve(0, AACLIP_CURVE_PIXEL_ROC).empty());
}

static void a_flag_ends_calls()
{
    const aaclip::model model(NANO_MODEL);
    aaclip::cancel_flag outer, inner;
    aaclip_status status = AACLIP_OK;
    {
        const aaclip::cancel_scope around(outer);
        {
            const aaclip::cancel_scope scope(inner);
            inner.raise();
            model.save("not-written.safetensors", false, &status);
            EXPECT(status == AACLIP_ERROR_CANCELLED && inner.raised());
            inner.lower();
            EXPECT(!inner.raised());
        }
        outer.raise();
        model.save("not-written.safetensors", false, &status);
        EXPECT(status == AACLIP_ERROR_CANCELLED);
    }
    EXPECT(aaclip_watch_cancel(nullptr) == nullptr);
}

static bool is_cancelled(const aaclip::model &model)
{
    aaclip_status status = AACLIP_OK;
    model.save("not-written.safetensors", false, &status);
    std::remove("not-written.safetensors");
    return status == AACLIP_ERROR_CANCELLED;
}

static void a_deadline_ends_calls()
{
    using namespace std::chrono;
    const aaclip::model model(NANO_MODEL);
    aaclip::cancel_flag flag;
    {
        const aaclip::cancel_scope around(flag);
        const aaclip::deadline_scope outer(hours(1));
        {
            const aaclip::deadline_scope inner(milliseconds(0));
            EXPECT(is_cancelled(model));
            EXPECT(std::string(aaclip_last_error()).find("deadline") != std::string::npos);
            const aaclip::deadline_scope later(hours(2));
            EXPECT(is_cancelled(model)); /* not extended */
        }
        EXPECT(!is_cancelled(model));
        const double left = aaclip_set_deadline(3600);
        EXPECT(left <= 3600 && left > 3500);
        flag.raise();
        EXPECT(is_cancelled(model)); /* watched beside it */
    }
    {
        const aaclip::deadline_scope outer(milliseconds(20));
        {
            const aaclip::deadline_scope inner(hours(1));
            std::this_thread::sleep_for(milliseconds(30));
        }
        EXPECT(is_cancelled(model)); /* the time within the inner scope has passed, too */
    }
    EXPECT(aaclip_set_deadline(INFINITY) == INFINITY && !is_cancelled(model));
}

int main()
{
    moves_only<aaclip::model>();
    moves_only<aaclip::adapters>();
    moves_only<aaclip::text_cache>();
    moves_only<aaclip::detector>();
    moves_only<aaclip::image>();
    moves_only<aaclip::dataset>();
    moves_only<aaclip::metrics>();
    moves_only<aaclip::trainer>();
    moving_takes_the_handle();
    a_moved_cache_calls_back();
    owners_close_in_every_order();
    c_functions_take_owners();
    options_are_the_librarys();
    options_are_given_either_way();
    what_is_not_decided_is_not_good();
    thresholds_go_through_a_file();
    bundles_and_pictures_are_written();
    adapters_carry_a_calibration();
    caches_and_data_sets_go_through_files();
    metrics_merge();
    a_flag_ends_calls();
    a_deadline_ends_calls();
    return failures != 0;
}
