#include "command_line.h"

#include <limits.h>

#include "evaluate.h"

static const char usage[] =
    "usage: " PROGRAM
    " --model FILE [--adapters FILE... | --checkpoints FOLDER]\n"
    "       (--dataset NAME | --data-root FOLDER | --manifest FILE) [options]\n"
    "\n"
    "Evaluates one checkpoint, or all epochs of a training run, on a data set.\n"
    "\n"
    "  --model FILE          CLIP checkpoint (OpenAI, Hugging Face, open_clip), bundle, or the\n"
    "                        name aaclip-mini for the small one that is included\n"
    "  --vocab FILE          bpe_simple_vocab_16e6.txt.gz or merges.txt [next to the model]\n"
    "  --adapters FILE       trained adapters; repeat for text and image [none: plain CLIP]\n"
    "  --checkpoints FOLDER  every image_adapter_N.pth in it, with its text_adapter.pth if\n"
    "                        present\n"
    "  --dataset NAME        phrases and domain from this data set's table\n"
    "  --data-root FOLDER    where the images are [data/NAME]\n"
    "  --manifest FILE       JSON lines or VisA's CSV; paths relative to the data root, or, if\n"
    "                        there is none, to its own folder\n"
    "  --outside-paths       its files may lie outside the data root\n"
    "  --layout L            auto, manifest, mvtec, btad, visa, bmad, masked-folder, folder\n"
    "                        [auto]\n"
    "  --split S             train, validation, test or all [test]\n"
    "  --class NAME          only this class; repeatable\n"
    "  --phrase TEXT         phrase for the class in prompts, if there is only one\n"
    "  --prompts FILE        JSON prompt set instead of the profile's\n"
    "  --profile P           document or published [from the adapters]\n"
    "  --domain D            industrial or medical [from --dataset, else industrial]\n"
    "  --image-size N        side of the network's input in pixels [518 for a 336 checkpoint]\n"
    "  --precision P         f32, bf16, auto, int8, tf32 or f16 [f32]\n"
    "  --backend NAME        onednn, blas, simd, reference, cuda or cuda:N [the best]\n"
    "  --threads N           [all processors]\n"
    "  --packed FOLDER       cache packed weights here, to start faster [none]\n"
    "  --out FOLDER          keep finished images here, so that the same call resumes after an\n"
    "                        interruption, and write report.html\n"
    "  --pictures            also FOLDER/pictures: photo, mask and heat map side by side\n"
    "  --no-pixels           image metrics only; masks are ignored\n"
    "  --histogram           count pixels in bins: less memory, almost the same results\n"
    "  --window LOW,HIGH     values of 16-bit photos that become 0 to 255, for scans of 10 to 16\n"
    "                        bits [colour: the upper 8 bits; grey: clipped at 255]\n"
    "  --tile N              cut photos larger than this into tiles of N x N pixels\n"
    "  --tile-overlap F      least share of a tile that neighbours overlap, 0 to 0.9 [0.25]\n"
    "  --calibrate PATH      write thresholds from the images of the split, for aaclip-detect's\n"
    "                        --calibration: a file if it ends in .json, else a folder with a\n"
    "                        CLASS.json per class\n"
    "  --calibration PATH    decide by thresholds that --calibrate wrote, a file or a folder, and\n"
    "                        report how good the decisions are\n"
    "  --save-adapters FILE  write the adapters with the thresholds of a single class\n"
    "  --false-alarm-rate F  thresholds that at most this share of normal images reaches [0.01]\n"
    "  --f1                  thresholds with the largest F1 instead; also needs abnormal images\n"
    "  --decide-by W         what will decide: score, map or either, each then with half of the\n"
    "                        false alarms [either; with --f1 the one with the larger F1]\n"
    "  --json FILE           write all metrics as JSON; - is stdout\n"
    "  --csv FILE            write the scores of all images as CSV; - is stdout\n"
    "  --verbose             show the library's messages\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0, or 1 if anything failed; unreadable images are named and not counted.\n";

bool wants_calibration(const command_line *arguments)
{
    return arguments->calibrate || arguments->save_adapters;
}

bool table_is_shown(const command_line *arguments)
{
    return !to_stdout(arguments->json) && !to_stdout(arguments->csv);
}

static bool check_calibration(const command_line *arguments)
{
    const bool calibrates = wants_calibration(arguments);
    if (!calibrates && (arguments->f1 || arguments->has_rate))
        return !complain(PROGRAM, "--%s needs --calibrate PATH or --save-adapters FILE",
                         arguments->f1 ? "f1" : "false-alarm-rate");
    if (!calibrates && arguments->decide_by)
        return !complain(PROGRAM, "--decide-by needs --calibrate PATH or --save-adapters FILE");
    if (arguments->decide_by && find_decide_by(arguments->decide_by) < 0)
        return !complain(PROGRAM, "--decide-by: expected score, map or either, found '%s'",
                         arguments->decide_by);
    if (arguments->f1 && arguments->has_rate)
        return !complain(PROGRAM, "--f1 and --false-alarm-rate exclude each other");
    if (arguments->false_alarm_rate >= 1)
        return !complain(PROGRAM, "--false-alarm-rate: expected 0 or more, below 1, found %g",
                         arguments->false_alarm_rate);
    if (calibrates && arguments->calibration)
        return !complain(PROGRAM, "--calibration and --%s exclude each other",
                         arguments->calibrate ? "calibrate" : "save-adapters");
    if (calibrates && arguments->no_pixels)
        return !complain(PROGRAM, "a map threshold needs maps: drop --no-pixels");
    return true;
}

static bool check_arguments(const command_line *arguments)
{
    if (!arguments->model)
        return !complain(PROGRAM, "--model is missing; see --help");
    if (!arguments->dataset && !arguments->data_root && !arguments->manifest)
        return !complain(PROGRAM, "no data: give --dataset, --data-root or --manifest");
    if (arguments->checkpoints && arguments->adapters.count)
        return !complain(PROGRAM, "--adapters and --checkpoints exclude each other");
    if (arguments->pictures && !arguments->out)
        return !complain(PROGRAM, "--pictures needs --out FOLDER");
    if (arguments->has_tile_overlap && !arguments->tile)
        return !complain(PROGRAM, "--tile-overlap needs --tile N");
    if (to_stdout(arguments->json) && to_stdout(arguments->csv))
        return !complain(PROGRAM, "--json - and --csv - exclude each other: stdout takes one");
    return check_calibration(arguments);
}

parse_result parse_command_line(command_line *arguments, int argc, char **argv)
{
    const program_option options[] = {
        {"model", OPTION_MODEL, &arguments->model, 0, NULL},
        {"vocab", OPTION_TEXT, &arguments->vocabulary, 0, NULL},
        {"adapters", OPTION_LIST, &arguments->adapters, 0, NULL},
        {"checkpoints", OPTION_TEXT, &arguments->checkpoints, 0, NULL},
        {"dataset", OPTION_TEXT, &arguments->dataset, 0, NULL},
        {"data-root", OPTION_TEXT, &arguments->data_root, 0, NULL},
        {"manifest", OPTION_TEXT, &arguments->manifest, 0, NULL},
        {"outside-paths", OPTION_FLAG, &arguments->outside_paths, 0, NULL},
        {"layout", OPTION_TEXT, &arguments->layout, 0, NULL},
        {"split", OPTION_TEXT, &arguments->split, 0, NULL},
        {"class", OPTION_LIST, &arguments->classes, 0, NULL},
        {"phrase", OPTION_TEXT, &arguments->phrase, 0, NULL},
        {"prompts", OPTION_TEXT, &arguments->prompts, 0, NULL},
        {"profile", OPTION_PROFILE, &arguments->profile, 0, &arguments->has_profile},
        {"domain", OPTION_DOMAIN, &arguments->domain, 0, &arguments->has_domain},
        {"image-size", OPTION_NUMBER, &arguments->image_size, 8192, NULL},
        {"precision", OPTION_PRECISION, &arguments->precision, 0, NULL},
        {"backend", OPTION_TEXT, &arguments->backend, 0, NULL},
        {"threads", OPTION_NUMBER, &arguments->threads, 4096, NULL},
        {"packed", OPTION_TEXT, &arguments->packed, 0, NULL},
        {"out", OPTION_TEXT, &arguments->out, 0, NULL},
        {"pictures", OPTION_FLAG, &arguments->pictures, 0, NULL},
        {"no-pixels", OPTION_FLAG, &arguments->no_pixels, 0, NULL},
        {"histogram", OPTION_FLAG, &arguments->histogram, 0, NULL},
        {"window", OPTION_WINDOW, &arguments->window, 0, NULL},
        {"tile", OPTION_NUMBER, &arguments->tile, INT_MAX, NULL},
        {"tile-overlap", OPTION_REAL, &arguments->tile_overlap, 0, &arguments->has_tile_overlap},
        {"calibrate", OPTION_TEXT, &arguments->calibrate, 0, NULL},
        {"calibration", OPTION_TEXT, &arguments->calibration, 0, NULL},
        {"save-adapters", OPTION_TEXT, &arguments->save_adapters, 0, NULL},
        {"false-alarm-rate", OPTION_REAL, &arguments->false_alarm_rate, 0, &arguments->has_rate},
        {"f1", OPTION_FLAG, &arguments->f1, 0, NULL},
        {"decide-by", OPTION_TEXT, &arguments->decide_by, 0, NULL},
        {"json", OPTION_TEXT, &arguments->json, 0, NULL},
        {"csv", OPTION_TEXT, &arguments->csv, 0, NULL},
        {"verbose", OPTION_FLAG, &arguments->verbose, 0, NULL},
        {0},
    };
    program_arguments rest;
    parse_result result = parse_options(options, PROGRAM, usage, argc, argv, &rest);
    if (result != PARSE_RUN)
        return result;
    if (rest.count) {
        complain(PROGRAM, "unexpected argument '%s'", rest.items[0]);
        return PARSE_WRONG;
    }
    return check_arguments(arguments) ? PARSE_RUN : PARSE_WRONG;
}
