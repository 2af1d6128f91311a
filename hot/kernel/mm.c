/* Address spaces. Mapping is real (the process's own memory); the kernel only keeps brk, and which ranges are shared
 * between processes, because a futex in shared memory is one futex at whatever address it is mapped.
 *
 * The dispatcher calls the system calls, futex.c asks for keys. Ranges of the arena and of the shim are refused.
 */
#include "mm.h"
#include "caller.h"
#include "fs_internal.h"
#include "internal.h"
#include "ipc.h"
#include "packet_socket.h"
#include "syscalls.h"
#include <asm/mman.h>
#include <linux/mman.h>
#include <linux/resource.h>

#define PAGE UINT64_C(4096)
#define NATIVE_MMAP 9
#define NATIVE_MPROTECT 10
#define NATIVE_MUNMAP 11
#define NATIVE_MREMAP 25
#define NATIVE_MINCORE 27
#define NATIVE_MADVISE 28
/* What belongs to the simulator in every process (shim/layout.h): arenas, the shim, its stacks. */
#define ARENAS_END UINT64_C(0x300000000000)
#define SHIM_START UINT64_C(0x600000000000)
#define SHIM_END UINT64_C(0x620000000000)

struct shared_map {
    struct list node; /* in process->shared_maps */
    uint64_t start, end;
    uint64_t object, offset; /* offset of `start` in the object */
    struct segment *segment; /* of System V shared memory, which counts its mappings; else NULL */
    struct file *file;       /* of a packet socket's ring, which stays open as long as it is mapped; else NULL */
    struct inode *written;   /* of a file that was opened for writing, and counts as that as long; else NULL */
};

static uint64_t page_up(uint64_t value) { return (value + PAGE - 1) & ~(PAGE - 1); }

bool mm_reserved(uint64_t start, uint64_t length) {
    return (start < ARENAS_END && start + length > ARENA_REGION_BASE) ||
           (start < SHIM_END && start + length > SHIM_START);
}

static struct shared_map *shared_map_add(struct process *process, uint64_t start, uint64_t end, uint64_t object,
                                         uint64_t offset, struct segment *segment, struct file *file,
                                         struct inode *written) {
    struct shared_map *map = kalloc(process->host, sizeof *map);
    if (!map)
        return NULL;
    map->start = start;
    map->end = end;
    map->object = object;
    map->offset = offset;
    map->segment = segment;
    map->file = file;
    map->written = written;
    list_push_back(&process->shared_maps, &map->node);
    if (written)
        inode_hold(written, INODE_WRITTEN);
    if (file) {
        file_get(file);
        packet_ring_mapped(file, 1);
    }
    if (segment)
        segment_mapped(segment, process->host->current ? process->host->current->process->pid : process->pid);
    return map;
}

static void shared_map_free(struct process *process, struct shared_map *map) {
    list_remove(&map->node);
    if (map->segment)
        segment_unmapped(process->host, map->segment, process->pid);
    if (map->file) {
        packet_ring_mapped(map->file, -1);
        file_put(process->host, map->file);
    }
    if (map->written)
        inode_drop(process->host, map->written, INODE_WRITTEN);
    kfree(process->host, map);
}

/* [start, end) is not what it was: cut it out of every shared range. */
static void shared_map_cut(struct process *process, uint64_t start, uint64_t end) {
    list_for_each_safe(node, &process->shared_maps) {
        struct shared_map *map = list_entry(node, struct shared_map, node);
        if (map->end <= start || map->start >= end)
            continue;
        if (map->end > end)
            (void)shared_map_add(process, end, map->end, map->object, map->offset + (end - map->start), map->segment,
                                 map->file, map->written);
        if (map->start < start) {
            map->end = start;
            continue;
        }
        shared_map_free(process, map);
    }
}

int mm_copy(struct process *process, const struct process *from) {
    list_for_each(node, &from->shared_maps) {
        const struct shared_map *map = list_entry(node, struct shared_map, node);
        if (!shared_map_add(process, map->start, map->end, map->object, map->offset, map->segment, map->file,
                            map->written)) {
            mm_release(process);
            return -ENOMEM;
        }
    }
    return 0;
}

void mm_release(struct process *process) {
    list_for_each_safe(node, &process->shared_maps) {
        shared_map_free(process, list_entry(node, struct shared_map, node));
    }
    mm_unlock_all(process);
}

static const struct shared_map *shared_map_at(const struct process *process, uint64_t address) {
    list_for_each(node, &process->shared_maps) {
        const struct shared_map *map = list_entry(node, struct shared_map, node);
        if (address >= map->start && address < map->end)
            return map;
    }
    return NULL;
}

const struct file *mm_file_at(const struct process *process, uint64_t address) {
    const struct shared_map *map = shared_map_at(process, address);
    return map ? map->file : NULL;
}

void mm_futex_key(const struct process *process, uint64_t address, bool private, uint64_t key[2]) {
    key[0] = process->mm;
    key[1] = address;
    if (private)
        return;
    key[1] = address | 1; /* not the futex that a private operation means (FUT_OFF_MMSHARED of Linux) */
    const struct shared_map *map = shared_map_at(process, address);
    if (map) {
        key[0] = map->object;
        key[1] = map->offset + (address - map->start);
    }
}

/* ---- RLIMIT_AS and RLIMIT_DATA ---- */

static void parse_mapping(const char *line, size_t length, struct mapping *mapping) {
    static const char stack[] = "[stack]";
    const char *at = maps_number(line, &mapping->start);
    at = maps_number(at + 1, &mapping->end) + 1; /* "rw-p" */
    mapping->data = at[1] == 'w' && at[3] == 'p' &&
                    (length < sizeof stack || memcmp(line + length - (sizeof stack - 1), stack, sizeof stack - 1) != 0);
}

void mm_each_mapping(void (*visit)(void *context, const struct mapping *mapping), void *context) {
    char part[4096];
    size_t held = 0;
    int64_t fd = platform_syscall(2 /* open */, (uint64_t)"/proc/self/maps", 02000000 /* O_CLOEXEC */, 0, 0, 0, 0);
    for (int64_t got = 1; fd >= 0 && got > 0;) {
        got = platform_syscall(0 /* read */, (uint64_t)fd, (uint64_t)part + held, sizeof part - held, 0, 0, 0);
        held += (size_t)KMAX(got, 0);
        size_t line = 0;
        for (size_t i = 0; i < held; i++) {
            if (part[i] != '\n')
                continue;
            struct mapping mapping;
            parse_mapping(part + line, i - line, &mapping);
            line = i + 1;
            if (!mm_reserved(mapping.start, mapping.end - mapping.start))
                visit(context, &mapping);
        }
        if (line == 0 && held == sizeof part)
            held = 0; /* a line longer than any path: not one of a program */
        memmove(part, part + line, held - line);
        held -= line;
    }
    if (fd >= 0)
        (void)platform_syscall(3 /* close */, (uint64_t)fd, 0, 0, 0, 0, 0);
}

/* Bytes of mappings, or of those that hold data, outside of [start, end), which is to be replaced. */
struct mapped {
    bool data;
    uint64_t start, end, bytes;
};

static void add_mapped(void *context, const struct mapping *mapping) {
    struct mapped *mapped = context;
    if (mapped->data && !mapping->data)
        return;
    uint64_t low = KMAX(mapped->start, mapping->start), high = KMIN(mapped->end, mapping->end);
    mapped->bytes += mapping->end - mapping->start - (low < high ? high - low : 0);
}

static bool exceeds(uint64_t limit, bool data, uint64_t start, uint64_t length, bool replaces) {
    if (limit == UINT64_MAX)
        return false;
    struct mapped mapped = {.data = data, .start = start, .end = replaces ? start + length : start};
    mm_each_mapping(add_mapped, &mapped);
    return length > limit || mapped.bytes > limit - length;
}

/* Whether `length` more bytes are too many (may_expand_vm of Linux). At `start`, where what is there goes if
 * `replaces`. Asking costs a walk over all mappings, and so only processes with a limit pay. */
static bool too_much(const struct process *process, uint64_t start, uint64_t length, bool data, bool replaces) {
    return exceeds(process->limits[RLIMIT_AS][0], false, start, length, replaces) ||
           (data && exceeds(process->limits[RLIMIT_DATA][0], true, start, length, replaces));
}

/* Objects of anonymous memory are numbered with the address spaces; those of files carry a bit that these never have.
 */
#define FILE_OBJECT (UINT64_C(1) << 63)

int64_t sys_mmap(struct task *task, const uint64_t *a) {
    struct process *process = task->process;
    uint64_t flags = a[3], length = page_up(a[1]);
    bool anonymous = flags & MAP_ANONYMOUS, shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    uint64_t hint = a[0];
    if (length < a[1])
        return -ENOMEM;
    if (mm_reserved(hint, length)) {
        if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
            return -ENOMEM;
        hint = 0; /* only a wish: place it elsewhere */
    }
    if (length && too_much(process, hint, length, !shared && (a[2] & PROT_WRITE), flags & MAP_FIXED))
        return -ENOMEM;
    uint64_t fd = UINT64_MAX, object = 0;
    struct inode *written = NULL;
    if (!anonymous) {
        struct fd_entry *entry = fd_entry(task, (int)a[4]);
        if (!entry)
            return -EBADF;
        if (entry->file->kind == FILE_SOCKET_PACKET)
            return packet_ring_map(task, entry->file, hint, length, a[2], flags, a[5]);
        if (entry->native_fd < 0)
            return -ENODEV;
        fd = (uint64_t)entry->native_fd;
        const struct inode *inode = native_inode(task, entry->file, entry->native_fd);
        object = FILE_OBJECT | (inode ? inode->number : 0);
        written = native_writes(entry->file);
    }
    bool locked = flags & MAP_LOCKED || process->lock_future;
    if ((flags & MAP_LOCKED) && !mm_may_lock(task))
        return -EPERM;
    if (locked && !mm_may_lock_more(task, length))
        return -EAGAIN;
    int64_t address = platform_syscall(NATIVE_MMAP, hint, a[1], a[2], flags & ~(uint64_t)MAP_LOCKED, fd, a[5]);
    if (address < 0)
        return address;
    uint64_t start = (uint64_t)address;
    if (flags & MAP_FIXED)
        shared_map_cut(process, start, start + length);
    if (locked || process->locked)
        mm_mapped(task, start, start + length, locked);
    if (shared) {
        if (anonymous)
            object = task->host->next_mm++;
        if (!shared_map_add(process, start, start + length, object, anonymous ? 0 : a[5], NULL, NULL, written)) {
            (void)platform_syscall(NATIVE_MUNMAP, start, length, 0, 0, 0, 0);
            return -ENOMEM;
        }
    }
    return address;
}

int64_t sys_munmap(struct task *task, const uint64_t *a) {
    uint64_t length = page_up(a[1]);
    if (mm_reserved(a[0], length))
        return -EINVAL;
    int64_t result = platform_syscall(NATIVE_MUNMAP, a[0], a[1], 0, 0, 0, 0);
    if (result == 0) {
        shared_map_cut(task->process, a[0], a[0] + length);
        mm_unlock(task->process, a[0], a[0] + length);
    }
    return result;
}

int64_t sys_mremap(struct task *task, const uint64_t *a) {
    struct process *process = task->process;
    uint64_t length = page_up(a[1]), new_length = page_up(a[2]);
    if (mm_reserved(a[0], length) || ((a[3] & MREMAP_FIXED) && mm_reserved(a[4], new_length)))
        return -EFAULT;
    const struct shared_map *found = shared_map_at(process, a[0]);
    if (found && (found->segment || found->file) && new_length > found->end - a[0])
        return -EINVAL; /* behind it lies something else; Linux would let the program map what it cannot use */
    if (new_length > length && too_much(process, a[0], new_length - length, !found, false))
        return -ENOMEM;
    bool locked = mm_is_locked(process, a[0]);
    if (locked && new_length > length && !mm_may_lock_more(task, new_length - length))
        return -EAGAIN;
    struct shared_map old = found ? *found : (struct shared_map){.object = 0};
    int64_t address = platform_syscall(NATIVE_MREMAP, a[0], a[1], a[2], a[3], a[4], 0);
    if (address < 0)
        return address;
    uint64_t start = (uint64_t)address, offset = old.offset + (a[0] - old.start);
    mm_unlock(process, a[0], a[0] + length);
    mm_mapped(task, start, start + new_length, locked);
    if (start == a[0] && new_length <= length) {
        shared_map_cut(process, start + new_length, start + length);
        return address;
    }
    /* What moves is there twice for a moment: a segment must not lose its last mapping. */
    shared_map_cut(process, start, start + new_length);
    if (found &&
        !shared_map_add(process, start, start + new_length, old.object, offset, old.segment, old.file, old.written))
        return -ENOMEM;
    if (start != a[0])
        shared_map_cut(process, a[0], a[0] + length);
    return address;
}

/* ---- System V segments and rings of packet sockets ---- */

int64_t mm_map_shared(struct task *task, uint64_t address, uint64_t length, uint64_t protection, uint64_t fixed,
                      const struct shared_object *object) {
    struct process *process = task->process;
    if (fixed && mm_reserved(address, length))
        return -EINVAL;
    int64_t result = platform_syscall(NATIVE_MMAP, address, length, protection, MAP_SHARED | fixed,
                                      (uint64_t)object->fd, object->file_offset);
    if (result < 0)
        return result;
    uint64_t start = (uint64_t)result;
    struct shared_map *map =
        shared_map_add(process, start, start + length, object->identity, 0, object->segment, object->file, NULL);
    if (!map) {
        (void)platform_syscall(NATIVE_MUNMAP, start, length, 0, 0, 0, 0);
        return -ENOMEM;
    }
    if (fixed) { /* what was there before, after the new one: it may have been the same segment */
        list_remove(&map->node);
        shared_map_cut(process, start, start + length);
        list_push_back(&process->shared_maps, &map->node);
    }
    return result;
}

int64_t mm_unmap_segment(struct task *task, uint64_t address) {
    struct process *process = task->process;
    const struct segment *segment = NULL;
    int64_t result = -EINVAL;
    list_for_each_safe(node, &process->shared_maps) {
        struct shared_map *map = list_entry(node, struct shared_map, node);
        if (!map->segment || map->start - map->offset != address || (segment && map->segment != segment))
            continue;
        segment = map->segment;
        (void)platform_syscall(NATIVE_MUNMAP, map->start, map->end - map->start, 0, 0, 0, 0);
        shared_map_free(process, map);
        result = 0;
    }
    return result;
}

int64_t sys_mprotect(struct task *task, const uint64_t *a) {
    (void)task;
    if (mm_reserved(a[0], page_up(a[1])))
        return -ENOMEM;
    return platform_syscall(NATIVE_MPROTECT, a[0], a[1], a[2], 0, 0, 0);
}

/* What MADV_FREE gives up goes at once: when the real kernel takes it depends on how short of memory the machine is. */
int64_t sys_madvise(struct task *task, const uint64_t *a) {
    (void)task;
    if (mm_reserved(a[0], page_up(a[1])))
        return -ENOMEM;
    int64_t result = platform_syscall(NATIVE_MADVISE, a[0], a[1], a[2], 0, 0, 0);
    if (!result && (int)a[2] == MADV_FREE)
        result = platform_syscall(NATIVE_MADVISE, a[0], a[1], MADV_DONTNEED, 0, 0, 0);
    return result;
}

/* All that is mapped is in memory: what the machine has there is its own affair. */
int64_t sys_mincore(struct task *task, const uint64_t *a) {
    (void)task;
    uint8_t resident[64];
    memset(resident, 1, sizeof resident);
    int64_t result = platform_syscall(NATIVE_MINCORE, a[0], a[1], a[2], 0, 0, 0);
    uint64_t pages = page_up(a[1]) / PAGE;
    for (uint64_t page = 0; !result && page < pages; page += sizeof resident)
        result = copy_to_user(a[2] + page, resident, KMIN(pages - page, sizeof resident));
    return result;
}

/* The heap grows behind the program, not behind the shim, whose break the real kernel keeps. */
int64_t sys_brk(struct task *task, const uint64_t *a) {
    struct process *process = task->process;
    uint64_t wanted = a[0];
    if (wanted < process->brk_start || wanted > process->brk_limit)
        return (int64_t)process->brk;
    uint64_t old_end = page_up(process->brk), new_end = page_up(wanted);
    if (new_end > old_end) {
        if (too_much(process, old_end, new_end - old_end, true, false) ||
            (process->lock_future && !mm_may_lock_more(task, new_end - old_end)))
            return (int64_t)process->brk;
        int64_t address = platform_syscall(NATIVE_MMAP, old_end, new_end - old_end, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, UINT64_MAX, 0);
        if (address < 0)
            return (int64_t)process->brk;
        if (process->lock_future)
            mm_mapped(task, old_end, new_end, true);
    } else if (new_end < old_end) {
        mm_unlock(process, new_end, old_end);
        (void)platform_syscall(NATIVE_MUNMAP, new_end, old_end - new_end, 0, 0, 0, 0);
    }
    process->brk = wanted;
    return (int64_t)wanted;
}
