/* Contexts of the library that compiles: they have devices that need parts of the compiler. */
#include "jit/api.h"

qn_status qn_context_create(const qn_context_options *options, qn_context **context)
{
    static const DeviceRow rows[] = {
        {0},
    };
    return api_context_create(options, rows, context);
}
