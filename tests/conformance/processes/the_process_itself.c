/* Limits, prctl, scheduling, identity, memory of its own, random bytes: what a process asks of itself. */
#include "calls.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static void limits(void) {
    struct rlimit limit = {64, 64}, old;
    FACT(getrlimit(RLIMIT_STACK, &limit));
    printf("stack %ld MiB\n", (long)(limit.rlim_cur >> 20));
    FACT(getrlimit((enum __rlimit_resource)16, &limit));
    limit = (struct rlimit){100, 50};
    FACT(setrlimit(RLIMIT_NOFILE, &limit));
    limit = (struct rlimit){20, 30};
    FACT(prlimit(0, RLIMIT_NOFILE, &limit, &old));
    FACT(prlimit(1 << 21, RLIMIT_NOFILE, NULL, &old));
    int last = -1, fd;
    while ((fd = dup(0)) >= 0)
        last = fd;
    printf("the last descriptor %d, then %s\n", last, strerrorname_np(errno));
    FACT(dup2(0, 20));
    FACT(fcntl(0, F_DUPFD, 20));
    FACT(sysconf(_SC_OPEN_MAX));
    for (fd = 3; fd < 20; fd++)
        close(fd);
    pid_t pid = fork();
    if (pid == 0) {
        getrlimit(RLIMIT_NOFILE, &old);
        printf("inherited: %ld %ld\n", (long)old.rlim_cur, (long)old.rlim_max);
        _exit(0);
    }
    wait_and_show("child", pid);
}

static void controls(void) {
    char name[17] = "";
    FACT(prctl(PR_SET_NAME, "a name that is too long"));
    FACT(prctl(PR_GET_NAME, name));
    printf("name %s\n", name);
    int signo = 7;
    FACT(prctl(PR_GET_PDEATHSIG, &signo));
    printf("signal %d\n", signo);
    FACT(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    FACT(prctl(PR_GET_PDEATHSIG, &signo));
    printf("signal %d\n", signo);
    FACT(prctl(PR_SET_PDEATHSIG, 99));
    FACT(prctl(PR_SET_PDEATHSIG, 0));
    FACT(prctl(PR_GET_DUMPABLE));
    FACT(prctl(PR_SET_DUMPABLE, 0));
    FACT(prctl(PR_GET_DUMPABLE));
    FACT(prctl(PR_SET_DUMPABLE, 5));
    FACT(prctl(PR_SET_DUMPABLE, 1));
    FACT(prctl(PR_GET_KEEPCAPS));
    FACT(prctl(PR_SET_KEEPCAPS, 1));
    FACT(prctl(PR_GET_KEEPCAPS));
    FACT(prctl(PR_SET_KEEPCAPS, 2));
    FACT(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    FACT(prctl(PR_SET_THP_DISABLE, 7, 0, 0, 0));
    FACT(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    FACT(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0));
    FACT(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 1));
    pid_t child = fork();
    if (!child)
        _exit(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    wait_and_show("PR_GET_THP_DISABLE of a child", child);
    FACT(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
    FACT(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    FACT(prctl(PR_GET_TIMERSLACK));
    FACT(prctl(PR_SET_TIMERSLACK, 1000));
    FACT(prctl(PR_GET_TIMERSLACK));
    FACT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    FACT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    FACT(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    FACT(prctl(PR_GET_CHILD_SUBREAPER, &signo));
    printf("subreaper %d\n", signo);
    FACT(prctl(12345));
}

static void subreaper(void) {
    int up[2], gate[2];
    char byte;
    if (pipe(up) || pipe(gate))
        return;
    FACT(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t self = getpid(), child = fork(), orphan = 0;
    if (child == 0) {
        orphan = fork();
        if (orphan == 0) {
            (void)!read(gate[0], &byte, 1);
            _exit(getppid() == self ? 12 : 13);
        }
        (void)!write(up[1], &orphan, sizeof orphan);
        _exit(0);
    }
    (void)!read(up[0], &orphan, sizeof orphan);
    wait_and_show("child", child);
    (void)!write(gate[1], "x", 1);
    wait_and_show("orphan", orphan);
    FACT(prctl(PR_SET_CHILD_SUBREAPER, 0));
    pid_t parent = fork();
    if (parent == 0) {
        signal(SIGUSR1, SIG_DFL);
        orphan = fork();
        if (orphan == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            (void)!write(up[1], "r", 1);
            close(up[1]);
            for (;;)
                pause();
        }
        close(up[1]);
        pause();
    }
    close(up[1]);
    (void)!read(up[0], &byte, 1);
    kill(parent, SIGKILL);
    wait_and_show("parent", parent);
    printf("its child died with it: %zd\n", read(up[0], &byte, 1));
}

static void scheduling(void) {
    struct sched_param parameter = {0};
    cpu_set_t set;
    FACT(sched_getscheduler(0));
    FACT(sched_getscheduler(1 << 21));
    FACT(sched_getparam(0, &parameter));
    FACT(sched_get_priority_max(SCHED_OTHER));
    FACT(sched_get_priority_min(SCHED_FIFO));
    FACT(sched_get_priority_max(SCHED_FIFO));
    FACT(sched_get_priority_max(99));
    FACT(sched_yield());
    HOLDS(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) >= 1);
    HOLDS(syscall(SYS_sched_getaffinity, 0, 4, &set) == -1 && errno == EINVAL);
    FACT(sched_setaffinity(0, sizeof set, &set));
    FACT(getpriority(PRIO_PROCESS, 0));
    FACT(setpriority(PRIO_PROCESS, 0, 5));
    FACT(getpriority(PRIO_PROCESS, 0));
    errno = 0;
    FACT(nice(3));
    FACT(getpriority(PRIO_PROCESS, 0));
    FACT(setpriority(PRIO_PROCESS, 0, 100));
    FACT(getpriority(PRIO_PROCESS, 0));
    FACT(getpriority(9, 0));
    FACT(getpriority(PRIO_PROCESS, 1 << 21));
    pid_t pid = fork();
    if (pid == 0)
        _exit(getpriority(PRIO_PROCESS, 0));
    wait_and_show("nice is inherited", pid);
}

static void shapes(void) {
    struct utsname names;
    struct sysinfo info;
    struct rusage usage;
    FACT(uname(&names));
    printf("%s %s\n", names.sysname, names.machine);
    FACT(sysinfo(&info));
    HOLDS(info.totalram > info.freeram && info.mem_unit >= 1 && info.procs >= 1 && info.uptime > 0);
    FACT(getrusage(RUSAGE_SELF, &usage));
    HOLDS(usage.ru_maxrss > 0);
    FACT(getrusage(RUSAGE_CHILDREN, &usage));
    FACT(getrusage(RUSAGE_THREAD, &usage));
    FACT(getrusage((enum __rusage_who)7, &usage));
    FACT(sysconf(_SC_PAGESIZE));
    FACT(sysconf(_SC_CLK_TCK));
    FACT(umask(022));
    FACT(umask(0777));
    FACT(umask(01234));
    FACT(umask(022));
}

static void randomness(void) {
    unsigned char first[64] = {0}, second[64] = {0};
    FACT(getrandom(first, sizeof first, 0));
    FACT(getrandom(second, sizeof second, GRND_NONBLOCK));
    HOLDS(memcmp(first, second, sizeof first) != 0);
    FACT(getrandom(first, 10, 77));
    FACT(getrandom(first, 0, 0));
    FACT(getrandom(first, 16, GRND_INSECURE | GRND_RANDOM));
    FACT(syscall(SYS_getrandom, 8, 16, 0));
}

static void memory(void) {
    char *start = sbrk(0);
    HOLDS(sbrk(10000) == start);
    start[9999] = 1;
    HOLDS(sbrk(0) == start + 10000);
    HOLDS(sbrk(-10000) == start + 10000);
    HOLDS(sbrk(0) == start);
    HOLDS(sbrk(INT64_MAX) == (void *)-1 && errno == ENOMEM);
    HOLDS((char *)syscall(SYS_brk, 0) == start && (char *)syscall(SYS_brk, 1) == start);
    HOLDS(sbrk(8192) == start);
    HOLDS(start[0] == 0 && start[8191] == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(sbrk(4096) == start + 8192 ? 1 : 2);
    wait_and_show("the child's heap is its own", pid);
    HOLDS(sbrk(0) == start + 8192);
}

static void personalities(void) {
    struct utsname names;
    FACT(personality(0xffffffff));
    FACT(personality(PER_LINUX32));
    FACT(uname(&names));
    printf("%s\n", names.machine);
    FACT(personality(UNAME26));
    FACT(uname(&names));
    printf("%.3s\n", names.release);
    pid_t pid = fork();
    if (pid == 0)
        _exit(personality(0xffffffff) == UNAME26);
    wait_and_show("inherited", pid);
    FACT(personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS));
    FACT(personality(PER_LINUX));
    FACT(personality(0xffffffff));
}

int main(void) {
    begin();
    controls();
    subreaper();
    scheduling();
    personalities();
    shapes();
    randomness();
    memory();
    limits();
    return 0;
}
