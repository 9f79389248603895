/* What somebody may have meant. */
#ifndef BRIDGE_CLI_NEAREST_H
#define BRIDGE_CLI_NEAREST_H

#include <stddef.h>

/* Which of count texts is meant by one that is none of them: the nearest, where it is near enough;
 * else -1. */
int nearest(const char *text, const char *const *texts, size_t count);

#endif
