/* Mutexes of every kind, conditions, read-write locks, barriers, semaphores, between threads and between processes. */
#include "calls.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

struct shared {
    pthread_mutex_t mutex, robust;
    pthread_cond_t condition;
    pthread_barrier_t barrier;
    pthread_rwlock_t lock;
    sem_t semaphore;
    int value, turn;
};

static struct timespec soon(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_nsec += 3000000;
    if (time.tv_nsec >= 1000000000)
        time.tv_sec++, time.tv_nsec -= 1000000000;
    return time;
}

static void *lock_elsewhere(void *mutex) {
    printf("  elsewhere: %s, %s\n", strerrorname_np(pthread_mutex_trylock(mutex)),
           strerrorname_np(pthread_mutex_unlock(mutex)) ? strerrorname_np(pthread_mutex_unlock(mutex)) : "0");
    return NULL;
}

static void kinds(void) {
    static const int types[] = {PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE};
    for (size_t i = 0; i < 2; i++) {
        pthread_mutexattr_t attributes;
        pthread_mutex_t mutex;
        pthread_t thread;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_settype(&attributes, types[i]);
        pthread_mutex_init(&mutex, &attributes);
        CODE(pthread_mutex_lock(&mutex));
        CODE(pthread_mutex_lock(&mutex));
        CODE(pthread_mutex_trylock(&mutex));
        pthread_create(&thread, NULL, lock_elsewhere, &mutex);
        pthread_join(thread, NULL);
        CODE(pthread_mutex_unlock(&mutex));
        CODE(pthread_mutex_unlock(&mutex));
        CODE(pthread_mutex_unlock(&mutex));
        CODE(pthread_mutex_unlock(&mutex));
    }
    static const int protocols[] = {PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT};
    for (size_t i = 0; i < 2; i++) {
        pthread_mutexattr_t attributes;
        pthread_mutex_t mutex;
        struct timespec time = soon(CLOCK_REALTIME);
        pthread_mutexattr_init(&attributes);
        CODE(pthread_mutexattr_setprotocol(&attributes, protocols[i]));
        CODE(pthread_mutex_init(&mutex, &attributes));
        CODE(pthread_mutex_lock(&mutex));
        CODE(pthread_mutex_trylock(&mutex));
        if (i == 0)
            CODE(pthread_mutex_timedlock(&mutex, &time));
        CODE(pthread_mutex_unlock(&mutex));
    }
}

static pthread_mutex_t contended;
static int inherited;
static void *add_many(void *value) {
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&contended);
        int copy = inherited;
        sched_yield();
        inherited = copy + 1;
        pthread_mutex_unlock(&contended);
    }
    return value;
}

static void contention(int protocol) {
    pthread_mutexattr_t attributes;
    pthread_t threads[4];
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    pthread_mutex_init(&contended, &attributes);
    inherited = 0;
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, add_many, NULL);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("contended: %d\n", inherited);
}

static void time_outs(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    sem_t semaphore;
    struct timespec time = soon(CLOCK_REALTIME), bad = {0, 1000000000};
    pthread_mutex_lock(&mutex);
    CODE(pthread_cond_timedwait(&condition, &mutex, &time));
    CODE(pthread_cond_timedwait(&condition, &mutex, &bad));
    time = soon(CLOCK_MONOTONIC);
    CODE(pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &time));
    time = soon(CLOCK_MONOTONIC);
    CODE(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &time));
    pthread_rwlock_rdlock(&lock);
    CODE(pthread_rwlock_tryrdlock(&lock));
    CODE(pthread_rwlock_trywrlock(&lock));
    time = soon(CLOCK_REALTIME);
    CODE(pthread_rwlock_timedwrlock(&lock, &time));
    sem_init(&semaphore, 0, 1);
    FACT(sem_wait(&semaphore));
    FACT(sem_trywait(&semaphore));
    time = soon(CLOCK_REALTIME);
    FACT(sem_timedwait(&semaphore, &time));
    FACT(sem_timedwait(&semaphore, &bad));
    FACT(sem_post(&semaphore));
    int value;
    sem_getvalue(&semaphore, &value);
    printf("semaphore %d\n", value);
}

static void initialise(struct shared *shared) {
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    pthread_barrierattr_t barrier;
    pthread_rwlockattr_t lock;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &mutex);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->robust, &mutex);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&shared->condition, &condition);
    pthread_barrierattr_init(&barrier);
    pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &barrier, 3);
    pthread_rwlockattr_init(&lock);
    pthread_rwlockattr_setpshared(&lock, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&shared->lock, &lock);
    sem_init(&shared->semaphore, 1, 0);
    shared->value = shared->turn = 0;
}

static void play(struct shared *shared, int player) {
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&shared->mutex);
        while (shared->turn != player)
            pthread_cond_wait(&shared->condition, &shared->mutex);
        shared->value = shared->value * 3 % 1000003 + player + 1;
        shared->turn = (player + 1) % 3;
        pthread_cond_broadcast(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
        pthread_rwlock_wrlock(&shared->lock);
        pthread_rwlock_unlock(&shared->lock);
    }
    bool last = pthread_barrier_wait(&shared->barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
    if (last)
        sem_post(&shared->semaphore);
}

static void between_processes(const char *what, struct shared *ours, struct shared *theirs) {
    initialise(ours);
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            play(theirs, i);
            _exit(0);
        }
    }
    play(ours, 2);
    FACT(sem_wait(&ours->semaphore));
    FACT(sem_trywait(&ours->semaphore));
    for (int i = 0; i < 2; i++)
        wait_and_show("player", pids[i]);
    printf("%s: %d\n", what, ours->value);

    for (int how = 0; how < 3; how++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_mutex_lock(&theirs->robust);
            if (how == 0)
                _exit(0);
            if (how == 1)
                raise(SIGKILL);
            execl("/bin/true", "true", (char *)NULL);
        }
        if (how != 1)
            wait_and_show("owner", pid);
        else
            waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
        CODE(pthread_mutex_lock(&ours->robust));
        if (how < 2)
            CODE(pthread_mutex_consistent(&ours->robust));
        CODE(pthread_mutex_unlock(&ours->robust));
        if (how == 1)
            wait_and_show("owner", pid);
    }
    CODE(pthread_mutex_lock(&ours->robust)); /* was given up inconsistent */
}

static void *die_holding(void *mutex) {
    pthread_mutex_lock(mutex);
    return NULL;
}

int main(void) {
    begin();
    kinds();
    contention(PTHREAD_PRIO_NONE);
    contention(PTHREAD_PRIO_INHERIT);
    time_outs();
    struct shared *anonymous = mmap(NULL, sizeof *anonymous, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    between_processes("anonymous memory", anonymous, anonymous);

    char name[64];
    snprintf(name, sizeof name, "/conformance-%d", getpid());
    int fd = (int)DONE(shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600));
    FACT(ftruncate(fd, 8192));
    struct shared *first = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct shared *second = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    between_processes("shm_open, mapped twice", first, second);
    FACT(shm_unlink(name));
    FACT(shm_unlink(name));
    FACT(shm_open(name, O_RDWR, 0));

    pthread_mutexattr_t attributes;
    pthread_mutex_t mutex;
    pthread_t thread;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attributes);
    pthread_create(&thread, NULL, die_holding, &mutex);
    pthread_join(thread, NULL);
    CODE(pthread_mutex_lock(&mutex));
    CODE(pthread_mutex_consistent(&mutex));
    CODE(pthread_mutex_unlock(&mutex));

    snprintf(name, sizeof name, "/conformance-s-%d", getpid());
    sem_t *named = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    HOLDS(named != SEM_FAILED);
    HOLDS(sem_open(name, O_CREAT | O_EXCL, 0600, 0) == SEM_FAILED && errno == EEXIST);
    pid_t pid = fork();
    if (pid == 0) {
        sem_t *again = sem_open(name, 0);
        nap(2);
        sem_post(again);
        _exit(0);
    }
    FACT(sem_wait(named));
    wait_and_show("poster", pid);
    FACT(sem_unlink(name));
    return 0;
}
