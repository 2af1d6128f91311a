/* Files on their way through Unix sockets (rights.c). */
#ifndef ANTUMBRA_KERNEL_RIGHTS_H
#define ANTUMBRA_KERNEL_RIGHTS_H

#include "kernel.h"

/* Each entry holds a reference. */
struct socket_rights {
    struct list node; /* in net->rights, until it is dropped or taken */
    uint64_t number;  /* under which the real descriptors travel; 0: there are none */
    int32_t sender;   /* process that has not handed it over to a message yet; 0: one has it */
    uint32_t user;    /* real user of the sender */
    bool borrowed;    /* a copy for MSG_PEEK: the real descriptors belong to the message, which still waits */
    bool abandoned;   /* dropped by the shard: only the real descriptors are left */
    uint32_t count;
    struct {
        struct file *file;
        bool native; /* a real descriptor goes with it */
    } files[];
};

/* Of descriptors of the task. On failure what there is in *created is the caller's to drop, too. -EBADF,
 * -ETOOMANYREFS, -ENOMEM. */
__attribute__((warn_unused_result)) int rights_create(struct task *task, const int32_t *fds, uint32_t count,
                                                      struct socket_rights **created);
/* For who looks at a message: the same files, which stay with the message too. NULL: no memory, so none are shown. */
struct socket_rights *rights_borrow(struct host *host, const struct socket_rights *rights);
/* Drops the files of a message that nobody will receive. */
void rights_drop(struct host *host, struct socket_rights *rights);
/* Installs the files of a received message in the task's process; descriptors go to `numbers`. Returns how many fitted;
 * frees the rights. */
uint32_t rights_take(struct task *task, struct socket_rights *rights, bool close_on_exec, int32_t *numbers,
                     uint32_t capacity);

#endif
