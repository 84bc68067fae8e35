/* The training log: one JSON object per line and optimizer step. */
#ifndef AAC_TRAIN_TRAINING_LOG_H
#define AAC_TRAIN_TRAINING_LOG_H

#include <aaclip/trainer.h>

#include "core/platform.h"

/* Written immediately, each line completely or not at all. */
aaclip_status aac_training_log_write(aac_appender *log, const aaclip_training_progress *progress);

#endif
