/* Owners of files: who makes one owns it, who may give it away, and what set-id bits do at a program's start. */
#include "calls.h"
#include <grp.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <utime.h>

static void show(const char *what, const char *path) {
    struct stat status;
    if (lstat(path, &status))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %u:%u %o\n", what, status.st_uid, status.st_gid, status.st_mode);
}

static void show_open(const char *what, int fd) {
    struct stat status;
    if (fstat(fd, &status))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %u:%u\n", what, status.st_uid, status.st_gid);
}

static int make(const char *path, mode_t mode) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        printf("%s: %s\n", path, strerrorname_np(errno));
    return fd;
}

static void creation(void) {
    umask(0);
    FACT(chmod(".", 0777));
    make("by_root", 0644);
    FACT(setgroups(1, (gid_t[]){50}));
    FACT(setresgid(500, 500, 0));
    FACT(setresuid(1000, 1000, 0));
    int fd = make("by_user", 0640);
    FACT(mkdir("directory", 0700));
    FACT(symlink("by_user", "link"));
    FACT(mkfifo("fifo", 0600));
    show("by_root", "by_root");
    show("by_user", "by_user");
    show("directory", "directory");
    show("link", "link");
    show("fifo", "fifo");
    show_open("open", fd);
    int ends[2];
    FACT(pipe(ends));
    show_open("pipe", ends[0]);
    FACT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    show_open("socket", ends[0]);
    int bound = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {AF_UNIX, "name"};
    FACT(bind(bound, (struct sockaddr *)&name, sizeof name));
    struct stat status;
    FACT(stat("name", &status));
    printf("name: %u:%u\n", status.st_uid, status.st_gid);

    FACT(chown("by_user", 1001, -1));
    FACT(chown("by_user", 1000, -1));
    FACT(chown("by_user", -1, 50));
    FACT(chown("by_user", -1, 51));
    FACT(fchown(fd, -1, 500));
    FACT(chown("by_root", -1, -1));
    FACT(chown("by_root", 1000, -1));
    FACT(chown("by_root", 0, -1));
    FACT(chmod("by_root", 0600));
    FACT(utime("by_root", &(struct utimbuf){1, 2}));
    FACT(utime("by_root", NULL));
    FACT(chmod("by_user", 0600));
    FACT(utime("by_user", &(struct utimbuf){1, 2}));
    show("by_user", "by_user");
    FACT(rename("by_user", "renamed"));
    FACT(link("renamed", "linked"));
    show("renamed", "renamed");
    show("linked", "linked");
    FACT(setresuid(0, 0, 0));
    FACT(chown("renamed", 77, 78));
    show("linked", "linked");
    FACT(lchown("link", 79, 80));
    show("link", "link");
    FACT(chown("missing", 1, 1));
    FACT(unlink("renamed"));
    FACT(unlink("linked"));
    make("renamed", 0600);
    show("another", "renamed");
}

static void set_id_bits_of_files(void) {
    int fd = make("bits", 0644);
    FACT(chmod("bits", 06755));
    show("both", "bits");
    FACT(chown("bits", 1000, 1000));
    show("given away", "bits");
    FACT(chmod("bits", 02644));
    FACT(fchown(fd, 1001, -1));
    show("a lock, not a group", "bits");
    FACT(fchmod(fd, 06711));
    FACT(chown("bits", -1, -1));
    show("to nobody", "bits");
    FACT(setgroups(0, NULL));
    FACT(setresgid(500, 500, 500));
    FACT(chown("bits", 1001, 1001));
    FACT(setresuid(1001, 1001, 1001));
    FACT(chmod("bits", 02755));
    show("without the group", "bits");
}

static void copy_self(const char *path, uid_t user, gid_t group, mode_t mode) {
    int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0755);
    while (sendfile(to, from, NULL, 1 << 20) > 0)
        continue;
    close(from);
    close(to);
    if (chown(path, user, group) || chmod(path, mode))
        printf("%s cannot be given\n", path);
}

static void run_program(const char *path, uid_t user, bool no_new_privileges) {
    pid_t child = fork();
    if (!child) {
        if (no_new_privileges)
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (setgroups(0, NULL) || setresgid(user, user, user) || setresuid(user, user, user))
            _exit(1);
        execl(path, path, "show", NULL);
        _exit(2);
    }
    wait_and_show(path, child);
}

static void programs(void) {
    copy_self("./set_user", 1234, 1235, 04755);
    copy_self("./set_group", 1234, 1235, 02755);
    copy_self("./set_root", 0, 0, 04755);
    copy_self("./locked", 1234, 1235, 02745);
    copy_self("./plain", 1234, 1235, 0755);
    run_program("./set_user", 1000, false);
    run_program("./set_group", 1000, false);
    run_program("./set_root", 1000, false);
    run_program("./set_root", 0, false);
    run_program("./set_user", 0, false);
    run_program("./plain", 1000, false);
    run_program("./set_user", 1000, true);
}

static void run(const char *name, void (*body)(void)) {
    pid_t child = fork();
    if (!child) {
        printf("== %s\n", name);
        body();
        exit(0);
    }
    wait_and_show(name, child);
}

int main(int argc, char **argv) {
    (void)argv;
    begin();
    if (argc > 1) {
        uid_t users[3];
        gid_t groups[3];
        getresuid(&users[0], &users[1], &users[2]);
        getresgid(&groups[0], &groups[1], &groups[2]);
        printf("users %u %u %u groups %u %u %u, vector %lu %lu %lu %lu, secure %lu, dumpable %d\n", users[0], users[1],
               users[2], groups[0], groups[1], groups[2], getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID),
               getauxval(AT_EGID), getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE) == 1);
        return 0;
    }
    run("creation", creation);
    run("set_id_bits_of_files", set_id_bits_of_files);
    run("programs", programs);
    return 0;
}
