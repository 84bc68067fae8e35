/*
 * Driven by tests/reference/test_torch_written.py:
 *   training_file values OUT                       a value of every kind that 1.13 takes
 *   training_file make SIDE KIND PTH SAFETENSORS   the sample in both forms
 *   training_file convert SIDE KIND IN OUT         reads either form, writes OUT as its name says
 */
#include <stdio.h>
#include <string.h>

#include "files/torch_writer.h"
#include "training_sample.h"

static aaclip_status report(aaclip_status status)
{
    if (status)
        fprintf(stderr, "%s: %s\n", aaclip_status_string(status), aaclip_last_error());
    return status;
}

static aaclip_status write_values(const char *path)
{
    static const float numbers[] = {0, 1, 2, 3, 4, 5};
    const aac_tensor transposed = {
        .dtype = AAC_F32, .rank = 2, .shape = {3, 2}, .stride = {1, 3}, .data = numbers};
    const aac_tensor empty = {
        .dtype = AAC_F32, .rank = 2, .shape = {2, 0}, .stride = {0, 1}, .data = numbers};
    static const int64_t integers[] = {0,          255,         256,       65535,
                                       65536,      -1,          INT32_MAX, INT32_MIN,
                                       2147483648, -2147483649, INT64_MAX, INT64_MIN};
    aac_torch_writer *writer;
    aaclip_status status = aac_torch_writer_open(&writer, path);
    if (status)
        return status;
    aac_torch_begin(writer, AAC_TORCH_DICT);
    aac_torch_text(writer, "integers");
    aac_torch_begin(writer, AAC_TORCH_LIST);
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        aac_torch_integer(writer, integers[i]);
    aac_torch_end(writer);
    aac_torch_integer(writer, -3);
    aac_torch_begin(writer, AAC_TORCH_TUPLE);
    aac_torch_none(writer);
    aac_torch_boolean(writer, true);
    aac_torch_boolean(writer, false);
    aac_torch_text(writer, "\xc3\xbc\xf0\x9f\x99\x82");
    aac_torch_begin(writer, AAC_TORCH_TUPLE);
    aac_torch_end(writer);
    aac_torch_begin(writer, AAC_TORCH_LIST);
    aac_torch_end(writer);
    aac_torch_begin(writer, AAC_TORCH_DICT);
    aac_torch_end(writer);
    aac_torch_end(writer);
    aac_torch_text(writer, "state");
    aac_torch_begin(writer, AAC_TORCH_ORDERED_DICT);
    aac_torch_text(writer, "transposed");
    aac_torch_tensor(writer, &transposed);
    aac_torch_text(writer, "empty");
    aac_torch_tensor(writer, &empty);
    aac_torch_end(writer);
    aac_torch_end(writer);
    return aac_torch_writer_commit(&writer);
}

static aaclip_status write_as_named(const char *path, const aac_parameter_set *set,
                                    const aac_training_state *state)
{
    return strstr(path, ".safetensors") ? aac_training_write_safetensors(path, set, state)
                                        : aac_training_write_torch(path, set, state);
}

static aaclip_status make(const aac_parameter_set *set, const aac_training_state *state,
                          char *const *paths)
{
    aaclip_status status = write_as_named(paths[0], set, state);
    return status ? status : write_as_named(paths[1], set, state);
}

static aaclip_status convert(aac_parameter_set *set, aac_training_state *state, char *const *paths)
{
    aac_training_found found;
    aaclip_status status = aac_training_read(set, state, &found, paths[0]);
    if (!status)
        printf("optimizer %d progress %d\n", found.optimizer, found.progress);
    return status ? status : write_as_named(paths[1], set, state);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "values") == 0)
        return report(write_values(argv[2])) != AACLIP_OK;
    bool making = argc == 6 && strcmp(argv[1], "make") == 0;
    if (!making && (argc != 6 || strcmp(argv[1], "convert") != 0))
        return 2;
    aac_parameter_set set;
    aac_training_state state;
    aac_adapter_side side = strcmp(argv[2], "text") == 0 ? AAC_SIDE_TEXT : AAC_SIDE_IMAGE;
    aaclip_status status = training_sample_make(&set, &state, side, argv[3]);
    if (!status)
        status = making ? make(&set, &state, argv + 4) : convert(&set, &state, argv + 4);
    aac_parameters_clear(&set);
    aac_training_state_clear(&state);
    return report(status) != AACLIP_OK;
}
