/* Descriptors of processes: waiting, polling, signalling. */
#include "calls.h"
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>

static pid_t paused(void) {
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static int polled(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1 ? poll_fd.revents : 0;
}

int main(void) {
    begin();
    siginfo_t info = {0};
    FACT(syscall(SYS_pidfd_open, 0, 0));
    FACT(syscall(SYS_pidfd_open, -1, 0));
    FACT(syscall(SYS_pidfd_open, 1 << 21, 0));
    FACT(syscall(SYS_pidfd_open, getpid(), 1));
    pid_t pid = paused();
    int fd = (int)DONE(syscall(SYS_pidfd_open, pid, 0));
    printf("close on exec %d, poll %d\n", fcntl(fd, F_GETFD), polled(fd));
    FACT(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    FACT(syscall(SYS_pidfd_send_signal, fd, 65, NULL, 0));
    FACT(syscall(SYS_pidfd_send_signal, 1000, 0, NULL, 0));
    FACT(syscall(SYS_pidfd_send_signal, 1, 0, NULL, 0));
    FACT(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0x100));
    FACT(syscall(SYS_pidfd_send_signal, 1000, 65, NULL, 0x100));
    info = (siginfo_t){.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    FACT(syscall(SYS_pidfd_send_signal, fd, SIGUSR2, &info, 0));
    info.si_code = SI_USER;
    FACT(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, &info, 0));
    info.si_code = SI_TKILL;
    FACT(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, &info, 0));
    info = (siginfo_t){0};
    FACT(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG));
    FACT(waitid(P_PIDFD, 1000, &info, WEXITED | WNOHANG));
    FACT(waitid(P_PIDFD, 1, &info, WEXITED | WNOHANG));
    FACT(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    FACT(poll(&poll_fd, 1, -1));
    printf("poll %d\n", poll_fd.revents);
    FACT(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
    printf("code %d, status %d, pid right %d\n", info.si_code, info.si_status, info.si_pid == pid);
    FACT(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    FACT(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
    printf("reaped: poll %s POLLIN\n", polled(fd) & POLLIN ? "with" : "without");
    close(fd);

    pid = paused();
    fd = (int)DONE(syscall(SYS_pidfd_open, pid, O_NONBLOCK));
    FACT(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
    FACT(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG));
    kill(pid, SIGKILL);
    wait_and_show("killed", pid);
    close(fd);

    int clone_fd = -1;
    pid = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &clone_fd, NULL, 0);
    if (pid == 0)
        _exit(6);
    FACT(waitid(P_PIDFD, (id_t)clone_fd, &info, WEXITED));
    printf("CLONE_PIDFD: status %d\n", info.si_status);
    close(clone_fd);

    /* A child that does not end with SIGCHLD is seen only by who asks for it. */
    pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
    if (pid == 0)
        _exit(7);
    int status = 0;
    FACT(waitpid(pid, &status, 0));
    HOLDS(waitpid(pid, &status, __WCLONE) == pid && WEXITSTATUS(status) == 7);
    pid = (pid_t)syscall(SYS_clone, SIGUSR1, NULL, NULL, NULL, 0);
    if (pid == 0)
        _exit(8);
    signal(SIGUSR1, SIG_IGN);
    HOLDS(waitpid(pid, &status, __WALL) == pid && WEXITSTATUS(status) == 8);
    return 0;
}
