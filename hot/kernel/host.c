/* Hosts: what a fresh arena is filled with, and the processes that the shard starts in it. */
#include "fdtable.h"
#include "fs.h"
#include "futex.h"
#include "internal.h"
#include "link.h"
#include "process.h"

struct host *host_create(void *base, uint64_t size, uint32_t id, uint64_t seed, const char *name, uint32_t address,
                         struct ip_address address6) {
    struct host *host = base;
    host->abi_version = KERNEL_ABI_VERSION;
    host->id = id;
    host->seed = seed;
    host->address = address;
    host->address6 = address6;
    host->arena.end = (uint64_t)base + size;
    host->arena.unused = ((uint64_t)base + sizeof *host + 63) & ~UINT64_C(63);
    kprintf(host->name, sizeof host->name, "%s", name);
    kprintf(host->node_name, sizeof host->node_name, "%s", name);
    kprintf(host->domain_name, sizeof host->domain_name, "(none)");
    list_init(&host->run_queue);
    list_init(&host->processes);
    list_init(&host->signalfds);
    list_init(&host->fifos);
    list_init(&host->terminals);
    list_init(&host->inotifies);
    list_init(&host->warnings);
    host->rights_fd = -1;
    host->next_pid = 1000;
    host->next_mm = 1;
    host->send_autotune = host->receive_autotune = true;
    host->send_buffer =
        16384; /* net.ipv4.tcp_wmem, tcp_rmem: where streams start; datagram sockets have limits of their own */
    host->receive_buffer = 131072;
    return futex_create(host) || net_create(host) || link_create(host) || fs_create(host) ? NULL : host;
}

struct task *host_start_process(struct host *host, uint32_t config_index, struct exec_request *request, uint32_t user,
                                uint32_t group) {
    struct task *task = process_create(host, NULL, user, group);
    if (!task)
        return NULL;
    struct process *process = task->process;
    process->config_index = config_index;
    for (int fd = 0; fd < 3; fd++) {
        struct file *file = fs_native_file(host, fd == 0 ? 0 /* O_RDONLY */ : 1 | 02000 /* O_WRONLY, O_APPEND */);
        if (!file || fd_table_set(host, process->files, fd, file, fd)) {
            process_abandon(process, WAIT_STATUS_EXIT(127));
            return NULL;
        }
    }
    process_set_program(task, request);
    task->exec = request;
    return task;
}

void warning_add(struct host *host, const char *text) {
    size_t length = strlen(text);
    struct warning *warning = kalloc(host, sizeof *warning + length + 1);
    if (!warning)
        return;
    warning->time = host->now;
    memcpy(warning->text, text, length + 1);
    list_push_back(&host->warnings, &warning->node);
}

bool warning_take(struct host *host, int64_t *time, char *text, size_t capacity) {
    if (list_empty(&host->warnings))
        return false;
    struct warning *warning = list_entry(host->warnings.next, struct warning, node);
    size_t length = KMIN(strlen(warning->text), capacity - 1);
    *time = warning->time;
    memcpy(text, warning->text, length);
    text[length] = '\0';
    list_remove(&warning->node);
    kfree(host, warning);
    return true;
}
