/* Files that are run are not written, and files that are written are not run (ETXTBSY). */
#define _GNU_SOURCE
#include "facts.h"

#include <sys/mman.h>
#include <sys/stat.h>

static void copy_program(const char *from, const char *to) {
    static char bytes[65536];
    int in = (int)MUST(open(from, O_RDONLY)), out = (int)MUST(open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755));
    for (ssize_t got; (got = read(in, bytes, sizeof bytes)) > 0;)
        MUST(write(out, bytes, (size_t)got));
    close(in);
    close(out);
}

static void put_script(const char *name) {
    int fd = (int)MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755));
    static const char text[] = "#!/bin/sh\nexit 4\n";
    MUST(write(fd, text, sizeof text - 1));
    close(fd);
}

/* Runs it, and tells how it ended or why it could not be run. */
static void run(const char *what, const char *path) {
    IN_CHILD(what, {
        execl(path, path, "0", NULL);
        printf("execve: %s\n", strerrorname_np(errno));
    });
}

static void try_open(const char *what, int flags) {
    int fd = FACT_FD(what, open("program", flags, 0755));
    if (fd >= 0)
        close(fd);
}

/* A child that runs the program until its input ends. */
static pid_t start(int *input) {
    int ends[2], told[2];
    char byte;
    MUST(pipe2(ends, O_CLOEXEC));
    MUST(pipe2(told, O_CLOEXEC));
    pid_t child = (pid_t)MUST(fork());
    if (!child) {
        dup2(ends[0], 0);
        execl("program", "cat", NULL);
        _exit(1);
    }
    close(ends[0]);
    close(told[1]);
    (void)!read(told[0], &byte, 1); /* its end closes when the program has started */
    close(told[0]);
    *input = ends[1];
    return child;
}

static void end(pid_t child, int input) {
    int status;
    close(input);
    MUST(waitpid(child, &status, 0));
    put_status("the program", status);
}

static void running(void) {
    struct stat status;
    int input;
    section("a file that is run");
    pid_t child = start(&input);
    MUST(stat("program", &status));
    printf("it is whole: %d\n", status.st_size > 1000);
    try_open("to read", O_RDONLY);
    try_open("to write", O_WRONLY);
    try_open("to read and write", O_RDWR);
    try_open("to truncate", O_RDONLY | O_TRUNC);
    try_open("to create", O_RDWR | O_CREAT | O_TRUNC);
    try_open("to create alone", O_RDWR | O_CREAT | O_EXCL);
    try_open("as a path", O_PATH);
    try_open("as a directory", O_WRONLY | O_DIRECTORY);
    FACT("truncate", truncate("program", 0));
    FACT("chmod", chmod("program", 0755));
    MUST(link("program", "other-name"));
    FACT_FD("by another name", open("other-name", O_WRONLY));
    run("it may be run again", "program");
    off_t size = status.st_size;
    MUST(stat("program", &status));
    printf("it is whole still: %d\n", status.st_size == size);
    FACT("rename over it", rename("other-name", "third-name"));
    end(child, input);
    try_open("to write afterwards", O_WRONLY);
    unlink("third-name");

    section("its child runs it too");
    child = start(&input);
    end(child, input);
    pid_t inner = (pid_t)MUST(fork());
    if (!inner) {
        FACT_FD("what this process runs", open("/proc/self/exe", O_WRONLY));
        _exit(0);
    }
    MUST(waitpid(inner, NULL, 0));

    section("a file that is replaced while it is run");
    child = start(&input);
    copy_program("program", "new");
    FACT("rename", rename("new", "program"));
    try_open("to write the new one", O_WRONLY);
    end(child, input);
    child = start(&input);
    FACT("unlink", unlink("program"));
    try_open("to write one of the same name", O_WRONLY | O_CREAT);
    end(child, input);
    copy_program("/bin/cat", "program");
}

static void writing(void) {
    section("a file that is written");
    int fd = (int)MUST(open("program", O_RDWR | O_CLOEXEC));
    run("open to read and write", "program");
    int again = dup(fd);
    close(fd);
    run("open by a copy of the descriptor", "program");
    void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, again, 0);
    close(again);
    run("mapped", "program");
    MUST(munmap(map, 4096));
    run("not any more", "program");
    fd = (int)MUST(open("program", O_WRONLY | O_APPEND));
    run("inherited", "program");
    close(fd);
    fd = (int)MUST(open("program", O_RDONLY));
    run("open to read", "program");
    close(fd);
    fd = (int)MUST(open("program", O_PATH));
    run("open as a path", "program");
    close(fd);
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec iov = {"x", 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    fd = (int)MUST(open("program", O_WRONLY));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    MUST(sendmsg(pair[0], &message, 0));
    close(fd);
    run("on its way through a socket", "program");
    close(pair[0]);
    close(pair[1]);
    run("dropped by the socket", "program");

    section("a script that is written");
    put_script("script");
    run("before", "./script");
    fd = (int)MUST(open("script", O_WRONLY | O_CLOEXEC));
    run("while", "./script");
    close(fd);
    run("after", "./script");
    MUST(chmod("script", 0644));
    fd = (int)MUST(open("script", O_WRONLY | O_CLOEXEC));
    run("nobody may run it", "./script");
    close(fd);
}

/* A program that is loaded by ./loader. */
static void put_loaded(const char *name, bool terminated) {
    static const char old[] = "/lib64/ld-linux-x86-64.so.2", new[sizeof old] = "./loader";
    static char bytes[65536];
    int in = (int)MUST(open("/bin/cat", O_RDONLY)), out = (int)MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755));
    ssize_t got = MUST(read(in, bytes, sizeof bytes));
    char *place = memmem(bytes, (size_t)got, old, sizeof old);
    if (!place) {
        printf("/bin/cat is loaded by something else\n");
        exit(1);
    }
    memcpy(place, new, sizeof new);
    if (!terminated)
        place[sizeof new - 1] = 'x';
    MUST(write(out, bytes, (size_t)got));
    close(in);
    close(out);
}

static void put_loader(const char *bytes, size_t length, mode_t mode) {
    unlink("loader");
    int fd = (int)MUST(open("loader", O_WRONLY | O_CREAT | O_EXCL, mode));
    MUST(write(fd, bytes, length));
    close(fd);
}

static void loading(void) {
    section("what loads programs");
    char path[4096], text[128];
    MUST(realpath("/lib64/ld-linux-x86-64.so.2", path) ? 0 : -1);
    memset(text, 'x', sizeof text);
    put_loaded("program", false);
    run("a name without an end", "./program");
    put_loaded("program", true);
    run("nothing", "./program");
    MUST(mkdir("loader", 0700));
    run("a directory", "./program");
    MUST(rmdir("loader"));
    put_loader(text, sizeof text, 0600);
    run("nobody may run it", "./program");
    put_loader(text, 10, 0700);
    run("a short text", "./program");
    put_loader(text, sizeof text, 0700);
    run("a text", "./program");
    put_loader("#!/bin/sh\n", 10, 0700);
    run("a script", "./program");
    unlink("loader");
    copy_program(path, "loader");
    run("what does", "./program");
    int fd = (int)MUST(open("loader", O_WRONLY | O_CLOEXEC));
    run("while it is written", "./program");
    close(fd);
    int input;
    pid_t child = start(&input);
    fd = FACT_FD("writing it afterwards", open("loader", O_WRONLY));
    close(fd);
    FACT("chmod", chmod("loader", 0600));
    end(child, input);

    section("what programs map");
    fd = (int)MUST(open("loader", O_RDONLY));
    void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_DENYWRITE | MAP_EXECUTABLE, fd, 0);
    printf("mapped: %d\n", code != MAP_FAILED);
    close(fd);
    fd = FACT_FD("open to write", open("loader", O_RDWR));
    code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_DENYWRITE, fd, 0);
    printf("mapped while it is written: %d\n", code != MAP_FAILED);
    close(fd);
    FACT("truncate", truncate("loader", 8192));
}

int main(void) {
    begin();
    copy_program("/bin/cat", "program");
    signal(SIGPIPE, SIG_IGN);
    running();
    writing();
    loading();
    return 0;
}
