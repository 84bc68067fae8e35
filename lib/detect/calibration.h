/* A caller's calibration inside the library. */
#ifndef AAC_DETECT_CALIBRATION_H
#define AAC_DETECT_CALIBRATION_H

#include <aaclip/calibration.h>

/* Copies a caller's calibration, checked. */
aaclip_status aac_calibration_read(aaclip_calibration *own, const aaclip_calibration *calibration);

#endif
