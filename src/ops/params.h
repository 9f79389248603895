/* The parameters of an operation are two macros of rows, one for those that can be set, one for
 * those that can be asked for; docs/adr/0016-parameters-are-rows.md:
 *
 *     #define SETTABLE(ROW)                                                                    \
 *         ROW(OSSL_EXCHANGE_PARAM_KDF_TYPE, utf8_string, set_kdf, WHOLE)                       \
 *         ROW(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, size_t, param_set_size,                          \
 *             FIELD(struct exchange, out_len, size_t))
 *
 * A row is the parameter's name, its type (what is behind OSSL_PARAM_ in the macros of
 * <openssl/params.h>), the function that sets or gets it, and what that function works on: the
 * WHOLE context, or a FIELD of it. Of the rows are made the table that params_set or params_get
 * goes through, and the list that libcrypto gets. */
#ifndef BRIDGE_PARAMS_H
#define BRIDGE_PARAMS_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/core.h>
#include <openssl/params.h>

#include "base/bytes.h"
#include "instance/instance.h"
#include "mech/digest.h"

/* at: the context, or the field of it that the row names. They return 1, or 0 where the value is
 * not fit; only an error that a function of the operation's own raises says why. */
struct param_setter {
    const char *name; /* NULL in the last one */
    int (*set)(void *at, const OSSL_PARAM *p);
    size_t at;
};

struct param_getter {
    const char *name; /* NULL in the last one */
    int (*get)(const void *at, OSSL_PARAM *p);
    size_t at;
};

/* static const: a table of setters or getters, and a list for settable_params or gettable_params.
 */
#define PARAM_SETTERS(table, rows)                                                                 \
    static const struct param_setter table[] = { rows(PARAM_ROW_){ NULL, NULL, 0 } }
#define PARAM_GETTERS(table, rows)                                                                 \
    static const struct param_getter table[] = { rows(PARAM_ROW_){ NULL, NULL, 0 } }
#define PARAM_LIST(list, rows)                                                                     \
    static const OSSL_PARAM list[] = { rows(PARAM_OFFER_) OSSL_PARAM_END }

/* The functions that do nothing but go through their rows, with the tables they need:
 * PREFIX_set_ctx_params and PREFIX_settable_ctx_params, PREFIX_get_ctx_params and
 * PREFIX_gettable_ctx_params. */
#define PARAMS_SET(prefix, rows)                                                                   \
    PARAM_SETTERS(setters, rows);                                                                  \
    PARAM_LIST(settable, rows);                                                                    \
    static int prefix##_set_ctx_params(void *ctx, const OSSL_PARAM params[])                       \
    {                                                                                              \
        return params_set(setters, ctx, params);                                                   \
    }                                                                                              \
    PARAM_LISTING(prefix##_settable_ctx_params, settable)
#define PARAMS_GET(prefix, rows)                                                                   \
    PARAM_GETTERS(getters, rows);                                                                  \
    PARAM_LIST(gettable, rows);                                                                    \
    static int prefix##_get_ctx_params(void *ctx, OSSL_PARAM params[])                             \
    {                                                                                              \
        return params_get(getters, ctx, params);                                                   \
    }                                                                                              \
    PARAM_LISTING(prefix##_gettable_ctx_params, gettable)

/* A function whose answer is always this list. */
#define PARAM_LISTING(function, list)                                                              \
    static const OSSL_PARAM *function(void *ctx, void *provctx)                                    \
    {                                                                                              \
        (void)ctx;                                                                                 \
        (void)provctx;                                                                             \
        return list;                                                                               \
    }

#define WHOLE 0

/* Does not compile where the member is not of that type, which is the function's. */
#define FIELD(context, member, type)                                                               \
    (offsetof(context, member) +                                                                   \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((context *)NULL)->member), type)     \
                         ? 1                                                                       \
                         : -1]))

#define PARAM_ROW_(name, type, function, at)   { name, function, at },
#define PARAM_OFFER_(name, type, function, at) PARAM_OFFER_##type(name),

#define PARAM_OFFER_int(name)          OSSL_PARAM_int(name, NULL)
#define PARAM_OFFER_uint(name)         OSSL_PARAM_uint(name, NULL)
#define PARAM_OFFER_size_t(name)       OSSL_PARAM_size_t(name, NULL)
#define PARAM_OFFER_BN(name)           OSSL_PARAM_BN(name, NULL, 0)
#define PARAM_OFFER_utf8_string(name)  OSSL_PARAM_utf8_string(name, NULL, 0)
#define PARAM_OFFER_octet_string(name) OSSL_PARAM_octet_string(name, NULL, 0)
#define PARAM_OFFER_octet_ptr(name)    OSSL_PARAM_octet_ptr(name, NULL, 0)

/* Sets what of params the table knows, in the table's order. 1, or 0 at the first that is not fit.
 * params may be NULL. */
int params_set(const struct param_setter *setters, void *ctx, const OSSL_PARAM params[]);

/* Answers what of params the table knows. 1, or 0 at the first that has no answer. */
int params_get(const struct param_getter *getters, const void *ctx, OSSL_PARAM params[]);

/* Setters for rows. */
int param_set_uint(void *number, const OSSL_PARAM *p);   /* unsigned */
int param_set_size(void *number, const OSSL_PARAM *p);   /* size_t */
int param_set_octets(void *octets, const OSSL_PARAM *p); /* struct bytes; NULL sets "none" */
int param_ignore(void *at, const OSSL_PARAM *p); /* callers set it, and it changes nothing here */

/* Getters for rows. */
int param_get_int(const void *number, OSSL_PARAM *p);    /* int */
int param_get_uint(const void *number, OSSL_PARAM *p);   /* unsigned */
int param_get_size(const void *number, OSSL_PARAM *p);   /* size_t */
int param_get_octets(const void *octets, OSSL_PARAM *p); /* struct bytes, as an octet_ptr */
int param_get_number(const void *octets, OSSL_PARAM *p); /* struct bytes, big-endian, as a BN */
int param_get_digest(const void *digest, OSSL_PARAM *p); /* const struct digest *; NULL is "" */

/* The last one has no name. */
struct named_number {
    const char *name;
    int number;
};

/* NULL where the number has no name. */
const char *named_number_name(const struct named_number *names, int number);

/* Reads p, a text. False where it is none, and where it is NULL, which libcrypto lets pass. */
bool text_param_get(const OSSL_PARAM *p, const char **out);

/* Reads p: a number, a name, or a number in decimal digits. */
bool named_number_get(const OSSL_PARAM *p, const struct named_number *names, int *out);

/* Sets p to the number or its name, as p wants it. */
int named_number_set(OSSL_PARAM *p, const struct named_number *names, int number);

/* Raises REASON_PARAMETER with "what value". Returns 0, for a dispatch function to return. */
int refuse(const struct provider *provider, const char *what, const char *value);

/* The digest that p names. NULL, with an error that says what it was for, where there is none. */
const struct digest *digest_param_get(const struct provider *provider, const OSSL_PARAM *p,
                                      const char *purpose);

/* Sets *out to it, which stays as it was where there is none. For a dispatch function to return. */
int digest_param_take(const struct provider *provider, const OSSL_PARAM *p, const char *purpose,
                      const struct digest **out);

/* Sets p to the digest's name, or to "" for NULL. */
int digest_param_set(OSSL_PARAM *p, const struct digest *digest);

/* Sets p to a big-endian number; 0 where there is none. */
int number_param_set(OSSL_PARAM *p, struct view number);

#endif
