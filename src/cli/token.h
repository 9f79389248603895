/* The token that a URI names. */
#ifndef BRIDGE_CLI_TOKEN_H
#define BRIDGE_CLI_TOKEN_H

#include "cli/context.h"
#include "token/slot.h"
#include "uri/uri.h"

/* The one token that the URI fits. False with an error raised where there is none or several; verb:
 * what is to be done with it. */
bool token_find(struct context *context, const struct uri *uri, const char *verb,
                struct slot **out);

#endif
