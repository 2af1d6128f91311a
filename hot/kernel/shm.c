/* System V shared memory: shmget, shmat, shmdt, shmctl.
 *
 * A segment is a range of the file behind the arena, beyond what is mapped as the arena: every process of the host has
 * that file open, so any can map the segment at an address of its own. How many mappings there are is counted by mm.c,
 * which knows what fork, exec, exit and munmap do to them; the memory goes with the last one of a removed segment.
 */
#include "credentials.h"
#include "internal.h"
#include "ipc.h"
#include "mm.h"
#include "shim/layout.h"
#include "syscalls.h"

#include <asm/mman.h>
#include <asm/shmbuf.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/resource.h>

#define PAGE UINT64_C(4096)
#define SEGMENTS_MAX 4096                       /* kernel.shmmni */
#define SIZE_MAX_SHOWN (UINT64_MAX - (1 << 24)) /* kernel.shmmax */
#define SHM_HUGETLB 04000u
#define SHM_RDONLY 010000u
#define SHM_RND 020000u
#define SHM_REMAP 040000u
#define SHM_EXEC 0100000u
#define SHM_DEST 01000u
#define SHM_LOCKED 02000u
#define SHM_LOCK 11
#define SHM_UNLOCK 12
#define SHM_STAT 13
#define SHM_INFO 14
#define SHM_STAT_ANY 15

struct segment {
    struct ipc_object object;
    struct list place; /* in ipc->segments, by offset */
    struct host *host;
    uint64_t size, offset; /* bytes; place in the arena's file */
    uint64_t identity;     /* of its futexes */
    uint32_t mappings;
    uint32_t locker; /* real user whose RLIMIT_MEMLOCK it counts for, if it is locked */
    int32_t creator_pid, last_pid;
    int64_t attach_time, detach_time, change_time; /* seconds of Unix time */
};

static uint64_t page_up(uint64_t value) { return (value + PAGE - 1) & ~(PAGE - 1); }

/* The first gap that is large enough, or the end; the file grows if it must. */
static int64_t place(struct ipc *ipc, struct segment *segment) {
    uint64_t offset = ARENA_STRIDE, size = page_up(segment->size);
    struct list *next = ipc->segments.next;
    for (; next != &ipc->segments; next = next->next) {
        const struct segment *other = list_entry(next, struct segment, place);
        if (other->offset - offset >= size)
            break;
        offset = other->offset + page_up(other->size);
    }
    if (offset + size > ipc->file_size) {
        if (platform_syscall(__NR_ftruncate, SHIM_FD_ARENA, offset + size, 0, 0, 0, 0))
            return -ENOMEM;
        ipc->file_size = offset + size;
    }
    segment->offset = offset;
    list_push_back(next, &segment->place);
    return 0;
}

/* Gives the memory back; it is zeros when it is next used. */
static int64_t clear(const struct segment *segment) {
    return platform_syscall(__NR_fallocate, SHIM_FD_ARENA, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, segment->offset,
                            page_up(segment->size), 0, 0);
}

static void segment_free(struct segment *segment) {
    struct host *host = segment->host;
    if (host->current) /* the shard, which ends what died, has the file under another number */
        (void)clear(segment);
    list_remove(&segment->place);
    list_remove(&segment->object.node);
    kfree(host, segment);
}

void segment_mapped(struct segment *segment, int32_t pid) {
    segment->mappings++;
    segment->attach_time = ipc_seconds(segment->host);
    segment->last_pid = pid;
}

void segment_unmapped(struct host *host, struct segment *segment, int32_t pid) {
    segment->detach_time = ipc_seconds(host);
    segment->last_pid = pid;
    if (--segment->mappings == 0 && (segment->object.mode & SHM_DEST))
        segment_free(segment);
}

int32_t segment_id(const struct segment *segment) { return segment->object.id; }

int32_t segment_key(const struct segment *segment) { return segment->object.key; }

uint64_t segment_offset_of(const struct segment *segment) { return segment->offset; }

const struct segment *segment_at(const struct host *host, uint64_t file_offset) {
    if (!host->ipc)
        return NULL;
    list_for_each(node, &host->ipc->segments) {
        const struct segment *segment = list_entry(node, struct segment, place);
        if (file_offset >= segment->offset && file_offset - segment->offset < page_up(segment->size))
            return segment;
    }
    return NULL;
}

static struct segment *find(struct host *host, uint64_t id) {
    return (struct segment *)(void *)ipc_find(host, IPC_SHARED_MEMORY, (int32_t)id);
}

static int64_t create(struct task *task, int32_t key, uint64_t size, uint32_t flags) {
    struct host *host = task->host;
    if (!size || size > SIZE_MAX_SHOWN)
        return -EINVAL;
    if (ipc_at(host, IPC_SHARED_MEMORY, SEGMENTS_MAX - 1))
        return -ENOSPC;
    if ((flags & SHM_HUGETLB) || size > INT64_MAX / 2)
        return -ENOMEM;
    struct segment *segment = kalloc(host, sizeof *segment);
    if (!segment)
        return -ENOMEM;
    segment->host = host;
    segment->size = size;
    segment->identity = host->next_mm++;
    segment->creator_pid = task->process->pid;
    segment->change_time = ipc_seconds(host);
    list_init(&segment->place);
    int64_t result = place(host->ipc, segment);
    if (!result)
        result = clear(segment);
    if (!result)
        result = ipc_add(task, IPC_SHARED_MEMORY, key, flags, &segment->object);
    if (result) {
        list_remove(&segment->place);
        kfree(host, segment);
        return result;
    }
    return segment->object.id;
}

int64_t sys_shmget(struct task *task, const uint64_t *a) {
    struct ipc_object *object;
    uint32_t flags = (uint32_t)a[2];
    int result = ipc_look_up(task, IPC_SHARED_MEMORY, (int32_t)a[0], flags, &object);
    if (result)
        return result;
    if (!object)
        return create(task, (int32_t)a[0], a[1], flags);
    if (a[1] > ((struct segment *)(void *)object)->size)
        return -EINVAL;
    result = ipc_permit(task, object, flags);
    return result ? result : object->id;
}

int64_t sys_shmat(struct task *task, const uint64_t *a) {
    struct segment *segment = find(task->host, a[0]);
    uint64_t address = a[1], flags = (uint32_t)a[2];
    if (!segment)
        return -EINVAL;
    if (address & (PAGE - 1)) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        address &= ~(PAGE - 1);
    }
    if (!address && (flags & SHM_REMAP))
        return -EINVAL;
    uint32_t wanted = IPC_READ | (flags & SHM_RDONLY ? 0u : IPC_WRITE) | (flags & SHM_EXEC ? 0111u : 0u);
    int permitted = ipc_permit(task, &segment->object, wanted);
    if (permitted)
        return permitted;
    struct shared_object shared = {
        .identity = segment->identity, .segment = segment, .fd = SHIM_FD_ARENA, .file_offset = segment->offset};
    uint64_t protection = PROT_READ | (flags & SHM_RDONLY ? 0u : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0u);
    uint64_t fixed = !address ? 0u : flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    int64_t result = mm_map_shared(task, address, page_up(segment->size), protection, fixed, &shared);
    return result == -EEXIST ? -EINVAL : result;
}

int64_t sys_shmdt(struct task *task, const uint64_t *a) { return mm_unmap_segment(task, a[0]); }

static void show(const struct segment *segment, struct shmid64_ds *shown) {
    memset(shown, 0, sizeof *shown);
    ipc_show(&segment->object, &shown->shm_perm);
    shown->shm_segsz = segment->size;
    shown->shm_atime = segment->attach_time;
    shown->shm_dtime = segment->detach_time;
    shown->shm_ctime = segment->change_time;
    shown->shm_cpid = segment->creator_pid;
    shown->shm_lpid = segment->last_pid;
    shown->shm_nattch = segment->mappings;
}

static int64_t information(struct task *task, int command, uint64_t user) {
    struct host *host = task->host;
    struct { /* struct shm_info */
        int32_t used_ids;
        uint64_t total, resident, swapped, swap_attempts, swap_successes;
    } use = {0};
    if (host->ipc)
        list_for_each(node, &host->ipc->segments) {
            use.used_ids++;
            use.total += page_up(list_entry(node, struct segment, place)->size) / PAGE;
        }
    use.resident = use.total;
    const struct shminfo64 limits = {.shmmax = SIZE_MAX_SHOWN,
                                     .shmmin = 1,
                                     .shmmni = SEGMENTS_MAX,
                                     .shmseg = SEGMENTS_MAX,
                                     .shmall = SIZE_MAX_SHOWN};
    int result =
        command == IPC_INFO ? copy_to_user(user, &limits, sizeof limits) : copy_to_user(user, &use, sizeof use);
    return result ? result : ipc_last_index(host, IPC_SHARED_MEMORY);
}

static int64_t status(struct task *task, const struct segment *segment, int command, uint64_t user) {
    struct shmid64_ds shown;
    if (!segment)
        return -EINVAL;
    int result = command == SHM_STAT_ANY ? 0 : ipc_permit(task, &segment->object, IPC_READ);
    if (result)
        return result;
    show(segment, &shown);
    result = copy_to_user(user, &shown, sizeof shown);
    return result ? result : command == IPC_STAT ? 0 : segment->object.id;
}

/* The key is free at once; the memory stays while it is mapped. */
static void remove(struct segment *segment) {
    segment->object.key = IPC_PRIVATE;
    segment->object.mode |= SHM_DEST;
    if (!segment->mappings)
        segment_free(segment);
}

/* Linux: user_shm_lock. What all locked segments of a user have together is limited, except for the privileged. */
static int lock(struct task *task, struct segment *segment) {
    uint64_t limit = task->process->limits[RLIMIT_MEMLOCK][0], total = page_up(segment->size);
    uint32_t user = task->credentials->user.real;
    if (segment->object.mode & SHM_LOCKED)
        return 0;
    list_for_each(node, &task->host->ipc->segments) {
        const struct segment *other = list_entry(node, struct segment, place);
        total += other->object.mode & SHM_LOCKED && other->locker == user ? page_up(other->size) : 0;
    }
    if (total / PAGE > limit / PAGE && !credentials_capable(task, CAP_IPC_LOCK))
        return -ENOMEM;
    segment->object.mode |= SHM_LOCKED;
    segment->locker = user;
    return 0;
}

int64_t sys_shmctl(struct task *task, const uint64_t *a) {
    int command = (int)a[1];
    struct segment *segment = find(task->host, a[0]);
    struct shmid64_ds given;
    int result;
    if ((int)a[0] < 0 || command < 0)
        return -EINVAL;
    switch (command) {
    case IPC_INFO:
    case SHM_INFO:
        return information(task, command, a[2]);
    case SHM_STAT:
    case SHM_STAT_ANY:
        return status(task, (struct segment *)(void *)ipc_at(task->host, IPC_SHARED_MEMORY, (int)a[0]), command, a[2]);
    case IPC_STAT:
        return status(task, segment, command, a[2]);
    case IPC_SET:
        if (copy_from_user(&given, a[2], sizeof given))
            return -EFAULT;
        result = segment ? ipc_own(task, &segment->object) : -EINVAL;
        if (!result)
            result = ipc_set(&segment->object, &given.shm_perm);
        if (!result)
            segment->change_time = ipc_seconds(task->host);
        return result;
    case IPC_RMID:
        result = segment ? ipc_own(task, &segment->object) : -EINVAL;
        if (!result)
            remove(segment);
        return result;
    case SHM_LOCK: /* nothing is ever swapped */
    case SHM_UNLOCK:
        if (!segment)
            return -EINVAL;
        if (!credentials_capable(task, CAP_IPC_LOCK) &&
            (ipc_own(task, &segment->object) || (command == SHM_LOCK && !task->process->limits[RLIMIT_MEMLOCK][0])))
            return -EPERM;
        if (command == SHM_LOCK)
            return lock(task, segment);
        segment->object.mode &= ~SHM_LOCKED;
        return 0;
    default:
        return -EINVAL;
    }
}
