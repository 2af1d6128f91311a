/* A process that changes its root: what names lead to then, and what it is told of directories outside it. */
#include "facts.h"

#include <sys/stat.h>

static void put_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    FACT("write", write(fd, text, strlen(text)));
    close(fd);
}

static void show(const char *path) {
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, strerrorname_np(errno));
        return;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    printf("%s: %zd %s\n", path, length, text);
    close(fd);
}

static void show_directory(void) {
    char name[4096];
    const char *is = getcwd(name, sizeof name);
    /* Where the directory of the test lies differs. */
    if (!is)
        printf("getcwd: %s\n", strerrorname_np(errno));
    else if (strncmp(name, "(unreachable)/", 14) == 0)
        printf("getcwd: unreachable\n");
    else
        printf("getcwd: %s\n", name);
}

static void show_link(const char *path) {
    char target[4096];
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) {
        printf("readlink %s: %s\n", path, strerrorname_np(errno));
        return;
    }
    target[length] = '\0';
    printf("readlink %s: %s\n", path, target);
}

static void inside(int outside) {
    section("inside");
    FACT("chroot of a file", chroot("jail/file"));
    FACT("chroot of nothing", chroot("jail/nothing"));
    FACT("chroot", chroot("jail"));
    show_directory();
    show("/file");
    show("/sub/deep");
    show("/../file");
    show("/../../../sub/../file");
    show("/etc/passwd");
    show("jail/file"); /* the working directory is still outside */
    show("../../../../../../../../../../etc/hostname.that.is.not");
    FACT("chdir", chdir("/"));
    show_directory();
    show("file");
    show("../file");
    show("sub/../../sub/deep");
    FACT("chdir", chdir("sub"));
    show_directory();
    show("../../../file");
    show_link("/link");
    show("/link");
    show("/up");
    FACT("mkdir", mkdir("/made", 0755));
    FACT("rename", rename("/file", "/made/../made/moved"));
    show("/made/moved");
    FACT("access", access("/proc/self", F_OK));
    FACT("access", access("/dev/null", F_OK));
    struct stat status;
    FACT("stat of ..", stat("..", &status));
    ino_t root = status.st_ino;
    FACT("stat of /", stat("/", &status));
    printf("the same: %d\n", root == status.st_ino);
    section("a child");
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        show("/made/moved");
        FACT("chroot inside", chroot("/made"));
        show("/moved");
        show("/../moved");
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    show("/made/moved");
    section("through a descriptor");
    int fd = openat(outside, "beside", O_RDONLY);
    printf("opened: %d\n", fd >= 0);
    close(fd);
    FACT("fchdir", fchdir(outside));
    show("beside");
    show_directory();
    FACT("chroot back", chroot("."));
    show_directory();
    show("/beside");
    show("/jail/made/moved");
    section("without the right to");
    FACT("setuid", setuid(65534));
    FACT("chroot", chroot("/"));
    FACT("chroot of nothing", chroot("/nothing"));
}

int main(void) {
    begin();
    section("outside");
    FACT("mkdir", mkdir("jail", 0755));
    FACT("mkdir", mkdir("jail/sub", 0755));
    put_file("beside", "beside");
    put_file("jail/file", "in the jail");
    put_file("jail/sub/deep", "deep");
    FACT("symlink", symlink("sub/deep", "jail/link"));
    FACT("symlink", symlink("sub/../file", "jail/up"));
    int outside = open(".", O_RDONLY | O_DIRECTORY);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        inside(outside);
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("ended: %d\n", status);
    show("jail/made/moved");
    return 0;
}
