/* Futexes: wait, wake, bitset, requeue, and the robust list. One hash table of sleepers per host.
 *
 * Called by the dispatcher and by process.c when a thread ends. Only one thread of a host runs, so comparing the word
 * and going to sleep is atomic by construction. Locks with priority inheritance hand over in order of arrival: there
 * are no priorities to inherit.
 */
#include "futex.h"
#include "internal.h"
#include "mm.h"
#include "process.h"
#include "signal.h"
#include "syscalls.h"
#include <linux/futex.h>

#define BUCKETS 64u

struct futexes {
    struct list buckets[BUCKETS]; /* of struct task.futex_node, in order of going to sleep */
};

int futex_create(struct host *host) {
    host->futexes = kalloc(host, sizeof *host->futexes);
    if (!host->futexes)
        return -ENOMEM;
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&host->futexes->buckets[i]);
    return 0;
}

static struct list *bucket_of(struct host *host, const uint64_t key[2]) {
    uint64_t hash = (key[0] * UINT64_C(0x9E3779B97F4A7C15)) ^ (key[1] * UINT64_C(0xC2B2AE3D27D4EB4F));
    return &host->futexes->buckets[(hash >> 40) % BUCKETS];
}

static bool same_key(const struct task *task, const uint64_t key[2]) {
    return task->futex_key[0] == key[0] && task->futex_key[1] == key[1];
}

static void enqueue(struct task *task, const uint64_t key[2]) {
    task->futex_key[0] = key[0];
    task->futex_key[1] = key[1];
    list_push_back(bucket_of(task->host, key), &task->futex_node);
}

void futex_forget(struct task *task) { list_remove(&task->futex_node); }

/* At least one is woken, as Linux does: also of a count of 0. */
static int64_t wake(struct host *host, const uint64_t key[2], int count, uint32_t bitset) {
    int64_t woken = 0;
    list_for_each_safe(node, bucket_of(host, key)) {
        struct task *task = list_entry(node, struct task, futex_node);
        if (!same_key(task, key) || !(task->futex_bitset & bitset))
            continue;
        list_remove(&task->futex_node); /* how the sleeper knows that it was woken */
        task_wake(task);
        if (++woken >= count)
            break;
    }
    return woken;
}

static struct task *first_sleeper(struct host *host, const uint64_t key[2], bool inheriting) {
    list_for_each(node, bucket_of(host, key)) {
        struct task *task = list_entry(node, struct task, futex_node);
        if (same_key(task, key) && (task->futex_bitset == 0) == inheriting)
            return task;
    }
    return NULL;
}

static int load(uint64_t address, uint32_t *value) {
    return address & 3 ? -EINVAL : copy_from_user(value, address, sizeof *value);
}

static int64_t wait_on(struct task *task, uint64_t address, const uint64_t key[2], uint32_t expected, uint32_t bitset,
                       int64_t deadline, bool absolute) {
    uint32_t value;
    if (!bitset)
        return -EINVAL;
    int result = load(address, &value);
    if (result)
        return result;
    if (value != expected)
        return -EAGAIN;
    task->futex_bitset = bitset;
    enqueue(task, key);
    task->woken = false;
    do
        result = task_block(task, deadline);
    while (result == 0 && list_linked(&task->futex_node)); /* woken for another reason */
    if (!list_linked(&task->futex_node))
        return 0;
    list_remove(&task->futex_node);
    if (result != -ERESTARTSYS || deadline == NEVER)
        return result;
    task->restart_deadline = absolute ? 0 : deadline;
    return -ERESTART_RESTARTBLOCK; /* with a time-out a handler ends it, whatever SA_RESTART says */
}

/* To the same word nobody moves, and yet is counted. */
static int64_t requeue(struct host *host, const uint64_t from[2], const uint64_t to[2], int wake_count,
                       int requeue_count) {
    bool same = from[0] == to[0] && from[1] == to[1];
    int64_t moved = 0, woken = wake_count ? wake(host, from, wake_count, UINT32_MAX) : 0;
    list_for_each_safe(node, bucket_of(host, from)) {
        struct task *task = list_entry(node, struct task, futex_node);
        if (moved >= requeue_count)
            break;
        if (!same_key(task, from))
            continue;
        moved++;
        if (same)
            continue;
        list_remove(&task->futex_node);
        enqueue(task, to);
    }
    return woken + moved;
}

/* FUTEX_WAKE_OP: the operation that `code` encodes, on the second word (futex(2)). */
static int64_t wake_op(struct task *task, const uint64_t *a, const uint64_t key1[2], const uint64_t key2[2]) {
    uint32_t code = (uint32_t)a[5], old, changed;
    uint32_t op = code >> 28, compare = code >> 24 & 15;
    int32_t operand = (int32_t)(code << 8) >> 20, against = (int32_t)(code << 20) >> 20;
    int result = load(a[4], &old);
    if (result)
        return result;
    if (op & FUTEX_OP_OPARG_SHIFT)
        operand = (int32_t)(1u << (operand & 31));
    switch (op & 7) {
    case FUTEX_OP_SET:
        changed = (uint32_t)operand;
        break;
    case FUTEX_OP_ADD:
        changed = old + (uint32_t)operand;
        break;
    case FUTEX_OP_OR:
        changed = old | (uint32_t)operand;
        break;
    case FUTEX_OP_ANDN:
        changed = old & ~(uint32_t)operand;
        break;
    case FUTEX_OP_XOR:
        changed = old ^ (uint32_t)operand;
        break;
    default:
        return -ENOSYS;
    }
    if ((result = copy_to_user(a[4], &changed, sizeof changed)))
        return result;
    int32_t value = (int32_t)old;
    bool holds;
    switch (compare) {
    case FUTEX_OP_CMP_EQ:
        holds = value == against;
        break;
    case FUTEX_OP_CMP_NE:
        holds = value != against;
        break;
    case FUTEX_OP_CMP_LT:
        holds = value < against;
        break;
    case FUTEX_OP_CMP_LE:
        holds = value <= against;
        break;
    case FUTEX_OP_CMP_GT:
        holds = value > against;
        break;
    case FUTEX_OP_CMP_GE:
        holds = value >= against;
        break;
    default:
        return -ENOSYS;
    }
    int64_t woken = wake(task->host, key1, (int)a[2], UINT32_MAX);
    return holds ? woken + wake(task->host, key2, (int)a[3], UINT32_MAX) : woken;
}

/* ---- Locks with priority inheritance: the word holds the owner's id, the kernel hands it over ---- */

/* Sleepers carry an empty bitset, which no FUTEX_WAKE matches. */
static int64_t lock_pi(struct task *task, uint64_t address, const uint64_t key[2], int64_t deadline, bool try) {
    uint32_t word, mine = (uint32_t)task->tid;
    int result = load(address, &word);
    if (result)
        return result;
    if ((word & FUTEX_TID_MASK) == mine)
        return -EDEADLK;
    if (!(word & FUTEX_TID_MASK)) {
        word = mine | (word & FUTEX_OWNER_DIED) | (first_sleeper(task->host, key, true) ? FUTEX_WAITERS : 0);
        return copy_to_user(address, &word, sizeof word);
    }
    if (try)
        return -EAGAIN;
    if (!task_find(task->host, (int32_t)(word & FUTEX_TID_MASK)))
        return -ESRCH;
    word |= FUTEX_WAITERS;
    if ((result = copy_to_user(address, &word, sizeof word)))
        return result;
    task->futex_bitset = 0;
    enqueue(task, key);
    task->woken = false;
    do
        result = task_block(task, deadline);
    while (result == 0 && list_linked(&task->futex_node));
    if (!list_linked(&task->futex_node))
        return 0; /* the owner wrote our id into the word */
    list_remove(&task->futex_node);
    return result == -ERESTARTSYS ? -ERESTARTNOINTR : result;
}

/* The word goes to the task that has waited longest, or becomes free. */
static int hand_over(struct host *host, uint64_t address, const uint64_t key[2], uint32_t flags) {
    struct task *next = first_sleeper(host, key, true);
    uint32_t word = flags;
    if (next) {
        list_remove(&next->futex_node);
        word |= (uint32_t)next->tid | (first_sleeper(host, key, true) ? FUTEX_WAITERS : 0);
        task_wake(next);
    }
    return copy_to_user(address, &word, sizeof word);
}

static int64_t unlock_pi(struct task *task, uint64_t address, const uint64_t key[2]) {
    uint32_t word;
    int result = load(address, &word);
    if (result)
        return result;
    if ((word & FUTEX_TID_MASK) != (uint32_t)task->tid)
        return -EPERM;
    return hand_over(task->host, address, key, 0);
}

int64_t sys_futex(struct task *task, const uint64_t *a) {
    uint32_t operation = (uint32_t)a[1], command = operation & (uint32_t)FUTEX_CMD_MASK, value = (uint32_t)a[2];
    bool private = operation & FUTEX_PRIVATE_FLAG;
    struct host *host = task->host;
    uint64_t key[2], key2[2];
    mm_futex_key(task->process, a[0], private, key);
    int64_t deadline = NEVER;
    bool locks = command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2;
    if ((operation & FUTEX_CLOCK_REALTIME) && command != FUTEX_WAIT_BITSET && command != FUTEX_LOCK_PI2)
        return -ENOSYS;
    if ((command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET || locks) && a[3]) {
        int64_t time[2];
        int result = copy_from_user(time, a[3], sizeof time);
        if (result)
            return result;
        if (time[0] < 0 || time[1] < 0 || time[1] >= NS_PER_S)
            return -EINVAL;
        int64_t ns = time[0] > NEVER / NS_PER_S / 2 ? NEVER / 2 : time[0] * NS_PER_S + time[1];
        if (command == FUTEX_WAIT)
            deadline = restart_deadline(task, host->now + ns);
        else
            deadline = ns -
                       (operation & FUTEX_CLOCK_REALTIME || command == FUTEX_LOCK_PI ? clock_realtime(host)
                                                                                     : clock_monotonic(host)) +
                       host->now;
    }
    switch (command) {
    case FUTEX_WAIT:
        return wait_on(task, a[0], key, value, UINT32_MAX, deadline, false);
    case FUTEX_WAIT_BITSET:
        return wait_on(task, a[0], key, value, (uint32_t)a[5], deadline, true);
    case FUTEX_WAKE:
        return a[0] & 3 ? -EINVAL : wake(host, key, (int)value, UINT32_MAX);
    case FUTEX_WAKE_BITSET:
        return (uint32_t)a[5] && !(a[0] & 3) ? wake(host, key, (int)value, (uint32_t)a[5]) : -EINVAL;
    case FUTEX_CMP_REQUEUE: {
        uint32_t current;
        int result = load(a[0], &current);
        if (result)
            return result;
        if (current != (uint32_t)a[5])
            return -EAGAIN;
    }
        __attribute__((fallthrough));
    case FUTEX_REQUEUE:
        if ((int)value < 0 || (int)a[3] < 0 || ((a[0] | a[4]) & 3))
            return -EINVAL;
        mm_futex_key(task->process, a[4], private, key2);
        return requeue(host, key, key2, (int)value, (int)a[3]);
    case FUTEX_WAKE_OP:
        mm_futex_key(task->process, a[4], private, key2);
        return a[0] & 3 ? -EINVAL : wake_op(task, a, key, key2);
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        return lock_pi(task, a[0], key, deadline, false);
    case FUTEX_TRYLOCK_PI:
        return lock_pi(task, a[0], key, NEVER, true);
    case FUTEX_UNLOCK_PI:
        return unlock_pi(task, a[0], key);
    default:
        return -ENOSYS;
    }
}

int64_t sys_set_robust_list(struct task *task, const uint64_t *a) {
    if (a[1] != sizeof(struct robust_list_head))
        return -EINVAL;
    task->robust_list = a[0];
    task->robust_list_length = a[1];
    return 0;
}

int64_t sys_get_robust_list(struct task *task, const uint64_t *a) {
    if ((int)a[0] && (int)a[0] != task->tid)
        return -ESRCH;
    if (copy_to_user(a[1], &task->robust_list, 8) || copy_to_user(a[2], &task->robust_list_length, 8))
        return -EFAULT;
    return 0;
}

/* One lock of a thread that dies holding it: the owner is marked dead and one waiter may take it (robust_futexes.rst).
 */
static void release_robust(struct task *task, uint64_t word_address, bool inheriting) {
    uint32_t word;
    if (load(word_address, &word) || (word & FUTEX_TID_MASK) != (uint32_t)task->tid)
        return;
    uint64_t key[2];
    mm_futex_key(task->process, word_address, false, key);
    if (inheriting && first_sleeper(task->host, key, true)) {
        (void)hand_over(task->host, word_address, key, FUTEX_OWNER_DIED);
        return;
    }
    uint32_t dead = (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    if (copy_to_user(word_address, &dead, sizeof dead) || !(word & FUTEX_WAITERS))
        return;
    (void)wake(task->host, key, 1, UINT32_MAX);
}

#define ROBUST_LIST_LIMIT 2048 /* as Linux: a list may be circular */

void futex_exit(struct task *task) {
    struct {
        uint64_t first;
        int64_t offset;
        uint64_t pending;
    } head;
    if (task->robust_list && copy_from_user(&head, task->robust_list, sizeof head) == 0) {
        /* The lowest bit of a pointer says that the lock inherits priorities. */
        uint64_t entry = head.first & ~UINT64_C(1);
        bool inheriting = head.first & 1;
        for (int i = 0; i < ROBUST_LIST_LIMIT && entry && entry != task->robust_list; i++) {
            uint64_t next;
            if (copy_from_user(&next, entry, sizeof next))
                break;
            if (entry != (head.pending & ~UINT64_C(1)))
                release_robust(task, entry + (uint64_t)head.offset, inheriting);
            entry = next & ~UINT64_C(1);
            inheriting = next & 1;
        }
        if (head.pending)
            release_robust(task, (head.pending & ~UINT64_C(1)) + (uint64_t)head.offset, head.pending & 1);
    }
    if (task->clear_child_tid) {
        uint32_t zero = 0;
        if (copy_to_user(task->clear_child_tid, &zero, sizeof zero) == 0) {
            uint64_t key[2];
            mm_futex_key(task->process, task->clear_child_tid, true, key);
            (void)wake(task->host, key, 1, UINT32_MAX);
            mm_futex_key(task->process, task->clear_child_tid, false, key);
            (void)wake(task->host, key, 1, UINT32_MAX);
        }
    }
}
