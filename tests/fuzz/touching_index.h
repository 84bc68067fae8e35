/* A tensor index that stores nothing but reads all data it is given. */
#ifndef AAC_TESTS_TOUCHING_INDEX_H
#define AAC_TESTS_TOUCHING_INDEX_H

#include "files/tensor_index.h"

struct aac_tensor_index {
    float sum; /* of everything, so that no read is optimised away */
};

#endif
