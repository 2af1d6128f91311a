/* Where a call came from: what a warning names. */
#ifndef ANTUMBRA_KERNEL_CALLER_H
#define ANTUMBRA_KERNEL_CALLER_H

#include "types.h"

/* Code around the address that a rewritten call site goes on at: the stub's way in, and what follows it. */
#define STUB_BEFORE 20
#define STUB_AFTER 11

/* The address behind the program's own syscall instruction, given where a call goes on and the code around there; `ip`
 * itself if that is no stub (shim/rewrite.c writes them). */
uint64_t caller_origin(uint64_t ip, const uint8_t code[STUB_BEFORE + STUB_AFTER]);
/* A number of a line of /proc/<pid>/maps; what follows it. */
const char *maps_number(const char *at, uint64_t *value);
/* "libc.so.6+0x1234" for an address, from the text of /proc/<pid>/maps; "0x..." where nothing is mapped from a file. */
void caller_describe(const char *maps, uint64_t address, char *out, size_t capacity);

#endif
