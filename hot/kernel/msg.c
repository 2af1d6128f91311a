/* System V message queues: msgget, msgsnd, msgrcv, msgctl.
 *
 * A message is handed to the first task that waits for one of its type; only what nobody waits for is queued.
 */
#include "credentials.h"
#include "internal.h"
#include "ipc.h"
#include "syscalls.h"

#include <linux/msg.h>

#define QUEUES_MAX 32000       /* kernel.msgmni */
#define MESSAGE_MAX 8192u      /* kernel.msgmax */
#define QUEUE_BYTES_MAX 16384u /* kernel.msgmnb */
#define NO_WAIT 04000u         /* IPC_NOWAIT */

struct message {
    struct list node; /* in the queue */
    int64_t type;
    size_t length;
    uint8_t bytes[];
};

struct message_queue {
    struct ipc_object object;
    struct list messages;
    struct wait_queue senders, receivers; /* receivers: tasks whose scratch is a struct receiver */
    uint64_t bytes, count, bytes_max;
    int64_t send_time, receive_time, change_time;
    int32_t last_sender, last_receiver;
};

struct receiver {
    int64_t type;
    size_t capacity;
    uint32_t flags;
    bool done;
    int result;
    struct message *message;
};

static struct message_queue *find(struct host *host, uint64_t id) {
    return (struct message_queue *)(void *)ipc_find(host, IPC_MESSAGES, (int32_t)id);
}

int64_t sys_msgget(struct task *task, const uint64_t *a) {
    struct ipc_object *object;
    struct host *host = task->host;
    int32_t key = (int32_t)a[0];
    uint32_t flags = (uint32_t)a[1];
    int result = ipc_look_up(task, IPC_MESSAGES, key, flags, &object);
    if (result)
        return result;
    if (object) {
        result = ipc_permit(task, object, flags);
        return result ? result : object->id;
    }
    struct message_queue *queue = kalloc(host, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    list_init(&queue->messages);
    wait_queue_init(&queue->senders);
    wait_queue_init(&queue->receivers);
    queue->bytes_max = QUEUE_BYTES_MAX;
    queue->change_time = ipc_seconds(host);
    result = ipc_add(task, IPC_MESSAGES, key, flags, &queue->object);
    if (result) {
        kfree(host, queue);
        return result;
    }
    return queue->object.id;
}

/* ---- Sending ---- */

/* Whether a receiver asks for messages of this type. A negative type is the highest one that is wanted. */
static bool wanted(const struct receiver *receiver, int64_t type) {
    if (receiver->type == 0)
        return true;
    if (receiver->type < 0)
        return receiver->type == INT64_MIN || type <= -receiver->type;
    return (type == receiver->type) != ((receiver->flags & MSG_EXCEPT) != 0);
}

static void finish(struct task *task, int result, struct message *message) {
    struct receiver *receiver = task->scratch;
    receiver->done = true;
    receiver->result = result;
    receiver->message = message;
    wait_remove(&task->wait);
    task_wake(task);
}

static void received(struct message_queue *queue, struct task *task) {
    queue->last_receiver = task->process->pid;
    queue->receive_time = ipc_seconds(task->host);
}

/* Hands the message over: false if nobody waits for it. Who has too little room for it is told so, and goes. */
static bool hand_over(struct message_queue *queue, struct message *message) {
    list_for_each_safe(node, &queue->receivers.waiters) {
        struct task *task = list_entry(node, struct wait_entry, node)->owner;
        const struct receiver *receiver = task->scratch;
        if (!wanted(receiver, message->type))
            continue;
        if (message->length > receiver->capacity && !(receiver->flags & MSG_NOERROR)) {
            finish(task, -E2BIG, NULL);
            continue;
        }
        received(queue, task);
        finish(task, 0, message);
        return true;
    }
    return false;
}

static bool fits(const struct message_queue *queue, size_t length) {
    return queue->bytes + length <= queue->bytes_max && queue->count + 1 <= queue->bytes_max;
}

/* Sleeps until there is room. The queue, which may be gone: then NULL and an error. */
static struct message_queue *wait_for_room(struct task *task, uint64_t id, size_t length, uint32_t flags, int *error) {
    for (bool slept = false;; slept = true) {
        struct message_queue *queue = find(task->host, id);
        *error = queue ? ipc_permit(task, &queue->object, IPC_WRITE) : slept ? -EIDRM : -EINVAL;
        if (*error || fits(queue, length))
            return *error ? NULL : queue;
        *error = flags & NO_WAIT ? -EAGAIN : 0;
        if (*error)
            return NULL;
        wait_add(&queue->senders, &task->wait, task, 0);
        int result = task_block(task, NEVER);
        wait_remove(&task->wait);
        if (result) {
            *error = -ERESTARTNOHAND;
            return NULL;
        }
    }
}

int64_t sys_msgsnd(struct task *task, const uint64_t *a) {
    struct host *host = task->host;
    uint64_t length = a[2];
    int64_t type;
    if (copy_from_user(&type, a[1], sizeof type))
        return -EFAULT;
    if (length > MESSAGE_MAX || (int)a[0] < 0 || type < 1)
        return -EINVAL;
    struct message *message = kalloc_raw(host, sizeof *message + length);
    if (!message)
        return -ENOMEM;
    list_init(&message->node);
    message->type = type;
    message->length = length;
    int error = copy_from_user(message->bytes, a[1] + sizeof type, length);
    task->scratch = message;
    struct message_queue *queue = error ? NULL : wait_for_room(task, a[0], length, (uint32_t)a[3], &error);
    task->scratch = NULL;
    if (!queue) {
        kfree(host, message);
        return error;
    }
    queue->last_sender = task->process->pid;
    queue->send_time = ipc_seconds(host);
    if (!hand_over(queue, message)) {
        list_push_back(&queue->messages, &message->node);
        queue->bytes += length;
        queue->count++;
    }
    return 0;
}

/* ---- Receiving ---- */

/* The first that is wanted; of those up to a type, the first of the lowest. */
static struct message *first(const struct message_queue *queue, const struct receiver *receiver) {
    struct message *found = NULL;
    list_for_each(node, &queue->messages) {
        struct message *message = list_entry(node, struct message, node);
        if (!wanted(receiver, message->type))
            continue;
        if (receiver->type >= 0)
            return message;
        if (!found || message->type < found->type)
            found = message;
    }
    return found;
}

/* Takes a message off the queue, or sleeps until one is handed over. */
static int take(struct task *task, uint64_t id, struct receiver *receiver) {
    struct message_queue *queue = find(task->host, id);
    int error = queue ? ipc_permit(task, &queue->object, IPC_READ) : -EINVAL;
    if (error)
        return error;
    struct message *message = first(queue, receiver);
    if (message) {
        if (message->length > receiver->capacity && !(receiver->flags & MSG_NOERROR))
            return -E2BIG;
        list_remove(&message->node);
        queue->bytes -= message->length;
        queue->count--;
        received(queue, task);
        wake_up(task->host, &queue->senders, 0);
        receiver->message = message;
        return 0;
    }
    if (receiver->flags & NO_WAIT)
        return -ENOMSG;
    wait_add(&queue->receivers, &task->wait, task, 0);
    while (!receiver->done) {
        int result = task_block(task, NEVER);
        if (receiver->done || !result)
            continue;
        wait_remove(&task->wait);
        return -ERESTARTNOHAND;
    }
    return receiver->result;
}

int64_t sys_msgrcv(struct task *task, const uint64_t *a) {
    struct host *host = task->host;
    uint32_t flags = (uint32_t)a[4];
    if ((int)a[0] < 0 || (int64_t)a[2] < 0)
        return -EINVAL;
    if (flags & MSG_COPY) /* kernels without checkpoints */
        return (flags & MSG_EXCEPT) || !(flags & NO_WAIT) ? -EINVAL : -ENOSYS;
    struct receiver *receiver = kalloc(host, sizeof *receiver);
    if (!receiver)
        return -ENOMEM;
    receiver->type = (int64_t)a[3];
    receiver->capacity = a[2];
    receiver->flags = flags;
    task->scratch = receiver;
    int64_t result = take(task, a[0], receiver);
    task->scratch = NULL;
    struct message *message = receiver->message;
    kfree(host, receiver);
    if (!message)
        return result;
    size_t length = KMIN(message->length, a[2]);
    result = (int64_t)length;
    if (copy_to_user(a[1], &message->type, sizeof message->type) ||
        copy_to_user(a[1] + sizeof message->type, message->bytes, length))
        result = -EFAULT;
    kfree(host, message);
    return result;
}

/* ---- Control ---- */

static void remove(struct host *host, struct message_queue *queue) {
    while (!list_empty(&queue->receivers.waiters))
        finish(list_entry(queue->receivers.waiters.next, struct wait_entry, node)->owner, -EIDRM, NULL);
    while (!list_empty(&queue->senders.waiters)) { /* they look for the queue again, in vain */
        struct wait_entry *entry = list_entry(queue->senders.waiters.next, struct wait_entry, node);
        list_remove(&entry->node);
        task_wake(entry->owner);
    }
    while (!list_empty(&queue->messages)) {
        struct message *message = list_entry(queue->messages.next, struct message, node);
        list_remove(&message->node);
        kfree(host, message);
    }
    list_remove(&queue->object.node);
    kfree(host, queue);
}

static int64_t information(struct task *task, int command, uint64_t user) {
    struct host *host = task->host;
    struct msginfo shown = {.msgpool = QUEUES_MAX * QUEUE_BYTES_MAX / 1024,
                            .msgmap = QUEUE_BYTES_MAX,
                            .msgmax = MESSAGE_MAX,
                            .msgmnb = QUEUE_BYTES_MAX,
                            .msgmni = QUEUES_MAX,
                            .msgssz = 16,
                            .msgtql = QUEUE_BYTES_MAX,
                            .msgseg = 0xffff};
    if (command == MSG_INFO) {
        shown.msgpool = shown.msgmap = shown.msgtql = 0;
        if (host->ipc)
            list_for_each(node, &host->ipc->objects[IPC_MESSAGES]) {
                const struct message_queue *queue = list_entry(node, struct message_queue, object.node);
                shown.msgpool++;
                shown.msgmap += (int)queue->count;
                shown.msgtql += (int)queue->bytes;
            }
    }
    int result = copy_to_user(user, &shown, sizeof shown);
    return result ? result : ipc_last_index(host, IPC_MESSAGES);
}

static int64_t status(struct task *task, const struct message_queue *queue, int command, uint64_t user) {
    struct msqid64_ds shown;
    if (!queue)
        return -EINVAL;
    int result = command == MSG_STAT_ANY ? 0 : ipc_permit(task, &queue->object, IPC_READ);
    if (result)
        return result;
    memset(&shown, 0, sizeof shown);
    ipc_show(&queue->object, &shown.msg_perm);
    shown.msg_stime = queue->send_time;
    shown.msg_rtime = queue->receive_time;
    shown.msg_ctime = queue->change_time;
    shown.msg_cbytes = queue->bytes;
    shown.msg_qnum = queue->count;
    shown.msg_qbytes = queue->bytes_max;
    shown.msg_lspid = queue->last_sender;
    shown.msg_lrpid = queue->last_receiver;
    result = copy_to_user(user, &shown, sizeof shown);
    return result ? result : command == IPC_STAT ? 0 : queue->object.id;
}

static int64_t set_queue(struct task *task, struct message_queue *queue, const struct msqid64_ds *given) {
    if (given->msg_qbytes > QUEUE_BYTES_MAX && !credentials_capable(task, CAP_SYS_RESOURCE))
        return -EPERM;
    int result = ipc_set(&queue->object, &given->msg_perm);
    if (result)
        return result;
    queue->bytes_max = given->msg_qbytes;
    queue->change_time = ipc_seconds(task->host);
    wake_up(task->host, &queue->senders, 0);
    return 0;
}

int64_t sys_msgctl(struct task *task, const uint64_t *a) {
    int command = (int)a[1];
    struct message_queue *queue = find(task->host, a[0]);
    struct msqid64_ds given;
    int result;
    if ((int)a[0] < 0 || command < 0)
        return -EINVAL;
    switch (command) {
    case IPC_INFO:
    case MSG_INFO:
        return information(task, command, a[2]);
    case IPC_STAT:
        return status(task, queue, command, a[2]);
    case MSG_STAT:
    case MSG_STAT_ANY:
        return status(task, (struct message_queue *)(void *)ipc_at(task->host, IPC_MESSAGES, (int)a[0]), command, a[2]);
    case IPC_SET:
    case IPC_RMID:
        if (command == IPC_SET && copy_from_user(&given, a[2], sizeof given))
            return -EFAULT;
        result = queue ? ipc_own(task, &queue->object) : -EINVAL;
        if (result)
            return result;
        if (command == IPC_SET)
            return set_queue(task, queue, &given);
        remove(task->host, queue);
        return 0;
    default:
        return -EINVAL;
    }
}
