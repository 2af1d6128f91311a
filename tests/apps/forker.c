/* Processes: fork, pipes, exit codes, death by signal, exec of itself, spawn, and waiting for all of them. */
#include "common.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static int wait_for(pid_t child) {
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

static pid_t start(void) {
    fflush(stdout); /* or the child has a copy of what is not written yet */
    pid_t child = fork();
    REQUIRE(child >= 0);
    return child;
}

static void exit_codes(void) {
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = start();
        if (children[i] == 0) {
            usleep((useconds_t)(3 - i) * 2000); /* they end in the opposite order */
            _exit(10 + i);
        }
    }
    for (int i = 0; i < 3; i++) {
        int status = wait_for(children[i]);
        REQUIRE(WIFEXITED(status));
        printf("child %d exited %d\n", i, WEXITSTATUS(status));
    }
}

static void through_pipes(void) {
    int down[2], up[2];
    REQUIRE(pipe(down) == 0 && pipe(up) == 0);
    pid_t child = start();
    if (child == 0) {
        close(down[1]);
        close(up[0]);
        uint8_t bytes[4096];
        ssize_t got;
        uint64_t sum = 0;
        while ((got = read(down[0], bytes, sizeof bytes)) > 0) {
            for (ssize_t i = 0; i < got; i++) {
                sum += bytes[i];
            }
        }
        REQUIRE(got == 0 && write(up[1], &sum, sizeof sum) == sizeof sum);
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    uint64_t expected = 0, sum;
    static uint8_t bytes[300000]; /* more than a pipe holds */
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = pattern(i);
        expected += bytes[i];
    }
    for (size_t done = 0; done < sizeof bytes;) {
        ssize_t written = write(down[1], bytes + done, sizeof bytes - done);
        REQUIRE(written > 0);
        done += (size_t)written;
    }
    close(down[1]);
    REQUIRE(read(up[0], &sum, sizeof sum) == sizeof sum && sum == expected);
    REQUIRE(read(up[0], &sum, 1) == 0);
    close(up[0]);
    REQUIRE(wait_for(child) == 0);
    printf("pipe sum %llu\n", (unsigned long long)sum);
}

static void death_by_signal(void) {
    pid_t child = start();
    if (child == 0) {
        pause();
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, WNOHANG) == 0);
    REQUIRE(kill(child, SIGKILL) == 0);
    status = wait_for(child);
    REQUIRE(WIFSIGNALED(status));
    printf("child killed by signal %d\n", WTERMSIG(status));
    REQUIRE(kill(child, 0) < 0 && errno == ESRCH);
}

static void exec_of_itself(void) {
    int out[2];
    REQUIRE(pipe(out) == 0);
    pid_t child = start();
    if (child == 0) {
        REQUIRE(dup2(out[1], STDOUT_FILENO) == STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        REQUIRE(setenv("FORKER", "set by the parent", 1) == 0);
        execl("/proc/self/exe", "forker", "child", "two words", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    char line[200] = "";
    FILE *stream = fdopen(out[0], "r");
    REQUIRE(stream != NULL && fgets(line, sizeof line, stream) != NULL);
    printf("exec said: %s", line);
    fclose(stream);
    int status = wait_for(child);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void spawned(const char *self) {
    char *arguments[] = {"forker", "child", "spawned", NULL};
    pid_t child;
    fflush(stdout);
    REQUIRE(posix_spawn(&child, self, NULL, NULL, arguments, environ) == 0);
    int status = wait_for(child);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "child") == 0) {
        const char *variable = getenv("FORKER");
        printf("%d arguments, '%s', '%s'\n", argc, argv[2], variable != NULL ? variable : "");
        return 42;
    }
    exit_codes();
    through_pipes();
    death_by_signal();
    exec_of_itself();
    spawned("/proc/self/exe");
    REQUIRE(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
    printf("no children left\n");
    return 0;
}
