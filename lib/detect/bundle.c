/* A deployment bundle: image tower, adapters and text vectors in one file. */
#include <aaclip/detector.h>

#include "core/error.h"
#include "model/adapters.h"
#include "model/model.h"
#include "text/text_cache.h"

static aaclip_status collect(aac_save_list *list, const aaclip_model *model,
                             const aaclip_adapters *adapters, const aaclip_text_cache *cache,
                             bool float16)
{
    aaclip_status status = aac_save_text(list, "aaclip.bundle", "1");
    if (!status)
        status = aac_model_save_entries(model, list, false, float16);
    if (!status)
        status = adapters ? aac_adapters_save_entries(adapters, list, false)
                          : aac_save_config(list, aac_text_cache_config(cache));
    if (!status && adapters)
        status = aac_adapters_save_calibration(adapters, list);
    return status ? status : aac_text_cache_save_entries(cache, list);
}

aaclip_status aaclip_bundle_save(const aaclip_model *model, const aaclip_adapters *adapters,
                                 const aaclip_text_cache *cache, const char *path, bool float16)
{
    if (!model || !cache || !path)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_bundle_save: NULL argument");
    if (!aaclip_text_cache_count(cache))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_bundle_save: the text cache has no classes");
    aaclip_status status = aac_adapters_check_model(adapters, model);
    if (!status)
        status = aac_text_cache_check(cache, model, adapters);
    if (!status && adapters)
        status = aac_text_cache_check_config(cache, aac_adapters_config(adapters));
    aac_save_list list = {0};
    if (!status)
        status = collect(&list, model, adapters, cache, float16);
    if (!status)
        status = aac_save_write(&list, path);
    aac_save_clear(&list);
    return status;
}
