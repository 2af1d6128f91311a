/* Waiting for many descriptors and the objects made for it: poll.c epoll.c eventfd.c timerfd.c. */
#define _GNU_SOURCE
#include "harness.h"

#include "hot/kernel/signal.h"
#include "hot/kernel/syscall.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CALL(task, number, ...) call(task, SYS_##number, (const uint64_t[6]){__VA_ARGS__})
#define P(pointer) ((uint64_t)(uintptr_t)(pointer))

static int64_t call(struct task *task, uint64_t number, const uint64_t *arguments) {
    return syscall_dispatch(task, number, arguments);
}

/* Tests run as tasks of one host; those with a helper share the first one's descriptors by passing files. */
static struct network *network;
static bool finished;
static struct fd_table *shared;

static void share(struct task *task) {
    task->process->files = shared;
    shared->references++;
}

static void run(void (*body)(struct task *, void *), void (*helper)(struct task *, void *)) {
    network = network_create(1, 3);
    finished = false;
    struct task *task = task_start(network->hosts[0], body, NULL);
    shared = task->process->files;
    if (helper)
        share(task_start(network->hosts[0], helper, NULL));
    network_run(network);
    CHECK(finished);
    network_free(network);
}

static void make_pipe(struct task *task, int flags) {
    int fds[2];
    CHECK_EQUAL(CALL(task, pipe2, P(fds), (uint64_t)flags), 0);
}

static void sleep_for(struct task *task, int64_t duration) {
    struct timespec time = {duration / NS_PER_S, duration % NS_PER_S};
    CHECK_EQUAL(CALL(task, nanosleep, P(&time), 0), 0);
}

/* Writes a byte into descriptor 1 after a second, and another one a second later. */
static void write_twice(struct task *task, void *argument) {
    (void)argument;
    for (int i = 0; i < 2; i++) {
        sleep_for(task, NS_PER_S);
        CHECK_EQUAL(CALL(task, write, 1, P("x"), 1), 1);
    }
}

static void close_later(struct task *task, void *argument) {
    (void)argument;
    sleep_for(task, NS_PER_S);
    CHECK_EQUAL(CALL(task, close, 1), 0);
}

/* ---- poll and select ---- */

static void poll_body(struct task *task, void *argument) {
    (void)argument;
    make_pipe(task, 0);
    struct pollfd fds[3] = {{.fd = 0, .events = POLLIN}, {.fd = -1, .events = POLLIN}, {.fd = 9, .events = 0}};
    CHECK_EQUAL(CALL(task, poll, P(fds), 2, 0), 0);
    CHECK_EQUAL(CALL(task, poll, P(fds), 2, 300), 0);
    CHECK_EQUAL(task->host->now, 300 * NS_PER_MS);
    CHECK_EQUAL(CALL(task, poll, P(fds), 2, (uint64_t)-1), 1);
    CHECK_EQUAL(task->host->now, NS_PER_S);
    CHECK_EQUAL(fds[0].revents, POLLIN);
    CHECK_EQUAL(fds[1].revents, 0);
    CHECK_EQUAL(CALL(task, poll, P(fds), 3, (uint64_t)-1), 2);
    CHECK_EQUAL(fds[2].revents, POLLNVAL);
    struct pollfd writer = {.fd = 1, .events = POLLOUT | POLLIN};
    CHECK_EQUAL(CALL(task, poll, P(&writer), 1, 0), 1);
    CHECK_EQUAL(writer.revents, POLLOUT);
    CHECK_EQUAL(CALL(task, poll, P(&writer), 2000, 0), -EINVAL);
    CHECK_EQUAL(CALL(task, poll, 8, 1, 0), -EFAULT);
    struct timespec time = {0, 500};
    CHECK_EQUAL(CALL(task, ppoll, 0, 0, P(&time), 0), 0);
    CHECK_EQUAL(task->host->now, NS_PER_S + 500);
    CHECK_EQUAL(time.tv_nsec, 0);
    finished = true;
}

static void poll_waits_for_what_it_was_asked_and_no_longer(void) { run(poll_body, write_twice); }

static void hangup_body(struct task *task, void *argument) {
    (void)argument;
    make_pipe(task, 0);
    struct pollfd reader = {.fd = 0, .events = 0};
    CHECK_EQUAL(CALL(task, poll, P(&reader), 1, (uint64_t)-1), 1);
    CHECK_EQUAL(reader.revents, POLLHUP);
    CHECK_EQUAL(task->host->now, NS_PER_S);
    finished = true;
}

static void poll_tells_of_a_hangup_that_nobody_asked_for(void) { run(hangup_body, close_later); }

static void select_body(struct task *task, void *argument) {
    (void)argument;
    make_pipe(task, 0);
    fd_set readers, writers;
    FD_ZERO(&readers);
    FD_ZERO(&writers);
    FD_SET(0, &readers);
    FD_SET(1, &writers);
    CHECK_EQUAL(CALL(task, select, 2, P(&readers), P(&writers), 0, 0), 1);
    CHECK(!FD_ISSET(0, &readers) && FD_ISSET(1, &writers));
    FD_SET(0, &readers);
    struct timeval left = {3, 0};
    CHECK_EQUAL(CALL(task, select, 2, P(&readers), 0, 0, P(&left)), 1);
    CHECK(FD_ISSET(0, &readers));
    CHECK_EQUAL(left.tv_sec, 2);
    FD_SET(50, &readers);
    CHECK_EQUAL(CALL(task, select, 51, P(&readers), 0, 0, 0), -EBADF);
    CHECK_EQUAL(CALL(task, select, (uint64_t)-1, 0, 0, 0, 0), -EINVAL);
    left = (struct timeval){0, 1500000};
    CHECK_EQUAL(CALL(task, select, 0, 0, 0, 0, P(&left)), 0);
    CHECK_EQUAL(task->host->now, 2500 * NS_PER_MS);
    struct timespec time = {0, -1};
    CHECK_EQUAL(CALL(task, pselect6, 0, 0, 0, 0, P(&time), 0), -EINVAL);
    finished = true;
}

static void select_keeps_the_bits_that_hold_and_the_time_that_is_left(void) { run(select_body, write_twice); }

static struct task *interrupted;

static void interrupt(struct task *task, void *argument) {
    (void)argument;
    sleep_for(task, NS_PER_S);
    struct signal_info info = {.signo = KSIGTERM};
    interrupted->process->actions[KSIGTERM - 1].handler = 4096; /* is never run: there is no user mode here */
    CHECK_EQUAL(signal_send_task(interrupted, KSIGTERM, &info), 0);
}

static void mask_body(struct task *task, void *argument) {
    (void)argument;
    interrupted = task;
    task->signal_mask = signal_bit(KSIGTERM);
    uint64_t open_mask = 0, closed = ~UINT64_C(0);
    struct timespec time = {2, 0};
    CHECK_EQUAL(CALL(task, ppoll, 0, 0, P(&time), P(&closed), 8), 0);
    CHECK_EQUAL(task->signal_mask, signal_bit(KSIGTERM));
    CHECK_EQUAL(CALL(task, ppoll, 0, 0, 0, P(&open_mask), 8), -ERESTARTNOHAND);
    CHECK(task->restore_mask);
    CHECK_EQUAL(task->saved_mask, signal_bit(KSIGTERM));
    CHECK_EQUAL(CALL(task, ppoll, 0, 0, 0, P(&open_mask), 4), -EINVAL);
    finished = true;
}

static void a_mask_holds_for_the_call_only(void) { run(mask_body, interrupt); }

/* ---- epoll ---- */

static int64_t watch(struct task *task, int64_t epoll, int operation, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = UINT64_C(0x1234567800000000) + (uint64_t)fd};
    return CALL(task, epoll_ctl, (uint64_t)epoll, (uint64_t)operation, (uint64_t)fd, P(&event));
}

static int64_t wait_events(struct task *task, int64_t epoll, struct epoll_event *events, int maximum, int timeout) {
    return CALL(task, epoll_wait, (uint64_t)epoll, P(events), (uint64_t)maximum, (uint64_t)timeout);
}

static void level_body(struct task *task, void *argument) {
    (void)argument;
    struct epoll_event events[4];
    char c;
    make_pipe(task, 0);
    int64_t epoll = CALL(task, epoll_create1, 0);
    CHECK_EQUAL(epoll, 2);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_ADD, 0, EPOLLIN), 0);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_ADD, 0, EPOLLIN), -EEXIST);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 0), 0);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 250), 0);
    CHECK_EQUAL(task->host->now, 250 * NS_PER_MS);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, -1), 1);
    CHECK_EQUAL(task->host->now, NS_PER_S);
    CHECK_EQUAL(events[0].events, EPOLLIN);
    CHECK(events[0].data.u64 == UINT64_C(0x1234567800000000));
    CHECK_EQUAL(wait_events(task, epoll, events, 4, -1), 1); /* still there */
    CHECK_EQUAL(CALL(task, read, 0, P(&c), 1), 1);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 0), 0);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_MOD, 0, EPOLLIN | EPOLLONESHOT), 0);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, -1), 1);
    CHECK_EQUAL(task->host->now, 2 * NS_PER_S);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 0), 0);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_MOD, 0, EPOLLIN), 0);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 0), 1);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_DEL, 0, 0), 0);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_DEL, 0, 0), -ENOENT);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_MOD, 0, 0), -ENOENT);
    CHECK_EQUAL(wait_events(task, epoll, events, 0, 0), -EINVAL);
    CHECK_EQUAL(wait_events(task, 0, events, 1, 0), -EINVAL);
    CHECK_EQUAL(wait_events(task, 77, events, 1, 0), -EBADF);
    finished = true;
}

static void level_triggered_items_stay_ready_and_oneshot_items_do_not(void) { run(level_body, write_twice); }

static void edge_body(struct task *task, void *argument) {
    (void)argument;
    struct epoll_event events[4];
    make_pipe(task, 0);
    int64_t epoll = CALL(task, epoll_create1, 0);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_ADD, 0, EPOLLIN | EPOLLET), 0);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, -1), 1);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 0), 0);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, -1), 1); /* new data on top of the old */
    CHECK_EQUAL(task->host->now, 2 * NS_PER_S);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_ADD, 1, EPOLLOUT | EPOLLET), 0);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 0), 1);
    CHECK_EQUAL(wait_events(task, epoll, events, 4, 0), 0);
    finished = true;
}

static void edge_triggered_items_tell_of_news_only(void) { run(edge_body, write_twice); }

static void order_body(struct task *task, void *argument) {
    (void)argument;
    struct epoll_event events[8];
    int64_t epoll = CALL(task, epoll_create1, EPOLL_CLOEXEC);
    uint64_t one = 1;
    for (int i = 1; i <= 40; i++) {
        CHECK_EQUAL(CALL(task, eventfd2, 0, EFD_NONBLOCK), i);
        CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_ADD, i, EPOLLIN), 0);
    }
    for (int i = 0; i < 3; i++)
        CHECK_EQUAL(CALL(task, write, (uint64_t)(int[]){7, 30, 2}[i], P(&one), 8), 8);
    CHECK_EQUAL(wait_events(task, epoll, events, 2, 0), 2);
    CHECK_EQUAL(events[0].data.u64 & 0xff, 7);
    CHECK_EQUAL(events[1].data.u64 & 0xff, 30);
    CHECK_EQUAL(wait_events(task, epoll, events, 2, 0), 2); /* the one that had to wait goes first */
    CHECK_EQUAL(events[0].data.u64 & 0xff, 2);
    CHECK_EQUAL(events[1].data.u64 & 0xff, 7);
    CHECK_EQUAL(CALL(task, close, 7), 0);
    CHECK_EQUAL(CALL(task, dup, 30), 7);
    CHECK_EQUAL(CALL(task, close, 30), 0); /* the description lives on: so does the item */
    CHECK_EQUAL(wait_events(task, epoll, events, 8, 0), 2);
    CHECK_EQUAL(events[0].data.u64 & 0xff, 30);
    CHECK_EQUAL(watch(task, epoll, EPOLL_CTL_DEL, 7, 0), -ENOENT);
    finished = true;
}

static void items_become_ready_in_order_and_go_with_their_file(void) { run(order_body, NULL); }

static void nested_body(struct task *task, void *argument) {
    (void)argument;
    struct epoll_event events[4];
    make_pipe(task, 0);
    int64_t inner = CALL(task, epoll_create1, 0), outer = CALL(task, epoll_create1, 0);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, 0, EPOLLIN), 0);
    CHECK_EQUAL(watch(task, outer, EPOLL_CTL_ADD, (int)inner, EPOLLIN), 0);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, (int)outer, EPOLLIN), -ELOOP);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, (int)inner, EPOLLIN), -EINVAL);
    CHECK_EQUAL(wait_events(task, outer, events, 4, -1), 1);
    CHECK_EQUAL(task->host->now, NS_PER_S);
    struct pollfd polled = {.fd = (int)outer, .events = POLLIN};
    CHECK_EQUAL(CALL(task, poll, P(&polled), 1, (uint64_t)-1), 1);
    int64_t file = CALL(task, open, P("/proc/uptime"), O_RDONLY);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, (int)file, EPOLLIN), -EPERM);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, 1, EPOLLOUT | EPOLLEXCLUSIVE | EPOLLONESHOT), -EINVAL);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, 1, EPOLLOUT | EPOLLEXCLUSIVE), 0);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_MOD, 1, EPOLLOUT), -EINVAL);
    CHECK_EQUAL(CALL(task, close, (uint64_t)inner), 0);
    CHECK_EQUAL(wait_events(task, outer, events, 4, 0), 0);
    /* An edge of the inner one reaches the outer one, though nobody has asked the inner one since the last. */
    int64_t counter = CALL(task, eventfd2, 0, EFD_NONBLOCK);
    uint64_t value = 1;
    inner = CALL(task, epoll_create1, 0);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, (int)counter, EPOLLIN), 0);
    CHECK_EQUAL(watch(task, outer, EPOLL_CTL_ADD, (int)inner, EPOLLIN | EPOLLET), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(CALL(task, write, (uint64_t)counter, P(&value), 8), 8);
        CHECK_EQUAL(wait_events(task, outer, events, 4, 0), 1);
        CHECK_EQUAL(wait_events(task, outer, events, 4, 0), 0);
    }
    /* Errors are told whether asked for or not. */
    int fds[2];
    CHECK_EQUAL(CALL(task, pipe2, P(fds), 0), 0);
    CHECK_EQUAL(watch(task, inner, EPOLL_CTL_ADD, fds[1], 0), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)fds[0]), 0);
    CHECK_EQUAL(wait_events(task, inner, events, 4, 0), 2);
    CHECK_EQUAL(events[1].events, EPOLLERR);
    finished = true;
}

static void epoll_files_can_be_watched_but_not_in_circles(void) { run(nested_body, write_twice); }

static int woken;

static void epoll_sleeper(struct task *task, void *argument) {
    (void)argument;
    struct epoll_event event;
    share(task);
    if (wait_events(task, 2, &event, 1, 1500) == 1) {
        char c;
        CHECK_EQUAL(CALL(task, read, 0, P(&c), 1), 1);
        woken++;
    }
}

static void herd_body(struct task *task, void *argument) {
    (void)argument;
    make_pipe(task, O_NONBLOCK);
    CHECK_EQUAL(CALL(task, epoll_create1, 0), 2);
    CHECK_EQUAL(watch(task, 2, EPOLL_CTL_ADD, 0, EPOLLIN | EPOLLET), 0);
    for (int i = 0; i < 3; i++)
        task_start(task->host, epoll_sleeper, NULL);
    finished = true;
}

static void an_edge_wakes_one_of_many_sleepers(void) {
    woken = 0;
    run(herd_body, write_twice); /* the second byte comes after the others have given up */
    CHECK_EQUAL(woken, 1);
}

/* ---- eventfd and timerfd ---- */

static void eventfd_reader(struct task *task, void *argument) {
    (void)argument;
    uint64_t value;
    sleep_for(task, NS_PER_S);
    CHECK_EQUAL(CALL(task, read, 0, P(&value), 8), 8);
    CHECK(value == UINT64_MAX - 1);
}

static void eventfd_body(struct task *task, void *argument) {
    (void)argument;
    uint64_t value = UINT64_MAX;
    CHECK_EQUAL(CALL(task, eventfd2, 0, 0), 0);
    CHECK_EQUAL(CALL(task, write, 0, P(&value), 8), -EINVAL);
    CHECK_EQUAL(CALL(task, write, 0, P(&value), 7), -EINVAL);
    value = UINT64_MAX - 1;
    CHECK_EQUAL(CALL(task, write, 0, P(&value), 8), 8);
    struct pollfd polled = {.fd = 0, .events = POLLIN | POLLOUT};
    CHECK_EQUAL(CALL(task, poll, P(&polled), 1, 0), 1);
    CHECK_EQUAL(polled.revents, POLLIN);
    value = 5;
    CHECK_EQUAL(CALL(task, write, 0, P(&value), 8), 8); /* waits for the reader */
    CHECK_EQUAL(task->host->now, NS_PER_S);
    CHECK_EQUAL(CALL(task, read, 0, P(&value), 8), 8);
    CHECK_EQUAL(value, 5);
    int64_t semaphore = CALL(task, eventfd2, 2, EFD_SEMAPHORE | EFD_NONBLOCK);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(CALL(task, read, (uint64_t)semaphore, P(&value), 8), 8);
        CHECK_EQUAL(value, 1);
    }
    CHECK_EQUAL(CALL(task, read, (uint64_t)semaphore, P(&value), 8), -EAGAIN);
    CHECK_EQUAL(CALL(task, eventfd2, 0, 2), -EINVAL);
    finished = true;
}

static void an_eventfd_counts_and_blocks_when_full(void) { run(eventfd_body, eventfd_reader); }

static void timerfd_body(struct task *task, void *argument) {
    (void)argument;
    int64_t fd = CALL(task, timerfd_create, CLOCK_MONOTONIC, 0);
    struct itimerspec value = {.it_value = {0, 250000000}, .it_interval = {0, 100000000}}, old;
    uint64_t count;
    CHECK_EQUAL(CALL(task, timerfd_settime, (uint64_t)fd, 0, P(&value), P(&old)), 0);
    CHECK_EQUAL(old.it_value.tv_sec + old.it_value.tv_nsec, 0);
    CHECK_EQUAL(CALL(task, read, (uint64_t)fd, P(&count), 8), 8);
    CHECK_EQUAL(count, 1);
    CHECK_EQUAL(task->host->now, 250 * NS_PER_MS);
    sleep_for(task, 310 * NS_PER_MS);
    CHECK_EQUAL(CALL(task, timerfd_gettime, (uint64_t)fd, P(&old)), 0);
    CHECK_EQUAL(old.it_value.tv_nsec, 90 * NS_PER_MS);
    CHECK_EQUAL(CALL(task, read, (uint64_t)fd, P(&count), 8), 8);
    CHECK_EQUAL(count, 3);
    struct itimerspec absolute = {.it_value = {EPOCH_SECONDS + 2, 0}};
    int64_t wall = CALL(task, timerfd_create, CLOCK_REALTIME, TFD_NONBLOCK);
    CHECK_EQUAL(CALL(task, timerfd_settime, (uint64_t)wall, TFD_TIMER_ABSTIME, P(&absolute), 0), 0);
    CHECK_EQUAL(CALL(task, read, (uint64_t)wall, P(&count), 8), -EAGAIN);
    struct pollfd polled = {.fd = (int)wall, .events = POLLIN};
    CHECK_EQUAL(CALL(task, poll, P(&polled), 1, (uint64_t)-1), 1);
    CHECK_EQUAL(task->host->now, 2 * NS_PER_S);
    absolute = (struct itimerspec){.it_value = {EPOCH_SECONDS, 0}, .it_interval = {0, 500000000}};
    CHECK_EQUAL(CALL(task, timerfd_settime, (uint64_t)wall, TFD_TIMER_ABSTIME, P(&absolute), 0), 0);
    CHECK_EQUAL(CALL(task, read, (uint64_t)wall, P(&count), 8), 8);
    CHECK_EQUAL(count, 5); /* at 0, 0.5, 1, 1.5 and 2 s */
    CHECK_EQUAL(CALL(task, timerfd_create, CLOCK_PROCESS_CPUTIME_ID, 0), -EINVAL);
    absolute.it_value.tv_nsec = 1000000000;
    CHECK_EQUAL(CALL(task, timerfd_settime, (uint64_t)wall, 0, P(&absolute), 0), -EINVAL);
    CHECK_EQUAL(CALL(task, write, (uint64_t)wall, P(&count), 8), -EINVAL);
    CHECK_EQUAL(CALL(task, close, (uint64_t)wall), 0);
    CHECK_EQUAL(CALL(task, close, (uint64_t)fd), 0);
    CHECK(timer_next(task->host) == NEVER);
    finished = true;
}

static void a_timerfd_counts_expirations_in_virtual_time(void) { run(timerfd_body, NULL); }

int main(void) {
    RUN(poll_waits_for_what_it_was_asked_and_no_longer);
    RUN(poll_tells_of_a_hangup_that_nobody_asked_for);
    RUN(select_keeps_the_bits_that_hold_and_the_time_that_is_left);
    RUN(a_mask_holds_for_the_call_only);
    RUN(level_triggered_items_stay_ready_and_oneshot_items_do_not);
    RUN(edge_triggered_items_tell_of_news_only);
    RUN(items_become_ready_in_order_and_go_with_their_file);
    RUN(epoll_files_can_be_watched_but_not_in_circles);
    RUN(an_edge_wakes_one_of_many_sleepers);
    RUN(an_eventfd_counts_and_blocks_when_full);
    RUN(a_timerfd_counts_expirations_in_virtual_time);
    return 0;
}
