/* Pipes: a ring of bytes with two ends.
 *
 * file.c calls the operations; splice.c moves bytes without user memory. Writes of up to PIPE_BUF bytes are atomic.
 */
#include "fs.h"
#include "internal.h"
#include "syscalls.h"

#include <asm/ioctls.h>
#include <linux/fcntl.h>
#include <linux/poll.h>

#define PIPE_ATOMIC 4096u /* PIPE_BUF */
#define PIPE_DEFAULT 65536u
#define PIPE_MAX 1048576u
#define SIGNAL_PIPE 13

struct pipe {
    struct host *host;
    uint8_t *bytes; /* NULL until something is written: most pipes of a shell stay small or empty */
    uint32_t capacity;
    uint32_t start, length;
    uint32_t readers, writers; /* descriptions of either end */
    struct list ends;          /* struct pipe_end.node */
};
/* What a description of a pipe has as its object: /proc/self/fd can open an end again. */
struct pipe_end {
    struct list node;
    struct pipe *pipe;
    struct file *file;
};

static struct pipe *pipe_of(const struct file *file) { return ((const struct pipe_end *)file->object)->pipe; }

static bool may_read(const struct file *file) { return (file->flags & O_ACCMODE) != O_WRONLY; }

static bool may_write(const struct file *file) { return (file->flags & O_ACCMODE) != O_RDONLY; }

const void *pipe_identity(const struct file *file) { return pipe_of(file); }

static void wake_readers(const struct pipe *pipe, uint32_t events) {
    list_for_each(node, &pipe->ends) {
        struct pipe_end *end = list_entry(node, struct pipe_end, node);
        if (may_read(end->file))
            wake_up(pipe->host, &end->file->wait, events);
    }
}

static void wake_writers(const struct pipe *pipe, uint32_t events) {
    list_for_each(node, &pipe->ends) {
        struct pipe_end *end = list_entry(node, struct pipe_end, node);
        if (may_write(end->file))
            wake_up(pipe->host, &end->file->wait, events);
    }
}

static struct file *open_end(struct pipe *pipe, uint32_t flags) {
    struct pipe_end *end = kalloc(pipe->host, sizeof *end);
    struct file *file = end ? file_create(pipe->host, FILE_PIPE, flags, end) : NULL;
    if (!file) {
        kfree(pipe->host, end);
        return NULL;
    }
    end->pipe = pipe;
    end->file = file;
    list_push_back(&pipe->ends, &end->node);
    pipe->readers += may_read(file);
    pipe->writers += may_write(file);
    return file;
}

static void pipe_release(struct host *host, struct file *file) {
    struct pipe_end *end = file->object;
    struct pipe *pipe = end->pipe;
    list_remove(&end->node);
    pipe->readers -= may_read(file);
    pipe->writers -= may_write(file);
    kfree(host, end);
    if (list_empty(&pipe->ends)) {
        kfree(host, pipe->bytes);
        kfree(host, pipe);
        return;
    }
    if (!pipe->writers)
        wake_readers(pipe, POLLHUP);
    if (!pipe->readers)
        wake_writers(pipe, POLLERR);
}

int64_t pipe_reopen(const struct file *file, uint32_t flags, struct file **opened) {
    const uint32_t kept = O_ACCMODE | O_NONBLOCK | O_APPEND;
    struct pipe *pipe = pipe_of(file);
    *opened = open_end(pipe, flags & kept);
    return *opened ? 0 : -ENOMEM;
}

size_t pipe_room(const struct file *file) {
    const struct pipe *pipe = pipe_of(file);
    return pipe->capacity - pipe->length;
}

static bool allocate(struct pipe *pipe) {
    if (!pipe->bytes)
        pipe->bytes = kalloc_raw(pipe->host, pipe->capacity);
    return pipe->bytes != NULL;
}

size_t pipe_peek(const struct file *file, void *bytes, size_t length) {
    const struct pipe *pipe = pipe_of(file);
    length = KMIN(length, pipe->length);
    size_t first = KMIN(length, pipe->capacity - pipe->start);
    if (length) {
        memcpy(bytes, pipe->bytes + pipe->start, first);
        memcpy((uint8_t *)bytes + first, pipe->bytes, length - first);
    }
    return length;
}

void pipe_consume(struct file *file, size_t length) {
    struct pipe *pipe = pipe_of(file);
    length = KMIN(length, pipe->length);
    pipe->start = (uint32_t)((pipe->start + length) & (pipe->capacity - 1));
    pipe->length -= (uint32_t)length;
    if (length)
        wake_writers(pipe, POLLOUT | POLLWRNORM);
}

static int64_t pipe_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)task;
    (void)position;
    const struct pipe *pipe = pipe_of(file);
    if (!to->remaining)
        return 0;
    if (!pipe->length)
        return pipe->writers ? -EAGAIN : 0;
    size_t length = KMIN(to->remaining, pipe->length), first = KMIN(length, pipe->capacity - pipe->start);
    if (uio_copy_out(to, pipe->bytes + pipe->start, first))
        return -EFAULT;
    size_t done = first;
    if (length > first && !uio_copy_out(to, pipe->bytes, length - first))
        done = length;
    pipe_consume(file, done);
    return (int64_t)done;
}

static int64_t pipe_write(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    (void)position;
    struct pipe *pipe = pipe_of(file);
    if (!from->remaining)
        return 0;
    if (!pipe->readers) {
        struct signal_info info = {.signo = SIGNAL_PIPE};
        info.u.queue.pid = task->process->pid;
        (void)signal_send_task(task, SIGNAL_PIPE, &info);
        return -EPIPE;
    }
    size_t room = pipe_room(file);
    if (!room || (from->remaining <= PIPE_ATOMIC && from->remaining > room))
        return -EAGAIN;
    if (!allocate(pipe))
        return -ENOMEM;
    size_t length = KMIN(from->remaining, room);
    size_t end = (pipe->start + pipe->length) & (pipe->capacity - 1), first = KMIN(length, pipe->capacity - end);
    if (uio_copy_in(from, pipe->bytes + end, first))
        return -EFAULT;
    size_t done = first;
    if (length > first && !uio_copy_in(from, pipe->bytes, length - first))
        done = length;
    pipe->length += (uint32_t)done;
    wake_readers(pipe, POLLIN | POLLRDNORM);
    return (int64_t)done;
}

static uint32_t pipe_poll(struct file *file) {
    const struct pipe *pipe = pipe_of(file);
    uint32_t events = 0;
    if (may_read(file)) {
        events |= pipe->length ? POLLIN | POLLRDNORM : 0;
        events |= pipe->writers ? 0 : POLLHUP;
    }
    if (may_write(file)) {
        events |= pipe_room(file) >= PIPE_ATOMIC ? POLLOUT | POLLWRNORM : 0;
        events |= pipe->readers ? 0 : POLLERR;
    }
    return events;
}

static int64_t pipe_ioctl(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    (void)task;
    if (command != FIONREAD)
        return -ENOTTY;
    int unread = (int)pipe_of(file)->length;
    return copy_to_user(argument, &unread, sizeof unread);
}

const struct file_operations pipe_operations = {
    .name = "pipe",
    .stream = true,
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .release = pipe_release,
    .ioctl = pipe_ioctl,
};

int64_t pipe_get_size(const struct file *file) { return pipe_of(file)->capacity; }

int64_t pipe_set_size(struct host *host, struct file *file, uint64_t size) {
    struct pipe *pipe = pipe_of(file);
    uint32_t capacity = 4096;
    if (size > PIPE_MAX)
        return -EPERM;
    while (capacity < size)
        capacity *= 2;
    if (pipe->length > capacity)
        return -EBUSY;
    if (pipe->bytes) {
        uint8_t *bytes = kalloc_raw(host, capacity);
        if (!bytes)
            return -ENOMEM;
        pipe_peek(file, bytes, pipe->length);
        kfree(host, pipe->bytes);
        pipe->bytes = bytes;
    }
    pipe->start = 0;
    pipe->capacity = capacity;
    wake_writers(pipe, POLLOUT | POLLWRNORM);
    return capacity;
}

static int64_t do_pipe(struct task *task, uint64_t user_fds, uint32_t flags) {
    struct host *host = task->host;
    if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
        return -EINVAL;
    if (flags & O_DIRECT) /* packet mode */
        return -EINVAL;
    struct pipe *pipe = kalloc(host, sizeof *pipe);
    if (!pipe)
        return -ENOMEM;
    pipe->host = host;
    pipe->capacity = PIPE_DEFAULT;
    list_init(&pipe->ends);
    struct file *reader = open_end(pipe, O_RDONLY | (flags & O_NONBLOCK));
    if (!reader) {
        kfree(host, pipe);
        return -ENOMEM;
    }
    struct file *writer = open_end(pipe, O_WRONLY | (flags & O_NONBLOCK));
    if (!writer) {
        file_put(host, reader);
        return -ENOMEM;
    }
    int fds[2];
    fds[0] = fd_install(task, reader, 0, flags & O_CLOEXEC, -1);
    if (fds[0] < 0) {
        file_put(host, writer);
        return fds[0];
    }
    fds[1] = fd_install(task, writer, 0, flags & O_CLOEXEC, -1);
    if (fds[1] < 0) {
        fd_close(task, fds[0]);
        return fds[1];
    }
    if (copy_to_user(user_fds, fds, sizeof fds)) {
        fd_close(task, fds[0]);
        fd_close(task, fds[1]);
        return -EFAULT;
    }
    return 0;
}

int64_t sys_pipe(struct task *task, const uint64_t *a) { return do_pipe(task, a[0], 0); }

int64_t sys_pipe2(struct task *task, const uint64_t *a) { return do_pipe(task, a[0], (uint32_t)a[1]); }
