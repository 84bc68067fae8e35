/* What the description of an operation says of its work. */
#ifndef AAC_BACKEND_WORK_H
#define AAC_BACKEND_WORK_H

#include "backend/backend.h"

/*
 * Whether sharing the work among threads would cost more than it saves: some 50 microseconds or
 * less of one thread. `sequences` counts for attention only.
 */
bool aac_op_is_small(const aac_op_desc *desc, int64_t sequences);

/*
 * Threads that a linear layer's weight is packed for: the matrix decides, not the rows, so that all
 * plans that multiply it find one layout where that depends on the number.
 */
int aac_op_packing_threads(const aac_op_desc *linear, int threads);

/* Whether it reads or writes float16. */
bool aac_op_has_f16(const aac_op_desc *desc);

#endif
