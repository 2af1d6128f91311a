/* The shim: what is native inside a managed process.
 *
 *   start.c    the process's first code: maps the program as the kernel would, installs the trap, jumps
 *   trap.c     SIGSYS and faults: dispatch into the simulated kernel, the way back to the program
 *   frame.c    signal frames: building a handler's, taking one back
 *   thread.c   per-thread stacks, clone, passing the turn
 *   rewrite.c  call sites that enter without a trap
 *   cpu.c      cpuid and the time-stamp counter
 *   platform.c what the simulated kernel asks of the process that runs it
 *   entry.S    everything that is not C
 *
 * No libc, no thread-local storage, no floating point: the program owns all of these.
 */
#ifndef ANTUMBRA_SHIM_H
#define ANTUMBRA_SHIM_H

#include "../hot/kernel/kernel.h"
#include "layout.h"
#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/ucontext.h>

struct user_context { /* struct ucontext, with the whole 64-bit signal mask */
    unsigned long flags;
    struct ucontext *link;
    stack_t stack;
    struct sigcontext registers;
    uint64_t mask;
};

enum resume_kind { RESUME_CALL, RESUME_RESULT };
struct shim_thread { /* offsets: layout.h */
    struct shim_thread *self;
    uint64_t stack_top;
    uint64_t user_stack;
    uint64_t resume_ip; /* where a rewritten call site goes on */
    int64_t resume_result;
    uint64_t resume_number;
    uint64_t resume_kind;
    struct task *task;
    struct user_context *frame; /* of the trap that is being served */
    uint32_t alive;             /* cleared by the real kernel when the thread is gone */
};
_Static_assert(offsetof(struct shim_thread, resume_result) == THREAD_RESUME_RESULT, "entry.S");

static inline struct shim_thread *thread_self(void) {
    struct shim_thread *self;
    __asm__("mov %%gs:0, %0" : "=r"(self));
    return self;
}

static inline int64_t native6(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    int64_t result;
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
/* Between these the arena may be half changed: a process that dies there takes its host with it (hot/engine/turn.c). */
static inline void enter_kernel(struct host *host) { __atomic_store_n(&host->in_kernel, true, __ATOMIC_RELEASE); }
static inline void leave_kernel(struct host *host) { __atomic_store_n(&host->in_kernel, false, __ATOMIC_RELEASE); }

#define native(number, ...) native_(number, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define native_(number, a, b, c, d, e, f, ...)                                                                         \
    native6(number, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))

/* entry.S */
int64_t shim_copy(void *destination, const void *source, size_t length);          /* 0 or -EFAULT */
int64_t shim_copy_string(char *destination, const char *source, size_t capacity); /* length, or as string_from_user */
extern char shim_copy_begin[], shim_copy_end[], shim_copy_fault[];
extern char shim_trap_site_end[];
void shim_fast_entry(void);
void shim_restorer(void);
__attribute__((noreturn)) void shim_sigreturn(struct user_context *context);
__attribute__((noreturn)) void shim_enter_program(uint64_t entry, uint64_t stack);
int64_t shim_clone(uint64_t flags, void *stack, uint32_t *child_tid, uint64_t tls);
__attribute__((noreturn)) void shim_leave(uint64_t number, uint64_t status); /* exit or exit_group, no stack used */

/* trap.c */
struct fast_result {
    int64_t result, trap;
};
struct fast_result shim_fast_call(uint64_t number, const uint64_t *arguments);
void shim_install_handlers(void);
/* The last steps before the program goes on: signals, restarts. restart_ip 0: not a system call. */
void return_to_program(struct user_context *context, uint64_t number, int64_t result, uint64_t restart_ip);

/* frame.c */
void frame_build(struct user_context *context, const void *delivery);
void frame_restore(struct user_context *context);
void frame_copy(struct user_context *to, void *fp_state, const struct user_context *from);
size_t frame_fp_size(const struct user_context *context);

/* thread.c */
void thread_initialise(struct task *task);
void shim_child_start(struct shim_thread *thread) __attribute__((noreturn));
void turn_wait(struct task *task);

/* rewrite.c */
void rewrite_site(uint64_t ip, uint64_t number);
/* An executable segment of an open file is about to be mapped at [start, end), with a load bias. True: some of its call
 * sites are known; it is to be mapped writable, and rewrite_known called then. */
bool rewrite_expects(struct host *host, int64_t fd, uint64_t base, uint64_t start, uint64_t end);
void rewrite_known(void);
uint64_t rewrite_fix_ip(uint64_t ip);

/* cpu.c */
bool cpu_emulate(struct user_context *context, struct task *task);
#define CPU_HWCAP 0x078bfbffu /* CPUID 1 EDX of the baseline */

/* platform.c */
__attribute__((noreturn)) void shim_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
