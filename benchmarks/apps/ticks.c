/* Sleeps for a millisecond, COUNT times.
 *
 *   ticks COUNT */
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
    const struct timespec millisecond = {0, 1000000};
    if (argc != 2)
        return 2;
    for (long i = atol(argv[1]); i > 0; i--)
        nanosleep(&millisecond, NULL);
    return 0;
}
