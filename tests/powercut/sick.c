/* Preloaded: a disk that is slow or fails to sync, as the file $SICK_DISK says at the time: "slow MICROSECONDS", "fail", or
   anything else for a healthy one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ail(void) {
    char said[64] = {0};
    const char *path = getenv("SICK_DISK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    ssize_t length = read(file, said, sizeof said - 1);
    close(file);
    if (length > 5 && !strncmp(said, "slow ", 5))
        usleep((useconds_t)atoi(said + 5));
    if (length >= 4 && !strncmp(said, "fail", 4)) {
        errno = EIO;
        return -1;
    }
    return 0;
}

#define AILING(name) \
    int name(int file) { \
        static int (*healthy)(int); \
        if (!healthy) \
            healthy = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        return ail() ? -1 : healthy(file); \
    }

AILING(fsync)
AILING(fdatasync)
