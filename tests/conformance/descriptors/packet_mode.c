/* Packet mode of pseudo-terminals (ioctl_tty(2), TIOCPKT): each read of the master begins with a byte of news. */
#define _GNU_SOURCE
#include "facts.h"

#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;

static void open_pair(void) {
    master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK));
    MUST(grantpt(master));
    MUST(unlockpt(master));
    slave = (int)MUST(open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK));
}

static void close_pair(void) {
    close(slave);
    close(master);
}

static void mode(int on) { FACT(on ? "packet mode" : "no packet mode", ioctl(master, TIOCPKT, &on)); }

/* What waits at the master, in reads of this size. What is written passes through the kernel's queue first. */
static void put_news(const char *what, size_t size) {
    char bytes[256];
    struct pollfd entry = {master, POLLIN | POLLPRI, 0};
    int ready = poll(&entry, 1, 50);
    printf("%s: %d%s%s%s\n", what, ready, entry.revents & POLLIN ? " in" : "", entry.revents & POLLPRI ? " urgent" : "",
           entry.revents & POLLHUP ? " hung up" : "");
    for (;;) {
        errno = 0;
        ssize_t got = read(master, bytes, size);
        if (got < 0) {
            put_result("  read", got, errno);
            break;
        }
        put_bytes("  read", bytes, (size_t)got);
        if (!got)
            break;
    }
}

static void type_text(const char *text) { MUST(write(master, text, strlen(text))); }

static void say(const char *text) {
    MUST(write(slave, text, strlen(text)));
    struct pollfd entry = {master, POLLIN, 0};
    poll(&entry, 1, 1000);
}

/* So much of what was written has come to the master: news do not wait for it. */
static void until_there(int bytes) {
    int there = 0;
    while (there < bytes)
        MUST(ioctl(master, FIONREAD, &there));
}

static struct termios settings(void) {
    struct termios now = {0};
    MUST(tcgetattr(slave, &now));
    return now;
}

static void flush(const char *what, int end, int queues, size_t size) {
    FACT(what, tcflush(end, queues));
    put_news("flushed", size);
}

static void flow(const char *what, int action, const char *then) {
    FACT(what, tcflow(slave, action));
    put_news(then, 100);
}

static void set(const char *what, int end, int when, const struct termios *now) {
    FACT(what, tcsetattr(end, when, now));
    put_news(what, 100);
}

static void choosing(void) {
    section("choosing");
    open_pair();
    int on = 7;
    FACT("at first", ioctl(master, TIOCGPKT, &on));
    printf("%d\n", on);
    mode(5);
    FACT("then", ioctl(master, TIOCGPKT, &on));
    printf("%d\n", on);
    FACT("of nowhere", ioctl(master, TIOCPKT, (void *)8));
    FACT("by the other end", ioctl(slave, TIOCPKT, &on));
    FACT("asked by the other end", ioctl(slave, TIOCGPKT, &on));
    put_news("nothing", 100);
    close_pair();
}

static void data(void) {
    section("data");
    open_pair();
    mode(1);
    say("abc");
    put_news("three bytes", 100);
    say("abc");
    put_news("in reads of two", 2);
    say("abc");
    int unread = -1;
    FACT("FIONREAD", ioctl(master, FIONREAD, &unread));
    printf("%d\n", unread);
    char byte = 'z';
    FACT("read of one", read(master, &byte, 1));
    printf("%d\n", byte);
    FACT("read of none", read(master, &byte, 0));
    mode(0);
    put_news("as it is", 100);
    type_text("x");
    mode(1);
    put_news("an echo", 100);
    close_pair();
}

static void news(void) {
    section("news");
    open_pair();
    FACT("tcflush before", tcflush(slave, TCIFLUSH));
    mode(1);
    put_news("of before", 100);
    flush("input is flushed", slave, TCIFLUSH, 100);
    flush("output is flushed", slave, TCOFLUSH, 100);
    flush("both", slave, TCIOFLUSH, 1);
    flush("by the master", master, TCIOFLUSH, 100);
    flow("stopped", TCOOFF, "stopped");
    flow("again", TCOOFF, "stopped");
    flow("goes on", TCOON, "goes on");
    flow("again", TCOON, "goes on");
    FACT("stopped", tcflow(slave, TCOOFF));
    flow("and goes on", TCOON, "the last of both");
    type_text("\023");
    put_news("stopped by a byte", 100);
    type_text("\021");
    put_news("goes on by a byte", 100);
    type_text("lost\003");
    until_there(2);
    put_news("a signal", 100);
    mode(1);
    mode(0);
    FACT("unheard", tcflush(slave, TCIFLUSH));
    mode(1);
    put_news("of before", 100);
    close_pair();
}

static void of_settings(void) {
    section("settings");
    open_pair();
    mode(1);
    struct termios now = settings();
    set("the same", slave, TCSANOW, &now);
    now.c_lflag &= ~(tcflag_t)ECHO;
    set("no echo", slave, TCSANOW, &now);
    now.c_iflag &= ~(tcflag_t)IXON;
    set("no flow control", slave, TCSANOW, &now);
    now.c_iflag |= IXON;
    set("flow control", master, TCSAFLUSH, &now);
    now.c_cc[VSTOP] = 'p';
    set("by other bytes", slave, TCSANOW, &now);
    now.c_cc[VSTOP] = 023;
    FACT("by those again", tcsetattr(slave, TCSANOW, &now));
    FACT("input is flushed", tcflush(slave, TCIFLUSH));
    say("data behind it");
    put_news("all", 100);
    FACT("stopped", tcflow(slave, TCOOFF));
    now.c_iflag &= ~(tcflag_t)IXON;
    FACT("no flow control", tcsetattr(slave, TCSANOW, &now));
    put_news("goes on", 100);
    now.c_lflag |= EXTPROC;
    set("EXTPROC", slave, TCSANOW, &now);
    set("the same", slave, TCSANOW, &now);
    now.c_lflag &= ~(tcflag_t)EXTPROC;
    set("no EXTPROC", slave, TCSANOW, &now);
    close_pair();
}

static void closing(void) {
    section("closing");
    open_pair();
    mode(1);
    say("last words");
    FACT("stopped", tcflow(slave, TCOOFF));
    close(slave);
    put_news("closed", 100);
    close(master);
}

int main(void) {
    begin();
    choosing();
    data();
    news();
    of_settings();
    closing();
    return 0;
}
