/* Policies, priorities, affinity and I/O priorities: who may set them, who inherits them, what is shown. */
#include "calls.h"
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define WHO_PROCESS 1
#define WHO_GROUP 2

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
    uint64_t later;
};

static long set_attributes(struct attributes attributes) {
    long result = syscall(SYS_sched_setattr, 0, &attributes, 0);
    if (result && errno == E2BIG)
        printf("it knows %s bytes\n", attributes.size >= 56 ? "56 or more" : "less");
    return result;
}

static void in_child(const char *what, void (*run)(const char *what)) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        run(what);
        fflush(stdout);
        _exit(0);
    }
    wait_and_show(what, pid);
}

static void show(const char *what) {
    struct attributes attributes = {0};
    struct sched_param parameter = {-1};
    char line[1024];
    long result = syscall(SYS_sched_getattr, 0, &attributes, 56, 0);
    printf("%s: %ld size %u policy %u flags %llu nice %d priority %u; ", what, result, attributes.size,
           attributes.policy, (unsigned long long)attributes.flags, attributes.nice, attributes.priority);
    result = sched_getparam(0, &parameter);
    printf("%ld %d; scheduler %d; ", result, parameter.sched_priority, sched_getscheduler(0));
    FILE *file = fopen("/proc/self/stat", "r");
    char *field = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    int number = 2;
    for (char *word = field ? strtok(field, " ") : NULL; word; word = strtok(NULL, " "), number++)
        if (number == 18 || number == 19 || number == 40 || number == 41)
            printf("%s ", word);
    printf("\n");
    if (file)
        fclose(file);
}

static void policies(void) {
    struct sched_param none = {0}, ten = {10}, hundred = {100};
    struct timespec slice = {-1, -1};
    show("at first");
    FACT(sched_setscheduler(0, SCHED_FIFO, &none));
    FACT(sched_setscheduler(0, SCHED_FIFO, &hundred));
    FACT(sched_setscheduler(0, SCHED_OTHER, &ten));
    FACT(sched_setscheduler(0, 77, &none));
    FACT(sched_setscheduler(0, -1, &none));
    FACT(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, NULL));
    FACT(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, 8));
    FACT(sched_setscheduler(-1, SCHED_OTHER, &none));
    FACT(sched_setscheduler(1 << 21, SCHED_OTHER, &none));
    FACT(sched_setparam(0, &ten));
    FACT(sched_setparam(-1, &none));
    FACT(sched_getparam(-1, &none));
    FACT(sched_getparam(1 << 21, &none));
    FACT(sched_getscheduler(-1));
    FACT(sched_setscheduler(0, SCHED_BATCH, &none));
    show("batch");
    FACT(sched_setscheduler(0, SCHED_IDLE, &none));
    show("idle");
    FACT(sched_setscheduler(0, SCHED_DEADLINE, &none));
    FACT(setpriority(PRIO_PROCESS, 0, 4));
    show("idle and nice");
    FACT(sched_setscheduler(0, SCHED_RR, &ten));
    FACT(sched_rr_get_interval(0, &slice));
    printf("%ld.%09ld\n", slice.tv_sec, slice.tv_nsec);
    FACT(sched_rr_get_interval(-1, &slice));
    FACT(sched_rr_get_interval(1 << 21, &slice));
    show("round robin");
    FACT(sched_setparam(0, &none));
    FACT(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &ten));
    FACT(sched_rr_get_interval(0, &slice));
    printf("%ld.%09ld\n", slice.tv_sec, slice.tv_nsec);
    show("reset on fork");
    in_child("child of it", show);
    FACT(sched_setscheduler(0, SCHED_FIFO, &ten));
    in_child("child that inherits", show);
    FACT(sched_setscheduler(0, SCHED_OTHER, &none));
    show("as before, but nice");
    FACT(setpriority(PRIO_PROCESS, 0, -3));
    FACT(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none));
    in_child("child of one with a better nice", show);
    FACT(sched_setscheduler(0, SCHED_OTHER, &none));
    FACT(setpriority(PRIO_PROCESS, 0, 0));
}

static void attributes(void) {
    struct attributes seen = {0};
    FACT(syscall(SYS_sched_getattr, 0, &seen, 47, 0));
    FACT(syscall(SYS_sched_getattr, 0, &seen, 48, 0));
    FACT(syscall(SYS_sched_getattr, 0, &seen, 56, 1));
    FACT(syscall(SYS_sched_getattr, 0, NULL, 56, 0));
    FACT(syscall(SYS_sched_getattr, 1 << 21, &seen, 56, 0));
    FACT(syscall(SYS_sched_setattr, 0, NULL, 0));
    FACT(syscall(SYS_sched_setattr, 0, &seen, 1));
    FACT(set_attributes((struct attributes){.size = 40}));
    FACT(set_attributes((struct attributes){.size = 5000}));
    FACT(set_attributes((struct attributes){.size = 4096 - 4000 - 24, .later = 1}));
    FACT(set_attributes((struct attributes){.size = 48, .policy = SCHED_OTHER, .nice = 7}));
    show("nice by attributes");
    FACT(set_attributes((struct attributes){.size = 56, .policy = SCHED_FIFO, .priority = 5}));
    show("real time by attributes");
    FACT(set_attributes((struct attributes){.flags = 0x08, .priority = 6}));
    show("the policy kept");
    FACT(set_attributes((struct attributes){.flags = 0x18, .priority = 7}));
    show("all kept");
    FACT(set_attributes((struct attributes){.policy = SCHED_FIFO, .priority = 100}));
    FACT(set_attributes((struct attributes){.policy = SCHED_FIFO, .priority = UINT32_MAX}));
    FACT(set_attributes((struct attributes){.policy = UINT32_MAX}));
    FACT(set_attributes((struct attributes){.flags = 1 << 20}));
    FACT(set_attributes((struct attributes){.policy = SCHED_BATCH, .flags = 1, .nice = 100}));
    show("too nice");
    FACT(set_attributes((struct attributes){.policy = SCHED_OTHER}));
}

static void affinity(void) {
    cpu_set_t set, none;
    CPU_ZERO(&none);
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    FACT(sched_setaffinity(0, sizeof set, &set));
    FACT(sched_setaffinity(0, 1, &set));
    FACT(sched_setaffinity(0, sizeof none, &none));
    FACT(sched_setaffinity(0, 0, &set));
    FACT(syscall(SYS_sched_setaffinity, 0, 8, 8));
    FACT(sched_setaffinity(1 << 21, sizeof set, &set));
    FACT(sched_setaffinity(-1, sizeof set, &set));
    CPU_SET(700, &set);
    FACT(sched_setaffinity(0, sizeof set, &set));
    CPU_ZERO(&none);
    CPU_SET(700, &none);
    FACT(sched_setaffinity(0, sizeof none, &none));
    FACT(sched_getaffinity(0, sizeof set, &set));
    printf("%d CPU\n", CPU_COUNT(&set));
    FACT(sched_getaffinity(1 << 21, sizeof set, &set));
    FACT(sched_getaffinity(-1, sizeof set, &set));
    HOLDS(sched_getcpu() == 0);
}

static long io_set(int which, int who, int class, int level) {
    return syscall(SYS_ioprio_set, which, who, IOPRIO_PRIO_VALUE(class, level));
}

static void show_io(const char *what) { printf("%s: %ld\n", what, syscall(SYS_ioprio_get, WHO_PROCESS, 0)); }

static void io_priorities(void) {
    FACT(syscall(SYS_ioprio_get, WHO_PROCESS, 0));
    FACT(io_set(WHO_PROCESS, 0, IOPRIO_CLASS_BE, 6));
    FACT(syscall(SYS_ioprio_get, WHO_PROCESS, 0));
    FACT(syscall(SYS_ioprio_get, WHO_PROCESS, getpid()));
    FACT(syscall(SYS_ioprio_get, WHO_GROUP, 0));
    in_child("child", show_io);
    FACT(io_set(WHO_PROCESS, 0, IOPRIO_CLASS_RT, 1));
    FACT(syscall(SYS_ioprio_get, WHO_PROCESS, 0));
    FACT(io_set(WHO_PROCESS, 0, IOPRIO_CLASS_IDLE, 0));
    FACT(syscall(SYS_ioprio_get, WHO_PROCESS, 0));
    FACT(io_set(WHO_PROCESS, 0, IOPRIO_CLASS_NONE, 3));
    FACT(io_set(WHO_PROCESS, 0, IOPRIO_CLASS_NONE, 0));
    FACT(io_set(WHO_PROCESS, 0, 6, 0));
    FACT(io_set(WHO_PROCESS, 1 << 21, IOPRIO_CLASS_BE, 0));
    FACT(io_set(9, 0, IOPRIO_CLASS_BE, 0));
    FACT(syscall(SYS_ioprio_get, 9, 0));
    FACT(syscall(SYS_ioprio_get, WHO_PROCESS, 1 << 21));
}

static void as_user(const char *what) {
    struct sched_param none = {0}, ten = {10}, twenty = {20};
    pid_t root = getppid();
    struct rlimit limit = {0, 0};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    FACT(setrlimit(RLIMIT_RTPRIO, &limit));
    FACT(setrlimit(RLIMIT_NICE, &limit));
    if (setresuid(1000, 1000, 1000))
        return;
    FACT(sched_setscheduler(0, SCHED_FIFO, &ten));
    FACT(sched_setscheduler(root, SCHED_OTHER, &none));
    FACT(sched_setaffinity(root, sizeof set, &set));
    FACT(sched_setaffinity(0, sizeof set, &set));
    FACT(sched_setscheduler(0, SCHED_BATCH, &none));
    FACT(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none));
    FACT(sched_setscheduler(0, SCHED_OTHER, &none));
    FACT(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none));
    FACT(setpriority(PRIO_PROCESS, 0, 5));
    FACT(setpriority(PRIO_PROCESS, 0, 3));
    FACT(set_attributes((struct attributes){.policy = SCHED_OTHER, .flags = 1, .nice = 2}));
    FACT(set_attributes((struct attributes){.policy = SCHED_OTHER, .flags = 1, .nice = 9}));
    FACT(sched_setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, &none));
    FACT(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none));
    FACT(sched_setparam(0, &twenty));
    FACT(io_set(WHO_PROCESS, 0, IOPRIO_CLASS_RT, 1));
    FACT(io_set(WHO_PROCESS, root, IOPRIO_CLASS_BE, 1));
    FACT(io_set(WHO_PROCESS, 0, IOPRIO_CLASS_BE, 1));
    show(what);
}

int main(void) {
    begin();
    printf("== policies\n");
    policies();
    printf("== attributes\n");
    attributes();
    printf("== affinity\n");
    affinity();
    printf("== I/O priorities\n");
    io_priorities();
    printf("== a user\n");
    in_child("a user", as_user);
    return 0;
}
