/* Credentials: users, groups and capabilities of tasks, and who may do what to whom (credentials.c, capabilities.c).
 *
 * Everything here is about the simulated host. The real processes all belong to whoever runs the simulator, and the
 * real kernel decides by that who reaches a real file.
 */
#ifndef ANTUMBRA_KERNEL_CREDENTIALS_H
#define ANTUMBRA_KERNEL_CREDENTIALS_H

#include "kernel.h"

#include <linux/capability.h>

#define CAPABILITY_BIT(capability) (UINT64_C(1) << (capability))
#define ALL_CAPABILITIES (CAPABILITY_BIT(CAP_LAST_CAP + 1) - 1)

struct identity {
    uint32_t real, effective, saved, filesystem;
};

/* Shared and never changed once a task has them: a call that changes something makes new ones for its task. */
struct credentials {
    uint32_t references;
    struct identity user, group;
    uint64_t inheritable, permitted, effective, bounding, ambient; /* sets of capabilities: bit CAP_* */
    uint32_t secure_bits;
    uint32_t group_count;
    uint32_t groups[]; /* supplementary, ascending */
};

/* Of a first process: `group` is its only supplementary group too. User 0 has all capabilities. NULL: no memory. */
__attribute__((warn_unused_result)) struct credentials *credentials_create(struct host *host, uint32_t user,
                                                                           uint32_t group);
struct credentials *credentials_get(struct credentials *credentials);
void credentials_put(struct host *host, struct credentials *credentials); /* NULL: nothing */
/* Those of the process's first thread, or of its last one if it is a zombie. */
const struct credentials *credentials_of(const struct process *process);

/* For a call that changes something: a copy, with one reference, that the task has once it is committed. Whoever gains
 * or loses something by that is not to be looked at any more by those who could before. NULL: no memory. */
__attribute__((warn_unused_result)) struct credentials *credentials_copy(const struct task *task);
void credentials_commit(struct task *task, struct credentials *credentials);

bool credentials_capable(const struct task *task, unsigned capability); /* CAP_*, <linux/capability.h> */
bool credentials_in_group(const struct task *task, uint32_t group);     /* by the file system's group */
bool credentials_in_effective_group(const struct task *task, uint32_t group);
/* Whether bits of rwx (4, 2, 1) are granted for an object that is not a real file. */
bool credentials_permit(const struct task *task, uint32_t mode, uint32_t user, uint32_t group, uint32_t wanted);
bool credentials_may_signal(const struct task *task, const struct process *target, int signo);
/* What belongs to another process alone: its environment, its memory map, its descriptors (ptrace_may_access). */
bool credentials_may_inspect(const struct task *task, const struct process *target);
bool credentials_may_limit(const struct task *task, const struct process *target);    /* its resource limits */
bool credentials_may_schedule(const struct task *task, const struct process *target); /* its priority */

/* A program starts: what set-user-id and set-group-id bits of its file (`mode`, with its owners) change. 0 or -ENOMEM.
 * Whether libc is to distrust its environment (AT_SECURE) stays in process->secure_execution. */
__attribute__((warn_unused_result)) int credentials_exec(struct task *task, uint32_t mode, uint32_t user,
                                                         uint32_t group);
/* The commands of prctl that are about capabilities; -EINVAL for others (capabilities.c). */
int64_t credentials_prctl(struct task *task, const uint64_t *a);

#endif
