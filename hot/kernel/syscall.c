/* The system call table, dispatch, the CPU-cost model and strace.
 *
 * The shim calls syscall_dispatch on every trap and every rewritten call site; it calls the function of the table.
 */
#include "syscall.h"
#include "internal.h"
#include "signal.h"
#include "syscalls.h"

#define LOOK 1u
#define FRAME 2u
#define ASIDE 4u
#define PROBE 8u

/* After this many calls in one instant that only looked at the world, each further one costs SPIN_STEP of virtual time:
 * a program that waits for something by looking would otherwise wait for ever in that instant. The step divides nothing
 * round: a program that looks twice and compares would see no tick of a clock that comes every hundredth look. */
#define SPIN_CALLS 1000u
#define SPIN_STEP 10243

/* No processor makes calls without end in an instant, even if each of them does something: two threads that wake each
 * other would stop time for ever. The host's calls may be so far ahead of time, at CALL_TIME for each of them; then the
 * one that calls sleeps for CALLS_STEP, odd as above. */
#define CALLS_AHEAD (5 * NS_PER_S)
#define CALL_TIME NS_PER_US
#define CALLS_STEP (10 * NS_PER_MS + 243)

/* A task that never sleeps still lets others run: after so many calls, and much sooner in a call that could have slept,
 * because that is where programs have let go of their locks (CPython's GIL, for one). */
#define SLICE_CALLS 1024u
#define SLICE_CALLS_WAITING 32u
/* And after so many of them the other tasks have their turn: what it waits for may be theirs to do. */
#define SPIN_YIELD_CALLS 16u

typedef int64_t (*syscall_function)(struct task *task, const uint64_t *arguments);

static const syscall_function functions[SYSCALL_LIMIT] = {
#define CALL(number, name, function, arguments, flags) [number] = function,
#include "syscall_table.h"
#undef CALL
};

static const struct description {
    const char *name, *arguments;
    uint8_t flags;
} descriptions[SYSCALL_LIMIT] = {
#define CALL(number, name, function, arguments, flags) [number] = {#name, arguments, flags},
#include "syscall_table.h"
#undef CALL
};

const char *syscall_name(uint64_t number) { return number < SYSCALL_LIMIT ? descriptions[number].name : NULL; }

bool syscall_needs_frame(uint64_t number) {
    return number >= SYSCALL_LIMIT || !functions[number] || (descriptions[number].flags & FRAME);
}

/* ---- strace ---- */

#define LINE_MAX 768
#define STRING_SHOWN 64

struct line {
    char text[LINE_MAX];
    size_t length;
};

static void append(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(struct line *line, const char *format, ...) {
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    int length = kvprintf(line->text + line->length, sizeof line->text - line->length, format, arguments);
    __builtin_va_end(arguments);
    line->length = KMIN(line->length + (size_t)length, sizeof line->text - 1);
}

static void append_string(struct line *line, uint64_t address) {
    char text[STRING_SHOWN + 1];
    int64_t length = string_from_user(text, address, sizeof text);
    if (length == -EFAULT) {
        append(line, "<bad pointer>");
        return;
    }
    text[STRING_SHOWN] = '\0';
    append(line, "\"");
    for (const char *at = text; *at; at++) {
        if (*at >= ' ' && *at < 127 && *at != '"' && *at != '\\')
            append(line, "%c", *at);
        else
            append(line, "\\x%02x", (unsigned)(uint8_t)*at);
    }
    append(line, length < 0 ? "\"..." : "\"");
}

static void append_argument(struct line *line, char kind, uint64_t value, bool deterministic) {
    switch (kind) {
    case 'd':
    case 'f':
    case 'w':
    case 'g':
        append(line, "%d", (int)value);
        break;
    case 'l':
        append(line, "%ld", (long)value);
        break;
    case 'u':
        append(line, "%lu", (unsigned long)value);
        break;
    case 'x':
        append(line, "0x%lx", (unsigned long)value);
        break;
    case 'o': {
        char digits[24];
        size_t at = sizeof digits - 1;
        digits[at] = '\0';
        for (uint64_t rest = value & 07777777; rest && at > 1; rest >>= 3)
            digits[--at] = (char)('0' + (rest & 7));
        append(line, "0%s", digits + at);
        break;
    }
    case 's':
        append_string(line, value);
        break;
    default:
        if (value == 0)
            append(line, "NULL");
        else if (deterministic)
            append(line, "<pointer>");
        else
            append(line, "0x%lx", (unsigned long)value);
    }
}

static void trace_start(struct line *line, const struct task *task, uint64_t number, const uint64_t *a) {
    const struct host *host = task->host;
    bool deterministic = host->strace_mode == STRACE_DETERMINISTIC;
    int64_t seconds = host->now / NS_PER_S;
    line->length = 0;
    append(line, "%02ld:%02ld:%02ld.%09ld [tid %d] ", (long)(seconds / 3600), (long)(seconds / 60 % 60),
           (long)(seconds % 60), (long)(host->now % NS_PER_S), task->tid);
    const char *name = syscall_name(number);
    if (!name) {
        append(line, "syscall_%lu(", (unsigned long)number);
        name = "";
    } else {
        append(line, "%s(", name);
        const char *kinds = descriptions[number].arguments;
        for (int i = 0; kinds[i]; i++) {
            if (i)
                append(line, ", ");
            append_argument(line, kinds[i], a[i], deterministic);
        }
    }
    append(line, ") = ");
}

static bool returns_pointer(uint64_t number) {
    return number == 9 || number == 12 || number == 25 || number == 30; /* mmap, brk, mremap, shmat */
}

static void trace_end(struct line *line, const struct task *task, uint64_t number, int64_t result) {
    if (result < 0 && result >= -4095)
        append(line, "-%ld (errno)\n", (long)-result);
    else if (returns_pointer(number))
        append_argument(line, 'p', (uint64_t)result, task->host->strace_mode == STRACE_DETERMINISTIC),
            append(line, "\n");
    else
        append(line, "%ld\n", (long)result);
    (void)platform_syscall(1 /* write */, (uint64_t)task->process->strace_fd, (uint64_t)line->text, line->length, 0, 0,
                           0);
}

/* ---- Dispatch ---- */

static int64_t unsupported(struct task *task, uint64_t number, const uint64_t *a) {
    struct host *host = task->host;
    host->counters.unsupported_calls++;
    uint64_t index = KMIN(number, SYSCALL_LIMIT - 1);
    if (!(host->warned_calls[index / 64] >> (index % 64) & 1)) {
        host->warned_calls[index / 64] |= UINT64_C(1) << (index % 64);
        platform_warn(host, task, "unsupported system call %lu (0x%lx, 0x%lx, 0x%lx, 0x%lx, 0x%lx, 0x%lx): ENOSYS",
                      (unsigned long)number, (unsigned long)a[0], (unsigned long)a[1], (unsigned long)a[2],
                      (unsigned long)a[3], (unsigned long)a[4], (unsigned long)a[5]);
    }
    return -ENOSYS;
}

/* poll, select, epoll_wait and their kin. */
static bool may_wait(uint64_t number) {
    return number == 7 || number == 23 || number == 232 || number == 270 || number == 271 || number == 281 ||
           number == 441;
}

/* What a call means for whether its task spins. */
enum conduct { ACTED, LOOKED, NEITHER };

static uint64_t mixed(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

/* What a call asked and was answered, as a number. Where results go to does not matter, nor where a name lies. */
static uint64_t question(uint64_t number, const uint64_t *a, int64_t result) {
    const char *kinds = descriptions[number].arguments;
    uint64_t hash = mixed(number, (uint64_t)result);
    for (int i = 0; kinds[i]; i++) {
        char text[256];
        if (kinds[i] == 's' && string_from_user(text, a[i], sizeof text) >= 0)
            for (const char *at = text; *at; at++)
                hash = mixed(hash, (uint8_t)*at);
        else if (kinds[i] != 'p')
            hash = mixed(hash, a[i]);
    }
    return hash;
}

/* Whether it is one of the last few questions of the task, with the same answer. */
static bool asked_before(struct task *task, uint64_t asked) {
    for (size_t i = 0; i < ARRAY_LENGTH(task->questions); i++)
        if (task->questions[i] == asked)
            return true;
    task->questions[task->next_question++ % ARRAY_LENGTH(task->questions)] = asked;
    return false;
}

/* A call that failed changed nothing. Sending signal 0 only asks who is there. */
static bool only_asks(uint64_t number, const uint64_t *a, int64_t result) {
    if (result < 0 || !(descriptions[number].flags & PROBE))
        return result < 0;
    const char *kinds = descriptions[number].arguments;
    for (int i = 0; kinds[i]; i++)
        if (kinds[i] == 'g' && a[i])
            return false;
    return true;
}

/* Also a poll that finds something only looks: a program that never takes what it was shown spins as well. One that
 * slept while time went on does not. */
static enum conduct conduct_of(struct task *task, uint64_t number, const uint64_t *a, int64_t result, bool slept) {
    bool known = number < SYSCALL_LIMIT && descriptions[number].name;
    uint8_t flags = known ? descriptions[number].flags : 0;
    if (slept)
        return ACTED;
    if (flags & ASIDE)
        return NEITHER;
    if (result == -EAGAIN || (flags & LOOK))
        return LOOKED;
    if (known && !returns_pointer(number) && only_asks(number, a, result))
        return asked_before(task, question(number, a, result)) ? LOOKED : ACTED;
    return ACTED;
}

/* Sleeps for computing, which is not interruptible; what is pending is taken afterwards. */
static void compute(struct task *task, int64_t duration) {
    struct host *host = task->host;
    int64_t until = host->now + duration;
    uint64_t mask = task->signal_mask;
    task->signal_mask = UNINTERRUPTIBLE;
    while (host->now < until && task_block(task, until) != -ERESTARTSYS)
        continue;
    task->signal_mask = mask;
}

/* Lets modelled CPU time pass: sleeps once more than max_unapplied_cpu_ns has gathered. */
static void apply_cpu(struct task *task) {
    struct host *host = task->host;
    if (task->cpu_ns <= host->max_unapplied_cpu_ns)
        return;
    int64_t duration = task->cpu_ns;
    task->cpu_ns = 0;
    compute(task, duration);
}

static void account(struct task *task, enum conduct conduct) {
    struct host *host = task->host;
    if (host->model_cpu) {
        task->cpu_ns += host->call_cost_ns;
        task->cpu_total_ns += host->call_cost_ns;
        if (task->process->cpu_timers || task->process->limits[0 /* RLIMIT_CPU */][0] != UINT64_MAX)
            signal_cpu_time(task->process);
        apply_cpu(task);
    }
    if (host->calls_until < host->now)
        host->calls_until = host->now;
    host->calls_until += CALL_TIME;
    if (host->calls_until - host->now > CALLS_AHEAD)
        compute(task, CALLS_STEP);
    if (conduct == ACTED)
        task->idle_calls = 0;
    if (conduct != LOOKED)
        return;
    if (++task->idle_calls % SPIN_YIELD_CALLS == 0)
        task_yield(task);
    if (task->idle_calls <= SPIN_CALLS)
        return;
    if (task->idle_calls == SPIN_CALLS + 1)
        host->counters.spins_detected++;
    compute(task, SPIN_STEP);
}

int64_t syscall_dispatch(struct task *task, uint64_t number, const uint64_t a[6]) {
    struct host *host = task->host;
    task->in_call = (uint32_t)number;
    task->calls++;
    host->counters.calls++;
    bool trace = host->strace_mode != STRACE_OFF && task->process->strace_fd >= 0;
    bool known = number < SYSCALL_LIMIT && functions[number];
    struct line line;
    if (trace) {
        trace_start(&line, task, number, a);
        if (known && (number == 60 || number == 231 || number == 59 || number == 322)) { /* these may not return */
            append(&line, "?\n");
            (void)platform_syscall(1 /* write */, (uint64_t)task->process->strace_fd, (uint64_t)line.text, line.length,
                                   0, 0, 0);
        }
    }
    int64_t entered = host->now;
    int64_t result = known ? functions[number](task, a) : unsupported(task, number, a);
    bool slept = host->now != entered;
    file_drop_held(task);
    net_run_backlog(host);
    if (trace)
        trace_end(&line, task, number, result);
    account(task, conduct_of(task, number, a, result, slept));
    if (++task->turn_calls > (may_wait(number) ? SLICE_CALLS_WAITING : SLICE_CALLS)) {
        task->turn_calls = 0;
        task_yield(task);
    }
    return result;
}

uint64_t syscall_timestamp_counter(struct task *task) {
    account(task, LOOKED);
    return (uint64_t)clock_monotonic(task->host);
}

int64_t sys_native(struct task *task, const uint64_t *a) {
    task->host->counters.native_calls++;
    return platform_syscall(task->in_call, a[0], a[1], a[2], a[3], a[4], a[5]);
}
