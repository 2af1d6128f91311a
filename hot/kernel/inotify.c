/* inotify: what a host's processes do to real files, told to those of them that watch (inotify(7)).
 *
 * file.c, fs.c, namespace.c and splice.c report here. A watch is on a real file, by its identity; what happens to an
 * entry of a watched directory is told with its name. What others do to the same files (another host, the machine
 * itself) is not seen. Nothing costs anything on a host where nobody watches.
 */
#include "inotify.h"
#include "async.h"
#include "credentials.h"
#include "fs_internal.h"
#include "syscalls.h"

#include <asm/ioctls.h>
#include <linux/fcntl.h>
#include <linux/poll.h>

#define QUEUE_MAX 16384u /* fs.inotify.max_queued_events */
#define NAME_UNIT 16u    /* names are padded to whole headers */
#define FIRST_DESCRIPTOR 1

struct watch {
    struct list node; /* in inotify->watches */
    uint64_t device, inode;
    uint32_t mask;
    int32_t descriptor;
};

struct inotify {
    struct list node; /* in host->inotifies */
    struct file *file;
    struct list watches, events;
    uint32_t queued, bytes; /* events, and what they take to read */
    int32_t next_descriptor;
};

struct queued_event {
    struct list node;
    struct inotify_event event; /* with the padded name behind it */
};

/* ---- Events ---- */

static size_t event_size(const struct queued_event *queued) { return sizeof queued->event + queued->event.len; }

static bool same_event(const struct queued_event *left, const struct queued_event *right) {
    return left->event.len == right->event.len &&
           memcmp(&left->event, &right->event, event_size(left)) == 0; /* names are padded with zeros */
}

/* Full queues tell so once, and lose the rest. */
static void queue_event(struct host *host, struct inotify *inotify, int32_t descriptor, uint32_t mask, uint32_t cookie,
                        const char *name) {
    bool overflow = inotify->queued >= QUEUE_MAX;
    if (inotify->queued > QUEUE_MAX)
        return;
    size_t length = name && !overflow ? strlen(name) : 0;
    size_t padded = length ? (length + 1 + NAME_UNIT - 1) / NAME_UNIT * NAME_UNIT : 0;
    struct queued_event *queued = kalloc(host, sizeof *queued + padded);
    if (!queued)
        return;
    queued->event = (struct inotify_event){descriptor, mask, cookie, (uint32_t)padded};
    if (overflow)
        queued->event = (struct inotify_event){-1, IN_Q_OVERFLOW, 0, 0};
    memcpy(queued->event.name, name, length);
    if (!list_empty(&inotify->events) &&
        same_event(list_entry(inotify->events.prev, struct queued_event, node), queued)) {
        kfree(host, queued);
        return;
    }
    list_push_back(&inotify->events, &queued->node);
    inotify->queued++;
    inotify->bytes += (uint32_t)event_size(queued);
    wake_up(host, &inotify->file->wait, POLLIN | POLLRDNORM);
    async_tell(host, inotify->file, ASYNC_IN);
}

static void drop_watch(struct host *host, struct inotify *inotify, struct watch *watch) {
    queue_event(host, inotify, watch->descriptor, IN_IGNORED, 0, NULL);
    list_remove(&watch->node);
    kfree(host, watch);
}

/* Something happened to a file, or with a name to an entry of a directory. */
static void tell(struct host *host, const struct stat *status, uint32_t mask, uint32_t cookie, const char *name,
                 bool unlinked) {
    list_for_each(instance, &host->inotifies) {
        struct inotify *inotify = list_entry(instance, struct inotify, node);
        list_for_each_safe(node, &inotify->watches) {
            struct watch *watch = list_entry(node, struct watch, node);
            if (watch->inode != status->st_ino || watch->device != status->st_dev ||
                !(watch->mask & mask & IN_ALL_EVENTS) || (unlinked && (watch->mask & IN_EXCL_UNLINK)))
                continue;
            queue_event(host, inotify, watch->descriptor, mask, cookie, name);
            if (watch->mask & IN_ONESHOT)
                drop_watch(host, inotify, watch);
        }
    }
}

static uint32_t directory_bit(const struct stat *status) {
    return (status->st_mode & MODE_TYPE) == MODE_DIRECTORY ? IN_ISDIR : 0;
}

/* Splits a path at its last component, in place; a trailing slash does not count. NULL: it has no parent's name. */
static const char *split(char *path, const char **parent) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    size_t start = length;
    while (start && path[start - 1] != '/')
        start--;
    *parent = start > 1 ? path : start ? "/" : ".";
    if (start > 1)
        path[start - 1] = '\0';
    return start < length ? path + start : NULL;
}

void inotify_entry(struct task *task, const struct location *location, uint32_t mask, uint32_t cookie) {
    struct host *host = task->host;
    struct stat status;
    if (!inotify_active(host))
        return;
    size_t size = strlen(location->path) + 1;
    char *path = kalloc_raw(host, size);
    const char *parent;
    if (!path)
        return;
    memcpy(path, location->path, size);
    const char *name = split(path, &parent);
    if (name && native_stat(location->directory, parent, 0, &status) == 0)
        tell(host, &status, mask, cookie, name, false);
    kfree(host, path);
}

void inotify_created(struct task *task, const struct location *location) {
    struct stat status;
    if (inotify_active(task->host) &&
        native_stat(location->directory, location->path, AT_SYMLINK_NOFOLLOW, &status) == 0)
        inotify_entry(task, location, IN_CREATE | directory_bit(&status), 0);
}

void inotify_named(struct task *task, const struct location *location, bool follow, uint32_t mask) {
    struct stat status;
    if (!inotify_active(task->host) ||
        native_stat(location->directory, location->path, follow ? 0 : AT_SYMLINK_NOFOLLOW, &status))
        return;
    inotify_entry(task, location, mask | directory_bit(&status), 0);
    tell(task->host, &status, mask | directory_bit(&status), 0, NULL, false);
}

void inotify_status(struct host *host, const struct stat *status, uint32_t mask) {
    if (inotify_active(host)) /* as Linux tells it: moved and deleted directories are not said to be some */
        tell(host, status, mask | (mask & (IN_MOVE_SELF | IN_DELETE_SELF) ? 0 : directory_bit(status)), 0, NULL, false);
}

void inotify_descriptor(struct host *host, int native_fd, uint32_t mask) {
    static const char deleted[] = " (deleted)";
    struct stat status, above;
    if (!inotify_active(host) || native_fd < 0 || native_stat(native_fd, "", AT_EMPTY_PATH, &status))
        return;
    mask |= directory_bit(&status);
    char *path = kalloc_raw(host, FS_PATH_MAX);
    int64_t length = path ? native_path(native_fd, path, FS_PATH_MAX) : -ENOMEM;
    const size_t suffix = sizeof deleted - 1;
    bool unlinked = !status.st_nlink && length > (int64_t)suffix;
    if (unlinked)
        path[length - (int64_t)suffix] = '\0';
    const char *parent, *name = length > 0 ? split(path, &parent) : NULL;
    if (name && path[0] == '/' && native_stat(AT_FDCWD, parent, 0, &above) == 0)
        tell(host, &above, mask, 0, name, unlinked);
    kfree(host, path);
    tell(host, &status, mask, 0, NULL, false);
}

void inotify_gone(struct host *host, const struct stat *status) {
    const struct inode *inode = inotify_active(host) ? inode_seen(host, status) : NULL;
    if (!inotify_active(host) || (inode && inode->uses[INODE_OPEN]))
        return;
    inotify_status(host, status, IN_DELETE_SELF);
    list_for_each(instance, &host->inotifies) {
        struct inotify *inotify = list_entry(instance, struct inotify, node);
        list_for_each_safe(node, &inotify->watches) {
            struct watch *watch = list_entry(node, struct watch, node);
            if (watch->inode == status->st_ino && watch->device == status->st_dev)
                drop_watch(host, inotify, watch);
        }
    }
}

uint32_t inotify_cookie(struct host *host) { return ++host->inotify_cookie; }

/* ---- The file ---- */

static int64_t read_events(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)position;
    struct inotify *inotify = file->object;
    int64_t total = 0;
    while (!list_empty(&inotify->events)) {
        struct queued_event *queued = list_entry(inotify->events.next, struct queued_event, node);
        size_t size = event_size(queued);
        if (size > to->remaining)
            return total ? total : -EINVAL;
        if (uio_copy_out(to, &queued->event, size))
            return total ? total : -EFAULT;
        list_remove(&queued->node);
        inotify->queued--;
        inotify->bytes -= (uint32_t)size;
        kfree(task->host, queued);
        total += (int64_t)size;
    }
    return total ? total : -EAGAIN;
}

static uint32_t poll_events(struct file *file) {
    const struct inotify *inotify = file->object;
    return list_empty(&inotify->events) ? 0 : POLLIN | POLLRDNORM;
}

static void release(struct host *host, struct file *file) {
    struct inotify *inotify = file->object;
    list_for_each_safe(node, &inotify->watches) {
        list_remove(node);
        kfree(host, list_entry(node, struct watch, node));
    }
    list_for_each_safe(node, &inotify->events) {
        list_remove(node);
        kfree(host, list_entry(node, struct queued_event, node));
    }
    list_remove(&inotify->node);
    kfree(host, inotify);
}

static int64_t control(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    (void)task;
    const struct inotify *inotify = file->object;
    int32_t bytes = (int32_t)inotify->bytes;
    return command == FIONREAD ? copy_to_user(argument, &bytes, sizeof bytes) : -ENOTTY;
}

const struct file_operations inotify_operations = {
    .name = "anon_inode:inotify",
    .read = read_events,
    .poll = poll_events,
    .release = release,
    .ioctl = control,
};

/* ---- System calls ---- */

int64_t sys_inotify_init1(struct task *task, const uint64_t *a) {
    struct host *host = task->host;
    uint32_t flags = (uint32_t)a[0];
    if (flags & ~(uint32_t)(IN_CLOEXEC | IN_NONBLOCK))
        return -EINVAL;
    struct inotify *inotify = kalloc(host, sizeof *inotify);
    struct file *file = inotify ? file_create(host, FILE_INOTIFY, flags & IN_NONBLOCK, inotify) : NULL;
    if (!file) {
        kfree(host, inotify);
        return -ENOMEM;
    }
    inotify->file = file;
    list_init(&inotify->watches);
    list_init(&inotify->events);
    inotify->next_descriptor = FIRST_DESCRIPTOR;
    list_push_back(&host->inotifies, &inotify->node);
    return fd_install(task, file, 0, flags & IN_CLOEXEC, -1);
}

int64_t sys_inotify_init(struct task *task, const uint64_t *a) {
    (void)a;
    return sys_inotify_init1(task, (const uint64_t[6]){0});
}

static int64_t inotify_of(struct task *task, uint64_t fd, struct inotify **inotify) {
    const struct file *file = fd_file(task, (int)fd);
    if (!file)
        return -EBADF;
    *inotify = file->object;
    return file->kind == FILE_INOTIFY ? 0 : -EINVAL;
}

static int64_t watch(struct host *host, struct inotify *inotify, const struct stat *status, uint32_t mask) {
    const uint32_t kept = IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK;
    list_for_each(node, &inotify->watches) {
        struct watch *old = list_entry(node, struct watch, node);
        if (old->inode != status->st_ino || old->device != status->st_dev)
            continue;
        if (mask & IN_MASK_CREATE)
            return -EEXIST;
        old->mask = (mask & IN_MASK_ADD ? old->mask : 0) | (mask & kept);
        return old->descriptor;
    }
    struct watch *new = kalloc(host, sizeof *new);
    if (!new)
        return -ENOMEM;
    *new = (struct watch){.device = status->st_dev,
                          .inode = status->st_ino,
                          .mask = mask & kept,
                          .descriptor = inotify->next_descriptor++};
    list_push_back(&inotify->watches, &new->node);
    return new->descriptor;
}

int64_t sys_inotify_add_watch(struct task *task, const uint64_t *a) {
    const uint32_t known = IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |
                           IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT;
    uint32_t mask = (uint32_t)a[2];
    struct inotify *inotify;
    struct location *location;
    struct stat status;
    if (!(mask & known))
        return -EINVAL;
    if (!fd_file(task, (int)a[0]))
        return -EBADF;
    if ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE))
        return -EINVAL;
    int64_t result = inotify_of(task, a[0], &inotify);
    if (result)
        return result;
    bool follow = !(mask & IN_DONT_FOLLOW);
    result = location_find(task, AT_FDCWD, a[1], follow, &location);
    if (result)
        return result;
    if (location->found.kind == NAME_MISSING) {
        result = location->found.error;
    } else if (location->found.kind != NAME_REAL) { /* it never changes: a watch that has nothing to tell */
        status_synthetic(&status, virtual_mode(&location->found), virtual_number(location->name));
    } else {
        result = native_stat(location->directory, location->path, follow ? 0 : AT_SYMLINK_NOFOLLOW, &status);
    }
    location_free(task->host, location);
    if (!result && (mask & IN_ONLYDIR) && (status.st_mode & MODE_TYPE) != MODE_DIRECTORY)
        result = -ENOTDIR;
    return result ? result : watch(task->host, inotify, &status, mask);
}

int64_t sys_inotify_rm_watch(struct task *task, const uint64_t *a) {
    struct inotify *inotify;
    int64_t result = inotify_of(task, a[0], &inotify);
    if (result)
        return result;
    list_for_each_safe(node, &inotify->watches) {
        struct watch *watched = list_entry(node, struct watch, node);
        if (watched->descriptor == (int32_t)a[1]) {
            drop_watch(task->host, inotify, watched);
            return 0;
        }
    }
    return -EINVAL;
}
