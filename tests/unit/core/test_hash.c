/* SipHash with its authors' test vectors, and tables that resist chosen colliding names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/hash.h"
#include "core/names.h"
#include "core/platform.h"

/* The paper's example and others from the authors' program: data and key are bytes 00, 01, ... */
static void hashes_are_those_of_the_authors(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        uint64_t hash;
    } cases[] = {{0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
                 {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}, {63, 0x958a324ceb064572}};
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    unsigned char bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(aac_hash_keyed(key, bytes, cases[i].size), cases[i].hash);
}

static void the_key_stays_and_nobody_knows_it(void **state)
{
    (void)state;
    static const uint64_t keys[][2] = {{0, 0}, {1, 1}};
    uint64_t random[2] = {0, 0};
    assert_int_equal(aac_hash("name", 4), aac_hash("name", 4));
    for (size_t i = 0; i < 2; i++)
        assert_int_not_equal(aac_hash("name", 4), aac_hash_keyed(keys[i], "name", 4));
    assert_true(aac_system_random(random, sizeof random));
    assert_int_not_equal(random[0], random[1]);
}

/* What this table was filled by before it had a key. */
static size_t fnv(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return (size_t)(hash ^ hash >> 32);
}

static size_t longest_run(const aac_names *names)
{
    size_t longest = 0, run = 0;
    for (size_t i = 0; i < names->slot_count; i++) {
        run = names->slots[i].name ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void chosen_names_do_not_meet(void **state)
{
    (void)state;
    enum { COUNT = 1000, SLOTS = 2048 };
    static char texts[COUNT][12];
    aac_names names = {0};
    assert_true(aac_names_reserve(&names, COUNT));
    assert_int_equal(names.slot_count, SLOTS);
    unsigned number = 0;
    for (size_t i = 0; i < COUNT; i++) {
        do
            snprintf(texts[i], sizeof texts[i], "%u", number++);
        while (fnv(texts[i]) % SLOTS != 0);
        aac_names_add(&names, texts[i], i);
    }
    assert_true(longest_run(&names) < COUNT / 4);
    aac_names_clear(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_the_authors),
        cmocka_unit_test(the_key_stays_and_nobody_knows_it),
        cmocka_unit_test(chosen_names_do_not_meet),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
