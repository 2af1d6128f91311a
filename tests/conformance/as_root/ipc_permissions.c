/* System V objects of one user, in the hands of another. */
#include "calls.h"
#include <grp.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void as(uid_t user, gid_t group, void (*body)(int, int, int), int shm, int sem, int msg) {
    pid_t child = fork();
    if (!child) {
        if (setgroups(0, NULL) || setgid(group) || setuid(user))
            _exit(1);
        printf("== %d:%d\n", (int)user, (int)group);
        body(shm, sem, msg);
        exit(0);
    }
    wait_and_show("child", child);
}

static void use(int shm, int sem, int msg) {
    struct shmid_ds segment;
    struct sembuf up = {0, 1, 0}, zero = {0, 0, IPC_NOWAIT};
    struct {
        long type;
        char text[8];
    } message = {1, "hello"};
    printf("write: %s\n", shmat(shm, NULL, 0) == (void *)-1 ? strerrorname_np(errno) : "done");
    printf("read: %s\n", shmat(shm, NULL, SHM_RDONLY) == (void *)-1 ? strerrorname_np(errno) : "done");
    FACT(shmctl(shm, IPC_STAT, &segment));
    FACT(semop(sem, &up, 1));
    FACT(semop(sem, &zero, 1));
    FACT(semctl(sem, 0, SETVAL, 0));
    FACT(semctl(sem, 0, GETVAL));
    FACT(msgsnd(msg, &message, 3, IPC_NOWAIT));
    FACT(msgrcv(msg, &message, 8, 0, IPC_NOWAIT));
    FACT(shmctl(shm, SHM_LOCK, NULL));
    FACT(shmctl(shm, IPC_RMID, NULL));
    FACT(semctl(sem, 0, IPC_RMID));
    FACT(msgctl(msg, IPC_RMID, NULL));
}

static void look_up(int shm, int sem, int msg) {
    (void)shm, (void)sem;
    FACT(shmget(msg, 1, 0400) >= 0);
    FACT(shmget(msg, 1, 0600) >= 0);
    FACT(shmget(msg, 1, 0) >= 0);
}

static void give(int id, uid_t user) {
    struct shmid_ds status;
    shmctl(id, IPC_STAT, &status);
    status.shm_perm.uid = user;
    FACT(shmctl(id, IPC_SET, &status));
}

static void by_owner(int shm, int sem, int msg) {
    (void)sem, (void)msg;
    FACT(shmctl(shm, IPC_RMID, NULL));
}

/* SHM_LOCK counts for RLIMIT_MEMLOCK: all segments that a user has locked. */
static void lock_some(int first, int second, int none) {
    (void)none;
    struct rlimit some = {10000, 10000}, nothing = {0, 0};
    FACT(setrlimit(RLIMIT_MEMLOCK, &some));
    FACT(shmctl(first, SHM_LOCK, NULL));
    FACT(shmctl(first, SHM_LOCK, NULL));
    FACT(shmctl(second, SHM_LOCK, NULL));
    FACT(shmctl(first, SHM_UNLOCK, NULL));
    FACT(shmctl(second, SHM_LOCK, NULL));
    FACT(shmctl(first, SHM_LOCK, NULL));
    FACT(setrlimit(RLIMIT_MEMLOCK, &nothing));
    FACT(shmctl(second, SHM_LOCK, NULL));
    FACT(shmctl(second, SHM_UNLOCK, NULL));
    FACT(shmctl(first, SHM_LOCK, NULL));
}

int main(void) {
    begin();
    key_t key = 0x5d000000 + getpid();
    FACT(setgroups(0, NULL));
    FACT(setresgid(500, 500, 0));
    FACT(setresuid(-1, 1000, -1));
    int shm = shmget(key, 100, IPC_CREAT | 0640), sem = semget(key, 1, IPC_CREAT | 0640),
        msg = msgget(key, IPC_CREAT | 0640);
    FACT(setresuid(0, 0, 0));
    as(1001, 500, use, shm, sem, msg);
    as(1001, 501, use, shm, sem, msg);
    as(1001, 500, look_up, 0, 0, key);
    as(1001, 501, look_up, 0, 0, key);
    give(shm, 1001);
    as(1001, 501, by_owner, shm, 0, 0);
    as(1000, 501, use, shm, sem, msg);
    int first = shmget(IPC_PRIVATE, 4097, 0600), second = shmget(IPC_PRIVATE, 1, 0600);
    give(first, 1002);
    give(second, 1002);
    as(1002, 502, lock_some, first, second, 0);
    FACT(shmctl(first, SHM_LOCK, NULL));
    FACT(shmctl(first, IPC_RMID, NULL));
    FACT(shmctl(second, IPC_RMID, NULL));
    return 0;
}
