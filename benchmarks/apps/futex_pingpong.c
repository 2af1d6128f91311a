/* The raw baseline of a blocking hand-over: two processes on one core pass a futex word back and forth COUNT times. */
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void give(int *word) {
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void take(int *word) {
    while (!__atomic_load_n(word, __ATOMIC_ACQUIRE))
        syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
    *word = 0;
}

int main(int argc, char **argv) {
    long count = argc == 2 ? atol(argv[1]) : 0;
    int *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return 1;
    pid_t child = fork();
    if (child < 0)
        return 1;
    for (long i = 0; i < count; i++) {
        if (child) {
            give(&words[0]);
            take(&words[1]);
        } else {
            take(&words[0]);
            give(&words[1]);
        }
    }
    if (child == 0)
        _exit(0);
    return waitpid(child, NULL, 0) == child ? 0 : 1;
}
