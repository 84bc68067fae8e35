/* What operations cost, and the profilers that count it. */
#ifndef AAC_BACKEND_PROFILER_H
#define AAC_BACKEND_PROFILER_H

#include "backend/backend.h"

/* The cost of a run, from its description and arguments. */
typedef struct aac_op_cost {
    double flop;  /* of matrix products */
    double bytes; /* every operand once */
} aac_op_cost;

/* For attention, `args` gives the sequences. Unless they are uniform, their offsets are read and
 * must be in host memory. */
aac_op_cost aac_op_cost_of(const aac_op_desc *desc, const aac_op_args *args);

/* "1370 x 1024 -> 4096, bias, quick_gelu" and the like. */
#define AAC_OP_SHAPE_TEXT 128
void aac_op_shape_text(char text[AAC_OP_SHAPE_TEXT], const aac_op_desc *desc,
                       const aac_op_args *args);

/* Whether the calling thread has profilers running. */
bool aac_profiler_is_running(void);

/* Runs the plan and tells the calling thread's profilers, if it has any. */
aaclip_status aac_profiler_run(const aac_plan *plan, const aac_op_args *args, void *scratch);

#endif
