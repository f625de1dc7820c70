/* Fault injection below the bundled SQLite, without unsafe Rust: loaded with LD_PRELOAD into a child process.
   WFE_FAIL_SYNC=<file>: while <file> exists, fsync and fdatasync of regular files fail with EIO.
   WFE_FAIL_WRITE=<file>: while <file> exists, writes to regular files let through as many bytes in all as the number
   in it says (a torn write), and then fail with ENOSPC.
   WFE_STOP_SYNC=<file>: once <file> exists, the n-th sync of a write-ahead log (n is the number in it) stops the
   process before anything is synced, and removes <file>: its transaction is frozen inside its COMMIT.
   WFE_RECORD=<file>: what is done to the file that WFE_RECORD_OF names, and to those beside it, is appended to <file>: a
   line of what it is (c made, w written, t cut, s synced, d its folder synced, u removed), the end of the name, where, and
   how many bytes; then these bytes.
   WFE_CLOCK_BACK=<seconds>: the wall clock shows a time so long ago.
   WFE_MOUNTINFO=<file>: what is opened as /proc/self/mountinfo is <file>. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int armed(const char *variable) {
    const char *file = getenv(variable);
    return file && access(file, F_OK) == 0;
}

static int regular(int fd) {
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

static int fail_sync(int fd) {
    if (!armed("WFE_FAIL_SYNC") || !regular(fd)) return 0;
    errno = EIO;
    return 1;
}

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 4 && memcmp(path + length - 4, "-wal", 4) == 0;
}

/* The number in the file that a variable names. */
static long number(const char *variable) {
    long value;
    FILE *f = fopen(getenv(variable), "r");
    if (!f || fscanf(f, "%ld", &value) != 1) value = 0;
    if (f) fclose(f);
    return value;
}

static void stop_sync(int fd) {
    static long left = -1;
    if (!armed("WFE_STOP_SYNC") || !is_log(fd)) return;
    if (left < 0) left = number("WFE_STOP_SYNC");
    if (--left > 0) return;
    left = -1;
    unlink(getenv("WFE_STOP_SYNC"));
    raise(SIGSTOP);
}

/* The end of this path's name, if it is the recorded one's or beside it; "/" for their folder. */
static const char *recorded(const char *path) {
    const char *own = getenv("WFE_RECORD_OF");
    if (!getenv("WFE_RECORD") || !own) return NULL;
    size_t length = strlen(own), folder = (size_t)(strrchr(own, '/') - own);
    if (strncmp(path, own, length) == 0) return path + length;
    return strlen(path) == folder && strncmp(path, own, folder) == 0 ? "/" : NULL;
}

static void record(char what, const char *end, long at, const void *bytes, size_t count) {
    static pthread_mutex_t alone = PTHREAD_MUTEX_INITIALIZER;
    static int log = -1;
    char line[300];
    int length = snprintf(line, sizeof line, "%c %s %ld %zu\n", what, *end ? end : "=", at, count);
    pthread_mutex_lock(&alone);
    if (log < 0) log = (int)syscall(SYS_openat, AT_FDCWD, getenv("WFE_RECORD"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    syscall(SYS_write, log, line, length);
    if (count) syscall(SYS_write, log, bytes, count);
    pthread_mutex_unlock(&alone);
}

static void record_of(char what, int fd, long at, const void *bytes, size_t count) {
    char link[64], path[4096];
    if (!getenv("WFE_RECORD")) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    const char *end = recorded(path);
    if (end) record(*end == '/' ? 'd' : what, end, at, bytes, count);
}

int ftruncate64(int fd, off64_t length) {
    static int (*real)(int, off64_t);
    if (!real) real = (int (*)(int, off64_t))dlsym(RTLD_NEXT, "ftruncate64");
    record_of('t', fd, (long)length, NULL, 0);
    return real(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path) {
    static int (*real)(const char *);
    if (!real) real = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    const char *end = recorded(path);
    if (end) record('u', end, 0, NULL, 0);
    return real(path);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    stop_sync(fd);
    if (fail_sync(fd)) return -1;
    record_of('s', fd, 0, NULL, 0);
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    stop_sync(fd);
    if (fail_sync(fd)) return -1;
    record_of('s', fd, 0, NULL, 0);
    return real(fd);
}

/* How many of `count` bytes may pass; less than `count` means that the disk is full from here on. */
static size_t room(int fd, size_t count) {
    static long left = -1;
    if (!armed("WFE_FAIL_WRITE")) {
        left = -1;
        return count;
    }
    if (!regular(fd)) return count;
    if (left < 0) left = number("WFE_FAIL_WRITE");
    if ((long)count <= left) {
        left -= (long)count;
        return count;
    }
    size_t pass = (size_t)left;
    left = 0;
    return pass;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    size_t pass = room(fd, count);
    if (pass == 0 && count > 0) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, bytes, pass);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    size_t pass = room(fd, count);
    if (pass == 0 && count > 0) {
        errno = ENOSPC;
        return -1;
    }
    record_of('w', fd, (long)at, bytes, pass);
    return real(fd, bytes, pass, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    va_list more;
    va_start(more, flags);
    /* The mode follows where something may be made, and is not read elsewhere. */
    mode_t mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
    va_end(more);
    const char *mounts = getenv("WFE_MOUNTINFO");
    if (mounts && strcmp(path, "/proc/self/mountinfo") == 0) path = mounts;
    const char *end = recorded(path);
    if (end && (flags & O_CREAT) && access(path, F_OK) != 0) record('c', end, 0, NULL, 0);
    return real(path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *back = getenv("WFE_CLOCK_BACK");
    if (result == 0 && back && clock == CLOCK_REALTIME) time->tv_sec -= atol(back);
    return result;
}
