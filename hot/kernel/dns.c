/* DNS (RFC 1035, with AAAA of RFC 3596 and the OPT record of RFC 6891) for programs that ask a name server themselves:
 * Go's resolver, c-ares in Node.js, musl, dig. It knows the names of the experiment's hosts, which /etc/hosts has too,
 * and localhost with what is below it (RFC 6761, 6.3); all others do not exist. And it knows whose their addresses are
 * (in-addr.arpa, RFC 1035, 3.5; ip6.arpa, RFC 3596, 2.5). No answer needs more than a datagram of 512 bytes, so none is
 * ever cut; who asks over TCP (RFC 7766) gets the same ones.
 *
 * udp.c, tcp_in.c and ip.c call it; it calls ip.c and tcp.c. It answers in the instant of the question, as a resolver
 * on the host itself that has everything in its cache. The names are in two files of the run (hot/etc.py): tables in
 * order of the names and of the addresses, searched anew for each question, for an experiment may have a hundred
 * thousand hosts, and each of them a kernel of its own.
 */
#include "dns.h"
#include "internal.h"
#include "socket.h"
#include "tcp.h"

#define HEADER 12u
#define NAME_MAX_WIRE 255u /* RFC 1035, 2.3.4: with the lengths of the labels */
#define TTL 60u
#define ANSWER_MAX 512u
#define QUERY_MAX 1024u /* of one that comes over TCP: what is behind means nothing */
#define BACKLOG 128
#define EDNS_SIZE 1232u /* what fits the smallest MTU of IPv6 */

#define FLAG_RESPONSE 0x8000u
#define OPCODE 0x7800u
#define FLAG_AUTHORITATIVE 0x0400u
#define FLAG_RECURSION_DESIRED 0x0100u
#define FLAG_RECURSION_AVAILABLE 0x0080u

enum code { NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED };
enum type { TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_OPT = 41, TYPE_ANY = 255 };
enum { CLASS_IN = 1, CLASS_ANY = 255 };

/* A row of the table: the name in lower case, filled up with NULs; addresses as on the wire. */
struct row {
    char name[HOST_NAME_MAX];
    uint8_t v4[4], v6[16];
};
_Static_assert(sizeof(struct row) == HOST_NAME_MAX + 20, "as hot/etc.py writes it");

/* A row of the other table: 16 bytes of an address, that of IPv4 mapped to IPv6. */
struct reverse_row {
    uint8_t address[16];
    char name[HOST_NAME_MAX];
};
_Static_assert(sizeof(struct reverse_row) == 16 + HOST_NAME_MAX, "as hot/etc.py writes it");

struct question {
    char name[NAME_MAX_WIRE + 1]; /* in lower case, with dots */
    uint32_t length;              /* on the wire, with type and class */
    uint16_t type, class;
};

static char lower(uint8_t byte) {
    if (byte >= 'A' && byte <= 'Z')
        return (char)(byte + ('a' - 'A'));
    return byte > ' ' && byte < 127 && byte != '.' ? (char)byte : '?'; /* no host has such a name */
}

static bool parse(const uint8_t *message, uint32_t length, struct question *question) {
    uint32_t at = HEADER, written = 0;
    for (;;) {
        uint32_t label = at < length ? message[at] : UINT32_MAX;
        if (label > 63 || at + 1 + label + (label ? 0 : 4) > length || at + 1 + label - HEADER > NAME_MAX_WIRE)
            return false;
        at++;
        if (!label)
            break;
        if (written)
            question->name[written++] = '.';
        for (uint32_t i = 0; i < label; i++)
            question->name[written++] = lower(message[at + i]);
        at += label;
    }
    question->name[written] = '\0';
    question->type = get16(message + at);
    question->class = get16(message + at + 2);
    question->length = at + 4 - HEADER;
    return true;
}

/* Whether an OPT record follows: then one is in the answer too (RFC 6891, 6.1.1). */
static bool has_opt(const uint8_t *message, uint32_t length, const struct question *question) {
    uint32_t at = HEADER + question->length;
    bool records_before = get16(message + 6) || get16(message + 8);
    return !records_before && get16(message + 10) && length >= at + 11 && !message[at] &&
           get16(message + at + 1) == TYPE_OPT;
}

/* The row of a table in order that starts with a key. */
static enum code search(const struct host *host, const char *table, const void *key, size_t key_size, void *row,
                        size_t row_size) {
    size_t size, low = 0;
    const uint8_t *rows = platform_map_table(host, table, &size);
    if (!rows)
        return SERVER_FAILURE;
    enum code code = NAME_ERROR;
    for (size_t high = size / row_size; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(rows + middle * row_size, key, key_size);
        if (order == 0) {
            memcpy(row, rows + middle * row_size, row_size);
            code = NO_ERROR;
            break;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    platform_unmap_table(rows, size);
    return code;
}

static bool is_localhost(const char *name) {
    static const char suffix[] = "localhost";
    size_t length = strlen(name), size = sizeof suffix - 1;
    return length >= size && !strcmp(name + length - size, suffix) &&
           (length == size || name[length - size - 1] == '.');
}

static enum code look_up(const struct host *host, const char *name, struct row *row) {
    if (is_localhost(name)) {
        put32(row->v4, 0x7f000001u);
        ip_put(row->v6, IP6_LOOPBACK);
        return NO_ERROR;
    }
    char key[HOST_NAME_MAX] = {0};
    if (strlen(name) >= sizeof key)
        return NAME_ERROR;
    memcpy(key, name, strlen(name));
    return search(host, "names", key, sizeof key, row, sizeof *row);
}

/* ---- Addresses that are names ---- */

/* A part of such a name: a number without leading zeros, below `limit`, and the dot behind it. NULL: it is none. */
static const char *take_part(const char *at, uint32_t base, uint32_t limit, uint32_t *value) {
    const char *begin = at;
    *value = 0;
    for (; *at && *at != '.'; at++) {
        uint32_t digit = *at >= '0' && *at <= '9' ? (uint32_t)(*at - '0')
                         : *at >= 'a'             ? (uint32_t)(*at - 'a') + 10
                                                  : base;
        *value = *value * base + digit;
        if (digit >= base || *value >= limit)
            return NULL;
    }
    return *at == '.' && at > begin && (at - begin == 1 || *begin != '0') ? at + 1 : NULL;
}

/* The address that a name of in-addr.arpa or ip6.arpa means, last part first. False: it is no such name. */
static bool parse_reverse(const char *name, struct ip_address *address) {
    uint8_t bytes[16] = {[10] = 0xff, [11] = 0xff};
    const char *at = name;
    uint32_t part, parts = 0;
    while (parts < 4 && at && (at = take_part(at, 10, 256, &part)))
        bytes[15 - parts++] = (uint8_t)part;
    if (parts == 4 && !strcmp(at, "in-addr.arpa")) {
        *address = ip_get(bytes);
        return true;
    }
    memset(bytes, 0, sizeof bytes);
    at = name;
    parts = 0;
    while (parts < 32 && at && (at = take_part(at, 16, 16, &part)) && at - name == 2 * (int64_t)(parts + 1)) {
        bytes[15 - parts / 2] |= (uint8_t)(parts % 2 ? part << 4 : part);
        parts++;
    }
    *address = ip_get(bytes);
    return parts == 32 && !strcmp(at, "ip6.arpa");
}

static enum code look_up_address(const struct host *host, struct ip_address address, char name[HOST_NAME_MAX]) {
    struct reverse_row row;
    uint8_t key[sizeof row.address];
    if (ip_equal(address, IP4_LOOPBACK) || ip_equal(address, IP6_LOOPBACK)) {
        memcpy(name, "localhost", sizeof "localhost");
        return NO_ERROR;
    }
    ip_put(key, address);
    enum code code = search(host, "addresses", key, sizeof key, &row, sizeof row);
    memcpy(name, row.name, sizeof row.name);
    name[sizeof row.name - 1] = 0;
    return code;
}

/* ---- Answers ---- */

/* A record whose name is the question's; the bytes behind it. */
static uint8_t *put_answer(uint8_t *p, enum type type, const uint8_t *data, uint16_t length) {
    put16(p, 0xc000 | HEADER); /* RFC 1035, 4.1.4 */
    put16(p + 2, (uint16_t)type);
    put16(p + 4, CLASS_IN);
    put32(p + 6, TTL);
    put16(p + 10, length);
    memcpy(p + 12, data, length);
    return p + 12 + length;
}

static uint8_t *put_answers(uint8_t *p, const struct question *question, const struct row *row, uint16_t *count) {
    if (question->type == TYPE_A || question->type == TYPE_ANY) {
        p = put_answer(p, TYPE_A, row->v4, sizeof row->v4);
        ++*count;
    }
    if (question->type == TYPE_AAAA || question->type == TYPE_ANY) {
        p = put_answer(p, TYPE_AAAA, row->v6, sizeof row->v6);
        ++*count;
    }
    return p;
}

/* The labels of a name; their length with the end. */
static uint16_t put_name(uint8_t *p, const char *name) {
    uint8_t *label = p;
    uint32_t length = (uint32_t)strlen(name);
    for (uint32_t i = 0; i <= length; i++) {
        p[1 + i] = (uint8_t)name[i];
        if (name[i] && name[i] != '.')
            continue;
        *label = (uint8_t)(p + 1 + i - (label + 1));
        label = p + 1 + i;
    }
    *label = 0;
    return (uint16_t)(length + 2);
}

/* What is asked for of a name: records behind p. */
static enum code put_records(const struct host *host, const struct question *question, uint8_t **p, uint16_t *count) {
    struct ip_address address;
    if (!parse_reverse(question->name, &address)) {
        struct row row;
        enum code code = look_up(host, question->name, &row);
        if (code == NO_ERROR)
            *p = put_answers(*p, question, &row, count);
        return code;
    }
    char name[HOST_NAME_MAX];
    uint8_t labels[HOST_NAME_MAX + 2];
    enum code code = look_up_address(host, address, name);
    if (code == NO_ERROR && (question->type == TYPE_PTR || question->type == TYPE_ANY)) {
        *p = put_answer(*p, TYPE_PTR, labels, put_name(labels, name));
        ++*count;
    }
    return code;
}

/* Writes the answer to a query; its length. */
static uint32_t answer(const struct host *host, const uint8_t *query, uint32_t length, uint8_t out[ANSWER_MAX]) {
    struct question question = {.length = 0};
    uint16_t flags = get16(query + 2), count = 0;
    enum code code = NO_ERROR;
    bool parsed = get16(query + 4) == 1 && parse(query, length, &question);
    if (flags & OPCODE)
        code = NOT_IMPLEMENTED;
    else if (!parsed)
        code = FORMAT_ERROR;
    else if (question.class != CLASS_IN && question.class != CLASS_ANY)
        code = REFUSED;
    uint8_t *p = out + HEADER;
    if (parsed) {
        memcpy(p, query + HEADER, question.length);
        p += question.length;
    }
    if (code == NO_ERROR)
        code = put_records(host, &question, &p, &count);
    bool opt = parsed && has_opt(query, length, &question);
    if (opt) {
        memset(p, 0, 11);
        put16(p + 1, TYPE_OPT);
        put16(p + 3, EDNS_SIZE);
        p += 11;
    }
    put16(out, get16(query));
    put16(out + 2, (uint16_t)(FLAG_RESPONSE | (flags & (OPCODE | FLAG_RECURSION_DESIRED)) | FLAG_AUTHORITATIVE |
                              FLAG_RECURSION_AVAILABLE | code));
    put16(out + 4, parsed);
    put16(out + 6, count);
    put16(out + 8, 0);
    put16(out + 10, opt);
    return (uint32_t)(p - out);
}

static bool knows_names(const struct host *host) {
    size_t size;
    const void *rows = platform_map_table(host, "names", &size);
    if (rows)
        platform_unmap_table(rows, size);
    return rows != NULL;
}

/* Less than a header, or an answer itself: nobody asks, and nobody is answered (0). */
static uint32_t answer_query(const struct host *host, const uint8_t *query, uint32_t length, uint8_t out[ANSWER_MAX]) {
    return length < HEADER || get16(query + 2) & FLAG_RESPONSE ? 0 : answer(host, query, length, out);
}

bool dns_input(struct host *host, const struct packet *packet) {
    const uint8_t *udp = packet->data + packet->transport, *query = udp + UDP_HEADER;
    uint32_t length = udp_data_length(packet);
    struct ip_address client = packet_source(packet), server = packet_destination(packet);
    uint8_t message[ANSWER_MAX];
    if (!ip_is_loopback(server) || get16(udp + 2) != DNS_PORT)
        return false;
    if (!knows_names(host))
        return false;
    uint32_t size = answer_query(host, query, length, message);
    uint32_t headers = ip_header_length(client) + UDP_HEADER;
    struct packet *reply = size ? packet_create(host, headers + size) : NULL;
    if (!reply)
        return true;
    uint8_t *out = reply->data + ip_header_length(client);
    put16(out, DNS_PORT);
    put16(out + 2, get16(udp));
    put16(out + 4, (uint16_t)(UDP_HEADER + size));
    put16(out + 6, 0);
    memcpy(out + UDP_HEADER, message, size);
    ip_header(host, reply, PROTOCOL_UDP, server, client, NULL);
    ip_output(host, reply);
    return true;
}

/* ---- Over TCP ---- */

struct socket *dns_listener(struct host *host, const struct packet *packet) {
    struct net *net = host->net;
    if (!ip_is_loopback(packet_destination(packet)) || get16(packet->data + packet->transport + 2) != DNS_PORT)
        return NULL;
    if (net->name_listener || !knows_names(host))
        return net->name_listener;
    /* In no table of ports: a program may have the port at any time, and is found first. */
    struct socket *socket = socket_create(host, AF_INET6, SOCK_STREAM, PROTOCOL_TCP);
    if (!socket)
        return NULL;
    if (tcp_create(socket)) {
        socket_free(socket);
        return NULL;
    }
    (void)tcp_listen(socket, BACKLOG); /* a socket that is new may */
    socket->local_port = DNS_PORT;
    socket->reuse_address = true; /* of its connections: they keep no program from the port that wants it */
    socket->name_server = true;
    net->name_listener = socket;
    return socket;
}

/* Answers the queries that are there. False: no memory for an answer. */
static bool answer_all(struct tcp *tcp) {
    uint8_t query[2 + QUERY_MAX], message[2 + ANSWER_MAX];
    for (;;) {
        uint32_t held = tcp_peek_ready(tcp, query, sizeof query), length = held < 2 ? 0 : get16(query);
        if (held < 2 || tcp->ready_bytes < 2 + length)
            return true;
        uint32_t size = answer_query(tcp->socket->host, query + 2, KMIN(length, QUERY_MAX), message + 2);
        tcp_skip_ready(tcp, 2 + length);
        put16(message, (uint16_t)size);
        if (size && !tcp_send_own(tcp, message, 2 + size))
            return false;
    }
}

void dns_serve(struct host *host) {
    struct net *net = host->net;
    net->names_due = false;
    for (struct socket *socket; (socket = tcp_accept(net->name_listener));) {
        socket->name_server = true;
        list_push_back(&net->name_connections, &socket->tcp->child_node);
    }
    list_for_each_safe(node, &net->name_connections) {
        struct tcp *tcp = list_entry(node, struct tcp, child_node);
        bool open = tcp_in(tcp, TCP_STATES(TCP_ESTABLISHED) | TCP_STATES(TCP_CLOSE_WAIT));
        bool answered = open && answer_all(tcp);
        /* The rest of a query may wait for the ACK of its beginning. */
        if (answered && tcp->ack_scheduled)
            tcp_send_ack(tcp);
        if (answered && !tcp->fin_received)
            continue;
        list_remove(&tcp->child_node);
        tcp->socket->name_server = false;
        tcp_skip_ready(tcp, tcp->ready_bytes); /* half a query: no reason for a reset */
        tcp_close(tcp->socket);
    }
}
