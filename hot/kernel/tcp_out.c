/* TCP output: when to send, how much, and how a segment looks.
 *
 * tcp.c calls it when a program wrote or read, tcp_in.c when an acknowledgement made room, tcp_timer.c to retransmit
 * and probe; it hands finished packets to ip_output (inet.c). A packet is built anew for each transmission, so the send
 * queue alone holds the data.
 */
#include "socket.h"
#include "tcp.h"

#define OPTIONS_MAX 40u
#define CHALLENGE_INTERVAL (500 * NS_PER_MS) /* net.ipv4.tcp_invalid_ratelimit */

/* ---- Segment sizes and windows ---- */

uint32_t tcp_path_mss(const struct tcp *tcp) {
    return inet_mtu(tcp_host(tcp), tcp->socket->remote_address) - tcp_ip_header(tcp) - TCP_HEADER;
}

/* Payload bytes of a full segment. */
uint32_t tcp_current_mss(const struct tcp *tcp) {
    uint32_t mss = tcp_path_mss(tcp);
    mss = KMIN(mss, tcp->peer_mss);
    if (tcp->settings.max_segment)
        mss = KMIN(mss, tcp->settings.max_segment);
    if (tcp->timestamps)
        mss -= TCP_TIMESTAMP_SPACE;
    /* With segments of more than half the window, a receiver that avoids silly windows would stall us. */
    uint32_t half = tcp->max_window > TCP_MSS_DEFAULT_IPV4 ? tcp->max_window / 2 : tcp->max_window;
    if (half && mss > half)
        mss = KMAX(half, 68u - IP_HEADER - TCP_HEADER);
    return mss;
}

/* Half of the buffer, as with Linux's tcp_adv_win_scale = 1: the other half is for overhead. */
uint32_t tcp_receive_space(const struct tcp *tcp) {
    uint32_t space = tcp->socket->receive_buffer / 2;
    if (tcp->settings.window_clamp)
        space = KMIN(space, tcp->settings.window_clamp);
    return KMIN(space, UINT32_C(65535) << tcp->rcv_scale);
}

uint32_t tcp_select_window(struct tcp *tcp) {
    uint32_t space = tcp_receive_space(tcp), used = tcp->ready_bytes + tcp->disorder_bytes;
    uint32_t window = space > used ? space - used : 0;
    /* RFC 9293, 3.8.6.2.2: offer nothing rather than a little. */
    if (window < space / 2 && (window < space / 16 || window < KMIN((uint32_t)tcp->rcv_mss, space / 2)))
        window = 0;
    /* What does not fit the scale would be taken back by rounding. */
    uint32_t unit = (1u << tcp->rcv_scale) - 1;
    window = KMIN((window + unit) & ~unit, UINT32_C(65535) << tcp->rcv_scale);
    /* RFC 9293, 3.8.6: the right edge never moves back. */
    return KMAX(window, (tcp_receive_window(tcp) + unit) & ~unit);
}

static int64_t queue_limit(const struct tcp *tcp) {
    int64_t least =
        2 * (int64_t)packet_charge(tcp_current_mss(tcp) + tcp_ip_header(tcp) + TCP_HEADER + TCP_TIMESTAMP_SPACE);
    if (!tcp->srtt_8)
        return KMAX(least, (int64_t)TCP_QUEUE_LIMIT);
    /* About 1 ms of what the connection sends at twice its present rate. */
    int64_t bytes_per_ms = 2 * (int64_t)tcp->cwnd * tcp_current_mss(tcp) * NS_PER_MS / KMAX(tcp->srtt_8 / 8, NS_PER_US);
    return KMAX(least, KMIN(bytes_per_ms, (int64_t)TCP_QUEUE_LIMIT));
}

/* ---- Building ---- */

/* `permit_sack`: that option takes the place of what would only fill up a word, as Linux has it. */
static uint8_t *put_timestamps(const struct tcp *tcp, uint8_t *p, bool permit_sack) {
    *p++ = permit_sack ? TCP_OPTION_SACK_PERMITTED : TCP_OPTION_NOP;
    *p++ = permit_sack ? 2 : TCP_OPTION_NOP;
    *p++ = TCP_OPTION_TIMESTAMPS;
    *p++ = 10;
    put32(p, tcp_clock(tcp));
    put32(p + 4, tcp->timestamp_recent);
    return p + 8;
}

static uint8_t *put_syn_options(const struct tcp *tcp, uint8_t *p, bool answer) {
    *p++ = TCP_OPTION_MSS;
    *p++ = 4;
    put16(p, (uint16_t)tcp->advertised_mss);
    p += 2;
    bool sack = !answer || tcp->sack;
    if (!answer || tcp->timestamps) {
        p = put_timestamps(tcp, p, sack);
    } else if (sack) {
        *p++ = TCP_OPTION_NOP;
        *p++ = TCP_OPTION_NOP;
        *p++ = TCP_OPTION_SACK_PERMITTED;
        *p++ = 2;
    }
    if (!answer || tcp->rcv_scale) {
        *p++ = TCP_OPTION_NOP;
        *p++ = TCP_OPTION_WINDOW_SCALE;
        *p++ = 3;
        *p++ = TCP_WINDOW_SCALE;
    }
    if (tcp->asks_cookie) {
        *p++ = TCP_OPTION_FAST_OPEN;
        *p++ = 2;
        *p++ = TCP_OPTION_NOP;
        *p++ = TCP_OPTION_NOP;
    }
    return p;
}

/* RFC 2018, 4; RFC 2883: a D-SACK block comes first. */
static uint8_t *put_sack(struct tcp *tcp, uint8_t *p, uint32_t space) {
    uint32_t blocks = tcp->sack_count + tcp->has_dsack;
    blocks = KMIN(blocks, space >= 4 ? (space - 4) / 8 : 0);
    if (!tcp->sack || !blocks)
        return p;
    *p++ = TCP_OPTION_NOP;
    *p++ = TCP_OPTION_NOP;
    *p++ = TCP_OPTION_SACK;
    *p++ = (uint8_t)(2 + 8 * blocks);
    if (tcp->has_dsack) {
        put32(p, tcp->dsack.start);
        put32(p + 4, tcp->dsack.end);
        p += 8;
        blocks--;
        tcp->has_dsack = false;
    }
    for (uint32_t i = 0; i < blocks; i++, p += 8) {
        put32(p, tcp->sack_blocks[i].start);
        put32(p + 4, tcp->sack_blocks[i].end);
    }
    return p;
}

static void ack_was_sent(struct tcp *tcp) {
    if (tcp->quick_acks && --tcp->quick_acks == 0)
        tcp->ack_delay = TCP_ACK_DELAY_MIN;
    tcp->ack_scheduled = tcp->ack_now = tcp->small_arrived = false;
    tcp_deadline_clear(&tcp->acknowledge);
    tcp->last_ack_sent = tcp->rcv_nxt;
}

/* Tells of urgent data that lie ahead (RFC 9293, 3.8.5), as far as 16 bits can; all that lies farther is hinted at
 * while there is more to come (Linux: __tcp_transmit_skb). */
static void put_urgent(const struct tcp *tcp, uint8_t *p, uint32_t sequence) {
    uint32_t ahead = tcp->snd_up - sequence;
    if (!tcp_sends_urgent(tcp) || !tcp_before(sequence, tcp->snd_up))
        return;
    if (ahead > UINT16_MAX && !tcp_after(sequence + UINT16_MAX, tcp->snd_nxt))
        return;
    p[13] |= TCP_URG;
    put16(p + 18, (uint16_t)KMIN(ahead, (uint32_t)UINT16_MAX));
}

/* Builds and sends one segment. No memory: it is as if the network had lost it. */
static void send(struct tcp *tcp, uint32_t sequence, uint8_t flags, const uint8_t *data, uint32_t length) {
    struct socket *socket = tcp->socket;
    struct host *host = tcp_host(tcp);
    uint8_t options[OPTIONS_MAX];
    uint8_t *end = options;
    uint32_t window;
    if (flags & TCP_SYN) {
        end = put_syn_options(tcp, end, (flags & TCP_ACK) != 0);
        window = KMIN(tcp->rcv_wnd, 65535u);
    } else {
        if (tcp->timestamps)
            end = put_timestamps(tcp, end, false);
        if (!(flags & TCP_RST)) {
            uint32_t space = OPTIONS_MAX - (uint32_t)(end - options);
            uint32_t mss = tcp_current_mss(tcp);
            if (length)
                space = KMIN(space, mss > length ? mss - length : 0);
            end = put_sack(tcp, end, space);
        }
        window = tcp_select_window(tcp);
        tcp->rcv_wnd = window;
        tcp->rcv_wup = tcp->rcv_nxt;
        window >>= tcp->rcv_scale;
    }
    uint32_t options_length = (uint32_t)(end - options);
    uint32_t ip = tcp_ip_header(tcp), header = ip + TCP_HEADER + options_length;
    if (flags & TCP_ACK)
        ack_was_sent(tcp);
    tcp->segments_out++;
    if (length) {
        tcp->data_out++;
        tcp->bytes_sent += length;
    }
    struct packet *packet = packet_create(host, header + length);
    if (!packet)
        return;
    uint8_t *p = packet->data + ip;
    put16(p, socket->local_port);
    put16(p + 2, socket->remote_port);
    put32(p + 4, sequence);
    put32(p + 8, flags & TCP_ACK ? tcp->rcv_nxt : 0);
    p[12] = (uint8_t)((TCP_HEADER + options_length) / 4 << 4);
    p[13] = flags;
    put16(p + 14, (uint16_t)KMIN(window, 65535u));
    put32(p + 16, 0); /* checksum, urgent pointer */
    put_urgent(tcp, p, sequence);
    memcpy(p + TCP_HEADER, options, options_length);
    if (length) {
        memcpy(packet->data + header, data, length);
        packet->owner = socket;
        packet->charge = packet_charge(packet->length);
    }
    ip_header(host, packet, PROTOCOL_TCP, socket->local_address, socket->remote_address, socket);
    ip_transmit(host, packet, inet_way(socket, 0, socket->remote_address));
}

static void data_was_sent(struct tcp *tcp) {
    int64_t now = tcp_now(tcp);
    /* An answer soon after a question: ACKs may wait for the next answer to travel with. */
    if (tcp->last_received && now - tcp->last_received < tcp->ack_delay)
        tcp->interactive = true;
    tcp->last_sent = now;
}

static void transmit(struct tcp *tcp, struct tcp_segment *segment) {
    uint8_t flags = (uint8_t)(segment->flags | (tcp->state == TCP_SYN_SENT ? 0 : TCP_ACK));
    if (segment->length && segment->node.next == &tcp->queue)
        flags |= TCP_PSH;
    segment->sent_time = tcp_now(tcp);
    if (segment->transmissions < UINT8_MAX)
        segment->transmissions++;
    list_push_back(&tcp->sent, &segment->order);
    if (segment->length)
        data_was_sent(tcp);
    send(tcp, segment->sequence, flags, segment->data, segment->length);
}

/* The first transmission of tcp->unsent. */
static void transmit_new(struct tcp *tcp) {
    struct tcp_segment *segment = tcp->unsent;
    bool idle = tcp->packets_out == 0;
    tcp->unsent = tcp_next(tcp, segment);
    tcp->packets_out++;
    tcp->snd_nxt = tcp_segment_end(segment);
    transmit(tcp, segment);
    if (idle || tcp->pending == TCP_PENDING_LOSS_PROBE)
        tcp_arm_retransmit(tcp);
}

/* ---- When to send ---- */

static bool nagle_holds(const struct tcp *tcp, const struct tcp_segment *segment, uint32_t mss,
                        enum tcp_push_mode mode) {
    if (mode == TCP_PUSH_NOW || segment->length >= mss || (segment->flags & TCP_FIN) || tcp_next(tcp, segment) ||
        tcp_sends_urgent(tcp))
        return false;
    if (mode == TCP_PUSH_CORK || tcp->socket->cork)
        return true;
    if (tcp->socket->no_delay || !tcp->packets_out)
        return false;
    /* Minshall: a small segment waits only while another small one is out, not behind full ones. */
    return !tcp_after(tcp->small_end, tcp->snd_nxt) && tcp_after(tcp->small_end, tcp->snd_una);
}

static bool queue_is_full(struct tcp *tcp) {
    if (!tcp->socket->queued_bytes || tcp->socket->queued_bytes < queue_limit(tcp))
        return false;
    tcp->throttled = true;
    return true;
}

/* RFC 2861 and 9293's restart after idle: the window halves with each RTO in which nothing was sent. */
static void restart_after_idle(struct tcp *tcp) {
    int64_t idle = tcp_now(tcp) - tcp->last_sent;
    tcp_congestion_idle(tcp);
    if (tcp->last_sent && idle > tcp->rto) {
        uint32_t restart = KMIN(TCP_INITIAL_WINDOW, tcp->cwnd), cwnd = tcp->cwnd;
        tcp->ssthresh = KMAX(tcp->ssthresh, cwnd / 4 * 3);
        for (; idle > tcp->rto && cwnd > restart; idle -= tcp->rto)
            cwnd /= 2;
        tcp->cwnd = KMAX(cwnd, restart);
    }
}

/* RFC 7661's question: does the window limit us, or the program? Only then may it grow. */
static void note_window_use(struct tcp *tcp, bool limited) {
    limited |= tcp_in_flight(tcp) >= tcp->cwnd;
    if (!tcp_before(tcp->snd_una, tcp->cwnd_sequence) || limited ||
        (!tcp->cwnd_limited && tcp->packets_out > tcp->max_packets_out)) {
        tcp->cwnd_limited = limited;
        tcp->max_packets_out = tcp->packets_out;
        tcp->cwnd_sequence = tcp->snd_nxt;
    }
}

void tcp_push(struct tcp *tcp, enum tcp_push_mode mode) {
    if (!tcp->unsent || tcp_in(tcp, TCP_STATES(TCP_SYN_SENT) | TCP_STATES(TCP_SYN_RECV) | TCP_STATES(TCP_CLOSE)))
        return;
    uint32_t mss = tcp_current_mss(tcp);
    bool sent = false, limited = false;
    if (!tcp->packets_out)
        restart_after_idle(tcp);
    for (struct tcp_segment *segment; (segment = tcp->unsent);) {
        if (tcp_in_flight(tcp) >= tcp->cwnd) {
            limited = true;
            break;
        }
        uint32_t end = segment->length > mss ? segment->sequence + mss : tcp_segment_end(segment);
        if (tcp_after(end, tcp_window_end(tcp)) || nagle_holds(tcp, segment, mss, mode) || queue_is_full(tcp))
            break;
        if (segment->length > mss && !tcp_split(tcp, segment, mss))
            break;
        if (segment->length && segment->length < mss)
            tcp->small_end = tcp_segment_end(segment);
        transmit_new(tcp);
        if (tcp->recovery >= TCP_CWR)
            tcp->prr_out++;
        sent = true;
    }
    if (sent || limited)
        note_window_use(tcp, limited);
    if (sent)
        tcp_arm_loss_probe(tcp);
    else if (!tcp->throttled)
        tcp_arm_window_probe(tcp);
}

void tcp_write_space(struct socket *socket) {
    struct tcp *tcp = socket->tcp;
    if (!tcp || !tcp->throttled || socket->queued_bytes > queue_limit(tcp) / 2)
        return;
    tcp->throttled = false;
    if (tcp->state == TCP_CLOSE)
        return;
    tcp_retransmit_lost(tcp);
    tcp_push(tcp, TCP_PUSH_NAGLE);
}

/* ---- Retransmission ---- */

/* A tail-loss probe does no more than this: it is no sign of a loss yet, nor can it prove one to be a mistake. */
static bool send_again(struct tcp *tcp, struct tcp_segment *segment) {
    uint32_t mss = tcp_current_mss(tcp);
    if (segment->length > mss && !tcp_split(tcp, segment, mss))
        return false;
    if (segment->lost && list_linked(&segment->order))
        tcp->lost_out--;
    segment->lost = false;
    list_remove(&segment->order);
    if (segment->sacked) { /* a tail-loss probe repeats what may well have arrived */
        segment->sacked = false;
        tcp->sacked_out--;
    }
    tcp->total_retransmissions++;
    tcp->bytes_retransmitted += segment->length;
    tcp_host(tcp)->counters.tcp_retransmissions++;
    transmit(tcp, segment);
    return true;
}

bool tcp_retransmit(struct tcp *tcp, struct tcp_segment *segment) {
    if (!send_again(tcp, segment))
        return false;
    if (!tcp->first_retransmission)
        tcp->first_retransmission = KMAX(tcp_now(tcp), INT64_C(1));
    tcp->undo_retransmissions = KMAX(tcp->undo_retransmissions, 0) + 1;
    return true;
}

void tcp_retransmit_lost(struct tcp *tcp) {
    bool first = true;
    while (!list_empty(&tcp->lost) && tcp_in_flight(tcp) < tcp->cwnd && !queue_is_full(tcp)) {
        struct tcp_segment *segment = list_entry(tcp->lost.next, struct tcp_segment, order);
        /* A window that was taken back: the RTO, not this, probes what lies outside. */
        if (!tcp_before(segment->sequence, tcp_window_end(tcp)) && segment->sequence != tcp->snd_una)
            return;
        bool oldest = segment == tcp_first(tcp);
        if (!tcp_retransmit(tcp, segment))
            return;
        if (tcp->recovery >= TCP_CWR)
            tcp->prr_out++;
        if (first && oldest && tcp->pending != TCP_PENDING_REORDER)
            tcp_arm_retransmit(tcp);
        first = false;
    }
}

bool tcp_send_loss_probe(struct tcp *tcp) {
    struct tcp_segment *segment = tcp->unsent;
    if (tcp->loss_probe_out || !tcp->packets_out)
        return false;
    uint32_t mss = tcp_current_mss(tcp);
    tcp->loss_probe_retransmitted = true;
    if (segment && segment->length <= mss && !tcp_after(tcp_segment_end(segment), tcp_window_end(tcp))) {
        tcp->loss_probe_retransmitted = false;
        transmit_new(tcp);
    } else {
        segment = segment ? list_entry(segment->node.prev, struct tcp_segment, node) : tcp_last(tcp);
        if (segment->length > mss) {
            if (!tcp_split(tcp, segment, segment->length - mss))
                return false;
            segment = tcp_next(tcp, segment);
        }
        if (!send_again(tcp, segment))
            return false;
    }
    tcp->loss_probe_out = true;
    tcp->loss_probe_sequence = tcp->snd_nxt;
    tcp_arm_retransmit(tcp);
    return true;
}

/* ---- Segments without data ---- */

void tcp_send_syn(struct tcp *tcp) {
    struct tcp_segment *segment = tcp_add_segment(tcp, 0);
    if (!segment)
        return;
    segment->flags = TCP_SYN;
    tcp->write_sequence++;
    transmit_new(tcp);
}

void tcp_send_ack(struct tcp *tcp) {
    if (tcp->state != TCP_CLOSE)
        send(tcp, tcp->snd_nxt, TCP_ACK, NULL, 0);
}

void tcp_send_challenge(struct tcp *tcp) {
    int64_t now = tcp_now(tcp);
    if (tcp->last_challenge && now - tcp->last_challenge < CHALLENGE_INTERVAL)
        return;
    tcp->last_challenge = now;
    tcp_send_ack(tcp);
}

void tcp_send_reset(struct tcp *tcp) { send(tcp, tcp->snd_nxt, TCP_RST | TCP_ACK, NULL, 0); }

void tcp_send_probe(struct tcp *tcp) {
    struct tcp_segment *segment = tcp->unsent;
    if (segment && tcp_before(segment->sequence, tcp_window_end(tcp))) {
        uint32_t room = KMIN(tcp_window_end(tcp) - segment->sequence, tcp_current_mss(tcp));
        if (room < segment->length && !tcp_split(tcp, segment, room))
            return;
        transmit_new(tcp);
        return;
    }
    /* The peer hears of urgent data however small its window. */
    if (tcp_sends_urgent(tcp) && tcp->snd_up - tcp->snd_una <= UINT16_MAX)
        send(tcp, tcp->snd_una, TCP_ACK, NULL, 0);
    /* RFC 1122, 4.2.3.6: a sequence number below the window provokes an ACK and needs no room. */
    send(tcp, tcp->snd_una - 1, TCP_ACK, NULL, 0);
}

void tcp_close_send(struct tcp *tcp) {
    if (tcp->fin_queued)
        return;
    struct tcp_segment *last = tcp->unsent ? tcp_last(tcp) : NULL;
    if (!last)
        last = tcp_add_segment(tcp, 0);
    if (!last) { /* no memory to say goodbye politely */
        tcp_reset_and_done(tcp, ENOBUFS);
        return;
    }
    last->flags |= TCP_FIN;
    tcp->fin_queued = true;
    tcp->write_sequence++;
    tcp_push(tcp, TCP_PUSH_NOW);
}

/* RFC 9293, 3.10.7.1: nobody is there. */
void tcp_reply_reset(struct host *host, const struct packet *packet, const struct tcp_header *header) {
    if (header->flags & TCP_RST)
        return;
    struct packet *reply = packet_create(host, packet->transport + TCP_HEADER);
    if (!reply)
        return;
    const uint8_t *from = packet->data + packet->transport;
    uint8_t *p = reply->data + packet->transport;
    bool acknowledged = (header->flags & TCP_ACK) != 0;
    memcpy(p, from + 2, 2);
    memcpy(p + 2, from, 2);
    put32(p + 4, acknowledged ? header->acknowledgement : 0);
    put32(p + 8, acknowledged ? 0 : header->end);
    p[12] = TCP_HEADER / 4 << 4;
    p[13] = acknowledged ? TCP_RST : TCP_RST | TCP_ACK;
    put16(p + 14, 0);
    put32(p + 16, 0);
    ip_header(host, reply, PROTOCOL_TCP, packet_destination(packet), packet_source(packet), NULL);
    ip_output(host, reply);
}
