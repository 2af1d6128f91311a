/* Signals: handlers, masks, interruption and restart, alternate stacks, children, and recovery from a fault.
 */
#include "common.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ALTERNATE_SIZE 65536

static volatile sig_atomic_t handled[65];
static volatile pid_t last_sender;
static volatile int last_value;
static void *volatile fault_address;
static uint8_t *alternate;
static volatile int on_alternate;
static sigjmp_buf recovery;

static void handle(int number, siginfo_t *info, void *context) {
    (void)context;
    handled[number]++;
    last_sender = info->si_pid;
    last_value = info->si_value.sival_int;
}

static void handle_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    uint8_t here;
    uint8_t *volatile position = &here;
    fault_address = info->si_addr;
    on_alternate = position >= alternate && position < alternate + ALTERNATE_SIZE;
    siglongjmp(recovery, number);
}

static void install(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    REQUIRE(sigaction(number, &action, NULL) == 0);
}

static void handlers_and_masks(void) {
    sigset_t set, pending, before;
    install(SIGUSR1, handle, 0);
    REQUIRE(kill(getpid(), SIGUSR1) == 0 && handled[SIGUSR1] == 1 && last_sender == getpid());
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    REQUIRE(sigprocmask(SIG_BLOCK, &set, &before) == 0 && !sigismember(&before, SIGUSR1));
    REQUIRE(raise(SIGUSR1) == 0 && raise(SIGUSR1) == 0 && handled[SIGUSR1] == 1);
    REQUIRE(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    REQUIRE(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    REQUIRE(handled[SIGUSR1] == 2); /* two of the same number while blocked are one */
    printf("kill and masks ok\n");

    sigaddset(&set, SIGRTMIN);
    REQUIRE(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    install(SIGRTMIN, handle, 0);
    for (int i = 1; i <= 3; i++) {
        REQUIRE(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}) == 0);
    }
    siginfo_t info;
    REQUIRE(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == 1);
    REQUIRE(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    REQUIRE(handled[SIGRTMIN] == 2 && last_value == 3); /* those are queued, in order */
    printf("real-time signals ok\n");

    install(SIGUSR2, handle, SA_RESETHAND);
    REQUIRE(raise(SIGUSR2) == 0 && handled[SIGUSR2] == 1);
    struct sigaction now;
    REQUIRE(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    REQUIRE(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    int ends[2];
    REQUIRE(pipe(ends) == 0 && close(ends[0]) == 0);
    REQUIRE(write(ends[1], "x", 1) < 0 && errno == EPIPE);
    close(ends[1]);
    printf("reset and ignore ok\n");
}

/* A child that sends us a signal after 10 ms and writes to the pipe after 20 ms. */
static pid_t disturb(int number, int out) {
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        usleep(10000);
        kill(getppid(), number);
        usleep(10000);
        _exit(write(out, "z", 1) == 1 ? 0 : 1);
    }
    return child;
}

static void interruption_and_restart(void) {
    int ends[2];
    char byte;
    REQUIRE(pipe(ends) == 0);
    install(SIGUSR1, handle, 0);
    pid_t child = disturb(SIGUSR1, ends[1]);
    REQUIRE(read(ends[0], &byte, 1) < 0 && errno == EINTR);
    REQUIRE(read(ends[0], &byte, 1) == 1 && byte == 'z');
    REQUIRE(waitpid(child, NULL, 0) == child);
    printf("EINTR ok\n");
    install(SIGUSR1, handle, SA_RESTART);
    child = disturb(SIGUSR1, ends[1]);
    int before = handled[SIGUSR1];
    REQUIRE(read(ends[0], &byte, 1) == 1 && byte == 'z' && handled[SIGUSR1] == before + 1);
    REQUIRE(waitpid(child, NULL, 0) == child && last_sender == child);
    printf("SA_RESTART ok\n");
    close(ends[0]);
    close(ends[1]);
}

static void children(void) {
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    install(SIGCHLD, handle, 0);
    REQUIRE(sigprocmask(SIG_BLOCK, &set, &before) == 0);
    pid_t child = fork();
    if (child == 0) {
        _exit(5);
    }
    while (handled[SIGCHLD] == 0) {
        REQUIRE(sigsuspend(&before) < 0 && errno == EINTR);
    }
    int status;
    REQUIRE(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    REQUIRE(last_sender == child && waitpid(child, &status, WNOHANG) == child && WEXITSTATUS(status) == 5);
    printf("SIGCHLD ok\n");
    REQUIRE(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
}

static void faults(void) {
    alternate = mmap(NULL, ALTERNATE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(alternate != MAP_FAILED);
    stack_t stack = {.ss_sp = alternate, .ss_size = ALTERNATE_SIZE}, now;
    REQUIRE(sigaltstack(&stack, NULL) == 0 && sigaltstack(NULL, &now) == 0 && now.ss_sp == alternate);
    install(SIGSEGV, handle_fault, SA_ONSTACK);
    uint8_t *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(page != MAP_FAILED);
    for (volatile int i = 0; i < 3; i++) {
        volatile uint8_t *volatile target = i == 0 ? NULL : page + i;
        fault_address = alternate;
        int number = sigsetjmp(recovery, 1);
        if (number == 0) {
            *target = 1;
            REQUIRE(!"a write to protected memory went through");
        }
        REQUIRE(number == SIGSEGV && fault_address == target && on_alternate);
    }
    REQUIRE(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
    page[1] = 1;
    install(SIGFPE, handle_fault, 0);
    volatile int zero = 0, quotient = 0;
    if (sigsetjmp(recovery, 1) == 0) {
        quotient = 100 / zero;
        REQUIRE(!"a division by zero went through");
    }
    REQUIRE(quotient == 0 && !on_alternate);
    printf("faults ok\n");
}

static void *wait_for_usr1(void *argument) {
    sigset_t *set = argument;
    int number;
    REQUIRE(sigwait(set, &number) == 0);
    return (void *)(intptr_t)number;
}

static void threads(void) {
    sigset_t set;
    pthread_t thread;
    void *number;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    int before = handled[SIGUSR1];
    REQUIRE(pthread_create(&thread, NULL, wait_for_usr1, &set) == 0);
    REQUIRE(pthread_kill(thread, SIGUSR1) == 0);
    REQUIRE(pthread_join(thread, &number) == 0 && (intptr_t)number == SIGUSR1 && handled[SIGUSR1] == before);
    printf("signals to threads ok\n");
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    handlers_and_masks();
    interruption_and_restart();
    children();
    faults();
    threads();
    return 0;
}
