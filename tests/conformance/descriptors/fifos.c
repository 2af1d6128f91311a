/* FIFOs: opening both ends, their order, reopening, what stat says. */
#include "facts.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

int main(void) {
    begin();
    char bytes[64];
    struct stat status;
    section("making");
    FACT("mkfifo", mkfifo("fifo", 0640));
    FACT("again", mkfifo("fifo", 0640));
    FACT("stat", stat("fifo", &status));
    printf("type %o permissions %o size %ld\n", status.st_mode & S_IFMT, status.st_mode & 0777, (long)status.st_size);
    section("opening");
    FACT("to write without a reader", open("fifo", O_WRONLY | O_NONBLOCK));
    int reader = FACT_FD("to read", open("fifo", O_RDONLY | O_NONBLOCK));
    FACT("the end, for no writer ever came", read(reader, bytes, 8));
    put_poll("no writer yet", reader);
    int writer = FACT_FD("to write", open("fifo", O_WRONLY | O_NONBLOCK));
    FACT("empty", read(reader, bytes, 8));
    FACT("write", write(writer, "hello", 5));
    put_poll("with data", reader);
    int unread = -7;
    ioctl(reader, FIONREAD, &unread);
    printf("FIONREAD %d\n", unread);
    FACT("read", read(reader, bytes, 8));
    FACT("fstat", fstat(writer, &status));
    printf("type %o\n", status.st_mode & S_IFMT);
    FACT("F_GETPIPE_SZ", fcntl(reader, F_GETPIPE_SZ));
    FACT("lseek", lseek(reader, 0, SEEK_SET));
    close(writer);
    FACT("the end", read(reader, bytes, 8));
    put_poll("writers have gone", reader);
    writer = FACT_FD("another writer", open("fifo", O_WRONLY));
    put_poll("and one came", reader);
    (void)!write(writer, "kept", 4);
    close(writer);
    FACT("what it left", read(reader, bytes, 8));
    (void)!write(writer = open("fifo", O_WRONLY), "lost", 4);
    close(reader);
    signal(SIGPIPE, SIG_IGN);
    FACT("without readers", write(writer, "x", 1));
    close(writer);
    reader = FACT_FD("all closed, opened again", open("fifo", O_RDWR | O_NONBLOCK));
    FACT("nothing is kept", read(reader, bytes, 8));
    FACT("both ends in one", write(reader, "self", 4));
    FACT("read", read(reader, bytes, 8));
    close(reader);
    section("waiting");
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pause_ms(40);
        writer = open("fifo", O_WRONLY);
        (void)!write(writer, "from child", 10);
        _exit(0);
    }
    reader = FACT_FD("open waits for a writer", open("fifo", O_RDONLY));
    FACT("read", read(reader, bytes, 16));
    FACT("end", read(reader, bytes, 16));
    close(reader);
    waitpid(child, NULL, 0);
    fflush(stdout);
    if (!(child = fork())) {
        pause_ms(40);
        reader = open("fifo", O_RDONLY);
        _exit(read(reader, bytes, 16) == 6 ? 3 : 4);
    }
    writer = FACT_FD("open waits for a reader", open("fifo", O_WRONLY));
    FACT("write", write(writer, "parent", 6));
    int ended;
    waitpid(child, &ended, 0);
    put_status("child", ended);
    close(writer);
    FACT("unlink", unlink("fifo"));
    return 0;
}
