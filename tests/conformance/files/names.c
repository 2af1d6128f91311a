/* Links, renames, directories, permissions, times and what stat tells of them. */
#include "calls.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void make(const char *name, const char *text) {
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    (void)!write(fd, text, strlen(text));
    close(fd);
}

static void show(const char *name) {
    struct stat status;
    if (lstat(name, &status)) {
        printf("%s: %s\n", name, strerrorname_np(errno));
        return;
    }
    const char *kind = S_ISREG(status.st_mode)    ? "file"
                       : S_ISDIR(status.st_mode)  ? "directory"
                       : S_ISLNK(status.st_mode)  ? "link"
                       : S_ISFIFO(status.st_mode) ? "fifo"
                                                  : "other";
    printf("%s: %s %03o", name, kind, status.st_mode & 07777);
    if (!S_ISDIR(status.st_mode))
        printf(", links %ld, size %ld", (long)status.st_nlink, (long)status.st_size);
    printf(", ours %d\n", status.st_uid == getuid() && status.st_gid == getgid());
}

static ino_t number(const char *name) {
    struct stat status = {0};
    lstat(name, &status);
    return status.st_ino;
}

static void linking(void) {
    make("a", "aaa");
    FACT(link("a", "b"));
    show("a");
    HOLDS(number("a") == number("b") && number("a") != 0);
    FACT(link("a", "b"));
    FACT(link("missing", "c"));
    FACT(unlink("a"));
    show("b");
    FACT(unlink("a"));
    FACT(symlink("b", "s"));
    show("s");
    char target[16];
    FACT(readlink("s", target, sizeof target));
    FACT(readlink("s", target, 0));
    FACT(readlink("b", target, sizeof target));
    FACT(symlink("", "t"));
    FACT(symlink("b", "s"));
    FACT(linkat(AT_FDCWD, "s", AT_FDCWD, "hard", 0));
    show("hard");
    FACT(unlink("hard"));
    FACT(linkat(AT_FDCWD, "s", AT_FDCWD, "hard", AT_SYMLINK_FOLLOW));
    show("hard");
    FACT(unlink("hard"));
    FACT(symlink("l2", "l1"));
    FACT(symlink("l1", "l2"));
    struct stat status;
    FACT(stat("l1", &status));
    unlink("l1");
    unlink("l2");
    unlink("s");
    unlink("b");
}

static void renaming(void) {
    make("a", "from");
    make("b", "to it");
    ino_t first = number("a");
    FACT(rename("a", "b"));
    HOLDS(number("b") == first);
    show("a");
    show("b");
    FACT(rename("a", "b"));
    FACT(rename("b", "b"));
    mkdir("d", 0755);
    mkdir("e", 0755);
    make("e/x", "");
    FACT(rename("b", "d"));
    FACT(rename("d", "b"));
    FACT(rename("d", "e"));
    FACT(rename("e", "e/inner"));
    FACT(rename("e", "d"));
    show("d/x");
    FACT(rename("d", "missing/d"));
    make("c", "see");
    FACT(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 1)); /* RENAME_NOREPLACE */
    FACT(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 2)); /* RENAME_EXCHANGE */
    show("b");
    FACT(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 3));
    FACT(rmdir("d"));
    FACT(rmdir("c"));
    FACT(unlink("d"));
    FACT(unlink("d/x"));
    FACT(rmdir("d"));
    FACT(rmdir("d"));
    FACT(rmdir("."));
    FACT(unlink("b"));
    FACT(unlink("c"));
}

static int compare(const void *left, const void *right) { return strcmp(*(char *const *)left, *(char *const *)right); }

static void list(const char *name) {
    DIR *directory = opendir(name);
    char *names[600];
    size_t count = 0;
    bool numbered = true;
    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;) {
        char text[300];
        snprintf(text, sizeof text, "%s/%d", entry->d_name, entry->d_type);
        names[count++] = strdup(text);
        numbered &= entry->d_ino != 0;
    }
    qsort(names, count, sizeof *names, compare);
    printf("%zu entries, numbered %d:", count, numbered);
    for (size_t i = 0; i < count && i < 8; i++)
        printf(" %s", names[i]);
    printf("\n");
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    if (directory) {
        rewinddir(directory);
        struct dirent *first = readdir(directory);
        printf("again: %d\n", first != NULL);
        closedir(directory);
    }
}

static void directories(void) {
    char name[32], path[256];
    FACT(mkdir("d", 0777));
    show("d");
    FACT(mkdir("d", 0777));
    FACT(mkdir("missing/d", 0777));
    make("d/file", "x");
    mkdir("d/sub", 0700);
    (void)!symlink("file", "d/link");
    list("d");
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "d/many-%03d", i);
        make(name, "");
    }
    list("d");
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "d/many-%03d", i);
        unlink(name);
    }
    struct stat status;
    stat("d", &status);
    int fd = open("d", O_RDONLY);
    FACT(syscall(SYS_getdents64, fd, path, 4));
    FACT(fchdir(fd));
    HOLDS(getcwd(path, sizeof path) != NULL && strcmp(strrchr(path, '/'), "/d") == 0);
    HOLDS(getcwd(path, 2) == NULL && errno == ERANGE);
    FACT(access("file", R_OK));
    FACT(chdir(".."));
    FACT(chdir("d/file"));
    FACT(chdir("missing"));
    FACT(fchdir(1000));
    close(fd);
    fd = open("d/file", O_RDONLY);
    FACT(syscall(SYS_getdents64, fd, path, sizeof path));
    FACT(fchdir(fd));
    close(fd);
    unlink("d/file");
    unlink("d/link");
    rmdir("d/sub");
    FACT(rmdir("d"));
}

static void permissions(void) {
    struct stat status;
    umask(027);
    int fd = open("p", O_CREAT | O_RDWR, 0777);
    show("p");
    mkdir("q", 0777);
    show("q");
    FACT(fchmod(fd, 04755));
    show("p");
    FACT(chmod("p", 0));
    show("p");
    FACT(chmod("missing", 0));
    FACT(fchmodat(AT_FDCWD, "p", 0604, 0));
    FACT(fchmod(1000, 0));
    FACT(access("p", X_OK));
    FACT(access("p", F_OK));
    FACT(access("p", 77));
    FACT(faccessat(AT_FDCWD, "q", X_OK, AT_EACCESS));
    FACT(chown("p", getuid(), getgid()));
    FACT(chown("p", (uid_t)-1, (gid_t)-1));
    FACT(fchownat(AT_FDCWD, "missing", 0, 0, 0));
    struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 0}};
    FACT(futimens(fd, times));
    FACT(fstat(fd, &status));
    printf("times %ld.%ld %ld\n", (long)status.st_atim.tv_sec, status.st_atim.tv_nsec, (long)status.st_mtim.tv_sec);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = UTIME_NOW;
    FACT(utimensat(AT_FDCWD, "p", times, 0));
    FACT(stat("p", &status));
    printf("atime %ld, mtime moved %d\n", (long)status.st_atim.tv_sec, status.st_mtim.tv_sec != 1100000000);
    times[0].tv_nsec = 1000000000;
    FACT(utimensat(AT_FDCWD, "p", times, 0));
    int64_t before = status.st_mtim.tv_sec * INT64_C(1000000000) + status.st_mtim.tv_nsec;
    nap(20);
    (void)!write(fd, "12345", 5);
    fstat(fd, &status);
    HOLDS(status.st_mtim.tv_sec * INT64_C(1000000000) + status.st_mtim.tv_nsec > before);
    HOLDS(status.st_size == 5 && status.st_blksize > 0);
    struct statx extended;
    FACT(statx(AT_FDCWD, "p", 0, STATX_BASIC_STATS, &extended));
    HOLDS(extended.stx_size == 5 && extended.stx_ino == status.st_ino && extended.stx_nlink == 1);
    FACT(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &extended));
    FACT(fstatat(fd, "", &status, AT_EMPTY_PATH));
    FACT(fstatat(fd, "", &status, 0));
    FACT(fstatat(AT_FDCWD, "p", &status, 0x8000));
    FACT(fstat(1000, &status));
    close(fd);
    unlink("p");
    rmdir("q");
    umask(022);
    fstat(0, &status);
    HOLDS(S_ISCHR(status.st_mode));
    int pipes[2];
    (void)!pipe(pipes);
    fstat(pipes[0], &status);
    HOLDS(S_ISFIFO(status.st_mode));
}

int main(void) {
    begin();
    umask(022);
    linking();
    renaming();
    directories();
    permissions();
    return 0;
}
