/* Archives of torch.save and torch.jit.save against what PyTorch reads, and hostile pickles. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/platform.h"
#include "files/pickle.h"
#include "files/tensor_index.h"
#include "zip_builder.h"

/* What a reader reported, each entry as a line of the expected files. */
struct aac_tensor_index {
    char *lines[4096];
    size_t count, tensors;
};

static aaclip_status record(aac_tensor_index *index, char *line)
{
    assert_true(index->count < sizeof index->lines / sizeof *index->lines);
    index->lines[index->count++] = line;
    return AACLIP_OK;
}

aaclip_status aac_index_tensor(aac_tensor_index *index, const char *name, const aac_tensor *tensor)
{
    size_t elements = (size_t)aac_tensor_elements(tensor);
    if (elements > 4096) /* no golden's; shape alone */
        elements = 0;
    size_t room = 400 + strlen(name) + 32 * elements;
    float *values = malloc((elements + 1) * sizeof *values);
    char *line = malloc(room);
    if (elements)
        aac_tensor_to_f32(tensor, values);
    int used =
        snprintf(line, room, "tensor %s %s %d", name, aac_dtype_name(tensor->dtype), tensor->rank);
    for (int i = 0; i < tensor->rank; i++)
        used += snprintf(line + used, room - (size_t)used, " %lld", (long long)tensor->shape[i]);
    for (size_t i = 0; i < elements; i++)
        used += snprintf(line + used, room - (size_t)used, " %a", (double)values[i]);
    free(values);
    index->tensors++;
    return record(index, line);
}

aaclip_status aac_index_number(aac_tensor_index *index, const char *name, double value)
{
    size_t room = strlen(name) + 64;
    char *line = malloc(room);
    snprintf(line, room, "number %s %a", name, value);
    return record(index, line);
}

aaclip_status aac_index_string(aac_tensor_index *index, const char *name, const char *value,
                               size_t length)
{
    size_t room = strlen(name) + length + 16;
    char *line = malloc(room);
    snprintf(line, room, "string %s %.*s", name, (int)length, value);
    return record(index, line);
}

static void forget(aac_tensor_index *index)
{
    for (size_t i = 0; i < index->count; i++)
        free(index->lines[i]);
    *index = (aac_tensor_index){0};
}

static aaclip_status read_golden(aac_tensor_index *index, aac_mapping *file, const char *name,
                                 aac_tensor_file_kind *kind)
{
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/files/torch/%s", name);
    assert_int_equal(aac_map_file(file, path), AACLIP_OK);
    return aac_torch_read(index, file, kind);
}

/* The same words; numbers may be spelt differently. */
static bool same_line(const char *a, const char *b)
{
    while (*a || *b) {
        size_t a_length = strcspn(a, " \n"), b_length = strcspn(b, " \n");
        if (a_length != b_length || strncmp(a, b, a_length) != 0) {
            char *a_end, *b_end;
            double a_value = strtod(a, &a_end), b_value = strtod(b, &b_end);
            if (a_end != a + a_length || b_end != b + b_length || a_value != b_value)
                return false;
        }
        a += a_length + (a[a_length] != '\0');
        b += b_length + (b[b_length] != '\0');
    }
    return true;
}

static bool recorded(const aac_tensor_index *index, const char *line)
{
    for (size_t i = 0; i < index->count; i++)
        if (same_line(index->lines[i], line))
            return true;
    return false;
}

/* Every expected line was reported; returns the number of tensors among them. */
static size_t compare(const aac_tensor_index *index, const char *name, bool in_order)
{
    char path[512], line[8192];
    snprintf(path, sizeof path, GOLDEN_DIR "/files/torch/%s", name);
    FILE *expected = fopen(path, "r");
    assert_non_null(expected);
    size_t count = 0, tensors = 0;
    for (; fgets(line, sizeof line, expected); count++) {
        bool found = in_order ? count < index->count && same_line(index->lines[count], line)
                              : recorded(index, line);
        if (!found)
            fail_msg("%s: missing: %s", name, line);
        tensors += strncmp(line, "tensor ", 7) == 0;
    }
    fclose(expected);
    if (in_order)
        assert_int_equal(index->count, count);
    return tensors;
}

static void saved_values_are_those_of_pytorch(void **state)
{
    (void)state;
    static const struct {
        const char *archive, *expected;
    } files[] = {{"views.pt", "views.txt"},
                 {"zip64.pt", "views.txt"},
                 {"adapter.pt", "adapter.txt"},
                 {"protocol4.pt", "protocol4.txt"},
                 {"list.pt", "list.txt"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        aac_tensor_index index = {0};
        aac_mapping file;
        aac_tensor_file_kind kind;
        assert_int_equal(read_golden(&index, &file, files[i].archive, &kind), AACLIP_OK);
        assert_int_equal(kind, AAC_FILE_TORCH_STATE);
        assert_int_equal(index.tensors, compare(&index, files[i].expected, true));
        forget(&index);
        aac_unmap_file(&file);
    }
}

static void scripted_modules_are_flattened(void **state)
{
    (void)state;
    aac_tensor_index index = {0};
    aac_mapping file;
    aac_tensor_file_kind kind;
    assert_int_equal(read_golden(&index, &file, "scripted.pt", &kind), AACLIP_OK);
    assert_int_equal(kind, AAC_FILE_TORCHSCRIPT);
    assert_int_equal(index.tensors, compare(&index, "scripted.txt", false));
    assert_true(recorded(&index, "number sizes.1 5"));
    assert_true(recorded(&index, "number visual.blocks.training 1"));
    forget(&index);
    aac_unmap_file(&file);
}

static void other_files_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        aaclip_status status;
        const char *text;
    } files[] = {
        {"compressed.pt", AACLIP_ERROR_UNSUPPORTED, "views/data.pkl: compressed"},
        {"module.pt", AACLIP_ERROR_UNSUPPORTED, "torch.nn.modules.linear.Linear is not allowed"},
        {"tensor.pt", AACLIP_ERROR_UNSUPPORTED, "found a tensor"},
        {"legacy.pt", AACLIP_ERROR_FORMAT, "zip"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        aac_tensor_index index = {0};
        aac_mapping file;
        aac_tensor_file_kind kind;
        assert_int_equal(read_golden(&index, &file, files[i].name, &kind), files[i].status);
        assert_non_null(strstr(aaclip_last_error(), files[i].text));
        forget(&index);
        aac_unmap_file(&file);
    }
}

/* Damage of a byte is refused or harmless; a missing end is always refused. */
static void damaged_archives_do_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = {"views.pt", "adapter.pt", "zip64.pt", "scripted.pt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        aac_tensor_index index = {0};
        aac_mapping file;
        aac_tensor_file_kind kind;
        assert_int_equal(read_golden(&index, &file, names[i], &kind), AACLIP_OK);
        forget(&index);
        for (size_t size = 0; size < file.size; size += 1 + size / 64) {
            unsigned char *part = malloc(size + 1);
            memcpy(part, file.data, size);
            const aac_mapping truncated = {.data = part, .size = size};
            assert_int_equal(aac_torch_read(&index, &truncated, &kind), AACLIP_ERROR_FORMAT);
            free(part);
        }
        unsigned char *copy = malloc(file.size);
        memcpy(copy, file.data, file.size);
        const aac_mapping damaged = {.data = copy, .size = file.size};
        for (size_t at = 0; at < file.size; at++) {
            copy[at] ^= (unsigned char)(1u << at % 8);
            aaclip_status status = aac_torch_read(&index, &damaged, &kind);
            assert_true(status == AACLIP_OK || status == AACLIP_ERROR_FORMAT ||
                        status == AACLIP_ERROR_UNSUPPORTED);
            forget(&index);
            copy[at] = file.data[at];
        }
        free(copy);
        aac_unmap_file(&file);
    }
}

static aaclip_status read_pickle_of(const void *pickle, size_t size, const float *record,
                                    size_t record_size)
{
    zip_builder *zip = calloc(1, sizeof *zip);
    zip_builder_add(zip, "r/data.pkl", pickle, size);
    zip_builder_add(zip, "r/data/0", record, record_size);
    zip_builder_finish(zip);
    aac_tensor_index index = {0};
    aac_tensor_file_kind kind;
    const aac_mapping file = {.data = zip->bytes, .size = zip->size};
    aaclip_status status = aac_torch_read(&index, &file, &kind);
    forget(&index);
    free(zip);
    return status;
}

static aaclip_status read_pickle(const void *pickle, size_t size)
{
    static const float record[4] = {1, 2, 3, 4};
    return read_pickle_of(pickle, size, record, sizeof record);
}

static void refuse_pickle(const void *pickle, size_t size, aaclip_status expected, const char *text)
{
    aaclip_status status = read_pickle(pickle, size);
    if (status != expected || !strstr(aaclip_last_error(), text))
        fail_msg("expected %d with '%s', found %d with '%s'", (int)expected, text, (int)status,
                 aaclip_last_error());
}

#define ORDERED_DICT "ccollections\nOrderedDict\n"
#define REBUILD      "ctorch._utils\n_rebuild_tensor_v2\n"
#define FLOATS       "ctorch\nFloatStorage\n"
#define STORAGE      "(U\7storage"

static void hostile_pickles_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pickle;
        aaclip_status status;
        const char *text;
    } pickles[] = {
        {"cos\nsystem\n(X\1\1\1\1", AACLIP_ERROR_UNSUPPORTED, "os.system is not allowed"},
        {"cbuiltins\neval\n.", AACLIP_ERROR_UNSUPPORTED, "builtins.eval is not allowed"},
        {"}q\1X\1zzza\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"]q\1h\1a.", AACLIP_ERROR_FORMAT, "contains itself"},
        {"}q\1U\1ah\1s.", AACLIP_ERROR_FORMAT, "a: a dict contains itself"},
        {".", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"t.", AACLIP_ERROR_FORMAT, "no mark"},
        {"](.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"}(U\1au.", AACLIP_ERROR_FORMAT, "key without a value"},
        {"h\7.", AACLIP_ERROR_FORMAT, "memo 7 was never set"},
        {"]r\377\377\377\377.", AACLIP_ERROR_FORMAT, "memo index 4294967295"},
        {"}NNs.", AACLIP_ERROR_UNSUPPORTED, "dict keys, found None"},
        {"}]Ns.", AACLIP_ERROR_UNSUPPORTED, "dict keys, found a list"},
        {"]]Ns.", AACLIP_ERROR_FORMAT, "expected a dict to add to"},
        {"]\206.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"]Q.", AACLIP_ERROR_FORMAT, "persistent id"},
        {"]]R.", AACLIP_ERROR_FORMAT, "expected a function"},
        {"]]b.", AACLIP_ERROR_FORMAT, "expected an object"},
        {"c__torch__\nA\n)\201}b}b.", AACLIP_ERROR_FORMAT, "state is set twice"},
        {"c__torch__\nA\n)\201q\1h\1b.", AACLIP_ERROR_FORMAT, "contains itself"},
        {"ctorch\nFloatStorage\n)R.", AACLIP_ERROR_UNSUPPORTED, "called as a function"},
        {"I1\n.", AACLIP_ERROR_UNSUPPORTED, "opcode 0x49 at byte 0"},
        {"N.", AACLIP_ERROR_UNSUPPORTED, "found None"},
        {"\212\11aaaaaaaaa.", AACLIP_ERROR_UNSUPPORTED, "integer of 9 bytes"},
        {"]NR.", AACLIP_ERROR_FORMAT, "call: expected a function, found a list"},
        {ORDERED_DICT "]R.", AACLIP_ERROR_FORMAT, "arguments of a call: expected a tuple"},
        {ORDERED_DICT "N\205R.", AACLIP_ERROR_UNSUPPORTED, "an OrderedDict built from arguments"},
        {REBUILD "N\205R.", AACLIP_ERROR_FORMAT, "a tensor with 1 arguments"},
        {REBUILD "(NNNNtR.", AACLIP_ERROR_FORMAT, "expected a storage, found None"},
        {"ctorch\nSize\n)R.", AACLIP_ERROR_FORMAT, "torch.Size without an argument"},
        {"ctorch\nSize\nN\205R.", AACLIP_ERROR_FORMAT, "torch.Size: expected a tuple"},
        {"ctorch._utils\n_rebuild_parameter\n]\205R.", AACLIP_ERROR_FORMAT,
         "a parameter: expected a tensor, found a list"},
        {"ctorch.jit._pickle\nbuild_intlist\nN\205R.", AACLIP_ERROR_FORMAT,
         "a typed list: expected"},
        {"])\201.", AACLIP_ERROR_FORMAT, "a new object: expected a TorchScript class"},
        {FLOATS ")\201.", AACLIP_ERROR_FORMAT, "a new object: expected a TorchScript class"},
        {"(NNNNtQ.", AACLIP_ERROR_FORMAT, "persistent id: expected a tuple of five"},
        {"(NNNNNtQ.", AACLIP_ERROR_FORMAT, "persistent id: expected \"storage\""},
        {"(U\1xNNNNtQ.", AACLIP_ERROR_FORMAT, "persistent id: expected \"storage\""},
        {STORAGE "NNNNtQ.", AACLIP_ERROR_FORMAT, "persistent id: expected a storage type"},
        {STORAGE ORDERED_DICT "NNNtQ.", AACLIP_ERROR_FORMAT, "expected a storage type"},
        {STORAGE FLOATS "NNNtQ.", AACLIP_ERROR_FORMAT, "key of a storage: expected a string"},
        {STORAGE FLOATS "U\1xNNtQ.", AACLIP_ERROR_FORMAT, "elements of a storage: expected"},
        {STORAGE FLOATS "U\1xNJ\377\377\377\377tQ.", AACLIP_ERROR_FORMAT, "elements of a storage"},
        {"NN\223.", AACLIP_ERROR_FORMAT, "a global whose name is not a string"},
        {"U\1aN\223.", AACLIP_ERROR_FORMAT, "a global whose name is not a string"},
        {"N\223.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"(NNNd.", AACLIP_ERROR_FORMAT, "key without a value"},
        {"0.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"1.", AACLIP_ERROR_FORMAT, "no mark"},
        {"q\1.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"\224.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"Na.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"NNa.", AACLIP_ERROR_FORMAT, "expected a list"},
        {"NNs.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"N(Ne.", AACLIP_ERROR_FORMAT, "expected a list"},
        {"R.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"b.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"Q.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"\201.", AACLIP_ERROR_FORMAT, "stack underflow"},
        {"]", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"\200", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"\225aaaa", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"J\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"M\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"G\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"T\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"X\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"\214\5a", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"\212\5a", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"\212", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"]q", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"]r\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"h", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"j\1", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"ctorch", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
        {"ctorch\nSize", AACLIP_ERROR_FORMAT, "the pickle is truncated"},
    };
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++)
        refuse_pickle(pickles[i].pickle, strlen(pickles[i].pickle), pickles[i].status,
                      pickles[i].text);
    refuse_pickle("}U\3a\0bNs.", 9, AACLIP_ERROR_FORMAT, "zero byte");
}

/* {"w": a tensor over storage `key` of `elements` floats with the given view} */
static size_t tensor_pickle(char *pickle, const char *key, int elements, const char *view)
{
    return (size_t)sprintf(pickle,
                           "}U\1wctorch._utils\n_rebuild_tensor_v2\n((U\7storage"
                           "ctorch\nFloatStorage\nU%c%sU\3cpuK%ctQ%stRs.",
                           (char)strlen(key), key, (char)elements, view);
}

static void views_beyond_their_storage_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int elements;
        const char *view; /* offset, sizes, strides */
        const char *text; /* NULL: fine */
    } views[] = {
        {"0", 4, "K\1K\3\205K\1\205", NULL},
        {"0", 4, "K\2K\3\205K\1\205", "exceeds its storage"},
        {"0", 4, "K\1K\2\205K\3\205", "exceeds its storage"},
        {"0", 4, "K\5))", "exceeds its storage"},
        {"0", 4, "J\377\377\377\377))", "a non-negative integer"},
        {"0", 4, "K\1J\377\377\377\377\205K\1\205", "negative"},
        {"0", 4, "K\1K\1\205J\377\377\377\377\205", "negative"},
        {"0", 4, "K\1K\1\205)", "1 sizes and 0 strides"},
        {"0", 4, "N))", "offset of a tensor: expected a non-negative integer, found None"},
        {"0", 4, "K\1])", "extents of a tensor: expected a tuple, found a list"},
        {"0", 4, "K\1)]", "extents of a tensor: expected a tuple, found a list"},
        {"0", 4, "K\1N\205K\1\205", "extent of a tensor: expected an integer, found None"},
        {"0", 4, "K\1\212\10\1\1\1\1\1\1\1\1\205\212\10\1\1\1\1\1\1\1\1\205",
         "exceeds its storage"},
        {"0", 4, "K\1\212\10\1\1\1\1\1\1\1\1\205J\1\1\1\1\205", "exceeds its storage"},
        {"0", 5, "K\1K\1\205K\1\205", "r/data/0: expected 5 elements of float32, found 16 bytes"},
        {"7", 4, "K\1K\1\205K\1\205", "w: r/data/7: no such record"},
        {"../data/0", 4, "K\1K\1\205K\1\205", "no such record"},
    };
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        char pickle[512];
        size_t size = tensor_pickle(pickle, views[i].key, views[i].elements, views[i].view);
        if (views[i].text)
            refuse_pickle(pickle, size, AACLIP_ERROR_FORMAT, views[i].text);
        else
            assert_int_equal(read_pickle(pickle, size), AACLIP_OK);
    }
    char many[512];
    refuse_pickle(many, tensor_pickle(many, "0", 4, "K\1(K\1K\1K\1K\1K\1K\1K\1K\1K\1t)"),
                  AACLIP_ERROR_UNSUPPORTED, "a tensor of 9 dimensions; at most 8");
    char pickle[] =
        "}U\1wctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\n"
        "U\1"
        "0U\3cpuK\4tQJ\0\0\0\0J\0\0\0\x40\205J\0\0\0\0\205tRs.";
    refuse_pickle(pickle, sizeof pickle - 1, AACLIP_ERROR_FORMAT, "exceeds its storage");
}

static void unfolding_is_bounded(void **state)
{
    (void)state;
    char nested[4000];
    memset(nested, ']', 1000);
    memset(nested + 1000, 'a', 999);
    nested[1999] = '.';
    refuse_pickle(nested, 2000, AACLIP_ERROR_FORMAT, "nested more than");
    /* Forty lists, each of which holds the one before twice: 2^40 leaves. */
    size_t size = (size_t)sprintf(nested, "]q\1");
    for (int i = 1; i < 40; i++)
        size += (size_t)sprintf(nested + size, "](h%ch%ceq%c", i, i, i + 1);
    nested[size++] = '.';
    refuse_pickle(nested, size, AACLIP_ERROR_UNSUPPORTED, "too many values");
    /* A name that doubles with every level. */
    memset(nested, 'k', sizeof nested);
    memcpy(nested, "}X\x04\x06\0\0", 6);
    memcpy(nested + 6 + 0x604, "Ns.", 3);
    refuse_pickle(nested, 6 + 0x604 + 3, AACLIP_ERROR_UNSUPPORTED, "a name of more than");
    /* One number that is twelve million elements, twice: a model of it would take a gigabyte. */
    static const char repeated[] =
        "](ctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\n"
        "U\1"
        "0U\3cpuK\1tQK\0J\0\0\xc0\0\205K\0\205tRq\1h\1e.";
    refuse_pickle(repeated, sizeof repeated - 1, AACLIP_ERROR_UNSUPPORTED, "repeated elements");
}

/* A mark is a byte of the pickle, and eight in memory. */
static void marks_are_bounded(void **state)
{
    (void)state;
    const size_t size = ((size_t)1 << 22) + 1;
    aac_arena arena = {0};
    aac_pickle_value *root;
    unsigned char *marks = malloc(size);
    assert_non_null(marks);
    memset(marks, '(', size);
    assert_int_equal(aac_pickle_read(&root, &arena, marks, size), AACLIP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(aaclip_last_error(), "more than 4194304 values"));
    aac_arena_clear(&arena);
    free(marks);
}

/* Lists, each of which holds the one before twice: 2^doublings tensors of one storage. */
static aaclip_status read_shared(int doublings)
{
    static const float record[8192];
    static const char tensor[] =
        "ctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\n"
        "U\1"
        "0U\3cpuM\0\x20tQK\0M\0\x20\205K\1\205tRq\1";
    char pickle[400];
    size_t size = sizeof tensor - 1;
    memcpy(pickle, tensor, size);
    for (int i = 1; i <= doublings; i++)
        size += (size_t)sprintf(pickle + size, "](h%ch%ceq%c", i, i, i + 1);
    pickle[size++] = '.';
    return read_pickle_of(pickle, size, record, sizeof record);
}

static void sharing_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(read_shared(11), AACLIP_OK);
    assert_int_equal(read_shared(12), AACLIP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(aaclip_last_error(), "share their storages at most 4 times"));
}

static void numbers_of_the_other_byte_order_are_refused(void **state)
{
    (void)state;
    static const char *const orders[] = {"little", "big"};
    for (int i = 0; i < 2; i++) {
        zip_builder *zip = calloc(1, sizeof *zip);
        zip_builder_add(zip, "r/data.pkl", "}.", 2);
        zip_builder_add(zip, "r/byteorder", orders[i], strlen(orders[i]));
        zip_builder_finish(zip);
        aac_tensor_index index = {0};
        aac_tensor_file_kind kind;
        const aac_mapping file = {.data = zip->bytes, .size = zip->size};
        assert_int_equal(aac_torch_read(&index, &file, &kind),
                         i == 0 ? AACLIP_OK : AACLIP_ERROR_UNSUPPORTED);
        free(zip);
    }
    assert_non_null(strstr(aaclip_last_error(), "r/byteorder"));
}

static void archives_have_one_pickle(void **state)
{
    (void)state;
    zip_builder *zip = calloc(1, sizeof *zip);
    aac_tensor_index index = {0};
    aac_tensor_file_kind kind;
    zip_builder_add(zip, "a/data.pkl", "}.", 2);
    zip_builder_add(zip, "b/data.pkl", "}.", 2);
    zip_builder_finish(zip);
    const aac_mapping two = {.data = zip->bytes, .size = zip->size};
    assert_int_equal(aac_torch_read(&index, &two, &kind), AACLIP_ERROR_FORMAT);
    assert_non_null(strstr(aaclip_last_error(), "a/data.pkl and b/data.pkl"));
    memset(zip, 0, sizeof *zip);
    zip_builder_add(zip, "data.pkl", "}.", 2);
    zip_builder_finish(zip);
    const aac_mapping none = {.data = zip->bytes, .size = zip->size};
    assert_int_equal(aac_torch_read(&index, &none, &kind), AACLIP_ERROR_FORMAT);
    assert_non_null(strstr(aaclip_last_error(), "without <folder>/data.pkl"));
    free(zip);
}

static struct {
    long left, live;
} allowance;

static void *limited_allocate(size_t size, void *user)
{
    (void)user;
    if (allowance.left-- <= 0)
        return NULL;
    allowance.live++;
    return malloc(size);
}

static void limited_deallocate(void *pointer, void *user)
{
    (void)user;
    allowance.live--;
    free(pointer);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    const aaclip_allocator limited = {limited_allocate, limited_deallocate, NULL};
    aac_mapping file;
    aac_tensor_index index = {0};
    aac_tensor_file_kind kind;
    assert_int_equal(read_golden(&index, &file, "adapter.pt", &kind), AACLIP_OK);
    forget(&index);
    aaclip_set_allocator(&limited);
    long allowed = 0;
    aaclip_status status;
    do {
        allowance.left = allowed++;
        status = aac_torch_read(&index, &file, &kind);
        forget(&index);
        assert_int_equal(allowance.live, 0);
        assert_true(status == AACLIP_OK || status == AACLIP_ERROR_OUT_OF_MEMORY);
    } while (status);
    aaclip_set_allocator(NULL);
    assert_true(allowed > 4);
    aac_unmap_file(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_values_are_those_of_pytorch),
        cmocka_unit_test(scripted_modules_are_flattened),
        cmocka_unit_test(other_files_are_refused_by_name),
        cmocka_unit_test(damaged_archives_do_no_harm),
        cmocka_unit_test(hostile_pickles_are_refused),
        cmocka_unit_test(views_beyond_their_storage_are_refused),
        cmocka_unit_test(unfolding_is_bounded),
        cmocka_unit_test(marks_are_bounded),
        cmocka_unit_test(sharing_is_bounded),
        cmocka_unit_test(numbers_of_the_other_byte_order_are_refused),
        cmocka_unit_test(archives_have_one_pickle),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("torch archive", tests, NULL, NULL);
}
