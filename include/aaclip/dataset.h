/**
 * @file
 * Data sets on disk: their images, classes, labels and masks.
 */
#ifndef AACLIP_DATASET_H
#define AACLIP_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/export.h>
#include <aaclip/status.h>

AACLIP_BEGIN_DECLS

/** A list of samples. Immutable; may be read from several threads. Holds paths, no pixels. */
typedef struct aaclip_dataset aaclip_dataset;

/** How files are laid out. Without `<class>`, the root is the folder of one class. */
typedef enum aaclip_dataset_layout {
    AACLIP_LAYOUT_AUTO = 0,     /**< detected from the contents of the root */
    AACLIP_LAYOUT_MANIFEST = 1, /**< JSON lines: image_path, label, class_name, mask_path */
    /** MVTec AD, MPDD: `<class>/{train/good,test/<defect>,ground_truth/<defect>/NNN_mask.png}` */
    AACLIP_LAYOUT_MVTEC = 2,
    AACLIP_LAYOUT_BTAD = 3, /**< `<class>/{train/ok,test/{ok,ko},ground_truth/ko}` */
    /** `<class>/Data/{Images/{Normal,Anomaly},Masks/Anomaly}`, splits in `split_csv/1cls.csv` */
    AACLIP_LAYOUT_VISA = 4,
    /** BMAD: `<class>/{train,valid,test}/{good,Ungood}/{img,label}`, `img` is optional */
    AACLIP_LAYOUT_BMAD = 5,
    AACLIP_LAYOUT_MASKED_FOLDER = 6, /**< polyps: `<class>/{images,masks}`, all of them abnormal */
    AACLIP_LAYOUT_FOLDER = 7         /**< images in one folder, labels unknown */
} aaclip_dataset_layout;

/** Which split. A JSON-lines manifest, masked folders and a plain folder have none: all samples
 * count. */
typedef enum aaclip_dataset_split {
    AACLIP_SPLIT_ALL = 0,        /**< all splits */
    AACLIP_SPLIT_TRAIN = 1,      /**< for training */
    AACLIP_SPLIT_VALIDATION = 2, /**< for model selection (BMAD) */
    AACLIP_SPLIT_TEST = 3        /**< for testing */
} aaclip_dataset_split;

/** How masks of abnormal images are handled. */
typedef enum aaclip_dataset_masks {
    /** Where a layout has a mask folder (or a manifest line names a mask), each mask must exist. */
    AACLIP_MASKS_WHERE_GIVEN = 0,
    AACLIP_MASKS_REQUIRED = 1, /**< every abnormal image must have one */
    AACLIP_MASKS_IGNORED = 2   /**< masks are not looked for */
} aaclip_dataset_masks;

/** Which samples are listed. */
typedef struct aaclip_dataset_options {
    size_t size;                  /**< set by _init */
    aaclip_dataset_layout layout; /**< AACLIP_LAYOUT_AUTO */
    aaclip_dataset_split split;   /**< AACLIP_SPLIT_ALL */
    /**
     * The list of samples: JSON lines, or, if the name ends in .csv, a table in VisA's format
     * (columns object, split, label, image, mask). Its paths are relative to the root. NULL:
     * `full-shot.jsonl` in the root, if it exists.
     */
    const char *manifest;
    const char *const *classes; /**< only these; NULL: all */
    size_t class_count;         /**< of `classes` */
    aaclip_dataset_masks masks; /**< AACLIP_MASKS_WHERE_GIVEN */
    /** Name of the class when the root is the folder of one class; NULL: the folder's name. */
    const char *class_name;
    /** Files of the list may lie outside the root, by ".." or an absolute path; false: a line that
     * names such a file is an error. Links within the root are followed. */
    bool outside_paths;
    /** How training reads 16-bit images, as aaclip_image_open_window; both 0: as aaclip_image_open.
     * Not applied to masks. Programs that open samples themselves should do the same. */
    double window_low, /**< becomes 0 */
        window_high;   /**< becomes 255 */
} aaclip_dataset_options;

/** Everything below the root. `struct_size` is the caller's sizeof; use the macro. */
AACLIP_API aaclip_status aaclip_dataset_options_init_sized(aaclip_dataset_options *options,
                                                           size_t struct_size);
/** aaclip_dataset_options_init_sized of this version's struct. */
#define aaclip_dataset_options_init(options)                                                       \
    aaclip_dataset_options_init_sized((options), sizeof *(options))

/** One image. Belongs to the data set and lives as long as it; later versions append members. */
typedef struct aaclip_sample {
    const char *image_path; /**< can be opened as is */
    const char *mask_path;  /**< NULL: none; always NULL for normal images */
    const char *class_name; /**< of the object, for prompts and metrics */
    size_t class_index;     /**< of the data set's classes */
    const char *defect; /**< folder that names the kind of defect ("scratch", "good"); else NULL */
    int label;          /**< 0 normal, 1 abnormal, -1 unknown */
} aaclip_sample;

/**
 * Lists the samples below `root`: a folder, or a manifest file, whose folder is then the root.
 * Every listed file exists; folders are listed in byte order of their names. Hidden files and files
 * with extensions other than png, jpg, jpeg and bmp (in any case) are skipped. `options` may be
 * NULL. Close with aaclip_dataset_close. On failure *dataset is NULL.
 * Errors: NOT_FOUND (root, image, mask, class, or no image at all), FORMAT (no known layout, a
 * broken line of a manifest: "file:line: ...", or one that leaves the root), INVALID_ARGUMENT, IO,
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_dataset_open(aaclip_dataset **dataset, const char *root,
                                             const aaclip_dataset_options *options);

/** Releases the handle and sets *dataset to NULL; accepts NULL and a pointer to NULL. */
AACLIP_API void aaclip_dataset_close(aaclip_dataset **dataset);

/** Number of samples; 0 for NULL. */
AACLIP_API size_t aaclip_dataset_count(const aaclip_dataset *dataset);
/** A sample, which belongs to the data set; NULL past the end. */
AACLIP_API const aaclip_sample *aaclip_dataset_get(const aaclip_dataset *dataset, size_t index);

/** Number of classes; 0 for NULL. */
AACLIP_API size_t aaclip_dataset_class_count(const aaclip_dataset *dataset);
/** Name of a class, in order of first samples; NULL past the end. */
AACLIP_API const char *aaclip_dataset_class_name(const aaclip_dataset *dataset, size_t index);
/** Number of a class's samples with a label (0, 1 or -1); 0 past the end. */
AACLIP_API size_t aaclip_dataset_class_size(const aaclip_dataset *dataset, size_t index, int label);

/**
 * Few-shot: draws `shots` normal and `shots` abnormal samples of each class, 2 * shots images per
 * class; unlabelled samples count as a third kind. The paper counts both kinds together: its 2-shot
 * is one normal and one abnormal image, shots = 1 here, its 64-shot shots = 32. Where there are
 * fewer, all are taken and a warning is logged. The draw depends on the seed, the class's index and
 * the label; the order of samples is kept.
 * Errors: INVALID_ARGUMENT (no shots), OUT_OF_MEMORY. On failure *sampled is NULL.
 */
AACLIP_API aaclip_status aaclip_dataset_sample(aaclip_dataset **sampled,
                                               const aaclip_dataset *dataset, size_t shots,
                                               uint64_t seed);

/**
 * Writes the samples as a manifest, whole or not at all; paths below the root become relative to
 * it. The kind of defect is not kept. Errors: IO, INVALID_ARGUMENT (a name that is not UTF-8),
 * OUT_OF_MEMORY.
 */
AACLIP_API aaclip_status aaclip_dataset_save_manifest(const aaclip_dataset *dataset,
                                                      const char *path);

AACLIP_END_DECLS

#endif
