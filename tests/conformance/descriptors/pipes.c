/* Pipes and FIFOs: order, atomic writes, sizes, ends, blocking and not. */
#include "facts.h"

#include <limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

static char block[1 << 20];

static int unread(int fd) {
    int bytes = -7;
    return ioctl(fd, FIONREAD, &bytes) ? -1 : bytes;
}

static void basics(void) {
    section("basics");
    int ends[2];
    char bytes[64];
    FACT("pipe", pipe(ends));
    FACT("bad flags", pipe2(ends, O_APPEND));
    FACT("nowhere", pipe(nowhere));
    printf("flags %o %o\n", fcntl(ends[0], F_GETFL), fcntl(ends[1], F_GETFL));
    FACT("write to the reading end", write(ends[0], "x", 1));
    FACT("read from the writing end", read(ends[1], bytes, 1));
    FACT("write", write(ends[1], "hello ", 6));
    FACT("write", write(ends[1], "world", 5));
    printf("FIONREAD %d %d\n", unread(ends[0]), unread(ends[1]));
    FACT("read of 0 bytes", read(ends[0], bytes, 0));
    FACT("write of 0 bytes", write(ends[1], bytes, 0));
    FACT("read to nowhere", read(ends[0], nowhere, 4));
    FACT("write from nowhere", write(ends[1], nowhere, 4));
    FACT("read", read(ends[0], bytes, 8));
    put_bytes("data", bytes, 8);
    FACT("read", read(ends[0], bytes, 8));
    struct iovec parts[3] = {{(void *)"ab", 2}, {NULL, 0}, {(void *)"cde", 3}};
    FACT("writev", writev(ends[1], parts, 3));
    FACT("readv", readv(ends[0], (struct iovec[]){{bytes, 1}, {bytes + 1, 10}}, 2));
    put_bytes("data", bytes, 5);
    FACT("lseek", lseek(ends[0], 0, SEEK_CUR));
    FACT("pread", pread(ends[0], bytes, 1, 0));
    FACT("pwrite", pwrite(ends[1], bytes, 1, 0));
    FACT("ftruncate", ftruncate(ends[1], 0));
    FACT("fsync", fsync(ends[1]));
    struct stat status;
    FACT("fstat", fstat(ends[0], &status));
    printf("type %o permissions %o size %ld links %ld\n", status.st_mode & S_IFMT, status.st_mode & 0777,
           (long)status.st_size, (long)status.st_nlink);
    close(ends[0]), close(ends[1]);
    FACT("pipe2", pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    printf("flags %o %o, FD_CLOEXEC %d\n", fcntl(ends[0], F_GETFL), fcntl(ends[1], F_GETFL), fcntl(ends[0], F_GETFD));
    FACT("read from an empty one", read(ends[0], bytes, 1));
    close(ends[1]);
    FACT("read at the end", read(ends[0], bytes, 1));
    close(ends[0]);
    MUST(pipe(ends));
    close(ends[0]);
    IN_CHILD("write without a reader", (void)!write(ends[1], "x", 1));
    signal(SIGPIPE, SIG_IGN);
    FACT("ignoring SIGPIPE", write(ends[1], "x", 1));
    FACT("0 bytes", write(ends[1], "x", 0));
    signal(SIGPIPE, SIG_DFL);
    close(ends[1]);
}

static void sizes(void) {
    section("sizes");
    int ends[2];
    MUST(pipe2(ends, O_NONBLOCK));
    FACT("F_GETPIPE_SZ", fcntl(ends[0], F_GETPIPE_SZ));
    FACT("of a file", fcntl(0, F_GETPIPE_SZ));
    FACT("F_SETPIPE_SZ 1", fcntl(ends[0], F_SETPIPE_SZ, 1));
    FACT("F_SETPIPE_SZ 5000", fcntl(ends[1], F_SETPIPE_SZ, 5000));
    FACT("F_SETPIPE_SZ 0", fcntl(ends[1], F_SETPIPE_SZ, 0));
    FACT("F_SETPIPE_SZ 1 MiB", fcntl(ends[1], F_SETPIPE_SZ, 1 << 20));
    FACT("F_SETPIPE_SZ -1", fcntl(ends[1], F_SETPIPE_SZ, -1));
    FACT("fill it", write(ends[1], block, sizeof block));
    FACT("full", write(ends[1], block, 1));
    put_poll("full", ends[1]);
    FACT("shrink a full one", fcntl(ends[1], F_SETPIPE_SZ, 4096));
    FACT("read all", read(ends[0], block, sizeof block));
    FACT("shrink", fcntl(ends[1], F_SETPIPE_SZ, 8192));
    FACT("write more than fits", write(ends[1], block, 10000));
    FACT("read a byte", read(ends[0], block, 1));
    FACT("no whole page is free", write(ends[1], block, 1));
    put_poll("so it says", ends[1]);
    FACT("read the page", read(ends[0], block, 4095));
    put_poll("a page is free", ends[1]);
    FACT("PIPE_BUF", write(ends[1], block, PIPE_BUF));
    FACT("nothing left", write(ends[1], block, 1));
    FACT("read", read(ends[0], block, 4096));
    FACT("atomic or not at all", write(ends[1], block, PIPE_BUF));
    FACT("a part of more", (read(ends[0], block, 4096), write(ends[1], block, PIPE_BUF + 1)));
    close(ends[0]), close(ends[1]);
    MUST(pipe2(ends, O_NONBLOCK));
    int writes = 0;
    while (write(ends[1], block, 4096) == 4096)
        writes++;
    printf("4096 bytes at a time: %d\n", writes);
    close(ends[0]), close(ends[1]);
}

static void packets(void) {
    section("packets");
    int ends[2];
    char bytes[5000];
    MUST(pipe2(ends, O_DIRECT | O_NONBLOCK));
    (void)!write(ends[1], "one", 3);
    (void)!write(ends[1], "two two", 7);
    FACT("write of more than PIPE_BUF", write(ends[1], block, 5000));
    FACT("one at a time", read(ends[0], bytes, 100));
    FACT("cut", read(ends[0], bytes, 3));
    FACT("the rest was lost", read(ends[0], bytes, 5000));
    FACT("parts of PIPE_BUF", read(ends[0], bytes, 5000));
    int writes = 0;
    while (write(ends[1], "x", 1) == 1)
        writes++;
    printf("a page for each: %d\n", writes);
    FACT("F_SETFL", fcntl(ends[1], F_SETFL, O_NONBLOCK));
    while (read(ends[0], bytes, 100) > 0)
        ;
    (void)!write(ends[1], "a", 1);
    (void)!write(ends[1], "b", 1);
    FACT("no packets any more", read(ends[0], bytes, 100));
    close(ends[0]), close(ends[1]);
}

static void blocking(void) {
    section("blocking");
    int ends[2];
    static char bytes[1 << 20];
    MUST(pipe(ends));
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 256);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        close(ends[0]);
        FACT("a write of 1 MiB is whole", write(ends[1], block, sizeof block));
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    size_t total = 0;
    for (ssize_t got; (got = read(ends[0], bytes + total, 50000)) > 0;)
        total += (size_t)got;
    int status;
    waitpid(child, &status, 0);
    printf("read %zu, as written: %d\n", total, !memcmp(bytes, block, total));
    close(ends[0]);
    MUST(pipe(ends));
    fflush(stdout);
    if (!(child = fork())) {
        pause_ms(50);
        (void)!write(ends[1], "late", 4);
        _exit(0);
    }
    FACT("a read waits", read(ends[0], bytes, 10));
    waitpid(child, NULL, 0);
    fflush(stdout);
    if (!(child = fork())) {
        close(ends[0]);
        signal(SIGPIPE, SIG_IGN);
        ssize_t done = write(ends[1], block, sizeof block);
        printf("a writer whose reader goes has written some: %d\n", done > 0 && done < (ssize_t)sizeof block);
        FACT("and then", write(ends[1], block, 10));
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    pause_ms(50);
    FACT("the reader takes a little", read(ends[0], bytes, 10));
    close(ends[0]);
    waitpid(child, NULL, 0);
    /* Writers of PIPE_BUF or less never mix. */
    MUST(pipe(ends));
    for (int writer = 0; writer < 3; writer++) {
        fflush(stdout);
        if (!fork()) {
            memset(block, 'a' + writer, 3000);
            for (int i = 0; i < 30; i++)
                (void)!write(ends[1], block, 3000);
            _exit(0);
        }
    }
    close(ends[1]);
    bool whole = true;
    total = 0;
    for (;;) {
        size_t have = 0;
        for (ssize_t got; have < 3000 && (got = read(ends[0], bytes + have, 3000 - have)) > 0;)
            have += (size_t)got;
        if (!have)
            break;
        total += have;
        for (size_t i = 1; i < have; i++)
            whole = whole && bytes[i] == bytes[0];
    }
    while (wait(NULL) > 0)
        ;
    printf("%zu bytes, unmixed: %d\n", total, whole);
    close(ends[0]);
}

static void again(void) {
    section("opened again");
    int ends[2];
    char path[64], bytes[8];
    MUST(pipe(ends));
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int reader = FACT_FD("reader", open(path, O_RDONLY | O_NONBLOCK));
    FACT("is empty", read(reader, bytes, 8));
    printf("the other one still blocks: %d\n", !(fcntl(ends[0], F_GETFL) & O_NONBLOCK));
    int writer = FACT_FD("writer", open(path, O_WRONLY));
    FACT("write", write(writer, "xyz", 3));
    FACT("read", read(ends[0], bytes, 8));
    close(ends[1]);
    FACT("not the end yet", read(reader, bytes, 8));
    close(writer);
    FACT("the end", read(reader, bytes, 8));
    char target[64];
    ssize_t length = readlink(path, target, sizeof target);
    printf("link: %.6s\n", length > 6 ? target : "?");
    close(reader), close(ends[0]);
}

int main(void) {
    begin();
    basics();
    sizes();
    packets();
    blocking();
    again();
    return 0;
}
