/* Files that the tool writes: the outputs of a run, and what a model is compiled to. */
#ifndef QUERN_TOOLS_OUTPUTS_H
#define QUERN_TOOLS_OUTPUTS_H

#include "tools/bind.h"

/* Writes every output to a file NAME.npy of its own in the folder, which is made. Names get their
 * files when all outputs are written: what fails before that changes no file. */
bool outputs_write(const Binding *binding, const qn_program *program, const char *folder,
                   Fail *fail);
/* After setup_open: whether what is made of the model can be put there, which must not be the
 * model, its weights or the records given. To be called before the work, which may take minutes. */
bool outputs_check(const Setup *setup, const char *path, Fail *fail);

#endif
