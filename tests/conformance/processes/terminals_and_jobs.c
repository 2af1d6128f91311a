/* The terminal of a session: who has it, who is in its foreground, and the signals that it sends. */
#include "terminal_output.h"

#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;
static char name[64];

static void note(int signo) {
    char text[32];
    int length = snprintf(text, sizeof text, "  caught SIG%s\n", sigabbrev_np(signo));
    (void)!write(1, text, (size_t)length);
}

static void catch(int signo, int flags) {
    struct sigaction action = {.sa_handler = note, .sa_flags = flags};
    sigaction(signo, &action, NULL);
}

static void open_pair(void) {
    master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY));
    MUST(grantpt(master));
    MUST(unlockpt(master));
    snprintf(name, sizeof name, "%s", ptsname(master));
}

static void put_word(const char *what, pid_t child, int options) {
    int status;
    pid_t got = waitpid(child, &status, options);
    if (got != child)
        printf("%s: %d\n", what, (int)got);
    else if (WIFSTOPPED(status))
        printf("%s: stopped by SIG%s\n", what, sigabbrev_np(WSTOPSIG(status)));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
    else
        put_status(what, status);
}

/* Runs `body` as the leader of a new session, to which the terminal does not belong yet. */
#define AS_LEADER(body)                                                                                                \
    do {                                                                                                               \
        fflush(stdout);                                                                                                \
        pid_t leader_ = fork();                                                                                        \
        if (!leader_) {                                                                                                \
            setsid();                                                                                                  \
            alarm(20);                                                                                                 \
            body;                                                                                                      \
            fflush(stdout);                                                                                            \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        put_word("the leader", leader_, 0);                                                                            \
    } while (0)

static void who_has_it(void) {
    int number = -1;
    FACT_FD("/dev/tty without a terminal", open("/dev/tty", O_RDWR));
    slave = FACT_FD("open with O_NOCTTY", open(name, O_RDWR | O_NOCTTY));
    FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
    FACT("tcgetpgrp", tcgetpgrp(slave));
    FACT("TIOCNOTTY", ioctl(slave, TIOCNOTTY));
    close(slave);
    IN_CHILD("another process of the session", {
        slave = FACT_FD("open", open(name, O_RDWR));
        FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
        FACT("TIOCSCTTY", ioctl(slave, TIOCSCTTY, 0));
    });
    slave = FACT_FD("open", open(name, O_RDWR));
    int tty = FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
    printf("isatty %d, ttyname %s\n", isatty(tty), ttyname(tty) ? ttyname(tty) : "none");
    printf("tcgetpgrp %d, tcgetsid %d\n", tcgetpgrp(slave) == getpid(), tcgetsid(slave) == getpid());
    FACT("TIOCGPGRP of the master", ioctl(master, TIOCGPGRP, &number));
    printf("it is ours: %d\n", number == getpid());
    FACT("TIOCSCTTY again", ioctl(slave, TIOCSCTTY, 0));
    FACT("tcsetpgrp to nobody", tcsetpgrp(slave, 999999));
    FACT("tcsetpgrp to a negative", tcsetpgrp(slave, -1));
    FACT("tcsetpgrp to another session", tcsetpgrp(slave, getppid()));
    int second = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY));
    MUST(unlockpt(second));
    int other = (int)MUST(open(ptsname(second), O_RDWR));
    FACT("TIOCSCTTY of a second one", ioctl(other, TIOCSCTTY, 0));
    FACT("tcgetpgrp of a second one", tcgetpgrp(other));
    FACT("tcsetpgrp of a second one", tcsetpgrp(other, getpid()));
    IN_CHILD("a new session", {
        setsid();
        FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
        FACT("tcgetpgrp", tcgetpgrp(slave));
        FACT("TIOCSCTTY of a terminal that is taken", ioctl(slave, TIOCSCTTY, 0));
        FACT("TIOCSCTTY of one that is free", ioctl(other, TIOCSCTTY, 0));
        printf("tcgetpgrp %d\n", tcgetpgrp(other) == getpid());
    });
    signal(SIGHUP, SIG_IGN);
    IN_CHILD("a member gives it up", {
        FACT("TIOCNOTTY", ioctl(slave, TIOCNOTTY));
        FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
    });
    close(tty);
    tty = FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
    catch(SIGHUP, 0);
    catch(SIGCONT, 0);
    FACT("the leader gives it up", ioctl(slave, TIOCNOTTY));
    FACT("tcgetpgrp", tcgetpgrp(slave));
    FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
}

/* A child in a group of its own, in the foreground if `front`. */
static pid_t start(void (*body)(void), bool front) {
    fflush(stdout);
    pid_t child = (pid_t)MUST(fork());
    if (!child) {
        alarm(20);
        close(master);
        setpgid(0, 0);
        while (front && tcgetpgrp(slave) != getpid())
            pause_ms(1);
        body();
        fflush(stdout);
        _exit(0);
    }
    setpgid(child, child);
    if (front)
        FACT("tcsetpgrp", tcsetpgrp(slave, child));
    return child;
}

static void sleeps(void) {
    for (;;)
        pause();
}

static void reads(void) {
    char bytes[32];
    errno = 0;
    ssize_t got = read(slave, bytes, sizeof bytes);
    put_result("  read", got, errno);
    if (got > 0)
        put_bytes("  bytes", bytes, (size_t)got);
}

static void writes(void) { FACT("  write", write(slave, "written\n", 8)); }

static void sets(void) {
    struct termios now = {0};
    FACT("  tcgetattr", tcgetattr(slave, &now));
    FACT("  tcsetattr", tcsetattr(slave, TCSANOW, &now));
    FACT("  tcsetpgrp", tcsetpgrp(slave, getpid()));
}

static void take_back(void) {
    signal(SIGTTOU, SIG_IGN);
    FACT("tcsetpgrp back", tcsetpgrp(slave, getpid()));
    signal(SIGTTOU, SIG_DFL);
}

static void type_text(const char *text) {
    MUST(write(master, text, strlen(text)));
    pause_ms(30);
}

static void the_foreground(void) {
    static const char *const keys[] = {"\003", "\034", "\032"};
    slave = (int)MUST(open(name, O_RDWR));
    for (int i = 0; i < 3; i++) {
        pid_t child = start(sleeps, true);
        type_text("discarded");
        type_text(keys[i]);
        put_word("typed to a job", child, WUNTRACED);
        put_all("echo", master);
        kill(child, SIGKILL);
        if (i == 2)
            put_word("killed", child, 0);
        take_back();
    }
    struct termios now = {0};
    MUST(tcgetattr(slave, &now));
    now.c_lflag |= NOFLSH;
    MUST(tcsetattr(slave, TCSANOW, &now));
    catch(SIGINT, SA_RESTART);
    type_text("kept \003on\n");
    reads();
    now.c_lflag &= ~(unsigned)(NOFLSH | ISIG);
    MUST(tcsetattr(slave, TCSANOW, &now));
    type_text("\003 is a byte\n");
    reads();
    now.c_lflag |= ISIG;
    MUST(tcsetattr(slave, TCSANOW, &now));
    put_all("echo", master);

    catch(SIGWINCH, SA_RESTART);
    struct winsize size = {10, 20, 0, 0};
    FACT("TIOCSWINSZ", ioctl(master, TIOCSWINSZ, &size));
    FACT("TIOCSWINSZ of the same", ioctl(master, TIOCSWINSZ, &size));
    size.ws_row = 11;
    FACT("TIOCSWINSZ", ioctl(slave, TIOCSWINSZ, &size));
}

static void the_background(void) {
    slave = (int)MUST(open(name, O_RDWR));
    pid_t child = start(reads, false);
    put_word("reads in the background", child, WUNTRACED);
    type_text("for the job\n");
    FACT("tcsetpgrp", tcsetpgrp(slave, child));
    FACT("SIGCONT", kill(child, SIGCONT));
    put_word("in the foreground", child, 0);
    take_back();
    put_all("echo", master);

    child = start(writes, false);
    put_word("writes in the background", child, WUNTRACED);
    struct termios now = {0};
    MUST(tcgetattr(slave, &now));
    now.c_lflag |= TOSTOP;
    MUST(tcsetattr(slave, TCSANOW, &now));
    child = start(writes, false);
    put_word("writes with TOSTOP", child, WUNTRACED);
    now.c_lflag &= ~(unsigned)TOSTOP;
    MUST(tcsetattr(slave, TCSANOW, &now));
    kill(child, SIGCONT);
    put_word("writes then", child, 0);
    put_all("output", master);

    child = start(sets, false);
    put_word("sets in the background", child, WUNTRACED);
    kill(child, SIGKILL);
    put_word("killed", child, 0);
    signal(SIGTTOU, SIG_IGN);
    child = start(sets, false);
    put_word("sets and ignores SIGTTOU", child, WUNTRACED);
    FACT("tcsetpgrp", tcsetpgrp(slave, getpid()));
    signal(SIGTTOU, SIG_DFL);
    signal(SIGTTIN, SIG_IGN);
    child = start(reads, false);
    put_word("reads and ignores SIGTTIN", child, WUNTRACED);
    signal(SIGTTIN, SIG_DFL);
    catch(SIGTTIN, 0);
    child = start(reads, false);
    pause_ms(30);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void leave_orphan(void) {
    slave = (int)MUST(open(name, O_RDWR));
    fflush(stdout);
    pid_t child = (pid_t)MUST(fork());
    if (!child) {
        pid_t inner = fork();
        if (inner)
            _exit(0);
        setpgid(0, 0);
        pause_ms(30);
        reads(); /* nobody could continue it */
        writes();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    pause_ms(100);
}

static void tell_hang_up(void) {
    sigset_t set;
    int signo = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCONT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigdelset(&set, SIGCONT);
    sigwait(&set, &signo);
    pause_ms(50); /* its leader's end is told first */
    note(signo);
}

static void hang_up(void) {
    slave = (int)MUST(open(name, O_RDWR));
    catch(SIGHUP, 0);
    catch(SIGCONT, 0);
    pid_t background = start(sleeps, false), foreground = start(tell_hang_up, true);
    pause_ms(30);
    close(master);
    pause_ms(50);
    put_word("the foreground", foreground, WNOHANG);
    put_word("the background", background, WNOHANG);
    FACT("tcgetpgrp", tcgetpgrp(slave));
    FACT_FD("/dev/tty", open("/dev/tty", O_RDWR));
    char byte;
    FACT("read", read(slave, &byte, 1));
    FACT("write", write(slave, "x", 1));
    kill(background, SIGKILL);
    waitpid(background, NULL, 0);
    /* The foreground hears of it when this process ends. */
    fflush(stdout);
    _exit(0);
}

static void leave(void) {
    slave = (int)MUST(open(name, O_RDWR));
    (void)start(tell_hang_up, true);
    pause_ms(30);
}

int main(void) {
    begin();
    setsid();
    signal(SIGCHLD, SIG_DFL);
    section("who has the terminal");
    open_pair();
    AS_LEADER(who_has_it());
    close(master);
    section("the foreground");
    open_pair();
    AS_LEADER(the_foreground());
    close(master);
    section("the background");
    open_pair();
    AS_LEADER(the_background());
    close(master);
    section("an orphaned group");
    open_pair();
    AS_LEADER(leave_orphan());
    close(master);
    section("the master closes");
    open_pair();
    pid_t leader = (pid_t)MUST(fork());
    if (!leader) {
        setsid();
        alarm(20);
        hang_up();
    }
    close(master);
    put_word("the leader", leader, 0);
    pause_ms(100);
    section("the leader ends");
    open_pair();
    AS_LEADER(leave());
    pause_ms(100);
    char byte;
    FACT("read", read(master, &byte, 1));
    close(master);
    return 0;
}
