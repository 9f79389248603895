/* Copies of keys: session objects that stand for a key while it is used over and over. A token in
 * software (SoftHSM) looks at the key's file for each use of the original.
 *
 * The copy is made on the keeper that stands beside the pool and dies with it; then the original is
 * used again. Once in COPY_TRUSTED_MS an operation takes the original, without a call more than
 * usual, so that a key which was deleted or replaced on the token is noticed. */
#ifndef BRIDGE_COPY_H
#define BRIDGE_COPY_H

#include "base/rare.h"
#include "token/object.h"

#define COPY_TRUSTED_MS 1000

/* Whether this operation may take the copy. */
bool copy_serves(struct object *object, const struct session *session);

/* Counts a use; true for the one use after which the key shall be copied. One that is used a few
 * times only is not worth the calls. */
bool copy_is_due(struct object *object);

/* The original was found again: its uses count from here. */
void copy_count_anew(struct object *object);

/* The copy, which had this handle, went stale before the original did. Where the token still has
 * it, it is destroyed. */
void copy_lost(struct object *object, struct handle handle);

/* The object is no longer used: its copy goes as well. */
void copy_clear(struct object *object);

/* Copies the key, where pkcs11-module-cache-keys wants it and the token lets it; if not, the
 * original goes on being used. */
RARE void copy_make(struct object *object, struct pin_source *pins);

#endif
