/* System V semaphores: semget, semop, semtimedop, semctl, and what a process's end undoes.
 *
 * Operations of one call happen all at once or not at all. Those that wait are tried, in their order, by whoever
 * changes the set, and are done when their task wakes: nobody takes what another one was waiting for.
 */
#include "fs.h"
#include "internal.h"
#include "ipc.h"
#include "syscalls.h"

#include <linux/sem.h>
#include <linux/time_types.h>

#define SEMAPHORES_MAX 32000 /* kernel.sem: semmsl, semmns, semopm, semmni */
#define ALL_SEMAPHORES_MAX 1024000000
#define OPERATIONS_MAX 500u
#define SETS_MAX 32000
#define VALUE_MAX 32767
#define ADJUST_MAX 32767
#define NO_WAIT 04000 /* IPC_NOWAIT */

struct semaphore {
    int32_t value, last_pid;
};

struct semaphore_set {
    struct ipc_object object;
    struct list undos;         /* struct semaphore_undo.set_node */
    struct wait_queue waiters; /* tasks whose scratch is a struct waiting */
    int64_t operation_time, change_time;
    uint32_t count;
    struct semaphore semaphores[];
};

/* What is added to the semaphores of a set when a process ends. */
struct semaphore_undo {
    struct list process_node, set_node;
    struct semaphore_set *set;
    int16_t adjust[];
};

/* A call that waits. */
struct waiting {
    bool done;
    int result;
    uint32_t blocking; /* which operation cannot be done */
    uint32_t count;
    struct semaphore_undo *undo; /* NULL: it asks for none */
    struct sembuf operations[];
};

static struct semaphore_set *find(struct host *host, uint64_t id) {
    return (struct semaphore_set *)(void *)ipc_find(host, IPC_SEMAPHORES, (int32_t)id);
}

/* ---- Operations ---- */

/* Does all of them, or none: 0, -ERANGE, or -EAGAIN with the operation that has to wait. */
static int attempt(struct semaphore_set *set, const struct sembuf *operations, uint32_t count,
                   struct semaphore_undo *undo, int32_t pid, uint32_t *blocking) {
    uint32_t done = 0;
    int result = 0;
    for (; done < count; done++) {
        const struct sembuf *operation = &operations[done];
        struct semaphore *semaphore = &set->semaphores[operation->sem_num];
        int32_t value = semaphore->value + operation->sem_op;
        if (operation->sem_op ? value < 0 : semaphore->value != 0)
            result = -EAGAIN;
        else if (value > VALUE_MAX)
            result = -ERANGE;
        else if (operation->sem_flg & SEM_UNDO) {
            int32_t adjust = undo->adjust[operation->sem_num] - operation->sem_op;
            if (adjust < -ADJUST_MAX - 1 || adjust > ADJUST_MAX)
                result = -ERANGE;
            else
                undo->adjust[operation->sem_num] = (int16_t)adjust;
        }
        if (result)
            break;
        semaphore->value = value;
    }
    *blocking = done;
    for (uint32_t i = done; result && i-- > 0;) {
        const struct sembuf *operation = &operations[i];
        set->semaphores[operation->sem_num].value -= operation->sem_op;
        if (operation->sem_flg & SEM_UNDO)
            undo->adjust[operation->sem_num] = (int16_t)(undo->adjust[operation->sem_num] + operation->sem_op);
    }
    for (uint32_t i = 0; !result && i < count; i++)
        set->semaphores[operations[i].sem_num].last_pid = pid;
    return result;
}

static void finish(struct task *task, int result) {
    struct waiting *waiting = task->scratch;
    waiting->done = true;
    waiting->result = result;
    wait_remove(&task->wait);
    task_wake(task);
}

/* Semaphores changed: who waits may go on, in order, and what he does may let others. */
static void changed(struct host *host, struct semaphore_set *set) {
    for (bool again = true; again;) {
        again = false;
        list_for_each_safe(node, &set->waiters.waiters) {
            struct task *task = list_entry(node, struct wait_entry, node)->owner;
            struct waiting *waiting = task->scratch;
            int result = attempt(set, waiting->operations, waiting->count, waiting->undo, task->process->pid,
                                 &waiting->blocking);
            if (result == -EAGAIN && !(waiting->operations[waiting->blocking].sem_flg & NO_WAIT))
                continue;
            if (!result)
                set->operation_time = ipc_seconds(host);
            finish(task, result);
            again = !result;
            if (again)
                break;
        }
    }
}

static struct semaphore_undo *undo_of(struct process *process, struct semaphore_set *set) {
    list_for_each(node, &process->undos) {
        struct semaphore_undo *undo = list_entry(node, struct semaphore_undo, process_node);
        if (undo->set == set)
            return undo;
    }
    struct semaphore_undo *undo = kalloc(process->host, sizeof *undo + set->count * sizeof undo->adjust[0]);
    if (!undo)
        return NULL;
    undo->set = set;
    list_push_back(&process->undos, &undo->process_node);
    list_push_back(&set->undos, &undo->set_node);
    return undo;
}

static void undo_free(struct host *host, struct semaphore_undo *undo) {
    list_remove(&undo->process_node);
    list_remove(&undo->set_node);
    kfree(host, undo);
}

void semaphores_undo(struct process *process) {
    struct host *host = process->host;
    while (!list_empty(&process->undos)) {
        struct semaphore_undo *undo = list_entry(process->undos.next, struct semaphore_undo, process_node);
        struct semaphore_set *set = undo->set;
        for (uint32_t i = 0; i < set->count; i++) {
            struct semaphore *semaphore = &set->semaphores[i];
            if (!undo->adjust[i])
                continue;
            semaphore->value = KMIN(KMAX(semaphore->value + undo->adjust[i], 0), VALUE_MAX);
            semaphore->last_pid = process->pid;
        }
        set->operation_time = ipc_seconds(host);
        undo_free(host, undo);
        changed(host, set);
    }
}

/* Sleeps until somebody has done what waits, or has removed the set. */
static int64_t wait_for(struct task *task, struct semaphore_set *set, struct waiting *waiting, int64_t deadline) {
    wait_add(&set->waiters, &task->wait, task, 0);
    while (!waiting->done) {
        int result = task_block(task, deadline);
        if (waiting->done || !result)
            continue;
        wait_remove(&task->wait);
        return result == -ERESTARTSYS ? -EINTR : -EAGAIN; /* never restarted: signal(7) */
    }
    return waiting->result;
}

/* The operations are in `waiting`. */
static int64_t operate(struct task *task, uint64_t id, struct waiting *waiting, int64_t deadline) {
    bool alters = false, undoes = false;
    uint32_t highest = 0;
    for (uint32_t i = 0; i < waiting->count; i++) {
        alters |= waiting->operations[i].sem_op != 0;
        undoes |= (waiting->operations[i].sem_flg & SEM_UNDO) && waiting->operations[i].sem_op;
        highest = KMAX(highest, (uint32_t)waiting->operations[i].sem_num);
    }
    struct semaphore_set *set = find(task->host, id);
    if (!set)
        return -EINVAL;
    if (highest >= set->count)
        return -EFBIG;
    int permitted = ipc_permit(task, &set->object, alters ? IPC_WRITE : IPC_READ);
    if (permitted)
        return permitted;
    if (undoes && !(waiting->undo = undo_of(task->process, set)))
        return -ENOMEM;
    for (uint32_t i = 0; i < waiting->count; i++)
        if (!waiting->operations[i].sem_op) /* nothing to undo */
            waiting->operations[i].sem_flg &= (short)~SEM_UNDO;
    int result =
        attempt(set, waiting->operations, waiting->count, waiting->undo, task->process->pid, &waiting->blocking);
    if (!result) {
        set->operation_time = ipc_seconds(task->host);
        if (alters)
            changed(task->host, set);
    }
    if (result != -EAGAIN || (waiting->operations[waiting->blocking].sem_flg & NO_WAIT))
        return result;
    return wait_for(task, set, waiting, deadline);
}

static int64_t semtimedop(struct task *task, const uint64_t *a, int64_t deadline) {
    uint64_t count = a[2];
    if (!count || (int)a[0] < 0)
        return -EINVAL;
    if (count > OPERATIONS_MAX)
        return -E2BIG;
    struct waiting *waiting = kalloc(task->host, sizeof *waiting + count * sizeof waiting->operations[0]);
    if (!waiting)
        return -ENOMEM;
    waiting->count = (uint32_t)count;
    task->scratch = waiting;
    int64_t result = -EFAULT;
    if (!copy_from_user(waiting->operations, a[1], count * sizeof waiting->operations[0]))
        result = operate(task, a[0], waiting, deadline);
    task->scratch = NULL;
    kfree(task->host, waiting);
    return result;
}

int64_t sys_semop(struct task *task, const uint64_t *a) { return semtimedop(task, a, NEVER); }

int64_t sys_semtimedop(struct task *task, const uint64_t *a) {
    struct __kernel_timespec time;
    int64_t deadline = NEVER;
    if (a[3] && copy_from_user(&time, a[3], sizeof time))
        return -EFAULT;
    int64_t result = a[3] ? deadline_of_timespec(task->host, &time, &deadline) : 0;
    return result ? result : semtimedop(task, a, deadline);
}

/* ---- Sets ---- */

int64_t sys_semget(struct task *task, const uint64_t *a) {
    struct ipc_object *object;
    struct host *host = task->host;
    int32_t key = (int32_t)a[0], count = (int32_t)a[1];
    uint32_t flags = (uint32_t)a[2];
    if (count < 0 || count > SEMAPHORES_MAX)
        return -EINVAL;
    int result = ipc_look_up(task, IPC_SEMAPHORES, key, flags, &object);
    if (result)
        return result;
    if (object) {
        if ((uint32_t)count > ((struct semaphore_set *)(void *)object)->count)
            return -EINVAL;
        result = ipc_permit(task, object, flags);
        return result ? result : object->id;
    }
    if (!count)
        return -EINVAL;
    struct semaphore_set *set = kalloc(host, sizeof *set + (size_t)count * sizeof set->semaphores[0]);
    if (!set)
        return -ENOMEM;
    list_init(&set->undos);
    wait_queue_init(&set->waiters);
    set->count = (uint32_t)count;
    set->change_time = ipc_seconds(host);
    result = ipc_add(task, IPC_SEMAPHORES, key, flags, &set->object);
    if (result) {
        kfree(host, set);
        return result;
    }
    return set->object.id;
}

static void remove(struct host *host, struct semaphore_set *set) {
    while (!list_empty(&set->undos))
        undo_free(host, list_entry(set->undos.next, struct semaphore_undo, set_node));
    while (!list_empty(&set->waiters.waiters))
        finish(list_entry(set->waiters.waiters.next, struct wait_entry, node)->owner, -EIDRM);
    list_remove(&set->object.node);
    kfree(host, set);
}

/* How many tasks wait for a semaphore to grow, or to be zero. */
static int64_t waiting_for(const struct semaphore_set *set, uint32_t number, bool zero) {
    int64_t count = 0;
    list_for_each(node, &set->waiters.waiters) {
        const struct task *task = list_entry(node, struct wait_entry, node)->owner;
        const struct waiting *waiting = task->scratch;
        const struct sembuf *operation = &waiting->operations[waiting->blocking];
        count += operation->sem_num == number && (operation->sem_op == 0) == zero;
    }
    return count;
}

static void set_value(struct task *task, struct semaphore_set *set, uint32_t number, int32_t value) {
    list_for_each(node, &set->undos) list_entry(node, struct semaphore_undo, set_node)->adjust[number] = 0;
    set->semaphores[number] = (struct semaphore){value, task->process->pid};
}

static int64_t get_all(struct task *task, const struct semaphore_set *set, uint64_t user) {
    for (uint32_t i = 0; i < set->count; i++) {
        uint16_t value = (uint16_t)set->semaphores[i].value;
        if (copy_to_user(user + i * sizeof value, &value, sizeof value))
            return -EFAULT;
    }
    (void)task;
    return 0;
}

static int64_t set_all(struct task *task, struct semaphore_set *set, uint64_t user) {
    struct host *host = task->host;
    uint16_t *values = kalloc_raw(host, set->count * sizeof *values);
    if (!values)
        return -ENOMEM;
    int64_t result = copy_from_user(values, user, set->count * sizeof *values) ? -EFAULT : 0;
    for (uint32_t i = 0; !result && i < set->count; i++)
        result = values[i] > VALUE_MAX ? -ERANGE : 0;
    for (uint32_t i = 0; !result && i < set->count; i++)
        set_value(task, set, i, values[i]);
    kfree(host, values);
    if (!result) {
        set->change_time = ipc_seconds(host);
        changed(host, set);
    }
    return result;
}

static int64_t information(struct task *task, int command, uint64_t user) {
    struct host *host = task->host;
    struct seminfo shown = {.semmap = ALL_SEMAPHORES_MAX,
                            .semmni = SETS_MAX,
                            .semmns = ALL_SEMAPHORES_MAX,
                            .semmnu = ALL_SEMAPHORES_MAX,
                            .semmsl = SEMAPHORES_MAX,
                            .semopm = OPERATIONS_MAX,
                            .semume = OPERATIONS_MAX,
                            .semusz = 20,
                            .semvmx = VALUE_MAX,
                            .semaem = ADJUST_MAX};
    if (command == SEM_INFO) {
        shown.semusz = shown.semaem = 0;
        if (host->ipc)
            list_for_each(node, &host->ipc->objects[IPC_SEMAPHORES]) {
                shown.semusz++;
                shown.semaem += (int)list_entry(node, struct semaphore_set, object.node)->count;
            }
    }
    int result = copy_to_user(user, &shown, sizeof shown);
    return result ? result : ipc_last_index(host, IPC_SEMAPHORES);
}

static int64_t status(struct task *task, const struct semaphore_set *set, int command, uint64_t user) {
    struct semid64_ds shown;
    if (!set)
        return -EINVAL;
    int result = command == SEM_STAT_ANY ? 0 : ipc_permit(task, &set->object, IPC_READ);
    if (result)
        return result;
    memset(&shown, 0, sizeof shown);
    ipc_show(&set->object, &shown.sem_perm);
    shown.sem_otime = set->operation_time;
    shown.sem_ctime = set->change_time;
    shown.sem_nsems = set->count;
    result = copy_to_user(user, &shown, sizeof shown);
    return result ? result : command == IPC_STAT ? 0 : set->object.id;
}

/* IPC_SET and IPC_RMID: for the owner. */
static int64_t administer(struct task *task, struct semaphore_set *set, int command, uint64_t user) {
    struct semid64_ds given;
    if (command == IPC_SET && copy_from_user(&given, user, sizeof given))
        return -EFAULT;
    int result = set ? ipc_own(task, &set->object) : -EINVAL;
    if (result)
        return result;
    if (command == IPC_RMID) {
        remove(task->host, set);
        return 0;
    }
    result = ipc_set(&set->object, &given.sem_perm);
    if (!result)
        set->change_time = ipc_seconds(task->host);
    return result;
}

/* The commands on values. */
static int64_t control(struct task *task, struct semaphore_set *set, uint32_t number, int command, uint64_t argument) {
    bool sets = command == SETVAL || command == SETALL, one = command != GETALL && command != SETALL;
    if (!set)
        return -EINVAL;
    if (command == SETVAL && number >= set->count)
        return -EINVAL;
    int permitted = ipc_permit(task, &set->object, sets ? IPC_WRITE : IPC_READ);
    if (permitted)
        return permitted;
    if (one && number >= set->count)
        return -EINVAL;
    switch (command) {
    case GETALL:
        return get_all(task, set, argument);
    case SETALL:
        return set_all(task, set, argument);
    case GETVAL:
        return set->semaphores[number].value;
    case GETPID:
        return set->semaphores[number].last_pid;
    case GETNCNT:
        return waiting_for(set, number, false);
    case GETZCNT:
        return waiting_for(set, number, true);
    default: /* SETVAL */
        set_value(task, set, number, (int32_t)argument);
        set->change_time = ipc_seconds(task->host);
        changed(task->host, set);
        return 0;
    }
}

int64_t sys_semctl(struct task *task, const uint64_t *a) {
    int command = (int)a[2];
    struct semaphore_set *set = find(task->host, a[0]);
    if ((int)a[0] < 0)
        return -EINVAL;
    switch (command) {
    case IPC_INFO:
    case SEM_INFO:
        return information(task, command, a[3]);
    case IPC_STAT:
        return status(task, set, command, a[3]);
    case SEM_STAT:
    case SEM_STAT_ANY:
        return status(task, (struct semaphore_set *)(void *)ipc_at(task->host, IPC_SEMAPHORES, (int)a[0]), command,
                      a[3]);
    case IPC_SET:
    case IPC_RMID:
        return administer(task, set, command, a[3]);
    case SETVAL:
        if ((int32_t)a[3] < 0 || (int32_t)a[3] > VALUE_MAX)
            return -ERANGE;
        return control(task, set, (uint32_t)a[1], command, a[3]);
    case GETALL:
    case SETALL:
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
        return control(task, set, (uint32_t)a[1], command, a[3]);
    default:
        return -EINVAL;
    }
}
