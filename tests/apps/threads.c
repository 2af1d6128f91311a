/* Threads: mutexes, condition variables, barriers, semaphores, thread-local data and timed waits. */
#include "common.h"

#include <pthread.h>
#include <semaphore.h>

#define COUNTERS 4
#define INCREMENTS 20000
#define ROUNDS 1000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static sem_t semaphore;
static int once_calls;
static long counter;
static int turn;
static int phase_sums[3];
static __thread int own;

static void count_once(void) { once_calls++; }

static void *increment(void *argument) {
    pthread_once(&once, count_once);
    for (int i = 0; i < INCREMENTS; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
        own++;
    }
    REQUIRE(own == INCREMENTS);
    return argument;
}

static void *ping_pong(void *argument) {
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % 2 != me) {
            pthread_cond_wait(&turn_changed, &mutex);
        }
        turn++;
        pthread_cond_broadcast(&turn_changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *in_phases(void *argument) {
    int me = (int)(intptr_t)argument;
    for (int phase = 0; phase < 3; phase++) {
        __atomic_fetch_add(&phase_sums[phase], me + phase, __ATOMIC_RELAXED);
        int result = pthread_barrier_wait(&barrier);
        REQUIRE(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
        REQUIRE(__atomic_load_n(&phase_sums[phase], __ATOMIC_RELAXED) == 6 + 4 * phase);
    }
    return NULL;
}

static void *post(void *argument) {
    for (int i = 0; i < 10; i++) {
        usleep(1000);
        sem_post(&semaphore);
    }
    return argument;
}

static void run_all(void *(*function)(void *), int count) {
    pthread_t threads[8];
    for (intptr_t i = 0; i < count; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, function, (void *)i) == 0);
    }
    for (intptr_t i = 0; i < count; i++) {
        void *result;
        REQUIRE(pthread_join(threads[i], &result) == 0);
        REQUIRE(result == NULL || result == (void *)i);
    }
}

static void timed_wait(void) {
    struct timespec until;
    REQUIRE(clock_gettime(CLOCK_REALTIME, &until) == 0);
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    until.tv_nsec += 20000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    REQUIRE(pthread_cond_timedwait(&turn_changed, &mutex, &until) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    REQUIRE(clock_ns(CLOCK_MONOTONIC) - start >= 19000000);
}

int main(void) {
    run_all(increment, COUNTERS);
    REQUIRE(own == 0 && once_calls == 1);
    printf("counter %ld\n", counter);
    run_all(ping_pong, 2);
    printf("turns %d\n", turn);
    REQUIRE(pthread_barrier_init(&barrier, NULL, 4) == 0);
    run_all(in_phases, 4);
    printf("phases %d %d %d\n", phase_sums[0], phase_sums[1], phase_sums[2]);
    pthread_t poster;
    REQUIRE(sem_init(&semaphore, 0, 0) == 0);
    REQUIRE(pthread_create(&poster, NULL, post, NULL) == 0);
    for (int i = 0; i < 10; i++) {
        REQUIRE(sem_wait(&semaphore) == 0);
    }
    REQUIRE(pthread_join(poster, NULL) == 0);
    REQUIRE(sem_trywait(&semaphore) < 0 && errno == EAGAIN);
    printf("semaphore 10\n");
    timed_wait();
    printf("timed wait ok\n");
    return 0;
}
