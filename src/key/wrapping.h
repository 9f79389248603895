/* What wrapping (wrap.c) and unwrapping (unwrap.c) have in common. */
#ifndef BRIDGE_KEY_WRAPPING_H
#define BRIDGE_KEY_WRAPPING_H

#include "instance/instance.h"
#include "mech/wrap.h"
#include "token/object.h"
#include "uri/uri.h"

/* An attribute of a template. */
#define SET(type, value)                                                                           \
    {                                                                                              \
        (type), (void *)(uintptr_t) & (value), sizeof(value)                                       \
    }

/* What an object is to be. */
enum wrapping_role { TO_BE_WRAPPED, WRAPS, UNWRAPS };

/* How many objects the URI names that may be it, and the first. Where it says type= of one half of
 * a key pair and the other is wanted, it is the other. */
CK_RV wrapping_find(struct session *session, const struct uri *uri, enum wrapping_role role,
                    struct handle *handle, CK_ULONG *count);

/* What is to be known of a key that is wrapped or wraps, the modulus last. The caller frees *out
 * with OPENSSL_free. */
CK_RV wrapping_look(struct session *session, struct handle handle, struct attributes **out);

/* Whether the URI of a wrapping key, or of a key to be wrapped, names an object. False with an
 * error raised: any key of a token is none. */
bool wrapping_names(const struct provider *provider, const struct uri *uri, const char *verb);

/* How the token goes a way (flag: CKF_WRAP or CKF_UNWRAP): with the mechanism for it or, where that
 * is WRAP_RSA_AES, with two. */
enum wrapping_going { GOING_NOT, GOING_AT_ONCE, GOING_BY_TWO };
CK_RV wrapping_going(struct session *session, const struct wrap_way *way, CK_FLAGS flag,
                     enum wrapping_going *going);

/* The mechanism for the second of the two. */
CK_RV wrapping_inner(struct session *session, CK_FLAGS flag, CK_MECHANISM *mechanism, bool *has);

/* The next way for wrapping keys of that type; named alone where that is not NULL. */
const struct wrap_way *wrapping_next(const struct wrap_way *named, CK_KEY_TYPE with,
                                     const struct wrap_way *previous);

/* Whether rv says that it is this way that the token does not go, or not with this key. */
bool wrapping_refused(CK_RV rv);

/* Destroys the AES key in the middle, before anybody sees it. rv: what came of its use, which is
 * what is returned where it went wrong. */
CK_RV wrapping_drop(struct session *session, struct handle middle, CK_RV rv);

#endif
