#include "codegen/llvm_emit.h"
Ref emit_math(Emit *e, ScalarOp op, Ref *args, int width)
{
    (void)e;
    (void)op;
    (void)args;
    (void)width;
    return NULL;
}
