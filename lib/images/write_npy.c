/* NumPy files, complete or not at all. */
#include <stdio.h>
#include <string.h>

#include <aaclip/image.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "core/tensor.h"

#define NPY_HEADER_SIZE 256

/*
 * Version 1.0: magic, length of the text (little endian), text that ends in a newline and pads the
 * header to a multiple of 64. Returns the total size.
 */
static size_t npy_header(char *header, const size_t *shape, unsigned rank)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const char *type = "<f4";
#else
    const char *type = ">f4";
#endif
    const size_t prefix = 10;
    size_t end =
        prefix + (size_t)sprintf(header + prefix,
                                 "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
    for (unsigned i = 0; i < rank; i++)
        end += (size_t)sprintf(header + end, "%s%zu", i ? ", " : "", shape[i]);
    end += (size_t)sprintf(header + end, "%s), }", rank == 1 ? "," : "");
    size_t size = (end + 1 + 63) / 64 * 64;
    memset(header + end, ' ', size - end);
    header[size - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((size - prefix) & 0xff);
    header[9] = (char)((size - prefix) >> 8);
    return size;
}

aaclip_status aaclip_write_npy(const char *path, const float *values, const size_t *shape,
                               unsigned rank)
{
    if (!path || !shape || rank < 1 || rank > AAC_MAX_RANK)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_write_npy: expected a path, a shape and rank 1 to %d, found rank "
                         "%u",
                         AAC_MAX_RANK, rank);
    size_t bytes = sizeof *values;
    for (unsigned i = 0; i < rank; i++)
        if (!aac_size_multiply(&bytes, bytes, shape[i]))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "%s: the shape exceeds the address space", path);
    if (bytes && !values)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: no values", path);
    char header[NPY_HEADER_SIZE];
    size_t header_size = npy_header(header, shape, rank);
    aac_writer *writer;
    aaclip_status status = aac_writer_open(&writer, path);
    if (status)
        return status;
    status = aac_writer_write(writer, header, header_size);
    if (!status)
        status = aac_writer_write(writer, values, bytes);
    if (status)
        aac_writer_discard(&writer);
    else
        status = aac_writer_commit(&writer);
    return status;
}
