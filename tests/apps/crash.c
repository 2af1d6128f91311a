/* Ends in the way that its argument says. */
#include "common.h"

#include <signal.h>

int main(int argc, char **argv) {
    static const char text[] = "crash abort|segv|fpe|ill|kill|term|exit CODE";
    const char *how = argc > 1 ? argv[1] : "";
    volatile int zero = 0;
    volatile int *volatile nowhere = NULL;
    printf("about to end by %s\n", how);
    fflush(stdout);
    if (strcmp(how, "abort") == 0) {
        abort();
    } else if (strcmp(how, "segv") == 0) {
        *nowhere = 1;
    } else if (strcmp(how, "fpe") == 0) {
        zero = 100 / zero;
    } else if (strcmp(how, "ill") == 0) {
        __asm__ volatile("ud2");
    } else if (strcmp(how, "kill") == 0) {
        kill(getpid(), SIGKILL);
    } else if (strcmp(how, "term") == 0) {
        kill(getpid(), SIGTERM);
    } else if (strcmp(how, "exit") == 0 && argc > 2) {
        return atoi(argv[2]);
    } else {
        usage(text);
    }
    fprintf(stderr, "%s did not end the process\n", how);
    return 1;
}
