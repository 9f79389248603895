#include "key/doubt.h"

#include <string.h>

#include <openssl/crypto.h>

enum doubt_state { DOUBT_OPEN, DOUBT_LIFTED, DOUBT_STAYS };

struct doubt {
    atomic_uint holders;
    atomic_int state;
    char text[];
};

struct doubt *doubt_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct doubt *doubt = OPENSSL_malloc(sizeof(*doubt) + size);

    if (doubt == NULL)
        return NULL;
    atomic_init(&doubt->holders, 1);
    atomic_init(&doubt->state, DOUBT_OPEN);
    memcpy(doubt->text, text, size);
    return doubt;
}

struct doubt *doubt_ref(struct doubt *doubt)
{
    atomic_fetch_add(&doubt->holders, 1);
    return doubt;
}

void doubt_free(struct doubt *doubt)
{
    if (doubt != NULL && atomic_fetch_sub(&doubt->holders, 1) == 1)
        OPENSSL_free(doubt);
}

/* Once, and never back. */
static bool decide(struct doubt *doubt, int state)
{
    int open = DOUBT_OPEN;

    return doubt != NULL && atomic_compare_exchange_strong(&doubt->state, &open, state);
}

void doubt_lift(struct doubt *doubt)
{
    (void)decide(doubt, DOUBT_LIFTED);
}

void doubt_close(struct doubt *doubt)
{
    if (decide(doubt, DOUBT_STAYS))
        error_tell(doubt->text);
}

bool doubt_allows(const struct key *key, bool private)
{
    int state = atomic_load(&key->doubt->state);

    if (state == DOUBT_LIFTED || (state == DOUBT_OPEN && !private))
        return true;
    error_raise(&key->provider->core, REASON_OBJECT, "%s", key->doubt->text);
    return false;
}
