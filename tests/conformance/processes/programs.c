/* execve: programs, scripts, what is kept and what is not, and its errors. */
#include "calls.h"
#include <linux/limits.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

extern char **environ;
static char self[PATH_MAX];

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The program run again, with an argument: says what it was started with. */
static int started_again(int count, char **arguments) {
    char comm[32] = "", executable[PATH_MAX] = "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("  arguments:");
    for (int i = 0; i < count; i++)
        printf(" [%s]", i ? arguments[i] : name_of(arguments[i]));
    printf("\n  environment:");
    for (char **at = environ; *at; at++)
        printf(" [%s]", *at);
    int fd = open("/proc/self/comm", O_RDONLY);
    ssize_t length = read(fd, comm, sizeof comm - 1);
    close(fd);
    comm[length > 0 ? length - 1 : 0] = '\0';
    (void)!readlink("/proc/self/exe", executable, sizeof executable - 1);
    printf("\n  comm %s, exe %s, AT_EXECFN %s\n", comm, name_of(executable),
           (const char *)getauxval(AT_EXECFN)); /* NOLINT */
    struct sigaction action;
    sigset_t set;
    sigaction(SIGUSR1, NULL, &action);
    printf("  SIGUSR1 %s, ", action.sa_handler == SIG_IGN ? "ignored" : "default");
    sigaction(SIGUSR2, NULL, &action);
    printf("SIGUSR2 %s, ", action.sa_handler == SIG_DFL ? "default" : "other");
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("SIGHUP %s, ", sigismember(&set, SIGHUP) ? "blocked" : "not blocked");
    sigpending(&set);
    printf("%s, ", sigismember(&set, SIGHUP) ? "pending" : "not pending");
    printf("descriptor 50 %s, ", fcntl(50, F_GETFD) < 0 ? "closed" : "open");
    printf("descriptor 51 %s, ", fcntl(51, F_GETFD) < 0 ? "closed" : "open");
    struct itimerval interval;
    getitimer(ITIMER_REAL, &interval);
    stack_t stack;
    sigaltstack(NULL, &stack);
    printf("timer %s, alternate stack %s, umask %o\n", interval.it_value.tv_sec ? "running" : "stopped",
           stack.ss_flags & SS_DISABLE ? "off" : "on", umask(0));
    printf("  the leader: %s\n", getpid() == gettid() ? "yes" : "no");
    return 11;
}

static void write_file(const char *name, const char *text, mode_t mode) {
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    (void)!write(fd, text, strlen(text));
    close(fd);
    chmod(name, mode);
}

static void run(const char *what, const char *path, char *const *arguments, char *const *environment) {
    printf("%s\n", what);
    pid_t pid = fork();
    if (pid == 0) {
        execve(path, arguments, environment);
        printf("  execve: %s\n", strerrorname_np(errno));
        _exit(99);
    }
    wait_and_show("  end", pid);
}

static void errors(void) {
    char *const arguments[] = {"x", NULL}, *const none[] = {NULL};
    write_file("data", "no program\n", 0700);
    write_file("locked", "#!/bin/sh\n", 0600);
    write_file("empty", "", 0700);
    write_file("bad_interpreter", "#!/no/such/interpreter\n", 0700);
    write_file("no_interpreter", "#!\n", 0700);
    write_file("itself", "#!./itself\n", 0700);
    write_file("elf_header", "\177ELF\2\1\1", 0700);
    mkdir("folder", 0700);
    mkfifo("fifo", 0700); /* opening it would sleep */
    (void)!symlink("loop", "loop");
    static const char *const paths[] = {"missing",        "missing/x", "data",   "locked", "empty", "bad_interpreter",
                                        "no_interpreter", "itself",    "folder", "data/x", "loop",  "",
                                        "elf_header",     "fifo"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        execve(paths[i], arguments, none);
        printf("execve %s: %s\n", paths[i], strerrorname_np(errno));
    }
    syscall(SYS_execve, NULL, arguments, none);
    printf("execve of no path: %s\n", strerrorname_np(errno));
    syscall(SYS_execve, self, 8, none);
    printf("execve of bad arguments: %s\n", strerrorname_np(errno));
    char *bad[] = {"x", (char *)(uintptr_t)8, NULL}; /* NOLINT */
    execve(self, bad, none);
    printf("execve of a bad argument: %s\n", strerrorname_np(errno));

    size_t size = 131072; /* MAX_ARG_STRLEN, the NUL included */
    char *large = malloc(size + 1);
    memset(large, 'a', size);
    large[size] = '\0';
    char *const too_long[] = {"x", large, NULL};
    execve(self, too_long, none);
    printf("execve of one long argument: %s\n", strerrorname_np(errno));
    size_t count = 100;
    char **many = calloc(count + 1, sizeof *many);
    large[100000] = '\0';
    for (size_t i = 0; i < count; i++)
        many[i] = large;
    execve(self, many, none);
    printf("execve of many arguments: %s\n", strerrorname_np(errno));
    free(many);
    free(large);
    for (size_t i = 2; i < 8; i++)
        unlink(paths[i]);
    unlink("elf_header");
    rmdir("folder");
    unlink("loop");
}

static void nothing(int signo) { (void)signo; }

static void what_is_kept(void) {
    char *const arguments[] = {"again", "--again", "kept", NULL}, *const environment[] = {"ONE=1", "TWO=", NULL};
    printf("what is kept\n");
    pid_t pid = fork();
    if (pid == 0) {
        static char stack_bytes[65536];
        stack_t stack = {.ss_sp = stack_bytes, .ss_size = sizeof stack_bytes};
        sigaltstack(&stack, NULL);
        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, nothing);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGHUP);
        umask(023);
        dup2(1, 50);
        dup3(1, 51, O_CLOEXEC);
        alarm(19);
        execve(self, arguments, environment);
        _exit(99);
    }
    wait_and_show("  end", pid);
}

static void *exec_in_thread(void *argument) {
    char *const arguments[] = {"again", "--again", "thread", NULL}, *const none[] = {NULL};
    (void)argument;
    execve(self, arguments, none);
    return NULL;
}

static void *sleep_in_thread(void *argument) {
    pause();
    return argument;
}

static void threads(void) {
    printf("from a thread\n");
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        for (int i = 0; i < 3; i++)
            pthread_create(&thread, NULL, sleep_in_thread, NULL);
        pthread_create(&thread, NULL, exec_in_thread, NULL);
        pause();
    }
    wait_and_show("  end", pid);
}

static void scripts(void) {
    char text[PATH_MAX + 64];
    char *const arguments[] = {"ignored", "first", "second one", NULL}, *const environment[] = {"A=b", NULL};
    snprintf(text, sizeof text, "#!%s --again two words  \n", self);
    write_file("script", text, 0700);
    run("script with an argument", "./script", arguments, environment);
    snprintf(text, sizeof text, "#! \t %s\nrest", self);
    write_file("script", text, 0700);
    run("script without one", "./script", arguments, environment);
    write_file("outer", "#!./script outer\n", 0700);
    snprintf(text, sizeof text, "#!%s --again\n", self);
    write_file("script", text, 0700);
    run("script run by a script", "./outer", arguments, environment);
    char *const none[] = {NULL};
    run("no arguments", "./script", none, none);
    write_file("shell", "echo \"shell: $# $1 $A\"; exit 3\n", 0700);
    printf("execvp falls back to the shell\n");
    pid_t pid = fork();
    if (pid == 0) {
        setenv("PATH", "/bin:/usr/bin", 1);
        execvp("./shell", arguments);
        _exit(98);
    }
    wait_and_show("  end", pid);
    int fd = open(self, O_RDONLY | O_CLOEXEC);
    char *const again[] = {"again", "--again", "fexecve", NULL};
    pid = fork();
    if (pid == 0) {
        syscall(SYS_execveat, fd, "", again, none, AT_EMPTY_PATH);
        printf("  execveat: %s\n", strerrorname_np(errno));
        _exit(97);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("execveat of a descriptor: %s\n", WIFEXITED(status) && WEXITSTATUS(status) == 11 ? "done" : "failed");
    close(fd);
    unlink("script");
    unlink("outer");
    unlink("shell");
}

static void spawning(void) {
    pid_t pid = 0;
    char *const arguments[] = {"spawned", "--again", "x", NULL}, *const environment[] = {"S=1", NULL};
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t set;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    posix_spawnattr_setsigmask(&attributes, &set);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    signal(SIGUSR1, SIG_IGN);
    posix_spawn_file_actions_addopen(&actions, 50, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 1, 51);
    printf("posix_spawn\n");
    int error = posix_spawn(&pid, self, &actions, &attributes, arguments, environment);
    wait_and_show("  end", pid);
    CODE(error);
    signal(SIGUSR1, SIG_DFL);
    CODE(posix_spawn(&pid, "/no/such/program", NULL, NULL, arguments, environment));
    posix_spawn_file_actions_addclose(&actions, 70);
    posix_spawn_file_actions_addopen(&actions, 52, "/no/such/file", O_RDONLY, 0);
    CODE(posix_spawn(&pid, self, &actions, NULL, arguments, environment));
    int status;
    FACT(waitpid(-1, &status, 0));
    printf("system: %d\n", WEXITSTATUS(system("exit 5"))); /* NOLINT */
    char line[32] = "";
    FILE *stream = popen("echo through a pipe", "r");
    (void)!fgets(line, sizeof line, stream);
    printf("popen: %s", line);
    FACT(pclose(stream));
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
}

int main(int count, char **arguments) {
    if (count > 1)
        return started_again(count, arguments);
    begin();
    (void)!readlink("/proc/self/exe", self, sizeof self - 1);
    (void)!symlink(self, "program");
    memcpy(self, "./program", 10);
    errors();
    what_is_kept();
    threads();
    scripts();
    spawning();
    unlink("program");
    return 0;
}
