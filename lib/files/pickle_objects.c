#include "files/pickle_objects.h"

#include <string.h>

#include "core/error.h"

/* A view may repeat elements (stride 0), but not to an arbitrary size that a file claims. */
#define MOST_REPEATED_ELEMENTS (INT64_C(1) << 24)

static const struct allowed_global {
    const char *module, *name;
    aac_pickle_global is;
    aac_dtype dtype;
} allowed[] = {
    {"collections", "OrderedDict", AAC_GLOBAL_ORDERED_DICT, 0},
    {"torch._utils", "_rebuild_tensor", AAC_GLOBAL_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v2", AAC_GLOBAL_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", AAC_GLOBAL_PARAMETER, 0},
    {"torch", "Size", AAC_GLOBAL_SIZE, 0},
    {"torch.jit._pickle", "build_intlist", AAC_GLOBAL_TYPED_LIST, 0},
    {"torch.jit._pickle", "build_doublelist", AAC_GLOBAL_TYPED_LIST, 0},
    {"torch.jit._pickle", "build_boollist", AAC_GLOBAL_TYPED_LIST, 0},
    {"torch.jit._pickle", "build_tensorlist", AAC_GLOBAL_TYPED_LIST, 0},
    {"torch.jit._pickle", "restore_type_tag", AAC_GLOBAL_TYPED_LIST, 0},
    {"torch", "FloatStorage", AAC_GLOBAL_STORAGE, AAC_F32},
    {"torch", "HalfStorage", AAC_GLOBAL_STORAGE, AAC_F16},
    {"torch", "BFloat16Storage", AAC_GLOBAL_STORAGE, AAC_BF16},
    {"torch", "DoubleStorage", AAC_GLOBAL_STORAGE, AAC_F64},
    {"torch", "BoolStorage", AAC_GLOBAL_STORAGE, AAC_BOOL},
    {"torch", "ByteStorage", AAC_GLOBAL_STORAGE, AAC_U8},
    {"torch", "CharStorage", AAC_GLOBAL_STORAGE, AAC_I8},
    {"torch", "ShortStorage", AAC_GLOBAL_STORAGE, AAC_I16},
    {"torch", "IntStorage", AAC_GLOBAL_STORAGE, AAC_I32},
    {"torch", "LongStorage", AAC_GLOBAL_STORAGE, AAC_I64},
};

const char *aac_pickle_kind_name(aac_pickle_kind kind)
{
    static const char *const names[] = {
        [AAC_PICKLE_NONE] = "None",          [AAC_PICKLE_BOOLEAN] = "a boolean",
        [AAC_PICKLE_INTEGER] = "an integer", [AAC_PICKLE_NUMBER] = "a number",
        [AAC_PICKLE_TEXT] = "a string",      [AAC_PICKLE_TUPLE] = "a tuple",
        [AAC_PICKLE_LIST] = "a list",        [AAC_PICKLE_DICT] = "a dict",
        [AAC_PICKLE_OBJECT] = "an object",   [AAC_PICKLE_STORAGE] = "a storage",
        [AAC_PICKLE_TENSOR] = "a tensor",    [AAC_PICKLE_GLOBAL] = "a class or function",
    };
    return names[kind];
}

aac_pickle_value *aac_pickle_new(aac_arena *arena, aac_pickle_kind kind)
{
    aac_pickle_value *value = aac_arena_alloc(arena, sizeof *value);
    if (value) {
        memset(value, 0, sizeof *value);
        value->kind = kind;
    }
    return value;
}

aaclip_status aac_pickle_find_global(aac_pickle_value *value, const char *module, const char *name)
{
    value->kind = AAC_PICKLE_GLOBAL;
    if (strcmp(module, "__torch__") == 0 || strncmp(module, "__torch__.", 10) == 0) {
        value->global.is = AAC_GLOBAL_MODULE;
        return AACLIP_OK;
    }
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        if (strcmp(module, allowed[i].module) == 0 && strcmp(name, allowed[i].name) == 0) {
            value->global.is = allowed[i].is;
            value->global.dtype = allowed[i].dtype;
            return AACLIP_OK;
        }
    }
    return aac_error(AACLIP_ERROR_UNSUPPORTED,
                     "%.200s.%.200s is not allowed in a checkpoint; expected tensors, dicts, "
                     "lists, numbers and strings only (save a state dict)",
                     module, name);
}

static aaclip_status unexpected(const char *what, const char *expected,
                                const aac_pickle_value *found)
{
    return aac_error(AACLIP_ERROR_FORMAT, "%s: expected %s, found %s", what, expected,
                     aac_pickle_kind_name(found->kind));
}

/* Sizes or strides of a view, none of them negative. */
static aaclip_status read_extents(int64_t *extents, int *rank, const aac_pickle_value *value)
{
    if (value->kind != AAC_PICKLE_TUPLE)
        return unexpected("extents of a tensor", "a tuple", value);
    if (value->items.count > AAC_MAX_RANK)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "a tensor of %zu dimensions; at most %d",
                         value->items.count, AAC_MAX_RANK);
    *rank = (int)value->items.count;
    for (int i = 0; i < *rank; i++) {
        const aac_pickle_value *item = value->items.at[i];
        if (item->kind != AAC_PICKLE_INTEGER)
            return unexpected("extent of a tensor", "an integer", item);
        if (item->integer < 0)
            return aac_error(AACLIP_ERROR_FORMAT, "extent of a tensor: %lld is negative",
                             (long long)item->integer);
        extents[i] = item->integer;
    }
    return AACLIP_OK;
}

/* Whether every element of the view lies in its storage. */
static bool fits_storage(const aac_pickle_tensor *tensor)
{
    int64_t last = tensor->offset, elements = 1;
    bool empty = false;
    for (int i = 0; i < tensor->rank; i++) {
        int64_t reach, size = tensor->shape[i] ? tensor->shape[i] : 1;
        empty = empty || !tensor->shape[i];
        if (__builtin_mul_overflow(size - 1, tensor->stride[i], &reach) ||
            __builtin_add_overflow(last, reach, &last) ||
            __builtin_mul_overflow(elements, size, &elements))
            return false;
    }
    if (empty)
        return tensor->offset <= tensor->storage->elements;
    return last < tensor->storage->elements &&
           (elements <= tensor->storage->elements || elements <= MOST_REPEATED_ELEMENTS);
}

/* (storage, offset, sizes, strides, ...) */
static aaclip_status rebuild_tensor(aac_pickle_value **result, aac_arena *arena,
                                    const aac_pickle_items *arguments)
{
    if (arguments->count < 4)
        return aac_error(AACLIP_ERROR_FORMAT, "a tensor with %zu arguments", arguments->count);
    const aac_pickle_value *storage = arguments->at[0], *offset = arguments->at[1];
    if (storage->kind != AAC_PICKLE_STORAGE)
        return unexpected("storage of a tensor", "a storage", storage);
    if (offset->kind != AAC_PICKLE_INTEGER || offset->integer < 0)
        return unexpected("offset of a tensor", "a non-negative integer", offset);
    aac_pickle_tensor tensor = {.storage = &storage->storage, .offset = offset->integer};
    int stride_count;
    aaclip_status status = read_extents(tensor.shape, &tensor.rank, arguments->at[2]);
    if (!status)
        status = read_extents(tensor.stride, &stride_count, arguments->at[3]);
    if (status)
        return status;
    if (stride_count != tensor.rank)
        return aac_error(AACLIP_ERROR_FORMAT, "a tensor with %d sizes and %d strides", tensor.rank,
                         stride_count);
    if (!fits_storage(&tensor)) {
        char shape[AAC_SHAPE_TEXT];
        return aac_error(AACLIP_ERROR_FORMAT,
                         "a tensor of %s exceeds its storage %.100s of %lld elements",
                         aac_shape_text(shape, tensor.shape, tensor.rank), tensor.storage->key,
                         (long long)tensor.storage->elements);
    }
    aac_pickle_tensor *copy = aac_arena_alloc(arena, sizeof *copy);
    *result = aac_pickle_new(arena, AAC_PICKLE_TENSOR);
    if (!copy || !*result)
        return aac_error_memory();
    *copy = tensor;
    (*result)->tensor = copy;
    return AACLIP_OK;
}

/* A wrapper yields its first argument, which must be of one of two kinds. */
static aaclip_status unwrap(aac_pickle_value **result, const aac_pickle_items *arguments,
                            aac_pickle_kind kind, aac_pickle_kind other, const char *what)
{
    if (arguments->count < 1)
        return aac_error(AACLIP_ERROR_FORMAT, "%s without an argument", what);
    aac_pickle_value *first = arguments->at[0];
    if (first->kind != kind && first->kind != other)
        return unexpected(what, aac_pickle_kind_name(kind), first);
    *result = first;
    return AACLIP_OK;
}

aaclip_status aac_pickle_call(aac_pickle_value **result, aac_arena *arena,
                              const aac_pickle_value *function, const aac_pickle_value *arguments)
{
    if (function->kind != AAC_PICKLE_GLOBAL)
        return unexpected("call", "a function", function);
    if (arguments->kind != AAC_PICKLE_TUPLE)
        return unexpected("arguments of a call", "a tuple", arguments);
    const aac_pickle_items *items = &arguments->items;
    switch (function->global.is) {
    case AAC_GLOBAL_ORDERED_DICT:
        if (items->count != 0)
            return aac_error(AACLIP_ERROR_UNSUPPORTED, "an OrderedDict built from arguments");
        *result = aac_pickle_new(arena, AAC_PICKLE_DICT);
        return *result ? AACLIP_OK : aac_error_memory();
    case AAC_GLOBAL_TENSOR:
        return rebuild_tensor(result, arena, items);
    case AAC_GLOBAL_PARAMETER:
        return unwrap(result, items, AAC_PICKLE_TENSOR, AAC_PICKLE_TENSOR, "a parameter");
    case AAC_GLOBAL_SIZE:
        return unwrap(result, items, AAC_PICKLE_TUPLE, AAC_PICKLE_TUPLE, "torch.Size");
    case AAC_GLOBAL_TYPED_LIST:
        return unwrap(result, items, AAC_PICKLE_LIST, AAC_PICKLE_DICT, "a typed list");
    case AAC_GLOBAL_STORAGE:
    case AAC_GLOBAL_MODULE:
        break;
    }
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "a storage or module called as a function");
}

aaclip_status aac_pickle_instantiate(aac_pickle_value **result, aac_arena *arena,
                                     const aac_pickle_value *type)
{
    if (type->kind != AAC_PICKLE_GLOBAL || type->global.is != AAC_GLOBAL_MODULE)
        return unexpected("a new object", "a TorchScript class", type);
    *result = aac_pickle_new(arena, AAC_PICKLE_OBJECT);
    return *result ? AACLIP_OK : aac_error_memory();
}

aaclip_status aac_pickle_set_state(aac_pickle_value *object, aac_pickle_value *state)
{
    if (object->kind == AAC_PICKLE_DICT)
        return AACLIP_OK; /* a state dict's attributes (`_metadata`) are not needed */
    if (object->kind != AAC_PICKLE_OBJECT)
        return unexpected("state", "an object to set it on", object);
    if (object->state)
        return aac_error(AACLIP_ERROR_FORMAT, "an object's state is set twice");
    object->state = state;
    return AACLIP_OK;
}

aaclip_status aac_pickle_open_storage(aac_pickle_value **result, aac_arena *arena,
                                      const aac_pickle_value *id)
{
    if (id->kind != AAC_PICKLE_TUPLE || id->items.count < 5)
        return unexpected("persistent id", "a tuple of five", id);
    aac_pickle_value *const *items = id->items.at;
    if (items[0]->kind != AAC_PICKLE_TEXT || strcmp(items[0]->text, "storage") != 0)
        return unexpected("persistent id", "\"storage\"", items[0]);
    if (items[1]->kind != AAC_PICKLE_GLOBAL || items[1]->global.is != AAC_GLOBAL_STORAGE)
        return unexpected("persistent id", "a storage type", items[1]);
    if (items[2]->kind != AAC_PICKLE_TEXT)
        return unexpected("key of a storage", "a string", items[2]);
    if (items[4]->kind != AAC_PICKLE_INTEGER || items[4]->integer < 0)
        return unexpected("elements of a storage", "a non-negative integer", items[4]);
    *result = aac_pickle_new(arena, AAC_PICKLE_STORAGE);
    if (!*result)
        return aac_error_memory();
    (*result)->storage =
        (aac_pickle_storage){items[2]->text, items[1]->global.dtype, items[4]->integer};
    return AACLIP_OK;
}
