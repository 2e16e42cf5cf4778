/* Ending early: a kernel that may run for long looks at the request to stop (base/kernel_abi.h)
 * between two turns of its loops.
 *
 * How long a loop takes is guessed from the scalar operations it does at most. Below LONG nothing
 * is added, so that the code of ordinary kernels is what it would be without. In a loop above, a
 * look stands between turns of at least OFTEN operations: after every turn, or, where one is less,
 * after a strip of them, which leaves the inner loop as it is. What can pass between two looks is
 * then the work of a straight line of loops below LONG: milliseconds; seconds where every operation
 * is as slow as one can be, as reads all over a large memory. */
#include "codegen/llvm_emit.h"

enum { LONG = 1 << 28, OFTEN = 1 << 20, SLOW = 15 /* see TRANS */ };

static int64_t times(int64_t a, int64_t b) /* both >= 0 */
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static int64_t plus(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static int64_t most_turns(Emit *e, const TileOp *loop)
{
    const Expr *span = expr_sub(e->cx, loop->hi, loop->lo);
    if (expr_is_poison(span) || span->hi == INT64_MAX)
        return INT64_MAX;
    return span->hi <= 0 ? 0 : (span->hi - 1) / loop->step + 1;
}

static bool is_transcendental(const Value *value)
{
    return value->op == V_scalar && scalar_flags(value->scalar) & TRANS;
}

static int64_t block_work(Emit *e, const TileBlock *block);

static int64_t op_work(Emit *e, const TileOp *op)
{
    if (op->kind == TO_for)
        return times(most_turns(e, op), block_work(e, op->body));
    if (op->kind == TO_if)
        return plus(block_work(e, op->body), block_work(e, op->other));
    int64_t points = 1;
    for (int d = 0; d < op->box.rank; d++)
        points = times(points, op->box.shape[d]);
    int64_t each = op->store_count;
    for (uint32_t i = 0; i < op->value_count; i++)
        each += is_transcendental(op->values[i]) ? SLOW : 1;
    return times(points, each);
}

/* Scalar operations of a block, at most. */
static int64_t block_work(Emit *e, const TileBlock *block)
{
    int64_t sum = 0;
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next)
        sum = plus(sum, op_work(e, op));
    return sum;
}

static int64_t turns_between(Emit *e, int64_t turns, const TileBlock *body)
{
    int64_t work = plus(block_work(e, body), 1);
    if (times(turns, work) < LONG)
        return 0;
    return work >= OFTEN ? 1 : OFTEN / work;
}

int64_t poll_loop(Emit *e, const TileOp *loop)
{
    return turns_between(e, most_turns(e, loop), loop->body);
}

int64_t poll_tasks(Emit *e, const Grid *grid)
{
    int64_t tasks = 1;
    for (int d = 0; d < grid->rank; d++)
        tasks = times(tasks, grid->extents[d]->hi < 0 ? 0 : grid->extents[d]->hi);
    return turns_between(e, tasks, &grid->body);
}

/* Where a cancelled kernel ends. */
static LLVMBasicBlockRef stop_block(Emit *e)
{
    if (e->stop)
        return e->stop;
    e->stop = block_new(e, "stop");
    LLVMPositionBuilderAtEnd(e->b, e->stop);
    Ref cell = load_field(e, e->ptr, e->args, offsetof(KernelArgs, error));
    LLVMBuildStore(e->b, const_int(e->i32, ABI_CANCELLED), cell);
    LLVMBuildRetVoid(e->b);
    return e->stop;
}

void emit_poll(Emit *e)
{
    LLVMBasicBlockRef stop = stop_block(e), go = block_new(e, "go");
    level_at(e, e->level);
    Ref flag = load_field(e, e->ptr, e->args, offsetof(KernelArgs, cancel));
    Ref set = LLVMBuildLoad2(e->b, e->i32, flag, "");
    LLVMSetOrdering(set, LLVMAtomicOrderingMonotonic);
    LLVMSetAlignment(set, 4);
    set = LLVMBuildICmp(e->b, LLVMIntNE, set, const_int(e->i32, 0), "");
    LLVMBuildCondBr(e->b, set, stop, go);
    e->levels[e->level].block = go;
    level_at(e, e->level);
}
