/*
 * Constants that are compiled into programs but appear in no function's type, so that abi/ does not
 * cover them. Their values change only with the soversion.
 */
#include <aaclip/aaclip.h>

#include <stdint.h>

_Static_assert(AACLIP_METRICS_PIXELS == 1 && AACLIP_METRICS_IMAGES == 2 && AACLIP_METRICS_ALL == 3,
               "aaclip_metrics_wanted");
_Static_assert(AACLIP_METRICS_MEAN == SIZE_MAX, "AACLIP_METRICS_MEAN");
_Static_assert(AACLIP_MAX_LEVELS == 8, "AACLIP_MAX_LEVELS");
_Static_assert(AACLIP_MAX_MILESTONES == 8, "AACLIP_MAX_MILESTONES");
typedef int not_empty;
