/* libpng's callbacks for reading and writing: errors that jump, memory through our hooks. */
#ifndef AAC_IMAGES_PNG_HOOKS_H
#define AAC_IMAGES_PNG_HOOKS_H

#include <png.h>

#include <aaclip/status.h>

typedef struct aac_png_failure {
    aaclip_status status; /* set by a callback with a more precise status than libpng's, else OK */
    char text[160];
} aac_png_failure;

/* For png_create_read_struct_2 and png_create_write_struct_2; both pointers are the
 * aac_png_failure. */
_Noreturn void aac_png_error(png_structp png, png_const_charp text);
void aac_png_warning(png_structp png, png_const_charp text);
void *aac_png_allocate(png_structp png, png_alloc_size_t size);
void aac_png_free(png_structp png, void *pointer);

/* Call between rows: jumps if the call has been cancelled. */
void aac_png_look(png_structp png);

/* Records the failure; `otherwise` is the status of errors found by libpng itself. */
aaclip_status aac_png_report(const aac_png_failure *failure, aaclip_status otherwise);

#endif
