/* Futexes: sleeping on a word of user memory. */
#ifndef ANTUMBRA_KERNEL_FUTEX_H
#define ANTUMBRA_KERNEL_FUTEX_H

#include "kernel.h"

__attribute__((warn_unused_result)) int futex_create(struct host *host); /* host->futexes */
void futex_forget(struct task *task);                                    /* leaves its queue; no user memory */
void futex_exit(struct task *task); /* robust list and clear_child_tid of a task that ends itself */

#endif
