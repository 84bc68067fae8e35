/* aaclip-detect: anomaly scores, overlays and maps of images. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "detect.h"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [--adapters FILE]... --class NAME [options] IMAGE|FOLDER...\n"
    "\n"
    "Scores images for anomalies and shows where they are.\n"
    "\n"
    "  --model FILE       CLIP checkpoint (OpenAI, Hugging Face, open_clip), bundle, or the\n"
    "                     name aaclip-mini for the small one that is included\n"
    "  --vocab FILE       bpe_simple_vocab_16e6.txt.gz or merges.txt [next to the model]\n"
    "  --adapters FILE    trained adapters; repeat for text and image\n"
    "  --class NAME       class of object in the images\n"
    "  --dataset NAME     phrase and domain of the class from this data set's table\n"
    "  --phrase TEXT      phrase for the class in prompts\n"
    "  --prompts FILE     JSON prompt set instead of the profile's\n"
    "  --text-cache FILE  cache of text vectors: read if it exists, else written\n"
    "  --profile P        document or published [from the adapters]\n"
    "  --domain D         industrial or medical [industrial]\n"
    "  --image-size N     side of the network's input in pixels [518 for a 336 checkpoint]\n"
    "  --window LOW,HIGH  values of 16-bit photos that become 0 to 255, for scans of 10 to 16\n"
    "                     bits [colour: the upper 8 bits; grey: clipped at 255]\n"
    "  --tile N           detect in overlapping tiles of N x N photo pixels, for small defects\n"
    "  --tile-overlap X   least share of a tile that neighbours overlap, 0 to 0.9 [0.25]\n"
    "  --precision P      f32, bf16, auto, int8, tf32 or f16 [f32]\n"
    "  --backend NAME     onednn, blas, simd, reference, cuda or cuda:N [the best]\n"
    "  --threads N        [all processors]\n"
    "  --packed FOLDER    cache packed weights here, to start faster [none]\n"
    "  --out FOLDER       write NAME_overlay.png for each image\n"
    "  --raw              also NAME_map.npy (float32, network size) and NAME_map.png (16 bit,\n"
    "                     probability at the size of the photo)\n"
    "  --mask             also NAME_mask.png (8 bit, 255 where the map reaches the threshold)\n"
    "  --threshold X      of mask and regions, 0 to 1 on the overlay's scale [that of the\n"
    "                     calibration, or 0.5]\n"
    "  --calibration FILE thresholds of aaclip_calibration_save [the adapters' own]\n"
    "  --roi FILE         image of the photo's size: look only where it is not black\n"
    "  --min-area N       smallest region that --json reports, in pixels of the photo\n"
    "  --json FILE        write results as JSON; - is stdout\n"
    "  --csv FILE         write results as CSV; - is stdout\n"
    "  --verbose          show the library's messages\n"
    "  --help, --version\n";

static bool check_arguments(const command_line *arguments)
{
    if (!arguments->model)
        return !complain(PROGRAM, "--model is missing; see --help");
    if (!arguments->images.count)
        return !complain(PROGRAM, "no image given; see --help");
    if (arguments->raw && !arguments->out)
        return !complain(PROGRAM, "--raw needs --out FOLDER");
    if (arguments->mask && !arguments->out)
        return !complain(PROGRAM, "--mask needs --out FOLDER");
    if (arguments->has_overlap && !arguments->tile)
        return !complain(PROGRAM, "--tile-overlap needs --tile N");
    if (arguments->tile_overlap > 0.9)
        return !complain(PROGRAM, "--tile-overlap: expected 0 to 0.9, found %g",
                         arguments->tile_overlap);
    if (arguments->regions.threshold > 1)
        return !complain(PROGRAM, "--threshold: expected 0 to 1, found %g",
                         arguments->regions.threshold);
    if (arguments->regions.min_area && !arguments->json)
        return !complain(PROGRAM, "--min-area needs --json FILE, where regions are reported");
    if (to_stdout(arguments->json) && to_stdout(arguments->csv))
        return !complain(PROGRAM, "--json - and --csv - exclude each other: stdout takes one");
    if (arguments->phrase && !arguments->class_name)
        return !complain(PROGRAM, "--phrase needs --class NAME");
    return true;
}

static parse_result parse(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"adapters", OPTION_LIST, &arguments->adapters, 0, NULL},
        {"class", OPTION_TEXT, &arguments->class_name, 0, NULL},
        {"dataset", OPTION_TEXT, &arguments->dataset, 0, NULL},
        {"phrase", OPTION_TEXT, &arguments->phrase, 0, NULL},
        {"prompts", OPTION_TEXT, &arguments->prompts, 0, NULL},
        {"text-cache", OPTION_TEXT, &arguments->text_cache, 0, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, &arguments->has_profile},
        {"domain", OPTION_DOMAIN, &arguments->domain, 0, &arguments->has_domain},
        {"image-size", OPTION_NUMBER, &arguments->image_size, 8192, NULL},
        {"window", OPTION_WINDOW, &arguments->window, 0, NULL},
        {"tile", OPTION_NUMBER, &arguments->tile, INT_MAX, NULL},
        {"tile-overlap", OPTION_REAL, &arguments->tile_overlap, 0, &arguments->has_overlap},
        {"precision", OPTION_PRECISION, &arguments->precision, 0, NULL},
        {"backend", OPTION_TEXT, &arguments->backend, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"packed", OPTION_TEXT, &arguments->packed, 0, NULL},
        {"out", OPTION_TEXT, &arguments->out, 0, NULL},
        {"raw", OPTION_FLAG, &arguments->raw, 0, NULL},
        {"mask", OPTION_FLAG, &arguments->mask, 0, NULL},
        {"threshold", OPTION_REAL, &arguments->regions.threshold, 0,
         &arguments->regions.has_threshold},
        {"calibration", OPTION_TEXT, &arguments->regions.calibration, 0, NULL},
        {"roi", OPTION_TEXT, &arguments->regions.roi, 0, NULL},
        {"min-area", OPTION_NUMBER, &arguments->regions.min_area, INT_MAX, NULL},
        {"json", OPTION_TEXT, &arguments->json, 0, NULL},
        {"csv", OPTION_TEXT, &arguments->csv, 0, NULL},
        {"verbose", OPTION_FLAG, &arguments->verbose, 0, NULL},
        {0},
    };
    program_arguments images;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &images);
    if (result != PARSE_RUN)
        return result;
    for (int i = 0; i < images.count; i++)
        if (!list_add_images(&arguments->images, images.items[i], PROGRAM))
            return PARSE_WRONG;
    return check_arguments(arguments) ? PARSE_RUN : PARSE_WRONG;
}

static bool failed(aaclip_status status)
{
    return reported(status, PROGRAM);
}

static bool build_progress(size_t done, size_t total, void *user)
{
    progress_update(user, done, total);
    return true;
}

static bool open_adapters(detection *session, const command_line *arguments)
{
    aaclip_config config;
    aaclip_config_init(&config, arguments->profile);
    const char *bundled[] = {arguments->model};
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(session->model, &info);
    const char *const *paths = (const char *const *)arguments->adapters.items;
    size_t count = arguments->adapters.count;
    if (!count && !info.has_text) {
        paths = bundled;
        count = 1;
    }
    if (!count)
        return true;
    return !failed(aaclip_adapters_open(&session->adapters, session->model, paths, count,
                                        arguments->has_profile ? &config : NULL));
}

static bool file_exists(const char *path)
{
    struct stat info;
    return path && stat(path, &info) == 0;
}

/* The phrase for the class in prompts. */
static bool find_words(const detection *session, const command_line *arguments, char *words,
                       size_t size)
{
    if (!arguments->phrase)
        return !failed(aaclip_class_phrase(arguments->dataset, session->class_name, words, size));
    return (size_t)snprintf(words, size, "%s", arguments->phrase) < size ||
           !complain(PROGRAM, "--phrase: longer than %zu bytes", size - 1);
}

static bool build_vectors(detection *session, const command_line *arguments, const char *words)
{
    const char *name = session->vectors;
    progress_start(&session->bar, "text");
    aaclip_status status = aaclip_text_cache_build(session->cache, &name, &words, 1);
    progress_end(&session->bar);
    if (!status && arguments->text_cache)
        status = aaclip_text_cache_save(session->cache, arguments->text_cache);
    return !failed(status);
}

/*
 * Vectors are named after their class in the cache; where phrase or data set give it another
 * phrase, also after that, so that a --text-cache file keeps the two apart. A bundle's are as they
 * are.
 */
static bool choose_vectors(detection *session, const command_line *arguments, bool has_text)
{
    char words[512];
    if (!has_text) {
        memcpy(session->vectors, session->class_name, sizeof session->class_name);
        return !failed(aaclip_text_cache_get(session->cache, session->vectors, NULL, NULL));
    }
    if (!find_words(session, arguments, words, sizeof words))
        return false;
    bool other = arguments->phrase || arguments->dataset;
    snprintf(session->vectors, sizeof session->vectors, other ? "%s (%s)" : "%s",
             session->class_name, words);
    return aaclip_text_cache_get(session->cache, session->vectors, NULL, NULL) == AACLIP_OK ||
           build_vectors(session, arguments, words);
}

static bool choose_class(detection *session, const command_line *arguments)
{
    const char *name = arguments->class_name;
    if (!name && aaclip_text_cache_count(session->cache) == 1)
        name = aaclip_text_cache_name(session->cache, 0);
    if (!name)
        return !complain(PROGRAM, "--class is missing");
    const size_t length = strlen(name);
    if (length >= sizeof session->class_name)
        return !complain(PROGRAM, "--class: longer than %zu bytes", sizeof session->class_name - 1);
    memcpy(session->class_name, name, length + 1);
    return true;
}

static bool open_cache(detection *session, const command_line *arguments)
{
    aaclip_text_cache_options options;
    aaclip_config config;
    aaclip_text_cache_options_init(&options);
    aaclip_config_init(&config, arguments->profile);
    options.vocabulary = arguments->vocabulary;
    options.prompts = arguments->prompts;
    options.config = &config;
    options.progress = build_progress;
    options.progress_user = &session->bar;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(session->model, &info);
    if (!info.has_text && (arguments->phrase || arguments->text_cache))
        return !complain(PROGRAM, "--%s: %s is a bundle, which has its own vectors",
                         arguments->phrase ? "phrase" : "text-cache", arguments->model);
    const char *stored = file_exists(arguments->text_cache) ? arguments->text_cache : NULL;
    if (!info.has_text)
        stored = arguments->model;
    aaclip_status status = stored ? aaclip_text_cache_open(&session->cache, session->model,
                                                           session->adapters, stored, &options)
                                  : aaclip_text_cache_new(&session->cache, session->model,
                                                          session->adapters, &options);
    return !failed(status) && choose_class(session, arguments) &&
           choose_vectors(session, arguments, info.has_text);
}

/* Options of mask, regions and decision must not be given where there is none of these. Only now is
 * it known whether the adapters have a calibration, which makes a decision. */
static bool check_regions(const detection *session, const command_line *arguments)
{
    const bool calibrated = session->regions.calibrated;
    const bool map_decides =
        calibrated && (arguments->regions.roi ||
                       session->regions.calibration.decide_by != AACLIP_DECIDE_BY_SCORE);
    if (arguments->mask || arguments->json)
        return true;
    if (arguments->regions.roi && !calibrated)
        return !complain(PROGRAM, "--roi needs --mask, --json FILE or a calibration");
    if (arguments->regions.has_threshold && !map_decides)
        return !complain(PROGRAM,
                         "--threshold needs --mask, --json FILE, or a calibration by "
                         "which the map decides");
    return true;
}

static bool open_detector(detection *session, const command_line *arguments,
                          aaclip_detector_options *options)
{
    region_setup_options(&session->regions, arguments->json, options);
    return !failed(aaclip_detector_new(&session->detector, session->model, session->adapters,
                                       session->cache, options)) &&
           !failed(region_setup_look(&session->regions, session->detector));
}

static bool open_session(detection *session, const command_line *arguments)
{
    aaclip_model_options model;
    aaclip_detector_options detector;
    aaclip_config config;
    aaclip_model_options_init(&model);
    aaclip_detector_options_init(&detector);
    aaclip_config_init(&config, arguments->profile);
    model.backend = arguments->backend;
    model.precision = arguments->precision;
    model.threads = arguments->threads;
    model.packed_folder = arguments->packed;
    detector.domain = arguments->domain;
    detector.image_size = arguments->image_size;
    detector.tile = arguments->tile;
    detector.window_low = arguments->window.low; /* as photos are opened */
    detector.window_high = arguments->window.high;
    if (arguments->has_overlap)
        detector.tile_overlap = (float)arguments->tile_overlap;
    detector.config = &config;
    if (!arguments->has_domain && arguments->dataset &&
        failed(aaclip_known_dataset_domain(arguments->dataset, &detector.domain)))
        return false;
    return !failed(aaclip_model_open(&session->model, arguments->model, &model)) &&
           open_adapters(session, arguments) &&
           !failed(region_setup_open(&session->regions, &arguments->regions, session->adapters)) &&
           check_regions(session, arguments) && open_cache(session, arguments) &&
           region_setup_belongs(&session->regions, session->class_name, session->vectors,
                                PROGRAM) &&
           open_detector(session, arguments, &detector);
}

static void close_session(detection *session)
{
    region_setup_close(&session->regions);
    aaclip_detector_close(&session->detector);
    aaclip_text_cache_close(&session->cache);
    aaclip_adapters_close(&session->adapters);
    aaclip_model_close(&session->model);
}

static float largest(const aaclip_result *result)
{
    float most = result->map[0];
    for (size_t i = 1; i < (size_t)result->map_width * result->map_height; i++)
        most = result->map[i] > most ? result->map[i] : most;
    return most;
}

static aaclip_status detect_view(const detection *session, const command_line *arguments,
                                 size_t index, const aaclip_image_view *view, report_row *row)
{
    aaclip_result result = {.size = sizeof result};
    aaclip_status status =
        aaclip_detector_detect(session->detector, view, session->vectors, &result);
    if (!status)
        status = region_report_keep(&row->found, &result);
    if (!status && arguments->out)
        status = write_pictures(arguments, &session->regions, index, view, &result);
    if (status)
        return status;
    row->done = true;
    row->score = result.score;
    row->map_maximum = largest(&result);
    row->width = view->width;
    row->height = view->height;
    return AACLIP_OK;
}

static bool detect_image(const detection *session, const command_line *arguments, size_t index,
                         report_row *row)
{
    const char *path = arguments->images.items[index];
    aaclip_image *image = NULL;
    if (failed(open_photo(&image, path, &arguments->window)))
        return false;
    const aaclip_image_view view = aaclip_image_get_view(image);
    bool done = region_setup_fits(&session->regions, &view, path, PROGRAM) &&
                !failed(detect_view(session, arguments, index, &view, row));
    aaclip_image_close(&image);
    return done;
}

/* Checked before any image is computed, including what is written only at the end. */
static bool prepare_output(command_line *arguments)
{
    bool made = !arguments->out || (make_folders(arguments->out, PROGRAM) &&
                                    (name_pictures(&arguments->images, &arguments->names) ||
                                     !complain(PROGRAM, "out of memory")));
    return made && can_write_text_file(arguments->json, PROGRAM) &&
           can_write_text_file(arguments->csv, PROGRAM);
}

static int run(detection *session, const command_line *arguments)
{
    size_t count = arguments->images.count, failures = 0;
    report_row *rows = calloc(count, sizeof *rows);
    if (!rows)
        return complain(PROGRAM, "out of memory");
    progress_start(&session->bar, "images");
    for (size_t i = 0; i < count; i++) {
        failures += !detect_image(session, arguments, i, &rows[i]);
        progress_update(&session->bar, i + 1, count);
    }
    progress_end(&session->bar);
    bool reported = write_report(arguments, session, rows);
    for (size_t i = 0; i < count; i++)
        region_report_clear(&rows[i].found);
    free(rows);
    if (failures)
        complain(PROGRAM, "%zu of %zu images failed", failures, count);
    return failures || !reported;
}

int main(int argc, char **argv)
{
    command_line arguments = {0};
    detection session = {0};
    parse_result parsed = parse(&arguments, argc, argv);
    int code = parsed == PARSE_WRONG;
    if (parsed == PARSE_RUN) {
        show_log(arguments.verbose);
        bool ready = open_session(&session, &arguments) && prepare_output(&arguments);
        code = ready ? run(&session, &arguments) : 1;
    }
    close_session(&session);
    list_clear(&arguments.images);
    list_clear(&arguments.names);
    list_clear(&arguments.adapters);
    return end_program(code, PROGRAM);
}
