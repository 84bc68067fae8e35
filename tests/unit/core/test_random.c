/* The random numbers are NumPy's Philox; what is derived from them is uniform. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/random.h"

static void numbers_equal_numpy(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed, stream, expected[5];
    } cases[] = {
        {0,
         0,
         {0x2f4ba6408e4d89b, 0x3dd62b0b9ca8c5b2, 0x1c8667a55d902e79, 0x907d7a052fd5b4dc,
          0x809bf322883987c3}},
        {42,
         7,
         {0xa64064f34e84b9a3, 0xe287959a866a08fd, 0x8dc181f009b96c03, 0xf3f6001d4fa83454,
          0x69c633ee791df6b3}},
        {UINT64_MAX,
         0x8000000000000005,
         {0x46f39f5067a71ac, 0xafc9945eebf64e82, 0x7aa5252146ef7acc, 0xa69f50daa03ae7e,
          0xb3c030add110843b}},
    };
    aac_random random;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aac_random_seed(&random, cases[i].seed, cases[i].stream);
        for (size_t j = 0; j < 5; j++)
            assert_true(aac_random_next(&random) == cases[i].expected[j]);
    }
    aac_random_seed(&random, 42, 7);
    uint64_t all = 0;
    for (int i = 0; i < 100000; i++)
        all ^= aac_random_next(&random);
    assert_true(all == 0x4f74a0d50bd0c74b);
    aac_random_seed(&random, 42, 7);
    assert_true(aac_random_unit(&random) == 0x1.4c80c9e69d097p-1); /* Generator.random() */
    assert_true(aac_random_unit(&random) == 0x1.c50f2b350cd41p-1);
}

static void streams_do_not_meet(void **state)
{
    (void)state;
    assert_true(aac_random_stream(AAC_RANDOM_AUGMENT, 1, 2) !=
                aac_random_stream(AAC_RANDOM_AUGMENT, 2, 1));
    assert_true(aac_random_stream(AAC_RANDOM_AUGMENT, 0, 1) !=
                aac_random_stream(AAC_RANDOM_SHUFFLE, 0, 1));
    assert_true(aac_random_stream(AAC_RANDOM_AUGMENT, 1, 0) !=
                aac_random_stream(AAC_RANDOM_AUGMENT, 0, 0x3fffffff));
}

static void draws_below_n_are_uniform(void **state)
{
    (void)state;
    enum { SIDES = 6, THROWS = 60000 };
    size_t seen[SIDES] = {0};
    aac_random random;
    aac_random_seed(&random, 3, 0);
    for (int i = 0; i < THROWS; i++)
        seen[aac_random_below(&random, SIDES)]++;
    for (int i = 0; i < SIDES; i++) /* 10000 expected, deviation 91 */
        assert_in_range(seen[i], 9600, 10400);
    assert_int_equal(aac_random_below(&random, 1), 0);
    uint64_t large = UINT64_C(1) << 63;
    for (int i = 0; i < 100; i++)
        assert_true(aac_random_below(&random, large + 1) <= large);
    for (int i = 0; i < 1000; i++) {
        double x = aac_random_between(&random, -2, 3);
        assert_true(x >= -2 && x < 3);
    }
}

static void shuffles_reach_every_order(void **state)
{
    (void)state;
    size_t seen[3][3] = {{0}}, orders = 60000;
    aac_random random;
    aac_random_seed(&random, 5, 1);
    for (size_t i = 0; i < orders; i++) {
        size_t items[3] = {0, 1, 2};
        aac_random_shuffle(&random, items, 3);
        assert_int_equal(items[0] + items[1] + items[2], 3);
        assert_true(items[0] != items[1] && items[1] != items[2]);
        seen[items[0]][items[1]]++;
    }
    for (size_t a = 0; a < 3; a++)
        for (size_t b = 0; b < 3; b++)
            if (a != b)
                assert_in_range(seen[a][b], 9600, 10400);
    aac_random_shuffle(&random, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_equal_numpy),
        cmocka_unit_test(streams_do_not_meet),
        cmocka_unit_test(draws_below_n_are_uniform),
        cmocka_unit_test(shuffles_reach_every_order),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
