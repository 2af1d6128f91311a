/* /proc/self and /dev: shapes of what runtimes read. */
#include "calls.h"
#include <dirent.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>

static char text[65536];

static ssize_t slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, strerrorname_np(errno));
        text[0] = '\0';
        return -1;
    }
    ssize_t length = 0, got;
    while ((got = read(fd, text + length, sizeof text - 1 - (size_t)length)) > 0)
        length += got;
    close(fd);
    text[length] = '\0';
    return length;
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void self(const char *program) {
    char path[PATH_MAX] = "", link[PATH_MAX] = "";
    HOLDS(readlink("/proc/self", link, sizeof link) > 0 && atoi(link) == getpid());
    HOLDS(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    HOLDS(strcmp(name_of(path), name_of(program)) == 0);
    HOLDS(slurp("/proc/self/cmdline") == (ssize_t)strlen(program) + 1 && strcmp(text, program) == 0);
    slurp("/proc/self/comm");
    text[strlen(text) - 1] = '\0';
    HOLDS(strlen(text) > 2 && strncmp(text, name_of(program), strlen(text)) == 0);
    slurp("/proc/self/environ");
    size_t length = 0;
    for (char *at = text; *at; at += strlen(at) + 1)
        length++;
    printf("environment: %zu\n", length);
    slurp("/proc/self/stat");
    int pid = 0, parent = 0, group = 0, session = 0, fields = 1;
    char state = 0;
    char *rest = strrchr(text, ')');
    HOLDS(sscanf(text, "%d", &pid) == 1 && pid == getpid());
    HOLDS(sscanf(rest + 2, "%c %d %d %d", &state, &parent, &group, &session) == 4);
    printf("state %c, parent %d, group %d, session %d\n", state, parent == getppid() || parent == 1, group == getpgrp(),
           session == getsid(0));
    for (char *at = rest; *at; at++)
        fields += *at == ' ';
    printf("fields %d\n", fields + 1);
    slurp("/proc/self/status");
    static const char *const keys[] = {"Name:\t",
                                       "\nUmask:\t0022\n",
                                       "\nState:\tR (running)\n",
                                       "\nTgid:\t",
                                       "\nPid:\t",
                                       "\nPPid:\t",
                                       "\nTracerPid:\t0\n",
                                       "\nUid:\t0\t0\t0\t0\n",
                                       "\nFDSize:\t",
                                       "\nVmSize:\t",
                                       "\nVmRSS:\t",
                                       "\nThreads:\t1\n",
                                       "\nSigBlk:\t",
                                       "\nSigIgn:\t",
                                       "\nSigCgt:\t",
                                       "\nCapEff:\t",
                                       "\nCpus_allowed:\t",
                                       "\nvoluntary_ctxt_switches:\t"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strstr(text, keys[i]))
            printf("status lacks %s\n", keys[i] + (keys[i][0] == '\n'));
    HOLDS(slurp("/proc/self/statm") > 0 && sscanf(text, "%*d %*d %*d %*d %*d %*d %d", &fields) == 1);
    HOLDS(slurp("/proc/self/limits") > 0 && strstr(text, "Max open files") != NULL);
    HOLDS(readlink("/proc/self/cwd", path, sizeof path) > 0 && getcwd(link, sizeof link) &&
          strncmp(path, link, strlen(link)) == 0);
    HOLDS(readlink("/proc/self/root", path, sizeof path) == 1 && path[0] == '/');
    HOLDS(slurp("/proc/self/task/1/stat") < 0);
    slurp("/proc/self/missing");
    slurp("/proc/999999999/stat");
}

static void descriptors(void) {
    char path[64], link[PATH_MAX];
    int fd = open("file", O_CREAT | O_RDWR, 0600), pipes[2];
    (void)!write(fd, "text", 4);
    (void)!pipe(pipes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memset(link, 0, sizeof link);
    HOLDS(readlink(path, link, sizeof link) > 0 && strcmp(name_of(link), "file") == 0);
    int again = open(path, O_RDONLY);
    HOLDS(again >= 0 && lseek(again, 0, SEEK_CUR) == 0 && read(again, link, 10) == 4);
    close(again);
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    HOLDS(access(path, R_OK) == 0);
    unlink("file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memset(link, 0, sizeof link);
    HOLDS(readlink(path, link, sizeof link) > 0 && strstr(link, "file (deleted)") != NULL);
    snprintf(path, sizeof path, "/proc/self/fd/%d", pipes[0]);
    memset(link, 0, sizeof link);
    HOLDS(readlink(path, link, sizeof link) > 0 && strncmp(link, "pipe:[", 6) == 0);
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    printf("descriptors: %d\n", count - 2);
    HOLDS(open("/proc/self/fd/999", O_RDONLY) < 0 && errno == ENOENT);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
}

/* What the line of /proc/self/maps of an address says behind the addresses. */
static void show_mapping(const char *what, const void *address) {
    uintptr_t wanted = (uintptr_t)address;
    slurp("/proc/self/maps");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long start, end, offset, inode;
        char permissions[8], device[16], name[PATH_MAX] = "";
        int got = sscanf(line, "%lx-%lx %7s %lx %15s %lu %s", &start, &end, permissions, &offset, device, &inode, name);
        if (got < 6 || wanted < start || wanted >= end)
            continue;
        printf("%s: %s %lx, inode %d, %s, name at %d\n", what, permissions, offset, inode != 0, name_of(name),
               name[0] ? (int)(strstr(line, name) - line) : 0);
        return;
    }
    printf("%s: in no mapping\n", what);
}

static void mappings(void) {
    static int in_data = 1;
    int local = 0, fd = open("mapped", O_CREAT | O_RDWR, 0600);
    void *heap = sbrk(4096);
    (void)!ftruncate(fd, 8192);
    void *file = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
    void *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show_mapping("code", (const void *)(uintptr_t)show_mapping);
    show_mapping("data", &in_data);
    show_mapping("heap", heap);
    show_mapping("stack", &local);
    show_mapping("file", file);
    show_mapping("no access", nothing);
    show_mapping("libc", (const void *)(uintptr_t)puts);
    slurp("/proc/self/maps");
    size_t stacks = 0, heaps = 0;
    for (char *at = text; (at = strstr(at, "[stack]")) != NULL; at++)
        stacks++;
    for (char *at = text; (at = strstr(at, "[heap]")) != NULL; at++)
        heaps++;
    printf("stacks %zu, heaps %zu\n", stacks, heaps);
    unsigned long last = 0;
    bool ordered = true;
    slurp("/proc/self/maps");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) == 2) {
            ordered &= start >= last && end > start;
            last = end;
        }
    }
    HOLDS(ordered);
    unlink("mapped");
    close(fd);
}

static void devices(void) {
    char bytes[16] = "xxxxxxxxxxxxxxx", other[16];
    int fd = open("/dev/null", O_RDWR);
    FACT(write(fd, bytes, 10));
    FACT(read(fd, bytes, 10));
    close(fd);
    fd = open("/dev/zero", O_RDWR);
    FACT(read(fd, bytes, 10));
    FACT(write(fd, bytes, 10));
    printf("%d %d\n", bytes[0], bytes[9]);
    close(fd);
    fd = open("/dev/full", O_RDWR);
    FACT(write(fd, bytes, 10));
    close(fd);
    fd = open("/dev/urandom", O_RDONLY);
    HOLDS(read(fd, bytes, 16) == 16 && read(fd, other, 16) == 16 && memcmp(bytes, other, 16) != 0);
    close(fd);
    struct stat status;
    FACT(stat("/dev/urandom", &status));
    printf("mode %o, device %lx\n", status.st_mode, (unsigned long)status.st_rdev);
    FACT(stat("/dev/null", &status));
    printf("mode %o, device %lx\n", status.st_mode, (unsigned long)status.st_rdev);
    static const char *const files[] = {"/proc/cpuinfo",
                                        "/proc/meminfo",
                                        "/proc/stat",
                                        "/proc/uptime",
                                        "/proc/loadavg",
                                        "/proc/version",
                                        "/proc/filesystems",
                                        "/proc/mounts",
                                        "/proc/self/mountinfo",
                                        "/proc/self/cgroup",
                                        "/proc/sys/kernel/osrelease",
                                        "/proc/sys/kernel/random/uuid",
                                        "/sys/devices/system/cpu/online",
                                        "/proc/sys/vm/overcommit_memory"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ssize_t length = slurp(files[i]);
        printf("%s: %s\n", files[i],
               length > 0 && text[length - 1] == '\n' ? "lines"
               : length == 0                          ? "empty"
                                                      : "other");
    }
}

int main(int count, char **arguments) {
    begin();
    umask(022);
    (void)count;
    self(arguments[0]);
    descriptors();
    mappings();
    devices();
    return 0;
}
