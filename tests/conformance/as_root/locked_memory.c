/* mlock and its kin, RLIMIT_MEMLOCK for root and for others, and what /proc tells. */
#include "calls.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define PAGE 4096
static char *memory; /* 64 pages */

static long locked(void) {
    char line[256];
    long kilobytes = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmLck: %ld kB", &kilobytes) == 1)
            break;
    if (status)
        fclose(status);
    return kilobytes;
}

#define LOCKED(call)                                                                                                   \
    do {                                                                                                               \
        FACT(call);                                                                                                    \
        printf("    VmLck %ld\n", locked());                                                                           \
    } while (0)
#define MAPPED(address, length, ...)                                                                                   \
    do {                                                                                                               \
        void *mapped_ = mmap(address, length, __VA_ARGS__);                                                            \
        DONE(mapped_ == MAP_FAILED ? -1 : 0);                                                                          \
        printf("    VmLck %ld\n", locked());                                                                           \
        if (mapped_ != MAP_FAILED)                                                                                     \
            munmap(mapped_, length);                                                                                   \
    } while (0)

static void limit(rlim_t bytes) {
    struct rlimit given;
    getrlimit(RLIMIT_MEMLOCK, &given);
    given.rlim_cur = bytes;
    FACT(setrlimit(RLIMIT_MEMLOCK, &given));
}

static void ranges(void) {
    LOCKED(mlock(memory, 4 * PAGE));
    LOCKED(mlock(memory + 2 * PAGE, 4 * PAGE));
    LOCKED(mlock(memory + 10 * PAGE + 1, 1));
    LOCKED(mlock(memory + 11 * PAGE - 1, 2));
    LOCKED(mlock(memory + 6 * PAGE, 4 * PAGE));
    LOCKED(munlock(memory + 3 * PAGE, PAGE));
    LOCKED(munlock(memory + 3 * PAGE, PAGE));
    LOCKED(mlock(memory, 0));
    LOCKED(mlock2(memory + 20 * PAGE, 2 * PAGE, MLOCK_ONFAULT));
    LOCKED(mlock2(memory + 20 * PAGE, 2 * PAGE, 2));
    LOCKED(munmap(memory + 20 * PAGE, PAGE));
    LOCKED(mlock(memory + 20 * PAGE, PAGE));
    LOCKED(munlock(memory + 20 * PAGE, PAGE));
    LOCKED(mlock((void *)-PAGE, 2 * PAGE));
    LOCKED(munlock((void *)-PAGE, 2 * PAGE));
    LOCKED(munlock(memory, 64 * PAGE));
    LOCKED(munlockall());
    DONE(mmap(memory + 20 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
         MAP_FAILED);
}

static void mappings(void) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    MAPPED(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_LOCKED, -1, 0);
    LOCKED(mlock(memory, 16 * PAGE));
    MAPPED(memory + 4 * PAGE, 4 * PAGE, PROT_READ, flags | MAP_FIXED, -1, 0);
    LOCKED(munlockall());
    MAPPED(memory, 16 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
    char *moved = mmap(memory, 64 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
    LOCKED(mlock(moved, 64 * PAGE));
    moved = mremap(moved, 64 * PAGE, 32 * PAGE, 0);
    DONE(moved == MAP_FAILED ? -1 : 0);
    printf("    VmLck %ld\n", locked());
    moved = mremap(moved, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    DONE(moved == MAP_FAILED ? -1 : 0);
    printf("    VmLck %ld\n", locked());
    memory = moved;
    LOCKED(munlockall());
}

static void all(void) {
    FACT(mlockall(0));
    FACT(mlockall(8));
    FACT(mlockall(MCL_ONFAULT));
    LOCKED(mlockall(MCL_FUTURE));
    MAPPED(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    LOCKED(munlockall());
    MAPPED(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (FACT(mlockall(MCL_CURRENT)) == 0)
        HOLDS(locked() > 64 * PAGE / 1024);
    LOCKED(munlockall());
    LOCKED(mlock(memory, 4 * PAGE));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        printf("a child has VmLck %ld\n", locked());
        fflush(stdout);
        _exit(0);
    }
    wait_and_show("child", child);
    LOCKED(munlockall());
}

/* Of 16 pages. */
static void within_limits(void) {
    LOCKED(mlock(memory, 16 * PAGE));
    LOCKED(mlock(memory + 8 * PAGE, 8 * PAGE));
    LOCKED(mlock(memory + 16 * PAGE, 1));
    LOCKED(mlock(memory, 17 * PAGE));
    MAPPED(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    LOCKED(munlock(memory, 8 * PAGE));
    MAPPED(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    LOCKED(munlockall());
    FACT(mlockall(MCL_CURRENT));
    FACT(munlockall());
    LOCKED(mlockall(MCL_FUTURE));
    MAPPED(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MAPPED(NULL, 17 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    LOCKED(munlockall());
    limit(0);
    FACT(mlock(memory, PAGE));
    FACT(mlock2(memory, PAGE, 2));
    FACT(mlockall(MCL_FUTURE));
    FACT(mlockall(0));
    FACT(munlock(memory, PAGE));
    FACT(munlockall());
    MAPPED(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    limit(PAGE + 100);
    LOCKED(mlock(memory, PAGE));
    LOCKED(mlock(memory + PAGE, 1));
    LOCKED(munlockall());
}

int main(void) {
    begin();
    memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("VmLck %ld\n", locked());
    ranges();
    mappings();
    all();
    printf("== root with a limit\n");
    limit(16 * PAGE);
    within_limits();
    printf("== another user\n");
    limit(16 * PAGE);
    FACT(setuid(1000));
    within_limits();
    return 0;
}
