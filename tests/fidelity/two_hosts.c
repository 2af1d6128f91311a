/* Runs a server and a client natively, each in a network namespace of its own, joined by a network that does to
 * packets what the simulator's does: the same token buckets, latency, loss schedule and CoDel queue, by the same code.
 *
 *     two_hosts --latency NS --loss P --seed N --rate BPS --access BPS --ids CLIENT,SERVER -- SERVER... -- CLIENT...
 *
 * The server's host has the downlink --rate, every other link is --access. --ids are the HostIds that the two have in
 * the simulation: they key the loss schedule. The server runs before the client and is ended after it. Exits with the
 * client's status. Needs the right to make network namespaces and TUN devices; 77 says that it is missing.
 */
#include "hot/kernel/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED 77
#define SIDES 2
#define DATAGRAM_MAX 65536
#define CLIENT 0
#define SERVER 1

/* One host's access to the network. */
struct side {
    int tun, namespace;
    uint32_t id;
    uint64_t packets; /* that have left the uplink: the counter of the loss schedule */
    struct token_bucket uplink, downlink;
    int64_t uplink_wait, downlink_wait; /* until there are tokens; NEVER: nothing waits */
    struct packet_queue sending;        /* before the uplink */
    struct packet_queue in_flight;      /* towards this host; packet->time when it arrives: in order, as they left */
    struct router router;
    struct packet *arriving; /* has left the router's queue and waits for the downlink */
};

struct network {
    struct side side[SIDES];
    struct host clock; /* what the simulator's code asks for the time */
    int64_t latency;
    double loss;
    uint64_t seed;
};

_Noreturn static void fail(const char *what) {
    int error = errno;
    fprintf(stderr, "two_hosts: %s: %s\n", what, strerror(error));
    exit(error == EPERM || error == EACCES || error == ENOENT || error == ENODEV || error == ENOSPC ? SKIPPED : 1);
}

static void require(bool holds, const char *what) {
    if (!holds)
        fail(what);
}

static int64_t now_ns(void) {
    struct timespec time;
    require(clock_gettime(CLOCK_MONOTONIC, &time) == 0, "clock_gettime");
    return time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* ---- What the simulator's code asks of its kernel ---- */

void packet_queue_push(struct packet_queue *queue, struct packet *packet) {
    packet->next = NULL;
    if (queue->tail)
        queue->tail->next = packet;
    else
        queue->head = packet;
    queue->tail = packet;
    queue->bytes += packet->length;
}

struct packet *packet_queue_pop(struct packet_queue *queue) {
    struct packet *packet = queue->head;
    if (!packet)
        return NULL;
    queue->head = packet->next;
    if (!queue->head)
        queue->tail = NULL;
    queue->bytes -= packet->length;
    return packet;
}

void packet_free(struct host *host, struct packet *packet) {
    (void)host;
    free(packet);
}

/* ---- What the simulated network does ---- */

static void run_uplink(struct network *network, uint32_t number) {
    struct side *side = &network->side[number];
    int64_t now = network->clock.now;
    while (side->uplink_wait == NEVER && side->sending.head) {
        int64_t when = bucket_take(&side->uplink, now, side->sending.head->length);
        if (when > now) {
            side->uplink_wait = when;
            return;
        }
        struct packet *packet = packet_queue_pop(&side->sending);
        bool lost =
            network->loss > 0 &&
            (double)(rng_at(network->seed, side->id, RNG_PACKET_LOSS, side->packets++) >> 11) * 0x1p-53 < network->loss;
        packet->time = now + network->latency;
        if (lost)
            free(packet);
        else
            packet_queue_push(&network->side[1 - number].in_flight, packet);
    }
}

static void run_downlink(struct network *network, uint32_t number) {
    struct side *side = &network->side[number];
    int64_t now = network->clock.now;
    while (side->downlink_wait == NEVER) {
        struct packet *packet = side->arriving ? side->arriving : router_pop(&network->clock, &side->router);
        side->arriving = NULL;
        if (!packet)
            return;
        int64_t when = bucket_take(&side->downlink, now, packet->length);
        if (when > now) {
            side->arriving = packet;
            side->downlink_wait = when;
            return;
        }
        /* The host may be gone already. */
        (void)!write(side->tun, packet->data, packet->length);
        free(packet);
    }
}

static int64_t next_time(const struct side *side) {
    int64_t arrival = side->in_flight.head ? side->in_flight.head->time : NEVER;
    return KMIN(arrival, KMIN(side->uplink_wait, side->downlink_wait));
}

/* Events take place at their own times, however late this process is woken up for them. */
static void run_event(struct network *network, uint32_t number) {
    struct side *side = &network->side[number];
    int64_t time = network->clock.now = next_time(side);
    if (side->in_flight.head && side->in_flight.head->time == time)
        router_push(&network->clock, &side->router, packet_queue_pop(&side->in_flight));
    if (side->uplink_wait == time)
        side->uplink_wait = NEVER;
    if (side->downlink_wait == time)
        side->downlink_wait = NEVER;
    run_uplink(network, number);
    run_downlink(network, number);
}

/* Takes what a host has sent. */
static void take(struct network *network, uint32_t number) {
    static uint8_t bytes[DATAGRAM_MAX];
    struct side *side = &network->side[number];
    for (;;) {
        ssize_t length = read(side->tun, bytes, sizeof bytes);
        if (length < 0)
            return;
        if (length < 20 || bytes[0] >> 4 != 4)
            continue;
        struct packet *packet = calloc(1, sizeof *packet + (size_t)length);
        require(packet != NULL, "no memory for a packet");
        packet->length = (uint32_t)length;
        memcpy(packet->data, bytes, (size_t)length);
        packet_queue_push(&side->sending, packet);
        network->clock.now = now_ns();
        run_uplink(network, number);
    }
}

static void relay_until(struct network *network, int child_events, pid_t client, int *status) {
    struct pollfd watched[] = {{.fd = network->side[CLIENT].tun, .events = POLLIN},
                               {.fd = network->side[SERVER].tun, .events = POLLIN},
                               {.fd = child_events, .events = POLLIN}};
    for (;;) {
        int64_t now = now_ns(), next;
        for (;;) {
            uint32_t first = next_time(&network->side[SERVER]) < next_time(&network->side[CLIENT]) ? SERVER : CLIENT;
            next = next_time(&network->side[first]);
            if (next > now)
                break;
            run_event(network, first);
        }
        struct timespec pause = {.tv_sec = (next - now) / NS_PER_S, .tv_nsec = (next - now) % NS_PER_S};
        int ready = ppoll(watched, ARRAY_LENGTH(watched), next == NEVER ? NULL : &pause, NULL);
        require(ready >= 0 || errno == EINTR, "ppoll");
        for (uint32_t number = 0; number < SIDES; number++)
            if (watched[number].revents & POLLIN)
                take(network, number);
        if (watched[2].revents & POLLIN) {
            struct signalfd_siginfo ended;
            require(read(child_events, &ended, sizeof ended) == (ssize_t)sizeof ended, "signalfd");
            if (waitpid(client, status, WNOHANG) == client)
                return;
        }
    }
}

/* ---- The two hosts ---- */

/* Long enough to leave the processor to whom it waits for. */
static void wait_a_moment(void) {
    struct timespec moment = {.tv_nsec = 10 * NS_PER_MS};
    (void)nanosleep(&moment, NULL);
}

/* A key that this kernel does not have is one that the simulated kernel does not have either. */
static void set(const char *key, const char *value) {
    char path[128];
    (void)snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", key);
    int fd = open(path, O_WRONLY);
    if (fd < 0 && errno == ENOENT)
        return;
    require(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value), path);
    close(fd);
}

/* A new interface drops what is sent until the kernel has got round to activating its queue: up to a second later. */
static void await_interface(const struct side *side, int socket, in_addr_t neighbour) {
    uint8_t bytes[256];
    struct sockaddr_in discard = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = neighbour};
    for (;;) {
        require(sendto(socket, "", 1, 0, (struct sockaddr *)&discard, sizeof discard) == 1, "sendto");
        while (read(side->tun, bytes, sizeof bytes) > 0)
            if (bytes[0] >> 4 == 4)
                return;
        wait_a_moment();
    }
}

static void make_host(struct side *side, uint32_t number) {
    require(unshare(CLONE_NEWNET) == 0, "a network namespace cannot be made");
    side->namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    side->tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    require(side->namespace >= 0 && side->tun >= 0, "/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, "sim0");
    require(ioctl(side->tun, TUNSETIFF, &request) == 0, "TUNSETIFF");

    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    require(control >= 0, "socket");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0b000001u + number)};
    memcpy(&request.ifr_addr, &address, sizeof address);
    require(ioctl(control, SIOCSIFADDR, &request) == 0, "SIOCSIFADDR");
    address.sin_addr.s_addr = htonl(0xffffff00u);
    memcpy(&request.ifr_netmask, &address, sizeof address);
    require(ioctl(control, SIOCSIFNETMASK, &request) == 0, "SIOCSIFNETMASK");
    request.ifr_mtu = MTU;
    require(ioctl(control, SIOCSIFMTU, &request) == 0, "SIOCSIFMTU");
    /* The kernel must never drop what this process has not read yet: the simulated interface waits. */
    request.ifr_qlen = 100000;
    require(ioctl(control, SIOCSIFTXQLEN, &request) == 0, "SIOCSIFTXQLEN");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    require(ioctl(control, SIOCSIFFLAGS, &request) == 0, "SIOCSIFFLAGS");
    await_interface(side, control, htonl(0x0b000001u + (1 - number)));
    close(control);

    /* What the simulated kernel has, and Linux by default. */
    set("tcp_rmem", "4096 131072 6291456");
    set("tcp_wmem", "4096 16384 4194304");
    set("tcp_syn_linear_timeouts", "0"); /* of Linux 6.5 */
    /* Each run must begin as the first one. */
    set("tcp_no_metrics_save", "1");
}

static pid_t start(const struct side *side, char **arguments, int output) {
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child)
        return child;
    sigset_t none;
    sigemptyset(&none);
    require(sigprocmask(SIG_SETMASK, &none, NULL) == 0, "sigprocmask");
    require(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
    require(setns(side->namespace, CLONE_NEWNET) == 0, "setns");
    struct sched_param ordinary = {0};
    require(sched_setscheduler(0, SCHED_OTHER, &ordinary) == 0, "sched_setscheduler");
    require(dup2(output, STDOUT_FILENO) >= 0, "dup2");
    execvp(arguments[0], arguments);
    fail(arguments[0]);
}

/* The server listens when somebody can connect to it: the kernel says so before any packet is sent. */
static void await_listener(const struct side *side, pid_t server) {
    require(setns(side->namespace, CLONE_NEWNET) == 0, "setns");
    for (;;) {
        char line[256];
        bool listening = false;
        FILE *sockets = fopen("/proc/self/net/tcp", "r");
        require(sockets != NULL, "/proc/self/net/tcp");
        while (fgets(line, sizeof line, sockets))
            listening |= strstr(line, " 00000000:0000 0A ") != NULL;
        fclose(sockets);
        if (listening)
            return;
        require(waitpid(server, NULL, WNOHANG) == 0, "the server has ended");
        wait_a_moment();
    }
}

_Noreturn static void usage(void) {
    fputs("usage: two_hosts --latency NS --loss P --seed N --rate BPS --access BPS --ids CLIENT,SERVER"
          " -- SERVER... -- CLIENT...\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv) {
    static const struct option names[] = {{"latency", required_argument, NULL, 'l'},
                                          {"loss", required_argument, NULL, 'p'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"access", required_argument, NULL, 'a'},
                                          {"ids", required_argument, NULL, 'i'},
                                          {NULL, 0, NULL, 0}};
    static struct network network;
    int64_t rate = 0, access = 0;
    for (int option; (option = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
        char *rest = optarg;
        switch (option) {
        case 'l':
            network.latency = strtoll(optarg, &rest, 10);
            break;
        case 'p':
            network.loss = strtod(optarg, &rest);
            break;
        case 's':
            network.seed = strtoull(optarg, &rest, 10);
            break;
        case 'r':
            rate = strtoll(optarg, &rest, 10);
            break;
        case 'a':
            access = strtoll(optarg, &rest, 10);
            break;
        case 'i':
            network.side[CLIENT].id = (uint32_t)strtoul(optarg, &rest, 10);
            if (*rest == ',')
                network.side[SERVER].id = (uint32_t)strtoul(rest + 1, &rest, 10);
            break;
        default:
            usage();
        }
        if (*rest)
            usage();
    }
    char **server_command = argv + optind, **client_command = server_command;
    while (*client_command && strcmp(*client_command, "--") != 0)
        client_command++;
    if (network.latency <= 0 || rate <= 0 || access <= 0 || client_command == server_command || !*client_command ||
        !client_command[1])
        usage();
    *client_command++ = NULL;

    for (uint32_t number = 0; number < SIDES; number++) {
        struct side *side = &network.side[number];
        make_host(side, number);
        side->uplink_wait = side->downlink_wait = NEVER;
        bucket_init(&side->uplink, access);
        bucket_init(&side->downlink, number == SERVER ? rate : access);
        side->uplink.updated = side->downlink.updated = now_ns();
    }
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    require(sigprocmask(SIG_BLOCK, &ended, NULL) == 0, "sigprocmask");
    int child_events = signalfd(-1, &ended, SFD_CLOEXEC);
    require(child_events >= 0, "signalfd");

    pid_t server = start(&network.side[SERVER], server_command, STDERR_FILENO);
    await_listener(&network.side[SERVER], server);
    /* Whoever relays late adds to the latency. Without the right to a better priority the results are noisier. */
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0)
        fprintf(stderr, "two_hosts: no real-time priority: %s\n", strerror(errno));
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);

    pid_t client = start(&network.side[CLIENT], client_command, STDOUT_FILENO);
    int status = 0;
    relay_until(&network, child_events, client, &status);
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
