/* Whether a file that the library wrote has changed since. */
#ifndef EXAMPLES_VERIFY_H
#define EXAMPLES_VERIFY_H

/* Compares a safetensors file with the checksum in its metadata (docs/formats.md) and prints the
 * result; returns the program's exit code. */
int verify_file(const char *path, const char *program);

#endif
