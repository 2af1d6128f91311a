/* sendfile, splice, tee, vmsplice, copy_file_range: moving bytes between descriptors through a buffer of the arena.
 *
 * The system call table calls this. No byte is taken from a source before there is room for it where it goes.
 */
#include "fs.h"
#include "inotify.h"
#include "internal.h"
#include "syscalls.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/poll.h>

#define CHUNK 65536u
#define SPLICE_F_NONBLOCK 2u
#define SPLICE_FLAGS 0xfu
#define MAX_TRANSFER 0x7ffff000u

static bool readable(const struct file *file) {
    return !(file->flags & O_PATH) && (file->flags & O_ACCMODE) != O_WRONLY;
}

static bool writable(const struct file *file) {
    return !(file->flags & O_PATH) && (file->flags & O_ACCMODE) != O_RDONLY;
}

/* One read or write of kernel memory by descriptor. */
static int64_t move(struct task *task, int fd, char *bytes, size_t length, bool writing, const int64_t *position) {
    const struct fd_entry *entry = fd_entry(task, fd); /* a sleep since the last time may have closed it */
    if (!entry)
        return -EBADF;
    struct user_iovec segment = {(uint64_t)(uintptr_t)bytes, length};
    struct uio uio;
    uio_init(&uio, &segment, 1);
    task->native_fd = entry->native_fd;
    struct file *file = entry->file;
    return writing ? file_write(task, file, &uio, position) : file_read(task, file, &uio, position);
}

static int64_t seek(struct task *task, int fd, int64_t offset, uint64_t whence) {
    return sys_lseek(task, (const uint64_t[]){(uint64_t)fd, (uint64_t)offset, whence});
}

static char *take_buffer(struct task *task) { return task->scratch = kalloc_raw(task->host, CHUNK); }

static void return_buffer(struct task *task) {
    kfree(task->host, task->scratch);
    task->scratch = NULL;
}

/* The position that a call starts from: the user's, or the file's own. */
static int64_t start_position(struct task *task, int fd, uint64_t user, int64_t *position) {
    if (!user) {
        *position = seek(task, fd, 0, SEEK_CUR);
        return *position < 0 ? *position : 0;
    }
    if (copy_from_user(position, user, sizeof *position))
        return -EFAULT;
    return *position < 0 ? -EINVAL : 0;
}

static int64_t finish_position(struct task *task, int fd, uint64_t user, int64_t position, int64_t result) {
    if (result <= 0)
        return result;
    if (user && copy_to_user(user, &position, sizeof position))
        return -EFAULT;
    if (!user)
        (void)seek(task, fd, position, SEEK_SET);
    return result;
}

int64_t sys_sendfile(struct task *task, const uint64_t *a) {
    int out = (int)a[0], in = (int)a[1];
    const struct file *source = fd_file(task, in), *sink = fd_file(task, out);
    if (!source || !sink || !readable(source) || !writable(sink))
        return -EBADF;
    if ((source->kind != FILE_NATIVE && source->kind != FILE_VIRTUAL) || (sink->flags & O_APPEND))
        return -EINVAL;
    int64_t position, total = 0, result = start_position(task, in, a[2], &position);
    if (result)
        return result;
    char *buffer = take_buffer(task);
    if (!buffer)
        return -ENOMEM;
    uint64_t wanted = KMIN(a[3], MAX_TRANSFER);
    while ((uint64_t)total < wanted) {
        int64_t length = move(task, in, buffer, KMIN(wanted - (uint64_t)total, CHUNK), false, &position);
        result = length > 0 ? move(task, out, buffer, (size_t)length, true, NULL) : length;
        if (result <= 0)
            break;
        position += result;
        total += result;
        if (result < length)
            break;
    }
    return_buffer(task);
    return finish_position(task, in, a[2], position, total ? total : result);
}

/* 0 when the pipe has something to read, or its writers are gone; when it has room, or its readers are. */
static int64_t wait_for_pipe(struct task *task, struct file *pipe, uint32_t events, uint32_t flags) {
    return file_wait(task, pipe, events, flags & SPLICE_F_NONBLOCK, NEVER);
}

/* As move, once, without sleeping. */
static int64_t attempt(struct task *task, int fd, struct file *file, char *bytes, size_t length, bool writing,
                       const int64_t *position) {
    const struct fd_entry *entry = fd_entry(task, fd);
    if (!entry || entry->file != file)
        return -EBADF;
    const struct file_operations *operations = file_operations(file);
    struct user_iovec segment = {(uint64_t)(uintptr_t)bytes, length};
    struct uio uio;
    uio_init(&uio, &segment, 1);
    task->native_fd = entry->native_fd;
    if (writing)
        return operations->write ? operations->write(task, file, &uio, position) : -EINVAL;
    return operations->read ? operations->read(task, file, &uio, position) : -EINVAL;
}

/* Moves from a pipe to what is not one, or is another. While it sleeps for room, everything is still in the pipe, where
 * somebody else may read it. */
static int64_t splice_from_pipe(struct task *task, struct file *pipe, int out, struct file *sink,
                                const int64_t *position, size_t length, uint32_t flags) {
    int64_t start = task->host->now, total = 0, at = position ? *position : 0;
    char *buffer = take_buffer(task);
    if (!buffer)
        return -ENOMEM;
    int64_t result = wait_for_pipe(task, pipe, POLLIN, flags);
    while (!result && (size_t)total < length) {
        size_t held = pipe_peek(pipe, buffer, KMIN(length - (size_t)total, CHUNK));
        if (!held)
            break;
        int64_t moved = attempt(task, out, sink, buffer, held, true, position ? &at : NULL);
        if (moved > 0) {
            pipe_consume(pipe, (size_t)moved);
            total += moved;
            at += moved;
        } else if (moved != -EAGAIN || sink->flags & O_NONBLOCK) {
            result = moved;
            break;
        } else {
            result = file_sleep_transfer(task, sink, true, start);
        }
    }
    return_buffer(task);
    return total ? total : result;
}

static int64_t splice_to_pipe(struct task *task, int in, struct file *source, const int64_t *position, int out,
                              struct file *pipe, size_t length, uint32_t flags) {
    int64_t start = task->host->now, result;
    char *buffer = take_buffer(task);
    if (!buffer)
        return -ENOMEM;
    for (;;) {
        result = wait_for_pipe(task, pipe, POLLOUT, flags);
        if (result)
            break;
        size_t room = KMIN(KMIN(length, CHUNK), KMAX(pipe_room(pipe), (size_t)1));
        result = attempt(task, in, source, buffer, room, false, position);
        if (result > 0)
            result = attempt(task, out, pipe, buffer, (size_t)result, true, NULL);
        if (result != -EAGAIN || source->flags & O_NONBLOCK)
            break;
        result = file_sleep_transfer(task, source, false, start);
        if (result)
            break;
    }
    return_buffer(task);
    return result;
}

int64_t sys_splice(struct task *task, const uint64_t *a) {
    int in = (int)a[0], out = (int)a[2];
    uint32_t flags = (uint32_t)a[5];
    size_t length = KMIN(a[4], MAX_TRANSFER);
    if (!length)
        return 0;
    if (flags & ~SPLICE_FLAGS)
        return -EINVAL;
    struct file *source = fd_file(task, in), *sink = fd_file(task, out);
    if (!source || !sink || !readable(source) || !writable(sink))
        return -EBADF;
    bool from_pipe = source->kind == FILE_PIPE, to_pipe = sink->kind == FILE_PIPE;
    if (!from_pipe && !to_pipe)
        return -EINVAL;
    if ((from_pipe && a[1]) || (to_pipe && a[3]))
        return -ESPIPE;
    if (from_pipe && to_pipe && pipe_identity(source) == pipe_identity(sink))
        return -EINVAL;
    uint64_t user = from_pipe ? a[3] : a[1];
    int64_t position = 0, result = user ? start_position(task, from_pipe ? out : in, user, &position) : 0;
    if (result)
        return result;
    const int64_t *at = user ? &position : NULL;
    file_hold(task, source);
    file_hold(task, sink);
    if (from_pipe && to_pipe) {
        result = wait_for_pipe(task, sink, POLLOUT, flags);
        length = KMIN(length, KMAX(pipe_room(sink), (size_t)1));
    }
    if (!result && from_pipe)
        result = splice_from_pipe(task, source, out, sink, at, length, flags);
    else if (!result)
        result = splice_to_pipe(task, in, source, at, out, sink, length, flags);
    return user ? finish_position(task, from_pipe ? out : in, user, position + KMAX(result, 0), result) : result;
}

int64_t sys_tee(struct task *task, const uint64_t *a) {
    int in = (int)a[0], out = (int)a[1];
    uint32_t flags = (uint32_t)a[3];
    size_t length = KMIN(a[2], MAX_TRANSFER);
    if (flags & ~SPLICE_FLAGS)
        return -EINVAL;
    if (!length)
        return 0;
    struct file *source = fd_file(task, in), *sink = fd_file(task, out);
    if (!source || !sink || !readable(source) || !writable(sink))
        return -EBADF;
    if (source->kind != FILE_PIPE || sink->kind != FILE_PIPE || pipe_identity(source) == pipe_identity(sink))
        return -EINVAL;
    file_hold(task, source);
    file_hold(task, sink);
    int64_t result = wait_for_pipe(task, source, POLLIN, flags);
    if (!result)
        result = wait_for_pipe(task, sink, POLLOUT, flags);
    char *buffer = result ? NULL : take_buffer(task);
    if (!buffer)
        return result ? result : -ENOMEM;
    length = pipe_peek(source, buffer, KMIN(KMIN(length, CHUNK), KMAX(pipe_room(sink), (size_t)1)));
    result = length ? move(task, out, buffer, length, true, NULL) : 0;
    return_buffer(task);
    return result;
}

/* As much of the segments as a pipe has room for. */
static int64_t fill_pipe(struct task *task, struct file *pipe, uint64_t segments, uint64_t count) {
    int64_t total = 0;
    for (uint64_t i = 0; i < count && pipe_room(pipe); i++) {
        struct user_iovec segment;
        struct uio uio;
        if (copy_from_user(&segment, segments + i * sizeof segment, sizeof segment))
            return total ? total : -EFAULT;
        uint64_t length = segment.length;
        segment.length = KMIN(length, pipe_room(pipe));
        uio_init(&uio, &segment, 1);
        int64_t moved = segment.length ? file_write(task, pipe, &uio, NULL) : 0;
        if (moved < 0)
            return total ? total : moved;
        total += moved;
        if ((uint64_t)moved < length)
            break;
    }
    return total;
}

/* From memory into a pipe; at its other end, as readv does. */
int64_t sys_vmsplice(struct task *task, const uint64_t *a) {
    uint32_t flags = (uint32_t)a[3];
    if (flags & ~SPLICE_FLAGS)
        return -EINVAL;
    struct file *pipe = fd_file(task, (int)a[0]);
    if (!pipe || pipe->flags & O_PATH || pipe->kind != FILE_PIPE)
        return -EBADF;
    if (a[2] > MAX_SEGMENTS)
        return -EINVAL;
    if (!a[2])
        return 0;
    bool writing = writable(pipe);
    file_hold(task, pipe);
    int64_t result = wait_for_pipe(task, pipe, writing ? POLLOUT : POLLIN, flags);
    if (result)
        return result;
    return writing ? fill_pipe(task, pipe, a[1], a[2]) : sys_readv(task, a);
}

/* Between real files, by the real kernel. */
int64_t sys_copy_file_range(struct task *task, const uint64_t *a) {
    const struct fd_entry *in = fd_entry(task, (int)a[0]), *out = fd_entry(task, (int)a[2]);
    if (!in || !out || !readable(in->file) || !writable(out->file) || (out->file->flags & O_APPEND))
        return -EBADF;
    if ((uint32_t)a[5])
        return -EINVAL;
    if (in->file->kind != FILE_NATIVE || out->file->kind != FILE_NATIVE)
        return in->file->kind == FILE_VIRTUAL ? -EXDEV : -EINVAL;
    int64_t result =
        platform_syscall(__NR_copy_file_range, (uint64_t)in->native_fd, a[1], (uint64_t)out->native_fd, a[3], a[4], 0);
    if (result > 0) {
        fs_written(task, out);
        inotify_descriptor(task->host, in->native_fd, IN_ACCESS);
        inotify_descriptor(task->host, out->native_fd, IN_MODIFY);
    }
    return result;
}
