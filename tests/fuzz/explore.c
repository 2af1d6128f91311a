/* A driver for fuzz targets where there is no libFuzzer: gcc tells it which code an input reaches.
 *
 *   gcc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fsanitize-coverage=trace-pc \
 *       -iquote hot/kernel -iquote tests/c -I. -c hot/kernel/[a-z]*.c
 *   gcc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -iquote hot/kernel -iquote tests/c -I. \
 *       tests/fuzz/explore.c tests/fuzz/fuzz_system_calls.c tests/fuzz/native_calls.c tests/c/harness.c *.o -o explore
 *
 *   explore CORPUS SECONDS [SEED]    mutates the inputs of the directory; what reaches new code is added to it
 *   explore -m CORPUS [LEAST]        keeps few inputs that reach the same code, of which each adds LEAST places
 *   explore FILE...                  replays inputs, of a directory all
 *   explore -n COUNT [SEED] [FILE...] replays, then runs COUNT mutations of them: the same ones for the same seed
 *
 * An input that does not end well is left in CORPUS.crash. The coverage of a run is a map of counters by code address,
 * in steps of powers of two (as AFL counts).
 */
#include "explore.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAP_SIZE 65536u
#define INPUT_MAX 1024u
#define INPUTS_MAX 20000u
#define HANG_AFTER_S 60u

struct input {
    char *path; /* NULL: only in memory */
    size_t length;
    uint8_t bytes[];
};

void __sanitizer_cov_trace_pc(void);

static uint8_t hits[MAP_SIZE], seen[MAP_SIZE];
static struct input *inputs[INPUTS_MAX];
static size_t input_count;
static uint64_t state;

void __sanitizer_cov_trace_pc(void) {
    uint64_t at = (uint64_t)__builtin_return_address(0) * UINT64_C(0x9E3779B97F4A7C15) >> 48;
    if (hits[at] < 255)
        hits[at]++;
}

static uint64_t draw(void) { /* SplitMix64 */
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static size_t below(size_t bound) { return bound ? draw() % bound : 0; }

static struct input *input_add(const uint8_t *bytes, size_t length, const char *path) {
    if (input_count == INPUTS_MAX)
        return NULL;
    struct input *input = malloc(sizeof *input + length);
    if (!input)
        abort();
    input->path = path ? strdup(path) : NULL;
    input->length = length;
    memcpy(input->bytes, bytes, length);
    inputs[input_count++] = input;
    return input;
}

static void load_file(const char *path) {
    uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    input_add(bytes, length, path);
}

static int by_path(const struct dirent **left, const struct dirent **right) {
    return strcmp((*left)->d_name, (*right)->d_name);
}

static void load_all(const char *directory) {
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, by_path);
    for (int i = 0; i < count; i++) {
        char path[4400];
        snprintf(path, sizeof path, "%.4096s/%s", directory, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            load_file(path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static void load(const char *path) {
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        load_all(path);
    else
        load_file(path);
}

static uint8_t step_of(uint8_t count) { return (uint8_t)(count ? 1u << (31 - __builtin_clz(count)) : 0); }

/* Runs an input; whether it reached what none had (`counts`: or how often). */
static bool run(const uint8_t *bytes, size_t length, bool counts) {
    bool new = false;
    memset(hits, 0, sizeof hits);
    alarm(HANG_AFTER_S);
    (void)LLVMFuzzerTestOneInput(bytes, length);
    alarm(0);
    for (size_t i = 0; i < MAP_SIZE; i++) {
        uint8_t step = counts ? step_of(hits[i]) : hits[i] != 0;
        new |= (step & ~seen[i]) != 0;
        seen[i] |= step;
    }
    return new;
}

static size_t covered(void) {
    size_t count = 0;
    for (size_t i = 0; i < MAP_SIZE; i++)
        count += seen[i] != 0;
    return count;
}

static size_t mutate(uint8_t *bytes) {
    const struct input *from = input_count ? inputs[below(input_count)] : NULL;
    size_t length = from ? from->length : 0;
    if (from)
        memcpy(bytes, from->bytes, length);
    for (size_t changes = 1 + below(below(4) ? 4 : 32); changes; changes--) {
        size_t at = below(length + 1), size = 1 + below(below(2) ? 4 : 40);
        switch (below(6)) {
        case 0: /* one byte */
            if (at < length)
                bytes[at] = (uint8_t)draw();
            break;
        case 1: /* one bit */
            if (at < length)
                bytes[at] ^= (uint8_t)(1u << below(8));
            break;
        case 2: /* new bytes in between */
            if (length + size <= INPUT_MAX) {
                memmove(bytes + at + size, bytes + at, length - at);
                for (size_t i = 0; i < size; i++)
                    bytes[at + i] = (uint8_t)draw();
                length += size;
            }
            break;
        case 3: /* fewer bytes */
            size = size < length - at ? size : length - at;
            memmove(bytes + at, bytes + at + size, length - at - size);
            length -= size;
            break;
        case 4: /* a piece of another input in between */
            if (input_count) {
                const struct input *other = inputs[below(input_count)];
                size_t start = below(other->length + 1), piece = below(other->length - start + 1);
                if (length + piece > INPUT_MAX)
                    piece = INPUT_MAX - length;
                memmove(bytes + at + piece, bytes + at, length - at);
                memcpy(bytes + at, other->bytes + start, piece);
                length += piece;
            }
            break;
        default: /* a piece again */
            if (length) {
                size_t start = below(length), piece = size < length - start ? size : length - start;
                if (at + piece <= length)
                    memmove(bytes + at, bytes + start, piece);
            }
        }
    }
    return length;
}

static void save(const char *directory, const uint8_t *bytes, size_t length) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    char path[4200];
    snprintf(path, sizeof path, "%.4096s/%016llx", directory, (unsigned long long)hash);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, length, file) != length) {
        perror(path);
        exit(2);
    }
    fclose(file);
    input_add(bytes, length, path);
}

/* Where the input that is being run can be found if it is the last one. */
static uint8_t *candidate_open(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || ftruncate(fd, INPUT_MAX)) {
        perror(path);
        exit(2);
    }
    uint8_t *bytes = mmap(NULL, INPUT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        abort();
    return bytes;
}

static void candidate_set(const char *path, uint8_t *candidate, const uint8_t *bytes, size_t length) {
    if (truncate(path, INPUT_MAX))
        abort();
    memcpy(candidate, bytes, length);
    if (truncate(path, (off_t)length))
        abort();
}

static int explore(const char *directory, long seconds) {
    char crash[4096], absolute[4096];
    if (!realpath(directory, absolute)) {
        perror(directory);
        return 2;
    }
    snprintf(crash, sizeof crash, "%.4000s.crash", absolute);
    uint8_t *candidate = candidate_open(crash);
    load_all(absolute);
    time_t end = time(NULL) + seconds, said = 0;
    for (size_t i = 0; i < input_count; i++) {
        candidate_set(crash, candidate, inputs[i]->bytes, inputs[i]->length);
        (void)run(inputs[i]->bytes, inputs[i]->length, true);
    }
    unsigned long runs = 0;
    for (; time(NULL) < end; runs++) {
        uint8_t bytes[INPUT_MAX];
        size_t length = mutate(bytes);
        candidate_set(crash, candidate, bytes, length);
        if (run(bytes, length, true))
            save(absolute, bytes, length);
        if (time(NULL) >= said + 30) {
            said = time(NULL);
            printf("%lu runs, %zu inputs, %zu places reached\n", runs, input_count, covered());
            fflush(stdout);
        }
    }
    printf("%lu runs, %zu inputs, %zu places reached\n", runs, input_count, covered());
    unlink(crash);
    return 0;
}

static size_t new_places(const uint8_t *map) {
    size_t count = 0;
    for (size_t i = 0; i < MAP_SIZE; i++)
        count += map[i] && !seen[i];
    return count;
}

/* Again and again the one that adds most, until none adds `least`. */
static int minimise(const char *directory, size_t least) {
    char absolute[4096];
    if (!realpath(directory, absolute)) {
        perror(directory);
        return 2;
    }
    load_all(absolute);
    uint8_t (*maps)[MAP_SIZE] = calloc(input_count, MAP_SIZE);
    bool *chosen = calloc(input_count, sizeof *chosen);
    if (!maps || !chosen)
        abort();
    for (size_t i = 0; i < input_count; i++) {
        (void)run(inputs[i]->bytes, inputs[i]->length, false);
        memcpy(maps[i], hits, MAP_SIZE);
    }
    size_t all = covered(), kept = 0;
    memset(seen, 0, sizeof seen);
    for (;;) {
        size_t best = 0, most = 0;
        for (size_t i = 0; i < input_count; i++) {
            size_t count = chosen[i] ? 0 : new_places(maps[i]);
            if (count > most) {
                most = count;
                best = i;
            }
        }
        if (!most || most < least)
            break;
        for (size_t i = 0; i < MAP_SIZE; i++)
            seen[i] |= maps[best][i] != 0;
        chosen[best] = true;
        kept++;
    }
    for (size_t i = 0; i < input_count; i++)
        if (!chosen[i])
            unlink(inputs[i]->path);
    printf("%zu of %zu inputs, %zu of %zu places reached\n", kept, input_count, covered(), all);
    free(maps);
    free(chosen);
    return 0;
}

static int mutations(unsigned long count) {
    for (size_t i = 0; i < input_count; i++)
        (void)run(inputs[i]->bytes, inputs[i]->length, true);
    size_t loaded = input_count;
    while (count--) {
        uint8_t bytes[INPUT_MAX];
        size_t length = mutate(bytes);
        (void)run(bytes, length, true);
    }
    printf("%zu inputs replayed\n", loaded);
    return 0;
}

int main(int count, char **arguments) {
    if ((count == 3 || count == 4) && !strcmp(arguments[1], "-m"))
        return minimise(arguments[2], count > 3 ? strtoul(arguments[3], NULL, 10) : 1);
    if (count >= 3 && !strcmp(arguments[1], "-n")) {
        state = count > 3 ? strtoull(arguments[3], NULL, 10) : 1;
        for (int i = 4; i < count; i++)
            load(arguments[i]);
        return mutations(strtoul(arguments[2], NULL, 10));
    }
    char *end = count > 2 ? NULL : (char *)"x";
    long seconds = count > 2 ? strtol(arguments[2], &end, 10) : 0;
    if ((count == 3 || count == 4) && !*end) {
        state = count > 3 ? strtoull(arguments[3], NULL, 10) : (uint64_t)time(NULL);
        return explore(arguments[1], seconds);
    }
    for (int i = 1; i < count; i++)
        load(arguments[i]);
    return mutations(0);
}
