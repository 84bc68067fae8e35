/* What the files of this backend share. Plain C, double sums: the other backends' yardstick. */
#ifndef AAC_BACKEND_REFERENCE_REFERENCE_H
#define AAC_BACKEND_REFERENCE_REFERENCE_H

#include "backend/backend.h"

typedef aaclip_status (*aac_reference_run)(const aac_plan *plan, const aac_op_args *args,
                                           void *scratch);

aaclip_status aac_reference_linear(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_attention(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_layer_norm(const aac_plan *plan, const aac_op_args *args,
                                       void *scratch);
aaclip_status aac_reference_blend(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_normalize(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_convert(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_gather(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_gather_backward(const aac_plan *plan, const aac_op_args *args,
                                            void *scratch);
aaclip_status aac_reference_patches(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_similarity(const aac_plan *plan, const aac_op_args *args,
                                       void *scratch);
aaclip_status aac_reference_anomaly_map(const aac_plan *plan, const aac_op_args *args,
                                        void *scratch);
aaclip_status aac_reference_activate(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_activate_backward(const aac_plan *plan, const aac_op_args *args,
                                              void *scratch);
aaclip_status aac_reference_linear_gradient(const aac_plan *plan, const aac_op_args *args,
                                            void *scratch);
aaclip_status aac_reference_layer_norm_backward(const aac_plan *plan, const aac_op_args *args,
                                                void *scratch);
aaclip_status aac_reference_attention_backward(const aac_plan *plan, const aac_op_args *args,
                                               void *scratch);
aaclip_status aac_reference_blend_backward(const aac_plan *plan, const aac_op_args *args,
                                           void *scratch);
aaclip_status aac_reference_normalize_backward(const aac_plan *plan, const aac_op_args *args,
                                               void *scratch);
aaclip_status aac_reference_similarity_backward(const aac_plan *plan, const aac_op_args *args,
                                                void *scratch);
aaclip_status aac_reference_segmentation_loss(const aac_plan *plan, const aac_op_args *args,
                                              void *scratch);
aaclip_status aac_reference_classification_loss(const aac_plan *plan, const aac_op_args *args,
                                                void *scratch);
aaclip_status aac_reference_adam(const aac_plan *plan, const aac_op_args *args, void *scratch);
aaclip_status aac_reference_finite(const aac_plan *plan, const aac_op_args *args, void *scratch);

aaclip_status aac_reference_pack(aac_weight **weight, const aac_tensor *parts,
                                 const aac_tensor *bias_parts, int part_count, aac_dtype type,
                                 int threads);
void aac_reference_weight_free(aac_weight *weight);
void aac_reference_weight_image(const aac_weight *weight, aac_weight_image *image);
aaclip_status aac_reference_adopt(aac_weight **weight, const aac_op_desc *desc,
                                  const aac_weight_image *image);

/* Element `index` of an array of float32, bfloat16 or float16. */
double aac_reference_get(const void *values, aac_dtype type, int64_t index);
void aac_reference_set(void *values, aac_dtype type, int64_t index, double value);

double aac_reference_dot(const float *a, const float *b, int64_t count);
double aac_reference_activation(double x, aac_activation activation, double slope);

/* Doubles of scratch that one thread needs for an operation. */
size_t aac_reference_scratch(const aac_op_desc *desc);
size_t aac_reference_attention_scratch(const aac_op_desc *desc);

#endif
