/* Launches: the steps of a plan with sizes and memory filled in, ready for a device to run. */
#ifndef QUERN_RUNTIME_LAUNCH_H
#define QUERN_RUNTIME_LAUNCH_H

#include "base/kernel_abi.h"
#include "runtime/device.h"

typedef struct Launch {
    const PlanKernel *kernel; /* NULL: a copy, or a step that the session does itself */
    const void *code;         /* the device's, filled in by `bind` */
    const int64_t *tasks;     /* by phase */
    int64_t bytes;            /* of a copy */
    uint32_t cell;            /* of its own, 1.., when it may meet a bad index; else 0 */
    KernelArgs args;          /* buffers and dims; the rest is filled in by a device that uses it */
} Launch;

struct Launches {
    const Allocator *from;
    const Plan *plan;
    const DeviceCode *code;
    const PlanStep *steps;
    uint32_t count;
    Launch *launches;
    void **buffers; /* of all launches, one after another, as in the steps */
    int64_t *dims, *tasks;
    uint32_t buffer_count, cell_count; /* cells, number 0 included */
    const int64_t *plan_dims;          /* in force */
    void *bound;                       /* the device's, by `bind`; NULL = none */
    int32_t error;                     /* the error cell */
    uint32_t failed;                   /* which launch set it */
    void *memory;
    size_t memory_size;
};

/* False when memory is refused; then there is nothing to finish. */
bool launches_init(Launches *list, const Allocator *from, const Plan *plan, const PlanStep *steps,
                   uint32_t count, const DeviceCode *code);
/* All zero is allowed; unbound by the caller. */
void launches_finish(Launches *list);
/* Sizes for these values of the plan's dims, which stay as long as the list uses them; NULL for
 * init steps, which have values of their own. False when one overflows, or a copy's ends differ. */
bool launches_set_dims(Launches *list, const int64_t *dims);
/* Memory of the tensors, by number; those that are bound later may be NULL. */
void launches_set_memory(Launches *list, void *const *tensors);
/* For devices on which launches go on behind one that met a bad index, so that a single error cell
 * would not tell which it was: each launch that may has a cell of its own, `cells` are their
 * values, `stride` bytes apart. True when one is set: then error and failed are those of the first.
 */
bool launches_read_cells(Launches *list, const char *cells, size_t stride);
/* Bytes of a buffer of a launch, with the dims in force. */
int64_t launches_buffer_bytes(const Launches *list, uint32_t launch, uint32_t buffer);

#endif
