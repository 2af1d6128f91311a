/* Included first into every file of the kernel that is built for the shard: what it copies goes through guard.c too. */
#ifndef ANTUMBRA_ENGINE_GUARDED_NAMES_H
#define ANTUMBRA_ENGINE_GUARDED_NAMES_H

void *memcpy(void *restrict destination, const void *restrict source, __SIZE_TYPE__ length) __asm__("guarded_memcpy");
void *memmove(void *destination, const void *source, __SIZE_TYPE__ length) __asm__("guarded_memmove");
void *memset(void *destination, int byte, __SIZE_TYPE__ length) __asm__("guarded_memset");

#endif
