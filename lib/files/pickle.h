/* Reads a pickle as data: a tree of values. Only objects that checkpoints need are built. */
#ifndef AAC_FILES_PICKLE_H
#define AAC_FILES_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

#include "core/tensor.h"
#include "files/arena.h"

typedef enum aac_pickle_kind {
    AAC_PICKLE_NONE,
    AAC_PICKLE_BOOLEAN,
    AAC_PICKLE_INTEGER,
    AAC_PICKLE_NUMBER,
    AAC_PICKLE_TEXT,
    AAC_PICKLE_TUPLE,
    AAC_PICKLE_LIST,
    AAC_PICKLE_DICT,
    AAC_PICKLE_OBJECT, /* a TorchScript module */
    AAC_PICKLE_STORAGE,
    AAC_PICKLE_TENSOR,
    AAC_PICKLE_GLOBAL
} aac_pickle_kind;

/* The meaning of an allowed global. */
typedef enum aac_pickle_global {
    AAC_GLOBAL_ORDERED_DICT,
    AAC_GLOBAL_TENSOR,
    AAC_GLOBAL_PARAMETER,
    AAC_GLOBAL_SIZE,
    AAC_GLOBAL_TYPED_LIST, /* TorchScript's wrappers around a list */
    AAC_GLOBAL_STORAGE,
    AAC_GLOBAL_MODULE
} aac_pickle_global;

/* A record of the archive, `<root>/data/<key>`. */
typedef struct aac_pickle_storage {
    const char *key;
    aac_dtype dtype;
    int64_t elements;
} aac_pickle_storage;

/* A view into a storage. All its elements have been checked to lie inside the storage. */
typedef struct aac_pickle_tensor {
    const aac_pickle_storage *storage;
    int64_t offset; /* in elements */
    int rank;
    int64_t shape[AAC_MAX_RANK], stride[AAC_MAX_RANK];
} aac_pickle_tensor;

typedef struct aac_pickle_value aac_pickle_value;

/* Items of a tuple or list; of a dict: key, value, key, value ... */
typedef struct aac_pickle_items {
    aac_pickle_value **at;
    size_t count, capacity;
} aac_pickle_items;

struct aac_pickle_value {
    aac_pickle_kind kind;
    union {
        int64_t integer; /* INTEGER, BOOLEAN */
        double number;
        const char *text;        /* without embedded zero bytes */
        aac_pickle_items items;  /* TUPLE, LIST, DICT */
        aac_pickle_value *state; /* OBJECT; NULL until set */
        aac_pickle_storage storage;
        const aac_pickle_tensor *tensor;
        struct {
            aac_pickle_global is;
            aac_dtype dtype; /* STORAGE */
        } global;
    };
};

/*
 * Reads one pickle; its values live in `arena`. Values may be shared and, in a hostile file,
 * contain themselves: code that walks the tree must guard against both. FORMAT when damaged;
 * UNSUPPORTED, by name, for any global, opcode or object that checkpoints do not use.
 */
aaclip_status aac_pickle_read(aac_pickle_value **root, aac_arena *arena, const unsigned char *bytes,
                              size_t size);

/* "a list", "a tensor" ... for error texts. */
const char *aac_pickle_kind_name(aac_pickle_kind kind);

#endif
