/* Descriptor tables: dup, fcntl, close_range, what exec and fork keep, limits. */
#include "facts.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static void put_open(const char *what) {
    printf("%s:", what);
    for (int fd = 3; fd < 40; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf(" %d%s", fd, fcntl(fd, F_GETFD) ? "c" : "");
    printf("\n");
}

static void duplicates(void) {
    section("dup");
    int fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0600);
    printf("lowest: %d\n", fd);
    FACT("dup", dup(fd));
    FACT("dup2", dup2(fd, 20));
    FACT("dup2 to itself", dup2(fd, fd));
    FACT("dup2 of nothing to itself", dup2(30, 30));
    FACT("dup2 of nothing", dup2(30, 31));
    FACT("dup2 to a negative", dup2(fd, -1));
    FACT("dup2 beyond the limit", dup2(fd, 1 << 30));
    FACT("dup3", dup3(fd, 21, O_CLOEXEC));
    FACT("dup3 to itself", dup3(fd, fd, 0));
    FACT("dup3 with bad flags", dup3(fd, 22, O_NONBLOCK));
    FACT("F_DUPFD", fcntl(fd, F_DUPFD, 10));
    FACT("F_DUPFD", fcntl(fd, F_DUPFD, 10));
    FACT("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 12));
    FACT("F_DUPFD negative", fcntl(fd, F_DUPFD, -1));
    FACT("F_DUPFD beyond the limit", fcntl(fd, F_DUPFD, 1 << 30));
    put_open("open");
    (void)!write(fd, "abc", 3);
    FACT("one position", lseek(20, 0, SEEK_CUR));
    fcntl(20, F_SETFL, O_APPEND);
    printf("one set of flags: %o\n", fcntl(fd, F_GETFL) & O_APPEND);
    fcntl(20, F_SETFD, FD_CLOEXEC);
    printf("but their own FD_CLOEXEC: %d %d\n", fcntl(20, F_GETFD), fcntl(fd, F_GETFD));
    FACT("close", close(fd));
    FACT("close again", close(fd));
    FACT("close a negative", close(-1));
    FACT("the lowest is free", dup(20));
    FACT("dup2 over an open one", dup2(20, 21));
    printf("without FD_CLOEXEC: %d\n", fcntl(21, F_GETFD));
    put_open("open");
    FACT("close_range", syscall(SYS_close_range, 10, 12, 0));
    put_open("open");
    FACT("close_range backwards", syscall(SYS_close_range, 12, 10, 0));
    FACT("close_range with bad flags", syscall(SYS_close_range, 10, 12, 64));
    FACT("close_range, only mark", syscall(SYS_close_range, 20, ~0U, 4));
    put_open("open");
    FACT("all from 3", syscall(SYS_close_range, 3, ~0U, 2));
    put_open("open");
    unlink("file");
}

static void flags(void) {
    section("fcntl");
    int fd = (int)MUST(open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600)), ends[2], pair[2];
    MUST(pipe(ends));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    printf("file %o, pipe %o %o, socket %o\n", fcntl(fd, F_GETFL), fcntl(ends[0], F_GETFL), fcntl(ends[1], F_GETFL),
           fcntl(pair[0], F_GETFL));
    FACT("F_SETFL", fcntl(pair[0], F_SETFL, O_NONBLOCK | O_WRONLY | O_CREAT));
    printf("only what may change: %o\n", fcntl(pair[0], F_GETFL));
    FACT("F_SETFL 0", fcntl(pair[0], F_SETFL, 0));
    printf("%o\n", fcntl(pair[0], F_GETFL));
    int one = 1, zero = 0;
    FACT("FIONBIO", ioctl(ends[0], FIONBIO, &one));
    printf("%o\n", fcntl(ends[0], F_GETFL));
    FACT("FIONBIO off", ioctl(ends[0], FIONBIO, &zero));
    printf("%o\n", fcntl(ends[0], F_GETFL));
    FACT("FIONBIO of nowhere", ioctl(ends[0], FIONBIO, nowhere));
    FACT("FIOCLEX", ioctl(ends[0], FIOCLEX));
    printf("%d\n", fcntl(ends[0], F_GETFD));
    FACT("FIONCLEX", ioctl(ends[0], FIONCLEX));
    printf("%d\n", fcntl(ends[0], F_GETFD));
    FACT("ioctl of nothing", ioctl(99, FIONBIO, &one));
    FACT("unknown ioctl", ioctl(ends[0], 0x12345, &one));
    FACT("unknown ioctl of a socket", ioctl(pair[0], 0x12345, &one));
    FACT("TCGETS of a pipe", isatty(ends[0]) - 1);
    int unread = -7;
    FACT("FIONREAD of a file", ((void)!write(fd, "12345", 5), lseek(fd, 2, SEEK_SET), ioctl(fd, FIONREAD, &unread)));
    printf("%d\n", unread);
    FACT("fcntl of nothing", fcntl(99, F_GETFL));
    FACT("unknown command", fcntl(fd, 7777));
    FACT("F_GETOWN", fcntl(pair[0], F_GETOWN));
    struct rlimit limit;
    FACT("O_PATH read", read((int)MUST(open("file", O_PATH)), &unread, 1));
    FACT("pread of the end that is written", pread(ends[1], &unread, 1, 0));
    FACT("pwrite to the end that is read", pwrite(ends[0], &unread, 1, 0));
    FACT("lseek from nowhere", lseek(ends[0], 0, 99));
    FACT("F_DUPFD above 32 bits", syscall(SYS_fcntl, ends[0], F_DUPFD, UINT64_C(0x100000028)));
    FACT("statx with flags that are none", syscall(SYS_statx, AT_FDCWD, "file", 1u << 30, 0, &limit));
    FACT("statx, forced and not", syscall(SYS_statx, AT_FDCWD, "file", 0x6000, 0, &limit));
    FACT("readahead of nothing", readahead(99, 0, 1));
    FACT("readahead of a pipe", readahead(ends[0], 0, 1));
    struct rlimit small;
    getrlimit(RLIMIT_NOFILE, &limit);
    small = limit;
    small.rlim_cur = 12;
    setrlimit(RLIMIT_NOFILE, &small);
    int opened = 0;
    while (dup(fd) >= 0)
        opened++;
    printf("with a limit of 12: %d more, %s\n", opened, strerrorname_np(errno));
    FACT("socket", socket(AF_INET, SOCK_STREAM, 0));
    FACT("pipe", pipe(ends));
    FACT("open", open("file", O_RDONLY));
    FACT("dup2 beyond", dup2(fd, 12));
    setrlimit(RLIMIT_NOFILE, &limit);
    syscall(SYS_close_range, 3, ~0U, 0);
    unlink("file");
}

static void over_exec(const char *self) {
    section("exec and fork");
    int fd = (int)MUST(open("file", O_CREAT | O_RDWR | O_TRUNC, 0600));
    (void)!write(fd, "0123456789", 10);
    lseek(fd, 3, SEEK_SET);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    dup2(fd, 10);
    int ends[2];
    MUST(pipe2(ends, O_CLOEXEC));
    dup2(ends[0], 11);
    (void)!write(ends[1], "pipe", 4);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        put_open("forked");
        fflush(stdout);
        execl(self, self, "inherited", NULL);
        _exit(99);
    }
    int status;
    waitpid(child, &status, 0);
    put_status("child", status);
    FACT("the position moved with the child's", lseek(fd, 0, SEEK_CUR));
    IN_CHILD("closing", syscall(SYS_close_range, 3, ~0U, 0));
    put_open("does not close the parent's");
    syscall(SYS_close_range, 3, ~0U, 0);
    unlink("file");
}

static int inherited(void) {
    char bytes[8] = {0};
    put_open("inherited");
    FACT("file", read(10, bytes, 3));
    put_bytes("says", bytes, 3);
    FACT("pipe", read(11, bytes, 4));
    put_bytes("says", bytes, 4);
    return 5;
}

int main(int count, char **arguments) {
    begin();
    if (count > 1)
        return inherited();
    syscall(SYS_close_range, 3, ~0U, 0);
    duplicates();
    flags();
    over_exec("/proc/self/exe");
    return 0;
    (void)arguments;
}
