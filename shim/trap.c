/* Traps: SIGSYS for system calls, the fault signals, and the way back to the program.
 *
 * The real kernel calls the handlers on the thread's shim stack; they call the simulated kernel, which may pass the
 * turn and come back much later. Whatever the program's own handlers are for these signals, ours stay installed.
 */
#include "../hot/kernel/process.h"
#include "../hot/kernel/signal.h"
#include "../hot/kernel/syscall.h"
#include "../hot/kernel/syscalls.h"
#include "shim.h"
#include <asm/prctl.h>
#include <asm/unistd.h>

/* Where shim_fast_entry's saved return address is, behind the six arguments and the stack pointer. */
#define FAST_RETURN 7
#define SHIM_IMAGE_SIZE 0x1000000u

static bool in_shim(uint64_t ip) { return ip - SHIM_BASE < SHIM_IMAGE_SIZE; }

void return_to_program(struct user_context *context, uint64_t number, int64_t result, uint64_t restart_ip) {
    struct task *task = thread_self()->task;
    struct sigcontext *registers = &context->registers;
    struct signal_delivery delivery;
    bool restartable = restart_ip && (result == -ERESTARTSYS || result == -ERESTARTNOHAND ||
                                      result == -ERESTARTNOINTR || result == -ERESTART_RESTARTBLOCK);
    bool handled = false;
    if (restart_ip && !restartable)
        registers->rax = (uint64_t)result;
    while (signal_next(task, &delivery)) {
        if (restartable && !handled) {
            if (result == -ERESTARTNOINTR || (result == -ERESTARTSYS && (delivery.action.flags & KSA_RESTART))) {
                registers->rax = number;
                registers->rip = restart_ip;
            } else {
                registers->rax = (uint64_t)-EINTR;
            }
        }
        handled = true;
        task->restart_deadline = 0;
        frame_build(context, &delivery);
    }
    if (restartable && !handled) {
        registers->rax = number;
        registers->rip = restart_ip;
    }
    registers->rip = rewrite_fix_ip(registers->rip);
}

struct fast_result shim_fast_call(uint64_t number, const uint64_t *arguments) {
    struct shim_thread *self = thread_self();
    struct task *task = self->task;
    self->resume_number = number;
    task->call_site = arguments[FAST_RETURN];
    if (syscall_needs_frame(number)) {
        self->resume_kind = RESUME_CALL;
        return (struct fast_result){0, 1};
    }
    struct host *host = task->host;
    enter_kernel(host);
    int64_t result = syscall_dispatch(task, number, arguments);
    self->resume_kind = RESUME_RESULT;
    struct fast_result fast = {result, task_signal_pending(task) || task->restore_mask || result == -ERESTARTSYS ||
                                           result == -ERESTARTNOHAND || result == -ERESTARTNOINTR ||
                                           result == -ERESTART_RESTARTBLOCK};
    leave_kernel(host);
    return fast;
}

/* The register frame of a call that changes it; clone reads it through thread_self()->frame. */
static void serve(struct shim_thread *self, struct user_context *context, uint64_t number, uint64_t restart_ip) {
    struct sigcontext *registers = &context->registers;
    const uint64_t arguments[6] = {registers->rdi, registers->rsi, registers->rdx,
                                   registers->r10, registers->r8,  registers->r9};
    struct user_context *outer = self->frame;
    self->frame = context;
    self->task->call_site = registers->rip;
    self->task->user_stack = registers->rsp;
    if (number == __NR_rt_sigreturn) {
        self->task->calls++;
        frame_restore(context);
        return_to_program(context, number, 0, 0);
    } else {
        int64_t result = syscall_dispatch(self->task, number, arguments);
        return_to_program(context, number, result, restart_ip);
    }
    self->frame = outer;
}

static void handle_system_call(int signo, struct siginfo *info, void *given) {
    struct user_context *context = given;
    struct shim_thread *self = thread_self();
    struct sigcontext *registers = &context->registers;
    (void)signo, (void)info;
    if (registers->rip == (uint64_t)shim_trap_site_end) { /* from a rewritten call site */
        uint64_t restart_ip = self->resume_ip - STUB_ENTER_LENGTH;
        registers->rip = self->resume_ip;
        if (self->resume_kind == RESUME_CALL)
            serve(self, context, self->resume_number, restart_ip);
        else
            return_to_program(context, self->resume_number, self->resume_result, restart_ip);
        return;
    }
    uint64_t number = registers->rax, ip = registers->rip;
    if (number < SYSCALL_LIMIT && number != __NR_rt_sigreturn)
        rewrite_site(ip, number);
    serve(self, context, number, ip - 2);
}

static void on_system_call(int signo, struct siginfo *info, void *given) {
    struct host *host = thread_self()->task->host;
    enter_kernel(host);
    handle_system_call(signo, info, given);
    leave_kernel(host);
}

static void handle_fault(struct shim_thread *self, int signo, struct siginfo *given_info,
                         struct user_context *context) {
    struct signal_info info;
    if (signo == KSIGSEGV && cpu_emulate(context, self->task)) {
        return_to_program(context, 0, 0, 0);
        return;
    }
    memcpy(&info, given_info, sizeof info);
    signal_force(self->task, signo, &info);
    return_to_program(context, 0, 0, 0);
}

static void on_fault(int signo, struct siginfo *info, void *given) {
    struct user_context *context = given;
    struct sigcontext *registers = &context->registers;
    if (in_shim(registers->rip)) {
        if (registers->rip - (uint64_t)shim_copy_begin < (uint64_t)(shim_copy_end - shim_copy_begin)) {
            registers->rip = (uint64_t)shim_copy_fault;
            return;
        }
        shim_panic("signal %d at 0x%lx (rsp 0x%lx, cr2 0x%lx): a fault of the simulator itself", signo,
                   (unsigned long)registers->rip, (unsigned long)registers->rsp, (unsigned long)registers->cr2);
    }
    struct shim_thread *self = thread_self();
    struct host *host = self->task->host;
    enter_kernel(host);
    handle_fault(self, signo, info, context);
    leave_kernel(host);
}

/* struct kernel_sigaction of the real kernel */
struct native_action {
    void (*handler)(int, struct siginfo *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

void shim_install_handlers(void) {
    static const int faults[] = {KSIGSEGV, KSIGBUS, KSIGFPE, KSIGILL, KSIGTRAP};
    struct native_action action = {on_system_call, KSA_SIGINFO | KSA_ONSTACK | KSA_NODEFER | KSA_RESTORER,
                                   shim_restorer, 0};
    uint64_t none = 0;
    (void)native(__NR_rt_sigaction, KSIGSYS, &action, 0, sizeof action.mask);
    action.handler = on_fault;
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++)
        (void)native(__NR_rt_sigaction, faults[i], &action, 0, sizeof action.mask);
    (void)native(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, 0, sizeof none);
}

/* ---- System calls that only the shim can serve ---- */

int64_t sys_arch_prctl(struct task *task, const uint64_t *a) {
    (void)task;
    switch (a[0]) {
    case ARCH_SET_FS:
    case ARCH_GET_FS:
        return native(__NR_arch_prctl, a[0], a[1]);
    case ARCH_SET_GS: /* %gs is how the shim finds its thread */
    case ARCH_GET_GS:
        return -EPERM;
    default:
        return -EINVAL;
    }
}

int64_t sys_rt_sigreturn(struct task *task, const uint64_t *a) {
    (void)task, (void)a;
    return -ENOSYS; /* served by `serve`, which has the frame */
}
