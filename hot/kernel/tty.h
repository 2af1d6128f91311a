/* Pseudo-terminals: what the line discipline, the two ends and job control share.
 *
 *   tty_line.c  the line discipline: what becomes of bytes on their way (Linux: n_tty.c)
 *   tty_jobs.c  sessions, their terminals, the signals that come of them (Linux: tty_jobctrl.c)
 *   pty.c       the two ends as files, their names, ioctl (Linux: pty.c, tty_io.c, tty_ioctl.c)
 */
#ifndef ANTUMBRA_KERNEL_TTY_H
#define ANTUMBRA_KERNEL_TTY_H

#include "kernel.h"

#include <asm/termbits.h>

#define LINE_SIZE 4096u     /* what waits for readers of the terminal; a line has one byte less */
#define OUTPUT_SIZE 8192u   /* what programs may have written before somebody reads it */
#define ECHO_SIZE 8192u     /* what echoes may take beside; further ones are lost */
#define TERMINAL_MAJOR 136u /* of /dev/pts/<n> */
#define TERMINAL_GROUP 5u   /* tty */
#define TERMINAL_MODE 0620u
#define TERMINALS_MAX 4096 /* kernel.pty.max */

struct window_size { /* struct winsize */
    uint16_t rows, columns, width, height;
};

/* What a byte of the input is, beside its value. */
enum mark { MARK_NONE, MARK_LINE, MARK_END };

struct terminal {
    struct list node; /* in host->terminals */
    struct host *host;
    int32_t number;
    struct file *master; /* NULL: it was closed, and the terminal is hung up */
    struct list slaves;  /* struct terminal_end.node */
    bool locked;
    bool left;    /* the last program has closed it: who reads the master gets EIO, until one opens it again */
    bool stopped; /* output: by VSTOP or TCOOFF */
    bool held;    /* by TCOOFF: only TCOON ends it */
    bool packets; /* packet mode: each read of the master begins with a byte of news */
    uint8_t news; /* TIOCPKT_*, for the next read */
    uint32_t user, group, mode;
    struct termios2 settings;
    struct termios fixed; /* what of them nobody may change (TIOCSLCKTRMIOS) */
    struct window_size size;
    int32_t session, foreground; /* 0: none */
    /* Towards programs. Positions count on; canonical_head: behind the last complete line. */
    uint32_t input_head, input_tail, canonical_head;
    bool literal; /* the next byte is one, whatever it means (VLNEXT) */
    uint8_t input[LINE_SIZE];
    uint8_t marks[LINE_SIZE];
    /* Towards the master. */
    uint32_t output_head, output_tail;
    uint32_t echo_start, echo_column; /* of echoes that a signal still takes back, and of the cursor before them */
    uint32_t column, line_column;     /* of the cursor; where the line that is being typed began */
    uint8_t output[OUTPUT_SIZE + ECHO_SIZE];
};
_Static_assert(!(LINE_SIZE & (LINE_SIZE - 1)) && !((OUTPUT_SIZE + ECHO_SIZE) & (OUTPUT_SIZE + ECHO_SIZE - 1)),
               "positions wrap around");

/* ---- The line discipline (tty_line.c) ---- */

void line_set(struct terminal *terminal, const struct termios2 *settings);
/* Bytes that somebody types. How many were taken: less than all if a reader is to make room first. */
size_t line_type(struct terminal *terminal, const uint8_t *bytes, size_t length);
/* Bytes that a program writes. How many were taken. */
size_t line_print(struct terminal *terminal, const uint8_t *bytes, size_t length);
bool line_typing_room(const struct terminal *terminal);
bool line_printing_room(const struct terminal *terminal);
/* How many bytes a read that asks for `wanted` finds; -1: it has to wait. 0: the end of a file was typed. */
int64_t line_available(const struct terminal *terminal, size_t wanted, size_t minimum);
/* Takes what line_available promised; at most `length` bytes, which may be fewer than there are. */
size_t line_take(struct terminal *terminal, uint8_t *bytes, size_t length);
uint32_t line_waiting(const struct terminal *terminal); /* FIONREAD */
void line_flush_input(struct terminal *terminal);
void line_flush_output(struct terminal *terminal);
void line_stop(struct terminal *terminal, bool stopped);
/* TCOOFF, TCOON. */
void line_hold(struct terminal *terminal, bool held);
/* A byte as if it had been put out already. */
void line_print_raw(struct terminal *terminal, uint8_t byte);

/* ---- Job control (tty_jobs.c) ---- */

/* Whether the task may do now what only the foreground may; else its group is stopped (-ERESTARTSYS) or it gets -EIO.
 */
int64_t jobs_check(struct task *task, const struct terminal *terminal, int signo);
void jobs_signal_foreground(const struct terminal *terminal, int signo);
void jobs_take_terminal(struct task *task, struct terminal *terminal);
void jobs_hang_up(struct terminal *terminal);
/* The ioctls of job control, by either end; JOBS_OTHER: another one (ENOIOCTLCMD of Linux). */
#define JOBS_OTHER (-515)
int64_t jobs_ioctl(struct task *task, struct terminal *terminal, const struct file *file, bool master, uint32_t command,
                   uint64_t argument);

/* ---- The ends (pty.c) ---- */

/* Something for who reads the master in packet mode: TIOCPKT_*, instead of those of `instead`. */
void terminal_tell(struct terminal *terminal, uint8_t news, uint8_t instead);
void terminal_wake_master(struct terminal *terminal, uint32_t events);
void terminal_wake_programs(struct terminal *terminal, uint32_t events);

/* ---- What the rest of the kernel calls ---- */

void terminal_session_ends(struct process *process);               /* its leader ends */
struct terminal *terminal_find(struct host *host, int32_t number); /* NULL: there is none that could be opened */
struct virtual_name;
int64_t terminal_open(struct task *task, const char *name, const struct virtual_name *found, uint32_t flags);
/* /proc/<pid>/fd/<n> is opened: the programs' end again. */
int64_t terminal_reopen(struct task *task, const struct file *file, uint32_t flags);
struct stat;
void terminal_status(const struct file *file, struct stat *status);
void terminal_name_status(const char *name, const struct virtual_name *found, struct stat *status);
int64_t terminal_link(const struct file *file, char *out, size_t capacity);
/* Whose mode and owner an open file has: of the programs' end; else NULL. */
struct terminal *terminal_behind(const struct file *file);
/* As /proc/<pid>/stat shows it. */
static inline uint32_t terminal_device(const struct terminal *terminal) {
    return terminal ? TERMINAL_MAJOR << 8 | (uint32_t)terminal->number : 0;
}

#endif
