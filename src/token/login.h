/* Logging in: where PINs come from, and what is done so that no token gets locked. */
#ifndef BRIDGE_LOGIN_H
#define BRIDGE_LOGIN_H

#include <openssl/types.h>

#include "base/secret.h"
#include "module/cryptoki.h"

struct session;
struct slot;

/* The places to look for the PIN of a token, in this order; the one that worked before comes after
 * those of the URI. Any may be missing. Files are read each time, so that a PIN can change. */
struct pin_source {
    OSSL_LIB_CTX *libctx;  /* for the hash by which refused PINs are remembered */
    struct secret *value;  /* given with the URI */
    const char *file;      /* a file that the URI names */
    struct secret *config; /* pkcs11-module-token-pin */
    const char *config_file;
    /* Asks a person; NULL when nobody answers. The caller of ask owns what it returns. */
    struct secret *(*ask)(void *arg, const CK_TOKEN_INFO *token);
    void *ask_arg;
};

/* What is kept of the logins of a token; under the lock. */
struct login {
    struct secret *pin; /* the one that the token took */
    char *pin_file;     /* where it came from, or NULL */
};

/* Logs the user in on session: flags are the token's, asked for just before. The PIN that worked stays
 * with the slot for later logins.
 *
 * RV_PIN_MISSING, RV_PIN_SOURCE, RV_PIN_REFUSED_BEFORE, RV_PIN_FINAL_TRY, or what C_Login said. */
CK_RV login_user(struct session *session, struct pin_source *pins, CK_FLAGS flags);

/* CKU_CONTEXT_SPECIFIC, for a key with CKA_ALWAYS_AUTHENTICATE, after C_SignInit or C_DecryptInit
 * (PKCS#11 v3.1 §4.9). */
CK_RV login_context(struct session *session, struct pin_source *pins);

/* Where a search found nothing: whether the login that it needs is still there. Private objects are
 * not seen without it, and no call fails. CKR_USER_NOT_LOGGED_IN where it is not. */
CK_RV login_confirm(struct session *session);

/* The PIN is dropped. */
void login_forget(struct slot *slot);

#endif
