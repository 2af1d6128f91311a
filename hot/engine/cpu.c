/* The processor as managed threads have it: rdtsc and cpuid trap (shim/start.c).
 *
 * Whether they do is a property of the thread, which the real kernel sets at each switch to one that differs, in
 * control registers that hypervisors watch: on some that costs twice as much as the switch. So the shard's thread takes
 * the same properties while it hands the turn over and back. It must read no clock from the processor meanwhile, as the
 * C library does outside of the kernel; what does all the same gets them back at its fault (guard.c).
 */
#include "engine.h"

#include <asm/prctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile bool trapping;
static bool cpuid_can_trap = true; /* not every processor's */

static bool set_cpuid(unsigned long works) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, works) == 0; }

void cpu_trap(void) {
    if (trapping)
        return;
    trapping = true;
    (void)prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
    cpuid_can_trap = cpuid_can_trap && set_cpuid(0);
}

bool cpu_release(void) {
    if (!trapping)
        return false;
    trapping = false;
    (void)prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0);
    if (cpuid_can_trap)
        (void)set_cpuid(1);
    return true;
}
