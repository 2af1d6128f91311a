/* /tmp, /run and /dev/shm of a machine that has just started: what is there, and what can be done with them. */
#include "facts.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

static void make(const char *path, mode_t mode) {
    MUST(mkdir(path, mode));
    MUST(chmod(path, mode));
}

/* Natively they are made anew, below a root of the program's own: a simulated host has its own already. */
static void own_root(void) {
    if (unshare(CLONE_NEWNS) < 0)
        return;
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    make("root", 0755);
    MUST(mount("tmpfs", "root", "tmpfs", 0, "mode=755"));
    MUST(chdir("root"));
    make("dev", 0755);
    make("dev/shm", 01777);
    make("run", 0755);
    MUST(mount("tmpfs", "dev/shm", "tmpfs", 0, "mode=1777"));
    MUST(mount("tmpfs", "run", "tmpfs", 0, "mode=755"));
    make("run/lock", 01777);
    make("run/user", 0755);
    make("tmp", 01777);
    make("var", 0755);
    make("var/tmp", 01777);
    MUST(symlink("/run", "var/run"));
    MUST(symlink("/run/lock", "var/lock"));
    MUST(chroot("."));
    MUST(chdir("/"));
}

static void show(const char *path) {
    struct stat status;
    char target[64] = "";
    if (lstat(path, &status)) {
        printf("%s: %s\n", path, strerrorname_np(errno));
        return;
    }
    if (S_ISLNK(status.st_mode) && readlink(path, target, sizeof target - 1) < 0)
        printf("%s: %s\n", path, strerrorname_np(errno));
    printf("%s: %o %u:%u %s\n", path, status.st_mode, status.st_uid, status.st_gid, target);
}

static void put_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    FACT(path, write(fd, text, strlen(text)));
    close(fd);
}

static void put_text(const char *path) {
    char text[64];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, strerrorname_np(errno));
        return;
    }
    put_bytes(path, text, (size_t)MUST(read(fd, text, sizeof text)));
    close(fd);
}

static void first_sight(void) {
    section("first sight");
    static const char *const names[] = {"/tmp",      "/var/tmp", "/dev/shm",  "/run",   "/run/lock",
                                        "/run/user", "/var/run", "/var/lock", "/run/x", "/var/run/lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        show(names[i]);
}

static void links(void) {
    section("links");
    put_file("/var/run/server.pid", "1000\n");
    put_text("/run/server.pid");
    put_file("/var/lock/held", "by a\n");
    put_text("/run/lock/held");
    FACT("mkdir", mkdir("/var/run/server", 0750));
    show("/run/server");
    FACT("rename", rename("/run/server.pid", "/var/run/server/pid"));
    put_text("/run/server/pid");
    FACT("chdir", chdir("/var/run/server"));
    char name[64];
    printf("getcwd: %s\n", getcwd(name, sizeof name));
    put_text("../lock/held");
    FACT("chdir", chdir("/"));
    int fd = open("/var/run", O_RDONLY | O_NOFOLLOW);
    printf("a link itself: %s\n", fd < 0 ? strerrorname_np(errno) : "opened");
    FACT("open below", openat(AT_FDCWD, "/var/run", O_RDONLY | O_DIRECTORY) >= 0);
}

static void removing(void) {
    section("removing");
    FACT("rmdir /run", rmdir("/run"));
    FACT("rmdir /run/", rmdir("/run/"));
    FACT("rmdir /var/run", rmdir("/run/lock/../../run"));
    FACT("rmdir /dev/shm", rmdir("/dev/shm"));
    FACT("unlink /run", unlink("/run"));
    FACT("rename /run", rename("/run", "/tmp/run"));
    FACT("rename onto /dev/shm", rename("/run/lock", "/dev/shm"));
    FACT("link to another mount", link("/run/server/pid", "/tmp/pid"));
    FACT("rename to another mount", rename("/run/server/pid", "/dev/shm/pid"));
    FACT("link of nothing to another mount", link("/run/server/nothing", "/tmp/pid"));
    FACT("rename of nothing to another mount", rename("/run/server/nothing", "/tmp/pid"));
    FACT("link within one", link("/run/server/pid", "/run/lock/pid"));
    FACT("rmdir of a full one", rmdir("/run/lock"));
    FACT("mkdir", mkdir("/tmp/a", 0777));
    FACT("rmdir /tmp", rmdir("/tmp"));
    FACT("rmdir .", rmdir("/tmp/a/."));
    FACT("rmdir ./", rmdir("/tmp/a/.//"));
    FACT("rmdir ..", rmdir("/tmp/a/.."));
    FACT("rename .", rename("/tmp/a/.", "/tmp/b"));
    FACT("rename to ..", rename("/tmp/a", "/tmp/a/.."));
    FACT("rmdir ...", rmdir("/tmp/a/..."));
    FACT("rmdir", rmdir("/tmp/a"));
    FACT("rmdir /tmp", rmdir("/tmp"));
    show("/tmp");
    FACT("mkdir without", mkdir("/tmp/a", 0777));
    FACT("open without", open("/tmp/file", O_CREAT | O_RDWR, 0600));
    umask(022);
    FACT("mkdir /tmp", mkdir("/tmp", 01777));
    show("/tmp");
    FACT("rename /var/tmp", rename("/var/tmp", "/tmp/moved"));
    show("/var/tmp");
    show("/tmp/moved");
}

int main(void) {
    begin();
    own_root();
    first_sight();
    links();
    removing();
    return 0;
}
