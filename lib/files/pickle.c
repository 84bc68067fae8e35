#include "files/pickle.h"

#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "files/pickle_objects.h"
#include "files/pickle_opcodes.h"

/* Far above any checkpoint; bounds what a small hostile file can make the reader allocate. */
#define MOST_VALUES (UINT32_C(1) << 22)

struct machine {
    aac_arena *arena;
    const unsigned char *at, *end;
    size_t size;
    aac_pickle_value **stack;
    size_t depth, stack_capacity;
    size_t *marks; /* depths of the stack */
    size_t mark_count, mark_capacity;
    aac_pickle_value **memo;
    size_t memo_count, memo_capacity; /* memo_count: one above the highest index in use */
    uint32_t value_count;
};

static aaclip_status truncated(void)
{
    return aac_error(AACLIP_ERROR_FORMAT, "the pickle is truncated");
}

static aaclip_status underflow(void)
{
    return aac_error(AACLIP_ERROR_FORMAT, "stack underflow");
}

static aaclip_status too_many(void)
{
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "more than %u values", (unsigned)MOST_VALUES);
}

static aaclip_status push(struct machine *machine, aac_pickle_value *value)
{
    if (machine->depth == MOST_VALUES)
        return too_many();
    aac_pickle_value **stack =
        aac_grow(machine->stack, &machine->stack_capacity, machine->depth + 1, sizeof *stack);
    if (!stack)
        return aac_error_memory();
    machine->stack = stack;
    stack[machine->depth++] = value;
    return AACLIP_OK;
}

/* Counts one more value that takes memory. */
static aaclip_status count_value(struct machine *machine)
{
    return ++machine->value_count <= MOST_VALUES ? AACLIP_OK : too_many();
}

static aaclip_status push_new(struct machine *machine, aac_pickle_kind kind,
                              aac_pickle_value **created)
{
    aaclip_status status = count_value(machine);
    if (status)
        return status;
    *created = aac_pickle_new(machine->arena, kind);
    return *created ? push(machine, *created) : aac_error_memory();
}

static aaclip_status push_integer(struct machine *machine, aac_pickle_kind kind, int64_t integer)
{
    aac_pickle_value *value;
    aaclip_status status = push_new(machine, kind, &value);
    if (!status)
        value->integer = integer;
    return status;
}

/* Values above the last mark belong to the opcode that takes it; no other reaches below it. */
static size_t available(const struct machine *machine)
{
    return machine->depth - (machine->mark_count ? machine->marks[machine->mark_count - 1] : 0);
}

static aaclip_status pop(struct machine *machine, aac_pickle_value **value)
{
    if (!available(machine))
        return underflow();
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): available values are on the stack */
    *value = machine->stack[--machine->depth];
    return AACLIP_OK;
}

static aaclip_status push_mark(struct machine *machine)
{
    if (machine->mark_count == MOST_VALUES)
        return too_many();
    size_t *marks =
        aac_grow(machine->marks, &machine->mark_capacity, machine->mark_count + 1, sizeof *marks);
    if (!marks)
        return aac_error_memory();
    machine->marks = marks;
    marks[machine->mark_count++] = machine->depth;
    return AACLIP_OK;
}

/* Takes the last mark and the values above it, which stay readable until the next push. */
static aaclip_status pop_mark(struct machine *machine, aac_pickle_value ***values, size_t *count)
{
    if (!machine->mark_count)
        return aac_error(AACLIP_ERROR_FORMAT, "no mark on the stack");
    size_t base = machine->marks[--machine->mark_count];
    *count = machine->depth - base;
    *values = *count ? machine->stack + base : NULL;
    machine->depth = base;
    return AACLIP_OK;
}

static aaclip_status append(struct machine *machine, aac_pickle_items *items,
                            aac_pickle_value *const *values, size_t count)
{
    if (!count)
        return AACLIP_OK;
    if (!items->at || count > items->capacity - items->count) {
        size_t capacity = items->count + count;
        capacity += items->count ? capacity / 2 : 0;
        aac_pickle_value **moved = aac_arena_alloc(machine->arena, capacity * sizeof *moved);
        if (!moved)
            return aac_error_memory();
        if (items->count)
            memcpy(moved, items->at, items->count * sizeof *moved);
        items->at = moved;
        items->capacity = capacity;
    }
    memcpy(items->at + items->count, values, count * sizeof *values);
    items->count += count;
    return AACLIP_OK;
}

static aaclip_status take(struct machine *machine, const unsigned char **bytes, uint64_t size)
{
    if (size > (uint64_t)(machine->end - machine->at))
        return truncated();
    *bytes = machine->at;
    machine->at += size;
    return AACLIP_OK;
}

/* An unsigned little-endian argument of 1, 2, 4 or 8 bytes. */
static aaclip_status take_unsigned(struct machine *machine, unsigned size, uint64_t *value)
{
    const unsigned char *bytes = NULL;
    aaclip_status status = take(machine, &bytes, size);
    *value = 0;
    for (unsigned i = 0; !status && i < size; i++)
        *value |= (uint64_t)bytes[i] << (8 * i);
    return status;
}

/* An integer of `size` bytes in two's complement. */
static aaclip_status read_signed(struct machine *machine, unsigned size)
{
    uint64_t bits;
    if (size > 8)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "an integer of %u bytes", size);
    aaclip_status status = take_unsigned(machine, size, &bits);
    if (status)
        return status;
    if (size && size < 8 && bits >> (8 * size - 1))
        bits |= UINT64_MAX << (8 * size);
    return push_integer(machine, AAC_PICKLE_INTEGER, (int64_t)bits);
}

static aaclip_status read_float(struct machine *machine)
{
    const unsigned char *bytes = NULL;
    aac_pickle_value *value;
    aaclip_status status = take(machine, &bytes, 8);
    if (!status)
        status = push_new(machine, AAC_PICKLE_NUMBER, &value);
    if (status)
        return status;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) /* the only big-endian argument */
        bits = bits << 8 | bytes[i];
    memcpy(&value->number, &bits, sizeof bits);
    return AACLIP_OK;
}

/* A string whose length comes first, in `length_size` bytes. */
static aaclip_status read_text(struct machine *machine, unsigned length_size)
{
    uint64_t length;
    const unsigned char *bytes = NULL;
    aac_pickle_value *value;
    aaclip_status status = take_unsigned(machine, length_size, &length);
    if (!status)
        status = take(machine, &bytes, length);
    if (!status && memchr(bytes, '\0', (size_t)length))
        status = aac_error(AACLIP_ERROR_FORMAT, "a string contains a zero byte");
    if (!status)
        status = push_new(machine, AAC_PICKLE_TEXT, &value);
    if (status)
        return status;
    value->text = aac_arena_text(machine->arena, bytes, (size_t)length);
    return value->text ? AACLIP_OK : aac_error_memory();
}

/* A line of a GLOBAL, copied without its end. */
static aaclip_status read_line(struct machine *machine, const char **line)
{
    const unsigned char *newline = memchr(machine->at, '\n', (size_t)(machine->end - machine->at));
    if (!newline)
        return truncated();
    *line = aac_arena_text(machine->arena, machine->at, (size_t)(newline - machine->at));
    machine->at = newline + 1;
    return *line ? AACLIP_OK : aac_error_memory();
}

static aaclip_status read_global(struct machine *machine)
{
    const char *module = NULL, *name = NULL;
    aac_pickle_value *value = NULL;
    aaclip_status status = read_line(machine, &module);
    if (!status)
        status = read_line(machine, &name);
    if (!status)
        status = push_new(machine, AAC_PICKLE_GLOBAL, &value);
    return status ? status : aac_pickle_find_global(value, module, name);
}

static aaclip_status stack_global(struct machine *machine)
{
    if (available(machine) < 2)
        return underflow();
    machine->depth -= 2;
    const aac_pickle_value *module = machine->stack[machine->depth];
    const aac_pickle_value *name = machine->stack[machine->depth + 1];
    aac_pickle_value *value;
    if (module->kind != AAC_PICKLE_TEXT || name->kind != AAC_PICKLE_TEXT)
        return aac_error(AACLIP_ERROR_FORMAT, "a global whose name is not a string");
    aaclip_status status = push_new(machine, AAC_PICKLE_GLOBAL, &value);
    return status ? status : aac_pickle_find_global(value, module->text, name->text);
}

static aaclip_status memo_put(struct machine *machine, uint64_t index)
{
    if (!available(machine))
        return underflow();
    if (index > machine->size) /* Python counts up; a put takes at least a byte */
        return aac_error(AACLIP_ERROR_FORMAT, "memo index %llu in a pickle of %zu bytes",
                         (unsigned long long)index, machine->size);
    aac_pickle_value **memo =
        aac_grow(machine->memo, &machine->memo_capacity, (size_t)index + 1, sizeof *memo);
    if (!memo)
        return aac_error_memory();
    machine->memo = memo;
    for (; machine->memo_count <= index; machine->memo_count++)
        memo[machine->memo_count] = NULL;
    memo[index] = machine->stack[machine->depth - 1];
    return AACLIP_OK;
}

static aaclip_status memo_get(struct machine *machine, unsigned index_size)
{
    uint64_t index;
    aaclip_status status = take_unsigned(machine, index_size, &index);
    if (status)
        return status;
    if (index >= machine->memo_count || !machine->memo[index])
        return aac_error(AACLIP_ERROR_FORMAT, "memo %llu was never set", (unsigned long long)index);
    return push(machine, machine->memo[index]);
}

static aaclip_status read_memo_put(struct machine *machine, unsigned index_size)
{
    uint64_t index;
    aaclip_status status = take_unsigned(machine, index_size, &index);
    return status ? status : memo_put(machine, index);
}

/* A tuple, list or dict of the values from the last mark on. */
static aaclip_status collect(struct machine *machine, aac_pickle_kind kind)
{
    aac_pickle_value **values = NULL, *collected;
    size_t count = 0;
    aaclip_status status = pop_mark(machine, &values, &count);
    if (status)
        return status;
    if (kind == AAC_PICKLE_DICT && count % 2)
        return aac_error(AACLIP_ERROR_FORMAT, "a dict has a key without a value");
    aac_pickle_items items = {0};
    status = append(machine, &items, values, count); /* copies before the push overwrites them */
    if (!status)
        status = push_new(machine, kind, &collected);
    if (!status)
        collected->items = items;
    return status;
}

static aaclip_status short_tuple(struct machine *machine, unsigned count)
{
    if (available(machine) < count)
        return underflow();
    aac_pickle_value *tuple;
    aac_pickle_items items = {0};
    machine->depth -= count;
    aaclip_status status = append(machine, &items, machine->stack + machine->depth, count);
    if (!status)
        status = push_new(machine, AAC_PICKLE_TUPLE, &tuple);
    if (!status)
        tuple->items = items;
    return status;
}

/* Adds values to the list or dict on top of the stack. */
static aaclip_status extend(struct machine *machine, aac_pickle_kind kind,
                            aac_pickle_value *const *values, size_t count)
{
    if (!available(machine))
        return underflow();
    aac_pickle_value *target = machine->stack[machine->depth - 1];
    if (target->kind != kind)
        return aac_error(AACLIP_ERROR_FORMAT, "expected %s to add to, found %s",
                         aac_pickle_kind_name(kind), aac_pickle_kind_name(target->kind));
    if (kind == AAC_PICKLE_DICT && count % 2)
        return aac_error(AACLIP_ERROR_FORMAT, "a dict has a key without a value");
    return append(machine, &target->items, values, count);
}

static aaclip_status extend_one(struct machine *machine, aac_pickle_kind kind, unsigned count)
{
    if (available(machine) < count)
        return underflow();
    machine->depth -= count;
    return extend(machine, kind, machine->stack + machine->depth, count);
}

static aaclip_status extend_marked(struct machine *machine, aac_pickle_kind kind)
{
    aac_pickle_value **values = NULL;
    size_t count = 0;
    aaclip_status status = pop_mark(machine, &values, &count);
    return status ? status : extend(machine, kind, values, count);
}

/* REDUCE, NEWOBJ and BUILD take two values and leave one. */
static aaclip_status combine(struct machine *machine, enum opcode opcode)
{
    if (available(machine) < 2)
        return underflow();
    machine->depth -= 2;
    aac_pickle_value *first = machine->stack[machine->depth], *result = NULL;
    aac_pickle_value *second = machine->stack[machine->depth + 1];
    aaclip_status status = AACLIP_OK;
    if (opcode == OP_BUILD) {
        status = aac_pickle_set_state(first, second);
        result = first;
    } else {
        status = count_value(machine);
        if (!status)
            status = opcode == OP_NEWOBJ ? aac_pickle_instantiate(&result, machine->arena, first)
                                         : aac_pickle_call(&result, machine->arena, first, second);
    }
    return status ? status : push(machine, result);
}

static aaclip_status persistent(struct machine *machine)
{
    aac_pickle_value *id = NULL, *storage;
    aaclip_status status = pop(machine, &id);
    if (!status)
        status = count_value(machine);
    if (!status)
        status = aac_pickle_open_storage(&storage, machine->arena, id);
    return status ? status : push(machine, storage);
}

/* Opcodes that only move existing values. */
static aaclip_status step_structure(struct machine *machine, enum opcode opcode)
{
    aac_pickle_value **values, *value;
    size_t count;
    uint64_t skipped;
    switch (opcode) {
    case OP_PROTO:
        return take_unsigned(machine, 1, &skipped);
    case OP_FRAME:
        return take_unsigned(machine, 8, &skipped);
    case OP_MARK:
        return push_mark(machine);
    case OP_POP:
        return pop(machine, &value);
    case OP_POP_MARK:
        return pop_mark(machine, &values, &count);
    case OP_BINPUT:
        return read_memo_put(machine, 1);
    case OP_LONG_BINPUT:
        return read_memo_put(machine, 4);
    case OP_MEMOIZE:
        return memo_put(machine, machine->memo_count);
    case OP_BINGET:
        return memo_get(machine, 1);
    case OP_LONG_BINGET:
        return memo_get(machine, 4);
    case OP_APPEND:
        return extend_one(machine, AAC_PICKLE_LIST, 1);
    case OP_APPENDS:
        return extend_marked(machine, AAC_PICKLE_LIST);
    case OP_SETITEM:
        return extend_one(machine, AAC_PICKLE_DICT, 2);
    case OP_SETITEMS:
        return extend_marked(machine, AAC_PICKLE_DICT);
    default:
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "pickle opcode 0x%02x at byte %zu",
                         (unsigned)opcode,
                         machine->size - (size_t)(machine->end - machine->at) - 1);
    }
}

/* Opcodes that build values out of others. */
static aaclip_status step_composite(struct machine *machine, enum opcode opcode)
{
    aac_pickle_value *value;
    switch (opcode) {
    case OP_EMPTY_TUPLE:
        return push_new(machine, AAC_PICKLE_TUPLE, &value);
    case OP_EMPTY_LIST:
        return push_new(machine, AAC_PICKLE_LIST, &value);
    case OP_EMPTY_DICT:
        return push_new(machine, AAC_PICKLE_DICT, &value);
    case OP_TUPLE:
        return collect(machine, AAC_PICKLE_TUPLE);
    case OP_LIST:
        return collect(machine, AAC_PICKLE_LIST);
    case OP_DICT:
        return collect(machine, AAC_PICKLE_DICT);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        return short_tuple(machine, (unsigned)opcode - OP_TUPLE1 + 1);
    case OP_STACK_GLOBAL:
        return stack_global(machine);
    case OP_REDUCE:
    case OP_NEWOBJ:
    case OP_BUILD:
        return combine(machine, opcode);
    case OP_BINPERSID:
        return persistent(machine);
    default:
        return step_structure(machine, opcode);
    }
}

/* Opcodes that carry a value of their own. */
static aaclip_status step(struct machine *machine, enum opcode opcode)
{
    aac_pickle_value *value;
    uint64_t size;
    aaclip_status status;
    switch (opcode) {
    case OP_NONE:
        return push_new(machine, AAC_PICKLE_NONE, &value);
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return push_integer(machine, AAC_PICKLE_BOOLEAN, opcode == OP_NEWTRUE);
    case OP_BININT1:
    case OP_BININT2:
        status = take_unsigned(machine, opcode == OP_BININT1 ? 1 : 2, &size);
        return status ? status : push_integer(machine, AAC_PICKLE_INTEGER, (int64_t)size);
    case OP_BININT:
        return read_signed(machine, 4);
    case OP_LONG1:
        status = take_unsigned(machine, 1, &size);
        return status ? status : read_signed(machine, (unsigned)size);
    case OP_BINFLOAT:
        return read_float(machine);
    case OP_SHORT_BINSTRING:
    case OP_SHORT_BINUNICODE:
        return read_text(machine, 1);
    case OP_BINSTRING:
    case OP_BINUNICODE:
        return read_text(machine, 4);
    case OP_GLOBAL:
        return read_global(machine);
    default:
        return step_composite(machine, opcode);
    }
}

aaclip_status aac_pickle_read(aac_pickle_value **root, aac_arena *arena, const unsigned char *bytes,
                              size_t size)
{
    struct machine machine = {.arena = arena, .at = bytes, .end = bytes + size, .size = size};
    aaclip_status status = AACLIP_OK;
    *root = NULL;
    for (size_t steps = 0; !status && !*root; steps++) {
        status = aac_cancel_look_at(steps);
        if (status)
            break;
        if (machine.at == machine.end)
            status = truncated();
        else if (*machine.at == OP_STOP)
            status = pop(&machine, root);
        else
            status = step(&machine, (enum opcode) * machine.at++);
    }
    aac_free(machine.stack);
    aac_free(machine.marks);
    aac_free(machine.memo);
    return status;
}
