/* What the example programs share: messages, progress, lists of images, whole-or-nothing text
 * files. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include <jansson.h>

#include <aaclip/aaclip.h>

/* With control characters, which could command a terminal, as \xHH. */
void write_visible(FILE *file, const char *text);

/* "program: message" on stderr; returns 1, the exit code of a failed program. */
int complain(const char *program, const char *format, ...) AACLIP_PRINTF(2, 3);

/* Whether a call failed, after reporting it: the library's text, or "out of memory" where the
 * program itself ran out. */
bool reported(aaclip_status status, const char *program);

/* Exit code of a program that ends with `code`: 1 if its output could not be written to stdout. */
int end_program(int code, const char *program);

/* Makes a folder and its missing parents; false with a message. */
bool make_folders(const char *path, const char *program);

/* Sends the library's warnings, each once, to stderr, and with `verbose` everything. */
void show_log(bool verbose);

/* A warning of the program, shown like those of the library. */
void print_warning(const char *format, ...) AACLIP_PRINTF(1, 2);

/* One line that redraws itself on stderr, if that is a terminal and the work takes over 2 seconds.
 */
typedef struct progress_bar {
    const char *label;
    double started, drawn;
    bool visible;
    char detail[96]; /* shown after the numbers */
} progress_bar;

void progress_start(progress_bar *bar, const char *label);
void progress_update(progress_bar *bar, size_t done, size_t total);
void progress_end(progress_bar *bar);

double seconds_now(void);

/* The class of a known data set with only one, whatever its folder is called (Brain_AD,
 * Kvasir-SEG): the name to look its phrase up by. NULL: another data set, or none. */
const char *only_class(const char *dataset);

typedef struct string_list {
    char **items;
    size_t count, capacity;
} string_list;

bool list_add(string_list *list, const char *text);
void list_clear(string_list *list);
/*
 * Builds the text vectors of all named classes together, with `phrase` or, if NULL, the data set's
 * phrases (NULL: plain names).
 */
aaclip_status build_classes(aaclip_text_cache *cache, const char *dataset, const char *phrase,
                            const string_list *names);
/* Adds a file, or the images (png, jpg, jpeg, bmp) of a folder in order of name; false with a
 * message if there are none. */
bool list_add_images(string_list *list, const char *path, const char *program);

/* A text file under a temporary name until finish_text_file renames it; "-" is stdout. */
typedef struct text_output {
    FILE *file;
    char *path, *temporary;
    mode_t mode; /* of the replaced file; 0: none */
} text_output;

bool open_text_file(text_output *output, const char *path, const char *program);
/* With keep = false the file is removed. */
bool finish_text_file(text_output *output, bool keep, const char *program);
/* Names of aaclip_decide_by, by value; -1: no such name. */
enum { DECIDE_BY_COUNT = 3 };
extern const char *const decide_by_names[DECIDE_BY_COUNT];
int find_decide_by(const char *name);

/* Values of 16-bit images that become 0 to 255; `high` 0: none requested. */
typedef struct value_window {
    double low, high;
} value_window;
aaclip_status open_photo(aaclip_image **image, const char *path, const value_window *window);

/* Whether it is "-"; false for NULL. */
bool to_stdout(const char *path);
/* Whether open_text_file will succeed later, after long work; true for NULL. */
bool can_write_text_file(const char *path, const char *program);
/* A file name may hold any bytes, JSON only UTF-8: other bytes become \xHH. */
json_t *text_json(const char *text);
/* `value`, built from several others; if one of them failed, frees it and returns NULL. */
json_t *made_json(json_t *value, bool failed);
/* A quoted CSV field, with inner quotes doubled, and bytes as in JSON. One that a spreadsheet would
 * take for a formula gets an apostrophe before it. */
void write_quoted(FILE *file, const char *text);

#endif
