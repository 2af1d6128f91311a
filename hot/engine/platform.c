/* What the simulated kernel asks of the shard that runs it.
 *
 * The shard runs the kernel for packets and timers only: it has no user memory and none of the processes' descriptors,
 * and it never sleeps inside the kernel. Of files it reads the tables of names alone. What it cannot do it refuses, and
 * what must not happen ends the program.
 */
#include "engine.h"
#include "guard.h"
#include "hot/kernel/syscalls.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int copy_from_user(void *destination, uint64_t source, size_t length) {
    (void)destination, (void)source, (void)length;
    return -EFAULT;
}

int copy_to_user(uint64_t destination, const void *source, size_t length) {
    (void)destination, (void)source, (void)length;
    return -EFAULT;
}

int64_t string_from_user(char *destination, uint64_t source, size_t capacity) {
    (void)destination, (void)source, (void)capacity;
    return -EFAULT;
}

/* A descriptor number that the kernel names is one of a managed process: the shard's own must not be touched. */
int64_t platform_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    (void)number, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    return -EBADF;
}

/* Not by the path in the arena, which processes can write; nor waits the shard for what may lie there instead. */
static void *map_file(const char *path, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    struct stat status;
    void *bytes = MAP_FAILED;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        *size = (size_t)status.st_size;
        bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    close(fd);
    return bytes == MAP_FAILED ? NULL : bytes;
}

const void *platform_map_table(const struct host *host, const char *table, size_t *size) {
    (void)host;
    char path[HOST_PATH_MAX + 16];
    bool guarded = guard_active();
    if (guarded)
        guard_suspend();
    snprintf(path, sizeof path, "%s/%s", engine_etc_directory, table);
    const void *bytes = map_file(path, size);
    if (guarded)
        guard_resume();
    return bytes;
}

void platform_unmap_table(const void *bytes, size_t size) { (void)munmap((void *)(uintptr_t)bytes, size); }

__attribute__((noreturn)) static void impossible(struct host *host, const char *what) {
    if (guard_active())
        guard_fail(what);
    fprintf(stderr, "antumbra: internal error: the kernel of host %s asked the shard to %s\n", host->name, what);
    abort();
}

void platform_switch(struct host *host, struct task *self, struct task *next) {
    (void)self, (void)next;
    impossible(host, "a task that sleeps without a process");
}

int64_t platform_clone(struct task *parent, struct task *child, const struct clone_request *request) {
    (void)child, (void)request;
    impossible(parent->host, "a clone without a process");
}

void platform_exec(struct task *task) { impossible(task->host, "an exec without a process"); }

void platform_exit(struct host *host, struct task *next, bool whole_process) {
    (void)next, (void)whole_process;
    impossible(host, "an exit without a process");
}

void platform_warn(struct host *host, struct task *task, const char *format, ...) {
    char text[1024];
    int length = task ? kprintf(text, sizeof text, "%s[%d]: ", task->comm, task->tid) : 0;
    va_list arguments;
    va_start(arguments, format);
    kvprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    warning_add(host, text);
}

/* Registers and signal frames belong to the shim; the table of system calls names these two in every program. */
int64_t sys_arch_prctl(struct task *task, const uint64_t *a) {
    (void)task, (void)a;
    return -ENOSYS;
}

int64_t sys_rt_sigreturn(struct task *task, const uint64_t *a) {
    (void)task, (void)a;
    return -ENOSYS;
}
