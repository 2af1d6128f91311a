/*
 * An execution client as far as transactions go: it greets its peers, submits transactions, pushes or announces them,
 * asks for what is announced to it, answers, and passes on what it gets, in the datagrams of docs/gossip-datagram.md.
 * It prints a line for each transaction when it has come whole, and one at the end with what it has counted.
 */
#include "inet.h"

#include <arpa/inet.h>
#include <poll.h>

#define MAGIC 0x4147
#define TYPE_TRANSACTION 11
#define TYPE_ANNOUNCEMENT 12
#define TYPE_ASK 13
#define TYPE_POOLED 14
#define TYPE_GREETING 15
#define GREETS 0
#define ANSWERS 1
#define LEAVES 2
#define HEADER 8
#define HASH 32
#define CARRIER 44
#define PART 60000
#define LARGEST_PUSHED 4096
#define MOST_PEERS 64
#define MOST_TRANSACTIONS 4096
#define MOST_ATTEMPT 2047
#define GREET_AGAIN_NS 1000000000

struct peer {
    struct sockaddr_in address;
    int is_met;
};

struct transaction {
    uint8_t hash[HASH];
    uint8_t is_here;
    uint8_t is_asked_for;
    uint16_t next_part;
    uint16_t hops;
    uint64_t known; /* a bit for each peer */
};

static int fd;
static uint8_t out[HEADER + CARRIER + PART];
static uint8_t in[65536];
static struct peer peers[MOST_PEERS];
static unsigned peer_count;
static struct transaction transactions[MOST_TRANSACTIONS];
static unsigned transaction_count;
static unsigned attempts;
static unsigned pushed, announced, asked, served, unserved, duplicates, bad;

static uint64_t get(const uint8_t *at, unsigned size) {
    uint64_t value = 0;
    while (size-- > 0) {
        value = value << 8 | *at++;
    }
    return value;
}

static uint8_t *put(uint8_t *at, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    }
    return at + size;
}

static uint32_t size_of(const struct transaction *t) { return (uint32_t)get(t->hash + 16, 4); }

static uint8_t byte_of(const struct transaction *t, uint32_t position) {
    return (uint8_t)((get(t->hash, 8) * 0x9E3779B97F4A7C15u + position) >> 32);
}

static void send_to(unsigned peer, unsigned type, unsigned count, const uint8_t *end) {
    put(put(put(put(out, MAGIC, 2), 1, 1), type, 1), 0, 2);
    put(out + 6, count, 2);
    const struct sockaddr *name = (const struct sockaddr *)&peers[peer].address;
    REQUIRE(sendto(fd, out, (size_t)(end - out), 0, name, sizeof peers[peer].address) == end - out);
}

static void greet(unsigned peer, unsigned what) { send_to(peer, TYPE_GREETING, what, out + HEADER); }

static uint8_t *put_hash(uint8_t *at, const struct transaction *t) {
    memcpy(at, t->hash, HASH);
    return at + HASH;
}

static uint8_t *put_fields(const struct transaction *t, unsigned attempt, unsigned hops, unsigned part,
                           unsigned parts) {
    uint8_t *at = put_hash(out + HEADER, t);
    return put(put(put(put(at, attempt, 2), hops, 2), part, 2), parts, 2);
}

static void carry(unsigned peer, unsigned type, struct transaction *t, unsigned attempt) {
    uint32_t size = size_of(t);
    unsigned parts = (size + PART - 1) / PART;
    t->known |= 1ull << peer;
    for (unsigned part = 0; part < parts; part++) {
        uint32_t begin = part * PART;
        uint32_t length = size - begin < PART ? size - begin : PART;
        uint8_t *at = put(put_fields(t, attempt, t->hops, part, parts), length, 4);
        for (uint32_t i = 0; i < length; i++) {
            at[i] = byte_of(t, begin + i);
        }
        send_to(peer, type, 1, at + length);
    }
}

static void announce(unsigned peer, struct transaction *t) {
    t->known |= 1ull << peer;
    announced++;
    send_to(peer, TYPE_ANNOUNCEMENT, 1, put_hash(out + HEADER, t));
}

/* To the first few of those that lack it whole, and its hash to the others. */
static void pass_on(struct transaction *t) {
    unsigned lacking = 0;
    for (unsigned peer = 0; peer < peer_count; peer++) {
        lacking += peers[peer].is_met && !(t->known >> peer & 1);
    }
    unsigned whole = 0;
    int may_push = t->hash[20] != 3 && size_of(t) <= LARGEST_PUSHED;
    while (may_push && (whole + 1) * (whole + 1) <= lacking) {
        whole++;
    }
    for (unsigned peer = 0; peer < peer_count; peer++) {
        if (!peers[peer].is_met || t->known >> peer & 1) {
            continue;
        }
        if (whole > 0) {
            whole--;
            pushed++;
            carry(peer, TYPE_TRANSACTION, t, 0);
        } else {
            announce(peer, t);
        }
    }
}

static struct transaction *find(const uint8_t *hash) {
    for (unsigned i = 0; i < transaction_count; i++) {
        if (memcmp(transactions[i].hash, hash, HASH) == 0) {
            return &transactions[i];
        }
    }
    REQUIRE(transaction_count < MOST_TRANSACTIONS);
    struct transaction *t = &transactions[transaction_count++];
    memcpy(t->hash, hash, HASH);
    return t;
}

static void print_transaction(const struct transaction *t, const char *how) {
    struct in_addr origin = {htonl((uint32_t)get(t->hash, 4))};
    printf("%s %s %u size %u hops %u after_ns %lld\n", how, inet_ntoa(origin), (unsigned)get(t->hash + 4, 4),
           size_of(t), t->hops, (long long)(clock_ns(CLOCK_REALTIME) - (int64_t)get(t->hash + 8, 8)));
}

static void submit(uint32_t address, unsigned sequence, uint32_t size, int has_blobs) {
    uint8_t hash[HASH] = {0};
    uint8_t *at = put(put(hash, address, 4), sequence, 4);
    put(put(put(at, (uint64_t)clock_ns(CLOCK_REALTIME), 8), size, 4), has_blobs ? 3 : 2, 1);
    struct transaction *t = find(hash);
    t->is_here = 1;
    print_transaction(t, "submitted");
    pass_on(t);
}

static void take_carried(unsigned peer, const uint8_t *body, size_t length, unsigned count, unsigned type) {
    if (length < CARRIER || length != CARRIER + get(body + 40, 4)) {
        bad++;
        return;
    }
    struct transaction *t = find(body);
    if (count == 0) {
        t->is_asked_for = 0;
        return;
    }
    unsigned part = (unsigned)get(body + 36, 2), parts = (unsigned)get(body + 38, 2);
    t->known |= 1ull << peer;
    if (t->is_here) {
        duplicates += part + 1 == parts;
        return;
    }
    if (part != 0 && part != t->next_part) {
        bad++;
        return;
    }
    for (uint32_t i = 0; i < length - CARRIER; i++) {
        REQUIRE(body[CARRIER + i] == byte_of(t, part * PART + i));
    }
    t->next_part = (uint16_t)(part + 1);
    if (part + 1 == parts) {
        t->is_here = 1;
        t->hops = (uint16_t)(get(body + 34, 2) + 1);
        print_transaction(t, type == TYPE_TRANSACTION ? "pushed" : "fetched");
        pass_on(t);
    }
}

static void answer(unsigned peer, const uint8_t *body, size_t length, unsigned count) {
    if (length != 2 + (size_t)count * HASH) {
        bad++;
        return;
    }
    unsigned attempt = (unsigned)get(body, 2);
    for (unsigned i = 0; i < count; i++) {
        struct transaction *t = find(body + 2 + i * HASH);
        if (t->is_here) {
            served++;
            carry(peer, TYPE_POOLED, t, attempt);
        } else {
            unserved++;
            send_to(peer, TYPE_POOLED, 0, put(put_fields(t, attempt, 0, 0, 1), 0, 4));
        }
    }
}

static void hear(unsigned peer, const uint8_t *body, size_t length, unsigned count) {
    if (count == 0 || length != (size_t)count * HASH) {
        bad++;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        struct transaction *t = find(body + i * HASH);
        t->known |= 1ull << peer;
        if (!t->is_here && !t->is_asked_for) {
            t->is_asked_for = 1;
            asked++;
            attempts = (attempts + 1) & MOST_ATTEMPT;
            send_to(peer, TYPE_ASK, 1, put_hash(put(out + HEADER, attempts, 2), t));
        }
    }
}

static void take_greeting(unsigned peer, unsigned what) {
    if (what == LEAVES) {
        peers[peer].is_met = 0;
        return;
    }
    peers[peer].is_met = 1;
    if (what == GREETS) {
        greet(peer, ANSWERS);
    }
    for (unsigned i = 0; i < transaction_count; i++) {
        transactions[i].known &= ~(1ull << peer);
        if (transactions[i].is_here) {
            announce(peer, &transactions[i]);
        }
    }
}

static void receive(void) {
    struct sockaddr_in from;
    socklen_t from_length = sizeof from;
    ssize_t length = recvfrom(fd, in, sizeof in, 0, (struct sockaddr *)&from, &from_length);
    REQUIRE(length >= 0);
    unsigned peer = 0;
    while (peer < peer_count && peers[peer].address.sin_addr.s_addr != from.sin_addr.s_addr) {
        peer++;
    }
    if (peer == peer_count || length < HEADER || get(in, 2) != MAGIC || in[2] != 1) {
        bad++;
        return;
    }
    unsigned type = in[3], count = (unsigned)get(in + 6, 2);
    const uint8_t *body = in + HEADER;
    size_t rest = (size_t)length - HEADER;
    if (type == TYPE_TRANSACTION || type == TYPE_POOLED) {
        take_carried(peer, body, rest, count, type);
    } else if (type == TYPE_ANNOUNCEMENT) {
        hear(peer, body, rest, count);
    } else if (type == TYPE_ASK) {
        answer(peer, body, rest, count);
    } else if (type == TYPE_GREETING) {
        take_greeting(peer, count);
    } else {
        bad++;
    }
}

static void read_peers(char *list) {
    for (char *name = strtok(list, ","); name != NULL; name = strtok(NULL, ",")) {
        REQUIRE(peer_count < MOST_PEERS);
        peers[peer_count++].address = inet_resolve(name, "9000", SOCK_DGRAM);
    }
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 8) {
        usage("transaction_peer ADDRESS PEER,... SECONDS [COUNT SIZE INTERVAL_MS BLOBS]");
    }
    struct in_addr own;
    REQUIRE(inet_aton(argv[1], &own));
    read_peers(argv[2]);
    int64_t start = clock_ns(CLOCK_MONOTONIC), end = start + atol(argv[3]) * 1000000000;
    unsigned count = argc > 4 ? (unsigned)atol(argv[4]) : 0, submitted = 0;
    uint32_t size = argc > 4 ? (uint32_t)atol(argv[5]) : 0;
    int64_t interval = argc > 4 ? atol(argv[6]) * 1000000 : 0;
    int has_blobs = argc > 4 && atoi(argv[7]);
    fd = inet_bound("9000", SOCK_DGRAM);
    int64_t greets_at = start, submits_at = start + 2 * (int64_t)GREET_AGAIN_NS;
    for (int64_t now = start; now < end; now = clock_ns(CLOCK_MONOTONIC)) {
        if (now >= greets_at) {
            for (unsigned peer = 0; peer < peer_count; peer++) {
                if (!peers[peer].is_met) {
                    greet(peer, GREETS);
                }
            }
            greets_at += GREET_AGAIN_NS;
        }
        if (submitted < count && now >= submits_at) {
            submit(ntohl(own.s_addr), ++submitted, size, has_blobs);
            submits_at += interval;
        }
        int64_t next = greets_at < end ? greets_at : end;
        if (submitted < count && submits_at < next) {
            next = submits_at;
        }
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int64_t left = next - clock_ns(CLOCK_MONOTONIC);
        struct timespec timeout = {.tv_sec = left > 0 ? left / 1000000000 : 0,
                                   .tv_nsec = left > 0 ? left % 1000000000 : 0};
        int ready = ppoll(&waiting, 1, &timeout, NULL);
        REQUIRE(ready >= 0);
        if (ready > 0) {
            receive();
        }
    }
    unsigned here = 0;
    for (unsigned i = 0; i < transaction_count; i++) {
        here += transactions[i].is_here;
    }
    for (unsigned peer = 0; peer < peer_count; peer++) {
        if (peers[peer].is_met) {
            greet(peer, LEAVES);
        }
    }
    printf("here %u pushed %u announced %u asked %u served %u unserved %u duplicates %u bad %u\n", here, pushed,
           announced, asked, served, unserved, duplicates, bad);
    return 0;
}
