/* What the compiler lets the shard's copy of the kernel call before each store (gcc's -fsanitize=kernel-address with
 * stores only and a threshold of 0), and the functions that stand in for memcpy and its kin there (guarded_names.h).
 */
#include "guard.h"

#include "hot/kernel/kernel.h"

#include <string.h>

static inline void check(uintptr_t address, size_t size) {
    if (__builtin_expect(address - guard_arena >= ARENA_STRIDE - size, 0))
        guard_check_other_store(address, size);
}

static void guarded_range(uintptr_t address, size_t size) {
    if (size >= ARENA_STRIDE)
        guard_check_other_store(address, size);
    else
        check(address, size);
}

#define HOOK(size)                                                                                                     \
    void __asan_store##size##_noabort(uintptr_t address);                                                              \
    void __asan_store##size##_noabort(uintptr_t address) { check(address, size); }
HOOK(1)
HOOK(2)
HOOK(4)
HOOK(8)
HOOK(16)

void __asan_storeN_noabort(uintptr_t address, size_t size);
void __asan_storeN_noabort(uintptr_t address, size_t size) { guarded_range(address, size); }

void __asan_handle_no_return(void);
void __asan_handle_no_return(void) {}

void *guarded_memcpy(void *restrict destination, const void *restrict source, size_t length);
void *guarded_memcpy(void *restrict destination, const void *restrict source, size_t length) {
    guarded_range((uintptr_t)destination, length);
    return memcpy(destination, source, length);
}

void *guarded_memmove(void *destination, const void *source, size_t length);
void *guarded_memmove(void *destination, const void *source, size_t length) {
    guarded_range((uintptr_t)destination, length);
    return memmove(destination, source, length);
}

void *guarded_memset(void *destination, int byte, size_t length);
void *guarded_memset(void *destination, int byte, size_t length) {
    guarded_range((uintptr_t)destination, length);
    return memset(destination, byte, length);
}
