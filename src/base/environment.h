/* Variables of the environment: whoever starts a program sets them. */
#ifndef BRIDGE_ENVIRONMENT_H
#define BRIDGE_ENVIRONMENT_H

/* The value of name, or NULL, also in a program that has rights which who started it has not
 * (set-user-id, set-group-id, file capabilities: AT_SECURE of getauxval(3)). scripts/layers sees to
 * it that nobody reads the environment otherwise. */
const char *environment(const char *name);

#endif
