/* epoll: level and edge triggering, one shot, exclusive, nested; the order of what is ready; errors. */
#include "facts.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static int change(int epoll, int operation, int fd, unsigned events, unsigned data) {
    struct epoll_event event = {events, {.u32 = data}};
    return epoll_ctl(epoll, operation, fd, &event);
}

/* What one wait gives, in its order. */
static void put_wait(const char *what, int epoll, int most, int milliseconds) {
    struct epoll_event events[16];
    errno = 0;
    int count = epoll_wait(epoll, events, most, milliseconds);
    put_result(what, count, errno);
    for (int i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "  %u", events[i].data.u32);
        put_events(text, events[i].events);
    }
}

static void add_to(int fd, uint64_t value) { (void)!write(fd, &value, sizeof value); }

static void take_from(int fd) {
    uint64_t value;
    (void)!read(fd, &value, sizeof value);
}

static int counter(void) { return (int)MUST(eventfd(0, EFD_NONBLOCK)); }

static void errors(void) {
    section("errors");
    int epoll = FACT_FD("create", epoll_create1(EPOLL_CLOEXEC)), fd = counter();
    printf("FD_CLOEXEC %d\n", fcntl(epoll, F_GETFD));
    FACT("bad flags", epoll_create1(1));
    FACT("size 0", epoll_create(0));
    FACT("add", change(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
    FACT("add again", change(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
    FACT("modify what is not there", change(epoll, EPOLL_CTL_MOD, 0, EPOLLIN, 1));
    int other = counter();
    FACT("delete what is not there", change(epoll, EPOLL_CTL_DEL, other, EPOLLIN, 1));
    FACT("bad operation", change(epoll, 77, fd, EPOLLIN, 1));
    FACT("bad descriptor", change(epoll, EPOLL_CTL_ADD, 999, EPOLLIN, 1));
    FACT("bad epoll", change(999, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
    FACT("not an epoll", change(fd, EPOLL_CTL_ADD, other, EPOLLIN, 1));
    FACT("itself", change(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN, 1));
    FACT("no event", epoll_ctl(epoll, EPOLL_CTL_ADD, other, NULL));
    FACT("delete needs none", epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
    int file = (int)MUST(open("file", O_CREAT | O_RDWR, 0600)), folder = (int)MUST(open(".", O_RDONLY));
    FACT("a file", change(epoll, EPOLL_CTL_ADD, file, EPOLLIN, 1));
    FACT("a folder", change(epoll, EPOLL_CTL_ADD, folder, EPOLLIN, 1));
    close(file), close(folder), unlink("file");
    struct epoll_event event;
    FACT("wait for none", epoll_wait(epoll, &event, 0, 0));
    volatile int less = -1;
    FACT("wait for less", epoll_wait(epoll, &event, less, 0));
    FACT("wait for nothing", epoll_wait(999, &event, 1, 0));
    FACT("wait on something else", epoll_wait(fd, &event, 1, 0));
    FACT("wait in vain", epoll_wait(epoll, &event, 1, 10));
    change(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
    add_to(fd, 1);
    FACT("no room for events", epoll_wait(epoll, nowhere, 1, 0));
    put_wait("the event is kept", epoll, 4, 0);
    FACT("read", read(epoll, &event, 8));
    FACT("write", write(epoll, &event, 8));
    FACT("lseek", lseek(epoll, 0, SEEK_SET));
    close(epoll), close(fd), close(other);
}

static void triggering(void) {
    section("triggering");
    int epoll = epoll_create1(0), a = counter(), b = counter();
    change(epoll, EPOLL_CTL_ADD, a, EPOLLIN, 1);
    change(epoll, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLET, 2);
    put_wait("nothing", epoll, 4, 0);
    add_to(b, 1), add_to(a, 1);
    put_wait("level and edge", epoll, 4, 0);
    put_wait("level again", epoll, 4, 0);
    add_to(b, 1);
    put_wait("edge again", epoll, 4, 0);
    take_from(a);
    put_wait("level gone", epoll, 4, 0);
    take_from(b);
    change(epoll, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLONESHOT, 3);
    add_to(a, 1);
    put_wait("one shot", epoll, 4, 0);
    put_wait("shot", epoll, 4, 0);
    add_to(a, 1);
    put_wait("still", epoll, 4, 0);
    change(epoll, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLONESHOT, 4);
    put_wait("armed again", epoll, 4, 0);
    change(epoll, EPOLL_CTL_MOD, a, EPOLLOUT, 5);
    put_wait("for writing", epoll, 4, 0);
    change(epoll, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLOUT | EPOLLET, 6);
    put_wait("both", epoll, 4, 0);
    put_wait("both, edge", epoll, 4, 0);
    take_from(a);
    put_wait("reading makes room: an edge", epoll, 4, 0);
    change(epoll, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLET, 7);
    add_to(a, 1);
    take_from(a);
    put_wait("came and went", epoll, 4, 0);
    add_to(a, 1);
    change(epoll, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLET, 8);
    put_wait("modify looks again", epoll, 4, 0);
    change(epoll, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLET, 9);
    put_wait("and again", epoll, 4, 0);
    change(epoll, EPOLL_CTL_MOD, a, 0, 10);
    put_wait("no events wanted", epoll, 4, 0);
    close(epoll), close(a), close(b);
}

static void pipes(void) {
    section("pipes");
    int epoll = epoll_create1(0), ends[2];
    MUST(pipe(ends));
    change(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET, 1);
    change(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT | EPOLLET, 2);
    put_wait("idle", epoll, 4, 0);
    (void)!write(ends[1], "abc", 3);
    put_wait("data", epoll, 4, 0);
    (void)!write(ends[1], "def", 3);
    put_wait("more data", epoll, 4, 0);
    char bytes[2];
    (void)!read(ends[0], bytes, 2);
    put_wait("a part was read", epoll, 4, 0);
    close(ends[1]);
    put_wait("the writer closed", epoll, 4, 0);
    put_wait("no more of it", epoll, 4, 0);
    close(ends[0]);
    MUST(pipe(ends));
    change(epoll, EPOLL_CTL_ADD, ends[1], 0, 3);
    close(ends[0]);
    put_wait("errors without asking", epoll, 4, 0);
    int copy = dup(ends[1]);
    close(ends[1]);
    put_wait("closed, but a copy is open", epoll, 4, 0);
    close(copy);
    put_wait("gone", epoll, 4, 0);
    close(epoll);
}

static void sockets(void) {
    section("sockets");
    int epoll = epoll_create1(0), pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    change(epoll, EPOLL_CTL_ADD, pair[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1);
    put_wait("idle", epoll, 4, 0);
    (void)!write(pair[1], "x", 1);
    put_wait("data", epoll, 4, 0);
    shutdown(pair[1], SHUT_WR);
    put_wait("half closed", epoll, 4, 0);
    close(pair[1]);
    put_wait("closed", epoll, 4, 0);
    close(pair[0]);
    close(epoll);
}

static void order(void) {
    section("order");
    int epoll = epoll_create1(0), fds[5];
    for (unsigned i = 0; i < 5; i++) {
        fds[i] = counter();
        change(epoll, EPOLL_CTL_ADD, fds[i], EPOLLIN, i);
    }
    add_to(fds[3], 1), add_to(fds[0], 1), add_to(fds[4], 1), add_to(fds[1], 1);
    put_wait("two", epoll, 2, 0);
    put_wait("the next two", epoll, 2, 0);
    put_wait("round again", epoll, 2, 0);
    put_wait("all", epoll, 8, 0);
    change(epoll, EPOLL_CTL_DEL, fds[0], 0, 0);
    take_from(fds[3]);
    put_wait("less", epoll, 8, 0);
    int copy = dup(fds[1]);
    FACT("a copy is another", change(epoll, EPOLL_CTL_ADD, copy, EPOLLIN, 9));
    put_wait("both", epoll, 8, 0);
    for (int i = 0; i < 5; i++)
        close(fds[i]);
    close(copy), close(epoll);
}

static void nested(void) {
    section("nested");
    int outer = epoll_create1(0), inner = epoll_create1(0), fd = counter();
    FACT("add", change(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 1));
    FACT("loop", change(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 1));
    FACT("exclusive of an epoll", change(outer, EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLEXCLUSIVE, 1));
    change(inner, EPOLL_CTL_ADD, fd, EPOLLIN, 2);
    put_wait("nothing", outer, 4, 0);
    put_poll("poll of an epoll", inner);
    add_to(fd, 1);
    put_poll("poll of an epoll", inner);
    put_poll("poll of the outer", outer);
    put_wait("outer", outer, 4, 0);
    put_wait("outer again", outer, 4, 0);
    put_wait("inner", inner, 4, 0);
    take_from(fd);
    put_wait("outer", outer, 4, 0);
    change(outer, EPOLL_CTL_MOD, inner, EPOLLIN | EPOLLET, 3);
    add_to(fd, 1);
    put_wait("outer, edge", outer, 4, 0);
    put_wait("outer, edge again", outer, 4, 0);
    int chain[8];
    chain[0] = inner;
    for (int i = 1; i < 8; i++) {
        chain[i] = epoll_create1(0);
        errno = 0;
        int result = change(chain[i], EPOLL_CTL_ADD, chain[i - 1], EPOLLIN, 1);
        printf("chain of %d: %s\n", i, result ? strerrorname_np(errno) : "0");
    }
    for (int i = 1; i < 8; i++)
        close(chain[i]);
    close(outer), close(inner), close(fd);
}

static void exclusive(void) {
    section("exclusive");
    int epoll = epoll_create1(0), fd = counter();
    FACT("add", change(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
    FACT("modify", change(epoll, EPOLL_CTL_MOD, fd, EPOLLIN, 1));
    FACT("with one shot", change(epoll, EPOLL_CTL_ADD, 0, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
    add_to(fd, 1);
    put_wait("event", epoll, 4, 0);
    FACT("delete", change(epoll, EPOLL_CTL_DEL, fd, 0, 0));
    close(epoll);

    /* Of three that wait for one event, exclusive ones wake one at a time. */
    int report[2];
    MUST(pipe(report));
    take_from(fd);
    for (int i = 0; i < 3; i++) {
        fflush(stdout);
        if (!fork()) {
            int own = epoll_create1(0);
            struct epoll_event event;
            change(own, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, 1);
            int got = epoll_wait(own, &event, 1, 300);
            (void)!write(report[1], got ? "+" : "-", 1);
            _exit(0);
        }
    }
    pause_ms(100);
    add_to(fd, 1);
    while (wait(NULL) > 0)
        ;
    char bytes[3];
    int woken = 0;
    FACT("reports", read(report[0], bytes, 3));
    for (int i = 0; i < 3; i++)
        woken += bytes[i] == '+';
    printf("woken: %d\n", woken);
    close(report[0]), close(report[1]);

    /* One that nobody waits at does not keep the event from the next. */
    take_from(fd);
    int idle = epoll_create1(0);
    change(idle, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 1);
    epoll = epoll_create1(0);
    change(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 2);
    fflush(stdout);
    if (!fork()) {
        pause_ms(50);
        add_to(fd, 1);
        _exit(0);
    }
    put_wait("behind one that is not waited at", epoll, 4, 300);
    wait(NULL);
    close(idle), close(epoll), close(fd);
}

static void on_alarm(int signo) { (void)signo; }

/* What came together with a signal is given first. */
static void event_and_signal(void) {
    section("event and signal");
    int fd = counter(), report[2];
    MUST(pipe(report));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        int epoll = epoll_create1(0);
        change(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 3);
        (void)!write(report[1], "+", 1);
        put_wait("both", epoll, 4, 3000);
        fflush(stdout);
        _exit(0);
    }
    char byte;
    (void)!read(report[0], &byte, 1);
    pause_ms(50);
    add_to(fd, 1);
    kill(child, SIGUSR1);
    waitpid(child, NULL, 0);
    close(fd), close(report[0]), close(report[1]);
}

static void masks(void) {
    section("signals");
    int epoll = epoll_create1(0);
    struct epoll_event event;
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigset_t blocked, none;
    sigemptyset(&blocked), sigemptyset(&none);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    raise(SIGUSR1);
    FACT("blocked", epoll_wait(epoll, &event, 1, 10));
    FACT("let through by epoll_pwait", epoll_pwait(epoll, &event, 1, 1000, &none));
    sigprocmask(SIG_BLOCK, NULL, &none);
    printf("blocked again: %d\n", sigismember(&none, SIGUSR1));
    fflush(stdout);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    pid_t parent = getpid(), child = fork();
    if (!child) {
        pause_ms(50);
        kill(parent, SIGUSR1);
        _exit(0);
    }
    FACT("interrupted in spite of SA_RESTART", epoll_wait(epoll, &event, 1, 3000));
    waitpid(child, NULL, 0);
    close(epoll);
    /* Another process makes it ready while this one waits. */
    epoll = epoll_create1(0);
    int fd = counter();
    change(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 7);
    fflush(stdout);
    child = fork();
    if (!child) {
        pause_ms(30);
        add_to(fd, 5);
        _exit(0);
    }
    put_wait("woken by another process", epoll, 4, 3000);
    waitpid(child, NULL, 0);
    close(fd), close(epoll);
    event_and_signal();
}

int main(void) {
    begin();
    errors();
    triggering();
    pipes();
    sockets();
    order();
    nested();
    exclusive();
    masks();
    return 0;
}
