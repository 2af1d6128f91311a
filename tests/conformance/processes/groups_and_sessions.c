/* Process groups, sessions, and kill by group. */
#include "calls.h"

static void ready_and_pause(int up) {
    (void)!write(up, "r", 1);
    for (;;)
        pause();
}

static pid_t sleeper(pid_t group) {
    int up[2];
    char byte;
    if (pipe(up))
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, group);
        ready_and_pause(up[1]);
    }
    (void)!read(up[0], &byte, 1);
    close(up[0]);
    close(up[1]);
    return pid;
}

static void in_child(void (*body)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(0);
    }
    wait_and_show("child", pid);
}

static void new_session(void) {
    pid_t self = getpid();
    HOLDS(getsid(0) != self);
    HOLDS(setsid() == self);
    HOLDS(getsid(0) == self && getpgrp() == self && getpgid(0) == self && getsid(self) == self);
    FACT(setsid());
    FACT(setpgid(0, 0));
    FACT(setpgid(0, getppid()));
    pid_t child = sleeper(0);
    HOLDS(getpgid(child) == child && getsid(child) == self);
    FACT(setpgid(child, self));
    HOLDS(getpgid(child) == self);
    FACT(setpgid(child, 1 << 21));
    kill(child, SIGKILL);
    wait_and_show("member", child);
}

static void foreign_session(void) {
    int up[2];
    char byte;
    if (pipe(up))
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        ready_and_pause(up[1]);
    }
    (void)!read(up[0], &byte, 1);
    FACT(setpgid(pid, 0));
    FACT(setpgid(pid, getpgrp()));
    FACT(setpgid(0, pid));
    kill(pid, SIGKILL);
    wait_and_show("leader of another session", pid);
}

static void after_exec(void) {
    int up[2];
    char byte;
    if (pipe2(up, O_CLOEXEC))
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sleep", "sleep", "19", (char *)NULL);
        _exit(1);
    }
    close(up[1]);
    (void)!read(up[0], &byte, 1); /* ends at the exec */
    FACT(setpgid(pid, 0));
    kill(pid, SIGTERM);
    wait_and_show("after exec", pid);
}

static void arguments(void) {
    FACT(setpgid(0, -1));
    FACT(setpgid(-1, 0));
    FACT(setpgid(1 << 21, 0));
    FACT(setpgid(getppid(), 0));
    FACT(getpgid(1 << 21));
    FACT(getsid(1 << 21));
    FACT(getpgid(-1));
    FACT(kill(1 << 21, 0));
    FACT(kill(-(1 << 21), SIGTERM));
    FACT(kill(getpid(), 65));
    FACT(kill(getpid(), -1));
    FACT(kill(getpid(), 0));
    FACT(tgkill(getpid(), gettid(), 0));
    FACT(tgkill(getpid(), -1, 0));
    FACT(tgkill(getpid(), 1 << 21, 0));
    FACT(tgkill(getppid(), gettid(), 0));
}

static volatile sig_atomic_t heard;
static void hear(int signo) { heard += signo; }

static void killing_groups(void) {
    signal(SIGUSR1, hear);
    pid_t first = sleeper(0), second = sleeper(first), third = sleeper(0);
    FACT(kill(-first, 0));
    FACT(kill(-first, SIGTERM));
    wait_and_show("first", first);
    wait_and_show("second of its group", second);
    int status;
    FACT(waitpid(third, &status, WNOHANG));
    FACT(kill(third, SIGKILL));
    wait_and_show("third", third);
    FACT(kill(-first, SIGTERM));
    setpgid(0, 0);
    pid_t member = sleeper(getpid());
    FACT(killpg(0, SIGUSR1));
    printf("heard %d\n", heard);
    kill(member, SIGKILL);
    wait_and_show("member", member); /* it has the handler too: pause went on */
    FACT(kill(0, SIGUSR1));
    printf("heard %d\n", heard);
}

int main(void) {
    begin();
    in_child(new_session);
    in_child(foreign_session);
    in_child(after_exec);
    in_child(arguments);
    in_child(killing_groups);
    return 0;
}
