/* Sorted prompts are those that were added, and their groups share what they can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/prefix_tree.h"
#include "text/prompt_list.h"

#define PROMPTS 300
#define LONGEST 12

typedef struct sample {
    int32_t ids[PROMPTS][LONGEST];
    size_t lengths[PROMPTS];
    aac_prompt_list list;
} sample;

static void make_sample(sample *made, unsigned seed, int32_t tokens)
{
    srand(seed);
    made->list = (aac_prompt_list){0};
    for (size_t i = 0; i < PROMPTS; i++) {
        made->lengths[i] = 1 + (size_t)rand() % LONGEST;
        for (size_t token = 0; token < made->lengths[i]; token++)
            made->ids[i][token] = rand() % tokens;
        assert_int_equal(aac_prompt_list_add(&made->list, made->ids[i], made->lengths[i]),
                         AACLIP_OK);
    }
    assert_int_equal(aac_prompt_list_sort(&made->list), AACLIP_OK);
}

static int64_t rows_of(const aac_token_batch *batch)
{
    aac_prefix_tree tree;
    assert_int_equal(aac_prefix_tree_make(&tree, batch), AACLIP_OK);
    int64_t rows = tree.nodes;
    aac_prefix_tree_clear(&tree);
    return rows;
}

static void sorting_keeps_every_prompt(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 5; seed++) {
        sample made;
        bool seen[PROMPTS] = {false};
        make_sample(&made, seed, 2);
        assert_int_equal(made.list.count, PROMPTS);
        for (size_t i = 0; i < PROMPTS; i++) {
            size_t place = made.list.order[i];
            size_t length = (size_t)(made.list.offsets[i + 1] - made.list.offsets[i]);
            assert_true(place < PROMPTS && !seen[place]);
            seen[place] = true;
            assert_int_equal(length, made.lengths[place]);
            assert_memory_equal(made.list.ids + made.list.offsets[i], made.ids[place],
                                length * sizeof(int32_t));
        }
        aac_prompt_list_clear(&made.list);
    }
}

static void groups_are_as_large_as_they_may_be(void **state)
{
    (void)state;
    for (int64_t most = 1; most < 2000; most = most * 3 + 1) {
        sample made;
        size_t done = 0;
        make_sample(&made, 9, 3);
        while (done < PROMPTS) {
            aac_token_batch group = aac_prompt_list_group(&made.list, done, most);
            assert_true(group.prompts >= 1);
            assert_true(group.prompts == 1 || rows_of(&group) <= most);
            done += (size_t)group.prompts++;
            assert_true(done == PROMPTS || rows_of(&group) > most);
        }
        assert_int_equal(done, PROMPTS);
        aac_prompt_list_clear(&made.list);
    }
}

/* What a cut costs is no more than one prompt's way to its root. */
static void groups_share_nearly_all(void **state)
{
    (void)state;
    sample made;
    int64_t rows = 0, groups = 0;
    make_sample(&made, 4, 3);
    const aac_token_batch all = {made.list.ids, made.list.offsets, PROMPTS};
    for (size_t done = 0; done < PROMPTS; groups++) {
        const aac_token_batch group = aac_prompt_list_group(&made.list, done, 100);
        rows += rows_of(&group);
        done += (size_t)group.prompts;
    }
    assert_true(groups > 3);
    assert_true(rows <= rows_of(&all) + (groups - 1) * LONGEST);
    aac_prompt_list_clear(&made.list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorting_keeps_every_prompt),
        cmocka_unit_test(groups_are_as_large_as_they_may_be),
        cmocka_unit_test(groups_share_nearly_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
