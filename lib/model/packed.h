/*
 * Packs weights, or takes them from a file that an earlier process left in the caller's folder: a
 * safetensors file of packed bytes, mapped, so that processes share its pages. It is a cache, valid
 * only for the source, library, processor and precision that it was made with; anything missing,
 * stale, foreign or broken is packed again and replaced.
 */
#ifndef AAC_MODEL_PACKED_H
#define AAC_MODEL_PACKED_H

#include "backend/backend.h"
#include "files/tensor_file.h"

/* What is packed, and where it is cached. */
typedef struct aac_packer_setup {
    const aac_dispatch *dispatch;
    const char *folder;            /* NULL: nothing is cached */
    const aac_tensor_file *source; /* the file whose tensors are packed */
    const char *part, *precision;  /* in the name of the file: "image", "f32" */
    uint64_t fingerprint;          /* of the tensors */
} aac_packer_setup;

typedef struct aac_packed_entry {
    aac_weight **slot;
    aac_op_desc desc;
    const char *tensor; /* name of the first tensor it was packed from */
    size_t number;
} aac_packed_entry;

/* All zeros except the dispatch: caches nothing. For one thread. */
typedef struct aac_packer {
    const aac_dispatch *dispatch;
    char *path, *origin;
    aac_tensor_file *file; /* NULL: none for this origin */
    aac_packed_entry *entries;
    size_t count, capacity, number;
    bool incomplete; /* something was packed that the file does not have */
    bool reads_file; /* a weight is used as it is mapped */
} aac_packer;

/* Fails only when out of memory. */
aaclip_status aac_packer_open(aac_packer *packer, const aac_packer_setup *setup);
/*
 * Like aac_dispatch_pack; call in the same order in every process, and do not move *weight. A
 * packer that caches nothing acts like aac_dispatch_repack: *weight may already exist.
 */
aaclip_status aac_packer_pack(aac_packer *packer, aac_weight **weight, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type);
/*
 * After the last weight: writes the file if it is incomplete and makes the weights use it instead
 * of their own memory. *kept is the file, or NULL; close it after the weights are freed. A folder
 * that cannot be written to is only logged. Fails only when out of memory or cancelled.
 */
aaclip_status aac_packer_finish(aac_packer *packer, aac_tensor_file **kept);
/* Always required; after the weights are freed if aac_packer_finish did not run. */
void aac_packer_close(aac_packer *packer);

#endif
