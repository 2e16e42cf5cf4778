/* Expressions as flat postfix programs: what plans carry and the runtime evaluates.
 *
 * A program is a list of (opcode, operand) pairs on a stack of at most 64 values; opcodes are the
 * enum below and are part of the plan format (append only). A sum is: const, then for each term the
 * term and `madd coef`, which pops x and adds coef * x to the new top. The program leaves one
 * value. */
#include "base/expr_impl.h"

typedef enum Opcode {
    OP_const, /* operand: the value */
    OP_slot,  /* operand: the slot */
    OP_madd,  /* operand: the coefficient */
    OP_mul,   /* the rest have operand 0 */
    OP_floordiv,
    OP_mod,
    OP_min,
    OP_max,
    OP_count
} Opcode;

enum { MAX_STACK = 64 };

typedef struct Emit {
    Cx *cx;
    int (*slot)(void *user, const Expr *sym);
    void *user;
    int64_t *words;
    uint32_t count, capacity;
} Emit;

static void emit(Emit *m, Opcode op, int64_t operand)
{
    VEC_PUSH(m->cx->arena, m->words, m->count, m->capacity, (int64_t)op);
    VEC_PUSH(m->cx->arena, m->words, m->count, m->capacity, operand);
}

static void emit_slot(Emit *m, const Expr *e)
{
    int slot = m->slot(m->user, e);
    if (slot < 0)
        cx_fail(m->cx, ST_internal, "no slot for symbol '%s'", e->name);
    emit(m, OP_slot, slot);
}

/* `depth` values are on the stack before. */
static void emit_expr(Emit *m, const Expr *e, int depth)
{
    if (depth >= MAX_STACK) {
        cx_fail(m->cx, ST_limit, "size expression is nested too deep (limit %d)", MAX_STACK);
        return;
    }
    if (e->count == 2 && e->kind != EX_sum) {
        emit_expr(m, e->args[0], depth);
        emit_expr(m, e->args[1], depth + 1);
    }
    switch (e->kind) {
    case EX_const: emit(m, OP_const, e->value); break;
    case EX_sym: emit_slot(m, e); break;
    case EX_sum:
        emit(m, OP_const, e->value);
        for (uint32_t i = 0; i < e->count; i++) {
            emit_expr(m, e->args[i], depth + 1);
            emit(m, OP_madd, e->coefs[i]);
        }
        break;
    case EX_mul: emit(m, OP_mul, 0); break;
    case EX_floordiv: emit(m, OP_floordiv, 0); break;
    case EX_mod: emit(m, OP_mod, 0); break;
    case EX_min: emit(m, OP_min, 0); break;
    case EX_max: emit(m, OP_max, 0); break;
    case EX_poison: cx_fail(m->cx, ST_limit, "size overflows"); break;
    }
}

ExprCode expr_compile(Cx *cx, const Expr *e, int (*slot)(void *user, const Expr *sym), void *user)
{
    Emit m = {.cx = cx, .slot = slot, .user = user};
    emit_expr(&m, e, 0);
    return (ExprCode){m.count, m.words};
}

bool expr_code_valid(ExprCode code, uint32_t slot_count)
{
    if (!code.words || code.count % 2)
        return false;
    int depth = 0;
    for (uint32_t i = 0; i < code.count; i += 2) {
        int64_t op = code.words[i], operand = code.words[i + 1];
        if (op < 0 || op >= OP_count)
            return false;
        if (op == OP_slot && (operand < 0 || operand >= (int64_t)slot_count))
            return false;
        if (op > OP_madd && operand != 0)
            return false;
        if (op > OP_slot && depth < 2)
            return false;
        depth += op <= OP_slot ? 1 : -1;
        if (depth > MAX_STACK)
            return false;
    }
    return depth == 1;
}

void expr_code_slots(ExprCode code, void (*visit)(void *user, uint32_t slot), void *user)
{
    for (uint32_t i = 0; i < code.count; i += 2)
        if (code.words[i] == OP_slot)
            visit(user, (uint32_t)code.words[i + 1]);
}

/* *a = *a op b */
static bool apply(Opcode op, int64_t operand, int64_t *a, int64_t b)
{
    switch (op) {
    case OP_madd:
        return !__builtin_mul_overflow(b, operand, &b) && !__builtin_add_overflow(*a, b, a);
    case OP_mul: return !__builtin_mul_overflow(*a, b, a);
    case OP_floordiv:
    case OP_mod: {
        if (b == 0 || (*a == INT64_MIN && b == -1))
            return false;
        int64_t remainder = *a % b;
        bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
        *a = op == OP_floordiv ? *a / b - adjust : remainder + (adjust ? b : 0);
        return true;
    }
    case OP_min: *a = *a < b ? *a : b; return true;
    case OP_max: *a = *a > b ? *a : b; return true;
    case OP_const:
    case OP_slot:
    case OP_count: break;
    }
    return false;
}

bool expr_code_run(ExprCode code, const int64_t *slots, int64_t *value)
{
    int64_t stack[MAX_STACK];
    int top = 0;
    for (uint32_t i = 0; i < code.count; i += 2) {
        Opcode op = (Opcode)code.words[i];
        int64_t operand = code.words[i + 1];
        if (op == OP_const) {
            stack[top++] = operand;
        } else if (op == OP_slot) {
            stack[top++] = slots[operand];
        } else {
            top--;
            if (!apply(op, operand, &stack[top - 1], stack[top]))
                return false;
        }
    }
    *value = stack[0];
    return true;
}
