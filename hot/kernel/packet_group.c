/* Packet sockets that divide what they hear among themselves (packet(7), PACKET_FANOUT). packet_socket.c asks it who
 * of a group has a frame.
 *
 * A host has one processor and one queue for each interface, so everything is of the first of both. Not there: groups
 * that fill one member after the other (PACKET_FANOUT_ROLLOVER), choose at random, or by a program.
 */
#include "packet_socket.h"

#define MEMBERS_DEFAULT 256u
#define MEMBERS_MAX (UINT32_C(1) << 16)
#define UNIQUE_ID (PACKET_FANOUT_FLAG_UNIQUEID >> 8)
#define DEFRAGMENT (PACKET_FANOUT_FLAG_DEFRAG >> 8) /* there are no fragments */
#define IGNORE_OUTGOING 0x40                        /* PACKET_FANOUT_FLAG_IGNORE_OUTGOING, new in Linux 5.17 */

struct packet_group {
    uint16_t id;
    uint8_t kind, flags;
    uint32_t count, capacity, most;
    uint32_t turn;
    struct packet_socket **members;
};

static struct packet_group *find(const struct host *host, uint16_t id) {
    list_for_each(node, &host->net->packet_sockets) {
        struct packet_group *group = list_entry(node, struct packet_socket, node)->group;
        if (group && group->id == id)
            return group;
    }
    return NULL;
}

static int check_kind(uint8_t kind, uint8_t flags) {
    if (kind > PACKET_FANOUT_EBPF)
        return -EINVAL;
    bool served =
        kind == PACKET_FANOUT_HASH || kind == PACKET_FANOUT_LB || kind == PACKET_FANOUT_CPU || kind == PACKET_FANOUT_QM;
    return served && !(flags & ~(UNIQUE_ID | DEFRAGMENT | IGNORE_OUTGOING)) ? 0 : -EOPNOTSUPP;
}

static int add_member(struct packet_group *group, struct packet_socket *own) {
    struct host *host = own->socket->host;
    if (group->count == group->capacity) {
        uint32_t capacity = group->capacity ? 2 * group->capacity : 4;
        struct packet_socket **larger = kalloc(host, capacity * sizeof(struct packet_socket *));
        if (!larger)
            return -ENOMEM;
        memcpy(larger, group->members, group->count * sizeof(struct packet_socket *));
        kfree(host, group->members);
        group->members = larger;
        group->capacity = capacity;
    }
    group->members[group->count++] = own;
    own->group = group;
    return 0;
}

static void free_unused(struct host *host, struct packet_group *group) {
    if (group->count)
        return;
    kfree(host, group->members);
    kfree(host, group);
}

int packet_group_join(struct packet_socket *own, const void *value, uint32_t length) {
    struct host *host = own->socket->host;
    struct {
        uint16_t id;
        uint8_t kind, flags;
        uint32_t most;
    } wanted = {0};
    if (length != 4 && length != sizeof wanted)
        return -EINVAL;
    memcpy(&wanted, value, length);
    int error = check_kind(wanted.kind, wanted.flags);
    if (error)
        return error;
    if (own->group)
        return -EALREADY;
    if (wanted.flags & UNIQUE_ID) {
        if (wanted.id)
            return -EINVAL;
        while (find(host, wanted.id))
            if (!++wanted.id)
                return -ENOMEM;
        wanted.flags &= (uint8_t)~UNIQUE_ID;
    }
    struct packet_group *group = find(host, wanted.id);
    const struct packet_socket *first = group ? group->members[0] : own;
    if (group && (group->flags != wanted.flags || (wanted.most && wanted.most != group->most)))
        return -EINVAL;
    if (wanted.most > MEMBERS_MAX || !own->protocol || first->protocol != own->protocol ||
        first->interface != own->interface || (group && group->kind != wanted.kind))
        return -EINVAL;
    if (group && group->count == group->most)
        return -ENOSPC;
    if (!group) {
        group = kalloc(host, sizeof *group);
        if (!group)
            return -ENOMEM;
        group->id = wanted.id;
        group->kind = wanted.kind;
        group->flags = wanted.flags;
        group->most = wanted.most ? wanted.most : MEMBERS_DEFAULT;
    }
    error = add_member(group, own);
    if (error)
        free_unused(host, group);
    return error;
}

/* The last one takes the place of who leaves, as in Linux. */
void packet_group_leave(struct packet_socket *own) {
    struct packet_group *group = own->group;
    if (!group)
        return;
    uint32_t place = 0;
    while (place + 1 < group->count && group->members[place] != own)
        place++;
    group->members[place] = group->members[--group->count];
    own->group = NULL;
    free_unused(own->socket->host, group);
}

uint32_t packet_group_setting(const struct packet_socket *own) {
    const struct packet_group *group = own->group;
    return group ? group->id | (uint32_t)group->kind << 16 | (uint32_t)group->flags << 24 : 0;
}

bool packet_group_ignores_outgoing(const struct packet_group *group) { return (group->flags & IGNORE_OUTGOING) != 0; }

/* Whether it is the one of its group that frames are shown to. */
bool packet_group_speaks(const struct packet_socket *own) { return own->group->members[0] == own; }

/* The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static uint64_t hash_end(const uint8_t *address, uint32_t length, uint16_t port) {
    uint64_t hash = mix(port + UINT64_C(1));
    for (uint32_t i = 0; i < length; i += 4)
        hash = mix(hash + get32(address + i));
    return hash;
}

/* The same for both directions of a flow. Natively it differs from boot to boot. */
static uint64_t hash_flow(const struct frame *frame) {
    const uint8_t *p = frame->bytes + ETHERNET_HEADER;
    bool v6 = frame->protocol == ETHERTYPE_IP6;
    uint32_t header = v6 ? IP6_HEADER : IP_HEADER, begin = v6 ? 8 : 12, size = v6 ? 16 : 4;
    if ((!v6 && frame->protocol != ETHERTYPE_IP) || frame->length < ETHERNET_HEADER + header + 4)
        return 0;
    uint8_t protocol = p[v6 ? 6 : 9];
    bool ports = protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP;
    return mix(protocol + hash_end(p + begin, size, ports ? get16(p + header) : 0) +
               hash_end(p + begin + size, size, ports ? get16(p + header + 2) : 0));
}

struct packet_socket *packet_group_choose(struct packet_group *group, const struct frame *frame) {
    switch (group->kind) {
    case PACKET_FANOUT_LB:
        return group->members[++group->turn % group->count];
    case PACKET_FANOUT_HASH:
        return group->members[(hash_flow(frame) >> 32) * group->count >> 32];
    default:
        return group->members[0];
    }
}
