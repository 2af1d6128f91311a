/* Does to its own memory, descriptors and limits what a broken or hostile program could do. Natively most of these are
 * harmless or kill the process; in a simulator none of them may harm another host.
 *
 *   hostile arena SEED     damages the simulator's shared memory of its host, round after round
 *   hostile wipe SEED      fills the start of that memory with one byte, once
 *   hostile stacks SEED    damages the simulator's stacks and data inside its process
 *   hostile descriptors    closes every number up to 2000, and puts others in their places
 *   hostile unmap          unmaps everything that can be named
 *   hostile limits         raises its own limits and blocks, unblocks and handles SIGSYS */
#include "common.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ARENAS 0x200000000000u
#define ARENA_STRIDE (256u << 20)
#define ARENAS_TRIED 256
#define STACKS 0x600000100000u
#define IMAGE 0x600000000000u
#define PAGE 4096u

static uint64_t state;

static uint64_t draw(void) { /* SplitMix64 */
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int readable(int fd, const void *address) { return write(fd, address, 1) == 1; }

static void damage(uint8_t *start, uint64_t size) {
    uint64_t kind = draw() % 4;
    for (uint64_t i = 0, writes = 1 + draw() % 16; i < writes; i++) {
        uint64_t at = draw() % size & ~(uint64_t)7, value = draw();
        if (kind == 1) {
            value = (uint64_t)start + (value % size & ~(uint64_t)7);
        } else if (kind == 2) {
            value %= 3;
        }
        if (kind == 3) {
            memset(start + (at & ~(uint64_t)(PAGE - 1)), (int)value, PAGE);
        } else {
            memcpy(start + at, &value, sizeof value);
        }
    }
}

/* The same calls wherever the memory lies, which is a matter of how hosts are divided among shards. */
static uint8_t *find_arena(int outside) {
    uint8_t *arena = NULL;
    for (unsigned i = 0; i < ARENAS_TRIED; i++) {
        uint8_t *tried = (uint8_t *)(ARENAS + (uint64_t)i * ARENA_STRIDE);
        if (readable(outside, tried) && !arena) {
            arena = tried;
        }
    }
    return arena;
}

static void wipe_arena(void) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    uint8_t *arena = find_arena(ends[1]);
    REQUIRE(arena);
    usleep((unsigned)(draw() % 400000));
    memset(arena, (int)draw(), 128 << 10);
    usleep(1000);
}

static void attack_arena(void) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(7), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    uint8_t *arena = find_arena(ends[1]);
    if (!arena) {
        printf("no arena\n");
        return;
    }
    for (int round = 0; round < 200; round++) {
        (void)!sendto(fd, &round, sizeof round, 0, (struct sockaddr *)&self, sizeof self);
        damage(arena, 128 << 10);
        usleep(1000);
    }
}

static void attack_stacks(void) {
    /* The first thread's stack, top first; then the image's data. */
    for (int round = 0; round < 50; round++) {
        damage((uint8_t *)STACKS + (96 << 10), 32 << 10);
        usleep(1000);
    }
    memset((void *)IMAGE, 0, 16 * PAGE); /* the code is not writable: this ends it */
}

static int datagram_returns(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof self;
    char byte = 0;
    return fd >= 0 && bind(fd, (struct sockaddr *)&self, length) == 0 &&
           getsockname(fd, (struct sockaddr *)&self, &length) == 0 &&
           sendto(fd, "x", 1, 0, (struct sockaddr *)&self, length) == 1 && recv(fd, &byte, 1, 0) == 1 && byte == 'x';
}

static void attack_descriptors(int out) {
    for (int fd = 0; fd < 2000; fd++) {
        if (fd != out) {
            close(fd);
        }
    }
    syscall(SYS_close_range, 0, out - 1, 0);
    syscall(SYS_close_range, out + 1, ~0u, 0);
    int other = open("/dev/null", O_RDWR);
    for (int fd = 890; fd < 920; fd++) {
        if (fd != out) {
            dup2(other, fd);
            ftruncate(fd, 0);
        }
    }
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(9);
    }
    int status = -1;
    waitpid(child, &status, 0);
    dprintf(out, "datagram %d child %d\n", datagram_returns(), status);
}

static void attack_limits(void) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    for (int resource = 0; resource < 16; resource++) {
        setrlimit((__rlimit_resource_t)resource, &limit);
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    sigaddset(&set, SIGSEGV);
    for (int round = 0; round < 3; round++) {
        sigprocmask(SIG_BLOCK, &set, NULL);
        printf("blocked %d", datagram_returns());
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        signal(SIGSYS, round == 1 ? SIG_DFL : SIG_IGN);
        printf(" unblocked %d\n", datagram_returns());
    }
}

int main(int argc, char **argv) {
    const char *attack = argc > 1 ? argv[1] : "";
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    usleep(100000);
    if (strcmp(attack, "arena") == 0) {
        attack_arena();
    } else if (strcmp(attack, "wipe") == 0) {
        wipe_arena();
    } else if (strcmp(attack, "stacks") == 0) {
        attack_stacks();
    } else if (strcmp(attack, "descriptors") == 0) {
        attack_descriptors(fcntl(1, F_DUPFD, 950));
    } else if (strcmp(attack, "unmap") == 0) {
        munmap((void *)(uintptr_t)PAGE, 0x7ffffffff000 - 2 * PAGE);
        munmap((void *)ARENAS, (size_t)1 << 40);
        munmap((void *)IMAGE, (size_t)1 << 40);
        mprotect((void *)IMAGE, 1 << 20, PROT_NONE);
        mmap((void *)ARENAS, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        printf("still here\n");
        fflush(stdout);
        for (uint64_t start = ARENAS + ((uint64_t)1 << 44); start < IMAGE; start += (uint64_t)1 << 40) {
            munmap((void *)start, (size_t)1 << 40); /* the program's own: it does not come back from here */
        }
        printf("still here?\n");
    } else if (strcmp(attack, "limits") == 0) {
        attack_limits();
    } else {
        usage("hostile arena SEED | wipe SEED | stacks SEED | descriptors | unmap | limits");
    }
    return 0;
}
