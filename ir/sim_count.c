/* What memory accesses would cost: bank conflicts in shared memory, sectors of global memory; and
 * whether a copy can be a cp.async.
 *
 * A site is one access of an operation; it remembers the address of each thread's n-th execution.
 * Lanes of a warp do their n-th executions together. Executions n .. n + v - 1 of all threads are
 * one vector access when they are neighbours in memory and aligned, for the largest v of at most 16
 * bytes for which that holds everywhere. Shared memory has 32 banks of 4 bytes; 8-byte accesses go
 * by half warps, 16-byte accesses by quarters; different words of one bank cost a cycle each. */
#include "ir/sim.h"

#include <stdlib.h>
#include <string.h>

enum { BANKS = 32, SECTOR = 32 };

void sim_site_begin(Sim *sim, SimSite *site, int per_thread)
{
    uint64_t need = (uint64_t)sim->threads * (uint64_t)per_thread;
    if (need > site->cap) {
        site->at = NEW_ARRAY(sim->arena, int64_t, need);
        site->cap = (uint32_t)need;
    }
    site->per_thread = per_thread;
    if (need > 0)
        memset(site->at, 0xff, need * sizeof *site->at); /* -1 */
}

/* Whether groups of v executions of one thread are neighbours, aligned, and all there or all not.
 * With `partial`, only the first ones need be there (cp.async fills the rest). */
static bool groups_fit(const SimSite *site, int thread, int v, bool partial)
{
    const int64_t *at = site->at + (int64_t)thread * site->per_thread;
    for (int g = 0; g < site->per_thread; g += v)
        for (int i = 0; i < v; i++) {
            if (at[g + i] < 0 && (partial || at[g] < 0))
                continue;
            if (at[g] < 0 || at[g + i] != at[g] + i * site->elem_bytes ||
                at[g] % (v * site->elem_bytes) != 0)
                return false;
            if (i > 0 && at[g + i - 1] < 0)
                return false;
        }
    return true;
}

static bool vector_fits(const Sim *sim, const SimSite *site, int v, bool partial)
{
    if (v * site->elem_bytes > 16 || site->per_thread % v != 0)
        return false;
    for (int t = 0; t < sim->threads; t++)
        if (!groups_fit(site, t, v, partial))
            return false;
    return true;
}

static int compare_words(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts and removes duplicates. */
static int distinct(int64_t *items, int count)
{
    qsort(items, (size_t)count, sizeof *items, compare_words);
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (kept == 0 || items[kept - 1] != items[i])
            items[kept++] = items[i];
    return kept;
}

static void count_words(Sim *sim, int64_t *words, int count)
{
    if (count == 0)
        return;
    int per_bank[BANKS] = {0}, most = 1;
    count = distinct(words, count);
    for (int i = 0; i < count; i++) {
        int n = ++per_bank[words[i] % BANKS];
        most = n > most ? n : most;
    }
    sim->report->shared_accesses++;
    sim->report->shared_extra += most - 1;
    sim->op->extra += most - 1;
}

void sim_count_rows(Sim *sim, const int64_t rows[8])
{
    int64_t words[32];
    for (int i = 0; i < 32; i++)
        words[i] = rows[i / 4] / 4 + i % 4;
    count_words(sim, words, 32);
}

/* One warp access of `bytes` per lane, address -1 = lane does not take part. */
static void count_shared(Sim *sim, const int64_t at[SIM_WARP], int bytes)
{
    int lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
    for (int from = 0; from < SIM_WARP; from += lanes) {
        int64_t words[SIM_WARP * 2];
        int count = 0;
        for (int l = from; l < from + lanes; l++)
            for (int64_t w = at[l] / 4; at[l] >= 0 && w <= (at[l] + bytes - 1) / 4; w++)
                words[count++] = w;
        count_words(sim, words, count);
    }
}

static void count_global(Sim *sim, const int64_t at[SIM_WARP], int bytes)
{
    int64_t sectors[SIM_WARP * 2], starts[SIM_WARP];
    int count = 0, lanes = 0;
    for (int l = 0; l < SIM_WARP; l++) {
        if (at[l] < 0)
            continue;
        starts[lanes++] = at[l];
        for (int64_t s = at[l] / SECTOR; s <= (at[l] + bytes - 1) / SECTOR; s++)
            sectors[count++] = s;
    }
    if (lanes == 0)
        return;
    sim->report->global_accesses++;
    sim->report->global_sectors += distinct(sectors, count);
    sim->report->global_minimum += ((int64_t)distinct(starts, lanes) * bytes + SECTOR - 1) / SECTOR;
}

void sim_site_count(Sim *sim, SimSite *site)
{
    int v = 1;
    for (int wider = 2; wider <= 16; wider *= 2)
        if (vector_fits(sim, site, wider, false))
            v = wider;
    for (int warp = 0; warp < sim->threads; warp += SIM_WARP)
        for (int g = 0; g < site->per_thread; g += v) {
            int64_t at[SIM_WARP];
            for (int l = 0; l < SIM_WARP; l++)
                at[l] = warp + l < sim->threads
                            ? site->at[(int64_t)(warp + l) * site->per_thread + g]
                            : -1;
            if (site->shared)
                count_shared(sim, at, v * site->elem_bytes);
            else
                count_global(sim, at, v * site->elem_bytes);
        }
}

bool sim_check_async(Sim *sim, const SimSite *from, const SimSite *to, int64_t *bytes)
{
    int v = 16 / to->elem_bytes;
    while (v > 1 && !(vector_fits(sim, to, v, false) && vector_fits(sim, from, v, true)))
        v /= 2;
    if (v * to->elem_bytes < 4)
        return sim_fail(sim, -1,
                        "cp.async: the neighbours of a thread do not make up 4, 8 or 16 aligned "
                        "bytes");
    for (int64_t i = 0; i < (int64_t)sim->threads * to->per_thread; i++)
        *bytes += to->at[i] >= 0 ? to->elem_bytes : 0;
    return true;
}
