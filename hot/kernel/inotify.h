/* What happens to real files, for those who watch them (inotify.c). */
#ifndef ANTUMBRA_KERNEL_INOTIFY_H
#define ANTUMBRA_KERNEL_INOTIFY_H

#include "kernel.h"

#include <linux/inotify.h>

struct location;
struct stat;

/* Whether anybody watches anything. */
static inline bool inotify_active(const struct host *host) { return !list_empty(&host->inotifies); }
/* An entry came or went: told to who watches its directory, by its name. The caller adds IN_ISDIR. */
void inotify_entry(struct task *task, const struct location *location, uint32_t mask, uint32_t cookie);
/* The same for what was just made, whatever it is: IN_CREATE. */
void inotify_created(struct task *task, const struct location *location);
/* Something happened to the file of this name: to who watches it, or its directory. */
void inotify_named(struct task *task, const struct location *location, bool follow, uint32_t mask);
/* The same to who watches the file alone. */
void inotify_status(struct host *host, const struct stat *status, uint32_t mask);
/* Something happened through a real descriptor of this process. */
void inotify_descriptor(struct host *host, int native_fd, uint32_t mask);
/* The last name of a file went, or it was closed without having one: it is gone unless it is open still. */
void inotify_gone(struct host *host, const struct stat *status);
uint32_t inotify_cookie(struct host *host); /* joins the two events of a rename */

#endif
