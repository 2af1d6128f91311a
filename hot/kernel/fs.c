/* Real files: opening, status, directories, positions. Each virtual descriptor has a real one behind it.
 *
 * The system call table calls this; path.c says where names lead, inode.c what their status is, virtual.c serves what
 * is not real. namespace.c has the calls that change directories.
 */
#include "fs.h"
#include "credentials.h"
#include "fs_internal.h"
#include "inotify.h"
#include "signal.h"
#include "syscalls.h"
#include "tty.h"

#include <asm/ioctls.h>
#include <asm/statfs.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/openat2.h>
#include <linux/poll.h>
#include <linux/resource.h>
#include <linux/stat.h>

struct native_file {
    struct inode *inode; /* NULL until it is known what the real descriptor is */
    bool directory, writes;
    struct snapshot *snapshot;
};

/* ---- Descriptions of real files ---- */

static struct file *native_create(struct host *host, uint32_t flags) {
    struct native_file *native = kalloc(host, sizeof *native);
    struct file *file = native ? file_create(host, FILE_NATIVE, flags, native) : NULL;
    if (!file)
        kfree(host, native);
    return file;
}

struct file *fs_native_file(struct host *host, uint32_t flags) { return native_create(host, flags); }

static int remember(struct host *host, struct file *file, const struct stat *status, bool own) {
    struct native_file *native = file->object;
    native->inode = inode_find(host, status, own);
    if (!native->inode)
        return -ENOMEM;
    native->directory = (status->st_mode & MODE_TYPE) == MODE_DIRECTORY;
    native->writes = !(file->flags & O_PATH) && (file->flags & O_ACCMODE) != O_RDONLY;
    inode_hold(native->inode, INODE_OPEN);
    if (native->writes)
        inode_hold(native->inode, INODE_WRITTEN);
    return 0;
}

/* Identifies the file behind a description that was made without looking (a standard stream). */
static struct inode *identify(struct task *task, struct file *file, int native_fd) {
    struct native_file *native = file->object;
    struct stat status;
    if (!native->inode) {
        if (native_stat(native_fd, "", AT_EMPTY_PATH, &status) < 0)
            return NULL;
        char *name = kalloc_raw(task->host, FS_PATH_MAX);
        bool own =
            name && native_path(native_fd, name, FS_PATH_MAX) >= 0 && path_below(name, task->host->directory) != NULL;
        kfree(task->host, name);
        (void)remember(task->host, file, &status, own);
    }
    return native->inode;
}

void fs_identify_streams(struct task *task) {
    for (int fd = 0; fd < 3; fd++) {
        const struct fd_entry *entry = fd_entry(task, fd);
        if (entry && entry->file->kind == FILE_NATIVE)
            (void)identify(task, entry->file, entry->native_fd);
    }
}

struct inode *native_inode(struct task *task, struct file *file, int native_fd) {
    struct inode *inode = identify(task, file, native_fd);
    return inode ? inode_numbered(task->host, inode) : NULL;
}

struct inode *native_writes(const struct file *file) {
    const struct native_file *native = file->object;
    return native->writes ? native->inode : NULL;
}

static void native_written(struct task *task, struct file *file, int native_fd) {
    struct inode *inode = native_inode(task, file, native_fd);
    if (inode)
        inode_written(task->host, inode);
}

void fs_written(struct task *task, const struct fd_entry *entry) {
    if (entry->file->kind == FILE_NATIVE)
        native_written(task, entry->file, entry->native_fd);
}

static int64_t native_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    if (((const struct native_file *)file->object)->directory) /* not all real file systems say so */
        return -EISDIR;
    uint64_t fd = (uint64_t)task->native_fd, segments = (uint64_t)(uintptr_t)to->segments;
    int64_t result;
    if (position)
        result = platform_syscall(__NR_preadv, fd, segments, to->count, (uint64_t)*position, 0, 0);
    else if (to->count == 1)
        result = platform_syscall(__NR_read, fd, to->segments[0].base, to->segments[0].length, 0, 0, 0);
    else
        result = platform_syscall(__NR_readv, fd, segments, to->count, 0, 0, 0);
    if (result > 0)
        inotify_descriptor(task->host, task->native_fd, IN_ACCESS);
    return result;
}

static int64_t lseek_native(int native_fd, int64_t offset, int whence) {
    return platform_syscall(__NR_lseek, (uint64_t)native_fd, (uint64_t)offset, (uint64_t)whence, 0, 0, 0);
}

int64_t fs_exceeds_size(struct task *task) {
    struct signal_info info = {.signo = KSIGXFSZ, .u.queue.pid = task->process->pid};
    info.u.queue.uid = (int32_t)task->credentials->user.real;
    (void)signal_send_task(task, KSIGXFSZ, &info);
    return -EFBIG;
}

/* Bytes that a write to a regular file may add under RLIMIT_FSIZE; -EFBIG, with the signal, if none. */
static int64_t room_for_write(struct task *task, const struct file *file, const int64_t *position) {
    uint64_t limit = task->process->limits[RLIMIT_FSIZE][0];
    struct stat status;
    if (limit == UINT64_MAX || native_stat(task->native_fd, "", AT_EMPTY_PATH, &status) ||
        (status.st_mode & MODE_TYPE) != MODE_REGULAR)
        return INT64_MAX;
    int64_t start = file->flags & O_APPEND ? status.st_size
                    : position             ? *position
                                           : lseek_native(task->native_fd, 0, SEEK_CUR);
    return (uint64_t)start >= limit ? fs_exceeds_size(task) : (int64_t)limit - start;
}

static int64_t native_write(struct task *task, struct file *file, struct uio *from, const int64_t *position);

/* Writes the first `length` bytes, from the first segments that hold any. */
static int64_t write_some(struct task *task, struct file *file, const struct uio *from, const int64_t *position,
                          size_t length) {
    struct user_iovec *segments = kalloc(task->host, from->count * sizeof *segments);
    if (!segments)
        return -ENOMEM;
    memcpy(segments, from->segments, from->count * sizeof *segments);
    size_t left = length;
    for (size_t i = 0; i < from->count; i++) {
        segments[i].length = KMIN(segments[i].length, left);
        left -= segments[i].length;
    }
    struct uio some;
    uio_init(&some, segments, from->count);
    int64_t result = native_write(task, file, &some, position);
    kfree(task->host, segments);
    return result;
}

static int64_t native_write(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    uint64_t fd = (uint64_t)task->native_fd, segments = (uint64_t)(uintptr_t)from->segments;
    int64_t result = from->remaining ? room_for_write(task, file, position) : 0;
    if (result < 0)
        return result;
    if ((uint64_t)result < from->remaining) /* the first segments, as far as they fit: a write may be short */
        return write_some(task, file, from, position, (size_t)result);
    if (position)
        result = platform_syscall(__NR_pwritev, fd, segments, from->count, (uint64_t)*position, 0, 0);
    else if (from->count == 1)
        result = platform_syscall(__NR_write, fd, from->segments[0].base, from->segments[0].length, 0, 0, 0);
    else
        result = platform_syscall(__NR_writev, fd, segments, from->count, 0, 0, 0);
    if (result > 0) {
        native_written(task, file, task->native_fd);
        inotify_descriptor(task->host, task->native_fd, IN_MODIFY);
    }
    return result;
}

static void native_release(struct host *host, struct file *file) {
    struct native_file *native = file->object;
    snapshot_free(host, native->snapshot);
    if (native->writes)
        inode_drop(host, native->inode, INODE_WRITTEN);
    if (native->inode)
        inode_drop(host, native->inode, INODE_OPEN);
    kfree(host, native);
}

static int64_t native_ioctl(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    (void)file;
    switch (command) {
    case FIONREAD:
        return platform_syscall(__NR_ioctl, (uint64_t)task->native_fd, FIONREAD, argument, 0, 0, 0);
    case FIGETBSZ: {
        int size = 4096;
        return copy_to_user(argument, &size, sizeof size);
    }
    case FICLONE: /* depends on the real file system */
    case FICLONERANGE:
        return -EOPNOTSUPP;
    default:
        return -ENOTTY;
    }
}

const struct file_operations native_operations = {
    .name = "file",
    .read = native_read,
    .write = native_write,
    .release = native_release,
    .ioctl = native_ioctl,
};

/* ---- Opening ---- */

static bool is_fifo(const struct stat *status) { return (status->st_mode & MODE_TYPE) == MODE_FIFO; }

/* Programs could sleep in the real kernel on these; devices that are known to answer at once were let through. */
static bool would_block(const struct stat *status, const char *name) {
    switch (status->st_mode & MODE_TYPE) {
    case MODE_FIFO:
    case MODE_SOCKET:
    case MODE_BLOCK:
        return true;
    case MODE_CHARACTER:
        return !path_below(name, "/dev");
    default:
        return false;
    }
}

/* Takes over the real descriptor. */
static int64_t install_native(struct task *task, int64_t native_fd, const struct stat *status, bool own, uint32_t flags,
                              bool truncated) {
    const uint32_t transient = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC | O_NOATIME;
    const uint32_t large_file = 0100000;
    struct file *file = native_create(task->host, (flags & ~transient) | (flags & O_PATH ? 0 : large_file));
    if (!file) {
        platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
        return -ENOMEM;
    }
    if (remember(task->host, file, status, own)) {
        platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
        file_put(task->host, file);
        return -ENOMEM;
    }
    int fd = fd_install(task, file, 0, flags & O_CLOEXEC, (int)native_fd);
    if (fd >= 0 && !(flags & O_PATH)) {
        inotify_descriptor(task->host, (int)native_fd, IN_OPEN);
        if (truncated)
            inotify_descriptor(task->host, (int)native_fd, IN_MODIFY);
    }
    return fd;
}

static int64_t open_native(int directory, const char *path, uint32_t flags, uint32_t mode) {
    uint32_t native_flags = (flags & ~(uint32_t)(O_CLOEXEC | O_NOATIME | FASYNC | O_DIRECT)) | O_NOCTTY;
    if (!(flags & O_PATH))
        native_flags |= O_NONBLOCK;
    return platform_syscall(__NR_openat, (uint64_t)directory, (uint64_t)(uintptr_t)path, native_flags, mode, 0, 0);
}

/* Opening that would write what some process runs: -ETXTBSY, if nothing else is in the way of it. */
static int64_t refuse_running(struct task *task, int directory, const char *path, uint32_t flags,
                              const struct stat *status) {
    const struct inode *inode = inode_seen(task->host, status);
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    if ((flags & O_PATH) || !writes || !inode || !inode->uses[INODE_RUN])
        return 0;
    int64_t native_fd = open_native(directory, path, flags & ~(uint32_t)O_TRUNC, 0);
    if (native_fd < 0)
        return native_fd;
    platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
    return -ETXTBSY;
}

static int64_t open_location(struct task *task, const struct location *location, uint32_t flags, uint32_t mode) {
    struct host *host = task->host;
    struct stat status;
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (location->generated && writes)
        return -EROFS;
    bool temporary = (flags & O_TMPFILE) == O_TMPFILE;
    bool found = writes && native_stat(location->directory, location->path, 0, &status) == 0;
    bool existed = !(flags & O_CREAT) || found;
    int64_t refused = found ? refuse_running(task, location->directory, location->path, flags, &status) : 0;
    if (refused)
        return refused;
    int64_t native_fd = open_native(location->directory, location->path, flags, mode & 07777 & ~task->process->umask);
    /* A FIFO without a reader, which the real kernel never sees, is not to be written. */
    if (native_fd == -ENXIO && native_stat(location->directory, location->path, 0, &status) == 0 && is_fifo(&status))
        return fifo_open(task, status.st_dev, status.st_ino, flags);
    if (native_fd < 0)
        return native_fd;
    int64_t result = native_stat((int)native_fd, "", AT_EMPTY_PATH, &status);
    if (!result && !(flags & O_PATH) && is_fifo(&status)) {
        platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
        return fifo_open(task, status.st_dev, status.st_ino, flags);
    }
    if (!result && !(flags & O_PATH) && would_block(&status, location->name))
        result = -ENXIO;
    if (result) {
        platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
        return result;
    }
    struct inode *inode;
    if (temporary || !existed) {
        inode = inode_created(task, &status, location->own);
        if (inode)
            inode->nameless = temporary;
    } else if ((flags & O_TRUNC) && (inode = inode_get(host, &status, location->own))) {
        inode_written(host, inode);
    }
    if (!existed) {
        location_parent_written(task, location);
        if (!temporary)
            inotify_created(task, location);
    }
    return install_native(task, native_fd, &status, location->own, flags, existed && (flags & O_TRUNC));
}

/* /proc/<pid>/fd/<n>: the same file, opened again. */
static int64_t reopen(struct task *task, const struct virtual_name *found, uint32_t flags) {
    const struct fd_entry *entry = &found->process->files->entries[found->fd];
    struct file *file = entry->file;
    struct stat status;
    int64_t permitted = virtual_permit(task, found, 0);
    if (permitted)
        return permitted;
    switch ((enum file_kind)file->kind) {
    case FILE_NATIVE: {
        char link[48];
        if (found->process == task->process)
            kprintf(link, sizeof link, "/proc/self/fd/%d", entry->native_fd);
        else
            kprintf(link, sizeof link, "/proc/%u/fd/%d", found->process->native_pid, entry->native_fd);
        const struct native_file *native = file->object;
        flags &= ~(uint32_t)(O_CREAT | O_EXCL);
        int64_t refused = native_stat(AT_FDCWD, link, 0, &status);
        if (!refused)
            refused = refuse_running(task, AT_FDCWD, link, flags, &status);
        if (refused)
            return refused;
        int64_t native_fd = open_native(AT_FDCWD, link, flags, 0);
        if (native_fd < 0)
            return native_fd;
        int64_t result = native_stat((int)native_fd, "", AT_EMPTY_PATH, &status);
        if (result) {
            platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
            return result;
        }
        bool own = native->inode && native->inode->own;
        struct inode *inode = inode_get(task->host, &status, own);
        if (inode && (flags & O_TRUNC))
            inode_written(task->host, inode);
        return install_native(task, native_fd, &status, own, flags, flags & O_TRUNC);
    }
    case FILE_VIRTUAL: {
        struct virtual_name again;
        const char *name = virtual_file_name(file);
        virtual_find(task, name, &again);
        return again.row ? virtual_open(task, name, &again, flags) : -ENOENT;
    }
    case FILE_PIPE: {
        struct file *opened;
        int64_t result = pipe_reopen(file, flags, &opened);
        return result ? result : fd_install(task, opened, 0, flags & O_CLOEXEC, -1);
    }
    case FILE_TERMINAL:
        return terminal_reopen(task, file, flags);
    default:
        return -ENXIO;
    }
}

static int64_t open_at(struct task *task, int directory, uint64_t user_path, uint32_t flags, uint32_t mode) {
    struct location *location;
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    bool exclusive = (flags & O_CREAT) && (flags & O_EXCL);
    int64_t result = location_find(task, directory, user_path, !(flags & O_NOFOLLOW) && !exclusive, &location);
    if (result)
        return result;
    const struct virtual_name *found = &location->found;
    switch ((enum virtual_kind)found->kind) {
    case NAME_REAL:
        result = open_location(task, location, flags, mode);
        break;
    case NAME_MISSING:
        result = found->error;
        break;
    case NAME_LINK: /* was not to be followed */
        result = exclusive ? -EEXIST : -ELOOP;
        break;
    case NAME_DESCRIPTOR:
        result = flags & O_NOFOLLOW ? -ELOOP : reopen(task, found, flags);
        break;
    case NAME_TERMINAL:
        result = terminal_open(task, location->name, found, flags);
        break;
    case NAME_FILE:
    case NAME_RANDOM:
    case NAME_DIRECTORY:
        result = virtual_open(task, location->name, found, flags);
        break;
    }
    location_free(task->host, location);
    return result;
}

int64_t sys_open(struct task *task, const uint64_t *a) {
    return open_at(task, AT_FDCWD, a[0], (uint32_t)a[1], (uint32_t)a[2]);
}

int64_t sys_openat(struct task *task, const uint64_t *a) {
    return open_at(task, (int)a[0], a[1], (uint32_t)a[2], (uint32_t)a[3]);
}

int64_t sys_openat2(struct task *task, const uint64_t *a) {
    struct open_how how;
    if (a[3] < sizeof how)
        return -EINVAL;
    if (a[3] > sizeof how) /* a newer program: it can do without */
        return -E2BIG;
    if (copy_from_user(&how, a[2], sizeof how))
        return -EFAULT;
    if (how.resolve) /* paths are resolved here lexically first: none of the promises could be kept */
        return -ENOSYS;
    if (how.flags > UINT32_MAX || (how.mode & ~UINT64_C(07777)))
        return -EINVAL;
    return open_at(task, (int)a[0], a[1], (uint32_t)how.flags, (uint32_t)how.mode);
}

int64_t sys_creat(struct task *task, const uint64_t *a) {
    return open_at(task, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)a[1]);
}

int64_t sys_memfd_create(struct task *task, const uint64_t *a) {
    uint32_t flags = (uint32_t)a[1];
    int64_t native_fd = platform_syscall(__NR_memfd_create, a[0], flags & ~(uint32_t)MFD_CLOEXEC, 0, 0, 0, 0);
    if (native_fd < 0)
        return native_fd;
    struct stat status;
    int64_t result = native_stat((int)native_fd, "", AT_EMPTY_PATH, &status);
    if (result) {
        platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
        return result;
    }
    struct inode *inode = inode_created(task, &status, true);
    if (inode)
        inode->nameless = true;
    return install_native(task, native_fd, &status, true, O_RDWR | (flags & MFD_CLOEXEC ? O_CLOEXEC : 0u), false);
}

/* ---- Status ---- */

static int64_t status_of_file(struct task *task, struct file *file, int native_fd, struct stat *status) {
    switch ((enum file_kind)file->kind) {
    case FILE_NATIVE: {
        int64_t result = native_stat(native_fd, "", AT_EMPTY_PATH, status);
        const struct inode *inode = result ? NULL : native_inode(task, file, native_fd);
        if (inode)
            inode_present(inode, status);
        return result || inode ? result : -ENOMEM;
    }
    case FILE_VIRTUAL:
        virtual_stat(file, status);
        return 0;
    case FILE_PIPE:
        status_synthetic(status, MODE_FIFO | 0600, file_number(task->host, file));
        break;
    case FILE_SOCKET_INET:
    case FILE_SOCKET_UNIX:
    case FILE_SOCKET_NETLINK:
    case FILE_SOCKET_PACKET:
        status_synthetic(status, MODE_SOCKET | 0777, file_number(task->host, file));
        break;
    case FILE_TERMINAL:
        terminal_status(file, status);
        return 0;
    default: /* all of them are one inode of the kernel's */
        status_synthetic(status, 0600, file_number(task->host, file));
        return 0;
    }
    status->st_uid = file->user;
    status->st_gid = file->group;
    return 0;
}

static int64_t status_of_descriptor(struct task *task, int fd, struct stat *status) {
    const struct fd_entry *entry = fd_entry(task, fd);
    return entry ? status_of_file(task, entry->file, entry->native_fd, status) : -EBADF;
}

static int64_t status_of_location(struct task *task, const struct location *location, bool follow,
                                  struct stat *status) {
    const struct virtual_name *found = &location->found;
    if (found->kind == NAME_MISSING)
        return found->error;
    if (found->kind == NAME_DESCRIPTOR && follow) {
        if (found->process == task->process)
            return status_of_descriptor(task, found->fd, status);
        struct file *file = found->process->files->entries[found->fd].file;
        return file->kind == FILE_NATIVE ? -EACCES : status_of_file(task, file, -1, status);
    }
    if (found->kind == NAME_TERMINAL) {
        terminal_name_status(location->name, found, status);
        return 0;
    }
    if (found->kind != NAME_REAL) {
        uint32_t mode = virtual_mode(found);
        status_synthetic(status, mode, virtual_number(location->name));
        virtual_owner(found, &status->st_uid, &status->st_gid);
        if (found->kind == NAME_RANDOM)
            status->st_rdev = strcmp(location->name, "/dev/random") == 0 ? 0x108 : 0x109;
        return 0;
    }
    int64_t result = native_stat(location->directory, location->path, follow ? 0 : AT_SYMLINK_NOFOLLOW, status);
    if (result)
        return result;
    const struct inode *inode = inode_get(task->host, status, location->own);
    if (!inode)
        return -ENOMEM;
    inode_present(inode, status);
    return 0;
}

static int64_t status_at(struct task *task, int directory, uint64_t user_path, uint32_t flags, struct stat *status) {
    bool here = false;
    if (flags & AT_EMPTY_PATH) {
        char first = '\0';
        if (user_path && copy_from_user(&first, user_path, 1)) /* Linux 6.11 takes NULL for "" */
            return -EFAULT;
        if (!first && directory != AT_FDCWD)
            return status_of_descriptor(task, directory, status);
        here = !first;
    }
    struct location *location;
    bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
    int64_t result = here ? location_of(task, AT_FDCWD, ".", follow, &location)
                          : location_find(task, directory, user_path, follow, &location);
    if (result)
        return result;
    result = status_of_location(task, location, follow, status);
    location_free(task->host, location);
    return result;
}

static int64_t give_status(int64_t result, const struct stat *status, uint64_t user) {
    return result ? result : copy_to_user(user, status, sizeof *status);
}

int64_t sys_stat(struct task *task, const uint64_t *a) {
    struct stat status;
    return give_status(status_at(task, AT_FDCWD, a[0], 0, &status), &status, a[1]);
}

int64_t sys_lstat(struct task *task, const uint64_t *a) {
    struct stat status;
    return give_status(status_at(task, AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW, &status), &status, a[1]);
}

int64_t sys_fstat(struct task *task, const uint64_t *a) {
    struct stat status;
    return give_status(status_of_descriptor(task, (int)a[0], &status), &status, a[1]);
}

int64_t sys_newfstatat(struct task *task, const uint64_t *a) {
    struct stat status;
    if ((uint32_t)a[3] & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    return give_status(status_at(task, (int)a[0], a[1], (uint32_t)a[3], &status), &status, a[2]);
}

static struct statx_timestamp timestamp(unsigned long seconds, unsigned long nanoseconds) {
    return (struct statx_timestamp){.tv_sec = (int64_t)seconds, .tv_nsec = (uint32_t)nanoseconds};
}

int64_t sys_statx(struct task *task, const uint64_t *a) {
    struct stat status;
    uint32_t flags = (uint32_t)a[2];
    if (((uint32_t)a[3] & STATX__RESERVED) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE ||
        (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)))
        return -EINVAL;
    int64_t result = status_at(task, (int)a[0], a[1], (uint32_t)a[2], &status);
    if (result)
        return result;
    struct statx given = {
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)status.st_blksize,
        .stx_nlink = (uint32_t)status.st_nlink,
        .stx_uid = status.st_uid,
        .stx_gid = status.st_gid,
        .stx_mode = (uint16_t)status.st_mode,
        .stx_ino = status.st_ino,
        .stx_size = (uint64_t)status.st_size,
        .stx_blocks = (uint64_t)status.st_blocks,
        .stx_atime = timestamp(status.st_atime, status.st_atime_nsec),
        .stx_ctime = timestamp(status.st_ctime, status.st_ctime_nsec),
        .stx_mtime = timestamp(status.st_mtime, status.st_mtime_nsec),
        .stx_rdev_major = (uint32_t)(status.st_rdev >> 8 & 0xfff),
        .stx_rdev_minor = (uint32_t)(status.st_rdev & 0xff),
        .stx_dev_major = (uint32_t)(status.st_dev >> 8 & 0xfff),
        .stx_dev_minor = (uint32_t)(status.st_dev & 0xff),
    };
    return copy_to_user(a[4], &given, sizeof given);
}

static int64_t access_at(struct task *task, int directory, uint64_t user_path, uint32_t wanted, uint32_t flags) {
    if (wanted & ~7u)
        return -EINVAL;
    struct location *location;
    struct stat status;
    bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
    if (flags & AT_EMPTY_PATH)
        return status_at(task, directory, user_path, flags, &status);
    int64_t result = location_find(task, directory, user_path, follow, &location);
    if (result)
        return result;
    if (location->found.kind == NAME_REAL)
        result = location->generated && (wanted & 2)
                     ? -EROFS
                     : platform_syscall(__NR_faccessat, (uint64_t)location->directory,
                                        (uint64_t)(uintptr_t)location->path, wanted, 0, 0, 0);
    else
        result = status_of_location(task, location, follow, &status);
    if (!result && location->found.kind == NAME_FILE && (wanted & 2) && !(status.st_mode & 0222))
        result = -EACCES;
    if (!result && location->found.kind != NAME_REAL)
        result = virtual_permit(task, &location->found, wanted);
    location_free(task->host, location);
    return result;
}

int64_t sys_access(struct task *task, const uint64_t *a) { return access_at(task, AT_FDCWD, a[0], (uint32_t)a[1], 0); }

int64_t sys_faccessat(struct task *task, const uint64_t *a) {
    return access_at(task, (int)a[0], a[1], (uint32_t)a[2], 0);
}

int64_t sys_faccessat2(struct task *task, const uint64_t *a) {
    if ((uint32_t)a[3] & ~(uint32_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return access_at(task, (int)a[0], a[1], (uint32_t)a[2], (uint32_t)a[3] & ~(uint32_t)AT_EACCESS);
}

/* Its owners, and mode bits that execve looks at. All zero for a program without set-id bits, and for one that is gone.
 */
void fs_program_owner(struct task *task, const char *path, struct program_owner *owner) {
    struct stat status;
    memset(owner, 0, sizeof *owner);
    if (native_stat(AT_FDCWD, path, 0, &status) || !(status.st_mode & 06000))
        return;
    const struct inode *inode = inode_get(task->host, &status, path_below(path, task->host->directory) != NULL);
    if (inode)
        *owner = (struct program_owner){status.st_mode, inode->user, inode->group};
}

/* ---- File systems: the same one everywhere ---- */

static int64_t give_statfs(bool virtual, uint64_t user) {
    const struct statfs real = {
        .f_type = 0xEF53, /* ext4: 100 GiB, half of it free */
        .f_bsize = 4096,
        .f_blocks = 26214400,
        .f_bfree = 13107200,
        .f_bavail = 13107200,
        .f_files = 6553600,
        .f_ffree = 6000000,
        .f_namelen = 255,
        .f_frsize = 4096,
        .f_flags = 0x1020, /* ST_VALID, relatime */
    };
    const struct statfs proc = {
        .f_type = 0x9fa0, .f_bsize = 4096, .f_namelen = 255, .f_frsize = 4096, .f_flags = 0x102e};
    return copy_to_user(user, virtual ? &proc : &real, sizeof real);
}

int64_t sys_statfs(struct task *task, const uint64_t *a) {
    struct location *location;
    struct stat status;
    int64_t result = location_find(task, AT_FDCWD, a[0], true, &location);
    if (result)
        return result;
    result = status_of_location(task, location, true, &status);
    bool virtual = location->found.kind != NAME_REAL;
    location_free(task->host, location);
    return result ? result : give_statfs(virtual, a[1]);
}

int64_t sys_fstatfs(struct task *task, const uint64_t *a) {
    const struct file *file = fd_file(task, (int)a[0]);
    return file ? give_statfs(file->kind != FILE_NATIVE, a[1]) : -EBADF;
}

/* ---- Links ---- */

static int64_t readlink_at(struct task *task, int directory, uint64_t user_path, uint64_t user, int32_t size) {
    if (size <= 0)
        return -EINVAL;
    struct location *location;
    int64_t result = location_find(task, directory, user_path, false, &location);
    if (result)
        return result;
    char *target = location->name;
    struct virtual_name found = location->found;
    if (found.kind == NAME_LINK || found.kind == NAME_DESCRIPTOR) {
        result = virtual_link(task, location->name, &found, location->path, FS_PATH_MAX);
        target = location->path;
        if (result >= 0) {
            target[result] = '\0';
            result = fs_below_root(task->process, target, "", FS_PATH_MAX);
        }
        if (result >= 0)
            result = (int64_t)strlen(target);
    } else if (found.kind == NAME_MISSING) {
        result = found.error;
    } else if (found.kind != NAME_REAL) {
        result = -EINVAL;
    } else {
        result = platform_syscall(__NR_readlinkat, (uint64_t)location->directory, (uint64_t)(uintptr_t)location->path,
                                  (uint64_t)(uintptr_t)target, FS_PATH_MAX - 1, 0, 0);
        if (result >= 0) {
            target[result] = '\0';
            result = fs_real_to_virtual(task->host, target, FS_PATH_MAX);
        }
        if (result >= 0)
            result = (int64_t)strlen(target);
    }
    if (result >= 0) {
        result = KMIN(result, size);
        if (copy_to_user(user, target, (size_t)result))
            result = -EFAULT;
    }
    location_free(task->host, location);
    return result;
}

int64_t sys_readlink(struct task *task, const uint64_t *a) {
    return readlink_at(task, AT_FDCWD, a[0], a[1], (int32_t)a[2]);
}

int64_t sys_readlinkat(struct task *task, const uint64_t *a) {
    return readlink_at(task, (int)a[0], a[1], a[2], (int32_t)a[3]);
}

/* ---- The working directory: the real process has it. The root: it does not ---- */

int64_t sys_getcwd(struct task *task, const uint64_t *a) {
    char *name = kalloc_raw(task->host, FS_PATH_MAX);
    if (!name)
        return -ENOMEM;
    int64_t result = platform_syscall(__NR_getcwd, (uint64_t)(uintptr_t)name, FS_PATH_MAX, 0, 0, 0, 0);
    if (result >= 0)
        result = fs_real_to_virtual(task->host, name, FS_PATH_MAX);
    if (result >= 0)
        result = fs_below_root(task->process, name, "(unreachable)", FS_PATH_MAX);
    if (result >= 0) {
        size_t length = strlen(name) + 1;
        result = length > a[1] ? -ERANGE : copy_to_user(a[0], name, length) ? -EFAULT : (int64_t)length;
    }
    kfree(task->host, name);
    return result;
}

int64_t sys_chdir(struct task *task, const uint64_t *a) {
    struct location *location;
    int64_t result = location_find(task, AT_FDCWD, a[0], true, &location);
    if (result)
        return result;
    if (location->found.kind == NAME_REAL)
        result = platform_syscall(__NR_chdir, (uint64_t)(uintptr_t)location->path, 0, 0, 0, 0, 0);
    else if (location->found.kind == NAME_DIRECTORY) /* the real process could not be there */
        result = -EACCES;
    else
        result = location->found.kind == NAME_MISSING ? location->found.error : -ENOTDIR;
    location_free(task->host, location);
    return result;
}

int64_t sys_fchdir(struct task *task, const uint64_t *a) {
    const struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry)
        return -EBADF;
    if (entry->native_fd < 0)
        return virtual_directory_name(entry->file) ? -EACCES : -ENOTDIR;
    return platform_syscall(__NR_fchdir, (uint64_t)entry->native_fd, 0, 0, 0, 0, 0);
}

/* Symbolic links in real directories are the real kernel's to follow: an absolute one starts at the real root. */
int64_t sys_chroot(struct task *task, const uint64_t *a) {
    struct location *location;
    int64_t result = location_find(task, AT_FDCWD, a[0], true, &location);
    if (result)
        return result;
    struct stat status;
    if (location->found.kind == NAME_REAL) {
        result = platform_syscall(__NR_newfstatat, (uint64_t)location->directory, (uint64_t)(uintptr_t)location->path,
                                  (uint64_t)(uintptr_t)&status, 0, 0, 0);
        if (!result && (status.st_mode & MODE_TYPE) != MODE_DIRECTORY)
            result = -ENOTDIR;
    } else if (location->found.kind != NAME_DIRECTORY) {
        result = location->found.kind == NAME_MISSING ? location->found.error : -ENOTDIR;
    }
    if (!result && !credentials_capable(task, CAP_SYS_CHROOT))
        result = -EPERM;
    char *root = NULL;
    size_t length = strlen(location->name);
    if (!result && length > 1) {
        root = kalloc(task->host, length + 1);
        if (root)
            memcpy(root, location->name, length);
        else
            result = -ENOMEM;
    }
    location_free(task->host, location);
    if (result)
        return result;
    kfree(task->host, task->process->root);
    task->process->root = root;
    return 0;
}

/* ---- Positions ---- */

static int64_t lseek_known_size(int64_t *position, int64_t size, int64_t offset, int whence) {
    int64_t base = 0;
    switch (whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        base = *position;
        break;
    case SEEK_END:
        base = size;
        break;
    case SEEK_DATA:
    case SEEK_HOLE: /* one extent without holes, whatever the real file system made of it */
        if (offset < 0 || offset >= size)
            return -ENXIO;
        return *position = whence == SEEK_DATA ? offset : size;
    default:
        return -EINVAL;
    }
    int64_t result;
    if (__builtin_add_overflow(base, offset, &result))
        return -EOVERFLOW;
    return result < 0 ? -EINVAL : (*position = result);
}

static struct snapshot **snapshot_slot(struct file *file) {
    if (file->kind == FILE_VIRTUAL)
        return virtual_snapshot_slot(file);
    if (file->kind != FILE_NATIVE)
        return NULL;
    struct native_file *native = file->object;
    return native->inode && !native->directory ? NULL : &native->snapshot;
}

int64_t sys_lseek(struct task *task, const uint64_t *a) {
    const struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry || (entry->file->flags & O_PATH))
        return -EBADF;
    struct file *file = entry->file;
    int64_t offset = (int64_t)a[1];
    int whence = (int)a[2];
    if ((uint32_t)whence > SEEK_MAX)
        return -EINVAL;
    if (file->kind == FILE_VIRTUAL && !virtual_directory_name(file))
        return lseek_known_size(&file->position, virtual_size(file), offset, whence);
    if (file->kind == FILE_EVENTFD || file->kind == FILE_TIMERFD || file->kind == FILE_SIGNALFD ||
        file->kind == FILE_EPOLL || file->kind == FILE_INOTIFY)
        return 0; /* Linux: noop_llseek */
    if (file->kind != FILE_NATIVE && file->kind != FILE_VIRTUAL)
        return -ESPIPE;
    bool directory = file->kind == FILE_VIRTUAL || ((struct native_file *)file->object)->directory;
    if (directory) {
        struct snapshot **snapshot = snapshot_slot(file);
        if (offset == 0 && whence == SEEK_SET) { /* rewinddir: look again */
            snapshot_free(task->host, *snapshot);
            *snapshot = NULL;
        }
        return lseek_known_size(&file->position, INT64_MAX, offset, whence);
    }
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return lseek_native(entry->native_fd, offset, whence);
    struct stat status;
    int64_t result = native_stat(entry->native_fd, "", AT_EMPTY_PATH, &status);
    int64_t position = 0;
    if (!result)
        result = lseek_known_size(&position, status.st_size, offset, whence);
    return result < 0 ? result : lseek_native(entry->native_fd, position, SEEK_SET);
}

/* ---- Directories: in order of name, whatever the real one's order ---- */

void snapshot_add(struct snapshot *snapshot, const char *name, uint64_t number, uint8_t type) {
    struct snapshot_entry entry = {.number = number, .name = (uint32_t)snapshot->names.length, .type = type};
    text_append(&snapshot->entries, (const char *)&entry, sizeof entry);
    text_append(&snapshot->names, name, strlen(name) + 1);
}

void snapshot_free(struct host *host, struct snapshot *snapshot) {
    if (!snapshot)
        return;
    kfree(host, snapshot->entries.bytes);
    kfree(host, snapshot->names.bytes);
    kfree(host, snapshot);
}

static size_t snapshot_count(const struct snapshot *snapshot) {
    return snapshot->entries.length / sizeof(struct snapshot_entry);
}

static struct snapshot_entry *snapshot_entries(const struct snapshot *snapshot) {
    return (struct snapshot_entry *)(void *)snapshot->entries.bytes;
}

/* "." and ".." come first of themselves in nearly all directories, but not before "!" or "#". */
static bool in_order(const struct snapshot *snapshot, const struct snapshot_entry *left,
                     const struct snapshot_entry *right) {
    const char *a = snapshot->names.bytes + left->name, *b = snapshot->names.bytes + right->name;
    int left_rank = strcmp(a, ".") == 0 ? 0 : strcmp(a, "..") == 0 ? 1 : 2;
    int right_rank = strcmp(b, ".") == 0 ? 0 : strcmp(b, "..") == 0 ? 1 : 2;
    return left_rank != right_rank ? left_rank < right_rank : strcmp(a, b) <= 0;
}

static void snapshot_sort(struct snapshot *snapshot) {
    struct snapshot_entry *entries = snapshot_entries(snapshot);
    size_t count = snapshot_count(snapshot), gap = 1;
    while (gap < count / 3)
        gap = 3 * gap + 1;
    for (; gap; gap /= 3) {
        for (size_t i = gap; i < count; i++) {
            struct snapshot_entry moving = entries[i];
            size_t at = i;
            for (; at >= gap && !in_order(snapshot, &entries[at - gap], &moving); at -= gap)
                entries[at] = entries[at - gap];
            entries[at] = moving;
        }
    }
}

struct directory_record { /* struct linux_dirent64 */
    uint64_t number;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};
#define RECORD_HEADER offsetof(struct directory_record, name)

static int64_t native_snapshot(struct task *task, const struct file *file, int native_fd, struct snapshot *snapshot) {
    const struct native_file *native = file->object;
    const size_t capacity = 32000;
    char *buffer = kalloc_raw(task->host, capacity);
    if (!buffer)
        return -ENOMEM;
    int64_t length = native_path(native_fd, buffer, capacity);
    bool host_directory = length > 0 && strcmp(buffer, task->host->directory) == 0;
    length = lseek_native(native_fd, 0, SEEK_SET);
    if (length == 0) {
        while ((length = platform_syscall(__NR_getdents64, (uint64_t)native_fd, (uint64_t)(uintptr_t)buffer, capacity,
                                          0, 0, 0)) > 0) {
            for (int64_t at = 0; at < length;) {
                const struct directory_record *record = (const void *)(buffer + at);
                if (!host_directory || !fs_is_private_directory(record->name))
                    snapshot_add(snapshot, record->name, record->number, record->type);
                at += record->length;
            }
        }
    }
    kfree(task->host, buffer);
    if (length < 0 || snapshot->entries.failed || snapshot->names.failed)
        return length < 0 ? length : -ENOMEM;
    snapshot_sort(snapshot);
    /* Numbers are given in this order, not in the real directory's. */
    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct snapshot_entry *entry = &snapshot_entries(snapshot)[i];
        struct stat status = {.st_dev = native->inode->device, .st_ino = entry->number};
        const char *name = snapshot->names.bytes + entry->name;
        if (strcmp(name, "..") == 0 && native_stat(native_fd, "..", 0, &status) < 0)
            return -ENOENT;
        const struct inode *inode = inode_get(task->host, &status, native->inode->own);
        if (!inode)
            return -ENOMEM;
        entry->number = inode->number;
    }
    return 0;
}

static int64_t take_snapshot(struct task *task, struct file *file, int native_fd, struct snapshot **slot) {
    struct host *host = task->host;
    if (file->kind == FILE_NATIVE && !native_inode(task, file, native_fd))
        return -ENOMEM;
    struct snapshot *snapshot = kalloc(host, sizeof *snapshot);
    if (!snapshot)
        return -ENOMEM;
    snapshot->entries.host = snapshot->names.host = host;
    int64_t result = file->kind == FILE_NATIVE ? native_snapshot(task, file, native_fd, snapshot)
                                               : virtual_snapshot(task, file, snapshot);
    if (!result && file->kind == FILE_VIRTUAL) {
        result = snapshot->entries.failed || snapshot->names.failed ? -ENOMEM : 0;
        if (!result)
            snapshot_sort(snapshot);
    }
    if (result) {
        snapshot_free(host, snapshot);
        return result;
    }
    *slot = snapshot;
    return 0;
}

/* getdents keeps the type in a record's last byte, where getdents64 has padding. */
static int64_t give_entries(struct task *task, const uint64_t *a, bool wide) {
    const struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry || (entry->file->flags & O_PATH))
        return -EBADF;
    struct file *file = entry->file;
    struct snapshot **slot = snapshot_slot(file);
    if (!slot)
        return -ENOTDIR;
    if (!*slot) {
        int64_t result = take_snapshot(task, file, entry->native_fd, slot);
        if (result)
            return result;
    }
    inotify_descriptor(task->host, entry->native_fd, IN_ACCESS);
    const struct snapshot *snapshot = *slot;
    uint64_t capacity = (uint32_t)a[2], used = 0;
    while ((uint64_t)file->position < snapshot_count(snapshot)) {
        const struct snapshot_entry *listed = &snapshot_entries(snapshot)[file->position];
        const char *name = snapshot->names.bytes + listed->name;
        union {
            struct directory_record record;
            char bytes[RECORD_HEADER + 256 + 8];
        } given = {0};
        size_t name_offset = wide ? RECORD_HEADER : RECORD_HEADER - 1, name_length = strlen(name);
        size_t length = (name_offset + name_length + (wide ? 1 : 2) + 7) & ~(size_t)7;
        if (name_length > 255)
            return -EIO;
        if (used + length > capacity)
            return used ? (int64_t)used : -EINVAL;
        given.record.number = listed->number;
        given.record.offset = file->position + 1;
        given.record.length = (uint16_t)length;
        if (wide)
            given.record.type = listed->type;
        else
            given.bytes[length - 1] = (char)listed->type;
        memcpy(given.bytes + name_offset, name, name_length);
        if (copy_to_user(a[1] + used, given.bytes, length))
            return used ? (int64_t)used : -EFAULT;
        used += length;
        file->position++;
    }
    return (int64_t)used;
}

int64_t sys_getdents64(struct task *task, const uint64_t *a) { return give_entries(task, a, true); }

int64_t sys_getdents(struct task *task, const uint64_t *a) { return give_entries(task, a, false); }

uint64_t file_number(const struct host *host, const struct file *file) {
    /* The arena's base differs between runs, places inside it do not. */
    const void *identity = file->kind == FILE_PIPE ? pipe_identity(file) : file->object;
    return ((uint64_t)(uintptr_t)identity - (uint64_t)(uintptr_t)host) / 16;
}
