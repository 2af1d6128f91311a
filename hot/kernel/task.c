/* Tasks: the run queue, the turn, sleeping and waking.
 *
 * A task blocks inside its own system call; the turn then goes to the next runnable task of the host, first come first
 * served, and back to the shard once nothing is left to do before the window's end. Waking only queues: nobody loses
 * the turn by waking somebody else.
 */
#include "internal.h"
#include "link.h"

void wait_add(struct wait_queue *queue, struct wait_entry *entry, struct task *task, uint32_t events) {
    entry->owner = task;
    entry->kind = WAIT_TASK;
    entry->events = events;
    entry->exclusive = false;
    list_push_back(&queue->waiters, &entry->node);
    list_push_back(&task->waits, &entry->owner_node);
}

void wait_remove(struct wait_entry *entry) {
    list_remove(&entry->node);
    list_remove(&entry->owner_node);
}

void wake_up(struct host *host, struct wait_queue *queue, uint32_t events) {
    bool exclusive_done = false;
    list_for_each_safe(node, &queue->waiters) {
        struct wait_entry *entry = list_entry(node, struct wait_entry, node);
        if (entry->events && events && !(entry->events & events))
            continue;
        if (entry->exclusive && exclusive_done)
            continue;
        bool woken = true;
        if (entry->kind == WAIT_EPOLL)
            woken = epoll_wake(host, entry, events);
        else
            task_wake(entry->owner);
        exclusive_done |= entry->exclusive && woken;
    }
}

void task_wake(struct task *task) {
    task->woken = true;
    if (task->state != TASK_BLOCKED)
        return;
    task->state = TASK_RUNNABLE;
    list_push_back(&task->host->run_queue, &task->run_node);
}

void task_timer(struct timer *timer) {
    struct task *task = timer->owner;
    task->timed_out = true;
    task_wake(task);
}

struct task *task_next(struct host *host) {
    if (list_empty(&host->run_queue))
        return NULL;
    struct task *task = list_entry(host->run_queue.next, struct task, run_node);
    list_remove(&task->run_node);
    return task;
}

/* The turn leaves `self`; returns when it is back. Where nobody else can run, the host's time passes here. */
static void pass_turn(struct task *self) {
    struct host *host = self->host;
    struct task *next = host_next(host);
    host->current = next;
    host->counters.switches += next != self;
    self->turn_calls = 0;
    platform_switch(host, self, next);
}

int task_block(struct task *task, int64_t deadline) {
    struct host *host = task->host;
    net_run_backlog(host);
    if (task_signal_pending(task))
        return -ERESTARTSYS;
    if (task->woken) {
        task->woken = false;
        return 0;
    }
    if (deadline <= host->now)
        return -ETIMEDOUT;
    task->state = TASK_BLOCKED;
    task->timed_out = false;
    if (deadline != NEVER)
        timer_arm(host, &task->timer, deadline);
    pass_turn(task);
    timer_cancel(host, &task->timer);
    task->woken = false;
    if (task_signal_pending(task))
        return -ERESTARTSYS;
    return task->timed_out ? -ETIMEDOUT : 0;
}

void task_pause(struct task *task) {
    net_run_backlog(task->host);
    task->state = TASK_BLOCKED;
    pass_turn(task);
    task->woken = false;
}

void task_yield(struct task *task) {
    net_run_backlog(task->host);
    if (list_empty(&task->host->run_queue))
        return;
    list_push_back(&task->host->run_queue, &task->run_node);
    pass_turn(task);
}
