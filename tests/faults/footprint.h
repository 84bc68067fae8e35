/* What a call leaves on disk, and what the library holds. */
#ifndef TEST_FAULTS_FOOTPRINT_H
#define TEST_FAULTS_FOOTPRINT_H

#include <stddef.h>

#include "session.h"

typedef struct file_content {
    unsigned char *bytes;
    size_t size;
} file_content;

typedef struct footprint {
    file_content out, torch_out;
    size_t files;
    int heap, open;
} footprint;

/* Before and after all tests of a program: a folder of its own, counted memory, the session in it;
 * 0, or what cmocka takes for a failure. */
int footprint_open_session(session *all, void **state);
int footprint_close_session(session *all, void **state);

/* Something else than what calls write, where they write it. */
void footprint_write_old(const session *all);
footprint footprint_look(const session *all);
void footprint_forget(footprint *seen);
/* What is not as it was, in words; NULL when everything is. */
const char *footprint_difference(const session *all, const footprint *expected);

#endif
