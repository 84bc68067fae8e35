/* Backward of a tower's head: matrix, LeakyReLU if there is one, L2 norm. */
#ifndef AAC_MODEL_HEAD_BACKWARD_H
#define AAC_MODEL_HEAD_BACKWARD_H

#include "model/trained_tower.h"

typedef struct aac_head_shape {
    int64_t images; /* or other groups, whose results are stored separately */
    int64_t rows;   /* of each */
    int64_t width, embedding;
    bool activation; /* LeakyReLU of this slope after the matrix */
    float slope;
    aac_dtype type; /* of the matrix products */
} aac_head_shape;

typedef struct aac_head_backward_plan {
    int64_t images, values;     /* of an image */
    aac_plan *normalize, *mean; /* of an image */
    aac_plan *activate, *convert, *gradient, *project, *project_more;
} aac_head_backward_plan;

aaclip_status aac_head_backward_plan_make(aac_head_backward_plan *plan, const aac_head_shape *shape,
                                          const aac_dispatch *dispatch);
void aac_head_backward_plan_clear(aac_head_backward_plan *plan);
size_t aac_head_backward_scratch(const aac_head_backward_plan *plan);

typedef struct aac_head_backward_args {
    const void *normed;     // (images, rows, width), type: the matrix's input
    const float *projected; // (images, rows, embedding): before the L2 norm
    const float *dy;        // (rows, embedding) of the first image; with `mean` (embedding)
    int64_t apart;          /* stride from an image's dy to the next one's, in values */
    bool mean;              /* the result was the mean of an image's normalised rows */
    const aac_trained_projection *projection;
    float *back;   // (images, rows, width): gradient of `normed`
    bool more;     /* added to the current contents */
    float *buffer; // (images, rows, embedding)
    void *operand; // (images, rows, embedding), type; unused for float32
} aac_head_backward_args;

/* Adds to the gradient of the projection's matrix. */
aaclip_status aac_head_backward_run(const aac_head_backward_plan *plan,
                                    const aac_head_backward_args *args, void *scratch);

#endif
