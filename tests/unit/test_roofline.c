/* What kernels are compared with has to be what the machine can do: reads in the innermost cache
 * are not those of memory, and a working set smaller than a turn of the loop is read as fast. */
#include <criterion/criterion.h>

#include "jit/roofline.h"

Test(roofline, levels_of_cache)
{
    const Caps *caps = target_host_cpu();
    if (!caps)
        cr_skip_test("the processor is below all levels");
    double memory = roofline_read(caps, &executor_inline, 256e6);
    double inner = roofline_read(caps, &executor_inline, 16e3);
    double least = roofline_read(caps, &executor_inline, 1);
    cr_assert_gt(memory, 0);
    cr_assert_gt(inner, 2 * memory, "%g, memory %g", inner, memory);
    cr_assert(least > inner / 2 && least < inner * 2, "%g, %g", least, inner);
}

/* A pool's rate is that of all its threads. */
Test(roofline, threads)
{
    const Caps *caps = target_host_cpu();
    if (!caps)
        cr_skip_test("the processor is below all levels");
    Pool *pool = pool_create(NULL, 3);
    cr_assert_not_null(pool);
    Executor executor = pool_executor(pool);
    double one = roofline_fma(caps, &executor_inline), all = roofline_fma(caps, &executor);
    int threads = executor.worker_count(executor.user);
    cr_assert(one > 0 && all > 0.5 * threads * one && all < 2 * threads * one, "%g, %g", one, all);
    pool_destroy(pool);
}
