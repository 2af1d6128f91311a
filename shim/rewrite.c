/* Call sites that enter the simulated kernel without a trap.
 *
 * On its second trap a call site is replaced by a jump to a stub nearby, which enters shim_fast_entry (entry.S): many
 * sites of a program's start are used once, and rewriting costs more than two traps. Two shapes are recognised, which
 * cover glibc, musl, Go and Rust:
 *
 *   mov $number, %eax; syscall        the 5-byte mov becomes the jump; the syscall stays and still traps
 *   syscall; cmp $imm32, %rax         syscall and part of the cmp become the jump; the stub does the cmp
 *
 * No page at address 0 is needed. Only one thread of a host runs, and the others wait inside the shim, so no thread is
 * ever in the middle of the bytes that change; one that will return behind a rewritten syscall is sent to the stub.
 *
 * The program and its interpreter, which the shim maps itself, are mapped with those sites rewritten that earlier
 * processes of the host have trapped at: the dynamic linker alone has a dozen, and every process starts with it.
 */
#include "../hot/kernel/syscall.h"
#include "shim.h"
#include <asm/mman.h>
#include <asm/stat.h>
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

#define KNOWN_SITES 60u
#define KNOWN_FILES 16u

/* Where the code of a file has trapped, in the arena: for the next process that maps it. */
struct known_code {
    struct known_code *next;
    struct code_identity {
        uint64_t device, inode, size, seconds, nanoseconds; /* the times of its last change */
    } identity;
    uint32_t count;
    uint32_t sites[KNOWN_SITES]; /* offsets of syscall instructions from the load bias, as they were trapped at */
};

/* The images of this process: the program and its interpreter. */
static struct known_image {
    uint64_t base, start, end; /* load bias; the executable segment that is looked at */
    struct known_code *code;
} images[2];
static unsigned image_count;

/* What trapped last, by a hash of its address; one that returns is rewritten. */
static uint16_t trapped[256];

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

/* As caller_origin (hot/kernel/caller.c) knows it:
 * [mov $number, %eax]  lea next(%rip), %rcx  movabs $shim_fast_entry, %r11  jmp *%r11  next: [cmp] jmp back */
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

struct site {
    uint64_t ip;      /* behind the syscall */
    uint8_t code[16]; /* the 8 bytes before ip and after it */
    bool mov;         /* which of the two shapes it has */
};

/* `number`: of the call that trapped here; SYSCALL_LIMIT: it did so in another process. */
static bool recognise(struct site *site, uint64_t ip, uint64_t number) {
    uint8_t *code = site->code;
    site->ip = ip;
    if (copy_from_user(code, ip - 8, 8) || copy_from_user(code + 8, ip, 8) || code[6] != 0x0f || code[7] != 0x05)
        return false;
    uint32_t immediate;
    memcpy(&immediate, code + 2, sizeof immediate);
    site->mov = code[1] == 0xb8 && (immediate == number || number == SYSCALL_LIMIT) &&
                (code[0] & 0xf0) != 0x40; /* no REX: not mov to %r8d */
    return site->mov || (code[8] == 0x48 && code[9] == 0x3d);
}

struct patch {
    uint64_t at;
    uint8_t bytes[8];
    uint32_t length; /* 0: there is no room for a stub */
};

static struct patch prepare(const struct site *site) {
    bool mov = site->mov;
    struct patch patch = {.at = mov ? site->ip - 7 : site->ip - 2};
    uint64_t stub = stub_allocate(patch.at);
    if (!stub)
        return patch;
    stub_write(stub, site->code + (mov ? 1 : 8), mov ? 5 : 6, mov, mov ? site->ip : site->ip + 6);
    int32_t distance = (int32_t)(stub - (patch.at + 5));
    memset(patch.bytes, 0x90, sizeof patch.bytes);
    patch.bytes[0] = 0xe9;
    memcpy(patch.bytes + 1, &distance, sizeof distance);
    patch.length = mov ? 5 : 8;
    return patch;
}

/* ---- What earlier processes have found ---- */

static bool is_known(const struct known_code *code, uint64_t offset) {
    for (uint32_t i = 0; i < KMIN(code->count, KNOWN_SITES); i++)
        if (code->sites[i] == offset)
            return true;
    return false;
}

static void remember(uint64_t ip) {
    for (unsigned i = 0; i < image_count; i++) {
        struct known_code *code = images[i].code;
        if (ip - images[i].start >= images[i].end - images[i].start)
            continue;
        uint64_t offset = ip - images[i].base;
        if (code->count < KNOWN_SITES && offset <= UINT32_MAX && !is_known(code, offset))
            code->sites[code->count++] = (uint32_t)offset;
    }
}

/* NULL: no memory, or too many files already. */
static struct known_code *find_code(struct host *host, const struct code_identity *identity) {
    unsigned files = 0;
    for (struct known_code *code = host->known_code; code && files < KNOWN_FILES; code = code->next, files++)
        if (memcmp(&code->identity, identity, sizeof *identity) == 0)
            return code;
    struct known_code *code = files < KNOWN_FILES ? kalloc(host, sizeof *code) : NULL;
    if (code) {
        code->identity = *identity;
        code->next = host->known_code;
        host->known_code = code;
    }
    return code;
}

bool rewrite_expects(struct host *host, int64_t fd, uint64_t base, uint64_t start, uint64_t end) {
    struct stat status;
    if (image_count == ARRAY_LENGTH(images) || native(__NR_fstat, fd, &status) < 0)
        return false;
    const struct code_identity identity = {status.st_dev, status.st_ino, (uint64_t)status.st_size, status.st_ctime,
                                           status.st_ctime_nsec};
    struct known_code *code = find_code(host, &identity);
    if (!code)
        return false;
    images[image_count++] = (struct known_image){base, start, end, code};
    return code->count != 0;
}

void rewrite_known(void) {
    const struct known_image *image = &images[image_count - 1];
    for (uint32_t i = 0; i < KMIN(image->code->count, KNOWN_SITES); i++) {
        uint64_t ip = image->base + image->code->sites[i];
        struct site site;
        /* The whole of what is looked at and changed must lie in the segment. */
        if (ip < image->start + 8 || ip + 8 > image->end || !recognise(&site, ip, SYSCALL_LIMIT))
            continue;
        struct patch patch = prepare(&site);
        memcpy((void *)patch.at, patch.bytes, patch.length);
    }
}

void rewrite_site(uint64_t ip, uint64_t number) {
    struct site site;
    uint16_t tag = (uint16_t)(ip >> 8 ^ ip >> 24 ^ 1), *seen = &trapped[ip % ARRAY_LENGTH(trapped)];
    if (!recognise(&site, ip, number))
        return;
    if (*seen != tag) {
        *seen = tag;
        remember(ip);
        return;
    }
    struct patch patch = prepare(&site);
    if (patch.length)
        write_code(patch.at, patch.bytes, patch.length);
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
