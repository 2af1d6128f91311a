/* Calls that change real files by name or as a whole: directories, links, modes, owners, times, sizes.
 *
 * The system call table calls this. The real kernel does the work; what is kept here is which files the run has changed
 * (inode.c), so that their times are virtual, and whose they are: the real owner is always who runs the simulator.
 */
#include "credentials.h"
#include "fs.h"
#include "fs_internal.h"
#include "inotify.h"
#include "syscalls.h"
#include "tty.h"

#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/resource.h>
#include <linux/stat.h>
#include <linux/time_types.h>

#define NS_NOW ((1l << 30) - 1l)  /* UTIME_NOW */
#define NS_OMIT ((1l << 30) - 2l) /* UTIME_OMIT */
/* What a time of a file can be in ns of Unix time. */
#define SECONDS_MAX (INT64_MAX / NS_PER_S - 1)

static void written_at(struct task *task, int directory, const char *path, int flags, bool own, bool created) {
    struct stat status;
    if (native_stat(directory, path, flags, &status) < 0)
        return;
    struct inode *inode;
    if (created)
        inode_created(task, &status, own);
    else if ((inode = inode_get(task->host, &status, own)))
        inode_written(task->host, inode);
}

void location_parent_written(struct task *task, const struct location *location) {
    size_t length = strlen(location->path);
    char *parent = kalloc_raw(task->host, length + 2);
    if (!parent)
        return;
    memcpy(parent, location->path, length + 1);
    while (length && parent[length - 1] == '/')
        length--;
    while (length && parent[length - 1] != '/')
        length--;
    memcpy(parent + length, ".", 2);
    written_at(task, location->directory, parent, 0, location->own, false);
    kfree(task->host, parent);
}

/* Finds a real name that is about to be changed. */
static int64_t find_changeable(struct task *task, int directory, uint64_t user_path, bool follow,
                               struct location **location) {
    int64_t result = location_find(task, directory, user_path, follow, location);
    if (result)
        return result;
    result = location_changeable(*location);
    if (result)
        location_free(task->host, *location);
    return result;
}

static uint32_t creation_mode(const struct task *task, uint64_t mode) {
    return (uint32_t)mode & 07777 & ~task->process->umask;
}

/* Ends a call that made an entry. */
static int64_t finish_creation(struct task *task, struct location *location, int64_t result) {
    if (!result) {
        written_at(task, location->directory, location->path, AT_SYMLINK_NOFOLLOW, location->own, true);
        location_parent_written(task, location);
        inotify_created(task, location);
    }
    location_free(task->host, location);
    return result;
}

static int64_t mkdir_at(struct task *task, int directory, uint64_t user_path, uint64_t mode) {
    struct location *location;
    int64_t result = location_find(task, directory, user_path, false, &location);
    if (result)
        return result;
    if (location->found.kind != NAME_REAL) {
        result = location->found.kind == NAME_MISSING ? -EACCES : -EEXIST;
        location_free(task->host, location);
        return result;
    }
    result = platform_syscall(__NR_mkdirat, (uint64_t)location->directory, (uint64_t)(uintptr_t)location->path,
                              creation_mode(task, mode), 0, 0, 0);
    return finish_creation(task, location, result);
}

int64_t sys_mkdir(struct task *task, const uint64_t *a) { return mkdir_at(task, AT_FDCWD, a[0], a[1]); }

int64_t sys_mkdirat(struct task *task, const uint64_t *a) { return mkdir_at(task, (int)a[0], a[1], a[2]); }

/* A FIFO's file is real, its pipe is ours (pipe.c). Devices are not for programs to make. */
static int64_t mknod_at(struct task *task, int directory, uint64_t user_path, uint32_t mode) {
    uint32_t type = mode & MODE_TYPE ? mode & MODE_TYPE : MODE_REGULAR;
    if (type != MODE_REGULAR && type != MODE_FIFO)
        return -EPERM;
    struct location *location;
    int64_t result = find_changeable(task, directory, user_path, false, &location);
    if (result)
        return result;
    result = platform_syscall(__NR_mknodat, (uint64_t)location->directory, (uint64_t)(uintptr_t)location->path,
                              type | creation_mode(task, mode), 0, 0, 0);
    struct stat status;
    if (!result && type == MODE_FIFO && native_stat(location->directory, location->path, 0, &status) == 0)
        fifo_created(task->host, status.st_dev, status.st_ino);
    return finish_creation(task, location, result);
}

int64_t sys_mknod(struct task *task, const uint64_t *a) { return mknod_at(task, AT_FDCWD, a[0], (uint32_t)a[1]); }

int64_t sys_mknodat(struct task *task, const uint64_t *a) { return mknod_at(task, (int)a[0], a[1], (uint32_t)a[2]); }

/* A name of a file was taken away, which may have been its last one. `status` is from before. */
static void name_removed(struct task *task, const struct stat *status) {
    bool directory = (status->st_mode & MODE_TYPE) == MODE_DIRECTORY;
    if (!directory)
        inotify_status(task->host, status, IN_ATTRIB); /* the count of its links */
    if (directory || status->st_nlink == 1) {
        inotify_gone(task->host, status);
        inode_unnamed(task->host, status);
    }
}

static uint32_t directory_bit(const struct stat *status) {
    return (status->st_mode & MODE_TYPE) == MODE_DIRECTORY ? IN_ISDIR : 0;
}

/* 0 if nothing but what is in it keeps a directory from being removed. */
static int64_t removable(const struct location *location) {
    if (location->dots)
        return location->dots == 1 ? -EINVAL : -ENOTEMPTY;
    return location_mounted(location) ? -EBUSY : 0;
}

static int64_t unlink_at(struct task *task, int directory, uint64_t user_path, uint32_t flags) {
    if (flags & ~(uint32_t)AT_REMOVEDIR)
        return -EINVAL;
    struct location *location;
    int64_t result = find_changeable(task, directory, user_path, false, &location);
    if (result)
        return result;
    struct stat status;
    bool known = native_stat(location->directory, location->path, AT_SYMLINK_NOFOLLOW, &status) == 0;
    result = flags & AT_REMOVEDIR ? removable(location) : 0;
    if (!result)
        result = platform_syscall(__NR_unlinkat, (uint64_t)location->directory, (uint64_t)(uintptr_t)location->path,
                                  flags, 0, 0, 0);
    if (!result) {
        location_parent_written(task, location);
        if (known) {
            name_removed(task, &status);
            inotify_entry(task, location, IN_DELETE | directory_bit(&status), 0);
        }
    }
    location_free(task->host, location);
    return result;
}

int64_t sys_unlink(struct task *task, const uint64_t *a) { return unlink_at(task, AT_FDCWD, a[0], 0); }

int64_t sys_unlinkat(struct task *task, const uint64_t *a) { return unlink_at(task, (int)a[0], a[1], (uint32_t)a[2]); }

int64_t sys_rmdir(struct task *task, const uint64_t *a) { return unlink_at(task, AT_FDCWD, a[0], AT_REMOVEDIR); }

/* Whether nothing has the name of `replaced` any more, and it had only that one. */
static bool rename_unnamed(const struct stat *moved, const struct stat *replaced, bool exchanged) {
    bool same = replaced->st_ino == moved->st_ino && replaced->st_dev == moved->st_dev;
    return replaced->st_ino && !exchanged && !same && (directory_bit(replaced) || replaced->st_nlink == 1);
}

/* `replaced` had the new name before; number 0: nobody. */
static void tell_rename(struct task *task, const struct location *from, const struct location *to,
                        const struct stat *moved, const struct stat *replaced, bool exchanged) {
    struct host *host = task->host;
    uint32_t cookie = inotify_cookie(host), bit = directory_bit(moved);
    if (replaced->st_ino == moved->st_ino && replaced->st_dev == moved->st_dev)
        return; /* two names of one file: nothing is done */
    inotify_entry(task, from, IN_MOVED_FROM | bit, cookie);
    inotify_entry(task, to, IN_MOVED_TO | bit, cookie);
    if (replaced->st_ino && !exchanged)
        inotify_status(host, replaced, IN_ATTRIB);
    inotify_status(host, moved, IN_MOVE_SELF);
    if (replaced->st_ino && exchanged) {
        cookie = inotify_cookie(host);
        inotify_entry(task, to, IN_MOVED_FROM | directory_bit(replaced), cookie);
        inotify_entry(task, from, IN_MOVED_TO | directory_bit(replaced), cookie);
        inotify_status(host, replaced, IN_MOVE_SELF);
    } else if (rename_unnamed(moved, replaced, exchanged)) {
        inotify_gone(host, replaced);
    }
}

static bool busy(const struct location *location) { return location->dots || location_mounted(location); }

static int64_t rename_at(struct task *task, int from_directory, uint64_t from_path, int to_directory, uint64_t to_path,
                         uint64_t flags) {
    struct location *from, *to;
    int64_t result = find_changeable(task, from_directory, from_path, false, &from);
    if (result)
        return result;
    result = find_changeable(task, to_directory, to_path, false, &to);
    if (!result) {
        struct stat moved, replaced = {0};
        bool known = native_stat(from->directory, from->path, AT_SYMLINK_NOFOLLOW, &moved) == 0;
        if (known && native_stat(to->directory, to->path, AT_SYMLINK_NOFOLLOW, &replaced))
            replaced.st_ino = 0;
        result = location_mount(from) != location_mount(to) ? -EXDEV : busy(from) || busy(to) ? -EBUSY : 0;
        if (!result)
            result = platform_syscall(__NR_renameat2, (uint64_t)from->directory, (uint64_t)(uintptr_t)from->path,
                                      (uint64_t)to->directory, (uint64_t)(uintptr_t)to->path, flags, 0);
        if (!result) {
            location_parent_written(task, from);
            location_parent_written(task, to);
            if (known && inotify_active(task->host))
                tell_rename(task, from, to, &moved, &replaced, flags & RENAME_EXCHANGE);
            if (known && rename_unnamed(&moved, &replaced, flags & RENAME_EXCHANGE))
                inode_unnamed(task->host, &replaced);
        }
        location_free(task->host, to);
    }
    location_free(task->host, from);
    return result;
}

int64_t sys_rename(struct task *task, const uint64_t *a) { return rename_at(task, AT_FDCWD, a[0], AT_FDCWD, a[1], 0); }

int64_t sys_renameat(struct task *task, const uint64_t *a) {
    return rename_at(task, (int)a[0], a[1], (int)a[2], a[3], 0);
}

int64_t sys_renameat2(struct task *task, const uint64_t *a) {
    return rename_at(task, (int)a[0], a[1], (int)a[2], a[3], (uint32_t)a[4]);
}

/* linkat(fd, "", AT_EMPTY_PATH) and /proc/self/fd/<n> give a name to an open file, O_TMPFILE's for one. */
static int64_t link_descriptor(const struct fd_entry *entry, const struct location *to) {
    if (!entry || entry->native_fd < 0)
        return entry ? -EXDEV : -EBADF;
    char name[32];
    kprintf(name, sizeof name, "/proc/self/fd/%d", entry->native_fd);
    return platform_syscall(__NR_linkat, (uint64_t)AT_FDCWD, (uint64_t)(uintptr_t)name, (uint64_t)to->directory,
                            (uint64_t)(uintptr_t)to->path, AT_SYMLINK_FOLLOW, 0);
}

static int64_t link_at(struct task *task, int from_directory, uint64_t from_path, int to_directory, uint64_t to_path,
                       uint32_t flags) {
    if (flags & ~(uint32_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    struct location *from = NULL, *to;
    struct stat status;
    char first;
    if (copy_from_user(&first, from_path, 1))
        return -EFAULT;
    int64_t result = find_changeable(task, to_directory, to_path, false, &to);
    if (result)
        return result;
    if (!first && (flags & AT_EMPTY_PATH)) {
        result = link_descriptor(fd_entry(task, from_directory), to);
    } else {
        result = location_find(task, from_directory, from_path, (flags & AT_SYMLINK_FOLLOW) != 0, &from);
        if (!result && from->found.kind == NAME_DESCRIPTOR && (flags & AT_SYMLINK_FOLLOW) &&
            from->found.process == task->process)
            result = link_descriptor(fd_entry(task, from->found.fd), to);
        else if (!result && from->found.kind != NAME_REAL)
            result = from->found.kind == NAME_MISSING ? -ENOENT : -EXDEV;
        else if (!result && location_mount(from) != location_mount(to))
            result = native_stat(from->directory, from->path, AT_SYMLINK_NOFOLLOW, &status) ?: -EXDEV;
        else if (!result)
            result =
                platform_syscall(__NR_linkat, (uint64_t)from->directory, (uint64_t)(uintptr_t)from->path,
                                 (uint64_t)to->directory, (uint64_t)(uintptr_t)to->path, flags & AT_SYMLINK_FOLLOW, 0);
    }
    if (!result) {
        location_parent_written(task, to);
        if (native_stat(to->directory, to->path, AT_SYMLINK_NOFOLLOW, &status) == 0) {
            struct inode *inode = inode_seen(task->host, &status);
            if (inode)
                inode->nameless = false;
            inotify_status(task->host, &status, IN_ATTRIB);
        }
        inotify_created(task, to);
    }
    if (from)
        location_free(task->host, from);
    location_free(task->host, to);
    return result;
}

int64_t sys_link(struct task *task, const uint64_t *a) { return link_at(task, AT_FDCWD, a[0], AT_FDCWD, a[1], 0); }

int64_t sys_linkat(struct task *task, const uint64_t *a) {
    return link_at(task, (int)a[0], a[1], (int)a[2], a[3], (uint32_t)a[4]);
}

/* The real kernel will follow the link: a target below /srv/<hostname> is written as the real path. */
static int64_t symlink_at(struct task *task, uint64_t user_target, int directory, uint64_t user_path) {
    struct host *host = task->host;
    char *target = kalloc_raw(host, FS_PATH_MAX), *real = kalloc_raw(host, FS_REAL_MAX);
    struct location *location = NULL;
    int64_t result = target && real ? string_from_user(target, user_target, FS_PATH_MAX) : -ENOMEM;
    if (result == 0)
        result = -ENOENT;
    if (result > 0)
        result = find_changeable(task, directory, user_path, false, &location);
    if (!result && location) {
        const char *stored = fs_virtual_to_real(host, target, real, FS_REAL_MAX) ? real : target;
        result = platform_syscall(__NR_symlinkat, (uint64_t)(uintptr_t)stored, (uint64_t)location->directory,
                                  (uint64_t)(uintptr_t)location->path, 0, 0, 0);
        result = finish_creation(task, location, result);
    }
    kfree(host, target);
    kfree(host, real);
    return result;
}

int64_t sys_symlink(struct task *task, const uint64_t *a) { return symlink_at(task, a[0], AT_FDCWD, a[1]); }

int64_t sys_symlinkat(struct task *task, const uint64_t *a) { return symlink_at(task, a[0], (int)a[1], a[2]); }

/* ---- Modes, owners, times ---- */

#define SET_USER 04000u
#define SET_GROUP 02000u
#define GROUP_EXECUTE 0010u

static bool is_owner(const struct task *task, const struct inode *inode) {
    return task->credentials->user.filesystem == inode->user || credentials_capable(task, CAP_FOWNER);
}

/* The record of a real file that is named, or with an empty path open, and its real status. */
static int64_t find_inode(struct task *task, int directory, const char *path, int flags, bool own, struct stat *status,
                          struct inode **inode) {
    int64_t result = native_stat(directory, path, flags, status);
    if (result)
        return result;
    *inode = inode_get(task->host, status, own);
    return *inode ? 0 : -ENOMEM;
}

/* The mode that chmod gives; -EPERM. */
static int64_t changed_mode(const struct task *task, const struct inode *inode, uint64_t mode) {
    if (!is_owner(task, inode))
        return -EPERM;
    bool sets_group = credentials_in_group(task, inode->group) || credentials_capable(task, CAP_FSETID);
    return (int64_t)(mode & 07777 & ~(sets_group ? 0u : (uint64_t)SET_GROUP));
}

/* Terminals have modes and owners, though nothing real is behind them. */
static int64_t chmod_terminal(const struct task *task, struct terminal *terminal, uint64_t mode) {
    if (task->credentials->user.filesystem != terminal->user && !credentials_capable(task, CAP_FOWNER))
        return -EPERM;
    terminal->mode = (uint32_t)mode & 07777;
    return 0;
}

/* Finds a name whose mode or owner is to be changed: that of a terminal, or a real one. */
static int64_t find_owned(struct task *task, int directory, uint64_t user_path, bool follow,
                          struct location **location) {
    int64_t result = location_find(task, directory, user_path, follow, location);
    if (result || (*location)->found.terminal)
        return result;
    result = location_changeable(*location);
    if (result)
        location_free(task->host, *location);
    return result;
}

static int64_t chmod_at(struct task *task, int directory, uint64_t user_path, uint64_t mode, bool follow) {
    struct location *location;
    int64_t result = find_owned(task, directory, user_path, follow, &location);
    if (result)
        return result;
    if (location->found.terminal) {
        result = chmod_terminal(task, location->found.terminal, mode);
        location_free(task->host, location);
        return result;
    }
    struct stat status;
    struct inode *inode = NULL;
    result = find_inode(task, location->directory, location->path, follow ? 0 : AT_SYMLINK_NOFOLLOW, location->own,
                        &status, &inode);
    if (!result && (status.st_mode & MODE_TYPE) == MODE_LINK)
        result = -EOPNOTSUPP;
    if (!result)
        result = changed_mode(task, inode, mode);
    if (result >= 0)
        result = platform_syscall(__NR_fchmodat, (uint64_t)location->directory, (uint64_t)(uintptr_t)location->path,
                                  (uint64_t)result, 0, 0, 0);
    if (!result) {
        inode_changed(task->host, inode, &status);
        inotify_named(task, location, follow, IN_ATTRIB);
    }
    location_free(task->host, location);
    return result;
}

int64_t sys_chmod(struct task *task, const uint64_t *a) { return chmod_at(task, AT_FDCWD, a[0], a[1], true); }

int64_t sys_fchmodat(struct task *task, const uint64_t *a) { return chmod_at(task, (int)a[0], a[1], a[2], true); }

int64_t sys_fchmodat2(struct task *task, const uint64_t *a) {
    if ((uint32_t)a[3] & ~(uint32_t)AT_SYMLINK_NOFOLLOW)
        return -EINVAL;
    return chmod_at(task, (int)a[0], a[1], a[2], !((uint32_t)a[3] & AT_SYMLINK_NOFOLLOW));
}

int64_t sys_fchmod(struct task *task, const uint64_t *a) {
    const struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry || (entry->file->flags & O_PATH))
        return -EBADF;
    if (terminal_behind(entry->file))
        return chmod_terminal(task, terminal_behind(entry->file), a[1]);
    if (entry->native_fd < 0)
        return 0; /* modes of sockets and pipes mean nothing */
    struct stat status;
    struct inode *inode = native_inode(task, entry->file, entry->native_fd);
    int64_t result = inode ? native_stat(entry->native_fd, "", AT_EMPTY_PATH, &status) : -ENOMEM;
    if (!result)
        result = changed_mode(task, inode, a[1]);
    if (result >= 0)
        result = platform_syscall(__NR_fchmod, (uint64_t)entry->native_fd, (uint64_t)result, 0, 0, 0, 0);
    if (!result) {
        inode_changed(task->host, inode, &status);
        inotify_descriptor(task->host, entry->native_fd, IN_ATTRIB);
    }
    return result;
}

/* Whether the task may give what belongs to (owner, of_group) to (user, group); UINT32_MAX leaves one as it is. */
static bool may_give(const struct task *task, uint32_t owner, uint32_t of_group, uint32_t user, uint32_t group) {
    if (credentials_capable(task, CAP_CHOWN))
        return true;
    bool own = task->credentials->user.filesystem == owner;
    return (user == UINT32_MAX || (own && user == owner)) &&
           (group == UINT32_MAX || (own && (group == of_group || credentials_in_group(task, group))));
}

/* The new owner of a real file is known to the simulated host alone: the real one stays who runs the simulator. What
 * ran with the old owner's rights does not with the new one's; the real mode is set by `descriptor` or `location`. */
static int64_t give_inode(struct task *task, struct inode *inode, struct stat *status, uint64_t user, uint64_t group,
                          int descriptor, const struct location *location) {
    uint32_t new_user = (uint32_t)user, new_group = (uint32_t)group, mode = status->st_mode;
    if (!may_give(task, inode->user, inode->group, new_user, new_group))
        return -EPERM;
    uint32_t dropped = SET_USER | (mode & GROUP_EXECUTE ? SET_GROUP : 0u);
    if ((mode & MODE_TYPE) == MODE_REGULAR && (mode & dropped)) {
        uint64_t left = mode & 07777 & ~dropped;
        int64_t result = location ? platform_syscall(__NR_fchmodat, (uint64_t)location->directory,
                                                     (uint64_t)(uintptr_t)location->path, left, 0, 0, 0)
                                  : platform_syscall(__NR_fchmod, (uint64_t)descriptor, left, 0, 0, 0, 0);
        if (result)
            return result;
    }
    inode->user = new_user == UINT32_MAX ? inode->user : new_user;
    inode->group = new_group == UINT32_MAX ? inode->group : new_group;
    inode_changed(task->host, inode, status);
    return 0;
}

/* The owner of what is no real file. */
static int64_t give_simulated(const struct task *task, uint32_t *owner, uint32_t *of_group, uint64_t user,
                              uint64_t group) {
    if (!may_give(task, *owner, *of_group, (uint32_t)user, (uint32_t)group))
        return -EPERM;
    *owner = (uint32_t)user == UINT32_MAX ? *owner : (uint32_t)user;
    *of_group = (uint32_t)group == UINT32_MAX ? *of_group : (uint32_t)group;
    return 0;
}

static int64_t chown_at(struct task *task, int directory, uint64_t user_path, uint64_t user, uint64_t group,
                        bool follow) {
    struct location *location;
    struct stat status;
    struct inode *inode = NULL;
    int64_t result = find_owned(task, directory, user_path, follow, &location);
    if (result)
        return result;
    struct terminal *terminal = location->found.terminal;
    if (terminal) {
        location_free(task->host, location);
        return give_simulated(task, &terminal->user, &terminal->group, user, group);
    }
    result = find_inode(task, location->directory, location->path, follow ? 0 : AT_SYMLINK_NOFOLLOW, location->own,
                        &status, &inode);
    if (!result)
        result = give_inode(task, inode, &status, user, group, -1, location);
    if (!result)
        inotify_named(task, location, follow, IN_ATTRIB);
    location_free(task->host, location);
    return result;
}

static int64_t chown_descriptor(struct task *task, int fd, uint64_t user, uint64_t group) {
    const struct fd_entry *entry = fd_entry(task, fd);
    if (!entry || (entry->file->flags & O_PATH))
        return -EBADF;
    struct file *file = entry->file;
    if (file->kind == FILE_VIRTUAL)
        return -EPERM;
    if (entry->native_fd >= 0) {
        struct stat status;
        struct inode *inode = native_inode(task, file, entry->native_fd);
        int64_t result = inode ? native_stat(entry->native_fd, "", AT_EMPTY_PATH, &status) : -ENOMEM;
        if (!result)
            result = give_inode(task, inode, &status, user, group, entry->native_fd, NULL);
        if (!result)
            inotify_descriptor(task->host, entry->native_fd, IN_ATTRIB);
        return result;
    }
    struct terminal *terminal = terminal_behind(file);
    return terminal ? give_simulated(task, &terminal->user, &terminal->group, user, group)
                    : give_simulated(task, &file->user, &file->group, user, group);
}

int64_t sys_chown(struct task *task, const uint64_t *a) { return chown_at(task, AT_FDCWD, a[0], a[1], a[2], true); }

int64_t sys_lchown(struct task *task, const uint64_t *a) { return chown_at(task, AT_FDCWD, a[0], a[1], a[2], false); }

int64_t sys_fchown(struct task *task, const uint64_t *a) { return chown_descriptor(task, (int)a[0], a[1], a[2]); }

int64_t sys_fchownat(struct task *task, const uint64_t *a) {
    uint32_t flags = (uint32_t)a[4];
    char first;
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if ((flags & AT_EMPTY_PATH) && copy_from_user(&first, a[1], 1))
        return -EFAULT;
    if ((flags & AT_EMPTY_PATH) && !first)
        return chown_descriptor(task, (int)a[0], a[2], a[3]);
    return chown_at(task, (int)a[0], a[1], a[2], a[3], !(flags & AT_SYMLINK_NOFOLLOW));
}

/* A time of utimensat in ns of Unix time. `old` stays under UTIME_OMIT. */
static int64_t chosen_time(const struct host *host, const struct __kernel_timespec *wanted, int64_t old,
                           int64_t *time) {
    if (!wanted || wanted->tv_nsec == NS_NOW)
        *time = clock_realtime(host);
    else if (wanted->tv_nsec == NS_OMIT)
        *time = old;
    else if (wanted->tv_nsec < 0 || wanted->tv_nsec >= NS_PER_S)
        return -EINVAL;
    else
        *time = KMAX(-SECONDS_MAX, KMIN(SECONDS_MAX, wanted->tv_sec)) * NS_PER_S + wanted->tv_nsec;
    return 0;
}

static int64_t set_times(struct task *task, int directory, const char *path, int flags, bool own,
                         const struct __kernel_timespec *times) {
    struct stat status;
    int64_t result = native_stat(directory, path, flags, &status);
    if (result)
        return result;
    struct inode *inode = inode_get(task->host, &status, own);
    if (!inode)
        return -ENOMEM;
    bool now = !times || (times[0].tv_nsec == NS_NOW && times[1].tv_nsec == NS_NOW);
    if (!is_owner(task, inode)) /* who may write may say that it was written now */
        if (!now || !credentials_permit(task, status.st_mode, inode->user, inode->group, 2))
            return now ? -EACCES : -EPERM;
    inode_present(inode, &status);
    int64_t atime = (int64_t)status.st_atime * NS_PER_S + (int64_t)status.st_atime_nsec;
    int64_t mtime = (int64_t)status.st_mtime * NS_PER_S + (int64_t)status.st_mtime_nsec;
    result = chosen_time(task->host, times, atime, &atime);
    if (!result)
        result = chosen_time(task->host, times ? times + 1 : NULL, mtime, &mtime);
    if (result)
        return result;
    inode_written(task->host, inode);
    inode->atime = atime;
    inode->mtime = mtime;
    return 0;
}

/* Both times are an attribute; one of them is as if the file had been read or written (fsnotify_change of Linux). */
static uint32_t times_event(const struct __kernel_timespec *times) {
    bool access = !times || times[0].tv_nsec != NS_OMIT, modification = !times || times[1].tv_nsec != NS_OMIT;
    return access && modification ? IN_ATTRIB : access ? IN_ACCESS : modification ? IN_MODIFY : 0;
}

static int64_t utimens(struct task *task, int directory, uint64_t user_path, const struct __kernel_timespec *times,
                       uint32_t flags) {
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    char first = '\0';
    if (user_path && (flags & AT_EMPTY_PATH) && copy_from_user(&first, user_path, 1))
        return -EFAULT;
    if (!user_path || ((flags & AT_EMPTY_PATH) && !first)) {
        const struct fd_entry *entry = fd_entry(task, directory);
        if (!entry)
            return -EBADF;
        if (entry->native_fd < 0)
            return 0;
        int64_t done = set_times(task, entry->native_fd, "", AT_EMPTY_PATH, true, times);
        if (!done && times_event(times))
            inotify_descriptor(task->host, entry->native_fd, times_event(times));
        return done;
    }
    struct location *location;
    bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
    int64_t result = find_changeable(task, directory, user_path, follow, &location);
    if (result)
        return result;
    result =
        set_times(task, location->directory, location->path, follow ? 0 : AT_SYMLINK_NOFOLLOW, location->own, times);
    if (!result && times_event(times))
        inotify_named(task, location, follow, times_event(times));
    location_free(task->host, location);
    return result;
}

int64_t sys_utimensat(struct task *task, const uint64_t *a) {
    struct __kernel_timespec times[2];
    if (a[2] && copy_from_user(times, a[2], sizeof times))
        return -EFAULT;
    return utimens(task, (int)a[0], a[1], a[2] ? times : NULL, (uint32_t)a[3]);
}

/* futimesat and utimes: microseconds. */
static int64_t utimes_at(struct task *task, int directory, uint64_t user_path, uint64_t user_times) {
    struct __kernel_timespec times[2];
    if (user_times && copy_from_user(times, user_times, sizeof times))
        return -EFAULT;
    for (size_t i = 0; user_times && i < 2; i++) {
        if (times[i].tv_nsec < 0 || times[i].tv_nsec >= 1000000)
            return -EINVAL;
        times[i].tv_nsec *= NS_PER_US;
    }
    return utimens(task, directory, user_path, user_times ? times : NULL, 0);
}

int64_t sys_utimes(struct task *task, const uint64_t *a) { return utimes_at(task, AT_FDCWD, a[0], a[1]); }

int64_t sys_futimesat(struct task *task, const uint64_t *a) { return utimes_at(task, (int)a[0], a[1], a[2]); }

int64_t sys_utime(struct task *task, const uint64_t *a) {
    int64_t seconds[2];
    if (a[1] && copy_from_user(seconds, a[1], sizeof seconds))
        return -EFAULT;
    struct __kernel_timespec times[2] = {{0, 0}, {0, 0}};
    for (size_t i = 0; a[1] && i < 2; i++)
        times[i].tv_sec = seconds[i];
    return utimens(task, AT_FDCWD, a[0], a[1] ? times : NULL, 0);
}

/* Both masks: the real kernel applies its own to what it creates. */
int64_t sys_umask(struct task *task, const uint64_t *a) {
    uint32_t old = task->process->umask;
    task->process->umask = (uint32_t)a[0] & 0777;
    platform_syscall(__NR_umask, task->process->umask, 0, 0, 0, 0, 0);
    return old;
}

/* ---- Sizes ---- */

/* A file may become smaller than RLIMIT_FSIZE, and stay larger, but not grow beyond it. */
static int64_t limit_size(struct task *task, int directory, const char *path, int flags, uint64_t size) {
    struct stat status;
    if (size <= task->process->limits[RLIMIT_FSIZE][0] || native_stat(directory, path, flags, &status) ||
        (uint64_t)status.st_size >= size)
        return 0;
    return fs_exceeds_size(task);
}

int64_t sys_truncate(struct task *task, const uint64_t *a) {
    if ((int64_t)a[1] < 0)
        return -EINVAL;
    struct location *location;
    int64_t result = find_changeable(task, AT_FDCWD, a[0], true, &location);
    if (result)
        return result;
    struct stat status;
    result = limit_size(task, AT_FDCWD, location->path, 0, a[1]);
    if (!result && native_stat(AT_FDCWD, location->path, 0, &status) == 0) {
        const struct inode *inode = inode_seen(task->host, &status);
        result = inode && inode->uses[INODE_RUN] ? -ETXTBSY : 0;
    }
    if (!result)
        result = platform_syscall(__NR_truncate, (uint64_t)(uintptr_t)location->path, a[1], 0, 0, 0, 0);
    if (!result)
        written_at(task, AT_FDCWD, location->path, 0, location->own, false);
    if (!result)
        inotify_named(task, location, true, IN_MODIFY);
    location_free(task->host, location);
    return result;
}

int64_t sys_ftruncate(struct task *task, const uint64_t *a) {
    const struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry || (entry->file->flags & O_PATH))
        return -EBADF;
    if (entry->native_fd < 0)
        return -EINVAL;
    int64_t result = (int64_t)a[1] < 0 ? 0 : limit_size(task, entry->native_fd, "", AT_EMPTY_PATH, a[1]);
    if (!result)
        result = platform_syscall(__NR_ftruncate, (uint64_t)entry->native_fd, a[1], 0, 0, 0, 0);
    if (!result) {
        fs_written(task, entry);
        inotify_descriptor(task->host, entry->native_fd, IN_MODIFY);
    }
    return result;
}

int64_t sys_fallocate(struct task *task, const uint64_t *a) {
    const struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry || (entry->file->flags & O_PATH))
        return -EBADF;
    if (entry->native_fd < 0)
        return entry->file->kind == FILE_PIPE ? -ESPIPE : -ENODEV;
    int64_t result = a[1] || (int64_t)a[2] < 0 || (int64_t)a[3] <= 0
                         ? 0
                         : limit_size(task, entry->native_fd, "", AT_EMPTY_PATH, a[2] + a[3]);
    if (!result)
        result = platform_syscall(__NR_fallocate, (uint64_t)entry->native_fd, a[1], a[2], a[3], 0, 0);
    if (!result) {
        fs_written(task, entry);
        inotify_descriptor(task->host, entry->native_fd, IN_MODIFY);
    }
    return result;
}

/* ---- Hints, and what the run's directory does not need: the machine's disk is not simulated ---- */

int64_t sys_fsync(struct task *task, const uint64_t *a) {
    const struct file *file = fd_file(task, (int)a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    return file->kind == FILE_NATIVE ? 0 : -EINVAL;
}

int64_t sys_fdatasync(struct task *task, const uint64_t *a) { return sys_fsync(task, a); }

int64_t sys_sync(struct task *task, const uint64_t *a) {
    (void)task;
    (void)a;
    return 0;
}

int64_t sys_fadvise64(struct task *task, const uint64_t *a) {
    const struct file *file = fd_file(task, (int)a[0]);
    if (!file)
        return -EBADF;
    if (file->kind == FILE_PIPE)
        return -ESPIPE;
    return (uint32_t)a[3] > 5 ? -EINVAL : 0;
}

int64_t sys_readahead(struct task *task, const uint64_t *a) {
    const struct file *file = fd_file(task, (int)a[0]);
    if (!file || (file->flags & O_PATH) || (file->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    return file->kind == FILE_NATIVE ? 0 : -EINVAL;
}

/* All calls on extended attributes: no file system of the simulation has them. */
int64_t sys_xattr_unsupported(struct task *task, const uint64_t *a) {
    (void)task;
    (void)a;
    return -EOPNOTSUPP;
}
