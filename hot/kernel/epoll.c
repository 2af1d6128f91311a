/* epoll: interest kept between calls, and a list of what is ready in the order in which it became so.
 *
 * An item hangs in its file's wait queue; wake_up calls epoll_wake, which queues the item and wakes who waits for the
 * epoll file, by epoll_wait or by polling it (nested). epoll_wait asks each queued file what really holds.
 */
#include "fs.h"
#include "internal.h"
#include "syscalls.h"

#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/time_types.h>

#define PRIVATE_BITS (EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)
#define EXCLUSIVE_ALLOWED (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
#define NESTING_MAX 5 /* EP_MAX_NESTS + 1 */
#define FIRST_BUCKETS 16u
#define EVENTS_MAX (INT32_MAX / (int32_t)sizeof(struct epoll_event))

struct epoll {
    struct file *file;
    struct list *buckets; /* of epoll_item.bucket_node, by descriptor */
    uint32_t bucket_count, count;
    struct list ready;          /* of epoll_item.ready_node, oldest first */
    struct wait_queue sleepers; /* in epoll_wait; file->wait has who polls */
};

struct epoll_item {
    struct list bucket_node, ready_node;
    struct list file_node; /* in file->watches */
    struct wait_entry wait;
    struct host *host;
    struct epoll *epoll;
    struct file *file;
    int fd;
    uint32_t events; /* only PRIVATE_BITS are left: switched off after EPOLLONESHOT */
    uint64_t data;
};

static struct list *bucket_of(struct list *buckets, uint32_t count, int fd) {
    return &buckets[(uint32_t)fd & (count - 1)];
}

static uint32_t interest(const struct epoll_item *item) { return item->events & ~(uint32_t)PRIVATE_BITS; }

static uint32_t item_poll(const struct epoll_item *item) { return file_poll(item->file) & interest(item); }

static void tell_waiters(const struct epoll_item *item) {
    wake_up(item->host, &item->epoll->sleepers, EPOLLIN);
    wake_up(item->host, &item->epoll->file->wait, EPOLLIN | EPOLLRDNORM);
}

/* After epoll_ctl found it ready. */
static void item_ready(struct epoll_item *item) {
    if (list_linked(&item->ready_node))
        return;
    list_push_back(&item->epoll->ready, &item->ready_node);
    tell_waiters(item);
}

static bool has_sleeper(const struct epoll *epoll) {
    list_for_each(node, &epoll->sleepers.waiters) {
        const struct task *task = list_entry(node, struct wait_entry, node)->owner;
        if (task->state == TASK_BLOCKED)
            return true;
    }
    return false;
}

bool epoll_wake(struct host *host, struct wait_entry *entry, uint32_t events) {
    (void)host;
    struct epoll_item *item = entry->owner;
    if (!interest(item) || (events && !(events & interest(item))))
        return false;
    /* Each event is one for an epoll around this one too, though nobody has taken the last. */
    if (!list_linked(&item->ready_node))
        list_push_back(&item->epoll->ready, &item->ready_node);
    bool woken = has_sleeper(item->epoll);
    tell_waiters(item);
    return woken;
}

static void item_free(struct epoll_item *item) {
    list_remove(&item->bucket_node);
    list_remove(&item->ready_node);
    list_remove(&item->file_node);
    wait_remove(&item->wait);
    item->epoll->count--;
    kfree(item->host, item);
}

void epoll_forget_file(struct host *host, struct file *file) {
    (void)host;
    list_for_each_safe(node, &file->watches) item_free(list_entry(node, struct epoll_item, file_node));
}

static uint32_t epoll_poll(struct file *file) {
    const struct epoll *epoll = file->object;
    list_for_each(node, &epoll->ready) if (item_poll(list_entry(node, struct epoll_item, ready_node))) return EPOLLIN |
        EPOLLRDNORM;
    return 0;
}

static void epoll_release(struct host *host, struct file *file) {
    struct epoll *epoll = file->object;
    for (uint32_t i = 0; i < epoll->bucket_count; i++)
        list_for_each_safe(node, &epoll->buckets[i]) item_free(list_entry(node, struct epoll_item, bucket_node));
    kfree(host, epoll->buckets);
    kfree(host, epoll);
}

const struct file_operations epoll_operations = {
    .name = "anon_inode:[eventpoll]",
    .poll = epoll_poll,
    .release = epoll_release,
};

/* ---- Creation ---- */

static struct list *create_buckets(struct host *host, uint32_t count) {
    struct list *buckets = kalloc(host, count * sizeof *buckets);
    for (uint32_t i = 0; buckets && i < count; i++)
        list_init(&buckets[i]);
    return buckets;
}

static int64_t create(struct task *task, bool close_on_exec) {
    struct host *host = task->host;
    struct epoll *epoll = kalloc(host, sizeof *epoll);
    struct list *buckets = create_buckets(host, FIRST_BUCKETS);
    struct file *file = epoll && buckets ? file_create(host, FILE_EPOLL, O_RDWR, epoll) : NULL;
    if (!file) {
        kfree(host, epoll);
        kfree(host, buckets);
        return -ENOMEM;
    }
    epoll->file = file;
    epoll->buckets = buckets;
    epoll->bucket_count = FIRST_BUCKETS;
    list_init(&epoll->ready);
    wait_queue_init(&epoll->sleepers);
    return fd_install(task, file, 0, close_on_exec, -1);
}

int64_t sys_epoll_create1(struct task *task, const uint64_t *a) {
    if ((uint32_t)a[0] & ~(uint32_t)O_CLOEXEC)
        return -EINVAL;
    return create(task, (uint32_t)a[0] != 0);
}

int64_t sys_epoll_create(struct task *task, const uint64_t *a) {
    return (int)a[0] <= 0 ? -EINVAL : create(task, false);
}

/* ---- Changing the interest ---- */

static struct epoll_item *item_find(const struct epoll *epoll, const struct file *file, int fd) {
    list_for_each(node, bucket_of(epoll->buckets, epoll->bucket_count, fd)) {
        struct epoll_item *item = list_entry(node, struct epoll_item, bucket_node);
        if (item->fd == fd && item->file == file)
            return item;
    }
    return NULL;
}

/* Whether `file` leads back to `goal` through epoll files, or the chain is too long. */
static bool loops(const struct file *file, const struct file *goal, int depth) {
    if (file == goal || depth > NESTING_MAX)
        return true;
    if (file->kind != FILE_EPOLL)
        return false;
    const struct epoll *epoll = file->object;
    for (uint32_t i = 0; i < epoll->bucket_count; i++)
        list_for_each(node, &epoll->buckets[i]) if (loops(list_entry(node, struct epoll_item, bucket_node)->file, goal,
                                                          depth + 1)) return true;
    return false;
}

static void grow(struct host *host, struct epoll *epoll) {
    uint32_t count = epoll->bucket_count * 2;
    struct list *buckets = create_buckets(host, count);
    if (!buckets)
        return;
    for (uint32_t i = 0; i < epoll->bucket_count; i++) {
        list_for_each_safe(node, &epoll->buckets[i]) {
            struct epoll_item *item = list_entry(node, struct epoll_item, bucket_node);
            list_remove(node);
            list_push_back(bucket_of(buckets, count, item->fd), node);
        }
    }
    kfree(host, epoll->buckets);
    epoll->buckets = buckets;
    epoll->bucket_count = count;
}

static int64_t item_add(struct host *host, struct epoll *epoll, struct file *file, int fd,
                        const struct epoll_event *event) {
    struct epoll_item *item = kalloc(host, sizeof *item);
    if (!item)
        return -ENOMEM;
    item->host = host;
    item->epoll = epoll;
    item->file = file;
    item->fd = fd;
    item->events = event->events;
    item->data = event->data;
    item->wait.events = interest(item);
    item->wait.owner = item;
    item->wait.kind = WAIT_EPOLL;
    item->wait.exclusive = event->events & EPOLLEXCLUSIVE;
    list_init(&item->wait.owner_node);
    list_init(&item->ready_node);
    list_push_back(&file->wait.waiters, &item->wait.node);
    list_push_back(&file->watches, &item->file_node);
    list_push_back(bucket_of(epoll->buckets, epoll->bucket_count, fd), &item->bucket_node);
    if (++epoll->count > 2 * epoll->bucket_count)
        grow(host, epoll);
    if (item_poll(item))
        item_ready(item);
    return 0;
}

static int64_t item_modify(struct epoll_item *item, const struct epoll_event *event) {
    if (item->events & EPOLLEXCLUSIVE)
        return -EINVAL;
    item->events = event->events;
    item->data = event->data;
    item->wait.events = interest(item);
    if (item_poll(item))
        item_ready(item);
    return 0;
}

int64_t sys_epoll_ctl(struct task *task, const uint64_t *a) {
    int operation = (int)a[1], fd = (int)a[2];
    struct epoll_event event = {0};
    if (operation != EPOLL_CTL_DEL && copy_from_user(&event, a[3], sizeof event))
        return -EFAULT;
    struct file *epoll_file = fd_file(task, (int)a[0]), *file = fd_file(task, fd);
    if (!epoll_file || !file || (file->flags & O_PATH))
        return -EBADF;
    if (!file_operations(file)->poll)
        return -EPERM;
    if (epoll_file == file || epoll_file->kind != FILE_EPOLL)
        return -EINVAL;
    if (operation != EPOLL_CTL_DEL && (event.events & EPOLLEXCLUSIVE) &&
        (operation == EPOLL_CTL_MOD || file->kind == FILE_EPOLL || (event.events & ~(uint32_t)EXCLUSIVE_ALLOWED)))
        return -EINVAL;
    event.events |= EPOLLERR | EPOLLHUP; /* whether asked for or not */
    struct epoll *epoll = epoll_file->object;
    if (operation == EPOLL_CTL_ADD && file->kind == FILE_EPOLL && loops(file, epoll_file, 1))
        return -ELOOP;
    struct epoll_item *item = item_find(epoll, file, fd);
    switch (operation) {
    case EPOLL_CTL_ADD:
        return item ? -EEXIST : item_add(task->host, epoll, file, fd, &event);
    case EPOLL_CTL_DEL:
        if (item)
            item_free(item);
        return item ? 0 : -ENOENT;
    case EPOLL_CTL_MOD:
        return item ? item_modify(item, &event) : -ENOENT;
    default:
        return -EINVAL;
    }
}

/* ---- Waiting ---- */

/* Takes what is ready, at most `maximum` events. Level-triggered items go to the back: they are asked again next time.
 */
static int64_t collect(struct host *host, struct epoll *epoll, uint64_t user, int32_t maximum) {
    struct list again;
    int64_t given = 0;
    list_init(&again);
    while (!list_empty(&epoll->ready) && given < maximum) {
        struct epoll_item *item = list_entry(epoll->ready.next, struct epoll_item, ready_node);
        uint32_t events = item_poll(item);
        if (events) {
            struct epoll_event event = {.events = events, .data = item->data};
            if (copy_to_user(user + (uint64_t)given * sizeof event, &event, sizeof event)) {
                given = given ? given : -EFAULT;
                break;
            }
            given++;
        }
        list_remove(&item->ready_node);
        if (events && (item->events & EPOLLONESHOT))
            item->events &= PRIVATE_BITS;
        else if (events && !(item->events & EPOLLET))
            list_push_back(&again, &item->ready_node);
    }
    while (!list_empty(&again)) {
        struct list *node = again.next;
        list_remove(node);
        list_push_back(&epoll->ready, node);
    }
    if (given > 0 && !list_empty(&epoll->ready)) /* there may be work for another thread */
        wake_up(host, &epoll->sleepers, EPOLLIN);
    return given;
}

static int64_t wait_for_events(struct task *task, int fd, uint64_t user, int32_t maximum, int64_t deadline) {
    if (maximum <= 0 || maximum > EVENTS_MAX)
        return -EINVAL;
    struct file *file = fd_file(task, fd);
    if (!file)
        return -EBADF;
    if (file->kind != FILE_EPOLL)
        return -EINVAL;
    struct epoll *epoll = file->object;
    for (int result = 0;;) {
        int64_t given = collect(task->host, epoll, user, maximum);
        if (given || deadline <= task->host->now)
            return given;
        if (result == -ERESTARTSYS) /* what came together with a signal is given first: nobody else was woken for it */
            return -EINTR;
        file_hold(task, file);
        wait_add(&epoll->sleepers, &task->wait, task, 0);
        task->wait.exclusive = true;
        result = task_block(task, deadline);
        wait_remove(&task->wait);
    }
}

int64_t sys_epoll_wait(struct task *task, const uint64_t *a) {
    return wait_for_events(task, (int)a[0], a[1], (int32_t)a[2], deadline_of_milliseconds(task->host, (int)a[3]));
}

int64_t sys_epoll_pwait(struct task *task, const uint64_t *a) {
    int64_t result = call_mask_set(task, a[4], a[5]);
    return result ? result : call_mask_restore(task, a[4], sys_epoll_wait(task, a));
}

int64_t sys_epoll_pwait2(struct task *task, const uint64_t *a) {
    struct __kernel_timespec time;
    int64_t deadline = NEVER;
    if (a[3]) {
        if (copy_from_user(&time, a[3], sizeof time))
            return -EFAULT;
        if (deadline_of_timespec(task->host, &time, &deadline))
            return -EINVAL;
    }
    int64_t result = call_mask_set(task, a[4], a[5]);
    if (result)
        return result;
    result = wait_for_events(task, (int)a[0], a[1], (int32_t)a[2], deadline);
    return call_mask_restore(task, a[4], result);
}
