#ifndef AAC_BACKEND_REGISTRY_H
#define AAC_BACKEND_REGISTRY_H

#include "backend/backend.h"

/* The backend and the device that a name means, as aac_dispatch_open takes it. */
aaclip_status aac_backend_find(const aac_backend **found, int *device, const char *name);

#endif
