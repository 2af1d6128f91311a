/* Sleeps in one of three ways and prints the clocks before and after. */
#include "common.h"

#include <sys/time.h>

struct clocks {
    int64_t realtime_ns;
    int64_t monotonic_ns;
    int64_t boottime_ns;
};

static struct clocks print_clocks(const char *when) {
    struct clocks now = {clock_ns(CLOCK_REALTIME), clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_BOOTTIME)};
    printf("%s realtime_ns %lld monotonic_ns %lld boottime_ns %lld\n", when, (long long)now.realtime_ns,
           (long long)now.monotonic_ns, (long long)now.boottime_ns);
    struct timeval of_day;
    REQUIRE(gettimeofday(&of_day, NULL) == 0 && of_day.tv_sec >= now.realtime_ns / 1000000000);
    /* Of the coarse clock, which may be a tick behind. */
    int64_t coarse_ns = clock_ns(CLOCK_REALTIME_COARSE);
    REQUIRE(time(NULL) >= coarse_ns / 1000000000);
    return now;
}

static int sleep_until(clockid_t clock, int64_t at_ns) {
    struct timespec at = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
    return clock_nanosleep(clock, TIMER_ABSTIME, &at, NULL);
}

int main(int argc, char **argv) {
    const char *how = argc > 2 ? argv[2] : "nanosleep";
    double seconds = argc > 1 ? atof(argv[1]) : -1;
    if (argc < 2 || argc > 3 || seconds < 0) {
        usage("sleeper SECONDS [nanosleep|monotonic|realtime]");
    }
    int64_t duration_ns = (int64_t)(seconds * 1e9 + 0.5);
    struct clocks before = print_clocks("before");
    if (strcmp(how, "nanosleep") == 0) {
        struct timespec duration = {.tv_sec = duration_ns / 1000000000, .tv_nsec = duration_ns % 1000000000};
        REQUIRE(nanosleep(&duration, NULL) == 0);
    } else if (strcmp(how, "monotonic") == 0) {
        REQUIRE(sleep_until(CLOCK_MONOTONIC, before.monotonic_ns + duration_ns) == 0);
    } else if (strcmp(how, "realtime") == 0) {
        REQUIRE(sleep_until(CLOCK_REALTIME, before.realtime_ns + duration_ns) == 0);
    } else {
        usage("sleeper SECONDS [nanosleep|monotonic|realtime]");
    }
    struct clocks after = print_clocks("after");
    /* By the clock that was slept by: the machine's others may be set, or run at another rate. */
    int64_t slept_ns = strcmp(how, "realtime") == 0 ? after.realtime_ns - before.realtime_ns
                                                    : after.monotonic_ns - before.monotonic_ns;
    REQUIRE(slept_ns >= duration_ns);
    printf("slept_ns %lld late_ns %lld\n", (long long)slept_ns, (long long)(slept_ns - duration_ns));
    return 0;
}
