#include "base/descriptor.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/scope.h"

bool descriptor_take(struct descriptor *descriptor, int fd)
{
    struct stat file;

    if (fd < 0 || fstat(fd, &file) != 0) {
        fd_scoped(&fd);
        return false;
    }
    descriptor_close(descriptor);
    *descriptor = (struct descriptor){ fd, file.st_dev, file.st_ino };
    return true;
}

bool descriptor_is_open(const struct descriptor *descriptor)
{
    struct stat file;

    return descriptor->fd >= 0 && fstat(descriptor->fd, &file) == 0 &&
           descriptor_is_of(descriptor, &file);
}

void descriptor_close(struct descriptor *descriptor)
{
    if (descriptor_is_open(descriptor))
        (void)close(descriptor->fd);
    descriptor->fd = -1;
}

int descriptor_datagram(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    fd_scoped(&fd);
    return -1;
}
