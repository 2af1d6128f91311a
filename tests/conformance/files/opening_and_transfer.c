/* open and its flags, read and write at positions, appending, truncation, seeking, holes, duplicates. */
#include "calls.h"
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static void show_file(const char *name) {
    char bytes[64];
    int fd = open(name, O_RDONLY);
    ssize_t length = read(fd, bytes, sizeof bytes);
    printf("%s: \"", name);
    for (ssize_t i = 0; i < length; i++)
        printf(bytes[i] < ' ' ? "\\%d" : "%c", bytes[i]);
    printf("\"\n");
    close(fd);
}

static void flags(void) {
    int fd;
    FACT(open("missing", O_RDONLY));
    DONE(fd = open("file", O_CREAT | O_EXCL | O_RDWR, 0640));
    FACT(open("file", O_CREAT | O_EXCL | O_RDWR, 0640));
    FACT(write(fd, "hello", 5));
    FACT(lseek(fd, 0, SEEK_SET));
    char bytes[16] = "";
    FACT(read(fd, bytes, sizeof bytes));
    printf("read %s\n", bytes);
    printf("flags 0%o, descriptor flags %d\n", (unsigned)fcntl(fd, F_GETFL) & ~0100000u, fcntl(fd, F_GETFD));
    FACT(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY));
    printf("flags 0%o\n", (unsigned)fcntl(fd, F_GETFL) & ~0100000u);
    FACT(lseek(fd, 0, SEEK_SET));
    FACT(write(fd, "!", 1));
    FACT(lseek(fd, 0, SEEK_CUR));
    close(fd);
    FACT(close(fd));
    FACT(write(fd, "x", 1));
    fd = open("file", O_RDONLY);
    FACT(write(fd, "x", 1));
    FACT(ftruncate(fd, 0));
    close(fd);
    fd = open("file", O_WRONLY | O_APPEND | O_CLOEXEC);
    printf("descriptor flags %d\n", fcntl(fd, F_GETFD));
    FACT(read(fd, bytes, 1));
    FACT(pwrite(fd, "P", 1, 0)); /* appends all the same, as on Linux */
    show_file("file");
    close(fd);
    fd = open("file", O_RDWR | O_TRUNC);
    FACT(lseek(fd, 0, SEEK_END));
    close(fd);
    FACT(open("file", O_DIRECTORY));
    FACT(open("file/x", O_RDONLY));
    FACT(mkdir("folder", 0755));
    FACT(open("folder", O_WRONLY));
    FACT(open("folder", O_CREAT | O_RDONLY, 0600));
    DONE(fd = open("folder", O_RDONLY | O_DIRECTORY));
    FACT(read(fd, bytes, 1));
    int at = (int)DONE(openat(fd, "inner", O_CREAT | O_RDWR, 0600));
    close(at);
    FACT(openat(fd, "missing", O_RDONLY));
    FACT(openat(1000, "inner", O_RDONLY));
    FACT(openat(1, "inner", O_RDONLY));
    FACT(unlinkat(fd, "inner", AT_REMOVEDIR));
    FACT(unlinkat(fd, "inner", 0));
    close(fd);
    DONE(fd = open("file", O_PATH));
    FACT(read(fd, bytes, 1));
    FACT(fchmod(fd, 0600));
    struct stat status;
    FACT(fstat(fd, &status));
    close(fd);
    DONE(fd = open("folder", O_TMPFILE | O_RDWR, 0600));
    if (fd >= 0) {
        FACT(write(fd, "tmp", 3));
        fstat(fd, &status);
        printf("links %ld\n", (long)status.st_nlink);
        close(fd);
    }
    FACT(symlink("file", "link"));
    FACT(open("link", O_NOFOLLOW));
    DONE(fd = open("link", O_RDONLY));
    close(fd);
    FACT(symlink("nowhere", "dangling"));
    FACT(open("dangling", O_RDONLY));
    FACT(open("dangling", O_CREAT | O_EXCL, 0600));
    DONE(fd = open("dangling", O_CREAT | O_WRONLY, 0600));
    close(fd);
    FACT(access("nowhere", F_OK));
    FACT(open("", O_RDONLY));
    FACT(syscall(SYS_open, NULL, O_RDONLY));
    char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    FACT(open(long_name, O_CREAT | O_RDWR, 0600) < 0 ? -1 : 0);
    unlink("nowhere");
    unlink("dangling");
    unlink("link");
    rmdir("folder");
    unlink("file");
}

static void positions(void) {
    int fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0600);
    char bytes[32] = "";
    FACT(pwrite(fd, "abcdef", 6, 3));
    FACT(lseek(fd, 0, SEEK_CUR));
    FACT(pread(fd, bytes, 4, 2));
    printf("%d %.3s\n", bytes[0], bytes + 1);
    FACT(pread(fd, bytes, 4, 100));
    FACT(pread(fd, bytes, 4, -1));
    FACT(pwrite(fd, bytes, 4, -1));
    FACT(lseek(fd, -1, SEEK_SET));
    FACT(lseek(fd, -2, SEEK_END));
    FACT(lseek(fd, 100, SEEK_CUR));
    FACT(lseek(fd, 0, 77));
    FACT(write(fd, "z", 1));
    FACT(lseek(fd, 0, SEEK_END));
    FACT(lseek(fd, 0, SEEK_DATA));
    FACT(lseek(fd, 1000, SEEK_DATA));
    FACT(ftruncate(fd, 4));
    FACT(lseek(fd, 0, SEEK_END));
    FACT(ftruncate(fd, 8));
    FACT(ftruncate(fd, -1));
    FACT(truncate("file", 9));
    FACT(truncate("missing", 9));
    FACT(pread(fd, bytes, 20, 0));
    printf("%.1s then %d\n", bytes + 3, bytes[5]);
    struct iovec out[3] = {{"one", 3}, {"", 0}, {"three", 5}};
    FACT(pwritev(fd, out, 3, 0));
    FACT(syscall(SYS_writev, fd, out, -1));
    FACT(writev(fd, out, 0));
    FACT(lseek(fd, 0, SEEK_SET));
    struct iovec in[2] = {{bytes, 4}, {bytes + 10, 10}};
    FACT(readv(fd, in, 2));
    printf("%.4s %.5s\n", bytes, bytes + 10);
    FACT(syscall(SYS_read, fd, 8, 10));
    FACT(syscall(SYS_write, fd, 8, 10));
    FACT(read(fd, bytes, 0));
    int copy = dup(fd);
    FACT(lseek(copy, 2, SEEK_SET));
    FACT(lseek(fd, 0, SEEK_CUR));
    close(copy);
    copy = open("file", O_RDONLY);
    FACT(lseek(copy, 0, SEEK_CUR));
    close(copy);
    FACT(fallocate(fd, 0, 0, 100));
    FACT(lseek(fd, 0, SEEK_END));
    FACT(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    FACT(fsync(fd));
    FACT(fdatasync(fd));
    FACT(fsync(1000));
    unlink("file");
    FACT(pread(fd, bytes, 4, 0)); /* it lives on without a name */
    struct stat status;
    fstat(fd, &status);
    printf("links %ld\n", (long)status.st_nlink);
    close(fd);
}

static void appending(void) {
    int fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0600);
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            int own = open("log", O_WRONLY | O_APPEND);
            for (int line = 0; line < 20; line++)
                (void)!write(own, i ? "bb\n" : "aa\n", 3);
            _exit(0);
        }
        wait_and_show("writer", pid);
    }
    (void)!write(fd, "end", 3);
    struct stat status;
    stat("log", &status);
    printf("size %ld\n", (long)status.st_size);
    close(fd);
    unlink("log");
}

int main(void) {
    begin();
    umask(022);
    flags();
    positions();
    appending();
    return 0;
}
