/* Signal frames: what a handler finds on the stack (Linux, arch/x86/kernel/signal_64.c), and what sigreturn takes back.
 *
 * trap.c calls these. The floating-point part is the 512-byte FXSAVE image: the baseline CPU has nothing beyond SSE, so
 * frames have one size on every machine.
 */
#include "../hot/kernel/signal.h"
#include "shim.h"

#define FXSAVE_SIZE 512u
#define FX_SOFTWARE_BYTES 464u /* struct _fpx_sw_bytes in the FXSAVE image */
#define XSTATE_MAGIC1 0x46505853u
#define RED_ZONE 128u

struct rt_frame {
    uint64_t restorer;
    struct user_context context;
    struct signal_info info;
};

/* Bytes of the floating-point state behind a frame of the real kernel. */
size_t frame_fp_size(const struct user_context *context) {
    const uint8_t *state = (const uint8_t *)context->registers.fpstate;
    uint32_t magic, size;
    if (!state)
        return 0;
    memcpy(&magic, state + FX_SOFTWARE_BYTES, sizeof magic);
    memcpy(&size, state + FX_SOFTWARE_BYTES + 4, sizeof size);
    return magic == XSTATE_MAGIC1 ? size : FXSAVE_SIZE;
}

void frame_copy(struct user_context *to, void *fp_state, const struct user_context *from) {
    *to = *from;
    if (!from->registers.fpstate)
        return;
    memcpy(fp_state, (const void *)from->registers.fpstate, frame_fp_size(from));
    to->registers.fpstate = fp_state;
}

void frame_build(struct user_context *context, const void *given) {
    const struct signal_delivery *delivery = given;
    struct task *task = thread_self()->task;
    struct sigcontext *registers = &context->registers;
    uint64_t stack = registers->rsp - RED_ZONE;
    if ((delivery->action.flags & KSA_ONSTACK) && task->altstack_size && !signal_on_altstack(task, registers->rsp))
        stack = task->altstack_base + task->altstack_size;
    uint64_t fp_state = (stack - FXSAVE_SIZE) & ~UINT64_C(63);
    uint64_t at = ((fp_state - sizeof(struct rt_frame)) & ~UINT64_C(15)) - 8; /* as after a call instruction */
    struct rt_frame frame;
    memset(&frame, 0, sizeof frame);
    frame.restorer = delivery->action.restorer;
    frame.context = *context;
    frame.context.flags = 0; /* no extended state */
    frame.context.link = NULL;
    frame.context.stack.ss_sp = (void *)task->altstack_base;
    frame.context.stack.ss_size = task->altstack_size;
    frame.context.stack.ss_flags = task->altstack_flags;
    if (task->altstack_flags & KSS_AUTODISARM) { /* comes back with the frame */
        task->altstack_base = task->altstack_size = 0;
        task->altstack_flags = KSS_DISABLE;
    }
    frame.context.mask = delivery->saved_mask;
    frame.context.registers.fpstate = (void *)fp_state;
    frame.context.registers.oldmask = delivery->saved_mask;
    frame.info = delivery->info;
    int result = copy_to_user(at, &frame, sizeof frame);
    if (result == 0 && registers->fpstate) {
        uint8_t image[FXSAVE_SIZE];
        memcpy(image, (const void *)registers->fpstate, sizeof image);
        memset(image + FX_SOFTWARE_BYTES, 0, FXSAVE_SIZE - FX_SOFTWARE_BYTES);
        result = copy_to_user(fp_state, image, sizeof image);
    }
    if (result) { /* no stack to run the handler on: fatal, as in Linux */
        task->process->actions[KSIGSEGV - 1].handler = KSIG_DFL;
        task->signal_mask &= ~signal_bit(KSIGSEGV);
        (void)signal_send_task(task, KSIGSEGV, NULL);
        return;
    }
    registers->rsp = at;
    registers->rip = delivery->action.handler;
    registers->rdi = (uint32_t)delivery->signo;
    registers->rsi = at + offsetof(struct rt_frame, info);
    registers->rdx = at + offsetof(struct rt_frame, context);
    registers->rax = 0;
    registers->eflags &= ~0x500ull; /* TF, DF */
}

void frame_restore(struct user_context *context) {
    struct task *task = thread_self()->task;
    struct user_context given;
    if (copy_from_user(&given, context->registers.rsp, sizeof given)) {
        signal_force(task, KSIGSEGV, NULL);
        return;
    }
    void *fp_state = context->registers.fpstate;
    uint64_t flags = context->registers.eflags;
    uint16_t cs = context->registers.cs, gs = context->registers.gs, fs = context->registers.fs,
             ss = context->registers.ss;
    context->registers = given.registers;
    context->registers.fpstate = fp_state;
    context->registers.cs = cs;
    context->registers.gs = gs;
    context->registers.fs = fs;
    context->registers.ss = ss;
    /* What a program may change of its flags (FIX_EFLAGS of the kernel). */
    context->registers.eflags = (flags & ~UINT64_C(0x50dd5)) | (given.registers.eflags & UINT64_C(0x50dd5));
    signal_set_mask(task, given.mask);
    if (!(given.stack.ss_flags & ~(KSS_ONSTACK | KSS_DISABLE | KSS_AUTODISARM))) {
        task->altstack_base = (uint64_t)given.stack.ss_sp;
        task->altstack_size = given.stack.ss_size;
        task->altstack_flags = given.stack.ss_flags & ~KSS_ONSTACK;
    }
    uint8_t image[FX_SOFTWARE_BYTES];
    if (!fp_state || !given.registers.fpstate || copy_from_user(image, (uint64_t)given.registers.fpstate, sizeof image))
        return;
    memcpy(fp_state, image, 416); /* x87, MXCSR and the sixteen XMM registers */
    uint32_t magic;
    memcpy(&magic, (const uint8_t *)fp_state + FX_SOFTWARE_BYTES, sizeof magic);
    if (magic == XSTATE_MAGIC1)
        ((uint8_t *)fp_state)[FXSAVE_SIZE] |= 3; /* XSTATE_BV: x87 and SSE are present in the image */
}
