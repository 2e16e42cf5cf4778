/* Operations of tile programs through the LLVM emitter, against the interpreter. */
#include "tests/unit/golden.h"
#include "tests/unit/llvm_oracle.h"

#define HEAD(rest) "tile t %s {\n" rest "}\n"
#define DIMS(...)                                                                                  \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void golden(const char *name, const char *target, const int64_t *dims, double tolerance)
{
    char file[100];
    snprintf(file, sizeof file, "tile/%s.tile", name);
    char *text = golden_named(file);
    oracle_check(text, target, dims, tolerance);
    free(text);
}

Test(llvm_ops, golden_programs)
{
    golden("conv", "x86-64-v4", DIMS(2), 0);
    golden("gather", "x86-64-v3", DIMS(40, 9), 0);
    golden("gemm", "x86-64-v4", DIMS(13), 0);
    golden("reduce", "x86-64-v3", DIMS(21), 0);
    golden("softmax", "x86-64-v3", DIMS(5), 1e-6);
}

Test(llvm_ops, elementwise_chain_with_broadcast)
{
    static const char text[] = HEAD(
        "dim N 0..100\n in a f32 [N, 5, 37]\n in b f32 [5, 1]\n in c f32 [37]\n out y f32 [N, 5, "
        "37]\n"
        "grid (n N) { map (i 5, j 37) {\n"
        "%%0 = load a[n, i, j] %%1 = load b[i, 0] %%2 = load c[j]\n"
        "%%3 = mul f32 %%0, %%1 %%4 = add f32 %%3, %%2 %%5 = neg f32 %%1 %%6 = max f32 %%4, %%5\n"
        "store y[n, i, j] %%6 } }\n");
    oracle_check_all(text, DIMS(4), 0);
    oracle_check_all(text, DIMS(0), 0);
}

Test(llvm_ops, bounds_of_rows_and_columns)
{
    static const char text[] =
        HEAD("dim M 1..100\n dim N 1..1000\n in a f32 [M, N]\n out y f32 [M, N]\n"
             "grid (ib (M + 7) floordiv 8, jb (N + 127) floordiv 128) {\n"
             "map (i 8, j 128) bound i M - 8*ib bound j N - 128*jb {\n"
             "%%0 = load a[8*ib + i, 128*jb + j] %%1 = add f32 %%0, %%0 store y[8*ib + i, 128*jb + "
             "j] %%1 } }\n");
    static const int64_t sizes[] = {1, 5, 16, 17, 127, 128, 129, 300};
    for (int i = 0; i < 8; i++)
        oracle_check_all(text, DIMS(11, sizes[i]), 0);
}

Test(llvm_ops, guards_fill_and_pad)
{
    oracle_check_all(HEAD("dim N 1..64\n in a f32 [N, 20]\n out y f32 [N + 3, 31]\n"
                          "grid (n N + 3) { map (j 31) {\n"
                          "%%0 = load a[n - 2, j - 4] if 0 <= n - 2 < N, 0 <= j - 4 < 20 else "
                          "-3.5\n store y[n, j] %%0 } }\n"),
                     DIMS(6), 0);
    oracle_check_all(HEAD("dim N 1..64\n in a i8 [N, 70]\n out y i8 [N + 3, 77]\n"
                          "grid (n N + 3) { map (j 77) {\n"
                          "%%0 = load a[n - 2, j - 4] if 0 <= n - 2 < N, 0 <= j - 4 < 70 else 7\n "
                          "store y[n, j] %%0 } }\n"),
                     DIMS(6), 0);
    oracle_check_all(HEAD("dim N 1..64\n in a f32 [N, 20]\n out y f32 [N, 20]\n"
                          "grid (n N) { map (j 20) { %%0 = const f32 1 store y[n, j] %%0 }\n"
                          "map (j 40) { %%0 = load a[n, j] if 0 <= j < 20 else 0 store y[n, j - 3] "
                          "%%0 if 0 <= j - 3 < 18, 1 <= n < 3 } }\n"),
                     DIMS(5), 0);
}

Test(llvm_ops, transpose)
{
    static const char text[] =
        HEAD("dim M 1..100\n in a f32 [M, 70]\n out y f32 [70, M]\n"
             "grid (ib (M + 31) floordiv 32) { map (j 70, i 32) bound i M - 32*ib {\n"
             "%%0 = load a[32*ib + i, j] store y[j, 32*ib + i] %%0 } }\n");
    static const int64_t sizes[] = {1, 16, 32, 33, 50, 64};
    for (int i = 0; i < 6; i++)
        oracle_check_all(text, DIMS(sizes[i]), 0);
    oracle_check_all(HEAD("in a i8 [33, 40]\n out y f32 [40, 33]\n"
                          "grid (t 1) { map (j 40, i 33) { %%0 = load a[i, j] %%1 = cast f32 %%0 "
                          "store y[j, i] %%1 } }\n"),
                     NULL, 0);
    oracle_check_all(HEAD("in a f32 [3, 40, 2, 17]\n out y f32 [17, 3, 2, 40]\n"
                          "grid (p 3) { map (l 17, k 2, j 40) { %%0 = load a[p, j, k, l] store "
                          "y[l, p, k, j] %%0 } }\n"),
                     NULL, 0);
}

/* Every mix of full blocks and edges, and a panel packed from rows, with rows missing. */
Test(llvm_ops, transpose_sizes)
{
    static const int sizes[] = {3, 4, 7, 8, 14, 16, 17, 33};
    char text[2048];
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < 8; j++) {
            int m = sizes[i], n = sizes[j];
            snprintf(text, sizeof text,
                     "tile t %%s {\n in a f32 [%d, %d]\n in b f32 [%d, %d]\n out y f32 [%d, %d]\n"
                     "grid (t 1) { map (j %d, i %d) { %%%%0 = load a[i, j] %%%%1 = load b[j, i] "
                     "%%%%2 = sub f32 %%%%0, %%%%1 store y[j, i] %%%%2 } } }\n",
                     m, n, n, m, n, m, n, m);
            oracle_check_all(text, NULL, 0);
        }
    }
    oracle_check_all(HEAD("dim M 1..100\n in a f16 [M, 50]\n out y f32 [15, 50, 7]\n"
                          "grid (ib (M + 6) floordiv 7) {\n tile p f16 [50, 7] shared\n"
                          "copy (r 50, i 7) bound i M - 7*ib fill 3 { %%0 = load a[7*ib + i, r] "
                          "store p[r, i] %%0 }\n"
                          "map (r 50, i 7) { %%0 = load p[r, i] store y[ib, r, i] %%0 } }\n"),
                     DIMS(40), 0);
}

Test(llvm_ops, strided_and_divided_indices)
{
    oracle_check_all(HEAD("in a f32 [100]\n out y f32 [50]\n out z f32 [100]\n out w i32 [100]\n"
                          "grid (t 1) { map (i 50) { %%0 = load a[2*i + 1] store y[49 - i] %%0 }\n"
                          "map (i 100) { %%0 = load a[i floordiv 3 + i mod 3] %%1 = index f32 99 - "
                          "2*i %%2 = add f32 %%0, %%1 store z[i] %%2 }\n"
                          "map (i 100) { %%0 = index i32 i mod 7 - 3 store w[i] %%0 } }\n"),
                     NULL, 0);
}

Test(llvm_ops, gather_with_bad_index)
{
    static const char text[] =
        HEAD("dim V 1..100\n in a f32 [V]\n in x i32 [40]\n out y f32 [40]\n"
             "grid (t 1) { map (i 40) { %%0 = load x[i] %%1 = bind at %%0 in 0..V - 1 wrap\n"
             "%%2 = load a[at] store y[i] %%2 } }\n");
    oracle_check_all(text, DIMS(10), 0);
    oracle_check_all(text, DIMS(3), 0);
}

Test(llvm_ops, reductions)
{
    static const char format[] =
        "tile t %%s {\n in a f32 [7, %d]\n out y f32 [7]\n out z f32 [%d]\n out w f32 [7]\n"
        "grid (t 1) {\n tile v f32 [7, %d] register\n tile s f32 [7, 1] register\n tile c f32 [1, "
        "%d] register\n"
        "map (i 7, j %d) { %%%%0 = load a[i, j] store v[i, j] %%%%0 }\n"
        "reduce s <- v dim 1 sum\n reduce c <- v dim 0 max\n"
        "map (i 7) { %%%%0 = tile s[i, 0] store y[i] %%%%0 }\n"
        "map (j %d) { %%%%0 = tile c[0, j] store z[j] %%%%0 }\n"
        "reduce s <- v dim 1 min\n"
        "map (i 7, u 1) { %%%%0 = tile s[i, u] store w[i] %%%%0 }\n"
        "} }\n";
    static const int widths[] = {1, 2, 3, 5, 8, 13, 16, 17, 20, 31, 33, 48, 64, 70};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        char text[4096];
        int n = widths[i];
        snprintf(text, sizeof text, format, n, n, n, n, n, n);
        oracle_check_all(text, NULL, 0);
    }
}

Test(llvm_ops, mma_edges)
{
    static const char text[] = HEAD(
        "dim M 1..64\n dim K 0..64\n dim N 1..64\n in a f32 [M, K]\n in b f32 [K, N]\n out y f32 "
        "[M, N]\n"
        "grid (ib (M + 2) floordiv 3, jb (N + 18) floordiv 19) {\n tile acc f32 [3, 19] register\n"
        "map (i 3, j 19) { %%0 = const f32 0 store acc[i, j] %%0 }\n"
        "for k 0..K step 4 { mma acc (i 3, j 19, r 4) bound i M - 3*ib bound j N - 19*jb bound r K "
        "- k {\n"
        "a %%0 = load a[3*ib + i, k + r]\n b %%1 = load b[k + r, 19*jb + j] } }\n"
        "map (i 3, j 19) bound i M - 3*ib bound j N - 19*jb { %%0 = tile acc[i, j] store y[3*ib + "
        "i, 19*jb + j] %%0 } }\n");
    oracle_check_all(text, DIMS(5, 8, 35), 0);
    oracle_check_all(text, DIMS(7, 9, 40), 0);
    oracle_check_all(text, DIMS(1, 3, 1), 0);
    oracle_check_all(text, DIMS(11, 22, 17), 0);
    oracle_check_all(text, DIMS(11, 0, 17), 0);
}

Test(llvm_ops, mma_of_other_types)
{
    static const char *const types[][3] = {{"f16", "f16", "f32"},
                                           {"bf16", "f32", "f32"},
                                           {"f64", "f64", "f64"},
                                           {"i8", "i8", "i32"},
                                           {"f8e4m3", "f16", "f32"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char text[4096];
        snprintf(text, sizeof text,
                 "tile t %%s {\n in a %s [3, 8]\n in b %s [8, 12]\n out y %s [3, 12]\n"
                 "grid (t 1) {\n tile acc %s [3, 12] register\n"
                 "map (i 3, j 12) { %%%%0 = const %s 1 store acc[i, j] %%%%0 }\n"
                 "for k 0..8 step 2 { mma acc (i 3, j 12, r 2) { a %%%%0 = load a[i, k + r]\n b "
                 "%%%%1 = load b[k + r, j] } }\n"
                 "map (i 3, j 12) { %%%%0 = tile acc[i, j] store y[i, j] %%%%0 } } }\n",
                 types[i][0], types[i][1], types[i][2], types[i][2], types[i][2]);
        oracle_check_all(text, NULL, 0);
    }
}

Test(llvm_ops, shared_tiles_and_copies)
{
    oracle_check_all(
        HEAD("dim M 1..100\n in a f32 [M, 24]\n in b f32 [24, 16]\n out y f32 [M, 16]\n"
             "grid (ib (M + 3) floordiv 4) {\n tile acc f32 [4, 16] register\n tile p f32 [24, 4] "
             "shared pad 3\n tile q f16 [24, 16] shared\n"
             "map (i 4, j 16) { %%0 = const f32 0 store acc[i, j] %%0 }\n"
             "copy (r 24, i 4) bound i M - 4*ib { %%0 = load a[4*ib + i, r] store p[r, i] %%0 }\n"
             "copy (r 24, j 16) { %%0 = load b[r, j] store q[r, j] %%0 }\n"
             "for k 0..24 step 3 { prefetch (r 3, j 16) { %%0 = load b[k + r + 3, j] }\n"
             "mma acc (i 4, j 16, r 3) { a %%0 = load p[k + r, i]\n b %%1 = load q[k + r, j] } }\n"
             "map (i 4, j 16) bound i M - 4*ib { %%0 = tile acc[i, j] store y[4*ib + i, j] %%0 } "
             "}\n"),
        DIMS(21), 0);
}

Test(llvm_ops, branches_merge_registers)
{
    oracle_check_all(
        HEAD("dim N 1..20\n in a f32 [N, 20]\n out y f32 [N, 20]\n"
             "grid (n N) {\n tile v f32 [20] register\n"
             "if 0 <= n < N - 2 { map (j 20) { %%0 = load a[n, j] store v[j] %%0 } } else { map (j "
             "20) { %%0 = const f32 4 store v[j] %%0 } }\n"
             "for k n..N + 2 step 2 { if 3 <= k < 8 { map (j 20) bound j k { %%0 = tile v[j] %%1 = "
             "index f32 k + j %%2 = add f32 %%0, %%1 store v[j] %%2 } } }\n"
             "map (j 20) { %%0 = tile v[j] store y[n, j] %%0 } }\n"),
        DIMS(9), 0);
}

Test(llvm_ops, a_wide_row_of_lanes_and_columns)
{
    oracle_check_all(HEAD("in a f32 [9, 24]\n out y f32 [24, 9]\n"
                          "grid (t 1) {\n tile v f32 [9, 24] register\n tile c f32 [9] register\n"
                          "map (i 9) { %%0 = load a[i, 3] store c[i] %%0 }\n"
                          "map (i 9, j 24) { %%0 = load a[i, j] %%1 = tile c[i] %%2 = sub f32 %%0, "
                          "%%1 store v[i, j] %%2 }\n"
                          "map (j 24, i 9) { %%0 = tile v[i, j] store y[j, i] %%0 } }\n"),
                     NULL, 0);
}
