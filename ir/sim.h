/* Inside the simulator (ir/tile_sim.h): the program with its expressions compiled to slots, and the
 * machine's state.
 *
 *   tile_sim.c   grids, blocks, control flow, synchronisation        sim_build.c  TileProg -> SimOp
 *   sim_mem.c    shared and global memory with their shadows         sim_reg.c    register tiles,
 * reduce, convert sim_value.c  evaluates an operation's values for one thread      sim_map.c map,
 * copy sim_mma.c    fragments and FMA tiles                             sim_count.c  bank
 * conflicts, sectors */
#ifndef QUERN_IR_SIM_H
#define QUERN_IR_SIM_H

#include "ir/tile_sim.h"

enum { SIM_WARP = 32 };

/* An expression over slots. */
typedef enum SimCodeKind { SC_fixed, SC_linear, SC_code } SimCodeKind;
typedef struct SimCode {
    SimCodeKind kind;
    int64_t value; /* constant part */
    uint32_t count;
    const int64_t *coefs;
    const uint32_t *slots;
    ExprCode code;
} SimCode;

typedef struct SimVal {
    Scalar s;
    bool poison; /* computed from a register that was never written, or a garbage row of an mma */
} SimVal;

/* A register tile has one entry per (element, thread that holds it); those of element e are
 * first[e] .. first[e + 1] - 1, in ascending order of threads. */
typedef struct SimTile {
    const Tile *tile;
    int elems;
    uint32_t *first;
    int32_t *holder;
    SimVal *value;
    /* shared */
    int64_t base, slot_bytes, row_bytes;
    int elem_bytes;
} SimTile;

/* Last accesses to one element of a global buffer in the running grid; grids and blocks count
 * from 1. */
typedef struct GlobalShadow {
    uint32_t grid, block, epoch;                /* of the writer */
    uint32_t read_grid, read_block, read_epoch; /* block 0 = several */
    int32_t thread, read_thread;                /* read_thread -1 = several in that epoch */
} GlobalShadow;

typedef struct SimBuffer {
    const Buffer *buffer;
    void *data;
    int64_t shape[MAX_RANK], strides[MAX_RANK], offset, elems;
    GlobalShadow *shadow; /* buffers that the program stores to */
} SimBuffer;

typedef struct SimGuard {
    SimCode e, lo, hi;
} SimGuard;

/* Where a memory access of each (thread, sequence number) went: byte address or -1; see
 * sim_count.c. */
typedef struct SimSite {
    bool shared;
    int elem_bytes;
    int64_t *at; /* [threads][per_thread] */
    int per_thread;
    uint32_t cap;
} SimSite;

typedef struct SimAccess {
    const Access *access;
    SimBuffer *buffer; /* exactly one of buffer, tile */
    SimTile *tile;
    int rank, guard_count;
    SimCode *index;
    SimGuard *guards;
    SimSite *site; /* memory accesses */
} SimAccess;

typedef struct SimValue {
    const Value *value;
    SimCode index, lo, hi; /* V_index, V_bind */
    uint32_t sym;          /* V_bind: slot */
    SimAccess access;      /* V_load, V_tile */
    unsigned needed;       /* bit 0: by a map or by a; bit 1: by b of an mma */
} SimValue;

typedef struct SimStore {
    SimAccess access;
    uint32_t value;
} SimStore;

typedef enum PointState { PS_ok, PS_nobody, PS_stale } PointState;

/* Who executes the points of an operation. */
typedef struct PointMap {
    bool made;
    int points, per_thread;
    uint32_t *start; /* [points + 1] into thread, seq */
    int32_t *thread, *seq;
    uint8_t *state; /* PointState */
} PointMap;

typedef struct SimOp {
    const TileOp *op;
    struct SimOp *next, *body, *other;
    SimCode lo, hi, slot;
    uint32_t var, coord[MAX_BOX];
    SimCode bound[MAX_BOX]; /* SC_fixed and the extent when there is none */
    SimGuard *guards;
    bool divergent; /* if: a guard uses the thread number */
    bool fixed_map; /* register indices depend on coordinates only */
    PointMap map;
    uint32_t value_count, store_count;
    SimValue *values;
    SimStore *stores;
    SimVal *out;     /* scratch: results of the values */
    SimVal *stored;  /* scratch: what the first thread of a point stored */
    struct Mma *mma; /* scratch of sim_mma.c */
    uint32_t root_a, root_b;
    SimTile *dst, *src, *via, *by;
    SimAccess put, get; /* convert: of S's and T's elements in `via`, index = coord */
    int64_t extra;      /* bank conflicts so far */
} SimOp;

typedef enum ByteState { BS_unset, BS_set, BS_poison, BS_pending } ByteState;
typedef struct ByteShadow {
    uint32_t write_epoch, read_epoch; /* epochs count from 1 */
    int16_t writer, reader;
    uint8_t state; /* ByteState */
    bool several;  /* more than one reader in read_epoch */
} ByteShadow;

/* An element on its way to shared memory. */
typedef struct AsyncWrite {
    int32_t thread;
    int64_t group, at;
    uint8_t bytes;
    uint8_t data[8];
} AsyncWrite;

typedef struct Sim {
    Cx *cx;
    Arena *arena; /* gone when tile_sim returns */
    const TileProg *prog;
    NestRun *run;
    SimReport *report;
    SimBuffer *buffers;
    /* slots */
    uint32_t sym_count, sym_cap;
    const Expr **syms;
    uint32_t value_cap;
    int64_t *slots;
    /* the running grid */
    const Grid *grid;
    uint32_t grid_number, block_number, epoch, thread_slot;
    int threads;
    SimTile *tiles;
    uint32_t tile_count;
    uint8_t *active;
    int active_count;
    int64_t *closed; /* per thread: groups of cp.async closed so far */
    int64_t block_id[MAX_GRID];
    /* shared memory */
    int64_t shared_bytes;
    uint8_t *shared;
    ByteShadow *shadow;
    AsyncWrite *queue;
    uint32_t queue_count, queue_cap;
    /* the running operation */
    SimOp *op;
    int64_t slot;
    bool outside;            /* copy: the point is outside the bounds, loads give fill */
    int64_t coord[MAX_RANK]; /* element of the last access, for messages */
} Sim;

/* Fails the job: program, block, thread (-1 = none), message, operation. Returns false. */
bool sim_fail(Sim *sim, int thread, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* sim_build.c. Symbols are added to the slots as they are met. */
SimCode sim_code(Sim *sim, const Expr *e);
SimOp *sim_build(Sim *sim, const TileBlock *block);
uint32_t sim_add_sym(Sim *sim, const Expr *sym);
int64_t sim_eval(Sim *sim, const SimCode *code);

/* sim_reg.c */
bool sim_reg_init(Sim *sim, SimTile *tile, const Tile *of, const Layout *layout);
void sim_reg_clear(SimTile *tile);
/* Linear number of the element an access names; -1 (without failing) when out of range. */
int sim_reg_elem(Sim *sim, const SimAccess *access);
SimVal *sim_reg_entry(SimTile *tile, int elem, int thread); /* NULL: not held */
bool sim_reg_agree(Sim *sim, SimTile *tile, int elem);
SimVal sim_reg_convert(const Tile *tile, Dtype from, SimVal value);
bool sim_reduce(Sim *sim, SimOp *op);
bool sim_convert(Sim *sim, SimOp *op);

/* sim_mem.c. seq: the thread's count of this access within the operation. */
bool sim_load(Sim *sim, SimAccess *access, int thread, int seq, SimVal *out);
bool sim_store(Sim *sim, SimAccess *access, Dtype from, SimVal value, int thread, int seq);
bool sim_wait(Sim *sim, int64_t open);
void sim_mem_clear(Sim *sim);

/* sim_value.c: evaluates the values whose `needed` meets the mask into op->out. */
bool sim_values(Sim *sim, SimOp *op, unsigned needed, int thread, int seq);

bool sim_map(Sim *sim, SimOp *op);
bool sim_mma(Sim *sim, SimOp *op);

/* sim_count.c */
void sim_site_begin(Sim *sim, SimSite *site, int per_thread);
static inline void sim_site_mark(SimSite *site, int thread, int seq, int64_t at)
{
    site->at[(int64_t)thread * site->per_thread + seq] = at;
}
void sim_site_count(Sim *sim, SimSite *site);
/* ldmatrix: a fragment of 16-bit operands in shared memory, rows[8] of 16 bytes each. */
void sim_count_rows(Sim *sim, const int64_t rows[8]);
bool sim_check_async(Sim *sim, const SimSite *from, const SimSite *to, int64_t *bytes);

#endif
