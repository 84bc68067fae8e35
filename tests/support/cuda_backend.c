/* Linked into a test: `cuda` replaces all backends of the build; without a device the test says so
 * and is skipped. */
#include <stdio.h>
#include <stdlib.h>

#include "backend/backend.h"

#define SKIPPED 77 /* meson's exit status for a skipped test */

__attribute__((constructor)) static void take_over(void)
{
    if (!aac_backend_cuda.available()) {
        printf("skipped: backend 'cuda': %s\n", aac_backend_cuda.missing());
        fflush(stdout);
        _Exit(SKIPPED);
    }
    aac_backend_only(&aac_backend_cuda);
}
