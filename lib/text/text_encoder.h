/* The text tower with its adapters: token ids in, one vector per prompt out. */
#ifndef AAC_TEXT_TEXT_ENCODER_H
#define AAC_TEXT_TEXT_ENCODER_H

#include "model/adapters.h"
#include "model/model.h"

/* Prompts one after the other: ids[offsets[i]] .. ids[offsets[i + 1] - 1] are prompt i. */
typedef struct aac_token_batch {
    const int32_t *ids;
    const int32_t *offsets;
    int64_t prompts;
} aac_token_batch;

/*
 * vectors: (prompts, embedding) in host memory, each row L2-normalised. As the tower is causal,
 * nothing after the end token matters, so prompts keep their own lengths without padding.
 * `adapters` may be NULL or without text modules: plain CLIP with its own projection.
 */
aaclip_status aac_text_encode(const aaclip_model *model, const aac_text_tower *tower,
                              const aaclip_adapters *adapters, const aaclip_config *config,
                              const aac_token_batch *batch, float *vectors);

/*
 * One class's vector for a side: the mean of `count` prompt vectors, with `normalize` rescaled to
 * unit length (the published profile). Returns what the mean was divided by.
 */
double aac_class_vector(const float *vectors, size_t count, int64_t embedding, bool normalize,
                        float *out);
/* Gradient of each of `count` prompt vectors (the same for all) from that of the class vector. */
void aac_class_vector_backward(const float *vector, const float *gradient, double norm,
                               size_t count, int64_t embedding, bool normalize, float *out);

#endif
