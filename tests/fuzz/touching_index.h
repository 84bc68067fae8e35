/* A tensor index that keeps nothing but reads all that it is given. */
#ifndef AAC_TESTS_TOUCHING_INDEX_H
#define AAC_TESTS_TOUCHING_INDEX_H

#include "files/tensor_index.h"

struct aac_tensor_index {
    float sum; /* of everything, so that no read is optimised away */
};

#endif
