/* System V message queues: types, order, room, waiting, removing. */
#include "calls.h"
#include <sys/ipc.h>
#include <sys/msg.h>

static key_t key;

struct message {
    long type;
    char text[9000];
};

static long send(int id, long type, const char *text, int flags) {
    struct message message = {.type = type};
    strcpy(message.text, text);
    return msgsnd(id, &message, strlen(text), flags);
}

/* Tells of it `delay` ms later, so that what others have to tell has an order. */
static void receive_and_tell(int id, long type, size_t room, int flags, int delay) {
    struct message message = {.type = -77};
    ssize_t length = msgrcv(id, &message, room, type, flags);
    int error = errno;
    if (delay)
        nap(delay);
    errno = error;
    if (length < 0)
        printf("for %ld: %s\n", type, strerrorname_np(errno));
    else
        printf("for %ld: %zd bytes of type %ld: %.*s\n", type, length, message.type, (int)(length > 20 ? 20 : length),
               message.text);
}

static void receive(int id, long type, size_t room, int flags) { receive_and_tell(id, type, room, flags, 0); }

static void show(const char *what, int id) {
    struct msqid_ds status;
    if (msgctl(id, IPC_STAT, &status))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %d messages, %d of %d bytes, mode %o, sender %s, receiver %s, %d %d %d\n", what,
               (int)status.msg_qnum, (int)status.__msg_cbytes, (int)status.msg_qbytes, status.msg_perm.mode,
               status.msg_lspid == getpid() ? "me"
               : status.msg_lspid           ? "another"
                                            : "nobody",
               status.msg_lrpid == getpid() ? "me"
               : status.msg_lrpid           ? "another"
                                            : "nobody",
               status.msg_stime != 0, status.msg_rtime != 0, status.msg_ctime != 0);
}

static pid_t receiver(int id, long type, size_t room, int delay) {
    pid_t child = fork();
    if (!child) {
        receive_and_tell(id, type, room, 0, delay);
        exit(0);
    }
    until_state(child, child, 'S');
    return child;
}

static void keys(void) {
    FACT(msgget(key, 0600));
    int id = msgget(key, IPC_CREAT | IPC_EXCL | 0622);
    DONE(id);
    HOLDS(msgget(key, 0) == id);
    HOLDS(msgget(key, IPC_CREAT | 0600) == id);
    FACT(msgget(key, IPC_CREAT | IPC_EXCL));
    int one = msgget(IPC_PRIVATE, 0600), other = msgget(IPC_PRIVATE, 0600);
    HOLDS(one >= 0 && other >= 0 && one != other);
    FACT(msgctl(one, IPC_RMID, NULL));
    FACT(msgctl(other, IPC_RMID, NULL));
    show("new", id);
    FACT(send(id, 0, "x", 0));
    FACT(send(id, -1, "x", 0));
    struct message large = {.type = 1};
    FACT(msgsnd(id, &large, 8193, 0));
    FACT(msgsnd(id, (void *)8, 1, 0));
    FACT(msgrcv(id, &large, (size_t)-1, 0, 0));
    receive(id, 0, 100, IPC_NOWAIT);
    FACT(msgctl(id, 99, NULL));
    FACT(msgctl(id, IPC_RMID, NULL));
    FACT(send(id, 1, "x", 0));
    receive(id, 0, 100, 0);
}

static void types(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    static const long sent[] = {5, 3, 9, 3, 1, 7};
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        char text[8] = {(char)('a' + i)};
        FACT(send(id, sent[i], text, 0));
    }
    show("six", id);
    receive(id, 3, 100, 0);
    receive(id, -4, 100, 0);
    receive(id, -100, 100, 0);
    receive(id, 5, 100, MSG_EXCEPT);
    receive(id, 4, 100, IPC_NOWAIT);
    receive(id, -2, 100, IPC_NOWAIT);
    receive(id, 0, 100, 0);
    receive(id, 0, 100, 0);
    receive(id, 0, 100, IPC_NOWAIT);
    FACT(send(id, 1, "longer", 0));
    receive(id, 1, 3, 0);
    receive(id, 1, 3, MSG_NOERROR);
    receive(id, 1, 3, IPC_NOWAIT);
    FACT(send(id, 2, "", 0));
    receive(id, 0, 0, 0);
    show("none", id);
    FACT(msgctl(id, IPC_RMID, NULL));
}

static void room(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    static char text[8193];
    memset(text, 'x', 8192);
    FACT(send(id, 1, text, 0));
    FACT(send(id, 2, text, 0));
    FACT(send(id, 3, "", IPC_NOWAIT));
    receive(id, 3, 100, 0);
    FACT(send(id, 3, "y", IPC_NOWAIT));
    pid_t child = fork();
    if (!child) {
        long result = send(id, 3, "z", 0);
        nap(30);
        FACT(result);
        exit(0);
    }
    until_state(child, child, 'S');
    receive(id, 2, 8192, 0);
    wait_and_show("child", child);
    show("room", id);
    struct msqid_ds status;
    msgctl(id, IPC_STAT, &status);
    status.msg_qbytes = 10;
    FACT(msgctl(id, IPC_SET, &status));
    FACT(send(id, 4, "", IPC_NOWAIT));
    FACT(send(id, 4, "q", IPC_NOWAIT));
    child = fork();
    if (!child) {
        long result = send(id, 3, "never", 0);
        int error = errno;
        nap(30);
        errno = error;
        FACT(result);
        exit(0);
    }
    until_state(child, child, 'S');
    FACT(msgctl(id, IPC_RMID, NULL));
    wait_and_show("child", child);
}

static void waiting(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    pid_t seven = receiver(id, 7, 100, 30), any = receiver(id, 0, 100, 30), later = receiver(id, 0, 100, 30);
    FACT(send(id, 1, "first", 0));
    receive(id, 0, 100, IPC_NOWAIT); /* it was handed over */
    wait_and_show("any", any);
    FACT(send(id, 7, "second", 0));
    wait_and_show("seven", seven);
    FACT(send(id, 7, "third", 0));
    wait_and_show("later", later);
    show("empty", id);
    pid_t small = receiver(id, 0, 2, 30), large = receiver(id, 0, 100, 60);
    FACT(send(id, 1, "too long for one", 0));
    wait_and_show("small", small);
    wait_and_show("large", large);
    pid_t gone = receiver(id, 0, 100, 30);
    FACT(msgctl(id, IPC_RMID, NULL));
    wait_and_show("gone", gone);
}

static void nothing(int signo) { (void)signo; }

static void interrupted(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pid_t child = receiver(id, 0, 100, 30);
    FACT(kill(child, SIGUSR1));
    wait_and_show("child", child);
    child = receiver(id, 0, 100, 30);
    FACT(kill(child, SIGSTOP));
    until_state(child, child, 'T');
    FACT(kill(child, SIGCONT));
    FACT(send(id, 1, "after a stop", 0));
    wait_and_show("child", child);
    FACT(msgctl(id, IPC_RMID, NULL));
}

int main(void) {
    begin();
    key = 0x5c000000 + getpid();
    keys();
    types();
    room();
    waiting();
    interrupted();
    return 0;
}
