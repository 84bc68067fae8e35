/* What a call of the session leaves behind. */
#ifndef TEST_FAULTS_FOOTPRINT_H
#define TEST_FAULTS_FOOTPRINT_H

#include "session.h"

typedef struct content {
    unsigned char *bytes;
    size_t size;
} content;

/* What is on disk, and what the library holds. */
typedef struct footprint {
    content out, torch_out;
    size_t files;
    int heap, open;
} footprint;

/* Puts something where calls write. */
void footprint_write_old(const session *all);

footprint footprint_look(const session *all);
void footprint_forget(footprint *seen);

/* NULL when everything is as it was, files are whole and no other is there; else what is not. */
const char *footprint_difference(const session *all, const footprint *expected);

#endif
