/* Users and groups of a process: the calls that change them, from root and after root was given up. */
#include "calls.h"
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

static void show_users(const char *what) {
    uid_t real, effective, saved;
    getresuid(&real, &effective, &saved);
    printf("%s: users %d %d %d, by the file system %d\n", what, (int)real, (int)effective, (int)saved,
           setfsuid((uid_t)-1));
}

static void show_groups(const char *what) {
    gid_t real, effective, saved, groups[16];
    getresgid(&real, &effective, &saved);
    printf("%s: groups %d %d %d, by the file system %d; also", what, (int)real, (int)effective, (int)saved,
           setfsgid((gid_t)-1));
    int count = getgroups(16, groups);
    for (int i = 0; i < count; i++)
        printf(" %d", (int)groups[i]);
    printf("\n");
}

/* Each in a child of its own: what is given up does not come back. */
#define IN_CHILD(name)                                                                                                 \
    do {                                                                                                               \
        pid_t child = fork();                                                                                          \
        if (!child) {                                                                                                  \
            printf("== %s\n", #name);                                                                                  \
            name();                                                                                                    \
            exit(0);                                                                                                   \
        }                                                                                                              \
        wait_and_show(#name, child);                                                                                   \
    } while (0)

static void root_becomes_a_user_for_good(void) {
    FACT(setgroups(3, (gid_t[]){30, 10, 20}));
    FACT(setgid(500));
    FACT(setuid(1000));
    show_users("after setuid");
    show_groups("after setgid");
    FACT(setuid(0));
    FACT(setuid(1001));
    FACT(setgid(0));
    FACT(seteuid(0));
    FACT(setgroups(0, NULL));
    FACT(setresuid((uid_t)-1, 0, (uid_t)-1));
    FACT(setreuid(1000, 1000));
    FACT(setuid((uid_t)-1));
}

static void root_leaves_for_a_while(void) {
    FACT(seteuid(1000));
    show_users("away");
    FACT(setuid(1001));
    FACT(seteuid(0));
    show_users("back");
    FACT(setreuid(1000, 0));
    show_users("swapped halves");
    FACT(setreuid((uid_t)-1, 1000));
    show_users("effective too");
    FACT(seteuid(0));
    FACT(seteuid(1001));
}

static void three_ids(void) {
    FACT(setresuid(1, 2, 3));
    show_users("three");
    FACT(setresuid(2, 3, 1));
    show_users("turned");
    FACT(setresuid(4, (uid_t)-1, (uid_t)-1));
    FACT(setresuid((uid_t)-1, (uid_t)-1, 2));
    show_users("two alike");
    FACT(setreuid(3, 2));
    FACT(setreuid(1, 1));
    FACT(setuid(2));
    show_users("at last");
}

static void three_group_ids(void) {
    FACT(setresgid(1, 2, 3));
    show_groups("three");
    FACT(setregid(2, (gid_t)-1));
    show_groups("half");
    FACT(setuid(1000));
    FACT(setresgid(3, 3, 1));
    FACT(setegid(3));
    show_groups("without root");
    FACT(setgid(7));
}

static void file_system_ids(void) {
    printf("setfsuid(1000) = %d\n", setfsuid(1000));
    printf("then %d\n", setfsuid(1001));
    printf("then %d\n", setfsuid((uid_t)-1));
    FACT(seteuid(1002));
    printf("an effective user brings his own: %d\n", setfsuid(55));
    printf("which may not be any: %d\n", setfsuid((uid_t)-1));
    printf("setfsgid(44) = %d\n", setfsgid(44));
    printf("then %d\n", setfsgid((gid_t)-1));
}

static void groups(void) {
    gid_t few[2];
    FACT(setgroups(4, (gid_t[]){9, 3, 3, 7}));
    show_groups("sorted");
    FACT(getgroups(0, NULL));
    FACT(getgroups(2, few));
    FACT(syscall(SYS_getgroups, -1, few));
    FACT(syscall(SYS_getgroups, 4, 8));
    FACT(setgroups(65537, few));
    FACT(setgroups(1, (gid_t *)8));
    show_groups("as before");
    FACT(setgroups(0, NULL));
    FACT(getgroups(0, NULL));
}

static void threads_have_their_own(void) {
    /* The raw call changes one thread; libc's changes all of them. */
    pid_t child = fork();
    if (!child) {
        FACT(syscall(SYS_setresuid, 1000, 1000, 1000));
        show_users("child");
        exit(0);
    }
    wait_and_show("child", child);
    show_users("parent");
}

static void inherited(void) {
    FACT(setgroups(2, (gid_t[]){5, 6}));
    FACT(setresgid(7, 7, 7));
    FACT(setresuid(8, 9, 10));
    pid_t child = fork();
    if (!child) {
        show_users("child");
        show_groups("child");
        execl("/proc/self/exe", "user_ids", "show", NULL);
        _exit(1);
    }
    wait_and_show("child", child);
}

int main(int argc, char **argv) {
    (void)argv;
    begin();
    if (argc > 1) {
        show_users("a new program");
        show_groups("a new program");
        return 0;
    }
    FACT(setgroups(0, NULL)); /* those of whoever started it */
    show_users("start");
    show_groups("start");
    IN_CHILD(root_becomes_a_user_for_good);
    IN_CHILD(root_leaves_for_a_while);
    IN_CHILD(three_ids);
    IN_CHILD(three_group_ids);
    IN_CHILD(file_system_ids);
    IN_CHILD(groups);
    IN_CHILD(threads_have_their_own);
    IN_CHILD(inherited);
    return 0;
}
