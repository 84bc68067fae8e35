/* Equal prefixes share rows, different ones never do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/prefix_tree.h"

#define MOST_PROMPTS 24
#define MOST_TOKENS  400

typedef struct prompt_sample {
    int32_t ids[MOST_TOKENS], offsets[MOST_PROMPTS + 1];
    aac_token_batch batch;
} prompt_sample;

/* Few different tokens, so that prefixes are often equal, and whole prompts sometimes. */
static void make_sample(prompt_sample *sample, unsigned seed, int64_t prompts)
{
    srand(seed);
    sample->offsets[0] = 0;
    for (int64_t i = 0; i < prompts; i++) {
        int32_t length = 1 + rand() % 12;
        for (int32_t token = 0; token < length; token++)
            sample->ids[sample->offsets[i] + token] = rand() % 2;
        sample->offsets[i + 1] = sample->offsets[i] + length;
    }
    sample->batch = (aac_token_batch){sample->ids, sample->offsets, prompts};
}

/* The beginnings of two prompts up to and with token `last` are the same. */
static bool same_beginning(const prompt_sample *sample, int64_t a, int64_t b, int32_t last)
{
    return memcmp(sample->ids + sample->offsets[a], sample->ids + sample->offsets[b],
                  (size_t)(last + 1) * sizeof(int32_t)) == 0;
}

/* The row of a prompt's token: so many steps up from the prompt's end. */
static int32_t row_of(const prompt_sample *sample, const aac_prefix_tree *tree, int64_t prompt,
                      int32_t token)
{
    int32_t row = tree->ends[prompt];
    for (int32_t i = sample->offsets[prompt + 1] - 1; i > token; i--)
        row = tree->parents[row];
    return row;
}

static void check_pair(const prompt_sample *sample, const aac_prefix_tree *tree, int64_t a,
                       int64_t b)
{
    const int32_t *offsets = sample->offsets;
    for (int32_t i = 0; i < offsets[a + 1] - offsets[a]; i++)
        for (int32_t j = 0; j < offsets[b + 1] - offsets[b]; j++) {
            bool shared =
                row_of(sample, tree, a, offsets[a] + i) == row_of(sample, tree, b, offsets[b] + j);
            assert_int_equal(shared, i == j && same_beginning(sample, a, b, i));
        }
}

static void rows_are_shared_by_equal_beginnings_only(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 50; seed++) {
        prompt_sample sample;
        aac_prefix_tree tree;
        make_sample(&sample, seed, 1 + seed % MOST_PROMPTS);
        assert_int_equal(aac_prefix_tree_make(&tree, &sample.batch), AACLIP_OK);
        for (int64_t a = 0; a < sample.batch.prompts; a++)
            for (int64_t b = 0; b < sample.batch.prompts; b++)
                check_pair(&sample, &tree, a, b);
        aac_prefix_tree_clear(&tree);
    }
}

static void rows_know_token_and_position(void **state)
{
    (void)state;
    prompt_sample sample;
    aac_prefix_tree tree;
    make_sample(&sample, 7, MOST_PROMPTS);
    assert_int_equal(aac_prefix_tree_make(&tree, &sample.batch), AACLIP_OK);
    int64_t rows = 0;
    for (int64_t prompt = 0; prompt < sample.batch.prompts; prompt++)
        for (int32_t token = sample.offsets[prompt]; token < sample.offsets[prompt + 1]; token++) {
            int32_t row = row_of(&sample, &tree, prompt, token);
            assert_int_equal(tree.ids[row], sample.ids[token]);
            assert_int_equal(tree.positions[row], token - sample.offsets[prompt]);
            assert_int_equal(tree.parents[row] < 0, tree.positions[row] == 0);
            assert_true(tree.parents[row] < row);
            assert_true(row <= rows); /* numbered in order of appearance, without gaps */
            rows += row == rows;
        }
    assert_int_equal(tree.nodes, rows);
    assert_true(rows < sample.offsets[MOST_PROMPTS]);
    aac_prefix_tree_clear(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_shared_by_equal_beginnings_only),
        cmocka_unit_test(rows_know_token_and_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
