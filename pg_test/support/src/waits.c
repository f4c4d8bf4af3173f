/*
 * Loaded before libfaketime, which shows the real time while one of these calls lasts: signal handlers
 * would see it, and a process forked in one (Postgres 15 starts its workers so) would never see another.
 * A wait lasts as long as the caller says, whatever the clock shows, so the kernel's will do.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout)
{
    struct timespec limit;

    if (timeout != NULL)
    {
        limit.tv_sec = timeout->tv_sec;
        limit.tv_nsec = timeout->tv_usec * 1000;
    }
    return syscall(SYS_pselect6, count, read, write, except, timeout == NULL ? NULL : &limit, NULL);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    struct timespec limit = {timeout / 1000, timeout % 1000 * 1000000L};

    return syscall(SYS_ppoll, fds, count, timeout < 0 ? NULL : &limit, NULL, 0);
}

int epoll_wait(int epoll, struct epoll_event *events, int room, int timeout)
{
    return syscall(SYS_epoll_pwait, epoll, events, room, timeout, NULL, 0);
}
