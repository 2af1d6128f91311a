/* fork, vfork, exit codes, and every way of waiting for a child. */
#include "calls.h"
#include <linux/sched.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int shared_by_vfork;

static pid_t child_that_exits(int code) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(code);
    return pid;
}

static pid_t child_killed_by(int signo) {
    pid_t pid = fork();
    if (pid == 0) {
        raise(signo);
        _exit(99);
    }
    return pid;
}

static void show_info(const char *what, const siginfo_t *info, pid_t pid) {
    printf("%s: signo %d, code %d, status %d, the child's pid: %s, uid is ours: %s\n", what, info->si_signo,
           info->si_code, info->si_status, info->si_pid == pid ? "yes" : "no", info->si_uid == getuid() ? "yes" : "no");
}

static void exit_codes(void) {
    static const int codes[] = {0, 1, 127, 128, 255, 256, 257, -1};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        wait_and_show("exit code", child_that_exits(codes[i]));
    wait_and_show("SIGTERM", child_killed_by(SIGTERM));
    wait_and_show("SIGKILL", child_killed_by(SIGKILL));
    wait_and_show("SIGRTMIN+3", child_killed_by(SIGRTMIN + 3));
    pid_t pid = fork();
    if (pid == 0)
        exit(7);
    wait_and_show("exit with handlers", pid);
    pid = fork();
    if (pid == 0)
        abort();
    wait_and_show("abort", pid);
}

static void waiting(void) {
    int status;
    siginfo_t info;
    FACT(wait(&status));
    FACT(waitpid(1 << 21, &status, 0));
    FACT(waitpid(-1, &status, WNOHANG));
    FACT(waitpid(-1, &status, 0x40));
    FACT(waitid(P_ALL, 0, &info, 0));
    FACT(waitid(P_ALL, 0, &info, WEXITED));
    FACT(waitid(P_PID, 0, &info, WEXITED));
    FACT(waitid((idtype_t)77, 0, &info, WEXITED));

    int gate[2];
    if (pipe(gate))
        return;
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) == 0 ? 5 : 6);
    }
    close(gate[0]);
    FACT(waitpid(pid, &status, WNOHANG));
    memset(&info, 1, sizeof info);
    FACT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG));
    printf("nothing yet: signo %d, pid %d\n", info.si_signo, info.si_pid);
    FACT(waitid(P_PGID, (id_t)getpgrp(), &info, WEXITED | WNOHANG));
    close(gate[1]);
    FACT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
    show_info("WNOWAIT", &info, pid);
    FACT(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG));
    FACT(waitid(P_ALL, 0, &info, WEXITED));
    show_info("then taken", &info, pid);
    FACT(waitid(P_ALL, 0, &info, WEXITED | WNOHANG));

    pid = child_killed_by(SIGUSR1);
    waitid(P_PGID, 0, &info, WEXITED);
    show_info("killed", &info, pid);

    pid_t first = child_that_exits(1), second = child_that_exits(2);
    HOLDS(waitpid(second, &status, 0) == second && WEXITSTATUS(status) == 2);
    HOLDS(waitpid(0, &status, 0) == first && WEXITSTATUS(status) == 1);
    pid = child_that_exits(3);
    HOLDS(waitpid(-getpgrp(), &status, 0) == pid && WEXITSTATUS(status) == 3);
    pid = child_that_exits(3);
    FACT(waitpid(-pid, &status, 0));
    struct rusage usage;
    memset(&usage, 0xff, sizeof usage);
    HOLDS(wait4(pid, &status, 0, &usage) == pid && usage.ru_utime.tv_sec >= 0 && usage.ru_nsignals == 0);
    pid = child_that_exits(4);
    HOLDS(waitpid(pid, NULL, 0) == pid);
    FACT(waitpid(pid, &status, 0));
}

static void *exit_later(void *given) {
    nap(20);
    syscall(SYS_exit, 9);
    return given;
}

/* The process's exit code is that of the thread that ends last. */
static void first_thread_ends_first(void) {
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, exit_later, NULL);
        syscall(SYS_exit, 4);
    }
    wait_and_show("first thread", pid);
}

static void refused_clones(void) {
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    static const uint64_t flags[] = {UINT64_C(1) << 40, CLONE_DETACHED, 1, CLONE_SIGHAND, CLONE_THREAD};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        arguments.flags = flags[i];
        FACT(syscall(SYS_clone3, &arguments, sizeof arguments));
    }
    arguments.flags = 0;
    arguments.stack = (uintptr_t)&arguments;
    FACT(syscall(SYS_clone3, &arguments, sizeof arguments));
    arguments.stack = 0;
    arguments.stack_size = 4096;
    FACT(syscall(SYS_clone3, &arguments, sizeof arguments));
    FACT(syscall(SYS_clone3, &arguments, 8));
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, NULL, 8, NULL, 0); /* a bad place for its id */
    if (pid == 0)
        _exit(5);
    wait_and_show("unnamed", pid);
}

static void zombies(void) {
    pid_t pid = child_that_exits(9);
    until_state(pid, pid, 'Z');
    FACT(kill(pid, 0));
    FACT(kill(pid, SIGKILL));
    FACT(setpgid(pid, 0));
    HOLDS(getpgid(pid) == pid);
    wait_and_show("zombie", pid);
    FACT(kill(pid, 0));

    signal(SIGCHLD, SIG_IGN);
    pid = child_that_exits(1);
    int status;
    FACT(waitpid(pid, &status, 0));
    signal(SIGCHLD, SIG_DFL);
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGCHLD, &action, NULL);
    pid = child_that_exits(1);
    FACT(waitpid(pid, &status, 0));
    signal(SIGCHLD, SIG_DFL);
}

static void orphans(void) {
    int up[2], gate[2];
    char text[64] = "", byte;
    if (pipe(up) || pipe(gate))
        return;
    pid_t parent = fork();
    if (parent == 0) {
        pid_t self = getpid();
        if (fork() == 0) {
            close(gate[1]);
            HOLDS(getppid() == self);
            (void)!write(up[1], "r", 1);
            (void)!read(gate[0], &byte, 1);
            HOLDS(getppid() != self);
            (void)!write(up[1], "orphan", 6);
            _exit(0);
        }
        pause();
    }
    close(up[1]);
    close(gate[0]);
    (void)!read(up[0], &byte, 1);
    kill(parent, SIGTERM);
    wait_and_show("parent of an orphan", parent);
    close(gate[1]);
    (void)!read(up[0], text, sizeof text - 1);
    printf("heard: %s, then end of file: %zd\n", text, read(up[0], text, 1));
    int status;
    FACT(wait(&status));
    close(up[0]);
}

static void copies(void) {
    int value = 1;
    char buffer[4] = "abc";
    off_t position;
    int fd = open("shared", O_CREAT | O_RDWR | O_TRUNC, 0600);
    pid_t pid = fork();
    if (pid == 0) {
        value = 2;
        buffer[0] = 'x';
        (void)!write(fd, "hello", 5);
        _exit(value);
    }
    wait_and_show("copy", pid);
    position = lseek(fd, 0, SEEK_CUR);
    printf("value %d, buffer %s, shared position %ld\n", value, buffer, (long)position);
    close(fd);
    unlink("shared");
    pid = vfork();
    if (pid == 0) {
        shared_by_vfork = 17;
        _exit(4);
    }
    printf("after vfork: %d\n", shared_by_vfork);
    wait_and_show("vfork", pid);
}

static void what_children_inherit(void) {
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    struct itimerval interval = {{0, 0}, {15, 0}};
    setitimer(ITIMER_REAL, &interval, NULL);
    umask(027);
    pid_t pid = fork();
    if (pid == 0) {
        sigpending(&pending);
        printf("child: pending %d, ", sigismember(&pending, SIGUSR1));
        sigprocmask(SIG_BLOCK, NULL, &set);
        printf("blocked %d, ", sigismember(&set, SIGUSR1));
        getitimer(ITIMER_REAL, &interval);
        printf("timer %ld, umask %o\n", (long)interval.it_value.tv_sec, umask(0));
        _exit(0);
    }
    wait_and_show("inherited", pid);
    sigpending(&pending);
    printf("parent: pending %d\n", sigismember(&pending, SIGUSR1));
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(void) {
    begin();
    exit_codes();
    first_thread_ends_first();
    refused_clones();
    waiting();
    zombies();
    orphans();
    copies();
    what_children_inherit();
    return 0;
}
