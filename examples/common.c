#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Bytes of the control character that starts here, of two bytes in UTF-8 from 80 on; 0: none. */
static int control_bytes(const char *text)
{
    const unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    if (first < 0x20 || first == 0x7f)
        return 1;
    return first == 0xc2 && second >= 0x80 && second <= 0x9f ? 2 : 0;
}

void write_visible(FILE *file, const char *text)
{
    while (*text) {
        const int controls = control_bytes(text);
        if (!controls)
            fputc(*text++, file);
        for (int i = 0; i < controls; i++)
            fprintf(file, "\\x%02x", (unsigned char)*text++);
    }
}

int complain(const char *program, const char *format, ...)
{
    char text[8192]; /* two paths */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s: ", program);
    write_visible(stderr, text);
    fputc('\n', stderr);
    return 1;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* A file may be read for each checkpoint, epoch and picture: its warnings are shown once. */
static bool is_news(const char *message)
{
    static void *told; /* a tree of tsearch(3), kept until the program ends */
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    bool news = !tfind(message, &told, compare_texts);
    char *copy = news ? strdup(message) : NULL;
    if (copy && !tsearch(copy, &told, compare_texts))
        free(copy);
    pthread_mutex_unlock(&mutex);
    return news;
}

static void print_message(aaclip_log_level level, const char *message, void *user)
{
    (void)user;
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (level == AACLIP_LOG_WARNING && !is_news(message))
        return;
    fprintf(stderr, "%s: ", names[level]);
    write_visible(stderr, message);
    fputc('\n', stderr);
}

void print_warning(const char *format, ...)
{
    char text[1024]; /* as long as those of the library */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_message(AACLIP_LOG_WARNING, text, NULL);
}

bool reported(aaclip_status status, const char *program)
{
    const char *text = aaclip_last_error();
    if (status == AACLIP_ERROR_OUT_OF_MEMORY && !strstr(text, "memory"))
        text = "out of memory"; /* last_error may be of an earlier call */
    return status && complain(program, "%s", text);
}

int end_program(int code, const char *program)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    complain(program, "stdout: cannot write: %s", strerror(errno));
    return code ? code : 1;
}

bool make_folders(const char *path, const char *program)
{
    char *copy = strdup(path);
    bool made = copy != NULL;
    for (char *slash = copy; made && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        made = mkdir(copy, 0777) == 0 || errno == EEXIST;
        if (slash)
            *slash = '/';
    }
    if (!made)
        complain(program, "%s: %s", path, strerror(errno));
    free(copy);
    return made;
}

void show_log(bool verbose)
{
    aaclip_set_log(print_message, verbose ? AACLIP_LOG_DEBUG : AACLIP_LOG_WARNING, NULL);
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_start(progress_bar *bar, const char *label)
{
    *bar = (progress_bar){.label = label, .started = seconds_now()};
}

void progress_update(progress_bar *bar, size_t done, size_t total)
{
    const double patience = 2.0, interval = 0.1;
    const int width = 30;
    double now = seconds_now();
    if (!total || now - bar->started < patience || !isatty(STDERR_FILENO))
        return;
    if (now - bar->drawn < interval && done < total)
        return;
    int filled = (int)((double)width * (double)done / (double)total);
    fprintf(stderr, "\r%s [%.*s%*s] %zu/%zu %-60s", bar->label, filled,
            "##############################", width - filled, "", done, total, bar->detail);
    bar->drawn = now;
    bar->visible = true;
}

void progress_end(progress_bar *bar)
{
    if (bar->visible)
        fputc('\n', stderr);
    bar->visible = false;
}

const char *only_class(const char *dataset)
{
    return dataset && aaclip_known_dataset_class_count(dataset) == 1
               ? aaclip_known_dataset_class_name(dataset, 0)
               : NULL;
}

bool list_add(string_list *list, const char *text)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        char **items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = strdup(text);
    if (!copy)
        return false;
    list->items[list->count++] = copy;
    return true;
}

void list_clear(string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (string_list){0};
}

static aaclip_status add_phrase(string_list *phrases, const char *dataset, const char *name)
{
    char phrase[512];
    aaclip_status status = aaclip_class_phrase(dataset, name, phrase, sizeof phrase);
    if (!status && !list_add(phrases, phrase))
        status = AACLIP_ERROR_OUT_OF_MEMORY;
    return status;
}

aaclip_status build_classes(aaclip_text_cache *cache, const char *dataset, const char *phrase,
                            const string_list *names)
{
    string_list phrases = {0};
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < names->count; i++)
        status = !phrase                      ? add_phrase(&phrases, dataset, names->items[i])
                 : list_add(&phrases, phrase) ? AACLIP_OK
                                              : AACLIP_ERROR_OUT_OF_MEMORY;
    if (!status && names->count)
        status = aaclip_text_cache_build(cache, (const char *const *)names->items,
                                         (const char *const *)phrases.items, names->count);
    list_clear(&phrases);
    return status;
}

static bool is_image_name(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".bmp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_folder(string_list *list, const char *path, DIR *folder)
{
    size_t before = list->count;
    bool added = true;
    for (struct dirent *entry; added && (entry = readdir(folder));) {
        if (!is_image_name(entry->d_name))
            continue;
        size_t length = strlen(path) + strlen(entry->d_name) + 2;
        char *file = malloc(length);
        if (!file)
            return false;
        snprintf(file, length, "%s/%s", path, entry->d_name);
        added = list_add(list, file);
        free(file);
    }
    if (list->count > before)
        qsort(list->items + before, list->count - before, sizeof *list->items, compare_names);
    return added;
}

bool list_add_images(string_list *list, const char *path, const char *program)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode))
        return list_add(list, path) || !complain(program, "out of memory");
    DIR *folder = opendir(path);
    if (!folder)
        return !complain(program, "%s: %s", path, strerror(errno));
    size_t before = list->count;
    bool added = add_folder(list, path, folder);
    closedir(folder);
    if (!added)
        return !complain(program, "out of memory");
    if (list->count == before)
        return !complain(program, "%s: no png, jpg, jpeg or bmp file in this folder", path);
    return true;
}

const char *const decide_by_names[DECIDE_BY_COUNT] = {"score", "map", "either"};

int find_decide_by(const char *name)
{
    int i = DECIDE_BY_COUNT - 1;
    while (i >= 0 && strcmp(name, decide_by_names[i]) != 0)
        i--;
    return i;
}

aaclip_status open_photo(aaclip_image **image, const char *path, const value_window *window)
{
    return window->high > 0 ? aaclip_image_open_window(image, path, window->low, window->high)
                            : aaclip_image_open(image, path);
}

bool to_stdout(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

bool open_text_file(text_output *output, const char *path, const char *program)
{
    *output = (text_output){0};
    if (to_stdout(path)) {
        output->file = stdout;
        return true;
    }
    struct stat info;
    const bool exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return !complain(program, "%s: cannot write: %s", path, strerror(EISDIR));
    if (exists && !S_ISREG(info.st_mode))
        return !complain(program, "%s: cannot write: not a regular file; - is stdout", path);
    output->path = exists ? realpath(path, NULL) : strdup(path); /* symbolic links are kept */
    size_t length = output->path ? strlen(output->path) + sizeof ".XXXXXX" : 0;
    output->temporary = output->path ? malloc(length) : NULL;
    output->mode = exists ? info.st_mode & 0777 : 0;
    if (output->temporary) {
        snprintf(output->temporary, length, "%s.XXXXXX", output->path);
        int file = mkstemp(output->temporary);
        output->file = file < 0 ? NULL : fdopen(file, "w");
    }
    if (output->file)
        return true;
    complain(program, "%s: cannot write: %s", path, strerror(errno));
    free(output->path);
    free(output->temporary);
    return false;
}

bool finish_text_file(text_output *output, bool keep, const char *program)
{
    if (!output->path)
        return fflush(stdout) == 0 || !complain(program, "stdout: %s", strerror(errno));
    bool written = !ferror(output->file);
    written = fclose(output->file) == 0 && written;
    if (keep && written) {
        mode_t mask = umask(0);
        umask(mask);
        written = chmod(output->temporary, output->mode ? output->mode : 0666 & ~mask) == 0 &&
                  rename(output->temporary, output->path) == 0;
    }
    if (!keep || !written)
        remove(output->temporary);
    if (keep && !written)
        complain(program, "%s: cannot write: %s", output->path, strerror(errno));
    free(output->path);
    free(output->temporary);
    *output = (text_output){0};
    return !keep || written;
}

bool can_write_text_file(const char *path, const char *program)
{
    text_output output;
    return !path ||
           (open_text_file(&output, path, program) && finish_text_file(&output, false, program));
}

/* Bytes of the UTF-8 character at the start of a text; 0 if there is none. */
static size_t character_length(const char *text)
{
    const size_t most = strnlen(text, 4);
    for (size_t length = 1; length <= most; length++) {
        json_t *character = json_stringn(text, length); /* which accepts only UTF-8 */
        json_decref(character);
        if (character)
            return length;
    }
    return 0;
}

/* With \xHH for bytes that are not UTF-8; NULL when out of memory. */
static char *make_utf8(const char *text)
{
    char *copy = malloc(strlen(text) * strlen("\\xff") + 1), *end = copy;
    while (copy && *text) {
        size_t length = character_length(text);
        if (length)
            memcpy(end, text, length);
        else
            snprintf(end, sizeof "\\xff", "\\x%02x", (unsigned char)*text);
        end += length ? length : strlen("\\xff");
        text += length ? length : 1;
    }
    if (copy)
        *end = '\0';
    return copy;
}

json_t *text_json(const char *text)
{
    json_t *exact = json_string(text);
    char *copy = exact ? NULL : make_utf8(text);
    json_t *string = exact ? exact : json_string(copy);
    free(copy);
    return string;
}

json_t *made_json(json_t *value, bool failed)
{
    if (!failed)
        return value;
    json_decref(value);
    return NULL;
}

void write_quoted(FILE *file, const char *text)
{
    json_t *string = text_json(text);
    const char *character = string ? json_string_value(string) : text;
    fputc('"', file);
    if (*character && strchr("=+-@\t\r", *character))
        fputc('\'', file);
    for (; *character; character++) {
        if (*character == '"')
            fputc('"', file);
        fputc(*character, file);
    }
    fputc('"', file);
    json_decref(string);
}
