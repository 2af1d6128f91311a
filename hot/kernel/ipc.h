/* System V IPC: what shared memory (shm.c), semaphores (sem.c) and message queues (msg.c) have in common (ipc.c).
 *
 * Objects live in the arena of their host; a program names one by an id, which it has from a key or from its creator.
 */
#ifndef ANTUMBRA_KERNEL_IPC_H
#define ANTUMBRA_KERNEL_IPC_H

#include "kernel.h"

#include <linux/ipc.h>

#define IPC_READ 0444u
#define IPC_WRITE 0222u

enum ipc_kind { IPC_SHARED_MEMORY, IPC_SEMAPHORES, IPC_MESSAGES, IPC_KINDS };

struct ipc_object {   /* first member of every kind's own structure */
    struct list node; /* in the namespace, by index: the lower half of the id */
    int32_t id, key;
    uint32_t user, group, creator_user, creator_group, mode;
};

struct ipc {
    struct list objects[IPC_KINDS];
    uint32_t sequence[IPC_KINDS];
    struct list segments; /* struct segment (shm.c), by place in the arena's file */
    uint64_t file_size;   /* of the arena's file: it never shrinks */
};

/* The host's, made when it is first used; NULL: no memory. */
struct ipc *ipc_of(struct host *host);
struct ipc_object *ipc_find(struct host *host, enum ipc_kind kind, int32_t id);  /* NULL: none */
struct ipc_object *ipc_at(struct host *host, enum ipc_kind kind, int32_t index); /* by index, as *_STAT counts; NULL */
int32_t ipc_last_index(struct host *host, enum ipc_kind kind);
/* Whether the task may use the object as the bits of `wanted` say: 0 or -EACCES. */
__attribute__((warn_unused_result)) int ipc_permit(const struct task *task, const struct ipc_object *object,
                                                   uint32_t wanted);
/* Whether it may remove or give it away: 0 or -EPERM. */
__attribute__((warn_unused_result)) int ipc_own(const struct task *task, const struct ipc_object *object);
/* What a *get call finds under its key: 0 and the object, or 0 and NULL if one is to be made, or -errno. */
__attribute__((warn_unused_result)) int ipc_look_up(const struct task *task, enum ipc_kind kind, int32_t key,
                                                    uint32_t flags, struct ipc_object **object);
/* Names a new object; its memory is the caller's. 0, -ENOSPC, -ENOMEM. */
__attribute__((warn_unused_result)) int ipc_add(const struct task *task, enum ipc_kind kind, int32_t key,
                                                uint32_t flags, struct ipc_object *object);
void ipc_show(const struct ipc_object *object, struct ipc64_perm *shown);
/* IPC_SET: owner and mode. -EINVAL. */
__attribute__((warn_unused_result)) int ipc_set(struct ipc_object *object, const struct ipc64_perm *given);
int64_t ipc_seconds(const struct host *host); /* of Unix time, now */

/* shm.c: mappings of a segment come and go with address spaces (mm.c). */
struct segment;
void segment_mapped(struct segment *segment, int32_t pid);
void segment_unmapped(struct host *host, struct segment *segment, int32_t pid);
int32_t segment_id(const struct segment *segment);
int32_t segment_key(const struct segment *segment);
uint64_t segment_offset_of(const struct segment *segment); /* in the arena's file */
/* The segment whose memory is at this place of the arena's file; NULL: none. */
const struct segment *segment_at(const struct host *host, uint64_t file_offset);

/* sem.c: at the end of a process. */
void semaphores_undo(struct process *process);

#endif
