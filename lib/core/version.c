#include <aaclip/version.h>

const char *aaclip_version_string(void)
{
    return AACLIP_VERSION_STRING;
}

unsigned aaclip_version(void)
{
    return AACLIP_VERSION;
}
