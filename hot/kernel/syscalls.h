/* Prototypes of all system calls that syscall_table.h names.
 *
 * a[0..5] are the raw arguments; the result is the value or -errno (or -ERESTARTSYS and its like).
 */
#ifndef ANTUMBRA_KERNEL_SYSCALLS_H
#define ANTUMBRA_KERNEL_SYSCALLS_H

#include "kernel.h"

#define CALL(number, name, function, arguments, flags) int64_t function(struct task *task, const uint64_t *a);
#include "syscall_table.h"
#undef CALL

#endif
