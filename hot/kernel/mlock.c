/* Locked memory: mlock and its kin, with RLIMIT_MEMLOCK.
 *
 * Nothing is locked: whether pages stay in memory is the machine's affair and cannot be seen in virtual time. What can
 * be seen is kept: which ranges a program has locked, what it is refused, and the sum in /proc. mm.c tells of mappings.
 */
#include "credentials.h"
#include "mm.h"
#include "syscalls.h"

#include <asm/mman.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/mman.h>
#include <linux/resource.h>

#define PAGE UINT64_C(4096)
#define USER_END (UINT64_C(1) << 47) /* behind it: vsyscall */

/* Ranges of a process do not touch each other, and stand in order. */
struct locked_range {
    struct locked_range *next;
    uint64_t start, end;
};

void mm_unlock(struct process *process, uint64_t start, uint64_t end) {
    for (struct locked_range **at = &process->locked; *at && start < end;) {
        struct locked_range *range = *at;
        uint64_t range_end = range->end;
        if (range_end <= start || range->start >= end) {
            at = &range->next;
            continue;
        }
        if (range->start >= start && range_end <= end) {
            *at = range->next;
            kfree(process->host, range);
            continue;
        }
        if (range->start >= start) {
            range->start = end;
            return;
        }
        range->end = start;
        at = &range->next;
        if (range_end <= end)
            continue;
        struct locked_range *rest = kalloc(process->host, sizeof *rest);
        if (rest) { /* else it counts as unlocked */
            *rest = (struct locked_range){range->next, end, range_end};
            range->next = rest;
        }
        return;
    }
}

/* 0 or -EAGAIN: no memory for the account. */
static int lock(struct process *process, uint64_t start, uint64_t end) {
    mm_unlock(process, start, end);
    struct locked_range **at = &process->locked;
    while (*at && (*at)->end < start)
        at = &(*at)->next;
    struct locked_range *range = *at;
    if (range && range->end == start) {
        struct locked_range *next = range->next;
        range->end = end;
        if (next && next->start == end) {
            range->end = next->end;
            range->next = next->next;
            kfree(process->host, next);
        }
    } else if (range && range->start == end) {
        range->start = start;
    } else {
        struct locked_range *added = kalloc(process->host, sizeof *added);
        if (!added)
            return -EAGAIN;
        *added = (struct locked_range){range, start, end};
        *at = added;
    }
    return 0;
}

uint64_t mm_locked_bytes(const struct process *process) {
    uint64_t bytes = 0;
    for (const struct locked_range *range = process->locked; range; range = range->next)
        bytes += range->end - range->start;
    return bytes;
}

bool mm_is_locked(const struct process *process, uint64_t address) {
    for (const struct locked_range *range = process->locked; range && range->start <= address; range = range->next)
        if (address < range->end)
            return true;
    return false;
}

void mm_unlock_all(struct process *process) {
    mm_unlock(process, 0, UINT64_MAX);
    process->lock_future = false;
}

/* ---- Permission ---- */

static uint64_t limit_of(const struct task *task) { return task->process->limits[RLIMIT_MEMLOCK][0]; }

bool mm_may_lock(const struct task *task) { return limit_of(task) || credentials_capable(task, CAP_IPC_LOCK); }

/* Linux counts in pages: a part of one at the limit's end is of no use. */
static bool fits(const struct task *task, uint64_t bytes) {
    return bytes / PAGE <= limit_of(task) / PAGE || credentials_capable(task, CAP_IPC_LOCK);
}

bool mm_may_lock_more(const struct task *task, uint64_t bytes) {
    return fits(task, mm_locked_bytes(task->process) + bytes);
}

void mm_mapped(struct task *task, uint64_t start, uint64_t end, bool locked) {
    if (locked)
        (void)lock(task->process, start, end); /* without memory for the account it counts as unlocked */
    else
        mm_unlock(task->process, start, end);
}

/* ---- System calls ---- */

/* Whole pages. */
static int range_of(const uint64_t *a, uint64_t *start, uint64_t *end) {
    *start = a[0] & ~(PAGE - 1);
    *end = *start + ((a[1] + (a[0] & (PAGE - 1)) + PAGE - 1) & ~(PAGE - 1));
    return *end < *start ? -EINVAL : 0;
}

static void follow_mapping(void *context, const struct mapping *mapping) {
    uint64_t *at = context;
    if (mapping->start <= *at && mapping->end > *at)
        *at = mapping->end;
}

/* -ENOMEM where nothing is mapped; what lies before the first hole is dealt with all the same, and becomes the range.
 */
static int check_mapped(uint64_t start, uint64_t *end) {
    if (start == *end)
        return 0;
    if (!mm_reserved(start, *end - start) && !platform_syscall(__NR_msync, start, *end - start, MS_ASYNC, 0, 0, 0))
        return 0;
    uint64_t at = start;
    mm_each_mapping(follow_mapping, &at);
    *end = KMIN(at, *end);
    return -ENOMEM;
}

/* Of [start, end), what is locked already. */
static uint64_t overlap(const struct process *process, uint64_t start, uint64_t end) {
    uint64_t bytes = 0;
    for (const struct locked_range *range = process->locked; range; range = range->next) {
        uint64_t low = KMAX(start, range->start), high = KMIN(end, range->end);
        bytes += low < high ? high - low : 0;
    }
    return bytes;
}

int64_t sys_mlock(struct task *task, const uint64_t *a) {
    struct process *process = task->process;
    uint64_t start, end;
    if (!mm_may_lock(task))
        return -EPERM;
    int error = range_of(a, &start, &end);
    /* The limit comes first, even for a range that wraps around. */
    if (!fits(task, mm_locked_bytes(process) + (end - start) - overlap(process, start, end)))
        return -ENOMEM;
    if (error)
        return error;
    error = check_mapped(start, &end);
    int locked = start == end ? 0 : lock(process, start, end);
    return error ? error : locked;
}

int64_t sys_mlock2(struct task *task, const uint64_t *a) {
    return (int)a[2] & ~MLOCK_ONFAULT ? -EINVAL : sys_mlock(task, a);
}

int64_t sys_munlock(struct task *task, const uint64_t *a) {
    uint64_t start, end;
    int error = range_of(a, &start, &end);
    if (error)
        return error;
    error = check_mapped(start, &end);
    mm_unlock(task->process, start, end);
    return error;
}

static void lock_mapping(void *context, const struct mapping *mapping) {
    if (mapping->end <= USER_END)
        (void)lock(context, mapping->start, mapping->end);
}

static void add_length(void *context, const struct mapping *mapping) {
    *(uint64_t *)context += mapping->end - mapping->start;
}

int64_t sys_mlockall(struct task *task, const uint64_t *a) {
    int flags = (int)a[0];
    struct process *process = task->process;
    uint64_t bytes = 0;
    if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
        return -EINVAL;
    if (!mm_may_lock(task))
        return -EPERM;
    if (flags & MCL_CURRENT)
        mm_each_mapping(add_length, &bytes);
    if (!fits(task, bytes))
        return -ENOMEM;
    process->lock_future = (flags & MCL_FUTURE) != 0;
    if (flags & MCL_CURRENT)
        mm_each_mapping(lock_mapping, process);
    return 0;
}

int64_t sys_munlockall(struct task *task, const uint64_t *a) {
    (void)a;
    mm_unlock_all(task->process);
    return 0;
}
