#include "train/training_log.h"

#include <string.h>

#include <jansson.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"

aaclip_status aac_training_log_write(aac_appender *log, const aaclip_training_progress *progress)
{
    const aaclip_losses *losses = progress->losses;
    bool text = progress->stage == AACLIP_STAGE_TEXT;
    json_t *line =
        json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "stage",
                  text ? "text" : "image", "step", (json_int_t)progress->step, "epoch",
                  (json_int_t)progress->epoch, "loss", losses->total, "loss_focal", losses->focal,
                  "loss_dice_normal", losses->dice_normal, "loss_dice_abnormal",
                  losses->dice_abnormal, text ? "loss_orthogonal" : "loss_classification",
                  text ? losses->orthogonal : losses->classification, "learning_rate",
                  progress->learning_rate, "images_per_second", progress->images_per_second);
    char *dumped = aac_json_text(line, JSON_COMPACT);
    json_decref(line);
    if (!dumped)
        return aac_error_memory();
    size_t length = strlen(dumped);
    dumped[length] = '\n'; /* replaces the terminating zero */
    aaclip_status status = aac_appender_write(log, dumped, length + 1);
    aac_free(dumped);
    return status;
}
