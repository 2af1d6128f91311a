/* See guard.h. One engine runs in one thread of a process at a time, so there is one state.
 *
 * A call that is ended leaves by siglongjmp, also out of a signal handler: kernel code holds nothing of the shard's
 * (no lock, no allocation), and what it left half done is in the arena of a host that is given up.
 */
#include "guard.h"
#include "engine.h"
#include "hot/kernel/kernel.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Of the thread's stack, from the frame of guard_call: for what it calls, and for its callers' contexts. */
#define STACK_BELOW (UINT64_C(1) << 20)
#define STACK_ABOVE (UINT64_C(64) << 10)
#define STUCK_AFTER 4 /* ticks */
#define TICK_SIGNAL (SIGRTMAX - 2)
#define HANDLER_STACK 65536

static struct {
    sigjmp_buf point;
    bool active;
    pid_t thread;
    struct host *kernel;
    uintptr_t stack;
    uint64_t steps;
    const char *problem;
    /* of the timer */
    uint64_t seen_steps;
    int64_t seen_now;
    int standing;
} guard;

uintptr_t guard_arena;

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE};
static struct sigaction previous[ARRAY_LENGTH(faults)];

bool guard_active(void) { return guard.active; }
const char *guard_problem(void) { return guard.problem; }

void guard_suspend(void) {
    guard.active = false;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void guard_resume(void) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    guard.steps++;
    guard.active = true;
}

void guard_fail(const char *problem) {
    guard.problem = problem;
    guard.active = false;
    siglongjmp(guard.point, 1);
}

bool guard_holds(const struct host *kernel, const void *memory, size_t size) {
    uintptr_t offset = (uintptr_t)memory - (uintptr_t)kernel;
    return offset < ARENA_STRIDE && size <= ARENA_STRIDE - offset && (uintptr_t)memory % 8 == 0;
}

void guard_check_other_store(uintptr_t address, size_t size) {
    if (!guard.active || size == 0)
        return;
    if (address - (guard.stack - STACK_BELOW) < STACK_BELOW + STACK_ABOVE - size && size < STACK_ABOVE)
        return;
    guard_fail("a store outside of the host's memory");
}

static bool ours(void) { return guard.active && (pid_t)syscall(SYS_gettid) == guard.thread; }

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    if (ours())
        guard_fail(number == SIGFPE ? "a division by zero" : "a wild pointer");
    /* If that was not the reason it comes again. */
    if (number == SIGSEGV && (pid_t)syscall(SYS_gettid) == guard.thread && cpu_release())
        return;
    /* Somebody else's: it comes again, to whoever was there before. */
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++)
        if (faults[i] == number)
            sigaction(number, &previous[i], NULL);
}

/* The kernel's clock moves, or calls come and go, or it walks in circles. */
static void on_tick(int number) {
    (void)number;
    if (!ours())
        return;
    int64_t now = guard.kernel->now;
    bool moves = guard.seen_steps != guard.steps || guard.seen_now != now;
    guard.seen_steps = guard.steps;
    guard.seen_now = now;
    guard.standing = moves ? 0 : guard.standing + 1;
    if (guard.standing >= STUCK_AFTER)
        guard_fail("a list without an end");
}

int guard_start(void) {
    /* A process that was forked off inherits the handlers, and not the timer. */
    static bool installed;
    pid_t thread = (pid_t)syscall(SYS_gettid);
    if (guard.thread == thread)
        return 0;
    guard.thread = thread;
    /* Recursion without an end leaves no stack to run a handler on. */
    static char handler_stack[HANDLER_STACK];
    stack_t stack;
    if (sigaltstack(NULL, &stack))
        return -1;
    if (stack.ss_flags & SS_DISABLE) {
        stack = (stack_t){.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
        if (sigaltstack(&stack, NULL))
            return -1;
    }
    /* SA_NODEFER: a handler that leaves by siglongjmp leaves its signal unblocked. */
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    for (size_t i = 0; i < ARRAY_LENGTH(faults) && !installed; i++)
        if (sigaction(faults[i], &action, &previous[i]))
            return -1;
    installed = true;
    action = (struct sigaction){.sa_handler = on_tick, .sa_flags = SA_ONSTACK | SA_NODEFER | SA_RESTART};
    if (sigaction(TICK_SIGNAL, &action, NULL))
        return -1;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK_SIGNAL};
    event._sigev_un._tid = thread;
    /* CPU time: a shard that waits is not woken. */
    const struct itimerspec tick = {{0, 500000000}, {0, 500000000}};
    timer_t timer;
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) || timer_settime(timer, 0, &tick, NULL))
        return -1;
    return 0;
}

bool guard_call(struct host *kernel, void (*body)(struct host *kernel, void *context), void *context) {
    if (sigsetjmp(guard.point, 0))
        return false;
    guard.kernel = kernel;
    guard_arena = (uintptr_t)kernel;
    guard.stack = (uintptr_t)__builtin_frame_address(0);
    guard.steps++;
    guard.active = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    body(kernel, context);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    guard.active = false;
    return true;
}
