/* One class's prompts through the text tower and back: gradients of the text adapters. */
#ifndef AAC_TEXT_TEXT_TRAINING_H
#define AAC_TEXT_TEXT_TRAINING_H

#include "model/trained_tower.h"
#include "text/text_encoder.h"

/* Plans; the workspace is the caller's, device memory, and may be shared by classes that take
 * turns. */
typedef struct aac_text_training aac_text_training;

/* Everything that is passed outlives the object; the adapters are those of `trained`. */
aaclip_status aac_text_training_new(aac_text_training **training, const aaclip_model *model,
                                    const aac_text_tower *tower, const aaclip_adapters *adapters,
                                    const aaclip_config *config, const aac_token_batch *batch,
                                    aac_trained_tower *trained);
void aac_text_training_free(aac_text_training **training);
size_t aac_text_training_workspace(const aac_text_training *training);

/* vectors (prompts, embedding) in device memory, rows L2-normalised. */
aaclip_status aac_text_training_forward(const aac_text_training *training, float *vectors,
                                        void *workspace);
/*
 * From the gradient of the vectors (prompts, embedding) in device memory; adds to those of the
 * trained tower. The forward run is done again: that costs little, while its tape, kept for every
 * class of a training batch until all of them are known, would fill gigabytes.
 */
aaclip_status aac_text_training_backward(const aac_text_training *training,
                                         const float *vector_gradient, void *workspace);

#endif
