/* What fuzz_system_calls has for the real kernel: files below one temporary directory, and nothing else.
 *
 * Whatever a script does must not harm the machine, nor depend on it. So names must stay inside the directory,
 * descriptors must be ones that were opened here, sizes are bounded, and memory is not mapped at all: addresses are
 * only invented.
 */
#ifndef ANTUMBRA_TESTS_NATIVE_CALLS_H
#define ANTUMBRA_TESTS_NATIVE_CALLS_H

struct host;
#define NATIVE_HOSTS 2u
/* A fresh directory, which becomes that of the first host; each gets a socket for files on their way. */
void native_calls_begin(struct host *const hosts[NATIVE_HOSTS]);
/* A process is gone and has left its descriptors open, as its real one would close them. */
void native_calls_lost(void);
/* All that was opened must be closed. */
void native_calls_end(void);

#endif
