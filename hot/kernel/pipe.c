/* Pipes: a ring of pages with two ends.
 *
 * file.c calls the operations; splice.c moves bytes without user memory. Writes of up to PIPE_BUF bytes are atomic,
 * for they take one page at most. As in Linux a page is free again when all of it was read, a small write goes into
 * what is left of the last page, and a pipe is full when no page is free: programs see that in how much fits.
 */
#include "async.h"
#include "fs.h"
#include "internal.h"
#include "syscalls.h"

#include <asm/ioctls.h>
#include <linux/fcntl.h>
#include <linux/poll.h>

#define PAGE 4096u
#define PAGES_DEFAULT 16u
#define PAGES_MAX 256u
#define SIGNAL_PIPE 13

struct pipe_page {
    uint16_t start, end; /* what is unread of its bytes */
    bool packet;         /* written with O_DIRECT: read by itself, never added to */
};
struct pipe {
    struct host *host;
    struct pipe_page *pages;             /* NULL until something is written: most pipes of a shell stay empty */
    uint8_t *bytes;                      /* of all pages, in the same block of memory */
    uint32_t capacity;                   /* pages, a power of two */
    uint32_t first, used;                /* pages that hold something */
    uint32_t length;                     /* unread bytes of all */
    uint32_t readers, writers;           /* descriptions of either end */
    struct list ends;                    /* struct pipe_end.node */
    struct list fifo_node;               /* in host->fifos */
    uint64_t device, inode;              /* of a FIFO's file */
    uint32_t reader_opens, writer_opens; /* how often so far: who waits for the other end waits for a change */
    struct wait_queue partners;
};
/* What a description of a pipe has as its object: /proc/self/fd can open an end again. */
struct pipe_end {
    struct list node;
    struct pipe *pipe;
    struct file *file;
    uint32_t writers_then; /* writer_opens when a FIFO was opened without a writer: no hang-up before one came */
};

static struct pipe *pipe_of(const struct file *file) { return ((const struct pipe_end *)file->object)->pipe; }

static bool may_read(const struct file *file) { return (file->flags & O_ACCMODE) != O_WRONLY; }

static bool may_write(const struct file *file) { return (file->flags & O_ACCMODE) != O_RDONLY; }

const void *pipe_identity(const struct file *file) { return pipe_of(file); }

static void wake_readers(const struct pipe *pipe, uint32_t events) {
    list_for_each(node, &pipe->ends) {
        struct pipe_end *end = list_entry(node, struct pipe_end, node);
        if (!may_read(end->file))
            continue;
        wake_up(pipe->host, &end->file->wait, events);
        async_tell(pipe->host, end->file, ASYNC_IN);
    }
}

static void wake_writers(const struct pipe *pipe, uint32_t events) {
    list_for_each(node, &pipe->ends) {
        struct pipe_end *end = list_entry(node, struct pipe_end, node);
        if (may_write(end->file))
            wake_up(pipe->host, &end->file->wait, events);
    }
}

/* Of each read and of the last reader's end, whether somebody waits or not. */
static void tell_writers(const struct pipe *pipe) {
    list_for_each(node, &pipe->ends) {
        struct pipe_end *end = list_entry(node, struct pipe_end, node);
        if (may_write(end->file))
            async_tell(pipe->host, end->file, ASYNC_OUT);
    }
}

/* Something was read. */
static void pages_read(const struct pipe *pipe, bool was_full) {
    if (was_full && pipe->used < pipe->capacity)
        wake_writers(pipe, POLLOUT | POLLWRNORM);
    tell_writers(pipe);
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
    pipe->reader_opens += may_read(file);
    pipe->writer_opens += may_write(file);
    wake_up(pipe->host, &pipe->partners, 0);
    return file;
}

static struct pipe *create(struct host *host) {
    struct pipe *pipe = kalloc(host, sizeof *pipe);
    if (!pipe)
        return NULL;
    pipe->host = host;
    pipe->capacity = PAGES_DEFAULT;
    list_init(&pipe->ends);
    list_init(&pipe->fifo_node);
    wait_queue_init(&pipe->partners);
    return pipe;
}

static void destroy(struct pipe *pipe) {
    list_remove(&pipe->fifo_node);
    kfree(pipe->host, pipe->pages);
    kfree(pipe->host, pipe);
}

static void pipe_release(struct host *host, struct file *file) {
    struct pipe_end *end = file->object;
    struct pipe *pipe = end->pipe;
    list_remove(&end->node);
    pipe->readers -= may_read(file);
    pipe->writers -= may_write(file);
    kfree(host, end);
    if (list_empty(&pipe->ends)) {
        destroy(pipe);
        return;
    }
    if (!pipe->writers)
        wake_readers(pipe, POLLHUP);
    if (!pipe->readers) {
        wake_writers(pipe, POLLERR);
        tell_writers(pipe);
    }
}

int64_t pipe_reopen(const struct file *file, uint32_t flags, struct file **opened) {
    const uint32_t kept = O_ACCMODE | O_NONBLOCK | O_APPEND;
    struct pipe *pipe = pipe_of(file);
    *opened = open_end(pipe, flags & kept);
    return *opened ? 0 : -ENOMEM;
}

static bool is_full(const struct pipe *pipe) { return pipe->used == pipe->capacity; }

static uint32_t page_index(const struct pipe *pipe, uint32_t place) {
    return (pipe->first + place) & (pipe->capacity - 1);
}

size_t pipe_room(const struct file *file) {
    const struct pipe *pipe = pipe_of(file);
    return (size_t)(pipe->capacity - pipe->used) * PAGE;
}

static bool allocate(struct pipe *pipe, uint32_t capacity) {
    struct pipe_page *pages = kalloc_raw(pipe->host, capacity * (PAGE + sizeof *pages));
    if (!pages)
        return false;
    pipe->pages = pages;
    pipe->bytes = (uint8_t *)(pages + capacity);
    return true;
}

size_t pipe_peek(const struct file *file, void *bytes, size_t length) {
    const struct pipe *pipe = pipe_of(file);
    size_t done = 0;
    for (uint32_t place = 0; place < pipe->used && done < length; place++) {
        uint32_t index = page_index(pipe, place);
        const struct pipe_page *page = &pipe->pages[index];
        size_t part = KMIN(length - done, (size_t)(page->end - page->start));
        memcpy((uint8_t *)bytes + done, pipe->bytes + (size_t)index * PAGE + page->start, part);
        done += part;
    }
    return done;
}

/* `length` bytes of the first page were read. */
static void take(struct pipe *pipe, size_t length) {
    struct pipe_page *page = &pipe->pages[pipe->first];
    page->start = (uint16_t)(page->start + length);
    pipe->length -= (uint32_t)length;
    if (page->start < page->end)
        return;
    pipe->first = page_index(pipe, 1);
    pipe->used--;
}

void pipe_consume(struct file *file, size_t length) {
    struct pipe *pipe = pipe_of(file);
    bool was_full = is_full(pipe);
    while (length && pipe->used) {
        const struct pipe_page *page = &pipe->pages[pipe->first];
        size_t part = KMIN(length, (size_t)(page->end - page->start));
        take(pipe, part);
        length -= part;
    }
    pages_read(pipe, was_full);
}

static int64_t pipe_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)task;
    (void)position;
    struct pipe *pipe = pipe_of(file);
    if (!to->remaining)
        return 0;
    if (!pipe->used)
        return pipe->writers ? -EAGAIN : 0;
    bool was_full = is_full(pipe), packet = false;
    int64_t done = 0;
    while (pipe->used && to->remaining && !packet) {
        const struct pipe_page *page = &pipe->pages[pipe->first];
        size_t held = (size_t)(page->end - page->start), part = KMIN(to->remaining, held);
        if (uio_copy_out(to, pipe->bytes + (size_t)pipe->first * PAGE + page->start, part)) {
            done = done ? done : -EFAULT;
            break;
        }
        packet = page->packet; /* what of it did not fit is lost */
        take(pipe, packet ? held : part);
        done += (int64_t)part;
    }
    pages_read(pipe, was_full);
    return done;
}

/* The last part of a write, behind what the last page holds: where it fits there, it needs no page of its own. */
static int64_t add_to_last(struct pipe *pipe, struct uio *from) {
    size_t part = from->remaining & (PAGE - 1);
    if (!part || !pipe->used)
        return 0;
    uint32_t index = page_index(pipe, pipe->used - 1);
    struct pipe_page *page = &pipe->pages[index];
    if (page->packet || page->end + part > PAGE)
        return 0;
    if (uio_copy_in(from, pipe->bytes + (size_t)index * PAGE + page->end, part))
        return -EFAULT;
    page->end = (uint16_t)(page->end + part);
    return (int64_t)part;
}

static int64_t add_page(struct pipe *pipe, struct uio *from, bool packet) {
    uint32_t index = page_index(pipe, pipe->used);
    size_t part = KMIN(from->remaining, (size_t)PAGE);
    if (uio_copy_in(from, pipe->bytes + (size_t)index * PAGE, part))
        return -EFAULT;
    pipe->pages[index] = (struct pipe_page){.end = (uint16_t)part, .packet = packet};
    pipe->used++;
    return (int64_t)part;
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
    if (!pipe->pages && !allocate(pipe, pipe->capacity))
        return -ENOMEM;
    bool packet = (file->flags & O_DIRECT) != 0;
    int64_t result = packet ? 0 : add_to_last(pipe, from), done = result;
    while (result >= 0 && from->remaining && !is_full(pipe)) {
        result = add_page(pipe, from, packet);
        done += KMAX(result, (int64_t)0);
    }
    if (done <= 0)
        return result < 0 ? result : -EAGAIN;
    pipe->length += (uint32_t)done;
    wake_readers(pipe, POLLIN | POLLRDNORM);
    return done;
}

static uint32_t pipe_poll(struct file *file) {
    const struct pipe *pipe = pipe_of(file);
    uint32_t events = 0;
    if (may_read(file)) {
        events |= pipe->used ? POLLIN | POLLRDNORM : 0;
        const struct pipe_end *end = file->object;
        events |= pipe->writers || end->writers_then == pipe->writer_opens ? 0 : POLLHUP;
    }
    if (may_write(file)) {
        events |= !is_full(pipe) ? POLLOUT | POLLWRNORM : 0;
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

int64_t pipe_get_size(const struct file *file) { return (int64_t)pipe_of(file)->capacity * PAGE; }

int64_t pipe_set_size(struct host *host, struct file *file, uint64_t asked) {
    struct pipe *pipe = pipe_of(file);
    uint32_t size = (uint32_t)asked, capacity = 1;
    if (size > UINT32_C(1) << 31)
        return -EINVAL;
    if (size > PAGES_MAX * PAGE)
        return -EPERM;
    while (capacity * PAGE < size)
        capacity *= 2;
    if (pipe->used > capacity)
        return -EBUSY;
    bool was_full = is_full(pipe);
    struct pipe old = *pipe;
    if (old.pages && !allocate(pipe, capacity))
        return -ENOMEM;
    for (uint32_t place = 0; place < old.used; place++) {
        uint32_t index = page_index(&old, place);
        memcpy(pipe->bytes + (size_t)place * PAGE, old.bytes + (size_t)index * PAGE, PAGE);
        pipe->pages[place] = old.pages[index];
    }
    kfree(host, old.pages);
    pipe->first = 0;
    pipe->capacity = capacity;
    if (was_full && !is_full(pipe))
        wake_writers(pipe, POLLOUT | POLLWRNORM);
    return (int64_t)capacity * PAGE;
}

static int64_t do_pipe(struct task *task, uint64_t user_fds, uint32_t flags) {
    struct host *host = task->host;
    if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
        return -EINVAL;
    struct pipe *pipe = create(host);
    if (!pipe)
        return -ENOMEM;
    struct file *reader = open_end(pipe, O_RDONLY | (flags & O_NONBLOCK));
    if (!reader) {
        destroy(pipe);
        return -ENOMEM;
    }
    struct file *writer = open_end(pipe, O_WRONLY | (flags & (O_NONBLOCK | O_DIRECT)));
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

/* ---- FIFOs ---- */

static struct pipe *fifo_find(struct host *host, uint64_t device, uint64_t inode) {
    list_for_each(node, &host->fifos) {
        struct pipe *pipe = list_entry(node, struct pipe, fifo_node);
        if (pipe->device == device && pipe->inode == inode)
            return pipe;
    }
    return NULL;
}

void fifo_created(struct host *host, uint64_t device, uint64_t inode) {
    /* The number may have been that of a removed one that is still open. */
    struct pipe *old = fifo_find(host, device, inode);
    if (old)
        list_remove(&old->fifo_node);
}

/* Waits until the other end was opened, though it may be closed again by then. */
static int wait_for_partner(struct task *task, struct pipe *pipe, const uint32_t *opens) {
    uint32_t before = *opens;
    int result = 0;
    while (!result && *opens == before) {
        wait_add(&pipe->partners, &task->wait, task, 0);
        result = task_block(task, NEVER);
        wait_remove(&task->wait);
    }
    return result;
}

int64_t fifo_open(struct task *task, uint64_t device, uint64_t inode, uint32_t flags) {
    struct host *host = task->host;
    uint32_t access = flags & O_ACCMODE;
    struct pipe *pipe = fifo_find(host, device, inode);
    bool nonblocking = (flags & O_NONBLOCK) != 0;
    if (access == O_WRONLY && nonblocking && (!pipe || !pipe->readers))
        return -ENXIO;
    if (!pipe) {
        pipe = create(host);
        if (!pipe)
            return -ENOMEM;
        pipe->device = device;
        pipe->inode = inode;
        list_push_back(&host->fifos, &pipe->fifo_node);
    }
    struct file *file = open_end(pipe, flags & (O_ACCMODE | O_NONBLOCK | O_APPEND | O_DIRECT));
    if (!file) {
        if (list_empty(&pipe->ends))
            destroy(pipe);
        return -ENOMEM;
    }
    /* The call holds it, and the end goes again if a signal ends the wait. */
    file_hold(task, file);
    file_put(host, file);
    int result = 0;
    if (access == O_RDONLY && !pipe->writers && nonblocking)
        ((struct pipe_end *)file->object)->writers_then = pipe->writer_opens;
    else if (access == O_RDONLY && !pipe->writers)
        result = wait_for_partner(task, pipe, &pipe->writer_opens);
    else if (access == O_WRONLY && !pipe->readers)
        result = wait_for_partner(task, pipe, &pipe->reader_opens);
    if (result)
        return result;
    file_get(file);
    return fd_install(task, file, 0, (flags & O_CLOEXEC) != 0, -1);
}
