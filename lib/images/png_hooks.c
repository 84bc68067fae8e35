#include "images/png_hooks.h"

#include <stdio.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"

_Noreturn void aac_png_error(png_structp png, png_const_charp text)
{
    aac_png_failure *failure = png_get_error_ptr(png);
    snprintf(failure->text, sizeof failure->text, "%s", text);
    png_longjmp(png, 1);
}

void aac_png_warning(png_structp png, png_const_charp text)
{
    (void)png;
    aac_log(AACLIP_LOG_DEBUG, "PNG: %s", text);
}

void aac_png_look(png_structp png)
{
    aac_png_failure *failure = png_get_error_ptr(png);
    failure->status = aac_cancel_look();
    if (failure->status)
        png_longjmp(png, 1);
}

void *aac_png_allocate(png_structp png, png_alloc_size_t size)
{
    void *pointer = aac_alloc(size);
    aac_png_failure *failure = png_get_mem_ptr(png);
    if (!pointer)
        failure->status = AACLIP_ERROR_OUT_OF_MEMORY;
    return pointer;
}

void aac_png_free(png_structp png, void *pointer)
{
    (void)png;
    aac_free(pointer);
}

aaclip_status aac_png_report(const aac_png_failure *failure, aaclip_status otherwise)
{
    if (failure->status == AACLIP_ERROR_OUT_OF_MEMORY)
        return aac_error_memory();
    if (failure->status)
        return failure->status; /* the callback recorded its own text */
    return aac_error(otherwise, "PNG: %s", failure->text);
}
