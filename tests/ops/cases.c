#include "cases.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const aac_dtype float_types[] = {AAC_F32, AAC_BF16, AAC_F16};

static void visit_linear(void (*visit)(const aac_op_desc *, void *), void *user)
{
    static const int64_t shapes[][3] = {
        {1, 1, 1},      {1, 7, 13},     {7, 13, 1},    {3, 1, 5},     {13, 31, 7},
        {5, 588, 64},   {37, 64, 192},  {49, 96, 33},  {77, 65, 130}, {128, 256, 64},
        {257, 64, 257}, {197, 48, 520}, {29, 2100, 40}};
    static const struct {
        aac_activation activation;
        bool bias, accumulate;
    } epilogues[] = {{AAC_ACTIVATION_NONE, false, false},      {AAC_ACTIVATION_NONE, true, false},
                     {AAC_ACTIVATION_NONE, true, true},        {AAC_ACTIVATION_NONE, false, true},
                     {AAC_ACTIVATION_QUICK_GELU, true, false}, {AAC_ACTIVATION_GELU, true, false},
                     {AAC_ACTIVATION_LEAKY_RELU, false, false}};
    static const aac_dtype types[][2] = {{AAC_F32, AAC_F32},
                                         {AAC_BF16, AAC_BF16},
                                         {AAC_BF16, AAC_F32},
                                         {AAC_F16, AAC_F16},
                                         {AAC_F16, AAC_F32}};
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (size_t e = 0; e < COUNT(epilogues); e++)
            for (size_t t = 0; t < COUNT(types); t++) {
                aac_op_desc desc = {.op = AAC_OP_LINEAR,
                                    .linear = {shapes[s][0], shapes[s][1], shapes[s][2],
                                               types[t][0], types[t][1], epilogues[e].activation,
                                               0.2f, epilogues[e].bias, epilogues[e].accumulate,
                                               false, false}};
                if (epilogues[e].accumulate && types[t][1] != AAC_F32)
                    continue;
                visit(&desc, user);
                desc.linear.quantized = true;
                visit(&desc, user);
                desc.linear.quantized = false;
                desc.linear.transposed = true;
                if (!desc.linear.bias && !desc.linear.activation)
                    visit(&desc, user);
            }
}

/* `reference` is slow: long sequences come with small heads only, and once with two. */
static void visit_attention(void (*visit)(const aac_op_desc *, void *), void *user)
{
    for (int kind = AAC_ATTENTION_FULL; kind <= AAC_ATTENTION_CAUSAL; kind++) {
        const aac_op_desc several = {.op = AAC_OP_ATTENTION_BACKWARD,
                                     .attention = {.longest = 130,
                                                   .heads = 2,
                                                   .head_size = 64,
                                                   .kind = (aac_attention_kind)kind,
                                                   .type = AAC_BF16}};
        visit(&several, user);
    }
    static const int64_t lengths[] = {1, 2, 5, 77, 127, 128, 129, 256, 257, 300, 512, 600};
    static const int64_t heads[][2] = {{1, 8}, {2, 16}, {1, 64}, {3, 64}, {3, 24}, {2, 80}};
    static const aac_attention_kind kinds[] = {AAC_ATTENTION_FULL, AAC_ATTENTION_CAUSAL,
                                               AAC_ATTENTION_VALUE};
    for (size_t l = 0; l < COUNT(lengths); l++)
        for (size_t h = 0; h < COUNT(heads); h++)
            for (size_t k = 0; k < COUNT(kinds); k++) {
                const bool usual = heads[h][1] == 64; /* the size that kernels are made for */
                const int64_t work = lengths[l] * heads[h][1] * (usual ? heads[h][0] : 1);
                for (int variant = 0; variant < 6 && work <= (usual ? 19200 : 9600); variant++) {
                    const aac_op_desc desc = {.op = AAC_OP_ATTENTION,
                                              .attention = {.longest = lengths[l],
                                                            .uniform = variant & 1,
                                                            .heads = heads[h][0],
                                                            .head_size = heads[h][1],
                                                            .kind = kinds[k],
                                                            .type = float_types[variant / 2]}};
                    visit(&desc, user);
                    aac_op_desc backward = desc;
                    backward.op = AAC_OP_ATTENTION_BACKWARD;
                    if (kinds[k] != AAC_ATTENTION_VALUE && work <= (usual ? 8256 : 2400))
                        visit(&backward, user);
                }
            }
}

static void visit_trees(void (*visit)(const aac_op_desc *, void *), void *user)
{
    static const int64_t trees[][2] = {{1, 1}, {5, 1}, {7, 7}, {130, 12}, {300, 77}, {77, 77}};
    static const int64_t heads[][2] = {{1, 8}, {3, 24}, {1, 64}};
    for (size_t t = 0; t < COUNT(trees); t++)
        for (size_t h = 0; h < COUNT(heads); h++)
            for (int variant = 0; variant < 6; variant++) {
                const aac_op_desc desc = {.op = variant & 1 ? AAC_OP_ATTENTION_BACKWARD
                                                            : AAC_OP_ATTENTION,
                                          .attention = {.longest = trees[t][1],
                                                        .heads = heads[h][0],
                                                        .head_size = heads[h][1],
                                                        .kind = AAC_ATTENTION_TREE,
                                                        .type = float_types[variant / 2],
                                                        .rows = trees[t][0]}};
                visit(&desc, user);
            }
}

/* Rows, sources, columns: fewer, as many and more rows than sources. */
static void visit_gathers(void (*visit)(const aac_op_desc *, void *), void *user)
{
    static const int64_t shapes[][3] = {
        {1, 1, 1}, {3, 9, 7}, {9, 9, 64}, {50, 6, 300}, {112, 577, 768}};
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t t = 0; t < COUNT(float_types); t++) {
            aac_op_desc desc = {
                .op = AAC_OP_GATHER,
                .gather = {shapes[i][0], shapes[i][1], shapes[i][2], float_types[t]}};
            visit(&desc, user);
            desc.op = AAC_OP_GATHER_BACKWARD;
            if (float_types[t] == AAC_F32)
                visit(&desc, user);
        }
}

static void visit_gradients(void (*visit)(const aac_op_desc *, void *), void *user)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {1, 7, 13},  {7, 13, 1},   {13, 31, 7},
                                        {37, 64, 33}, {300, 5, 9}, {129, 96, 64}};
    static const int64_t maps[][2] = {{1, 1}, {3, 1}, {2, 7}, {5, 70}, {8, 112}, {37, 129}};
    static const int64_t counts[] = {1, 15, 1000, 40000};
    static const int64_t classes[][2] = {{1, 5}, {3, 64}, {8, 768}};
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t t = 0; t < COUNT(float_types); t++) {
            const aac_op_desc desc = {
                .op = AAC_OP_LINEAR_GRADIENT,
                .linear_gradient = {shapes[i][0], shapes[i][1], shapes[i][2], float_types[t]}};
            visit(&desc, user);
        }
    for (size_t i = 0; i < COUNT(maps); i++)
        for (int balanced = 0; balanced < 2; balanced++) {
            const aac_op_desc desc = {
                .op = AAC_OP_SEGMENTATION_LOSS,
                .segmentation_loss = {1 + (int64_t)i % 3, maps[i][0], maps[i][1], balanced}};
            visit(&desc, user);
        }
    for (size_t i = 0; i < COUNT(classes); i++) {
        const aac_op_desc desc = {.op = AAC_OP_CLASSIFICATION_LOSS,
                                  .classification_loss = {classes[i][0], classes[i][1]}};
        visit(&desc, user);
    }
    for (size_t i = 0; i < COUNT(counts); i++) {
        const aac_op_desc desc = {.op = AAC_OP_ADAM, .adam = {counts[i]}};
        visit(&desc, user);
        for (int more = 0; more < 3; more++) { /* see put_infinite */
            const aac_op_desc finite = {.op = AAC_OP_FINITE, .finite = {counts[i] + more}};
            visit(&finite, user);
        }
    }
}

static void visit_activations(void (*visit)(const aac_op_desc *, void *), void *user)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {37, 64}, {5, 3072}};
    static const aac_activation kinds[] = {AAC_ACTIVATION_NONE, AAC_ACTIVATION_QUICK_GELU,
                                           AAC_ACTIVATION_GELU, AAC_ACTIVATION_LEAKY_RELU};
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (size_t k = 0; k < COUNT(kinds); k++)
            for (int variant = 0; variant < 6; variant++) {
                const aac_op_desc desc = {.op = variant & 1 ? AAC_OP_ACTIVATE_BACKWARD
                                                            : AAC_OP_ACTIVATE,
                                          .activate = {shapes[s][0], shapes[s][1], kinds[k], 0.2f,
                                                       float_types[variant / 2]}};
                visit(&desc, user);
            }
}

/* With one column a row cannot turn: the gradient is zero and its relative error says
 * nothing.
 */
static bool turns(aac_op op)
{
    return op == AAC_OP_BLEND_BACKWARD || op == AAC_OP_NORMALIZE_BACKWARD ||
           op == AAC_OP_LAYER_NORM_BACKWARD;
}

static void visit_rows(void (*visit)(const aac_op_desc *, void *), void *user)
{
    static const int64_t shapes[][2] = {{1, 1},    {1, 13},    {7, 1},     {7, 13},   {37, 64},
                                        {50, 768}, {129, 257}, {33, 1024}, {1370, 96}};
    for (size_t s = 0; s < COUNT(shapes); s++) {
        int64_t rows = shapes[s][0], columns = shapes[s][1];
        const aac_op_desc descs[] = {
            {.op = AAC_OP_LAYER_NORM, .layer_norm = {rows, columns, AAC_F32, 1e-5f}},
            {.op = AAC_OP_LAYER_NORM, .layer_norm = {rows, columns, AAC_BF16, 1e-3f}},
            {.op = AAC_OP_LAYER_NORM, .layer_norm = {rows, columns, AAC_F16, 1e-3f}},
            {.op = AAC_OP_BLEND, .blend = {rows, columns, 0.1f}},
            {.op = AAC_OP_BLEND, .blend = {rows, columns, 1.0f}},
            {.op = AAC_OP_NORMALIZE, .normalize = {rows, columns, false}},
            {.op = AAC_OP_NORMALIZE, .normalize = {rows, columns, true}},
            {.op = AAC_OP_CONVERT, .convert = {rows, columns, AAC_F32, AAC_BF16}},
            {.op = AAC_OP_CONVERT, .convert = {rows, columns, AAC_BF16, AAC_F32}},
            {.op = AAC_OP_CONVERT, .convert = {rows, columns, AAC_F32, AAC_F16}},
            {.op = AAC_OP_CONVERT, .convert = {rows, columns, AAC_F16, AAC_F32}},
            {.op = AAC_OP_SIMILARITY, .similarity = {rows, columns, 100.0f}},
            {.op = AAC_OP_LAYER_NORM_BACKWARD, .layer_norm = {rows, columns, AAC_F32, 1e-5f}},
            {.op = AAC_OP_LAYER_NORM_BACKWARD, .layer_norm = {rows, columns, AAC_BF16, 1e-5f}},
            {.op = AAC_OP_BLEND_BACKWARD, .blend = {rows, columns, 0.1f}},
            {.op = AAC_OP_BLEND_BACKWARD, .blend = {rows, columns, 1.0f}},
            {.op = AAC_OP_NORMALIZE_BACKWARD, .normalize = {rows, columns, false}},
            {.op = AAC_OP_NORMALIZE_BACKWARD, .normalize = {rows, columns, true}},
            {.op = AAC_OP_SIMILARITY_BACKWARD, .similarity = {rows, columns, 100.0f}},
        };
        for (size_t i = 0; i < COUNT(descs); i++)
            if (columns > 1 || !turns(descs[i].op))
                visit(&descs[i], user);
    }
}

static void visit_images(void (*visit)(const aac_op_desc *, void *), void *user)
{
    static const int64_t patches[][2] = {{14, 14}, {28, 14}, {70, 14}, {96, 32}, {5, 1}, {48, 16}};
    static const int64_t maps[][4] = {{1, 5, 70, 7}, {4, 37, 518, 7}, {4, 37, 518, 9},
                                      {2, 6, 83, 9}, {3, 4, 1, 7},    {1, 8, 8, 9}};
    for (size_t i = 0; i < COUNT(patches); i++)
        for (size_t t = 0; t < COUNT(float_types); t++) {
            const aac_op_desc desc = {.op = AAC_OP_PATCHES,
                                      .patches = {.size = patches[i][0],
                                                  .patch = patches[i][1],
                                                  .mean = {0.485f, 0.456f, 0.406f},
                                                  .deviation = {0.229f, 0.224f, 0.225f},
                                                  .y = float_types[t]}};
            visit(&desc, user);
        }
    for (size_t i = 0; i < COUNT(maps); i++) {
        const aac_op_desc desc = {.op = AAC_OP_ANOMALY_MAP,
                                  .anomaly_map = {maps[i][0], maps[i][1], maps[i][2], maps[i][3],
                                                  maps[i][3] == 9 ? 1.5f : 1.0f}};
        visit(&desc, user);
    }
}

void visit_cases(void (*visit)(const aac_op_desc *desc, void *user), void *user)
{
    visit_linear(visit, user);
    visit_attention(visit, user);
    visit_rows(visit, user);
    visit_images(visit, user);
    visit_activations(visit, user);
    visit_gradients(visit, user);
    visit_trees(visit, user);
    visit_gathers(visit, user);
}
