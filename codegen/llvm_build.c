/* The entry points of the LLVM module: LLVM's objects are made, filled by llvm_program.c, verified,
 * compiled and released.
 *
 * Anything that fails inside, out of memory included, jumps back here first, so that nothing of
 * LLVM's leaks and no clean-up points into this module after it is unloaded. */
#include <llvm-c/Analysis.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/llvm_emit.h"

typedef enum Form { FORM_object, FORM_text, FORM_assembly } Form;

typedef struct Job {
    Emit e;
    Form form;
    LLVMTargetMachineRef machine;
    LLVMMemoryBufferRef buffer;
    char *message;
    char note[512]; /* first diagnostic of LLVM */
} Job;

_Noreturn void emit_fail(Emit *e, Status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    Text text;
    text_init(&text, e->arena);
    text_addv(&text, fmt, args);
    va_end(args);
    cx_fail(e->cx, status, "%s", text.data);
    longjmp(e->cx->oom, 2);
}

static void init_targets(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
#ifdef QUERN_LLVM_PRIVATE
    /* Addresses are already in the form loop strength reduction strives for. The machine scheduler
     * undoes the order of loads and multiply-adds that the emitter chose, and spills where several
     * steps of k stand in one block. The options are global to LLVM, so only where this LLVM is our
     * own. */
    static const char *const options[] = {"quern",
                                          "-disable-lsr",
                                          "-enable-misched=0",
                                          "-x86-machine-combiner=0",
                                          "-x86-cmov-converter=0",
                                          "-disable-x86-domain-reassignment"};
    LLVMParseCommandLineOptions(sizeof options / sizeof *options, options, NULL);
#endif
}

static void take_diagnostic(LLVMDiagnosticInfoRef info, void *user)
{
    Job *job = user;
    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || job->note[0])
        return;
    char *text = LLVMGetDiagInfoDescription(info);
    strncpy(job->note, text, sizeof job->note - 1);
    LLVMDisposeMessage(text);
}

static void open_machine(Job *job, const Caps *caps)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_targets);
    Emit *e = &job->e;
    LLVMTargetRef target;
    if (caps->kind != TK_cpu || LLVMGetTargetFromTriple(caps->triple, &target, &job->message))
        emit_fail(e, ST_unsupported, "the LLVM module generates no code for %s", caps->name);
    job->machine =
        LLVMCreateTargetMachine(target, caps->triple, caps->cpu, caps->features,
                                LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
    if (!job->machine)
        emit_fail(e, ST_unsupported, "LLVM does not know the CPU of %s", caps->name);
    e->llvm = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(e->llvm, take_diagnostic, job);
    e->module = LLVMModuleCreateWithNameInContext("quern", e->llvm);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(job->machine);
    LLVMSetTarget(e->module, caps->triple);
    LLVMSetModuleDataLayout(e->module, layout);
    LLVMDisposeTargetData(layout);
    e->b = LLVMCreateBuilderInContext(e->llvm);
    e->f32 = LLVMFloatTypeInContext(e->llvm);
    e->f64 = LLVMDoubleTypeInContext(e->llvm);
    e->f16 = LLVMHalfTypeInContext(e->llvm);
    e->i1 = LLVMInt1TypeInContext(e->llvm);
    e->i8 = LLVMInt8TypeInContext(e->llvm);
    e->i16 = LLVMInt16TypeInContext(e->llvm);
    e->i32 = LLVMInt32TypeInContext(e->llvm);
    e->i64 = LLVMInt64TypeInContext(e->llvm);
    e->ptr = LLVMPointerTypeInContext(e->llvm, 0);
    e->lanes = caps->vector_bits / 32;
    if (e->lanes < 4 || e->lanes > MAX_LANES)
        emit_fail(e, ST_unsupported, "%s: vectors of %d bits", caps->name, caps->vector_bits);
    for (int i = 1; i < 5; i++)
        e->lane_syms[i] = expr_sym(e->cx, "lane", 0, (1 << i) - 1, 1);
}

static void close_job(Job *job)
{
    if (job->buffer)
        LLVMDisposeMemoryBuffer(job->buffer);
    if (job->message)
        LLVMDisposeMessage(job->message);
    if (job->e.b)
        LLVMDisposeBuilder(job->e.b);
    if (job->e.module)
        LLVMDisposeModule(job->e.module);
    if (job->machine)
        LLVMDisposeTargetMachine(job->machine);
    if (job->e.llvm)
        LLVMContextDispose(job->e.llvm);
}

static void fill(Job *job, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options)
{
    Emit *e = &job->e;
    open_machine(job, caps);
    e->caps = caps;
    for (int i = 0; i < count; i++) {
        ArenaMark mark = arena_mark(e->arena);
        (void)mark; /* expressions live in the same arena: nothing can be reset here */
        memset(e->levels, 0, sizeof e->levels);
        emit_program(e, progs[i]);
    }
    if (!options.no_verify && LLVMVerifyModule(e->module, LLVMReturnStatusAction, &job->message))
        emit_fail(e, ST_internal, "bad LLVM IR: %.800s", job->message);
    if (job->message) { /* an empty one, when there was nothing to say */
        LLVMDisposeMessage(job->message);
        job->message = NULL;
    }
    if (job->form == FORM_text)
        return;
    LLVMCodeGenFileType type = job->form == FORM_object ? LLVMObjectFile : LLVMAssemblyFile;
    if (LLVMTargetMachineEmitToMemoryBuffer(job->machine, e->module, type, &job->message,
                                            &job->buffer))
        emit_fail(e, ST_internal, "LLVM: %.800s", job->message ? job->message : "no code");
    if (job->note[0])
        emit_fail(e, ST_internal, "LLVM: %s", job->note);
}

/* `result` points into memory of the arena. */
static bool run(Cx *cx, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options,
                Form form, ObjectBytes *result)
{
    Job *job = NEW(cx->arena, Job);
    job->form = form;
    job->e.cx = cx;
    job->e.arena = cx->arena;
    /* All arenas of the job, the expressions' too, jump through cx->oom: it is ours for a while. */
    jmp_buf outer;
    memcpy(&outer, &cx->oom, sizeof outer);
    int code = setjmp(cx->oom);
    if (code == 0) {
        fill(job, progs, count, caps, options);
        const char *data = job->buffer ? LLVMGetBufferStart(job->buffer) : NULL;
        size_t size = job->buffer ? LLVMGetBufferSize(job->buffer) : 0;
        if (form == FORM_text) {
            job->message = LLVMPrintModuleToString(job->e.module);
            data = job->message;
            size = strlen(data);
        }
        result->data = arena_copy(cx->arena, data, size);
        result->size = size;
    }
    memcpy(&cx->oom, &outer, sizeof outer);
    close_job(job);
    if (code == 1) /* out of memory: the caller's handler goes on */
        longjmp(cx->oom, 1);
    return !cx_failed(cx);
}

bool llvm_emit(Cx *cx, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options,
               ObjectBytes *out)
{
    return run(cx, progs, count, caps, options, FORM_object, out);
}

static bool to_text(Cx *cx, TileProg *const *progs, int count, const Caps *caps,
                    LlvmOptions options, Form form, Text *out)
{
    ObjectBytes bytes;
    if (!run(cx, progs, count, caps, options, form, &bytes))
        return false;
    text_put(out, (const char *)bytes.data, bytes.size);
    return true;
}

bool llvm_text(Cx *cx, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options,
               Text *out)
{
    return to_text(cx, progs, count, caps, options, FORM_text, out);
}

bool llvm_asm(Cx *cx, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options,
              Text *out)
{
    return to_text(cx, progs, count, caps, options, FORM_assembly, out);
}

LlvmApiGet quern_llvm_api;
__attribute__((visibility("default"))) const LlvmApi *quern_llvm_api(void)
{
    static const LlvmApi api = {.version = LLVM_API,
                                .emit = llvm_emit,
                                .text = llvm_text,
                                .assembly = llvm_asm,
                                .shutdown = LLVMShutdown};
    return &api;
}
