/* A short secret (a PIN) in memory of its own: locked against swapping, left out of core dumps,
 * wiped when the last holder lets go. It stays readable in a forked child, which has to log in by
 * itself. */
#ifndef BRIDGE_SECRET_H
#define BRIDGE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret;

/* The longest secret, in bytes. */
#define SECRET_MAX 1024

/* Copies len bytes; NULL when len > SECRET_MAX or memory is short. The holder calls secret_free
 * once for this and once for each secret_ref. Never copied to the ordinary heap. */
struct secret *secret_new(const void *data, size_t len);
struct secret *secret_ref(struct secret *secret);
void secret_free(struct secret *secret);

/* For _cleanup_(secret_scoped). */
void secret_scoped(struct secret **secret);

/* The bytes, followed by a NUL that does not count in secret_len. */
const char *secret_data(const struct secret *secret);
size_t secret_len(const struct secret *secret);

/* Compares in time that depends on the lengths only. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Reads the first line of the file at path, without its end of line. NULL with errno set when it
 * cannot be read, is empty (ENODATA), longer than SECRET_MAX (EFBIG) or no text (EILSEQ: there is
 * a NUL in it or a byte order mark before it).
 *
 * A pipe is read up to the end of its line, and waited for no longer than 10 seconds (ETIMEDOUT);
 * where nobody writes to it, it is empty. The log has one line about a file that everybody can
 * read, or that belongs to somebody else than root and the process's user. */
struct secret *secret_from_file(const char *path);

/* What the environment variable has, where programs may look at that. NULL, with a sentence in why
 * (size bytes) that has nothing of a name which can be none. */
struct secret *secret_from_variable(const char *name, char *why, size_t size);

/* For more than a PIN: len bytes of such memory, zeros; NULL when memory is short. Freeing wipes
 * it. */
void *secret_memory(size_t len);
void secret_memory_free(void *memory);

/* Around a fork, which takes no other lock meanwhile. All such memory is locked in the child as
 * well. */
void secrets_before_fork(void);
void secrets_after_fork(void);
void secrets_forked(void);

/* A text with a secret in it, as a URI with a PIN, in such memory: the first len bytes of text, and
 * a NUL. NULL when memory is short or there is a NUL before. */
char *secret_text(const char *text, size_t len);
void secret_text_free(char *text);
void secret_text_scoped(char **text);

/* Reads the file at path into such memory, most bytes at most, and says how many. False with errno
 * set when it cannot be read or is longer (EFBIG). tell: the log has the line about who can read
 * it. */
bool secret_read(const char *path, bool tell, void *memory, size_t most, size_t *len);

#endif
