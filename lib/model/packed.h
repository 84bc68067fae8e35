/*
 * Packs weights, or takes them from a file that an earlier process left in the caller's folder: a
 * safetensors file of packed bytes, mapped, so that processes share its pages. It is a cache. It
 * counts only for the source, the library, the processor and the precision that it was made with;
 * what is missing, stale, foreign or broken is packed again and takes its place.
 */
#ifndef AAC_MODEL_PACKED_H
#define AAC_MODEL_PACKED_H

#include "backend/backend.h"
#include "files/tensor_file.h"

/* What is packed, and where it is kept. */
typedef struct aac_packer_setup {
    const aac_dispatch *dispatch;
    const char *folder;            /* NULL: nothing is kept */
    const aac_tensor_file *source; /* the file whose tensors are packed */
    const char *part, *precision;  /* in the name of the file: "image", "f32" */
    uint64_t fingerprint;          /* of the tensors */
} aac_packer_setup;

typedef struct aac_packed_entry {
    aac_weight **slot;
    aac_op_desc desc;
    const char *tensor; /* the first that it was packed from */
    size_t number;
} aac_packed_entry;

/* Zeros and a dispatch: one that keeps nothing. For one thread. */
typedef struct aac_packer {
    const aac_dispatch *dispatch;
    char *path, *origin;
    aac_tensor_file *file; /* NULL: there is none for this origin */
    aac_packed_entry *entries;
    size_t count, capacity, number;
    bool incomplete; /* something was packed that the file lacks */
} aac_packer;

/* Fails only when out of memory. */
aaclip_status aac_packer_open(aac_packer *packer, const aac_packer_setup *setup);
/*
 * As aac_dispatch_pack, in the same order in every process; *weight stays where it is. A packer
 * that keeps nothing is as aac_dispatch_repack: *weight may be there already.
 */
aaclip_status aac_packer_pack(aac_packer *packer, aac_weight **weight, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type);
/*
 * After the last weight: writes the file if it lacks something and lets the weights use it in place
 * of their own memory. *kept is the file, or NULL; it is closed after the weights are freed. A
 * folder that cannot be written to is told to the log. Fails only when out of memory or cancelled.
 */
aaclip_status aac_packer_finish(aac_packer *packer, aac_tensor_file **kept);
/* In any case; after the weights are freed if aac_packer_finish did not run. */
void aac_packer_close(aac_packer *packer);

#endif
