/* Stopping and continuing: who runs, what the parent hears, what is discarded. */
#include "calls.h"
#include <pthread.h>

static volatile sig_atomic_t heard;
static char order[128];

static void hear_child(int signo, siginfo_t *info, void *context) {
    size_t length = strlen(order);
    (void)signo, (void)context;
    heard++;
    snprintf(order + length, sizeof order - length, " %d/%d", info->si_code, info->si_status);
}

static void wait_for_word(pid_t pid, int options) {
    int status = 0;
    pid_t got = waitpid(pid, &status, options);
    if (got == pid)
        show_status("  waitpid", status);
    else
        printf("  waitpid: %d\n", (int)got);
}

static pid_t echo(int in[2], int out[2]) {
    if (pipe(in) || pipe(out))
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        while (read(in[0], &byte, 1) == 1)
            (void)!write(out[1], &byte, 1);
        _exit(0);
    }
    close(in[0]);
    close(out[1]);
    return pid;
}

static void count_continue(int signo) {
    (void)signo;
    heard++;
}

static void stop_and_continue(void) {
    int in[2], out[2];
    char byte = 'a';
    pid_t pid = echo(in, out);
    printf("a process that is stopped in a call\n");
    (void)!write(in[1], &byte, 1);
    (void)!read(out[0], &byte, 1);
    FACT(kill(pid, SIGSTOP));
    wait_for_word(pid, WUNTRACED);
    wait_for_word(pid, WUNTRACED | WNOHANG);
    printf("  state %c\n", thread_state(pid, pid));
    (void)!write(in[1], "b", 1);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    nap(20);
    FACT(read(out[0], &byte, 1));
    fcntl(out[0], F_SETFL, 0);
    FACT(kill(pid, SIGCONT));
    wait_for_word(pid, WCONTINUED);
    (void)!read(out[0], &byte, 1);
    printf("  after SIGCONT: %c\n", byte);
    wait_for_word(pid, WUNTRACED | WCONTINUED | WNOHANG);
    FACT(kill(pid, SIGSTOP));
    siginfo_t info;
    memset(&info, 0, sizeof info);
    FACT(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT));
    printf("  waitid: signo %d code %d status %d\n", info.si_signo, info.si_code, info.si_status);
    FACT(waitid(P_PID, (id_t)pid, &info, WSTOPPED));
    FACT(kill(pid, SIGTERM));
    wait_for_word(pid, WNOHANG);
    FACT(kill(pid, SIGCONT));
    wait_and_show("  SIGTERM is taken after SIGCONT", pid);
    close(in[1]);
    close(out[0]);
    pid = echo(in, out);
    kill(pid, SIGSTOP);
    wait_for_word(pid, WUNTRACED);
    FACT(kill(pid, SIGKILL));
    wait_and_show("  killed while stopped", pid);
    close(in[1]);
    close(out[0]);
}

static void child_signals(int flags) {
    struct sigaction action = {.sa_sigaction = hear_child, .sa_flags = SA_SIGINFO | SA_RESTART | flags};
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    sigaction(SIGCHLD, &action, NULL);
    order[0] = '\0';
    heard = 0;
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(3);
    }
    wait_for_word(pid, WUNTRACED);
    if (!(flags & SA_NOCLDSTOP))
        sigsuspend(&old);
    kill(pid, SIGCONT);
    wait_and_show("  the end", pid);
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (flags & SA_NOCLDSTOP)
        printf("  with SA_NOCLDSTOP:%s\n", order);
    else
        printf("  the first:%.5s\n", order);
    signal(SIGCHLD, SIG_DFL);
}

static void terminal_stops(void) {
    static const int signals[] = {SIGTSTP, SIGTTIN, SIGTTOU};
    printf("stops of a terminal\n");
    for (size_t i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            setpgid(0, 0);
            raise(signals[i]);
            _exit(1);
        }
        wait_for_word(pid, WUNTRACED);
        kill(pid, SIGCONT);
        wait_and_show("  then", pid);
        pid = fork();
        if (pid == 0) {
            signal(signals[i], SIG_IGN);
            raise(signals[i]);
            _exit(2);
        }
        wait_and_show("  ignored", pid);
        pid = fork();
        if (pid == 0) {
            signal(signals[i], count_continue);
            raise(signals[i]);
            _exit(heard ? 4 : 5);
        }
        wait_and_show("  handled", pid);
    }
}

static void discarded(void) {
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    sigaddset(&set, SIGCONT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGTSTP);
    sigpending(&pending);
    printf("pending: TSTP %d CONT %d\n", sigismember(&pending, SIGTSTP), sigismember(&pending, SIGCONT));
    raise(SIGCONT);
    sigpending(&pending);
    printf("after SIGCONT: TSTP %d CONT %d\n", sigismember(&pending, SIGTSTP), sigismember(&pending, SIGCONT));
    raise(SIGTSTP);
    sigpending(&pending);
    printf("after SIGTSTP: TSTP %d CONT %d\n", sigismember(&pending, SIGTSTP), sigismember(&pending, SIGCONT));
    raise(SIGCONT);
    signal(SIGCONT, count_continue);
    heard = 0;
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("handler of SIGCONT: %d\n", heard);
}

static volatile int ticks;
static void *tick(void *argument) {
    for (;;) {
        ticks++;
        nap(1);
    }
    return argument;
}

static void threads(void) {
    printf("all threads stop\n");
    int out[2];
    if (pipe(out))
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        signal(SIGCONT, count_continue);
        heard = 0;
        pthread_create(&thread, NULL, tick, NULL);
        while (ticks < 3)
            nap(1);
        (void)!write(out[1], "r", 1);
        while (!heard)
            nap(1);
        _exit(7);
    }
    char byte;
    (void)!read(out[0], &byte, 1);
    kill(pid, SIGSTOP);
    wait_for_word(pid, WUNTRACED);
    printf("  state %c\n", thread_state(pid, pid));
    kill(pid, SIGCONT);
    wait_and_show("  then", pid);
}

static void sleep_over(const char *what, void (*on_continue)(int)) {
    pid_t pid = fork();
    if (pid == 0) {
        struct timespec time = {0, 800000000};
        signal(SIGCONT, on_continue);
        long result = nanosleep(&time, NULL);
        _exit(result ? errno : 200);
    }
    until_state(pid, pid, 'S');
    kill(pid, SIGSTOP);
    wait_for_word(pid, WUNTRACED);
    nap(1000);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    kill(pid, SIGCONT);
    wait_and_show(what, pid);
    HOLDS(now_ns(CLOCK_MONOTONIC) - start < 700000000); /* it does not sleep anew */
}

int main(void) {
    begin();
    stop_and_continue();
    child_signals(0);
    child_signals(SA_NOCLDSTOP);
    terminal_stops();
    discarded();
    threads();
    sleep_over("a sleep that ended while it was stopped", SIG_DFL);
    sleep_over("the same with a handler of SIGCONT", count_continue);
    return 0;
}
