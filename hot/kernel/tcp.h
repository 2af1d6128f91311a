/* TCP of the simulated kernel: the connection's state and what its files call of each other.
 *
 *   tcp.c             what sockets ask for: connect, listen, accept, send, receive, shutdown, close, options, poll
 *   tcp_in.c          what arrives: state machine, acknowledgements, SACK, RACK loss detection, reassembly
 *   tcp_out.c         what leaves: building segments, windows, Nagle, retransmission, resets
 *   tcp_timer.c       retransmission, tail-loss and window probes, delayed ACKs, keepalive, TIME_WAIT
 *   tcp_congestion.c  CUBIC and Reno
 *
 * RFC 9293 with 7323 (window scale, timestamps, PAWS), 2018 and 2883 (SACK, D-SACK), 8985 (RACK-TLP), 5682 (F-RTO),
 * 6298 (RTO), 6937 (PRR), 9438 (CUBIC); where they leave a choice, what Linux does. Urgent data
 * are one byte, named by a pointer just behind it (RFC 6093, 3.1: what programs expect). Fast Open (RFC 7413) is as
 * with net.ipv4.tcp_fastopen at its default of 1: clients ask for a cookie, and no listener has one to give, so no SYN
 * carries data. Left out on purpose: ECN, PMTU discovery (the network carries every packet whole), SYN cookies (the SYN
 * queue is not limited instead), pacing.
 */
#ifndef ANTUMBRA_KERNEL_TCP_H
#define ANTUMBRA_KERNEL_TCP_H

#include "internal.h"
#include "net.h"

/* Linux numbers them so; tcp_info and /proc show the numbers. */
enum tcp_state {
    TCP_ESTABLISHED = 1,
    TCP_SYN_SENT,
    TCP_SYN_RECV,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_TIME_WAIT,
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    TCP_LAST_ACK,
    TCP_LISTEN,
    TCP_CLOSING
};
#define TCP_STATES(a) (1u << (a))

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u
#define TCP_URG 0x20u

/* Options: RFC 9293, 3.1; RFC 7323, 2.2 and 3.2; RFC 2018, 2 and 3. */
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_OPTION_WINDOW_SCALE 3
#define TCP_OPTION_SACK_PERMITTED 4
#define TCP_OPTION_SACK 5
#define TCP_OPTION_TIMESTAMPS 8
#define TCP_OPTION_FAST_OPEN 34 /* RFC 7413, 2 */

#define TCP_RTO_INITIAL (1 * NS_PER_S) /* RFC 6298, 2.1 */
#define TCP_RTO_MIN (200 * NS_PER_MS)  /* Linux; RFC 6298, 2.4 would have 1 s */
#define TCP_RTO_MAX (120 * NS_PER_S)
#define TCP_ACK_DELAY_MIN (40 * NS_PER_MS)  /* Linux TCP_ATO_MIN */
#define TCP_ACK_DELAY_MAX (200 * NS_PER_MS) /* Linux TCP_DELACK_MAX; RFC 1122, 4.2.3.2 allows 500 ms */
#define TCP_TIME_WAIT_NS (60 * NS_PER_S)
#define TCP_FIN_TIMEOUT (60 * NS_PER_S) /* net.ipv4.tcp_fin_timeout */
#define TCP_SYN_RETRIES 6u              /* net.ipv4.tcp_syn_retries */
#define TCP_SYNACK_RETRIES 5u
#define TCP_RETRIES 15u /* net.ipv4.tcp_retries2 */
#define TCP_ORPHAN_RETRIES 8u
#define TCP_INITIAL_WINDOW 10u     /* RFC 6928 */
#define TCP_DUPLICATE_THRESHOLD 3u /* RFC 6675 */
#define TCP_MSS_DEFAULT_IPV4 536u  /* RFC 9293, 3.7.1: no MSS option */
#define TCP_MSS_DEFAULT_IPV6 1220u
#define TCP_MSS_MIN 88u     /* net.ipv4.tcp_min_snd_mss is 48, options included */
#define TCP_WINDOW_SCALE 7u /* what Linux computes for tcp_rmem[2] = 6291456 */
#define TCP_TIMESTAMP_SPACE 12u
#define TCP_SACK_BLOCKS 4u
#define TCP_SEND_BUFFER_MAX 4194304u              /* net.ipv4.tcp_wmem: 4096 16384 4194304 */
#define TCP_RECEIVE_BUFFER_MAX 6291456u           /* net.ipv4.tcp_rmem: 4096 131072 6291456 */
#define TCP_QUEUE_LIMIT (128u << 10)              /* most bytes of one connection in the egress queue (Linux: TSQ) */
#define TCP_PAWS_IDLE (24 * 24 * 3600 * NS_PER_S) /* RFC 7323, 5.5 */
#define TCP_CWND_MAX 1000000u
#define TCP_SSTHRESH_INFINITE 0x7fffffffu

static inline bool tcp_before(uint32_t left, uint32_t right) { return (int32_t)(left - right) < 0; }
static inline bool tcp_after(uint32_t left, uint32_t right) { return tcp_before(right, left); }

/* A piece of the send queue. Sent ones stay until acknowledged; `order` tells where a sent one stands: in tcp->sent (in
 * flight, by time of the last transmission), in tcp->lost (to be sent again, by sequence), or in neither (SACKed). */
struct tcp_segment {
    struct list node; /* tcp->queue, by sequence */
    struct list order;
    uint32_t sequence;
    uint32_t length;   /* payload bytes; SYN and FIN count besides */
    uint32_t capacity; /* of data */
    uint8_t flags;     /* TCP_SYN, TCP_FIN, TCP_PSH */
    bool sacked, lost;
    uint8_t transmissions; /* saturates */
    int64_t sent_time;     /* of the last transmission */
    uint8_t data[];
};

static inline uint32_t tcp_segment_end(const struct tcp_segment *segment) {
    return segment->sequence + segment->length + !!(segment->flags & TCP_SYN) + !!(segment->flags & TCP_FIN);
}

struct tcp_sack_block {
    uint32_t start, end;
};

/* What a segment that arrived says. */
struct tcp_header {
    uint32_t sequence, end, acknowledgement; /* end: after payload, SYN and FIN */
    uint32_t window;                         /* as in the header: not scaled */
    uint16_t urgent;                         /* with TCP_URG: where urgent data end, from `sequence` */
    uint32_t header_length, payload_length;
    uint8_t flags;
    bool has_timestamp, sack_permitted;
    int8_t window_scale; /* -1: no option */
    uint16_t mss;        /* 0: no option */
    uint32_t timestamp, timestamp_echo;
    uint32_t sack_count;
    struct tcp_sack_block sack[TCP_SACK_BLOCKS];
};

enum tcp_timer_detail { TCP_TIMER_RETRANSMIT, TCP_TIMER_ACK, TCP_TIMER_KEEPALIVE };
/* What tcp->retransmit stands for at the moment. */
enum tcp_pending {
    TCP_PENDING_NONE,
    TCP_PENDING_RETRANSMIT,
    TCP_PENDING_LOSS_PROBE,
    TCP_PENDING_REORDER,
    TCP_PENDING_WINDOW_PROBE
};
/* Linux's tcp_ca_state, in its numbers. */
enum tcp_recovery { TCP_OPEN, TCP_DISORDER, TCP_CWR, TCP_RECOVERY, TCP_LOSS };
enum tcp_congestion_kind { TCP_CUBIC, TCP_RENO };
/* The byte that the peer called urgent last. A mark stays in the stream until the program has read past it. */
enum tcp_urgent { TCP_URGENT_NONE, TCP_URGENT_ANNOUNCED, TCP_URGENT_HERE, TCP_URGENT_READ };

/* Moving a deadline later costs nothing: the timer fires at the old time, sees the new one and is armed again. */
struct tcp_deadline {
    struct timer timer;
    int64_t when; /* NEVER: off */
};

#define FAST_OPEN_KEY 16u /* bytes */

/* What the program set; a child has its listener's. 0 means the default; times are in ns. */
struct tcp_settings {
    int64_t keepalive_idle, keepalive_interval, user_timeout;
    int64_t fin_timeout;  /* TCP_LINGER2; -1: no FIN_WAIT2 after close */
    uint32_t max_segment; /* TCP_MAXSEG */
    uint32_t window_clamp, not_sent_low_water;
    uint8_t keepalive_probes, syn_retries;
    uint8_t defer_accept;     /* TCP_DEFER_ACCEPT: SYN-ACKs that a connection has time for, until its data come */
    uint8_t congestion;       /* enum tcp_congestion_kind */
    uint32_t fast_open_queue; /* TCP_FASTOPEN: kept and shown */
    uint8_t fast_open_keys[2 * FAST_OPEN_KEY], fast_open_key_count; /* TCP_FASTOPEN_KEY: kept and shown */
    bool fast_open_connect, fast_open_once; /* TCP_FASTOPEN_CONNECT; of the next connect alone (MSG_FASTOPEN) */
    bool tell_unread;                       /* TCP_INQ */
};

struct tcp {
    struct socket *socket;
    uint8_t state;    /* enum tcp_state */
    uint8_t pending;  /* enum tcp_pending */
    uint8_t recovery; /* enum tcp_recovery */
    struct tcp_deadline retransmit, acknowledge, keepalive;

    /* Sending (RFC 9293, 3.3.1) */
    uint32_t snd_una, snd_nxt, write_sequence; /* write_sequence: end of what was queued */
    uint32_t snd_wnd, snd_wl1, max_window;
    uint32_t snd_up;   /* end of what was sent as urgent; snd_una: nothing of it is out */
    uint32_t peer_mss; /* as announced */
    uint8_t snd_scale, rcv_scale;
    bool timestamps, sack;
    struct list queue, sent, lost;
    struct tcp_segment *unsent; /* first of the queue that was never sent; NULL: none */
    uint32_t packets_out;       /* sent and not cumulatively acknowledged */
    uint32_t sacked_out, lost_out;
    uint32_t duplicate_acks; /* only where the peer has no SACK */
    uint32_t small_end;      /* end of the last small segment sent (Minshall's Nagle) */
    bool throttled;          /* stopped by the limit on the egress queue */
    bool no_space;           /* a writer or poller found no room: tell it when there is */
    bool done;               /* was connected once and is over (Linux: SOCK_DONE) */
    bool orphan;             /* the program has closed it */
    bool asks_cookie;        /* the SYN that is sent now has the option of Fast Open */
    bool fin_queued;         /* a FIN stands at the end of the queue, or was sent and acknowledged */

    /* Round-trip time (RFC 6298 with Linux's variance); ns */
    int64_t srtt_8, mdev_4, rttvar, mdev_max, rto, min_rtt, min_rtt_time;
    uint32_t rtt_sequence;
    uint8_t backoff, retransmits, probes;
    int64_t first_retransmission; /* 0: nothing was retransmitted since the last progress */
    int64_t stalled_since;        /* sending of what the first of the RTOs without progress was for */
    int64_t probes_since;

    /* Loss recovery */
    uint32_t high_sequence;        /* snd_nxt when recovery began */
    uint32_t highest_sacked;       /* end of the highest SACKed segment */
    struct tcp_segment *sack_hint; /* where the last SACK walk ended; NULL: from the start */
    struct tcp_sack_block sack_seen[TCP_SACK_BLOCKS];
    int64_t rack_time, rack_rtt;
    uint32_t rack_end;
    bool rack_advanced, rack_dsack;
    bool reordering_seen;
    uint32_t rack_steps, rack_persist, rack_round_sequence;
    uint32_t loss_probe_sequence; /* snd_nxt at the tail-loss probe; 0: none out */
    bool loss_probe_out, loss_probe_retransmitted, frto;
    bool undo_possible;
    uint32_t undo_sequence;       /* snd_una when the window was reduced */
    int32_t undo_retransmissions; /* retransmissions not yet known to have been needless */
    uint32_t undo_cwnd, undo_ssthresh;
    uint32_t prr_delivered, prr_out, prior_cwnd;

    /* Congestion control; windows in segments */
    uint32_t cwnd, ssthresh, cwnd_count;
    bool cwnd_limited;
    uint32_t cwnd_sequence, max_packets_out;
    uint64_t delivered;
    int64_t last_sent;
    struct {
        uint32_t w_max, k_ms, origin; /* RFC 9438, 4.2 */
        uint64_t w_est_16;            /* 4.3, 16 fraction bits */
        int64_t epoch;                /* -1: not begun */
        int64_t round_min, last_round_min;
        uint32_t round_end, round_samples;
    } cubic;

    /* Receiving */
    uint32_t peer_initial, rcv_nxt, rcv_wup, rcv_wnd; /* rcv_wup: rcv_nxt in the last ACK that was sent */
    uint32_t advertised_mss, rcv_mss;
    uint32_t timestamp_recent, timestamp_offset, last_ack_sent;
    int64_t timestamp_recent_time;
    struct packet *ready_head, *ready_tail;       /* in order, unread */
    struct packet *disorder_head, *disorder_tail; /* beyond a hole, by sequence, not overlapping */
    uint32_t ready_bytes, disorder_bytes;
    struct packet *collector; /* ready_tail, if small segments may be copied into it */
    uint32_t sack_count;
    struct tcp_sack_block sack_blocks[TCP_SACK_BLOCKS]; /* newest first */
    struct tcp_sack_block dsack;                        /* to be told next (RFC 2883), if has_dsack */
    bool has_dsack;
    bool fin_received;
    uint8_t urgent, urgent_byte; /* enum tcp_urgent; with TCP_URGENT_HERE, the byte */
    uint32_t urgent_sequence;    /* of the byte, unless TCP_URGENT_NONE */
    bool ack_scheduled, ack_now, interactive;
    bool small_arrived; /* since the last ACK: less than a full segment */
    uint8_t quick_acks;
    int64_t ack_delay, last_received, last_heard, last_challenge; /* last_heard: any ACK; last_received: data */
    int64_t receive_rtt_8, space_time;
    uint32_t receive_rtt_echo, space_bytes, read_bytes;

    /* Listening, and waiting to be accepted */
    struct tcp *listener;
    struct list child_node; /* in listener->handshakes or listener->accepted */
    bool handshake_acked;   /* in SYN_RECV: its last ACK came, and was dropped */
    struct list handshakes, accepted;
    uint32_t accepted_count, backlog;

    struct tcp_settings settings;

    /* Statistics for tcp_info */
    uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retransmitted;
    uint32_t segments_in, segments_out, data_in, data_out, total_retransmissions, dsacks, reorderings;
};

static inline struct host *tcp_host(const struct tcp *tcp) { return tcp->socket->host; }
static inline uint32_t tcp_ip_header(const struct tcp *tcp) { return ip_header_length(tcp->socket->remote_address); }
static inline int64_t tcp_now(const struct tcp *tcp) { return tcp->socket->host->now; }
static inline bool tcp_in(const struct tcp *tcp, uint32_t states) { return (TCP_STATES(tcp->state) & states) != 0; }
static inline uint32_t tcp_in_flight(const struct tcp *tcp) {
    uint32_t left = tcp->sacked_out + tcp->lost_out + tcp->duplicate_acks;
    return tcp->packets_out > left ? tcp->packets_out - left : 0;
}
static inline struct tcp_segment *tcp_first(const struct tcp *tcp) {
    return list_empty(&tcp->queue) ? NULL : list_entry(tcp->queue.next, struct tcp_segment, node);
}
static inline struct tcp_segment *tcp_next(const struct tcp *tcp, const struct tcp_segment *segment) {
    return segment->node.next == &tcp->queue ? NULL : list_entry(segment->node.next, struct tcp_segment, node);
}
static inline struct tcp_segment *tcp_last(const struct tcp *tcp) {
    return list_empty(&tcp->queue) ? NULL : list_entry(tcp->queue.prev, struct tcp_segment, node);
}
static inline uint32_t tcp_window_end(const struct tcp *tcp) { return tcp->snd_una + tcp->snd_wnd; }
/* What the peer may still send of the window it was told. */
static inline uint32_t tcp_receive_window(const struct tcp *tcp) {
    int32_t window = (int32_t)(tcp->rcv_wup + tcp->rcv_wnd - tcp->rcv_nxt);
    return window > 0 ? (uint32_t)window : 0;
}
/* What the program reads next (Linux: copied_seq). A FIN counts as read. */
static inline uint32_t tcp_read_sequence(const struct tcp *tcp) {
    return tcp->rcv_nxt - tcp->fin_received - tcp->ready_bytes;
}
/* What TCP_INQ tells: unread bytes, and one more where the end of the stream is known. */
static inline int32_t tcp_unread_hint(const struct tcp *tcp) {
    uint32_t unread = tcp->ready_bytes + tcp->fin_received;
    return unread ? (int32_t)unread : tcp->done;
}
static inline bool tcp_sends_urgent(const struct tcp *tcp) { return tcp->snd_up != tcp->snd_una; }
/* RFC 7323, 4.1: one tick per millisecond, from a place of the connection's own. */
static inline uint32_t tcp_clock(const struct tcp *tcp) {
    return (uint32_t)(tcp_now(tcp) / NS_PER_MS) + tcp->timestamp_offset;
}

/* tcp.c */
void tcp_set_state(struct tcp *tcp, enum tcp_state state);
/* The connection is over: tables and queues are left, waiters told; freed if no program holds it. `error`: 0 or errno.
 */
void tcp_done(struct tcp *tcp, int error);
void tcp_reset_and_done(struct tcp *tcp, int error); /* the same after telling the peer by RST */
void tcp_destroy(struct tcp *tcp);                   /* frees the socket too */
void tcp_enter_time_wait(struct tcp *tcp);
void tcp_established(struct tcp *tcp);    /* windows, buffers and congestion control after the handshake */
void tcp_write_possible(struct tcp *tcp); /* wakes writers if there is room again */
struct tcp *tcp_child(struct tcp *listener, struct ip_address local, uint16_t local_port, struct ip_address remote,
                      uint16_t remote_port);
/* The peer's address in the upper half of a counter for RNG_TCP; the lower is for the ports. */
uint64_t tcp_peer_key(const struct host *host, struct ip_address peer);
void tcp_free_segment(struct tcp *tcp, struct tcp_segment *segment); /* out of all lists and counts */
__attribute__((warn_unused_result)) struct tcp_segment *
tcp_add_segment(struct tcp *tcp, uint32_t capacity); /* at the end; NULL: no memory */
void tcp_purge_disorder(struct tcp *tcp);
void tcp_skip_ready(struct tcp *tcp, uint32_t length); /* drops what would be read next */
/* What would be read next, up to `length` bytes, stays there. How many there are. */
uint32_t tcp_peek_ready(const struct tcp *tcp, uint8_t *bytes, uint32_t length);
/* Queues and sends bytes of the kernel's own. False: no memory; what was queued stays. */
__attribute__((warn_unused_result)) bool tcp_send_own(struct tcp *tcp, const uint8_t *bytes, uint32_t length);
/* The bytes from `length` on become a segment of their own behind it. False: no memory. */
__attribute__((warn_unused_result)) bool tcp_split(struct tcp *tcp, struct tcp_segment *segment, uint32_t length);

/* tcp_in.c */
void tcp_mark_lost(struct tcp *tcp, struct tcp_segment *segment);
void tcp_enter_loss(struct tcp *tcp);
/* RFC 8985, 6.2 step 5. True: segments were marked; otherwise *timeout tells when some will be (0: none). */
bool tcp_rack_detect(struct tcp *tcp, int64_t *timeout);
void tcp_reorder_timeout(struct tcp *tcp);
void tcp_enter_recovery(struct tcp *tcp);

/* tcp_out.c */
enum tcp_push_mode {
    TCP_PUSH_NAGLE, /* as the socket's options say */
    TCP_PUSH_CORK,  /* full segments only: more is coming (MSG_MORE) */
    TCP_PUSH_NOW
};
void tcp_push(struct tcp *tcp, enum tcp_push_mode mode); /* sends what the windows and the egress queue allow */
void tcp_send_syn(struct tcp *tcp); /* queues and sends the first segment; SYN or, in SYN_RECV, SYN-ACK */
bool tcp_retransmit(struct tcp *tcp, struct tcp_segment *segment); /* false: no memory */
void tcp_retransmit_lost(struct tcp *tcp);                         /* as far as the congestion window goes */
void tcp_send_ack(struct tcp *tcp);
void tcp_send_challenge(struct tcp *tcp); /* an ACK to a suspicious segment, rate limited (RFC 5961, 7) */
void tcp_send_reset(struct tcp *tcp);
void tcp_reply_reset(struct host *host, const struct packet *packet, const struct tcp_header *header);
void tcp_send_probe(struct tcp *tcp);         /* makes the peer answer: what its window allows, or an ACK of old data */
bool tcp_send_loss_probe(struct tcp *tcp);    /* RFC 8985, 7.3; false: nothing to probe with */
void tcp_close_send(struct tcp *tcp);         /* FIN behind what is queued */
uint32_t tcp_path_mss(const struct tcp *tcp); /* what one packet on the way to the peer can carry, options included */
uint32_t tcp_current_mss(const struct tcp *tcp);
uint32_t tcp_select_window(struct tcp *tcp);       /* what to advertise now, in bytes */
uint32_t tcp_receive_space(const struct tcp *tcp); /* the most that may ever be advertised with the present buffer */

/* tcp_timer.c */
void tcp_deadline_set(struct tcp *tcp, struct tcp_deadline *deadline, int64_t when);
static inline void tcp_deadline_clear(struct tcp_deadline *deadline) { deadline->when = NEVER; }
void tcp_timers_init(struct tcp *tcp);
void tcp_timers_cancel(struct tcp *tcp);
void tcp_arm_retransmit(struct tcp *tcp); /* (re)starts the RTO; clears it if nothing is out */
void tcp_arm_pending(struct tcp *tcp, enum tcp_pending pending, int64_t delay);
bool tcp_arm_loss_probe(struct tcp *tcp); /* RFC 8985, 7.2; false: not the time for one */
void tcp_arm_window_probe(struct tcp *tcp);
void tcp_delay_ack(struct tcp *tcp);
void tcp_arm_keepalive(struct tcp *tcp);
int64_t tcp_keepalive_idle(const struct tcp *tcp);
int64_t tcp_keepalive_interval(const struct tcp *tcp);
uint32_t tcp_keepalive_probes(const struct tcp *tcp);
void tcp_rtt_sample(struct tcp *tcp, int64_t rtt);

/* tcp_congestion.c */
void tcp_congestion_init(struct tcp *tcp);
uint32_t tcp_congestion_ssthresh(struct tcp *tcp);             /* what a loss now would reduce the window to */
void tcp_congestion_acked(struct tcp *tcp, uint32_t segments); /* grows the window */
void tcp_congestion_rtt(struct tcp *tcp, int64_t rtt);         /* each sample: HyStart */
void tcp_congestion_timeout(struct tcp *tcp);                  /* an RTO: forget the epoch */
void tcp_congestion_idle(struct tcp *tcp);                     /* sending begins after a pause */
const char *tcp_congestion_name(enum tcp_congestion_kind kind);
int tcp_congestion_of(const char *name, size_t length); /* kind or -ENOENT */

#endif
