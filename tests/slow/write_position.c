/* Writes a model's positional table for another grid: write_position MODEL GRID TABLE.npy */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/aaclip.h>

#include "core/memory.h"
#include "files/checkpoint.h"
#include "model/model.h"
#include "model/position.h"

static aaclip_status write_position(const aac_checkpoint *clip, int64_t grid, const char *path)
{
    const size_t width = (size_t)clip->vision.width, rows = (size_t)(1 + grid * grid);
    const size_t shape[] = {rows, width};
    float *trained = aac_vector_new(&clip->vision_position);
    float *table = aac_alloc_array(rows * width, sizeof *table);
    aaclip_status status = AACLIP_ERROR_OUT_OF_MEMORY;
    if (trained && table) {
        memcpy(table, trained, width * sizeof *table);
        status = aac_position_resample(trained + width, clip->grid, table + width, grid,
                                       clip->vision.width);
    }
    if (!status)
        status = aaclip_write_npy(path, table, shape, 2);
    aac_free(trained);
    aac_free(table);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL GRID TABLE.npy\n", argv[0]);
        return 2;
    }
    aaclip_model *model;
    aaclip_status status = aaclip_model_open(&model, argv[1], NULL);
    if (!status)
        status = write_position(aac_model_checkpoint(model), atoll(argv[2]), argv[3]);
    if (status)
        fprintf(stderr, "%s\n", aaclip_last_error());
    aaclip_model_close(&model);
    return status != AACLIP_OK;
}
