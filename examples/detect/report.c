#include "detect.h"

#include <stdlib.h>

static json_t *row_to_json(const command_line *arguments, const region_setup *regions,
                           const report_row *rows, size_t index)
{
    const report_row *row = &rows[index];
    json_t *image =
        json_pack("{s:o, s:f, s:f, s:i, s:i}", "path", text_json(arguments->images.items[index]),
                  "score", (double)row->score, "map_maximum", (double)row->map_maximum, "width",
                  (int)row->width, "height", (int)row->height);
    bool complete = pictures_to_json(arguments, index, image) &&
                    region_report_to_json(&row->found, regions, image);
    return made_json(image, !complete);
}

static bool tiles_to_json(const command_line *arguments, json_t *root)
{
    if (!arguments->tile)
        return true;
    int failed = json_object_set_new(root, "tile", json_integer(arguments->tile));
    if (arguments->has_overlap)
        failed |= json_object_set_new(root, "tile_overlap", json_real(arguments->tile_overlap));
    return !failed;
}

/* NULL, as of what it consists of: out of memory. */
static json_t *report_to_json(const command_line *arguments, const detection *session,
                              const report_row *rows)
{
    int failed = 0;
    json_t *images = json_array();
    for (size_t i = 0; i < arguments->images.count; i++)
        if (rows[i].done)
            failed |=
                json_array_append_new(images, row_to_json(arguments, &session->regions, rows, i));
    aaclip_model_info info = {.size = sizeof info};
    aaclip_model_get_info(session->model, &info);
    json_t *root = json_pack("{s:s, s:o, s:s, s:s, s:o, s:i, s:o}", "version",
                             aaclip_version_string(), "model", text_json(info.path), "backend",
                             info.backend, "precision", aaclip_precision_name(info.precision),
                             "class", text_json(session->class_name), "image_size",
                             (int)aaclip_detector_image_size(session->detector), "images", images);
    bool complete =
        !failed && tiles_to_json(arguments, root) && region_setup_to_json(&session->regions, root);
    return made_json(root, !complete);
}

static bool write_json(const command_line *arguments, const detection *session,
                       const report_row *rows)
{
    json_t *root = report_to_json(arguments, session, rows);
    if (!root)
        return !complain(PROGRAM, "out of memory");
    text_output output;
    bool opened = open_text_file(&output, arguments->json, PROGRAM);
    bool written = opened && json_dumpf(root, output.file, JSON_INDENT(2)) == 0 &&
                   fputc('\n', output.file) != EOF;
    json_decref(root);
    return opened && finish_text_file(&output, written, PROGRAM) && written;
}

static bool write_csv(const command_line *arguments, const detection *session,
                      const report_row *rows)
{
    text_output output;
    const bool calibrated = session->regions.calibrated;
    if (!open_text_file(&output, arguments->csv, PROGRAM))
        return false;
    fprintf(output.file, "path,score,map_maximum,width,height%s\n", calibrated ? ",decision" : "");
    for (size_t i = 0; i < arguments->images.count; i++)
        if (rows[i].done) {
            write_quoted(output.file, arguments->images.items[i]);
            fprintf(output.file, ",%.9g,%.9g,%u,%u", (double)rows[i].score,
                    (double)rows[i].map_maximum, rows[i].width, rows[i].height);
            fputs(!calibrated ? "\n" : rows[i].found.defective ? ",1\n" : ",0\n", output.file);
        }
    return finish_text_file(&output, true, PROGRAM);
}

bool write_report(const command_line *arguments, const detection *session, const report_row *rows)
{
    bool table = !to_stdout(arguments->json) && !to_stdout(arguments->csv);
    const bool calibrated = session->regions.calibrated;
    if (table)
        printf("%-10s %-10s %s%s\n", "score", "map max", calibrated ? "decision " : "", "image");
    for (size_t i = 0; table && i < arguments->images.count; i++)
        if (rows[i].done) {
            printf("%-10.6f %-10.4f %s", (double)rows[i].score, (double)rows[i].map_maximum,
                   !calibrated               ? ""
                   : rows[i].found.defective ? "defect   "
                                             : "good     ");
            write_visible(stdout, arguments->images.items[i]);
            putchar('\n');
        }
    bool json = !arguments->json || write_json(arguments, session, rows);
    bool csv = !arguments->csv || write_csv(arguments, session, rows);
    return json && csv;
}
