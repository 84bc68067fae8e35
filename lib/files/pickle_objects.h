/* The objects built by the globals that a checkpoint's pickle may name. Used by pickle.c alone. */
#ifndef AAC_FILES_PICKLE_OBJECTS_H
#define AAC_FILES_PICKLE_OBJECTS_H

#include "files/pickle.h"

aac_pickle_value *aac_pickle_new(aac_arena *arena, aac_pickle_kind kind);

/* Looks up a global; UNSUPPORTED, naming it, unless it is allowed. */
aaclip_status aac_pickle_find_global(aac_pickle_value *value, const char *module, const char *name);
/* REDUCE: calls an allowed function. */
aaclip_status aac_pickle_call(aac_pickle_value **result, aac_arena *arena,
                              const aac_pickle_value *function, const aac_pickle_value *arguments);
/* NEWOBJ: an empty TorchScript module. */
aaclip_status aac_pickle_instantiate(aac_pickle_value **result, aac_arena *arena,
                                     const aac_pickle_value *type);
/* BUILD: gives an object its state. */
aaclip_status aac_pickle_set_state(aac_pickle_value *object, aac_pickle_value *state);
/* BINPERSID: a storage, ("storage", type, key, device, elements). */
aaclip_status aac_pickle_open_storage(aac_pickle_value **result, aac_arena *arena,
                                      const aac_pickle_value *id);

#endif
