/* Threads and processes as the real kernel knows them: per-thread stacks, clone, and passing the turn.
 *
 * hot/kernel/process.c decides what is born; here it is made real. A new thread never runs program code before it has
 * the turn.
 */
#include "shim.h"
#include <asm/mman.h>
#include <asm/prctl.h>
#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>

/* ---- The turn ---- */

static void give_turn(struct host *host, struct task *next) {
    uint32_t *word = next ? &next->turn : &host->shard_turn;
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
    (void)native(__NR_futex, word, FUTEX_WAKE, 1);
}

void turn_wait(struct task *task) {
    while (!__atomic_load_n(&task->turn, __ATOMIC_ACQUIRE))
        (void)native(__NR_futex, &task->turn, FUTEX_WAIT, 0, 0);
    task->turn = 0;
}

void platform_switch(struct host *host, struct task *self, struct task *next) {
    if (next == self)
        return;
    give_turn(host, next);
    turn_wait(self);
}

void platform_exit(struct host *host, struct task *next, bool whole_process) {
    give_turn(host, next);
    /* From here on the arena and the program's memory may change under us: no stack, no data. */
    shim_leave(whole_process ? __NR_exit_group : __NR_exit, 0);
}

/* ---- Stacks ---- */

static uint8_t slot_mapped[SHIM_THREAD_LIMIT];

static struct shim_thread *slot_thread(size_t slot) {
    return (struct shim_thread *)(SHIM_THREADS + (slot + 1) * SHIM_THREAD_SIZE) - 1;
}

static struct shim_thread *thread_allocate(struct task *task) {
    for (size_t slot = 0; slot < SHIM_THREAD_LIMIT; slot++) {
        struct shim_thread *thread = slot_thread(slot);
        if (!slot_mapped[slot]) {
            uint64_t start = SHIM_THREADS + slot * SHIM_THREAD_SIZE + 4096;
            int64_t result = native(__NR_mmap, start, SHIM_THREAD_SIZE - 4096, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
            if (result != (int64_t)start)
                return NULL;
            slot_mapped[slot] = 1;
        } else if (__atomic_load_n(&thread->alive, __ATOMIC_ACQUIRE)) {
            continue;
        }
        memset(thread, 0, sizeof *thread);
        thread->self = thread;
        thread->stack_top = (uint64_t)thread & ~UINT64_C(63);
        thread->task = task;
        thread->alive = 1;
        return thread;
    }
    return NULL;
}

static uint64_t stack_base(const struct shim_thread *thread) {
    return ((uint64_t)thread & ~(uint64_t)(SHIM_THREAD_SIZE - 1)) + 4096;
}

void thread_initialise(struct task *task) {
    struct shim_thread *thread = thread_allocate(task);
    if (!thread)
        shim_panic("no memory for the first thread's stack");
    (void)native(__NR_arch_prctl, ARCH_SET_GS, thread);
    stack_t stack = {.ss_sp = (void *)stack_base(thread), .ss_size = thread->stack_top - stack_base(thread)};
    if (native(__NR_sigaltstack, &stack, 0) < 0)
        shim_panic("sigaltstack failed");
}

/* ---- Clone ---- */

void shim_child_start(struct shim_thread *thread) {
    struct task *task = thread->task;
    (void)native(__NR_arch_prctl, ARCH_SET_GS, thread);
    if (task->process->tasks.next == &task->process_node)
        (void)native(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
    turn_wait(task);
    if (task->set_child_tid) {
        int32_t tid = task->tid;
        if (copy_to_user(task->set_child_tid, &tid, sizeof tid)) /* as Linux: a bad address is the program's loss */
            task->clear_child_tid = 0;
        task->set_child_tid = 0;
    }
    return_to_program(thread->frame, 0, 0, 0);
    leave_kernel(task->host);
    shim_sigreturn(thread->frame);
}

/* The child's way back: a copy of the caller's trap frame on the child's own stack. */
static struct user_context *prepare_frame(struct shim_thread *thread, const struct user_context *from, uint64_t stack) {
    uint64_t top = thread->stack_top - 4096;
    uint64_t fp_state = (top - frame_fp_size(from)) & ~UINT64_C(63);
    struct user_context *context = (struct user_context *)((fp_state - sizeof *context - 64) & ~UINT64_C(15));
    frame_copy(context, (void *)fp_state, from);
    context->stack.ss_sp = (void *)stack_base(thread);
    context->stack.ss_size = thread->stack_top - stack_base(thread);
    context->stack.ss_flags = 0;
    context->registers.rax = 0;
    if (stack)
        context->registers.rsp = stack;
    return context;
}

static int64_t clone_sharing(struct shim_thread *self, struct task *child, const struct clone_request *request,
                             bool new_process) {
    struct shim_thread *thread = thread_allocate(child);
    if (!thread)
        return -EAGAIN;
    thread->frame = prepare_frame(thread, self->frame, request->stack);
    uint64_t *stack = (uint64_t *)thread->frame - 16;
    *stack = (uint64_t)thread;
    uint64_t flags = CLONE_VM | CLONE_CHILD_CLEARTID | (request->flags & CLONE_SETTLS);
    flags |= new_process ? (uint64_t)CLONE_PARENT
                         : (uint64_t)(CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM);
    int64_t result = shim_clone(flags, stack, &thread->alive, request->tls);
    if (result < 0)
        thread->alive = 0;
    return result;
}

static int64_t clone_copying(struct shim_thread *self, struct task *child, const struct clone_request *request) {
    struct user_context *frame = self->frame;
    int64_t result = native(__NR_clone, CLONE_PARENT, 0, 0, 0, 0);
    if (result != 0)
        return result;
    /* The child: alone in a copy of everything, on a copy of this very stack. */
    for (size_t slot = 0; slot < SHIM_THREAD_LIMIT; slot++)
        if (slot_mapped[slot] && slot_thread(slot) != self)
            slot_thread(slot)->alive = 0;
    self->task = child;
    frame->registers.rax = 0;
    if (request->stack)
        frame->registers.rsp = request->stack;
    if (request->flags & CLONE_SETTLS)
        (void)native(__NR_arch_prctl, ARCH_SET_FS, request->tls);
    shim_child_start(self);
}

int64_t platform_clone(struct task *parent, struct task *child, const struct clone_request *request) {
    struct shim_thread *self = thread_self();
    (void)parent;
    if (request->flags & CLONE_CHILD_SETTID)
        child->set_child_tid = request->child_tid;
    if (request->flags & CLONE_THREAD)
        return clone_sharing(self, child, request, false);
    if (request->flags & CLONE_VM)
        return clone_sharing(self, child, request, true);
    return clone_copying(self, child, request);
}
