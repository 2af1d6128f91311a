/* Signals: sending, masks, what happens when a task returns to user mode. */
#ifndef ANTUMBRA_KERNEL_SIGNAL_H
#define ANTUMBRA_KERNEL_SIGNAL_H

#include "kernel.h"

#define KSIGHUP 1
#define KSIGINT 2
#define KSIGQUIT 3
#define KSIGILL 4
#define KSIGTRAP 5
#define KSIGABRT 6
#define KSIGBUS 7
#define KSIGFPE 8
#define KSIGKILL 9
#define KSIGSEGV 11
#define KSIGPIPE 13
#define KSIGALRM 14
#define KSIGTERM 15
#define KSIGCHLD 17
#define KSIGCONT 18
#define KSIGSTOP 19
#define KSIGTSTP 20
#define KSIGTTIN 21
#define KSIGTTOU 22
#define KSIGURG 23
#define KSIGXCPU 24
#define KSIGXFSZ 25
#define KSIGVTALRM 26
#define KSIGPROF 27
#define KSIGWINCH 28
#define KSIGIO 29
#define KSIGSYS 31
#define KSIGRTMIN 32

#define KSIG_DFL 0
#define KSIG_IGN 1
#define KSA_NOCLDSTOP 0x1u
#define KSA_NOCLDWAIT 0x2u
#define KSA_SIGINFO 0x4u
#define KSA_ONSTACK 0x08000000u
#define KSA_RESTART 0x10000000u
#define KSA_NODEFER 0x40000000u
#define KSA_RESETHAND 0x80000000u
#define KSA_RESTORER 0x04000000u
#define KSS_ONSTACK 1
#define KSS_DISABLE 2
#define KSS_AUTODISARM ((int)0x80000000)

/* si_code: who sent it. */
#define SIGNAL_OF_TIMER (-2)  /* SI_TIMER */
#define SIGNAL_OF_KERNEL 0x80 /* SI_KERNEL */

/* si_code of SIGCHLD, and what waitid gives. */
#define CHILD_EXITED 1
#define CHILD_KILLED 2
#define CHILD_DUMPED 3
#define CHILD_STOPPED 5
#define CHILD_CONTINUED 6

static inline uint64_t signal_bit(int signo) { return UINT64_C(1) << (signo - 1); }
#define UNBLOCKABLE (signal_bit(KSIGKILL) | signal_bit(KSIGSTOP))
/* A mask that no program can set: the task sleeps until what it waits for comes, or SIGKILL. */
#define UNINTERRUPTIBLE (~UINT64_C(0))

struct signal_delivery {
    int signo;
    struct signal_info info;
    struct signal_action action;
    uint64_t saved_mask; /* goes into the frame: the mask that sigreturn brings back */
};

void signal_queue_init(struct signal_queue *queue);
void signal_queue_clear(struct host *host, struct signal_queue *queue);
/* The next handler to run before the task goes back to user mode: true, with the mask already changed. A fatal signal
 * ends the task here. */
bool signal_next(struct task *task, struct signal_delivery *delivery);
/* A fault of the task's own instruction: delivered even if blocked or ignored (then fatal), as the kernel forces it. */
void signal_force(struct task *task, int signo, const struct signal_info *info);
void signal_set_mask(struct task *task, uint64_t mask);
/* Whether it claims to come from kill, tgkill or the kernel: such a signal may be sent to oneself only. */
static inline bool signal_is_forged(const struct signal_info *info) {
    return info->code >= 0 || info->code == -6 /* SI_TKILL */;
}
/* RLIMIT_SIGPENDING: nothing more can be queued for the process. */
bool signal_limit_reached(const struct process *process);
/* Whether a stack pointer is on the task's alternate stack. */
bool signal_on_altstack(const struct task *task, uint64_t stack);
void signal_clear_handlers(struct process *process); /* handlers become defaults, what is ignored stays so */
void signal_exec(struct process *process);           /* the same, and POSIX timers go */
/* Whether nobody of its session outside of its group could continue it: stops of a terminal are not for it. */
bool signal_group_orphaned(const struct process *process);
void signal_send_group(struct host *host, int32_t group, int signo); /* of the kernel */
/* A stopped process has lost its parent: if nobody of its session can continue its group now, the group is told. */
void signal_orphaned(struct process *process);
void signal_process_release(struct process *process); /* timers and queues go */

/* itimer.c */
void posix_timer_taken(struct process *process, struct signal_info *info); /* the signal of a timer is delivered */
void itimer_taken(struct process *process); /* SIGALRM is delivered: the next interval starts, as in Linux */
void posix_timers_discarded(struct process *process, uint64_t set); /* the signals of `set` were forgotten */
void posix_timers_free(struct process *process);
void signal_cpu_time(struct process *process); /* CPU time was charged: what counts it may expire */

#endif
