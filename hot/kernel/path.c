/* Where a name leads: the host's own directory under /srv/<hostname>, its own directories for temporary files,
 * generated /etc files, virtual names, real files.
 *
 * fs.c and namespace.c call this for every path. Names are compared after a lexical normalisation; what is real goes to
 * the real kernel as the program wrote it, so that symbolic links behave.
 */
#include "fs_internal.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>

#define LINKS_MAX 8

static const char *const generated_files[] = {"hosts",      "resolv.conf", "hostname", "nsswitch.conf", "host.conf",
                                              "machine-id", "passwd",      "group",    "gai.conf"};

int64_t native_path(int native_fd, char *out, size_t capacity) {
    char link[32];
    kprintf(link, sizeof link, "/proc/self/fd/%d", native_fd);
    int64_t length =
        platform_syscall(__NR_readlink, (uint64_t)(uintptr_t)link, (uint64_t)(uintptr_t)out, capacity - 1, 0, 0, 0);
    if (length >= 0)
        out[length] = '\0';
    return length;
}

/* Directories for what lives while a machine runs. Real ones would be shared by all hosts and runs, and hold what was
 * left in them. Those that a machine mounts at every start can be neither removed nor renamed. */
static const struct private_directory {
    const char *name, *place; /* the place is in the host's directory */
    uint32_t mode;
    bool mounted;
} private_directories[] = {
    {"/dev/shm", "/.shm", 01777, true},
    {"/run", "/.run", 0755, true},
    {"/tmp", "/.tmp", 01777, false},
    {"/var/tmp", "/.var-tmp", 01777, false},
};

/* What a machine has in them once it has started. */
static const struct {
    const char *place;
    uint32_t mode;
} first_entries[] = {{"/.run/lock", 01777}, {"/.run/user", 0755}};

bool fs_is_private_directory(const char *name) {
    for (size_t i = 0; i < ARRAY_LENGTH(private_directories); i++) {
        if (strcmp(name, private_directories[i].place + 1) == 0)
            return true;
    }
    return false;
}

static bool is_real(const struct host *host, const char *name) {
    for (const char *real = host->real_names; *real; real += strlen(real) + 1) {
        if (path_below(name, real))
            return true;
    }
    return false;
}

static int64_t make_directory(struct host *host, const char *place, uint32_t mode) {
    char real[HOST_PATH_MAX + REAL_NAMES_MAX + 16];
    kprintf(real, sizeof real, "%s%s", host->directory, place);
    int64_t result = platform_syscall(__NR_mkdir, (uint64_t)(uintptr_t)real, 0777, 0, 0, 0, 0);
    if (result)
        return result == -EEXIST ? 0 : result;
    result = platform_syscall(__NR_chmod, (uint64_t)(uintptr_t)real, mode, 0, 0, 0, 0);
    struct stat status;
    if (!result)
        result = native_stat(AT_FDCWD, real, 0, &status);
    struct inode *inode = result ? NULL : inode_find(host, &status, true);
    if (inode)
        inode->user = inode->group = 0;
    return result ? result : inode ? 0 : -ENOMEM;
}

/* The directories above what is real below a private one: programs look at every component of a name. */
static int64_t make_parents(struct host *host, const struct private_directory *directory) {
    char place[REAL_NAMES_MAX + 16];
    int64_t result = 0;
    for (const char *real = host->real_names; *real; real += strlen(real) + 1) {
        const char *below = path_below(real, directory->name);
        for (const char *at = below; !result && at && *at; at++) {
            if (*at != '/' || at == below)
                continue;
            kprintf(place, sizeof place, "%s%.*s", directory->place, (int)(at - below), below);
            result = make_directory(host, place, 0755);
        }
    }
    return result;
}

/* Makes the private directory that a real path below the host's directory leads to, or through, when a program looks
 * there for the first time. From then on it is the programs'. */
static int64_t make_private_directory(struct host *host, const char *path) {
    const char *below = path + strlen(host->directory);
    for (size_t i = 0; i < ARRAY_LENGTH(private_directories); i++) {
        const struct private_directory *directory = &private_directories[i];
        if (!path_below(below, directory->place))
            continue;
        if (host->fs->private_made >> i & 1)
            return 0;
        int64_t result = make_directory(host, directory->place, directory->mode);
        for (size_t entry = 0; !result && entry < ARRAY_LENGTH(first_entries); entry++)
            if (path_below(first_entries[entry].place, directory->place))
                result = make_directory(host, first_entries[entry].place, first_entries[entry].mode);
        if (!result)
            result = make_parents(host, directory);
        if (!result)
            host->fs->private_made |= 1u << i;
        return result;
    }
    return 0;
}

size_t location_mount(const struct location *location) {
    for (size_t i = 0; location->own && i < ARRAY_LENGTH(private_directories); i++) {
        const char *below = path_below(location->name, private_directories[i].name);
        if (private_directories[i].mounted && below && *below)
            return i + 1;
    }
    return 0;
}

bool location_mounted(const struct location *location) {
    for (size_t i = 0; location->own && i < ARRAY_LENGTH(private_directories); i++)
        if (private_directories[i].mounted && strcmp(location->name, private_directories[i].name) == 0)
            return true;
    return false;
}

int fs_real_to_virtual(const struct host *host, char *path, size_t capacity) {
    const char *rest = path_below(path, host->directory);
    if (!rest)
        return 0;
    char prefix[HOST_NAME_MAX + 8];
    size_t prefix_length = (size_t)kprintf(prefix, sizeof prefix, "/srv/%s", host->name);
    for (size_t i = 0; i < ARRAY_LENGTH(private_directories); i++) {
        const char *below = path_below(rest, private_directories[i].place);
        if (below) {
            prefix_length = (size_t)kprintf(prefix, sizeof prefix, "%s", private_directories[i].name);
            rest = below;
            break;
        }
    }
    size_t rest_length = strlen(rest);
    if (prefix_length + rest_length + 1 > capacity)
        return -ENAMETOOLONG;
    memmove(path + prefix_length, rest, rest_length + 1);
    memcpy(path, prefix, prefix_length);
    return 0;
}

int fs_below_root(const struct process *process, char *name, const char *unreachable, size_t capacity) {
    if (!process->root || name[0] != '/')
        return 0;
    const char *rest = path_below(name, process->root);
    if (rest) {
        memmove(name, *rest ? rest : "/", *rest ? strlen(rest) + 1 : 2);
        return 0;
    }
    size_t prefix = strlen(unreachable), length = strlen(name) + 1;
    if (prefix + length > capacity)
        return -ENAMETOOLONG;
    memmove(name + prefix, name, length);
    memcpy(name, unreachable, prefix);
    return 0;
}

enum translation { AS_IS, HOST_DIRECTORY, GENERATED, PRIVATE };

static enum translation translate(const struct host *host, const char *name, char *out, size_t capacity) {
    char prefix[HOST_NAME_MAX + 8];
    kprintf(prefix, sizeof prefix, "/srv/%s", host->name);
    const char *rest = path_below(name, prefix);
    if (rest && host->directory[0]) {
        kprintf(out, capacity, "%s%s", host->directory, rest);
        return HOST_DIRECTORY;
    }
    for (size_t i = 0; host->directory[0] && i < ARRAY_LENGTH(private_directories); i++) {
        rest = path_below(name, private_directories[i].name);
        if (rest && !is_real(host, name)) {
            kprintf(out, capacity, "%s%s%s", host->directory, private_directories[i].place, rest);
            return PRIVATE;
        }
    }
    rest = path_below(name, "/etc");
    for (size_t i = 0; rest && *rest && host->hosts_file[0] && i < ARRAY_LENGTH(generated_files); i++) {
        if (strcmp(rest + 1, generated_files[i]) == 0) {
            kprintf(out, capacity, "%s%s", host->hosts_file, rest);
            return GENERATED;
        }
    }
    return AS_IS;
}

bool fs_virtual_to_real(const struct host *host, const char *name, char *out, size_t capacity) {
    return translate(host, name, out, capacity) != AS_IS;
}

/* base + "/" + path without ".", ".." and empty components; no ".." leads out of the first `floor` bytes of the base.
 */
static int64_t normalise(const char *base, size_t floor, const char *path, char *out) {
    size_t length = strlen(base);
    memcpy(out, base, length);
    while (length && out[length - 1] == '/')
        length--;
    for (const char *at = path; *at;) {
        const char *end = at;
        while (*end && *end != '/')
            end++;
        size_t part = (size_t)(end - at);
        if (part == 2 && at[0] == '.' && at[1] == '.') {
            while (length > floor && out[--length] != '/')
                ;
        } else if (part && !(part == 1 && at[0] == '.')) {
            if (length + part + 2 > FS_PATH_MAX)
                return -ENAMETOOLONG;
            out[length++] = '/';
            memcpy(out + length, at, part);
            length += part;
        }
        at = *end ? end + 1 : end;
    }
    if (!length)
        out[length++] = '/';
    out[length] = '\0';
    return 0;
}

/* The absolute name of the directory that a relative path starts from, and its real descriptor. */
static int64_t base_of(struct task *task, int directory, char *name, int *native_fd) {
    int64_t result;
    *native_fd = AT_FDCWD;
    if (directory == AT_FDCWD) {
        result = platform_syscall(__NR_getcwd, (uint64_t)(uintptr_t)name, FS_PATH_MAX, 0, 0, 0, 0);
        return result < 0 ? result : fs_real_to_virtual(task->host, name, FS_PATH_MAX);
    }
    const struct fd_entry *entry = fd_entry(task, directory);
    if (!entry)
        return -EBADF;
    const char *opened = virtual_directory_name(entry->file);
    if (opened) {
        memcpy(name, opened, strlen(opened) + 1);
        return 0;
    }
    if (entry->native_fd < 0)
        return -ENOTDIR;
    *native_fd = entry->native_fd;
    result = native_path(entry->native_fd, name, FS_PATH_MAX);
    return result < 0 ? result : fs_real_to_virtual(task->host, name, FS_PATH_MAX);
}

/* The absolute name that a link of ours stands for, in `out`, with what followed it. */
static int64_t link_target(struct task *task, char *name, const struct virtual_name *found, const char *rest,
                           char *out) {
    size_t parent = strlen(name), rest_length = strlen(rest);
    while (name[--parent] != '/')
        ;
    int64_t length = virtual_link(task, name, found, out, FS_PATH_MAX);
    if (length < 0)
        return length;
    size_t prefix = out[0] == '/' ? 0 : parent + 1;
    if (prefix + (size_t)length + rest_length + 1 > FS_PATH_MAX)
        return -ENAMETOOLONG;
    memmove(out + prefix, out, (size_t)length);
    memcpy(out, name, prefix);
    memcpy(out + prefix + length, rest, rest_length + 1);
    return 0;
}

/* "/proc/self/fd/5/x", "/dev/fd/5", "/var/run/x": a link of ours inside the path. Rewrites the name. */
static int64_t follow_inner_link(struct task *task, char *name, char *spare, bool *rewritten) {
    *rewritten = false;
    if (!path_below(name, "/proc") && !path_below(name, "/dev") && !path_below(name, "/var"))
        return 0;
    for (char *slash = name + 1; *slash; slash++) {
        if (*slash != '/')
            continue;
        struct virtual_name found;
        *slash = '\0';
        virtual_find(task, name, &found);
        *slash = '/';
        if (found.kind != NAME_LINK && found.kind != NAME_DESCRIPTOR)
            continue;
        size_t rest = strlen(slash);
        char *tail = kalloc_raw(task->host, rest + 1);
        if (!tail)
            return -ENOMEM;
        memcpy(tail, slash, rest + 1);
        *slash = '\0';
        int64_t result = link_target(task, name, &found, tail, spare);
        kfree(task->host, tail);
        *rewritten = true;
        return result ? result : normalise("", 0, spare, name);
    }
    return 0;
}

static int64_t follow_links(struct task *task, struct location *location, bool follow) {
    for (int links = 0; links < LINKS_MAX; links++) {
        bool rewritten;
        int64_t result = follow_inner_link(task, location->name, location->path, &rewritten);
        if (result)
            return result;
        if (rewritten)
            continue;
        virtual_find(task, location->name, &location->found);
        if (location->found.kind != NAME_LINK || !follow)
            return 0;
        result = link_target(task, location->name, &location->found, "", location->path);
        if (!result)
            result = normalise("", 0, location->path, location->name);
        if (result)
            return result;
    }
    return -ELOOP;
}

static uint8_t last_dots(const char *path) {
    size_t end = strlen(path);
    while (end && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && path[start - 1] != '/')
        start--;
    size_t length = end - start;
    bool dots = (length == 1 || length == 2) && path[start] == '.' && path[end - 1] == '.';
    return dots ? (uint8_t)length : 0;
}

static int64_t find(struct task *task, int directory, const char *path, bool follow, struct location *location) {
    struct host *host = task->host;
    bool absolute = path[0] == '/';
    int64_t result = 0;
    if (!*path)
        return -ENOENT;
    const char *root = task->process->root;
    location->dots = last_dots(path);
    kprintf(location->path, FS_PATH_MAX, "%s", root ? root : "");
    location->directory = AT_FDCWD;
    if (!absolute)
        result = base_of(task, directory, location->path, &location->directory);
    bool base_own = false;
    if (!absolute && !result)
        base_own = translate(host, location->path, location->name, FS_PATH_MAX) != AS_IS;
    /* A directory outside the root, which a descriptor or the working directory may still be, has none above it. */
    size_t floor = root && !result && path_below(location->path, root) ? strlen(root) : 0;
    if (!result)
        result = normalise(location->path, floor, path, location->name);
    if (!result)
        result = fs_real_to_virtual(host, location->name, FS_PATH_MAX);
    char *given = NULL; /* the name before links of ours were followed */
    if (!result) {
        size_t length = strlen(location->name) + 1;
        given = kalloc_raw(host, length);
        if (!given)
            return -ENOMEM;
        memcpy(given, location->name, length);
        result = follow_links(task, location, follow);
    }
    bool changed = !result && strcmp(given, location->name) != 0;
    kfree(host, given);
    if (result || location->found.kind != NAME_REAL)
        return result;
    size_t length = strlen(path);
    bool slash = path[length - 1] == '/';
    enum translation how = translate(host, location->name, location->path, FS_REAL_MAX - 1);
    location->own = how == HOST_DIRECTORY || how == PRIVATE;
    location->generated = how == GENERATED;
    if (how == PRIVATE) {
        result = make_private_directory(host, location->path);
        if (result)
            return result;
    }
    /* As the program wrote it wherever the real kernel then stays where the name says: it knows the symbolic links. */
    bool as_given = !root && !changed && (how == AS_IS ? absolute || !base_own : how == HOST_DIRECTORY && base_own);
    if (as_given) {
        memcpy(location->path, path, length + 1);
        return 0;
    }
    char prefix[HOST_NAME_MAX + 8];
    kprintf(prefix, sizeof prefix, "/srv/%s", host->name);
    const char *rest = path_below(path, prefix);
    if (!root && !changed && how == HOST_DIRECTORY && rest) {
        kprintf(location->path, FS_REAL_MAX, "%s%s", host->directory, rest);
        return 0;
    }
    if (how == AS_IS)
        memcpy(location->path, location->name, strlen(location->name) + 1);
    location->directory = AT_FDCWD;
    length = strlen(location->path);
    if (slash && length + 2 <= FS_REAL_MAX && location->path[length - 1] != '/')
        memcpy(location->path + length, "/", 2);
    return 0;
}

int64_t location_of(struct task *task, int directory, const char *path, bool follow, struct location **out) {
    struct location *location = kalloc_raw(task->host, sizeof *location);
    if (!location)
        return -ENOMEM;
    memset(&location->found, 0, sizeof location->found);
    location->own = location->generated = false;
    int64_t result = find(task, directory, path, follow, location);
    if (result) {
        kfree(task->host, location);
        return result;
    }
    *out = location;
    return 0;
}

int64_t location_find(struct task *task, int directory, uint64_t user_path, bool follow, struct location **out) {
    char *path = kalloc_raw(task->host, FS_PATH_MAX);
    if (!path)
        return -ENOMEM;
    int64_t result = string_from_user(path, user_path, FS_PATH_MAX);
    if (result >= 0)
        result = location_of(task, directory, path, follow, out);
    kfree(task->host, path);
    return result;
}

void location_free(struct host *host, struct location *location) { kfree(host, location); }

int64_t location_changeable(const struct location *location) {
    switch (location->found.kind) {
    case NAME_REAL:
        return location->generated ? -EROFS : 0;
    case NAME_MISSING:
        return -ENOENT;
    default:
        return -EPERM;
    }
}

int64_t fs_resolve_path(struct task *task, int directory, const char *path, char *out, size_t capacity) {
    if (!*path && directory != AT_FDCWD) { /* AT_EMPTY_PATH: the file itself */
        const struct fd_entry *entry = fd_entry(task, directory);
        if (!entry)
            return -EBADF;
        if (entry->native_fd < 0)
            return -EACCES;
        int64_t result = native_path(entry->native_fd, out, capacity);
        return result < 0 ? result : 0;
    }
    struct location *location;
    int64_t result = location_of(task, directory, path, true, &location);
    if (result)
        return result;
    if (location->found.kind == NAME_DESCRIPTOR && location->found.process == task->process) {
        const struct fd_entry *entry = fd_entry(task, location->found.fd);
        result = entry && entry->native_fd >= 0 ? native_path(entry->native_fd, out, capacity) : -EACCES;
        result = KMIN(result, 0);
    } else if (location->found.kind != NAME_REAL) {
        result = location->found.kind == NAME_MISSING ? location->found.error : -EACCES;
    } else if (location->path[0] == '/') {
        result = strlen(location->path) < capacity ? 0 : -ENAMETOOLONG;
        if (!result)
            memcpy(out, location->path, strlen(location->path) + 1);
    } else if (!fs_virtual_to_real(task->host, location->name, out, capacity)) {
        result = strlen(location->name) < capacity ? 0 : -ENAMETOOLONG;
        if (!result)
            memcpy(out, location->name, strlen(location->name) + 1);
    }
    location_free(task->host, location);
    return result;
}
