/* Address spaces: brk, mmap and the identity of shared memory, which shared futexes are keyed by. */
#ifndef ANTUMBRA_KERNEL_MM_H
#define ANTUMBRA_KERNEL_MM_H

#include "kernel.h"

__attribute__((warn_unused_result)) int mm_copy(struct process *process, const struct process *from); /* at fork */
void mm_release(struct process *process);
/* Whether a range touches what belongs to the simulator in every process. */
bool mm_reserved(uint64_t start, uint64_t length);
/* The key of a futex word: (address space, address) for private memory, (object, offset) for shared memory. */
void mm_futex_key(const struct process *process, uint64_t address, bool private, uint64_t key[2]);

#endif
