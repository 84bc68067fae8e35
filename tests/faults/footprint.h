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

/* Before and after all tests of a program: its own folder, counted memory, the session; returns 0,
 * or nonzero for cmocka on failure. */
int footprint_open_session(session *all, void **state);
int footprint_close_session(session *all, void **state);

/* Puts other contents where calls write their output. */
void footprint_write_old(const session *all);
footprint footprint_look(const session *all);
void footprint_forget(footprint *seen);
/* A description of what has changed; NULL if nothing has. */
const char *footprint_difference(const session *all, const footprint *expected);

#endif
