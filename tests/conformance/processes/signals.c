/* Handlers, masks, flags, pending signals and their order, sigsuspend, sigwait, the alternate stack. */
#include "calls.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

static char order[256];
static volatile sig_atomic_t count, nested;
static char *volatile nowhere = (char *)8;

static void note(int signo) {
    size_t length = strlen(order);
    snprintf(order + length, sizeof order - length, " %d", signo);
    count++;
}

static void note_info(int signo, siginfo_t *info, void *context) {
    size_t length = strlen(order);
    (void)context;
    snprintf(order + length, sizeof order - length, " %d/%d/%d", signo, info->si_code, info->si_value.sival_int);
}

static void show_order(const char *what) {
    printf("%s:%s\n", what, order);
    order[0] = '\0';
    count = 0;
}

static sigset_t set_of(int first, int second) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    if (second)
        sigaddset(&set, second);
    return set;
}

static void handle(int signo, void (*handler)(int), int flags, int also_blocked) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    if (also_blocked)
        sigaddset(&action.sa_mask, also_blocked);
    sigaction(signo, &action, NULL);
}

static void queues(void) {
    sigset_t all, old, pending;
    sigfillset(&all);
    struct sigaction action = {.sa_sigaction = note_info, .sa_flags = SA_SIGINFO, .sa_mask = all};
    sigaction(SIGRTMIN, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    sigprocmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < 3; i++) {
        sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + i});
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 20 + i});
        sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 30 + i});
        kill(getpid(), SIGUSR1);
    }
    sigpending(&pending);
    printf("pending: %d %d %d %d\n", sigismember(&pending, SIGRTMIN), sigismember(&pending, SIGRTMIN + 1),
           sigismember(&pending, SIGUSR1), sigismember(&pending, SIGHUP));
    sigprocmask(SIG_SETMASK, &old, NULL);
    show_order("queued, all blocked in handlers");

    action.sa_mask = (sigset_t){0};
    sigaction(SIGRTMIN, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    sigprocmask(SIG_SETMASK, &all, &old);
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 2});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1});
    sigprocmask(SIG_SETMASK, &old, NULL);
    show_order("queued, handlers nest");

    sigprocmask(SIG_SETMASK, &all, &old);
    raise(SIGRTMIN);
    kill(getpid(), SIGRTMIN);
    sigprocmask(SIG_SETMASK, &old, NULL);
    show_order("thread's before the process's");
}

static void nest(int signo) {
    (void)signo;
    if (++nested == 1) {
        raise(SIGUSR1);
        printf("  inside the first: nested %d\n", nested);
    }
}

static void flags(void) {
    struct sigaction old;
    handle(SIGUSR1, nest, 0, 0);
    nested = 0;
    raise(SIGUSR1);
    printf("without SA_NODEFER: %d\n", nested);
    handle(SIGUSR1, nest, SA_NODEFER, 0);
    nested = 0;
    raise(SIGUSR1);
    printf("with SA_NODEFER: %d\n", nested);
    handle(SIGUSR1, note, (int)SA_RESETHAND, SIGUSR2);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &old);
    HOLDS(old.sa_handler == SIG_DFL);
    show_order("SA_RESETHAND");
    handle(SIGUSR1, note, SA_RESTART | SA_NODEFER, SIGHUP);
    sigaction(SIGUSR1, NULL, &old);
    printf("flags 0x%x, mask HUP %d USR2 %d\n", (unsigned)old.sa_flags & ~0x04000000u,
           sigismember(&old.sa_mask, SIGHUP), sigismember(&old.sa_mask, SIGUSR2));
    handle(SIGUSR1, SIG_DFL, 0, 0);
    struct sigaction action = {.sa_handler = note};
    FACT(sigaction(SIGKILL, &action, NULL));
    FACT(sigaction(SIGSTOP, &action, NULL));
    FACT(sigaction(SIGKILL, NULL, &old));
    FACT(sigaction(0, &action, NULL));
    FACT(sigaction(65, &action, NULL));
    FACT(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    FACT(syscall(SYS_rt_sigprocmask, 9, &old, NULL, 8));
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigprocmask(SIG_SETMASK, NULL, &set);
    printf("KILL can be blocked: %d, STOP: %d\n", sigismember(&set, SIGKILL), sigismember(&set, SIGSTOP));
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

static void ignoring(void) {
    sigset_t set = set_of(SIGUSR1, SIGUSR2), pending;
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    sigpending(&pending);
    printf("ignored and blocked, pending: %d\n", sigismember(&pending, SIGUSR1));
    signal(SIGUSR1, note);
    sigpending(&pending);
    printf("then handled, pending: %d\n", sigismember(&pending, SIGUSR1));
    raise(SIGUSR2);
    signal(SIGUSR2, SIG_IGN);
    sigpending(&pending);
    printf("pending, then ignored: %d\n", sigismember(&pending, SIGUSR2));
    signal(SIGUSR2, note);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    show_order("heard");
    signal(SIGCHLD, SIG_DFL);
    set = set_of(SIGCHLD, SIGURG);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGCHLD);
    sigpending(&pending);
    printf("SIGCHLD by default, blocked: pending %d\n", sigismember(&pending, SIGCHLD));
    signal(SIGCHLD, note);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    show_order("heard");
    signal(SIGCHLD, SIG_DFL);
    set = set_of(SIGUSR1, SIGUSR2);
}

static void waiting(void) {
    sigset_t set = set_of(SIGUSR1, SIGRTMIN + 2), old, none;
    siginfo_t info;
    int signo = 0;
    struct timespec time = {0, 1000000};
    signal(SIGUSR1, note);
    signal(SIGUSR2, note);
    sigemptyset(&none);
    sigprocmask(SIG_BLOCK, &set, &old);
    FACT(sigtimedwait(&set, &info, &time));
    time.tv_nsec = 1000000000;
    FACT(sigtimedwait(&set, &info, &time));
    time = (struct timespec){0, 0};
    FACT(sigtimedwait(&set, &info, &time));
    sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 5});
    raise(SIGUSR1);
    HOLDS(sigwaitinfo(&set, &info) == SIGUSR1);
    printf("code %d, from us: %d\n", info.si_code, info.si_pid == getpid());
    HOLDS(sigwaitinfo(&set, &info) == SIGRTMIN + 2);
    printf("code %d, value %d, from us: %d\n", info.si_code, info.si_value.sival_int, info.si_pid == getpid());
    raise(SIGUSR1);
    CODE(sigwait(&set, &signo));
    printf("sigwait: %d\n", signo);
    pid_t self = getpid(), pid = fork();
    if (pid == 0) {
        until_state(self, self, 'S');
        kill(self, SIGUSR2);
        until_state(self, self, 'S');
        kill(self, SIGUSR1);
        _exit(0);
    }
    FACT(sigwaitinfo(&set, &info));
    show_order("interrupted sigwaitinfo");
    FACT(sigsuspend(&none));
    show_order("sigsuspend");
    sigprocmask(SIG_SETMASK, NULL, &none);
    printf("mask after sigsuspend: %d\n", sigismember(&none, SIGUSR1));
    wait_and_show("sender", pid);
    sigprocmask(SIG_SETMASK, &old, NULL);
    pid = fork();
    if (pid == 0) {
        until_state(self, self, 'S');
        kill(self, SIGUSR1);
        _exit(0);
    }
    FACT(pause());
    wait_and_show("sender", pid);
    show_order("pause");
}

/* What is ignored by default is kept for who awaits it. */
static void awaiting(void) {
    sigset_t set = set_of(SIGCHLD, SIGWINCH);
    struct timespec time = {2, 0};
    siginfo_t info;
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        nap(20);
        _exit(3);
    }
    FACT(sigtimedwait(&set, &info, &time));
    HOLDS(info.si_pid == pid && info.si_status == 3);
    wait_and_show("awaited", pid);
    pid_t parent = getpid();
    pid = fork();
    if (pid == 0) {
        nap(20);
        kill(parent, SIGWINCH);
        _exit(0);
    }
    sigdelset(&set, SIGCHLD);
    FACT(sigtimedwait(&set, &info, &time));
    wait_and_show("sender", pid);
    set = set_of(SIGCHLD, SIGWINCH);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    FACT(kill(1 << 22, 99));
    FACT(kill(getpid(), 99));
    FACT(kill(-(1 << 22), 99));
    FACT(syscall(SYS_tkill, 1 << 22, 99));
    FACT(syscall(SYS_tgkill, getpid(), getpid(), 99));
    FACT(syscall(SYS_rt_sigpending, &set, 16));
}

static char stack_bytes[1 << 16];
static volatile sig_atomic_t on_stack, reported;

static void where(int signo) {
    char here;
    stack_t stack;
    (void)signo;
    on_stack = &here >= stack_bytes && &here < stack_bytes + sizeof stack_bytes;
    sigaltstack(NULL, &stack);
    reported = stack.ss_flags;
    stack.ss_flags = SS_DISABLE;
    if (on_stack)
        FACT(sigaltstack(&stack, NULL));
}

static void alternate_stack(void) {
    stack_t stack = {.ss_sp = stack_bytes, .ss_size = sizeof stack_bytes}, old;
    FACT(sigaltstack(NULL, &old));
    printf("at first: flags %d\n", old.ss_flags);
    FACT(sigaltstack(&stack, NULL));
    FACT(sigaltstack(NULL, &old));
    printf("then: flags %d, size %zu\n", old.ss_flags, old.ss_size);
    handle(SIGUSR1, where, SA_ONSTACK, 0);
    raise(SIGUSR1);
    printf("SA_ONSTACK: there %d, flags %d\n", on_stack, reported);
    handle(SIGUSR1, where, 0, 0);
    raise(SIGUSR1);
    printf("without: there %d, flags %d\n", on_stack, reported);
    stack_t small = {.ss_sp = stack_bytes, .ss_size = 100},
            bad = {.ss_sp = stack_bytes, .ss_size = 65536, .ss_flags = 8};
    FACT(sigaltstack(&small, NULL));
    FACT(sigaltstack(&bad, NULL));
    stack.ss_flags = (int)(1u << 31); /* SS_AUTODISARM */
    FACT(sigaltstack(&stack, NULL));
    handle(SIGUSR1, where, SA_ONSTACK, 0);
    raise(SIGUSR1);
    printf("SS_AUTODISARM: there %d, flags %d\n", on_stack, reported);
    FACT(sigaltstack(NULL, &old));
    printf("armed again: size %zu\n", old.ss_size);
    stack.ss_flags = SS_DISABLE;
    FACT(sigaltstack(&stack, NULL));
    FACT(sigaltstack(NULL, &old));
    printf("off: flags %d\n", old.ss_flags);
    handle(SIGUSR1, where, SA_ONSTACK, 0);
    raise(SIGUSR1);
    printf("none: there %d, flags %d\n", on_stack, reported);
}

static sigjmp_buf back;
static siginfo_t fault;
static char *page;

static void on_fault(int signo, siginfo_t *info, void *context) {
    (void)context;
    fault = *info;
    siglongjmp(back, signo);
}

static void unmap_protection(int signo, siginfo_t *info, void *context) {
    (void)context;
    printf("fault %d at the page: %d\n", signo, (char *)info->si_addr == page + 5);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    page = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int signo;
    if ((signo = sigsetjmp(back, 1)) == 0)
        *(volatile char *)page = 1;
    printf("no access: signal %d, code %d, address right %d\n", signo, fault.si_code, (char *)fault.si_addr == page);
    munmap(page + 4096, 4096);
    if ((signo = sigsetjmp(back, 1)) == 0)
        (void)*(volatile char *)(page + 4096);
    printf("not mapped: signal %d, code %d\n", signo, fault.si_code);
    int fd = open("short", O_CREAT | O_RDWR, 0600);
    (void)!ftruncate(fd, 10);
    char *mapped = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    if ((signo = sigsetjmp(back, 1)) == 0)
        (void)*(volatile char *)(mapped + 4096);
    printf("past the end of a file: signal %d, code %d\n", signo, fault.si_code);
    close(fd);
    unlink("short");
    if ((signo = sigsetjmp(back, 1)) == 0)
        __asm__ volatile("ud2");
    printf("bad instruction: signal %d, code %d\n", signo, fault.si_code);
    if ((signo = sigsetjmp(back, 1)) == 0)
        __asm__ volatile("int3");
    printf("breakpoint: signal %d, code %d\n", signo, fault.si_code);
    if ((signo = sigsetjmp(back, 1)) == 0)
        __asm__ volatile("xorl %%edx, %%edx; movl $1, %%eax; xorl %%ecx, %%ecx; divl %%ecx" ::: "eax", "ecx", "edx");
    printf("division by zero: signal %d, code %d\n", signo, fault.si_code);
    action.sa_sigaction = unmap_protection;
    sigaction(SIGSEGV, &action, NULL);
    *(volatile char *)(page + 5) = 7;
    printf("the handler let it go on: %d\n", page[5]);
    signal(SIGSEGV, SIG_DFL);
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t set = set_of(SIGSEGV, 0);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGSEGV, note);
        *nowhere = 1;
        _exit(1);
    }
    wait_and_show("a blocked fault", pid);
    pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_IGN);
        *nowhere = 1;
        _exit(1);
    }
    wait_and_show("an ignored fault", pid);
}

static void change_context(int signo, siginfo_t *info, void *given) {
    ucontext_t *context = given;
    (void)signo, (void)info;
    sigaddset(&context->uc_sigmask, SIGWINCH); /* comes into force at the return */
}

static void contexts(void) {
    struct sigaction action = {.sa_sigaction = change_context, .sa_flags = SA_SIGINFO};
    sigset_t set;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("mask changed through the context: %d\n", sigismember(&set, SIGWINCH));
    siginfo_t info = {.si_code = SI_USER};
    FACT(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info));
    info.si_code = SI_TKILL;
    FACT(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info));
    info.si_code = -60;
    FACT(syscall(SYS_rt_sigqueueinfo, getpid(), 0, &info));
    FACT(sigqueue(1 << 21, SIGUSR1, (union sigval){0}));
}

static void default_actions(void) {
    for (int signo = 1; signo <= 31; signo++) {
        if (signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU)
            continue;
        pid_t pid = fork();
        if (pid == 0) {
            sigset_t none;
            sigemptyset(&none);
            sigprocmask(SIG_SETMASK, &none, NULL);
            signal(signo, SIG_DFL);
            kill(getpid(), signo);
            _exit(0);
        }
        char what[16];
        snprintf(what, sizeof what, "signal %d", signo);
        wait_and_show(what, pid);
    }
}

int main(void) {
    begin();
    queues();
    flags();
    ignoring();
    waiting();
    awaiting();
    alternate_stack();
    faults();
    contexts();
    default_actions();
    return 0;
}
