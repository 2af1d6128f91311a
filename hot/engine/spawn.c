/* Arenas, and the birth and end of real processes.
 *
 * A configured process is started by vfork, so that its cost does not depend on how large the shard is. It leads its
 * own real session and process group, which its whole tree stays in: that is how everything is found and ended later.
 */
#include "engine.h"
#include "guard.h"
#include "hot/kernel/internal.h"
#include "hot/kernel/process.h"
#include "shim/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_LIMIT (8u << 20)
#define FD_SCRATCH 910           /* above every fixed number */
#define RIGHTS_BUFFER (64 << 20) /* most memory of messages with files that wait; they cost about 1 KiB each */

int engine_fail(struct engine *engine, enum engine_error error, int number, const char *where, const char *format,
                ...) {
    if (engine->error != ENGINE_WORKS)
        return -1;
    engine->error = error;
    engine->error_number = number;
    snprintf(engine->where, sizeof engine->where, "%s", where);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(engine->message, sizeof engine->message, format, arguments);
    va_end(arguments);
    return -1;
}

int engine_init(struct engine *engine, const char *shim_path) {
    engine->min_used_latency = NEVER;
    if (guard_start())
        return engine_fail(engine, ENGINE_OS_ERROR, errno, "signals", "no handlers or no timer");
    engine->shim_fd = open(shim_path, O_PATH | O_CLOEXEC);
    if (engine->shim_fd < 0)
        return engine_fail(engine, ENGINE_OS_ERROR, errno, shim_path, "the shim cannot be opened");
    /* Processes that lose their parent inside the simulation stay ours. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        return engine_fail(engine, ENGINE_OS_ERROR, errno, "prctl", "PR_SET_CHILD_SUBREAPER");
    return 0;
}

static int reserve_host(struct engine *engine) {
    if (engine->host_count < engine->host_capacity)
        return 0;
    uint32_t capacity = engine->host_capacity ? 2 * engine->host_capacity : 16;
    struct engine_host *hosts = realloc(engine->hosts, capacity * sizeof *hosts);
    if (!hosts)
        return -1;
    engine->hosts = hosts;
    int64_t *next_time = realloc(engine->next_time, capacity * sizeof *next_time);
    if (!next_time)
        return -1;
    engine->next_time = next_time;
    engine->host_capacity = capacity;
    return 0;
}

struct engine_host *engine_add_host(struct engine *engine, uint32_t id, const char *name, uint32_t address,
                                    struct ip_address address6, const char *directory, const char *etc_directory,
                                    int64_t uplink_bps, int64_t downlink_bps) {
    if (reserve_host(engine))
        goto no_memory;
    struct engine_host *host = &engine->hosts[engine->host_count];
    *host = (struct engine_host){
        .id = id,
        .address = address,
        .address6 = address6,
        .name = strdup(name),
        .directory = strdup(directory),
        .etc_directory = strdup(etc_directory),
        .uplink_bps = uplink_bps,
        .downlink_bps = downlink_bps,
        .arena_fd = -1,
        .rights_fd = -1,
        .last_address = IP4_ANY,
        .last_destination = NO_HOST,
    };
    engine->next_time[engine->host_count++] = NEVER; /* from here on engine_close frees it */
    if (host->name && host->directory && host->etc_directory)
        return host;
no_memory:
    engine_fail(engine, ENGINE_OS_ERROR, ENOMEM, name, "no memory for hosts");
    return NULL;
}

/* A datagram socket that sends to itself, and with whose name nobody else can. -1 and errno. */
static int open_mail(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t length = sizeof name.sun_family; /* the real kernel chooses a name */
    const int size = RIGHTS_BUFFER;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&name, length) ||
        (length = sizeof name, getsockname(fd, (struct sockaddr *)&name, &length)) ||
        connect(fd, (struct sockaddr *)&name, length)) {
        close(fd);
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size)) /* some hundred messages without privilege */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

int host_wake(struct engine *engine, struct engine_host *host) {
    if (host->kernel)
        return 0;
    void *base = (void *)(ARENA_REGION_BASE + (uint64_t)(host - engine->hosts) * ARENA_STRIDE);
    int fd = memfd_create("antumbra-host", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* It never shrinks: else a process could take the memory away under everybody's feet. It grows by the segments of
     * System V shared memory. */
    if (fd < 0 || ftruncate(fd, ARENA_STRIDE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL)) {
        engine_fail(engine, ENGINE_OS_ERROR, errno, host->name, "no memory for the host");
        goto no_arena;
    }
    host->rights_fd = open_mail();
    if (host->rights_fd < 0) {
        engine_fail(engine, ENGINE_OS_ERROR, errno, host->name, "no socket for the host");
        goto no_arena;
    }
    void *arena =
        mmap(base, ARENA_STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, fd, 0);
    if (arena != base) {
        bool taken = arena != MAP_FAILED || errno == EEXIST;
        if (arena != MAP_FAILED)
            munmap(arena, ARENA_STRIDE);
        if (taken)
            engine_fail(engine, ENGINE_BROKEN, 0, host->name,
                        "another shard lives in this process: its hosts are at %p", base);
        else
            engine_fail(engine, ENGINE_OS_ERROR, errno, host->name, "the host's memory cannot be mapped");
        goto no_arena;
    }
    const struct engine_options *options = &engine->options;
    struct host *kernel =
        host_create(base, ARENA_STRIDE, host->id, options->seed, host->name, host->address, host->address6);
    if (!kernel) {
        engine_fail(engine, ENGINE_BROKEN, 0, host->name, "the host's memory is too small for a kernel");
        goto no_kernel;
    }
    snprintf(kernel->directory, sizeof kernel->directory, "%s", host->directory);
    snprintf(kernel->hosts_file, sizeof kernel->hosts_file, "%s", host->etc_directory);
    memcpy(kernel->real_names, host->real_names, sizeof kernel->real_names);
    kernel->strace_mode = options->strace_mode;
    kernel->model_cpu = options->model_cpu;
    kernel->call_cost_ns = options->call_cost_ns;
    kernel->max_unapplied_cpu_ns = options->max_unapplied_cpu_ns;
    kernel->send_buffer = options->send_buffer;
    kernel->receive_buffer = options->receive_buffer;
    kernel->send_autotune = options->send_autotune;
    kernel->receive_autotune = options->receive_autotune;
    kernel->round_robin = options->round_robin;
    kernel->rights_fd = SHIM_FD_RIGHTS;
    bucket_init(&kernel->link->uplink, host->uplink_bps);
    bucket_init(&kernel->link->downlink, host->downlink_bps);
    kernel->link->bootstrap_end = options->bootstrap_end;
    kernel->link->capture = host->pcap != NULL;
    host->kernel = kernel;
    host->link = kernel->link;
    host->arena_fd = fd;
    return 0;

no_kernel:
    munmap(arena, ARENA_STRIDE);
no_arena:
    if (fd >= 0)
        close(fd);
    return -1; /* engine_close closes the socket */
}

/* ---- Configured processes ---- */

static void free_strings(char **strings) {
    for (char **at = strings; at && *at; at++)
        free(*at);
    free(strings);
}

static void managed_free(struct managed *process) {
    free(process->path);
    free(process->name);
    free_strings(process->arguments);
    free_strings(process->environment);
}

static char **copy_strings(char *const *strings, uint32_t count) {
    char **copy = calloc(count + 1, sizeof *copy);
    for (uint32_t i = 0; copy && i < count; i++) {
        copy[i] = strdup(strings[i]);
        if (!copy[i]) {
            free_strings(copy);
            return NULL;
        }
    }
    return copy;
}

int engine_add_process(struct engine *engine, struct engine_host *host, const struct managed *process) {
    if (host_wake(engine, host))
        return -1;
    struct managed copy = *process;
    copy.path = strdup(process->path);
    copy.name = strdup(process->name);
    copy.arguments = copy_strings(process->arguments, process->argument_count);
    copy.environment = copy_strings(process->environment, process->environment_count);
    struct managed *processes = realloc(host->processes, (host->process_count + 1) * sizeof *processes);
    if (processes)
        host->processes = processes;
    if (!processes || !copy.path || !copy.name || !copy.arguments || !copy.environment) {
        managed_free(&copy);
        return engine_fail(engine, ENGINE_OS_ERROR, ENOMEM, host->name, "no memory for processes");
    }
    uint32_t index = host->process_count++;
    host->processes[index] = copy;
    if (index == 0) { /* the host's directory is this user's home */
        host->kernel->owner_user = copy.uid;
        host->kernel->owner_group = copy.gid;
    }
    if (host_schedule(engine, host, copy.start_time, EVENT_START, index))
        return -1;
    if (copy.shutdown_time != NEVER)
        return host_schedule(engine, host, copy.shutdown_time, EVENT_SHUTDOWN, index);
    return 0;
}

/* What the child of vfork needs, and where it says what went wrong: its memory is the shard's. */
struct birth {
    struct engine_host *host;
    struct task *task;
    struct process *process;
    int shim_fd;
    bool strace;
    char output[3][300]; /* stdout, stderr, strace: names below the host's directory */
    char arena[24];
    const char *failed;
    int error;
};

static bool open_at(struct birth *birth, const char *name, int flags, int wanted) {
    int fd = open(name, flags, 0644);
    if (fd >= 0 && fd != wanted) {
        int result = dup2(fd, wanted);
        close(fd);
        fd = result;
    }
    if (fd < 0)
        birth->failed = name;
    return fd >= 0;
}

/* In the child, which shares the shard's memory until execveat. */
static void become_managed(struct birth *birth) {
    const struct rlimit stack = {STACK_LIMIT, STACK_LIMIT}, core = {0, 0};
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number <= SIGNAL_COUNT; number++)
        sigaction(number, &standard, NULL); /* fails for SIGKILL, SIGSTOP and libc's own, which are never ignored */
    sigset_t none;
    sigemptyset(&none);
    birth->failed = "process";
    if (setsid() < 0 || personality(ADDR_NO_RANDOMIZE) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) ||
        setrlimit(RLIMIT_STACK, &stack) || setrlimit(RLIMIT_CORE, &core))
        return;
    umask(022);
    birth->failed = birth->host->directory;
    if (chdir(birth->failed))
        return;
    birth->failed = "descriptors";
    int arena = fcntl(birth->host->arena_fd, F_DUPFD, FD_SCRATCH);
    int shim = fcntl(birth->shim_fd, F_DUPFD, FD_SCRATCH);
    int rights = fcntl(birth->host->rights_fd, F_DUPFD, FD_SCRATCH);
    if (arena < 0 || shim < 0 || rights < 0 || dup2(arena, SHIM_FD_ARENA) < 0 || dup2(shim, SHIM_FD_SHIM) < 0 ||
        dup2(rights, SHIM_FD_RIGHTS) < 0)
        return;
    const int output = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND;
    if (!open_at(birth, "/dev/null", O_RDONLY, 0) || !open_at(birth, birth->output[0], output, 1) ||
        !open_at(birth, birth->output[1], output, 2) ||
        (birth->strace && !open_at(birth, birth->output[2], output, SHIM_FD_STRACE)))
        return;
    birth->failed = "descriptors";
    if (syscall(SYS_close_range, 3, SHIM_FD_ARENA - 1, 0) ||
        syscall(SYS_close_range, birth->strace ? SHIM_FD_STRACE + 1 : SHIM_FD_STRACE, ~0u, 0))
        return;
    /* Before the program can ask: the arena is the same memory for everybody. */
    birth->task->native_tid = birth->process->native_pid = (uint32_t)getpid();
    char *const arguments[] = {(char *)"antumbra-shim", birth->arena, (char *)"0", NULL};
    char *const environment[] = {NULL};
    sigprocmask(SIG_SETMASK, &none, NULL);
    birth->failed = "shim";
    syscall(SYS_execveat, SHIM_FD_SHIM, "", arguments, environment, AT_EMPTY_PATH);
}

/* vfork returns twice: nothing of this frame may live in a register that the child could change. */
__attribute__((noinline)) static pid_t give_birth(struct birth *birth) {
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0) {
        become_managed(birth);
        birth->error = errno;
        _exit(127);
    }
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

struct spawning {
    const struct managed *managed;
    uint32_t index;
    bool strace;
    struct task *task; /* NULL: no memory */
    int32_t pid;
};

static void spawn_body(struct host *kernel, void *context) {
    struct spawning *spawning = context;
    const struct managed *managed = spawning->managed;
    struct exec_request *request =
        exec_request_create(kernel, managed->path, (const char *const *)managed->arguments, managed->argument_count,
                            (const char *const *)managed->environment, managed->environment_count);
    struct task *task =
        request ? host_start_process(kernel, spawning->index, request, managed->uid, managed->gid) : NULL;
    if (!task)
        return;
    if (!guard_holds(kernel, task, sizeof *task) || !guard_holds(kernel, task->process, sizeof *task->process))
        guard_fail("a process outside of the host's memory");
    spawning->pid = task->process->pid;
    task->process->strace_fd = spawning->strace ? SHIM_FD_STRACE : -1;
    kernel->current = task; /* the new process begins with the turn */
    kernel->in_kernel = true;
    spawning->task = task;
}

int process_spawn(struct engine *engine, struct engine_host *host, uint32_t index) {
    struct managed *managed = &host->processes[index];
    struct birth birth = {.host = host, .shim_fd = engine->shim_fd};
    birth.strace = engine->options.strace_mode != STRACE_OFF;
    struct spawning spawning = {.managed = managed, .index = index, .strace = birth.strace};
    if (!guard_call(host->kernel, spawn_body, &spawning))
        return host_break(engine, host, "%s, when %s was to be started", guard_problem(), managed->path);
    if (!spawning.task)
        return host_break(engine, host, "it has no memory left to start %s", managed->path);
    managed->started = true;
    managed->pid = spawning.pid;
    birth.task = spawning.task;
    birth.process = spawning.task->process;
    static const char *const suffixes[] = {"stdout", "stderr", "strace"};
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++)
        snprintf(birth.output[i], sizeof birth.output[i], "%.200s.%d.%s", managed->name, managed->pid, suffixes[i]);
    snprintf(birth.arena, sizeof birth.arena, "%016llx", (unsigned long long)(uintptr_t)host->kernel);

    (void)cpu_release(); /* it would be inherited */
    pid_t pid = give_birth(&birth);
    if (pid < 0)
        return engine_fail(engine, ENGINE_OS_ERROR, errno, managed->path, "no process can be started");
    if (birth.error) {
        waitpid(pid, NULL, __WALL);
        host->kernel->current = NULL;
        return engine_fail(engine, ENGINE_OS_ERROR, birth.error, birth.failed, "%s on host %s cannot be started",
                           managed->path, host->name);
    }
    managed->group = pid;
    return turn_wait_back(engine, host);
}

/* ---- The end ---- */

void host_end_processes(struct engine_host *host) {
    for (uint32_t i = 0; i < host->process_count; i++)
        if (host->processes[i].group)
            kill(-host->processes[i].group, SIGKILL);
    for (uint32_t i = 0; i < host->process_count; i++) {
        struct managed *managed = &host->processes[i];
        while (managed->group && (waitpid(-managed->group, NULL, __WALL) > 0 || errno == EINTR))
            continue;
        managed->group = 0;
    }
}

void engine_close(struct engine *engine) {
    route_free(&engine->routes);
    /* All are told before the first is waited for. */
    for (uint32_t i = 0; i < engine->host_count; i++)
        for (uint32_t j = 0; j < engine->hosts[i].process_count; j++)
            if (engine->hosts[i].processes[j].group)
                kill(-engine->hosts[i].processes[j].group, SIGKILL);
    for (uint32_t i = 0; i < engine->host_count; i++) {
        struct engine_host *host = &engine->hosts[i];
        host_end_processes(host);
        queue_free(&host->queue, &engine->pool);
        if (host->pcap) {
            int result = pcap_close(host->pcap);
            if (result)
                engine_fail(engine, ENGINE_OS_ERROR, -result, host->pcap_path, "the capture file cannot be written");
        }
        free(host->pcap_path);
        traffic_free(&host->traffic);
        for (uint32_t j = 0; j < host->process_count; j++)
            managed_free(&host->processes[j]);
        free(host->processes);
        free(host->deaths);
        free(host->broken);
        if (host->kernel)
            munmap(host->kernel, ARENA_STRIDE);
        if (host->arena_fd >= 0)
            close(host->arena_fd);
        if (host->rights_fd >= 0)
            close(host->rights_fd);
        free(host->name);
        free(host->directory);
        free(host->etc_directory);
    }
    engine->host_count = engine->host_capacity = 0;
    free(engine->hosts);
    free(engine->next_time);
    engine->hosts = NULL;
    engine->next_time = NULL;
    for (size_t i = 0; i < engine->line_count; i++)
        free(engine->lines[i].text);
    free(engine->lines);
    engine->lines = NULL;
    engine->line_count = 0;
    outbound_free(&engine->outbound);
    pool_free(&engine->pool);
    if (engine->shim_fd >= 0)
        close(engine->shim_fd);
    engine->shim_fd = -1;
}
