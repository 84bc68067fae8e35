#include "text/prefix_tree.h"

#include "core/error.h"
#include "core/memory.h"

#define NONE (-1)

/* Children of a node, and the prompts' first tokens, are linked lists in order of appearance. */
typedef struct tree_links {
    int32_t *first_child, *next_sibling; // (nodes)
    int32_t first_root;
} tree_links;

static int32_t add_node(aac_prefix_tree *tree, tree_links *links, int32_t id, int32_t parent)
{
    int32_t node = (int32_t)tree->nodes++;
    tree->ids[node] = id;
    tree->parents[node] = parent;
    tree->positions[node] = parent == NONE ? 0 : tree->positions[parent] + 1;
    links->first_child[node] = links->next_sibling[node] = NONE;
    return node;
}

static int32_t find_or_add(aac_prefix_tree *tree, tree_links *links, int32_t id, int32_t parent)
{
    int32_t *list = parent == NONE ? &links->first_root : &links->first_child[parent];
    while (*list != NONE && tree->ids[*list] != id)
        list = &links->next_sibling[*list];
    if (*list == NONE)
        *list = add_node(tree, links, id, parent);
    return *list;
}

static void add_prompt(aac_prefix_tree *tree, tree_links *links, const aac_token_batch *batch,
                       int64_t prompt)
{
    int32_t node = NONE;
    for (int32_t token = batch->offsets[prompt]; token < batch->offsets[prompt + 1]; token++)
        node = find_or_add(tree, links, batch->ids[token], node);
    tree->ends[prompt] = node;
}

aaclip_status aac_prefix_tree_make(aac_prefix_tree *tree, const aac_token_batch *batch)
{
    size_t tokens = (size_t)(batch->offsets[batch->prompts] - batch->offsets[0]);
    *tree = (aac_prefix_tree){
        .ids = aac_alloc_array(tokens, sizeof *tree->ids),
        .positions = aac_alloc_array(tokens, sizeof *tree->positions),
        .parents = aac_alloc_array(tokens, sizeof *tree->parents),
        .ends = aac_alloc_array((size_t)batch->prompts, sizeof *tree->ends),
    };
    tree_links links = {
        .first_child = aac_alloc_array(tokens, sizeof *links.first_child),
        .next_sibling = aac_alloc_array(tokens, sizeof *links.next_sibling),
        .first_root = NONE,
    };
    bool complete = tree->ids && tree->positions && tree->parents && tree->ends &&
                    links.first_child && links.next_sibling;
    for (int64_t i = 0; complete && i < batch->prompts; i++)
        add_prompt(tree, &links, batch, i);
    aac_free(links.first_child);
    aac_free(links.next_sibling);
    if (complete)
        return AACLIP_OK;
    aac_prefix_tree_clear(tree);
    return aac_error_memory();
}

void aac_prefix_tree_clear(aac_prefix_tree *tree)
{
    aac_free(tree->ids);
    aac_free(tree->positions);
    aac_free(tree->parents);
    aac_free(tree->ends);
    *tree = (aac_prefix_tree){0};
}
