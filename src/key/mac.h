/* Message authentication codes with secret keys. */
#ifndef BRIDGE_KEY_MAC_H
#define BRIDGE_KEY_MAC_H

#include "key/key.h"
#include "mech/mac.h"

/* Whether the key can be used so: its attributes permit it. False with an error raised. No call. */
bool key_can_mac(const struct key *key, const struct mac_request *request);

/* The MAC of message. out: mac_size bytes. False with an error raised. */
bool key_mac(struct key *key, const struct mac_request *request, struct view message, uint8_t *out);

#endif
