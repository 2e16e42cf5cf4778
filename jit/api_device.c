/* Contexts of the library that compiles: they have devices that need parts of the compiler. */
#include "jit/api.h"
#include "jit/device_sim.h"

static Device *open_sim(qn_context *context, Report *report)
{
    Device *device = device_sim_open(&context->from);
    if (!device)
        device_no_memory(report);
    return device;
}

qn_status qn_context_create(const qn_context_options *options, qn_context **context)
{
    static const DeviceRow rows[] = {
        {"sim", "simulates a GPU block by block and finds races", CODE_tile, open_sim,
         device_sim_target, NULL},
        {0},
    };
    return api_context_create(options, rows, context);
}
