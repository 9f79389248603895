/* Files that the command writes. */
#ifndef BRIDGE_CLI_FILE_H
#define BRIDGE_CLI_FILE_H

#include <openssl/types.h>

#include <stdbool.h>
#include <sys/types.h>

/* Writes what is in the memory BIO to path, all of it or nothing: to a new file with this mode,
 * which then takes the place of one that is there. To standard output where path is NULL. False
 * with words. */
bool file_write(const char *path, mode_t mode, BIO *memory);

#endif
