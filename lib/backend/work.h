/* What the description of an operation says of its work. */
#ifndef AAC_BACKEND_WORK_H
#define AAC_BACKEND_WORK_H

#include "backend/backend.h"

/*
 * Whether sharing the work among threads would cost more than it saves: some 50 microseconds or
 * less of one thread. `sequences` counts for attention only.
 */
bool aac_op_is_small(const aac_op_desc *desc, int64_t sequences);

/* Whether it reads or writes float16. */
bool aac_op_has_f16(const aac_op_desc *desc);

#endif
