/* What the simulated kernel asks of the process that runs it: user memory, real system calls, warnings. */
#include "../hot/kernel/caller.h"
#include "shim.h"
#include <asm/mman.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/mman.h>

int copy_from_user(void *destination, uint64_t source, size_t length) {
    return (int)shim_copy(destination, (const void *)source, length);
}

int copy_to_user(uint64_t destination, const void *source, size_t length) {
    return (int)shim_copy((void *)destination, source, length);
}

int64_t string_from_user(char *destination, uint64_t source, size_t capacity) {
    return shim_copy_string(destination, (const char *)source, capacity);
}

int64_t platform_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    return native6(number, a, b, c, d, e, f);
}

const void *platform_map_table(const struct host *host, const char *table, size_t *size) {
    char path[HOST_PATH_MAX + 16];
    kprintf(path, sizeof path, "%s/%s", host->hosts_file, table);
    int64_t fd = host->hosts_file[0] ? native(__NR_open, path, O_RDONLY | O_CLOEXEC, 0) : -ENOENT;
    if (fd < 0)
        return NULL;
    int64_t length = native(__NR_lseek, fd, 0, SEEK_END), rows = -ENOENT;
    if (length > 0)
        rows = native6(__NR_mmap, 0, (uint64_t)length, PROT_READ, MAP_PRIVATE, (uint64_t)fd, 0);
    (void)native(__NR_close, fd);
    *size = (size_t)length;
    return rows < 0 ? NULL : (const void *)rows;
}

void platform_unmap_table(const void *bytes, size_t size) { (void)native(__NR_munmap, bytes, size); }

/* The caller of the task's last system call, from the real maps. */
static void describe_caller(const struct task *task, char *out, size_t capacity) {
    static char maps[65536]; /* too large for the shim's stack; one thread runs at a time */
    size_t length = 0;
    int64_t fd = native(__NR_open, "/proc/self/maps", 02000000, 0);
    for (int64_t n; fd >= 0 && length < sizeof maps - 1; length += (size_t)n) {
        n = native(__NR_read, fd, maps + length, sizeof maps - 1 - length);
        if (n <= 0)
            break;
    }
    if (fd >= 0)
        (void)native(__NR_close, fd);
    maps[length] = '\0';
    uint8_t code[STUB_BEFORE + STUB_AFTER];
    uint64_t ip = task->call_site;
    caller_describe(maps, copy_from_user(code, ip - STUB_BEFORE, sizeof code) ? ip : caller_origin(ip, code), out,
                    capacity);
}

void platform_warn(struct host *host, struct task *task, const char *format, ...) {
    char text[768];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    int length = kvprintf(text, sizeof text, format, arguments);
    __builtin_va_end(arguments);
    if (task && length > 0 && (size_t)length < sizeof text) {
        char caller[160];
        describe_caller(task, caller, sizeof caller);
        kprintf(text + length, sizeof text - (size_t)length, " [%s pid %d tid %d at %s]", task->comm,
                task->process->pid, task->tid, caller);
    }
    warning_add(host, text);
}

void shim_panic(const char *format, ...) {
    char text[512];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    int length = kvprintf(text, sizeof text - 1, format, arguments);
    __builtin_va_end(arguments);
    length = KMIN(length, (int)sizeof text - 2);
    text[length] = '\n';
    (void)native(__NR_write, 2, "antumbra-shim: ", 15);
    (void)native(__NR_write, 2, text, length + 1);
    for (;;)
        shim_leave(__NR_exit_group, 127);
}
