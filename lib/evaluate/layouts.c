/* Data sets as folder trees: recognised by their content, read folder by folder. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/platform.h"
#include "evaluate/dataset.h"

#define SPLIT_TABLE "split_csv/1cls.csv"

typedef struct folder_layout folder_layout;

/* A folder that may hold one class of a layout. */
typedef struct class_folder {
    const folder_layout *layout;
    const char *path, *name;
} class_folder;

struct folder_layout {
    aaclip_dataset_layout layout;
    const char *marks[6]; /* folders of which a class must have one, or all */
    bool all_marks;
    const char *normal; /* name of the folders of normal images */
    aaclip_status (*read)(aac_dataset_reader *reader, const class_folder *category);
};

static const char *const image_endings[] = {".png", ".jpg", ".jpeg", ".bmp"};

static bool is_image(const char *name)
{
    for (size_t i = 0; name[0] != '.' && i < sizeof image_endings / sizeof *image_endings; i++)
        if (aac_path_has_ending(name, image_endings[i]))
            return true;
    return false;
}

/* A path that is too long counts as no folder. */
static aaclip_status has_folder(bool *has, const char *folder, const char *name)
{
    char path[AAC_PATH_SIZE];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    *has = false;
    return length > 0 && length < AAC_PATH_SIZE ? aac_path_is_folder(has, path) : AACLIP_OK;
}

/* Length of the name without its extension. */
static size_t stem_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

/* Images and, if there is a folder for them, masks of the same names. */
typedef struct image_folder {
    const char *class_name, *defect;
    int label;
    char images[AAC_PATH_SIZE], masks[AAC_PATH_SIZE];
    char **mask_names; /* NULL: masks are not looked for */
    size_t mask_count;
} image_folder;

/* The first of the sorted masks that may begin with image[0 .. length). */
static size_t first_mask(const image_folder *folder, const char *image, size_t length)
{
    size_t low = 0, high = folder->mask_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strncmp(folder->mask_names[middle], image, length) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* "000.png" has the mask "000.png" or "000_mask.png", whatever the extensions; NULL if none. */
static const char *mask_of(const image_folder *folder, const char *image)
{
    const size_t length = stem_length(image);
    for (size_t i = first_mask(folder, image, length); i < folder->mask_count; i++) {
        const char *mask = folder->mask_names[i];
        if (strncmp(mask, image, length) != 0)
            break;
        const size_t rest = stem_length(mask) - length;
        if (is_image(mask) && (rest == 0 || (rest == 5 && strncmp(mask + length, "_mask", 5) == 0)))
            return mask;
    }
    return NULL;
}

static aaclip_status add_image(aac_dataset_reader *reader, const image_folder *folder,
                               const char *name)
{
    char image[AAC_PATH_SIZE], mask[AAC_PATH_SIZE];
    aaclip_sample sample = {.class_name = folder->class_name,
                            .defect = folder->defect,
                            .label = folder->label,
                            .image_path = image};
    aaclip_status status = aac_path_join(image, folder->images, name);
    if (!status && folder->mask_names) {
        const char *mask_name = mask_of(folder, name);
        if (!mask_name)
            return aac_error(AACLIP_ERROR_NOT_FOUND,
                             "image %s: expected a mask %s/%.*s.png or %.*s_mask.png, found none",
                             image, folder->masks, (int)stem_length(name), name,
                             (int)stem_length(name), name);
        status = aac_path_join(mask, folder->masks, mask_name);
        sample.mask_path = mask;
    }
    return status ? status : aac_dataset_add(reader, &sample);
}

static aaclip_status list_masks(const aac_dataset_reader *reader, image_folder *folder)
{
    if (folder->label != 1 || reader->options.masks == AACLIP_MASKS_IGNORED)
        return AACLIP_OK;
    bool there;
    aaclip_status status = aac_path_is_folder(&there, folder->masks);
    if (status)
        return status;
    if (there)
        return aac_list_folder(&folder->mask_names, &folder->mask_count, folder->masks);
    if (reader->options.masks == AACLIP_MASKS_REQUIRED)
        return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: expected masks in %s, found no such folder",
                         folder->images, folder->masks);
    return AACLIP_OK;
}

static aaclip_status add_images(aac_dataset_reader *reader, image_folder *folder)
{
    if (!aac_dataset_wants_class(reader, folder->class_name))
        return AACLIP_OK;
    char **names;
    size_t count;
    aaclip_status status = aac_list_folder(&names, &count, folder->images);
    if (status)
        return status;
    status = list_masks(reader, folder);
    for (size_t i = 0; !status && i < count; i++)
        if (is_image(names[i]))
            status = add_image(reader, folder, names[i]);
    aac_list_free(names, count);
    aac_list_free(folder->mask_names, folder->mask_count);
    return status;
}

/* Where images of a kind ("good", "scratch") and their masks lie, given the kind's folder. */
static aaclip_status locate(image_folder *folder, const class_folder *category, const char *path)
{
    char truth[AAC_PATH_SIZE];
    bool parted;
    aaclip_status status = has_folder(&parted, path, "img");
    if (status)
        return status;
    if (parted) {
        status = aac_path_join(folder->images, path, "img");
        return status ? status : aac_path_join(folder->masks, path, "label");
    }
    memcpy(folder->images, path, strlen(path) + 1);
    status = aac_path_join(truth, category->path, "ground_truth");
    return status ? status : aac_path_join(folder->masks, truth, folder->defect);
}

static aaclip_status read_kind(aac_dataset_reader *reader, const class_folder *category,
                               const char *split, const char *kind)
{
    image_folder folder = {.class_name = category->name,
                           .defect = kind,
                           .label = strcmp(kind, category->layout->normal) != 0};
    char path[AAC_PATH_SIZE];
    aaclip_status status = aac_path_join(path, split, kind);
    if (!status)
        status = locate(&folder, category, path);
    return status ? status : add_images(reader, &folder);
}

static aaclip_status read_split(aac_dataset_reader *reader, const class_folder *category,
                                const char *name)
{
    char path[AAC_PATH_SIZE];
    bool there;
    aaclip_status status = has_folder(&there, category->path, name);
    if (status || !there)
        return status;
    char **kinds;
    size_t count;
    status = aac_path_join(path, category->path, name);
    if (!status)
        status = aac_list_folder(&kinds, &count, path);
    if (status)
        return status;
    for (size_t i = 0; !status && i < count; i++) {
        if (kinds[i][0] == '.')
            continue;
        status = has_folder(&there, path, kinds[i]);
        if (!status && there)
            status = read_kind(reader, category, path, kinds[i]);
    }
    aac_list_free(kinds, count);
    return status;
}

static aaclip_status read_tree(aac_dataset_reader *reader, const class_folder *category)
{
    static const struct {
        aaclip_dataset_split split;
        const char *name;
    } splits[] = {{AACLIP_SPLIT_TRAIN, "train"},
                  {AACLIP_SPLIT_VALIDATION, "valid"},
                  {AACLIP_SPLIT_VALIDATION, "validation"},
                  {AACLIP_SPLIT_TEST, "test"}};
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < sizeof splits / sizeof *splits; i++)
        if (aac_dataset_wants_split(reader, splits[i].split))
            status = read_split(reader, category, splits[i].name);
    return status;
}

/* Reads all images: only the table says which are for training. */
static aaclip_status read_visa(aac_dataset_reader *reader, const class_folder *category)
{
    if (reader->options.split != AACLIP_SPLIT_ALL)
        return aac_error(AACLIP_ERROR_NOT_FOUND,
                         "%s/" SPLIT_TABLE ": no such file; it lists VisA's training images",
                         reader->root);
    image_folder normal = {.class_name = category->name, .defect = "Normal", .label = 0};
    image_folder abnormal = {.class_name = category->name, .defect = "Anomaly", .label = 1};
    aaclip_status status = aac_path_join(normal.images, category->path, "Data/Images/Normal");
    if (!status)
        status = aac_path_join(abnormal.images, category->path, "Data/Images/Anomaly");
    if (!status)
        status = aac_path_join(abnormal.masks, category->path, "Data/Masks/Anomaly");
    if (!status)
        status = add_images(reader, &normal);
    return status ? status : add_images(reader, &abnormal);
}

static aaclip_status read_masked_folder(aac_dataset_reader *reader, const class_folder *category)
{
    image_folder folder = {.class_name = category->name, .label = 1};
    aaclip_status status = aac_path_join(folder.images, category->path, "images");
    if (!status)
        status = aac_path_join(folder.masks, category->path, "masks");
    return status ? status : add_images(reader, &folder);
}

/* In the order in which they are tried: BMAD and BTAD trees would also match MVTec's layout. */
static const folder_layout layouts[] = {
    {AACLIP_LAYOUT_BMAD,
     {"train/Ungood", "valid/Ungood", "test/Ungood", "train/good/img", "valid/good/img",
      "test/good/img"},
     false,
     "good",
     read_tree},
    {AACLIP_LAYOUT_BTAD, {"train/ok", "test/ok", "test/ko"}, false, "ok", read_tree},
    {AACLIP_LAYOUT_VISA, {"Data/Images"}, false, NULL, read_visa},
    {AACLIP_LAYOUT_MVTEC, {"train/good", "test/good", "ground_truth"}, false, "good", read_tree},
    {AACLIP_LAYOUT_MASKED_FOLDER, {"images", "masks"}, true, NULL, read_masked_folder},
};

static aaclip_status match(bool *matches, const folder_layout *layout, const char *folder)
{
    size_t found = 0, count = 0;
    aaclip_status status = AACLIP_OK;
    for (size_t limit = sizeof layout->marks / sizeof *layout->marks;
         !status && count < limit && layout->marks[count]; count++) {
        bool has;
        status = has_folder(&has, folder, layout->marks[count]);
        found += has;
    }
    *matches = !status && (layout->all_marks ? found == count : found > 0);
    return status;
}

/* Sets no error text, as skipping a folder is no error. */
static bool is_locked(const char *folder)
{
    char path[AAC_PATH_SIZE];
    int length = snprintf(path, sizeof path, "%s/.", folder);
    if (length < 0 || length >= AAC_PATH_SIZE || aac_path_kind_of(path) != AAC_PATH_FILE ||
        errno != EACCES)
        return false;
    aac_log(AACLIP_LOG_WARNING, "skipped: %s: %s", path, strerror(EACCES));
    return true;
}

/* A folder that may not be entered ("lost+found") is not a class. */
static aaclip_status match_class(bool *matches, const folder_layout *layout, const char *folder)
{
    bool enters;
    *matches = false;
    if (is_locked(folder))
        return AACLIP_OK;
    aaclip_status status = has_folder(&enters, folder, ".");
    return status || !enters ? status : match(matches, layout, folder);
}

/* The class name of a root that is itself a class's folder. */
static const char *root_class(const aac_dataset_reader *reader)
{
    if (reader->options.class_name)
        return reader->options.class_name;
    const char *name = aac_path_name(reader->root);
    const bool nameless = !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    return nameless ? "object" : name;
}

/* Reads the classes of one layout; *found says whether there are any. */
static aaclip_status read_classes(aac_dataset_reader *reader, const folder_layout *layout,
                                  bool *found)
{
    class_folder category = {layout, reader->root, root_class(reader)};
    aaclip_status status = match(found, layout, reader->root);
    if (status)
        return status;
    if (*found)
        return layout->read(reader, &category);
    char **names;
    size_t count;
    status = aac_list_folder(&names, &count, reader->root);
    if (status)
        return status;
    for (size_t i = 0; !status && i < count; i++) {
        char path[AAC_PATH_SIZE];
        bool matches = false;
        if (names[i][0] == '.')
            continue;
        status = aac_path_join(path, reader->root, names[i]);
        if (!status)
            status = match_class(&matches, layout, path);
        if (status || !matches)
            continue;
        *found = true;
        category.path = path;
        category.name = names[i];
        status = layout->read(reader, &category);
    }
    aac_list_free(names, count);
    return status;
}

static aaclip_status read_plain_folder(aac_dataset_reader *reader, bool *found)
{
    image_folder folder = {.class_name = root_class(reader), .label = -1};
    char **names;
    size_t count;
    aaclip_status status = aac_list_folder(&names, &count, reader->root);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++)
        *found |= is_image(names[i]);
    aac_list_free(names, count);
    memcpy(folder.images, reader->root,
           strlen(reader->root) + 1); /* dataset.c checked its length */
    return *found ? add_images(reader, &folder) : AACLIP_OK;
}

static aaclip_status no_layout(const aac_dataset_reader *reader)
{
    static const char *const expected[] = {
        [AACLIP_LAYOUT_MVTEC] = "{train/good,test/<defect>,ground_truth/<defect>} (MVTec, MPDD)",
        [AACLIP_LAYOUT_BTAD] = "{train/ok,test/{ok,ko},ground_truth/ko} (BTAD)",
        [AACLIP_LAYOUT_VISA] = "Data/{Images/{Normal,Anomaly},Masks/Anomaly} (VisA)",
        [AACLIP_LAYOUT_BMAD] = "{train,valid,test}/{good,Ungood}/{img,label} (BMAD)",
        [AACLIP_LAYOUT_MASKED_FOLDER] = "{images,masks} (polyps)",
        [AACLIP_LAYOUT_FOLDER] = "images (png, jpg, jpeg, bmp)",
    };
    const aaclip_dataset_layout layout = reader->options.layout;
    if (layout != AACLIP_LAYOUT_AUTO)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected %s%s, found none", reader->root,
                         expected[layout],
                         layout == AACLIP_LAYOUT_FOLDER ? "" : " in it or in its subfolders");
    return aac_error(AACLIP_ERROR_FORMAT,
                     "%s: expected full-shot.jsonl, or in it or in its subfolders one of %s, %s, "
                     "%s, %s, %s, or %s; found none",
                     reader->root, expected[AACLIP_LAYOUT_MVTEC], expected[AACLIP_LAYOUT_BTAD],
                     expected[AACLIP_LAYOUT_VISA], expected[AACLIP_LAYOUT_BMAD],
                     expected[AACLIP_LAYOUT_MASKED_FOLDER], expected[AACLIP_LAYOUT_FOLDER]);
}

/* Whether the root has VisA's table and a split is asked for. */
static bool has_split_table(const aac_dataset_reader *reader, char path[AAC_PATH_SIZE])
{
    const aaclip_dataset_layout layout = reader->options.layout;
    if (reader->options.split == AACLIP_SPLIT_ALL ||
        (layout != AACLIP_LAYOUT_AUTO && layout != AACLIP_LAYOUT_VISA))
        return false;
    int length = snprintf(path, AAC_PATH_SIZE, "%s/" SPLIT_TABLE, reader->root);
    return length > 0 && length < AAC_PATH_SIZE && aac_path_kind_of(path) == AAC_PATH_FILE;
}

aaclip_status aac_dataset_read_folders(aac_dataset_reader *reader)
{
    const aaclip_dataset_layout wanted = reader->options.layout;
    bool found = false;
    char table[AAC_PATH_SIZE];
    if (has_split_table(reader, table))
        return aac_dataset_read_table(reader, table);
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && !found && i < sizeof layouts / sizeof *layouts; i++)
        if (wanted == AACLIP_LAYOUT_AUTO || wanted == layouts[i].layout)
            status = read_classes(reader, &layouts[i], &found);
    if (!status && !found && (wanted == AACLIP_LAYOUT_AUTO || wanted == AACLIP_LAYOUT_FOLDER))
        status = read_plain_folder(reader, &found);
    return status || found ? status : no_layout(reader);
}
