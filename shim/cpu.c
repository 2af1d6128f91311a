/* One CPU for every run: cpuid answers a fixed x86-64-v2 model, rdtsc and rdtscp read virtual time.
 *
 * Both instructions fault (PR_SET_TSC, ARCH_CPUID); trap.c asks here what to make of the fault. The model has no
 * RDRAND, RDSEED and RDPID, which could not be made deterministic, and no AVX, whose presence differs between machines.
 */
#include "../hot/kernel/syscall.h"
#include "shim.h"

struct leaf {
    uint32_t leaf, subleaf;
    uint32_t eax, ebx, ecx, edx;
};

#define ANY UINT32_MAX
/* Intel SDM vol. 2A, CPUID. */
static const struct leaf leaves[] = {
    {0x0, ANY, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69}, /* "GenuineIntel" */
    /* family 6, model 0x3f; 1 logical CPU, CLFLUSH 64. ECX: SSE3 PCLMUL SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES */
    {0x1, ANY, 0x000306f2, 0x00010800, 0x02d82203 & ~0x10000000u, CPU_HWCAP},
    /* The caches of leaf 4 as descriptors. One that only refers to leaf 4 (0xff) costs every dynamically linked program
     * three times as many traps at its start: the GNU C library walks leaf 4 for each size that it keeps. */
    {0x2, ANY, 0x212c3001, 0x000000e4, 0, 0},
    {0x4, 0, 0x00000121, 0x01c0003f, 0x0000003f, 0x00000000}, /* L1 data, 32 KiB, 8 ways, 64 sets */
    {0x4, 1, 0x00000122, 0x01c0003f, 0x0000003f, 0x00000000}, /* L1 code */
    {0x4, 2, 0x00000143, 0x01c0003f, 0x000001ff, 0x00000000}, /* L2, 256 KiB */
    {0x4, 3, 0x00000163, 0x03c0003f, 0x00001fff, 0x00000006}, /* L3, 8 MiB, 16 ways */
    {0x7, 0, 0, 0x00000200, 0, 0},                            /* ERMS */
    {0x80000000, ANY, 0x80000008, 0, 0, 0},
    {0x80000001, ANY, 0, 0, 0x00000001, 0x28100800},                   /* LAHF; SYSCALL NX RDTSCP LM */
    {0x80000002, ANY, 0x75746e41, 0x6172626d, 0x72695620, 0x6c617574}, /* "Antumbra Virtual" */
    {0x80000003, ANY, 0x55504320, 0, 0, 0},                            /* " CPU" */
    {0x80000006, ANY, 0, 0, 0x01006040, 0},
    {0x80000007, ANY, 0, 0, 0, 0x00000100}, /* invariant TSC */
    {0x80000008, ANY, 0x00003028, 0, 0, 0}, /* 40 physical, 48 virtual address bits */
};

static void emulate_cpuid(struct sigcontext *registers) {
    uint32_t eax = (uint32_t)registers->rax, ecx = (uint32_t)registers->rcx;
    static const struct leaf nothing;
    const struct leaf *found = &nothing;
    for (size_t i = 0; i < ARRAY_LENGTH(leaves); i++)
        if (leaves[i].leaf == eax && (leaves[i].subleaf == ANY || leaves[i].subleaf == ecx))
            found = &leaves[i];
    registers->rax = found->eax;
    registers->rbx = found->ebx;
    registers->rcx = found->ecx;
    registers->rdx = found->edx;
}

bool cpu_emulate(struct user_context *context, struct task *task) {
    struct sigcontext *registers = &context->registers;
    uint8_t code[3] = {0, 0, 0};
    if (copy_from_user(code, registers->rip, 2))
        return false;
    if (code[0] != 0x0f)
        return false;
    if (code[1] == 0xa2) {
        emulate_cpuid(registers);
        registers->rip += 2;
        return true;
    }
    bool plain = code[1] == 0x31;
    if (!plain && (code[1] != 0x01 || copy_from_user(code, registers->rip, 3) || code[2] != 0xf9))
        return false;
    uint64_t ticks = syscall_timestamp_counter(task);
    registers->rax = (uint32_t)ticks;
    registers->rdx = ticks >> 32;
    if (!plain)
        registers->rcx = 0; /* IA32_TSC_AUX: CPU 0 */
    registers->rip += plain ? 2 : 3;
    return true;
}
