/* RLIMIT_AS and RLIMIT_DATA: how much a program may map. */
#include "calls.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

static void limit(int resource, rlim_t bytes) {
    struct rlimit given = {bytes, RLIM_INFINITY};
    setrlimit(resource, &given);
}

static void *map(size_t mebibytes, int protection, int flags, void *at) {
    return mmap(at, mebibytes * MIB, protection, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void *tell(const char *what, void *address) {
    int error = errno;
    printf("%s: %s\n", what, address == MAP_FAILED ? strerrorname_np(error) : "mapped");
    return address;
}

static void address_space(void) {
    limit(RLIMIT_AS, 256 * MIB);
    char *large = tell("150 of 256", map(150, PROT_READ, MAP_PRIVATE, NULL));
    tell("150 more", map(150, PROT_READ, MAP_PRIVATE, NULL));
    tell("150 more, shared", map(150, PROT_READ | PROT_WRITE, MAP_SHARED, NULL));
    tell("without access", map(150, PROT_NONE, MAP_PRIVATE, NULL));
    tell("150 in its place", map(150, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, large));
    tell("grown to 300", mremap(large, 150 * MIB, 300 * MIB, MREMAP_MAYMOVE));
    large = tell("grown to 200", mremap(large, 150 * MIB, 200 * MIB, MREMAP_MAYMOVE));
    errno = 0;
    HOLDS(malloc(100 * MIB) == NULL && errno == ENOMEM);
    HOLDS(sbrk(100 * (intptr_t)MIB) == (void *)-1 && errno == ENOMEM);
    FACT(munmap(large, 200 * MIB));
    large = tell("200 again", map(200, PROT_READ, MAP_PRIVATE, NULL));
    limit(RLIMIT_AS, RLIM_INFINITY);
    void *more = tell("without a limit", map(300, PROT_READ, MAP_PRIVATE, NULL));
    munmap(large, 200 * MIB);
    munmap(more, 300 * MIB);
}

static void data(void) {
    limit(RLIMIT_DATA, 128 * MIB);
    void *first = tell("80 of 128", map(80, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL));
    tell("80 more", map(80, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL));
    void *second = tell("80 more to read", map(80, PROT_READ, MAP_PRIVATE, NULL));
    void *third = tell("80 more, shared", map(80, PROT_READ | PROT_WRITE, MAP_SHARED, NULL));
    HOLDS(sbrk(80 * (intptr_t)MIB) == (void *)-1 && errno == ENOMEM);
    HOLDS(sbrk((intptr_t)MIB) != (void *)-1);
    pid_t child = fork();
    if (!child) {
        HOLDS(map(80, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL) == MAP_FAILED);
        exit(0);
    }
    wait_and_show("a child", child);
    limit(RLIMIT_DATA, RLIM_INFINITY);
    munmap(first, 80 * MIB);
    munmap(second, 80 * MIB);
    munmap(third, 80 * MIB);
}

int main(void) {
    begin();
    address_space();
    data();
    return 0;
}
