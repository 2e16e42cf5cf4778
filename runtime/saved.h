/* Programs that need no model, as entries of a pack.
 *
 *   kind saved   target x86-64-v4, image HASH, weight HASH, weight HASH ..    data: an image
 *   kind weight  contents HASH                                                data: a weight
 *
 * The weights of the image's plan are in these entries: a weight's file is its number in the list.
 * Equal weights of several programs are there once. What init steps compute is saved in the place
 * of the weights they read, where this machine can compute it; then loading computes nothing. */
#ifndef QUERN_RUNTIME_SAVED_H
#define QUERN_RUNTIME_SAVED_H

#include "runtime/pack.h"
#include "runtime/plan.h"
#include "runtime/program.h"

typedef struct SavedSource {
    const Plan *plan;
    const CodeImage *code;
    const FileRange *files; /* of the plan's weights */
    Program *program; /* prepared when its init steps are to be done now; NULL = they are not */
} SavedSource;

/* Adds the program to the list; the list's entries refer to the job's arena and the source. */
bool saved_add(Cx *cx, const Executor *executor, const SavedSource *source, PackList *list);

typedef struct Saved {
    PlanBytes image;
    uint32_t file_count;
    const FileRange *files;
} Saved;

/* The one program that a pack has, checked; what it gives is in the pack and the job's arena. */
bool saved_find(Cx *cx, const Executor *executor, Pack *pack, Saved *saved);

#endif
