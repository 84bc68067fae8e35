/* The shapes on which every backend is compared with `reference`. */
#ifndef TESTS_OPS_CASES_H
#define TESTS_OPS_CASES_H

#include "backend/backend.h"

/* Calls `visit` for every description: odd shapes, every type, activation and epilogue. */
void visit_cases(void (*visit)(const aac_op_desc *desc, void *user), void *user);

#endif
