/* The context of a signature, and the functions that every signature algorithm shares:
 * signature.c has those that leave the choice of a digest to the caller, sigalg.c those that name
 * it (RSA-SHA2-256, ...). */
#ifndef BRIDGE_SIGNATURE_H
#define BRIDGE_SIGNATURE_H

#include <openssl/core_dispatch.h>

#include "base/rare.h"
#include "ops/held.h"

/* What is said once of recovers and digest_stays is so for good: libcrypto begins with another key,
 * or for another operation, on a new context. */
struct signature {
    struct held held; /* first */
    struct provider *provider;
    char *propq;
    struct key *key;
    const struct digest *fixed; /* of a signature algorithm that names its digest; or NULL */
    bool of_message;            /* fixed: begun with the message to follow, not its digest */
    bool signing;
    bool recovers;               /* what is signed is recovered from the signature */
    int padding;                 /* RSA_*_PADDING */
    const struct digest *digest; /* NULL: none set */
    bool digest_stays;           /* begun with the message to follow: another one is refused */
    const struct digest *mgf1;   /* NULL: as digest */
    int salt;                    /* >= 0, or RSA_PSS_SALTLEN_* */
    bool salt_free;              /* nobody chose it or was told of it */
    EVP_MD_CTX *hash;            /* the message so far, hashed on the host */
    bool collecting;             /* the message so far is in message: the token will hash it */
    struct bytes message;
    struct bytes expected; /* what a verification that is fed compares with; or none */
};

/* What the context asks of the table of mechanisms. False with an error raised. */
bool signature_request(const struct signature *ctx, struct sign_request *request);

/* Raises that a digest is missing. False. */
RARE bool signature_wants_digest(const struct signature *ctx);

/* The same as signature_request, where what is not possible yet is no error. */
bool signature_request_quiet(const struct signature *ctx, struct sign_request *request);

/* Sets the context's digest, unless that is settled; false with an error raised. */
RARE bool signature_choose_digest(struct signature *ctx, const struct digest *digest);

/* Of PSS, in bytes: emLen - hLen - 2 at the most (RFC 8017 §9.1.1). False where the key is too
 * short for it. */
bool signature_salt_length(const struct signature *ctx, size_t *out);
#define SALT_AUTO_DIGEST_MAX (-4) /* RSA_PSS_SALTLEN_AUTO_DIGEST_MAX of OpenSSL 3.1 */

/* As the default provider of the libcrypto that runs has it: since 3.1 no longer than the digest.
 */
int signature_default_salt(void);

/* The parameters, where the token does the work (ops/signature_params.c). */
OSSL_FUNC_signature_get_ctx_params_fn signature_token_get_ctx_params;
OSSL_FUNC_signature_gettable_ctx_params_fn signature_token_gettable_ctx_params;
OSSL_FUNC_signature_set_ctx_params_fn signature_token_set_ctx_params;
OSSL_FUNC_signature_settable_ctx_params_fn signature_token_settable_ctx_params;

/* A context for one digest, by its name in mech/digest.h. */
void *signature_new_fixed(void *provctx, const char *propq, const char *digest);

OSSL_FUNC_signature_freectx_fn signature_freectx;
OSSL_FUNC_signature_dupctx_fn signature_dupctx;
OSSL_FUNC_signature_sign_init_fn signature_sign_init;
OSSL_FUNC_signature_sign_fn signature_sign;
OSSL_FUNC_signature_verify_init_fn signature_verify_init;
OSSL_FUNC_signature_verify_fn signature_verify;
OSSL_FUNC_signature_digest_sign_init_fn signature_digest_sign_init;
OSSL_FUNC_signature_digest_verify_init_fn signature_digest_verify_init;
OSSL_FUNC_signature_digest_sign_update_fn signature_digest_update;
OSSL_FUNC_signature_digest_sign_final_fn signature_digest_sign_final;
OSSL_FUNC_signature_digest_sign_fn signature_digest_sign;
OSSL_FUNC_signature_digest_verify_final_fn signature_digest_verify_final;
OSSL_FUNC_signature_get_ctx_params_fn signature_get_ctx_params;
OSSL_FUNC_signature_gettable_ctx_params_fn signature_gettable_ctx_params;
OSSL_FUNC_signature_set_ctx_params_fn signature_set_ctx_params;

/* Numbers of OpenSSL 3.4's core_dispatch.h. */
#ifndef OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES
#define OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES       26
#define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT     27
#define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_UPDATE   28
#define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_FINAL    29
#define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT   30
#define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_UPDATE 31
#define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_FINAL  32
#endif

/* OSSL_SIGNATURE_PARAM_SIGNATURE of OpenSSL 3.4 */
#define SIGNATURE_PARAM_SIGNATURE "signature"

extern const OSSL_DISPATCH signature_rsa_functions[];
extern const OSSL_DISPATCH signature_ec_functions[];
extern const OSSL_DISPATCH eddsa_functions[];
extern const OSSL_DISPATCH ed25519_functions[];
extern const OSSL_DISPATCH ed25519ctx_functions[];
extern const OSSL_DISPATCH ed25519ph_functions[];
extern const OSSL_DISPATCH ed448_functions[];
extern const OSSL_DISPATCH ed448ph_functions[];
extern const OSSL_DISPATCH set_signature_functions[];
#define SET_FUNCTIONS(id, ...) extern const OSSL_DISPATCH id##_signature_functions[];
SET_ROWS_SIGN(SET_FUNCTIONS)
#undef SET_FUNCTIONS

/* What our keymgmts lead to. */
#define SIGNATURES_BY_KEY                                                                          \
    { "PKCS11-RSA", PROPERTIES, signature_rsa_functions, "RSA PKCS#1 v1.5 and PSS on tokens" },    \
        { "PKCS11-ECDSA", PROPERTIES, signature_ec_functions, "ECDSA on tokens" },                 \
    {                                                                                              \
        "PKCS11-EDDSA", PROPERTIES, eddsa_functions, "Ed25519 and Ed448 on tokens"                 \
    }

#endif
