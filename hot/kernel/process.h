/* Processes and threads: birth, program start, death, waiting. */
#ifndef ANTUMBRA_KERNEL_PROCESS_H
#define ANTUMBRA_KERNEL_PROCESS_H

#include "kernel.h"

/* A process with one task, in no run queue yet. files, actions, credentials and mm are fresh; `parent` may be NULL. */
__attribute__((warn_unused_result)) struct task *process_create(struct host *host, struct process *parent,
                                                                uint32_t user, uint32_t group);
/* Ends what the real world has ended (a crash of the process outside of the simulation, the run's end): the shard calls
 * it, nothing of the process runs any more. `status` is as wait4 gives it. */
void process_abandon(struct process *process, int status);
/* Starts the end of the whole process with `status`; its tasks end when they next return to user mode. */
void process_exit_group(struct process *process, int status);
/* The task ends; does not return. */
__attribute__((noreturn)) void task_exit(struct task *task, int code);
int64_t process_cpu_time(const struct process *process); /* ns; time.c */
struct process *process_find(struct host *host, int32_t pid);
/* How a configured process ended, kept for the shard: to programs, init has reaped it. */
static inline bool process_reaped(const struct process *process) { return process->zombie && !process->parent; }
struct task *task_find(struct host *host, int32_t tid);
/* The thread of a process that stands for it in messages and takes its signals first. */
static inline struct task *process_task(struct process *process) {
    return list_empty(&process->tasks) ? NULL : list_entry(process->tasks.next, struct task, process_node);
}
/* Whether code, arguments and environment fit; loads the names into a new exec_request. */
__attribute__((warn_unused_result)) struct exec_request *
exec_request_create(struct host *host, const char *path, const char *const *arguments, uint32_t argument_count,
                    const char *const *environment, uint32_t environment_count);
void process_set_program(struct task *task, const struct exec_request *request);
/* What only a process can find out of the program that it is about to run: which file it is. */
void process_enter_program(struct task *task, const struct exec_request *request);

#define WAIT_STATUS_EXIT(code) (((code) & 0xff) << 8)
#define WAIT_STATUS_SIGNAL(signo) ((signo) & 0x7f)

#endif
