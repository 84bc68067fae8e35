/* Calibrations inside the library. */
#ifndef AAC_DETECT_CALIBRATION_H
#define AAC_DETECT_CALIBRATION_H

#include <aaclip/calibration.h>
#include <aaclip/detector.h>

#define AAC_CALIBRATION_IMAGES (1ull << 53) /* exact in other JSON readers, too */

bool aac_is_rate(double rate);
/* Copies a caller's calibration, checked. */
aaclip_status aac_calibration_read(aaclip_calibration *own, const aaclip_calibration *calibration);

/* Checks that the thresholds were made with a detector like this one, if they say with which. */
aaclip_status aac_calibration_check(const aaclip_calibration *calibration,
                                    const aaclip_detector *detector);
aaclip_status aac_calibration_check_class(const aaclip_calibration *calibration,
                                          const aaclip_text_cache *cache, const char *class_name);

#endif
