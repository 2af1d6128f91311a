/* Files: what file.c, fs.c, pipe.c, eventfd.c, timerfd.c, epoll.c and poll.c offer to the rest of the kernel. */
#ifndef ANTUMBRA_KERNEL_FS_H
#define ANTUMBRA_KERNEL_FS_H

#include "kernel.h"

/* ---- Real and virtual files (fs.c and its siblings) ---- */

#define FS_PATH_MAX 4096

__attribute__((warn_unused_result)) int fs_create(struct host *host); /* host->fs; 0 or -ENOMEM */
/* The description of a real descriptor that the process already has (standard streams). NULL: no memory. */
__attribute__((warn_unused_result)) struct file *fs_native_file(struct host *host, uint32_t flags);
/* The real absolute path of what a program calls `path`, for AF_UNIX names and execve. 0 or -errno. */
__attribute__((warn_unused_result)) int64_t fs_resolve_path(struct task *task, int dirfd, const char *path, char *out,
                                                            size_t capacity);
/* A name as a process sees it that has changed its root, in place; with `unreachable` before it where it is not below
 * the root. 0 or -ENAMETOOLONG. */
int fs_below_root(const struct process *process, char *name, const char *unreachable, size_t capacity);

/* A real path as programs see it, in place: the host's own directory is /srv/<hostname>. 0 or -ENAMETOOLONG. */
int fs_real_to_virtual(const struct host *host, char *path, size_t capacity);
/* Who owns the program at a real path, and its mode, if that has set-user-id or set-group-id bits; else zeros. */
struct program_owner {
    uint32_t mode, user, group;
};
void fs_program_owner(struct task *task, const char *path, struct program_owner *owner);
/* RLIMIT_FSIZE does not allow what the task asks for: it gets SIGXFSZ, and -EFBIG is returned. */
int64_t fs_exceeds_size(struct task *task);
/* Something other than write changed a native file: it shows virtual time from now on. */
void fs_written(struct task *task, const struct fd_entry *entry);
/* Finds out what the shard opened as the streams of a first process: before anybody can take their names away. */
void fs_identify_streams(struct task *task);

/* ---- Pipes (pipe.c) ---- */

int64_t pipe_get_size(const struct file *file);
int64_t pipe_set_size(struct host *host, struct file *file, uint64_t size);
/* The other open of a pipe's end, as /proc/self/fd gives it. 0 or -errno. */
int64_t pipe_reopen(const struct file *file, uint32_t flags, struct file **opened);
/* A FIFO, by the identity of its file. Sleeps until both ends are open where Linux would. Descriptor or -errno. */
int64_t fifo_open(struct task *task, uint64_t device, uint64_t inode, uint32_t flags);
void fifo_created(struct host *host, uint64_t device, uint64_t inode); /* a new file: no pipe has this name yet */
/* For splice and tee: room that may be written, and reading without user memory. */
size_t pipe_room(const struct file *file);
size_t pipe_peek(const struct file *file, void *bytes, size_t length);
void pipe_consume(struct file *file, size_t length);
const void *pipe_identity(const struct file *file); /* the same for both ends */
/* A number that both ends share, for /proc/self/fd and stat. */
uint64_t file_number(const struct host *host, const struct file *file);

/* ---- Waiting (poll.c, epoll.c) ---- */

/* The signal mask of ppoll, pselect and epoll_pwait: set for the call; afterwards the old one comes back, at once or
 * (if a signal ended the call) when the handler's frame holds it. user_mask 0: no change. */
__attribute__((warn_unused_result)) int64_t call_mask_set(struct task *task, uint64_t user_mask, uint64_t size);
int64_t call_mask_restore(struct task *task, uint64_t user_mask, int64_t result);
/* The moment that a relative time-out ends. 0 or -EINVAL. */
struct __kernel_timespec;
__attribute__((warn_unused_result)) int64_t deadline_of_timespec(const struct host *host,
                                                                 const struct __kernel_timespec *time,
                                                                 int64_t *deadline);
int64_t deadline_of_milliseconds(const struct host *host, int64_t milliseconds); /* negative: never */

void epoll_forget_file(struct host *host, struct file *file); /* the description goes: its items too */

#endif
