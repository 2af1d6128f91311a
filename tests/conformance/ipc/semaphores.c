/* System V semaphores: operations all at once, waiting in order, undoing, removing. */
#include "calls.h"
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/sem.h>

static key_t key;

union argument {
    int value;
    struct semid_ds *status;
    unsigned short *values;
    struct seminfo *information;
};

static void show(const char *what, int id, int count) {
    printf("%s:", what);
    for (int i = 0; i < count; i++) {
        int pid = semctl(id, i, GETPID);
        printf(" %d (%d up, %d zero, by %s)", semctl(id, i, GETVAL), semctl(id, i, GETNCNT), semctl(id, i, GETZCNT),
               pid == getpid() ? "me"
               : pid           ? "another"
                               : "nobody");
    }
    printf("\n");
}

static int operate(int id, int number, int by, int flags) {
    struct sembuf operation = {(unsigned short)number, (short)by, (short)flags};
    return semop(id, &operation, 1);
}

/* A child that does one operation and says when. */
static pid_t waiter(int id, int number, int by, const char *name) {
    pid_t child = fork();
    if (!child) {
        int result = operate(id, number, by, 0), error = errno;
        nap(by ? 30 : 60); /* whoever let it go on has told of that */
        printf("%s: %s\n", name, result ? strerrorname_np(error) : "done");
        exit(0);
    }
    until_state(child, child, 'S');
    return child;
}

static void keys(void) {
    FACT(semget(key, 1, 0600));
    FACT(semget(key, 0, IPC_CREAT | 0600));
    FACT(semget(key, -1, IPC_CREAT | 0600));
    FACT(semget(key, 32001, IPC_CREAT | 0600));
    int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0600);
    DONE(id);
    HOLDS(semget(key, 0, 0) == id);
    HOLDS(semget(key, 3, IPC_CREAT) == id);
    FACT(semget(key, 4, 0));
    FACT(semget(key, 3, IPC_CREAT | IPC_EXCL));
    struct semid_ds status;
    FACT(semctl(id, 0, IPC_STAT, (union argument){.status = &status}));
    printf("%d semaphores, mode %o, operated on %d, changed %d\n", (int)status.sem_nsems, status.sem_perm.mode,
           status.sem_otime != 0, status.sem_ctime != 0);
    show("new", id, 3);
    FACT(semctl(id, 3, GETVAL));
    FACT(semctl(id, -1, SETVAL, (union argument){.value = 1}));
    FACT(semctl(id, 0, SETVAL, (union argument){.value = -1}));
    FACT(semctl(id, 0, SETVAL, (union argument){.value = 32768}));
    FACT(semctl(id, 0, SETVAL, (union argument){.value = 32767}));
    FACT(operate(id, 0, 1, 0));
    unsigned short values[3] = {1, 2, 40000};
    FACT(semctl(id, 0, SETALL, (union argument){.values = values}));
    values[2] = 3;
    FACT(semctl(id, 0, SETALL, (union argument){.values = values}));
    memset(values, 0, sizeof values);
    FACT(semctl(id, 0, GETALL, (union argument){.values = values}));
    printf("all: %d %d %d\n", values[0], values[1], values[2]);
    FACT(semctl(id, 0, 77));
    FACT(semctl(id, 0, IPC_RMID));
    FACT(semctl(id, 0, IPC_RMID));
    FACT(operate(id, 0, 1, 0));
}

static void all_at_once(void) {
    int id = semget(IPC_PRIVATE, 3, 0600);
    FACT(operate(id, 0, 2, 0));
    FACT(semop(id, (struct sembuf[]){{0, -1, 0}, {1, -1, IPC_NOWAIT}}, 2));
    show("nothing was done", id, 3);
    FACT(semop(id, (struct sembuf[]){{0, -1, 0}, {1, 5, 0}, {1, -2, 0}, {2, 0, 0}}, 4));
    show("all was done", id, 3);
    FACT(semop(id, (struct sembuf[]){{1, 0, IPC_NOWAIT}}, 1));
    FACT(semop(id, (struct sembuf[]){{1, 1, 0}, {3, 1, 0}}, 2));
    FACT(semop(id, NULL, 0));
    FACT(semop(id, (struct sembuf *)8, 1));
    FACT(semop(id, (struct sembuf[501]){{0}}, 501));
    FACT(semop(-1, (struct sembuf[]){{0, 1, 0}}, 1));
    FACT(semtimedop(id, (struct sembuf[]){{2, -1, 0}}, 1, &(struct timespec){0, 20000000}));
    FACT(semtimedop(id, (struct sembuf[]){{2, -1, 0}}, 1, &(struct timespec){0, 0}));
    FACT(semtimedop(id, (struct sembuf[]){{2, -1, 0}}, 1, &(struct timespec){0, -1}));
    FACT(semctl(id, 0, IPC_RMID));
}

static void waiting(void) {
    int id = semget(IPC_PRIVATE, 2, 0600);
    pid_t three = waiter(id, 0, -3, "three"), one = waiter(id, 0, -1, "one"), zero;
    show("two wait", id, 2);
    FACT(operate(id, 0, 1, 0)); /* the second can go */
    wait_and_show("one", one);
    show("one waits", id, 2);
    FACT(operate(id, 0, 2, 0));
    zero = waiter(id, 1, -1, "the other");
    FACT(operate(id, 1, 1, 0));
    FACT(operate(id, 1, -1, IPC_NOWAIT)); /* it was given away at once */
    wait_and_show("the other", zero);
    zero = waiter(id, 0, 0, "zero");
    show("for more, and for none", id, 2);
    FACT(operate(id, 0, 1, 0));
    wait_and_show("three", three);
    wait_and_show("zero", zero);
    one = waiter(id, 0, -1, "by a value");
    FACT(semctl(id, 0, SETVAL, (union argument){.value = 2}));
    wait_and_show("by a value", one);
    show("one is left", id, 2);
    one = waiter(id, 1, -1, "removed");
    FACT(semctl(id, 0, IPC_RMID));
    wait_and_show("removed", one);
}

static void undoing(void) {
    int id = semget(IPC_PRIVATE, 2, 0600);
    FACT(semctl(id, 0, SETVAL, (union argument){.value = 5}));
    pid_t child = fork();
    if (!child) {
        FACT(operate(id, 0, -2, SEM_UNDO));
        FACT(operate(id, 0, -1, 0));
        FACT(operate(id, 1, 4, SEM_UNDO));
        pid_t grandchild = fork(); /* has nothing to undo */
        if (!grandchild)
            exit(0);
        wait_and_show("grandchild", grandchild);
        show("before its end", id, 2);
        raise(SIGKILL);
    }
    wait_and_show("child", child);
    show("two came back, and none below zero", id, 2);
    child = fork();
    if (!child) {
        FACT(operate(id, 0, -2, SEM_UNDO));
        FACT(operate(id, 1, 3, SEM_UNDO));
        FACT(semctl(id, 0, SETVAL, (union argument){.value = 1})); /* forgets what was to be undone */
        exit(0);
    }
    wait_and_show("child", child);
    show("only one was undone", id, 2);
    child = fork();
    if (!child) {
        FACT(operate(id, 0, -1, SEM_UNDO));
        nap(50);
        exit(0);
    }
    until_state(child, child, 'S');
    FACT(operate(id, 0, -1, 0)); /* until it ends */
    wait_and_show("child", child);
    FACT(operate(id, 0, 32767, SEM_UNDO));
    FACT(operate(id, 0, -32767, 0));
    FACT(operate(id, 0, 2, SEM_UNDO));
    FACT(semctl(id, 0, IPC_RMID));
}

static void nothing(int signo) { (void)signo; }

static void interrupted(void) {
    int id = semget(IPC_PRIVATE, 1, 0600);
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pid_t child = fork();
    if (!child) {
        int result = operate(id, 0, -1, 0), error = errno;
        nap(30);
        errno = error;
        FACT(result);
        exit(0);
    }
    until_state(child, child, 'S');
    FACT(kill(child, SIGUSR1));
    wait_and_show("child", child);
    FACT(semctl(id, 0, GETNCNT));
    child = fork();
    if (!child) {
        operate(id, 0, -1, 0);
        exit(0);
    }
    until_state(child, child, 'S');
    FACT(semctl(id, 0, GETNCNT));
    kill(child, SIGKILL);
    wait_and_show("child", child);
    FACT(semctl(id, 0, GETNCNT));
    FACT(semctl(id, 0, IPC_RMID));
}

int main(void) {
    begin();
    key = 0x5b000000 + getpid();
    keys();
    all_at_once();
    waiting();
    undoing();
    interrupted();
    return 0;
}
