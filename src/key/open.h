/* A URI made ready for use: the only way from its text to a token. */
#ifndef BRIDGE_KEY_OPEN_H
#define BRIDGE_KEY_OPEN_H

#include "instance/instance.h"
#include "token/login.h"
#include "token/scan.h"
#include "uri/uri.h"

/* Parses text, and fills in where a PIN for its token comes from. False with an error raised, and
 * without a C_* call, when the configuration makes no sense, the URI is malformed, or nothing can
 * match it: an attribute that is misspelt must not lead to other tokens than the one that was
 * meant. what: what to call the URI in messages. The caller clears *uri in any case. */
bool open_uri(struct provider *provider, const char *text, const char *what, struct uri *uri,
              struct pin_source *pins);

/* The same for what is not on a token yet, or of any: where the URI names no token,
 * pkcs11-module-default-slot-id does. */
bool open_default(struct provider *provider, const char *text, const char *what, struct uri *uri,
                  struct pin_source *pins);

/* Raises that no token fits the URI, and why, after a scan that gave out none. */
void open_raise_no_token(struct provider *provider, const struct uri *uri, const struct scan *scan);

#endif
