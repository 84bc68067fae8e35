/* The half of test_mixed that is compiled without exceptions. */
#include <aaclip/aaclip.hpp>

aaclip_status open_quietly(const char *path);

aaclip_status open_quietly(const char *path)
{
    aaclip_status status = AACLIP_OK;
    const aaclip::model model(path, nullptr, &status);
    if (!status)
        status = aaclip_model_get_info(model.get(), nullptr);
    return status;
}
