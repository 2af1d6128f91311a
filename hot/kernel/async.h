/* Who hears of a file by signals: F_SETOWN and its kin, O_ASYNC (SIGIO), urgent data (SIGURG); async.c. */
#ifndef ANTUMBRA_KERNEL_ASYNC_H
#define ANTUMBRA_KERNEL_ASYNC_H

#include "kernel.h"

#include <asm/fcntl.h>

/* F_SETOWN, F_SETOWN_EX, F_SETSIG and what asks for them; -EINVAL: `command` is none of these. */
int64_t async_fcntl(struct task *task, struct file *file, int command, uint64_t argument);
/* FIOSETOWN, SIOCSPGRP and what asks for them, which sockets know; -ENOTTY: `command` is none of these. */
int64_t async_ioctl(struct task *task, struct file *file, uint32_t command, uint64_t argument);
/* O_ASYNC goes on or off by this descriptor, which the signals of F_SETSIG name. 0, or -ENOMEM. */
__attribute__((warn_unused_result)) int async_set(struct task *task, struct file *file, int fd, bool on);
/* Files that send signals once O_ASYNC is on. */
static inline bool async_supported(const struct file *file) {
    return file->kind == FILE_SOCKET_INET || file->kind == FILE_SOCKET_UNIX || file->kind == FILE_SOCKET_NETLINK ||
           file->kind == FILE_SOCKET_PACKET || file->kind == FILE_PIPE || file->kind == FILE_INOTIFY;
}

/* The owner of a file with O_ASYNC gets SIGIO, or its signal of F_SETSIG with si_code `reason`. */
enum async_reason { ASYNC_IN = 1, ASYNC_OUT, ASYNC_MESSAGE, ASYNC_ERROR, ASYNC_URGENT, ASYNC_HANG_UP };
void async_signal(struct host *host, const struct file *file, enum async_reason reason);
static inline void async_tell(struct host *host, const struct file *file, enum async_reason reason) {
    if (file->flags & FASYNC)
        async_signal(host, file, reason);
}
/* Urgent data arrived: SIGURG to the owner, O_ASYNC or not. */
void async_tell_urgent(struct host *host, const struct file *file);

#endif
