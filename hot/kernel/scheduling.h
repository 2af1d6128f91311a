/* Of scheduling.c: what other files need of how tasks ask to be scheduled. */
#ifndef ANTUMBRA_KERNEL_SCHEDULING_H
#define ANTUMBRA_KERNEL_SCHEDULING_H

#include "kernel.h"

/* A new thread or process is scheduled like its parent, unless that asked for SCHED_RESET_ON_FORK. */
void scheduling_inherit(struct task *child, const struct task *parent);
/* As /proc/PID/stat shows it. */
int32_t scheduling_shown_priority(const struct scheduling *scheduling);

#endif
