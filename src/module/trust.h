/* Whether a file may be loaded into the process: a PKCS#11 module sees every PIN and every message.
 * docs/adr/0026-trust-in-the-module.md has the reasons. */
#ifndef BRIDGE_TRUST_H
#define BRIDGE_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* What the configuration asks for. */
struct trust {
    bool insecure_path; /* others may be able to change what the path leads to */
    const char *sha256; /* in hexadecimal, of whatever is loaded; or NULL */
};

/* A file as it was when it was looked at. */
struct file_seen {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written;
};

/* Walks path (absolute) from the root by descriptors, as the kernel does, links included. Each
 * folder, each link and the file itself must belong to root or the process's effective user, and
 * folders and file be writable by no other; so only these two can have changed what the path leads
 * to. A folder like /tmp, where everybody may make files of his own, counts as writable by others.
 * Nothing of this is asked with insecure_path. Then the file's hash, where one is wanted.
 *
 * False with a sentence in why (size bytes) that says which file or folder, whose, its mode, and
 * what to do. */
bool trust_check(const char *path, const struct trust *trust, struct file_seen *file, char *why,
                 size_t size);

/* Whether path leads to that same file, unchanged. */
bool trust_still(const char *path, const struct file_seen *file);

bool file_same(const struct file_seen *a, const struct file_seen *b);

#endif
