/* O_ASYNC: SIGIO, the signals of F_SETSIG and what they carry, for pipes and sockets. */
#include "inet.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

static volatile sig_atomic_t told;
static siginfo_t last;

static void note(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)context;
    told++;
    last = *info;
}

static void put_told(const char *what) {
    pause_ms(20);
    printf("%s: %s\n", what, told ? "told" : "not told");
    told = 0;
}

static void handle(int signo) {
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    MUST(sigaction(signo, &action, NULL));
}

static void own(int fd) {
    MUST(fcntl(fd, F_SETOWN, getpid()));
    MUST(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC | O_NONBLOCK));
}

static void drain(int fd) {
    char bytes[4096];
    while (read(fd, bytes, sizeof bytes) > 0)
        continue;
}

/* Writes until nothing more fits. */
static void fill(int fd) {
    static char bytes[65536];
    while (write(fd, bytes, sizeof bytes) > 0)
        continue;
}

static void flags(void) {
    section("flags");
    int ends[2], on = 1, off = 0, file = (int)MUST(open("/", O_RDONLY)), event = (int)MUST(epoll_create1(0));
    MUST(pipe(ends));
    FACT("F_GETSIG", fcntl(ends[0], F_GETSIG));
    FACT("F_SETSIG", fcntl(ends[0], F_SETSIG, SIGRTMIN));
    FACT("F_GETSIG", fcntl(ends[0], F_GETSIG) == SIGRTMIN);
    FACT("of the other end", fcntl(ends[1], F_GETSIG));
    FACT("too large", fcntl(ends[0], F_SETSIG, 65));
    FACT("negative", fcntl(ends[0], F_SETSIG, -1));
    FACT("FIOASYNC", ioctl(ends[0], FIOASYNC, &on));
    printf("O_ASYNC %d\n", !!(fcntl(ends[0], F_GETFL) & O_ASYNC));
    FACT("FIOASYNC off", ioctl(ends[0], FIOASYNC, &off));
    printf("O_ASYNC %d\n", !!(fcntl(ends[0], F_GETFL) & O_ASYNC));
    FACT("FIOASYNC of a folder", ioctl(file, FIOASYNC, &on));
    FACT("already off", ioctl(file, FIOASYNC, &off));
    FACT("F_SETFL of a folder", fcntl(file, F_SETFL, O_ASYNC));
    printf("O_ASYNC %d\n", !!(fcntl(file, F_GETFL) & O_ASYNC));
    FACT("FIOASYNC of an epoll", ioctl(event, FIOASYNC, &on));
    FACT("FIOASYNC from a wrong address", ioctl(ends[0], FIOASYNC, nowhere));
    close(file), close(event), close(ends[0]), close(ends[1]);
}

static void pipes(void) {
    section("pipes");
    int ends[2];
    MUST(pipe(ends));
    own(ends[0]);
    MUST(write(ends[1], "a", 1));
    put_told("a write");
    MUST(write(ends[1], "b", 1));
    put_told("another");
    drain(ends[0]);
    put_told("reading");
    int copy = (int)MUST(dup(ends[1]));
    close(copy);
    put_told("a copy closed");
    close(ends[1]);
    put_told("the writer closed");
    close(ends[0]);
    MUST(pipe(ends));
    own(ends[1]);
    fill(ends[1]);
    put_told("full");
    char byte;
    MUST(read(ends[0], &byte, 1));
    put_told("a byte was read");
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    put_told("the reader closed");
    close(ends[1]);
}

static void streams(const char *what, int pair[2]) {
    section(what);
    char byte;
    own(pair[0]), own(pair[1]);
    put_told("nothing happened");
    MUST(send(pair[0], "a", 1, 0));
    put_told("data");
    MUST(send(pair[0], "b", 1, 0));
    put_told("more data");
    drain(pair[1]);
    put_told("reading");
    MUST(fcntl(pair[1], F_SETFL, O_NONBLOCK));
    MUST(send(pair[0], "c", 1, 0));
    put_told("data without O_ASYNC");
    drain(pair[1]);
    own(pair[1]);
    fill(pair[0]);
    put_told("the other side fills up");
    drain(pair[1]);
    put_told("and has room again");
    drain(pair[1]);
    told = 0;
    MUST(shutdown(pair[0], SHUT_WR));
    put_told("shutdown");
    FACT("the end", read(pair[1], &byte, 1));
    close(pair[0]);
    close(pair[1]);
    pause_ms(20);
    told = 0;
}

static void connections(void) {
    section("connections");
    int listening = listener(4), fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    own(listening);
    own(fd);
    FACT("connect", connect_to(fd, name_of(listening)));
    put_told("connected, and to be accepted");
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    int accepted = (int)MUST(accept(listening, NULL, NULL));
    put_told("accept");
    own(fd);
    struct linger now = {1, 0};
    MUST(setsockopt(accepted, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(accepted);
    put_told("a reset");
    close(fd), close(listening);
}

static void datagrams(void) {
    section("datagrams");
    int a = udp_socket(), b = udp_socket();
    MUST(connect_to(a, name_of(b)));
    own(a), own(b);
    MUST(send(a, "x", 1, 0));
    put_told("a datagram");
    drain(b);
    put_told("reading");
    close(b);
    MUST(send(a, "x", 1, 0));
    put_told("nobody is there");
    close(a);
}

static void folders(void) {
    section("inotify");
    int fd = (int)MUST(inotify_init1(IN_NONBLOCK));
    MUST(inotify_add_watch(fd, ".", IN_CREATE));
    own(fd);
    close((int)MUST(open("new", O_CREAT | O_WRONLY, 0600)));
    put_told("a new file");
    drain(fd);
    put_told("reading");
    close(fd);
}

static void information(void) {
    section("F_SETSIG");
    int pair[2], signo = SIGRTMIN + 1;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    handle(signo);
    own(pair[1]);
    MUST(fcntl(pair[1], F_SETSIG, signo));
    MUST(send(pair[0], "a", 1, 0));
    put_told("data");
    printf("signal %d code %d fd %d\n", last.si_signo == signo, last.si_code, last.si_fd == pair[1]);
    put_events("band", (unsigned)last.si_band);
    MUST(fcntl(pair[1], F_SETSIG, SIGIO));
    MUST(send(pair[0], "b", 1, 0));
    put_told("SIGIO by name");
    printf("signal %d code %d fd %d\n", last.si_signo == SIGIO, last.si_code, last.si_fd == pair[1]);
    MUST(fcntl(pair[1], F_SETSIG, 0));
    MUST(send(pair[0], "c", 1, 0));
    put_told("SIGIO by default");
    printf("signal %d code %d\n", last.si_signo == SIGIO, last.si_code == SI_KERNEL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signo);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = (int)MUST(signalfd(-1, &set, SFD_NONBLOCK));
    MUST(fcntl(pair[1], F_SETSIG, signo));
    MUST(send(pair[0], "d", 1, 0));
    MUST(send(pair[0], "e", 1, 0));
    struct signalfd_siginfo shown;
    for (int i = 0; i < 3; i++) {
        memset(&shown, 0, sizeof shown);
        FACT("signalfd", read(fd, &shown, sizeof shown));
        printf("code %d fd %d\n", shown.ssi_code, shown.ssi_fd == pair[1]);
        put_events("band", shown.ssi_band);
    }
    drain(pair[1]);
    close(pair[0]);
    memset(&shown, 0, sizeof shown);
    FACT("the other end closed", read(fd, &shown, sizeof shown));
    printf("code %d\n", shown.ssi_code);
    put_events("band", shown.ssi_band);
    close(pair[1]), close(fd);
}

int main(void) {
    begin();
    handle(SIGIO);
    flags();
    pipes();
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    streams("a Unix pair", pair);
    tcp_pair(pair);
    streams("a TCP connection", pair);
    connections();
    datagrams();
    folders();
    information();
    return 0;
}
