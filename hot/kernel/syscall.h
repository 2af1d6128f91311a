/* Entering the simulated kernel: dispatch by number, accounting, spin detection, strace. */
#ifndef ANTUMBRA_KERNEL_SYSCALL_H
#define ANTUMBRA_KERNEL_SYSCALL_H

#include "kernel.h"

#define SYSCALL_LIMIT 512u

/* Serves one call of the current task: a value, -errno, or one of the -ERESTART codes for the shim to act on. */
int64_t syscall_dispatch(struct task *task, uint64_t number, const uint64_t arguments[6]);
bool syscall_needs_frame(uint64_t number);
const char *syscall_name(uint64_t number); /* NULL: unknown */
/* rdtsc: the same accounting as a call that only looks. Ticks of a 1 GHz counter. */
uint64_t syscall_timestamp_counter(struct task *task);

#endif
