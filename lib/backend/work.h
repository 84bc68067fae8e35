/* What the description of an operation says about the work. */
#ifndef AAC_BACKEND_WORK_H
#define AAC_BACKEND_WORK_H

#include "backend/backend.h"

/*
 * Whether sharing the work among threads would cost more than it saves: about 50 microseconds or
 * less on one thread. `sequences` matters for attention only.
 */
bool aac_op_is_small(const aac_op_desc *desc, int64_t sequences);

/*
 * The number of threads that a linear layer's weight is packed for. It depends on the matrix, not
 * on the rows, so that all plans that multiply it agree on a layout that depends on the number.
 */
int aac_op_packing_threads(const aac_op_desc *linear, int threads);

/* Whether it reads or writes float16. */
bool aac_op_has_f16(const aac_op_desc *desc);

#endif
