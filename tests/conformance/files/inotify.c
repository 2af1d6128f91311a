/* inotify: what is told of files and directories, in which order, and how it is read. */
#include "calls.h"
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int instance;
static uint32_t last_cookie;

static const struct {
    uint32_t bit;
    const char *name;
} names[] = {{IN_ACCESS, "ACCESS"},
             {IN_MODIFY, "MODIFY"},
             {IN_ATTRIB, "ATTRIB"},
             {IN_CLOSE_WRITE, "CLOSE_WRITE"},
             {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
             {IN_OPEN, "OPEN"},
             {IN_MOVED_FROM, "MOVED_FROM"},
             {IN_MOVED_TO, "MOVED_TO"},
             {IN_CREATE, "CREATE"},
             {IN_DELETE, "DELETE"},
             {IN_DELETE_SELF, "DELETE_SELF"},
             {IN_MOVE_SELF, "MOVE_SELF"},
             {IN_Q_OVERFLOW, "Q_OVERFLOW"},
             {IN_IGNORED, "IGNORED"},
             {IN_ISDIR, "ISDIR"}};

/* All events that wait. */
static void tell(const char *what) {
    _Alignas(struct inotify_event) char bytes[8192];
    ssize_t length = read(instance, bytes, sizeof bytes);
    printf("%s:%s\n", what, length < 0 ? " nothing" : "");
    for (char *at = bytes; at < bytes + length;) {
        const struct inotify_event *event = (const void *)at;
        printf("    %d", event->wd);
        uint32_t left = event->mask;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (left & names[i].bit) {
                printf(" %s", names[i].name);
                left &= ~names[i].bit;
            }
        printf("%s", left ? " and more" : "");
        if (event->len)
            printf(" \"%s\" in %u", event->name, event->len);
        if (event->cookie)
            printf("%s", event->cookie == last_cookie ? ", the same" : ", a rename");
        last_cookie = event->cookie;
        printf("\n");
        at += sizeof *event + event->len;
    }
}

static int make(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0644);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        printf("cannot write\n");
    return fd;
}

static void in_a_directory(void) {
    FACT(mkdir("d", 0755));
    FACT(inotify_add_watch(instance, "d", IN_ALL_EVENTS));
    int fd = make("d/file", "hello");
    tell("made");
    FACT(write(fd, "!", 1));
    FACT(write(fd, "!", 1));
    FACT(write(fd, "", 0));
    tell("written twice");
    FACT(fchmod(fd, 0600));
    FACT(ftruncate(fd, 3));
    FACT(close(dup(fd)));
    FACT(close(fd));
    tell("closed");
    char bytes[8];
    fd = open("d/file", O_RDONLY);
    FACT(read(fd, bytes, 8));
    FACT(read(fd, bytes, 8));
    FACT(pread(fd, bytes, 1, 0));
    FACT(close(fd));
    tell("read");
    FACT(truncate("d/file", 1));
    FACT(chmod("d/file", 0644));
    FACT(utimensat(AT_FDCWD, "d/file", NULL, 0));
    FACT(utimensat(AT_FDCWD, "d/file", (struct timespec[]){{1, 0}, {0, UTIME_OMIT}}, 0));
    FACT(utimensat(AT_FDCWD, "d/file", (struct timespec[]){{0, UTIME_OMIT}, {1, 0}}, 0));
    tell("attributes");
    FACT(link("d/file", "d/another"));
    FACT(symlink("file", "d/link"));
    FACT(mkdir("d/inner", 0755));
    FACT(mkfifo("d/fifo", 0600));
    tell("others");
    FACT(rename("d/file", "d/a name that is longer than sixteen"));
    FACT(rename("d/inner", "inner"));
    FACT(rename("inner", "d/inner"));
    FACT(rename("d/another", "d/link"));
    tell("renamed");
    FACT(unlink("d/link"));
    FACT(unlink("d/fifo"));
    FACT(rmdir("d/inner"));
    FACT(unlink("d/missing"));
    tell("removed");
    fd = open("d", O_RDONLY | O_DIRECTORY);
    FACT(fchmod(fd, 0700));
    FACT(close(fd));
    FACT(close(open("d", O_PATH)));
    tell("itself");
    FACT(unlink("d/a name that is longer than sixteen"));
    FACT(rmdir("d"));
    tell("gone");
}

static void a_file(void) {
    FACT(close(make("f", "x")));
    int watched = inotify_add_watch(instance, "f", IN_ALL_EVENTS);
    HOLDS(inotify_add_watch(instance, "f", IN_MODIFY) == watched);
    FACT(chmod("f", 0600));
    tell("only changes");
    HOLDS(inotify_add_watch(instance, "f", IN_ATTRIB | IN_MASK_ADD) == watched);
    FACT(inotify_add_watch(instance, "f", IN_ATTRIB | IN_MASK_CREATE));
    FACT(inotify_add_watch(instance, "f", IN_ATTRIB | IN_MASK_CREATE | IN_MASK_ADD));
    FACT(chmod("f", 0644));
    tell("attributes too");
    FACT(inotify_add_watch(instance, "f", IN_ALL_EVENTS) == watched);
    FACT(rename("f", "g"));
    FACT(link("g", "h"));
    FACT(unlink("g"));
    int fd = open("h", O_RDONLY);
    FACT(unlink("h"));
    tell("without a name, but open");
    FACT(close(fd));
    tell("gone");
    FACT(inotify_rm_watch(instance, watched));
    FACT(close(make("k", "")));
    FACT(close(make("l", "")));
    FACT(inotify_add_watch(instance, "k", IN_ALL_EVENTS) > watched);
    FACT(rename("l", "k"));
    tell("replaced");
    int once = inotify_add_watch(instance, "k", IN_OPEN | IN_ONESHOT);
    HOLDS(once > 0);
    FACT(close(open("k", O_RDONLY)));
    tell("once");
    FACT(inotify_rm_watch(instance, once));
    int removed = inotify_add_watch(instance, "k", IN_OPEN);
    FACT(inotify_rm_watch(instance, removed));
    FACT(close(open("k", O_RDONLY)));
    tell("no more");
    FACT(unlink("k"));
    tell("nobody watches");
}

static void both_and_excluded(void) {
    FACT(mkdir("e", 0755));
    FACT(close(make("e/f", "")));
    FACT(inotify_add_watch(instance, "e", IN_ALL_EVENTS | IN_EXCL_UNLINK) > 0);
    FACT(inotify_add_watch(instance, "e/f", IN_OPEN | IN_CLOSE) > 0);
    int fd = open("e/f", O_RDWR);
    tell("to both");
    FACT(unlink("e/f"));
    FACT(write(fd, "x", 1));
    tell("one does not hear of what is unlinked");
    FACT(close(fd));
    tell("the end");
    FACT(rename("e", "f"));
    FACT(rmdir("f"));
    tell("the directory");
}

static void reading(void) {
    char bytes[20];
    int bytes_waiting;
    FACT(mkdir("r", 0755));
    FACT(inotify_add_watch(instance, "r", IN_CREATE) > 0);
    FACT(read(instance, bytes, sizeof bytes));
    struct pollfd entry = {instance, POLLIN, 0};
    FACT(poll(&entry, 1, 0));
    FACT(mkdir("r/one", 0700));
    FACT(mkdir("r/two", 0700));
    FACT(poll(&entry, 1, 0));
    FACT(ioctl(instance, FIONREAD, &bytes_waiting));
    printf("%d bytes wait\n", bytes_waiting);
    FACT(read(instance, bytes, sizeof bytes));
    char one[40];
    FACT(read(instance, one, sizeof one));
    FACT(ioctl(instance, FIONREAD, &bytes_waiting));
    printf("%d bytes wait\n", bytes_waiting);
    FACT(write(instance, bytes, 1));
    tell("the other");
    pid_t child = fork();
    if (!child) {
        nap(30);
        mkdir("r/three", 0700);
        exit(0);
    }
    fcntl(instance, F_SETFL, 0);
    tell("after sleeping");
    fcntl(instance, F_SETFL, O_NONBLOCK);
    wait_and_show("child", child);
}

static void errors(void) {
    FACT(inotify_init1(1));
    FACT(inotify_add_watch(instance, "missing", IN_OPEN));
    FACT(inotify_add_watch(instance, "r", 0));
    FACT(inotify_add_watch(0, "r", IN_OPEN));
    FACT(inotify_add_watch(99, "r", IN_OPEN));
    FACT(inotify_add_watch(instance, "r/one", IN_OPEN | IN_ONLYDIR) > 0);
    FACT(close(make("plain", "")));
    FACT(inotify_add_watch(instance, "plain", IN_OPEN | IN_ONLYDIR));
    FACT(inotify_add_watch(instance, (char *)8, IN_OPEN));
    FACT(inotify_rm_watch(instance, 12345));
    FACT(inotify_rm_watch(0, 1));
    FACT(fcntl(instance, F_GETFL) == O_NONBLOCK);
}

static void copy_of_this(const char *path) {
    static char bytes[65536];
    int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_CREAT | O_WRONLY, 0755);
    for (ssize_t length; (length = read(from, bytes, sizeof bytes)) > 0;)
        if (write(to, bytes, (size_t)length) != length)
            printf("cannot write\n");
    close(from);
    close(to);
}

/* Programs that are started: their files are open as long as somebody runs them. */
static void programs(void) {
    int ready[2], go[2];
    char byte;
    mkdir("p", 0755);
    copy_of_this("p/copy");
    close(make("p/script", "#!/bin/sh\nexit 4\n"));
    chmod("p/script", 0755);
    FACT(pipe(ready));
    FACT(pipe(go));
    int directory = inotify_add_watch(instance, "p", IN_ALL_EVENTS);
    pid_t child = fork();
    if (!child) {
        dup2(ready[1], 1);
        dup2(go[0], 0);
        close(go[1]);
        execl("p/copy", "copy", "forks", NULL);
        _exit(1);
    }
    close(ready[1]);
    HOLDS(read(ready[0], &byte, 1) == 1);
    tell("a program has started");
    FACT(write(go[1], "x", 1));
    wait_and_show("its first process", child);
    tell("its child runs still");
    close(go[1]);
    while (read(ready[0], &byte, 1) > 0)
        continue;
    nap(20); /* it is ending */
    tell("nobody runs it");
    child = fork();
    if (!child) {
        execl("p/script", "script", NULL);
        _exit(1);
    }
    wait_and_show("script", child);
    tell("a script");
    inotify_rm_watch(instance, directory);
    tell("unwatched");
}

/* What the copy does: it forks, says so, ends when it is told to, and its child when nobody can tell it. */
static int forks(void) {
    char byte;
    pid_t parent = getpid(), child = fork();
    if (child) {
        (void)!write(1, "r", 1);
        (void)!read(0, &byte, 1);
        return 0;
    }
    while (getppid() == parent && nanosleep(&(struct timespec){0, 1000000}, NULL) == 0)
        continue;
    while (read(0, &byte, 1) > 0)
        continue;
    return 0;
}

int main(int count, char **arguments) {
    (void)arguments;
    begin();
    if (count > 1)
        return forks();
    instance = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    in_a_directory();
    a_file();
    both_and_excluded();
    reading();
    errors();
    programs();
    return 0;
}
