/* What kernels are compared with. How fast anything is depends on what else the machine does; that
 * there is a rate, for any size and any number of threads, does not. */
#include <criterion/criterion.h>

#include <math.h>

#include "jit/roofline.h"

static void check_rate(double rate)
{
    cr_expect(isfinite(rate) && rate > 0, "%g", rate);
}

/* Also of a working set that is smaller than a turn of the loop. */
Test(roofline, sizes)
{
    const Caps *caps = target_host_cpu();
    if (!caps)
        cr_skip_test("the processor is below all levels");
    const double sizes[] = {1, 255, 16e3, 3e6, 64e6};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_rate(roofline_read(caps, &executor_inline, sizes[i]));
        check_rate(roofline_copy(caps, &executor_inline, sizes[i]));
    }
}

Test(roofline, threads)
{
    const Caps *caps = target_host_cpu();
    if (!caps)
        cr_skip_test("the processor is below all levels");
    Pool *pool = pool_create(NULL, 3);
    cr_assert_not_null(pool);
    Executor executor = pool_executor(pool);
    check_rate(roofline_fma(caps, &executor));
    check_rate(roofline_read(caps, &executor, 16e3));
    pool_destroy(pool);
}
