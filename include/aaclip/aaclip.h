/**
 * @mainpage libaaclip
 *
 * Zero-shot anomaly detection with Anomaly-Aware CLIP (CVPR 2025) in C.
 *
 * From files to a heat map; calls return an aaclip_status, to be checked like the first one here:
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
 * Close handles with aaclip_..._close(&handle), in any order. The library never prints, exits or
 * aborts. examples/hello.c is this example as a program.
 *
 * The method is that of AA-CLIP (arXiv 2503.06661); docs/method.md lists each step with the
 * function that implements it, docs/profiles.md where the two profiles differ.
 *
 * Unless stated otherwise:
 *
 * - Errors: a call returns AACLIP_OK or an error that its description lists, and INVALID_ARGUMENT
 *   for NULL where it is not allowed. aaclip_last_error() has the text. On failure, a call that
 *   makes a handle sets it to NULL; other outputs are unspecified.
 * - Ownership: arguments remain the caller's and are not needed after the call, options and their
 *   strings included; a new handle retains the handles that it needs. What is returned as a const
 *   pointer belongs to its handle and lives as long as it.
 * - Threads: functions without a handle may be called from any thread; each handle type states its
 *   own rules. Close a handle once, when no call that uses it is running.
 * - Cancellation: a long-running call can be cancelled, usually within a tenth of a second; see
 *   aaclip/cancel.h.
 * - Text is UTF-8, except for paths, which are passed to the operating system unchanged.
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
