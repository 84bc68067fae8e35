#include "session.h"

#include <stdlib.h>

enum { WIDTH = 1024, HEIGHT = 768 };

bool session_arguments_fit(const session_arguments *arguments, const program_arguments *rest,
                           const char *program)
{
    if (arguments->model && !rest->count && arguments->repeat)
        return true;
    return !complain(program, "expected --model FILE; see --help");
}

/* Made-up text vectors, for a model without a vocabulary at hand. */
static aaclip_status invent_class(session *own)
{
    uint32_t embedding = own->info.embedding;
    float *pair = calloc(2 * (size_t)embedding, sizeof *pair);
    if (!pair)
        return AACLIP_ERROR_OUT_OF_MEMORY;
    pair[0] = pair[embedding + 1] = 1.0f;
    aaclip_status status = aaclip_text_cache_add(own->cache, "object", pair, pair + embedding);
    free(pair);
    return status;
}

aaclip_status session_open_text(session *own)
{
    static const char *const name[] = {"object"}, *const phrase[] = {"metal nut"};
    const session_arguments *arguments = own->arguments;
    aaclip_text_cache_options options;
    aaclip_text_cache_options_init(&options);
    options.vocabulary = arguments->vocabulary;
    own->class_name = name[0];
    if (!own->info.has_text) {
        aaclip_status status = aaclip_text_cache_open(&own->cache, own->model, own->adapters,
                                                      arguments->model, &options);
        own->class_name = aaclip_text_cache_name(own->cache, 0);
        return status;
    }
    aaclip_status status = aaclip_text_cache_new(&own->cache, own->model, own->adapters, &options);
    if (status)
        return status;
    return arguments->vocabulary ? aaclip_text_cache_build(own->cache, name, phrase, 1)
                                 : invent_class(own);
}

aaclip_status session_open_model(session *own, const session_arguments *arguments)
{
    aaclip_model_options options;
    const char *bundle[] = {arguments->model};
    own->arguments = arguments;
    own->info.size = sizeof own->info;
    aaclip_model_options_init(&options);
    options.backend = arguments->backend;
    options.precision = arguments->precision;
    options.threads = arguments->threads;
    options.packed_folder = arguments->packed;
    aaclip_status status = aaclip_model_open(&own->model, arguments->model, &options);
    if (!status)
        status = aaclip_model_get_info(own->model, &own->info);
    if (status)
        return status;
    if (arguments->adapters.count)
        return aaclip_adapters_open(&own->adapters, own->model,
                                    (const char *const *)arguments->adapters.items,
                                    arguments->adapters.count, NULL);
    return own->info.has_text ? AACLIP_OK
                              : aaclip_adapters_open(&own->adapters, own->model, bundle, 1, NULL);
}

/* Once, if no image file is given. */
static aaclip_status draw_picture(session *own, const session_arguments *arguments)
{
    if (!arguments->image && !own->generated)
        own->generated = generate_picture(WIDTH, HEIGHT);
    return arguments->image || own->generated ? AACLIP_OK : AACLIP_ERROR_OUT_OF_MEMORY;
}

aaclip_status session_open_detector(session *own, uint32_t image_size)
{
    aaclip_detector_options options;
    aaclip_detector_options_init(&options);
    options.image_size = image_size;
    aaclip_status status = draw_picture(own, own->arguments);
    if (status)
        return status;
    aaclip_detector_close(&own->detector);
    return aaclip_detector_new(&own->detector, own->model, own->adapters, own->cache, &options);
}

void session_close(session *own)
{
    aaclip_image_close(&own->decoded);
    aaclip_detector_close(&own->detector);
    aaclip_text_cache_close(&own->cache);
    aaclip_adapters_close(&own->adapters);
    aaclip_model_close(&own->model);
    free(own->generated);
    *own = (session){0};
}

aaclip_image_view session_view(const session *own)
{
    if (own->decoded)
        return aaclip_image_get_view(own->decoded);
    return (aaclip_image_view){own->generated, WIDTH, HEIGHT, 0, AACLIP_PIXEL_RGB8};
}

aaclip_status session_detect(session *own)
{
    const aaclip_image_view drawn = session_view(own);
    aaclip_result result = {.size = sizeof result};
    if (!own->arguments->image)
        return aaclip_detector_detect(own->detector, &drawn, own->class_name, &result);
    aaclip_image *image = NULL;
    aaclip_status status = aaclip_image_open(&image, own->arguments->image);
    if (!status) {
        const aaclip_image_view view = aaclip_image_get_view(image);
        status = aaclip_detector_detect(own->detector, &view, own->class_name, &result);
    }
    aaclip_image_close(&image);
    return status;
}

double session_gflop(const session *own)
{
    aaclip_config config = {.size = sizeof config};
    if (own->adapters)
        aaclip_adapters_get_config(own->adapters, &config);
    if (!aaclip_adapters_has_image(own->adapters))
        config.image_adapter_layers = 0;
    return forward_gflop(&own->info, &config, aaclip_detector_image_size(own->detector));
}

aaclip_status session_cold_start(session *own, const session_arguments *arguments,
                                 cold_start *seconds)
{
    double now = seconds_now();
    aaclip_status status = draw_picture(own, arguments);
    const double started = seconds_now();
    seconds->drawing_s = started - now;
    now = started;
    if (!status)
        status = session_open_model(own, arguments);
    seconds->open_s = seconds_now() - now;
    now = seconds_now();
    if (!status)
        status = session_open_text(own);
    seconds->text_s = seconds_now() - now;
    now = seconds_now();
    if (!status)
        status = session_open_detector(own, arguments->image_size);
    seconds->plan_s = seconds_now() - now;
    if (!status)
        status = session_detect(own);
    seconds->first_s = seconds_now() - started;
    seconds->peak_memory_mb = peak_memory_mb();
    return status;
}
