/* System V IPC: names and permissions (sysvipc(7), ipc/util.c of Linux).
 *
 * shm.c, sem.c and msg.c call this. An id is 32768 times a sequence number plus an index, so that the id of an object
 * that is gone does not soon mean another one.
 */
#include "ipc.h"
#include "credentials.h"
#include "internal.h"

#include <linux/capability.h>

#define OBJECTS_MAX 32000 /* kernel.msgmni, the first number of kernel.sem; shmmni is less */
#define SEQUENCE_UNIT 32768
#define SEQUENCES 65535u
#define MODE 0777u

struct ipc *ipc_of(struct host *host) {
    if (host->ipc)
        return host->ipc;
    struct ipc *ipc = kalloc(host, sizeof *ipc);
    if (!ipc)
        return NULL;
    for (size_t i = 0; i < IPC_KINDS; i++)
        list_init(&ipc->objects[i]);
    list_init(&ipc->segments);
    ipc->file_size = ARENA_STRIDE;
    return host->ipc = ipc;
}

static int32_t index_of(const struct ipc_object *object) { return object->id % SEQUENCE_UNIT; }

struct ipc_object *ipc_at(struct host *host, enum ipc_kind kind, int32_t index) {
    if (!host->ipc)
        return NULL;
    list_for_each(node, &host->ipc->objects[kind]) {
        struct ipc_object *object = list_entry(node, struct ipc_object, node);
        if (index_of(object) == index)
            return object;
    }
    return NULL;
}

struct ipc_object *ipc_find(struct host *host, enum ipc_kind kind, int32_t id) {
    struct ipc_object *object = id < 0 ? NULL : ipc_at(host, kind, id % SEQUENCE_UNIT);
    return object && object->id == id ? object : NULL;
}

int32_t ipc_last_index(struct host *host, enum ipc_kind kind) {
    if (!host->ipc || list_empty(&host->ipc->objects[kind]))
        return 0;
    return index_of(list_entry(host->ipc->objects[kind].prev, struct ipc_object, node));
}

int ipc_permit(const struct task *task, const struct ipc_object *object, uint32_t wanted) {
    uint32_t user = task->credentials->user.effective, asked = (wanted >> 6 | wanted >> 3 | wanted) & 7;
    bool member = credentials_in_effective_group(task, object->creator_group) ||
                  credentials_in_effective_group(task, object->group);
    bool owner = user == object->creator_user || user == object->user;
    uint32_t granted = owner ? object->mode >> 6 : member ? object->mode >> 3 : object->mode;
    return !(asked & ~granted) || credentials_capable(task, CAP_IPC_OWNER) ? 0 : -EACCES;
}

int ipc_own(const struct task *task, const struct ipc_object *object) {
    uint32_t user = task->credentials->user.effective;
    bool owner = user == object->creator_user || user == object->user;
    return owner || credentials_capable(task, CAP_SYS_ADMIN) ? 0 : -EPERM;
}

int ipc_look_up(const struct task *task, enum ipc_kind kind, int32_t key, uint32_t flags, struct ipc_object **object) {
    struct ipc *ipc = ipc_of(task->host);
    *object = NULL;
    if (!ipc)
        return -ENOMEM;
    if (key == IPC_PRIVATE)
        return 0;
    list_for_each(node, &ipc->objects[kind]) {
        struct ipc_object *found = list_entry(node, struct ipc_object, node);
        if (found->key == key)
            *object = found;
    }
    if (!*object)
        return flags & IPC_CREAT ? 0 : -ENOENT;
    return (flags & IPC_CREAT) && (flags & IPC_EXCL) ? -EEXIST : 0;
}

int ipc_add(const struct task *task, enum ipc_kind kind, int32_t key, uint32_t flags, struct ipc_object *object) {
    struct ipc *ipc = ipc_of(task->host);
    if (!ipc)
        return -ENOMEM;
    int32_t index = 0;
    struct list *next = ipc->objects[kind].next;
    for (; next != &ipc->objects[kind]; next = next->next, index++)
        if (index_of(list_entry(next, struct ipc_object, node)) != index)
            break;
    if (index >= OBJECTS_MAX)
        return -ENOSPC;
    object->id = (int32_t)(ipc->sequence[kind]++ % SEQUENCES) * SEQUENCE_UNIT + index;
    object->key = key;
    object->user = object->creator_user = task->credentials->user.effective;
    object->group = object->creator_group = task->credentials->group.effective;
    object->mode = flags & MODE;
    list_push_back(next, &object->node); /* before `next` */
    return 0;
}

void ipc_show(const struct ipc_object *object, struct ipc64_perm *shown) {
    *shown = (struct ipc64_perm){
        .key = object->key,
        .uid = object->user,
        .gid = object->group,
        .cuid = object->creator_user,
        .cgid = object->creator_group,
        .mode = object->mode,
        .seq = (unsigned short)(object->id / SEQUENCE_UNIT),
    };
}

int ipc_set(struct ipc_object *object, const struct ipc64_perm *given) {
    if (given->uid == UINT32_MAX || given->gid == UINT32_MAX)
        return -EINVAL;
    object->user = given->uid;
    object->group = given->gid;
    object->mode = (object->mode & ~MODE) | (given->mode & MODE);
    return 0;
}

int64_t ipc_seconds(const struct host *host) { return clock_realtime(host) / NS_PER_S; }
