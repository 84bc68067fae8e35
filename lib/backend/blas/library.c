/*
 * OpenBLAS behind dlopen. If this library were linked to it, its threads would start in every
 * program, used or not, and keep a processor busy during startup.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "backend/blas/blas.h"
#include "core/platform.h"

__typeof__(&cblas_sgemm) aac_blas_sgemm;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    /* the system's search path first, then where it was when this library was built */
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so",
                                        AAC_OPENBLAS_FOLDER "/libopenblas.so.0",
                                        AAC_OPENBLAS_FOLDER "/libopenblas.so"};
    aac_signals signals; /* for the program's threads, not for those started here */
    aac_signals_block(&signals);
    for (size_t i = 0; !aac_blas_sgemm && i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library)
            *(void **)&aac_blas_sgemm = dlsym(library, "cblas_sgemm");
    }
    aac_signals_restore(&signals);
}

bool aac_blas_load(void)
{
    pthread_once(&once, load);
    return aac_blas_sgemm != NULL;
}
