/* Owners: moves, closing in every order, and what they offer beyond the C functions. */
#include <algorithm>
#include <array>
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

static void adapters_carry_a_calibration()
{
    const fixture all;
    const std::string path = scratch("calibrated.safetensors");
    auto calibration = all.detector.calibration("cat");
    EXPECT(calibration.image_size == all.detector.image_size());
    EXPECT(std::string(calibration.class_name) == "cat");
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
    const aaclip::text_cache opened(path, all.model, all.adapters);
    EXPECT(opened.size() == 2 && opened.pair("nut") == all.cache.pair("nut"));
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
    what_is_not_decided_is_not_good();
    adapters_carry_a_calibration();
    caches_and_data_sets_go_through_files();
    metrics_merge();
    a_flag_ends_calls();
    return failures != 0;
}
