/* Base types of the simulated kernel: fixed-width integers, intrusive lists, user pointers.
 *
 * Every file of hot/kernel is compiled twice: freestanding into the shim (no libc, inside a managed process) and
 * hosted into the engine and the unit tests. So nothing here may include a libc header, and no function pointer may
 * ever be stored in the arena: the two programs have their code at different addresses. Where behaviour depends on a
 * kind, the arena stores the kind and each program looks the function up in its own table.
 */
#ifndef ANTUMBRA_KERNEL_TYPES_H
#define ANTUMBRA_KERNEL_TYPES_H

#include <asm/errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
/* The emulated epoch, 2000-01-01T00:00:00Z, in seconds of Unix time. */
#define EPOCH_SECONDS INT64_C(946684800)
/* No time at all: later than every event. */
#define NEVER INT64_MAX

/* Results that never reach a program (Linux, include/linux/errno.h): how an interrupted call goes on. */
#define ERESTARTSYS 512           /* restarted if SA_RESTART or no handler ran, else EINTR */
#define ERESTARTNOINTR 513        /* always restarted */
#define ERESTARTNOHAND 514        /* restarted only if no handler ran */
#define ERESTART_RESTARTBLOCK 516 /* as ERESTARTNOHAND, for calls with a relative time-out */

#define KMIN(a, b) ((a) < (b) ? (a) : (b))
#define KMAX(a, b) ((a) > (b) ? (a) : (b))
#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* Supplied by libc in the engine and the tests, by shim/string.c in a managed process. */
void *memcpy(void *restrict destination, const void *restrict source, size_t length);
void *memmove(void *destination, const void *source, size_t length);
void *memset(void *destination, int byte, size_t length);
int memcmp(const void *left, const void *right, size_t length);
size_t strlen(const char *text);
int strcmp(const char *left, const char *right);
int strncmp(const char *left, const char *right, size_t length);

/* An intrusive circular doubly linked list; an empty head points to itself. Lists live in the arena. */
struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list *head) { return head->next == head; }
/* A node that was list_init'ed or removed answers false. */
static inline bool list_linked(const struct list *node) { return node->next != node; }
static inline void list_push_back(struct list *head, struct list *node) {
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_push_front(struct list *head, struct list *node) {
    node->next = head->next;
    node->prev = head;
    head->next->prev = node;
    head->next = node;
}
static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
#define list_entry(node, type, member) container_of(node, type, member)
#define list_for_each(cursor, head) for (struct list *cursor = (head)->next; cursor != (head); cursor = cursor->next)
/* The current node may be removed inside the loop. */
#define list_for_each_safe(cursor, head)                                                                               \
    for (struct list *cursor = (head)->next, *cursor##_next = cursor->next; cursor != (head);                          \
         cursor = cursor##_next, cursor##_next = cursor->next)

#endif
