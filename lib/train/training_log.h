/* The training log: one JSON object a line and optimizer step. */
#ifndef AAC_TRAIN_TRAINING_LOG_H
#define AAC_TRAIN_TRAINING_LOG_H

#include <aaclip/trainer.h>

#include "core/platform.h"

/* Written through at once, a line whole or not at all. */
aaclip_status aac_training_log_write(aac_appender *log, const aaclip_training_progress *progress);

#endif
