/* Threads: joining, keys, ends in every order, cancellation, signals to threads. */
#include "calls.h"
#include <pthread.h>
#include <sys/syscall.h>

static pthread_key_t key;
static __thread int local = 5;
static char order[256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(const char *what) {
    pthread_mutex_lock(&lock);
    strncat(order, what, sizeof order - strlen(order) - 1);
    pthread_mutex_unlock(&lock);
}

static void show_order(const char *what) {
    printf("%s:%s\n", what, order);
    order[0] = '\0';
}

static void destroy(void *value) {
    char text[32];
    snprintf(text, sizeof text, " destroyed-%ld", (long)(intptr_t)value);
    note(text);
    if ((intptr_t)value < 3)
        pthread_setspecific(key, (void *)((intptr_t)value + 1));
}

static void *returns(void *value) {
    local += (int)(intptr_t)value;
    pthread_setspecific(key, (void *)1);
    return (void *)(intptr_t)local;
}

static void *exits(void *value) { pthread_exit(value); }

static void cleanup(void *text) { note(text); }

static void *sleeps(void *value) {
    pthread_cleanup_push(cleanup, " outer");
    pthread_cleanup_push(cleanup, " inner");
    for (;;)
        pause();
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return value;
}

static void *reads(void *value) {
    char byte;
    (void)!read(*(int *)value, &byte, 1);
    return NULL;
}

static void *cancels_late(void *value) {
    int old;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    nap(5);
    note(" survived");
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    pthread_testcancel();
    note(" never");
    return value;
}

static void *spins(void *value) {
    int old;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    *(volatile int *)value = 1;
    for (;;)
        sched_yield();
    return NULL;
}

static void joining(void) {
    pthread_t thread;
    void *result = NULL;
    pthread_key_create(&key, destroy);
    CODE(pthread_create(&thread, NULL, returns, (void *)10));
    CODE(pthread_join(thread, &result));
    printf("result %ld, our copy %d\n", (long)(intptr_t)result, local);
    show_order("key");
    CODE(pthread_create(&thread, NULL, exits, (void *)77));
    CODE(pthread_join(thread, &result));
    printf("result %ld\n", (long)(intptr_t)result);
    CODE(pthread_join(pthread_self(), &result));
    int pipes[2];
    if (pipe(pipes))
        return;
    CODE(pthread_create(&thread, NULL, reads, &pipes[0]));
    CODE(pthread_tryjoin_np(thread, &result));
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec -= 1;
    CODE(pthread_timedjoin_np(thread, &result, &time));
    close(pipes[1]);
    CODE(pthread_join(thread, NULL));
    close(pipes[0]);
    pthread_attr_t attributes;
    size_t size;
    int state;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 18);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    CODE(pthread_create(&thread, &attributes, exits, NULL));
    pthread_attr_destroy(&attributes);
    CODE(pthread_getattr_np(pthread_self(), &attributes));
    pthread_attr_getstacksize(&attributes, &size);
    pthread_attr_getdetachstate(&attributes, &state);
    void *base;
    pthread_attr_getstack(&attributes, &base, &size);
    char here;
    /* As much as the limit allows, less what lies above: arguments, environment, rounding. */
    HOLDS(size > (size_t)7 << 20 && size <= (size_t)8 << 20);
    printf("we are on it: %d, detached %d\n", &here > (char *)base && &here < (char *)base + size,
           state == PTHREAD_CREATE_DETACHED);
    pthread_attr_destroy(&attributes);
}

static void cancelling(void) {
    pthread_t thread;
    void *result;
    int pipes[2];
    volatile int ready = 0;
    pthread_create(&thread, NULL, sleeps, NULL);
    CODE(pthread_cancel(thread));
    CODE(pthread_join(thread, &result));
    HOLDS(result == PTHREAD_CANCELED);
    order[0] = '\0'; /* whether it had begun is not determined */
    if (pipe(pipes))
        return;
    pthread_create(&thread, NULL, reads, &pipes[0]);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    HOLDS(result == PTHREAD_CANCELED);
    pthread_create(&thread, NULL, cancels_late, NULL);
    nap(1);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    HOLDS(result == PTHREAD_CANCELED);
    order[0] = '\0';
    pthread_create(&thread, NULL, spins, (void *)&ready);
    while (!ready)
        nap(1);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    HOLDS(result == PTHREAD_CANCELED);
}

static volatile pid_t sleeper;
static void *sleeps_with_cleanup(void *value) {
    sleeper = gettid();
    return sleeps(value);
}

static volatile sig_atomic_t handler_tid;
static void remember(int signo) {
    (void)signo;
    handler_tid = gettid();
}

static void *waits_for_signal(void *value) {
    sigset_t set;
    int signo = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sleeper = gettid();
    sigwait(&set, &signo);
    *(int *)value = signo;
    return NULL;
}

static void signals(void) {
    pthread_t thread;
    void *result;
    sigset_t set, old;
    sleeper = 0;
    pthread_create(&thread, NULL, sleeps_with_cleanup, NULL);
    while (!sleeper)
        nap(1);
    until_state(getpid(), sleeper, 'S');
    signal(SIGUSR1, remember);
    CODE(pthread_kill(thread, SIGUSR1));
    while (!handler_tid)
        nap(1);
    HOLDS(handler_tid == sleeper);
    handler_tid = 0;
    raise(SIGUSR1);
    HOLDS(handler_tid == getpid());
    /* Blocked by the one, taken by the other. */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    handler_tid = 0;
    kill(getpid(), SIGUSR1);
    while (!handler_tid)
        nap(1);
    HOLDS(handler_tid == sleeper);
    CODE(pthread_kill(pthread_self(), SIGUSR1));
    handler_tid = 0;
    nap(3);
    HOLDS(handler_tid == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    HOLDS(handler_tid == getpid());
    pthread_cancel(thread);
    pthread_join(thread, &result);
    show_order("cleanups");
    int signo = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    sleeper = 0;
    pthread_create(&thread, NULL, waits_for_signal, &signo);
    while (!sleeper)
        nap(1);
    until_state(getpid(), sleeper, 'S');
    kill(getpid(), SIGUSR2);
    pthread_join(thread, NULL);
    printf("sigwait in a thread: %d\n", signo == SIGUSR2);
    CODE(pthread_kill(pthread_self(), 0));
    CODE(pthread_kill(pthread_self(), 65));
}

static void *ends_process(void *value) {
    (void)value;
    exit(21);
}
static void *raw_exit(void *value) {
    nap(20);
    printf("the last thread\n");
    fflush(stdout);
    syscall(SYS_exit, 33);
    return value;
}
static void *faults(void *value) {
    *(volatile int *)value = 1;
    return NULL;
}

static void ends(void) {
    static void *(*const bodies[])(void *) = {ends_process, faults};
    pthread_t thread;
    for (size_t i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_create(&thread, NULL, bodies[i], NULL);
            for (;;)
                pause();
        }
        wait_and_show("ended by a thread", pid);
    }
    pid_t pid = fork();
    if (pid == 0) {
        pthread_create(&thread, NULL, raw_exit, NULL);
        syscall(SYS_exit, 5); /* the leader goes first */
    }
    wait_and_show("the leader went first", pid);
    pid = fork();
    if (pid == 0) {
        pthread_create(&thread, NULL, raw_exit, NULL);
        pthread_exit(NULL);
    }
    wait_and_show("pthread_exit of the leader", pid);
    pid = fork();
    if (pid == 0) {
        pthread_create(&thread, NULL, raw_exit, NULL);
        exit(9);
    }
    wait_and_show("return of main", pid);
}

static void before(void) { note(" prepare"); }
static void in_parent(void) { note(" parent"); }
static void in_child(void) { note(" child"); }

static void forks(void) {
    pthread_t thread;
    sleeper = 0;
    pthread_atfork(before, in_parent, in_child);
    pthread_create(&thread, NULL, sleeps_with_cleanup, NULL);
    while (!sleeper)
        nap(1);
    pid_t pid = fork();
    if (pid == 0) {
        show_order("in the child");
        HOLDS(thread_state(getpid(), getpid()) == 'R');
        HOLDS(thread_state(getpid(), sleeper) == 0);
        _exit(0);
    }
    wait_and_show("child of a process with threads", pid);
    show_order("in the parent");
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    order[0] = '\0';
}

int main(void) {
    begin();
    joining();
    cancelling();
    signals();
    ends();
    forks();
    return 0;
}
