#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "base/terminal.h"
#include "key/doubt.h"
#include "mech/secret.h"
#include "module/call.h"
#include "ops/ops.h"
#include "ops/skey.h"

/* Signatures have names of our own. libcrypto asks for them only for keys of this keymgmt, so
 * that those of other providers stay where they are, even when this one is listed first or
 * preferred by a property; docs/adr/0002-names-of-operations.md. */
#define SIGN_NAMES(id, algorithm, number, name, ...)                                               \
    [KEY_SET + SET_##id] = { name, "PKCS11-PQ-SIGN", NULL, NULL, NULL },

#define KEM_NAMES(id, algorithm, number, name, ...)                                                \
    [KEY_SET + SET_##id] = { name, NULL, NULL, NULL, "PKCS11-PQ-KEM" },

const struct key_names key_names[KEY_TYPES] = {
    [KEY_RSA] = { "RSA", "PKCS11-RSA", "PKCS11-RSA", NULL, NULL },
    [KEY_RSA_PSS] = { "RSA-PSS", "PKCS11-RSA", NULL, NULL, NULL },
    [KEY_EC] = { "EC", "PKCS11-ECDSA", NULL, "PKCS11-ECDH", NULL },
    [KEY_ED25519] = { "ED25519", "PKCS11-EDDSA", NULL, NULL, NULL },
    [KEY_ED448] = { "ED448", "PKCS11-EDDSA", NULL, NULL, NULL },
    [KEY_X25519] = { "X25519", NULL, NULL, "PKCS11-ECDH", NULL },
    [KEY_X448] = { "X448", NULL, NULL, "PKCS11-ECDH", NULL },
    SET_ROWS_SIGN(SIGN_NAMES) SET_ROWS_KEM(KEM_NAMES)
};

/* A key management of EVP_SKEY is told a reference as any other parameter, which a program may set
 * as well: it is one only while this thread gives the key. */
static _Thread_local const struct key *given;

bool object_is_given(const struct key *key)
{
    return key != NULL && key == given;
}

int object_give(struct key *key, OSSL_CALLBACK *object_cb, void *object_arg)
{
    bool secret = key->type == KEY_SECRET;
    int type = secret ? OSSL_OBJECT_SKEY : OSSL_OBJECT_PKEY, ok;
    const char *name = secret ? key->kind->name : key_names[key->type].type;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)(uintptr_t)name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof(key)),
        OSSL_PARAM_construct_end(),
    };

    given = key;
    ok = object_cb(params, object_arg);
    given = NULL;
    return ok;
}

struct key *object_key(const void *reference, size_t size)
{
    struct key *key;

    if (reference == NULL || size != sizeof(key))
        return NULL;
    memcpy(&key, reference, sizeof(key));
    return key;
}

static int export_rsa(const struct key *key, int selection, OSSL_CALLBACK *callback, void *arg)
{
    static const OSSL_PARAM nothing[] = { OSSL_PARAM_END };
    _cleanup_(param_bld_scoped) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    _cleanup_(bn_scoped) BIGNUM *n = BN_bin2bn(key->n.data, (int)key->n.len, NULL);
    _cleanup_(bn_scoped) BIGNUM *e = BN_bin2bn(key->e.data, (int)key->e.len, NULL);
    _cleanup_(params_scoped) OSSL_PARAM *params = NULL;

    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0)
        return (selection & OSSL_KEYMGMT_SELECT_OTHER_PARAMETERS) != 0 && callback(nothing, arg);
    if (builder == NULL || n == NULL || e == NULL ||
        !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) ||
        !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
        return 0;
    params = OSSL_PARAM_BLD_to_param(builder);
    return params != NULL && callback(params, arg);
}

static int export_raw(const struct key *key, int selection, OSSL_CALLBACK *callback, void *arg)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, key->point.data, key->point.len),
        OSSL_PARAM_construct_end(),
    };

    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 && callback(params, arg);
}

/* A point by itself is nothing. */
static int export_ec(const struct key *key, int selection, OSSL_CALLBACK *callback, void *arg)
{
    char group[32];
    OSSL_PARAM params[3];
    size_t count = 0;

    if ((selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) == 0)
        return 0;
    (void)curve_name(key->curve, group, sizeof(group));
    params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0)
        params[count++] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                            key->point.data, key->point.len);
    params[count] = OSSL_PARAM_construct_end();
    return callback(params, arg);
}

static int export_software(const struct key *key, int selection, OSSL_CALLBACK *callback, void *arg)
{
    HOST_WORK;
    const EVP_PKEY *host = key_host((struct key *)(uintptr_t)key);

    return host != NULL && EVP_PKEY_export(host, selection, callback, arg) == 1;
}

int key_export(const struct key *key, int selection, OSSL_CALLBACK *callback, void *arg)
{
    if (key->software)
        return export_software(key, selection, callback, arg);
    if (!key->provider->config.allow_export || !key_has_public(key))
        return 0;
    if ((key_is_private(key) && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0))
        return 0;
    if (!key_is_meant(key, false))
        return 0;
    if (key_type_is_rsa(key->type))
        return export_rsa(key, selection, callback, arg);
    return key->type == KEY_EC ? export_ec(key, selection, callback, arg)
                               : export_raw(key, selection, callback, arg);
}

int object_export(const struct key *key, OSSL_CALLBACK *callback, void *arg)
{
    return key != NULL && !key_public_on_token(key) &&
           key_export(key, OSSL_KEYMGMT_SELECT_ALL, callback, arg);
}

const char *key_digest_name(const struct key *key)
{
    static const char *const names[] = { "SHA256", "SHA384", "SHA512", "SHA224", "SHA1" };

    for (size_t i = 0; key->type == KEY_RSA_PSS && i < COUNT(names); i++)
        if (key_allows_pss(key, digest_find(names[i])))
            return names[i];
    return names[0];
}

/* The answer of the application's callback. *has_none: the application has no way to ask, which is
 * what libcrypto's own callback says then. */
static struct secret *application_ask(const struct passphrase *passphrase, char *info,
                                      bool *has_none)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PASSPHRASE_PARAM_INFO, info, 0),
        OSSL_PARAM_construct_end(),
    };
    struct secret *pin = NULL;
    char buf[SECRET_MAX];
    size_t len = 0;
    unsigned long error;
    bool ok;

    (void)ERR_set_mark();
    ok = passphrase->callback(buf, sizeof(buf), &len, params, passphrase->arg) == 1;
    if (ok && len != 0 && len <= sizeof(buf))
        pin = secret_new(buf, len);
    OPENSSL_cleanse(buf, sizeof(buf));
    error = ok ? 0 : ERR_peek_last_error();
    *has_none = ERR_GET_LIB(error) == ERR_LIB_CRYPTO &&
                ERR_GET_REASON(error) == ERR_R_PASSED_INVALID_ARGUMENT;
    (void)(*has_none ? ERR_pop_to_mark() : ERR_clear_last_mark());
    return pin;
}

struct secret *passphrase_ask(void *arg, const CK_TOKEN_INFO *token)
{
    const struct passphrase *passphrase = arg;
    struct secret *pin = NULL;
    bool has_none = passphrase->callback == NULL;
    char info[64], prompt[80];

    (void)snprintf(info, sizeof(info), "PIN of the token %s", token_of(token).label);
    if (!has_none)
        pin = application_ask(passphrase, info, &has_none);
    (void)snprintf(prompt, sizeof(prompt), "Enter the %s: ", info);
    return pin == NULL && has_none ? terminal_ask(prompt) : pin;
}
