/* Virtual inodes: numbers and times of real files that do not depend on the machine.
 *
 * fs.c and namespace.c call this. A real inode gets its number when a program of the host first sees it. Its times are
 * the real ones if it is an input, the epoch if the run made it before programs started, and virtual time from the
 * moment that a program changes it. Its owner is who made it in the simulation, or to whom chown gave it; what was in
 * the host's directory before belongs to the user of the host's first process, and everything else to root.
 *
 * A record lives as long as its file has a name, and then until nothing uses it: descriptions, programs, mappings.
 * So a host may make and remove files for ever. Numbers are not used again.
 */
#include "credentials.h"
#include "fs_internal.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#define FIRST_BUCKETS 64u
#define FIRST_NUMBER 0x1000u

int fs_create(struct host *host) {
    struct fs *fs = kalloc(host, sizeof *fs);
    struct list *buckets = kalloc(host, FIRST_BUCKETS * sizeof *buckets);
    if (!fs || !buckets) {
        kfree(host, fs);
        kfree(host, buckets);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < FIRST_BUCKETS; i++)
        list_init(&buckets[i]);
    fs->buckets = buckets;
    fs->bucket_count = FIRST_BUCKETS;
    fs->next_number = FIRST_NUMBER;
    host->fs = fs;
    return 0;
}

static struct list *bucket_of(struct list *buckets, uint32_t count, uint64_t device, uint64_t number) {
    uint64_t hash = (number ^ (device << 40)) * UINT64_C(0x9E3779B97F4A7C15);
    return &buckets[(hash >> 32) & (count - 1)];
}

/* Twice the buckets, if memory allows: else the chains grow. */
static void grow(struct host *host, struct fs *fs) {
    uint32_t count = fs->bucket_count * 2;
    struct list *buckets = kalloc(host, count * sizeof *buckets);
    if (!buckets)
        return;
    for (uint32_t i = 0; i < count; i++)
        list_init(&buckets[i]);
    for (uint32_t i = 0; i < fs->bucket_count; i++) {
        list_for_each_safe(node, &fs->buckets[i]) {
            struct inode *inode = list_entry(node, struct inode, node);
            list_remove(node);
            list_push_back(bucket_of(buckets, count, inode->device, inode->real_number), node);
        }
    }
    kfree(host, fs->buckets);
    fs->buckets = buckets;
    fs->bucket_count = count;
}

struct inode *inode_seen(const struct host *host, const struct stat *status) {
    const struct fs *fs = host->fs;
    const struct list *bucket = bucket_of(fs->buckets, fs->bucket_count, status->st_dev, status->st_ino);
    list_for_each(node, bucket) {
        struct inode *inode = list_entry(node, struct inode, node);
        if (inode->real_number == status->st_ino && inode->device == status->st_dev)
            return inode;
    }
    return NULL;
}

struct inode *inode_find(struct host *host, const struct stat *status, bool own) {
    struct fs *fs = host->fs;
    struct inode *inode = inode_seen(host, status);
    if (inode)
        return inode;
    inode = kalloc(host, sizeof *inode);
    if (!inode)
        return NULL;
    inode->device = status->st_dev;
    inode->real_number = status->st_ino;
    inode->own = own;
    inode->user = own ? host->owner_user : 0;
    inode->group = own ? host->owner_group : 0;
    list_push_back(bucket_of(fs->buckets, fs->bucket_count, inode->device, inode->real_number), &inode->node);
    if (++fs->count > 2 * fs->bucket_count)
        grow(host, fs);
    return inode;
}

struct inode *inode_numbered(struct host *host, struct inode *inode) {
    if (!inode->number)
        inode->number = host->fs->next_number++;
    return inode;
}

struct inode *inode_get(struct host *host, const struct stat *status, bool own) {
    struct inode *inode = inode_find(host, status, own);
    return inode ? inode_numbered(host, inode) : NULL;
}

static void free_unused(struct host *host, struct inode *inode) {
    for (size_t use = 0; use < INODE_USES; use++)
        if (inode->uses[use])
            return;
    list_remove(&inode->node);
    host->fs->count--;
    kfree(host, inode);
}

void inode_hold(struct inode *inode, enum inode_use use) { inode->uses[use]++; }

void inode_drop(struct host *host, struct inode *inode, enum inode_use use) {
    if (!--inode->uses[use] && inode->nameless)
        free_unused(host, inode);
}

void inode_unnamed(struct host *host, const struct stat *status) {
    struct inode *inode = inode_seen(host, status);
    if (!inode)
        return;
    inode->nameless = true;
    free_unused(host, inode);
}

struct inode *inode_created(struct task *task, const struct stat *status, bool own) {
    struct host *host = task->host;
    struct inode *inode = inode_find(host, status, own);
    if (!inode)
        return NULL;
    inode->number = host->fs->next_number++;
    inode->own = own;
    inode->user = task->credentials->user.filesystem;
    inode->group = task->credentials->group.filesystem;
    inode->touched = inode->nameless = false;
    inode_written(host, inode);
    return inode;
}

void inode_written(struct host *host, struct inode *inode) {
    int64_t now = clock_realtime(host);
    if (!inode->touched) {
        inode->touched = true;
        inode->atime = inode->btime = now;
    }
    inode->mtime = inode->ctime = now;
}

static int64_t joined(unsigned long seconds, unsigned long nanoseconds) {
    return (int64_t)seconds * NS_PER_S + (int64_t)nanoseconds;
}

void inode_changed(struct host *host, struct inode *inode, struct stat *status) {
    inode_present(inode, status);
    int64_t atime = joined(status->st_atime, status->st_atime_nsec);
    int64_t mtime = joined(status->st_mtime, status->st_mtime_nsec);
    inode_written(host, inode);
    inode->atime = atime;
    inode->mtime = mtime;
}

/* Times before 1970 are negative seconds and positive nanoseconds. */
static void split_time(int64_t time, unsigned long *seconds, unsigned long *nanoseconds) {
    int64_t rest = time % NS_PER_S;
    rest += rest < 0 ? NS_PER_S : 0;
    *seconds = (unsigned long)((time - rest) / NS_PER_S);
    *nanoseconds = (unsigned long)rest;
}

static void set_times(struct stat *status, int64_t atime, int64_t mtime, int64_t ctime) {
    split_time(atime, &status->st_atime, &status->st_atime_nsec);
    split_time(mtime, &status->st_mtime, &status->st_mtime_nsec);
    split_time(ctime, &status->st_ctime, &status->st_ctime_nsec);
}

void inode_present(const struct inode *inode, struct stat *status) {
    const int64_t epoch = EPOCH_SECONDS * NS_PER_S;
    if (inode->touched)
        set_times(status, inode->atime, inode->mtime, inode->ctime);
    else if (inode->own)
        set_times(status, epoch, epoch, epoch);
    else {
        status->st_atime = status->st_ctime = status->st_mtime;
        status->st_atime_nsec = status->st_ctime_nsec = status->st_mtime_nsec;
    }
    status->st_dev = VIRTUAL_DEVICE;
    status->st_ino = inode->number;
    status->st_uid = inode->user;
    status->st_gid = inode->group;
    if ((status->st_mode & MODE_TYPE) == MODE_DIRECTORY) { /* both differ from file system to file system */
        status->st_size = 4096;
        status->st_nlink = 1;
    }
    status->st_blksize = 4096;
    status->st_blocks = (status->st_size + 4095) / 4096 * 8;
}

void status_synthetic(struct stat *status, uint32_t mode, uint64_t number) {
    memset(status, 0, sizeof *status);
    status->st_dev = 5;
    status->st_ino = number;
    status->st_mode = mode;
    status->st_nlink = 1;
    status->st_blksize = 4096;
    const int64_t epoch = EPOCH_SECONDS * NS_PER_S;
    set_times(status, epoch, epoch, epoch);
}

bool fs_first_time(struct host *host, uint64_t hash) {
    uint64_t *word = &host->fs->warned[hash / 64 % ARRAY_LENGTH(host->fs->warned)];
    bool first = !(*word >> (hash % 64) & 1);
    *word |= UINT64_C(1) << (hash % 64);
    return first;
}

int64_t native_stat(int directory, const char *path, int flags, struct stat *status) {
    return platform_syscall(__NR_newfstatat, (uint64_t)directory, (uint64_t)(uintptr_t)path,
                            (uint64_t)(uintptr_t)status, (uint64_t)flags, 0, 0);
}
