/* A small printf for code without a libc: %s %c %d %u %x %p %%, with l, ll and z, '-', '0', width and precision of %s.
 *
 * Called by everything that writes text (strace, /proc, warnings); calls nothing.
 */
#include "kernel.h"

struct output {
    char *buffer;
    size_t capacity, length;
};

static void put(struct output *out, char c) {
    if (out->length + 1 < out->capacity)
        out->buffer[out->length] = c;
    out->length++;
}

static void put_padded(struct output *out, const char *text, size_t length, size_t width, bool left, char pad) {
    for (size_t i = length; !left && i < width; i++)
        put(out, pad);
    for (size_t i = 0; i < length; i++)
        put(out, text[i]);
    for (size_t i = length; left && i < width; i++)
        put(out, ' ');
}

static void put_number(struct output *out, uint64_t value, bool negative, unsigned base, size_t width, bool left,
                       char pad, bool prefix, bool upper) {
    char digits[24];
    size_t length = 0;
    do
        digits[length++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
    while (value /= base);
    if (prefix) {
        digits[length++] = 'x';
        digits[length++] = '0';
    }
    if (negative && pad == '0' && !left) {
        put(out, '-');
        width -= width > 0;
    } else if (negative) {
        digits[length++] = '-';
    }
    for (size_t i = 0; i < length / 2; i++) {
        char swap = digits[i];
        digits[i] = digits[length - 1 - i];
        digits[length - 1 - i] = swap;
    }
    put_padded(out, digits, length, width, left, pad);
}

int kvprintf(char *buffer, size_t capacity, const char *format, __builtin_va_list arguments) {
    struct output out = {buffer, capacity, 0};
    for (const char *at = format; *at; at++) {
        if (*at != '%') {
            put(&out, *at);
            continue;
        }
        bool left = false, bounded = false;
        char pad = ' ';
        size_t width = 0, precision = SIZE_MAX;
        int longs = 0;
        at++;
        for (; *at == '-' || *at == '0'; at++) {
            left |= *at == '-';
            pad = *at == '0' ? '0' : pad;
        }
        for (; *at >= '0' && *at <= '9'; at++)
            width = width * 10 + (size_t)(*at - '0');
        if (*at == '.') {
            bounded = true;
            precision = 0;
            if (at[1] == '*') {
                int given = __builtin_va_arg(arguments, int);
                precision = given < 0 ? 0 : (size_t)given;
                at++;
            }
            for (at++; *at >= '0' && *at <= '9'; at++)
                precision = precision * 10 + (size_t)(*at - '0');
        }
        for (; *at == 'l' || *at == 'z'; at++)
            longs++;
        switch (*at) {
        case 's': {
            const char *text = __builtin_va_arg(arguments, const char *);
            size_t length = 0;
            while ((!bounded || length < precision) && text[length])
                length++;
            put_padded(&out, text, length, width, left, ' ');
            break;
        }
        case 'c': {
            char c = (char)__builtin_va_arg(arguments, int);
            put_padded(&out, &c, 1, width, left, ' ');
            break;
        }
        case 'd': {
            int64_t value = longs ? __builtin_va_arg(arguments, int64_t) : __builtin_va_arg(arguments, int);
            put_number(&out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0, 10, width, left, pad, false,
                       false);
            break;
        }
        case 'u':
        case 'x':
        case 'X': {
            uint64_t value = longs ? __builtin_va_arg(arguments, uint64_t) : __builtin_va_arg(arguments, unsigned);
            put_number(&out, value, false, *at == 'u' ? 10 : 16, width, left, pad, false, *at == 'X');
            break;
        }
        case 'p':
            put_number(&out, (uint64_t)__builtin_va_arg(arguments, void *), false, 16, width, left, ' ', true, false);
            break;
        case '%':
            put(&out, '%');
            break;
        default: /* a format that nobody checked at compile time: show it, lose nothing */
            put(&out, '%');
            at--;
        }
    }
    if (capacity)
        buffer[KMIN(out.length, capacity - 1)] = '\0';
    return (int)out.length;
}

int kprintf(char *buffer, size_t capacity, const char *format, ...) {
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    int length = kvprintf(buffer, capacity, format, arguments);
    __builtin_va_end(arguments);
    return length;
}
