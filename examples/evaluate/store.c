#include "evaluate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint64_t prime = 1099511628211u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * prime;
    return hash;
}

uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_bytes(hash, text ? text : "", text ? strlen(text) + 1 : 1);
}

char *format_text(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}

bool failed(aaclip_status status)
{
    return reported(status, PROGRAM);
}

bool make_folder_of(const char *path)
{
    char *folder = strdup(path);
    if (!folder)
        return !complain(PROGRAM, "out of memory");
    *strrchr(folder, '/') = '\0';
    bool made = make_folders(folder, PROGRAM);
    free(folder);
    return made;
}

static void keep_plain(char *name)
{
    for (char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || *c == '-' || (*c == '.' && c > name);
        *c = plain ? *c : '_';
    }
}

char *image_file(const char *folder, const aaclip_sample *sample, uint64_t number,
                 const char *ending)
{
    const char *slash = strrchr(sample->image_path, '/');
    const char *name = slash ? slash + 1 : sample->image_path, *dot = strrchr(name, '.');
    const int most = 80; /* the number distinguishes longer names */
    int length = (int)(dot && dot != name ? (size_t)(dot - name) : strlen(name));
    char *category = format_text("%.*s", most, sample->class_name);
    char *stem = format_text("%.*s%s%.*s", most, sample->defect ? sample->defect : "",
                             sample->defect ? "-" : "", length < most ? length : most, name);
    char *path = NULL;
    if (category && stem) {
        keep_plain(category);
        keep_plain(stem);
        path = format_text("%s/%s/%s-%016" PRIx64 "%s", folder, category, stem, number, ending);
    }
    free(category);
    free(stem);
    return path;
}

static bool parse_line(const char *line, size_t length, stored_line *stored)
{
    json_t *root = json_loadb(line, length, 0, NULL);
    const char *id;
    double score, least, largest;
    int levels, width, height;
    bool whole = json_unpack(root, "{s:s, s:F, s:F, s:F, s:i, s:i, s:i}", "id", &id, "score",
                             &score, "map_least", &least, "map_largest", &largest, "levels",
                             &levels, "width", &width, "height", &height) == 0;
    char *end = NULL;
    if (whole) {
        stored->id = strtoull(id, &end, 16);
        stored->scores = (image_scores){(float)score,     (float)least,    (float)largest,
                                        (uint32_t)levels, (uint32_t)width, (uint32_t)height};
    }
    whole = whole && end != id && !*end && levels > 0 && width > 0 && height > 0;
    json_decref(root);
    return whole;
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t x = ((const stored_line *)a)->id, y = ((const stored_line *)b)->id;
    return (x > y) - (x < y);
}

static bool keep_line(result_store *store, size_t *capacity, const stored_line *line)
{
    if (store->count == *capacity) {
        size_t larger = *capacity ? 2 * *capacity : 1024;
        stored_line *lines = realloc(store->lines, larger * sizeof *lines);
        if (!lines)
            return false;
        store->lines = lines;
        *capacity = larger;
    }
    store->lines[store->count++] = *line;
    return true;
}

/* Reads all complete lines; truncates the file and positions it after them. */
static bool read_log(result_store *store)
{
    char *line = NULL;
    size_t room = 0, capacity = 0;
    off_t whole = 0;
    bool good = true;
    for (ssize_t length; good && (length = getline(&line, &room, store->log)) > 0;) {
        stored_line stored;
        if (line[length - 1] != '\n')
            break;
        whole += length;
        if (parse_line(line, (size_t)length, &stored))
            good = keep_line(store, &capacity, &stored);
    }
    free(line);
    if (store->count)
        qsort(store->lines, store->count, sizeof *store->lines, compare_ids);
    return good && !ferror(store->log) && ftruncate(fileno(store->log), whole) == 0 &&
           fseeko(store->log, whole, SEEK_SET) == 0;
}

bool store_open(result_store *store, const char *folder, const value_window *window)
{
    *store = (result_store){.cache = format_text("%s/cache", folder),
                            .path = format_text("%s/scores.jsonl", folder),
                            .window = *window};
    bool good = store->cache && store->path && make_folders(store->cache, PROGRAM);
    if (good) {
        store->log = fopen(store->path, "a+");
        good = store->log && fseeko(store->log, 0, SEEK_SET) == 0 && read_log(store);
        if (!good)
            complain(PROGRAM, "%s: %s", store->path, strerror(errno));
    }
    if (!good)
        store_close(store);
    return good;
}

void store_close(result_store *store)
{
    if (store->log)
        fclose(store->log);
    free(store->lines);
    free(store->cache);
    free(store->path);
    *store = (result_store){0};
}

bool store_find(const result_store *store, uint64_t id, image_scores *scores)
{
    const stored_line wanted = {.id = id};
    const stored_line *found = store->count ? bsearch(&wanted, store->lines, store->count,
                                                      sizeof *store->lines, compare_ids)
                                            : NULL;
    if (found)
        *scores = found->scores;
    return found != NULL;
}

/* Reads the header of an aaclip_write_npy file: version 1.0, little-endian float32, row-major.
 */
static bool read_shape(FILE *file, map_image *map)
{
    uint8_t start[10];
    char header[1024] = "";
    bool good = fread(start, 1, sizeof start, file) == sizeof start &&
                memcmp(start, "\x93NUMPY\x01", 7) == 0;
    const size_t length = good ? start[8] + 256u * start[9] : 0;
    good = good && length < sizeof header && fread(header, 1, length, file) == length;
    const char *shape = good && strstr(header, "'<f4'") ? strstr(header, "'shape': (") : NULL;
    return shape &&
           sscanf(shape, "'shape': (%" SCNu32 ", %" SCNu32 ")", &map->height, &map->width) == 2;
}

/* The file must have the size in its header, so that damage there cannot demand arbitrary
 * memory. */
static bool read_values(FILE *file, map_image *map)
{
    const uint64_t count = (uint64_t)map->width * map->height;
    const off_t start = ftello(file);
    struct stat info;
    if (start < 0 || fstat(fileno(file), &info) != 0 || info.st_size < start || !count ||
        (uint64_t)(info.st_size - start) / sizeof *map->values != count ||
        (uint64_t)(info.st_size - start) % sizeof *map->values)
        return false;
    map->values = malloc((size_t)count * sizeof *map->values);
    if (map->values && fread(map->values, sizeof *map->values, (size_t)count, file) == count)
        return true;
    free(map->values);
    map->values = NULL;
    return false;
}

bool store_read_map(const result_store *store, const image_row *row, map_image *map)
{
    char *path = image_file(store->cache, row->sample, row->id, ".npy");
    FILE *file = path ? fopen(path, "rb") : NULL;
    free(path);
    *map = (map_image){0};
    bool good = file && read_shape(file, map) && read_values(file, map);
    if (file)
        fclose(file);
    return good;
}

static bool write_map(const char *path, const map_image *map)
{
    const size_t shape[] = {map->height, map->width};
    return make_folder_of(path) && !failed(aaclip_write_npy(path, map->values, shape, 2));
}

static bool write_line(const result_store *store, const json_t *line)
{
    return (line && json_dumpf(line, store->log, JSON_COMPACT) == 0 &&
            fputc('\n', store->log) != EOF && fflush(store->log) == 0) ||
           !complain(PROGRAM, "%s: cannot write: %s", store->path, strerror(errno));
}

bool store_add(result_store *store, const image_row *row, const map_image *map)
{
    char id[32];
    snprintf(id, sizeof id, "%016" PRIx64, row->id);
    const image_scores *scores = &row->scores;
    json_t *line =
        json_pack("{s:s, s:o, s:o, s:i, s:f, s:f, s:f, s:i, s:i, s:i}", "id", id, "image",
                  text_json(row->sample->image_path), "class", text_json(row->sample->class_name),
                  "label", row->sample->label, "score", (double)scores->score, "map_least",
                  (double)scores->map_least, "map_largest", (double)scores->map_largest, "levels",
                  (int)scores->levels, "width", (int)scores->width, "height", (int)scores->height);
    char *path = image_file(store->cache, row->sample, row->id, ".npy");
    bool kept = path && (!map || write_map(path, map)) && write_line(store, line);
    json_decref(line);
    free(path);
    return kept;
}
