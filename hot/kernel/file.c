/* Open file descriptions, descriptor tables, and the system calls that work on any kind of file.
 *
 * Called by the system call table. Operations of each kind only try; the loops that sleep are here. A real file has a
 * real descriptor for each of its virtual ones, so that dup, close and fork keep the real kernel's view the same.
 */
#include "async.h"
#include "credentials.h"
#include "fdtable.h"
#include "fs.h"
#include "fs_internal.h"
#include "inotify.h"
#include "process.h"
#include "syscalls.h"

#include <asm/ioctls.h>
#include <asm/unistd.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/poll.h>

#define LIMIT_NOFILE 7
#define MAX_TRANSFER 0x7ffff000u /* MAX_RW_COUNT: what one read or write moves at most */
#define FIRST_CAPACITY 64u
/* How often a thread that waits for a lock of the real kernel asks again, in virtual time. */
#define LOCK_RETRY (10 * NS_PER_MS)
#define LOCK_CHAIN_MAX 10 /* Linux: MAX_DEADLK_ITERATIONS */

const struct file_operations *const file_operations_of[FILE_KINDS] = {
    [FILE_NATIVE] = &native_operations,
    [FILE_VIRTUAL] = &virtual_operations,
    [FILE_PIPE] = &pipe_operations,
    [FILE_EVENTFD] = &eventfd_operations,
    [FILE_TIMERFD] = &timerfd_operations,
    [FILE_SIGNALFD] = &signalfd_operations,
    [FILE_EPOLL] = &epoll_operations,
    [FILE_SOCKET_INET] = &inet_operations,
    [FILE_SOCKET_UNIX] = &unix_operations,
    [FILE_SOCKET_NETLINK] = &netlink_operations,
    [FILE_SOCKET_PACKET] = &packet_operations,
    [FILE_PIDFD] = &pidfd_operations,
    [FILE_INOTIFY] = &inotify_operations,
    [FILE_TERMINAL] = &terminal_operations,
};

/* ---- Descriptions ---- */

struct file *file_create(struct host *host, enum file_kind kind, uint32_t flags, void *object) {
    struct file *file = kalloc(host, sizeof *file);
    if (!file)
        return NULL;
    file->references = 1;
    file->kind = (uint8_t)kind;
    file->flags = flags;
    file->object = object;
    if (host->current) { /* the shard's own, for the streams of a first process, belong to root */
        file->user = host->current->credentials->user.filesystem;
        file->group = host->current->credentials->group.filesystem;
    }
    wait_queue_init(&file->wait);
    list_init(&file->watches);
    return file;
}

void file_get(struct file *file) { file->references++; }

void file_put(struct host *host, struct file *file) {
    if (--file->references)
        return;
    epoll_forget_file(host, file);
    if (file_operations(file)->release)
        file_operations(file)->release(host, file);
    /* A thread may still poll it by a number that another thread closed: it finds out when it wakes. */
    while (!list_empty(&file->wait.waiters)) {
        struct wait_entry *entry = list_entry(file->wait.waiters.next, struct wait_entry, node);
        list_remove(&entry->node);
        if (entry->kind == WAIT_TASK)
            task_wake(entry->owner);
    }
    kfree(host, file->owner);
    kfree(host, file);
}

uint32_t file_poll(struct file *file) {
    if (!file_operations(file)->poll)
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    return file_operations(file)->poll(file);
}

void file_hold(struct task *task, struct file *file) {
    for (size_t i = 0; i < ARRAY_LENGTH(task->held); i++) {
        if (task->held[i] == file)
            return;
        if (!task->held[i]) {
            file_get(file);
            task->held[i] = file;
            return;
        }
    }
}

void file_drop_held(struct task *task) {
    for (size_t i = 0; i < ARRAY_LENGTH(task->held); i++) {
        struct file *file = task->held[i];
        task->held[i] = NULL;
        if (file)
            file_put(task->host, file);
    }
}

/* Sleeps without asking poll() first: the caller has just tried in vain, and poll() may promise more than a particular
 * attempt needs (a pipe with some room, a large atomic write). */
static int sleep_on(struct task *task, struct file *file, uint32_t events, int64_t deadline) {
    file_hold(task, file);
    wait_add(&file->wait, &task->wait, task, events | POLLERR | POLLHUP);
    int result = task_block(task, deadline);
    wait_remove(&task->wait);
    return result;
}

int file_wait(struct task *task, struct file *file, uint32_t events, bool nonblocking, int64_t deadline) {
    if (file_poll(file) & (events | POLLERR | POLLHUP))
        return 0;
    if (nonblocking || (file->flags & O_NONBLOCK))
        return -EAGAIN;
    int result;
    do
        result = sleep_on(task, file, events, deadline);
    while (!result && !(file_poll(file) & (events | POLLERR | POLLHUP)));
    /* What came together with a signal is taken first, as by Linux's waits for a condition. */
    if (result == -ERESTARTSYS && file_poll(file) & (events | POLLERR | POLLHUP))
        return 0;
    return result;
}

int file_sleep(struct task *task, struct file *file, uint32_t events, int64_t deadline) {
    int result = sleep_on(task, file, events, deadline);
    return result == -ERESTARTSYS && (file_poll(file) & events) ? 0 : result;
}

/* SO_RCVTIMEO and SO_SNDTIMEO hold for read and write too. */
static int64_t transfer_timeout(const struct file *file, bool writing) {
    if (file->kind != FILE_SOCKET_INET && file->kind != FILE_SOCKET_UNIX && file->kind != FILE_SOCKET_PACKET)
        return NEVER;
    const struct socket *socket = file->object;
    return writing ? socket->send_timeout : socket->receive_timeout;
}

int file_sleep_transfer(struct task *task, struct file *file, bool writing, int64_t start) {
    uint32_t events = writing ? POLLOUT | POLLWRNORM : POLLIN | POLLRDNORM;
    int64_t timeout = transfer_timeout(file, writing);
    int64_t deadline = timeout >= NEVER - start ? NEVER : start + timeout;
    int result = sleep_on(task, file, events, deadline);
    if (result == -ETIMEDOUT)
        return -EAGAIN;
    return result == -ERESTARTSYS && deadline != NEVER ? -EINTR : result;
}

int64_t file_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    const struct file_operations *operations = file_operations(file);
    if (!operations->read)
        return -EINVAL;
    int64_t start = task->host->now;
    for (;;) {
        int64_t result = operations->read(task, file, to, position);
        if (result != -EAGAIN || (file->flags & O_NONBLOCK))
            return result;
        int woken = file_sleep_transfer(task, file, false, start);
        if (!woken)
            continue;
        /* What came together with a signal is taken first, as by Linux's waits for a condition. */
        result = operations->read(task, file, to, position);
        return result == -EAGAIN ? woken : result;
    }
}

int64_t file_write(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    const struct file_operations *operations = file_operations(file);
    if (!operations->write)
        return -EINVAL;
    int64_t start = task->host->now, total = 0;
    for (;;) {
        int64_t result = operations->write(task, file, from, position);
        if (result >= 0) {
            total += result;
            if (!operations->stream || !from->remaining)
                return total;
        } else if (result != -EAGAIN) {
            return total ? total : result;
        }
        if (file->flags & O_NONBLOCK)
            return total ? total : -EAGAIN;
        if (result > 0)
            continue;
        int woken = file_sleep_transfer(task, file, true, start);
        if (woken)
            return total ? total : woken;
    }
}

/* ---- User memory ---- */

void uio_init(struct uio *uio, const struct user_iovec *segments, size_t count) {
    uio->segments = segments;
    uio->count = count;
    uio->index = uio->offset = uio->remaining = 0;
    for (size_t i = 0; i < count; i++)
        uio->remaining += segments[i].length;
}

void uio_advance(struct uio *uio, size_t length) {
    length = KMIN(length, uio->remaining);
    uio->remaining -= length;
    while (length) {
        size_t part = KMIN(length, uio->segments[uio->index].length - uio->offset);
        uio->offset += part;
        length -= part;
        if (uio->offset == uio->segments[uio->index].length) {
            uio->index++;
            uio->offset = 0;
        }
    }
}

static int uio_copy(struct uio *uio, char *bytes, size_t length, bool out) {
    struct uio at = *uio;
    length = KMIN(length, at.remaining);
    while (length) {
        size_t part = KMIN(length, at.segments[at.index].length - at.offset);
        uint64_t user = at.segments[at.index].base + at.offset;
        if (part && (out ? copy_to_user(user, bytes, part) : copy_from_user(bytes, user, part)))
            return -EFAULT;
        bytes += part;
        length -= part;
        at.remaining -= part;
        at.offset += part;
        if (at.offset == at.segments[at.index].length) {
            at.index++;
            at.offset = 0;
        }
    }
    *uio = at;
    return 0;
}

int uio_copy_out(struct uio *uio, const void *source, size_t length) {
    return uio_copy(uio, (char *)(uintptr_t)source, length, true);
}

int uio_copy_in(struct uio *uio, void *destination, size_t length) { return uio_copy(uio, destination, length, false); }

/* ---- Descriptor tables ---- */

static int table_reserve(struct host *host, struct fd_table *table, uint32_t wanted) {
    if (wanted <= table->capacity)
        return 0;
    uint32_t capacity = KMAX(table->capacity, FIRST_CAPACITY);
    while (capacity < wanted)
        capacity *= 2;
    struct fd_entry *entries = kalloc(host, capacity * sizeof *entries);
    if (!entries)
        return -ENOMEM;
    if (table->capacity)
        memcpy(entries, table->entries, table->capacity * sizeof *entries);
    kfree(host, table->entries);
    table->entries = entries;
    table->capacity = capacity;
    return 0;
}

struct fd_table *fd_table_create(struct host *host) {
    struct fd_table *table = kalloc(host, sizeof *table);
    if (table)
        table->references = 1;
    return table;
}

struct fd_table *fd_table_copy(struct host *host, const struct fd_table *table) {
    struct fd_table *copy = fd_table_create(host);
    if (!copy)
        return NULL;
    if (table_reserve(host, copy, table->capacity)) {
        kfree(host, copy);
        return NULL;
    }
    for (uint32_t fd = 0; fd < table->capacity; fd++) {
        copy->entries[fd] = table->entries[fd];
        if (copy->entries[fd].file)
            file_get(copy->entries[fd].file);
    }
    copy->lowest = table->lowest;
    return copy;
}

struct fd_table *fd_table_share(struct fd_table *table) {
    table->references++;
    return table;
}

static void close_native(int native_fd) {
    if (native_fd >= 0)
        platform_syscall(__NR_close, (uint64_t)native_fd, 0, 0, 0, 0, 0);
}

/* Closes a descriptor of this process that is in no table any more. Who watches files learns of the last one. */
static void close_entry(struct host *host, struct file *file, int native_fd) {
    struct stat status;
    bool told = inotify_active(host) && file->kind == FILE_NATIVE && file->references == 1 && !(file->flags & O_PATH);
    if (told) {
        bool wrote = (file->flags & O_ACCMODE) != O_RDONLY;
        inotify_descriptor(host, native_fd, wrote ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
        told = native_stat(native_fd, "", AT_EMPTY_PATH, &status) == 0 && !status.st_nlink;
    }
    close_native(native_fd);
    file_put(host, file);
    if (told)
        inotify_gone(host, &status);
}

void fd_table_put(struct host *host, struct fd_table *table, bool in_process) {
    if (--table->references)
        return;
    for (uint32_t fd = 0; fd < table->capacity; fd++) {
        struct fd_entry entry = table->entries[fd];
        table->entries[fd].file = NULL;
        if (!entry.file)
            continue;
        if (in_process)
            close_entry(host, entry.file, entry.native_fd);
        else
            file_put(host, entry.file);
    }
    kfree(host, table->entries);
    kfree(host, table);
}

int fd_table_set(struct host *host, struct fd_table *table, int fd, struct file *file, int native_fd) {
    if (table_reserve(host, table, (uint32_t)fd + 1)) {
        file_put(host, file);
        return -ENOMEM;
    }
    table->entries[fd] = (struct fd_entry){.file = file, .native_fd = native_fd};
    return 0;
}

struct fd_entry *fd_entry(struct task *task, int fd) {
    struct fd_table *table = task->process->files;
    if (fd < 0 || (uint32_t)fd >= table->capacity || !table->entries[fd].file)
        return NULL;
    return &table->entries[fd];
}

struct file *fd_file(struct task *task, int fd) {
    struct fd_entry *entry = fd_entry(task, fd);
    return entry ? entry->file : NULL;
}

static uint32_t descriptor_limit(const struct task *task) {
    return (uint32_t)KMIN(task->process->limits[LIMIT_NOFILE][0], UINT64_C(1) << 20);
}

int fd_install(struct task *task, struct file *file, int minimum, bool close_on_exec, int native_fd) {
    struct fd_table *table = task->process->files;
    uint32_t fd = KMAX((uint32_t)minimum, table->lowest);
    while (fd < table->capacity && table->entries[fd].file)
        fd++;
    int result = fd >= descriptor_limit(task) ? -EMFILE : table_reserve(task->host, table, fd + 1);
    if (result) {
        close_native(native_fd);
        file_put(task->host, file);
        return result;
    }
    table->entries[fd] = (struct fd_entry){.file = file, .native_fd = native_fd, .close_on_exec = close_on_exec};
    if ((uint32_t)minimum <= table->lowest)
        table->lowest = fd + 1;
    return (int)fd;
}

/* Closes what is in no table any more. A socket may linger: other threads use the table meanwhile. */
static void close_taken(struct task *task, struct file *file, int native_fd) {
    if (file->kind == FILE_SOCKET_INET && file->references == 1)
        inet_linger(task, file);
    close_entry(task->host, file, native_fd);
}

int fd_close(struct task *task, int fd) {
    struct fd_entry *entry = fd_entry(task, fd);
    if (!entry)
        return -EBADF;
    struct file *file = entry->file;
    int native_fd = entry->native_fd;
    entry->file = NULL;
    task->process->files->lowest = KMIN(task->process->files->lowest, (uint32_t)fd);
    close_taken(task, file, native_fd);
    return 0;
}

static int table_unshare(struct task *task) {
    struct fd_table *table = task->process->files;
    if (table->references == 1)
        return 0;
    struct fd_table *copy = fd_table_copy(task->host, table);
    if (!copy)
        return -ENOMEM;
    table->references--;
    task->process->files = copy;
    return 0;
}

void fd_table_exec(struct task *task) {
    (void)table_unshare(task); /* without memory the sharers lose the descriptors too: better than to leak them */
    const struct fd_table *table = task->process->files;
    for (uint32_t fd = 0; fd < table->capacity; fd++)
        if (table->entries[fd].file && table->entries[fd].close_on_exec)
            fd_close(task, (int)fd);
}

/* A second real descriptor beside `native_fd`, or -1 if there is none to begin with. */
static int64_t dup_native(int native_fd) {
    return native_fd < 0 ? -1 : platform_syscall(__NR_dup, (uint64_t)native_fd, 0, 0, 0, 0, 0);
}

static int64_t dup_lowest(struct task *task, int fd, int minimum, bool close_on_exec) {
    struct fd_entry *entry = fd_entry(task, fd);
    if (!entry)
        return -EBADF;
    struct file *file = entry->file;
    int64_t native_fd = dup_native(entry->native_fd);
    if (native_fd < -1)
        return native_fd;
    file_get(file);
    return fd_install(task, file, minimum, close_on_exec, (int)native_fd);
}

int64_t sys_dup(struct task *task, const uint64_t *a) { return dup_lowest(task, (int)a[0], 0, false); }

static int64_t dup_to(struct task *task, int from, int to, bool close_on_exec) {
    struct fd_entry *entry = fd_entry(task, from);
    if (!entry || to < 0 || (uint32_t)to >= descriptor_limit(task))
        return -EBADF;
    struct fd_table *table = task->process->files;
    if (table_reserve(task->host, table, (uint32_t)to + 1))
        return -ENOMEM;
    entry = fd_entry(task, from);
    struct file *file = entry->file;
    int64_t native_fd = dup_native(entry->native_fd);
    if (native_fd < -1)
        return native_fd;
    file_get(file);
    struct fd_entry replaced = table->entries[to];
    table->entries[to] = (struct fd_entry){.file = file, .native_fd = (int)native_fd, .close_on_exec = close_on_exec};
    if (replaced.file)
        close_taken(task, replaced.file, replaced.native_fd);
    return to;
}

int64_t sys_dup2(struct task *task, const uint64_t *a) {
    if ((int)a[0] == (int)a[1])
        return fd_entry(task, (int)a[0]) ? (int)a[0] : -EBADF;
    return dup_to(task, (int)a[0], (int)a[1], false);
}

int64_t sys_dup3(struct task *task, const uint64_t *a) {
    if ((int)a[0] == (int)a[1] || ((uint32_t)a[2] & ~(uint32_t)O_CLOEXEC))
        return -EINVAL;
    return dup_to(task, (int)a[0], (int)a[1], ((uint32_t)a[2] & O_CLOEXEC) != 0);
}

int64_t sys_close(struct task *task, const uint64_t *a) { return fd_close(task, (int)a[0]); }

int64_t sys_close_range(struct task *task, const uint64_t *a) {
    uint32_t first = (uint32_t)a[0], last = (uint32_t)a[1], flags = (uint32_t)a[2];
    if (first > last || (flags & ~(uint32_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)))
        return -EINVAL;
    if ((flags & CLOSE_RANGE_UNSHARE) && table_unshare(task))
        return -ENOMEM;
    const struct fd_table *table = task->process->files;
    for (uint32_t fd = first; fd < table->capacity && fd <= last; fd++) {
        if (flags & CLOSE_RANGE_CLOEXEC)
            table->entries[fd].close_on_exec = true;
        else
            fd_close(task, (int)fd);
    }
    return 0;
}

/* ---- Reading and writing ---- */

static bool seekable(const struct file *file) { return file->kind == FILE_NATIVE || file->kind == FILE_VIRTUAL; }

static int64_t transfer(struct task *task, int fd, const struct user_iovec *segments, size_t count, bool writing,
                        const int64_t *position) {
    struct fd_entry *entry = fd_entry(task, fd);
    if (!entry)
        return -EBADF;
    struct file *file = entry->file;
    if (file->flags & O_PATH)
        return -EBADF;
    if (position && !seekable(file))
        return -ESPIPE;
    if ((file->flags & O_ACCMODE) == (writing ? O_RDONLY : O_WRONLY))
        return -EBADF;
    if (position && *position < 0)
        return -EINVAL;
    task->native_fd = entry->native_fd;
    struct uio uio;
    uio_init(&uio, segments, count);
    return writing ? file_write(task, file, &uio, position) : file_read(task, file, &uio, position);
}

static int64_t transfer_buffer(struct task *task, const uint64_t *a, bool writing, const int64_t *position) {
    if ((int64_t)a[2] < 0)
        return fd_entry(task, (int)a[0]) ? -EINVAL : -EBADF;
    struct user_iovec segment = {a[1], KMIN(a[2], MAX_TRANSFER)};
    return transfer(task, (int)a[0], &segment, 1, writing, position);
}

int64_t sys_read(struct task *task, const uint64_t *a) { return transfer_buffer(task, a, false, NULL); }

int64_t sys_write(struct task *task, const uint64_t *a) { return transfer_buffer(task, a, true, NULL); }

int64_t sys_pread64(struct task *task, const uint64_t *a) {
    int64_t position = (int64_t)a[3];
    return position < 0 ? -EINVAL : transfer_buffer(task, a, false, &position);
}

int64_t sys_pwrite64(struct task *task, const uint64_t *a) {
    int64_t position = (int64_t)a[3];
    return position < 0 ? -EINVAL : transfer_buffer(task, a, true, &position);
}

static int64_t import_segments(struct user_iovec *segments, uint64_t user, size_t count) {
    if (copy_from_user(segments, user, count * sizeof *segments))
        return -EFAULT;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if ((int64_t)segments[i].length < 0)
            return -EINVAL;
        segments[i].length = KMIN(segments[i].length, MAX_TRANSFER - total);
        total += segments[i].length;
    }
    return 0;
}

static int64_t transfer_vector(struct task *task, const uint64_t *a, bool writing, const int64_t *position) {
    struct user_iovec few[8], *segments = few;
    uint64_t count = a[2];
    if (!fd_entry(task, (int)a[0]))
        return -EBADF;
    if (count > MAX_SEGMENTS)
        return -EINVAL;
    if (count > ARRAY_LENGTH(few)) {
        segments = task->scratch = kalloc_raw(task->host, count * sizeof *segments);
        if (!segments)
            return -ENOMEM;
    }
    int64_t result = count ? import_segments(segments, a[1], count) : 0;
    if (!result)
        result = transfer(task, (int)a[0], segments, count, writing, position);
    if (segments != few) {
        kfree(task->host, segments);
        task->scratch = NULL;
    }
    return result;
}

int64_t sys_readv(struct task *task, const uint64_t *a) { return transfer_vector(task, a, false, NULL); }

int64_t sys_writev(struct task *task, const uint64_t *a) { return transfer_vector(task, a, true, NULL); }

int64_t sys_preadv(struct task *task, const uint64_t *a) {
    int64_t position = (int64_t)a[3];
    return position < 0 ? -EINVAL : transfer_vector(task, a, false, &position);
}

int64_t sys_pwritev(struct task *task, const uint64_t *a) {
    int64_t position = (int64_t)a[3];
    return position < 0 ? -EINVAL : transfer_vector(task, a, true, &position);
}

/* preadv2 and pwritev2: -1 is the file's own position. Hints about the disk change nothing here. */
static int64_t transfer_vector_flags(struct task *task, const uint64_t *a, bool writing) {
    int64_t position = (int64_t)a[3];
    if ((uint32_t)a[5] & ~(uint32_t)(RWF_HIPRI | RWF_DSYNC | RWF_SYNC))
        return -EOPNOTSUPP;
    if (position == -1)
        return transfer_vector(task, a, writing, NULL);
    return position < 0 ? -EINVAL : transfer_vector(task, a, writing, &position);
}

int64_t sys_preadv2(struct task *task, const uint64_t *a) { return transfer_vector_flags(task, a, false); }

int64_t sys_pwritev2(struct task *task, const uint64_t *a) { return transfer_vector_flags(task, a, true); }

/* ---- fcntl ---- */

static struct process *process_of_native_pid(struct host *host, uint32_t native_pid) {
    list_for_each(node, &host->processes) {
        struct process *process = list_entry(node, struct process, host_node);
        if (process->native_pid == native_pid && !process->zombie)
            return process;
    }
    return NULL;
}

/* The process that has a lock which is in the way of this one; 0: nobody, or nobody of this host. */
static int32_t lock_holder(const struct task *task, int native_fd, struct flock lock) {
    if (platform_syscall(__NR_fcntl, (uint64_t)native_fd, F_GETLK, (uint64_t)(uintptr_t)&lock, 0, 0, 0) ||
        lock.l_type == F_UNLCK || lock.l_pid <= 0)
        return 0;
    const struct process *holder = process_of_native_pid(task->host, (uint32_t)lock.l_pid);
    return holder ? holder->pid : 0;
}

/* Whether `holder` waits, through others or not, for a lock of the task's own process (Linux: posix_locks_deadlock). */
static bool waits_for_us(const struct task *task, int32_t holder) {
    for (int i = 0; i < LOCK_CHAIN_MAX && holder; i++) {
        if (holder == task->process->pid)
            return true;
        const struct process *process = process_find(task->host, holder);
        holder = 0;
        if (!process)
            break;
        list_for_each(node, &process->tasks) {
            const struct task *waiter = list_entry(node, struct task, process_node);
            if (!holder)
                holder = waiter->lock_holder;
        }
    }
    return false;
}

/* Sleeps until it is time to try again for a lock that somebody has. Who waits for whom was true when each looked last:
 * it is a deadlock if it is so twice, for in between everybody has looked again. 0, -EDEADLK, -ERESTARTSYS. */
static int wait_for_lock(struct task *task, int native_fd, const struct flock *lock, bool *suspected) {
    int32_t holder = lock ? lock_holder(task, native_fd, *lock) : 0;
    bool circle = waits_for_us(task, holder);
    if (circle && *suspected)
        return -EDEADLK;
    *suspected = circle;
    task->lock_holder = holder;
    int woken = task_block(task, task->host->now + LOCK_RETRY);
    task->lock_holder = 0;
    return woken == -ERESTARTSYS ? woken : 0;
}

/* Record locks of real files are the real kernel's; only waiting for them is ours. */
static int64_t fcntl_lock(struct task *task, int fd, int command, uint64_t user) {
    struct flock lock;
    if (copy_from_user(&lock, user, sizeof lock))
        return -EFAULT;
    bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
    int native_command = command == F_SETLKW ? F_SETLK : command == F_OFD_SETLKW ? F_OFD_SETLK : command;
    int64_t result;
    bool suspected = false;
    for (;;) {
        const struct fd_entry *entry = fd_entry(task, fd); /* again each time: it may be closed meanwhile */
        if (!entry)
            return -EBADF;
        if (entry->native_fd < 0)
            return -EINVAL;
        result = platform_syscall(__NR_fcntl, (uint64_t)entry->native_fd, (uint64_t)native_command,
                                  (uint64_t)(uintptr_t)&lock, 0, 0, 0);
        if (!waits || (result != -EAGAIN && result != -EACCES))
            break;
        int error = wait_for_lock(task, entry->native_fd, command == F_SETLKW ? &lock : NULL, &suspected);
        if (error)
            return error;
    }
    if (result || (command != F_GETLK && command != F_OFD_GETLK))
        return result;
    if (lock.l_type != F_UNLCK && lock.l_pid > 0) {
        const struct process *holder = process_of_native_pid(task->host, (uint32_t)lock.l_pid);
        lock.l_pid = holder ? holder->pid : 0;
    }
    return copy_to_user(user, &lock, sizeof lock);
}

static int64_t set_status_flags(struct task *task, int fd, struct fd_entry *entry, uint32_t flags) {
    const uint32_t settable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
    struct file *file = entry->file;
    int error = async_supported(file) ? async_set(task, file, fd, (flags & FASYNC) != 0) : 0;
    if (error)
        return error;
    file->flags = (file->flags & ~settable) | (flags & settable);
    if (entry->native_fd < 0)
        return 0;
    return platform_syscall(__NR_fcntl, (uint64_t)entry->native_fd, F_SETFL, file->flags & O_APPEND, 0, 0, 0);
}

int64_t sys_fcntl(struct task *task, const uint64_t *a) {
    int fd = (int)a[0], command = (int)a[1];
    struct fd_entry *entry = fd_entry(task, fd);
    if (!entry)
        return -EBADF;
    if (entry->file->flags & O_PATH && command != F_DUPFD && command != F_DUPFD_CLOEXEC && command != F_GETFD &&
        command != F_SETFD && command != F_GETFL)
        return -EBADF;
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if ((uint32_t)a[2] >= descriptor_limit(task))
            return -EINVAL;
        return dup_lowest(task, fd, (int)a[2], command == F_DUPFD_CLOEXEC);
    case F_GETFD:
        return entry->close_on_exec ? FD_CLOEXEC : 0;
    case F_SETFD:
        entry->close_on_exec = (a[2] & FD_CLOEXEC) != 0;
        return 0;
    case F_GETFL:
        return entry->file->flags;
    case F_SETFL:
        return set_status_flags(task, fd, entry, (uint32_t)a[2]);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return fcntl_lock(task, fd, command, a[2]);
    case F_GETPIPE_SZ:
        return entry->file->kind == FILE_PIPE ? pipe_get_size(entry->file) : -EBADF;
    case F_SETPIPE_SZ:
        return entry->file->kind == FILE_PIPE ? pipe_set_size(task->host, entry->file, a[2]) : -EBADF;
    case F_ADD_SEALS:
    case F_GET_SEALS:
        if (entry->native_fd < 0)
            return -EINVAL;
        return platform_syscall(__NR_fcntl, (uint64_t)entry->native_fd, (uint64_t)command, a[2], 0, 0, 0);
    default:
        return async_fcntl(task, entry->file, command, a[2]);
    }
}

int64_t sys_flock(struct task *task, const uint64_t *a) {
    struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry)
        return -EBADF;
    if (entry->native_fd < 0)
        return -EINVAL;
    for (;;) {
        int64_t result = platform_syscall(__NR_flock, (uint64_t)entry->native_fd, a[1] | LOCK_NB, 0, 0, 0, 0);
        if (result != -EWOULDBLOCK || (a[1] & LOCK_NB))
            return result;
        int woken = task_block(task, task->host->now + LOCK_RETRY);
        if (woken == -ERESTARTSYS)
            return woken;
        entry = fd_entry(task, (int)a[0]);
        if (!entry || entry->native_fd < 0)
            return -EBADF;
    }
}

/* ---- ioctl ---- */

static int64_t set_nonblocking(struct file *file, uint64_t user) {
    int on;
    if (copy_from_user(&on, user, sizeof on))
        return -EFAULT;
    file->flags = on ? file->flags | O_NONBLOCK : file->flags & ~(uint32_t)O_NONBLOCK;
    return 0;
}

static int64_t set_asynchronous(struct task *task, int fd, struct file *file, uint64_t user) {
    int on;
    if (copy_from_user(&on, user, sizeof on))
        return -EFAULT;
    if (!on == !(file->flags & FASYNC))
        return 0;
    return async_supported(file) ? async_set(task, file, fd, on) : -ENOTTY;
}

int64_t sys_ioctl(struct task *task, const uint64_t *a) {
    struct fd_entry *entry = fd_entry(task, (int)a[0]);
    if (!entry || (entry->file->flags & O_PATH))
        return -EBADF;
    uint32_t command = (uint32_t)a[1];
    switch (command) {
    case FIOCLEX:
        entry->close_on_exec = true;
        return 0;
    case FIONCLEX:
        entry->close_on_exec = false;
        return 0;
    case FIONBIO:
        return set_nonblocking(entry->file, a[2]);
    case FIOASYNC:
        return set_asynchronous(task, (int)a[0], entry->file, a[2]);
    default:
        break;
    }
    task->native_fd = entry->native_fd;
    const struct file_operations *operations = file_operations(entry->file);
    return operations->ioctl ? operations->ioctl(task, entry->file, command, a[2]) : -ENOTTY;
}
