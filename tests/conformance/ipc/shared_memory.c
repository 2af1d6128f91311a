/* System V shared memory: keys, attaching, what fork, exec and munmap count, and what removing means. */
#include "calls.h"
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

static key_t key;

static void show(const char *what, int id) {
    struct shmid_ds status;
    if (shmctl(id, IPC_STAT, &status))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %zu bytes, %d attached, mode %o, key %s, created by %s, last used by %s, attached %d detached %d\n",
               what, status.shm_segsz, (int)status.shm_nattch, status.shm_perm.mode,
               status.shm_perm.__key == key ? "ours"
               : status.shm_perm.__key      ? "another"
                                            : "none",
               status.shm_cpid == getpid() ? "me" : "another", status.shm_lpid == getpid() ? "me" : "another",
               status.shm_atime != 0, status.shm_dtime != 0);
}

/* The name of the mapping at an address. */
static void show_map(const char *what, const void *address) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], name[256] = "";
    unsigned long start, end;
    while (fgets(line, sizeof line, maps)) {
        int fields = sscanf(line, "%lx-%lx %*s %*s %*s %*s %255[^\n]", &start, &end, name);
        if (fields >= 2 && (unsigned long)address >= start && (unsigned long)address < end)
            printf("%s: %s%lu bytes\n", what, strncmp(name, "/SYSV", 5) == 0 ? "a segment, " : name, end - start);
    }
    fclose(maps);
}

static void keys(void) {
    FACT(shmget(key, 100, 0600));
    FACT(shmget(key, 0, IPC_CREAT | 0600));
    int id = shmget(key, 5000, IPC_CREAT | 0640);
    DONE(id);
    HOLDS(shmget(key, 5000, IPC_CREAT) == id);
    HOLDS(shmget(key, 0, 0) == id);
    HOLDS(shmget(key, 10, 0400) == id);
    FACT(shmget(key, 5001, 0));
    FACT(shmget(key, 10, IPC_CREAT | IPC_EXCL));
    int private = shmget(IPC_PRIVATE, 10, 0600), other = shmget(IPC_PRIVATE, 10, IPC_CREAT | IPC_EXCL | 0600);
    HOLDS(private >= 0 && other >= 0 && private != other);
    show("new", id);
    show("private", private);
    FACT(shmctl(private, IPC_RMID, NULL));
    FACT(shmctl(other, IPC_RMID, NULL));
    FACT(shmctl(private, IPC_RMID, NULL));
    FACT(shmctl(id, IPC_RMID, NULL));
    FACT(shmctl(id, IPC_STAT, NULL));
    FACT(shmctl(-1, IPC_RMID, NULL));
    FACT(shmctl(id, 99, NULL));
    FACT((long)shmat(id, NULL, 0));
    FACT(shmget(key, 5000, 0));
}

static void attaching(void) {
    int id = shmget(key, 5000, IPC_CREAT | 0600);
    char *first = shmat(id, NULL, 0), *second = shmat(id, NULL, SHM_RDONLY);
    HOLDS(first != (void *)-1 && second != (void *)-1 && first != second);
    HOLDS(first[0] == 0 && first[4999] == 0 && first[8191] == 0);
    strcpy(first + 4990, "shared");
    printf("through the other: %s\n", second + 4990);
    show("attached twice", id);
    show_map("first", first);
    FACT((long)shmat(id, first + 1, 0));
    FACT((long)shmat(id, first, 0));
    char *place = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FACT((long)shmat(id, place, 0));
    HOLDS(shmat(id, place, SHM_REMAP) == place);
    FACT((long)shmat(id, NULL, SHM_REMAP));
    munmap(place + 8192, 65536 - 8192);
    HOLDS(shmat(id, place + 16384 + 77, SHM_RND) == place + 16384);
    printf("at a place: %s\n", place + 16384 + 4990);
    show("attached four times", id);
    FACT(shmdt(first + 4096));
    FACT(shmdt(first));
    FACT(shmdt(first));
    FACT(munmap(place, 4096)); /* half of it */
    show("and a half", id);
    FACT(shmdt(place));
    show("two left", id);
    FACT(munmap(second, 8192));
    FACT(munmap(place + 16384, 4096));
    show("half left", id);
    FACT(shmdt(place + 16384));
    show("none left", id);
    FACT(shmctl(id, IPC_RMID, NULL));
}

static void processes(void) {
    int id = shmget(key, 4096, IPC_CREAT | 0600);
    volatile int *number = shmat(id, NULL, 0);
    pid_t child = fork();
    if (!child) {
        show("in the child", id);
        *number = 41;
        struct shmid_ds status;
        while (shmctl(id, IPC_STAT, &status) == 0 && status.shm_nattch < 3)
            nap(1);
        show("three", id);
        exit(0);
    }
    while (*number != 41)
        nap(1);
    int *again = shmat(id, NULL, 0);
    ++*again;
    wait_and_show("child", child);
    printf("number %d\n", *number);
    show("after the child", id);
    child = fork();
    if (!child) {
        execl("/proc/self/exe", "shared_memory", "sleep", NULL);
        _exit(1);
    }
    until_state(child, child, 'S');
    show("a new program has none", id);
    kill(child, SIGKILL);
    wait_and_show("killed", child);
    FACT(shmctl(id, IPC_RMID, NULL));
    show("removed, but attached", id);
    FACT(shmget(key, 4096, 0600));
    int *late = shmat(id, NULL, 0);
    HOLDS(*late == 42);
    int other = shmget(key, 4096, IPC_CREAT | 0600);
    HOLDS(other >= 0 && other != id);
    FACT(shmdt(late));
    FACT(shmdt(again));
    FACT(shmdt((void *)number));
    FACT(shmctl(id, IPC_STAT, NULL));
    char *fresh = shmat(other, NULL, 0);
    HOLDS(fresh[0] == 0);
    FACT(shmctl(other, IPC_RMID, NULL));
}

static void settings(void) {
    int id = shmget(key, 1, IPC_CREAT | 0600);
    struct shmid_ds status;
    struct shminfo limits;
    shmctl(id, IPC_STAT, &status);
    status.shm_perm.mode = 07444;
    FACT(shmctl(id, IPC_SET, &status));
    FACT(shmctl(id, SHM_LOCK, NULL));
    show("locked", id);
    FACT(shmctl(id, SHM_UNLOCK, NULL));
    show("set", id);
    HOLDS(shmctl(0, IPC_INFO, (struct shmid_ds *)&limits) >= 0 && limits.shmmin == 1);
    FACT(shmctl(id, IPC_RMID, NULL));
}

static void moved(void) {
    int id = shmget(IPC_PRIVATE, 8192, 0600);
    char *first = shmat(id, NULL, 0);
    strcpy(first + 4096, "moved");
    char *place = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FACT(shmctl(id, IPC_RMID, NULL));
    HOLDS(mremap(first, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    printf("it was %s\n", place + 4096);
    show("after moving", id);
    FACT(shmdt(first));
    FACT(shmdt(place));
    FACT(shmctl(id, IPC_STAT, NULL));
}

int main(int argc, char **argv) {
    (void)argv;
    begin();
    if (argc > 1) {
        pause();
        return 0;
    }
    key = 0x5a000000 + getpid();
    keys();
    attaching();
    processes();
    settings();
    moved();
    return 0;
}
