/* TCP as sockets see it: connect, listen, accept, send, receive, shutdown, close, options, poll.
 *
 * socket.c and inet.c call it for system calls, tcp_in.c and tcp_timer.c when a connection changes state; it calls
 * tcp_out.c to send. Nothing here blocks: what cannot be done now answers -EAGAIN.
 */
#include "tcp.h"
#include "socket.h"

#include <asm/poll.h>
#include <linux/tcp.h>

#define SEGMENT_CAPACITY_MIN 128u
#define CONGESTION_NAME_MAX 16u /* TCP_CA_NAME_MAX */
#define KEEPALIVE_SECONDS_MAX 32767
#define KEEPALIVE_PROBES_MAX 127
#define SYN_RETRIES_MAX 127
#define LINGER2_MAX 120 /* seconds (Linux: TCP_FIN_TIMEOUT_MAX) */

/* ---- The send queue ---- */

static uint32_t segment_charge(uint32_t capacity) { return (uint32_t)sizeof(struct tcp_segment) + capacity; }

static struct tcp_segment *segment_create(struct tcp *tcp, uint32_t capacity) {
    struct tcp_segment *segment = kalloc_raw(tcp_host(tcp), sizeof *segment + capacity);
    if (!segment)
        return NULL;
    memset(segment, 0, sizeof *segment);
    segment->capacity = capacity;
    list_init(&segment->node);
    list_init(&segment->order);
    tcp->socket->send_used += segment_charge(capacity);
    return segment;
}

static void segment_destroy(struct tcp *tcp, struct tcp_segment *segment) {
    tcp->socket->send_used -= segment_charge(segment->capacity);
    kfree(tcp_host(tcp), segment);
}

struct tcp_segment *tcp_add_segment(struct tcp *tcp, uint32_t capacity) {
    struct tcp_segment *segment = segment_create(tcp, capacity);
    if (!segment)
        return NULL;
    segment->sequence = tcp->write_sequence;
    list_push_back(&tcp->queue, &segment->node);
    if (!tcp->unsent)
        tcp->unsent = segment;
    return segment;
}

void tcp_free_segment(struct tcp *tcp, struct tcp_segment *segment) {
    if (segment->transmissions) {
        tcp->packets_out--;
        tcp->sacked_out -= segment->sacked;
        tcp->lost_out -= segment->lost;
    } else if (tcp->unsent == segment) {
        tcp->unsent = tcp_next(tcp, segment);
    }
    if (tcp->sack_hint == segment)
        tcp->sack_hint = NULL;
    list_remove(&segment->node);
    list_remove(&segment->order);
    segment_destroy(tcp, segment);
}

bool tcp_split(struct tcp *tcp, struct tcp_segment *segment, uint32_t length) {
    uint32_t rest_length = segment->length - length;
    struct tcp_segment *rest = segment_create(tcp, rest_length);
    if (!rest)
        return false;
    memcpy(rest->data, segment->data + length, rest_length);
    rest->sequence = segment->sequence + length;
    rest->length = rest_length;
    rest->flags = segment->flags & (TCP_FIN | TCP_PSH);
    segment->flags &= (uint8_t)~(TCP_FIN | TCP_PSH);
    segment->length = length;
    list_push_front(&segment->node, &rest->node);
    if (segment->transmissions) {
        rest->transmissions = segment->transmissions;
        rest->sent_time = segment->sent_time;
        rest->sacked = segment->sacked;
        rest->lost = segment->lost;
        tcp->packets_out++;
        tcp->sacked_out += rest->sacked;
        tcp->lost_out += rest->lost;
        if (list_linked(&segment->order))
            list_push_front(&segment->order, &rest->order);
    }
    return true;
}

static void purge_send_queue(struct tcp *tcp) {
    for (struct tcp_segment *segment; (segment = tcp_first(tcp));)
        tcp_free_segment(tcp, segment);
}

static void purge_packets(struct tcp *tcp, struct packet **head, struct packet **tail) {
    for (struct packet *packet; (packet = *head);) {
        *head = packet->next;
        packet_free(tcp_host(tcp), packet);
    }
    *tail = NULL;
}

void tcp_purge_disorder(struct tcp *tcp) {
    purge_packets(tcp, &tcp->disorder_head, &tcp->disorder_tail);
    tcp->disorder_bytes = 0;
    tcp->sack_count = 0;
}

static void purge_ready(struct tcp *tcp) {
    purge_packets(tcp, &tcp->ready_head, &tcp->ready_tail);
    tcp->ready_bytes = 0;
    tcp->collector = NULL;
}

/* ---- Birth and death ---- */

static void prepare(struct tcp *tcp) {
    tcp->state = TCP_CLOSE;
    list_init(&tcp->queue);
    list_init(&tcp->sent);
    list_init(&tcp->lost);
    list_init(&tcp->child_node);
    list_init(&tcp->handshakes);
    list_init(&tcp->accepted);
    tcp_timers_init(tcp);
    tcp->rto = TCP_RTO_INITIAL;
    tcp->cwnd = TCP_INITIAL_WINDOW;
    tcp->ssthresh = TCP_SSTHRESH_INFINITE;
    tcp->peer_mss = TCP_MSS_DEFAULT_IPV4;
    tcp->rcv_mss = TCP_MSS_DEFAULT_IPV4;
    tcp->rack_steps = 1;
    tcp->ack_delay = 0;
    tcp_congestion_init(tcp);
}

int tcp_create(struct socket *socket) {
    struct tcp *tcp = kalloc(socket->host, sizeof *tcp);
    if (!tcp)
        return -ENOMEM;
    tcp->socket = socket;
    socket->tcp = tcp;
    prepare(tcp);
    return 0;
}

/* As tcp_create leaves it, but for what the program set: before a second connect. */
static void begin_anew(struct tcp *tcp) {
    struct socket *socket = tcp->socket;
    struct tcp_settings settings = tcp->settings;
    tcp_timers_cancel(tcp);
    purge_send_queue(tcp);
    tcp_purge_disorder(tcp);
    purge_ready(tcp);
    memset(tcp, 0, sizeof *tcp);
    tcp->socket = socket;
    tcp->settings = settings;
    prepare(tcp);
    socket->read_shutdown = socket->write_shutdown = false;
}

static void choose_window(struct tcp *tcp) {
    tcp->advertised_mss = tcp_path_mss(tcp);
    if (tcp->settings.max_segment)
        tcp->advertised_mss = KMIN(tcp->advertised_mss, tcp->settings.max_segment);
    uint32_t space = KMIN(tcp_receive_space(tcp), 65535u);
    /* Whole segments, as Linux offers at first. */
    tcp->rcv_wnd = space > tcp->advertised_mss ? space / tcp->advertised_mss * tcp->advertised_mss : space;
}

uint64_t tcp_peer_key(const struct host *host, struct ip_address peer) {
    if (ip_is_v4(peer))
        return (uint64_t)ip_v4(peer) << 32;
    return rng_at(host->seed, host->id, RNG_TCP, peer.high ^ peer.low) & ~(uint64_t)UINT32_MAX;
}

/* RFC 6528, 3: a clock of 64 ns from a place that only the four names give, so that a connection that replaces one in
 * TIME_WAIT goes on above it; RFC 7323, 5.4: the timestamps' place depends on the two hosts alone, for the same reason.
 */
static void choose_sequence(struct tcp *tcp) {
    const struct socket *socket = tcp->socket;
    const struct host *host = socket->host;
    uint64_t peer = tcp_peer_key(host, socket->remote_address);
    uint64_t names = peer | (uint64_t)socket->local_port << 16 | socket->remote_port;
    uint32_t initial = (uint32_t)(rng_at(host->seed, host->id, RNG_TCP, names) + ((uint64_t)host->now >> 6));
    tcp->timestamp_offset = (uint32_t)rng_at(host->seed, host->id, RNG_TCP, peer);
    tcp->snd_una = tcp->snd_nxt = tcp->write_sequence = tcp->snd_up = initial;
    tcp->undo_sequence = tcp->high_sequence = tcp->highest_sacked = initial;
    tcp->small_end = tcp->cwnd_sequence = tcp->cubic.round_end = initial;
}

void tcp_set_state(struct tcp *tcp, enum tcp_state state) {
    static const uint8_t socket_states[] = {
        [TCP_ESTABLISHED] = SOCKET_CONNECTED, [TCP_SYN_SENT] = SOCKET_CONNECTING,  [TCP_SYN_RECV] = SOCKET_CONNECTING,
        [TCP_FIN_WAIT1] = SOCKET_CONNECTED,   [TCP_FIN_WAIT2] = SOCKET_CONNECTED,  [TCP_TIME_WAIT] = SOCKET_CONNECTED,
        [TCP_CLOSE] = SOCKET_DISCONNECTED,    [TCP_CLOSE_WAIT] = SOCKET_CONNECTED, [TCP_LAST_ACK] = SOCKET_CONNECTED,
        [TCP_LISTEN] = SOCKET_LISTENING,      [TCP_CLOSING] = SOCKET_CONNECTED};
    tcp->state = (uint8_t)state;
    tcp->socket->state = socket_states[state];
}

void tcp_destroy(struct tcp *tcp) {
    struct socket *socket = tcp->socket;
    if (tcp->listener) {
        if (tcp->state != TCP_SYN_RECV)
            tcp->listener->accepted_count--;
        list_remove(&tcp->child_node);
    }
    tcp_timers_cancel(tcp);
    purge_send_queue(tcp);
    tcp_purge_disorder(tcp);
    purge_ready(tcp);
    socket->tcp = NULL;
    kfree(socket->host, tcp);
    socket_free(socket);
}

void tcp_done(struct tcp *tcp, int error) {
    struct socket *socket = tcp->socket;
    if (tcp->orphan || (tcp->state == TCP_SYN_RECV && tcp->listener)) {
        tcp_destroy(tcp);
        return;
    }
    if (tcp->state == TCP_CLOSE)
        return;
    tcp_set_state(tcp, TCP_CLOSE);
    tcp_timers_cancel(tcp);
    purge_send_queue(tcp);
    tcp_purge_disorder(tcp);
    tcp->throttled = false;
    tcp->done = true;
    inet_unbind(socket);
    socket->read_shutdown = socket->write_shutdown = true;
    if (error)
        socket->error = error;
    socket_wake(socket, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLHUP | POLLRDHUP | (error ? POLLERR : 0));
}

void tcp_reset_and_done(struct tcp *tcp, int error) {
    tcp_send_reset(tcp);
    tcp_done(tcp, error);
}

/* RFC 9293, 3.6.1. What the program has not read yet stays readable. */
void tcp_enter_time_wait(struct tcp *tcp) {
    tcp_timers_cancel(tcp);
    purge_send_queue(tcp);
    tcp_purge_disorder(tcp);
    tcp_set_state(tcp, TCP_TIME_WAIT);
    tcp->done = true;
    tcp->ack_scheduled = tcp->ack_now = false;
    tcp_deadline_set(tcp, &tcp->keepalive, tcp_now(tcp) + TCP_TIME_WAIT_NS);
    socket_wake(tcp->socket, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLHUP | POLLRDHUP);
}

/* The buffer follows the congestion window: twice what may be in flight (Linux: tcp_sndbuf_expand). */
static void grow_send_buffer(struct tcp *tcp) {
    struct socket *socket = tcp->socket;
    if (socket->send_buffer_set || !socket->host->send_autotune)
        return;
    uint32_t segment = packet_charge(tcp_current_mss(tcp) + tcp_ip_header(tcp) + TCP_HEADER + TCP_TIMESTAMP_SPACE);
    uint64_t wanted = (uint64_t)KMAX(tcp->cwnd, TCP_INITIAL_WINDOW) * segment * 2;
    wanted = KMIN(wanted, (uint64_t)TCP_SEND_BUFFER_MAX);
    socket->send_buffer = KMAX(socket->send_buffer, (uint32_t)wanted);
}

void tcp_established(struct tcp *tcp) {
    grow_send_buffer(tcp);
    tcp->space_bytes = KMIN(tcp->rcv_wnd, TCP_INITIAL_WINDOW * tcp->advertised_mss);
    tcp->space_time = tcp_now(tcp);
    tcp->cwnd_sequence = tcp->snd_nxt;
    tcp->last_heard = tcp_now(tcp);
    tcp->backoff = tcp->retransmits = 0;
    tcp->first_retransmission = 0;
    tcp->rack_round_sequence = tcp->snd_nxt;
    tcp_arm_keepalive(tcp);
    tcp->socket->no_space = true; /* being connected is told like room to send */
    socket_wake(tcp->socket, POLLOUT | POLLWRNORM);
}

/* ---- Opening ---- */

int tcp_connect(struct socket *socket) {
    struct tcp *tcp = socket->tcp;
    if (tcp->done)
        begin_anew(tcp);
    choose_window(tcp);
    tcp->rcv_scale = TCP_WINDOW_SCALE;
    choose_sequence(tcp);
    tcp_set_state(tcp, TCP_SYN_SENT);
    tcp->asks_cookie = tcp->settings.fast_open_connect || tcp->settings.fast_open_once;
    tcp->settings.fast_open_once = false;
    tcp_send_syn(tcp);
    tcp->asks_cookie = false; /* one that is sent again does without: it may be what was in the way */
    if (!tcp_first(tcp)) {
        tcp_set_state(tcp, TCP_CLOSE);
        socket->state = SOCKET_UNCONNECTED;
        return -ENOBUFS;
    }
    return -EINPROGRESS;
}

int tcp_listen(struct socket *socket, int backlog) {
    struct tcp *tcp = socket->tcp;
    if (tcp->state != TCP_LISTEN && tcp->state != TCP_CLOSE)
        return -EINVAL;
    if (tcp->done)
        begin_anew(tcp);
    tcp->backlog = (uint32_t)KMAX(backlog, 0);
    tcp_set_state(tcp, TCP_LISTEN);
    return 0;
}

struct socket *tcp_accept(struct socket *socket) {
    struct tcp *listener = socket->tcp;
    if (listener->state != TCP_LISTEN || list_empty(&listener->accepted))
        return NULL;
    struct tcp *tcp = list_entry(listener->accepted.next, struct tcp, child_node);
    list_remove(&tcp->child_node);
    listener->accepted_count--;
    tcp->listener = NULL;
    return tcp->socket;
}

/* A connection that a listener was asked for, before its handshake. NULL: no memory, or the names are taken. */
struct tcp *tcp_child(struct tcp *listener, struct ip_address local, uint16_t local_port, struct ip_address remote,
                      uint16_t remote_port) {
    const struct socket *parent = listener->socket;
    struct socket *socket = socket_create(parent->host, parent->family, parent->type, parent->protocol);
    if (!socket)
        return NULL;
    socket->send_buffer = parent->send_buffer;
    socket->send_buffer_set = parent->send_buffer_set;
    socket->receive_buffer = parent->receive_buffer;
    socket->receive_buffer_set = parent->receive_buffer_set;
    socket->send_timeout = parent->send_timeout;
    socket->receive_timeout = parent->receive_timeout;
    socket->reuse_address = parent->reuse_address;
    socket->reuse_port = parent->reuse_port;
    socket->keepalive = parent->keepalive;
    socket->no_delay = parent->no_delay;
    socket->out_of_band_inline = parent->out_of_band_inline;
    socket->linger = parent->linger;
    socket->linger_seconds = parent->linger_seconds;
    socket->timestamp = parent->timestamp;
    socket->timestamp_ns = parent->timestamp_ns;
    socket->stamping = parent->stamping;
    socket->mtu_discover = parent->mtu_discover;
    socket->bound_interface = parent->bound_interface;
    socket->priority = parent->priority;
    socket->mark = parent->mark;
    socket->tos = parent->tos;
    socket->ttl = parent->ttl;
    socket->minimum_ttl = parent->minimum_ttl;
    socket->low_water = parent->low_water;
    socket->hints = parent->hints;
    socket->only_v6 = parent->only_v6;
    socket->v6 = parent->v6;
    socket->local_address = local;
    socket->local_port = local_port;
    socket->remote_address = remote;
    socket->remote_port = remote_port;
    if (tcp_create(socket) || inet_connected(socket)) {
        if (socket->tcp)
            tcp_destroy(socket->tcp);
        else
            socket_free(socket);
        return NULL;
    }
    struct tcp *tcp = socket->tcp;
    tcp->settings = listener->settings;
    tcp->settings.defer_accept = 0;
    tcp->settings.fast_open_queue = 0;
    tcp->settings.fast_open_key_count = 0;
    tcp->settings.fast_open_connect = tcp->settings.fast_open_once = false;
    tcp->listener = listener;
    list_push_back(&listener->handshakes, &tcp->child_node);
    choose_window(tcp);
    choose_sequence(tcp);
    return tcp;
}

/* ---- Sending ---- */

static bool is_memory_free(const struct tcp *tcp) {
    uint32_t low = tcp->settings.not_sent_low_water;
    return tcp->socket->send_used < tcp->socket->send_buffer && (!low || tcp->write_sequence - tcp->snd_nxt < low);
}

/* Room worth waking a writer for: a third of the buffer, as Linux has it. */
static bool is_writable(const struct tcp *tcp) {
    const struct socket *socket = tcp->socket;
    uint32_t low = tcp->settings.not_sent_low_water;
    return socket->send_used < socket->send_buffer &&
           socket->send_buffer - socket->send_used >= socket->send_used / 2 &&
           (!low || (uint64_t)(tcp->write_sequence - tcp->snd_nxt) * 2 < low);
}

void tcp_write_possible(struct tcp *tcp) {
    grow_send_buffer(tcp);
    if (tcp->no_space && is_writable(tcp)) {
        tcp->no_space = false;
        socket_wake(tcp->socket, POLLOUT | POLLWRNORM);
    }
}

static int64_t take_error(struct socket *socket, int otherwise) {
    return socket->error ? socket_take_error(socket) : otherwise;
}

/* Makes room for at least `wanted` bytes behind what the segment holds. NULL: no memory. */
static struct tcp_segment *grow_segment(struct tcp *tcp, struct tcp_segment *segment, uint32_t wanted, uint32_t mss) {
    if (segment->capacity - segment->length >= wanted)
        return segment;
    struct tcp_segment *larger = segment_create(tcp, KMIN(KMAX(segment->length + wanted, 2 * segment->capacity), mss));
    if (!larger)
        return NULL;
    larger->sequence = segment->sequence;
    larger->length = segment->length;
    larger->flags = segment->flags;
    memcpy(larger->data, segment->data, segment->length);
    list_push_front(&segment->node, &larger->node);
    list_remove(&segment->node);
    if (tcp->unsent == segment)
        tcp->unsent = larger;
    segment_destroy(tcp, segment);
    return larger;
}

/* Copies one segment's worth from the program behind the queue. Bytes, -EFAULT or -ENOMEM. */
static int64_t append(struct tcp *tcp, struct uio *from, uint32_t mss) {
    struct tcp_segment *segment = tcp->unsent ? tcp_last(tcp) : NULL;
    bool fresh = !segment || segment->length >= mss;
    uint32_t room = fresh ? mss : mss - segment->length;
    uint32_t take = (uint32_t)KMIN(from->remaining, (size_t)room);
    segment = fresh ? tcp_add_segment(tcp, KMAX(take, KMIN(SEGMENT_CAPACITY_MIN, mss)))
                    : grow_segment(tcp, segment, take, mss);
    if (!segment)
        return -ENOMEM;
    int error = uio_copy_in(from, segment->data + segment->length, take);
    if (error) {
        if (fresh)
            tcp_free_segment(tcp, segment);
        return error;
    }
    segment->length += take;
    tcp->write_sequence += take;
    return take;
}

/* The last segment is filled up to its full length without asking for room, as by Linux. */
static bool tail_is_open(const struct tcp *tcp, uint32_t mss) { return tcp->unsent && tcp_last(tcp)->length < mss; }

int64_t tcp_send(struct task *task, struct socket *socket, struct uio *from, int flags) {
    (void)task;
    struct tcp *tcp = socket->tcp;
    if (!tcp_in(tcp, TCP_STATES(TCP_ESTABLISHED) | TCP_STATES(TCP_CLOSE_WAIT))) {
        if (socket->error || !tcp_in(tcp, TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV)))
            return take_error(socket, -EPIPE);
        tcp->no_space = true;
        return -EAGAIN;
    }
    if (socket->error || socket->write_shutdown)
        return take_error(socket, -EPIPE);
    uint32_t mss = tcp_current_mss(tcp);
    int64_t total = 0, result = 0;
    while (from->remaining) {
        if (!is_memory_free(tcp) && !tail_is_open(tcp, mss)) {
            tcp->no_space = true;
            result = -EAGAIN;
            break;
        }
        result = append(tcp, from, mss);
        if (result < 0)
            break;
        total += result;
    }
    if (total && (flags & MSG_OOB))
        tcp->snd_up = tcp->write_sequence;
    if (total)
        tcp_push(tcp, (flags & MSG_MORE) && !from->remaining ? TCP_PUSH_CORK : TCP_PUSH_NAGLE);
    if (result == -ENOMEM)
        result = -ENOBUFS;
    return total ? total : result < 0 ? result : 0;
}

/* ---- Receiving ---- */

/* Dynamic right-sizing (Fisk and Feng, 2001): room for twice what the program read in the last round trip. */
static void adjust_receive_buffer(struct tcp *tcp, uint32_t read) {
    struct socket *socket = tcp->socket;
    tcp->read_bytes += read;
    int64_t now = tcp_now(tcp);
    if (!tcp->receive_rtt_8 || now - tcp->space_time < tcp->receive_rtt_8 / 8)
        return;
    if (tcp->read_bytes > tcp->space_bytes) {
        if (!socket->receive_buffer_set && socket->host->receive_autotune) {
            uint64_t window = 2 * (uint64_t)tcp->read_bytes + 16 * (uint64_t)tcp->advertised_mss;
            /* In slow start the next round brings twice as much: be ahead of it. */
            window += 2 * window * (tcp->read_bytes - tcp->space_bytes) / KMAX(tcp->space_bytes, 1u);
            uint32_t buffer = (uint32_t)KMIN(2 * window, (uint64_t)TCP_RECEIVE_BUFFER_MAX);
            socket->receive_buffer = KMAX(socket->receive_buffer, buffer);
        }
        tcp->space_bytes = tcp->read_bytes;
    }
    tcp->read_bytes = 0;
    tcp->space_time = now;
}

/* The program has read: does the peer need to know (RFC 9293, 3.8.6.2.2)? */
static void update_window(struct tcp *tcp) {
    if (tcp_in(tcp, TCP_STATES(TCP_CLOSE) | TCP_STATES(TCP_LISTEN) | TCP_STATES(TCP_TIME_WAIT)) ||
        tcp->socket->read_shutdown)
        return;
    uint32_t open = tcp_receive_window(tcp);
    bool send = tcp->ack_scheduled && tcp->rcv_nxt - tcp->rcv_wup > tcp->rcv_mss;
    /* All of a message was read, and the program is not known to answer soon: nothing for the ACK to travel with. */
    send |= tcp->ack_scheduled && tcp->small_arrived && !tcp->interactive && !tcp->ready_bytes;
    if (!send && 2 * (uint64_t)open <= tcp_receive_space(tcp)) {
        uint32_t window = tcp_select_window(tcp);
        send = window && window >= 2 * (uint64_t)open;
    }
    if (send)
        tcp_send_ack(tcp);
}

/* `length` bytes of the first packet are read. */
static void take_ready(struct tcp *tcp, uint32_t length) {
    struct packet *packet = tcp->ready_head;
    packet->offset += length;
    tcp->ready_bytes -= length;
    if (packet->offset < packet->length)
        return;
    tcp->ready_head = packet->next;
    if (!packet->next) {
        tcp->ready_tail = NULL;
        tcp->collector = NULL;
    }
    packet_free(tcp_host(tcp), packet);
}

void tcp_skip_ready(struct tcp *tcp, uint32_t length) {
    for (uint32_t take; length && tcp->ready_head; length -= take) {
        take = KMIN(length, tcp->ready_head->length - tcp->ready_head->offset);
        take_ready(tcp, take);
    }
    tcp->socket->receive_used = tcp->ready_bytes + tcp->disorder_bytes;
}

uint32_t tcp_peek_ready(const struct tcp *tcp, uint8_t *bytes, uint32_t length) {
    uint32_t copied = 0;
    for (const struct packet *packet = tcp->ready_head; packet && copied < length; packet = packet->next) {
        uint32_t take = KMIN(length - copied, packet->length - packet->offset);
        memcpy(bytes + copied, packet->data + packet->offset, take);
        copied += take;
    }
    return copied;
}

bool tcp_send_own(struct tcp *tcp, const uint8_t *bytes, uint32_t length) {
    uint32_t mss = tcp_current_mss(tcp);
    while (length) {
        uint32_t take = KMIN(length, mss);
        struct tcp_segment *segment = tcp_add_segment(tcp, take);
        if (!segment)
            return false;
        memcpy(segment->data, bytes, take);
        segment->length = take;
        tcp->write_sequence += take;
        bytes += take;
        length -= take;
    }
    tcp_push(tcp, TCP_PUSH_NOW);
    return true;
}

/* The urgent byte (Linux: tcp_recv_urg). Never sleeps, whatever the socket's mode. */
static int64_t receive_urgent(struct tcp *tcp, struct uio *to, int flags, struct socket_message *message) {
    const struct socket *socket = tcp->socket;
    if (socket->out_of_band_inline || tcp->urgent == TCP_URGENT_NONE || tcp->urgent == TCP_URGENT_READ)
        return -EINVAL;
    if (tcp->state == TCP_CLOSE && !tcp->done)
        return -ENOTCONN;
    if (tcp->urgent == TCP_URGENT_ANNOUNCED)
        return tcp->state == TCP_CLOSE || socket->read_shutdown ? 0 : -EAGAIN;
    if (!(flags & MSG_PEEK))
        tcp->urgent = TCP_URGENT_READ;
    message->out_flags |= MSG_OOB;
    if (!to->remaining) {
        message->out_flags |= MSG_TRUNC;
        return 0;
    }
    if (!(flags & MSG_TRUNC) && uio_copy_out(to, &tcp->urgent_byte, 1))
        return -EFAULT;
    return 1;
}

/* Copies or discards what is ready. The urgent byte ends a receive; the next one begins behind it, or with it where it
 * is in line. Bytes, 0 where nothing is to be had, -EFAULT or -ERESTARTSYS. */
static int64_t receive_ready(struct task *task, struct tcp *tcp, struct uio *to, int flags,
                             struct socket_message *message) {
    bool peek = (flags & MSG_PEEK) != 0, discard = (flags & MSG_TRUNC) && !peek;
    uint32_t at = tcp_read_sequence(tcp);
    struct packet *packet = tcp->ready_head;
    uint32_t offset = packet ? packet->offset : 0;
    int64_t total = 0, error = 0;
    while (packet && to->remaining) {
        uint32_t taken = (uint32_t)KMIN(to->remaining, (size_t)(packet->length - offset)), passed = taken;
        uint32_t before_mark = tcp->urgent ? tcp->urgent_sequence - at : UINT32_MAX;
        if (!before_mark) {
            if (total || message->goes_on)
                break;
            if (task_signal_pending(task)) { /* SIGURG is handled before the program reads on */
                error = socket_nonblocking(tcp->socket, flags) ? -EAGAIN : -ERESTARTSYS;
                break;
            }
            if (!tcp->socket->out_of_band_inline) {
                taken = 0;
                passed = 1;
            }
        } else {
            taken = passed = KMIN(taken, before_mark);
        }
        if (discard)
            uio_advance(to, taken);
        else
            error = uio_copy_out(to, packet->data + offset, taken);
        if (error)
            break;
        total += taken;
        at += passed;
        offset += passed;
        struct packet *next = packet->next;
        bool whole = offset == packet->length;
        if (!peek) {
            take_ready(tcp, passed);
            if (tcp->urgent && tcp_after(at, tcp->urgent_sequence))
                tcp->urgent = TCP_URGENT_NONE;
        }
        if (whole) {
            packet = next;
            offset = packet ? packet->offset : 0;
        }
    }
    message->ends = (total || message->goes_on) && tcp->urgent && at == tcp->urgent_sequence;
    return total ? total : error;
}

int64_t tcp_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                    struct socket_message *message) {
    struct tcp *tcp = socket->tcp;
    if (tcp->state == TCP_LISTEN)
        return -ENOTCONN;
    if (flags & MSG_OOB)
        return receive_urgent(tcp, to, flags, message);
    int64_t total = receive_ready(task, tcp, to, flags, message);
    socket->receive_used = tcp->ready_bytes + tcp->disorder_bytes;
    if (total > 0 && !(flags & MSG_PEEK)) {
        adjust_receive_buffer(tcp, (uint32_t)KMIN(total, (int64_t)UINT32_MAX));
        update_window(tcp);
    }
    if (total || message->ends)
        return total;
    if (tcp->fin_received || (!to->remaining && tcp->ready_head))
        return 0; /* without data, a receive of nothing waits like any other */
    if (socket->error)
        return take_error(socket, 0);
    if (socket->read_shutdown)
        return tcp->state == TCP_CLOSE && !tcp->done ? -ENOTCONN : 0;
    return tcp->state == TCP_CLOSE ? -ENOTCONN : -EAGAIN;
}

/* Up to an urgent byte that is not in line, whether it was read or not. */
int64_t tcp_unread(const struct socket *socket) {
    const struct tcp *tcp = socket->tcp;
    if (socket->out_of_band_inline || !tcp->urgent)
        return tcp->ready_bytes;
    uint32_t before_mark = tcp->urgent_sequence - tcp_read_sequence(tcp);
    return KMIN(before_mark, tcp->ready_bytes);
}

bool tcp_has_unread(const struct socket *socket) { return socket->tcp->ready_bytes != 0; }

bool tcp_at_mark(const struct socket *socket) {
    const struct tcp *tcp = socket->tcp;
    return tcp->urgent && tcp->urgent_sequence == tcp_read_sequence(tcp);
}

int64_t tcp_unsent(const struct socket *socket) {
    const struct tcp *tcp = socket->tcp;
    if (tcp_in(tcp, TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV) | TCP_STATES(TCP_CLOSE)))
        return 0;
    return tcp->write_sequence - tcp->snd_una;
}

uint32_t tcp_poll(const struct socket *socket) {
    struct tcp *tcp = socket->tcp;
    if (tcp->state == TCP_LISTEN)
        return list_empty(&tcp->accepted) ? 0 : POLLIN | POLLRDNORM;
    uint32_t events = 0;
    bool closed = tcp_in(tcp, TCP_STATES(TCP_CLOSE) | TCP_STATES(TCP_TIME_WAIT));
    if (closed || (socket->read_shutdown && socket->write_shutdown))
        events |= POLLHUP;
    if (socket->read_shutdown)
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (!tcp_in(tcp, TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV))) {
        uint32_t wanted = KMIN((uint32_t)KMAX(socket->low_water, 1), tcp_receive_space(tcp));
        if (tcp_at_mark(socket) && !socket->out_of_band_inline)
            wanted++;
        if (tcp->ready_bytes >= wanted)
            events |= POLLIN | POLLRDNORM;
        if (tcp->urgent == TCP_URGENT_HERE)
            events |= POLLPRI;
        if (socket->write_shutdown || is_writable(tcp))
            events |= POLLOUT | POLLWRNORM;
        else
            tcp->no_space = true;
    }
    if (socket->error)
        events |= POLLERR;
    return events;
}

/* ---- Closing ---- */

/* The next state when this side has nothing more to send (RFC 9293, 3.10.4); whether a FIN is due. */
static bool leave_by_fin(struct tcp *tcp) {
    switch ((enum tcp_state)tcp->state) {
    case TCP_ESTABLISHED:
    case TCP_SYN_RECV:
        tcp_set_state(tcp, TCP_FIN_WAIT1);
        return true;
    case TCP_CLOSE_WAIT:
        tcp_set_state(tcp, TCP_LAST_ACK);
        return true;
    default:
        return false;
    }
}

static void stop_listening(struct tcp *tcp) {
    while (!list_empty(&tcp->handshakes))
        tcp_destroy(list_entry(tcp->handshakes.next, struct tcp, child_node));
    while (!list_empty(&tcp->accepted)) {
        struct tcp *child = list_entry(tcp->accepted.next, struct tcp, child_node);
        if (child->state != TCP_CLOSE && child->state != TCP_TIME_WAIT)
            tcp_send_reset(child);
        tcp_destroy(child);
    }
}

int tcp_shutdown(struct socket *socket, bool read, bool write) {
    struct tcp *tcp = socket->tcp;
    switch ((enum tcp_state)tcp->state) {
    case TCP_CLOSE:
    case TCP_TIME_WAIT:
        socket->read_shutdown |= read;
        socket->write_shutdown |= write;
        socket_wake(socket, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
        return -ENOTCONN;
    case TCP_LISTEN:
        if (!read)
            return 0;
        stop_listening(tcp);
        tcp_set_state(tcp, TCP_CLOSE);
        socket->state = SOCKET_UNCONNECTED;
        socket_wake(socket, POLLIN | POLLOUT | POLLHUP);
        return 0;
    case TCP_SYN_SENT:
        tcp_done(tcp, 0);
        return 0;
    default:
        break;
    }
    socket->read_shutdown |= read;
    if (write && !socket->write_shutdown) {
        socket->write_shutdown = true;
        if (leave_by_fin(tcp))
            tcp_close_send(tcp);
    }
    socket_wake(socket, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLHUP | POLLRDHUP);
    return 0;
}

bool tcp_lingers(const struct socket *socket) {
    const struct tcp *tcp = socket->tcp;
    return tcp_in(tcp, TCP_STATES(TCP_FIN_WAIT1) | TCP_STATES(TCP_CLOSING) | TCP_STATES(TCP_LAST_ACK));
}

void tcp_close(struct socket *socket) {
    struct tcp *tcp = socket->tcp;
    bool unread = tcp->ready_bytes != 0;
    socket->file = NULL;
    tcp->orphan = true;
    socket->read_shutdown = socket->write_shutdown = true;
    if (tcp->state == TCP_LISTEN)
        stop_listening(tcp);
    if (tcp_in(tcp, TCP_STATES(TCP_LISTEN) | TCP_STATES(TCP_CLOSE) | TCP_STATES(TCP_SYN_SENT))) {
        tcp_destroy(tcp);
        return;
    }
    purge_ready(tcp);
    if (tcp->state == TCP_TIME_WAIT)
        return; /* its timer ends it */
    /* RFC 2525, 2.17: data that nobody will read is an error the peer should know of. */
    if (unread || (socket->linger && socket->linger_seconds == 0)) {
        tcp_reset_and_done(tcp, 0);
        return;
    }
    if (leave_by_fin(tcp)) {
        tcp_close_send(tcp);
    } else if (tcp->state == TCP_FIN_WAIT2) {
        if (tcp->settings.fin_timeout < 0)
            tcp_reset_and_done(tcp, 0);
        else
            tcp_deadline_set(tcp, &tcp->keepalive,
                             tcp_now(tcp) + (tcp->settings.fin_timeout ? tcp->settings.fin_timeout : TCP_FIN_TIMEOUT));
    }
}

/* ---- Options ---- */

int tcp_keepalive_changed(struct socket *socket) {
    if (socket->keepalive)
        tcp_arm_keepalive(socket->tcp);
    return 0;
}

static int set_congestion(struct tcp *tcp, const char *name, uint32_t length) {
    length = KMIN(length, CONGESTION_NAME_MAX - 1);
    uint32_t end = 0;
    while (end < length && name[end])
        end++;
    int kind = tcp_congestion_of(name, end);
    if (kind < 0)
        return kind;
    if (kind != tcp->settings.congestion) {
        tcp->settings.congestion = (uint8_t)kind;
        tcp_congestion_init(tcp);
    }
    return 0;
}

/* Seconds within [1, most] to ns. */
static int set_seconds(int64_t *setting, int32_t seconds, int32_t most) {
    if (seconds < 1 || seconds > most)
        return -EINVAL;
    *setting = seconds * NS_PER_S;
    return 0;
}

/* How long a SYN-ACK is waited upon before it is sent again, after `sent` times before [s]. */
static uint32_t handshake_timeout(uint32_t sent) {
    const uint32_t most = TCP_RTO_MAX / NS_PER_S, first = TCP_RTO_INITIAL / NS_PER_S;
    return sent < 16 ? KMIN(first << sent, most) : most;
}

/* Linux counts TCP_DEFER_ACCEPT in retransmissions: the least number that takes so many seconds. */
static uint8_t retransmissions_in(int32_t seconds) {
    uint32_t count = 0;
    for (int64_t left = seconds; left > 0 && count < UINT8_MAX; count++)
        left -= handshake_timeout(count);
    return (uint8_t)count;
}

static uint32_t seconds_of(uint8_t retransmissions) {
    uint32_t seconds = 0;
    for (uint32_t i = 0; i < retransmissions; i++)
        seconds += handshake_timeout(i);
    return seconds;
}

static int set_fin_timeout(struct tcp *tcp, int32_t seconds) {
    if (seconds < 0)
        tcp->settings.fin_timeout = -1;
    else
        tcp->settings.fin_timeout = KMIN(seconds, LINGER2_MAX) * NS_PER_S;
    return 0;
}

static int set_keepalive_idle(struct tcp *tcp, int32_t seconds) {
    int error = set_seconds(&tcp->settings.keepalive_idle, seconds, KEEPALIVE_SECONDS_MAX);
    if (!error)
        tcp_arm_keepalive(tcp);
    return error;
}

static void set_quick_acks(struct tcp *tcp, int32_t value) {
    tcp->interactive = !(value & 1);
    if (!(value & 1))
        return;
    tcp->quick_acks = UINT8_MAX;
    if (tcp->ack_scheduled && tcp_in(tcp, TCP_STATES(TCP_ESTABLISHED) | TCP_STATES(TCP_CLOSE_WAIT)))
        tcp_send_ack(tcp);
}

/* One that cookies are made with, and one that they may still be of. */
static int set_fast_open_keys(struct tcp_settings *settings, const void *value, uint32_t length) {
    if (length != FAST_OPEN_KEY && length != sizeof settings->fast_open_keys)
        return -EINVAL;
    memcpy(settings->fast_open_keys, value, length);
    settings->fast_open_key_count = (uint8_t)(length / FAST_OPEN_KEY);
    return 0;
}

int tcp_set_option(struct socket *socket, int name, const void *value, uint32_t length) {
    struct tcp *tcp = socket->tcp;
    struct tcp_settings *settings = &tcp->settings;
    if (name == TCP_CONGESTION)
        return length < 1 ? -EINVAL : set_congestion(tcp, value, length);
    if (name == TCP_FASTOPEN_KEY)
        return set_fast_open_keys(settings, value, length);
    int32_t number;
    if (length < sizeof number)
        return -EINVAL;
    memcpy(&number, value, sizeof number);
    switch (name) {
    case TCP_NODELAY:
        socket->no_delay = number != 0;
        if (number)
            tcp_push(tcp, TCP_PUSH_NAGLE);
        return 0;
    case TCP_CORK:
        socket->cork = number != 0;
        if (!number)
            tcp_push(tcp, socket->no_delay ? TCP_PUSH_NOW : TCP_PUSH_NAGLE);
        return 0;
    case TCP_MAXSEG:
        if (number && (number < (int32_t)TCP_MSS_MIN || number > 32767))
            return -EINVAL;
        settings->max_segment = (uint32_t)number;
        return 0;
    case TCP_KEEPIDLE:
        return set_keepalive_idle(tcp, number);
    case TCP_KEEPINTVL:
        return set_seconds(&settings->keepalive_interval, number, KEEPALIVE_SECONDS_MAX);
    case TCP_KEEPCNT:
        if (number < 1 || number > KEEPALIVE_PROBES_MAX)
            return -EINVAL;
        settings->keepalive_probes = (uint8_t)number;
        return 0;
    case TCP_SYNCNT:
        if (number < 1 || number > SYN_RETRIES_MAX)
            return -EINVAL;
        settings->syn_retries = (uint8_t)number;
        return 0;
    case TCP_LINGER2:
        return set_fin_timeout(tcp, number);
    case TCP_DEFER_ACCEPT:
        settings->defer_accept = retransmissions_in(number);
        return 0;
    case TCP_WINDOW_CLAMP:
        if (!number && tcp->state != TCP_CLOSE)
            return -EINVAL;
        settings->window_clamp = number ? (uint32_t)KMAX(number, 1152) : 0;
        return 0;
    case TCP_QUICKACK:
        set_quick_acks(tcp, number);
        return 0;
    case TCP_USER_TIMEOUT:
        if (number < 0)
            return -EINVAL;
        settings->user_timeout = number * NS_PER_MS;
        return 0;
    case TCP_NOTSENT_LOWAT:
        settings->not_sent_low_water = (uint32_t)number;
        tcp_write_possible(tcp);
        return 0;
    case TCP_FASTOPEN:
        if (number < 0 || !tcp_in(tcp, TCP_STATES(TCP_CLOSE) | TCP_STATES(TCP_LISTEN)))
            return -EINVAL;
        settings->fast_open_queue = (uint32_t)KMIN(number, SOMAXCONN);
        return 0;
    case TCP_FASTOPEN_CONNECT:
        if (number < 0 || number > 1 || tcp->state != TCP_CLOSE)
            return -EINVAL;
        settings->fast_open_connect = number != 0;
        return 0;
    case TCP_INQ:
        if (number < 0 || number > 1)
            return -EINVAL;
        settings->tell_unread = number != 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static uint32_t microseconds(int64_t ns) { return (uint32_t)KMIN(ns / NS_PER_US, (int64_t)UINT32_MAX); }

static uint32_t milliseconds_since(const struct tcp *tcp, int64_t time) {
    return (uint32_t)KMIN((tcp_now(tcp) - time) / NS_PER_MS, (int64_t)UINT32_MAX);
}

static void fill_info(const struct tcp *tcp, struct tcp_info *info) {
    memset(info, 0, sizeof *info);
    info->tcpi_state = tcp->state == TCP_TIME_WAIT ? TCP_CLOSE : tcp->state;
    info->tcpi_ca_state = tcp->recovery;
    info->tcpi_retransmits = tcp->retransmits;
    info->tcpi_probes = tcp->probes;
    info->tcpi_backoff = tcp->backoff;
    info->tcpi_options = (uint8_t)((tcp->timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (tcp->sack ? TCPI_OPT_SACK : 0) |
                                   (tcp->rcv_scale ? TCPI_OPT_WSCALE : 0));
    info->tcpi_snd_wscale = tcp->snd_scale & 0xfu;
    info->tcpi_rcv_wscale = tcp->rcv_scale & 0xfu;
    info->tcpi_rto = microseconds(tcp->rto);
    info->tcpi_ato = microseconds(tcp->ack_delay);
    info->tcpi_snd_mss = tcp_current_mss(tcp);
    info->tcpi_rcv_mss = tcp->rcv_mss;
    if (tcp->state == TCP_LISTEN) {
        info->tcpi_unacked = tcp->accepted_count;
        info->tcpi_sacked = tcp->backlog;
    } else {
        info->tcpi_unacked = tcp->packets_out;
        info->tcpi_sacked = tcp->sacked_out;
    }
    info->tcpi_lost = tcp->lost_out;
    info->tcpi_last_data_sent = milliseconds_since(tcp, tcp->last_sent);
    info->tcpi_last_data_recv = milliseconds_since(tcp, tcp->last_received);
    info->tcpi_last_ack_recv = milliseconds_since(tcp, tcp->last_heard);
    info->tcpi_pmtu = inet_mtu(tcp_host(tcp), tcp->socket->remote_address);
    info->tcpi_rcv_ssthresh = tcp_receive_space(tcp);
    info->tcpi_rtt = microseconds(tcp->srtt_8 / 8);
    info->tcpi_rttvar = microseconds(tcp->mdev_4 / 4);
    info->tcpi_snd_ssthresh = tcp->ssthresh;
    info->tcpi_snd_cwnd = tcp->cwnd;
    info->tcpi_advmss = tcp->advertised_mss - (tcp->timestamps ? TCP_TIMESTAMP_SPACE : 0);
    info->tcpi_reordering = TCP_DUPLICATE_THRESHOLD;
    info->tcpi_rcv_rtt = microseconds(tcp->receive_rtt_8 / 8);
    info->tcpi_rcv_space = tcp->space_bytes;
    info->tcpi_total_retrans = tcp->total_retransmissions;
    info->tcpi_pacing_rate = info->tcpi_max_pacing_rate = UINT64_MAX;
    info->tcpi_bytes_acked = tcp->bytes_acked;
    info->tcpi_bytes_received = tcp->bytes_received;
    info->tcpi_segs_out = tcp->segments_out;
    info->tcpi_segs_in = tcp->segments_in;
    info->tcpi_notsent_bytes = tcp->write_sequence - tcp->snd_nxt;
    info->tcpi_min_rtt = microseconds(tcp->min_rtt);
    info->tcpi_data_segs_in = tcp->data_in;
    info->tcpi_data_segs_out = tcp->data_out;
    info->tcpi_delivered = (uint32_t)tcp->delivered;
    info->tcpi_bytes_sent = tcp->bytes_sent;
    info->tcpi_bytes_retrans = tcp->bytes_retransmitted;
    info->tcpi_dsack_dups = tcp->dsacks;
    info->tcpi_reord_seen = tcp->reorderings;
    info->tcpi_snd_wnd = tcp->snd_wnd;
}

static int get_number(const struct socket *socket, int name, int32_t *number) {
    const struct tcp *tcp = socket->tcp;
    const struct tcp_settings *settings = &tcp->settings;
    switch (name) {
    case TCP_NODELAY:
        *number = socket->no_delay;
        return 0;
    case TCP_CORK:
        *number = socket->cork;
        return 0;
    case TCP_MAXSEG:
        *number = (int32_t)tcp_current_mss(tcp);
        if (settings->max_segment && tcp_in(tcp, TCP_STATES(TCP_CLOSE) | TCP_STATES(TCP_LISTEN)))
            *number = (int32_t)settings->max_segment;
        return 0;
    case TCP_KEEPIDLE:
        *number = (int32_t)(tcp_keepalive_idle(tcp) / NS_PER_S);
        return 0;
    case TCP_KEEPINTVL:
        *number = (int32_t)(tcp_keepalive_interval(tcp) / NS_PER_S);
        return 0;
    case TCP_KEEPCNT:
        *number = (int32_t)tcp_keepalive_probes(tcp);
        return 0;
    case TCP_SYNCNT:
        *number = settings->syn_retries ? settings->syn_retries : (int32_t)TCP_SYN_RETRIES;
        return 0;
    case TCP_LINGER2:
        *number = settings->fin_timeout < 0
                      ? -1
                      : (int32_t)((settings->fin_timeout ? settings->fin_timeout : TCP_FIN_TIMEOUT) / NS_PER_S);
        return 0;
    case TCP_DEFER_ACCEPT:
        *number = (int32_t)seconds_of(settings->defer_accept);
        return 0;
    case TCP_WINDOW_CLAMP:
        *number = (int32_t)settings->window_clamp;
        return 0;
    case TCP_QUICKACK:
        *number = !tcp->interactive;
        return 0;
    case TCP_USER_TIMEOUT:
        *number = (int32_t)(settings->user_timeout / NS_PER_MS);
        return 0;
    case TCP_NOTSENT_LOWAT:
        *number = (int32_t)settings->not_sent_low_water;
        return 0;
    case TCP_FASTOPEN:
        *number = (int32_t)settings->fast_open_queue;
        return 0;
    case TCP_FASTOPEN_CONNECT:
        *number = settings->fast_open_connect;
        return 0;
    case TCP_INQ:
        *number = settings->tell_unread;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static void copy_option(void *value, uint32_t *length, const void *source, uint32_t size) {
    *length = KMIN(*length, size);
    memcpy(value, source, *length);
}

int tcp_get_option(struct socket *socket, int name, void *value, uint32_t *length) {
    if (name == TCP_INFO) {
        struct tcp_info info;
        fill_info(socket->tcp, &info);
        copy_option(value, length, &info, sizeof info);
        return 0;
    }
    if (name == TCP_CONGESTION) {
        char text[CONGESTION_NAME_MAX] = {0};
        const char *kind = tcp_congestion_name(socket->tcp->settings.congestion);
        memcpy(text, kind, strlen(kind));
        copy_option(value, length, text, sizeof text);
        return 0;
    }
    if (name == TCP_FASTOPEN_KEY) {
        const struct tcp_settings *settings = &socket->tcp->settings;
        copy_option(value, length, settings->fast_open_keys, settings->fast_open_key_count * FAST_OPEN_KEY);
        return 0;
    }
    int32_t number = 0;
    int error = get_number(socket, name, &number);
    if (!error)
        copy_option(value, length, &number, sizeof number);
    return error;
}
