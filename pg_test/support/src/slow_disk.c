/*
 * Loaded into a server's processes. While the file that SLOW_DISK names is there, its disk is slow: it does
 * one thing at a time, one read or write of a table's or an index's page in 2 ms and one fsync in 20 ms, and
 * whoever wants something waits for those who came first. What is in the kernel's cache is as slow.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE_US 2000
#define SYNC_US 20000

static char slow[4096];
static int queue = -1;

/*
 * The queue is a lock on a file: it belongs to a process, and goes when that ends. The name is copied, as a
 * server writes its title over its environment.
 */
__attribute__((constructor)) static void prepare(void)
{
    const char *name = getenv("SLOW_DISK");
    char path[sizeof(slow) + 8];

    if (name == NULL || strlen(name) >= sizeof(slow))
        return;
    strcpy(slow, name);
    snprintf(path, sizeof(path), "%s.queue", slow);
    queue = open(path, O_RDWR | O_CLOEXEC);
}

static void take(long microseconds)
{
    struct flock turn = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    struct timespec left = {0, microseconds * 1000};
    int before = errno;

    if (queue < 0 || access(slow, F_OK) != 0)
    {
        errno = before;
        return;
    }
    while (fcntl(queue, F_SETLKW, &turn) == -1 && errno == EINTR)
        ;
    while (nanosleep(&left, &left) == -1 && errno == EINTR)
        ;
    turn.l_type = F_UNLCK;
    fcntl(queue, F_SETLK, &turn);
    errno = before;
}

static void take_if_page(int file)
{
    char name[64], path[4096];
    int before = errno;
    ssize_t length;

    snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
    length = readlink(name, path, sizeof(path) - 1);
    errno = before;
    if (length <= 0)
        return;
    path[length] = '\0';
    if (strstr(path, "/base/") != NULL || strstr(path, "/PG_") != NULL)
        take(PAGE_US);
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

ssize_t pread(int file, void *to, size_t size, off_t at)
{
    static ssize_t (*real)(int, void *, size_t, off_t);

    if (real == NULL)
        real = REAL(pread);
    take_if_page(file);
    return real(file, to, size, at);
}

ssize_t pwrite(int file, const void *from, size_t size, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);

    if (real == NULL)
        real = REAL(pwrite);
    take_if_page(file);
    return real(file, from, size, at);
}

ssize_t pwritev(int file, const struct iovec *from, int count, off_t at)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);

    if (real == NULL)
        real = REAL(pwritev);
    take_if_page(file);
    return real(file, from, count, at);
}

int fsync(int file)
{
    static int (*real)(int);

    if (real == NULL)
        real = REAL(fsync);
    take(SYNC_US);
    return real(file);
}

int fdatasync(int file)
{
    static int (*real)(int);

    if (real == NULL)
        real = REAL(fdatasync);
    take(SYNC_US);
    return real(file);
}
