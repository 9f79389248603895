/* Where the PIN of a token comes from. */
#ifndef BRIDGE_PINS_H
#define BRIDGE_PINS_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/types.h>

#include "base/secret.h"
#include "module/cryptoki.h"

struct slot;
struct uri;
struct witness;

/* What the configuration has of them, the same for all that a provider does. Any may be missing. */
struct pin_config {
    OSSL_LIB_CTX *libctx;    /* for the hash by which PINs that were shown are remembered */
    const char *table;       /* pkcs11-token-pins: a file by which tokens have PINs */
    struct secret *pin;      /* pkcs11-module-token-pin */
    const char *file;        /* the same, where it is a file */
    bool for_any;            /* pkcs11-pin-scope: these two go to tokens that nothing names */
    size_t most;             /* the longest PIN to show, in bytes; 0: any */
    struct witness *witness; /* of each login, and of what it is for (token/witness.h); or NULL */
};

/* The places to look for the PIN of a token, for one operation: those of the URI, the one that
 * worked before, those of config, a person. Any may be missing. Files are read each time, so that a
 * PIN can change. */
struct pin_source {
    const struct pin_config *config;
    uint64_t operation;    /* of whatever the PIN is wanted for; 0 until one is */
    struct secret *value;  /* given with the URI */
    const char *file;      /* a file that the URI names */
    const struct uri *uri; /* by which the token may be named; NULL: it is not */
    /* Asks a person; NULL when nobody answers. The caller of ask owns what it returns. Once for a
     * token in an operation: an answer that was wrong, or none, is one. */
    struct secret *(*ask)(void *arg, const CK_TOKEN_INFO *token);
    void *ask_arg;
    const struct slot *asked; /* of which token last */
};

/* Gives the operation a number, if it has none: one load, one signature, ... with all its phases,
 * tokens and tries. */
void pins_number(struct pin_source *pins);

/* A PIN and the file that it came from, if it came from one. */
struct pin {
    struct secret *secret;
    char *file;
    const char *source; /* what people call the place that it comes from */
    bool listed;        /* by pkcs11-token-pins, which is read again */
    bool alone;         /* nothing names the token, which is the only one that wants a PIN */
    bool asked;         /* a person was, or other slots, which takes time */
};

/* Frees what it holds; for _cleanup_(pin_scoped). */
void pin_scoped(struct pin *pin);

/* The first PIN that there is for the token in slot. RV_PIN_MISSING; RV_PIN_SOURCE with
 * call_detail, also where it is longer than it may be; RV_PIN_UNNAMED with call_detail, and with
 * the PIN of the configuration, where that is for another token or nobody knows which. */
CK_RV pins_find(struct slot *slot, struct pin_source *pins, struct pin *pin);

#endif
