/* Descriptors, real and virtual files, pipes, and what moves bytes between them (file.c fs.c path.c inode.c namespace.c
 * virtual.c pipe.c splice.c). Real files are below a temporary directory, which is the host's own. */
#define _GNU_SOURCE
#include "harness.h"

#include "hot/kernel/fdtable.h"
#include "hot/kernel/fs.h"
#include "hot/kernel/syscall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALL(task, number, ...) call(task, SYS_##number, (const uint64_t[6]){__VA_ARGS__})
#define P(pointer) ((uint64_t)(uintptr_t)(pointer))

static int64_t call(struct task *task, uint64_t number, const uint64_t *arguments) {
    return syscall_dispatch(task, number, arguments);
}

static char directory[40];

static struct network *world(void) {
    struct network *network = network_create(1, 7);
    struct host *host = network->hosts[0];
    snprintf(host->directory, sizeof host->directory, "%s/own", directory);
    snprintf(host->hosts_file, sizeof host->hosts_file, "%s/etc", directory);
    return network;
}

static void fresh_directory(void) {
    char command[400];
    snprintf(command, sizeof command,
             "rm -rf %s/own %s/etc && mkdir %s/own %s/etc && echo 10.0.0.1 host1 > %s/etc/hosts", directory, directory,
             directory, directory, directory);
    CHECK(system(command) == 0);
    char own[60];
    snprintf(own, sizeof own, "%s/own", directory);
    CHECK(chdir(own) == 0);
}

static struct task *begin(struct network **network) {
    fresh_directory();
    *network = world();
    struct task *task = task_fake((*network)->hosts[0]);
    task->process->umask = 022;
    return task;
}

static int create_file(struct task *task, const char *name, const char *text) {
    int fd = (int)CALL(task, open, P(name), O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK_EQUAL(CALL(task, write, (uint64_t)fd, P(text), strlen(text)), (int64_t)strlen(text));
    return fd;
}

static void a_descriptor_takes_the_lowest_free_number(void) {
    struct network *network;
    struct task *task = begin(&network);
    int fds[2];
    CHECK_EQUAL(CALL(task, pipe, P(fds)), 0);
    CHECK_EQUAL(fds[0], 0);
    CHECK_EQUAL(fds[1], 1);
    CHECK_EQUAL(CALL(task, dup, 0), 2);
    CHECK_EQUAL(CALL(task, fcntl, 1, F_DUPFD_CLOEXEC, 70), 70);
    CHECK_EQUAL(CALL(task, fcntl, 70, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(CALL(task, close, 0), 0);
    CHECK_EQUAL(CALL(task, close, 0), -EBADF);
    CHECK_EQUAL(CALL(task, dup, 1), 0);
    CHECK_EQUAL(CALL(task, dup, 1), 3);
    CHECK_EQUAL(CALL(task, dup2, 1, 1), 1);
    CHECK_EQUAL(CALL(task, dup2, 1, 1023), 1023);
    CHECK_EQUAL(CALL(task, dup2, 1, 1024), -EBADF);
    CHECK_EQUAL(CALL(task, dup3, 1, 1, 0), -EINVAL);
    CHECK_EQUAL(CALL(task, fcntl, 1, F_DUPFD, 1024), -EINVAL);
    CHECK_EQUAL(CALL(task, fcntl, 1, F_DUPFD, 1023), -EMFILE);
    fd_table_exec(task);
    CHECK_EQUAL(CALL(task, fcntl, 70, F_GETFD), -EBADF);
    CHECK_EQUAL(CALL(task, close_range, 2, UINT32_MAX, 0), 0);
    CHECK_EQUAL(CALL(task, dup, 1), 2);
    network_free(network);
}

static void a_forked_table_shares_descriptions_but_not_numbers(void) {
    struct network *network;
    struct task *task = begin(&network);
    struct host *host = network->hosts[0];
    int fds[2];
    char c = 'x';
    CHECK_EQUAL(CALL(task, pipe, P(fds)), 0);
    struct fd_table *copy = fd_table_copy(host, task->process->files);
    CHECK(copy);
    CHECK_EQUAL(CALL(task, close, 1), 0);
    CHECK_EQUAL(CALL(task, fcntl, 0, F_SETFL, O_NONBLOCK), 0);
    CHECK_EQUAL(CALL(task, read, 0, P(&c), 1), -EAGAIN);
    fd_table_put(host, copy, false);
    CHECK_EQUAL(CALL(task, read, 0, P(&c), 1), 0);
    network_free(network);
}

static void a_file_that_a_program_writes_shows_virtual_time_and_owner(void) {
    struct network *network;
    struct task *task = begin(&network);
    network_run_until(network, 5 * NS_PER_S + 30);
    int fd = create_file(task, "out.txt", "hello");
    network_run_until(network, 7 * NS_PER_S);
    struct stat status;
    CHECK_EQUAL(CALL(task, fstat, (uint64_t)fd, P(&status)), 0);
    CHECK_EQUAL(status.st_mtim.tv_sec, EPOCH_SECONDS + 5);
    CHECK_EQUAL(status.st_mtim.tv_nsec, 30);
    CHECK_EQUAL(status.st_uid, 0);
    CHECK_EQUAL(status.st_size, 5);
    CHECK_EQUAL(status.st_blocks, 8);
    CHECK_EQUAL(status.st_mode, S_IFREG | 0644);
    CHECK_EQUAL(CALL(task, write, (uint64_t)fd, P("!"), 1), 1);
    struct stat later;
    CHECK_EQUAL(CALL(task, stat, P("/srv/host1/out.txt"), P(&later)), 0);
    CHECK_EQUAL(later.st_mtim.tv_sec, EPOCH_SECONDS + 7);
    CHECK_EQUAL(later.st_ino, status.st_ino);
    CHECK_EQUAL(CALL(task, stat, P("."), P(&later)), 0);
    CHECK_EQUAL(later.st_mtim.tv_sec, EPOCH_SECONDS + 5);
    const struct timespec times[2] = {{1000, 1}, {0, UTIME_OMIT}};
    CHECK_EQUAL(CALL(task, utimensat, (uint64_t)AT_FDCWD, P("out.txt"), P(times), 0), 0);
    CHECK_EQUAL(CALL(task, stat, P("out.txt"), P(&later)), 0);
    CHECK_EQUAL(later.st_atim.tv_sec, 1000);
    CHECK_EQUAL(later.st_mtim.tv_sec, EPOCH_SECONDS + 7);
    struct statx extended;
    CHECK_EQUAL(CALL(task, statx, (uint64_t)fd, P(""), AT_EMPTY_PATH, STATX_BASIC_STATS, P(&extended)), 0);
    CHECK_EQUAL(extended.stx_size, 6);
    CHECK_EQUAL(extended.stx_mtime.tv_sec, EPOCH_SECONDS + 7);
    network_free(network);
}

static void an_input_keeps_its_real_time_and_an_untouched_own_file_shows_the_epoch(void) {
    struct network *network;
    struct task *task = begin(&network);
    CHECK(system("touch untouched") == 0);
    network_run_until(network, NS_PER_S);
    struct stat seen, real;
    CHECK_EQUAL(CALL(task, stat, P("untouched"), P(&seen)), 0);
    CHECK_EQUAL(seen.st_mtim.tv_sec, EPOCH_SECONDS);
    CHECK_EQUAL(CALL(task, stat, P("/bin/sh"), P(&seen)), 0);
    CHECK(stat("/bin/sh", &real) == 0);
    CHECK_EQUAL(seen.st_mtim.tv_sec, real.st_mtim.tv_sec);
    CHECK_EQUAL(seen.st_atim.tv_sec, real.st_mtim.tv_sec);
    CHECK(seen.st_ino != real.st_ino);
    network_free(network);
}

static void a_new_file_gets_a_new_number_even_if_the_real_one_is_reused(void) {
    struct network *network;
    struct task *task = begin(&network);
    struct stat first, second;
    CHECK_EQUAL(CALL(task, close, (uint64_t)create_file(task, "a", "1")), 0);
    CHECK_EQUAL(CALL(task, stat, P("a"), P(&first)), 0);
    CHECK_EQUAL(CALL(task, unlink, P("a")), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)create_file(task, "a", "2")), 0);
    CHECK_EQUAL(CALL(task, stat, P("a"), P(&second)), 0);
    CHECK_EQUAL(second.st_ino, first.st_ino + 2); /* the directory was seen in between */
    network_free(network);
}

static void positions_and_vectors_work_as_in_linux(void) {
    struct network *network;
    struct task *task = begin(&network);
    uint64_t fd = (uint64_t)create_file(task, "f", "0123456789");
    char bytes[16] = {0};
    CHECK_EQUAL(CALL(task, lseek, fd, 4, SEEK_SET), 4);
    CHECK_EQUAL(CALL(task, read, fd, P(bytes), 3), 3);
    CHECK(memcmp(bytes, "456", 3) == 0);
    CHECK_EQUAL(CALL(task, pread64, fd, P(bytes), 2, 8), 2);
    CHECK(memcmp(bytes, "89", 2) == 0);
    CHECK_EQUAL(CALL(task, lseek, fd, 0, SEEK_CUR), 7);
    CHECK_EQUAL(CALL(task, lseek, fd, 3, SEEK_HOLE), 10);
    CHECK_EQUAL(CALL(task, lseek, fd, 3, SEEK_DATA), 3);
    CHECK_EQUAL(CALL(task, lseek, fd, 10, SEEK_DATA), -ENXIO);
    struct iovec parts[2] = {{bytes, 1}, {bytes + 8, 2}};
    CHECK_EQUAL(CALL(task, preadv, fd, P(parts), 2, 5), 3);
    CHECK(bytes[0] == '5' && bytes[8] == '6' && bytes[9] == '7');
    struct iovec many[20];
    for (size_t i = 0; i < 20; i++)
        many[i] = (struct iovec){bytes, i % 2};
    CHECK_EQUAL(CALL(task, pwritev, fd, P(many), 20, 0), 10);
    CHECK_EQUAL(CALL(task, readv, fd, P(parts), 1025), -EINVAL);
    CHECK_EQUAL(CALL(task, read, fd, 8, 1), -EFAULT);
    CHECK_EQUAL(CALL(task, pread64, fd, P(bytes), 1, (uint64_t)-1), -EINVAL);
    uint64_t reader = (uint64_t)CALL(task, open, P("f"), O_RDONLY);
    CHECK_EQUAL(CALL(task, write, reader, P("x"), 1), -EBADF);
    CHECK_EQUAL(CALL(task, fcntl, reader, F_GETFL), 0100000);
    CHECK_EQUAL(CALL(task, ftruncate, fd, 2), 0);
    CHECK_EQUAL(CALL(task, lseek, fd, 0, SEEK_END), 2);
    network_free(network);
}

static void directories_are_listed_in_order_of_name(void) {
    struct network *network;
    struct task *task = begin(&network);
    CHECK(system("touch zebra b a10 a2 .hidden '#sharp'; mkdir directory") == 0);
    uint64_t fd = (uint64_t)CALL(task, open, P("."), O_RDONLY | O_DIRECTORY);
    const char *const names[] = {".", "..", "#sharp", ".hidden", "a10", "a2", "b", "directory", "zebra"};
    for (int round = 0; round < 2; round++) {
        char buffer[80];
        size_t seen = 0;
        for (int64_t length; (length = CALL(task, getdents64, fd, P(buffer), sizeof buffer)) != 0;) {
            CHECK(length > 0);
            for (int64_t at = 0; at < length;) {
                uint16_t size;
                memcpy(&size, buffer + at + 16, sizeof size);
                CHECK(seen < ARRAY_LENGTH(names) && strcmp(buffer + at + 19, names[seen]) == 0);
                CHECK_EQUAL(buffer[at + 18], seen < 2 || seen == 7 ? DT_DIR : DT_REG);
                seen++;
                at += size;
            }
        }
        CHECK_EQUAL(seen, ARRAY_LENGTH(names));
        CHECK_EQUAL(CALL(task, lseek, fd, 0, SEEK_SET), 0);
    }
    char tiny[10];
    CHECK_EQUAL(CALL(task, getdents64, fd, P(tiny), sizeof tiny), -EINVAL);
    CHECK_EQUAL(CALL(task, read, fd, P(tiny), 1), -EISDIR);
    network_free(network);
}

static void expect_link(struct task *task, const char *name, const char *target) {
    char bytes[200] = {0};
    CHECK_EQUAL(CALL(task, readlink, P(name), P(bytes), sizeof bytes - 1), (int64_t)strlen(target));
    CHECK(strcmp(bytes, target) == 0);
}

static void the_own_directory_has_the_same_name_wherever_the_run_is(void) {
    struct network *network;
    struct task *task = begin(&network);
    char name[100];
    CHECK_EQUAL(CALL(task, getcwd, P(name), sizeof name), 11);
    CHECK(strcmp(name, "/srv/host1") == 0);
    CHECK_EQUAL(CALL(task, getcwd, P(name), 10), -ERANGE);
    CHECK_EQUAL(CALL(task, mkdir, P("/srv/host1/sub"), 0755), 0);
    CHECK_EQUAL(CALL(task, chdir, P("sub")), 0);
    create_file(task, "/srv/host1/sub/../x", "x");
    expect_link(task, "/proc/self/cwd", "/srv/host1/sub");
    expect_link(task, "/proc/self/fd/0", "/srv/host1/x");
    CHECK_EQUAL(CALL(task, access, P("../x"), 0), 0);
    CHECK_EQUAL(CALL(task, symlink, P("/srv/host1/x"), P("link")), 0);
    expect_link(task, "link", "/srv/host1/x");
    CHECK(CALL(task, open, P("link"), O_RDONLY) >= 0);
    CHECK_EQUAL(CALL(task, open, P("link"), O_RDONLY | O_NOFOLLOW), -ELOOP);
    CHECK_EQUAL(CALL(task, access, P("/srv/other"), 0), -ENOENT);
    /* From a real directory above it, step by step. */
    int64_t root = CALL(task, open, P("/"), O_RDONLY | O_DIRECTORY);
    CHECK_EQUAL(CALL(task, faccessat, (uint64_t)root, P("srv/host1/x"), 0), 0);
    int64_t own = CALL(task, openat, (uint64_t)root, P("srv/host1"), O_RDONLY | O_DIRECTORY);
    CHECK_EQUAL(CALL(task, faccessat, (uint64_t)own, P("x"), 0), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)own), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)root), 0);
    CHECK_EQUAL(CALL(task, access, P("../../own/x"), 0), -ENOENT);
    char real[200];
    CHECK_EQUAL(fs_resolve_path(task, AT_FDCWD, "../socket", real, sizeof real), 0);
    snprintf(name, sizeof name, "%s/own/socket", directory);
    CHECK(strcmp(real, name) == 0);
    CHECK_EQUAL(fs_resolve_path(task, AT_FDCWD, "/bin/sh", real, sizeof real), 0);
    CHECK(strcmp(real, "/bin/sh") == 0);
    network_free(network);
}

static void names_change_as_the_real_directory_does(void) {
    struct network *network;
    struct task *task = begin(&network);
    CHECK_EQUAL(CALL(task, mkdir, P("d"), 0777), 0);
    CHECK_EQUAL(CALL(task, mkdir, P("d"), 0777), -EEXIST);
    CHECK_EQUAL(CALL(task, close, (uint64_t)create_file(task, "d/f", "f")), 0);
    CHECK_EQUAL(CALL(task, rmdir, P("d")), -ENOTEMPTY);
    CHECK_EQUAL(CALL(task, rename, P("d/f"), P("/srv/host1/g")), 0);
    CHECK_EQUAL(CALL(task, link, P("g"), P("h")), 0);
    struct stat status;
    CHECK_EQUAL(CALL(task, stat, P("h"), P(&status)), 0);
    CHECK_EQUAL(status.st_nlink, 2);
    CHECK_EQUAL(CALL(task, chmod, P("h"), 0600), 0);
    CHECK_EQUAL(CALL(task, chown, P("h"), 12, 13), 0);
    CHECK_EQUAL(CALL(task, stat, P("g"), P(&status)), 0);
    CHECK_EQUAL(status.st_mode & 07777, 0600);
    CHECK_EQUAL(status.st_uid, 12);
    CHECK_EQUAL(status.st_gid, 13);
    CHECK_EQUAL(CALL(task, unlink, P("g")), 0);
    CHECK_EQUAL(CALL(task, unlink, P("g")), -ENOENT);
    CHECK_EQUAL(CALL(task, rmdir, P("d")), 0);
    CHECK_EQUAL(CALL(task, umask, 077), 022);
    create_file(task, "private", "");
    CHECK_EQUAL(CALL(task, stat, P("private"), P(&status)), 0);
    CHECK_EQUAL(status.st_mode & 07777, 0600);
    CHECK_EQUAL(CALL(task, umask, 022), 077);
    CHECK_EQUAL(CALL(task, mknod, P("device"), S_IFCHR | 0600, 1), -EPERM);
    CHECK_EQUAL(CALL(task, truncate, P("private"), 10), 0);
    CHECK_EQUAL(CALL(task, getxattr, P("private"), P("user.x"), 0, 0), -EOPNOTSUPP);
    network_free(network);
}

/* Random paths that stay inside the own directory: the same result, and the same file, as without a simulation. */
static void paths_lead_where_they_lead_without_a_simulation(void) {
    struct network *network;
    struct task *task = begin(&network);
    CHECK(system("mkdir -p a/b c && touch a/f a/b/f && ln -s ../a c/l && ln -s b/f a/s && ln -s nowhere a/n") == 0);
    CHECK(chdir("a") == 0);
    static const char *const parts[] = {".", "", "b", "f", "s", "n", "l", "..", "../c", "../a", "x"};
    uint64_t state = 11;
    for (int round = 0; round < 5000; round++) {
        char path[100] = "", real_path[200];
        bool absolute = test_random(&state) % 4 == 0;
        int depth = 1 + (int)(test_random(&state) % 4), climbed = absolute ? 1 : 0;
        for (int i = 0; i < depth; i++) {
            const char *part = parts[test_random(&state) % ARRAY_LENGTH(parts)];
            climbed += strcmp(part, "..") == 0; /* once at most: a name above the own directory is another one */
            if (climbed > 1)
                continue;
            strcat(path, part);
            if (i + 1 < depth || test_random(&state) % 3 == 0)
                strcat(path, "/");
        }
        if (!absolute && path[0] == '/')
            continue;
        snprintf(real_path, sizeof real_path, "%s%s", absolute ? directory : "", absolute ? "/own/" : "");
        strcat(real_path, path);
        char given[150];
        snprintf(given, sizeof given, "%s%s", absolute ? "/srv/host1/" : "", path);
        struct stat seen, real;
        int flags = test_random(&state) % 2 ? AT_SYMLINK_NOFOLLOW : 0;
        int64_t expected = fstatat(AT_FDCWD, real_path, &real, flags) ? -errno : 0;
        int64_t result = CALL(task, newfstatat, (uint64_t)AT_FDCWD, P(given), P(&seen), (uint64_t)flags);
        if (result != expected)
            fprintf(stderr, "  %s\n", given);
        CHECK_EQUAL(result, expected);
        if (result)
            continue;
        CHECK_EQUAL(seen.st_mode, real.st_mode);
        struct stat again; /* by the name that it has outside */
        CHECK_EQUAL(CALL(task, newfstatat, (uint64_t)AT_FDCWD, P(real_path), P(&again), (uint64_t)flags), 0);
        CHECK_EQUAL(seen.st_ino, again.st_ino);
    }
    network_free(network);
}

static int64_t contents(struct task *task, const char *name, char *bytes, size_t capacity) {
    int64_t fd = CALL(task, open, P(name), O_RDONLY);
    if (fd < 0)
        return fd;
    int64_t length = CALL(task, read, (uint64_t)fd, P(bytes), capacity - 1);
    CHECK(length >= 0);
    bytes[length] = '\0';
    CHECK_EQUAL(CALL(task, close, (uint64_t)fd), 0);
    return length;
}

static void generated_files_describe_the_simulated_machine(void) {
    struct network *network;
    struct task *task = begin(&network);
    char bytes[4096], expected[100];
    CHECK(contents(task, "/etc/hosts", bytes, sizeof bytes) > 0 && strcmp(bytes, "10.0.0.1 host1\n") == 0);
    CHECK_EQUAL(CALL(task, open, P("/etc/hosts"), O_WRONLY), -EROFS);
    CHECK_EQUAL(CALL(task, unlink, P("/etc/hosts")), -EROFS);
    CHECK(contents(task, "/proc/cpuinfo", bytes, sizeof bytes) > 0 && strstr(bytes, "Antumbra Virtual CPU"));
    CHECK(contents(task, "/proc/sys/kernel/hostname", bytes, sizeof bytes) > 0 && strcmp(bytes, "host1\n") == 0);
    CHECK(contents(task, "/sys/devices/system/cpu/online", bytes, sizeof bytes) > 0 && strcmp(bytes, "0\n") == 0);
    CHECK(contents(task, "/proc/self/stat", bytes, sizeof bytes) > 0);
    snprintf(expected, sizeof expected, "%d (", task->process->pid);
    CHECK(strncmp(bytes, expected, strlen(expected)) == 0);
    CHECK(contents(task, "/proc/self/status", bytes, sizeof bytes) > 0 && strstr(bytes, "Uid:\t0\t0\t0\t0\n"));
    CHECK(contents(task, "/proc/self/maps", bytes, sizeof bytes) > 0);
    CHECK(contents(task, "/proc/mounts", bytes, sizeof bytes) > 0);
    snprintf(expected, sizeof expected, "%d", task->process->pid);
    expect_link(task, "/proc/self", expected);
    CHECK_EQUAL(contents(task, "/sys/fs/cgroup/cpu.max", bytes, sizeof bytes), -ENOENT);
    CHECK_EQUAL(contents(task, "/proc/1/stat", bytes, sizeof bytes), -ENOENT);
    CHECK_EQUAL(contents(task, "/dev/tty", bytes, sizeof bytes), -ENXIO);
    CHECK_EQUAL(CALL(task, access, P("/dev/null"), 0), 0);
    CHECK_EQUAL(CALL(task, open, P("/proc/uptime"), O_WRONLY), -EACCES);
    CHECK_EQUAL(CALL(task, unlink, P("/proc/uptime")), -EPERM);
    int64_t fd = CALL(task, open, P("/proc/uptime"), O_RDONLY);
    CHECK_EQUAL(CALL(task, read, (uint64_t)fd, P(bytes), 4), 4);
    CHECK(memcmp(bytes, "1000", 4) == 0);
    CHECK_EQUAL(CALL(task, lseek, (uint64_t)fd, 5, SEEK_SET), 5);
    struct stat status;
    CHECK_EQUAL(CALL(task, fstat, (uint64_t)fd, P(&status)), 0);
    CHECK_EQUAL(status.st_mode, S_IFREG | 0444);
    CHECK_EQUAL(CALL(task, stat, P("/dev/urandom"), P(&status)), 0);
    CHECK_EQUAL(status.st_mode, S_IFCHR | 0666);
    int64_t proc = CALL(task, open, P("/proc/self/fd"), O_RDONLY | O_DIRECTORY);
    CHECK(CALL(task, getdents64, (uint64_t)proc, P(bytes), sizeof bytes) == 24 * 2 + 24 * (proc + 1));
    int64_t relative = CALL(task, openat, (uint64_t)CALL(task, open, P("/proc/sys"), O_RDONLY), P("kernel/pid_max"), 0);
    CHECK(relative >= 0);
    network_free(network);
}

static void random_bytes_depend_on_the_seed_only(void) {
    uint8_t bytes[2][300];
    char uuid[2][64];
    for (int round = 0; round < 2; round++) {
        struct network *network;
        struct task *task = begin(&network);
        int64_t fd = CALL(task, open, P("/dev/urandom"), O_RDWR);
        CHECK_EQUAL(CALL(task, read, (uint64_t)fd, P(bytes[round]), 300), 300);
        CHECK_EQUAL(CALL(task, write, (uint64_t)fd, P("entropy"), 7), 7);
        CHECK_EQUAL(contents(task, "/proc/sys/kernel/random/uuid", uuid[round], 64), 37);
        CHECK_EQUAL(uuid[round][14], '4');
        network_free(network);
    }
    CHECK(memcmp(bytes[0], bytes[1], 300) == 0);
    CHECK(strcmp(uuid[0], uuid[1]) == 0);
}

static void an_open_file_can_be_opened_again_by_its_number(void) {
    struct network *network;
    struct task *task = begin(&network);
    create_file(task, "f", "text");
    char bytes[8] = {0};
    CHECK_EQUAL(contents(task, "/dev/stdin", bytes, sizeof bytes), 4);
    CHECK(strcmp(bytes, "text") == 0);
    CHECK_EQUAL(contents(task, "/dev/fd/0", bytes, sizeof bytes), 4);
    CHECK_EQUAL(contents(task, "/dev/fd/9", bytes, sizeof bytes), -ENOENT);
    int fds[2];
    CHECK_EQUAL(CALL(task, pipe, P(fds)), 0);
    CHECK_EQUAL(CALL(task, write, 2, P("pipe"), 4), 4);
    CHECK_EQUAL(contents(task, "/proc/self/fd/1", bytes, sizeof bytes), 4);
    CHECK(strcmp(bytes, "pipe") == 0);
    int64_t writer = CALL(task, open, P("/dev/fd/1"), O_WRONLY);
    CHECK_EQUAL(CALL(task, write, (uint64_t)writer, P("more"), 4), 4);
    CHECK_EQUAL(CALL(task, read, 1, P(bytes), 8), 4);
    struct stat ends[2];
    CHECK_EQUAL(CALL(task, fstat, 1, P(&ends[0])), 0);
    CHECK_EQUAL(CALL(task, fstat, 2, P(&ends[1])), 0);
    CHECK_EQUAL(ends[0].st_ino, ends[1].st_ino);
    CHECK_EQUAL(ends[0].st_mode, S_IFIFO | 0600);
    network_free(network);
}

static int signals_seen;

static void a_pipe_without_readers_breaks(void) {
    struct network *network;
    struct task *task = begin(&network);
    int fds[2];
    CHECK_EQUAL(CALL(task, pipe2, P(fds), O_NONBLOCK), 0);
    char bytes[5000];
    memset(bytes, 'a', sizeof bytes);
    for (int i = 0; i < 10; i++)
        CHECK_EQUAL(CALL(task, write, 1, P(bytes), 5000), 5000); /* two of them take three pages */
    CHECK_EQUAL(CALL(task, write, 1, P(bytes), 5000), 4096);
    CHECK_EQUAL(CALL(task, write, 1, P(bytes), 1), -EAGAIN);
    int unread;
    CHECK_EQUAL(CALL(task, ioctl, 0, FIONREAD, P(&unread)), 0);
    CHECK_EQUAL(unread, 54096);
    CHECK_EQUAL(CALL(task, fcntl, 0, F_SETPIPE_SZ, 4096), -EBUSY);
    CHECK_EQUAL(CALL(task, fcntl, 0, F_SETPIPE_SZ, 100000), 131072);
    CHECK_EQUAL(CALL(task, write, 1, P(bytes), 1), 1);
    CHECK_EQUAL(CALL(task, lseek, 0, 0, SEEK_CUR), -ESPIPE);
    CHECK_EQUAL(CALL(task, pread64, 0, P(bytes), 1, 0), -ESPIPE);
    CHECK_EQUAL(CALL(task, close, 0), 0);
    task->signal_mask = ~UINT64_C(0);
    CHECK_EQUAL(CALL(task, write, 1, P(bytes), 1), -EPIPE);
    CHECK((task->signals.set >> (13 - 1)) & 1);
    network_free(network);
}

static void packets_of_a_pipe_are_read_one_at_a_time(void) {
    struct network *network;
    struct task *task = begin(&network);
    int fds[2];
    CHECK_EQUAL(CALL(task, pipe2, P(fds), O_NONBLOCK | O_DIRECT), 0);
    char bytes[6000];
    memset(bytes, 'a', sizeof bytes);
    CHECK_EQUAL(CALL(task, write, 1, P(bytes), 3), 3);
    CHECK_EQUAL(CALL(task, write, 1, P(bytes), 6000), 6000);
    CHECK_EQUAL(CALL(task, read, 0, P(bytes), sizeof bytes), 3);
    CHECK_EQUAL(CALL(task, read, 0, P(bytes), 10), 10); /* the rest of it is lost */
    CHECK_EQUAL(CALL(task, read, 0, P(bytes), sizeof bytes), 6000 - 4096);
    CHECK_EQUAL(CALL(task, read, 0, P(bytes), sizeof bytes), -EAGAIN);
    network_free(network);
}

static void a_pipe_keeps_its_bytes_when_its_size_changes(void) {
    struct network *network;
    struct task *task = begin(&network);
    int fds[2];
    CHECK_EQUAL(CALL(task, pipe2, P(fds), O_NONBLOCK), 0);
    static uint8_t in[40000], out[40000];
    test_pattern(in, sizeof in, 0, 5);
    CHECK_EQUAL(CALL(task, write, 1, P(in), 30000), 30000);
    CHECK_EQUAL(CALL(task, read, 0, P(out), 10000), 10000);
    CHECK_EQUAL(CALL(task, write, 1, P(in + 30000), 10000), 10000);
    CHECK_EQUAL(CALL(task, fcntl, 0, F_SETPIPE_SZ, 30000), 32768);
    CHECK_EQUAL(CALL(task, fcntl, 0, F_SETPIPE_SZ, 1 << 20), 1 << 20);
    CHECK_EQUAL(CALL(task, fcntl, 0, F_SETPIPE_SZ, UINT32_MAX), -EINVAL);
    CHECK_EQUAL(CALL(task, read, 0, P(out + 10000), 30000), 30000);
    CHECK(memcmp(in, out, sizeof in) == 0);
    network_free(network);
}

static void a_fifo_is_a_pipe_with_a_name(void) {
    struct network *network;
    struct task *task = begin(&network);
    char bytes[8];
    struct pollfd polled = {.fd = 0, .events = POLLIN};
    CHECK_EQUAL(CALL(task, mknod, P("fifo"), S_IFIFO | 0600), 0);
    CHECK_EQUAL(CALL(task, mknod, P("fifo"), S_IFIFO | 0600), -EEXIST);
    CHECK_EQUAL(CALL(task, open, P("fifo"), O_WRONLY | O_NONBLOCK), -ENXIO);
    CHECK_EQUAL(CALL(task, open, P("fifo"), O_RDONLY | O_NONBLOCK), 0);
    CHECK_EQUAL(CALL(task, read, 0, P(bytes), 8), 0);
    CHECK_EQUAL(CALL(task, poll, P(&polled), 1, 0), 0); /* no hang-up before a writer came */
    CHECK_EQUAL(CALL(task, open, P("fifo"), O_WRONLY), 1);
    CHECK_EQUAL(CALL(task, write, 1, P("abc"), 3), 3);
    CHECK_EQUAL(CALL(task, read, 0, P(bytes), 8), 3);
    CHECK_EQUAL(CALL(task, close, 1), 0);
    CHECK_EQUAL(CALL(task, poll, P(&polled), 1, 0), 1);
    CHECK_EQUAL(polled.revents, POLLHUP);
    /* Another file of that name is another pipe. */
    CHECK_EQUAL(CALL(task, unlink, P("fifo")), 0);
    CHECK_EQUAL(CALL(task, mknod, P("fifo"), S_IFIFO | 0600), 0);
    CHECK_EQUAL(CALL(task, open, P("fifo"), O_WRONLY | O_NONBLOCK), -ENXIO);
    network_free(network);
}

#define STREAM_LENGTH 300000u
static uint8_t stream_in[STREAM_LENGTH], stream_out[STREAM_LENGTH];
static struct task *stream_reader;

static void stream_write(struct task *task, void *argument) {
    (void)argument;
    struct task *reader = stream_reader; /* the tasks are processes of their own: share the table as fork does */
    task->process->files = fd_table_share(reader->process->files);
    CHECK_EQUAL(CALL(task, write, 1, P(stream_in), STREAM_LENGTH), STREAM_LENGTH);
    CHECK_EQUAL(CALL(task, close, 1), 0);
}

static void stream_read(struct task *task, void *argument) {
    (void)argument;
    size_t total = 0;
    for (int64_t length; (length = CALL(task, read, 0, P(stream_out + total), 7777)) != 0; total += (size_t)length)
        CHECK(length > 0);
    CHECK_EQUAL(total, STREAM_LENGTH);
    signals_seen++;
}

static void a_blocking_writer_passes_everything_to_a_slow_reader(void) {
    struct network *network;
    struct task *unused = begin(&network);
    (void)unused;
    test_pattern(stream_in, STREAM_LENGTH, 0, 3);
    stream_reader = task_start(network->hosts[0], stream_read, NULL);
    int fds[2];
    CHECK_EQUAL(CALL(stream_reader, pipe, P(fds)), 0);
    struct task *writer = task_start(network->hosts[0], stream_write, NULL);
    network_run(network);
    CHECK(task_finished(stream_reader) && task_finished(writer));
    CHECK(memcmp(stream_in, stream_out, STREAM_LENGTH) == 0);
    network_free(network);
}

static void bytes_move_between_descriptors_without_loss(void) {
    struct network *network;
    struct task *task = begin(&network);
    create_file(task, "in", "abcdefghij");
    int fds[2], others[2];
    CHECK_EQUAL(CALL(task, pipe2, P(fds), O_NONBLOCK), 0);
    CHECK_EQUAL(CALL(task, pipe2, P(others), O_NONBLOCK), 0);
    int64_t offset = 2;
    char bytes[32] = {0};
    CHECK_EQUAL(CALL(task, sendfile, 2, 0, P(&offset), 3), 3);
    CHECK_EQUAL(offset, 5);
    CHECK_EQUAL(CALL(task, lseek, 0, 0, SEEK_SET), 0);
    CHECK_EQUAL(CALL(task, sendfile, 2, 0, 0, 100), 10);
    CHECK_EQUAL(CALL(task, lseek, 0, 0, SEEK_CUR), 10);
    CHECK_EQUAL(CALL(task, tee, 1, 4, 4, 0), 4);
    CHECK_EQUAL(CALL(task, read, 3, P(bytes), 32), 4);
    CHECK(memcmp(bytes, "cdea", 4) == 0);
    CHECK_EQUAL(CALL(task, splice, 1, 0, 4, 0, 5, 0), 5);
    CHECK_EQUAL(CALL(task, read, 3, P(bytes), 32), 5);
    CHECK(memcmp(bytes, "cdeab", 5) == 0);
    int64_t place = 1;
    CHECK_EQUAL(CALL(task, splice, 1, 0, 0, P(&place), 100, 0), 8);
    CHECK_EQUAL(place, 9);
    CHECK_EQUAL(CALL(task, pread64, 0, P(bytes), 32, 0), 10);
    CHECK(memcmp(bytes, "acdefghijj", 10) == 0);
    place = 0;
    CHECK_EQUAL(CALL(task, splice, 0, P(&place), 2, 0, 4, 0), 4);
    CHECK_EQUAL(CALL(task, read, 1, P(bytes), 32), 4);
    CHECK_EQUAL(CALL(task, splice, 1, 0, 2, 0, 4, 0), -EINVAL);
    CHECK_EQUAL(CALL(task, splice, 1, P(&place), 4, 0, 4, 0), -ESPIPE);
    CHECK_EQUAL(CALL(task, splice, 1, 0, 4, 0, 4, 0), -EAGAIN);
    CHECK_EQUAL(CALL(task, sendfile, 4, 1, 0, 4), -EINVAL);
    network_free(network);
}

static void lock_holder(struct task *task, void *argument) {
    (void)argument;
    uint64_t fd = (uint64_t)CALL(task, open, P("lock"), O_RDWR);
    CHECK_EQUAL(CALL(task, flock, fd, 2 /* LOCK_EX */), 0);
    CHECK_EQUAL(task_block(task, NS_PER_S), -ETIMEDOUT);
    CHECK_EQUAL(CALL(task, flock, fd, 8 /* LOCK_UN */), 0);
}

static int64_t lock_taken;

static void lock_waiter(struct task *task, void *argument) {
    (void)argument;
    uint64_t fd = (uint64_t)CALL(task, open, P("lock"), O_RDWR);
    CHECK_EQUAL(CALL(task, flock, fd, 2 | 4 /* LOCK_NB */), -EAGAIN);
    CHECK_EQUAL(CALL(task, flock, fd, 2), 0);
    lock_taken = task->host->now;
}

static void a_held_lock_is_waited_for_in_virtual_time(void) {
    struct network *network;
    struct task *task = begin(&network);
    create_file(task, "lock", "");
    task_start(network->hosts[0], lock_holder, NULL);
    task_start(network->hosts[0], lock_waiter, NULL);
    network_run(network);
    CHECK(lock_taken >= NS_PER_S && lock_taken <= NS_PER_S + 20 * NS_PER_MS);
    network_free(network);
}

static void no_memory_of_the_arena_is_lost(void) {
    struct network *network;
    struct task *task = begin(&network);
    struct host *host = network->hosts[0];
    char bytes[100];
    uint64_t before = 0;
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            before = host->arena.bytes_in_use;
        int64_t fd = CALL(task, open, P("f"), O_RDWR | O_CREAT, 0644);
        int64_t proc = CALL(task, open, P("/proc/self/status"), O_RDONLY);
        int64_t listing = CALL(task, open, P("/proc"), O_RDONLY);
        int fds[2];
        CHECK_EQUAL(CALL(task, pipe, P(fds)), 0);
        CHECK(CALL(task, getdents64, (uint64_t)listing, P(bytes), sizeof bytes) > 0);
        CHECK_EQUAL(CALL(task, write, (uint64_t)fds[1], P("x"), 1), 1);
        CHECK_EQUAL(CALL(task, open, P("missing/file"), O_RDONLY), -ENOENT);
        CHECK_EQUAL(CALL(task, close_range, 0, UINT32_MAX, 0), 0);
        (void)fd;
        (void)proc;
    }
    CHECK_EQUAL(host->arena.bytes_in_use, before);
    network_free(network);
}

static uint64_t number_of(struct task *task, int fd) {
    struct stat status;
    CHECK_EQUAL(CALL(task, fstat, (uint64_t)fd, P(&status)), 0);
    return status.st_ino;
}

/* Every way in which a file can lose its last name, and be used afterwards. */
static void make_and_remove(struct task *task) {
    struct stat status;
    int fd = create_file(task, "first", "x");
    uint64_t number = number_of(task, fd);
    CHECK_EQUAL(CALL(task, link, P("first"), P("second")), 0);
    CHECK_EQUAL(CALL(task, unlink, P("first")), 0);
    CHECK_EQUAL(CALL(task, stat, P("second"), P(&status)), 0);
    CHECK_EQUAL(status.st_ino, number);
    CHECK_EQUAL(CALL(task, unlink, P("second")), 0);
    CHECK_EQUAL(number_of(task, fd), number); /* it is open still */
    int other = (int)CALL(task, dup, (uint64_t)fd);
    CHECK_EQUAL(CALL(task, close, (uint64_t)fd), 0);
    CHECK_EQUAL(number_of(task, other), number);
    int64_t map = CALL(task, mmap, 0, 4096, PROT_READ, MAP_SHARED, (uint64_t)other, 0);
    CHECK(map > 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)other), 0);
    CHECK_EQUAL(CALL(task, munmap, (uint64_t)map, 4096), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)create_file(task, "old", "o")), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)create_file(task, "new", "n")), 0);
    CHECK_EQUAL(CALL(task, rename, P("new"), P("old")), 0);
    CHECK_EQUAL(CALL(task, symlink, P("old"), P("link")), 0);
    CHECK_EQUAL(CALL(task, lstat, P("link"), P(&status)), 0);
    CHECK_EQUAL(CALL(task, unlink, P("link")), 0);
    CHECK_EQUAL(CALL(task, unlink, P("old")), 0);
    CHECK_EQUAL(CALL(task, mkdir, P("directory"), 0755), 0);
    fd = (int)CALL(task, open, P("directory"), O_RDONLY | O_DIRECTORY);
    number = number_of(task, fd);
    CHECK_EQUAL(CALL(task, rmdir, P("directory")), 0);
    CHECK_EQUAL(number_of(task, fd), number);
    CHECK_EQUAL(CALL(task, close, (uint64_t)fd), 0);
    fd = (int)CALL(task, memfd_create, P("memory"), 0);
    CHECK(number_of(task, fd) > number);
    CHECK_EQUAL(CALL(task, close, (uint64_t)fd), 0);
    fd = (int)CALL(task, open, P("."), O_TMPFILE | O_RDWR, 0644);
    if (fd < 0) /* not every file system has them */
        return;
    number = number_of(task, fd);
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    CHECK_EQUAL(CALL(task, linkat, (uint64_t)AT_FDCWD, P(name), (uint64_t)AT_FDCWD, P("kept"), AT_SYMLINK_FOLLOW), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)fd), 0);
    CHECK_EQUAL(CALL(task, stat, P("kept"), P(&status)), 0);
    CHECK_EQUAL(status.st_ino, number);
    CHECK_EQUAL(CALL(task, unlink, P("kept")), 0);
}

static void a_host_may_make_and_remove_files_for_ever(void) {
    struct network *network;
    struct task *task = begin(&network);
    struct arena *arena = &network->hosts[0]->arena;
    task->process->limits[RLIMIT_AS][0] = UINT64_MAX;
    for (int i = 0; i < 10; i++)
        make_and_remove(task);
    uint64_t before = arena->bytes_in_use, unused = arena->unused;
    for (int i = 0; i < 1000; i++)
        make_and_remove(task);
    CHECK_EQUAL(arena->bytes_in_use, before);
    CHECK_EQUAL(arena->unused, unused);
    arena->end = arena->unused + (1u << 20); /* room for some thousands of records */
    for (int i = 0; i < 40000; i++) {
        int64_t fd = CALL(task, open, P("one"), O_RDWR | O_CREAT, 0644);
        CHECK(fd >= 0);
        CHECK_EQUAL(CALL(task, close, (uint64_t)fd), 0);
        char next[20];
        snprintf(next, sizeof next, "name-%d", i % 7);
        CHECK_EQUAL(CALL(task, rename, P("one"), P(next)), 0);
        if (i % 7 == 6)
            for (int k = 0; k < 7; k++) {
                snprintf(next, sizeof next, "name-%d", k);
                CHECK_EQUAL(CALL(task, unlink, P(next)), 0);
            }
    }
    CHECK(arena->unused - unused < 4096); /* seven at a time */
    network_free(network);
}

int main(void) {
    snprintf(directory, sizeof directory, "/tmp/antumbra_files_XXXXXX");
    CHECK(mkdtemp(directory));
    umask(022);
    RUN(a_descriptor_takes_the_lowest_free_number);
    RUN(a_forked_table_shares_descriptions_but_not_numbers);
    RUN(a_file_that_a_program_writes_shows_virtual_time_and_owner);
    RUN(an_input_keeps_its_real_time_and_an_untouched_own_file_shows_the_epoch);
    RUN(a_new_file_gets_a_new_number_even_if_the_real_one_is_reused);
    RUN(positions_and_vectors_work_as_in_linux);
    RUN(directories_are_listed_in_order_of_name);
    RUN(the_own_directory_has_the_same_name_wherever_the_run_is);
    RUN(paths_lead_where_they_lead_without_a_simulation);
    RUN(names_change_as_the_real_directory_does);
    RUN(generated_files_describe_the_simulated_machine);
    RUN(random_bytes_depend_on_the_seed_only);
    RUN(an_open_file_can_be_opened_again_by_its_number);
    RUN(a_pipe_without_readers_breaks);
    RUN(a_fifo_is_a_pipe_with_a_name);
    RUN(packets_of_a_pipe_are_read_one_at_a_time);
    RUN(a_pipe_keeps_its_bytes_when_its_size_changes);
    RUN(a_blocking_writer_passes_everything_to_a_slow_reader);
    RUN(bytes_move_between_descriptors_without_loss);
    RUN(a_held_lock_is_waited_for_in_virtual_time);
    RUN(no_memory_of_the_arena_is_lost);
    RUN(a_host_may_make_and_remove_files_for_ever);
    char command[100];
    snprintf(command, sizeof command, "cd / && rm -rf %s", directory);
    return system(command) == 0 ? 0 : 1;
}
