/* Any bytes as a training checkpoint: what is read is written in both forms and read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/train/training_sample.h"
#include "core/memory.h"
#include "fuzz.h"
#include "scratch.h"

typedef struct checkpoint {
    aac_parameter_set set;
    aac_training_state state;
    aac_training_found found;
} checkpoint;

static void make(checkpoint *made, uint8_t kind)
{
    static const char *const kinds[] = {"document", "published", "published-relu"};
    aac_adapter_side side = kind & 1 ? AAC_SIDE_IMAGE : AAC_SIDE_TEXT;
    if (training_sample_make(&made->set, &made->state, side, kinds[kind / 2 % 3]))
        abort();
}

static void clear(checkpoint *made)
{
    aac_parameters_clear(&made->set);
    aac_training_state_clear(&made->state);
}

static bool same_values(const aac_parameter_set *a, const aac_parameter_set *b)
{
    for (size_t i = 0; i < a->count; i++) {
        size_t size = aac_parameter_elements(&a->items[i]) * sizeof(float);
        if (memcmp(a->items[i].value, b->items[i].value, size) != 0 ||
            memcmp(a->items[i].exp_avg, b->items[i].exp_avg, size) != 0 ||
            memcmp(a->items[i].exp_avg_sq, b->items[i].exp_avg_sq, size) != 0)
            return false;
    }
    return true;
}

static void read_again(const checkpoint *first, uint8_t kind, const char *path)
{
    checkpoint again;
    make(&again, kind);
    if (aac_training_read(&again.set, &again.state, &again.found, path) ||
        !same_values(&first->set, &again.set) || again.state.step != first->state.step ||
        again.state.position != first->state.position || again.state.epoch != first->state.epoch ||
        again.state.milestone_count != first->state.milestone_count) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    clear(&again);
}

static void write_both(const checkpoint *read, uint8_t kind)
{
    char *torch = aac_format("%s/again.pth", fuzz_folder());
    char *own = aac_format("%s/again.safetensors", fuzz_folder());
    if (aac_training_write_torch(torch, &read->set, &read->state) ||
        aac_training_write_safetensors(own, &read->set, &read->state)) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    read_again(read, kind, torch);
    read_again(read, kind, own);
    aac_free(torch);
    aac_free(own);
}

/* Input: a byte that selects side and kind of adapters, then the file. */
void fuzz_one(const uint8_t *data, size_t size)
{
    checkpoint read;
    if (!size)
        return;
    char *path = fuzz_write("input", data + 1, size - 1);
    make(&read, *data);
    aaclip_status status = aac_training_read(&read.set, &read.state, &read.found, path);
    if (status && !*aaclip_last_error())
        abort();
    if (!status)
        write_both(&read, *data);
    clear(&read);
    aac_free(path);
}

size_t fuzz_prefix(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    return 1;
}
