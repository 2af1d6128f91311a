/* Capabilities: the calls that read and change the sets of a task (capabilities(7), security/commoncap.c of Linux).
 *
 * credentials.c has what changes of users, and the start of a program, make of them.
 */
#include "credentials.h"
#include "process.h"
#include "syscalls.h"

#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

struct capability_header {
    uint32_t version;
    int32_t pid;
};

/* Words of each set that a version of the interface has; 0: unknown, and the caller is told the newest one. */
static int64_t capability_words(uint64_t user, struct capability_header *header) {
    if (copy_from_user(header, user, sizeof *header))
        return -EFAULT;
    switch (header->version) {
    case _LINUX_CAPABILITY_VERSION_1:
        return _LINUX_CAPABILITY_U32S_1;
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
        return _LINUX_CAPABILITY_U32S_3;
    default:
        header->version = _LINUX_CAPABILITY_VERSION_3;
        return copy_to_user(user, &header->version, sizeof header->version) ? -EFAULT : 0;
    }
}

int64_t sys_capget(struct task *task, const uint64_t *a) {
    struct capability_header header;
    int64_t words = capability_words(a[0], &header);
    if (words <= 0 || !a[1])
        return words < 0 ? words : words == 0 && a[1] ? -EINVAL : 0;
    if (header.pid < 0)
        return -EINVAL;
    const struct task *target = header.pid ? task_find(task->host, header.pid) : task;
    if (!target)
        return -ESRCH;
    const struct credentials *shown = target->credentials;
    uint32_t data[_LINUX_CAPABILITY_U32S_3][3];
    for (int64_t word = 0; word < words; word++) {
        data[word][0] = (uint32_t)(shown->effective >> 32 * word);
        data[word][1] = (uint32_t)(shown->permitted >> 32 * word);
        data[word][2] = (uint32_t)(shown->inheritable >> 32 * word);
    }
    return copy_to_user(a[1], data, (size_t)words * sizeof data[0]);
}

int64_t sys_capset(struct task *task, const uint64_t *a) {
    const struct credentials *old = task->credentials;
    struct capability_header header;
    int64_t words = capability_words(a[0], &header);
    if (words <= 0)
        return words < 0 ? words : -EINVAL;
    if (header.pid && header.pid != task->tid)
        return -EPERM;
    uint32_t data[_LINUX_CAPABILITY_U32S_3][3] = {0};
    if (copy_from_user(data, a[1], (size_t)words * sizeof data[0]))
        return -EFAULT;
    uint64_t effective = (uint64_t)data[1][0] << 32 | data[0][0], permitted = (uint64_t)data[1][1] << 32 | data[0][1],
             inheritable = (uint64_t)data[1][2] << 32 | data[0][2];
    effective &= ALL_CAPABILITIES;
    permitted &= ALL_CAPABILITIES;
    inheritable &= ALL_CAPABILITIES;
    bool any_inheritable = old->effective & CAPABILITY_BIT(CAP_SETPCAP);
    if ((!any_inheritable && (inheritable & ~(old->inheritable | old->permitted))) ||
        (inheritable & ~(old->inheritable | old->bounding)) || (permitted & ~old->permitted) ||
        (effective & ~permitted))
        return -EPERM;
    struct credentials *new = credentials_copy(task);
    if (!new)
        return -ENOMEM;
    new->effective = effective;
    new->permitted = permitted;
    new->inheritable = inheritable;
    new->ambient &= permitted & inheritable;
    credentials_commit(task, new);
    return 0;
}

/* Each lock is the bit above what it locks. */
static int64_t set_secure_bits(struct task *task, uint64_t wanted) {
    const struct credentials *old = task->credentials;
    uint64_t locked = (old->secure_bits & SECURE_ALL_LOCKS) >> 1;
    if ((locked & (old->secure_bits ^ wanted)) || (old->secure_bits & SECURE_ALL_LOCKS & ~wanted) ||
        (wanted & ~(uint64_t)(SECURE_ALL_LOCKS | SECURE_ALL_BITS)) || !credentials_capable(task, CAP_SETPCAP))
        return -EPERM;
    struct credentials *new = credentials_copy(task);
    if (!new)
        return -ENOMEM;
    new->secure_bits = (uint32_t)wanted;
    credentials_commit(task, new);
    return 0;
}

static int64_t keep_capabilities(struct task *task, uint64_t keep) {
    if (keep > 1)
        return -EINVAL;
    if (task->credentials->secure_bits & SECBIT_KEEP_CAPS_LOCKED)
        return -EPERM;
    struct credentials *new = credentials_copy(task);
    if (!new)
        return -ENOMEM;
    new->secure_bits = (new->secure_bits & ~(uint32_t)SECBIT_KEEP_CAPS) | (keep ? SECBIT_KEEP_CAPS : 0u);
    credentials_commit(task, new);
    return 0;
}

static int64_t drop_from_bounding(struct task *task, uint64_t capability) {
    if (!credentials_capable(task, CAP_SETPCAP))
        return -EPERM;
    if (capability > CAP_LAST_CAP)
        return -EINVAL;
    struct credentials *new = credentials_copy(task);
    if (!new)
        return -ENOMEM;
    new->bounding &= ~CAPABILITY_BIT(capability);
    credentials_commit(task, new);
    return 0;
}

static int64_t change_ambient(struct task *task, uint64_t command, uint64_t capability) {
    const struct credentials *old = task->credentials;
    if (command == PR_CAP_AMBIENT_CLEAR_ALL ? capability != 0 : capability > CAP_LAST_CAP)
        return -EINVAL;
    uint64_t bit = CAPABILITY_BIT(capability);
    if (command == PR_CAP_AMBIENT_IS_SET)
        return (old->ambient & bit) != 0;
    if (command != PR_CAP_AMBIENT_RAISE && command != PR_CAP_AMBIENT_LOWER && command != PR_CAP_AMBIENT_CLEAR_ALL)
        return -EINVAL;
    if (command == PR_CAP_AMBIENT_RAISE &&
        (!(old->permitted & old->inheritable & bit) || (old->secure_bits & SECBIT_NO_CAP_AMBIENT_RAISE)))
        return -EPERM;
    struct credentials *new = credentials_copy(task);
    if (!new)
        return -ENOMEM;
    if (command == PR_CAP_AMBIENT_CLEAR_ALL)
        new->ambient = 0;
    else if (command == PR_CAP_AMBIENT_LOWER)
        new->ambient &= ~bit;
    else
        new->ambient |= bit;
    credentials_commit(task, new);
    return 0;
}

int64_t credentials_prctl(struct task *task, const uint64_t *a) {
    const struct credentials *credentials = task->credentials;
    switch ((int)a[0]) {
    case PR_GET_KEEPCAPS:
        return (credentials->secure_bits & SECBIT_KEEP_CAPS) != 0;
    case PR_SET_KEEPCAPS:
        return keep_capabilities(task, a[1]);
    case PR_GET_SECUREBITS:
        return credentials->secure_bits;
    case PR_SET_SECUREBITS:
        return set_secure_bits(task, a[1]);
    case PR_CAPBSET_READ:
        return a[1] <= CAP_LAST_CAP ? (credentials->bounding & CAPABILITY_BIT(a[1])) != 0 : -EINVAL;
    case PR_CAPBSET_DROP:
        return drop_from_bounding(task, a[1]);
    case PR_CAP_AMBIENT:
        return a[3] || a[4] ? -EINVAL : change_ambient(task, a[1], a[2]);
    default:
        return -EINVAL;
    }
}
