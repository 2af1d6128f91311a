/* The arena's allocator: size classes with free lists over a region that is only ever extended.
 *
 * Called by everything in the kernel; calls nothing. It is deterministic (same calls, same addresses), which an
 * allocator of the process would not be, and it never returns memory to the system: an idle host has touched few pages.
 */
#include "kernel.h"

#ifdef __SANITIZE_ADDRESS__
void __asan_poison_memory_region(void const volatile *address, size_t size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
#else
#define __asan_poison_memory_region(address, size) ((void)(address), (void)(size))
#define __asan_unpoison_memory_region(address, size) ((void)(address), (void)(size))
#endif

#define BLOCK_MAGIC 0xA27EAB10u
#define FREED_MAGIC 0xF2EEB10Cu
#define SMALL_CLASSES 21u /* 32, 48, 64, 96, ... 32768; then 64 KiB << k */

struct block {
    uint32_t class;
    uint32_t magic;
    struct block *next; /* while free */
};
_Static_assert(sizeof(struct block) == 16, "payloads are 16-byte aligned");

static size_t class_size(uint32_t class) {
    if (class >= SMALL_CLASSES)
        return (size_t)65536 << (class - SMALL_CLASSES);
    size_t size = (size_t)32 << (class / 2);
    return class % 2 ? size + size / 2 : size;
}

static uint32_t class_of(size_t total) {
    if (total <= 32)
        return 0;
    unsigned log2_up = 64u - (unsigned)__builtin_clzll(total - 1); /* 2^(log2_up - 1) < total <= 2^log2_up */
    if (log2_up > 15)
        return SMALL_CLASSES + (log2_up - 16);
    uint32_t class = 2 * (log2_up - 5);
    return total <= class_size(class - 1) ? class - 1 : class;
}

static void *allocate(struct host *host, size_t size, bool clear) {
    struct arena *arena = &host->arena;
    if (size > ARENA_STRIDE)
        return NULL;
    uint32_t class = class_of(size + sizeof(struct block));
    if (class >= ARENA_CLASSES)
        return NULL;
    size_t total = class_size(class);
    struct block *block = arena->free_list[class];
    if (block) {
        __asan_unpoison_memory_region(block, total);
        arena->free_list[class] = block->next;
        if (clear)
            memset(block + 1, 0, total - sizeof *block);
    } else {
        if (arena->end - arena->unused < total)
            return NULL;
        __asan_unpoison_memory_region((void *)arena->unused, total);
        block = (struct block *)arena->unused; /* never touched: already zero */
        arena->unused += total;
        block->class = class;
    }
    block->magic = BLOCK_MAGIC;
    block->next = NULL;
    arena->bytes_in_use += total;
    __asan_poison_memory_region((char *)(block + 1) + size, total - sizeof *block - size);
    return block + 1;
}

void *kalloc(struct host *host, size_t size) { return allocate(host, size, true); }

void *kalloc_raw(struct host *host, size_t size) { return allocate(host, size, false); }

void kfree(struct host *host, void *memory) {
    if (!memory)
        return;
    struct block *block = (struct block *)memory - 1;
    if (block->magic != BLOCK_MAGIC || block->class >= ARENA_CLASSES) {
        platform_warn(host, NULL, "arena: %p was freed twice or overwritten; it is left alone", memory);
        return;
    }
    block->magic = FREED_MAGIC;
    block->next = host->arena.free_list[block->class];
    host->arena.free_list[block->class] = block;
    host->arena.bytes_in_use -= class_size(block->class);
    __asan_poison_memory_region(block + 1, class_size(block->class) - sizeof *block);
}
