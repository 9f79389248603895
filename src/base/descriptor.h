/* A descriptor of this library's, in a program that may close what it does not know, as daemons do,
 * and have a file of its own under the number then: it is told by device and inode. */
#ifndef BRIDGE_DESCRIPTOR_H
#define BRIDGE_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/stat.h>

struct descriptor {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
};

/* Takes fd over, in the place of the one before, which is closed. False where it is -1, or cannot
 * be looked at: it is closed then, and the one before stays. */
bool descriptor_take(struct descriptor *descriptor, int fd);

/* Whether it is still what it was opened for. */
bool descriptor_is_open(const struct descriptor *descriptor);

/* Whether that is this file. */
static inline bool descriptor_is_of(const struct descriptor *descriptor, const struct stat *file)
{
    return file->st_dev == descriptor->device && file->st_ino == descriptor->inode;
}

/* A socket for datagrams, which waits for nothing, connected to the one at path; -1: to none. */
int descriptor_datagram(const char *path);

/* Closes nothing but what it was opened for. */
void descriptor_close(struct descriptor *descriptor);

#endif
