/* A CLIP model of a few hundred weights, for which the corpora's files are made. */
#ifndef AAC_TESTS_FUZZ_TINY_MODEL_H
#define AAC_TESTS_FUZZ_TINY_MODEL_H

#include <aaclip/aaclip.h>

enum { TINY_EMBEDDING = 3, TINY_SIDE = 4 /* pixels and patches */ };

/* Writes it into the scratch folder; free the path with aac_free. */
char *tiny_model_write(void);
/* Opened with backend `reference` at the first call, closed when the process ends. */
const aaclip_model *tiny_model(void);
/*
 * Ends the program unless the detector handles an image, or says that the result is not finite.
 * Returns the status of creating the detector. `class_name` is in the cache.
 */
aaclip_status tiny_detect(const aaclip_model *model, const aaclip_adapters *adapters,
                          const aaclip_text_cache *cache, const char *class_name);

#endif
