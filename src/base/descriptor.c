#include "base/descriptor.h"

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
