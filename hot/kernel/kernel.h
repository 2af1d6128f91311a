/* The simulated kernel: one instance per host, all of its state in the host's arena.
 *
 * A managed thread that makes a system call runs this code itself, inside its own process; the shard runs it for
 * packet input and timers. Exactly one thread of a shard runs at a time (it holds the turn), so nothing here locks.
 * Code that may run in the shard (input, timers, wake-ups) must never touch user memory.
 *
 *   arena.c memory            task.c run queue, turn, wait queues       timer.c timers          rng.c random numbers
 *   file.c descriptors        process.c fork, exec, exit, wait          signal.c signals        futex.c futexes
 *   async.c signals about files
 *   credentials.c capabilities.c users, groups, who may do what
 *   pipe.c eventfd.c timerfd.c epoll.c poll.c unix_socket.c             fs.c real and virtual files
 *   pty.c tty_*.c terminals
 *   socket.c inet*.c ip.c icmp.c udp.c tcp*.c netlink.c packet_*.c the network
 *   syscall.c the table, dispatch, strace
 *   link.c relay.c router.c the access link, and how the host's time passes
 */
#ifndef ANTUMBRA_KERNEL_H
#define ANTUMBRA_KERNEL_H

#include "ip.h"
#include "types.h"

struct host;
struct process;
struct task;
struct file;
struct socket;
struct net;  /* net.h: interfaces, ports, connections */
struct link; /* link.h: the access link */
struct fs;   /* fs.h: virtual inodes and files */
struct futexes;
struct credentials;  /* credentials.h */
struct terminal;     /* tty.h */
struct ipc;          /* ipc.h: System V objects */
struct known_code;   /* shim/rewrite.c */
struct inode;        /* fs_internal.h */
struct file_owner;   /* async.c */
struct locked_range; /* mlock.c */

/* ---- Arena (arena.c): every host has one, a memfd mapped at the same address wherever it is mapped. ---- */

#define ARENA_REGION_BASE UINT64_C(0x200000000000)
#define ARENA_STRIDE (UINT64_C(256) << 20)
#define ARENA_CLASSES 32

struct arena {
    uint64_t end;                   /* first address past the arena */
    uint64_t unused;                /* first address never handed out */
    void *free_list[ARENA_CLASSES]; /* of each size class, most recently freed first */
    uint64_t bytes_in_use;          /* by size class, headers included */
};

/* Zeroed memory of at least `size` bytes, 16-byte aligned; NULL when the arena is full (callers answer -ENOMEM or
 * -ENOBUFS). Small sizes cost little; sizes above 32 KiB are rounded up to a power of two. */
__attribute__((warn_unused_result)) void *kalloc(struct host *host, size_t size);
/* As kalloc, but the bytes are not cleared: for packet data that is overwritten at once. */
__attribute__((warn_unused_result)) void *kalloc_raw(struct host *host, size_t size);
void kfree(struct host *host, void *memory);

/* ---- Random numbers (rng.c): Philox4x32-10 keyed by (seed, host, purpose, counter). ---- */

enum rng_purpose { RNG_HOST_RANDOM = 1, RNG_PACKET_LOSS = 2, RNG_TCP = 3, RNG_KERNEL = 4, RNG_PURPOSES = 5 };
uint64_t rng_at(uint64_t seed, uint32_t entity, uint32_t purpose, uint64_t counter);
uint64_t rng_next(struct host *host, enum rng_purpose purpose);
void rng_fill(struct host *host, enum rng_purpose purpose, void *bytes, size_t length);

/* ---- Timers (timer.c): one binary heap per host, ordered by (when, order of arming). ---- */

enum timer_kind {
    TIMER_NONE,
    TIMER_TASK,    /* owner: struct task, ends its task_block */
    TIMER_TIMERFD, /* owner: struct timerfd */
    TIMER_ITIMER,  /* owner: struct process, ITIMER_REAL and alarm */
    TIMER_POSIX,   /* owner: struct posix_timer */
    TIMER_TCP,     /* owner: struct tcp (the timer's `detail` says which) */
    TIMER_KINDS
};
struct timer {
    int64_t when;      /* ns; meaningful while armed */
    uint64_t sequence; /* order of arming, breaks ties */
    void *owner;
    uint32_t heap_index; /* 1-based place in the heap, 0 = not armed */
    uint8_t kind;
    uint8_t detail;
};
void timer_init(struct timer *timer, enum timer_kind kind, uint8_t detail, void *owner);
/* Arms or re-arms. The heap grows in the arena; when that is full the timer fires at once rather than never. */
void timer_arm(struct host *host, struct timer *timer, int64_t when);
void timer_cancel(struct host *host, struct timer *timer);
static inline bool timer_armed(const struct timer *timer) { return timer->heap_index != 0; }
int64_t timer_next(const struct host *host); /* NEVER if none */
void timers_run(struct host *host);          /* fires everything due at host->now */

/* ---- Wait queues and the turn (task.c) ---- */

enum wait_kind { WAIT_TASK, WAIT_EPOLL };
struct wait_queue {
    struct list waiters;
};
/* One interest in one queue. Lives in the arena, for another process or the shard may follow it. */
struct wait_entry {
    struct list node;
    struct list owner_node; /* in task->waits, so that a task that dies is forgotten everywhere */
    void *owner;            /* struct task, or struct epoll_item */
    uint32_t events;        /* POLL* bits that wake it; 0 = any */
    uint8_t kind;
    bool exclusive; /* at most one exclusive task is woken by wake_up */
};
static inline void wait_queue_init(struct wait_queue *queue) { list_init(&queue->waiters); }
void wait_add(struct wait_queue *queue, struct wait_entry *entry, struct task *task, uint32_t events);
void wait_remove(struct wait_entry *entry);
/* Tells every interested waiter that `events` (POLL* bits) may hold now. */
void wake_up(struct host *host, struct wait_queue *queue, uint32_t events);

/* Sleeps until task_wake, a deliverable signal or `deadline` (ns, NEVER for none; a deadline that has passed does not
 * block). The turn goes to the next runnable task of the host or back to the shard.
 * Returns 0 (woken, perhaps for nothing: check again), -ETIMEDOUT or -ERESTARTSYS. */
__attribute__((warn_unused_result)) int task_block(struct task *task, int64_t deadline);
void task_wake(struct task *task);                 /* makes a blocked task runnable; harmless otherwise */
void task_pause(struct task *task);                /* sleeps until task_wake, signals or not */
void task_yield(struct task *task);                /* to the back of the run queue */
bool task_signal_pending(const struct task *task); /* something unblocked is pending: go back to user mode */

/* ---- Tasks, processes, hosts ---- */

enum task_state { TASK_RUNNABLE, TASK_BLOCKED, TASK_DEAD };

#define SIGNAL_COUNT 64
struct signal_info { /* the first 128 bytes of siginfo_t as Linux lays it out */
    int32_t signo, error, code, padding;
    union {
        struct {
            int32_t pid, uid;
            int32_t status;
            int32_t padding;
            int64_t utime, stime;
        } child; /* also kill and queue: pid, uid; then value */
        struct {
            int32_t pid, uid;
            uint64_t value;
        } queue;
        struct {
            int32_t timer_id, overrun;
            uint64_t value;
        } timer;
        struct {
            uint64_t address;
        } fault;
        struct {
            int64_t band;
            int32_t fd;
        } file; /* of O_ASYNC */
        uint8_t bytes[112];
    } u;
};
struct signal_queue {
    uint64_t set;        /* bit signo-1 */
    struct list entries; /* struct queued_signal, in order of arrival */
};
struct signal_action { /* struct kernel_sigaction */
    uint64_t handler, flags, restorer, mask;
};

/* What scheduling.c keeps of a task; all zero is what a process starts with. */
struct scheduling {
    int32_t policy, nice;
    int32_t priority; /* 1 to 99 for those of real time, else 0 */
    uint16_t io_priority;
    bool reset_on_fork;
};

struct task {
    struct list run_node;     /* in host->run_queue while runnable and not running */
    struct list process_node; /* in process->tasks */
    struct list waits;        /* of wait_entry.owner_node */
    struct host *host;
    struct process *process;
    int32_t tid;
    uint32_t state;
    uint32_t turn; /* futex word: 1 = run. Non-private futex, the shard wakes it too */
    bool woken, timed_out;
    struct timer timer;     /* TIMER_TASK: the deadline of task_block */
    struct wait_entry wait; /* for waits on a single queue */
    void *scratch;          /* kalloc'ed memory of a call in progress, freed if the task dies */
    struct file *held[2]; /* kept open by a call that sleeps on them: file_drop_held at its end, or if the task dies */
    int32_t lock_holder;  /* process whose record lock it sleeps for, when last looked at; 0: none */
    int32_t native_fd;    /* behind the descriptor that read, write, ioctl ... were called with; else -1 */
    /* signals */
    uint64_t signal_mask, saved_mask;
    uint64_t awaited_signals; /* by sigtimedwait: they end its sleep, though they stay blocked */
    bool restore_mask;        /* sigsuspend, ppoll, ...: saved_mask comes back after the handler's frame is built */
    struct signal_queue signals;
    uint64_t altstack_base, altstack_size;
    int32_t altstack_flags;
    /* threads */
    uint64_t set_child_tid, clear_child_tid, robust_list, robust_list_length;
    struct list futex_node;
    void *futex_bucket;
    uint64_t futex_key[2];
    uint32_t futex_bitset;
    struct task *vfork_parent; /* is blocked until this task's process execs or exits */
    bool dying;                /* must end instead of returning to user mode: exec or exit_group by another thread */
    int64_t restart_deadline;  /* of a call with a relative time-out that goes on after a stop; 0 = none */
    uint64_t user_stack;       /* the program's stack pointer at a FRAME call */
    struct exec_request *exec; /* between execve and the new program's start */
    struct credentials *credentials;
    char comm[16];
    struct scheduling scheduling;
    uint64_t timer_slack; /* ns; kept and shown */
    uint32_t native_tid;
    /* accounting */
    uint32_t idle_calls;   /* calls that only looked, in one instant: spin detection */
    uint64_t questions[4]; /* what it asked last, and was answered (syscall.c) */
    uint32_t next_question;
    uint32_t turn_calls; /* calls since it last slept or yielded */
    int64_t cpu_ns;      /* modelled CPU time not yet applied */
    int64_t cpu_total_ns;
    uint64_t calls;
    uint32_t in_call;   /* the system call being served, for messages about hangs */
    uint64_t call_site; /* address after the calling instruction */
};

/* A program that is about to be started: kalloc'ed, taken over and freed by the new program's shim. */
struct exec_request {
    char path[4096];        /* real absolute path of the program that is to be run, after #! lines */
    char interpreter[4096]; /* real path of what loads it; empty: none, or nobody looked, because the shard starts it */
    char named[4096];       /* as execve was asked for it: AT_EXECFN, and where the command name comes from */
    bool by_descriptor;     /* execveat of a descriptor: its file gives the command name */
    uint32_t argument_count, environment_count;
    uint32_t bytes; /* of `strings` */
    char strings[]; /* argument_count + environment_count NUL-terminated strings */
};

struct fd_entry {
    struct file *file;
    int32_t native_fd; /* the real descriptor behind a FILE_NATIVE, in every process that inherited it; else -1 */
    bool close_on_exec;
};
struct fd_table {
    uint32_t references;
    uint32_t capacity;
    uint32_t lowest; /* every number below is in use */
    struct fd_entry *entries;
};

struct process {
    struct list host_node; /* in host->processes */
    struct list tasks;
    struct list children; /* of sibling_node: live and zombie */
    struct list sibling_node;
    struct process *parent; /* NULL: the shard started it, or its parent is gone */
    struct host *host;
    int32_t pid, process_group, session;
    struct terminal *terminal; /* of its session, if that has one and the process did not give it up */
    int32_t lost_foreground;   /* of a leader whose terminal was hung up: who was in its foreground */
    uint32_t native_pid;
    uint32_t config_index; /* which configured process started this tree; UINT32_MAX = none (a descendant) */
    struct fd_table *files;
    uint64_t mm; /* identity of the address space, for private futexes */
    uint32_t umask;
    uint32_t personality; /* as asked for; addresses are the same in every run, whatever it says */
    char *root;           /* kalloc'ed absolute name after chroot; NULL = "/" */
    uint64_t brk_start, brk, brk_limit;
    struct signal_action *actions; /* [SIGNAL_COUNT], shared with CLONE_SIGHAND */
    struct signal_queue signals;
    struct wait_queue child_wait; /* wait4 sleeps here */
    struct wait_queue exit_wait;  /* an execve that waits to be the only thread */
    struct list pidfds;           /* struct pidfd: woken when it ends */
    struct timer itimer;
    int64_t itimer_interval;
    struct cpu_itimer { /* ITIMER_VIRTUAL, ITIMER_PROF: ns of CPU time; when 0 = off */
        int64_t when, interval;
    } cpu_itimers[2];
    bool cpu_timers; /* something of the process's counts CPU time */
    struct list posix_timers;
    int32_t next_timer_id;
    struct list shared_maps;     /* struct shared_map (mm.c) */
    struct locked_range *locked; /* mlock.c */
    bool lock_future;            /* MCL_FUTURE */
    struct list undos;           /* struct semaphore_undo (sem.c) */
    uint64_t limits[16][2];
    bool zombie;
    bool stopped;             /* job control: no task of it returns to user mode */
    bool executed;            /* it has called execve since its birth: setpgid is not for its parent any more */
    bool continue_unreported; /* SIGCONT came; the parent gets its signal when the first task goes on */
    int32_t stop_report;      /* what stopped it, until a wait has told; 0 = told */
    bool continue_report;     /* it went on, until a wait has told */
    bool dying;               /* exit_status is set; the tasks that are left end when they next run */
    bool dumpable;
    bool no_new_privileges;
    bool secure_execution;           /* AT_SECURE of its program */
    struct credentials *credentials; /* of a zombie: its last thread's; else NULL */
    bool subreaper;                  /* orphans of its descendants become its children */
    int32_t parent_death_signal;     /* 0 = none */
    int32_t exit_status;             /* as wait4 gives it */
    int32_t exit_signal;             /* to the parent, SIGCHLD usually */
    int32_t strace_fd;               /* native descriptor in the process, -1 = off */
    char *executable;                /* kalloc'ed path, for /proc/self/exe */
    uint32_t *program_users;         /* processes that run the program since one execve: they hold its file open */
    struct inode *program;           /* the program's file, which nobody writes meanwhile; NULL: not known */
    char *command_line;              /* kalloc'ed, NUL separated, command_line_length bytes */
    uint32_t command_line_length;
    char *environment; /* as it was at the program's start, for /proc/self/environ */
    uint32_t environment_length;
    int64_t start_time;
    int64_t ended_cpu_ns;    /* modelled CPU time of its threads that have ended */
    int64_t children_cpu_ns; /* of the children that were waited for, and of theirs */
};

enum strace_mode { STRACE_OFF, STRACE_STANDARD, STRACE_DETERMINISTIC };

struct host_counters {
    uint64_t events, calls, native_calls, unsupported_calls, switches, forks, execs, threads;
    uint64_t packets_sent, packets_received, packets_dropped_no_socket, packets_dropped_buffer, packets_malformed;
    uint64_t bytes_sent, bytes_received, tcp_retransmissions, spins_detected;
};

#define KERNEL_ABI_VERSION 1
#define HOST_NAME_MAX 64
#define NODE_NAME_MAX 64
#define HOST_PATH_MAX 512
#define REAL_NAMES_MAX 1024
struct host {
    uint32_t abi_version;
    uint32_t id; /* HostId */
    uint64_t seed;
    int64_t now;   /* ns since the start of the simulation */
    int64_t limit; /* the host's own events before this may be executed by whoever has the turn */
    uint64_t rng_counter[RNG_PURPOSES];
    struct arena arena;
    uint32_t address; /* IPv4, host byte order */
    struct ip_address address6;
    uint32_t owner_user, owner_group; /* of the files that its directory held before the run */
    char name[HOST_NAME_MAX];
    char node_name[NODE_NAME_MAX + 1],
        domain_name[NODE_NAME_MAX + 1]; /* as uname tells: `name`, until a program sets it */
    char directory[HOST_PATH_MAX];      /* real path of the host's own directory */
    char hosts_file[HOST_PATH_MAX];     /* real path of the generated /etc/hosts and its siblings' directory */
    char real_names[REAL_NAMES_MAX];    /* of what is real below directories of its own, each ended by a 0, then a 0 */
    /* scheduler */
    struct list run_queue;
    struct task *current; /* holds the turn; NULL = the shard */
    bool in_kernel;       /* whoever has the turn is inside the kernel: dying there leaves things half done */
    uint32_t shard_turn;  /* futex word */
    struct list processes;
    struct list signalfds; /* struct signalfd: woken when a signal arrives */
    struct list fifos;     /* struct pipe: those with a name that are open */
    struct list terminals; /* struct terminal: those that are open */
    struct list inotifies; /* struct inotify: told what happens to files */
    uint32_t inotify_cookie;
    int32_t next_pid;
    uint64_t next_mm;
    /* timers */
    struct timer **timer_heap; /* 1-based */
    uint32_t timer_count, timer_capacity;
    uint64_t timer_sequence;
    /* subsystems */
    struct net *net;
    struct link *link;
    struct fs *fs;
    struct futexes *futexes;
    struct ipc *ipc; /* NULL until it is used */
    /* options */
    uint32_t strace_mode;
    bool model_cpu; /* deterministic CPU-cost model */
    int64_t call_cost_ns, max_unapplied_cpu_ns;
    int64_t calls_until;                  /* when its calls would have ended if each took some time (syscall.c) */
    uint32_t send_buffer, receive_buffer; /* defaults for sockets, bytes */
    bool send_autotune, receive_autotune;
    bool round_robin;  /* sockets take turns at the uplink, a packet each */
    int32_t rights_fd; /* real descriptor, in every process: a datagram socket connected to itself (rights.c) */
    struct host_counters counters;
    uint64_t warned_calls[8];      /* unsupported calls that the log has heard of, by number */
    struct list warnings;          /* struct warning, taken by the shard */
    struct known_code *known_code; /* the shim's: where files make system calls (shim/rewrite.c) */
};

/* A line for the run's log, kept in the arena until the shard takes it. */
struct warning {
    struct list node;
    int64_t time;
    char text[];
};
void warning_add(struct host *host, const char *text);
/* Takes the first; false: there is none. Cuts the text to the capacity. */
bool warning_take(struct host *host, int64_t *time, char *text, size_t capacity);

/* Builds the table entry of a program that the shard starts: descriptors 0, 1, 2 are native, its number is
 * `config_index`. The task is runnable but in no queue. NULL: no memory. */
__attribute__((warn_unused_result)) struct task *host_start_process(struct host *host, uint32_t config_index,
                                                                    struct exec_request *request, uint32_t user,
                                                                    uint32_t group);

/* Lays a fresh kernel out in a zeroed arena at `base`; returns the host, which is at `base`. */
struct host *host_create(void *base, uint64_t size, uint32_t id, uint64_t seed, const char *name, uint32_t address,
                         struct ip_address address6);

/* ---- Files (file.c): open file descriptions of every kind ---- */

enum file_kind {
    FILE_NATIVE,  /* a real file below the host's directory or elsewhere: fs.c */
    FILE_VIRTUAL, /* generated bytes: /proc, /sys, /dev/urandom: fs.c */
    FILE_PIPE,
    FILE_EVENTFD,
    FILE_TIMERFD,
    FILE_SIGNALFD,
    FILE_EPOLL,
    FILE_SOCKET_INET, /* UDP and TCP: socket.c */
    FILE_SOCKET_UNIX,
    FILE_SOCKET_NETLINK,
    FILE_SOCKET_PACKET,
    FILE_PIDFD,
    FILE_INOTIFY,
    FILE_TERMINAL, /* either end: pty.c */
    FILE_KINDS
};
struct file {
    uint32_t references;
    uint8_t kind;
    uint32_t flags;           /* O_ACCMODE and the status flags O_NONBLOCK, O_APPEND, ... */
    struct wait_queue wait;   /* who polls or sleeps on it */
    struct list watches;      /* struct epoll_item.file_node: dropped when the description goes */
    void *object;             /* what `kind` says */
    uint32_t user, group;     /* who made it, as fstat shows of what is no real file */
    int64_t position;         /* of FILE_VIRTUAL */
    struct file_owner *owner; /* who gets signals about it (async.c); NULL: nobody was ever named */
};

/* User memory as readv and writev name it. */
#define MAX_SEGMENTS 1024u /* of a vector: UIO_MAXIOV */
struct user_iovec {
    uint64_t base, length;
};
struct uio {
    const struct user_iovec *segments; /* in kernel or user-copied memory */
    size_t count;
    size_t index, offset; /* next byte: segment, offset inside */
    size_t remaining;
};
void uio_init(struct uio *uio, const struct user_iovec *segments, size_t count);
/* Copy and advance; at most uio->remaining. 0 or -EFAULT (then nothing is advanced). */
__attribute__((warn_unused_result)) int uio_copy_out(struct uio *uio, const void *source, size_t length);
__attribute__((warn_unused_result)) int uio_copy_in(struct uio *uio, void *destination, size_t length);
void uio_advance(struct uio *uio, size_t length);

/* What a kind of file can do. All of these are non-blocking: they answer -EAGAIN and the generic layer (file.c)
 * sleeps on file->wait until poll() says that trying again makes sense. NULL: -EINVAL (poll: always ready). */
struct file_operations {
    const char *name; /* as /proc/self/fd shows it: "socket", "pipe", "anon_inode:[eventpoll]" */
    bool stream;      /* a blocking write goes on until everything is taken */
    int64_t (*read)(struct task *task, struct file *file, struct uio *to, const int64_t *position);
    int64_t (*write)(struct task *task, struct file *file, struct uio *from, const int64_t *position);
    uint32_t (*poll)(struct file *file); /* POLL* bits that hold now; no user memory, the shard may ask */
    void (*release)(struct host *host, struct file *file); /* the last reference went; frees the object */
    int64_t (*ioctl)(struct task *task, struct file *file, uint32_t command, uint64_t argument);
};
extern const struct file_operations *const file_operations_of[FILE_KINDS];
static inline const struct file_operations *file_operations(const struct file *file) {
    return file_operations_of[file->kind];
}
extern const struct file_operations native_operations, virtual_operations, pipe_operations, eventfd_operations,
    timerfd_operations, signalfd_operations, epoll_operations, inet_operations, unix_operations, netlink_operations,
    packet_operations, pidfd_operations, inotify_operations, terminal_operations;

__attribute__((warn_unused_result)) struct file *file_create(struct host *host, enum file_kind kind, uint32_t flags,
                                                             void *object); /* one reference; NULL: no memory */
void file_get(struct file *file);
void file_put(struct host *host, struct file *file);
uint32_t file_poll(struct file *file);
/* Sleeps until file_poll(file) & (events | POLLERR | POLLHUP). 0, -EAGAIN if O_NONBLOCK or `nonblocking`,
 * -ETIMEDOUT, -ERESTARTSYS. Use it in a loop around the non-blocking attempt. The file is held until the call's end:
 * another thread may close the descriptor meanwhile. */
__attribute__((warn_unused_result)) int file_wait(struct task *task, struct file *file, uint32_t events,
                                                  bool nonblocking, int64_t deadline);
/* Sleeps until one of `events` may hold, after an attempt that found nothing, whatever poll() says: an error in a queue
 * of its own ends no wait for data. 0, -ETIMEDOUT, -ERESTARTSYS; what came together with a signal is taken first. */
__attribute__((warn_unused_result)) int file_sleep(struct task *task, struct file *file, uint32_t events,
                                                   int64_t deadline);
void file_hold(struct task *task, struct file *file);
/* After an attempt to read or write that answered -EAGAIN, of a transfer that began at `start`: sleeps as file_read and
 * file_write do. 0, -EAGAIN (the socket's time-out), -EINTR, -ERESTARTSYS. */
__attribute__((warn_unused_result)) int file_sleep_transfer(struct task *task, struct file *file, bool writing,
                                                            int64_t start);
/* At the end of every system call, and when a task dies. */
void file_drop_held(struct task *task);
int64_t file_read(struct task *task, struct file *file, struct uio *to, const int64_t *position);
int64_t file_write(struct task *task, struct file *file, struct uio *from, const int64_t *position);

/* Descriptors of the task's process. */
struct file *fd_file(struct task *task, int fd);      /* borrowed; NULL: EBADF */
struct fd_entry *fd_entry(struct task *task, int fd); /* NULL: EBADF */
/* Lowest free number >= minimum; takes over the caller's reference, also on failure. -EMFILE, -ENOMEM. */
__attribute__((warn_unused_result)) int fd_install(struct task *task, struct file *file, int minimum,
                                                   bool close_on_exec, int native_fd);
int fd_close(struct task *task, int fd);

/* ---- User memory and the outside (supplied by the shim, by the engine, by the test harness) ---- */

/* 0 or -EFAULT. */
__attribute__((warn_unused_result)) int copy_from_user(void *destination, uint64_t source, size_t length);
__attribute__((warn_unused_result)) int copy_to_user(uint64_t destination, const void *source, size_t length);
/* Length without the NUL, -EFAULT, or -ENAMETOOLONG. */
__attribute__((warn_unused_result)) int64_t string_from_user(char *destination, uint64_t source, size_t capacity);

/* A table of the names of the run's hosts (dns.c), to be read and given back; NULL: there is none. */
const void *platform_map_table(const struct host *host, const char *table, size_t *size);
void platform_unmap_table(const void *bytes, size_t size);
/* A real system call of the process that runs this code. -errno on failure. */
int64_t platform_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
/* Gives the turn to `next` (NULL: the shard) and sleeps until `self` has it again; returns at once if next == self. */
void platform_switch(struct host *host, struct task *self, struct task *next);
/* Starts the real thread or process behind `child`, which sleeps until it has the turn and then goes on after the
 * caller's system call with result 0. Returns its real id, or -errno. */
struct clone_request {
    uint64_t flags, stack, stack_size, parent_tid, child_tid, tls;
    int exit_signal;
    uint64_t pidfd;
};
__attribute__((warn_unused_result)) int64_t platform_clone(struct task *parent, struct task *child,
                                                           const struct clone_request *request);
/* Replaces the program by the one that task->exec names. Does not return. */
__attribute__((noreturn)) void platform_exec(struct task *task);
/* Ends the real thread, or with `whole_process` the real process, after handing the turn to `next` (NULL: the shard).
 */
__attribute__((noreturn)) void platform_exit(struct host *host, struct task *next, bool whole_process);
/* A line for the run's log: something the kernel could not do, with the caller where `task` is not NULL. */
void platform_warn(struct host *host, struct task *task, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* printf for %s %c %d %u %x %p with l and ll, width and zero padding; returns the length it would have. */
int kprintf(char *buffer, size_t capacity, const char *format, ...) __attribute__((format(printf, 3, 4)));
int kvprintf(char *buffer, size_t capacity, const char *format, __builtin_va_list arguments);

/* ---- Signals (signal.c) ---- */
int signal_send_process(struct process *process, int signo, const struct signal_info *info);
int signal_send_task(struct task *task, int signo, const struct signal_info *info);

#endif
