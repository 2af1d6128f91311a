/* hot._engine: the engine as a Python extension type. hot/shard.py is its only user.
 *
 * Nothing happens per event in Python: windows go in and columns come out. The interpreter's lock is released while a
 * window runs, and taken back now and then to see whether a Python signal handler wants to raise.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "engine.h"
#include "guard.h"
#include "hot/kernel/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static PyObject *engine_error;

enum { ROUTE_BUFFERS = 9, MOST_WINDOWS = 1024, WINDOW_COLUMNS = sizeof(struct window_record) / sizeof(int64_t) };

struct engine_object {
    PyObject_HEAD struct engine engine;
    Py_buffer routes[ROUTE_BUFFERS]; /* kept as long as the engine looks into them */
    PyObject *find_path;             /* (node, node) -> (latency, loss) */
    bool has_routes, running, closed;
    PyThreadState *thread;
    struct window_record windows[MOST_WINDOWS];
};

static bool check_interrupted(struct engine *engine) {
    struct engine_object *self = engine->context;
    (void)cpu_release();
    PyEval_RestoreThread(self->thread);
    bool raised = PyErr_CheckSignals() != 0;
    self->thread = PyEval_SaveThread();
    return raised;
}

static int ask_for_path(struct engine *engine, size_t source_node, size_t destination_node, struct path *path) {
    struct engine_object *self = engine->context;
    long long latency;
    (void)cpu_release();
    PyEval_RestoreThread(self->thread);
    PyObject *answer =
        PyObject_CallFunction(self->find_path, "nn", (Py_ssize_t)source_node, (Py_ssize_t)destination_node);
    bool answered = answer && PyArg_ParseTuple(answer, "Ld", &latency, &path->loss);
    Py_XDECREF(answer);
    self->thread = PyEval_SaveThread();
    if (!answered)
        return engine_fail(engine, ENGINE_INTERRUPTED, 0, "", "no answer for the path from node %zu to node %zu",
                           source_node, destination_node);
    path->latency_ns = latency;
    return 0;
}

static PyObject *raise_failure(const struct engine *engine) {
    switch (engine->error) {
    case ENGINE_INTERRUPTED:
        if (PyErr_Occurred())
            return NULL;
        break;
    case ENGINE_OS_ERROR: {
        char text[1300];
        snprintf(text, sizeof text, "%s: %s", engine->message, strerror(engine->error_number));
        PyObject *arguments = Py_BuildValue("(iss)", engine->error_number, text, engine->where);
        if (arguments)
            PyErr_SetObject(PyExc_OSError, arguments);
        Py_XDECREF(arguments);
        return NULL;
    }
    case ENGINE_WORKS:
    case ENGINE_BROKEN:
        break;
    }
    PyErr_Format(engine_error, "%s: %s", engine->where, engine->message);
    return NULL;
}

/* Whether a method may go on. */
static bool ready(struct engine_object *self) {
    if (self->closed || self->running) {
        PyErr_SetString(PyExc_ValueError, self->closed ? "the engine is closed" : "the engine is running");
        return false;
    }
    if (self->engine.error != ENGINE_WORKS) {
        raise_failure(&self->engine);
        return false;
    }
    return true;
}

static int engine_object_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    struct engine_object *self = (struct engine_object *)object;
    static char *names[] = {"shim",          "seed",
                            "bootstrap_end", "turn_limit",
                            "strace_mode",   "model_cpu",
                            "call_cost",     "max_unapplied_cpu",
                            "send_buffer",   "receive_buffer",
                            "send_autotune", "receive_autotune",
                            "round_robin",   NULL};
    PyObject *shim;
    unsigned long long seed;
    long long bootstrap_end, turn_limit, call_cost, max_unapplied_cpu;
    unsigned int strace_mode, send_buffer, receive_buffer;
    int model_cpu, send_autotune, receive_autotune, round_robin;
    if (self->engine.context) {
        PyErr_SetString(PyExc_ValueError, "the engine is initialised already");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O&$KLLIpLLIIppp", names, PyUnicode_FSConverter, &shim, &seed,
                                     &bootstrap_end, &turn_limit, &strace_mode, &model_cpu, &call_cost,
                                     &max_unapplied_cpu, &send_buffer, &receive_buffer, &send_autotune,
                                     &receive_autotune, &round_robin))
        return -1;
    self->engine.options = (struct engine_options){
        .seed = seed,
        .bootstrap_end = bootstrap_end,
        .turn_limit_ns = turn_limit,
        .strace_mode = strace_mode,
        .model_cpu = model_cpu,
        .call_cost_ns = call_cost,
        .max_unapplied_cpu_ns = max_unapplied_cpu,
        .send_buffer = send_buffer,
        .receive_buffer = receive_buffer,
        .send_autotune = send_autotune,
        .receive_autotune = receive_autotune,
        .round_robin = round_robin,
    };
    self->engine.context = self;
    self->engine.interrupted = check_interrupted;
    self->engine.find_path = ask_for_path;
    int result = engine_init(&self->engine, PyBytes_AS_STRING(shim));
    Py_DECREF(shim);
    if (result)
        raise_failure(&self->engine);
    return result;
}

static PyObject *engine_object_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments, (void)keywords;
    struct engine_object *self = (struct engine_object *)type->tp_alloc(type, 0);
    if (self)
        self->engine.shim_fd = -1;
    return (PyObject *)self;
}

static void close_now(struct engine_object *self) {
    self->closed = true;
    engine_close(&self->engine);
    free(self->engine.local_of_host);
    self->engine.local_of_host = NULL;
    for (int i = 0; self->has_routes && i < ROUTE_BUFFERS; i++)
        PyBuffer_Release(&self->routes[i]);
    self->has_routes = false;
    Py_CLEAR(self->find_path);
}

static void engine_object_dealloc(PyObject *object) {
    struct engine_object *self = (struct engine_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (!self->closed)
        close_now(self);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *method_close(PyObject *object, PyObject *ignored) {
    (void)ignored;
    struct engine_object *self = (struct engine_object *)object;
    if (self->running) {
        PyErr_SetString(PyExc_ValueError, "the engine is running");
        return NULL;
    }
    if (self->closed)
        Py_RETURN_NONE;
    bool worked = self->engine.error == ENGINE_WORKS;
    close_now(self);
    return worked && self->engine.error != ENGINE_WORKS ? raise_failure(&self->engine) : Py_NewRef(Py_None);
}

static struct engine_host *host_at(struct engine_object *self, unsigned int place) {
    if (place < self->engine.host_count)
        return &self->engine.hosts[place];
    PyErr_Format(PyExc_IndexError, "there is no host %u", place);
    return NULL;
}

static PyObject *method_add_host(PyObject *object, PyObject *arguments, PyObject *keywords) {
    struct engine_object *self = (struct engine_object *)object;
    static char *names[] = {"host_id",    "name",       "address",      "address6",     "directory",    "etc_directory",
                            "real_names", "uplink_bps", "downlink_bps", "capture_path", "capture_size", NULL};
    unsigned int id, address, capture_size;
    const char *name, *address6, *real_names;
    Py_ssize_t address6_length, real_names_length;
    PyObject *directory, *etc_directory, *capture_path;
    long long uplink_bps, downlink_bps;
    if (!ready(self))
        return NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "$IsIy#SSy#LLSI", names, &id, &name, &address, &address6,
                                     &address6_length, &directory, &etc_directory, &real_names, &real_names_length,
                                     &uplink_bps, &downlink_bps, &capture_path, &capture_size))
        return NULL;
    if (address6_length != 16) {
        PyErr_SetString(PyExc_ValueError, "an IPv6 address has 16 bytes");
        return NULL;
    }
    uint32_t place = self->engine.host_count;
    if (place && self->engine.hosts[place - 1].id >= id) {
        PyErr_SetString(PyExc_ValueError, "hosts are added by ascending id");
        return NULL;
    }
    if (strlen(name) >= HOST_NAME_MAX || PyBytes_GET_SIZE(directory) >= HOST_PATH_MAX ||
        PyBytes_GET_SIZE(etc_directory) >= HOST_PATH_MAX) {
        PyErr_Format(PyExc_ValueError, "the name or the directory of host %s is too long", name);
        return NULL;
    }
    /* After the last name's end comes an empty name. */
    if (real_names_length >= REAL_NAMES_MAX || (real_names_length && real_names[real_names_length - 1])) {
        PyErr_Format(PyExc_ValueError, "the real names of host %s do not fit, or the last has no end", name);
        return NULL;
    }
    struct engine_host *host =
        engine_add_host(&self->engine, id, name, address, ip_get((const uint8_t *)address6),
                        PyBytes_AS_STRING(directory), PyBytes_AS_STRING(etc_directory), uplink_bps, downlink_bps);
    if (!host)
        return raise_failure(&self->engine);
    memcpy(host->real_names, real_names, (size_t)real_names_length);
    if (capture_size) {
        host->pcap_path = strdup(PyBytes_AS_STRING(capture_path));
        host->pcap = host->pcap_path ? pcap_open(host->pcap_path, capture_size) : NULL;
        if (!host->pcap) {
            engine_fail(&self->engine, ENGINE_OS_ERROR, errno, PyBytes_AS_STRING(capture_path),
                        "the capture file cannot be made");
            return raise_failure(&self->engine);
        }
    }
    return PyLong_FromUnsignedLong(place);
}

/* A new vector of pointers into the items of a list of bytes. */
static char **strings_of(PyObject *list, uint32_t *count) {
    Py_ssize_t length = PyList_GET_SIZE(list);
    char **strings = calloc((size_t)length + 1, sizeof *strings);
    if (!strings) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        strings[i] = PyBytes_AsString(PyList_GET_ITEM(list, i));
        if (!strings[i]) {
            free(strings);
            return NULL;
        }
    }
    *count = (uint32_t)length;
    return strings;
}

static PyObject *method_add_process(PyObject *object, PyObject *arguments, PyObject *keywords) {
    struct engine_object *self = (struct engine_object *)object;
    static char *names[] = {
        "host", "path",  "name", "arguments", "environment", "start_time", "shutdown_time", "shutdown_signal",
        "user", "group", NULL};
    unsigned int place, user, group;
    PyObject *path, *name, *argument_list, *environment_list;
    long long start_time, shutdown_time;
    int shutdown_signal;
    if (!ready(self))
        return NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "$ISSO!O!LLiII", names, &place, &path, &name, &PyList_Type,
                                     &argument_list, &PyList_Type, &environment_list, &start_time, &shutdown_time,
                                     &shutdown_signal, &user, &group))
        return NULL;
    struct engine_host *host = host_at(self, place);
    if (!host)
        return NULL;
    struct managed process = {
        .path = PyBytes_AS_STRING(path),
        .name = PyBytes_AS_STRING(name),
        .start_time = start_time,
        .shutdown_time = shutdown_time,
        .shutdown_signal = shutdown_signal,
        .uid = user,
        .gid = group,
    };
    PyObject *result = NULL;
    process.arguments = strings_of(argument_list, &process.argument_count);
    if (process.arguments)
        process.environment = strings_of(environment_list, &process.environment_count);
    if (process.environment)
        result = engine_add_process(&self->engine, host, &process) ? raise_failure(&self->engine) : Py_NewRef(Py_None);
    free(process.arguments);
    free(process.environment);
    return result;
}

/* The first table that names a host which has no node; NULL: all have one. What is found is a place in other tables. */
static const char *find_stranger(const struct route_table *routes) {
    for (size_t i = 0; i < routes->address_count; i++)
        if (routes->address_ids[i] >= routes->host_count)
            return "address_ids has the number";
    for (size_t i = 0; i < routes->range_count; i++)
        if ((uint64_t)routes->range_first_id[i] + routes->range_size[i] > routes->host_count)
            return "range_first_id and range_size have the number";
    for (size_t i = 0; i < routes->exception_count; i++)
        if (routes->exception_ids[i] >= routes->host_count && routes->exception_ids[i] != NO_HOST)
            return "exception6_ids has the number";
    return NULL;
}

static PyObject *method_set_routes(PyObject *object, PyObject *arguments, PyObject *keywords) {
    struct engine_object *self = (struct engine_object *)object;
    static char *names[] = {"addresses",   "address_ids",    "range_first",  "range_size", "range_first_id", "prefix6",
                            "exceptions6", "exception6_ids", "node_of_host", "node_count", "find_path",      NULL};
    if (!ready(self))
        return NULL;
    if (self->has_routes) {
        PyErr_SetString(PyExc_ValueError, "routes are set once");
        return NULL;
    }
    Py_buffer *b = self->routes;
    Py_ssize_t nodes;
    PyObject *find_path;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "$y*y*y*y*y*y*y*y*y*nO", names, &b[0], &b[1], &b[2], &b[3],
                                     &b[4], &b[5], &b[6], &b[7], &b[8], &nodes, &find_path))
        return NULL;
    self->has_routes = true;
    self->find_path = Py_NewRef(find_path);
    struct route_table *routes = &self->engine.routes;
    *routes = (struct route_table){
        .address_count = (size_t)b[0].len / sizeof(uint32_t),
        .range_count = (size_t)b[2].len / sizeof(uint32_t),
        .exception_count = (size_t)b[6].len / 16,
        .host_count = (size_t)b[8].len / sizeof(int32_t),
        .node_count = (size_t)nodes,
        .addresses = b[0].buf,
        .address_ids = b[1].buf,
        .range_first = b[2].buf,
        .range_size = b[3].buf,
        .range_first_id = b[4].buf,
        .prefix6 = b[5].len == 16 ? ip_get(b[5].buf) : IP6_ANY,
        .exceptions = b[6].buf,
        .exception_ids = b[7].buf,
        .node_of_host = b[8].buf,
    };
    if (b[1].len != b[0].len || b[3].len != b[2].len || b[4].len != b[2].len || b[5].len != 16 ||
        b[6].len != 4 * b[7].len || nodes < 0 || nodes > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "the tables do not fit each other");
        return NULL;
    }
    const char *stranger = find_stranger(routes);
    if (stranger) {
        PyErr_Format(PyExc_ValueError, "%s of a host that is not among the %zu of node_of_host", stranger,
                     routes->host_count);
        return NULL;
    }
    if (route_init(routes))
        return PyErr_NoMemory();
    free(self->engine.local_of_host);
    uint32_t *local = malloc(sizeof *local * (routes->host_count + 1));
    if (!local)
        return PyErr_NoMemory();
    memset(local, 0xff, sizeof *local * (routes->host_count + 1));
    self->engine.local_of_host = local;
    for (uint32_t i = 0; i < self->engine.host_count; i++) {
        if (self->engine.hosts[i].id >= routes->host_count) {
            PyErr_SetString(PyExc_ValueError, "a host has no node");
            return NULL;
        }
        local[self->engine.hosts[i].id] = i;
    }
    Py_RETURN_NONE;
}

static PyObject *method_next_event_time(PyObject *object, PyObject *ignored) {
    (void)ignored;
    struct engine_object *self = (struct engine_object *)object;
    return ready(self) ? PyLong_FromLongLong(engine_next_time(&self->engine)) : NULL;
}

static PyObject *column(const void *values, size_t count, size_t size) {
    return PyByteArray_FromStringAndSize(values, (Py_ssize_t)(count * size));
}

static bool ready_to_run(struct engine_object *self) {
    if (!ready(self))
        return false;
    if (!self->has_routes)
        PyErr_SetString(PyExc_ValueError, "set_routes comes first");
    return self->has_routes;
}

static void begin_run(struct engine_object *self) {
    self->running = true;
    self->thread = PyEval_SaveThread();
}

static void end_run(struct engine_object *self) {
    PyEval_RestoreThread(self->thread);
    self->running = false;
}

/* None, if nothing is for others. */
static PyObject *outbound_columns(const struct outbound *out) {
    size_t n = out->count;
    if (!n)
        Py_RETURN_NONE;
    return Py_BuildValue("(NNNNNN)", column(out->deliver_time, n, sizeof *out->deliver_time),
                         column(out->source, n, sizeof *out->source),
                         column(out->source_event, n, sizeof *out->source_event),
                         column(out->destination, n, sizeof *out->destination),
                         column(out->payload_offset, n + 1, sizeof *out->payload_offset),
                         column(out->payload, (size_t)out->payload_offset[n], 1));
}

static PyObject *method_run_until(PyObject *object, PyObject *argument) {
    struct engine_object *self = (struct engine_object *)object;
    long long end = PyLong_AsLongLong(argument);
    if ((end == -1 && PyErr_Occurred()) || !ready_to_run(self))
        return NULL;
    begin_run(self);
    int result = engine_run_until(&self->engine, end);
    end_run(self);
    return result ? raise_failure(&self->engine) : outbound_columns(&self->engine.outbound);
}

/* What raise_failure would raise. */
static PyObject *failure_as_object(const struct engine *engine) {
    PyObject *type, *value, *trace;
    raise_failure(engine);
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace && value)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
}

static PyObject *method_run_windows(PyObject *object, PyObject *arguments) {
    struct engine_object *self = (struct engine_object *)object;
    long long start, runahead, stop, others;
    if (!PyArg_ParseTuple(arguments, "LLLL", &start, &runahead, &stop, &others) || !ready_to_run(self))
        return NULL;
    if (start >= stop || runahead <= 0) {
        PyErr_SetString(PyExc_ValueError, "a window has a length");
        return NULL;
    }
    const struct window_bounds bounds = {start, runahead, stop, others};
    begin_run(self);
    size_t count = engine_run_windows(&self->engine, &bounds, self->windows, MOST_WINDOWS);
    end_run(self);
    bool failed = self->engine.error != ENGINE_WORKS;
    PyObject *failure = failed ? failure_as_object(&self->engine) : Py_NewRef(Py_None);
    PyObject *records = column(self->windows, count * WINDOW_COLUMNS, sizeof(int64_t));
    PyObject *columns = failed ? Py_NewRef(Py_None) : outbound_columns(&self->engine.outbound);
    return Py_BuildValue("(NNN)", records, columns, failure);
}

/* Whether the columns fit each other and name packets for hosts of this shard. */
static const char *check_columns(const struct engine *engine, const Py_buffer *b, size_t n) {
    if (b[0].len != (Py_ssize_t)(8 * n) || b[2].len != (Py_ssize_t)(8 * n) || b[1].len != (Py_ssize_t)(4 * n) ||
        b[3].len != (Py_ssize_t)(4 * n) || b[4].len != (Py_ssize_t)(8 * (n + 1)))
        return "the columns have different lengths";
    const uint32_t *destination = b[3].buf;
    const int64_t *offset = b[4].buf;
    if (offset[0] != 0 || offset[n] != b[5].len)
        return "the payload does not fit its offsets";
    for (size_t i = 0; i < n; i++) {
        if (offset[i + 1] - offset[i] < 20 || offset[i + 1] > b[5].len)
            return "a payload is no IPv4 packet";
        if (destination[i] >= engine->routes.host_count || engine->local_of_host[destination[i]] == NO_HOST)
            return "an event is for a host of another shard";
    }
    return NULL;
}

static PyObject *method_deliver(PyObject *object, PyObject *arguments) {
    struct engine_object *self = (struct engine_object *)object;
    if (!ready(self))
        return NULL;
    Py_buffer b[6];
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]))
        return NULL;
    const size_t n = (size_t)b[0].len / sizeof(int64_t);
    struct engine *engine = &self->engine;
    PyObject *result = NULL;
    const char *wrong = self->has_routes ? check_columns(engine, b, n) : "set_routes comes first";
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        goto out;
    }
    const int64_t *time = b[0].buf, *offset = b[4].buf;
    const uint32_t *source = b[1].buf, *destination = b[3].buf;
    const uint64_t *source_event = b[2].buf;
    const uint8_t *payload = b[5].buf;
    for (size_t i = 0; i < n; i++) {
        struct engine_host *host = &engine->hosts[engine->local_of_host[destination[i]]];
        if (route_arrival(engine, host, time[i], source[i], source_event[i], payload + offset[i],
                          (uint32_t)(offset[i + 1] - offset[i]))) {
            raise_failure(engine);
            goto out;
        }
    }
    result = Py_NewRef(Py_None);
out:
    for (int i = 0; i < 6; i++)
        PyBuffer_Release(&b[i]);
    return result;
}

struct process_state {
    int32_t pid;
    bool ended;
    int status;
};

static void look_at_process(struct host *kernel, void *context) {
    struct process_state *state = context;
    const struct process *process = process_find(kernel, state->pid);
    state->ended = process && process->zombie;
    state->status = state->ended ? process->exit_status : 0;
}

/* ("running" | "exited" | "signaled" | "not started", code). Processes of a host that was given up were killed. */
static PyObject *state_of(struct engine *engine, struct engine_host *host, const struct managed *managed) {
    if (!managed->started)
        return Py_BuildValue("(si)", "not started", 0);
    struct process_state state = {.pid = managed->pid};
    if (!host->broken && !guard_call(host->kernel, look_at_process, &state))
        (void)host_break(engine, host, "%s, when its processes were looked at", guard_problem());
    if (host->broken)
        return Py_BuildValue("(si)", "signaled", SIGKILL);
    if (!state.ended)
        return Py_BuildValue("(si)", "running", 0);
    return state.status & 0x7f ? Py_BuildValue("(si)", "signaled", state.status & 0x7f)
                               : Py_BuildValue("(si)", "exited", state.status >> 8 & 0xff);
}

static PyObject *method_process_states(PyObject *object, PyObject *ignored) {
    (void)ignored;
    struct engine_object *self = (struct engine_object *)object;
    if (!ready(self))
        return NULL;
    PyObject *states = PyList_New(0);
    for (uint32_t i = 0; states && i < self->engine.host_count; i++) {
        struct engine_host *host = &self->engine.hosts[i];
        for (uint32_t j = 0; states && j < host->process_count; j++) {
            PyObject *state = state_of(&self->engine, host, &host->processes[j]);
            PyObject *row = state ? Py_BuildValue("(IIiN)", i, j, host->processes[j].pid, state) : NULL;
            if (!row || PyList_Append(states, row))
                Py_CLEAR(states);
            Py_XDECREF(row);
        }
    }
    return states;
}

static PyObject *method_process_groups(PyObject *object, PyObject *ignored) {
    (void)ignored;
    struct engine_object *self = (struct engine_object *)object;
    if (!ready(self))
        return NULL;
    PyObject *groups = PyList_New(0);
    for (uint32_t i = 0; groups && i < self->engine.host_count; i++) {
        const struct engine_host *host = &self->engine.hosts[i];
        for (uint32_t j = 0; groups && j < host->process_count; j++) {
            if (!host->processes[j].group)
                continue;
            PyObject *row = Py_BuildValue("(Ii)", i, (int)host->processes[j].group);
            if (!row || PyList_Append(groups, row))
                Py_CLEAR(groups);
            Py_XDECREF(row);
        }
    }
    return groups;
}

struct counter {
    const char *name;
    size_t offset;
};
#define KERNEL_COUNTER(name) {#name, offsetof(struct host_counters, name)}
static const struct counter kernel_counters[] = {
    KERNEL_COUNTER(events),
    KERNEL_COUNTER(calls),
    KERNEL_COUNTER(native_calls),
    KERNEL_COUNTER(unsupported_calls),
    KERNEL_COUNTER(switches),
    KERNEL_COUNTER(forks),
    KERNEL_COUNTER(execs),
    KERNEL_COUNTER(threads),
    KERNEL_COUNTER(packets_sent),
    KERNEL_COUNTER(packets_received),
    KERNEL_COUNTER(packets_dropped_no_socket),
    KERNEL_COUNTER(packets_dropped_buffer),
    KERNEL_COUNTER(packets_malformed),
    KERNEL_COUNTER(bytes_sent),
    KERNEL_COUNTER(bytes_received),
    KERNEL_COUNTER(tcp_retransmissions),
    KERNEL_COUNTER(spins_detected),
};

static int set_number(PyObject *dictionary, const char *name, uint64_t value) {
    PyObject *number = PyLong_FromUnsignedLongLong(value);
    int result = number ? PyDict_SetItemString(dictionary, name, number) : -1;
    Py_XDECREF(number);
    return result;
}

static PyObject *method_counters(PyObject *object, PyObject *argument) {
    struct engine_object *self = (struct engine_object *)object;
    unsigned long place = PyLong_AsUnsignedLong(argument);
    if ((place == (unsigned long)-1 && PyErr_Occurred()) || !ready(self))
        return NULL;
    const struct engine_host *host = host_at(self, (unsigned int)place);
    PyObject *counters = host ? PyDict_New() : NULL;
    if (!counters)
        return NULL;
    const struct host *kernel = host->broken ? NULL : host->kernel; /* what is in a broken one's memory means nothing */
    const char *base = kernel ? (const char *)&kernel->counters : NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(kernel_counters); i++) {
        uint64_t value = 0;
        if (base)
            memcpy(&value, base + kernel_counters[i].offset, sizeof value);
        if (set_number(counters, kernel_counters[i].name, value))
            goto failed;
    }
    if (set_number(counters, "packets_lost_on_path", host->drops_loss) ||
        set_number(counters, "packets_dropped_no_route", host->drops_no_route) ||
        set_number(counters, "packets_dropped_router_delay", kernel ? host->link->router.drops_delay : 0) ||
        set_number(counters, "packets_dropped_router_full", kernel ? host->link->router.drops_full : 0) ||
        set_number(counters, "kernel_bytes", kernel ? kernel->arena.bytes_in_use : 0))
        goto failed;
    return counters;
failed:
    Py_DECREF(counters);
    return NULL;
}

static int append_line(PyObject *lines, int64_t time, uint32_t place, const char *text) {
    PyObject *decoded = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    PyObject *line = decoded ? Py_BuildValue("(LIN)", (long long)time, place, decoded) : NULL;
    int result = line ? PyList_Append(lines, line) : -1;
    Py_XDECREF(line);
    return result;
}

struct taken_line {
    bool taken;
    int64_t time;
    char text[4096];
};

static void take_line(struct host *kernel, void *context) {
    struct taken_line *line = context;
    line->taken = warning_take(kernel, &line->time, line->text, sizeof line->text);
}

/* [(time, host, text)]; the lines are the caller's from now on. */
static PyObject *method_traffic(PyObject *object, PyObject *argument) {
    struct engine_object *self = (struct engine_object *)object;
    unsigned long place = PyLong_AsUnsignedLong(argument);
    if ((place == (unsigned long)-1 && PyErr_Occurred()) || !ready(self))
        return NULL;
    const struct engine_host *host = host_at(self, (unsigned int)place);
    if (!host)
        return NULL;
    const struct traffic *traffic = &host->traffic;
    PyObject *rows = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)(traffic->count * 3 * sizeof(int64_t)));
    if (!rows)
        return NULL;
    char *row = PyByteArray_AS_STRING(rows);
    for (uint32_t i = 0; i < traffic->capacity; i++) {
        const struct traffic_entry *entry = &traffic->entries[i];
        if (!entry->packets)
            continue;
        int64_t values[3] = {entry->destination, (int64_t)entry->packets, (int64_t)entry->bytes};
        memcpy(row, values, sizeof values);
        row += sizeof values;
    }
    return rows;
}

static PyObject *method_take_warnings(PyObject *object, PyObject *ignored) {
    (void)ignored;
    struct engine_object *self = (struct engine_object *)object;
    if (!ready(self))
        return NULL;
    struct engine *engine = &self->engine;
    PyObject *lines = PyList_New(0);
    if (!lines || !engine->warnings)
        return lines;
    engine->warnings = false;
    for (uint32_t i = 0; i < engine->host_count; i++) {
        struct engine_host *host = &engine->hosts[i];
        struct taken_line line = {.taken = true};
        while (host->kernel && !host->broken && line.taken) {
            if (!guard_call(host->kernel, take_line, &line))
                (void)host_break(engine, host, "%s, when its warnings were read", guard_problem());
            else if (line.taken && append_line(lines, line.time, i, line.text))
                goto failed;
        }
    }
    for (size_t i = 0; i < engine->line_count; i++) {
        if (append_line(lines, engine->lines[i].time, engine->lines[i].place, engine->lines[i].text))
            goto failed;
        free(engine->lines[i].text);
        engine->lines[i].text = NULL;
    }
    engine->line_count = 0;
    engine->warnings = false;
    return lines;
failed:
    Py_DECREF(lines);
    return NULL;
}

static PyObject *get_events_executed(PyObject *object, void *ignored) {
    (void)ignored;
    return PyLong_FromUnsignedLongLong(((struct engine_object *)object)->engine.events_executed);
}

static PyObject *get_fingerprint(PyObject *object, void *ignored) {
    (void)ignored;
    return PyLong_FromUnsignedLongLong(((struct engine_object *)object)->engine.fingerprint);
}

static PyObject *get_min_used_latency(PyObject *object, void *ignored) {
    (void)ignored;
    return PyLong_FromLongLong(((struct engine_object *)object)->engine.min_used_latency);
}

#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void)) function, METH_VARARGS | METH_KEYWORDS
static PyMethodDef methods[] = {
    {"add_host", WITH_KEYWORDS(method_add_host), "Add a host; return its place among the hosts of this shard."},
    {"add_process", WITH_KEYWORDS(method_add_process), "Add a process to the host at a place."},
    {"set_routes", WITH_KEYWORDS(method_set_routes), "Set addresses, nodes and paths, once all hosts are added."},
    {"next_event_time", method_next_event_time, METH_NOARGS, "Return the time of the earliest event [ns]."},
    {"run_until", method_run_until, METH_O, "Run a window; return columns of what is for others, or None."},
    {"run_windows", method_run_windows, METH_VARARGS,
     "Run windows (start, runahead, stop, others), as long as nothing is for others; return rows of int64 (start, end, "
     "events executed, next event, wall-clock time, fingerprint), columns as run_until, and what failed after them."},
    {"deliver", method_deliver, METH_VARARGS, "Take packets for hosts of this shard, as columns."},
    {"process_states", method_process_states, METH_NOARGS,
     "Return (host, process, pid, (state, code)) of each process."},
    {"process_groups", method_process_groups, METH_NOARGS,
     "Return (host, real process group) of each process that runs, its descendants included."},
    {"counters", method_counters, METH_O, "Return the counters of the host at a place."},
    {"traffic", method_traffic, METH_O, "Return rows of int64 (HostId, packets, bytes): what a host sent to others."},
    {"take_warnings", method_take_warnings, METH_NOARGS, "Return and forget (time, host, text) of each warning."},
    {"close", method_close, METH_NOARGS, "End every process and free everything."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"events_executed", get_events_executed, NULL, "Events executed so far.", NULL},
    {"fingerprint", get_fingerprint, NULL, "Fingerprint of all packets sent to other hosts so far.", NULL},
    {"min_used_latency", get_min_used_latency, NULL, "Smallest latency of any packet so far [ns].", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "The engine of one shard."},
    {Py_tp_new, engine_object_new},
    {Py_tp_init, engine_object_init},
    {Py_tp_dealloc, engine_object_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};
static PyType_Spec type_specification = {
    .name = "hot._engine.Engine",
    .basicsize = sizeof(struct engine_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hot._engine",
    .m_doc = "The hot side's engine (see hot/engine/engine.h).",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__engine(void);
PyMODINIT_FUNC PyInit__engine(void) {
    PyObject *result = PyModule_Create(&module);
    PyObject *type = result ? PyType_FromSpec(&type_specification) : NULL;
    engine_error = type ? PyErr_NewException("hot._engine.EngineError", PyExc_RuntimeError, NULL) : NULL;
    if (!engine_error || PyModule_AddObjectRef(result, "Engine", type) ||
        PyModule_AddObjectRef(result, "EngineError", engine_error))
        Py_CLEAR(result);
    Py_XDECREF(type);
    return result;
}
