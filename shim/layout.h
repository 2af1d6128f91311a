/* Fixed places: addresses and real descriptors that the shim and the engine agree on.
 *
 * Nothing here may depend on the machine: programs see their addresses, and two runs must show the same ones.
 */
#ifndef ANTUMBRA_SHIM_LAYOUT_H
#define ANTUMBRA_SHIM_LAYOUT_H

#define SHIM_BASE 0x600000000000    /* the shim's own image, by its linker options */
#define SHIM_THREADS 0x600000100000 /* per-thread stacks and state: near the image, to share its page tables */
#define SHIM_THREAD_SIZE 0x20000    /* 128 KiB each: an unmapped page, the stack, struct shim_thread */
#define SHIM_THREAD_LIMIT 8192
#define PROGRAM_BASE 0x555555554000 /* of position-independent programs, as Linux without randomisation */
#define SHIM_FD_ARENA 900           /* real descriptors that every managed process keeps */
#define SHIM_FD_SHIM 901
#define SHIM_FD_RIGHTS 902 /* host->rights_fd */
#define SHIM_FD_STRACE 903

/* struct shim_thread, as entry.S reads it through %gs */
#define THREAD_SELF 0
#define THREAD_STACK_TOP 8
#define THREAD_USER_STACK 16
#define THREAD_RESUME_IP 24
#define THREAD_RESUME_RESULT 32

/* A stub's bytes before the address that the caller goes on at (rewrite.c). */
#define STUB_ENTER_LENGTH 20

#endif
