#include "train/training_log.h"

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "core/error.h"
#include "core/platform.h"

aaclip_status aac_training_log_open(FILE **log, const char *path)
{
    *log = aac_file_append(path);
    if (!*log)
        return aac_error(AACLIP_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    return AACLIP_OK;
}

aaclip_status aac_training_log_write(FILE *log, const char *path,
                                     const aaclip_training_progress *progress)
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
    if (!line)
        return aac_error_memory();
    int failed = json_dumpf(line, log, JSON_COMPACT);
    json_decref(line);
    if (failed || fputc('\n', log) == EOF || fflush(log) != 0)
        return aac_error(AACLIP_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    return AACLIP_OK;
}

void aac_training_log_close(FILE **log)
{
    if (*log)
        fclose(*log);
    *log = NULL;
}
