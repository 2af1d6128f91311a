/* Descriptors for processes (pidfd.c). */
#ifndef ANTUMBRA_KERNEL_PIDFD_H
#define ANTUMBRA_KERNEL_PIDFD_H

#include "kernel.h"

int pidfd_open(struct task *task, struct process *process); /* descriptor or -errno */
bool pidfd_is(struct task *task, int fd);
struct process *pidfd_process(struct task *task, int fd); /* NULL: not a pidfd, or the process was reaped */
void pidfd_wake(struct process *process);                 /* it ended */
void pidfd_forget(struct process *process);               /* it was reaped */

#endif
