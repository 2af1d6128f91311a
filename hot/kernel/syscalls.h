/* Prototypes of the system calls, by the file that holds them. syscall.c has the table, in number order.
 *
 * a[0..5] are the raw arguments; the result is the value or -errno (or -ERESTARTSYS and its like).
 */
#ifndef ANTUMBRA_KERNEL_SYSCALLS_H
#define ANTUMBRA_KERNEL_SYSCALLS_H

#include "kernel.h"

/* Whatever the table names; the sections below say which file holds it. */
#define CALL(number, name, function, arguments, flags) int64_t function(struct task *task, const uint64_t *a);
#include "syscall_table.h"
#undef CALL

/* ---- file.c ---- */
int64_t sys_dup(struct task *task, const uint64_t *a);
int64_t sys_dup2(struct task *task, const uint64_t *a);
int64_t sys_dup3(struct task *task, const uint64_t *a);
int64_t sys_close(struct task *task, const uint64_t *a);
int64_t sys_close_range(struct task *task, const uint64_t *a);
int64_t sys_read(struct task *task, const uint64_t *a);
int64_t sys_write(struct task *task, const uint64_t *a);
int64_t sys_pread64(struct task *task, const uint64_t *a);
int64_t sys_pwrite64(struct task *task, const uint64_t *a);
int64_t sys_readv(struct task *task, const uint64_t *a);
int64_t sys_writev(struct task *task, const uint64_t *a);
int64_t sys_preadv(struct task *task, const uint64_t *a);
int64_t sys_pwritev(struct task *task, const uint64_t *a);
int64_t sys_preadv2(struct task *task, const uint64_t *a);
int64_t sys_pwritev2(struct task *task, const uint64_t *a);
int64_t sys_fcntl(struct task *task, const uint64_t *a);
int64_t sys_flock(struct task *task, const uint64_t *a);
int64_t sys_ioctl(struct task *task, const uint64_t *a);

/* ---- splice.c ---- */
int64_t sys_sendfile(struct task *task, const uint64_t *a);
int64_t sys_splice(struct task *task, const uint64_t *a);
int64_t sys_tee(struct task *task, const uint64_t *a);
int64_t sys_copy_file_range(struct task *task, const uint64_t *a);

/* ---- fs.c ---- */
int64_t sys_open(struct task *task, const uint64_t *a);
int64_t sys_openat(struct task *task, const uint64_t *a);
int64_t sys_openat2(struct task *task, const uint64_t *a);
int64_t sys_creat(struct task *task, const uint64_t *a);
int64_t sys_memfd_create(struct task *task, const uint64_t *a);
int64_t sys_stat(struct task *task, const uint64_t *a);
int64_t sys_lstat(struct task *task, const uint64_t *a);
int64_t sys_fstat(struct task *task, const uint64_t *a);
int64_t sys_newfstatat(struct task *task, const uint64_t *a);
int64_t sys_statx(struct task *task, const uint64_t *a);
int64_t sys_access(struct task *task, const uint64_t *a);
int64_t sys_faccessat(struct task *task, const uint64_t *a);
int64_t sys_faccessat2(struct task *task, const uint64_t *a);
int64_t sys_statfs(struct task *task, const uint64_t *a);
int64_t sys_fstatfs(struct task *task, const uint64_t *a);
int64_t sys_readlink(struct task *task, const uint64_t *a);
int64_t sys_readlinkat(struct task *task, const uint64_t *a);
int64_t sys_getcwd(struct task *task, const uint64_t *a);
int64_t sys_chdir(struct task *task, const uint64_t *a);
int64_t sys_fchdir(struct task *task, const uint64_t *a);
int64_t sys_lseek(struct task *task, const uint64_t *a);
int64_t sys_getdents64(struct task *task, const uint64_t *a);
int64_t sys_getdents(struct task *task, const uint64_t *a);

/* ---- namespace.c ---- */
int64_t sys_mkdir(struct task *task, const uint64_t *a);
int64_t sys_mkdirat(struct task *task, const uint64_t *a);
int64_t sys_mknod(struct task *task, const uint64_t *a);
int64_t sys_mknodat(struct task *task, const uint64_t *a);
int64_t sys_unlink(struct task *task, const uint64_t *a);
int64_t sys_unlinkat(struct task *task, const uint64_t *a);
int64_t sys_rmdir(struct task *task, const uint64_t *a);
int64_t sys_rename(struct task *task, const uint64_t *a);
int64_t sys_renameat(struct task *task, const uint64_t *a);
int64_t sys_renameat2(struct task *task, const uint64_t *a);
int64_t sys_link(struct task *task, const uint64_t *a);
int64_t sys_linkat(struct task *task, const uint64_t *a);
int64_t sys_symlink(struct task *task, const uint64_t *a);
int64_t sys_symlinkat(struct task *task, const uint64_t *a);
int64_t sys_chmod(struct task *task, const uint64_t *a);
int64_t sys_fchmodat(struct task *task, const uint64_t *a);
int64_t sys_fchmodat2(struct task *task, const uint64_t *a);
int64_t sys_fchmod(struct task *task, const uint64_t *a);
int64_t sys_chown(struct task *task, const uint64_t *a);
int64_t sys_lchown(struct task *task, const uint64_t *a);
int64_t sys_fchown(struct task *task, const uint64_t *a);
int64_t sys_fchownat(struct task *task, const uint64_t *a);
int64_t sys_utimensat(struct task *task, const uint64_t *a);
int64_t sys_utimes(struct task *task, const uint64_t *a);
int64_t sys_futimesat(struct task *task, const uint64_t *a);
int64_t sys_utime(struct task *task, const uint64_t *a);
int64_t sys_umask(struct task *task, const uint64_t *a);
int64_t sys_truncate(struct task *task, const uint64_t *a);
int64_t sys_ftruncate(struct task *task, const uint64_t *a);
int64_t sys_fallocate(struct task *task, const uint64_t *a);
int64_t sys_fsync(struct task *task, const uint64_t *a);
int64_t sys_fdatasync(struct task *task, const uint64_t *a);
int64_t sys_sync(struct task *task, const uint64_t *a);
int64_t sys_fadvise64(struct task *task, const uint64_t *a);
int64_t sys_xattr_unsupported(struct task *task, const uint64_t *a);

/* ---- pipe.c ---- */
int64_t sys_pipe(struct task *task, const uint64_t *a);
int64_t sys_pipe2(struct task *task, const uint64_t *a);

/* ---- eventfd.c ---- */
int64_t sys_eventfd2(struct task *task, const uint64_t *a);
int64_t sys_eventfd(struct task *task, const uint64_t *a);

/* ---- timerfd.c ---- */
int64_t sys_timerfd_create(struct task *task, const uint64_t *a);
int64_t sys_timerfd_settime(struct task *task, const uint64_t *a);
int64_t sys_timerfd_gettime(struct task *task, const uint64_t *a);

/* ---- epoll.c ---- */
int64_t sys_epoll_create1(struct task *task, const uint64_t *a);
int64_t sys_epoll_create(struct task *task, const uint64_t *a);
int64_t sys_epoll_ctl(struct task *task, const uint64_t *a);
int64_t sys_epoll_wait(struct task *task, const uint64_t *a);
int64_t sys_epoll_pwait(struct task *task, const uint64_t *a);
int64_t sys_epoll_pwait2(struct task *task, const uint64_t *a);

/* ---- poll.c ---- */
int64_t sys_poll(struct task *task, const uint64_t *a);
int64_t sys_ppoll(struct task *task, const uint64_t *a);
int64_t sys_select(struct task *task, const uint64_t *a);
int64_t sys_pselect6(struct task *task, const uint64_t *a);

/* ---- socket.c ---- */
int64_t sys_socket(struct task *task, const uint64_t *a);      /* 41 */
int64_t sys_connect(struct task *task, const uint64_t *a);     /* 42 */
int64_t sys_accept(struct task *task, const uint64_t *a);      /* 43 */
int64_t sys_sendto(struct task *task, const uint64_t *a);      /* 44 */
int64_t sys_recvfrom(struct task *task, const uint64_t *a);    /* 45 */
int64_t sys_sendmsg(struct task *task, const uint64_t *a);     /* 46 */
int64_t sys_recvmsg(struct task *task, const uint64_t *a);     /* 47 */
int64_t sys_shutdown(struct task *task, const uint64_t *a);    /* 48 */
int64_t sys_bind(struct task *task, const uint64_t *a);        /* 49 */
int64_t sys_listen(struct task *task, const uint64_t *a);      /* 50 */
int64_t sys_getsockname(struct task *task, const uint64_t *a); /* 51 */
int64_t sys_getpeername(struct task *task, const uint64_t *a); /* 52 */
int64_t sys_socketpair(struct task *task, const uint64_t *a);  /* 53 */
int64_t sys_setsockopt(struct task *task, const uint64_t *a);  /* 54 */
int64_t sys_getsockopt(struct task *task, const uint64_t *a);  /* 55 */
int64_t sys_accept4(struct task *task, const uint64_t *a);     /* 288 */
int64_t sys_recvmmsg(struct task *task, const uint64_t *a);    /* 299 */
int64_t sys_sendmmsg(struct task *task, const uint64_t *a);    /* 307 */

#endif
