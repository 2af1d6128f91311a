/* sendfile, splice, tee, vmsplice, copy_file_range. */
#include "facts.h"

#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static int file_of(const char *name, const char *text) {
    int fd = (int)MUST(open(name, O_CREAT | O_RDWR | O_TRUNC, 0600));
    (void)!write(fd, text, strlen(text));
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void put_content(const char *what, int fd) {
    char bytes[200];
    ssize_t got = pread(fd, bytes, sizeof bytes, 0);
    put_bytes(what, bytes, got > 0 ? (size_t)got : 0);
}

static void drain(const char *what, int fd) {
    char bytes[200];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    ssize_t got = read(fd, bytes, sizeof bytes);
    fcntl(fd, F_SETFL, 0);
    put_bytes(what, bytes, got > 0 ? (size_t)got : 0);
}

static void sending(void) {
    section("sendfile");
    int from = file_of("from", "0123456789"), to = file_of("to", ""), ends[2], pair[2];
    MUST(pipe(ends));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    off_t position = 4;
    FACT("to a file", sendfile(to, from, NULL, 3));
    FACT("its position", lseek(from, 0, SEEK_CUR));
    FACT("with a position", sendfile(to, from, &position, 3));
    printf("%ld, file at %ld\n", (long)position, (long)lseek(from, 0, SEEK_CUR));
    FACT("beyond the end", sendfile(to, from, &position, 100));
    FACT("at the end", sendfile(to, from, &position, 100));
    put_content("content", to);
    position = 0;
    FACT("to a pipe", sendfile(ends[1], from, &position, 5));
    drain("pipe", ends[0]);
    position = 0;
    FACT("to a socket", sendfile(pair[0], from, &position, 5));
    drain("socket", pair[1]);
    FACT("from a pipe", sendfile(to, ends[0], NULL, 5));
    FACT("from a socket", sendfile(to, pair[0], NULL, 5));
    FACT("nothing", sendfile(to, from, NULL, 0));
    position = -1;
    FACT("negative position", sendfile(to, from, &position, 5));
    FACT("nowhere", sendfile(to, from, nowhere, 5));
    int reading = open("from", O_RDONLY), writing = open("to", O_WRONLY), appending = open("to", O_WRONLY | O_APPEND);
    FACT("to a file for reading", sendfile(reading, from, NULL, 5));
    FACT("from a file for writing", sendfile(to, writing, NULL, 5));
    FACT("to a file for appending", sendfile(appending, from, NULL, 5));
    FACT("from nothing", sendfile(to, 999, NULL, 5));
    close(pair[1]);
    signal(SIGPIPE, SIG_IGN);
    lseek(from, 0, SEEK_SET);
    FACT("to a closed socket", sendfile(pair[0], from, NULL, 5));
    FACT("the file did not move", lseek(from, 0, SEEK_CUR));
    close(from), close(to), close(reading), close(writing), close(appending), close(pair[0]), close(ends[0]),
        close(ends[1]);
}

static void splicing(void) {
    section("splice");
    int from = file_of("from", "0123456789"), to = file_of("to", "abcdefghij"), a[2], b[2], pair[2];
    MUST(pipe(a));
    MUST(pipe(b));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    loff_t position = 6;
    FACT("file to pipe", splice(from, NULL, a[1], NULL, 4, 0));
    FACT("its position", lseek(from, 0, SEEK_CUR));
    FACT("file to pipe, with a position", splice(from, &position, a[1], NULL, 100, 0));
    printf("%ld\n", (long)position);
    FACT("pipe to pipe", splice(a[0], NULL, b[1], NULL, 3, 0));
    FACT("tee", tee(b[0], a[1], 100, 0));
    drain("second pipe", b[0]);
    position = 2;
    FACT("pipe to file, with a position", splice(a[0], NULL, to, &position, 3, 0));
    printf("%ld\n", (long)position);
    put_content("content", to);
    FACT("pipe to socket", splice(a[0], NULL, pair[0], NULL, 100, 0));
    drain("socket", pair[1]);
    (void)!write(pair[0], "from a socket", 13);
    FACT("socket to pipe", splice(pair[1], NULL, a[1], NULL, 100, 0));
    drain("pipe", a[0]);
    FACT("empty pipe, not waiting", splice(a[0], NULL, b[1], NULL, 10, SPLICE_F_NONBLOCK));
    FACT("empty tee, not waiting", tee(a[0], b[1], 10, SPLICE_F_NONBLOCK));
    FACT("file to file", splice(from, NULL, to, NULL, 4, 0));
    FACT("position of a pipe", splice(a[0], &position, b[1], NULL, 4, 0));
    FACT("into itself", splice(a[0], NULL, a[1], NULL, 4, 0));
    FACT("tee into itself", tee(a[0], a[1], 4, 0));
    FACT("tee of a file", tee(from, a[1], 4, 0));
    FACT("wrong ends", splice(a[1], NULL, b[0], NULL, 4, 0));
    FACT("bad flags", splice(a[0], NULL, b[1], NULL, 4, 0x1000));
    FACT("nothing", splice(a[0], NULL, b[1], NULL, 0, 0));
    FACT("bad descriptor", splice(999, NULL, b[1], NULL, 4, 0));
    close(a[1]);
    FACT("at the end", splice(a[0], NULL, b[1], NULL, 10, 0));
    FACT("tee at the end", tee(a[0], b[1], 10, 0));
    close(a[0]);
    MUST(pipe(a));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pause_ms(40);
        (void)!write(a[1], "late", 4);
        _exit(0);
    }
    FACT("splice waits", splice(a[0], NULL, b[1], NULL, 10, 0));
    waitpid(child, NULL, 0);
    drain("what came", b[0]);
    close(b[0]);
    (void)!write(a[1], "x", 1);
    FACT("no reader", splice(a[0], NULL, b[1], NULL, 10, 0));
    int unread = -7;
    ioctl(a[0], FIONREAD, &unread);
    printf("left %d\n", unread);
    close(from), close(to), close(a[0]), close(a[1]), close(b[1]), close(pair[0]), close(pair[1]);
}

static void copying(void) {
    section("copy_file_range");
    int from = file_of("from", "0123456789"), to = file_of("to", ""), ends[2];
    MUST(pipe(ends));
    loff_t in = 2, out = 1;
    FACT("copy", copy_file_range(from, NULL, to, NULL, 4, 0));
    printf("%ld %ld\n", (long)lseek(from, 0, SEEK_CUR), (long)lseek(to, 0, SEEK_CUR));
    FACT("with positions", copy_file_range(from, &in, to, &out, 3, 0));
    printf("%ld %ld\n", (long)in, (long)out);
    put_content("content", to);
    in = 8;
    FACT("beyond the end", copy_file_range(from, &in, to, NULL, 100, 0));
    FACT("at the end", copy_file_range(from, &in, to, NULL, 100, 0));
    put_content("content", to);
    FACT("flags", copy_file_range(from, NULL, to, NULL, 4, 1));
    FACT("a pipe", copy_file_range(from, NULL, ends[1], NULL, 4, 0));
    in = 0, out = 2;
    FACT("overlapping", copy_file_range(from, &in, from, &out, 5, 0));
    out = 20;
    FACT("in one file", copy_file_range(from, &in, from, &out, 5, 0));
    int folder = open(".", O_RDONLY), reading = open("to", O_RDONLY), appending = open("to", O_WRONLY | O_APPEND);
    FACT("from a folder", copy_file_range(folder, NULL, to, NULL, 5, 0));
    FACT("to a file for reading", copy_file_range(from, NULL, reading, NULL, 5, 0));
    FACT("to a file for appending", copy_file_range(from, NULL, appending, NULL, 5, 0));
    FACT("from nothing", copy_file_range(999, NULL, to, NULL, 5, 0));
    in = -4;
    FACT("negative position", copy_file_range(from, &in, to, NULL, 5, 0));
    close(from), close(to), close(folder), close(reading), close(appending), close(ends[0]), close(ends[1]);
    unlink("from"), unlink("to");
}

static void from_memory(void) {
    section("vmsplice");
    _Alignas(4096) static char large[1 << 20];
    int ends[2], file = file_of("file", "");
    char first[] = "first, ", second[] = "second", in[4] = "", rest[40] = "";
    struct iovec out[] = {{first, 7}, {NULL, 0}, {second, 6}}, back[] = {{in, 4}, {rest, sizeof rest}};
    struct iovec all = {large, sizeof large}, bad[] = {{first, 7}, {nowhere, 5}};
    MUST(pipe(ends));
    FACT("into a pipe", vmsplice(ends[1], out, 3, 0));
    FACT("from it", vmsplice(ends[0], back, 2, 0));
    put_bytes("first segment", in, 4);
    put_bytes("second segment", rest, 9);
    FACT("from an empty one, not waiting", vmsplice(ends[0], back, 2, SPLICE_F_NONBLOCK));
    FACT("more than it holds", vmsplice(ends[1], &all, 1, 0));
    FACT("into a full one, not waiting", vmsplice(ends[1], out, 3, SPLICE_F_NONBLOCK));
    while (read(ends[0], large, sizeof large) == (ssize_t)sizeof large)
        ;
    FACT("no segments", vmsplice(ends[1], out, 0, 0));
    FACT("too many", vmsplice(ends[1], out, 1025, 0));
    FACT("unknown flags", vmsplice(ends[1], out, 1, 64));
    FACT("segments nowhere", vmsplice(ends[1], nowhere, 1, 0));
    FACT("one segment nowhere", vmsplice(ends[1], bad, 2, 0));
    FACT("a file", vmsplice(file, out, 1, 0));
    FACT("nothing open", vmsplice(77, out, 1, 0));
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    FACT("nobody reads", vmsplice(ends[1], out, 3, 0));
    close(ends[1]);
    close(file);
}

/* A splice that sleeps until a socket takes more, and somebody else who reads the pipe meanwhile: no byte comes twice,
 * and none is lost. Who gets which is not told: Linux lets the other wait, here both may read. */
static void splice_and_read(void) {
    section("splice to a full socket");
    int a[2], pair[2], size = 4608;
    static char block[60000], got[60000];
    uint32_t sum = 0;
    MUST(pipe(a));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    for (size_t i = 0; i < sizeof block; i++)
        sum += (uint8_t)(block[i] = (char)(i * 7));
    FACT("into the pipe", write(a[1], block, sizeof block));
    fflush(stdout);
    pid_t splicer = fork();
    if (!splicer) {
        close(a[1]);
        ssize_t moved;
        while ((moved = splice(a[0], NULL, pair[0], NULL, sizeof block, 0)) > 0)
            ;
        _exit(0);
    }
    close(pair[0]);
    int results[2];
    MUST(pipe(results));
    pid_t reader = fork();
    if (!reader) {
        close(a[1]);
        pause_ms(50);
        ssize_t length = read(a[0], block, 10000);
        uint32_t report[2] = {(uint32_t)length, 0};
        for (ssize_t i = 0; i < length; i++)
            report[1] += (uint8_t)block[i];
        (void)!write(results[1], report, sizeof report);
        _exit(0);
    }
    close(results[1]);
    close(a[0]), close(a[1]);
    pause_ms(100);
    uint32_t report[2] = {0, 0}, total = 0, seen = 0;
    for (ssize_t length; (length = read(pair[1], got, 1000)) > 0;) {
        total += (uint32_t)length;
        for (ssize_t i = 0; i < length; i++)
            seen += (uint8_t)got[i];
    }
    (void)!read(results[0], report, sizeof report);
    printf("all came: %d, and as it was: %d\n", total + report[0] == sizeof block, seen + report[1] == sum);
    waitpid(splicer, NULL, 0);
    waitpid(reader, NULL, 0);
    close(results[0]), close(pair[1]);
}

static void splice_from_a_slow_socket(void) {
    section("splice from a socket");
    int a[2], pair[2];
    char bytes[16] = {0};
    MUST(pipe(a));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    IN_CHILD("which sends late", {
        if (!fork()) {
            pause_ms(50);
            (void)!write(pair[0], "late", 4);
            _exit(0);
        }
        FACT("splice", splice(pair[1], NULL, a[1], NULL, 100, 0));
    });
    FACT("read", read(a[0], bytes, sizeof bytes));
    put_bytes("what came", bytes, 4);
    struct timeval brief = {0, 30000};
    MUST(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof brief));
    FACT("a time-out", splice(pair[1], NULL, a[1], NULL, 100, 0));
    close(a[0]), close(a[1]), close(pair[0]), close(pair[1]);
}

int main(void) {
    begin();
    from_memory();
    sending();
    splicing();
    copying();
    splice_and_read();
    splice_from_a_slow_socket();
    return 0;
}
