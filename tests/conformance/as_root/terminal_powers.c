/* What those with the right to may do to terminals: typing for others (TIOCSTI), locked settings, vhangup. */
#define _GNU_SOURCE
#include "terminal_output.h"

#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>

static int master, slave;
static char name[64];

static void open_pair(void) {
    master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK));
    MUST(grantpt(master));
    MUST(unlockpt(master));
    snprintf(name, sizeof name, "%s", ptsname(master));
    slave = (int)MUST(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
}

static void close_pair(void) {
    close(slave);
    close(master);
}

static void put_read(const char *what, int fd) {
    char bytes[100];
    struct pollfd entry = {fd, POLLIN, 0};
    poll(&entry, 1, 50);
    errno = 0;
    ssize_t got = read(fd, bytes, sizeof bytes);
    put_result(what, got, errno);
    if (got > 0)
        put_bytes("  bytes", bytes, (size_t)got);
}

static void drop_rights(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    MUST(syscall(SYS_capset, &header, none));
}

static void type_for(int fd, const char *text) {
    for (; *text; text++)
        FACT("TIOCSTI", ioctl(fd, TIOCSTI, text));
}

static void typing(void) {
    section("typing for others");
    open_pair();
    type_for(slave, "a\n");
    put_read("a line", slave);
    put_all("its echo", master);
    type_for(master, "b\n");
    put_read("nothing", slave);
    put_all("what it printed", master);
    FACT("from nowhere", ioctl(slave, TIOCSTI, (void *)8));
    IN_CHILD("without the right to", {
        drop_rights();
        type_for(slave, "c");
        setsid();
        FACT("a terminal of its own", ioctl(slave, TIOCSCTTY, 0));
        type_for(slave, "d\n");
        type_for(master, "e");
        put_read("read", slave);
    });
    close_pair();
}

static void put_settings(const char *what) {
    struct termios now;
    MUST(tcgetattr(slave, &now));
    printf("%s: %o %o %o %o, %d %d\n", what, now.c_iflag, now.c_oflag, now.c_cflag, now.c_lflag, now.c_cc[VINTR],
           now.c_cc[VEOF]);
}

static void locking(void) {
    section("locked settings");
    open_pair();
    struct termios locks, now;
    memset(&locks, 0xff, sizeof locks);
    FACT("at first", ioctl(slave, TIOCGLCKTRMIOS, &locks));
    printf("%o %o %o %o %d %d\n", locks.c_iflag, locks.c_oflag, locks.c_cflag, locks.c_lflag, locks.c_line,
           locks.c_cc[VINTR]);
    locks.c_iflag = IXON;
    locks.c_oflag = OPOST;
    locks.c_cflag = CBAUD;
    locks.c_lflag = ECHO | ICANON;
    locks.c_cc[VINTR] = 1;
    FACT("locked by the master", ioctl(master, TIOCSLCKTRMIOS, &locks));
    memset(&locks, 0, sizeof locks);
    FACT("asked", ioctl(slave, TIOCGLCKTRMIOS, &locks));
    printf("%o %o %o %o %d %d\n", locks.c_iflag, locks.c_oflag, locks.c_cflag, locks.c_lflag, locks.c_line,
           locks.c_cc[VINTR]);
    put_settings("before");
    MUST(tcgetattr(slave, &now));
    cfmakeraw(&now);
    cfsetspeed(&now, B9600);
    now.c_cc[VINTR] = 'i';
    now.c_cc[VEOF] = 'e';
    FACT("all is changed", tcsetattr(slave, TCSANOW, &now));
    put_settings("what may be");
    IN_CHILD("without the right to", {
        drop_rights();
        FACT("asked", ioctl(slave, TIOCGLCKTRMIOS, &locks));
        FACT("unlocked", ioctl(slave, TIOCSLCKTRMIOS, &locks));
    });
    FACT("from nowhere", ioctl(slave, TIOCSLCKTRMIOS, (void *)8));
    memset(&locks, 0, sizeof locks);
    FACT("unlocked", ioctl(slave, TIOCSLCKTRMIOS, &locks));
    FACT("all is changed", tcsetattr(slave, TCSANOW, &now));
    put_settings("all");
    close_pair();
}

static void note(int signo) {
    char text[32];
    int length = snprintf(text, sizeof text, "  caught SIG%s\n", sigabbrev_np(signo));
    (void)!write(1, text, (size_t)length);
}

static void hanging_up(void) {
    section("vhangup");
    open_pair();
    fflush(stdout);
    pid_t leader = fork();
    if (!leader) {
        FACT("without a terminal", vhangup());
        setsid();
        signal(SIGHUP, note);
        signal(SIGCONT, note);
        int own = FACT_FD("a terminal of its own", open(name, O_RDWR));
        struct termios now;
        MUST(tcgetattr(own, &now));
        now.c_lflag &= ~(tcflag_t)ECHO;
        MUST(tcsetattr(own, TCSANOW, &now));
        MUST(write(master, "typed\n", 6));
        MUST(write(own, "printed", 7));
        // On Linux a worker brings it to the other side, and a hangup drops what it has not come to yet.
        struct pollfd ends[2] = {{own, POLLIN, 0}, {master, POLLIN, 0}};
        for (int end = 0; end < 2; end++)
            MUST(poll(&ends[end], 1, -1));
        put_poll("before", own);
        setvbuf(stdout, NULL, _IONBF, 0);
        FACT("vhangup", vhangup());
        put_poll("after", own);
        put_read("read", own);
        FACT("write", write(own, "x", 1));
        FACT("tcgetattr", tcgetattr(own, &now));
        FACT("TIOCSPGRP", ioctl(own, TIOCSPGRP, &leader));
        FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
        put_all("what was printed", master);
        char link[64];
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", own);
        ssize_t length = readlink(path, link, sizeof link);
        printf("the name is the same: %d\n", length == (ssize_t)strlen(name) && !memcmp(link, name, strlen(name)));
        int again = FACT_FD("opened again", open(name, O_RDWR | O_NONBLOCK));
        FACT_FD("which is its own", open("/dev/tty", O_RDWR));
        MUST(tcgetattr(again, &now));
        printf("it echoes again: %d\n", (now.c_lflag & ECHO) != 0);
        put_read("nothing of before", again);
        MUST(write(master, "typed again\n", 12));
        put_read("typed", again);
        put_read("still not by the old one", own);
        put_read("nor by the parent's", slave);
        drop_rights();
        FACT("without the right to", vhangup());
        exit(0);
    }
    int status;
    MUST(waitpid(leader, &status, 0));
    put_status("the leader", status);
    put_read("the parent's", slave);
    close(slave);
    put_all("all that was printed", master);
    put_read("nobody is left", master);
    close(master);
}

static void waking(void) {
    section("vhangup while others wait");
    open_pair();
    MUST(fcntl(slave, F_SETFL, O_RDWR));
    int ready[2];
    char byte;
    MUST(pipe(ready));
    fflush(stdout);
    pid_t reader = fork();
    if (!reader) {
        (void)!write(ready[1], "x", 1);
        errno = 0;
        ssize_t got = read(slave, &byte, 1);
        put_result("a read that waited", got, errno);
        exit(0);
    }
    (void)!read(ready[0], &byte, 1);
    usleep(50000);
    pid_t leader = fork();
    if (!leader) {
        setsid();
        signal(SIGHUP, SIG_IGN);
        MUST(ioctl(slave, TIOCSCTTY, 0));
        MUST(vhangup());
        exit(0);
    }
    // The reader may print before the leader has ended or after it.
    int of_leader;
    int of_reader;
    MUST(waitpid(leader, &of_leader, 0));
    MUST(waitpid(reader, &of_reader, 0));
    put_status("the leader", of_leader);
    put_status("the reader", of_reader);
    close_pair();
}

int main(void) {
    begin();
    typing();
    locking();
    hanging_up();
    waking();
    return 0;
}
