/* What users may do to each other, and what capabilities are left when root is given up. */
#include "calls.h"
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define BIT(capability) (1u << ((capability) & 31))

struct sets {
    uint32_t effective[2], permitted[2], inheritable[2];
};

static long capget(pid_t pid, struct sets *sets) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
    struct __user_cap_data_struct data[2];
    long result = syscall(SYS_capget, &header, data);
    for (int i = 0; i < 2 && !result; i++) {
        sets->effective[i] = data[i].effective;
        sets->permitted[i] = data[i].permitted;
        sets->inheritable[i] = data[i].inheritable;
    }
    return result;
}

static long capset(const struct sets *sets) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++)
        data[i] = (struct __user_cap_data_struct){sets->effective[i], sets->permitted[i], sets->inheritable[i]};
    return syscall(SYS_capset, &header, data);
}

/* Those of the low word that every root has, also in a container. */
#define COMMON                                                                                                         \
    (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID) |    \
     BIT(CAP_NET_BIND_SERVICE))

static void show(const char *what) {
    struct sets sets;
    if (capget(0, &sets))
        printf("%s: capget failed\n", what);
    else
        printf("%s: effective %x permitted %x inheritable %x ambient %d%d\n", what, sets.effective[0] & COMMON,
               sets.permitted[0] & COMMON, sets.inheritable[0] & COMMON,
               prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0),
               prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
}

static void dropping(void) {
    show("root");
    FACT(seteuid(1000));
    show("away");
    FACT(seteuid(0));
    show("back");
    FACT(setuid(1000));
    show("gone");
    HOLDS(prctl(PR_GET_DUMPABLE) == 1);
    FACT(prctl(PR_SET_DUMPABLE, 1));
    FACT(prctl(PR_GET_DUMPABLE));
}

static void keeping(void) {
    FACT(prctl(PR_GET_KEEPCAPS));
    FACT(prctl(PR_SET_KEEPCAPS, 1));
    FACT(prctl(PR_SET_KEEPCAPS, 2));
    FACT(setuid(1000));
    show("kept");
    struct sets sets;
    capget(0, &sets);
    sets.effective[0] = sets.permitted[0] = BIT(CAP_KILL) | BIT(CAP_CHOWN);
    sets.effective[1] = sets.permitted[1] = 0;
    sets.inheritable[0] = BIT(CAP_KILL);
    FACT(capset(&sets));
    show("two");
    sets.effective[0] |= BIT(CAP_SETUID);
    FACT(capset(&sets));
    sets.permitted[0] |= BIT(CAP_SETUID);
    FACT(capset(&sets));
    FACT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
    FACT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
    FACT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 63, 0, 0));
    show("ambient");
    execl("/proc/self/exe", "privileges", "show", NULL);
}

static void interfaces(void) {
    struct __user_cap_header_struct header = {0x1234, 0};
    struct __user_cap_data_struct data[2];
    FACT(syscall(SYS_capget, &header, data));
    HOLDS(header.version == _LINUX_CAPABILITY_VERSION_3);
    header.version = 0x1234;
    FACT(syscall(SYS_capget, &header, NULL));
    header = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, 0x3fffffff};
    FACT(syscall(SYS_capget, &header, data));
    FACT(syscall(SYS_capset, &header, data));
    header.pid = -1;
    FACT(syscall(SYS_capget, &header, data));
    FACT(prctl(PR_CAPBSET_READ, CAP_KILL));
    FACT(prctl(PR_CAPBSET_DROP, CAP_KILL));
    FACT(prctl(PR_CAPBSET_READ, CAP_KILL));
    FACT(prctl(PR_CAPBSET_READ, 64));
    FACT(prctl(PR_GET_SECUREBITS));
    FACT(prctl(PR_SET_SECUREBITS, 1 << 4 | 1 << 5));
    FACT(prctl(PR_GET_SECUREBITS));
    FACT(prctl(PR_SET_KEEPCAPS, 0));
    FACT(prctl(PR_SET_SECUREBITS, 1 << 4));
    FACT(setuid(1000));
    FACT(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
    show("with a locked bit");
}

static pid_t sleeper(uid_t real, uid_t effective) {
    int ready[2];
    if (pipe(ready))
        exit(1);
    pid_t child = fork();
    if (!child) {
        if (setresuid(real, effective, effective))
            _exit(1);
        close(ready[0]);
        close(ready[1]);
        for (;;)
            pause();
    }
    char byte;
    close(ready[1]);
    (void)!read(ready[0], &byte, 1); /* end of file: it is who it will be */
    close(ready[0]);
    return child;
}

static volatile sig_atomic_t sender_user = -1;
static void note(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)context;
    sender_user = (int)info->si_uid;
}

static void signalling(void) {
    pid_t same = sleeper(1000, 1000), other = sleeper(1001, 1001), mixed = sleeper(1000, 1001), root = sleeper(0, 0);
    pid_t parent = getpid();
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pid_t child = fork();
    if (!child) {
        FACT(setresuid(1000, 0, 0));
        FACT(kill(parent, SIGUSR1));
        FACT(setresuid(1000, 1002, 1002));
        FACT(kill(same, 0));
        FACT(kill(other, 0));
        FACT(kill(mixed, 0));
        FACT(kill(root, 0));
        FACT(kill(parent, 0));
        FACT(kill(root, SIGCONT)); /* of the same session */
        FACT(kill(other, SIGCONT));
        FACT(syscall(SYS_tgkill, other, other, SIGTERM));
        FACT(setsid() == getpid());
        FACT(kill(root, SIGCONT));
        exit(0);
    }
    wait_and_show("child", child);
    printf("a signal of user %d\n", (int)sender_user);
    child = fork();
    if (!child) {
        FACT(setresuid(1000, 1000, 0));
        FACT(kill(-getpgrp(), 0)); /* one of them is enough */
        FACT(setresuid(77, 77, 77));
        FACT(kill(other, SIGTERM));
        exit(0);
    }
    wait_and_show("child", child);
    siginfo_t info;
    kill(other, SIGTERM);
    FACT(waitid(P_PID, (id_t)other, &info, WEXITED));
    printf("it was of user %d\n", (int)info.si_uid);
    kill(same, SIGKILL);
    kill(mixed, SIGKILL);
    kill(root, SIGKILL);
    wait_and_show("same", same);
    wait_and_show("mixed", mixed);
    wait_and_show("root", root);
}

static void ports(void) {
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
    int first = 0;
    if (!file || fscanf(file, "%d", &first) != 1)
        printf("no first port\n");
    fclose(file);
    FACT(setuid(1000));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(187), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int result = bind(fd, (struct sockaddr *)&name, sizeof name);
    HOLDS((result == -1 && errno == EACCES) == (187 < first));
}

static void socket_privileges(void) {
    static const int options[] = {SO_MARK, SO_PRIORITY, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_DEBUG};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), number = 7;
    for (int user = 0; user < 2; user++) {
        for (size_t i = 0; i < sizeof options / sizeof *options; i++)
            FACT(setsockopt(fd, SOL_SOCKET, options[i], &number, sizeof number));
        if (!user)
            FACT(setuid(1000));
    }
    number = 6;
    FACT(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &number, sizeof number));
    number = 0;
    FACT(setsockopt(fd, SOL_SOCKET, SO_DEBUG, &number, sizeof number));
}

static void limits_and_priorities(void) {
    struct rlimit limit = {100, 200}, shown;
    pid_t other = sleeper(1001, 1001), same = sleeper(1000, 1000);
    FACT(setrlimit(RLIMIT_NOFILE, &limit));
    FACT(setresgid(1000, 1000, 1000));
    FACT(setuid(1000));
    limit.rlim_max = 201;
    FACT(setrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_max = 150;
    FACT(setrlimit(RLIMIT_NOFILE, &limit));
    FACT(prlimit(other, RLIMIT_NOFILE, NULL, &shown));
    FACT(prlimit(same, RLIMIT_NOFILE, NULL, &shown)); /* its groups are others */
    FACT(setpriority(PRIO_PROCESS, 0, 5));
    FACT(getpriority(PRIO_PROCESS, 0));
    FACT(setpriority(PRIO_PROCESS, 0, 10));
    limit = (struct rlimit){0, 0};
    FACT(setrlimit(RLIMIT_NICE, &limit));
    FACT(setpriority(PRIO_PROCESS, 0, 4));
    FACT(setpriority(PRIO_PROCESS, (id_t)other, 19));
    FACT(setpriority(PRIO_PROCESS, (id_t)same, 19));
    exit(0);
}

static void sleepers_end(void) {
    /* Of the case before, which could not end them. */
    FACT(setpriority(PRIO_USER, 98765, 1));
}

static void inspection(void) {
    char path[64], bytes[16];
    pid_t other = sleeper(1001, 1001);
    FACT(setresgid(1000, 1000, 1000));
    FACT(setuid(1000));
    static const char *const names[] = {"status", "stat", "cmdline", "environ", "maps"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", other, names[i]);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? -1 : read(fd, bytes, 1);
        printf("%s: %s\n", names[i], got < 0 ? strerrorname_np(errno) : "readable");
        close(fd);
    }
    static const char *const links[] = {"exe", "cwd", "root", "fd/0"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", other, links[i]);
        ssize_t got = readlink(path, bytes, sizeof bytes);
        printf("%s: %s\n", links[i], got < 0 ? strerrorname_np(errno) : "readable");
    }
    FACT(open("/proc/self/environ", O_RDONLY) >= 0); /* whoever changes his user is looked at by root alone */
    FACT(prctl(PR_SET_DUMPABLE, 1));
    FACT(open("/proc/self/environ", O_RDONLY) >= 0);
}

static void run(const char *name, void (*body)(void)) {
    pid_t child = fork();
    if (!child) {
        setpgid(0, 0);
        printf("== %s\n", name);
        body();
        exit(0);
    }
    wait_and_show(name, child);
    kill(-child, SIGKILL); /* whom it left behind */
}

/* Setting a name would change the machine's. */
static void names(void) {
    FACT(syscall(SYS_sethostname, "name", 65));
    FACT(syscall(SYS_sethostname, "name", -1));
    FACT(syscall(SYS_sethostname, 8, 4));
    FACT(syscall(SYS_setdomainname, "name", 65));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        FACT(setuid(1000));
        FACT(sethostname("name", 4));
        FACT(syscall(SYS_setdomainname, "name", 65));
        _exit(0);
    }
    wait_and_show("a user", pid);
}

int main(int argc, char **argv) {
    (void)argv;
    begin();
    names();
    if (argc > 1) {
        show("a new program");
        return 0;
    }
    FACT(setgroups(0, NULL));
    signal(SIGCHLD, SIG_DFL);
    run("dropping", dropping);
    run("keeping", keeping);
    run("interfaces", interfaces);
    run("signalling", signalling);
    run("ports", ports);
    run("socket_privileges", socket_privileges);
    run("limits_and_priorities", limits_and_priorities);
    run("nobody", sleepers_end);
    run("inspection", inspection);
    return 0;
}
