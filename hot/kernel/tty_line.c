/* The line discipline of a terminal: editing, echo, signals and translations (termios(3); Linux: n_tty.c).
 *
 * pty.c calls it with what is typed at the master and with what programs write. Nothing here sleeps or touches user
 * memory. Not there: ECHOPRT, the erasing of printing terminals, delays, and parity, which pseudo-terminals do not
 * have.
 */
#include "signal.h"
#include "tty.h"

#include <asm/ioctls.h>
#include <linux/poll.h>

static bool has_input(const struct terminal *t, uint32_t flag) { return (t->settings.c_iflag & flag) != 0; }
static bool has_output(const struct terminal *t, uint32_t flag) { return (t->settings.c_oflag & flag) != 0; }
static bool has_local(const struct terminal *t, uint32_t flag) { return (t->settings.c_lflag & flag) != 0; }

/* Whether a byte is a special one; 0 in the settings means that there is none. */
static bool is_special(const struct terminal *t, uint8_t byte, size_t which) {
    return t->settings.c_cc[which] && t->settings.c_cc[which] == byte;
}

static uint32_t input_used(const struct terminal *t) { return t->input_head - t->input_tail; }
static uint32_t output_used(const struct terminal *t) { return t->output_head - t->output_tail; }
static bool line_complete(const struct terminal *t) { return t->canonical_head != t->input_tail; }

/* ---- Output ---- */

static bool put_output(struct terminal *t, uint32_t limit, const char *bytes, size_t length) {
    if (output_used(t) + length > limit)
        return false;
    for (size_t i = 0; i < length; i++)
        t->output[t->output_head++ % sizeof t->output] = (uint8_t)bytes[i];
    return true;
}

/* Letters of Latin 1, too, as Linux has them. */
static uint8_t upper_case(uint8_t byte) {
    bool lower = (byte >= 'a' && byte <= 'z') || (byte >= 0337 && byte != 0367);
    return lower ? (uint8_t)(byte - 040) : byte;
}

static uint8_t lower_case(uint8_t byte) {
    bool upper = (byte >= 'A' && byte <= 'Z') || (byte >= 0300 && byte <= 0336 && byte != 0327);
    return upper ? (uint8_t)(byte + 040) : byte;
}

static bool is_continuation(const struct terminal *t, uint8_t byte) {
    return has_input(t, IUTF8) && (byte & 0xc0) == 0x80;
}

/* One byte with OPOST (do_output_char of Linux). False: there is no room for what becomes of it. */
static bool put_processed(struct terminal *t, uint32_t limit, uint8_t byte) {
    char one = (char)byte;
    if (!has_output(t, OPOST))
        return put_output(t, limit, &one, 1);
    uint32_t spaces = 8 - (t->column & 7);
    switch (byte) {
    case '\n':
        if (!put_output(t, limit, "\r\n" + !has_output(t, ONLCR), has_output(t, ONLCR) ? 2 : 1))
            return false;
        if (has_output(t, ONLCR | ONLRET))
            t->line_column = t->column = 0;
        return true;
    case '\r':
        if (has_output(t, ONOCR) && t->column == 0)
            return true;
        if (!put_output(t, limit, has_output(t, OCRNL) ? "\n" : "\r", 1))
            return false;
        if (!has_output(t, OCRNL) || has_output(t, ONLRET))
            t->line_column = t->column = 0;
        return true;
    case '\t':
        if (!put_output(t, limit, (t->settings.c_oflag & TABDLY) == XTABS ? "        " : "\t",
                        (t->settings.c_oflag & TABDLY) == XTABS ? spaces : 1))
            return false;
        t->column += spaces;
        return true;
    case '\b':
        if (!put_output(t, limit, "\b", 1))
            return false;
        t->column -= t->column > 0;
        return true;
    default:
        if (has_output(t, OLCUC))
            one = (char)upper_case(byte);
        if (!put_output(t, limit, &one, 1))
            return false;
        if (byte >= ' ' && byte != 0177 && !is_continuation(t, byte))
            t->column++;
        return true;
    }
}

bool line_printing_room(const struct terminal *t) { return !t->stopped && output_used(t) < OUTPUT_SIZE; }

size_t line_print(struct terminal *t, const uint8_t *bytes, size_t length) {
    size_t done = 0;
    while (!t->stopped && done < length && put_processed(t, OUTPUT_SIZE, bytes[done]))
        done++;
    if (done)
        terminal_wake_master(t, POLLIN | POLLRDNORM);
    return done;
}

void line_flush_output(struct terminal *t) {
    t->output_tail = t->output_head;
    terminal_wake_programs(t, POLLOUT | POLLWRNORM);
}

void line_stop(struct terminal *t, bool stopped) {
    if (t->stopped == stopped || (!stopped && t->held))
        return;
    t->stopped = stopped;
    terminal_tell(t, stopped ? TIOCPKT_STOP : TIOCPKT_START, TIOCPKT_STOP | TIOCPKT_START);
    if (!stopped)
        terminal_wake_programs(t, POLLOUT | POLLWRNORM);
}

void line_hold(struct terminal *t, bool held) {
    bool changes = t->held != held;
    t->held = held;
    if (changes)
        line_stop(t, held);
}

void line_print_raw(struct terminal *t, uint8_t byte) {
    if (put_output(t, sizeof t->output, (const char *)&byte, 1))
        terminal_wake_master(t, POLLIN | POLLRDNORM);
}

/* ---- Echo ---- */

static void echo_raw(struct terminal *t, uint8_t byte) { (void)put_processed(t, sizeof t->output, byte); }

static bool shown_as_two(const struct terminal *t, uint8_t byte) {
    return has_local(t, ECHOCTL) && (byte < ' ' || byte == 0177) && byte != '\t';
}

static void echo(struct terminal *t, uint8_t byte) {
    if (shown_as_two(t, byte)) {
        echo_raw(t, '^');
        byte ^= 0100;
    }
    echo_raw(t, byte);
}

/* Nothing takes back what was echoed so far (commit_echoes of Linux). */
static void commit_echoes(struct terminal *t) {
    t->echo_start = t->output_head;
    t->echo_column = t->column;
}

static void echo_typed(struct terminal *t, uint8_t byte) {
    if (!has_local(t, ECHO))
        return;
    if (t->canonical_head == t->input_head)
        t->line_column = t->column;
    echo(t, byte);
}

/* ---- Editing ---- */

static uint8_t *typed(struct terminal *t, uint32_t position) { return &t->input[position % LINE_SIZE]; }

static void put_input(struct terminal *t, uint8_t byte, enum mark mark) {
    t->marks[t->input_head % LINE_SIZE] = (uint8_t)mark;
    *typed(t, t->input_head++) = byte;
}

/* Moves the cursor back over a tab: to where what is typed before it ends. */
static void unecho_tab(struct terminal *t) {
    uint32_t width = 0, start = t->line_column;
    bool after_tab = false;
    for (uint32_t at = t->input_head; at != t->canonical_head && !after_tab;) {
        uint8_t byte = *typed(t, --at);
        after_tab = byte == '\t';
        if (!after_tab)
            width += shown_as_two(t, byte) ? 2 : byte >= ' ' && byte != 0177 && !is_continuation(t, byte);
    }
    width += after_tab ? 0 : start & 7;
    for (uint32_t back = 8 - (width & 7); back; back--)
        echo_raw(t, '\b');
}

static void unecho(struct terminal *t, uint8_t byte) {
    if (byte == '\t') {
        unecho_tab(t);
        return;
    }
    uint32_t width = shown_as_two(t, byte) ? 2 : byte < ' ' || byte == 0177 ? 0 : 1;
    while (width--)
        for (const char *at = "\b \b"; *at; at++)
            echo_raw(t, (uint8_t)*at);
}

static bool is_word(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           byte == '_' || byte >= 0200;
}

/* Takes the last character back; false: the line is empty. */
static bool erase_one(struct terminal *t) {
    if (t->input_head == t->canonical_head)
        return false;
    uint32_t head = t->input_head;
    do
        head--;
    while (is_continuation(t, *typed(t, head)) && head != t->canonical_head);
    t->input_head = head;
    return true;
}

/* VERASE, VWERASE, VKILL (eraser of Linux). */
static void erase(struct terminal *t, uint8_t byte) {
    bool kill = is_special(t, byte, VKILL), word = !kill && !is_special(t, byte, VERASE), seen = false;
    if (kill && (!has_local(t, ECHO) || !has_local(t, ECHOK) || !has_local(t, ECHOKE) || !has_local(t, ECHOE))) {
        bool empty = t->input_head == t->canonical_head;
        t->input_head = t->canonical_head;
        if (empty || !has_local(t, ECHO))
            return;
        echo(t, byte);
        if (has_local(t, ECHOK))
            echo_raw(t, '\n');
        return;
    }
    while (t->input_head != t->canonical_head) {
        uint8_t last = *typed(t, t->input_head - 1);
        if (word && seen && !is_word(last))
            break;
        seen |= is_word(last);
        if (!erase_one(t))
            break;
        uint8_t first = *typed(t, t->input_head);
        if (has_local(t, ECHO) && !kill && !word && !has_local(t, ECHOE))
            echo(t, t->settings.c_cc[VERASE]);
        else if (has_local(t, ECHO))
            unecho(t, first);
        if (!word && !kill)
            break;
    }
}

static void reprint(struct terminal *t, uint8_t byte) {
    echo(t, byte);
    echo_raw(t, '\n');
    for (uint32_t at = t->canonical_head; at != t->input_head; at++)
        echo(t, *typed(t, at));
}

static void finish_line(struct terminal *t, uint8_t byte, enum mark mark) {
    put_input(t, byte, mark);
    t->canonical_head = t->input_head;
}

/* ---- Input ---- */

/* Programs can take something: what canonical input means by that, lines are. */
static void tell_readers(struct terminal *t) {
    if (line_available(t, LINE_SIZE, 1) >= 0)
        terminal_wake_programs(t, POLLIN | POLLRDNORM);
}

/* One byte is kept free for the end of a line. */
static uint32_t input_room(const struct terminal *t) { return LINE_SIZE - 1 - KMIN(input_used(t), LINE_SIZE - 1); }

/* With PARMRK a byte may become several: Linux waits for room for three. */
bool line_typing_room(const struct terminal *t) {
    return input_room(t) > (has_input(t, PARMRK) ? 2 : 0) || (has_local(t, ICANON) && !line_complete(t));
}

static int signal_of(const struct terminal *t, uint8_t byte) {
    if (!has_local(t, ISIG))
        return 0;
    return is_special(t, byte, VINTR)   ? KSIGINT
           : is_special(t, byte, VQUIT) ? KSIGQUIT
           : is_special(t, byte, VSUSP) ? KSIGTSTP
                                        : 0;
}

static void type_signal(struct terminal *t, uint8_t byte, int signo) {
    if (!has_local(t, NOFLSH)) {
        line_flush_input(t);
        t->output_head = t->echo_start;
        t->column = t->echo_column;
        terminal_tell(t, TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE, 0);
    }
    jobs_signal_foreground(t, signo);
    if (has_input(t, IXON))
        line_stop(t, false);
    if (has_local(t, ECHO))
        echo(t, byte);
    commit_echoes(t);
}

/* Bytes that edit or end a line. False: it is none of them. */
static bool type_canonical(struct terminal *t, uint8_t byte) {
    bool extended = has_local(t, IEXTEN);
    if (is_special(t, byte, VERASE) || is_special(t, byte, VKILL) || (extended && is_special(t, byte, VWERASE))) {
        erase(t, byte);
    } else if (extended && is_special(t, byte, VLNEXT)) {
        t->literal = true;
        if (has_local(t, ECHO) && has_local(t, ECHOCTL)) {
            echo_raw(t, '^');
            echo_raw(t, '\b');
        }
    } else if (extended && has_local(t, ECHO) && is_special(t, byte, VREPRINT)) {
        reprint(t, byte);
    } else if (byte == '\n') {
        if (has_local(t, ECHO | ECHONL))
            echo_raw(t, '\n');
        commit_echoes(t);
        finish_line(t, byte, MARK_LINE);
    } else if (is_special(t, byte, VEOF)) {
        finish_line(t, '\0', MARK_END);
    } else if (is_special(t, byte, VEOL) || (extended && is_special(t, byte, VEOL2))) {
        echo_typed(t, byte);
        finish_line(t, byte, MARK_LINE);
    } else {
        return false;
    }
    return true;
}

static void type_ordinary(struct terminal *t, uint8_t byte) {
    bool doubled = byte == 0377 && has_input(t, PARMRK);
    if (input_room(t) < 1u + doubled) { /* of a line that nobody can read yet: what follows is lost */
        if (has_input(t, IMAXBEL))
            echo_raw(t, '\a');
        return;
    }
    if (byte == '\n' && has_local(t, ECHO))
        echo_raw(t, byte);
    else
        echo_typed(t, byte);
    if (doubled)
        put_input(t, byte, MARK_NONE);
    put_input(t, byte, MARK_NONE);
}

static void type_one(struct terminal *t, uint8_t byte) {
    if (has_input(t, ISTRIP))
        byte &= 0177;
    if (has_input(t, IUCLC) && has_local(t, IEXTEN))
        byte = lower_case(byte);
    if (t->literal) {
        t->literal = false;
        type_ordinary(t, byte);
        return;
    }
    if (has_input(t, IXON) && (is_special(t, byte, VSTART) || is_special(t, byte, VSTOP))) {
        line_stop(t, !is_special(t, byte, VSTART));
        return;
    }
    int signo = signal_of(t, byte);
    if (signo) {
        type_signal(t, byte, signo);
        return;
    }
    if (t->stopped && has_input(t, IXON) && has_input(t, IXANY))
        line_stop(t, false);
    if (byte == '\r') {
        if (has_input(t, IGNCR))
            return;
        byte = has_input(t, ICRNL) ? '\n' : '\r';
    } else if (byte == '\n' && has_input(t, INLCR)) {
        byte = '\r';
    }
    if (!has_local(t, ICANON) || !type_canonical(t, byte))
        type_ordinary(t, byte);
}

size_t line_type(struct terminal *t, const uint8_t *bytes, size_t length) {
    size_t done = 0;
    uint32_t before = t->output_head;
    commit_echoes(t);
    while (done < length && line_typing_room(t))
        type_one(t, bytes[done++]);
    if (t->output_head != before)
        terminal_wake_master(t, POLLIN | POLLRDNORM);
    tell_readers(t);
    return done;
}

void line_flush_input(struct terminal *t) {
    t->input_tail = t->canonical_head = t->input_head;
    t->literal = false;
    terminal_wake_master(t, POLLOUT | POLLWRNORM);
}

/* ---- Reading ---- */

int64_t line_available(const struct terminal *t, size_t wanted, size_t minimum) {
    if (!has_local(t, ICANON)) {
        size_t used = input_used(t);
        return used >= KMAX(KMIN(minimum, wanted), (size_t)1) ? (int64_t)KMIN(used, wanted) : -1;
    }
    if (!line_complete(t))
        return -1;
    int64_t length = 0;
    for (uint32_t at = t->input_tail; at != t->canonical_head && (size_t)length < wanted; at++) {
        uint8_t mark = t->marks[at % LINE_SIZE];
        length += mark != MARK_END;
        if (mark)
            break;
    }
    return length;
}

size_t line_take(struct terminal *t, uint8_t *bytes, size_t length) {
    size_t done = 0;
    bool canonical = has_local(t, ICANON), ended = false;
    while (done < length && !ended && t->input_tail != (canonical ? t->canonical_head : t->input_head)) {
        uint8_t mark = canonical ? t->marks[t->input_tail % LINE_SIZE] : (uint8_t)MARK_NONE;
        if (mark != MARK_END)
            bytes[done++] = *typed(t, t->input_tail);
        t->input_tail++;
        ended = mark != MARK_NONE;
    }
    /* An end of file right behind what filled the reader's memory goes with it (canon_skip_eof of Linux). */
    if (canonical && !ended && done == length && line_complete(t) && t->marks[t->input_tail % LINE_SIZE] == MARK_END)
        t->input_tail++;
    if (!canonical)
        t->canonical_head = t->input_tail;
    terminal_wake_master(t, POLLOUT | POLLWRNORM);
    return done;
}

uint32_t line_waiting(const struct terminal *t) {
    if (!has_local(t, ICANON))
        return input_used(t);
    uint32_t count = 0;
    for (uint32_t at = t->input_tail; at != t->canonical_head; at++)
        count += t->marks[at % LINE_SIZE] != MARK_END;
    return count;
}

/* Whether the two usual bytes stop and continue output. */
static bool stops_as_usual(const struct termios2 *settings) {
    return (settings->c_iflag & IXON) && settings->c_cc[VSTOP] == 023 && settings->c_cc[VSTART] == 021;
}

static void tell_of_settings(struct terminal *t, const struct termios2 *settings) {
    bool usual = stops_as_usual(settings);
    if (usual != stops_as_usual(&t->settings))
        terminal_tell(t, usual ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP, TIOCPKT_DOSTOP | TIOCPKT_NOSTOP);
    if ((t->settings.c_lflag | settings->c_lflag) & EXTPROC)
        terminal_tell(t, TIOCPKT_IOCTL, 0);
}

/* What was typed for the other kind of reading is a line of its own, or bytes like any (n_tty_set_termios). */
void line_set(struct terminal *t, const struct termios2 *settings) {
    bool changed = (t->settings.c_lflag ^ settings->c_lflag) & ICANON;
    tell_of_settings(t, settings);
    t->settings = *settings;
    if (changed) {
        memset(t->marks, MARK_NONE, sizeof t->marks);
        t->literal = false;
        t->canonical_head = has_local(t, ICANON) ? t->input_head : t->input_tail;
        if (line_complete(t))
            t->marks[(t->input_head - 1) % LINE_SIZE] = MARK_LINE;
    }
    if (!has_input(t, IXON))
        line_stop(t, false);
    tell_readers(t);
}
