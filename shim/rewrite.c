/* Call sites that enter the simulated kernel without a trap.
 *
 * On its first trap a call site is replaced by a jump to a stub nearby, which enters shim_fast_entry (entry.S). Two
 * shapes are recognised, which cover glibc, musl, Go and Rust:
 *
 *   mov $number, %eax; syscall        the 5-byte mov becomes the jump; the syscall stays and still traps
 *   syscall; cmp $imm32, %rax         syscall and part of the cmp become the jump; the stub does the cmp
 *
 * No page at address 0 is needed. Only one thread of a host runs, and the others wait inside the shim, so no thread is
 * ever in the middle of the bytes that change; one that will return behind a rewritten syscall is sent to the stub.
 */
#include "shim.h"
#include <asm/mman.h>
#include <asm/unistd.h>
#include <linux/mman.h>

#define REGION_SIZE 65536u
#define REGION_LIMIT 32u
#define STUB_SIZE 48u
#define NEAR_LIMIT (INT64_C(1) << 31)

static struct region {
    uint64_t base;
    uint32_t used;
} regions[REGION_LIMIT];
static unsigned region_count;

static bool reaches(uint64_t from, uint64_t to) {
    int64_t distance = (int64_t)(to - from);
    return distance > -NEAR_LIMIT + (int64_t)REGION_SIZE && distance < NEAR_LIMIT - (int64_t)REGION_SIZE;
}

/* A place for a stub within reach of `site`: 0 if there is none. */
static uint64_t stub_allocate(uint64_t site) {
    for (unsigned i = 0; i < region_count; i++)
        if (reaches(site, regions[i].base) && regions[i].used + STUB_SIZE <= REGION_SIZE) {
            regions[i].used += STUB_SIZE;
            return regions[i].base + regions[i].used - STUB_SIZE;
        }
    if (region_count == REGION_LIMIT)
        return 0;
    /* Below the code, where libraries and heaps do not grow to; then above. */
    for (int64_t step = 1; step < 120; step++) {
        int64_t offset = (step & 1 ? -1 : 1) * (step / 2 + 1) * (INT64_C(16) << 20);
        uint64_t base = (uint64_t)((int64_t)site + offset) & ~(uint64_t)(REGION_SIZE - 1);
        if (base < 0x10000 || base > site + NEAR_LIMIT * 2)
            continue;
        int64_t result = native(__NR_mmap, base, REGION_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (result != (int64_t)base) {
            if (result > 0)
                (void)native(__NR_munmap, result, REGION_SIZE);
            continue;
        }
        regions[region_count++] = (struct region){base, STUB_SIZE};
        return base;
    }
    return 0;
}

/* Through /proc/self/mem, which writes private memory whatever its protection: nothing ever becomes writable. */
static void write_code(uint64_t address, const uint8_t *bytes, size_t length) {
    int64_t fd = native(__NR_open, "/proc/self/mem", 02000002 /* O_RDWR | O_CLOEXEC */, 0);
    if (fd < 0)
        return; /* the site goes on trapping */
    (void)native(__NR_pwrite64, fd, bytes, length, address);
    (void)native(__NR_close, fd);
}

static uint8_t *emit(uint8_t *at, const void *bytes, size_t length) {
    memcpy(at, bytes, length);
    return at + length;
}

static uint8_t *emit_jump(uint8_t *at, uint64_t to) {
    int32_t distance = (int32_t)(to - ((uint64_t)at + 5));
    *at = 0xe9;
    return emit(at + 1, &distance, sizeof distance);
}

/* [mov $number, %eax]  lea next(%rip), %rcx  movabs $shim_fast_entry, %r11  jmp *%r11  next: [cmp] jmp back */
static void stub_write(uint64_t stub, const uint8_t *moved, size_t moved_length, bool before, uint64_t back) {
    static const uint8_t lea[] = {0x48, 0x8d, 0x0d, 13, 0, 0, 0}, movabs[] = {0x49, 0xbb}, jump[] = {0x41, 0xff, 0xe3};
    uint64_t entry = (uint64_t)shim_fast_entry;
    uint8_t *at = (uint8_t *)stub;
    if (before)
        at = emit(at, moved, moved_length);
    at = emit(at, lea, sizeof lea);
    at = emit(at, movabs, sizeof movabs);
    at = emit(at, &entry, sizeof entry);
    at = emit(at, jump, sizeof jump);
    if (!before)
        at = emit(at, moved, moved_length);
    (void)emit_jump(at, back);
}

void rewrite_site(uint64_t ip, uint64_t number) {
    uint8_t code[16]; /* the 8 bytes before ip and after it */
    if (copy_from_user(code, ip - 8, 8) || copy_from_user(code + 8, ip, 8))
        return;
    const uint8_t *before = code + 1, *after = code + 8;
    uint32_t immediate;
    memcpy(&immediate, before + 1, sizeof immediate);
    if (before[5] != 0x0f || before[6] != 0x05)
        return;
    bool mov = before[0] == 0xb8 && immediate == number && (code[0] & 0xf0) != 0x40; /* no REX: not mov to %r8d */
    bool cmp = after[0] == 0x48 && after[1] == 0x3d;
    if (!mov && !cmp)
        return;
    uint64_t site = mov ? ip - 7 : ip - 2;
    uint64_t stub = stub_allocate(site);
    if (!stub)
        return;
    stub_write(stub, mov ? before : after, mov ? 5 : 6, mov, mov ? ip : ip + 6);
    uint8_t patch[8] = {0xe9, 0, 0, 0, 0, 0x90, 0x90, 0x90};
    int32_t distance = (int32_t)(stub - (site + 5));
    memcpy(patch + 1, &distance, sizeof distance);
    write_code(site, patch, mov ? 5 : 8);
}

/* The address behind the syscall that a stub stands for, if `ip` is where a call returns to in a stub. */
uint64_t rewrite_origin(uint64_t ip) {
    for (unsigned i = 0; i < region_count; i++) {
        if (ip - regions[i].base >= regions[i].used)
            continue;
        const uint8_t *at = (const uint8_t *)ip;
        size_t moved = *at == 0xe9 ? 0 : 6; /* the cmp that stood behind the syscall */
        int32_t distance;
        memcpy(&distance, at + moved + 1, sizeof distance);
        return ip + moved + 5 + (uint64_t)(int64_t)distance - moved;
    }
    return ip;
}

/* Where to go on instead of `ip`, if the syscall before it has become a jump to a stub. */
uint64_t rewrite_fix_ip(uint64_t ip) {
    uint8_t code[5];
    int32_t distance;
    if (!region_count || copy_from_user(code, ip - 2, sizeof code) || code[0] != 0xe9)
        return ip;
    memcpy(&distance, code + 1, sizeof distance);
    uint64_t stub = ip - 2 + 5 + (uint64_t)(int64_t)distance;
    for (unsigned i = 0; i < region_count; i++)
        if (stub - regions[i].base < regions[i].used && (stub - regions[i].base) % STUB_SIZE == 0)
            return stub + STUB_ENTER_LENGTH;
    return ip;
}
