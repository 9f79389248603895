/* Names for programs that talk to the pkcs11 provider through OpenSSL's own API. Nothing here needs
 * to be linked: load the provider with OSSL_PROVIDER_load(libctx, PKCS11_BRIDGE_PROVIDER). */
#ifndef PKCS11_BRIDGE_H
#define PKCS11_BRIDGE_H

#define PKCS11_BRIDGE_PROVIDER "pkcs11"
#define PKCS11_BRIDGE_PROPERTY "provider=pkcs11"

/* The label of a PEM file that holds a pkcs11: URI. */
#define PKCS11_BRIDGE_PEM_LABEL "PKCS#11 PROVIDER URI"

/* Keys of the provider's section in openssl.cnf; docs/configuration.md has their meaning. */
#define PKCS11_BRIDGE_CONF_MODULE_PATH       "pkcs11-module-path"
#define PKCS11_BRIDGE_CONF_MODULE_SHA256     "pkcs11-module-sha256"
#define PKCS11_BRIDGE_CONF_INSECURE_PATH     "pkcs11-module-insecure-path"
#define PKCS11_BRIDGE_CONF_INIT_ARGS         "pkcs11-module-init-args"
#define PKCS11_BRIDGE_CONF_TOKEN_PIN         "pkcs11-module-token-pin"
#define PKCS11_BRIDGE_CONF_TOKEN_PINS        "pkcs11-token-pins"
#define PKCS11_BRIDGE_CONF_PIN_SCOPE         "pkcs11-pin-scope"
#define PKCS11_BRIDGE_CONF_LOGIN_BEHAVIOR    "pkcs11-module-login-behavior"
#define PKCS11_BRIDGE_CONF_DEBUG             "pkcs11-debug"
#define PKCS11_BRIDGE_CONF_LOAD_BEHAVIOR     "pkcs11-module-load-behavior"
#define PKCS11_BRIDGE_CONF_CACHE_SESSIONS    "pkcs11-module-cache-sessions"
#define PKCS11_BRIDGE_CONF_CACHE_KEYS        "pkcs11-module-cache-keys"
#define PKCS11_BRIDGE_CONF_ALLOW_EXPORT      "pkcs11-module-allow-export"
#define PKCS11_BRIDGE_CONF_BLOCK_OPERATIONS  "pkcs11-module-block-operations"
#define PKCS11_BRIDGE_CONF_QUIRKS            "pkcs11-module-quirks"
#define PKCS11_BRIDGE_CONF_ASSUME_FIPS       "pkcs11-module-assume-fips"
#define PKCS11_BRIDGE_CONF_DEFAULT_SLOT      "pkcs11-module-default-slot-id"
#define PKCS11_BRIDGE_CONF_CACHE_PINS        "pkcs11-module-cache-pins"
#define PKCS11_BRIDGE_CONF_PIN_MOST          "pkcs11-max-pin-length"
#define PKCS11_BRIDGE_CONF_URI_IN_PEM        "pkcs11-module-encode-provider-uri-to-pem"
#define PKCS11_BRIDGE_CONF_DIGEST            "pkcs11-digest"
#define PKCS11_BRIDGE_CONF_SESSIONS_MAX      "pkcs11-sessions-max"
#define PKCS11_BRIDGE_CONF_SESSION_WAIT      "pkcs11-session-wait-ms"
#define PKCS11_BRIDGE_CONF_RETRY             "pkcs11-retry-ms"
#define PKCS11_BRIDGE_CONF_LOG               "pkcs11-log"
#define PKCS11_BRIDGE_CONF_ALLOW_URI_MODULE  "pkcs11-allow-uri-module"
#define PKCS11_BRIDGE_CONF_RANDOM            "pkcs11-random"
#define PKCS11_BRIDGE_CONF_ASYNC             "pkcs11-async"
#define PKCS11_BRIDGE_CONF_PUBLIC_OPERATIONS "pkcs11-public-operations"
#define PKCS11_BRIDGE_CONF_PEM_URI           "pkcs11-pem-uri"
#define PKCS11_BRIDGE_CONF_AMBIGUOUS         "pkcs11-ambiguous"
#define PKCS11_BRIDGE_CONF_EPHEMERAL         "pkcs11-ephemeral"
#define PKCS11_BRIDGE_CONF_IMPORT            "pkcs11-module-import"
#define PKCS11_BRIDGE_CONF_AUDIT             "pkcs11-audit"
#define PKCS11_BRIDGE_CONF_AUDIT_CHAIN       "pkcs11-audit-chain"
#define PKCS11_BRIDGE_CONF_AUDIT_REQUIRED    "pkcs11-audit-required"
#define PKCS11_BRIDGE_CONF_AUDIT_WAIT        "pkcs11-audit-wait-ms"
#define PKCS11_BRIDGE_CONF_METRICS           "pkcs11-metrics"
#define PKCS11_BRIDGE_CONF_COLLECT_MAX       "pkcs11-collect-max"
#define PKCS11_BRIDGE_CONF_GCM_CALLER_IV     "pkcs11-gcm-caller-iv"
#define PKCS11_BRIDGE_CONF_GCM_LIMIT         "pkcs11-gcm-limit"
#define PKCS11_BRIDGE_CONF_GCM_STATE         "pkcs11-gcm-state"

/* Overrides pkcs11-module-path, except in set-user-id programs and those with file capabilities. */
#define PKCS11_BRIDGE_ENV_MODULE "PKCS11_PROVIDER_MODULE"

/* file:PATH,level:N: each C_* call is told there, with its arguments and the time that it took; not
 * in set-user-id programs and those with file capabilities. */
#define PKCS11_BRIDGE_ENV_DEBUG "PKCS11_PROVIDER_DEBUG"

/* Parameters of EVP_PKEY_generate (EVP_PKEY_CTX_set_params, openssl genpkey -pkeyopt): the token,
 * label and id of the key to make; what it may be used for, by the names of RFC 5280 §4.2.1.3;
 * whether it is a session key all the same; what to do where a key has that label or id already:
 * "error" or "add". Without a URI it is a session key. */
#define PKCS11_BRIDGE_KEYGEN_URI       "pkcs11_uri"
#define PKCS11_BRIDGE_KEYGEN_USAGE     "pkcs11_key_usage"
#define PKCS11_BRIDGE_KEYGEN_EPHEMERAL "pkcs11_ephemeral"
#define PKCS11_BRIDGE_KEYGEN_IF_EXISTS "pkcs11_if_exists"

/* Parameters of EVP_PKEY_fromdata, and of EVP_SKEY_import, which bring a key to a token: with
 * PKCS11_BRIDGE_KEYGEN_URI, and if it is to be, _IF_EXISTS, beside the values of the key it becomes
 * an object of that token. Or it comes wrapped, as bytes: these beside the public half (RSA can do
 * without), the URI of the key on that token to unwrap it with, and what it was wrapped by, as
 * "aes-kwp" (docs/command.md, wrap; without, what the token has is tried). An int: whether it may
 * leave the token again, wrapped. */
#define PKCS11_BRIDGE_IMPORT_WRAPPED     "pkcs11_wrapped"
#define PKCS11_BRIDGE_IMPORT_WITH        "pkcs11_wrapped_with"
#define PKCS11_BRIDGE_IMPORT_BY          "pkcs11_wrapped_by"
#define PKCS11_BRIDGE_IMPORT_EXTRACTABLE "pkcs11_extractable"

/* Ciphers with secret keys of a token (EVP_CIPHER_fetch): this before OpenSSL's name, as in
 * PKCS11-AES-256-GCM, so that nobody finds them who has a key in software. */
#define PKCS11_BRIDGE_CIPHER_PREFIX "PKCS11-"

/* A size_t: the bytes that the caller has room for at EVP_CipherFinal. With it, AES-GCM and other
 * modes whose messages go through whole take them in pieces, and Final gives out all of them. */
#define PKCS11_BRIDGE_CIPHER_FINAL_ROOM "pkcs11-final-room"

/* An unsigned int: whether what is given to EVP_EncryptUpdate to write to has room for the tag
 * behind the message. With it, and without pkcs11-final-room, the token writes both there with
 * AES-GCM and AES-CCM, and nothing is copied. */
#define PKCS11_BRIDGE_CIPHER_TAG_ROOM "pkcs11-tag-room"

/* Of OSSL_PROVIDER_get_params, UTF-8: what this process has counted, as OpenMetrics text; "" where
 * pkcs11-metrics is not set. */
#define PKCS11_BRIDGE_PARAM_METRICS "pkcs11-metrics"

#endif
