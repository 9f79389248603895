/* Which user this process is, for messages about files that it may not see. */
#ifndef BRIDGE_USER_H
#define BRIDGE_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The room that user_name wants. */
#define USER_NAME_MAX 64

/* Remembers the user, once: the one that the provider was loaded by. */
void user_begin(void);

/* Whether it is another by now: servers give up root for their workers. */
bool user_changed(void);

/* This process's user now, "www-data (uid 33)"; the name by /etc/passwd alone, since nobody waits
 * for a directory service here. */
const char *user_name(char name[USER_NAME_MAX]);

/* The same of another user. */
const char *user_name_of(uid_t uid, char name[USER_NAME_MAX]);

#endif
