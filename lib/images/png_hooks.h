/* What libpng calls back while it reads or writes: errors that jump, memory through our hooks. */
#ifndef AAC_IMAGES_PNG_HOOKS_H
#define AAC_IMAGES_PNG_HOOKS_H

#include <png.h>

#include <aaclip/status.h>

typedef struct aac_png_failure {
    aaclip_status status; /* set by a callback that knows better than libpng, else OK */
    char text[160];
} aac_png_failure;

/* For png_create_read_struct_2 and its writing twin; both pointers are the aac_png_failure. */
_Noreturn void aac_png_error(png_structp png, png_const_charp text);
void aac_png_warning(png_structp png, png_const_charp text);
void *aac_png_allocate(png_structp png, png_alloc_size_t size);
void aac_png_free(png_structp png, void *pointer);

/* Between rows: jumps when the call is cancelled. */
void aac_png_look(png_structp png);

/* Records the failure; `otherwise` is the status of errors that libpng found itself. */
aaclip_status aac_png_report(const aac_png_failure *failure, aaclip_status otherwise);

#endif
