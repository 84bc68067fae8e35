/* VisA's split_csv: object,split,label,image,mask. */
#include <string.h>

#include "core/error.h"
#include "core/platform.h"
#include "evaluate/dataset.h"

#define MAX_LINE    (2 * AAC_PATH_SIZE)
#define MAX_COLUMNS 16

enum { OBJECT, SPLIT, LABEL, IMAGE, MASK, USED };
static const char *const column_names[USED] = {"object", "split", "label", "image", "mask"};

/* The cells of a line; they point into `text`. */
typedef struct table_row {
    char text[MAX_LINE];
    char *cells[MAX_COLUMNS];
    size_t count;
} table_row;

typedef struct table_columns {
    size_t at[USED], count;
} table_columns;

static aaclip_status split_row(table_row *row, const char *line, size_t length)
{
    if (length && line[length - 1] == '\r')
        length--;
    if (length >= sizeof row->text || memchr(line, '"', length) || memchr(line, '\0', length))
        return aac_error(AACLIP_ERROR_FORMAT,
                         "expected a line without quotes, shorter than %d bytes", MAX_LINE);
    memcpy(row->text, line, length);
    row->text[length] = '\0';
    row->count = 0;
    char *next = row->text;
    while (next && row->count < MAX_COLUMNS) {
        row->cells[row->count++] = next;
        next = strchr(next, ',');
        if (next)
            *next++ = '\0';
    }
    if (next)
        return aac_error(AACLIP_ERROR_FORMAT, "expected at most %d cells", MAX_COLUMNS);
    return AACLIP_OK;
}

static aaclip_status read_header(table_columns *columns, const table_row *row)
{
    columns->count = row->count;
    for (size_t name = 0; name < USED; name++) {
        size_t i = 0;
        while (i < row->count && strcmp(row->cells[i], column_names[name]) != 0)
            i++;
        if (i == row->count)
            return aac_error(AACLIP_ERROR_FORMAT, "expected a column \"%s\"", column_names[name]);
        columns->at[name] = i;
    }
    return AACLIP_OK;
}

static aaclip_status read_split(aaclip_dataset_split *split, const char *cell)
{
    *split = strcmp(cell, "train") == 0 ? AACLIP_SPLIT_TRAIN : AACLIP_SPLIT_TEST;
    if (*split == AACLIP_SPLIT_TRAIN || strcmp(cell, "test") == 0)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT, "split: expected train or test, found \"%s\"", cell);
}

static aaclip_status read_label(int *label, const char *cell)
{
    *label = strcmp(cell, "anomaly") == 0;
    if (*label || strcmp(cell, "normal") == 0)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT, "label: expected normal or anomaly, found \"%s\"", cell);
}

static aaclip_status read_row(aac_dataset_reader *reader, const table_columns *columns,
                              const table_row *row)
{
    if (row->count != columns->count)
        return aac_error(AACLIP_ERROR_FORMAT, "expected %zu cells, found %zu", columns->count,
                         row->count);
    const char *cells[USED];
    for (size_t i = 0; i < USED; i++)
        cells[i] = row->cells[columns->at[i]];
    if (!*cells[OBJECT] || !*cells[IMAGE])
        return aac_error(AACLIP_ERROR_FORMAT, "expected an object and an image");
    aaclip_sample sample = {
        .image_path = cells[IMAGE],
        .mask_path = *cells[MASK] ? cells[MASK] : NULL,
        .class_name = cells[OBJECT],
    };
    aaclip_dataset_split split;
    aaclip_status status = read_split(&split, cells[SPLIT]);
    if (!status)
        status = read_label(&sample.label, cells[LABEL]);
    if (status || !aac_dataset_wants_split(reader, split))
        return status;
    return aac_dataset_add_listed(reader, &sample);
}

aaclip_status aac_dataset_read_table(aac_dataset_reader *reader, const char *path)
{
    aac_mapping file;
    aaclip_status status = aac_read_file(&file, path);
    if (status)
        return status;
    table_columns columns;
    table_row row;
    const char *text = (const char *)file.data, *end = text + file.size;
    const char *next = aac_skip_byte_order_mark(text, end);
    for (size_t number = 1; !status && next < end; number++) {
        const char *stop = memchr(next, '\n', (size_t)(end - next));
        size_t length = (size_t)((stop ? stop : end) - next);
        status = split_row(&row, next, length);
        const bool blank = !status && row.count == 1 && !*row.cells[0];
        if (!status && number == 1)
            status = read_header(&columns, &row);
        else if (!status && !blank)
            status = read_row(reader, &columns, &row);
        if (status)
            aac_error_prefix(status, "%s:%zu", path, number);
        next += length + (stop != NULL);
    }
    aac_unmap_file(&file);
    return status;
}
