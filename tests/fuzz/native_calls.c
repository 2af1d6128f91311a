/* See native_calls.h. */
#include "native_calls.h"

#include "harness.h"

#include <asm/unistd.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS 1024
#define FILE_SIZE_MAX (UINT64_C(1) << 20)
#define FIRST_ADDRESS UINT64_C(0x700000000000)

static char directory[64];
static bool ours[DESCRIPTORS];
static bool lost;
static uint64_t next_address;
static int rights_fds[NATIVE_HOSTS];

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status, (void)type;
    return place->level ? remove(path) : 0;
}

static void empty_directory(void) { nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS); }

static void remove_directory(void) {
    empty_directory();
    rmdir(directory);
}

static void put_file(const char *name, const char *bytes, size_t length) {
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    CHECK(fd >= 0 && write(fd, bytes, length) == (ssize_t)length);
    close(fd);
}

static bool is_ours(uint64_t fd) { return fd < DESCRIPTORS && ours[fd]; }

static int64_t opened(int64_t fd) {
    if (fd >= 0 && fd < DESCRIPTORS) {
        ours[fd] = true;
    } else if (fd >= 0) {
        close((int)fd);
        return -EMFILE;
    }
    return fd;
}

/* Relative to the directory, which is also where the process stands, and without a way up. */
static bool stays_inside(const char *path) {
    size_t length = strlen(directory);
    if (path[0] == '/' && (strncmp(path, directory, length) != 0 || (path[length] && path[length] != '/')))
        return false;
    for (const char *at = path; (at = strstr(at, "..")); at++)
        return false;
    return true;
}

static bool is_descriptor_link(const char *path) {
    static const char prefix[] = "/proc/self/fd/";
    return !strncmp(path, prefix, sizeof prefix - 1) && is_ours(strtoul(path + sizeof prefix - 1, NULL, 10));
}

static bool allowed_at(uint64_t at, uint64_t path) {
    return ((int)at == AT_FDCWD || is_ours(at)) && stays_inside((const char *)path);
}

static int64_t real(long number, const uint64_t a[6]) {
    return harness_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int64_t map(const uint64_t a[6]) {
    uint64_t length = (a[1] + 4095) & ~UINT64_C(4095);
    if (!length || length > UINT64_C(1) << 40)
        return -ENOMEM;
    if (a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE))
        return a[0] & 4095 || a[0] >> 47 ? -EINVAL : (int64_t)a[0];
    next_address += length;
    return (int64_t)(next_address - length);
}

static bool is_rights_socket(uint64_t fd) {
    for (unsigned i = 0; i < NATIVE_HOSTS; i++)
        if (fd == (uint64_t)rights_fds[i])
            return true;
    return false;
}

/* The descriptors that come with a real message are as good as opened. */
static int64_t receive_rights(const uint64_t a[6]) {
    int64_t received = real(__NR_recvmsg, a);
    struct msghdr *message = (struct msghdr *)a[1];
    struct cmsghdr *item = received < 0 ? NULL : CMSG_FIRSTHDR(message);
    for (size_t at = CMSG_LEN(0); item && at < item->cmsg_len; at += sizeof(int)) {
        int fd;
        memcpy(&fd, (const char *)item + at, sizeof fd);
        CHECK(opened(fd) == fd);
    }
    return received;
}

static int64_t native_call(long number, const uint64_t a[6]) {
    switch (number) {
    case __NR_sendmsg:
        CHECK(is_rights_socket(a[0]));
        return real(number, a);
    case __NR_recvmsg:
        CHECK(is_rights_socket(a[0]));
        return receive_rights(a);
    case __NR_mmap:
        return map(a);
    case __NR_mremap:
        return a[1] && a[2] ? map((const uint64_t[6]){a[4], a[2], 0, a[3] & 2 ? MAP_FIXED : 0}) : -EINVAL;
    case __NR_munmap:
    case __NR_mprotect:
    case __NR_madvise:
        return a[0] & 4095 ? -EINVAL : 0;
    case __NR_getcwd:
        return real(number, a);
    case __NR_memfd_create:
        return opened(real(number, a));
    case __NR_open:
        if (!stays_inside((const char *)a[0]) && !is_descriptor_link((const char *)a[0]))
            return -EACCES;
        return opened(real(number, (const uint64_t[6]){a[0], a[1] | O_NONBLOCK, a[2]}));
    case __NR_openat:
        if (!allowed_at(a[0], a[1]) && !is_descriptor_link((const char *)a[1]))
            return -EACCES;
        return opened(real(number, (const uint64_t[6]){a[0], a[1], a[2] | O_NONBLOCK, a[3]}));
    case __NR_dup:
        return is_ours(a[0]) ? opened(real(number, a)) : -EBADF;
    case __NR_close:
        if (!is_ours(a[0]))
            return -EBADF;
        ours[a[0]] = false;
        return real(number, a);
    case __NR_readlink:
        return is_descriptor_link((const char *)a[0]) ? real(number, a) : -ENOENT;
    case __NR_mkdir:
    case __NR_access:
        return stays_inside((const char *)a[0]) ? real(number, a) : -EACCES;
    case __NR_truncate:
        if (!stays_inside((const char *)a[0]))
            return -EACCES;
        return a[1] > FILE_SIZE_MAX ? -EFBIG : real(number, a);
    case __NR_newfstatat:
    case __NR_mkdirat:
    case __NR_unlinkat:
    case __NR_faccessat:
    case __NR_readlinkat:
    case __NR_fchmodat:
        return allowed_at(a[0], a[1]) ? real(number, a) : -EACCES;
    case __NR_mknodat: /* no devices, whoever runs this */
        return allowed_at(a[0], a[1]) && ((a[2] & S_IFMT) == S_IFREG || (a[2] & S_IFMT) == S_IFIFO) ? real(number, a)
                                                                                                    : -EACCES;
    case __NR_symlinkat: /* relative names only: an absolute one would lead out where this directory is mentioned */
        return stays_inside((const char *)a[0]) && ((const char *)a[0])[0] != '/' && allowed_at(a[1], a[2])
                   ? real(number, a)
                   : -EACCES;
    case __NR_linkat:
    case __NR_renameat2:
        return allowed_at(a[0], a[1]) && allowed_at(a[2], a[3]) ? real(number, a) : -EACCES;
    case __NR_ftruncate:
        return !is_ours(a[0]) ? -EBADF : a[1] > FILE_SIZE_MAX ? -EFBIG : real(number, a);
    case __NR_fallocate:
        return !is_ours(a[0]) ? -EBADF : a[2] > FILE_SIZE_MAX || a[3] > FILE_SIZE_MAX ? -EFBIG : real(number, a);
    case __NR_fstat:
    case __NR_read:
    case __NR_write:
    case __NR_readv:
    case __NR_writev:
    case __NR_lseek:
    case __NR_fsync:
    case __NR_getdents64:
    case __NR_flock:
    case __NR_ioctl:
    case __NR_fchmod:
        return is_ours(a[0]) ? real(number, a) : -EBADF;
    case __NR_preadv:
    case __NR_pwritev:
        return !is_ours(a[0]) ? -EBADF : a[3] > FILE_SIZE_MAX ? -EFBIG : real(number, a);
    case __NR_fcntl: /* not F_SETLKW, which would sleep, nor leases and signals */
        if (!is_ours(a[0]))
            return -EBADF;
        return a[1] == F_GETFL || a[1] == F_SETFL || a[1] == F_GETFD || a[1] == F_SETFD || a[1] == F_GETLK ||
                       a[1] == F_SETLK || a[1] == F_OFD_GETLK || a[1] == F_OFD_SETLK
                   ? real(number, a)
                   : -EINVAL;
    default:
        return -ENOSYS;
    }
}

void native_calls_begin(struct host *const hosts[NATIVE_HOSTS]) {
    if (!directory[0]) {
        snprintf(directory, sizeof directory, "/tmp/antumbra-fuzz-XXXXXX");
        CHECK(mkdtemp(directory) && chdir(directory) == 0);
        atexit(remove_directory);
        umask(022);
    }
    empty_directory();
    char image[64] = "\177ELF\2\1";
    put_file("program", image, sizeof image);
    put_file("script", "#!program an argument\n", 22);
    put_file("a", "some bytes\n", 11);
    CHECK(mkdir("d", 0755) == 0);
    snprintf(hosts[0]->directory, sizeof hosts[0]->directory, "%s", directory);
    next_address = FIRST_ADDRESS;
    lost = false;
    for (unsigned i = 0; i < NATIVE_HOSTS; i++)
        hosts[i]->rights_fd = rights_fds[i] = harness_rights_socket();
    harness_native(native_call);
}

void native_calls_lost(void) { lost = true; }

void native_calls_end(void) {
    for (unsigned i = 0; i < NATIVE_HOSTS; i++)
        close(rights_fds[i]);
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        if (!ours[fd])
            continue;
        CHECK(lost);
        close(fd);
        ours[fd] = false;
    }
}
