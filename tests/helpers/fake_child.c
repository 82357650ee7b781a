/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fake_child.c: stands in for agent-broker, agent-auth and agent-worker, and does as the test says
 *
 * Reports to the socket "test" beside the configuration file: its arguments, environment and open
 * descriptors as text, with copies of 3 and 4.  Then takes one-word orders from there.
 */
#include <dirent.h>
#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPORT = 8000 };

static int test = -1;

static void on_hup(int sig)
{
    (void)sig;
    send(test, "hup", 3, MSG_NOSIGNAL);
}

static int add(char *report, int n, const char *what, const char *value)
{
    return n + snprintf(report + n, (size_t)(REPORT - n), "%s=%s\n", what, value);
}

/* Before anything else is opened; the directory's own descriptor is left out. */
static int add_descriptors(char *report, int n)
{
    DIR *d = opendir("/proc/self/fd");
    bool open[256] = {false};
    char list[1000] = "";
    if (!d)
        return add(report, n, "fds", "unknown");
    for (const struct dirent *e; (e = readdir(d));) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fd != dirfd(d) && fd < 256)
            open[fd] = true;
    }
    closedir(d);
    for (int fd = 0; fd < 256; fd++)
        if (open[fd])
            snprintf(list + strlen(list), sizeof list - strlen(list), "%d ", fd);
    return add(report, n, "fds", list);
}

static void connect_to_test(const char *conf)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", conf);
    snprintf(a.sun_path, sizeof a.sun_path, "%.90s/test", dirname(copy));
    test = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (test < 0 || connect(test, (struct sockaddr *)&a, sizeof a) < 0) {
        perror(a.sun_path);
        exit(3);
    }
}

static void send_report(char *report, size_t size, int nfds)
{
    int fds[2] = {3, 4};
    union {
        char buf[CMSG_SPACE(sizeof fds)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {report, size};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds) {
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
    }
    if (sendmsg(test, &h, MSG_NOSIGNAL) < 0)
        exit(3);
}

/* The line of its settings that begins so. */
static void say_setting(const char *name)
{
    static char text[65536];
    ssize_t n = pread(0, text, sizeof text - 1, 0);
    char *at = n > 0 ? strstr(text, name) : NULL;
    at = at ? at + 1 : strcpy(text, "?");
    at[strcspn(at, "\n")] = '\0';
    send(test, at, strlen(at), MSG_NOSIGNAL);
}

static void obey(const char *order)
{
    if (strncmp(order, "exit ", 5) == 0)
        exit(atoi(order + 5));
    if (strncmp(order, "write ", 6) == 0)
        fputs(order + 6, stderr);
    else if (strncmp(order, "look ", 5) == 0)
        access(order + 5, F_OK);
    else if (strcmp(order, "ignore-term") == 0)
        signal(SIGTERM, SIG_IGN);
    else if (strcmp(order, "await-hup") == 0)
        signal(SIGHUP, on_hup);
    else if (strncmp(order, "setting ", 8) == 0) {
        say_setting(order + 8);
        return;
    }
    send(test, "done", 4, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
    static char report[REPORT];
    const char *conf = NULL;
    char order[200];
    int n = add_descriptors(report, 0), nfds = 0;
    while (nfds < 2 && strstr(report, nfds ? " 4 " : " 3 "))
        nfds++;
    for (int i = 0; i < argc; i++) {
        n = add(report, n, "arg", argv[i]);
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            conf = argv[i + 1];
    }
    for (char **e = environ; *e; e++)
        n = add(report, n, "env", *e);
    if (!conf)
        return 3;
    connect_to_test(conf);
    send_report(report, (size_t)n, nfds);
    for (;;) {
        ssize_t got = recv(test, order, sizeof order - 1, 0);
        if (got == 0)
            pause(); /* the test has lost interest, which is not the end */
        if (got > 0) {
            order[got] = '\0';
            obey(order);
        }
    }
}
