/* Locks on files: of processes, of open file descriptions, and flock. */
#include "calls.h"
#include <sys/file.h>

static int set_lock(int fd, int command, short type, off_t start, off_t length) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &lock);
}

static void who_locks(const char *what, int fd, int command, short type, off_t start, off_t length, pid_t owner) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (fcntl(fd, command, &lock))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else if (lock.l_type == F_UNLCK)
        printf("%s: nobody\n", what);
    else
        printf("%s: %s %ld+%ld, the owner is right: %d\n", what, lock.l_type == F_RDLCK ? "read" : "write",
               (long)lock.l_start, (long)lock.l_len, lock.l_pid == owner);
}

/* Three processes that wait in a circle: the one that closes it is told, and when it gives up, the others go on. */
static void deadlock(void) {
    int fd = open("circle", O_CREAT | O_RDWR, 0600), told[2];
    pid_t others[2];
    if (pipe(told))
        return;
    for (int i = 0; i < 2; i++) {
        others[i] = fork();
        if (!others[i]) {
            set_lock(fd, F_SETLK, F_WRLCK, i, 1);
            (void)!write(told[1], "r", 1);
            nap(100 + 100 * i);
            int result = set_lock(fd, F_SETLKW, F_WRLCK, i + 1, 1); /* of the next one */
            _exit(result ? 1 : 0);
        }
    }
    FACT(set_lock(fd, F_SETLK, F_WRLCK, 2, 1));
    char bytes[2];
    for (int i = 0; i < 2; i++)
        (void)!read(told[0], bytes, 1);
    until_state(others[0], others[0], 'S');
    nap(400);
    FACT(set_lock(fd, F_SETLKW, F_WRLCK, 0, 1));
    FACT(set_lock(fd, F_SETLKW, F_WRLCK, 10, 1)); /* nobody's */
    FACT(set_lock(fd, F_SETLK, F_UNLCK, 0, 0));
    wait_and_show("the second", others[1]);
    wait_and_show("the first", others[0]);
    close(fd), close(told[0]), close(told[1]);
}

int main(void) {
    begin();
    int fd = open("locked", O_CREAT | O_RDWR, 0600), ready[2], gate[2];
    char byte;
    if (pipe(ready) || pipe(gate))
        return 1;
    FACT(set_lock(fd, F_SETLK, F_WRLCK, 0, 10));
    FACT(set_lock(fd, F_SETLK, F_RDLCK, 20, 10));
    FACT(set_lock(fd, F_SETLK, 99, 20, 10));
    FACT(set_lock(1000, F_SETLK, F_WRLCK, 0, 10));
    who_locks("we", fd, F_GETLK, F_WRLCK, 0, 100, getpid());
    int read_only = open("locked", O_RDONLY);
    FACT(set_lock(read_only, F_SETLK, F_WRLCK, 0, 10));
    pid_t self = getpid(), pid = fork();
    if (pid == 0) {
        who_locks("child", fd, F_GETLK, F_WRLCK, 0, 100, self);
        who_locks("child, read", fd, F_GETLK, F_RDLCK, 12, 100, self);
        FACT(set_lock(fd, F_SETLK, F_WRLCK, 5, 1));
        FACT(set_lock(fd, F_SETLK, F_RDLCK, 20, 5));
        FACT(set_lock(fd, F_SETLK, F_WRLCK, 20, 5));
        FACT(set_lock(fd, F_SETLK, F_WRLCK, 10, 10));
        (void)!write(ready[1], "r", 1);
        FACT(set_lock(fd, F_SETLKW, F_WRLCK, 0, 0)); /* to the end, whatever it is */
        _exit(0);
    }
    (void)!read(ready[0], &byte, 1);
    who_locks("we, of the child", fd, F_GETLK, F_WRLCK, 10, 5, pid);
    until_state(pid, pid, 'S');
    close(read_only); /* closing any descriptor of the file gives all locks up */
    wait_and_show("child", pid);
    who_locks("after its end", fd, F_GETLK, F_WRLCK, 0, 0, 0);

    int other = open("locked", O_RDWR);
    FACT(set_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
    FACT(set_lock(other, F_OFD_SETLK, F_WRLCK, 5, 10));
    FACT(set_lock(other, F_OFD_SETLK, F_WRLCK, 10, 10));
    FACT(set_lock(fd, F_SETLK, F_WRLCK, 0, 1));
    who_locks("OFD", other, F_OFD_GETLK, F_WRLCK, 0, 5, -1);
    pid = fork();
    if (pid == 0) {
        FACT(set_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 5)); /* the same description: ours too */
        _exit(0);
    }
    wait_and_show("child", pid);
    FACT(set_lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
    FACT(set_lock(other, F_OFD_SETLK, F_UNLCK, 0, 0));

    FACT(flock(fd, LOCK_SH));
    FACT(flock(other, LOCK_SH | LOCK_NB));
    FACT(flock(other, LOCK_EX | LOCK_NB));
    FACT(flock(fd, LOCK_UN));
    FACT(flock(other, LOCK_EX | LOCK_NB));
    FACT(flock(fd, LOCK_SH | LOCK_NB));
    FACT(flock(fd, 77));
    FACT(flock(1000, LOCK_SH));
    pid = fork();
    if (pid == 0) {
        int own = open("locked", O_RDWR);
        FACT(flock(own, LOCK_EX | LOCK_NB));
        (void)!write(ready[1], "r", 1);
        FACT(flock(own, LOCK_EX));
        _exit(0);
    }
    (void)!read(ready[0], &byte, 1);
    until_state(pid, pid, 'S');
    close(other); /* the child's copy of `other` keeps the lock, until it is given up */
    FACT(flock(fd, LOCK_SH | LOCK_NB));
    kill(pid, SIGKILL);
    wait_and_show("child", pid);
    FACT(flock(fd, LOCK_EX | LOCK_NB));
    FACT(lockf(fd, F_TLOCK, 10));
    FACT(lockf(fd, F_TEST, 10));
    FACT(lockf(fd, F_ULOCK, 0));
    unlink("locked");
    deadlock();
    return 0;
}
