/* Every layout, with the folder and file names of the real data sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#ifndef _WIN32
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <aaclip/dataset.h>

#include "failing_allocator.h"
#include "scratch_tree.h"

static void make_images(const char *root, const char *const *paths)
{
    for (; *paths; paths++)
        scratch_tree_image(root, *paths);
}

/* The samples as text, one per line: label class defect image mask, paths without the root. */
static const char *describe(const aaclip_dataset *dataset, const char *root)
{
    static char text[8192];
    size_t length = 0, skipped = strlen(root) + 1;
    for (size_t i = 0; i < aaclip_dataset_count(dataset); i++) {
        const aaclip_sample *sample = aaclip_dataset_get(dataset, i);
        assert_int_equal(strncmp(sample->image_path, root, skipped - 1), 0);
        assert_string_equal(sample->class_name,
                            aaclip_dataset_class_name(dataset, sample->class_index));
        length += (size_t)snprintf(
            text + length, sizeof text - length, "%d %s %s %s %s\n", sample->label,
            sample->class_name, sample->defect ? sample->defect : "-", sample->image_path + skipped,
            sample->mask_path ? sample->mask_path + skipped : "-");
        assert_true(length < sizeof text);
    }
    return text;
}

static aaclip_dataset_options defaults(void)
{
    aaclip_dataset_options options;
    assert_int_equal(aaclip_dataset_options_init(&options), AACLIP_OK);
    return options;
}

static void expect(const char *root, const aaclip_dataset_options *options, const char *expected)
{
    aaclip_dataset *dataset;
    if (aaclip_dataset_open(&dataset, root, options))
        fail_msg("%s", aaclip_last_error());
    assert_string_equal(describe(dataset, root), expected);
    aaclip_dataset_close(&dataset);
}

static void expect_failure(const char *root, const aaclip_dataset_options *options,
                           aaclip_status status, const char *text)
{
    aaclip_dataset *dataset = (aaclip_dataset *)root;
    assert_int_equal(aaclip_dataset_open(&dataset, root, options), status);
    assert_null(dataset);
    if (!strstr(aaclip_last_error(), text))
        fail_msg("expected \"%s\" in \"%s\"", text, aaclip_last_error());
}

static void make_mvtec(const char *root)
{
    make_images(root,
                (const char *const[]){
                    "bottle/train/good/000.png", "bottle/train/good/001.png",
                    "bottle/test/broken_large/000.png", "bottle/test/broken_large/001.png",
                    "bottle/test/good/000.png", "bottle/ground_truth/broken_large/000_mask.png",
                    "bottle/ground_truth/broken_large/001_mask.png", "metal_nut/train/good/000.png",
                    "metal_nut/test/flip/000.png", "metal_nut/ground_truth/flip/000_mask.png",
                    ".bottle_before/train/good/000.png", ".bottle_before/test/good/000.png", NULL});
    scratch_tree_text(root, "bottle/license.txt", "CC BY-NC-SA 4.0");
    scratch_tree_text(root, "license.txt", "CC BY-NC-SA 4.0");
    scratch_tree_text(root, "bottle/test/good/Thumbs.db", "");
    scratch_tree_text(root, "bottle/test/good/._000.png", "");
}

static void mvtec(void **state)
{
    const char *root = *state;
    make_mvtec(root);
    static const char train[] =
        "0 bottle good bottle/train/good/000.png -\n"
        "0 bottle good bottle/train/good/001.png -\n";
    static const char test[] =
        "1 bottle broken_large bottle/test/broken_large/000.png "
        "bottle/ground_truth/broken_large/000_mask.png\n"
        "1 bottle broken_large bottle/test/broken_large/001.png "
        "bottle/ground_truth/broken_large/001_mask.png\n"
        "0 bottle good bottle/test/good/000.png -\n";
    static const char nut_train[] = "0 metal_nut good metal_nut/train/good/000.png -\n";
    static const char nut_test[] =
        "1 metal_nut flip metal_nut/test/flip/000.png metal_nut/ground_truth/flip/000_mask.png\n";
    char expected[2048];
    aaclip_dataset_options options = defaults();
    snprintf(expected, sizeof expected, "%s%s%s%s", train, test, nut_train, nut_test);
    expect(root, NULL, expected);
    options.layout = AACLIP_LAYOUT_MVTEC;
    options.split = AACLIP_SPLIT_TRAIN;
    snprintf(expected, sizeof expected, "%s%s", train, nut_train);
    expect(root, &options, expected);
    options.split = AACLIP_SPLIT_TEST;
    snprintf(expected, sizeof expected, "%s%s", test, nut_test);
    expect(root, &options, expected);
    options.classes = (const char *const[]){"metal_nut"};
    options.class_count = 1;
    expect(root, &options, nut_test);
    options.classes = (const char *const[]){"metal_nut", "screw"};
    options.class_count = 2;
    expect_failure(root, &options, AACLIP_ERROR_NOT_FOUND,
                   "no images of the class \"screw\" of the split \"test\"");
    options = defaults();
    options.masks = AACLIP_MASKS_IGNORED;
    options.split = AACLIP_SPLIT_TEST;
    options.classes = (const char *const[]){"metal_nut"};
    options.class_count = 1;
    expect(root, &options, "1 metal_nut flip metal_nut/test/flip/000.png -\n");
    options.split = AACLIP_SPLIT_VALIDATION;
    options.class_count = 0;
    expect_failure(root, &options, AACLIP_ERROR_NOT_FOUND, "of the split \"validation\"");
}

static void one_class_of_mvtec(void **state)
{
    make_mvtec(*state);
    char root[256], slashes[300];
    snprintf(root, sizeof root, "%s/metal_nut", (char *)*state);
    expect(root, NULL,
           "0 metal_nut good train/good/000.png -\n"
           "1 metal_nut flip test/flip/000.png ground_truth/flip/000_mask.png\n");
    snprintf(slashes, sizeof slashes, "%s//", root);
    aaclip_dataset_options options = defaults();
    options.class_name = "nut";
    options.split = AACLIP_SPLIT_TRAIN;
    aaclip_dataset *dataset;
    assert_int_equal(aaclip_dataset_open(&dataset, slashes, &options), AACLIP_OK);
    assert_string_equal(describe(dataset, root), "0 nut good train/good/000.png -\n");
    aaclip_dataset_close(&dataset);
}

static void missing_masks(void **state)
{
    const char *root = *state;
    make_mvtec(root);
    scratch_tree_image(root, "bottle/test/contamination/000.png");
    aaclip_dataset_options options = defaults();
    options.split = AACLIP_SPLIT_TEST;
    aaclip_dataset *dataset; /* no folder of masks: none are given */
    assert_int_equal(aaclip_dataset_open(&dataset, root, &options), AACLIP_OK);
    assert_int_equal(aaclip_dataset_count(dataset), 5);
    aaclip_dataset_close(&dataset);
    options.masks = AACLIP_MASKS_REQUIRED;
    expect_failure(root, &options, AACLIP_ERROR_NOT_FOUND,
                   "bottle/ground_truth/contamination, found no such folder");
    scratch_tree_image(root, "bottle/ground_truth/contamination/001_mask.png");
    options.masks = AACLIP_MASKS_WHERE_GIVEN;
    expect_failure(root, &options, AACLIP_ERROR_NOT_FOUND, "bottle/test/contamination/000.png");
    expect_failure(root, &options, AACLIP_ERROR_NOT_FOUND,
                   "bottle/ground_truth/contamination/000.png or 000_mask.png, found none");
    options.masks = AACLIP_MASKS_IGNORED;
    assert_int_equal(aaclip_dataset_open(&dataset, root, &options), AACLIP_OK);
    assert_null(aaclip_dataset_get(dataset, 0)->mask_path);
    aaclip_dataset_close(&dataset);
}

/* Names that begin alike lie between an image's name and its mask's. */
static void masks_are_found_among_names_that_begin_alike(void **state)
{
    make_images(*state,
                (const char *const[]){
                    "nut/train/good/0.png", "nut/test/bent/1.png", "nut/test/bent/10.png",
                    "nut/test/bent/1_.png", "nut/test/bent/2.a.png", "nut/ground_truth/bent/10.png",
                    "nut/ground_truth/bent/100_mask.png", "nut/ground_truth/bent/1_.bmp",
                    "nut/ground_truth/bent/1_mask.png", "nut/ground_truth/bent/1_masks.png",
                    "nut/ground_truth/bent/2.a.bmp", "nut/ground_truth/bent/2.png", NULL});
    scratch_tree_text(*state, "nut/ground_truth/bent/1.txt", "");
    aaclip_dataset_options options = defaults();
    options.split = AACLIP_SPLIT_TEST;
    expect(*state, &options,
           "1 nut bent nut/test/bent/1.png nut/ground_truth/bent/1_mask.png\n"
           "1 nut bent nut/test/bent/10.png nut/ground_truth/bent/10.png\n"
           "1 nut bent nut/test/bent/1_.png nut/ground_truth/bent/1_.bmp\n"
           "1 nut bent nut/test/bent/2.a.png nut/ground_truth/bent/2.a.bmp\n");
    scratch_tree_image(*state, "nut/test/bent/3.png");
    expect_failure(*state, &options, AACLIP_ERROR_NOT_FOUND, "3.png or 3_mask.png, found none");
}

/* What the log tells is no error's text: the call succeeds. */
static void a_locked_folder_is_passed_over(void **state)
{
#ifdef _WIN32
    (void)state;
    skip();
#else
    const char *root = *state;
    char locked[512], inside[520], before[256];
    struct stat found;
    const mode_t mask = umask(022);
    make_mvtec(root);
    umask(mask);
    scratch_tree_text(root, "lost+found/inside", "");
    snprintf(locked, sizeof locked, "%s/lost+found", root);
    snprintf(inside, sizeof inside, "%s/.", locked);
    assert_int_equal(chmod(root, 0755) | chmod(locked, 0), 0);
    aaclip_dataset *dataset = NULL;
    assert_int_not_equal(aaclip_dataset_open(&dataset, "", NULL), AACLIP_OK);
    snprintf(before, sizeof before, "%s", aaclip_last_error());
    const bool other = geteuid() == 0 && seteuid(65534) == 0; /* root may enter all */
    const bool usable = stat(root, &found) == 0 && stat(inside, &found) != 0;
    aaclip_status status = usable ? aaclip_dataset_open(&dataset, root, NULL) : AACLIP_OK;
    if (other)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(locked, 0755), 0);
    if (!usable) {
        print_message("no folder that may be seen and not entered\n");
        skip();
    }
    assert_int_equal(status, AACLIP_OK);
    assert_int_equal(aaclip_dataset_count(dataset), 7);
    assert_string_equal(aaclip_last_error(), before);
    aaclip_dataset_close(&dataset);
#endif
}

static void mpdd(void **state)
{
    make_images(*state, (const char *const[]){
                            "bracket_black/train/good/000.png", "bracket_black/test/good/000.png",
                            "bracket_black/test/scratches/000.png",
                            "bracket_black/ground_truth/scratches/000_mask.png", NULL});
    expect(*state, NULL,
           "0 bracket_black good bracket_black/train/good/000.png -\n"
           "0 bracket_black good bracket_black/test/good/000.png -\n"
           "1 bracket_black scratches bracket_black/test/scratches/000.png "
           "bracket_black/ground_truth/scratches/000_mask.png\n");
}

static void btad(void **state)
{
    make_images(*state,
                (const char *const[]){"01/train/ok/0000.bmp", "01/test/ok/0000.bmp",
                                      "01/test/ko/0001.bmp", "01/ground_truth/ko/0001.png",
                                      "02/train/ok/0000.png", "02/test/ko/0000.png",
                                      "02/ground_truth/ko/0000.png", "03/train/ok/0000.bmp",
                                      "03/test/ko/0000.bmp", "03/ground_truth/ko/0000.bmp", NULL});
    aaclip_dataset_options options = defaults();
    options.split = AACLIP_SPLIT_TEST;
    static const char test[] =
        "1 01 ko 01/test/ko/0001.bmp 01/ground_truth/ko/0001.png\n"
        "0 01 ok 01/test/ok/0000.bmp -\n"
        "1 02 ko 02/test/ko/0000.png 02/ground_truth/ko/0000.png\n"
        "1 03 ko 03/test/ko/0000.bmp 03/ground_truth/ko/0000.bmp\n";
    expect(*state, &options, test);
    options.layout = AACLIP_LAYOUT_BTAD;
    expect(*state, &options, test);
    options.split = AACLIP_SPLIT_TRAIN;
    expect(*state, &options,
           "0 01 ok 01/train/ok/0000.bmp -\n0 02 ok 02/train/ok/0000.png -\n"
           "0 03 ok 03/train/ok/0000.bmp -\n");
    options.layout = AACLIP_LAYOUT_VISA;
    options.split = AACLIP_SPLIT_ALL;
    expect_failure(*state, &options, AACLIP_ERROR_FORMAT,
                   "(VisA) in it or in its subfolders, found none");
}

static void make_visa(const char *root)
{
    make_images(root,
                (const char *const[]){
                    "candle/Data/Images/Normal/0000.JPG", "candle/Data/Images/Normal/0001.JPG",
                    "candle/Data/Images/Anomaly/000.JPG", "candle/Data/Masks/Anomaly/000.png",
                    "pcb1/Data/Images/Normal/0000.JPG", "pcb1/Data/Images/Anomaly/000.JPG",
                    "pcb1/Data/Masks/Anomaly/000.png", NULL});
    scratch_tree_text(root, "candle/image_anno.csv",
                      "image,label,mask\ncandle/Data/Images/Normal/0000.JPG,normal,\n");
}

static void visa(void **state)
{
    const char *root = *state;
    make_visa(root);
    expect(root, NULL,
           "0 candle Normal candle/Data/Images/Normal/0000.JPG -\n"
           "0 candle Normal candle/Data/Images/Normal/0001.JPG -\n"
           "1 candle Anomaly candle/Data/Images/Anomaly/000.JPG "
           "candle/Data/Masks/Anomaly/000.png\n"
           "0 pcb1 Normal pcb1/Data/Images/Normal/0000.JPG -\n"
           "1 pcb1 Anomaly pcb1/Data/Images/Anomaly/000.JPG pcb1/Data/Masks/Anomaly/000.png\n");
    aaclip_dataset_options options = defaults();
    options.split = AACLIP_SPLIT_TRAIN;
    expect_failure(root, &options, AACLIP_ERROR_NOT_FOUND, "split_csv/1cls.csv: no such file");
    scratch_tree_text(root, "split_csv/1cls.csv",
                      "object,split,label,image,mask\r\n"
                      "candle,train,normal,candle/Data/Images/Normal/0000.JPG,\r\n"
                      "candle,test,normal,candle/Data/Images/Normal/0001.JPG,\r\n"
                      "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,"
                      "candle/Data/Masks/Anomaly/000.png\r\n"
                      "pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,\r\n");
    expect(root, &options,
           "0 candle - candle/Data/Images/Normal/0000.JPG -\n"
           "0 pcb1 - pcb1/Data/Images/Normal/0000.JPG -\n");
    scratch_tree_text(root, "split_csv/1cls.csv", /* as spreadsheets save it */
                      "\xef\xbb\xbfobject,split,label,image,mask\r\n"
                      "pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,\r\n"
                      "candle,test,normal,candle/Data/Images/Normal/0001.JPG,\r\n"
                      "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,"
                      "candle/Data/Masks/Anomaly/000.png\r\n");
    expect(root, &options, "0 pcb1 - pcb1/Data/Images/Normal/0000.JPG -\n");
    options.split = AACLIP_SPLIT_TEST;
    options.layout = AACLIP_LAYOUT_VISA;
    expect(root, &options,
           "0 candle - candle/Data/Images/Normal/0001.JPG -\n"
           "1 candle - candle/Data/Images/Anomaly/000.JPG candle/Data/Masks/Anomaly/000.png\n");
    options.split = AACLIP_SPLIT_ALL; /* the tree, where images need not be in the table */
    aaclip_dataset *dataset;
    assert_int_equal(aaclip_dataset_open(&dataset, root, &options), AACLIP_OK);
    assert_int_equal(aaclip_dataset_count(dataset), 5);
    aaclip_dataset_close(&dataset);
}

static void visa_table_errors(void **state)
{
    static const struct {
        const char *text, *expected;
        aaclip_status status;
    } cases[] = {
        {"object,split,label,image\n", ":1: expected a column \"mask\"", AACLIP_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,train,normal\n", ":2: expected 5 cells, found 3",
         AACLIP_ERROR_FORMAT},
        {"object,split,label,image,mask\n\ncandle,val,normal,a.JPG,\n",
         ":3: split: expected train or test, found \"val\"", AACLIP_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,test,bad,a.JPG,\n",
         ":2: label: expected normal or anomaly, found \"bad\"", AACLIP_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,test,normal,\"a.JPG\",\n",
         ":2: expected a line without quotes", AACLIP_ERROR_FORMAT},
        {"object,split,label,image,mask\n,,,,,,,,,,,,,,,,,,\n", ":2: expected at most 16 cells",
         AACLIP_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,test,normal,,\n",
         ":2: expected an object and an image", AACLIP_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,test,normal,candle/none.JPG,\n",
         "candle/none.JPG: no such file", AACLIP_ERROR_NOT_FOUND},
        {"object,split,label,image,mask\n", "no images", AACLIP_ERROR_NOT_FOUND},
        {"", "no images", AACLIP_ERROR_NOT_FOUND},
        {"\xef\xbb\xbf", "no images", AACLIP_ERROR_NOT_FOUND},
        {"object,split,label,image,mask\n\xef\xbb\xbf,test,normal,a.JPG\n",
         ":2: expected 5 cells, found 4", AACLIP_ERROR_FORMAT},
    };
    make_visa(*state);
    char path[256];
    snprintf(path, sizeof path, "%s/list.csv", (char *)*state);
    aaclip_dataset_options options = defaults();
    options.manifest = path;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_tree_text(*state, "list.csv", cases[i].text);
        expect_failure(*state, &options, cases[i].status, cases[i].expected);
    }
}

static void bmad(void **state)
{
    make_images(
        *state,
        (const char *const[]){
            "Brain_AD/train/good/00001_75.png", "Brain_AD/valid/good/img/00010_70.png",
            "Brain_AD/valid/good/label/00010_70.png", "Brain_AD/valid/Ungood/img/00003_60.png",
            "Brain_AD/valid/Ungood/label/00003_60.png", "Brain_AD/test/good/img/00012_70.png",
            "Brain_AD/test/good/label/00012_70.png", "Brain_AD/test/Ungood/img/00017_60.png",
            "Brain_AD/test/Ungood/label/00017_60.png", NULL});
    char root[256];
    snprintf(root, sizeof root, "%s/Brain_AD", (char *)*state);
    aaclip_dataset_options options = defaults();
    options.class_name = "Brain";
    static const char *const parts[] = {
        [AACLIP_SPLIT_TRAIN] = "0 Brain good train/good/00001_75.png -\n",
        [AACLIP_SPLIT_VALIDATION] =
            "1 Brain Ungood valid/Ungood/img/00003_60.png valid/Ungood/label/00003_60.png\n"
            "0 Brain good valid/good/img/00010_70.png -\n",
        [AACLIP_SPLIT_TEST] =
            "1 Brain Ungood test/Ungood/img/00017_60.png test/Ungood/label/00017_60.png\n"
            "0 Brain good test/good/img/00012_70.png -\n",
    };
    char all[1024];
    snprintf(all, sizeof all, "%s%s%s", parts[1], parts[2], parts[3]);
    expect(root, &options, all);
    for (int split = AACLIP_SPLIT_TRAIN; split <= AACLIP_SPLIT_TEST; split++) {
        options.split = (aaclip_dataset_split)split;
        expect(root, &options, parts[split]);
    }
    options = defaults();
    options.split = AACLIP_SPLIT_TRAIN;
    expect(*state, &options, "0 Brain_AD good Brain_AD/train/good/00001_75.png -\n");
}

static void polyps(void **state)
{
    make_images(*state, (const char *const[]){"CVC-300/images/149.png", "CVC-300/masks/149.png",
                                              "Kvasir/images/cju0qkwl35piu0993l0dewei2.jpg",
                                              "Kvasir/masks/cju0qkwl35piu0993l0dewei2.jpg", NULL});
    aaclip_dataset_options options = defaults();
    options.split = AACLIP_SPLIT_TEST; /* there are no splits: all of it */
    expect(*state, &options,
           "1 CVC-300 - CVC-300/images/149.png CVC-300/masks/149.png\n"
           "1 Kvasir - Kvasir/images/cju0qkwl35piu0993l0dewei2.jpg "
           "Kvasir/masks/cju0qkwl35piu0993l0dewei2.jpg\n");
    char root[256];
    snprintf(root, sizeof root, "%s/CVC-300", (char *)*state);
    options = defaults();
    options.layout = AACLIP_LAYOUT_MASKED_FOLDER;
    expect(root, &options, "1 CVC-300 - images/149.png masks/149.png\n");
}

static void plain_folders(void **state)
{
    make_images(*state, (const char *const[]){"parts/b.PNG", "parts/a.bmp", "parts/c.Jpeg",
                                              "parts/sub/d.png", NULL});
    scratch_tree_text(*state, "parts/notes.txt", "");
    char root[256];
    snprintf(root, sizeof root, "%s/parts", (char *)*state);
    expect(root, NULL, "-1 parts - a.bmp -\n-1 parts - b.PNG -\n-1 parts - c.Jpeg -\n");
    aaclip_dataset_options options = defaults();
    options.layout = AACLIP_LAYOUT_FOLDER;
    options.class_name = "screw";
    expect(root, &options, "-1 screw - a.bmp -\n-1 screw - b.PNG -\n-1 screw - c.Jpeg -\n");
    options.classes = (const char *const[]){"nut"};
    options.class_count = 1;
    expect_failure(root, &options, AACLIP_ERROR_NOT_FOUND, "no images of the class \"nut\"");
}

static void no_data_set(void **state)
{
    const char *root = *state;
    scratch_tree_text(root, "papers/notes.txt", "");
    expect_failure(root, NULL, AACLIP_ERROR_FORMAT, root);
    expect_failure(root, NULL, AACLIP_ERROR_FORMAT,
                   "expected full-shot.jsonl, or in it or in its subfolders one of "
                   "{train/good,test/<defect>,ground_truth/<defect>} (MVTec, MPDD), "
                   "{train/ok,test/{ok,ko},ground_truth/ko} (BTAD), "
                   "Data/{Images/{Normal,Anomaly},Masks/Anomaly} (VisA), "
                   "{train,valid,test}/{good,Ungood}/{img,label} (BMAD), "
                   "{images,masks} (polyps), or images (png, jpg, jpeg, bmp); found none");
    scratch_tree_text(root, "bottle/train/good/000.tiff", "");
    expect_failure(root, NULL, AACLIP_ERROR_NOT_FOUND, "no images (png, jpg, jpeg or bmp)");
    expect_failure("/nowhere/at/all", NULL, AACLIP_ERROR_NOT_FOUND, "/nowhere/at/all: no such");
    char longer[5001];
    memset(longer, '/', 5000);
    longer[5000] = '\0';
    expect_failure(longer, NULL, AACLIP_ERROR_NOT_FOUND, "////");
}

static aaclip_status open_and_close(void *root)
{
    aaclip_dataset *dataset;
    aaclip_status status = aaclip_dataset_open(&dataset, root, NULL);
    aaclip_dataset_close(&dataset);
    return status;
}

static void allocations_may_fail(void **state)
{
    make_mvtec(*state);
    assert_true(fail_each_allocation(open_and_close, *state) > 20);
}

#define in_scratch_tree(test)                                                                      \
    cmocka_unit_test_setup_teardown(test, scratch_tree_make, scratch_tree_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch_tree(mvtec),
        in_scratch_tree(one_class_of_mvtec),
        in_scratch_tree(missing_masks),
        in_scratch_tree(mpdd),
        in_scratch_tree(btad),
        in_scratch_tree(visa),
        in_scratch_tree(bmad),
        in_scratch_tree(visa_table_errors),
        in_scratch_tree(polyps),
        in_scratch_tree(plain_folders),
        in_scratch_tree(masks_are_found_among_names_that_begin_alike),
        in_scratch_tree(a_locked_folder_is_passed_over),
        in_scratch_tree(no_data_set),
        in_scratch_tree(allocations_may_fail),
    };
    return cmocka_run_group_tests_name("layouts", tests, NULL, NULL);
}
