/*
 * Prompts of a class share prefixes ("a photo of a ..."). In a causal tower a token's activations
 * depend only on the tokens before it, so common prefixes are computed once: the prompts become a
 * tree, with one row per node.
 */
#ifndef AAC_TEXT_PREFIX_TREE_H
#define AAC_TEXT_PREFIX_TREE_H

#include "text/text_encoder.h"

typedef struct aac_prefix_tree {
    int64_t nodes;
    int32_t *ids;       // (nodes): token
    int32_t *positions; // (nodes): place in its prompts, from 0
    int32_t *parents;   // (nodes): the previous token; -1 for a first one
    int32_t *ends;      // (prompts): node of the last token
} aac_prefix_tree;

aaclip_status aac_prefix_tree_make(aac_prefix_tree *tree, const aac_token_batch *batch);
void aac_prefix_tree_clear(aac_prefix_tree *tree);

#endif
