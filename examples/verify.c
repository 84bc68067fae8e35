#include "verify.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "common.h"

#define DIGITS         8
#define LARGEST_HEADER 100000000u
#define AT_ONCE        ((size_t)1 << 20)

static const char before_digits[] = "\"aaclip.checksum\":\"";

/* The length of 8 bytes, and the header as a string; NULL with a message. */
static char *read_header(FILE *file, unsigned char length[8], const char *path, const char *program)
{
    uint64_t size = 0;
    char *header = NULL;
    if (fread(length, 1, 8, file) == 8)
        for (int i = 7; i >= 0; i--)
            size = size << 8 | length[i];
    if (size && size <= LARGEST_HEADER)
        header = calloc(1, (size_t)size + 1);
    if (header && fread(header, 1, (size_t)size, file) == size)
        return header;
    free(header);
    complain(program, "%s: expected a safetensors file, found no header", path);
    return NULL;
}

/* Of the rest of the file; false after an error. */
static bool add_rest(unsigned long *crc, FILE *file)
{
    static unsigned char bytes[AT_ONCE];
    size_t count;
    while ((count = fread(bytes, 1, sizeof bytes, file)) > 0)
        *crc = crc32(*crc, bytes, (unsigned)count);
    return !ferror(file);
}

/* Of the whole file, with zeros in place of the digits, as when it was computed. */
static bool compute(char found[DIGITS + 1], FILE *file, const unsigned char length[8], char *header,
                    char *digits)
{
    memset(digits, '0', DIGITS);
    unsigned long crc = crc32(crc32(0, NULL, 0), length, 8);
    crc = crc32(crc, (unsigned char *)header, (unsigned)strlen(header));
    const bool read = add_rest(&crc, file);
    snprintf(found, DIGITS + 1, "%08lx", crc & 0xffffffff);
    return read;
}

static int compare(FILE *file, const unsigned char length[8], char *header, const char *path,
                   const char *program)
{
    char *before = strstr(header, before_digits);
    char expected[DIGITS + 1] = "", found[DIGITS + 1];
    if (!before || strlen(before) <= sizeof before_digits + DIGITS)
        return complain(program,
                        "%s: has no checksum: an older version or another program wrote it", path);
    char *digits = before + sizeof before_digits - 1;
    memcpy(expected, digits, DIGITS);
    if (!compute(found, file, length, header, digits))
        return complain(program, "%s: %s", path, strerror(errno));
    if (strcmp(expected, found) != 0)
        return complain(program, "%s: damaged: expected checksum %s, found %s", path, expected,
                        found);
    printf("%s: checksum %s, as when it was written\n", path, found);
    return 0;
}

int verify_file(const char *path, const char *program)
{
    unsigned char length[8];
    FILE *file = fopen(path, "rb");
    if (!file)
        return complain(program, "%s: %s", path, strerror(errno));
    char *header = read_header(file, length, path, program);
    const int code = header ? compare(file, length, header, path, program) : 1;
    free(header);
    fclose(file);
    return code;
}
