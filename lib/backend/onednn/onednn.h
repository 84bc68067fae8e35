/* What the files of this backend share. */
#ifndef AAC_BACKEND_ONEDNN_ONEDNN_H
#define AAC_BACKEND_ONEDNN_ONEDNN_H

#include "backend/onednn/shim.h"

aaclip_status aac_onednn_plan_linear(aac_plan **plan, const aac_op_desc *desc, int threads);
void aac_onednn_free_linear(aac_plan *plan);
aaclip_status aac_onednn_pack(aac_weight **weight, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type,
                              int threads);
aaclip_status aac_onednn_repack(aac_weight *weight, const aac_tensor *parts,
                                const aac_tensor *bias_parts, int part_count, aac_dtype type);
void aac_onednn_weight_free(aac_weight *weight);
void aac_onednn_weight_image(const aac_weight *weight, aac_weight_image *image);
aaclip_status aac_onednn_adopt(aac_weight **weight, const aac_op_desc *desc,
                               const aac_weight_image *image);

/* The same for 8-bit integers. */
aaclip_status aac_onednn_plan_quantized(aac_plan **plan, const aac_op_desc *desc, int threads);
void aac_onednn_free_quantized(aac_plan *plan);
aaclip_status aac_onednn_pack_quantized(aac_weight **weight, const aac_tensor *parts,
                                        const aac_tensor *bias_parts, int part_count);
void aac_onednn_quantized_weight_free(aac_weight *weight);
void aac_onednn_quantized_image(const aac_weight *weight, aac_weight_image *image);
aaclip_status aac_onednn_adopt_quantized(aac_weight **weight, const aac_op_desc *desc,
                                         const aac_weight_image *image);

aaclip_status aac_onednn_plan_attention(aac_plan **plan, const aac_op_desc *desc, int threads);
void aac_onednn_free_attention(aac_plan *plan);

aaclip_status aac_onednn_plan_attention_backward(aac_plan **plan, const aac_op_desc *desc,
                                                 int threads);
void aac_onednn_free_attention_backward(aac_plan *plan);

aaclip_status aac_onednn_plan_linear_gradient(aac_plan **plan, const aac_op_desc *desc,
                                              int threads);
void aac_onednn_free_linear_gradient(aac_plan *plan);

#endif
