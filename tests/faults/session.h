/* From models to checkpoints: the calls of a whole run, each independent of the others. */
#ifndef TEST_FAULTS_SESSION_H
#define TEST_FAULTS_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "fixture.h"
#include "scratch.h"

/* What is open throughout. */
typedef struct session {
    const char *folder;
    fixture all; /* the cache has the data set's classes */
    aaclip_dataset *dataset;
    aaclip_trainer *text, *image; /* an epoch is one step of all four images */
    scratch_file prompts, merges, tree, log;
    scratch_file packed, kept_packed; /* folders; the second one has content */
    /* files made by the library, to be read */
    scratch_file bundle, cache, adapters, calibration, text_state, image_state;
    scratch_file out, torch_out; /* output of calls */
} session;

void session_open(session *all, const char *folder);
void session_close(session *all);

/* A call that opens and closes what it needs beyond the session. */
typedef struct session_call {
    const char *name;
    aaclip_status (*call)(session *all);
    bool survives; /* failures with packed weights are only told in the log */
} session_call;

extern const session_call session_calls[];
extern const size_t session_call_count;

#endif
