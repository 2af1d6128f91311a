/* Address spaces: brk, mmap and the identity of shared memory, which shared futexes are keyed by. */
#ifndef ANTUMBRA_KERNEL_MM_H
#define ANTUMBRA_KERNEL_MM_H

#include "kernel.h"

__attribute__((warn_unused_result)) int mm_copy(struct process *process, const struct process *from); /* at fork */
void mm_release(struct process *process);
/* Whether a range touches what belongs to the simulator in every process. */
bool mm_reserved(uint64_t start, uint64_t length);
/* A mapping of the program's own, as a line of /proc/self/maps tells of it. */
struct mapping {
    uint64_t start, end;
    bool data; /* private, writable, no stack */
};
void mm_each_mapping(void (*visit)(void *context, const struct mapping *mapping), void *context);
/* mlock.c: locked memory. Ranges are whole pages. */
bool mm_may_lock(const struct task *task);                      /* anything at all: -EPERM if not */
bool mm_may_lock_more(const struct task *task, uint64_t bytes); /* by RLIMIT_MEMLOCK */
bool mm_is_locked(const struct process *process, uint64_t address);
/* [start, end) is a new mapping. */
void mm_mapped(struct task *task, uint64_t start, uint64_t end, bool locked);
void mm_unlock(struct process *process, uint64_t start, uint64_t end);
void mm_unlock_all(struct process *process); /* and MCL_FUTURE */
uint64_t mm_locked_bytes(const struct process *process);
/* Memory that is shared under an identity of its own: a System V segment, or a packet socket's ring. */
struct segment;
struct shared_object {
    uint64_t identity;
    struct segment *segment; /* or NULL */
    struct file *file;       /* the packet socket, or NULL */
    int fd;                  /* the real file, and where in it the object begins */
    uint64_t file_offset;
};
/* Maps the whole object, at `address` if `fixed` (MAP_FIXED...) says so. The address or -errno. */
int64_t mm_map_shared(struct task *task, uint64_t address, uint64_t length, uint64_t protection, uint64_t fixed,
                      const struct shared_object *object);
/* The packet socket whose ring is mapped there; NULL: none. */
const struct file *mm_file_at(const struct process *process, uint64_t address);
/* Unmaps what is left of the segment that was mapped at `address`: 0 or -EINVAL. */
int64_t mm_unmap_segment(struct task *task, uint64_t address);
/* The key of a futex word: (address space, address) for private memory, (object, offset) for shared memory. */
void mm_futex_key(const struct process *process, uint64_t address, bool private, uint64_t key[2]);

#endif
