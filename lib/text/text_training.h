/* A class's prompts forward and backward through the text tower: gradients of the text adapters. */
#ifndef AAC_TEXT_TEXT_TRAINING_H
#define AAC_TEXT_TEXT_TRAINING_H

#include "model/trained_tower.h"
#include "text/text_encoder.h"

/* Plans only; the workspace, in device memory, is the caller's and may be shared by classes that
 * take turns. */
typedef struct aac_text_training aac_text_training;

/* Everything passed must outlive the object; the adapters are those of `trained`. */
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
 * From the gradient of the vectors (prompts, embedding) in device memory; adds to the gradients of
 * the trained tower. Repeats the forward run: that is cheap, while tapes kept for every class of a
 * training batch would take gigabytes.
 */
aaclip_status aac_text_training_backward(const aac_text_training *training,
                                         const float *vector_gradient, void *workspace);

#endif
