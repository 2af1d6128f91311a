/* What a signal's handler does to calls that sleep, with and without SA_RESTART. */
#include "calls.h"
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

static volatile sig_atomic_t heard;
static void hear(int signo) {
    (void)signo;
    heard++;
}

static int pipes[2], full[2], listener, sleeping_child;
static uint32_t word;
static sem_t semaphore;

static long read_pipe(void) {
    char byte;
    return read(pipes[0], &byte, 1);
}
static long write_pipe(void) { return write(full[1], "x", 1); }
static long accept_one(void) { return accept(listener, NULL, NULL); }
static long receive_timed(void) {
    char byte;
    int pair[2];
    struct timeval time = {10, 0};
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    long result = recv(pair[0], &byte, 1, 0);
    int error = errno;
    close(pair[0]);
    close(pair[1]);
    errno = error;
    return result;
}
static long poll_pipe(void) { return poll(&(struct pollfd){.fd = pipes[0], .events = POLLIN}, 1, 200); }
static long select_pipe(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipes[0], &set);
    struct timeval time = {0, 200000};
    return select(pipes[0] + 1, &set, NULL, NULL, &time);
}
static long wait_epoll(void) {
    struct epoll_event event;
    int fd = epoll_create1(0);
    long result = epoll_wait(fd, &event, 1, 200);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}
static long sleep_some(void) {
    struct timespec time = {0, 200000000}, rest = {0, 0};
    long result = nanosleep(&time, &rest);
    if (result)
        printf("  rest is less: %d\n", rest.tv_sec == 0 && rest.tv_nsec > 0 && rest.tv_nsec < 200000000);
    return result;
}
static long sleep_until(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += 200000000;
    if (time.tv_nsec >= 1000000000)
        time.tv_sec++, time.tv_nsec -= 1000000000;
    int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    errno = error;
    return error ? -1 : 0;
}
static long futex_wait(void) { return syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0); }
static long futex_wait_timed(void) {
    struct timespec time = {0, 200000000};
    return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, NULL, 0);
}
static long futex_wait_until(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += 10;
    return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &time, NULL, ~0u);
}
static long wait_child(void) {
    int status;
    return waitpid(sleeping_child, &status, 0) < 0 ? -1 : 0;
}
static long waitid_child(void) {
    siginfo_t info;
    return waitid(P_PID, (id_t)sleeping_child, &info, WEXITED);
}
static long wait_semaphore(void) { return sem_wait(&semaphore); }
static long lock_file(void) {
    int fd = open("locked", O_RDWR);
    long result = flock(fd, LOCK_EX);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}
static long lock_range(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open("locked", O_RDWR);
    long result = fcntl(fd, F_SETLKW, &lock);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

/* What ends a call that goes on after the handler: done by the helper, later. */
static void end_read(void) { (void)!write(pipes[1], "x", 1); }
static void end_write(void) {
    static char sink[1 << 20];
    (void)!read(full[0], sink, sizeof sink);
}
static void end_accept(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "listener"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(fd, (struct sockaddr *)&address, sizeof address);
}
static void end_child(void) { kill(sleeping_child, SIGKILL); }

static void trial(const char *name, long (*call)(void), void (*end)(void), int flags) {
    struct sigaction action = {.sa_handler = hear, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
    heard = 0;
    word = 0;
    pid_t self = getpid(), helper = fork();
    if (helper == 0) {
        until_state(self, self, 'S');
        kill(self, SIGUSR1);
        if (end && (flags & SA_RESTART)) {
            until_state(self, self, 'S');
            end();
        }
        _exit(0);
    }
    errno = 0;
    long result = call();
    int error = errno;
    printf("%s%s: %s, %s, handlers %d\n", name, flags & SA_RESTART ? " with SA_RESTART" : "",
           result < 0 ? "failed" : "went on", result < 0 ? strerrorname_np(error) : "0", heard);
    waitpid(helper, NULL, 0);
}

static void both(const char *name, long (*call)(void), void (*end)(void)) {
    trial(name, call, end, 0);
    trial(name, call, end, SA_RESTART);
}

static void start_child(void) {
    sleeping_child = fork();
    if (sleeping_child == 0) {
        signal(SIGUSR1, SIG_IGN);
        for (;;)
            pause();
    }
}

int main(void) {
    begin();
    static const char zeros[1 << 16];
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "listener"};
    if (pipe(pipes) || pipe(full))
        return 1;
    while (write(full[1], zeros, 4096) == 4096 && fcntl(full[1], F_GETPIPE_SZ) > 4096)
        if (poll(&(struct pollfd){.fd = full[1], .events = POLLOUT}, 1, 0) == 0)
            break;
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 1);
    sem_init(&semaphore, 0, 0);
    both("read", read_pipe, end_read);
    both("write", write_pipe, end_write);
    both("accept", accept_one, end_accept);
    trial("recv with SO_RCVTIMEO", receive_timed, NULL, 0);
    trial("recv with SO_RCVTIMEO", receive_timed, NULL, SA_RESTART);
    both("poll", poll_pipe, NULL);
    both("select", select_pipe, NULL);
    both("epoll_wait", wait_epoll, NULL);
    both("nanosleep", sleep_some, NULL);
    both("clock_nanosleep absolute", sleep_until, NULL);
    trial("futex", futex_wait, NULL, 0);
    both("futex with time-out", futex_wait_timed, NULL);
    trial("futex until", futex_wait_until, NULL, 0);
    trial("sem_wait", wait_semaphore, NULL, 0);
    start_child();
    trial("waitpid", wait_child, end_child, 0);
    trial("waitpid", wait_child, end_child, SA_RESTART);
    start_child();
    trial("waitid", waitid_child, end_child, 0);
    trial("waitid", waitid_child, end_child, SA_RESTART);
    int fd = open("locked", O_CREAT | O_RDWR, 0600);
    flock(fd, LOCK_EX);
    trial("flock", lock_file, NULL, 0);
    flock(fd, LOCK_UN);
    pid_t holder = fork();
    if (holder == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        fcntl(fd, F_SETLK, &lock);
        (void)!write(pipes[1], "r", 1);
        for (;;)
            pause();
    }
    (void)!read_pipe();
    trial("fcntl lock", lock_range, NULL, 0);
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    unlink("locked");
    unlink("listener");
    return 0;
}
