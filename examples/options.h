/* Command lines as tables: one row per option. */
#ifndef EXAMPLES_OPTIONS_H
#define EXAMPLES_OPTIONS_H

#include "common.h"

typedef enum option_kind {
    OPTION_TEXT,      /* const char * */
    OPTION_MODEL,     /* const char *: a path, or the name of an installed model */
    OPTION_LIST,      /* string_list; repeatable */
    OPTION_FLAG,      /* bool */
    OPTION_NUMBER,    /* unsigned */
    OPTION_REAL,      /* double, 0 or more */
    OPTION_PRECISION, /* aaclip_precision */
    OPTION_PROFILE,   /* aaclip_profile */
    OPTION_DOMAIN,    /* aaclip_domain */
    OPTION_WINDOW     /* value_window */
} option_kind;

typedef struct program_option {
    const char *name; /* without the dashes */
    option_kind kind;
    void *value;
    unsigned most; /* largest number */
    bool *given;   /* set to true when the option is given; may be NULL */
} program_option;

typedef enum parse_result {
    PARSE_RUN,  /* continue */
    PARSE_DONE, /* --help or --version was handled */
    PARSE_WRONG /* the error has been reported */
} parse_result;

/* Arguments that are not options: pointers into argv. */
typedef struct program_arguments {
    char **items;
    int count;
} program_arguments;

/*
 * Reads argv into `options`, which ends with an empty row; --help and --version are added. Names
 * may be written with underscores, as in the Python code.
 */
parse_result parse_options(const program_option *options, const char *program, const char *usage,
                           int argc, char **argv, program_arguments *rest);

#endif
