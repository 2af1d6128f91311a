/* The first code of every managed process: becomes the program that the simulated kernel names.
 *
 * The shard, or an execve, starts the shim's image with the arena's address as its argument. The program and its
 * interpreter are mapped as the kernel would map them (fs/binfmt_elf.c), on the real stack, but with an auxiliary
 * vector of ours: no vDSO, fixed random bytes, a fixed CPU. Nothing of the program runs before the trap is in place.
 */
#include "../hot/kernel/credentials.h"
#include "../hot/kernel/fs.h"
#include "../hot/kernel/process.h"
#include "../hot/kernel/signal.h"
#include "shim.h"
#include <asm/mman.h>
#include <asm/prctl.h>
#include <asm/unistd.h>
#include <linux/auxvec.h>
#include <linux/elf.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

#define PAGE UINT64_C(4096)
#define ARCH_CPUID_SET 0x1012
#define HEADERS_LIMIT 64u

void shim_start(const uint64_t *stack) __attribute__((noreturn));

struct image {
    uint64_t base; /* load bias */
    uint64_t entry, headers, end;
    uint16_t header_count;
    char interpreter[256]; /* empty: none */
};

/* A program that cannot be mapped is ended as Linux ends it after the point of no return. */
__attribute__((noreturn)) static void refuse(struct task *task, const char *path, const char *why) {
    platform_warn(task->host, NULL, "%s cannot be started: %s", path, why);
    process_exit_group(task->process, WAIT_STATUS_SIGNAL(KSIGKILL));
    task_exit(task, 0);
}

static int protection(uint32_t flags) {
    return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

static const char *map_segment(struct host *host, int64_t fd, const Elf64_Phdr *header, uint64_t base) {
    uint64_t start = (base + header->p_vaddr) & ~(PAGE - 1), skew = header->p_vaddr & (PAGE - 1);
    uint64_t file_end = base + header->p_vaddr + header->p_filesz,
             memory_end = base + header->p_vaddr + header->p_memsz;
    uint64_t mapped_end = (file_end + PAGE - 1) & ~(PAGE - 1);
    if (header->p_filesz) {
        /* A writable one may hold anything where code was found. */
        bool rewritten =
            (header->p_flags & PF_X) && !(header->p_flags & PF_W) && rewrite_expects(host, fd, base, start, file_end);
        int wanted = protection(header->p_flags);
        int64_t result = native(__NR_mmap, start, header->p_filesz + skew, rewritten ? PROT_READ | PROT_WRITE : wanted,
                                MAP_PRIVATE | MAP_FIXED, fd, header->p_offset - skew);
        if (result != (int64_t)start)
            return "a segment cannot be mapped";
        if (rewritten) {
            rewrite_known();
            if (native(__NR_mprotect, start, header->p_filesz + skew, wanted) < 0)
                return "a segment cannot be protected";
        }
    } else {
        mapped_end = start;
    }
    if (header->p_memsz > header->p_filesz) {
        if (header->p_filesz && (header->p_flags & PF_W) && file_end < mapped_end)
            memset((void *)file_end, 0, mapped_end - file_end);
        if (memory_end > mapped_end) {
            int64_t result = native(__NR_mmap, mapped_end, memory_end - mapped_end, protection(header->p_flags),
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            if (result != (int64_t)mapped_end)
                return "no memory for a segment";
        }
    }
    return NULL;
}

/* Maps an ELF file; NULL, or what is wrong. `program`: at PROGRAM_BASE if it is position-independent. */
static const char *map_image(struct host *host, const char *path, bool program, struct image *image) {
    Elf64_Ehdr elf;
    Elf64_Phdr headers[HEADERS_LIMIT];
    const char *problem = NULL;
    int64_t fd = native(__NR_open, path, 02000000 /* O_CLOEXEC */, 0);
    if (fd < 0)
        return "it cannot be opened";
    if (native(__NR_pread64, fd, &elf, sizeof elf, 0) != sizeof elf || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 ||
        elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != EM_X86_64 ||
        (elf.e_type != ET_EXEC && elf.e_type != ET_DYN) || elf.e_phentsize != sizeof *headers ||
        elf.e_phnum > HEADERS_LIMIT) {
        problem = "it is no 64-bit x86 ELF program";
        goto out;
    }
    size_t size = elf.e_phnum * sizeof *headers;
    if (native(__NR_pread64, fd, headers, size, elf.e_phoff) != (int64_t)size) {
        problem = "its program headers cannot be read";
        goto out;
    }
    uint64_t low = UINT64_MAX, high = 0;
    for (unsigned i = 0; i < elf.e_phnum; i++)
        if (headers[i].p_type == PT_LOAD) {
            low = KMIN(low, headers[i].p_vaddr & ~(PAGE - 1));
            high = KMAX(high, headers[i].p_vaddr + headers[i].p_memsz);
        }
    if (low >= high) {
        problem = "it has nothing to load";
        goto out;
    }
    /* Reserve the whole span first, so that the pieces stay together. */
    uint64_t length = (high - low + PAGE - 1) & ~(PAGE - 1);
    uint64_t wanted = elf.e_type == ET_EXEC ? low : program ? PROGRAM_BASE : 0;
    int64_t span = native(__NR_mmap, wanted, length, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (wanted ? MAP_FIXED_NOREPLACE : 0), -1, 0);
    if (span < 0 || (wanted && (uint64_t)span != wanted)) {
        problem = "its addresses are taken";
        goto out;
    }
    image->base = (uint64_t)span - low;
    image->entry = image->base + elf.e_entry;
    image->end = image->base + high;
    image->header_count = elf.e_phnum;
    image->headers = 0;
    for (unsigned i = 0; i < elf.e_phnum && !problem; i++) {
        const Elf64_Phdr *header = &headers[i];
        if (header->p_type == PT_LOAD) {
            problem = map_segment(host, fd, header, image->base);
            if (elf.e_phoff - header->p_offset < header->p_filesz)
                image->headers = image->base + header->p_vaddr + (elf.e_phoff - header->p_offset);
        } else if (header->p_type == PT_INTERP) {
            if (header->p_filesz >= sizeof image->interpreter ||
                native(__NR_pread64, fd, image->interpreter, header->p_filesz, header->p_offset) !=
                    (int64_t)header->p_filesz)
                problem = "its interpreter's name cannot be read";
        }
    }
out:
    (void)native(__NR_close, fd);
    return problem;
}

/* ---- The program's stack ---- */

struct pusher {
    uint64_t at;
};

static uint64_t push_bytes(struct pusher *stack, const void *bytes, size_t length) {
    stack->at -= length;
    memcpy((void *)stack->at, bytes, length);
    return stack->at;
}

/* Arguments, environment and auxiliary vector (System V ABI, AMD64 supplement, 3.4.1). Returns the stack pointer. */
static uint64_t build_stack(uint64_t top, struct task *task, const struct exec_request *request,
                            const struct image *program, const struct image *interpreter) {
    struct pusher stack = {top};
    const struct credentials *credentials = task->credentials;
    uint8_t random[16];
    rng_fill(task->host, RNG_HOST_RANDOM, random, sizeof random);
    uint64_t name = push_bytes(&stack, request->named, strlen(request->named) + 1);
    uint64_t platform = push_bytes(&stack, "x86_64", 7);
    uint64_t random_at = push_bytes(&stack, random, sizeof random);
    uint64_t strings = push_bytes(&stack, request->strings, request->bytes);
    stack.at &= ~UINT64_C(15);
    const uint64_t auxiliary[][2] = {
        {AT_PHDR, program->headers},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, program->header_count},
        {AT_PAGESZ, PAGE},
        {AT_BASE, interpreter ? interpreter->base : 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, program->entry},
        {AT_UID, credentials->user.real},
        {AT_EUID, credentials->user.effective},
        {AT_GID, credentials->group.real},
        {AT_EGID, credentials->group.effective},
        {AT_SECURE, task->process->secure_execution},
        {AT_RANDOM, random_at},
        {AT_HWCAP, CPU_HWCAP},
        {AT_HWCAP2, 0},
        {AT_CLKTCK, 100},
        {AT_PLATFORM, platform},
        {AT_EXECFN, name},
        {AT_MINSIGSTKSZ, 2048},
        {AT_NULL, 0},
    };
    size_t words = 1 + request->argument_count + 1 + request->environment_count + 1;
    stack.at -= sizeof auxiliary + words * sizeof(uint64_t);
    stack.at &= ~UINT64_C(15);
    uint64_t *word = (uint64_t *)stack.at;
    *word++ = request->argument_count;
    const char *text = (const char *)strings;
    for (uint32_t i = 0; i < request->argument_count + request->environment_count; i++) {
        if (i == request->argument_count)
            *word++ = 0;
        *word++ = (uint64_t)text;
        text += strlen(text) + 1;
    }
    if (request->environment_count == 0)
        *word++ = 0;
    *word++ = 0;
    memcpy(word, auxiliary, sizeof auxiliary);
    return stack.at;
}

/* ---- The trap ---- */

static void install_filter(void) {
    uint64_t site = (uint64_t)shim_trap_site_end;
    const uint32_t ip_low = offsetof(struct seccomp_data, instruction_pointer), ip_high = ip_low + 4;
    struct sock_filter code[] = {
        /* From the shim's image, and not from its one trap site: a real call. Everything else traps. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip_high),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(SHIM_BASE >> 32), 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip_low),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x1000000, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)site, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {ARRAY_LENGTH(code), code};
    if (native(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        native(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) < 0)
        shim_panic("the system call filter cannot be installed");
}

static void virtualise_cpu(void) {
    if (native(__NR_prctl, PR_SET_TSC, PR_TSC_SIGSEGV) < 0)
        shim_panic("the time-stamp counter cannot be trapped");
    /* Machines without CPUID faulting show their own CPU; the run's manifest says so. */
    (void)native(__NR_arch_prctl, ARCH_CPUID_SET, 0);
}

static uint64_t parse_hex(const char *text) {
    uint64_t value = 0;
    for (; *text; text++)
        value = value * 16 + (uint64_t)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return value;
}

void shim_start(const uint64_t *stack) {
    char *const *arguments = (char *const *)(stack + 1);
    if (stack[0] != 3)
        shim_panic("this program is started by the simulator only");
    uint64_t arena = parse_hex(arguments[1]);
    if (native(__NR_mmap, arena, ARENA_STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
               SHIM_FD_ARENA, 0) != (int64_t)arena)
        shim_panic("the host's memory cannot be mapped at 0x%lx", (unsigned long)arena);
    struct host *host = (struct host *)arena;
    if (host->abi_version != KERNEL_ABI_VERSION)
        shim_panic("the simulator and the shim are of different versions");
    struct task *task = host->current;
    struct exec_request *request = task->exec;
    task->exec = NULL;
    bool filtered = arguments[2][0] == '1';
    thread_initialise(task);
    shim_install_handlers();
    virtualise_cpu();
    (void)native(__NR_prctl, PR_SET_NAME, task->comm);

    struct image program, interpreter;
    memset(&program, 0, sizeof program);
    memset(&interpreter, 0, sizeof interpreter);
    const char *problem = map_image(host, request->path, true, &program);
    if (problem)
        refuse(task, request->path, problem);
    bool dynamic = program.interpreter[0];
    const char *loader = request->interpreter[0] ? request->interpreter : program.interpreter;
    if (dynamic && (problem = map_image(host, loader, false, &interpreter)))
        refuse(task, loader, problem);
    struct process *process = task->process;
    process->brk_start = process->brk = (program.end + PAGE - 1) & ~(PAGE - 1);
    process->brk_limit = process->brk_start + (UINT64_C(64) << 30);
    /* A round place below the real kernel's own strings and vectors, whose size depends on its version. */
    uint64_t top = (((uint64_t)stack - 16384) & ~UINT64_C(0xffff)) - 16;
    uint64_t pointer = build_stack(top, task, request, &program, dynamic ? &interpreter : NULL);
    if (!filtered) { /* the shard started it: what it could not look at */
        fs_identify_streams(task);
        process_enter_program(task, request);
    }
    kfree(host, request);
    if (!filtered)
        install_filter();
    leave_kernel(host);
    shim_enter_program(dynamic ? interpreter.entry : program.entry, pointer);
}

void platform_exec(struct task *task) {
    char address[24];
    kprintf(address, sizeof address, "%016lx", (unsigned long)task->host);
    const char *const arguments[] = {"antumbra-shim", address, "1", NULL};
    const char *const environment[] = {NULL};
    int64_t result = native(__NR_execveat, SHIM_FD_SHIM, "", arguments, environment, 0x1000 /* AT_EMPTY_PATH */);
    shim_panic("execve of the shim failed: error %ld", (long)-result);
}
