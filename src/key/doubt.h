/* A private key whose URI fits others as well, given out in doubt: a program that takes one key
 * asks for it as one that lists all of them asks for the first (docs/adr/0020-ambiguous-uris.md).
 * Which of the two it was is known when the next key is asked for, or when no more can be. */
#ifndef BRIDGE_KEY_DOUBT_H
#define BRIDGE_KEY_DOUBT_H

#include "key/key.h"

struct doubt;

/* text: the error that says what the URI may mean. NULL when memory is short; doubt_free for each
 * holder. */
struct doubt *doubt_new(const char *text);
struct doubt *doubt_ref(struct doubt *doubt);
void doubt_free(struct doubt *doubt);

/* Another key was given out: it is a listing, and the program's to choose. NULL is none. */
void doubt_lift(struct doubt *doubt);

/* No other key can be asked for any more: unless it was lifted, the doubt stays, and the log has
 * it. NULL is none. */
void doubt_close(struct doubt *doubt);

/* Whether key may be used; else an error is raised. private: as what a token has to itself, which
 * is not done in doubt; anything else is not done once the doubt is there to stay. No call. */
bool doubt_allows(const struct key *key, bool private);

static inline bool key_is_meant(const struct key *key, bool private)
{
    return key->doubt == NULL || doubt_allows(key, private);
}

/* Makes *held, which a context of an operation has, key. False with an error raised, and *held as
 * it was, where the key is not meant. */
static inline bool key_take(struct key **held, struct key *key, bool private)
{
    if (!key_is_meant(key, private))
        return false;
    (void)key_ref(key);
    key_free(*held);
    *held = key;
    return true;
}

#endif
