/* Kernel code that runs in the shard on one host's arena, kept from harming anything but that host.
 *
 * An arena is writable in the host's processes, and a process may be killed between any two of its instructions: what
 * the shard finds there may be anything. So the shard works on it inside guard_call only:
 *
 *   a load or store that faults                            (SIGSEGV, SIGBUS, SIGFPE)
 *   a store outside of the arena and of the kernel's stack (guard_hooks.c: the compiler lets the kernel ask before
 * each) a walk that does not end                               (a timer of CPU time that finds the host's clock
 * standing)
 *
 * end the call, and the host is broken (turn.c, host_break). Plain values may be read anywhere, but they are not to be
 * trusted; pointers are checked by guard_holds before the engine itself follows them.
 */
#ifndef ANTUMBRA_ENGINE_GUARD_H
#define ANTUMBRA_ENGINE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host;

/* Once per process, in the thread that will run the engine: signal handlers and the timer. 0, or -1 and errno. */
__attribute__((warn_unused_result)) int guard_start(void);

/* Calls body(kernel, context). False: it was ended; guard_problem says by what. `context` is on the caller's stack, and
 * holds what it held when the call was ended. Not to be nested. */
__attribute__((warn_unused_result)) bool guard_call(struct host *kernel,
                                                    void (*body)(struct host *kernel, void *context), void *context);
const char *guard_problem(void);
/* For bodies: what is between these is the engine's own work, whose faults are its own. Not left by guard_fail. */
void guard_suspend(void);
void guard_resume(void);
/* For bodies: ends the call. */
__attribute__((noreturn)) void guard_fail(const char *problem);
bool guard_active(void);
bool guard_holds(const struct host *kernel, const void *memory, size_t size);
/* A store of the kernel's that does not go to `guard_arena`: returns if it may be made. */
void guard_check_other_store(uintptr_t address, size_t size);
extern uintptr_t guard_arena; /* of the latest guard_call */

#endif
