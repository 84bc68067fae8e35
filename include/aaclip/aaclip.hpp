/*
 * libaaclip for C++11 and later: header-only, over the C headers, which document what is computed,
 * shapes, units and errors:
 *
 *     aaclip::model model("ViT-L-14-336px.pt");
 *     aaclip::adapters adapters(model, {"text_adapter.pth", "image_adapter_20.pth"});
 *     aaclip::text_cache cache(model, adapters);
 *     cache.build("nut", "metal nut");
 *     aaclip::detector detector(model, adapters, cache);
 *     aaclip::image image("part.png");
 *     aaclip::detection found = detector.detect(image, "nut");
 *     // found.score, found.heat()(x, y)
 *
 * Owners are move-only and may be closed in any order. A default-constructed or moved-from one is
 * empty; get() is then null, which the library rejects with INVALID_ARGUMENT, or takes as "none"
 * where the C function accepts NULL (no adapters). Threads: as for the C handle of the same name.
 *
 * Options are the C structs, initialised by the library, and given by reference or by pointer:
 *
 *     auto options = aaclip::defaults(aaclip_detector_options_init_sized);
 *     options.tile = 512;
 *     aaclip::detector detector(model, adapters, cache, options);
 *
 * Errors. Functions that can fail take `aaclip_status *status` last. If omitted, a failure is
 * thrown as aaclip::error. If given, *status receives the outcome, nothing is thrown for it and a
 * failed call returns an empty result; aaclip_last_error() has the text, unless this header itself
 * rejected sizes that disagree (INVALID_ARGUMENT). Exceptions of std::vector are thrown in either
 * case. With -fno-exceptions no argument has a default, and `status` must not be null.
 *
 * C functions take get(), or out() where they make a handle; check() throws the status that they
 * return. Functions without a handle are called directly:
 *
 *     aaclip::check(aaclip_limits_set(&limits));
 *
 * Callbacks may throw: the call of this header that they stop rethrows the exception. A C function
 * called directly returns CANCELLED, and the exception is lost.
 */
#ifndef AACLIP_HPP
#define AACLIP_HPP

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <aaclip/aaclip.h>

#if __cplusplus >= 202002L
#include <span>
#endif

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
#include <exception>
#include <stdexcept>
#define AACLIP_THROWS        1
#define AACLIP_OR(otherwise) = otherwise
#else
#define AACLIP_THROWS 0
#define AACLIP_OR(otherwise)
#endif
#define AACLIP_STATUS aaclip_status *status AACLIP_OR(nullptr)

namespace aaclip {
#if !AACLIP_THROWS
inline namespace status_only // distinct from the throwing functions, in a program that has both
{
#endif

#if AACLIP_THROWS
/** A failed call; what() is the library's text: file, tensor, what was expected and found. */
class error : public std::runtime_error {
  public:
    error(aaclip_status status, const char *text)
        : std::runtime_error(*text ? text : aaclip_status_string(status)), status_(status) {}
    aaclip_status status() const noexcept { return status_; }

  private:
    aaclip_status status_;
};
#endif

namespace detail {

/* Reports `found` as the caller asked: by *status or by throwing; true when the call succeeded. */
inline bool ok(aaclip_status found, aaclip_status *status, const char *text = nullptr) {
    if (status)
        *status = found;
#if AACLIP_THROWS
    if (found && !status)
        throw error(found, text ? text : aaclip_last_error());
#endif
    (void)text;
    return found == AACLIP_OK;
}

/* Rejects arguments that do not fit together; the library, which sees only pointers, cannot. */
inline bool fits(bool condition, aaclip_status *status, const char *text) {
    return condition || ok(AACLIP_ERROR_INVALID_ARGUMENT, status, text);
}

#if AACLIP_THROWS
/*
 * A call that may run a callback. An exception must not cross the library's frames, so the callback
 * leaves it here, in the innermost such call of its thread.
 */
class calling {
  public:
    calling() noexcept : outer_(innermost()) { innermost() = this; }
    calling(const calling &) = delete;
    calling &operator=(const calling &) = delete;
    ~calling() { innermost() = outer_; }

    bool ok(aaclip_status found, aaclip_status *status) const {
        if (status)
            *status = found;
        if (thrown_)
            std::rethrow_exception(thrown_);
        return detail::ok(found, status);
    }

    /* Runs a callback. What it calls through C functions is no part of the call that it serves. */
    template <typename Function, typename... Arguments>
    static bool back(const Function &function, const Arguments &...arguments) noexcept {
        calling *const served = innermost();
        bool go_on = false;
        innermost() = nullptr;
        try {
            go_on = function(arguments...);
        } catch (...) {
            if (served)
                served->thrown_ = std::current_exception();
        }
        innermost() = served;
        return go_on;
    }

  private:
    static calling *&innermost() noexcept {
        static thread_local calling *call = nullptr;
        return call;
    }
    calling *outer_;
    std::exception_ptr thrown_;
};
#else
struct calling {
    bool ok(aaclip_status found, aaclip_status *status) const { return detail::ok(found, status); }
    template <typename Function, typename... Arguments>
    static bool back(const Function &function, const Arguments &...arguments) noexcept {
        return function(arguments...);
    }
};
#endif

/* Elements of width x height pixels, 0 when they exceed the address space. */
inline std::size_t volume(std::uint32_t width, std::uint32_t height, std::size_t channels) {
    const std::size_t limit = static_cast<std::size_t>(-1) / 8 / channels;
    return height && width > limit / height ? 0 : std::size_t{width} * height * channels;
}

/* A struct for the library to fill: zero except for its size. */
template <typename Struct> Struct sized() noexcept {
    Struct made = Struct();
    made.size = sizeof made;
    return made;
}

/* The struct that a C function writes to its last argument. */
template <typename Struct, typename Function, typename... Arguments>
Struct filled(aaclip_status *status, Function function, const Arguments &...arguments) {
    Struct made = sized<Struct>();
    ok(function(arguments..., &made), status);
    return made;
}

} // namespace detail

#if AACLIP_THROWS
/** Throws the status that a C function returned, unless it is AACLIP_OK. */
inline void check(aaclip_status status) { detail::ok(status, nullptr); }

/**
 * Options, a configuration or a calibration with the library's defaults: `init` is the C function
 * ..._init_sized, `choices` are its further arguments (profile, stage). Without exceptions, call
 * the C macro ..._init.
 */
template <typename Options, typename... Choices>
Options defaults(aaclip_status (*init)(Options *, std::size_t, Choices...), Choices... choices) {
    Options options = Options();
    check(init(&options, sizeof options, choices...));
    return options;
}
#endif

/** Cancels long-running calls (cancel.h): may be raised from any thread or a signal handler. */
class cancel_flag {
  public:
    cancel_flag() noexcept : raised_(0) {}
    cancel_flag(const cancel_flag &) = delete;
    cancel_flag &operator=(const cancel_flag &) = delete;
    void raise() noexcept { raised_.store(1); }
    void lower() noexcept { raised_.store(0); }
    bool raised() const noexcept { return raised_.load() != 0; }
    /** For aaclip_watch_cancel. */
    const volatile int *get() const noexcept {
        static_assert(sizeof(std::atomic<int>) == sizeof(int), "an atomic int is an int");
        return reinterpret_cast<const volatile int *>(&raised_);
    }

  private:
    std::atomic<int> raised_;
};

/**
 * Makes calls of its thread watch a flag, which must outlive it; then restores the former one. A
 * thread watches one flag: within a nested scope that of the outer one (of a shutdown, say) has no
 * effect. To end some calls earlier, put a deadline_scope inside, which keeps the flag.
 */
class cancel_scope {
  public:
    explicit cancel_scope(const cancel_flag &flag) noexcept
        : before_(aaclip_watch_cancel(flag.get())) {}
    cancel_scope(const cancel_scope &) = delete;
    cancel_scope &operator=(const cancel_scope &) = delete;
    ~cancel_scope() { aaclip_watch_cancel(before_); }

  private:
    const volatile int *before_;
};

/**
 * Makes calls of its thread return CANCELLED once `time` has passed since it was made (cancel.h),
 * beside a flag that they watch; then restores what is left of the former deadline, which a nested
 * scope cannot extend.
 */
class deadline_scope {
  public:
    template <typename Rep, typename Period>
    explicit deadline_scope(std::chrono::duration<Rep, Period> time) noexcept
        : begun_(std::chrono::steady_clock::now()) {
        const double own = std::chrono::duration<double>(time).count();
        before_ = aaclip_set_deadline(own);
        if (!(own < before_))
            aaclip_set_deadline(before_);
    }
    deadline_scope(const deadline_scope &) = delete;
    deadline_scope &operator=(const deadline_scope &) = delete;
    ~deadline_scope() {
        const std::chrono::duration<double> since = std::chrono::steady_clock::now() - begun_;
        aaclip_set_deadline(before_ - since.count());
    }

  private:
    std::chrono::steady_clock::time_point begun_;
    double before_; // seconds left when it was made
};

/** A C string owned by the caller: from a const char * or a std::string. */
class c_string {
  public:
    c_string(const char *text) noexcept : text_(text) {}
    c_string(const std::string &text) noexcept : text_(text.c_str()) {}
    operator const char *() const noexcept { return text_; }

  private:
    const char *text_;
};

/**
 * C strings: one, a braced list, an array, or a container with data(), of pointers or std::string.
 * They must live at least as long as the call.
 */
class c_strings {
  public:
    c_strings(const char *text) : texts_(1, text) {}
    c_strings(const std::string &text) : texts_(1, text.c_str()) {}
    c_strings(std::initializer_list<c_string> texts) : texts_(texts.begin(), texts.end()) {}
    template <
        typename Text, std::size_t count,
        typename = typename std::enable_if<std::is_convertible<Text &, c_string>::value>::type>
    c_strings(Text (&texts)[count]) {
        keep(texts, count);
    }
    template <typename Container,
              typename = typename std::enable_if<std::is_convertible<
                  decltype(*std::declval<const Container &>().data()), c_string>::value>::type>
    c_strings(const Container &texts) {
        keep(texts.data(), texts.size());
    }
    const char *const *data() const noexcept { return texts_.data(); }
    std::size_t size() const noexcept { return texts_.size(); }

  private:
    template <typename Text> void keep(const Text *texts, std::size_t count) {
        texts_.reserve(count);
        for (std::size_t i = 0; i < count; i++)
            texts_.push_back(c_string(texts[i]));
    }
    std::vector<const char *> texts_;
};

/**
 * A struct of the caller, options for instance: by reference or by pointer, or null, which gives
 * the library's defaults. It must live at least as long as the call.
 */
template <typename Struct> class struct_ref {
  public:
    struct_ref(const Struct *pointer = nullptr) noexcept : pointer_(pointer) {}
    struct_ref(const Struct &reference) noexcept : pointer_(&reference) {}
    operator const Struct *() const noexcept { return pointer_; }

  private:
    const Struct *pointer_;
};

/** Non-owning view of an array, a vector or a std::span; span() converts it to a std::span. */
template <typename T> class view {
  public:
    constexpr view() noexcept = default;
    constexpr view(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t count>
    constexpr view(T (&array)[count]) noexcept : data_(array), size_(count) {}
    template <typename Container,
              typename Element =
                  typename std::remove_pointer<decltype(std::declval<Container &>().data())>::type,
              typename =
                  typename std::enable_if<std::is_convertible<Element (*)[], T (*)[]>::value>::type>
    view(Container &&container) noexcept : data_(container.data()), size_(container.size()) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }
#if __cplusplus >= 202002L
    constexpr std::span<T> span() const noexcept { return {data_, size_}; }
#endif

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/**
 * Non-owning view of a map or mask: width x height, row-major, rows follow each other without gaps.
 * A part of a cv::Mat has gaps: isContinuous() is then false; clone() makes a copy without.
 */
template <typename T> class grid : public view<T> {
  public:
    constexpr grid() noexcept = default;
    /** Empty when `values` is null. */
    constexpr grid(T *values, std::uint32_t width, std::uint32_t height) noexcept
        : view<T>(values, values ? std::size_t{width} * height : 0), width_(values ? width : 0),
          height_(values ? height : 0) {}
    /** From a view of mutable values. */
    template <typename U, typename = typename std::enable_if<std::is_same<const U, T>::value &&
                                                             !std::is_same<U, T>::value>::type>
    constexpr grid(const grid<U> &other) noexcept
        : grid(other.data(), other.width(), other.height()) {}
    constexpr std::uint32_t width() const noexcept { return width_; }
    constexpr std::uint32_t height() const noexcept { return height_; }
    constexpr T &operator()(std::uint32_t x, std::uint32_t y) const noexcept {
        return this->data()[std::size_t{y} * width_ + x];
    }

  private:
    std::uint32_t width_ = 0, height_ = 0;
};

namespace detail {
template <typename T, typename U>
bool same_size(const grid<T> &map, const grid<U> &mask, aaclip_status *status, const char *text) {
    return fits(!mask.data() || (mask.width() == map.width() && mask.height() == map.height()),
                status, text);
}
/* The same for an overlay. */
inline bool same_size(const aaclip_image_view &image, const grid<const float> &map,
                      aaclip_status *status) {
    return fits(map.width() == image.width && map.height() == image.height, status,
                "overlay: expected a map of the image's size");
}
/* A buffer for RGB8 of the image's size. */
inline bool holds(const view<std::uint8_t> &rgb, const aaclip_image_view &image,
                  aaclip_status *status, const char *text) {
    const std::size_t size = volume(image.width, image.height, 3);
    return fits(size && rgb.size() >= size, status, text);
}
} // namespace detail

/** Owns a C handle. Base of the classes below. */
template <typename Handle, void (*close)(Handle **)> class owner {
  public:
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;

    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /** For C functions; ownership stays here. */
    Handle *get() const noexcept { return handle_; }
    /** Closes the handle; owns what a C function then writes there. */
    Handle **out() noexcept {
        close(&handle_);
        return &handle_;
    }
    /** Closes the handle. */
    void reset() noexcept { close(&handle_); }

  protected:
    static bool ok(aaclip_status found, aaclip_status *status) { return detail::ok(found, status); }
    owner() noexcept = default;
    owner(owner &&other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
    owner &operator=(owner &&other) noexcept {
        if (this != &other) {
            close(&handle_);
            std::swap(handle_, other.handle_);
        }
        return *this;
    }
    ~owner() { close(&handle_); }
    Handle *handle_ = nullptr;
};

/** See model.h. */
class model : public owner<aaclip_model, aaclip_model_close> {
  public:
    model() noexcept = default;
    explicit model(c_string path, struct_ref<aaclip_model_options> options AACLIP_OR(nullptr),
                   AACLIP_STATUS) {
        ok(aaclip_model_open(&handle_, path, options), status);
    }
    /** As aaclip_model_open_memory: the bytes are not copied. `name` stands for the path. */
    model(view<const unsigned char> bytes, c_string name,
          struct_ref<aaclip_model_options> options AACLIP_OR(nullptr), AACLIP_STATUS) {
        ok(aaclip_model_open_memory(&handle_, bytes.data(), bytes.size(), name, options), status);
    }
    /* Deleted: the bytes would be gone. */
    model(std::vector<unsigned char> &&bytes, c_string name,
          struct_ref<aaclip_model_options> options AACLIP_OR(nullptr), AACLIP_STATUS) = delete;
    aaclip_model_info info(AACLIP_STATUS) const {
        return detail::filled<aaclip_model_info>(status, aaclip_model_get_info, handle_);
    }
    void save(c_string path, bool float16 AACLIP_OR(false), AACLIP_STATUS) const {
        ok(aaclip_model_save(handle_, path, float16), status);
    }
};

/** See adapters.h; an empty one stands for plain CLIP. */
class adapters : public owner<aaclip_adapters, aaclip_adapters_close> {
  public:
    adapters() noexcept = default;
    adapters(const model &model, const c_strings &paths,
             struct_ref<aaclip_config> config AACLIP_OR(nullptr), AACLIP_STATUS) {
        ok(aaclip_adapters_open(&handle_, model.get(), paths.data(), paths.size(), config), status);
    }
    /** From the file of a model that is a bundle. */
    static adapters of_bundle(const model &model, AACLIP_STATUS) {
        adapters opened;
        ok(aaclip_adapters_open(&opened.handle_, model.get(), nullptr, 0, nullptr), status);
        return opened;
    }
    aaclip_config config(AACLIP_STATUS) const {
        return detail::filled<aaclip_config>(status, aaclip_adapters_get_config, handle_);
    }
    aaclip_calibration calibration(AACLIP_STATUS) const {
        return detail::filled<aaclip_calibration>(status, aaclip_adapters_get_calibration, handle_);
    }
    /** Stores `calibration` in the file unless it is null. */
    void save(c_string path, struct_ref<aaclip_calibration> calibration AACLIP_OR(nullptr),
              AACLIP_STATUS) const {
        ok(calibration ? aaclip_adapters_save_calibrated(handle_, calibration, path)
                       : aaclip_adapters_save(handle_, path),
           status);
    }
};

/** Number of prompts done and in total; returning false cancels. */
using progress_callback = std::function<bool(std::size_t done, std::size_t total)>;

/** See text_cache.h. */
class text_cache : public owner<aaclip_text_cache, aaclip_text_cache_close> {
  public:
    text_cache() noexcept = default;
    /* Deleted: the size of vectors, the embedding, must be known. */
    aaclip_text_cache **out() = delete;
    /** `progress`, unless empty, replaces that of the options. */
    text_cache(const model &model, const adapters &adapters,
               const aaclip_text_cache_options *options AACLIP_OR(nullptr),
               progress_callback progress AACLIP_OR(nullptr), AACLIP_STATUS) {
        make(model, adapters, nullptr, options, std::move(progress), status);
    }
    text_cache(const model &model, const adapters &adapters,
               const aaclip_text_cache_options &options,
               progress_callback progress AACLIP_OR(nullptr), AACLIP_STATUS) {
        make(model, adapters, nullptr, &options, std::move(progress), status);
    }
    /** Opens a saved cache or a bundle. */
    text_cache(const model &model, const adapters &adapters, c_string path,
               struct_ref<aaclip_text_cache_options> options AACLIP_OR(nullptr),
               progress_callback progress AACLIP_OR(nullptr), AACLIP_STATUS) {
        make(model, adapters, path ? path : "", options, std::move(progress), status);
    }
    /** From the file of a model that is a bundle. */
    static text_cache of_bundle(const model &model, const adapters &adapters, AACLIP_STATUS) {
        text_cache opened;
        auto info = detail::sized<aaclip_model_info>();
        aaclip_status found = aaclip_model_get_info(model.get(), &info);
        opened.embedding_ = info.embedding;
        if (!found)
            found = aaclip_text_cache_open(&opened.handle_, model.get(), adapters.get(), nullptr,
                                           nullptr);
        ok(found, status);
        return opened;
    }
    void build(c_string name, c_string phrase, AACLIP_STATUS) {
        const char *names[] = {name}, *phrases[] = {phrase};
        detail::calling call;
        call.ok(aaclip_text_cache_build(handle_, names, phrases, 1), status);
    }
    /** Adds all of these classes or none. */
    void build_all(const c_strings &names, const c_strings &phrases, AACLIP_STATUS) {
        detail::calling call;
        if (detail::fits(names.size() == phrases.size(), status,
                         "text_cache.build_all: expected as many phrases as names"))
            call.ok(aaclip_text_cache_build(handle_, names.data(), phrases.data(), names.size()),
                    status);
    }
    void add(c_string name, view<const float> normal, view<const float> abnormal, AACLIP_STATUS) {
        if (detail::fits(normal.size() == embedding_ && abnormal.size() == embedding_, status,
                         "text_cache.add: expected vectors of the model's embedding size"))
            ok(aaclip_text_cache_add(handle_, name, normal.data(), abnormal.data()), status);
    }
    /** The normal and the abnormal vector. */
    std::pair<std::vector<float>, std::vector<float>> pair(c_string name, AACLIP_STATUS) const {
        std::vector<float> normal(embedding_), abnormal(embedding_);
        if (!ok(aaclip_text_cache_get(handle_, name, normal.data(), abnormal.data()), status))
            return {};
        return {std::move(normal), std::move(abnormal)};
    }
    /** One row of embedding floats per prompt. */
    std::vector<float> encode(const c_strings &prompts, AACLIP_STATUS) {
        std::vector<float> vectors(prompts.size() * embedding_);
        detail::calling call;
        if (!call.ok(
                aaclip_text_cache_encode(handle_, prompts.data(), prompts.size(), vectors.data()),
                status))
            vectors.clear();
        return vectors;
    }
    std::size_t size() const noexcept { return aaclip_text_cache_count(handle_); }
    /** Null past the end. */
    const char *name(std::size_t index) const noexcept {
        return aaclip_text_cache_name(handle_, index);
    }
    void save(c_string path, AACLIP_STATUS) const {
        ok(aaclip_text_cache_save(handle_, path), status);
    }

  private:
    /* Null: a new cache. */
    void make(const model &model, const adapters &adapters, const char *path,
              const aaclip_text_cache_options *options, progress_callback progress,
              aaclip_status *status) {
        auto own = detail::sized<aaclip_text_cache_options>();
        auto info = detail::sized<aaclip_model_info>();
        aaclip_status found = aaclip_model_get_info(model.get(), &info);
        if (!found && progress) {
            progress_.reset(new progress_callback(std::move(progress)));
            found = options ? AACLIP_OK : aaclip_text_cache_options_init(&own);
            own = options ? *options : own;
            own.progress = report;
            own.progress_user = progress_.get();
            options = &own;
        }
        embedding_ = info.embedding;
        if (!found && path)
            found = aaclip_text_cache_open(&handle_, model.get(), adapters.get(), path, options);
        else if (!found)
            found = aaclip_text_cache_new(&handle_, model.get(), adapters.get(), options);
        ok(found, status);
    }
    static bool report(std::size_t done, std::size_t total, void *user) {
        return detail::calling::back(*static_cast<const progress_callback *>(user), done, total);
    }
    std::unique_ptr<progress_callback> progress_;
    std::size_t embedding_ = 0;
};

/** See image.h. Converts to the view of its pixels. */
class image : public owner<aaclip_image, aaclip_image_close> {
  public:
    image() noexcept = default;
    explicit image(c_string path, AACLIP_STATUS) { ok(aaclip_image_open(&handle_, path), status); }
    /** Decodes bytes in memory; `name` stands for the path in error texts. */
    image(view<const unsigned char> bytes, c_string name, AACLIP_STATUS) {
        ok(aaclip_image_decode(&handle_, bytes.data(), bytes.size(), name), status);
    }
    /** As aaclip_image_decode_window. */
    image(view<const unsigned char> bytes, c_string name, double low, double high, AACLIP_STATUS) {
        ok(aaclip_image_decode_window(&handle_, bytes.data(), bytes.size(), name, low, high),
           status);
    }
    /** As aaclip_image_open_window. */
    image(c_string path, double low, double high, AACLIP_STATUS) {
        ok(aaclip_image_open_window(&handle_, path, low, high), status);
    }
    aaclip_image_view pixels() const noexcept { return aaclip_image_get_view(handle_); }
    operator aaclip_image_view() const noexcept { return pixels(); }
};

/** A decision; undecided where there was no calibration, or where the call failed. */
enum class verdict { undecided, good, defective };

/** Result of one image, as in detector.h. Its pointers are valid until the detector detects
 * again. */
struct detection : aaclip_result {
    detection() noexcept : aaclip_result(detail::sized<aaclip_result>()) {}
    verdict decision() const noexcept {
        return !decided ? verdict::undecided : defective ? verdict::defective : verdict::good;
    }
    grid<const float> heat() const noexcept { return {map, map_width, map_height}; }
    view<const aaclip_region> defects() const noexcept { return {regions, region_count}; }
    /** With keep_features: (level_count, patches, embedding). */
    view<const float> patches() const noexcept {
        const std::size_t count = std::size_t{patch_rows} * patch_columns;
        return {patch_features, patch_features ? level_count * count * embedding : 0};
    }
    view<const float> feature() const noexcept {
        return {detection_feature, detection_feature ? std::size_t{embedding} : 0};
    }
};
static_assert(sizeof(detection) == sizeof(aaclip_result), "a batch is an array of aaclip_result");

/** See detector.h. */
class detector : public owner<aaclip_detector, aaclip_detector_close> {
  public:
    detector() noexcept = default;
    detector(const model &model, const adapters &adapters, const text_cache &cache,
             struct_ref<aaclip_detector_options> options AACLIP_OR(nullptr), AACLIP_STATUS) {
        ok(aaclip_detector_new(&handle_, model.get(), adapters.get(), cache.get(), options),
           status);
    }
    /** Nonzero where to look. Rows follow each other without gaps, or are given as a view. */
    void set_roi(grid<const std::uint8_t> roi, AACLIP_STATUS) {
        if (detail::fits(roi.size() > 0, status,
                         "detector.set_roi: no pixels; clear_roi makes it look everywhere"))
            ok(aaclip_detector_set_roi(handle_, roi.data(), roi.width(), roi.height()), status);
    }
    /** GRAY8 pixels with any stride, as of a part of a cv::Mat. */
    template <typename = void> // so that {values, width, height} is a grid
    void set_roi(const aaclip_image_view &grey8, AACLIP_STATUS) {
        const std::size_t size = detail::volume(grey8.width, grey8.height, 1);
        const std::size_t stride = grey8.stride ? grey8.stride : grey8.width;
        if (!detail::fits(grey8.format == AACLIP_PIXEL_GRAY8, status,
                          "detector.set_roi: expected GRAY8 pixels") ||
            !detail::fits(grey8.pixels && size && stride >= grey8.width, status,
                          "detector.set_roi: expected pixels, and a stride of a row or more; "
                          "clear_roi makes it look everywhere"))
            return;
        std::vector<std::uint8_t> rows(size);
        for (std::size_t y = 0; y < grey8.height; y++)
            std::memcpy(&rows[y * grey8.width],
                        static_cast<const std::uint8_t *>(grey8.pixels) + y * stride, grey8.width);
        set_roi(grid<const std::uint8_t>(rows.data(), grey8.width, grey8.height), status);
    }
    /** Looks everywhere again. */
    void clear_roi(AACLIP_STATUS) { ok(aaclip_detector_set_roi(handle_, nullptr, 0, 0), status); }
    /** Class nullptr: of all without their own. Calibration nullptr: none. */
    void set_calibration(c_string class_name, const aaclip_calibration *calibration,
                         AACLIP_STATUS) {
        ok(aaclip_detector_set_calibration(handle_, class_name, calibration), status);
    }
    detection detect(const aaclip_image_view &image, c_string class_name, AACLIP_STATUS) {
        detection result;
        if (!ok(aaclip_detector_detect(handle_, &image, class_name, &result), status))
            result = detection();
        return result;
    }
    /** Runs images together where that is faster, on a GPU; all results stay valid together. */
    std::vector<detection> detect_batch(view<const aaclip_image_view> images,
                                        const c_strings &names, AACLIP_STATUS) {
        std::vector<detection> results(images.size());
        if (!detail::fits(images.size() == names.size(), status,
                          "detector.detect_batch: expected as many class names as images") ||
            !detail::ok(aaclip_detector_detect_batch(handle_, images.data(), names.data(),
                                                     images.size(), results.data()),
                        status))
            results.clear();
        return results;
    }
    std::uint32_t image_size() const noexcept { return aaclip_detector_image_size(handle_); }
    /** Default thresholds, with what those made with this detector belong to. */
    aaclip_calibration calibration(c_string class_name, AACLIP_STATUS) const {
        aaclip_calibration made;
        aaclip_calibration_init(&made);
        ok(aaclip_detector_describe_calibration(handle_, class_name, &made), status);
        return made;
    }
};

/** Bilinear, as aaclip_map_resize; `map` has no gaps between rows. */
inline std::vector<float> resize(grid<const float> map, std::uint32_t width, std::uint32_t height,
                                 AACLIP_STATUS) {
    std::vector<float> resized(detail::volume(width, height, 1));
    if (!detail::fits(!resized.empty(), status, "resize: expected a size that fits in memory") ||
        !detail::ok(
            aaclip_map_resize(map.data(), map.width(), map.height(), width, height, resized.data()),
            status))
        resized.clear();
    return resized;
}
/** Writes to the caller's `resized`, of the new size. */
inline void resize(grid<const float> map, grid<float> resized, AACLIP_STATUS) {
    detail::ok(aaclip_map_resize(map.data(), map.width(), map.height(), resized.width(),
                                 resized.height(), resized.data()),
               status);
}

/** A map of `level_count` levels on a fixed scale in [0, 1], as aaclip_map_probability. */
inline std::vector<float> probability(view<const float> map, std::uint32_t level_count) {
    std::vector<float> values(map.size());
    aaclip_map_probability(map.data(), map.size(), level_count, values.data());
    return values;
}
/** Writes to the caller's `values`, as many as the map has; they may be the map itself. */
inline void probability(view<const float> map, std::uint32_t level_count, view<float> values,
                        AACLIP_STATUS) {
    if (detail::fits(values.size() == map.size(), status,
                     "probability: expected as many values as the map has")) {
        aaclip_map_probability(map.data(), map.size(), level_count, values.data());
        detail::ok(AACLIP_OK, status);
    }
}

/** Values from `low` to `high` as RGB8, as aaclip_image_window. */
inline std::vector<std::uint8_t> window(const aaclip_image_view &image, double low, double high,
                                        AACLIP_STATUS) {
    std::vector<std::uint8_t> rgb(detail::volume(image.width, image.height, 3));
    if (!detail::ok(aaclip_image_window(&image, low, high, rgb.data()), status))
        rgb.clear();
    return rgb;
}
/** Writes to the caller's `rgb`, of 3 bytes for each pixel, or longer. */
inline void window(const aaclip_image_view &image, double low, double high, view<std::uint8_t> rgb,
                   AACLIP_STATUS) {
    if (detail::holds(rgb, image, status,
                      "window: expected pixels and a buffer of 3 bytes for each"))
        detail::ok(aaclip_image_window(&image, low, high, rgb.data()), status);
}

/** RGB8 of the image's size; `values`, in [0, 1], have that size too and no gaps between rows. */
inline std::vector<std::uint8_t> overlay(const aaclip_image_view &image, grid<const float> values,
                                         float opacity, AACLIP_STATUS) {
    std::vector<std::uint8_t> rgb(detail::volume(image.width, image.height, 3));
    if (!detail::same_size(image, values, status) ||
        !detail::ok(aaclip_overlay(&image, values.data(), opacity, rgb.data()), status))
        rgb.clear();
    return rgb;
}
/** Writes to the caller's `rgb`, of 3 bytes for each pixel, or longer. */
inline void overlay(const aaclip_image_view &image, grid<const float> values, float opacity,
                    view<std::uint8_t> rgb, AACLIP_STATUS) {
    if (detail::same_size(image, values, status) &&
        detail::holds(rgb, image, status,
                      "overlay: expected pixels and a buffer of 3 bytes for each"))
        detail::ok(aaclip_overlay(&image, values.data(), opacity, rgb.data()), status);
}

/** Writes an 8-bit PNG, as aaclip_write_png. */
inline void write_png(c_string path, const aaclip_image_view &image, AACLIP_STATUS) {
    detail::ok(aaclip_write_png(path, &image), status);
}

/**
 * The largest value where `roi`, of the map's size, is nonzero; empty: everywhere. No gaps between
 * rows. NaN when the call failed.
 */
inline float peak(grid<const float> map, grid<const std::uint8_t> roi AACLIP_OR({}),
                  AACLIP_STATUS) {
    float found = std::numeric_limits<float>::quiet_NaN();
    if (detail::same_size(map, roi, status, "peak: expected a roi of the map's size"))
        detail::ok(aaclip_map_peak(map.data(), roi.data(), map.width(), map.height(), &found),
                   status);
    return found;
}

/** A threshold, as aaclip_calibrate_quantile; NaN when the call failed. */
inline float calibrate_quantile(view<const float> good_scores, double false_alarm_rate,
                                AACLIP_STATUS) {
    float threshold = std::numeric_limits<float>::quiet_NaN();
    detail::ok(aaclip_calibrate_quantile(good_scores.data(), good_scores.size(), false_alarm_rate,
                                         &threshold),
               status);
    return threshold;
}

/** A threshold, as aaclip_calibrate_f1; NaN when the call failed. `f1` may be null. */
inline float calibrate_f1(view<const float> scores, view<const int> labels,
                          double *f1 AACLIP_OR(nullptr), AACLIP_STATUS) {
    float threshold = std::numeric_limits<float>::quiet_NaN();
    if (detail::fits(scores.size() == labels.size(), status,
                     "calibrate_f1: expected as many labels as scores"))
        detail::ok(aaclip_calibrate_f1(scores.data(), labels.data(), scores.size(), &threshold, f1),
                   status);
    return threshold;
}

/** Reads a calibration file. On failure all members, also size, are 0: the library refuses it. */
inline aaclip_calibration load_calibration(c_string path, AACLIP_STATUS) {
    auto loaded = detail::sized<aaclip_calibration>();
    if (!detail::ok(aaclip_calibration_load(&loaded, path), status))
        loaded = aaclip_calibration();
    return loaded;
}

/** Writes a calibration file. */
inline void save_calibration(const aaclip_calibration &calibration, c_string path, AACLIP_STATUS) {
    detail::ok(aaclip_calibration_save(&calibration, path), status);
}

/** As aaclip_decide: `map` may be empty where the score alone decides. No gaps between rows. */
inline verdict decide(const aaclip_calibration &calibration, float score, grid<const float> map,
                      grid<const std::uint8_t> roi AACLIP_OR({}), AACLIP_STATUS) {
    bool defective = true;
    if (!detail::same_size(map, roi, status, "decide: expected a roi of the map's size") ||
        !detail::ok(aaclip_decide(&calibration, score, map.data(), roi.data(), map.width(),
                                  map.height(), &defective),
                    status))
        return verdict::undecided;
    return defective ? verdict::defective : verdict::good;
}

/** Writes a deployment bundle, as aaclip_bundle_save; `adapters` may be empty. */
inline void save_bundle(const model &model, const adapters &adapters, const text_cache &cache,
                        c_string path, bool float16 AACLIP_OR(false), AACLIP_STATUS) {
    detail::ok(aaclip_bundle_save(model.get(), adapters.get(), cache.get(), path, float16), status);
}

/** Fails unless the file is as the library wrote it, as aaclip_verify_file. */
inline void verify_file(c_string path, AACLIP_STATUS) {
    detail::ok(aaclip_verify_file(path), status);
}

/** See regions.h; `roi` has the map's size or is empty: everywhere. No gaps between rows. */
inline std::vector<aaclip_region> find_regions(grid<const float> map, float threshold,
                                               std::uint32_t min_area AACLIP_OR(0),
                                               grid<const std::uint8_t> roi AACLIP_OR({}),
                                               AACLIP_STATUS) {
    struct array : owner<aaclip_region, aaclip_regions_free> {
    } regions;
    std::size_t count = 0;
    if (!detail::same_size(map, roi, status, "find_regions: expected a roi of the map's size") ||
        !detail::ok(aaclip_regions_find(regions.out(), &count, map.data(), roi.data(), map.width(),
                                        map.height(), threshold, min_area),
                    status))
        count = 0;
    return {regions.get(), regions.get() + count};
}

/** See dataset.h. */
class dataset : public owner<aaclip_dataset, aaclip_dataset_close> {
  public:
    dataset() noexcept = default;
    explicit dataset(c_string root, struct_ref<aaclip_dataset_options> options AACLIP_OR(nullptr),
                     AACLIP_STATUS) {
        ok(aaclip_dataset_open(&handle_, root, options), status);
    }
    std::size_t size() const noexcept { return aaclip_dataset_count(handle_); }
    /** `index` must be below size(). */
    const aaclip_sample &operator[](std::size_t index) const noexcept {
        return *aaclip_dataset_get(handle_, index);
    }
    /** Few-shot subset; see aaclip_dataset_sample. */
    dataset sample(std::size_t shots, std::uint64_t seed, AACLIP_STATUS) const {
        dataset sampled;
        ok(aaclip_dataset_sample(&sampled.handle_, handle_, shots, seed), status);
        return sampled;
    }
    void save_manifest(c_string path, AACLIP_STATUS) const {
        ok(aaclip_dataset_save_manifest(handle_, path), status);
    }
};

/** See metrics.h. Default construction makes an empty owner: pass `options`, which may be null. */
class metrics : public owner<aaclip_metrics, aaclip_metrics_close> {
  public:
    metrics() noexcept = default;
    explicit metrics(struct_ref<aaclip_metrics_options> options, AACLIP_STATUS) {
        ok(aaclip_metrics_new(&handle_, options), status);
    }
    /** Map and mask may be empty; they have no gaps between rows. */
    void add(c_string class_name, grid<const float> map, grid<const std::uint8_t> mask, float score,
             int label, AACLIP_STATUS) {
        if (detail::same_size(map, mask, status, "metrics.add: expected a mask of the map's size"))
            ok(aaclip_metrics_add(handle_, class_name, map.data(), mask.data(), map.width(),
                                  map.height(), score, label),
               status);
    }
    /** Takes all of `other`, which is then empty; on failure both are unchanged. */
    void merge(metrics &&other, AACLIP_STATUS) {
        ok(aaclip_metrics_merge(handle_, &other.handle_), status);
    }
    aaclip_metric_values compute(std::size_t class_index AACLIP_OR(AACLIP_METRICS_MEAN),
                                 AACLIP_STATUS) {
        return detail::filled<aaclip_metric_values>(status, aaclip_metrics_compute, handle_,
                                                    class_index);
    }
    /** At most `capacity` points. */
    std::vector<aaclip_curve_point> curve(std::size_t class_index, aaclip_curve curve,
                                          std::size_t capacity AACLIP_OR(1000), AACLIP_STATUS) {
        std::vector<aaclip_curve_point> points(capacity);
        std::size_t count = 0;
        ok(aaclip_metrics_curve(handle_, class_index, curve, points.data(), capacity, &count),
           status);
        points.resize(count);
        return points;
    }
};

/** Called after each step, in the training thread; returning false stops. */
using training_callback = std::function<bool(const aaclip_training_progress &progress)>;

/** See trainer.h. */
class trainer : public owner<aaclip_trainer, aaclip_trainer_close> {
  public:
    trainer() noexcept = default;
    /** Stage 1 takes an empty cache. `callback`, unless empty, replaces that of the options. */
    trainer(const model &model, const dataset &dataset, const text_cache &cache,
            struct_ref<aaclip_trainer_options> options,
            training_callback callback AACLIP_OR(nullptr), AACLIP_STATUS) {
        const aaclip_trainer_options *given = options;
        aaclip_trainer_options own;
        if (given && callback) {
            callback_.reset(new training_callback(std::move(callback)));
            own = *given;
            own.callback = report;
            own.callback_user = callback_.get();
            given = &own;
        }
        ok(aaclip_trainer_new(&handle_, model.get(), dataset.get(), cache.get(), given), status);
    }
    aaclip_losses step(AACLIP_STATUS) { return train(aaclip_trainer_step, status); }
    aaclip_losses epoch(AACLIP_STATUS) { return train(aaclip_trainer_epoch, status); }
    aaclip_losses evaluate(const dataset &dataset, AACLIP_STATUS) {
        return detail::filled<aaclip_losses>(status, aaclip_trainer_evaluate, handle_,
                                             dataset.get());
    }
    aaclip_training_progress progress(AACLIP_STATUS) const {
        return detail::filled<aaclip_training_progress>(status, aaclip_trainer_get_progress,
                                                        handle_);
    }
    /** A copy of the adapters as they are now. */
    adapters copy(AACLIP_STATUS) const {
        adapters made;
        ok(aaclip_trainer_adapters(made.out(), handle_), status);
        return made;
    }
    void save(c_string path, AACLIP_STATUS) const {
        ok(aaclip_trainer_save(handle_, path), status);
    }
    void load(c_string path, AACLIP_STATUS) { ok(aaclip_trainer_load(handle_, path), status); }

  private:
    aaclip_losses train(aaclip_status (*function)(aaclip_trainer *, aaclip_losses *),
                        aaclip_status *status) {
        auto losses = detail::sized<aaclip_losses>();
        detail::calling call;
        call.ok(function(handle_, &losses), status);
        return losses;
    }
    static bool report(const aaclip_training_progress *progress, void *user) {
        return detail::calling::back(*static_cast<const training_callback *>(user), *progress);
    }
    std::unique_ptr<training_callback> callback_;
};

using log_callback = std::function<void(aaclip_log_level level, const char *message)>;

namespace detail {

struct log_setting {
    log_callback callback;
    aaclip_log_level level;
};

/* The one in use. Not freed at exit: threads may still log. */
inline std::atomic<const std::shared_ptr<log_setting> *> &log_in_use() noexcept {
    static std::atomic<const std::shared_ptr<log_setting> *> setting(nullptr);
    return setting;
}

/* set_log frees a setting when the library has no other thread in here, or only such that are in
 * set_log themselves: they have their own share of it. */
inline void forward_log(aaclip_log_level level, const char *message, void *) {
    const std::shared_ptr<log_setting> *const found = log_in_use().load();
    const std::shared_ptr<log_setting> setting = found ? *found : nullptr;
    if (!setting || level > setting->level)
        return;
#if AACLIP_THROWS
    try {
        setting->callback(level, message);
    } catch (...) {
    }
#else
    setting->callback(level, message);
#endif
}

} // namespace detail

/**
 * As aaclip_set_log, at any time: when it returns, the former callback is destroyed, unless this is
 * a call by it; then it is when that call ends. An empty callback turns logging off. Any thread may
 * log, also several at a time, so there is no call to stop: exceptions of `callback` are dropped.
 */
inline void set_log(log_callback callback, aaclip_log_level level) {
    using detail::log_setting;
    std::unique_ptr<const std::shared_ptr<log_setting>> next, former;
    if (callback)
        next.reset(new std::shared_ptr<log_setting>(new log_setting{std::move(callback), level}));
    bool on = next != nullptr;
    former.reset(detail::log_in_use().exchange(next.release()));
    aaclip_set_log(on ? detail::forward_log : nullptr, AACLIP_LOG_DEBUG, nullptr);
    while (on != (detail::log_in_use().load() != nullptr)) { // another thread was faster
        on = !on;
        aaclip_set_log(on ? detail::forward_log : nullptr, AACLIP_LOG_DEBUG, nullptr);
    }
}

#if !AACLIP_THROWS
} // namespace status_only
#endif
} // namespace aaclip

#if __cplusplus >= 202002L
template <typename T>
inline constexpr bool std::ranges::enable_borrowed_range<aaclip::view<T>> = true;
template <typename T>
inline constexpr bool std::ranges::enable_borrowed_range<aaclip::grid<T>> = true;
#endif

#undef AACLIP_OR
#undef AACLIP_STATUS
#undef AACLIP_THROWS

#endif
