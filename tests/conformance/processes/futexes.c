/* The futex call itself. */
#include "calls.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static uint32_t first, second;
static volatile pid_t tids[8];
static volatile int results[8], errors[8], order[8], arrived;

static long futex(uint32_t *word, int operation, uint32_t value, const void *time, uint32_t *other, uint32_t last) {
    return syscall(SYS_futex, word, operation, value, time, other, last);
}

struct waiter {
    int index;
    uint32_t *word, bitset;
    int flags;
};

static void *wait_for(void *given) {
    const struct waiter *waiter = given;
    tids[waiter->index] = gettid();
    errno = 0;
    results[waiter->index] =
        (int)futex(waiter->word, FUTEX_WAIT_BITSET | waiter->flags, *waiter->word, NULL, NULL, waiter->bitset);
    errors[waiter->index] = errno;
    order[arrived++] = waiter->index;
    return NULL;
}

static pthread_t threads[8];
static struct waiter waiters[8];

static void start(int count, const uint32_t *bitsets) {
    arrived = 0;
    for (int i = 0; i < count; i++) {
        waiters[i] = (struct waiter){i, &first, bitsets ? bitsets[i] : FUTEX_BITSET_MATCH_ANY, FUTEX_PRIVATE_FLAG};
        tids[i] = 0;
        pthread_create(&threads[i], NULL, wait_for, &waiters[i]);
        while (!tids[i])
            nap(1);
        until_state(getpid(), tids[i], 'S');
    }
}

static void join(int count) {
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("woken:");
    for (int i = 0; i < count; i++)
        printf(" %d", results[i]);
    printf("\n");
}

static void waiting(void) {
    struct timespec time = {0, 2000000}, bad = {0, 1000000000}, negative = {-1, 0}, zero = {0, 0};
    FACT(futex(&first, FUTEX_WAIT, 1, NULL, NULL, 0));
    FACT(futex(&first, FUTEX_WAIT, 0, &time, NULL, 0));
    FACT(futex(&first, FUTEX_WAIT, 0, &zero, NULL, 0));
    FACT(futex(&first, FUTEX_WAIT, 0, &bad, NULL, 0));
    FACT(futex(&first, FUTEX_WAIT, 0, &negative, NULL, 0));
    FACT(futex((uint32_t *)((char *)&first + 1), FUTEX_WAIT, 0, &time, NULL, 0));
    FACT(futex((uint32_t *)(uintptr_t)16, FUTEX_WAIT, 0, &time, NULL, 0));
    FACT(futex(&first, FUTEX_WAIT, 0, (void *)(uintptr_t)16, NULL, 0));
    FACT(futex(&first, FUTEX_WAIT_BITSET, 0, &zero, NULL, 0));
    FACT(futex(&first, FUTEX_WAIT_BITSET, 0, &zero, NULL, 1));
    FACT(futex(&first, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &zero, NULL, 1));
    FACT(futex(&first, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, &zero, NULL, 1));
    FACT(futex(&first, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
    FACT(futex(&first, FUTEX_WAKE, 1, NULL, NULL, 0));
    FACT(futex((uint32_t *)((char *)&first + 2), FUTEX_WAKE, 1, NULL, NULL, 0));
    FACT(futex(&first, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
    FACT(futex(&first, 77, 1, NULL, NULL, 0));
    FACT(futex(&first, FUTEX_CMP_REQUEUE, 1, (void *)1, &second, 5));
    FACT(futex(&first, FUTEX_REQUEUE, (uint32_t)-1, (void *)1, &second, 0));
    FACT(futex(&first, FUTEX_FD, 0, NULL, NULL, 0));
}

static void waking(void) {
    start(4, NULL);
    FACT(futex(&first, FUTEX_WAKE, 1, NULL, NULL, 0)); /* the shared word is another futex for private waiters */
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    while (arrived < 1)
        nap(1);
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    while (arrived < 2)
        nap(1);
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0));
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0));
    join(4);
    printf("first in, first out: %d %d\n", order[0], order[1]);
    start(2, NULL);
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 0, NULL, NULL, 0));
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
    join(2);
    static const uint32_t bitsets[] = {1, 2, 3, 4};
    start(4, bitsets);
    FACT(futex(&first, FUTEX_WAKE_BITSET_PRIVATE, 8, NULL, NULL, 8));
    FACT(futex(&first, FUTEX_WAKE_BITSET_PRIVATE, 8, NULL, NULL, 2));
    FACT(futex(&first, FUTEX_WAKE_BITSET_PRIVATE, 8, NULL, NULL, 4));
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 8, NULL, NULL, 0));
    join(4);
}

static void requeueing(void) {
    start(4, NULL);
    FACT(futex(&first, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &second, 0));
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 8, NULL, NULL, 0));
    FACT(futex(&second, FUTEX_WAKE_PRIVATE, 8, NULL, NULL, 0));
    join(4);
    start(3, NULL);
    FACT(futex(&first, FUTEX_REQUEUE_PRIVATE, 0, (void *)8, &second, 0));
    FACT(futex(&second, FUTEX_WAKE_PRIVATE, 8, NULL, NULL, 0));
    join(3);
    start(3, NULL);
    second = 5;
    FACT(futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, (void *)2, &second, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)));
    printf("second word %u\n", second);
    FACT(futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, (void *)2, &first, FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_GT, -1)));
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 8, NULL, NULL, 0));
    join(3);
    static const int operations[] = {FUTEX_OP_SET, FUTEX_OP_ADD, FUTEX_OP_OR, FUTEX_OP_ANDN, FUTEX_OP_XOR};
    for (size_t i = 0; i < 5; i++) {
        second = 0xf0;
        futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &second, FUTEX_OP(operations[i], 0x33, FUTEX_OP_CMP_EQ, 0));
        printf("operation %zu: 0x%x", i, second);
        second = 0xf0;
        futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &second,
              FUTEX_OP((operations[i] | FUTEX_OP_OPARG_SHIFT), 5, FUTEX_OP_CMP_EQ, 0));
        printf(", shifted 0x%x\n", second);
    }
    FACT(futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &second, FUTEX_OP(7, 0, FUTEX_OP_CMP_EQ, 0)));
}

static void to_itself(void) {
    start(2, NULL);
    FACT(futex(&first, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)(uintptr_t)INT32_MAX, &first, 0));
    FACT(futex(&first, FUTEX_REQUEUE_PRIVATE, 1, (void *)1, (uint32_t *)((char *)&second + 1), 0));
    FACT(futex((uint32_t *)((char *)&first + 1), FUTEX_REQUEUE_PRIVATE, 1, (void *)1, &second, 0));
    FACT(futex((uint32_t *)((char *)&first + 1), FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 1));
    FACT(futex(&first, FUTEX_WAKE_PRIVATE, 8, NULL, NULL, 0));
    join(2);
}

static void ignore_it(int signo) { (void)signo; }

/* SA_RESTART does not hold for a wait with a time-out, relative or not. */
static void interrupted(void) {
    struct sigaction action = {.sa_handler = ignore_it, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    for (int absolute = 0; absolute < 2; absolute++) {
        int64_t end = absolute ? now_ns(CLOCK_MONOTONIC) + 300000000 : 300000000;
        struct timespec time = {end / 1000000000, end % 1000000000};
        pid_t parent = getpid(), pid = fork();
        if (pid == 0) {
            nap(30);
            kill(parent, SIGUSR1);
            _exit(0);
        }
        if (absolute)
            FACT(futex(&first, FUTEX_WAIT_BITSET_PRIVATE, 0, &time, NULL, 1));
        else
            FACT(futex(&first, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0));
        wait_and_show("sender", pid);
    }
}

static void between_processes(void) {
    uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int flags = 0; flags <= FUTEX_PRIVATE_FLAG; flags += FUTEX_PRIVATE_FLAG) {
        pid_t pid = fork();
        if (pid == 0) {
            struct timespec time = {flags ? 0 : 10, flags ? 100000000 : 0};
            long result = futex(word, FUTEX_WAIT | flags, 0, &time, NULL, 0);
            _exit(result ? errno : 0);
        }
        until_state(pid, pid, 'S');
        FACT(futex(word, FUTEX_WAKE | flags, 1, NULL, NULL, 0));
        int status;
        waitpid(pid, &status, 0);
        printf("%s: %s\n", flags ? "private" : "shared",
               WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "woken");
    }
}

static void priority_inheritance(void) {
    uint32_t word = 0;
    FACT(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    HOLDS((word & FUTEX_TID_MASK) == (uint32_t)gettid());
    FACT(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    FACT(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    FACT(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    HOLDS(word == 0);
    FACT(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    FACT(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    FACT(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    word = 1 << 21;
    FACT(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
}

int main(void) {
    begin();
    waiting();
    waking();
    requeueing();
    to_itself();
    interrupted();
    between_processes();
    priority_inheritance();
    size_t length;
    void *head;
    FACT(syscall(SYS_get_robust_list, 0, &head, &length));
    printf("length %zu\n", length);
    FACT(syscall(SYS_set_robust_list, head, 10));
    FACT(syscall(SYS_get_robust_list, 1 << 21, &head, &length));
    return 0;
}
