#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system.h"

#define MODELS GOLDEN_DIR "/model"
#define IMAGES GOLDEN_DIR "/train/images"
#define SIDE   56

static aaclip_status open_model_at(const char *path)
{
    aaclip_model *model = NULL;
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.threads = 1;
    aaclip_status status = aaclip_model_open(&model, path, &options);
    aaclip_model_close(&model);
    return status;
}

static aaclip_status openai_model(session *all)
{
    (void)all;
    return open_model_at(NANO_MODEL);
}

static aaclip_status state_dict(session *all)
{
    (void)all;
    return open_model_at(MODELS "/state-dict-document/clip.pt");
}

static aaclip_status huggingface_model(session *all)
{
    (void)all;
    return open_model_at(MODELS "/huggingface-document-plain/clip");
}

static aaclip_status openclip_model(session *all)
{
    (void)all;
    return open_model_at(MODELS "/openclip-document/clip");
}

static aaclip_status bundled_model(session *all)
{
    return open_model_at(all->bundle.path);
}

static aaclip_status save_model(session *all)
{
    return aaclip_model_save(all->all.model, all->out.path, false);
}

static aaclip_status save_half_model(session *all)
{
    return aaclip_model_save(all->all.model, all->out.path, true);
}

static aaclip_status open_published(session *all)
{
    aaclip_adapters *adapters = NULL;
    aaclip_status status = try_adapters(&adapters, all->all.model, "published");
    aaclip_adapters_close(&adapters);
    return status;
}

static aaclip_status open_own_adapters(session *all)
{
    aaclip_adapters *adapters = NULL;
    const char *const paths[] = {all->adapters.path};
    aaclip_status status = aaclip_adapters_open(&adapters, all->all.model, paths, 1, NULL);
    aaclip_adapters_close(&adapters);
    return status;
}

static aaclip_status save_adapters(session *all)
{
    return aaclip_adapters_save(all->all.adapters, all->out.path);
}

static aaclip_status save_calibrated(session *all)
{
    aaclip_calibration calibration;
    must(aaclip_calibration_init(&calibration));
    return aaclip_adapters_save_calibrated(all->all.adapters, &calibration, all->out.path);
}

static aaclip_status build_vectors(session *all)
{
    aaclip_text_cache *cache = NULL;
    aaclip_text_cache_options options;
    must(aaclip_text_cache_options_init(&options));
    options.prompts = all->prompts.path;
    options.vocabulary = all->merges.path;
    aaclip_status status =
        aaclip_text_cache_new(&cache, all->all.model, all->all.adapters, &options);
    if (!status)
        status = build_classes(cache);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status open_cache(session *all)
{
    aaclip_text_cache *cache = NULL;
    aaclip_status status =
        aaclip_text_cache_open(&cache, all->all.model, all->all.adapters, all->cache.path, NULL);
    aaclip_text_cache_close(&cache);
    return status;
}

static aaclip_status save_cache(session *all)
{
    return aaclip_text_cache_save(all->all.cache, all->out.path);
}

static aaclip_status save_bundle(session *all)
{
    return aaclip_bundle_save(all->all.model, all->all.adapters, all->all.cache, all->out.path,
                              true);
}

static aaclip_status verify(session *all)
{
    return aaclip_verify_file(all->bundle.path);
}

static aaclip_status open_image(const char *path)
{
    aaclip_image *image = NULL;
    aaclip_status status = aaclip_image_open(&image, path);
    aaclip_image_close(&image);
    return status;
}

static aaclip_status read_bitmap(session *all)
{
    (void)all;
    return open_image(GOLDEN_DIR "/images/bits8.bmp");
}

static const float some_values[4] = {0, 0.25f, 0.5f, 1};

#ifdef AAC_HAVE_PNG
static aaclip_status read_png(session *all)
{
    (void)all;
    return open_image(PHOTO);
}

static aaclip_status write_png(session *all)
{
    const aaclip_image_view view = aaclip_image_get_view(all->all.image);
    return aaclip_write_png(all->out.path, &view);
}
#endif

static aaclip_status write_npy(session *all)
{
    return aaclip_write_npy(all->out.path, some_values, (const size_t[]){2, 2}, 2);
}

static aaclip_status save_calibration(session *all)
{
    aaclip_calibration calibration;
    must(aaclip_calibration_init(&calibration));
    return aaclip_calibration_save(&calibration, all->out.path);
}

static aaclip_status open_calibration(session *all)
{
    aaclip_calibration calibration;
    must(aaclip_calibration_init(&calibration));
    return aaclip_calibration_load(&calibration, all->calibration.path);
}

/* What the data set is goes into a manifest, so that another one would show. */
static aaclip_status read_dataset(session *all, const char *root)
{
    aaclip_dataset *dataset = NULL;
    aaclip_status status = aaclip_dataset_open(&dataset, root, NULL);
    if (!status)
        status = aaclip_dataset_save_manifest(dataset, all->out.path);
    aaclip_dataset_close(&dataset);
    return status;
}

static aaclip_status read_manifest(session *all)
{
    return read_dataset(all, TRAINING_SET);
}

static aaclip_status read_tree(session *all)
{
    return read_dataset(all, all->tree.path);
}

static aaclip_status detect_packed(session *all, const char *folder)
{
    fixture own = {.model = NULL};
    aaclip_detector *detector = NULL;
    const char *const paths[] = {all->bundle.path};
    aaclip_model_options options;
    must(aaclip_model_options_init(&options));
    options.threads = 1;
    options.packed_folder = folder;
    aaclip_status status = aaclip_model_open(&own.model, paths[0], &options);
    if (!status)
        status = aaclip_adapters_open(&own.adapters, own.model, paths, 1, NULL);
    if (!status)
        status = aaclip_text_cache_open(&own.cache, own.model, own.adapters, paths[0], NULL);
    if (!status)
        status = new_detector(&detector, &own, false);
    aaclip_result result = {.size = sizeof result};
    const aaclip_image_view view = aaclip_image_get_view(all->all.image);
    if (!status)
        status = aaclip_detector_detect(detector, &view, "wood", &result);
    if (!status) /* other weights would show */
        status = aaclip_write_npy(all->out.path, result.map,
                                  (const size_t[]){result.map_height, result.map_width}, 2);
    aaclip_detector_close(&detector);
    fixture_close(&own);
    return status;
}

static aaclip_status pack(session *all)
{
    if (system_remove(all->packed.path) != 0 || system_make_folder(all->packed.path) != 0)
        return AACLIP_ERROR_CANCELLED;
    return detect_packed(all, all->packed.path);
}

static aaclip_status use_packed(session *all)
{
    return detect_packed(all, all->kept_packed.path);
}

static aaclip_status new_trainer(session *all, aaclip_trainer **trainer, aaclip_stage stage)
{
    aaclip_trainer_options options;
    must(aaclip_trainer_options_init(&options, stage, AACLIP_PROFILE_PUBLISHED));
    options.image_size = SIDE;
    options.batch_size = 4;
    options.loader_threads = 1;
    options.log = all->log.path;
    if (stage == AACLIP_STAGE_TEXT)
        options.prompts = all->prompts.path;
    return aaclip_trainer_new(trainer, all->all.model, all->dataset,
                              stage == AACLIP_STAGE_IMAGE ? all->all.cache : NULL, &options);
}

static aaclip_status start(session *all, aaclip_stage stage)
{
    aaclip_trainer *trainer = NULL;
    aaclip_status status = new_trainer(all, &trainer, stage);
    aaclip_trainer_close(&trainer);
    return status;
}

static aaclip_status start_text(session *all)
{
    return start(all, AACLIP_STAGE_TEXT);
}

static aaclip_status start_image(session *all)
{
    return start(all, AACLIP_STAGE_IMAGE);
}

static aaclip_status train_text(session *all)
{
    return aaclip_trainer_epoch(all->text, NULL);
}

static aaclip_status train_image(session *all)
{
    return aaclip_trainer_epoch(all->image, NULL);
}

static aaclip_status evaluate_text(session *all)
{
    aaclip_losses losses = {.size = sizeof losses};
    return aaclip_trainer_evaluate(all->text, all->dataset, &losses);
}

static aaclip_status evaluate_image(session *all)
{
    aaclip_losses losses = {.size = sizeof losses};
    return aaclip_trainer_evaluate(all->image, all->dataset, &losses);
}

static aaclip_status save_text_state(session *all)
{
    return aaclip_trainer_save(all->text, all->torch_out.path);
}

static aaclip_status save_image_state(session *all)
{
    return aaclip_trainer_save(all->image, all->out.path);
}

static aaclip_status load_text_state(session *all)
{
    return aaclip_trainer_load(all->text, all->text_state.path);
}

/* From a known state one epoch on, which must lead to the same state whatever went wrong before. */
static aaclip_status resume(aaclip_trainer *trainer, const char *state, const char *out)
{
    aaclip_status status = aaclip_trainer_load(trainer, state);
    if (!status)
        status = aaclip_trainer_epoch(trainer, NULL);
    return status ? status : aaclip_trainer_save(trainer, out);
}

static aaclip_status resume_text(session *all)
{
    return resume(all->text, all->text_state.path, all->torch_out.path);
}

static aaclip_status resume_image(session *all)
{
    return resume(all->image, all->image_state.path, all->out.path);
}

const session_call session_calls[] = {
    {"open OpenAI's model", openai_model, false},
    {"open a state dict", state_dict, false},
    {"open Hugging Face's model", huggingface_model, false},
    {"open open_clip's model", openclip_model, false},
    {"open a bundle", bundled_model, false},
    {"save the model", save_model, false},
    {"save the model in float16", save_half_model, false},
    {"open published adapters", open_published, false},
    {"open own adapters", open_own_adapters, false},
    {"save adapters", save_adapters, false},
    {"save calibrated adapters", save_calibrated, false},
    {"build text vectors", build_vectors, false},
    {"open a text cache", open_cache, false},
    {"save the text cache", save_cache, false},
    {"save a bundle", save_bundle, false},
    {"verify a bundle", verify, false},
    {"read a BMP", read_bitmap, false},
#ifdef AAC_HAVE_PNG
    {"read a PNG", read_png, false},
    {"write a PNG", write_png, false},
#endif
    {"write a NumPy file", write_npy, false},
    {"save a calibration", save_calibration, false},
    {"open a calibration", open_calibration, false},
    {"read a manifest", read_manifest, false},
    {"read a tree of images", read_tree, false},
    {"pack weights", pack, true},
    {"take packed weights", use_packed, true},
    {"start stage 1", start_text, false},
    {"train stage 1", train_text, false},
    {"evaluate stage 1", evaluate_text, false},
    {"save stage 1", save_text_state, false},
    {"load stage 1", load_text_state, false},
    {"resume stage 1", resume_text, false},
    {"start stage 2", start_image, false},
    {"train stage 2", train_image, false},
    {"evaluate stage 2", evaluate_image, false},
    {"save stage 2", save_image_state, false},
    {"resume stage 2", resume_image, false},
};
const size_t session_call_count = sizeof session_calls / sizeof *session_calls;

static void copy_file(const char *to, const char *from)
{
    static char bytes[1 << 20];
    FILE *source = fopen(from, "rb"), *target = fopen(to, "wb");
    size_t size = source && target ? fread(bytes, 1, sizeof bytes, source) : 0;
    if (!size || fwrite(bytes, 1, size, target) != size || fclose(target) != 0) {
        perror(to);
        abort();
    }
    fclose(source);
}

/* MVTec AD's layout: one class, a normal image, an abnormal one and its mask. */
static void make_tree(session *all)
{
    static const char *const folders[] = {
        "",           "/wood",           "/wood/train",        "/wood/train/good",
        "/wood/test", "/wood/test/hole", "/wood/ground_truth", "/wood/ground_truth/hole"};
    static const char *const files[][2] = {
        {"wood/train/good/0.png", IMAGES "/0-wood-good.png"},
        {"wood/test/hole/2.png", IMAGES "/2-wood-hole.png"},
        {"wood/ground_truth/hole/2_mask.png", IMAGES "/2-wood-hole_mask.png"},
    };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s%s", all->tree.path, folders[i]);
        if (system_make_folder(path) != 0)
            abort();
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", all->tree.path, files[i][0]);
        copy_file(path, files[i][1]);
    }
}

/* Vectors as they come; text adapters of other tests would cost more. */
static void add_classes(session *all)
{
    float vectors[2][4096] = {{0}};
    vectors[0][0] = vectors[1][1] = 1;
    must(aaclip_text_cache_new(&all->all.cache, all->all.model, all->all.adapters, NULL));
    must(aaclip_text_cache_add(all->all.cache, "wood", vectors[0], vectors[1]));
    must(aaclip_text_cache_add(all->all.cache, "metal_nut", vectors[1], vectors[0]));
}

static void name_files(session *all)
{
    const struct {
        scratch_file *file;
        const char *name;
    } files[] = {
        {&all->prompts, "prompts.json"},
        {&all->merges, "merges.txt"},
        {&all->tree, "tree"},
        {&all->log, "log.jsonl"},
        {&all->packed, "packed"},
        {&all->kept_packed, "packed-kept"},
        {&all->bundle, "bundle"},
        {&all->cache, "cache"},
        {&all->adapters, "adapters"},
        {&all->calibration, "calibration.json"},
        {&all->text_state, "text.pth"},
        {&all->image_state, "image.safetensors"},
        {&all->out, "out"},
        {&all->torch_out, "out.pth"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        *files[i].file = scratch_path(all->folder, files[i].name);
}

static void make_files(session *all)
{
    aaclip_calibration calibration;
    must(aaclip_calibration_init(&calibration));
    must(aaclip_calibration_save(&calibration, all->calibration.path));
    must(aaclip_bundle_save(all->all.model, all->all.adapters, all->all.cache, all->bundle.path,
                            false));
    must(aaclip_text_cache_save(all->all.cache, all->cache.path));
    must(aaclip_adapters_save(all->all.adapters, all->adapters.path));
    must(aaclip_trainer_save(all->image, all->image_state.path));
    must(aaclip_trainer_save(all->text, all->text_state.path));
    must(use_packed(all));
    system_remove(all->out.path);
}

void session_open(session *all, const char *folder)
{
    *all = (session){.folder = folder};
    name_files(all);
    scratch_write(all->prompts.path,
                  "{\"normal\": [\"{}\"], \"abnormal\": [\"bad {}\"],"
                  " \"templates\": [\"a {}\"]}");
    copy_file(all->merges.path, NANO "/bpe_simple_vocab_16e6.txt.gz");
    make_tree(all);
    if (system_make_folder(all->packed.path) != 0 || system_make_folder(all->kept_packed.path) != 0)
        abort();
    all->all.model = open_model(NULL, 1);
    all->all.adapters = open_adapters(all->all.model, "published");
    add_classes(all);
    must(aaclip_image_open(&all->all.image, GOLDEN_DIR "/images/bits8.bmp"));
    aaclip_dataset *whole = open_training_set();
    must(aaclip_dataset_sample(&all->dataset, whole, 1, 0)); /* four images */
    aaclip_dataset_close(&whole);
    must(new_trainer(all, &all->text, AACLIP_STAGE_TEXT));
    must(new_trainer(all, &all->image, AACLIP_STAGE_IMAGE));
    make_files(all);
}

void session_close(session *all)
{
    aaclip_trainer_close(&all->text);
    aaclip_trainer_close(&all->image);
    aaclip_dataset_close(&all->dataset);
    fixture_close(&all->all);
}
