/* How much work an operation is, from its description. */
#ifndef AAC_BACKEND_WORK_H
#define AAC_BACKEND_WORK_H

#include "backend/backend.h"

/*
 * Whether sharing the work among threads would cost more than it saves: some 50 microseconds or
 * less of one thread. `sequences` counts for attention only.
 */
bool aac_op_is_small(const aac_op_desc *desc, int64_t sequences);

#endif
