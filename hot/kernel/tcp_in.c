/* TCP input: the state machine of RFC 9293, 3.10.7, acknowledgements, loss detection and recovery, reassembly.
 *
 * inet.c calls tcp_input with each segment; that calls tcp_out.c to answer and to send what the acknowledgement allows,
 * tcp_congestion.c to set the window, and tcp.c where a connection changes state. The functions come in the order in
 * which a segment meets them, from the bottom of the file upwards.
 */
#include "dns.h"
#include "tcp.h"

#include <asm/poll.h>

#define WINDOW_SCALE_MAX 14 /* RFC 7323, 2.3 */
#define QUICK_ACKS_MAX 16u  /* Linux TCP_MAX_QUICKACKS */
#define RACK_STEPS_MAX 255u
#define RACK_PERSIST 16u     /* RFC 8985, 6.2 step 4: recoveries for which a wider window is kept */
#define COLLECT_MAX 256u     /* payloads up to here are copied together */
#define COLLECTOR_SIZE 1984u /* with the headers of packet and block: 2 KiB */

/* ---- Reading a segment ---- */

static void parse_options(const uint8_t *p, const uint8_t *end, struct tcp_header *header) {
    while (p < end && *p != TCP_OPTION_END) {
        if (*p == TCP_OPTION_NOP) {
            p++;
            continue;
        }
        if (end - p < 2 || p[1] < 2 || p[1] > end - p)
            return;
        uint8_t kind = p[0], length = p[1];
        if (kind == TCP_OPTION_MSS && length == 4) {
            header->mss = get16(p + 2);
        } else if (kind == TCP_OPTION_WINDOW_SCALE && length == 3) {
            header->window_scale = (int8_t)KMIN(p[2], WINDOW_SCALE_MAX);
        } else if (kind == TCP_OPTION_SACK_PERMITTED && length == 2) {
            header->sack_permitted = true;
        } else if (kind == TCP_OPTION_TIMESTAMPS && length == 10) {
            header->has_timestamp = true;
            header->timestamp = get32(p + 2);
            header->timestamp_echo = get32(p + 6);
        } else if (kind == TCP_OPTION_SACK && (length - 2) % 8 == 0) {
            header->sack_count = KMIN((uint32_t)(length - 2) / 8, TCP_SACK_BLOCKS);
            for (uint32_t i = 0; i < header->sack_count; i++) {
                header->sack[i].start = get32(p + 2 + 8 * i);
                header->sack[i].end = get32(p + 6 + 8 * i);
            }
        }
        p += length;
    }
}

static bool parse(struct packet *packet, struct tcp_header *header) {
    uint32_t ip = packet->transport;
    if (packet->length < ip + TCP_HEADER)
        return false;
    const uint8_t *p = packet->data + ip;
    uint32_t offset = (uint32_t)(p[12] >> 4) * 4;
    if (offset < TCP_HEADER || packet->length - ip < offset)
        return false;
    memset(header, 0, sizeof *header);
    header->window_scale = -1;
    header->sequence = get32(p + 4);
    header->acknowledgement = get32(p + 8);
    header->flags = p[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK | TCP_URG);
    header->window = get16(p + 14);
    header->urgent = get16(p + 18);
    header->header_length = ip + offset;
    header->payload_length = packet->length - header->header_length;
    header->end = header->sequence + header->payload_length + !!(header->flags & TCP_SYN) + !!(header->flags & TCP_FIN);
    packet->offset = header->header_length;
    parse_options(p + TCP_HEADER, p + offset, header);
    return true;
}

/* ---- RACK (RFC 8985) ---- */

static bool sent_after(int64_t time, uint32_t end, int64_t other_time, uint32_t other_end) {
    return time > other_time || (time == other_time && tcp_after(end, other_end));
}

/* 6.2 step 2: a segment was delivered. */
static void rack_advance(struct tcp *tcp, const struct tcp_segment *segment) {
    int64_t rtt = tcp_now(tcp) - segment->sent_time;
    /* The original may have arrived just after it was sent again. */
    if (segment->transmissions > 1 && rtt < tcp->min_rtt)
        return;
    tcp->rack_advanced = true;
    tcp->rack_rtt = rtt;
    if (sent_after(segment->sent_time, tcp_segment_end(segment), tcp->rack_time, tcp->rack_end)) {
        tcp->rack_time = segment->sent_time;
        tcp->rack_end = tcp_segment_end(segment);
    }
}

/* 6.2 step 3: something was delivered that was sent before what is known to have arrived. */
static void note_reordering(struct tcp *tcp) {
    tcp->reordering_seen = true;
    tcp->reorderings++;
}

/* 6.2 step 4 */
static int64_t reorder_window(const struct tcp *tcp) {
    if (!tcp->reordering_seen && (tcp->recovery >= TCP_RECOVERY || tcp->sacked_out >= TCP_DUPLICATE_THRESHOLD))
        return 0;
    return KMIN(tcp->min_rtt / 4 * (int64_t)tcp->rack_steps, tcp->srtt_8 / 8);
}

static void update_reorder_steps(struct tcp *tcp) {
    if (tcp_before(tcp->snd_una, tcp->rack_round_sequence))
        tcp->rack_dsack = false; /* at most one step per round trip */
    if (tcp->rack_dsack) {
        tcp->rack_steps = KMIN(tcp->rack_steps + 1, RACK_STEPS_MAX);
        tcp->rack_persist = RACK_PERSIST;
        tcp->rack_round_sequence = tcp->snd_nxt;
        tcp->rack_dsack = false;
    } else if (!tcp->rack_persist) {
        tcp->rack_steps = 1;
    }
}

void tcp_mark_lost(struct tcp *tcp, struct tcp_segment *segment) {
    if (segment->sacked || segment->lost)
        return;
    list_remove(&segment->order);
    struct list *after = tcp->lost.prev;
    while (after != &tcp->lost && tcp_after(list_entry(after, struct tcp_segment, order)->sequence, segment->sequence))
        after = after->prev;
    list_push_front(after, &segment->order);
    segment->lost = true;
    tcp->lost_out++;
}

bool tcp_rack_detect(struct tcp *tcp, int64_t *timeout) {
    int64_t window = reorder_window(tcp), now = tcp_now(tcp);
    bool lost = false;
    *timeout = 0;
    list_for_each_safe(node, &tcp->sent) {
        struct tcp_segment *segment = list_entry(node, struct tcp_segment, order);
        if (!sent_after(tcp->rack_time, tcp->rack_end, segment->sent_time, tcp_segment_end(segment)))
            break;
        int64_t remaining = tcp->rack_rtt + window - (now - segment->sent_time);
        if (remaining <= 0) {
            tcp_mark_lost(tcp, segment);
            lost = true;
        } else {
            *timeout = KMAX(*timeout, remaining);
        }
    }
    return lost;
}

/* ---- Undoing a reduction that was a mistake ---- */

static void begin_undo(struct tcp *tcp) {
    tcp->undo_possible = true;
    tcp->undo_sequence = tcp->snd_una;
    tcp->undo_retransmissions = -1; /* none yet */
    tcp->undo_cwnd = tcp->cwnd;
    tcp->undo_ssthresh = tcp->ssthresh;
}

/* RFC 3522 (Eifel): this acknowledges something sent before the first retransmission. */
static bool was_delayed(const struct tcp *tcp, const struct tcp_header *header) {
    if (!tcp->first_retransmission || !header->has_timestamp || !tcp->timestamps)
        return false;
    uint32_t stamp = (uint32_t)(tcp->first_retransmission / NS_PER_MS) + tcp->timestamp_offset;
    return tcp_before(header->timestamp_echo, stamp);
}

static bool may_undo(const struct tcp *tcp, const struct tcp_header *header) {
    return tcp->undo_possible && (tcp->undo_retransmissions == 0 || was_delayed(tcp, header));
}

/* Back to being in flight, at its place in time. */
static void unmark_lost(struct tcp *tcp, struct tcp_segment *segment) {
    list_remove(&segment->order);
    struct list *before = tcp->sent.next;
    while (before != &tcp->sent && !sent_after(list_entry(before, struct tcp_segment, order)->sent_time,
                                               tcp_segment_end(list_entry(before, struct tcp_segment, order)),
                                               segment->sent_time, tcp_segment_end(segment)))
        before = before->next;
    list_push_back(before, &segment->order);
    segment->lost = false;
    tcp->lost_out--;
}

static void undo(struct tcp *tcp, bool unmark) {
    if (unmark)
        while (!list_empty(&tcp->lost))
            unmark_lost(tcp, list_entry(tcp->lost.next, struct tcp_segment, order));
    tcp->cwnd = KMAX(tcp->cwnd, tcp->undo_cwnd);
    tcp->ssthresh = KMAX(tcp->ssthresh, tcp->undo_ssthresh);
    tcp->undo_possible = false;
    tcp->rack_advanced = true;
}

/* ---- The states of recovery (Linux: tcp_ca_state) ---- */

/* What an acknowledgement told. */
struct progress {
    uint32_t delivered, marked_lost;
    bool una_advanced, data_acked, data_sacked, original_sacked, retransmission_acked, dsack, duplicate, window_update;
    int64_t first_sent, last_sent, sack_sent; /* of what was sent once only; 0: none */
};

static void keep_open(struct tcp *tcp) {
    tcp->recovery = tcp->sacked_out || tcp->lost_out || tcp->duplicate_acks ? TCP_DISORDER : TCP_OPEN;
    tcp->high_sequence = tcp->snd_nxt;
}

static void begin_reduction(struct tcp *tcp) {
    tcp->high_sequence = tcp->snd_nxt;
    tcp->loss_probe_out = false;
    tcp->prior_cwnd = tcp->cwnd;
    tcp->prr_delivered = tcp->prr_out = 0;
    tcp->ssthresh = tcp_congestion_ssthresh(tcp);
}

static void end_reduction(struct tcp *tcp) {
    if (tcp->ssthresh < TCP_SSTHRESH_INFINITE && (tcp->recovery == TCP_CWR || tcp->undo_possible))
        tcp->cwnd = tcp->ssthresh;
}

/* RFC 6937, 3: the window shrinks in step with what leaves the network. */
static void reduce_window(struct tcp *tcp, const struct progress *progress, uint32_t delivered) {
    if (!delivered || !tcp->prior_cwnd)
        return;
    tcp->prr_delivered += delivered;
    int64_t in_flight = tcp_in_flight(tcp), room = (int64_t)tcp->ssthresh - in_flight, count;
    if (room < 0) {
        uint64_t share = ((uint64_t)tcp->ssthresh * tcp->prr_delivered + tcp->prior_cwnd - 1) / tcp->prior_cwnd;
        count = (int64_t)share - tcp->prr_out;
    } else {
        count = KMAX((int64_t)tcp->prr_delivered - tcp->prr_out, (int64_t)delivered);
        if (progress->una_advanced && !progress->marked_lost)
            count++;
        count = KMIN(count, room);
    }
    /* The first retransmission goes out whatever the windows say. */
    count = KMAX(count, tcp->prr_out ? INT64_C(0) : INT64_C(1));
    tcp->cwnd = (uint32_t)(in_flight + count);
}

void tcp_enter_recovery(struct tcp *tcp) {
    if (tcp->recovery < TCP_CWR) {
        tcp->first_retransmission = 0;
        begin_undo(tcp);
        begin_reduction(tcp);
    } else {
        tcp->undo_possible = false;
        tcp->high_sequence = tcp->snd_nxt;
    }
    tcp->recovery = TCP_RECOVERY;
}

/* RFC 6298, 5.4 to 5.6 and RFC 5681, 3.1: a retransmission time-out. */
void tcp_enter_loss(struct tcp *tcp) {
    bool fresh = tcp->recovery < TCP_RECOVERY;
    struct tcp_segment *first = tcp_first(tcp);
    if (first->sacked) {
        /* RFC 2018, 8: the receiver has dropped what it had SACKed. */
        for (struct tcp_segment *segment = first; segment != tcp->unsent && segment; segment = tcp_next(tcp, segment))
            segment->sacked = false;
        tcp->sacked_out = 0;
        for (struct tcp_segment *segment = first; segment != tcp->unsent && segment; segment = tcp_next(tcp, segment))
            tcp_mark_lost(tcp, segment);
        tcp->highest_sacked = tcp->snd_una;
    }
    list_for_each_safe(node, &tcp->sent) tcp_mark_lost(tcp, list_entry(node, struct tcp_segment, order));
    tcp->duplicate_acks = 0;
    if (tcp->recovery <= TCP_DISORDER || !tcp_after(tcp->high_sequence, tcp->snd_una) ||
        (tcp->recovery == TCP_LOSS && !tcp->retransmits)) {
        tcp->first_retransmission = 0;
        begin_undo(tcp);
        tcp->ssthresh = tcp_congestion_ssthresh(tcp);
        tcp_congestion_timeout(tcp);
    }
    tcp->cwnd = tcp_in_flight(tcp) + 1;
    tcp->cwnd_count = 0;
    tcp->recovery = TCP_LOSS;
    tcp->high_sequence = tcp->snd_nxt;
    tcp->loss_probe_out = false;
    tcp->frto = fresh || tcp->retransmits;
}

/* All that was out when recovery began has arrived. */
static void recovered(struct tcp *tcp, const struct tcp_header *header) {
    if (may_undo(tcp, header))
        undo(tcp, false);
    tcp->undo_possible = false;
    if (tcp->rack_persist)
        tcp->rack_persist--;
    tcp->recovery = TCP_OPEN;
    keep_open(tcp);
}

static bool undo_loss(struct tcp *tcp, const struct tcp_header *header, bool certain) {
    if (!certain && !may_undo(tcp, header))
        return false;
    undo(tcp, true);
    tcp->retransmits = 0;
    if (certain || tcp->sack)
        tcp->recovery = TCP_OPEN;
    tcp->frto = false;
    keep_open(tcp);
    return true;
}

/* After an RTO: RFC 5682 (F-RTO) tries new data first, to learn whether the time-out was needless. True: send new data.
 */
static bool loss_progress(struct tcp *tcp, const struct progress *progress, const struct tcp_header *header) {
    bool done = !tcp_before(tcp->snd_una, tcp->high_sequence);
    if (progress->una_advanced && undo_loss(tcp, header, false))
        return false;
    if (tcp->frto) {
        if (progress->original_sacked && undo_loss(tcp, header, true))
            return false;
        if (tcp_after(tcp->snd_nxt, tcp->high_sequence)) {
            if (progress->data_sacked || progress->duplicate)
                tcp->frto = false; /* 3.a: the time-out was real */
        } else if (progress->una_advanced && !done) {
            tcp->high_sequence = tcp->snd_nxt;
            if (tcp->unsent && tcp_after(tcp_window_end(tcp), tcp->snd_nxt))
                return true; /* 2.b */
            tcp->frto = false;
        }
    }
    if (done)
        recovered(tcp, header);
    return false;
}

static void identify_losses(struct tcp *tcp, struct progress *progress) {
    uint32_t before = tcp->lost_out;
    if (!tcp->sack) {
        /* RFC 6582: the third duplicate, then each partial acknowledgement, gives the first segment up. */
        struct tcp_segment *first = tcp_first(tcp);
        if (first && first->transmissions &&
            (tcp->duplicate_acks >= TCP_DUPLICATE_THRESHOLD ||
             (tcp->recovery == TCP_RECOVERY && progress->una_advanced)))
            tcp_mark_lost(tcp, first);
    } else if (tcp->rack_advanced) {
        int64_t timeout;
        tcp->rack_advanced = false;
        tcp_rack_detect(tcp, &timeout);
        if (timeout)
            tcp_arm_pending(tcp, TCP_PENDING_REORDER, timeout);
    }
    if (tcp->lost_out > before)
        progress->marked_lost = tcp->lost_out - before;
}

/* The transitions at each acknowledgement that is not plainly good news. True: F-RTO wants new data sent. */
static bool recovery_step(struct tcp *tcp, struct progress *progress, const struct tcp_header *header) {
    bool new_data = false;
    if (tcp->recovery == TCP_CWR && !tcp_before(tcp->snd_una, tcp->high_sequence)) {
        end_reduction(tcp);
        tcp->recovery = TCP_OPEN;
        keep_open(tcp);
    } else if (tcp->recovery == TCP_RECOVERY && !tcp_before(tcp->snd_una, tcp->high_sequence)) {
        end_reduction(tcp);
        recovered(tcp, header);
        if (!tcp->lost_out && !tcp->sacked_out)
            return false;
    } else if (tcp->recovery == TCP_RECOVERY && progress->una_advanced && tcp->undo_possible &&
               was_delayed(tcp, header)) {
        undo(tcp, true);
        keep_open(tcp);
        note_reordering(tcp);
    }
    if (tcp->recovery == TCP_LOSS) {
        new_data = loss_progress(tcp, progress, header);
        identify_losses(tcp, progress);
        if (tcp->recovery != TCP_OPEN)
            return new_data;
    } else if (tcp->recovery <= TCP_RECOVERY && tcp->dsacks && progress->dsack && tcp->undo_possible &&
               tcp->undo_retransmissions == 0) {
        undo(tcp, false);
        keep_open(tcp);
        identify_losses(tcp, progress);
    } else {
        identify_losses(tcp, progress);
    }
    if (tcp->lost_out && tcp->recovery < TCP_RECOVERY)
        tcp_enter_recovery(tcp);
    else if (tcp->recovery <= TCP_DISORDER)
        keep_open(tcp);
    return new_data;
}

/* RFC 8985, 7.4: did the tail-loss probe repair a loss that congestion control should hear of? */
static void loss_probe_answered(struct tcp *tcp, const struct progress *progress, uint32_t acknowledgement) {
    if (!tcp->loss_probe_out || tcp_before(acknowledgement, tcp->loss_probe_sequence))
        return;
    if (!tcp->loss_probe_retransmitted || progress->dsack) {
        tcp->loss_probe_out = false;
    } else if (tcp_after(acknowledgement, tcp->loss_probe_sequence)) {
        tcp->loss_probe_out = false;
        if (tcp->recovery < TCP_CWR) {
            tcp->undo_possible = false;
            begin_reduction(tcp);
            tcp->recovery = TCP_CWR;
            end_reduction(tcp);
            tcp->recovery = TCP_OPEN;
            keep_open(tcp);
        }
    } else if (progress->duplicate) {
        tcp->loss_probe_out = false;
    }
}

void tcp_reorder_timeout(struct tcp *tcp) {
    int64_t timeout;
    uint32_t before = tcp->lost_out;
    if (tcp_rack_detect(tcp, &timeout)) {
        struct progress progress = {.marked_lost = tcp->lost_out - before};
        if (tcp->recovery < TCP_RECOVERY)
            tcp_enter_recovery(tcp);
        if (tcp->recovery == TCP_RECOVERY)
            reduce_window(tcp, &progress, 1);
        tcp_retransmit_lost(tcp);
    }
    if (timeout)
        tcp_arm_pending(tcp, TCP_PENDING_REORDER, timeout);
    else if (tcp->pending != TCP_PENDING_RETRANSMIT)
        tcp_arm_retransmit(tcp);
}

/* ---- The SACK scoreboard (RFC 2018, 6675) ---- */

static void segment_sacked(struct tcp *tcp, struct tcp_segment *segment, struct progress *progress) {
    rack_advance(tcp, segment);
    if (segment->transmissions == 1) {
        if (tcp_before(segment->sequence, tcp->highest_sacked))
            note_reordering(tcp);
        if (!tcp_after(tcp_segment_end(segment), tcp->high_sequence))
            progress->original_sacked = true;
        if (!progress->sack_sent)
            progress->sack_sent = segment->sent_time;
    }
    if (segment->lost)
        tcp->lost_out--;
    segment->lost = false;
    segment->sacked = true;
    tcp->sacked_out++;
    list_remove(&segment->order);
    progress->delivered++;
    progress->data_sacked = true;
    if (tcp_after(tcp_segment_end(segment), tcp->highest_sacked))
        tcp->highest_sacked = tcp_segment_end(segment);
}

/* The sent segment that holds `sequence`, looked for from where the last search ended; NULL: none. */
static struct tcp_segment *find_segment(struct tcp *tcp, uint32_t sequence) {
    struct tcp_segment *segment = tcp->sack_hint ? tcp->sack_hint : tcp_first(tcp);
    while (segment && tcp_after(segment->sequence, sequence) && segment != tcp_first(tcp))
        segment = list_entry(segment->node.prev, struct tcp_segment, node);
    while (segment && segment != tcp->unsent && !tcp_after(tcp_segment_end(segment), sequence))
        segment = tcp_next(tcp, segment);
    return segment == tcp->unsent ? NULL : segment;
}

static void mark_block(struct tcp *tcp, struct tcp_sack_block block, struct progress *progress) {
    struct tcp_segment *segment = find_segment(tcp, block.start);
    for (; segment && segment != tcp->unsent && tcp_before(segment->sequence, block.end);
         segment = tcp_next(tcp, segment)) {
        tcp->sack_hint = segment;
        if (segment->sacked)
            continue;
        /* The receiver may have got it in other pieces than it is kept in. */
        if (tcp_before(segment->sequence, block.start)) {
            if (block.start - segment->sequence >= segment->length ||
                !tcp_split(tcp, segment, block.start - segment->sequence))
                continue;
            segment = tcp_next(tcp, segment);
        }
        if (tcp_after(tcp_segment_end(segment), block.end) && (block.end - segment->sequence >= segment->length ||
                                                               !tcp_split(tcp, segment, block.end - segment->sequence)))
            continue;
        segment_sacked(tcp, segment, progress);
    }
}

/* RFC 2883, 4: the first block repeats what is acknowledged already, or lies inside the second. */
static bool is_dsack(const struct tcp_header *header) {
    const struct tcp_sack_block *first = &header->sack[0];
    if (tcp_before(first->start, header->acknowledgement))
        return true;
    return header->sack_count > 1 && !tcp_before(first->start, header->sack[1].start) &&
           !tcp_after(first->end, header->sack[1].end);
}

static void process_sack(struct tcp *tcp, const struct tcp_header *header, struct progress *progress) {
    if (!tcp->sack || !header->sack_count)
        return;
    uint32_t i = 0;
    if (is_dsack(header)) {
        const struct tcp_sack_block *first = &header->sack[0];
        progress->dsack = true;
        tcp->rack_dsack = true;
        tcp->dsacks++;
        if (tcp->undo_possible && tcp->undo_retransmissions > 0 && tcp_after(first->end, tcp->undo_sequence) &&
            !tcp_after(first->end, tcp->snd_nxt))
            tcp->undo_retransmissions--;
        i = 1;
    }
    for (; i < header->sack_count; i++) {
        struct tcp_sack_block block = header->sack[i];
        if (!tcp_before(block.start, block.end) || tcp_after(block.end, tcp->snd_nxt) ||
            tcp_before(block.start, tcp->snd_una) || !tcp_after(block.end, tcp->snd_una))
            continue;
        bool known = false;
        for (uint32_t j = 0; j < TCP_SACK_BLOCKS; j++)
            known |= tcp->sack_seen[j].start == block.start && tcp->sack_seen[j].end == block.end;
        if (!known)
            mark_block(tcp, block, progress);
    }
    for (i = 0; i < TCP_SACK_BLOCKS; i++)
        tcp->sack_seen[i] = i < header->sack_count ? header->sack[i] : (struct tcp_sack_block){0, 0};
}

/* ---- Acknowledgements ---- */

static void segment_acked(struct tcp *tcp, struct tcp_segment *segment, struct progress *progress) {
    if (segment->transmissions > 1) {
        progress->retransmission_acked = true;
    } else if (!segment->sacked) {
        if (!progress->first_sent)
            progress->first_sent = segment->sent_time + 1; /* never 0 */
        progress->last_sent = segment->sent_time + 1;
        if (tcp_before(segment->sequence, tcp->highest_sacked))
            note_reordering(tcp);
        if (!tcp_after(tcp_segment_end(segment), tcp->high_sequence))
            progress->original_sacked = true;
    }
    if (!segment->sacked) {
        rack_advance(tcp, segment);
        progress->delivered++;
    }
    if (!(segment->flags & TCP_SYN))
        progress->data_acked = true;
    tcp_free_segment(tcp, segment);
}

static void clean_queue(struct tcp *tcp, struct progress *progress) {
    for (struct tcp_segment *segment; (segment = tcp_first(tcp)) && segment != tcp->unsent;) {
        if (tcp_after(tcp_segment_end(segment), tcp->snd_una)) {
            uint32_t part = tcp->snd_una - segment->sequence;
            if (!tcp_before(segment->sequence, tcp->snd_una) || part >= segment->length ||
                !tcp_split(tcp, segment, part))
                break;
        }
        segment_acked(tcp, segment, progress);
    }
    if (tcp_before(tcp->highest_sacked, tcp->snd_una))
        tcp->highest_sacked = tcp->snd_una;
}

/* RFC 6298, 3 (Karn): what was sent twice gives no sample, unless the timestamp tells which one was answered. */
static void take_rtt(struct tcp *tcp, const struct tcp_header *header, const struct progress *progress) {
    int64_t now = tcp_now(tcp), rtt = -1;
    if (progress->first_sent && !progress->retransmission_acked)
        rtt = now - (progress->first_sent - 1);
    else if (progress->sack_sent)
        rtt = now - progress->sack_sent;
    else if (progress->una_advanced && tcp->timestamps && header->has_timestamp && header->timestamp_echo) {
        uint32_t ticks = tcp_clock(tcp) - header->timestamp_echo;
        if (ticks < 1u << 24)
            rtt = KMAX((int64_t)ticks, INT64_C(1)) * NS_PER_MS;
    }
    if (rtt < 0)
        return;
    tcp_rtt_sample(tcp, rtt);
    tcp->backoff = 0;
    if (progress->last_sent && !progress->retransmission_acked)
        tcp_congestion_rtt(tcp, now - (progress->last_sent - 1));
}

/* RFC 9293, 3.10.7.4, and Linux, which lets any ACK open a closed window. */
static void update_send_window(struct tcp *tcp, const struct tcp_header *header, struct progress *progress) {
    uint32_t window = header->window;
    if (!(header->flags & TCP_SYN))
        window <<= tcp->snd_scale;
    bool newer = tcp_after(header->acknowledgement, tcp->snd_una) || tcp_after(header->sequence, tcp->snd_wl1) ||
                 (header->sequence == tcp->snd_wl1 && (window > tcp->snd_wnd || !window));
    if (!newer)
        return;
    progress->window_update = window != tcp->snd_wnd;
    tcp->snd_wl1 = header->sequence;
    tcp->snd_wnd = window;
    tcp->max_window = KMAX(tcp->max_window, window);
}

static bool is_cwnd_limited(const struct tcp *tcp) {
    return tcp->cwnd < tcp->ssthresh ? tcp->cwnd < 2 * tcp->max_packets_out : tcp->cwnd_limited;
}

static void control_congestion(struct tcp *tcp, const struct progress *progress) {
    if (tcp->recovery == TCP_CWR || tcp->recovery == TCP_RECOVERY)
        reduce_window(tcp, progress, progress->delivered);
    else if ((tcp->reordering_seen ? progress->delivered != 0 : progress->data_acked) && is_cwnd_limited(tcp))
        tcp_congestion_acked(tcp, progress->delivered);
}

/* RFC 7323, 4.3 */
static void take_timestamp(struct tcp *tcp, const struct tcp_header *header) {
    if (!tcp->timestamps || !header->has_timestamp || tcp_after(header->sequence, tcp->last_ack_sent))
        return;
    if (!tcp_before(header->timestamp, tcp->timestamp_recent) ||
        tcp_now(tcp) - tcp->timestamp_recent_time > TCP_PAWS_IDLE) {
        tcp->timestamp_recent = header->timestamp;
        tcp->timestamp_recent_time = tcp_now(tcp);
    }
}

static void acknowledged_nothing_new(struct tcp *tcp, const struct tcp_header *header, struct progress *progress) {
    progress->duplicate = !progress->una_advanced && !header->payload_length && !progress->window_update &&
                          !(header->flags & (TCP_SYN | TCP_FIN)) && tcp->packets_out;
    if (!tcp->sack && progress->duplicate && tcp->duplicate_acks + 1 < tcp->packets_out)
        tcp->duplicate_acks++;
}

/* False: the acknowledgement is of something never sent; the segment is to be dropped. */
static bool acknowledge(struct tcp *tcp, const struct tcp_header *header) {
    uint32_t ack = header->acknowledgement;
    struct progress progress = {0};
    uint32_t prior_packets = tcp->packets_out;
    if (tcp_after(ack, tcp->snd_nxt) || tcp_before(ack, tcp->snd_una - tcp->max_window)) {
        tcp_send_challenge(tcp); /* RFC 5961, 5 */
        return false;
    }
    tcp->last_heard = KMAX(tcp_now(tcp), INT64_C(1));
    tcp->probes = 0;
    tcp->probes_since = 0;
    take_timestamp(tcp, header);
    if (!tcp_before(ack, tcp->snd_una)) {
        update_send_window(tcp, header, &progress);
        progress.una_advanced = ack != tcp->snd_una;
        tcp->bytes_acked += ack - tcp->snd_una;
        if (!tcp_after(tcp->snd_up, ack))
            tcp->snd_up = ack;
        tcp->snd_una = ack;
    }
    if (!prior_packets) {
        if (tcp->unsent && tcp_before(tcp->unsent->sequence, tcp_window_end(tcp)))
            tcp->backoff = 0;
        return true;
    }
    process_sack(tcp, header, &progress);
    if (progress.una_advanced) {
        tcp->retransmits = 0;
        tcp->duplicate_acks = 0;
        clean_queue(tcp, &progress);
    } else if (ack == tcp->snd_una) {
        acknowledged_nothing_new(tcp, header, &progress);
    }
    take_rtt(tcp, header, &progress);
    update_reorder_steps(tcp);
    tcp->delivered += progress.delivered;
    loss_probe_answered(tcp, &progress, ack);
    bool restart_timer = progress.una_advanced || progress.data_sacked;
    if (restart_timer && !tcp_arm_loss_probe(tcp) && progress.una_advanced)
        tcp_arm_retransmit(tcp);
    bool new_data = false;
    if (tcp->recovery != TCP_OPEN || progress.data_sacked || progress.dsack || tcp->sacked_out || tcp->duplicate_acks)
        new_data = recovery_step(tcp, &progress, header);
    else
        tcp->rack_advanced = false;
    if (tcp->recovery == TCP_OPEN && !tcp->lost_out && progress.una_advanced)
        tcp->first_retransmission = 0;
    control_congestion(tcp, &progress);
    if (new_data) {
        tcp_push(tcp, TCP_PUSH_NOW);
        if (tcp_after(tcp->snd_nxt, tcp->high_sequence))
            return true;
        tcp->frto = false;
    }
    if (tcp->lost_out)
        tcp_retransmit_lost(tcp);
    return true;
}

/* ---- Acknowledging what arrives ---- */

static void be_quick(struct tcp *tcp, uint32_t most) {
    uint32_t count = tcp->rcv_wnd / (2 * KMAX(tcp->rcv_mss, 1u));
    count = KMIN(KMAX(count, 2u), most);
    tcp->quick_acks = (uint8_t)KMAX((uint32_t)tcp->quick_acks, count);
}

static void enter_quick_mode(struct tcp *tcp, uint32_t most) {
    be_quick(tcp, most);
    tcp->interactive = false;
    tcp->ack_delay = TCP_ACK_DELAY_MIN;
}

/* The receiver's idea of the round trip: the peer's clock of what it heard last (for the buffer's size). */
static void take_receive_rtt(struct tcp *tcp, const struct tcp_header *header) {
    if (!tcp->timestamps || !header->has_timestamp || header->timestamp_echo == tcp->receive_rtt_echo ||
        header->payload_length < tcp->rcv_mss)
        return;
    tcp->receive_rtt_echo = header->timestamp_echo;
    uint32_t ticks = tcp_clock(tcp) - header->timestamp_echo;
    if (ticks >= 1u << 24)
        return;
    int64_t rtt = KMAX((int64_t)ticks, INT64_C(1)) * NS_PER_MS;
    tcp->receive_rtt_8 = tcp->receive_rtt_8 ? tcp->receive_rtt_8 + rtt - tcp->receive_rtt_8 / 8 : rtt * 8;
}

static void data_arrived(struct tcp *tcp, const struct tcp_header *header) {
    int64_t now = tcp_now(tcp);
    tcp->ack_scheduled = true;
    tcp->data_in++;
    uint32_t length = header->payload_length;
    tcp->small_arrived |= length < tcp->rcv_mss;
    if (length >= tcp->rcv_mss)
        tcp->rcv_mss = KMIN(length, tcp->advertised_mss);
    else if (length + TCP_TIMESTAMP_SPACE < TCP_MSS_DEFAULT_IPV4 && !tcp->last_received)
        tcp->rcv_mss = KMIN(tcp->rcv_mss, TCP_MSS_DEFAULT_IPV4);
    take_receive_rtt(tcp, header);
    if (!tcp->ack_delay) {
        be_quick(tcp, QUICK_ACKS_MAX); /* the peer is in slow start: help it */
        tcp->ack_delay = TCP_ACK_DELAY_MIN;
    } else {
        int64_t since = now - tcp->last_received;
        if (since <= TCP_ACK_DELAY_MIN / 2)
            tcp->ack_delay = tcp->ack_delay / 2 + TCP_ACK_DELAY_MIN / 2;
        else if (since < tcp->ack_delay)
            tcp->ack_delay = KMIN(tcp->ack_delay / 2 + since, tcp->rto);
        else if (since > tcp->rto)
            be_quick(tcp, QUICK_ACKS_MAX); /* after a pause it may be in slow start again */
    }
    tcp->last_received = KMAX(now, INT64_C(1));
}

static void acknowledge_arrivals(struct tcp *tcp) {
    if (!tcp->ack_scheduled)
        return;
    bool two_segments = tcp->rcv_nxt - tcp->rcv_wup > tcp->rcv_mss;
    /* RFC 9293, 3.8.6.3: every second full segment, unless the window closes for want of a reader. */
    if ((two_segments && tcp_select_window(tcp) >= tcp->rcv_wnd) || (tcp->quick_acks && !tcp->interactive) ||
        tcp->ack_now || tcp->disorder_head)
        tcp_send_ack(tcp);
    else
        tcp_delay_ack(tcp);
}

/* ---- Reassembly ---- */

static uint32_t packet_start(const struct packet *packet) {
    const uint8_t *tcp = packet->data + packet->transport;
    uint32_t header = packet->transport + (uint32_t)(tcp[12] >> 4) * 4;
    return get32(tcp + 4) + (packet->offset - header);
}

static bool packet_fin(const struct packet *packet) { return (packet->data[packet->transport + 13] & TCP_FIN) != 0; }

static uint32_t packet_end(const struct packet *packet) {
    return packet_start(packet) + (packet->length - packet->offset) + packet_fin(packet);
}

static void set_dsack(struct tcp *tcp, uint32_t start, uint32_t end) {
    if (!tcp->sack || tcp->has_dsack)
        return;
    tcp->dsack.start = start;
    tcp->dsack.end = end;
    tcp->has_dsack = true;
}

/* RFC 2018, 4: the block with the latest arrival comes first. */
static void add_sack_block(struct tcp *tcp, uint32_t start, uint32_t end) {
    struct tcp_sack_block merged = {start, end};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tcp->sack_count; i++) {
        struct tcp_sack_block block = tcp->sack_blocks[i];
        if (tcp_after(block.start, merged.end) || tcp_before(block.end, merged.start)) {
            tcp->sack_blocks[kept++] = block;
            continue;
        }
        if (tcp_before(block.start, merged.start))
            merged.start = block.start;
        if (tcp_after(block.end, merged.end))
            merged.end = block.end;
    }
    kept = KMIN(kept, TCP_SACK_BLOCKS - 1);
    memmove(tcp->sack_blocks + 1, tcp->sack_blocks, kept * sizeof tcp->sack_blocks[0]);
    tcp->sack_blocks[0] = merged;
    tcp->sack_count = kept + 1;
}

static void forget_sack_blocks(struct tcp *tcp) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tcp->sack_count && tcp->disorder_head; i++)
        if (tcp_before(tcp->rcv_nxt, tcp->sack_blocks[i].start))
            tcp->sack_blocks[kept++] = tcp->sack_blocks[i];
    tcp->sack_count = kept;
}

static void ready_push(struct tcp *tcp, struct packet *packet) {
    packet->next = NULL;
    if (tcp->ready_tail)
        tcp->ready_tail->next = packet;
    else
        tcp->ready_head = packet;
    tcp->ready_tail = packet;
}

/* Puts payload behind what may be read. Takes the packet. Small payloads are copied together, or a peer that sends
 * single bytes would cost a packet's memory for each. */
static void ready_append(struct tcp *tcp, struct packet *packet) {
    uint32_t bytes = packet->length - packet->offset;
    struct host *host = tcp_host(tcp);
    tcp->ready_bytes += bytes;
    tcp->bytes_received += bytes;
    if (!bytes) {
        packet_free(host, packet);
        return;
    }
    if (bytes > COLLECT_MAX || !tcp->ready_tail) {
        tcp->collector = NULL;
        ready_push(tcp, packet);
        return;
    }
    if (!tcp->collector || COLLECTOR_SIZE - tcp->collector->length < bytes) {
        struct packet *collector = packet_create(host, COLLECTOR_SIZE);
        tcp->collector = collector;
        if (!collector) {
            ready_push(tcp, packet);
            return;
        }
        collector->length = 0;
        ready_push(tcp, collector);
    }
    memcpy(tcp->collector->data + tcp->collector->length, packet->data + packet->offset, bytes);
    tcp->collector->length += bytes;
    packet_free(host, packet);
}

/* Files a packet beyond a hole; cuts off what is there already. Takes the packet. */
static void disorder_insert(struct tcp *tcp, struct packet *packet) {
    struct host *host = tcp_host(tcp);
    uint32_t start = packet_start(packet), end = packet_end(packet);
    struct packet *before = NULL, *at = tcp->disorder_head;
    if (tcp->disorder_tail && !tcp_before(start, packet_end(tcp->disorder_tail))) {
        before = tcp->disorder_tail;
        at = NULL;
    }
    for (; at && !tcp_after(packet_end(at), start); at = at->next)
        before = at;
    if (at && !tcp_after(packet_start(at), start)) {
        if (!tcp_after(end, packet_end(at))) {
            set_dsack(tcp, start, end);
            packet_free(host, packet);
            return;
        }
        set_dsack(tcp, start, packet_end(at));
        packet->offset += packet_end(at) - start;
        start = packet_end(at);
        before = at;
        at = at->next;
    }
    while (at && !tcp_after(packet_end(at), end)) {
        struct packet *covered = at;
        set_dsack(tcp, packet_start(at), packet_end(at));
        tcp->disorder_bytes -= at->length - at->offset;
        at = at->next;
        if (covered == tcp->disorder_tail)
            tcp->disorder_tail = before;
        packet_free(host, covered);
    }
    if (at && tcp_before(packet_start(at), end)) {
        set_dsack(tcp, packet_start(at), end);
        packet->data[packet->transport + 13] &= (uint8_t)~TCP_FIN;
        packet->length = packet->offset + (packet_start(at) - start);
        end = packet_start(at);
        if (start == end) { /* both neighbours together had all of it */
            packet_free(host, packet);
            return;
        }
    }
    packet->next = at;
    if (before)
        before->next = packet;
    else
        tcp->disorder_head = packet;
    if (!at)
        tcp->disorder_tail = packet;
    tcp->disorder_bytes += packet->length - packet->offset;
    add_sack_block(tcp, start, end);
}

/* RFC 9293, 3.10.7.4, eighth: the peer has nothing more to say. */
static void fin_arrived(struct tcp *tcp) {
    struct socket *socket = tcp->socket;
    socket->read_shutdown = true;
    tcp->fin_received = tcp->done = true;
    tcp->ack_scheduled = true;
    tcp_purge_disorder(tcp);
    switch ((enum tcp_state)tcp->state) {
    case TCP_SYN_RECV:
    case TCP_ESTABLISHED:
        tcp_set_state(tcp, TCP_CLOSE_WAIT);
        tcp->interactive = true; /* our own FIN may carry the ACK */
        break;
    case TCP_FIN_WAIT1:
        tcp_send_ack(tcp);
        tcp_set_state(tcp, TCP_CLOSING);
        break;
    case TCP_FIN_WAIT2:
        tcp_send_ack(tcp);
        tcp_enter_time_wait(tcp);
        break;
    default:
        break;
    }
    socket_wake(socket, POLLIN | POLLRDNORM | POLLRDHUP | (tcp->fin_queued ? POLLHUP : 0));
}

/* Takes what now follows without a hole. */
static void take_in_order(struct tcp *tcp, struct packet *packet) {
    bool fin = packet_fin(packet);
    tcp->rcv_nxt = packet_end(packet);
    ready_append(tcp, packet);
    while (!fin && (packet = tcp->disorder_head) && !tcp_after(packet_start(packet), tcp->rcv_nxt)) {
        tcp->disorder_head = packet->next;
        if (!tcp->disorder_head)
            tcp->disorder_tail = NULL;
        tcp->disorder_bytes -= packet->length - packet->offset;
        if (!tcp_after(packet_end(packet), tcp->rcv_nxt)) {
            set_dsack(tcp, packet_start(packet), packet_end(packet));
            packet_free(tcp_host(tcp), packet);
            continue;
        }
        packet->offset += tcp->rcv_nxt - packet_start(packet);
        fin = packet_fin(packet);
        tcp->rcv_nxt = packet_end(packet);
        tcp->ack_now = true; /* RFC 5681, 4.2: a hole was filled */
        ready_append(tcp, packet);
    }
    forget_sack_blocks(tcp);
    tcp->socket->receive_used = tcp->ready_bytes + tcp->disorder_bytes;
    if (tcp->ready_bytes && tcp->ready_bytes >= (uint32_t)KMAX(tcp->socket->low_water, 1))
        socket_wake(tcp->socket, POLLIN | POLLRDNORM);
    if (fin)
        fin_arrived(tcp);
}

/* ---- Urgent data ---- */

/* RFC 9293, 3.8.5, with the pointer just behind the byte (Linux: tcp_check_urg). */
static void urgent_announced(struct tcp *tcp, const struct tcp_header *header) {
    uint32_t byte = header->sequence + (header->urgent ? header->urgent - 1u : 0);
    uint32_t reads_at = tcp_read_sequence(tcp);
    if (tcp_before(byte, reads_at) || tcp_before(byte, tcp->rcv_nxt))
        return; /* an old one */
    if (tcp->urgent && !tcp_after(byte, tcp->urgent_sequence))
        return;
    socket_urgent(tcp->socket);
    /* The program stands at the last mark, and that byte is none of the stream: it must not show up now that the mark
     * moves on. */
    if (tcp->urgent && tcp->urgent_sequence == reads_at && !tcp->socket->out_of_band_inline)
        tcp_skip_ready(tcp, 1);
    tcp->urgent = TCP_URGENT_ANNOUNCED;
    tcp->urgent_sequence = byte;
}

/* Before the payload is filed: the urgent byte is taken from a segment even if it came before its turn. */
static void take_urgent(struct tcp *tcp, const struct packet *packet, const struct tcp_header *header) {
    if (header->flags & TCP_URG)
        urgent_announced(tcp, header);
    if (tcp->urgent != TCP_URGENT_ANNOUNCED)
        return;
    uint32_t offset = tcp->urgent_sequence - header->sequence;
    if (offset >= header->payload_length)
        return;
    tcp->urgent = TCP_URGENT_HERE;
    tcp->urgent_byte = packet->data[header->header_length + offset];
    socket_wake(tcp->socket, POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND);
}

/* ---- Data ---- */

/* Payload and FIN. Takes the packet. */
static void queue_data(struct tcp *tcp, struct packet *packet, const struct tcp_header *header) {
    struct host *host = tcp_host(tcp);
    uint32_t start = header->sequence, end = header->end;
    if (!tcp_after(end, tcp->rcv_nxt)) { /* all of it is here already */
        set_dsack(tcp, start, end);
        enter_quick_mode(tcp, QUICK_ACKS_MAX);
        tcp->ack_scheduled = true;
        packet_free(host, packet);
        return;
    }
    if (!tcp_before(start, tcp->rcv_nxt + tcp_receive_window(tcp)) &&
        !(start == tcp->rcv_nxt && !header->payload_length)) {
        /* A window probe, or a sender that ignores the window: tell it again. */
        enter_quick_mode(tcp, QUICK_ACKS_MAX);
        tcp->ack_scheduled = true;
        host->counters.packets_dropped_buffer++;
        packet_free(host, packet);
        return;
    }
    data_arrived(tcp, header);
    if (tcp_after(start, tcp->rcv_nxt)) {
        tcp->ack_now = true; /* RFC 5681, 4.2: duplicates at once */
        disorder_insert(tcp, packet);
        tcp->socket->receive_used = tcp->ready_bytes + tcp->disorder_bytes;
        return;
    }
    if (tcp_before(start, tcp->rcv_nxt)) {
        set_dsack(tcp, start, tcp->rcv_nxt);
        enter_quick_mode(tcp, QUICK_ACKS_MAX);
        packet->offset += tcp->rcv_nxt - start;
    }
    take_in_order(tcp, packet);
}

/* ---- Opening ---- */

/* What a SYN or SYN-ACK says about the other side. */
static void take_syn(struct tcp *tcp, const struct tcp_header *header) {
    tcp->peer_initial = header->sequence;
    tcp->rcv_nxt = tcp->rcv_wup = tcp->last_ack_sent = header->sequence + 1;
    uint32_t otherwise = ip_is_v4(tcp->socket->remote_address) ? TCP_MSS_DEFAULT_IPV4 : TCP_MSS_DEFAULT_IPV6;
    tcp->peer_mss = header->mss ? KMAX((uint32_t)header->mss, TCP_MSS_MIN) : otherwise;
    tcp->rcv_mss = KMIN(KMIN(tcp->peer_mss, tcp->advertised_mss), TCP_MSS_DEFAULT_IPV4);
    tcp->sack = header->sack_permitted;
    tcp->timestamps = header->has_timestamp;
    if (header->has_timestamp) {
        tcp->timestamp_recent = header->timestamp;
        tcp->timestamp_recent_time = tcp_now(tcp);
    }
    bool scaled = header->window_scale >= 0;
    tcp->snd_scale = scaled ? (uint8_t)header->window_scale : 0;
    tcp->rcv_scale = scaled ? (uint8_t)TCP_WINDOW_SCALE : 0;
    tcp->snd_wnd = tcp->max_window = header->window; /* never scaled in a SYN */
    tcp->snd_wl1 = header->sequence;
}

/* What Linux keeps of a SYN's way, some of it where a socket has its multicast options. */
static void note_way(struct socket *socket, const struct packet *packet) {
    bool v6 = packet_is_v6(packet);
    socket->syn_interface = inet_interface(socket->host, packet_source(packet));
    socket->syn_tos = v6 ? 0 : packet->data[1];
    if (!v6)
        socket->multicast_ttl = packet->data[8];
}

static void listen_input(struct tcp *listener, const struct packet *packet, const struct tcp_header *header) {
    if (header->flags & TCP_RST)
        return;
    if (header->flags & TCP_ACK) {
        tcp_reply_reset(tcp_host(listener), packet, header);
        return;
    }
    /* Linux: while the accept queue is full, SYNs are dropped; the client tries again. */
    if (!(header->flags & TCP_SYN) || listener->accepted_count > listener->backlog)
        return;
    const uint8_t *ports = packet->data + packet->transport;
    struct tcp *tcp =
        tcp_child(listener, packet_destination(packet), get16(ports + 2), packet_source(packet), get16(ports));
    if (!tcp)
        return;
    note_way(tcp->socket, packet);
    take_syn(tcp, header);
    tcp_set_state(tcp, TCP_SYN_RECV);
    tcp_send_syn(tcp);
    if (!tcp_first(tcp))
        tcp_destroy(tcp);
}

static void reset_arrived(struct tcp *tcp) {
    int error = ECONNRESET;
    if (tcp->state == TCP_SYN_SENT)
        error = ECONNREFUSED;
    else if (tcp->state == TCP_CLOSE_WAIT)
        error = EPIPE;
    else if (tcp->state == TCP_TIME_WAIT)
        error = 0;
    tcp_done(tcp, error);
}

/* The handshake's last ACK. One who waits for the peer's data anyway, or is going to send some at once, lets it travel
 * with these (Linux: tcp_rcv_synsent_state_process). */
static void acknowledge_handshake(struct tcp *tcp) {
    if (!tcp->settings.defer_accept && !tcp->interactive) {
        tcp_send_ack(tcp);
        return;
    }
    tcp->ack_scheduled = true;
    enter_quick_mode(tcp, QUICK_ACKS_MAX);
    tcp_deadline_set(tcp, &tcp->acknowledge, tcp_now(tcp) + TCP_ACK_DELAY_MAX);
}

/* RFC 9293, 3.10.7.3 */
static void syn_sent_input(struct tcp *tcp, const struct packet *packet, const struct tcp_header *header) {
    if (header->flags & TCP_ACK) {
        if (!tcp_after(header->acknowledgement, tcp->snd_una) || tcp_after(header->acknowledgement, tcp->snd_nxt)) {
            tcp_reply_reset(tcp_host(tcp), packet, header);
            return;
        }
        if (header->flags & TCP_RST) {
            reset_arrived(tcp);
            return;
        }
    }
    if ((header->flags & TCP_RST) || !(header->flags & TCP_SYN))
        return;
    take_syn(tcp, header);
    if (header->flags & TCP_ACK) {
        tcp_set_state(tcp, TCP_ESTABLISHED);
        if (!acknowledge(tcp, header))
            return;
        tcp_established(tcp);
        acknowledge_handshake(tcp);
    } else { /* both sides connect at once (3.5, figure 8) */
        tcp_set_state(tcp, TCP_SYN_RECV);
        tcp_retransmit(tcp, tcp_first(tcp));
        tcp_arm_retransmit(tcp);
    }
}

/* The handshake's last ACK. False: the segment is to be dropped. */
static bool syn_received_input(struct tcp *tcp, const struct packet *packet, const struct tcp_header *header) {
    struct tcp *listener = tcp->listener;
    if (!tcp_after(header->acknowledgement, tcp->snd_una) || tcp_after(header->acknowledgement, tcp->snd_nxt)) {
        tcp_reply_reset(tcp_host(tcp), packet, header);
        return false;
    }
    bool bare = header->end == tcp->peer_initial + 1;
    if (listener && ((bare && tcp->retransmits < listener->settings.defer_accept) ||
                     listener->accepted_count > listener->backlog)) {
        tcp->handshake_acked = true; /* the SYN-ACK will be sent again, and then there may be data, or room */
        return false;
    }
    tcp_set_state(tcp, TCP_ESTABLISHED);
    tcp->snd_wnd = header->window << tcp->snd_scale;
    tcp->max_window = KMAX(tcp->max_window, tcp->snd_wnd);
    tcp->snd_wl1 = header->sequence;
    if (!acknowledge(tcp, header))
        return false;
    tcp_established(tcp);
    if (listener) {
        list_remove(&tcp->child_node);
        list_push_back(&listener->accepted, &tcp->child_node);
        listener->accepted_count++;
        socket_wake(listener->socket, POLLIN | POLLRDNORM);
    }
    return true;
}

/* ---- The states after that ---- */

/* RFC 7323, 5: an old duplicate, by its timestamp? */
static bool paws_rejects(const struct tcp *tcp, const struct tcp_header *header) {
    return tcp->timestamps && header->has_timestamp && tcp_before(header->timestamp, tcp->timestamp_recent) &&
           tcp_now(tcp) - tcp->timestamp_recent_time <= TCP_PAWS_IDLE;
}

static void answer_duplicate(struct tcp *tcp, const struct tcp_header *header) {
    if (header->end != header->sequence && tcp_before(header->sequence, tcp->rcv_nxt)) {
        enter_quick_mode(tcp, QUICK_ACKS_MAX);
        set_dsack(tcp, header->sequence, tcp_after(header->end, tcp->rcv_nxt) ? tcp->rcv_nxt : header->end);
        tcp_send_ack(tcp);
    } else {
        tcp_send_challenge(tcp);
    }
}

/* RFC 9293, 3.10.7.4, first to fourth, with RFC 5961. False: the segment is dealt with (and tcp may be gone). */
static bool is_acceptable(struct tcp *tcp, const struct tcp_header *header) {
    bool reset = (header->flags & TCP_RST) != 0;
    if (!reset && paws_rejects(tcp, header)) {
        /* A bare ACK that was overtaken by a newer one is no news, and answering it would breed more. */
        if (header->end != header->sequence || header->sequence != tcp->rcv_nxt)
            answer_duplicate(tcp, header);
        return false;
    }
    bool inside =
        !tcp_before(header->end, tcp->rcv_wup) && !tcp_after(header->sequence, tcp->rcv_nxt + tcp_receive_window(tcp));
    if (reset) {
        if (header->sequence == tcp->rcv_nxt)
            reset_arrived(tcp);
        else if (inside)
            tcp_send_challenge(tcp);
        return false;
    }
    bool syn = (header->flags & TCP_SYN) != 0;
    if (tcp->state == TCP_SYN_RECV && syn && header->sequence == tcp->peer_initial) {
        if (!(header->flags & TCP_ACK)) { /* our SYN-ACK was lost */
            if (tcp_first(tcp))
                tcp_retransmit(tcp, tcp_first(tcp));
            return false;
        }
        return true; /* both sides connect at once: the peer's SYN-ACK */
    }
    if (!inside) {
        if (syn)
            tcp_send_challenge(tcp);
        else
            answer_duplicate(tcp, header);
        return false;
    }
    if (syn) {
        tcp_send_challenge(tcp);
        return false;
    }
    return (header->flags & TCP_ACK) != 0;
}

/* Our FIN may have been acknowledged. False: the connection is over (and tcp may be gone). */
static bool after_acknowledgement(struct tcp *tcp) {
    bool fin_acknowledged = tcp->fin_queued && tcp->snd_una == tcp->write_sequence;
    if (!fin_acknowledged)
        return true;
    switch ((enum tcp_state)tcp->state) {
    case TCP_FIN_WAIT1:
        tcp_set_state(tcp, TCP_FIN_WAIT2);
        if (!tcp->orphan) {
            socket_wake(tcp->socket, POLLOUT | POLLWRNORM);
        } else if (tcp->settings.fin_timeout < 0) {
            tcp_done(tcp, 0);
            return false;
        } else {
            tcp_deadline_set(tcp, &tcp->keepalive,
                             tcp_now(tcp) + (tcp->settings.fin_timeout ? tcp->settings.fin_timeout : TCP_FIN_TIMEOUT));
        }
        return true;
    case TCP_CLOSING:
        tcp_enter_time_wait(tcp);
        return false;
    case TCP_LAST_ACK:
        tcp_done(tcp, 0);
        return false;
    default:
        return true;
    }
}

/* Whether the packet was taken; otherwise the caller frees it. */
static bool connection_input(struct tcp *tcp, struct packet *packet, const struct tcp_header *header) {
    if (!is_acceptable(tcp, header))
        return false;
    bool handshake = tcp->state == TCP_SYN_RECV;
    if (handshake ? !syn_received_input(tcp, packet, header) : !acknowledge(tcp, header))
        return false;
    if (!after_acknowledgement(tcp))
        return false;
    take_urgent(tcp, packet, header);
    bool taken = false;
    if (header->end != header->sequence && !(header->flags & TCP_SYN)) {
        if (tcp_in(tcp, TCP_STATES(TCP_ESTABLISHED) | TCP_STATES(TCP_FIN_WAIT1) | TCP_STATES(TCP_FIN_WAIT2))) {
            uint32_t payload_end = header->sequence + header->payload_length;
            /* RFC 9293, 3.6.1: data for a program that has closed cannot be delivered, and the sender should know. */
            if (tcp->state != TCP_ESTABLISHED && tcp->socket->read_shutdown && header->payload_length &&
                tcp_after(payload_end, tcp->rcv_nxt)) {
                tcp_reset_and_done(tcp, ECONNRESET);
                return false;
            }
            taken = true;
            queue_data(tcp, packet, header);
        } else {
            tcp->ack_scheduled = tcp->ack_now = true; /* the peer repeats its FIN: it missed our ACK */
        }
    }
    if (tcp->state == TCP_TIME_WAIT)
        return taken;
    tcp_push(tcp, TCP_PUSH_NAGLE);
    tcp_write_possible(tcp);
    acknowledge_arrivals(tcp);
    return taken;
}

/* RFC 9293, 3.10.7.4 for TIME_WAIT; RFC 6191: a SYN with a later timestamp or sequence number opens anew.
 * True: the names are free now, and the listener is to see the SYN. */
static bool time_wait_input(struct tcp *tcp, const struct tcp_header *header) {
    if (header->flags & TCP_RST) {
        if (header->sequence == tcp->rcv_nxt)
            reset_arrived(tcp);
        return false;
    }
    bool newer = tcp_after(header->sequence, tcp->rcv_nxt) ||
                 (tcp->timestamps && header->has_timestamp && tcp_after(header->timestamp, tcp->timestamp_recent));
    if ((header->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && newer) {
        tcp_done(tcp, 0);
        return true;
    }
    if (header->end != header->sequence || header->sequence != tcp->rcv_nxt) {
        if (header->flags & TCP_FIN)
            tcp_deadline_set(tcp, &tcp->keepalive, tcp_now(tcp) + TCP_TIME_WAIT_NS);
        tcp_send_ack(tcp);
    }
    return false;
}

static struct socket *find_socket(struct host *host, const struct packet *packet) {
    const uint8_t *ports = packet->data + packet->transport;
    struct ip_address source = packet_source(packet), destination = packet_destination(packet);
    uint16_t source_port = get16(ports), destination_port = get16(ports + 2);
    struct socket *socket =
        inet_find_connection(host, PROTOCOL_TCP, destination, destination_port, source, source_port);
    if (!socket)
        socket = inet_find_listener(host, destination, destination_port);
    return socket ? socket : dns_listener(host, packet);
}

/* RFC 5082: IP_MINTTL, IPV6_MINHOPCOUNT. As in Linux, what ends a handshake may have come from anywhere. */
static bool came_too_far(const struct socket *socket, const struct packet *packet) {
    bool v6 = packet_is_v6(packet);
    return packet->data[v6 ? 7 : 8] < (v6 ? socket->v6.minimum_hops : socket->minimum_ttl) &&
           socket->tcp->state != TCP_SYN_RECV;
}

void tcp_input(struct host *host, struct packet *packet) {
    struct tcp_header header;
    if (!parse(packet, &header)) {
        host->counters.packets_malformed++;
        packet_free(host, packet);
        return;
    }
    struct socket *socket = find_socket(host, packet);
    if (socket && socket->tcp && socket->tcp->state == TCP_TIME_WAIT) {
        if (!time_wait_input(socket->tcp, &header)) {
            packet_free(host, packet);
            return;
        }
        socket = find_socket(host, packet);
    }
    bool taken = false;
    if (!socket || !socket->tcp || socket->tcp->state == TCP_CLOSE) {
        host->counters.packets_dropped_no_socket++;
        tcp_reply_reset(host, packet, &header);
    } else if (!came_too_far(socket, packet)) {
        struct tcp *tcp = socket->tcp;
        tcp->segments_in++;
        if (tcp->state == TCP_LISTEN)
            listen_input(tcp, packet, &header);
        else if (tcp->state == TCP_SYN_SENT)
            syn_sent_input(tcp, packet, &header);
        else
            taken = connection_input(tcp, packet, &header);
    }
    if (!taken)
        packet_free(host, packet);
}
