/* Credentials: the calls that read and change users and groups, what a program's start changes, and the checks.
 *
 * As Linux has them (credentials(7), capabilities(7), kernel/sys.c, security/commoncap.c): each thread has its own, and
 * libc makes a change of one a change of all. There is one user namespace.
 */
#include "credentials.h"
#include "signal.h"
#include "syscalls.h"

#include <linux/capability.h>
#include <linux/securebits.h>

#define KEEP UINT32_MAX /* -1: leave this id as it is */
#define GROUPS_MAX 65536u
/* What the file system's user id alone decides (CAP_FS_SET of Linux). */
#define FILE_CAPABILITIES                                                                                              \
    (CAPABILITY_BIT(CAP_CHOWN) | CAPABILITY_BIT(CAP_MKNOD) | CAPABILITY_BIT(CAP_DAC_OVERRIDE) |                        \
     CAPABILITY_BIT(CAP_DAC_READ_SEARCH) | CAPABILITY_BIT(CAP_FOWNER) | CAPABILITY_BIT(CAP_FSETID) |                   \
     CAPABILITY_BIT(CAP_LINUX_IMMUTABLE) | CAPABILITY_BIT(CAP_MAC_OVERRIDE))

/* ---- Sharing ---- */

static struct credentials *allocate(struct host *host, uint32_t group_count) {
    struct credentials *credentials = kalloc(host, sizeof *credentials + group_count * sizeof(uint32_t));
    if (credentials) {
        credentials->references = 1;
        credentials->group_count = group_count;
    }
    return credentials;
}

struct credentials *credentials_create(struct host *host, uint32_t user, uint32_t group) {
    struct credentials *credentials = allocate(host, 1);
    if (!credentials)
        return NULL;
    credentials->user = (struct identity){user, user, user, user};
    credentials->group = (struct identity){group, group, group, group};
    credentials->groups[0] = group;
    credentials->bounding = ALL_CAPABILITIES;
    if (user == 0)
        credentials->permitted = credentials->effective = ALL_CAPABILITIES;
    return credentials;
}

struct credentials *credentials_get(struct credentials *credentials) {
    credentials->references++;
    return credentials;
}

void credentials_put(struct host *host, struct credentials *credentials) {
    if (credentials && --credentials->references == 0)
        kfree(host, credentials);
}

const struct credentials *credentials_of(const struct process *process) {
    if (list_empty(&process->tasks))
        return process->credentials;
    return list_entry(process->tasks.next, const struct task, process_node)->credentials;
}

/* A copy for the task to change, with room for `group_count` groups; the groups are copied if they are as many. */
static struct credentials *prepare(const struct task *task, uint32_t group_count) {
    const struct credentials *old = task->credentials;
    struct credentials *new = allocate(task->host, group_count);
    if (!new)
        return NULL;
    bool same = group_count == old->group_count;
    memcpy(new, old, sizeof *new + (same ? group_count * sizeof(uint32_t) : 0));
    new->references = 1;
    new->group_count = group_count;
    return new;
}

struct credentials *credentials_copy(const struct task *task) { return prepare(task, task->credentials->group_count); }

void credentials_commit(struct task *task, struct credentials *new) {
    struct credentials *old = task->credentials;
    struct process *process = task->process;
    if (old->user.effective != new->user.effective || old->group.effective != new->group.effective ||
        old->user.filesystem != new->user.filesystem || old->group.filesystem != new->group.filesystem ||
        (new->permitted & ~old->permitted)) {
        process->dumpable = false;
        process->parent_death_signal = 0;
    }
    task->credentials = new;
    credentials_put(task->host, old);
}

/* ---- Checks ---- */

bool credentials_capable(const struct task *task, unsigned capability) {
    return task->credentials->effective & CAPABILITY_BIT(capability);
}

static bool supplementary(const struct credentials *credentials, uint32_t group) {
    for (uint32_t i = 0; i < credentials->group_count; i++)
        if (credentials->groups[i] == group)
            return true;
    return false;
}

bool credentials_in_group(const struct task *task, uint32_t group) {
    return task->credentials->group.filesystem == group || supplementary(task->credentials, group);
}

bool credentials_in_effective_group(const struct task *task, uint32_t group) {
    return task->credentials->group.effective == group || supplementary(task->credentials, group);
}

bool credentials_permit(const struct task *task, uint32_t mode, uint32_t user, uint32_t group, uint32_t wanted) {
    bool directory = (mode & 0170000u) == 0040000u;
    uint32_t granted = task->credentials->user.filesystem == user ? mode >> 6 & 7
                       : credentials_in_group(task, group)        ? mode >> 3 & 7
                                                                  : mode & 7;
    if (!(wanted & ~granted))
        return true;
    if (!(wanted & 2) && (directory || wanted == 4) && credentials_capable(task, CAP_DAC_READ_SEARCH))
        return true;
    /* Nobody executes what nobody may execute. */
    return credentials_capable(task, CAP_DAC_OVERRIDE) && (!(wanted & 1) || directory || (mode & 0111));
}

bool credentials_may_signal(const struct task *task, const struct process *target, int signo) {
    const struct identity *self = &task->credentials->user, *other = &credentials_of(target)->user;
    if (target == task->process || self->effective == other->saved || self->effective == other->real ||
        self->real == other->saved || self->real == other->real)
        return true;
    return credentials_capable(task, CAP_KILL) || (signo == KSIGCONT && target->session == task->process->session);
}

static bool all_are(const struct identity *identity, uint32_t id) {
    return identity->real == id && identity->effective == id && identity->saved == id;
}

bool credentials_may_inspect(const struct task *task, const struct process *target) {
    const struct credentials *self = task->credentials, *other = credentials_of(target);
    if (target == task->process || credentials_capable(task, CAP_SYS_PTRACE))
        return true;
    return target->dumpable && all_are(&other->user, self->user.filesystem) &&
           all_are(&other->group, self->group.filesystem) && !(other->permitted & ~self->permitted);
}

bool credentials_may_limit(const struct task *task, const struct process *target) {
    const struct credentials *self = task->credentials, *other = credentials_of(target);
    return target == task->process || credentials_capable(task, CAP_SYS_RESOURCE) ||
           (all_are(&other->user, self->user.real) && all_are(&other->group, self->group.real));
}

bool credentials_may_schedule(const struct task *task, const struct process *target) {
    const struct identity *self = &task->credentials->user, *other = &credentials_of(target)->user;
    return self->effective == other->real || self->effective == other->effective ||
           credentials_capable(task, CAP_SYS_NICE);
}

/* ---- Reading ids ---- */

int64_t sys_getuid(struct task *task, const uint64_t *a) {
    (void)a;
    return task->credentials->user.real;
}

int64_t sys_geteuid(struct task *task, const uint64_t *a) {
    (void)a;
    return task->credentials->user.effective;
}

int64_t sys_getgid(struct task *task, const uint64_t *a) {
    (void)a;
    return task->credentials->group.real;
}

int64_t sys_getegid(struct task *task, const uint64_t *a) {
    (void)a;
    return task->credentials->group.effective;
}

static int64_t give_three(const struct identity *identity, const uint64_t *a) {
    if (copy_to_user(a[0], &identity->real, sizeof identity->real) ||
        copy_to_user(a[1], &identity->effective, sizeof identity->effective) ||
        copy_to_user(a[2], &identity->saved, sizeof identity->saved))
        return -EFAULT;
    return 0;
}

int64_t sys_getresuid(struct task *task, const uint64_t *a) { return give_three(&task->credentials->user, a); }

int64_t sys_getresgid(struct task *task, const uint64_t *a) { return give_three(&task->credentials->group, a); }

/* ---- Changing ids: users and groups differ in the capability that lifts the rules, and in what follows ---- */

/* What a change of user ids does to capabilities (cap_emulate_setxuid). */
static void follow_user(const struct credentials *old, struct credentials *new) {
    const struct identity *was = &old->user, *is = &new->user;
    if (new->secure_bits & SECBIT_NO_SETUID_FIXUP)
        return;
    bool was_root = !was->real || !was->effective || !was->saved, is_root = !is->real || !is->effective || !is->saved;
    if (was_root && !is_root) {
        if (!(new->secure_bits & SECBIT_KEEP_CAPS))
            new->permitted = new->effective = 0;
        new->ambient = 0;
    }
    if (!was->effective && is->effective)
        new->effective = 0;
    if (was->effective && !is->effective)
        new->effective = new->permitted;
}

static struct identity *part(struct credentials *credentials, bool group) {
    return group ? &credentials->group : &credentials->user;
}

static int64_t change(struct task *task, bool group, const struct identity *changed) {
    struct credentials *new = credentials_copy(task);
    if (!new)
        return -ENOMEM;
    *part(new, group) = *changed;
    if (!group)
        follow_user(task->credentials, new);
    credentials_commit(task, new);
    return 0;
}

static bool unrestricted(const struct task *task, bool group) {
    return credentials_capable(task, group ? CAP_SETGID : CAP_SETUID);
}

static int64_t set_one(struct task *task, bool group, uint32_t id) {
    struct identity new = *part(task->credentials, group);
    if (id == KEEP)
        return -EINVAL;
    if (unrestricted(task, group))
        new.real = new.saved = id;
    else if (id != new.real && id != new.saved)
        return -EPERM;
    new.effective = new.filesystem = id;
    return change(task, group, &new);
}

static int64_t set_two(struct task *task, bool group, uint32_t real, uint32_t effective) {
    const struct identity old = *part(task->credentials, group);
    struct identity new = old;
    bool free_choice = unrestricted(task, group);
    if (real != KEEP) {
        if (real != old.real && real != old.effective && !free_choice)
            return -EPERM;
        new.real = real;
    }
    if (effective != KEEP) {
        if (effective != old.real && effective != old.effective && effective != old.saved && !free_choice)
            return -EPERM;
        new.effective = effective;
    }
    if (real != KEEP || (effective != KEEP && effective != old.real))
        new.saved = new.effective;
    new.filesystem = new.effective;
    return change(task, group, &new);
}

static int64_t set_three(struct task *task, bool group, const uint64_t *a) {
    const struct identity old = *part(task->credentials, group);
    struct identity new = old;
    uint32_t *const changed[] = {&new.real, &new.effective, &new.saved};
    bool free_choice = unrestricted(task, group);
    for (size_t i = 0; i < ARRAY_LENGTH(changed); i++) {
        uint32_t id = (uint32_t)a[i];
        if (id == KEEP)
            continue;
        if (id != old.real && id != old.effective && id != old.saved && !free_choice)
            return -EPERM;
        *changed[i] = id;
    }
    new.filesystem = new.effective;
    return change(task, group, &new);
}

/* Returns the old one, whether it was changed or not. */
static int64_t set_filesystem(struct task *task, bool group, uint32_t id) {
    const struct identity old = *part(task->credentials, group);
    bool allowed = id == old.real || id == old.effective || id == old.saved || id == old.filesystem;
    struct credentials *new;
    if (id == KEEP || (!allowed && !unrestricted(task, group)) || !(new = credentials_copy(task)))
        return old.filesystem;
    part(new, group)->filesystem = id;
    if (!group && !(new->secure_bits & SECBIT_NO_SETUID_FIXUP)) {
        if (!old.filesystem && id)
            new->effective &= ~FILE_CAPABILITIES;
        else if (old.filesystem && !id)
            new->effective |= FILE_CAPABILITIES & new->permitted;
    }
    credentials_commit(task, new);
    return old.filesystem;
}

int64_t sys_setuid(struct task *task, const uint64_t *a) { return set_one(task, false, (uint32_t)a[0]); }
int64_t sys_setgid(struct task *task, const uint64_t *a) { return set_one(task, true, (uint32_t)a[0]); }

int64_t sys_setreuid(struct task *task, const uint64_t *a) {
    return set_two(task, false, (uint32_t)a[0], (uint32_t)a[1]);
}

int64_t sys_setregid(struct task *task, const uint64_t *a) {
    return set_two(task, true, (uint32_t)a[0], (uint32_t)a[1]);
}

int64_t sys_setresuid(struct task *task, const uint64_t *a) { return set_three(task, false, a); }
int64_t sys_setresgid(struct task *task, const uint64_t *a) { return set_three(task, true, a); }
int64_t sys_setfsuid(struct task *task, const uint64_t *a) { return set_filesystem(task, false, (uint32_t)a[0]); }
int64_t sys_setfsgid(struct task *task, const uint64_t *a) { return set_filesystem(task, true, (uint32_t)a[0]); }

/* ---- Supplementary groups ---- */

int64_t sys_getgroups(struct task *task, const uint64_t *a) {
    const struct credentials *credentials = task->credentials;
    int32_t capacity = (int32_t)a[0];
    uint32_t count = credentials->group_count;
    if (capacity < 0 || (capacity && (uint32_t)capacity < count))
        return -EINVAL;
    if (capacity && count && copy_to_user(a[1], credentials->groups, count * sizeof(uint32_t)))
        return -EFAULT;
    return count;
}

int64_t sys_setgroups(struct task *task, const uint64_t *a) {
    uint32_t count = (uint32_t)a[0];
    if (!credentials_capable(task, CAP_SETGID))
        return -EPERM;
    if (count > GROUPS_MAX)
        return -EINVAL;
    struct credentials *new = prepare(task, count);
    if (!new)
        return -ENOMEM;
    if (count && copy_from_user(new->groups, a[1], count * sizeof(uint32_t))) {
        credentials_put(task->host, new);
        return -EFAULT;
    }
    for (uint32_t i = 1; i < count; i++) {
        uint32_t moving = new->groups[i], at = i;
        for (; at && new->groups[at - 1] > moving; at--)
            new->groups[at] = new->groups[at - 1];
        new->groups[at] = moving;
    }
    credentials_commit(task, new);
    return 0;
}

/* ---- Programs ---- */

#define SET_USER 04000u
#define SET_GROUP 02000u
#define GROUP_EXECUTE 0010u

int credentials_exec(struct task *task, uint32_t mode, uint32_t user, uint32_t group) {
    struct process *process = task->process;
    const struct credentials *old = task->credentials;
    struct credentials *new = credentials_copy(task);
    if (!new)
        return -ENOMEM;
    if (!process->no_new_privileges) {
        if (mode & SET_USER)
            new->user.effective = user;
        if ((mode & (SET_GROUP | GROUP_EXECUTE)) == (SET_GROUP | GROUP_EXECUTE))
            new->group.effective = group;
    }
    bool changed = new->user.effective != old->user.effective || new->group.effective != old->group.effective;
    bool root = !(new->secure_bits & SECBIT_NOROOT), effective_root = root && !new->user.effective;
    if (changed)
        new->ambient = 0;
    new->permitted = new->ambient; /* files have no capabilities of their own here */
    if (effective_root || (root && !new->user.real))
        new->permitted |= new->bounding | new->inheritable;
    new->effective = effective_root ? new->permitted : new->ambient;
    new->user.saved = new->user.filesystem = new->user.effective;
    new->group.saved = new->group.filesystem = new->group.effective;
    new->secure_bits &= ~(uint32_t)SECBIT_KEEP_CAPS;
    process->secure_execution = new->user.real != new->user.effective || new->group.real != new->group.effective;
    if (process->secure_execution)
        process->parent_death_signal = 0;
    int32_t parent_death_signal = process->parent_death_signal;
    credentials_commit(task, new);
    if (!changed) /* capabilities that root has again do not count */
        process->parent_death_signal = parent_death_signal;
    process->dumpable = !process->secure_execution;
    return 0;
}
