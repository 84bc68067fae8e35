/* Configurations inside the library: reading, derived defaults, text form in files. */
#ifndef AAC_CORE_CONFIG_H
#define AAC_CORE_CONFIG_H

#include <aaclip/config.h>

void aac_config_fill(aaclip_config *config, aaclip_profile profile);

/* The caller's configuration, checked; NULL gives the document profile. */
aaclip_status aac_config_read(aaclip_config *config, const aaclip_config *caller);

/* Replaces the zeros that mean "a quarter of the tower" and checks the rest against the towers. */
aaclip_status aac_config_resolve(aaclip_config *config, int64_t image_layers, int64_t text_layers);

/* Takes the fields that concern one tower only from `other`. */
void aac_config_take_image(aaclip_config *config, const aaclip_config *other);
void aac_config_take_text(aaclip_config *config, const aaclip_config *other);
/* The first field common to both towers in which they differ; NULL if there is none. */
const char *aac_config_difference(const aaclip_config *a, const aaclip_config *b);

/* JSON text of every field; free with aac_free; NULL when out of memory. */
char *aac_config_to_json(const aaclip_config *config);
/* `name` stands for the file in error texts. */
aaclip_status aac_config_from_json(aaclip_config *config, const char *json, const char *name);

#endif
