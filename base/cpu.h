/* Levels of processors that machine code is made for, by the names of targets (ir/targets.def):
 * what loading a program has to know without a compiler. */
#ifndef QUERN_BASE_CPU_H
#define QUERN_BASE_CPU_H

#include <stdbool.h>

/* Name of level number `index`, those of one kind of processor from the highest down; NULL past the
 * end. */
const char *cpu_level_at(int index);
/* The highest level of the processor we run on; NULL when it is below all of them. */
const char *cpu_level(void);
/* Whether machine code for this level runs here; false for what is no level. */
bool cpu_runs(const char *level);

#endif
