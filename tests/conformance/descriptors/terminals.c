/* Pseudo-terminals: names, settings, editing of lines, raw reads, translations, and what closing an end does. */
#define _GNU_SOURCE
#include "terminal_output.h"

#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

static int master, slave;

static void open_pair(void) {
    master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY));
    MUST(grantpt(master));
    MUST(unlockpt(master));
    slave = (int)MUST(open(ptsname(master), O_RDWR | O_NOCTTY));
}

static void close_pair(void) {
    close(slave);
    close(master);
}

/* Types, and shows the echo. */
static void type_bytes(const char *bytes, size_t length) {
    MUST(write(master, bytes, length));
    put_all("  echo", master);
}

static void type_text(const char *text) { type_bytes(text, strlen(text)); }

static void put_read(const char *what, size_t size) {
    char bytes[4096];
    errno = 0;
    ssize_t got = read(slave, bytes, size);
    put_result(what, got, errno);
    if (got >= 0)
        put_bytes("  bytes", bytes, (size_t)got);
}

static struct termios settings(void) {
    struct termios now = {0};
    MUST(tcgetattr(slave, &now));
    return now;
}

static void set(struct termios wanted) { MUST(tcsetattr(slave, TCSANOW, &wanted)); }

static void names(void) {
    char name[64], link[64], path[64];
    struct stat by_name, by_fd;
    section("names");
    master = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY));
    snprintf(name, sizeof name, "%s", ptsname(master));
    printf("%.9s\n", name);
    FACT_FD("locked", open(name, O_RDWR | O_NOCTTY));
    int lock = 0;
    FACT("TIOCGPTLCK", ioctl(master, TIOCGPTLCK, &lock));
    printf("lock %d\n", lock);
    FACT("unlockpt", unlockpt(master));
    FACT("TIOCGPTLCK", ioctl(master, TIOCGPTLCK, &lock));
    printf("lock %d\n", lock);
    slave = FACT_FD("open", open(name, O_RDWR | O_NOCTTY));
    printf("isatty %d %d\n", isatty(master), isatty(slave));
    printf("ttyname is ptsname: %d\n", ttyname(slave) && !strcmp(ttyname(slave), name));
    snprintf(path, sizeof path, "/proc/self/fd/%d", slave);
    ssize_t length = MUST(readlink(path, link, sizeof link - 1));
    link[length] = '\0';
    printf("link is ptsname: %d\n", !strcmp(link, name));
    MUST(stat(name, &by_name));
    MUST(fstat(slave, &by_fd));
    printf("character device %d, major %u, the same %d %d, number %d\n", S_ISCHR(by_name.st_mode),
           major(by_name.st_rdev), by_name.st_ino == by_fd.st_ino, by_name.st_rdev == by_fd.st_rdev,
           atoi(name + 9) == (int)minor(by_fd.st_rdev));
    MUST(fstat(master, &by_fd));
    printf("master: character device %d, %u:%u\n", S_ISCHR(by_fd.st_mode), major(by_fd.st_rdev), minor(by_fd.st_rdev));
    MUST(stat("/dev/tty", &by_name));
    printf("/dev/tty: character device %d, %u:%u\n", S_ISCHR(by_name.st_mode), major(by_name.st_rdev),
           minor(by_name.st_rdev));
    FACT("chmod", chmod(name, 0600));
    MUST(stat(name, &by_name));
    printf("mode %o\n", by_name.st_mode & 0777);
    FACT("fchmod", fchmod(slave, 0622));
    MUST(stat(name, &by_name));
    printf("mode %o\n", by_name.st_mode & 0777);
    bool listed = false;
    DIR *directory = opendir("/dev/pts");
    for (struct dirent *entry; (entry = readdir(directory));)
        listed |= !strcmp(entry->d_name, name + 9) && entry->d_type == DT_CHR;
    closedir(directory);
    printf("listed %d\n", listed);
    int again = FACT_FD("opened again by its number", open(path, O_RDWR | O_NOCTTY));
    printf("isatty %d\n", isatty(again));
    close(again);
    again = FACT_FD("TIOCGPTPEER", ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    printf("isatty %d\n", isatty(again));
    close(again);
    FACT_FD("O_EXCL", open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    FACT_FD("O_DIRECTORY", open(name, O_RDONLY | O_DIRECTORY));
    FACT("lseek", lseek(slave, 0, SEEK_SET));
    FACT("TIOCGPTN of a slave", ioctl(slave, TIOCGPTN, &lock));
    FACT("TIOCGPGRP of another terminal", ioctl(slave, TIOCGPGRP, &lock));
    FACT("TIOCGSID", ioctl(master, TIOCGSID, &lock));
    FACT("an ioctl of something else", ioctl(slave, 0x8901, &lock));
    FACT("tcsetpgrp", tcsetpgrp(slave, getpgrp()));
    close_pair();
    FACT_FD("open what is gone", open(name, O_RDWR | O_NOCTTY));
    FACT_FD("open what never was", open("/dev/pts/4000", O_RDWR | O_NOCTTY));
}

static void show_settings(void) {
    section("settings");
    open_pair();
    struct termios now = settings(), other = {0};
    printf("%x %x %x %x\n", now.c_iflag, now.c_oflag, now.c_cflag & ~(unsigned)CBAUD, now.c_lflag);
    put_bytes("characters", now.c_cc, 19);
    printf("speeds %d %d\n", cfgetispeed(&now) == B38400, cfgetospeed(&now) == B38400);
    MUST(tcgetattr(master, &other));
    printf("of the master: %d\n", !memcmp(&now, &other, sizeof now));
    cfsetspeed(&now, B115200);
    now.c_cflag |= PARENB | CSTOPB;
    now.c_cflag = (now.c_cflag & ~(unsigned)CSIZE) | CS5;
    now.c_cc[VEOL] = 'x';
    FACT("tcsetattr", tcsetattr(master, TCSADRAIN, &now));
    now = settings();
    printf("%x speed %d eol %c\n", now.c_cflag & (CSIZE | PARENB | CSTOPB | CREAD), cfgetospeed(&now) == B115200,
           now.c_cc[VEOL]);
    struct winsize size = {24, 80, 1, 2}, got = {0};
    FACT("TIOCGWINSZ", ioctl(slave, TIOCGWINSZ, &got));
    printf("%d %d\n", got.ws_row, got.ws_col);
    FACT("TIOCSWINSZ", ioctl(master, TIOCSWINSZ, &size));
    FACT("TIOCGWINSZ", ioctl(slave, TIOCGWINSZ, &got));
    printf("%d %d %d %d\n", got.ws_row, got.ws_col, got.ws_xpixel, got.ws_ypixel);
    FACT("TCGETS at a bad address", ioctl(slave, TCGETS, nowhere));
    FACT("TCSETS at a bad address", ioctl(slave, TCSETS, nowhere));
    FACT("tcflush", tcflush(slave, 77));
    FACT("tcflow", tcflow(slave, 77));
    FACT("tcdrain", tcdrain(slave));
    FACT("tcsendbreak", tcsendbreak(slave, 0));
    int discipline = 7;
    FACT("TIOCGETD", ioctl(slave, TIOCGETD, &discipline));
    printf("discipline %d\n", discipline);
    close_pair();
}

static void lines(void) {
    section("lines");
    open_pair();
    put_poll("slave", slave);
    put_poll("master", master);
    type_text("hello");
    put_poll("slave with half a line", slave);
    int waiting = 0;
    FACT("FIONREAD", ioctl(slave, FIONREAD, &waiting));
    printf("waiting %d\n", waiting);
    type_text("\n");
    put_poll("slave with a line", slave);
    FACT("FIONREAD", ioctl(slave, FIONREAD, &waiting));
    printf("waiting %d\n", waiting);
    put_read("a part", 3);
    put_read("the rest", 100);
    type_text("one\rtwo\n");
    put_read("return is newline", 100);
    put_read("second line", 100);
    type_text("ab\177\177\177x\ty\177\177\177\177z\n");
    put_read("erased", 100);
    type_text("a\001\177b\n");
    put_read("erased a control character", 100);
    type_text("some words, here \027\027x\n");
    put_read("erased words", 100);
    type_text("all of it\025new\n");
    put_read("killed", 100);
    type_text("a\026\003\026\177b\n");
    put_read("literal", 100);
    type_text("typed\022 on\n");
    put_read("reprinted", 100);
    type_text("\t1\t2\177\177\177\n");
    put_read("tabs", 100);
    type_text("\004");
    put_poll("slave at an end", slave);
    put_read("the end of a file", 100);
    type_text("half\004");
    put_read("half a line", 100);
    type_text("abc\004");
    put_read("as many as there are", 3);
    type_text("next\n");
    put_read("and what comes next", 100);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    put_read("nothing", 100);
    fcntl(slave, F_SETFL, 0);
    struct termios now = settings();
    now.c_cc[VEOL] = ';';
    now.c_cc[VEOL2] = ':';
    set(now);
    type_text("a;b:c\n");
    put_read("other ends", 100);
    put_read("other ends", 100);
    put_read("other ends", 100);
    put_read("no bytes", 0);
    char many[5000];
    memset(many, 'm', sizeof many);
    now.c_lflag &= ~(unsigned)ECHO;
    set(now);
    MUST(write(master, many, sizeof many));
    MUST(write(master, "\n", 1));
    pause_ms(40);
    FACT("a line that is too long", read(slave, many, sizeof many));
    printf("last %x\n", many[4095]);
    now.c_iflag |= PARMRK;
    set(now);
    memset(many, 'n', sizeof many);
    MUST(write(master, many, sizeof many));
    MUST(write(master, "\n", 1));
    pause_ms(40);
    FACT("one that is too long, of bytes that might be marked", read(slave, many, sizeof many));
    memset(many, 0377, 100);
    MUST(write(master, many, 100));
    MUST(write(master, "\n", 1));
    pause_ms(40);
    FACT("bytes that are marked", read(slave, many, sizeof many));
    close_pair();
}

static void echoes(void) {
    static const struct {
        const char *name;
        unsigned off, on;
    } kinds[] = {{"no ECHO", ECHO, 0},    {"no ECHO, ECHONL", ECHO, ECHONL}, {"no ECHOCTL", ECHOCTL, 0},
                 {"no ECHOE", ECHOE, 0},  {"no ECHOKE", ECHOKE, 0},          {"no ECHOK, no ECHOKE", ECHOK | ECHOKE, 0},
                 {"no IEXTEN", IEXTEN, 0}};
    section("echoes");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        open_pair();
        struct termios now = settings();
        now.c_lflag = (now.c_lflag & ~kinds[i].off) | kinds[i].on;
        set(now);
        printf("%s\n", kinds[i].name);
        type_text("abc\177\001d e\027f\n");
        put_read("  line", 100);
        type_text("gone\025kept\n");
        put_read("  line", 100);
        close_pair();
    }
}

static void translations(void) {
    static const struct {
        const char *name;
        unsigned off, on;
    } inputs[] = {{"ICRNL", 0, 0},       {"nothing", ICRNL, 0}, {"IGNCR", ICRNL, IGNCR}, {"INLCR", 0, INLCR},
                  {"ISTRIP", 0, ISTRIP}, {"IUCLC", 0, IUCLC},   {"PARMRK", 0, PARMRK},   {"no IXON", IXON, 0}};
    static const struct {
        const char *name;
        unsigned off, on;
    } outputs[] = {{"ONLCR", 0, 0},     {"no OPOST", OPOST, 0},    {"no ONLCR", ONLCR, 0}, {"OCRNL", 0, OCRNL},
                   {"ONOCR", 0, ONOCR}, {"ONLRET", ONLCR, ONLRET}, {"OLCUC", 0, OLCUC},    {"tabs as spaces", 0, TAB3}};
    section("translations");
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        open_pair();
        struct termios now = settings();
        now.c_iflag = (now.c_iflag & ~inputs[i].off) | inputs[i].on;
        now.c_lflag &= ~(unsigned)(ICANON | ECHO | ISIG);
        set(now);
        printf("%s\n", inputs[i].name);
        type_text("Aa\r\n\303\377z");
        pause_ms(20);
        put_read("  bytes", 100);
        close_pair();
    }
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        open_pair();
        struct termios now = settings();
        now.c_oflag = (now.c_oflag & ~outputs[i].off) | outputs[i].on;
        set(now);
        printf("%s\n", outputs[i].name);
        FACT("  write", write(slave, "\rab\tc\nd\r\te\b\tf\n", 14));
        put_all("  output", master);
        close_pair();
    }
}

static void raw(void) {
    char bytes[16];
    section("raw");
    open_pair();
    struct termios now = settings();
    cfmakeraw(&now);
    set(now);
    type_text("\003\004x\r");
    put_read("all", 100);
    now.c_cc[VMIN] = 0;
    set(now);
    put_read("at once", 100);
    put_poll("slave with VMIN 0", slave);
    now.c_cc[VTIME] = 2;
    set(now);
    put_read("after a while", 100);
    MUST(write(master, "late", 4));
    put_read("in time", 2);
    put_read("in time", 100);
    now.c_cc[VMIN] = 3;
    set(now);
    MUST(write(master, "ab", 2));
    put_read("after a pause", 100);
    now.c_cc[VTIME] = 0;
    set(now);
    MUST(write(master, "ab", 2));
    pause_ms(20);
    put_poll("slave with two of three", slave);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    put_read("two of three", 100);
    put_read("none", 100);
    fcntl(slave, F_SETFL, 0);
    if (!fork()) {
        for (int i = 0; i < 4; i++) {
            pause_ms(30);
            (void)!write(master, "1234" + i, 1);
        }
        _exit(0);
    }
    put_read("three", 100);
    put_read("one may be enough", 1);
    wait(NULL);

    section("from raw to lines and back");
    MUST(write(master, "pending", 7));
    pause_ms(20);
    struct termios cooked = now;
    cooked.c_lflag |= ICANON;
    set(cooked);
    put_read("pending bytes are a line", 100);
    MUST(write(master, "half", 4));
    pause_ms(20);
    now.c_cc[VMIN] = 1;
    set(now);
    put_read("half a line is bytes", 100);
    MUST(write(master, "dropped", 7));
    pause_ms(20);
    MUST(tcsetattr(slave, TCSAFLUSH, &now));
    fcntl(slave, F_SETFL, O_NONBLOCK);
    FACT("after a flush", read(slave, bytes, sizeof bytes));
    MUST(write(master, "dropped", 7));
    pause_ms(20);
    FACT("tcflush", tcflush(slave, TCIFLUSH));
    FACT("after another", read(slave, bytes, sizeof bytes));
    close_pair();
}

static void stops(void) {
    section("stopped output");
    open_pair();
    type_text("\023");
    fcntl(slave, F_SETFL, O_NONBLOCK);
    put_poll("slave", slave);
    FACT("write", write(slave, "held", 4));
    type_text("\021");
    put_poll("slave", slave);
    FACT("write", write(slave, "sent", 4));
    put_all("output", master);
    FACT("tcflow", tcflow(slave, TCOOFF));
    FACT("write", write(slave, "held", 4));
    FACT("tcflow", tcflow(slave, TCOON));
    FACT("tcflow", tcflow(slave, TCIOFF));
    FACT("tcflow", tcflow(slave, TCION));
    put_all("output", master);
    close_pair();
}

static void closing(void) {
    char byte;
    section("the slave closes");
    open_pair();
    MUST(write(slave, "last words", 10));
    close(slave);
    pause_ms(20);
    put_poll("master", master);
    char bytes[32];
    ssize_t got = MUST(read(master, bytes, sizeof bytes));
    put_bytes("read", bytes, (size_t)got);
    FACT("read again", read(master, &byte, 1));
    put_poll("master", master);
    FACT("write", write(master, "kept\n", 5));
    slave = FACT_FD("open again", open(ptsname(master), O_RDWR | O_NOCTTY));
    pause_ms(20);
    put_read("what was typed meanwhile", 100);
    put_all("its echo", master);
    put_poll("master", master);

    section("the master closes");
    MUST(write(master, "unread\n", 7));
    pause_ms(20);
    close(master);
    put_poll("slave", slave);
    FACT("read", read(slave, &byte, 1));
    FACT("write", write(slave, "x", 1));
    struct termios now;
    FACT("tcgetattr", tcgetattr(slave, &now));
    FACT("tcsetpgrp", tcsetpgrp(slave, getpgrp()));
    close(slave);

    section("the master closes while somebody reads");
    open_pair();
    pid_t child = (pid_t)MUST(fork());
    if (!child) {
        close(master);
        FACT("read", read(slave, &byte, 1));
        _exit(0);
    }
    pause_ms(50);
    close(master);
    waitpid(child, NULL, 0);
    close(slave);

    section("full");
    open_pair();
    static char many[100000];
    memset(many, 'o', sizeof many);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    ssize_t wrote = MUST(write(slave, many, sizeof many));
    pause_ms(20);
    while (write(slave, many, sizeof many) > 0)
        pause_ms(20);
    printf("some but not all: %d\n", wrote > 1000 && wrote < (ssize_t)sizeof many);
    put_poll("slave", slave);
    FACT("write", write(slave, "x", 1));
    fcntl(slave, F_SETFL, 0);
    child = (pid_t)MUST(fork());
    if (!child) {
        FACT("a blocking write", write(slave, many, sizeof many));
        _exit(0);
    }
    close(slave);
    while (read(master, many, sizeof many) > 0)
        continue;
    waitpid(child, NULL, 0);
    close(master);
}

int main(void) {
    begin();
    setsid();
    names();
    show_settings();
    lines();
    echoes();
    translations();
    raw();
    stops();
    closing();
    return 0;
}
