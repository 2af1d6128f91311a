/*
 * Prints everything by which a program can tell one run from another. In a deterministic simulation every
 * line is the same in two runs with one seed; each one that is not is a leak.
 */
#include "common.h"

#include <cpuid.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <x86intrin.h>

static int in_data = 1;

static void print_bytes(const char *name, const uint8_t *bytes, size_t length) {
    printf("%s ", name);
    for (size_t i = 0; i < length; i++) {
        printf("%02x", bytes[i]);
    }
    printf("\n");
}

static void random_sources(void) {
    uint8_t bytes[16];
    REQUIRE(getrandom(bytes, sizeof bytes, 0) == sizeof bytes);
    print_bytes("getrandom", bytes, sizeof bytes);
    REQUIRE(getrandom(bytes, sizeof bytes, GRND_NONBLOCK) == sizeof bytes);
    print_bytes("getrandom_again", bytes, sizeof bytes);
    static const char *const devices[] = {"/dev/urandom", "/dev/random"};
    for (size_t i = 0; i < 2; i++) {
        int fd = open(devices[i], O_RDONLY);
        REQUIRE(fd >= 0 && read(fd, bytes, sizeof bytes) == sizeof bytes);
        print_bytes(devices[i], bytes, sizeof bytes);
        close(fd);
    }
    char uuid[64] = "";
    int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY);
    if (fd >= 0) {
        REQUIRE(read(fd, uuid, sizeof uuid - 1) > 0);
        close(fd);
    }
    uuid[strcspn(uuid, "\n")] = '\0';
    printf("uuid %s\n", uuid);
    print_bytes("AT_RANDOM", (const uint8_t *)getauxval(AT_RANDOM), 16);
}

static void processor(void) {
    unsigned a, b, c, d, model;
    REQUIRE(__get_cpuid(1, &model, &b, &c, &d));
    printf("cpu_model %08x rdrand %d\n", model, (c & bit_RDRND) != 0);
    printf("initial_apic_id %u\n", b >> 24);
    int rdseed = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_RDSEED) != 0;
    printf("rdseed %d rdpid %d\n", rdseed, (c & bit_RDPID) != 0);
    printf("rdtsc %llu\n", (unsigned long long)__rdtsc());
    printf("rdtsc_again %llu\n", (unsigned long long)__rdtsc());
    printf("processors %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
    printf("memory_pages %ld\n", sysconf(_SC_PHYS_PAGES));
    printf("hwcap %lx hwcap2 %lx\n", getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
}

static void addresses(void) {
    int on_stack = 0;
    void *small = malloc(100), *large = malloc(10 << 20);
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(small != NULL && large != NULL && mapped != MAP_FAILED);
    printf("stack %p\n", (void *)&on_stack);
    printf("heap %p\n", small);
    printf("large_heap %p\n", large);
    printf("mmap %p\n", mapped);
    printf("main_data %p\n", (void *)&in_data);
    printf("libc %p\n", (void *)stdout);
    printf("brk %p\n", sbrk(0));
    printf("vdso %lx\n", getauxval(AT_SYSINFO_EHDR));
    free(small);
    free(large);
}

static void identity(void) {
    char text[4096];
    struct utsname system;
    printf("pid %d ppid %d tid %d sid %d pgid %d\n", getpid(), getppid(), gettid(), getsid(0), getpgid(0));
    printf("uid %u gid %u euid %u egid %u\n", getuid(), getgid(), geteuid(), getegid());
    REQUIRE(gethostname(text, sizeof text) == 0);
    printf("hostname %s\n", text);
    REQUIRE(uname(&system) == 0);
    printf("uname %s %s %s %s %s\n", system.sysname, system.nodename, system.release, system.version, system.machine);
    REQUIRE(getcwd(text, sizeof text) != NULL);
    printf("cwd %s\n", text);
}

static void times_and_use(void) {
    static const struct {
        const char *name;
        clockid_t clock;
    } clocks[] = {
        {"realtime", CLOCK_REALTIME},
        {"monotonic", CLOCK_MONOTONIC},
        {"boottime", CLOCK_BOOTTIME},
        {"realtime_coarse", CLOCK_REALTIME_COARSE},
        {"monotonic_raw", CLOCK_MONOTONIC_RAW},
        {"process_cpu", CLOCK_PROCESS_CPUTIME_ID},
        {"thread_cpu", CLOCK_THREAD_CPUTIME_ID},
    };
    for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
        printf("%s_ns %lld\n", clocks[i].name, (long long)clock_ns(clocks[i].clock));
    }
    struct rusage usage_now;
    struct tms processor_times;
    REQUIRE(getrusage(RUSAGE_SELF, &usage_now) == 0);
    printf("rusage user_us %ld system_us %ld maxrss %ld minor_faults %ld switches %ld\n", usage_now.ru_utime.tv_usec,
           usage_now.ru_stime.tv_usec, usage_now.ru_maxrss, usage_now.ru_minflt,
           usage_now.ru_nvcsw + usage_now.ru_nivcsw);
    printf("times %ld\n", (long)times(&processor_times));
}

static void files(void) {
    struct stat state;
    char name[] = "randomness_XXXXXX";
    int fd = mkstemp(name);
    REQUIRE(fd >= 0 && fstat(fd, &state) == 0 && unlink(name) == 0);
    printf("temporary_file %s inode %llu device %llu mtime %lld.%09ld\n", name, (unsigned long long)state.st_ino,
           (unsigned long long)state.st_dev, (long long)state.st_mtim.tv_sec, state.st_mtim.tv_nsec);
    close(fd);
}

int main(void) {
    random_sources();
    processor();
    addresses();
    identity();
    times_and_use();
    files();
    return 0;
}
