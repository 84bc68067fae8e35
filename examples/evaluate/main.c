/* aaclip-evaluate: metrics of checkpoints on a data set. */
#include "evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "report.h"

static bool compute_values(session *state, evaluation *result)
{
    const size_t count = aaclip_metrics_class_count(result->metrics);
    result->values = calloc(count + 1, sizeof *result->values);
    bool good = result->values != NULL;
    if (!good)
        complain(PROGRAM, "out of memory");
    for (size_t i = 0; good && i <= count; i++) {
        result->values[i].size = sizeof *result->values;
        good = !failed(aaclip_metrics_compute(result->metrics, i < count ? i : AACLIP_METRICS_MEAN,
                                              &result->values[i]));
        if (good && i < count)
            good = list_add(&result->classes, aaclip_metrics_class_name(result->metrics, i));
    }
    score_dataset(result, state->domain);
    return good && (!state->calibrations || sum_decisions(result, state->calibrations));
}

static bool make_section(session *state, size_t index)
{
    const command_line *arguments = state->arguments;
    if (!arguments->out)
        return true;
    const size_t many = 3, most = 12; /* images shown of each of several checkpoints, of one */
    char *scratch = format_text("%s/cache/thumbnail.png", arguments->out);
    const report_sources sources = {
        .store = &state->store, .scratch = scratch, .worst = state->count > 1 ? many : most};
    size_t size;
    FILE *file = scratch ? open_memstream(&state->sections[index], &size) : NULL;
    if (file)
        report_section(file, &state->results[index], &sources);
    free(scratch);
    return (file && fclose(file) == 0) || !complain(PROGRAM, "out of memory");
}

static bool open_metrics(const session *state, evaluation *result)
{
    aaclip_metrics_options options;
    aaclip_metrics_options_init(&options);
    options.domain = state->domain;
    if (state->arguments->histogram)
        options.mode = AACLIP_METRICS_HISTOGRAM;
    if (state->arguments->no_pixels)
        options.wanted = AACLIP_METRICS_IMAGES;
    return !failed(aaclip_metrics_new(&result->metrics, &options));
}

/* Writes to FOLDER/pictures, with a folder for each of several checkpoints. */
static bool make_pictures(session *state, evaluation *result)
{
    const command_line *arguments = state->arguments;
    if (!arguments->pictures)
        return true;
    result->pictures =
        state->count > 1 ? format_text("pictures/%s", result->name) : strdup("pictures");
    return result->pictures ? draw_pictures(result, &state->store, arguments->out, &state->bar)
                            : !complain(PROGRAM, "out of memory");
}

static bool run_checkpoint(session *state, size_t index, aaclip_detector *detector)
{
    const command_line *arguments = state->arguments;
    evaluation *result = &state->results[index];
    state->image_size = aaclip_detector_image_size(detector);
    uint64_t *keys = class_keys(state, result);
    const evaluation_plan plan = {.detector = detector,
                                  .store = arguments->out ? &state->store : NULL,
                                  .class_keys = keys,
                                  .window = arguments->window,
                                  .pictures = arguments->pictures,
                                  .pixels = !arguments->no_pixels,
                                  .calibrations = state->calibrations,
                                  .peaks = wants_calibration(arguments) || state->calibrations,
                                  .bar = &state->bar};
    progress_start(&state->bar, result->name);
    bool good = keys && open_metrics(state, result) && evaluate_images(result, &plan);
    progress_end(&state->bar);
    free(keys);
    good = good && compute_values(state, result) && make_section(state, index) &&
           make_pictures(state, result);
    aaclip_metrics_close(&result->metrics);
    return good;
}

static bool evaluate_checkpoint(session *state, size_t index)
{
    const command_line *arguments = state->arguments;
    const evaluation *result = &state->results[index];
    aaclip_adapters *adapters = NULL;
    aaclip_detector *detector = NULL;
    aaclip_detector_options options;
    aaclip_detector_options_init(&options);
    options.domain = state->domain;
    options.image_size = arguments->image_size;
    options.config = &state->config;
    options.tile = arguments->tile;
    options.window_low = arguments->window.low; /* as photos are opened */
    options.window_high = arguments->window.high;
    if (arguments->has_tile_overlap)
        options.tile_overlap = (float)arguments->tile_overlap;
    state->tile_overlap = arguments->tile ? options.tile_overlap : 0;
    bool good = !result->files.count ||
                !failed(aaclip_adapters_open(
                    &adapters, state->model, (const char *const *)result->files.items,
                    result->files.count, arguments->has_profile ? &state->config : NULL));
    good =
        good && (state->cache || open_cache(state, adapters)) &&
        !failed(aaclip_detector_new(&detector, state->model, adapters, state->cache, &options)) &&
        check_calibrations(state, detector) && run_checkpoint(state, index, detector);
    if (good && table_is_shown(arguments)) {
        print_table(result);
        if (result->decisions)
            print_decisions(result, arguments->calibration);
    }
    if (good && wants_calibration(arguments))
        state->uncalibrated = !calibrate(state, result, adapters, detector);
    aaclip_detector_close(&detector);
    aaclip_adapters_close(&adapters);
    return good;
}

static json_t *settings_json(const session *state)
{
    const command_line *arguments = state->arguments;
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(state->model, &info);
    const char *data = arguments->data_root ? arguments->data_root : arguments->manifest;
    const char *calibration = arguments->calibration ? arguments->calibration : "";
    return json_pack(
        "{s:s, s:o, s:s, s:s, s:s, s:i, s:i, s:f, s:s, s:o, s:o, s:s, s:s, s:o, s:I}", "version",
        aaclip_version_string(), "model", text_json(info.path), "fingerprint", info.fingerprint,
        "backend", info.backend, "precision", aaclip_precision_name(info.precision), "image_size",
        (int)state->image_size, "tile", (int)arguments->tile, "tile_overlap",
        (double)state->tile_overlap, "domain", aaclip_domain_name(state->domain), "dataset",
        text_json(arguments->dataset ? arguments->dataset : ""), "data",
        text_json(data ? data : ""), "split", arguments->split, "metrics",
        arguments->histogram ? "histogram" : "exact", "calibration", text_json(calibration),
        "images", (json_int_t)aaclip_dataset_count(state->dataset));
}

static bool write_all_results(const session *state)
{
    const command_line *arguments = state->arguments;
    json_t *settings = settings_json(state);
    bool good = settings || !complain(PROGRAM, "out of memory");
    if (good && arguments->out) {
        char *path = format_text("%s/report.html", arguments->out);
        good = path && write_report(path, settings, state->results, state->sections, state->count);
        free(path);
    }
    if (arguments->csv)
        good = write_scores_csv(arguments->csv, state->results, state->count) && good;
    if (arguments->json)
        return write_results_json(arguments->json, settings, state->results, state->count) && good;
    json_decref(settings);
    return good;
}

static bool run(session *state)
{
    size_t failures = 0;
    if (wants_calibration(state->arguments) && !can_calibrate(state))
        return false;
    if (state->arguments->calibration && !open_calibrations(state))
        return false;
    for (size_t i = 0; i < state->count; i++) {
        if (!evaluate_checkpoint(state, i))
            return false;
        fflush(stdout);
        failures += state->results[i].failed;
    }
    bool written = write_all_results(state);
    if (failures)
        complain(PROGRAM, "%zu of %zu images failed", failures,
                 state->count * state->results[0].count);
    return written && !failures && !state->uncalibrated;
}

/* Checks before any image is computed what will be written after all of them. */
static bool can_write_results(const command_line *arguments)
{
    return can_write_text_file(arguments->json, PROGRAM) &&
           can_write_text_file(arguments->csv, PROGRAM) &&
           can_write_text_file(arguments->save_adapters, PROGRAM);
}

int main(int argc, char **argv)
{
    command_line arguments = {.layout = "auto", .split = "test", .false_alarm_rate = 0.01};
    session state = {.arguments = &arguments};
    parse_result parsed = parse_command_line(&arguments, argc, argv);
    bool done = parsed == PARSE_DONE;
    if (parsed == PARSE_RUN) {
        show_log(arguments.verbose);
        done = open_session(&state) && can_write_results(&arguments) && run(&state);
    }
    close_session(&state);
    list_clear(&arguments.adapters);
    list_clear(&arguments.classes);
    return end_program(done ? 0 : 1, PROGRAM);
}
