/* Memory: private and shared mappings of files and of nothing, between processes; mremap, mprotect, memfd and seals. */
#include "calls.h"
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096

static void in_child(void (*body)(char *), char *memory) {
    pid_t pid = fork();
    if (pid == 0) {
        body(memory);
        _exit(0);
    }
    wait_and_show("child", pid);
}

static void write_first(char *memory) { memory[0] = 'C'; }
static void touch(char *memory) { *(volatile char *)memory = 1; }

static void anonymous(void) {
    char *shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *private = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared[0] = private[0] = 'P';
    in_child(write_first, shared);
    in_child(write_first, private);
    printf("shared %c, private %c\n", shared[0], private[0]);
    FACT(mprotect(private, PAGE, PROT_READ));
    in_child(touch, private);
    FACT(mprotect(private + 1, PAGE, PROT_READ));
    FACT(mprotect((void *)(uintptr_t)PAGE, PAGE, PROT_READ));
    FACT(munmap(private + PAGE, PAGE));
    in_child(touch, private + PAGE);
    FACT(munmap(private + 1, PAGE));
    FACT(munmap(private, 0));
    FACT(munmap(private, PAGE));
    FACT(munmap(private, PAGE));
    HOLDS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    HOLDS(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    HOLDS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 1000, 0) == MAP_FAILED && errno == EBADF);
    HOLDS(mmap((char *)shared + 1, PAGE, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
          errno == EINVAL);
    HOLDS(mmap(shared, PAGE, PROT_READ, MAP_FIXED_NOREPLACE | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
          errno == EEXIST);
    HOLDS(mmap(shared, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == shared);
    printf("replaced: %d\n", shared[0]);
    FACT(msync(shared, PAGE, MS_SYNC));
    unsigned char resident[1];
    shared[0] = 1;
    FACT(mincore(shared, PAGE, resident));
    FACT(madvise(shared, PAGE, MADV_DONTNEED));
    printf("after MADV_DONTNEED: %d\n", shared[0]);
    FACT(madvise(shared, PAGE, 9999));
    munmap(shared, 2 * PAGE);
}

static void moving(void) {
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory[0] = 'm';
    HOLDS(mremap(memory, 4 * PAGE, 2 * PAGE, 0) == memory);
    in_child(touch, memory + 3 * PAGE);
    char *blocker = mmap(memory + 2 * PAGE, PAGE, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    HOLDS(blocker == memory + 2 * PAGE);
    HOLDS(mremap(memory, 2 * PAGE, 16 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
    char *moved = mremap(memory, 2 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    printf("moved %d: %c\n", moved != memory, moved[0]);
    in_child(touch, memory);
    HOLDS(mremap(moved + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
    HOLDS(mremap((void *)(uintptr_t)PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
}

static void files(void) {
    int fd = open("mapped", O_CREAT | O_RDWR, 0600);
    (void)!write(fd, "file content", 12);
    char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    printf("%.12s, then %d\n", shared, shared[12]);
    shared[0] = 'F';
    private[1] = 'P';
    char bytes[13] = "";
    (void)!pread(fd, bytes, 12, 0);
    printf("file %s, private %.12s\n", bytes, private);
    in_child(write_first, shared);
    (void)!pread(fd, bytes, 12, 0);
    printf("file %s\n", bytes);
    (void)!pwrite(fd, "W", 1, 5);
    printf("shared %.12s\n", shared);
    pid_t pid = fork();
    if (pid == 0) {
        int own = open("mapped", O_RDWR);
        char *again = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
        again[11] = '!';
        _exit(0);
    }
    wait_and_show("opened on its own", pid);
    printf("shared %.12s\n", shared);
    int read_only = open("mapped", O_RDONLY), write_only = open("mapped", O_WRONLY);
    HOLDS(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, read_only, 0) == MAP_FAILED && errno == EACCES);
    HOLDS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, write_only, 0) == MAP_FAILED && errno == EACCES);
    HOLDS(mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE, read_only, 0) != MAP_FAILED);
    HOLDS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED && errno == EINVAL);
    int pipes[2];
    (void)!pipe(pipes);
    HOLDS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0) == MAP_FAILED && errno == ENODEV);
    close(fd);
    shared[2] = 'L'; /* a mapping outlives its descriptor */
    fd = open("mapped", O_RDONLY);
    (void)!pread(fd, bytes, 12, 0);
    printf("file %s\n", bytes);
    unlink("mapped");
    int zero = open("/dev/zero", O_RDWR);
    char *nothing = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, zero, 0);
    HOLDS(nothing != MAP_FAILED && nothing[100] == 0);
}

static void memory_files(void) {
    int fd;
    char bytes[8] = "";
    DONE(fd = memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    printf("close on exec %d, flags %o\n", fcntl(fd, F_GETFD), (unsigned)fcntl(fd, F_GETFL) & 3);
    FACT(memfd_create("x", 0x1000));
    FACT(ftruncate(fd, PAGE));
    char *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    in_child(write_first, memory);
    FACT(pread(fd, bytes, 1, 0));
    printf("%s\n", bytes);
    munmap(memory, PAGE);
    close(fd);
    fd = memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING); /* one that no other process has ever mapped */
    FACT(ftruncate(fd, PAGE));
    memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FACT(fcntl(fd, F_GET_SEALS));
    FACT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    munmap(memory, PAGE);
    FACT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    FACT(fcntl(fd, F_GET_SEALS));
    FACT(ftruncate(fd, 0));
    FACT(ftruncate(fd, 2 * PAGE));
    FACT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    FACT(write(fd, "x", 1));
    FACT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    char link[64] = "";
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    FACT(readlink(path, link, sizeof link - 1));
    printf("%s\n", link);
    struct stat status;
    FACT(fstat(fd, &status));
    printf("size %ld, mode %o\n", (long)status.st_size, status.st_mode);
    close(fd);
}

int main(void) {
    begin();
    anonymous();
    moving();
    files();
    memory_files();
    return 0;
}
