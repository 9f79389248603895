#include "key/templates.h"

#include "base/scope.h"
#include "key/import.h"
#include "key/making.h"

static void add(CK_ATTRIBUTE *list, CK_ULONG *count, CK_ATTRIBUTE_TYPE type, const void *value,
                CK_ULONG len)
{
    list[(*count)++] = (CK_ATTRIBUTE){ type, (void *)(uintptr_t)value, len };
}

#define ADD_PRIVATE(t, type, value)                                                                \
    add((t)->private, &(t)->private_count, type, &(value), sizeof(value))
#define ADD_PUBLIC(t, type, value)                                                                 \
    add((t)->public, &(t)->public_count, type, &(value), sizeof(value))

static bool type_encapsulates(enum key_type type)
{
    return key_type_is_set(type) && !key_type_set(type)->algorithm->signs;
}

static struct usage default_usage(enum key_type type)
{
    if (type_encapsulates(type))
        return (struct usage){ .decapsulate = true };
    switch (type) {
    case KEY_RSA:
        return (struct usage){ .sign = true, .decrypt = true, .unwrap = true };
    case KEY_EC:
        return (struct usage){ .sign = true, .derive = true };
    case KEY_X25519:
    case KEY_X448:
        return (struct usage){ .derive = true };
    default:
        return (struct usage){ .sign = true };
    }
}

static void add_usage(struct templates *t, CK_ATTRIBUTE_TYPE private, CK_ATTRIBUTE_TYPE public,
                      const CK_BBOOL *value)
{
    add(t->private, &t->private_count, private, value, sizeof(*value));
    add(t->public, &t->public_count, public, value, sizeof(*value));
}

/* all: also the usages that make no sense for the type, as some tokens turn on what is not turned
 * off; but not decryption for curves, which nothing decrypts with: tpm2-pkcs11 takes CKA_DECRYPT
 * for the private half of CKA_VERIFY, and refuses keys where one is off and the other on. Only
 * newer tokens know of encapsulation. */
static void templates_usage(const struct generation *generation, bool all, struct templates *t)
{
    enum key_type type = generation->type;
    struct usage usage = generation->has_usage ? generation->usage : default_usage(type);
    bool encapsulates = type_encapsulates(type);
    bool curve = !key_type_is_rsa(type) && !key_type_is_set(type);

    t->sign = usage.sign && !encapsulates;
    t->decrypt = usage.decrypt && !encapsulates;
    t->unwrap = usage.unwrap && !encapsulates;
    t->derive = usage.derive;
    t->decapsulate = usage.decapsulate;
    if (encapsulates)
        add_usage(t, CKA_DECAPSULATE, CKA_ENCAPSULATE, &t->decapsulate);
    if (!encapsulates || all)
        add_usage(t, CKA_SIGN, CKA_VERIFY, &t->sign);
    if (type == KEY_RSA || (all && !curve))
        add_usage(t, CKA_DECRYPT, CKA_ENCRYPT, &t->decrypt);
    if (type == KEY_RSA || all)
        add_usage(t, CKA_UNWRAP, CKA_WRAP, &t->unwrap);
    if (curve || all)
        ADD_PRIVATE(t, CKA_DERIVE, t->derive);
}

static void templates_name(const struct template_names *names, struct templates *t)
{
    if (names->mark != NULL) {
        add(t->private, &t->private_count, CKA_ID, names->mark, MAKING_ID_LEN);
        add(t->public, &t->public_count, CKA_ID, names->mark, MAKING_ID_LEN);
    }
    if (names->uri == NULL)
        return;
    t->private_count = uri_add_names(names->uri, t->private, t->private_count);
    t->public_count = uri_add_names(names->uri, t->public, t->public_count);
}

/* To PSS, with one digest where the caller named one: the token then hashes by itself. */
static void templates_restrict(const struct generation *generation, struct templates *t)
{
    struct sign_request request = { .scheme = SIGN_RSA_PSS,
                                    .digest = generation->pss_digest,
                                    .mgf1 = generation->pss_digest };
    CK_ULONG count = 1;

    t->allowed[0] = generation->pss_digest != NULL ? sign_type_token(&request) : SIGN_NO_MECHANISM;
    if (t->allowed[0] == SIGN_NO_MECHANISM)
        count = sign_pss_mechanisms(t->allowed);
    add(t->private, &t->private_count, CKA_ALLOWED_MECHANISMS, t->allowed,
        count * sizeof(t->allowed[0]));
    add(t->public, &t->public_count, CKA_ALLOWED_MECHANISMS, t->allowed,
        count * sizeof(t->allowed[0]));
}

/* What a token is to make. */
static void templates_order(const struct generation *generation, const struct generate_row *row,
                            struct templates *t)
{
    if (row->by == GENERATE_CURVE)
        add(t->public, &t->public_count, CKA_EC_PARAMS, t->params, t->params_len);
    if (row->by == GENERATE_SET)
        ADD_PUBLIC(t, CKA_PARAMETER_SET, t->set);
    if (row->by != GENERATE_RSA)
        return;
    t->bits = generation->bits;
    ADD_PUBLIC(t, CKA_MODULUS_BITS, t->bits);
    add(t->public, &t->public_count, CKA_PUBLIC_EXPONENT, generation->exponent.data,
        generation->exponent.len);
}

static void templates_class(const struct generate_row *row, struct templates *t)
{
    t->private_class = CKO_PRIVATE_KEY;
    t->public_class = CKO_PUBLIC_KEY;
    t->type = row->key_type;
    ADD_PRIVATE(t, CKA_CLASS, t->private_class);
    ADD_PUBLIC(t, CKA_CLASS, t->public_class);
    ADD_PRIVATE(t, CKA_KEY_TYPE, t->type);
    ADD_PUBLIC(t, CKA_KEY_TYPE, t->type);
}

void templates_half(const struct key *half, const struct generate_row *row, struct templates *t)
{
    struct der_writer writer = der_begin(t->point, sizeof(t->point));

    switch (row->by) {
    case GENERATE_RSA:
        add(t->public, &t->public_count, CKA_MODULUS, half->n.data, half->n.len);
        add(t->public, &t->public_count, CKA_PUBLIC_EXPONENT, half->e.data, half->e.len);
        break;
    case GENERATE_CURVE:
        der_value(&writer, DER_OCTET_STRING, view_bytes(&half->point));
        add(t->public, &t->public_count, CKA_EC_PARAMS, t->params, t->params_len);
        add(t->public, &t->public_count, CKA_EC_POINT, t->point, der_done(&writer));
        break;
    case GENERATE_SET:
        ADD_PUBLIC(t, CKA_PARAMETER_SET, t->set);
        add(t->public, &t->public_count, CKA_VALUE, half->point.data, half->point.len);
        break;
    }
}

/* And the private half, where its values are here. */
static void templates_values(const struct generation *generation, const struct generate_row *row,
                             struct templates *t)
{
    const struct key *half = generation->half;
    const struct import *import = generation->import;

    switch (row->by) {
    case GENERATE_RSA:
        add(t->private, &t->private_count, CKA_MODULUS, half->n.data, half->n.len);
        add(t->private, &t->private_count, CKA_PUBLIC_EXPONENT, half->e.data, half->e.len);
        break;
    case GENERATE_CURVE:
        add(t->private, &t->private_count, CKA_EC_PARAMS, t->params, t->params_len);
        break;
    case GENERATE_SET:
        ADD_PRIVATE(t, CKA_PARAMETER_SET, t->set);
        break;
    }
    for (CK_ULONG i = 0; i < import->count; i++)
        add(t->private, &t->private_count, import->values[i].type, import->values[i].pValue,
            import->values[i].ulValueLen);
}

void templates_make(const struct generation *generation, const struct generate_row *row, bool all,
                    const struct template_names *names, struct templates *t)
{
    *t = (struct templates){ .yes = CK_TRUE,
                             .no = CK_FALSE,
                             .token = names->uri != NULL,
                             .extractable = generation->extractable };
    ADD_PRIVATE(t, CKA_TOKEN, t->token);
    ADD_PRIVATE(t, CKA_PRIVATE, t->yes);
    ADD_PRIVATE(t, CKA_SENSITIVE, t->yes);
    ADD_PRIVATE(t, CKA_EXTRACTABLE, t->extractable);
    ADD_PUBLIC(t, CKA_TOKEN, t->token);
    ADD_PUBLIC(t, CKA_PRIVATE, t->no);
    templates_usage(generation, all, t);
    templates_name(names, t);
    if (generation->type == KEY_RSA_PSS)
        templates_restrict(generation, t);
    if (row->by == GENERATE_SET)
        t->set = key_type_set(generation->type)->number;
    if (row->by == GENERATE_CURVE)
        t->params_len = generate_params(row, generation->curve, t->params, sizeof(t->params));
    if (generation_is_there(generation))
        templates_class(row, t);
    else
        templates_order(generation, row, t);
    if (generation->import != NULL)
        templates_values(generation, row, t);
}
