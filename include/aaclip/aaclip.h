/**
 * @mainpage libaaclip
 *
 * Zero-shot anomaly detection with Anomaly-Aware CLIP (CVPR 2025) in C.
 *
 * From files to a heat map; every call returns an aaclip_status, checked as the first one is:
 *
 *     aaclip_model *model = NULL;
 *     if (aaclip_model_open(&model, "ViT-L-14-336px.pt", NULL))
 *         return fprintf(stderr, "%s\n", aaclip_last_error()), 1;
 *     const char *files[] = {"text_adapter.pth", "image_adapter_20.pth"};
 *     aaclip_adapters_open(&adapters, model, files, 2, NULL);
 *     aaclip_text_cache_new(&cache, model, adapters, NULL);
 *     aaclip_text_cache_build(cache, (const char *[]){"nut"}, (const char *[]){"metal nut"}, 1);
 *     aaclip_detector_new(&detector, model, adapters, cache, NULL);
 *     aaclip_image_open(&image, "part.png");
 *     aaclip_image_view view = aaclip_image_get_view(image);
 *     aaclip_result result = {.size = sizeof result};
 *     aaclip_detector_detect(detector, &view, "nut", &result);
 *     // result.score, result.map[y * result.map_width + x]
 *
 * Handles are closed by aaclip_..._close(&handle), in any order. The library never prints, exits
 * or aborts. examples/hello.c is this text as a program.
 *
 * The method is that of AA-CLIP (arXiv 2503.06661); docs/method.md has each of its steps with the
 * function that does it, docs/profiles.md where the two profiles differ.
 *
 * What holds where nothing else is said:
 *
 * - Errors: a call returns AACLIP_OK or what its text lists, and INVALID_ARGUMENT for NULL where it
 *   is not allowed. aaclip_last_error() has the text. A call that makes a handle sets it to NULL on
 *   failure; other outputs then hold nothing of use.
 * - Ownership: what is given stays the caller's and is not needed after the call, options and their
 *   strings included; handles that a new one needs are retained by it. What is returned as a const
 *   pointer belongs to its handle and lives as long.
 * - Threads: functions without a handle may be called from any thread; each handle says who may use
 *   it. A handle is closed once, when no call with that variable is running.
 * - Ending: a call that runs long can be ended, usually within a tenth of a second; aaclip/cancel.h
 *   says how.
 * - Text is UTF-8, except for paths, which go to the operating system as they are.
 * - Maps and masks are width x height values, row-major, without padding.
 */
/**
 * @file
 * Includes all other headers of the C interface.
 */
#ifndef AACLIP_H
#define AACLIP_H

#include <aaclip/adapters.h>
#include <aaclip/backend.h>
#include <aaclip/calibration.h>
#include <aaclip/cancel.h>
#include <aaclip/config.h>
#include <aaclip/dataset.h>
#include <aaclip/detector.h>
#include <aaclip/export.h>
#include <aaclip/image.h>
#include <aaclip/limits.h>
#include <aaclip/metrics.h>
#include <aaclip/model.h>
#include <aaclip/profiler.h>
#include <aaclip/regions.h>
#include <aaclip/status.h>
#include <aaclip/text_cache.h>
#include <aaclip/trainer.h>
#include <aaclip/version.h>

#endif
