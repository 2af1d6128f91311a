/* Descriptor tables as fork, exec and exit use them (file.c). */
#ifndef ANTUMBRA_KERNEL_FDTABLE_H
#define ANTUMBRA_KERNEL_FDTABLE_H

#include "kernel.h"

__attribute__((warn_unused_result)) struct fd_table *fd_table_create(struct host *host); /* one reference */
/* For fork: the same descriptions under the same numbers. The real descriptors were inherited by the real fork. */
__attribute__((warn_unused_result)) struct fd_table *fd_table_copy(struct host *host, const struct fd_table *table);
__attribute__((warn_unused_result)) struct fd_table *fd_table_share(struct fd_table *table); /* CLONE_FILES */
/* Drops a reference; with the last one all files. Real descriptors are closed where this is the process they are in;
 * otherwise they went, or go, with it. */
void fd_table_put(struct host *host, struct fd_table *table, bool in_process);
/* For execve: a table of its own, without the close-on-exec descriptors. */
void fd_table_exec(struct task *task);
/* Puts a file under one free number of a table that is being set up: the standard streams of a first process. Takes
 * over the reference, also on failure. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int fd_table_set(struct host *host, struct fd_table *table, int fd,
                                                     struct file *file, int native_fd);

#endif
