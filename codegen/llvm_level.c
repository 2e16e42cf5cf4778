/* Levels, loops and conditional regions of the LLVM emitter.
 *
 * A level is a stretch of straight-line code that may be interrupted by inner constructs. What
 * depends on nothing deeper is emitted at the level itself, however deep the code that asks for it,
 * and remembered there: that is the emitter's loop-invariant code motion and its common
 * subexpression elimination. Register tiles are SSA values, so loops carry the ones they change as
 * phis, and regions merge them.
 *
 *   level n          .. code ..  br lo < hi, pre, exit        <- integer expressions of level n go
 * before this branch level n+1  pre:   runs once, only if the loop runs          <- loads moved out
 * of the loop go here level n+2  body:  phis .. code .. br next < hi, body, exit level n    exit:
 * phis .. */
#include <string.h>

#include "codegen/llvm_emit.h"

void level_at(Emit *e, int level)
{
    LLVMBasicBlockRef block = e->levels[level].block;
    Ref end = LLVMGetBasicBlockTerminator(block);
    if (end)
        LLVMPositionBuilderBefore(e->b, end);
    else
        LLVMPositionBuilderAtEnd(e->b, block);
}

void level_push(Emit *e, LLVMBasicBlockRef block)
{
    if (e->level + 1 >= MAX_LEVELS) {
        emit_fail(e, ST_unsupported, "kernel %s: more than %d nested loops", e->prog->name,
                  MAX_LEVELS);
    }
    e->levels[++e->level] = (Level){.block = block};
    level_at(e, e->level);
}

void level_pop(Emit *e)
{
    LLVMBasicBlockRef block = e->levels[e->level].block;
    while (e->sym_count && e->syms[e->sym_count - 1].level >= e->level)
        e->sym_count--;
    e->level--;
    e->levels[e->level].block = block;
    level_at(e, e->level);
}

LLVMBasicBlockRef level_block(Emit *e)
{
    return e->levels[e->level].block;
}

LLVMBasicBlockRef block_new(Emit *e, const char *name)
{
    return LLVMAppendBasicBlockInContext(e->llvm, e->fn, name);
}

Ref memo_find(Emit *e, int level, int tag, const void *a, const void *b, const void *c,
              const void *d)
{
    const Level *l = &e->levels[level];
    for (uint32_t i = l->count; i-- > 0;) {
        const MemoEntry *m = &l->entries[i];
        if (m->key[0] == a && m->tag == tag && m->key[1] == b && m->key[2] == c && m->key[3] == d)
            return m->value;
    }
    return NULL;
}

void memo_add(Emit *e, int level, int tag, const void *a, const void *b, const void *c,
              const void *d, Ref value)
{
    Level *l = &e->levels[level];
    MemoEntry entry = {.key = {a, b, c, d}, .tag = tag, .value = value};
    VEC_PUSH(e->arena, l->entries, l->count, l->cap, entry);
}

void sym_define(Emit *e, const Expr *sym, Ref value, bool lanes)
{
    SymDef def = {.sym = sym, .level = e->level, .value = value, .lanes = lanes};
    VEC_PUSH(e->arena, e->syms, e->sym_count, e->sym_cap, def);
}

const SymDef *sym_find(Emit *e, const Expr *sym)
{
    for (uint32_t i = e->sym_count; i-- > 0;)
        if (e->syms[i].sym == sym)
            return &e->syms[i];
    return NULL;
}

static Ref *snapshot(Emit *e)
{
    return arena_copy(e->arena, e->parts, (e->part_count + 1) * sizeof *e->parts);
}

void loop_begin(Emit *e, Loop *loop, Ref lo, Ref hi, int64_t step, bool nonempty,
                const bool *written)
{
    *loop = (Loop){.hi = hi, .step = step, .nonempty = nonempty, .written = written};
    LLVMBasicBlockRef pre = block_new(e, "pre");
    loop->body = block_new(e, "body");
    loop->exit = block_new(e, "exit");
    loop->guard = level_block(e);
    level_at(e, e->level);
    if (nonempty)
        LLVMBuildBr(e->b, pre);
    else
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, lo, hi, ""), pre, loop->exit);
    loop->before = snapshot(e);
    loop->phis = NEW_ARRAY(e->arena, Ref, e->part_count + 1);
    level_push(e, pre);
    LLVMBuildBr(e->b, loop->body);
    level_push(e, loop->body);
    loop->var = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(loop->var, &lo, &pre, 1);
    for (uint32_t i = 0; i < e->part_count; i++) {
        if (!written || !written[i])
            continue;
        loop->phis[i] = LLVMBuildPhi(e->b, LLVMTypeOf(e->parts[i]), "");
        LLVMAddIncoming(loop->phis[i], &e->parts[i], &pre, 1);
        e->parts[i] = loop->phis[i];
    }
}

void loop_end(Emit *e, Loop *loop)
{
    level_at(e, e->level);
    if (loop->polls)
        emit_poll(e);
    LLVMBasicBlockRef last = level_block(e);
    Ref next = LLVMBuildNSWAdd(e->b, loop->var, const_int(e->i64, loop->step), "");
    Ref again = LLVMBuildICmp(e->b, LLVMIntSLT, next, loop->hi, "");
    LLVMBuildCondBr(e->b, again, loop->body, loop->exit);
    LLVMAddIncoming(loop->var, &next, &last, 1);
    for (uint32_t i = 0; i < e->part_count; i++) {
        if (!loop->phis[i])
            continue;
        if (e->parts[i] != loop->phis[i] && !LLVMGetFirstUse(loop->phis[i]))
            LLVMInstructionEraseFromParent(loop->phis[i]); /* each turn begins with its own */
        else
            LLVMAddIncoming(loop->phis[i], &e->parts[i], &last, 1);
    }
    level_pop(e);
    level_pop(e);
    e->levels[e->level].block = loop->exit;
    level_at(e, e->level);
    for (uint32_t i = 0; i < e->part_count && !loop->nonempty; i++) {
        if (e->parts[i] == loop->before[i])
            continue;
        Ref phi = LLVMBuildPhi(e->b, LLVMTypeOf(e->parts[i]), "");
        LLVMAddIncoming(phi, &loop->before[i], &loop->guard, 1);
        LLVMAddIncoming(phi, &e->parts[i], &last, 1);
        e->parts[i] = phi;
    }
}

void region_begin(Emit *e, Region *r, Ref cond)
{
    *r = (Region){.from = level_block(e), .before = snapshot(e)};
    LLVMBasicBlockRef then = block_new(e, "then");
    r->other = block_new(e, "else");
    r->merge = block_new(e, "join");
    level_at(e, e->level);
    LLVMBuildCondBr(e->b, cond, then, r->other);
    level_push(e, then);
}

void region_else(Emit *e, Region *r)
{
    r->then_end = level_block(e);
    level_at(e, e->level);
    LLVMBuildBr(e->b, r->merge);
    level_pop(e);
    r->then_parts = snapshot(e);
    memcpy(e->parts, r->before, e->part_count * sizeof *e->parts);
    e->levels[e->level].block = r->from;
    level_push(e, r->other);
}

void region_end(Emit *e, Region *r)
{
    if (!r->then_end)
        region_else(e, r);
    LLVMBasicBlockRef other_end = level_block(e);
    level_at(e, e->level);
    LLVMBuildBr(e->b, r->merge);
    level_pop(e);
    e->levels[e->level].block = r->merge;
    level_at(e, e->level);
    for (uint32_t i = 0; i < e->part_count; i++) {
        if (r->then_parts[i] == e->parts[i])
            continue;
        Ref phi = LLVMBuildPhi(e->b, LLVMTypeOf(e->parts[i]), "");
        LLVMAddIncoming(phi, &r->then_parts[i], &r->then_end, 1);
        LLVMAddIncoming(phi, &e->parts[i], &other_end, 1);
        e->parts[i] = phi;
    }
}
