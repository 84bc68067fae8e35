/* The training log: one JSON object a line and optimizer step. */
#ifndef AAC_TRAIN_TRAINING_LOG_H
#define AAC_TRAIN_TRAINING_LOG_H

#include <stdio.h>

#include <aaclip/trainer.h>

/* Lines are appended to what the file holds. */
aaclip_status aac_training_log_open(FILE **log, const char *path);
/* Written through at once; `path` is for the error text. */
aaclip_status aac_training_log_write(FILE *log, const char *path,
                                     const aaclip_training_progress *progress);
void aac_training_log_close(FILE **log);

#endif
