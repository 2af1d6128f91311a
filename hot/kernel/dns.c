/* DNS (RFC 1035, with AAAA of RFC 3596 and the OPT record of RFC 6891) for programs that ask a name server themselves:
 * Go's resolver, c-ares in Node.js, musl, dig. It knows the names of the experiment's hosts, which /etc/hosts has too,
 * and localhost with what is below it (RFC 6761, 6.3); all others do not exist.
 *
 * udp.c calls it; it calls ip.c. It answers in the instant of the question, as a resolver on the host itself that has
 * everything in its cache. The names are in a file of the run (hot/etc.py): a table in order of the names, searched
 * anew for each question, for an experiment may have a hundred thousand hosts, and each of them a kernel of its own.
 */
#include "dns.h"
#include "internal.h"
#include "socket.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/fs.h>

#define HEADER 12u
#define NAME_MAX_WIRE 255u /* RFC 1035, 2.3.4: with the lengths of the labels */
#define TTL 60u
#define EDNS_SIZE 1232u /* what fits the smallest MTU of IPv6 */

#define FLAG_RESPONSE 0x8000u
#define OPCODE 0x7800u
#define FLAG_AUTHORITATIVE 0x0400u
#define FLAG_RECURSION_DESIRED 0x0100u
#define FLAG_RECURSION_AVAILABLE 0x0080u

enum code { NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED };
enum type { TYPE_A = 1, TYPE_AAAA = 28, TYPE_OPT = 41, TYPE_ANY = 255 };
enum { CLASS_IN = 1, CLASS_ANY = 255 };

/* A row of the table: the name in lower case, filled up with NULs; addresses as on the wire. */
struct row {
    char name[HOST_NAME_MAX];
    uint8_t v4[4], v6[16];
};
_Static_assert(sizeof(struct row) == HOST_NAME_MAX + 20, "as hot/etc.py writes it");

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

static int64_t open_table(const struct host *host) {
    char path[HOST_PATH_MAX + 8];
    kprintf(path, sizeof path, "%s/names", host->hosts_file);
    return host->hosts_file[0] ? platform_syscall(__NR_open, (uint64_t)path, O_RDONLY | O_CLOEXEC, 0, 0, 0, 0)
                               : -ENOENT;
}

static enum code search(int64_t fd, const char *name, struct row *row) {
    int64_t size = platform_syscall(__NR_lseek, (uint64_t)fd, 0, SEEK_END, 0, 0, 0), low = 0,
            high = size / (int64_t)sizeof *row;
    if (size < 0)
        return SERVER_FAILURE;
    while (low < high) {
        int64_t middle = low + (high - low) / 2, place = middle * (int64_t)sizeof *row;
        int64_t got = platform_syscall(__NR_pread64, (uint64_t)fd, (uint64_t)row, sizeof *row, (uint64_t)place, 0, 0);
        if (got != (int64_t)sizeof *row)
            return SERVER_FAILURE;
        int order = strncmp(row->name, name, sizeof row->name);
        if (order == 0)
            return NO_ERROR;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NAME_ERROR;
}

static bool is_localhost(const char *name) {
    static const char suffix[] = "localhost";
    size_t length = strlen(name), size = sizeof suffix - 1;
    return length >= size && !strcmp(name + length - size, suffix) &&
           (length == size || name[length - size - 1] == '.');
}

static enum code look_up(int64_t fd, const char *name, struct row *row) {
    if (is_localhost(name)) {
        put32(row->v4, 0x7f000001u);
        ip_put(row->v6, IP6_LOOPBACK);
        return NO_ERROR;
    }
    return strlen(name) < sizeof row->name ? search(fd, name, row) : NAME_ERROR;
}

/* A record whose name is the question's; the bytes behind it. */
static uint8_t *put_answer(uint8_t *p, enum type type, const uint8_t *address, uint16_t length) {
    put16(p, 0xc000 | HEADER); /* RFC 1035, 4.1.4 */
    put16(p + 2, (uint16_t)type);
    put16(p + 4, CLASS_IN);
    put32(p + 6, TTL);
    put16(p + 10, length);
    memcpy(p + 12, address, length);
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

/* Writes the answer to a query; its length. */
static uint32_t answer(int64_t fd, const uint8_t *query, uint32_t length, uint8_t out[512]) {
    struct question question = {.length = 0};
    struct row row;
    uint16_t flags = get16(query + 2), count = 0;
    enum code code = NO_ERROR;
    bool parsed = get16(query + 4) == 1 && parse(query, length, &question);
    if (flags & OPCODE)
        code = NOT_IMPLEMENTED;
    else if (!parsed)
        code = FORMAT_ERROR;
    else if (question.class != CLASS_IN && question.class != CLASS_ANY)
        code = REFUSED;
    else
        code = look_up(fd, question.name, &row);
    uint8_t *p = out + HEADER;
    if (parsed) {
        memcpy(p, query + HEADER, question.length);
        p += question.length;
    }
    if (code == NO_ERROR)
        p = put_answers(p, &question, &row, &count);
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

bool dns_input(struct host *host, const struct packet *packet) {
    const uint8_t *udp = packet->data + packet->transport, *query = udp + UDP_HEADER;
    uint32_t length = udp_data_length(packet);
    struct ip_address client = packet_source(packet), server = packet_destination(packet);
    uint8_t message[512];
    if (!ip_is_loopback(server) || get16(udp + 2) != DNS_PORT)
        return false;
    int64_t fd = open_table(host);
    if (fd < 0)
        return false;
    /* Less than a header, or an answer itself: nobody asks. */
    uint32_t size = length < HEADER || get16(query + 2) & FLAG_RESPONSE ? 0 : answer(fd, query, length, message);
    (void)platform_syscall(__NR_close, (uint64_t)fd, 0, 0, 0, 0, 0);
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
