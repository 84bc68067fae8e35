/* Internals of a trainer, shared by its files. */
#ifndef AAC_TRAIN_TRAINER_PARTS_H
#define AAC_TRAIN_TRAINER_PARTS_H

#include "core/platform.h"
#include "train/stage.h"

struct aaclip_trainer {
    aaclip_model *model;
    aaclip_dataset *dataset;
    aaclip_text_cache *cache; /* stage 2 */
    aaclip_trainer_options options;
    char *texts[4]; /* the options' strings, owned */
    aaclip_config config;
    int64_t image_size;
    aac_augment_options augment;
    aac_parameter_set parameters;
    aac_optimizer optimizer;
    aac_training_state state;
    aac_stage *stage;
    bool stale;              /* values have changed since the stage last saw them */
    size_t *order;           // (samples): of the current epoch
    unsigned loader_threads; /* chosen once: the size of `samples` depends on it */
    aac_loader *loader;      /* NULL: opened at the state's position when needed */
    uint8_t *samples;        /* the loader's memory, for a device to fetch from; NULL: its own */
    aac_appender *log;
    bool reporting; /* in a callback */
};

/* Checks the caller's options and copies them, strings included. */
aaclip_status aac_trainer_read_options(aaclip_trainer *trainer,
                                       const aaclip_trainer_options *options);
/* The parameters of its side, as its configuration and model shape them. */
aaclip_status aac_trainer_make_parameters(const aaclip_trainer *trainer, aac_parameter_set *set);
/* The settings that must not change between runs, as JSON; NULL when out of memory. */
char *aac_trainer_settings(const aaclip_trainer *trainer);

uint64_t aac_trainer_epoch_steps(const aaclip_trainer *trainer);
void aac_trainer_drop_loader(aaclip_trainer *trainer);

#endif
