/* Files that the command writes. */
#ifndef BRIDGE_CLI_FILE_H
#define BRIDGE_CLI_FILE_H

#include <openssl/types.h>

#include <stdbool.h>
#include <sys/types.h>

/* Writes what is in the memory BIO to path, all of it or nothing: to a new file with this mode,
 * which then takes the place of one that is there, or into a device. To standard output where path
 * is NULL. False with words. */
bool file_write(const char *path, mode_t mode, BIO *memory);

/* All of data to fd. False with errno set. */
bool file_write_all(int fd, const char *data, size_t len);

/* All of a file, or of standard input where path is "-", so that it can be read in more than one
 * way: in memory that is wiped at its end, as locked as libcrypto's secure heap is. NULL with
 * words, also where it is longer than most. */
BIO *file_read(const char *path, size_t most);

#endif
