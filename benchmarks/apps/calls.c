/* Makes one kind of call many times: run natively and in the simulator, the difference between two counts is the cost.
 *
 *   calls getppid|fcntl|setsockopt|recv|pingpong COUNT
 *   calls start PROGRAM [ARGUMENT] COUNT
 *
 * recv reads and refills a loopback datagram socket; pingpong passes a byte between two processes through two pipes, so
 * that every call hands over; start makes COUNT processes, each when the one before has ended. */
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void require(int holds, const char *what) {
    if (holds)
        return;
    perror(what);
    exit(1);
}

static void call_getppid(long count) {
    for (long i = 0; i < count; i++)
        (void)getppid();
}

static void call_fcntl(long count) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    require(fd >= 0, "socket");
    for (long i = 0; i < count; i++)
        require(fcntl(fd, F_GETFL) >= 0, "fcntl");
}

static void call_setsockopt(long count) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    require(fd >= 0, "socket");
    for (long i = 0; i < count; i++)
        require(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) == 0, "setsockopt");
}

static void call_recv(long count) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    char bytes[64] = {0};
    require(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    require(getsockname(fd, (struct sockaddr *)&address, &length) == 0, "getsockname");
    require(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    for (long i = 0; i < count; i++) {
        require(send(fd, bytes, sizeof bytes, 0) == sizeof bytes, "send");
        require(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == sizeof bytes, "recv");
    }
}

static void call_pingpong(long count) {
    int there[2], back[2];
    char byte = 0;
    require(pipe(there) == 0 && pipe(back) == 0, "pipe");
    pid_t child = fork();
    require(child >= 0, "fork");
    for (long i = 0; i < count; i++) {
        if (child == 0) {
            require(read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1, "child");
        } else {
            require(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "parent");
        }
    }
    if (child == 0)
        _exit(0);
    require(waitpid(child, NULL, 0) == child, "waitpid");
}

static void start(char **arguments, long count) {
    char *environment[] = {NULL};
    for (long i = 0; i < count; i++) {
        pid_t child;
        int status, error = posix_spawn(&child, arguments[0], NULL, NULL, arguments, environment);
        require(error == 0 && waitpid(child, &status, 0) == child, "posix_spawn");
        if (status)
            exit(1);
    }
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(long count);
    } kinds[] = {{"getppid", call_getppid},
                 {"fcntl", call_fcntl},
                 {"setsockopt", call_setsockopt},
                 {"recv", call_recv},
                 {"pingpong", call_pingpong}};
    for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            kinds[i].run(atol(argv[2]));
            return 0;
        }
    }
    if (argc >= 4 && strcmp(argv[1], "start") == 0) {
        long count = atol(argv[argc - 1]);
        argv[argc - 1] = NULL;
        start(argv + 2, count);
        return 0;
    }
    fprintf(stderr, "usage: calls getppid|fcntl|setsockopt|recv|pingpong COUNT, or calls start PROGRAM ... COUNT\n");
    return 2;
}
