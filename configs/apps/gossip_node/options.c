/* See options.h. */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory.h"
#include "wire.h"

#define MAX_DEGREE 1000
#define MAX_SECONDS 1e9
/* Limits are those that identities may have: cold/request_section.py. */
#define MAX_TOKENS 1000000
#define MIN_PERIOD_NS NS_PER_MS
#define MAX_PERIOD_NS (10000 * NS_PER_S)

static const char USAGE[] =
    "usage: gossip-node [options]\n"
    "A gossipsub peer over UDP datagrams. Writes one JSON object a line to stdout.\n"
    "\n"
    "  --name NAME                 name in the output (default: the host's name)\n"
    "  --listen ADDR:PORT          own socket (default 0.0.0.0:9000); [::]:9000 speaks IPv6 and IPv4, and prefers\n"
    "                              the IPv6 addresses of peers\n"
    "  --advertise ADDR            IPv4 address in the ids of own messages (default: the listening address,\n"
    "                              or what the host's name resolves to)\n"
    "  --peer HOST[:PORT][,...]    peers to begin with; may be repeated\n"
    "  --peers-file FILE           the same, one a line; '#' begins a comment\n"
    "  --topic N                   subscribe to a topic; may be repeated (default 1)\n"
    "  --publish TOPIC,START_S,INTERVAL_S,COUNT,SIZE\n"
    "                              publish COUNT messages of SIZE bytes, the first START_S seconds after "
    "the\n"
    "                              start, the others INTERVAL_S apart; may be repeated\n"
    "  --ask PROTOCOL,START_S,INTERVAL_S,COUNT,CHUNKS,SIZE,TIMEOUT_S\n"
    "                              ask COUNT times for CHUNKS chunks, with SIZE bytes, each time a random known "
    "peer;\n"
    "                              wait TIMEOUT_S seconds for the answer; may be repeated\n"
    "  --serve PROTOCOL,SIZE       answer requests with chunks of SIZE bytes; may be repeated\n"
    "  --serve-messages PROTOCOL,TOPIC\n"
    "                              answer requests with as many of the newest messages of a topic as are asked for\n"
    "                              and have come, 1024 at most, each a chunk of its size; may be repeated\n"
    "  --serve-limit PROTOCOL,TOKENS,PERIOD_S\n"
    "                              give each peer TOKENS chunks of a served protocol, and so many again in PERIOD_S\n"
    "                              seconds; a request takes a token for each chunk, one at least, or is refused;\n"
    "                              may be repeated for other protocols (default: no limit)\n"
    "  --transactions MOST         spread transactions as an execution client does, with MOST execution peers at most\n"
    "                              (default 0: not at all)\n"
    "  --execution-peer HOST[:PORT][,...]\n"
    "                              execution peers to begin with; may be repeated\n"
    "  --submit START_S,INTERVAL_S,COUNT,SIZE[,blobs]\n"
    "                              submit COUNT transactions of SIZE bytes to this node; with blobs they are only\n"
    "                              announced; may be repeated\n"
    "  --largest-pushed BYTES      larger transactions are only announced (default 4096)\n"
    "  --announce-interval-ms N    how long announcements wait for others (default 0)\n"
    "  --fetch-delay-ms N          time from an announcement to asking for the transaction (default 500)\n"
    "  --fetch-timeout-ms N        time from asking one peer to asking another (default 5000)\n"
    "  --transaction-delay-ms N    time between the arrival of a transaction and passing it on (default 0)\n"
    "  --transaction-life-s N      time from its submission until a transaction is forgotten (default 12)\n"
    "  --run-for SECONDS           leave and exit afterwards (default: run until SIGTERM or SIGINT)\n"
    "  --heartbeat-ms N            heartbeat interval (default 1000)\n"
    "  --d N, --d-low N, --d-high N, --d-lazy N\n"
    "                              degrees of the mesh (default 8, 6, 12, 6)\n"
    "  --validation-delay-ms N     time between the arrival of a message and passing it on (default 0)\n"
    "  --idontwant-size BYTES      tell the mesh that it need not send messages of this size that have come\n"
    "                              (default: of none)\n"
    "  --seed N                    seed of the node's random choices (default: getrandom)\n";

__attribute__((noreturn, format(printf, 1, 2))) static void refuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("gossip-node: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\nTry gossip-node --help.\n", stderr);
    va_end(arguments);
    exit(2);
}

static uint64_t parse_integer(const char *text, const char *option, uint64_t least, uint64_t most) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    /* strtoull takes a sign and leading blanks; a count has neither. */
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < least || value > most) {
        refuse("%s: '%s' is not a whole number from %llu to %llu", option, text, (unsigned long long)least,
               (unsigned long long)most);
    }
    return value;
}

static int64_t parse_seconds(const char *text, const char *option) {
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= MAX_SECONDS)) {
        refuse("%s: '%s' is not a number of seconds from 0 to %g", option, text, MAX_SECONDS);
    }
    return (int64_t)(seconds * (double)NS_PER_S + 0.5);
}

static uint32_t parse_address(const char *text, const char *option) {
    struct in_addr address;
    if (inet_pton(AF_INET, text, &address) != 1) {
        refuse("%s: '%s' is not an IPv4 address", option, text);
    }
    return ntohl(address.s_addr);
}

/* Cuts the port off `text`, and the brackets; without a port it is the default one. An IPv6 address without brackets
 * has none: HOST, HOST:PORT, ADDR6, [ADDR6], [ADDR6]:PORT. */
static uint16_t cut_port(char **text, const char *option) {
    char *colon = strrchr(*text, ':'), *bracket = strchr(*text, ']');
    if (**text == '[' && bracket != NULL) {
        *bracket = '\0';
        ++*text;
        colon = bracket[1] != '\0' ? bracket + 1 : NULL;
        if (colon != NULL && *colon != ':') {
            refuse("%s: '%s' is no port after an address in brackets", option, colon);
        }
    } else if (colon != NULL && colon != strchr(*text, ':')) {
        colon = NULL;
    }
    if (colon == NULL) {
        return WIRE_DEFAULT_PORT;
    }
    *colon = '\0';
    return (uint16_t)parse_integer(colon + 1, option, 1, UINT16_MAX);
}

/* Keeps the port. 0, or a getaddrinfo error. */
static int resolve(const char *host, int family, struct endpoint *endpoint) {
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error != 0) {
        return error;
    }
    struct sockaddr_storage name;
    memcpy(&name, found->ai_addr, found->ai_addrlen);
    uint16_t port = endpoint->port;
    *endpoint = endpoint_of(&name);
    endpoint->port = port;
    freeaddrinfo(found);
    return 0;
}

/* By the families that the own socket speaks. */
static int resolve_peer(const struct options *options, const char *host, struct endpoint *peer) {
    if (*host == '\0') {
        return EAI_NONAME;
    }
    bool both = !endpoint_is_ipv4(options->listen);
    return both && resolve(host, AF_INET6, peer) == 0 ? 0 : resolve(host, AF_INET, peer);
}

static void add_peer(const struct options *options, struct endpoint_list *list, char *text, const char *option) {
    struct endpoint peer = {.port = cut_port(&text, option)};
    int error = resolve_peer(options, text, &peer);
    struct in6_addr ipv6;
    if (error != 0 && inet_pton(AF_INET6, text, &ipv6) == 1) {
        refuse("%s: the peer '%s' speaks IPv6 and this socket does not: use --listen '[::]:%u'", option, text,
               options->listen.port);
    }
    if (error != 0) {
        refuse("%s: cannot resolve the peer '%s': %s", option, text, gai_strerror(error));
    }
    list->items = memory_grow(list->items, &list->capacity, list->count + 1, sizeof peer);
    list->items[list->count++] = peer;
}

static void add_peer_list(const struct options *options, struct endpoint_list *list, const char *text,
                          const char *option) {
    char *copy = strdup(text);
    char *rest = copy;
    for (char *peer = strsep(&rest, ","); peer != NULL; peer = strsep(&rest, ",")) {
        add_peer(options, list, peer, option);
    }
    free(copy);
}

static void add_peers_file(struct options *options, const char *path) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        refuse("--peers-file: cannot open '%s': %s", path, strerror(errno));
    }
    char *line = NULL;
    size_t line_capacity = 0;
    while (getline(&line, &line_capacity, file) >= 0) {
        line[strcspn(line, "#\r\n")] = '\0';
        char *rest = line;
        for (char *peer = strsep(&rest, " \t"); peer != NULL; peer = strsep(&rest, " \t")) {
            if (*peer != '\0') {
                add_peer(options, &options->peers, peer, "--peers-file");
            }
        }
    }
    if (ferror(file)) {
        refuse("--peers-file: cannot read '%s': %s", path, strerror(errno));
    }
    free(line);
    fclose(file);
}

static bool subscribes(const struct options *options, uint16_t topic) {
    for (size_t i = 0; i < options->topic_count; i++) {
        if (options->topics[i] == topic) {
            return true;
        }
    }
    return false;
}

static void add_topic(struct options *options, uint16_t topic) {
    if (subscribes(options, topic)) {
        return;
    }
    options->topics = memory_grow(options->topics, &options->topic_capacity, options->topic_count + 1, sizeof topic);
    options->topics[options->topic_count++] = topic;
}

/* Cuts a copy of `text`, which it returns, into so many fields between commas; those that it has not are NULL. `*rest`
 * is what follows the last of them, or NULL. */
static char *cut_fields(const char *text, char **fields, size_t count, char **rest) {
    char *copy = strdup(text);
    *rest = copy;
    for (size_t i = 0; i < count; i++) {
        fields[i] = strsep(rest, ",");
    }
    return copy;
}

static void add_publication(struct options *options, const char *text) {
    char *fields[5], *rest;
    char *copy = cut_fields(text, fields, 5, &rest);
    if (fields[4] == NULL || rest != NULL) {
        refuse("--publish: '%s' is not TOPIC,START_S,INTERVAL_S,COUNT,SIZE", text);
    }
    struct publication publication = {
        .topic = (uint16_t)parse_integer(fields[0], "--publish TOPIC", 0, UINT16_MAX),
        .start_ns = parse_seconds(fields[1], "--publish START_S"),
        .interval_ns = parse_seconds(fields[2], "--publish INTERVAL_S"),
        .count = (uint32_t)parse_integer(fields[3], "--publish COUNT", 1, UINT32_MAX),
        .size = (uint32_t)parse_integer(fields[4], "--publish SIZE", 0, WIRE_MAX_PAYLOAD),
    };
    free(copy);
    options->publications = memory_grow(options->publications, &options->publication_capacity,
                                        options->publication_count + 1, sizeof publication);
    options->publications[options->publication_count++] = publication;
}

static void add_ask(struct options *options, const char *text) {
    char *fields[7], *rest;
    char *copy = cut_fields(text, fields, 7, &rest);
    if (fields[6] == NULL || rest != NULL) {
        refuse("--ask: '%s' is not PROTOCOL,START_S,INTERVAL_S,COUNT,CHUNKS,SIZE,TIMEOUT_S", text);
    }
    struct ask ask = {
        .protocol = (uint16_t)parse_integer(fields[0], "--ask PROTOCOL", 0, UINT16_MAX),
        .start_ns = parse_seconds(fields[1], "--ask START_S"),
        .interval_ns = parse_seconds(fields[2], "--ask INTERVAL_S"),
        .count = (uint32_t)parse_integer(fields[3], "--ask COUNT", 1, UINT32_MAX),
        .chunks = (uint16_t)parse_integer(fields[4], "--ask CHUNKS", 0, WIRE_MAX_CHUNKS),
        .size = (uint16_t)parse_integer(fields[5], "--ask SIZE", 0, WIRE_MAX_PAYLOAD),
        .timeout_ns = parse_seconds(fields[6], "--ask TIMEOUT_S"),
    };
    free(copy);
    if (ask.timeout_ns == 0) {
        refuse("--ask: '%s' leaves no time to answer", text);
    }
    options->asks = memory_grow(options->asks, &options->ask_capacity, options->ask_count + 1, sizeof ask);
    options->asks[options->ask_count++] = ask;
}

static void add_service(struct options *options, const char *text, bool of_messages) {
    char *copy = strdup(text);
    char *rest = copy;
    char *protocol = strsep(&rest, ",");
    const char *option = of_messages ? "--serve-messages" : "--serve";
    if (rest == NULL) {
        refuse("%s: '%s' is not PROTOCOL,%s", option, text, of_messages ? "TOPIC" : "SIZE");
    }
    struct service service = {
        .protocol = (uint16_t)parse_integer(protocol, option, 0, UINT16_MAX),
        .of_messages = of_messages,
    };
    if (of_messages) {
        service.topic = (uint16_t)parse_integer(rest, "--serve-messages TOPIC", 0, UINT16_MAX);
    } else {
        service.chunk_size = (uint32_t)parse_integer(rest, "--serve SIZE", 0, WIRE_MAX_PAYLOAD);
    }
    free(copy);
    options->services =
        memory_grow(options->services, &options->service_capacity, options->service_count + 1, sizeof service);
    options->services[options->service_count++] = service;
}

static void add_limit(struct options *options, const char *text) {
    char *fields[3], *rest;
    char *copy = cut_fields(text, fields, 3, &rest);
    if (fields[2] == NULL || rest != NULL) {
        refuse("--serve-limit: '%s' is not PROTOCOL,TOKENS,PERIOD_S", text);
    }
    struct limit limit = {
        .protocol = (uint16_t)parse_integer(fields[0], "--serve-limit PROTOCOL", 0, UINT16_MAX),
        .tokens = (uint32_t)parse_integer(fields[1], "--serve-limit TOKENS", 1, MAX_TOKENS),
        .period_ns = parse_seconds(fields[2], "--serve-limit PERIOD_S"),
    };
    free(copy);
    if (limit.period_ns < MIN_PERIOD_NS || limit.period_ns > MAX_PERIOD_NS) {
        refuse("--serve-limit: the period of '%s' is not from 0.001 to 10000 seconds", text);
    }
    for (size_t i = 0; i < options->limit_count; i++) {
        if (options->limits[i].protocol == limit.protocol) {
            refuse("--serve-limit: protocol %u has two limits", limit.protocol);
        }
    }
    options->limits = memory_grow(options->limits, &options->limit_capacity, options->limit_count + 1, sizeof limit);
    options->limits[options->limit_count++] = limit;
}

static void add_submission(struct options *options, const char *text) {
    char *fields[4], *rest;
    char *copy = cut_fields(text, fields, 4, &rest);
    bool has_blobs = rest != NULL && strcmp(rest, "blobs") == 0;
    if (fields[3] == NULL || (rest != NULL && !has_blobs)) {
        refuse("--submit: '%s' is not START_S,INTERVAL_S,COUNT,SIZE[,blobs]", text);
    }
    uint64_t largest = has_blobs ? WIRE_MAX_BLOB_TRANSACTION : WIRE_MAX_TRANSACTION;
    struct submission submission = {
        .start_ns = parse_seconds(fields[0], "--submit START_S"),
        .interval_ns = parse_seconds(fields[1], "--submit INTERVAL_S"),
        .count = (uint32_t)parse_integer(fields[2], "--submit COUNT", 1, UINT32_MAX),
        .size = (uint32_t)parse_integer(fields[3], "--submit SIZE", 1, largest),
        .has_blobs = has_blobs,
    };
    free(copy);
    options->submissions = memory_grow(options->submissions, &options->submission_capacity,
                                       options->submission_count + 1, sizeof submission);
    options->submissions[options->submission_count++] = submission;
}

static uint32_t parse_degree(const char *text, const char *option) {
    return (uint32_t)parse_integer(text, option, 0, MAX_DEGREE);
}

static int64_t parse_milliseconds(const char *text, const char *option, uint64_t least) {
    return (int64_t)parse_integer(text, option, least, 86400000) * NS_PER_MS;
}

static void parse_listen(struct options *options, const char *text) {
    char *copy = strdup(text);
    char *address = copy;
    uint16_t port = cut_port(&address, "--listen");
    struct in6_addr ipv6;
    if (inet_pton(AF_INET6, address, &ipv6) == 1) {
        struct sockaddr_storage name;
        memcpy(&name, &(struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = ipv6}, sizeof(struct sockaddr_in6));
        options->listen = endpoint_of(&name);
    } else {
        options->listen = (struct endpoint){.middle = ENDPOINT_IPV4, .address = parse_address(address, "--listen")};
    }
    options->listen.port = port;
    free(copy);
}

enum option_id {
    OPTION_NAME = 1,
    OPTION_LISTEN,
    OPTION_ADVERTISE,
    OPTION_PEER,
    OPTION_PEERS_FILE,
    OPTION_TOPIC,
    OPTION_PUBLISH,
    OPTION_ASK,
    OPTION_SERVE,
    OPTION_SERVE_MESSAGES,
    OPTION_SERVE_LIMIT,
    OPTION_TRANSACTIONS,
    OPTION_EXECUTION_PEER,
    OPTION_SUBMIT,
    OPTION_LARGEST_PUSHED,
    OPTION_ANNOUNCE_INTERVAL_MS,
    OPTION_FETCH_DELAY_MS,
    OPTION_FETCH_TIMEOUT_MS,
    OPTION_TRANSACTION_DELAY_MS,
    OPTION_TRANSACTION_LIFE_S,
    OPTION_RUN_FOR,
    OPTION_HEARTBEAT_MS,
    OPTION_D,
    OPTION_D_LOW,
    OPTION_D_HIGH,
    OPTION_D_LAZY,
    OPTION_VALIDATION_DELAY_MS,
    OPTION_IDONTWANT_SIZE,
    OPTION_SEED,
    OPTION_HELP,
};

static const struct option OPTIONS[] = {
    {"name", required_argument, NULL, OPTION_NAME},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"advertise", required_argument, NULL, OPTION_ADVERTISE},
    {"peer", required_argument, NULL, OPTION_PEER},
    {"peers-file", required_argument, NULL, OPTION_PEERS_FILE},
    {"topic", required_argument, NULL, OPTION_TOPIC},
    {"publish", required_argument, NULL, OPTION_PUBLISH},
    {"ask", required_argument, NULL, OPTION_ASK},
    {"serve", required_argument, NULL, OPTION_SERVE},
    {"serve-messages", required_argument, NULL, OPTION_SERVE_MESSAGES},
    {"serve-limit", required_argument, NULL, OPTION_SERVE_LIMIT},
    {"transactions", required_argument, NULL, OPTION_TRANSACTIONS},
    {"execution-peer", required_argument, NULL, OPTION_EXECUTION_PEER},
    {"submit", required_argument, NULL, OPTION_SUBMIT},
    {"largest-pushed", required_argument, NULL, OPTION_LARGEST_PUSHED},
    {"announce-interval-ms", required_argument, NULL, OPTION_ANNOUNCE_INTERVAL_MS},
    {"fetch-delay-ms", required_argument, NULL, OPTION_FETCH_DELAY_MS},
    {"fetch-timeout-ms", required_argument, NULL, OPTION_FETCH_TIMEOUT_MS},
    {"transaction-delay-ms", required_argument, NULL, OPTION_TRANSACTION_DELAY_MS},
    {"transaction-life-s", required_argument, NULL, OPTION_TRANSACTION_LIFE_S},
    {"run-for", required_argument, NULL, OPTION_RUN_FOR},
    {"heartbeat-ms", required_argument, NULL, OPTION_HEARTBEAT_MS},
    {"d", required_argument, NULL, OPTION_D},
    {"d-low", required_argument, NULL, OPTION_D_LOW},
    {"d-high", required_argument, NULL, OPTION_D_HIGH},
    {"d-lazy", required_argument, NULL, OPTION_D_LAZY},
    {"validation-delay-ms", required_argument, NULL, OPTION_VALIDATION_DELAY_MS},
    {"idontwant-size", required_argument, NULL, OPTION_IDONTWANT_SIZE},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void take_option(struct options *options, int option, const char *value) {
    switch ((enum option_id)option) {
    case OPTION_NAME:
        options->name = value;
        return;
    case OPTION_LISTEN: /* listen_first has taken it */
        return;
    case OPTION_ADVERTISE:
        options->advertise = parse_address(value, "--advertise");
        return;
    case OPTION_PEER:
        add_peer_list(options, &options->peers, value, "--peer");
        return;
    case OPTION_PEERS_FILE:
        add_peers_file(options, value);
        return;
    case OPTION_TOPIC:
        add_topic(options, (uint16_t)parse_integer(value, "--topic", 0, UINT16_MAX));
        return;
    case OPTION_PUBLISH:
        add_publication(options, value);
        return;
    case OPTION_ASK:
        add_ask(options, value);
        return;
    case OPTION_SERVE:
        add_service(options, value, false);
        return;
    case OPTION_SERVE_MESSAGES:
        add_service(options, value, true);
        return;
    case OPTION_SERVE_LIMIT:
        add_limit(options, value);
        return;
    case OPTION_TRANSACTIONS:
        options->most_execution_peers = parse_degree(value, "--transactions");
        return;
    case OPTION_EXECUTION_PEER:
        add_peer_list(options, &options->execution_peers, value, "--execution-peer");
        return;
    case OPTION_SUBMIT:
        add_submission(options, value);
        return;
    case OPTION_LARGEST_PUSHED:
        options->largest_pushed = (uint32_t)parse_integer(value, "--largest-pushed", 0, WIRE_MAX_TRANSACTION);
        return;
    case OPTION_ANNOUNCE_INTERVAL_MS:
        options->announce_interval_ns = parse_milliseconds(value, "--announce-interval-ms", 0);
        return;
    case OPTION_FETCH_DELAY_MS:
        options->fetch_delay_ns = parse_milliseconds(value, "--fetch-delay-ms", 0);
        return;
    case OPTION_FETCH_TIMEOUT_MS:
        options->fetch_timeout_ns = parse_milliseconds(value, "--fetch-timeout-ms", 1);
        return;
    case OPTION_TRANSACTION_DELAY_MS:
        options->transaction_delay_ns = parse_milliseconds(value, "--transaction-delay-ms", 0);
        return;
    case OPTION_TRANSACTION_LIFE_S:
        options->transaction_life_ns = parse_seconds(value, "--transaction-life-s");
        return;
    case OPTION_RUN_FOR:
        options->run_for_ns = parse_seconds(value, "--run-for");
        if (options->run_for_ns == 0) {
            refuse("--run-for: '%s' leaves no time to run", value);
        }
        return;
    case OPTION_HEARTBEAT_MS:
        options->heartbeat_ns = parse_milliseconds(value, "--heartbeat-ms", 1);
        return;
    case OPTION_D:
        options->mesh.degree = parse_degree(value, "--d");
        return;
    case OPTION_D_LOW:
        options->mesh.degree_low = parse_degree(value, "--d-low");
        return;
    case OPTION_D_HIGH:
        options->mesh.degree_high = parse_degree(value, "--d-high");
        return;
    case OPTION_D_LAZY:
        options->mesh.degree_lazy = parse_degree(value, "--d-lazy");
        return;
    case OPTION_VALIDATION_DELAY_MS:
        options->validation_delay_ns = parse_milliseconds(value, "--validation-delay-ms", 0);
        return;
    case OPTION_IDONTWANT_SIZE:
        options->idontwant_size = (uint32_t)parse_integer(value, "--idontwant-size", 0, WIRE_MAX_PAYLOAD);
        return;
    case OPTION_SEED:
        options->seed = parse_integer(value, "--seed", 0, UINT64_MAX);
        return;
    case OPTION_HELP:
        fputs(USAGE, stdout);
        exit(0);
    }
    /* getopt_long has named the mistake. */
    fputs("Try gossip-node --help.\n", stderr);
    exit(2);
}

static void resolve_own_names(struct options *options) {
    static char host_name[256];
    if (gethostname(host_name, sizeof host_name - 1) != 0) {
        refuse("gethostname: %s", strerror(errno));
    }
    if (options->name == NULL) {
        options->name = host_name;
    }
    if (options->advertise == 0 && endpoint_is_ipv4(options->listen)) {
        options->advertise = options->listen.address;
    }
    struct endpoint own = {.port = 0};
    if (options->advertise == 0 && resolve(host_name, AF_INET, &own) != 0) {
        refuse("the host's name '%s' does not resolve to an IPv4 address: use --advertise", host_name);
    }
    if (options->advertise == 0) {
        options->advertise = own.address;
    }
}

static void check(const struct options *options) {
    const struct mesh_parameters *mesh = &options->mesh;
    if (mesh->degree_low > mesh->degree || mesh->degree > mesh->degree_high) {
        refuse("the degrees must satisfy d-low <= d <= d-high, not %u, %u, %u", mesh->degree_low, mesh->degree,
               mesh->degree_high);
    }
    for (size_t i = 0; i < options->publication_count; i++) {
        if (!subscribes(options, options->publications[i].topic)) {
            refuse("--publish: topic %u is not subscribed to: add --topic %u", options->publications[i].topic,
                   options->publications[i].topic);
        }
    }
    for (size_t i = 0; i < options->service_count; i++) {
        const struct service *service = &options->services[i];
        if (service->of_messages && !subscribes(options, service->topic)) {
            refuse("--serve-messages: topic %u is not subscribed to: add --topic %u", service->topic, service->topic);
        }
    }
    for (size_t i = 0; i < options->limit_count; i++) {
        uint16_t protocol = options->limits[i].protocol;
        if (options_find_service(options, protocol) == options->service_count) {
            refuse("--serve-limit: protocol %u is not served: add --serve %u,SIZE", protocol, protocol);
        }
    }
    if (options->most_execution_peers == 0 && options->execution_peers.count + options->submission_count > 0) {
        refuse("%s has no meaning without --transactions MOST",
               options->execution_peers.count > 0 ? "--execution-peer" : "--submit");
    }
}

/* Names of peers mean other addresses to a socket of both families. */
static void listen_first(struct options *options, int argument_count, char **arguments) {
    int option;
    opterr = 0;
    while ((option = getopt_long(argument_count, arguments, "", OPTIONS, NULL)) != -1) {
        if (option == OPTION_LISTEN) {
            parse_listen(options, optarg);
        }
    }
    opterr = 1;
    optind = 1;
}

void options_parse(struct options *options, int argument_count, char **arguments) {
    *options = (struct options){
        .listen = {.middle = ENDPOINT_IPV4, .port = WIRE_DEFAULT_PORT},
        .heartbeat_ns = NS_PER_S,
        .idontwant_size = UINT32_MAX,
        .largest_pushed = 4096,
        .fetch_delay_ns = 500 * NS_PER_MS,
        .fetch_timeout_ns = 5 * NS_PER_S,
        .transaction_life_ns = 12 * NS_PER_S,
        .mesh = {.degree = 8, .degree_low = 6, .degree_high = 12, .degree_lazy = 6},
    };
    if (getrandom(&options->seed, sizeof options->seed, 0) != (ssize_t)sizeof options->seed) {
        refuse("getrandom: %s", strerror(errno));
    }
    listen_first(options, argument_count, arguments);
    int option;
    while ((option = getopt_long(argument_count, arguments, "", OPTIONS, NULL)) != -1) {
        take_option(options, option, optarg);
    }
    if (optind < argument_count) {
        refuse("unexpected argument '%s'", arguments[optind]);
    }
    if (options->topic_count == 0) {
        add_topic(options, 1);
    }
    resolve_own_names(options);
    check(options);
}

void options_free(struct options *options) {
    free(options->topics);
    free(options->peers.items);
    free(options->execution_peers.items);
    free(options->submissions);
    free(options->publications);
    free(options->asks);
    free(options->services);
    free(options->limits);
}

bool options_name_ourselves(const struct options *options, struct endpoint peer) {
    return peer.address == options->advertise && peer.port == options->listen.port;
}

size_t options_find_service(const struct options *options, uint16_t protocol) {
    size_t place = 0;
    while (place < options->service_count && options->services[place].protocol != protocol) {
        place++;
    }
    return place;
}
