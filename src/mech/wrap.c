#include "mech/wrap.h"

#include <string.h>

#include "base/scope.h"

/* RFC 5649 before RFC 3394, which takes multiples of 8 bytes only. What CKM_AES_KEY_WRAP_PAD does
 * depends on the token: RFC 5649 (PKCS#11 v2.40) or RFC 3394 of what was padded (v3.0). SHA-1 in
 * OAEP is no weakness of it, and all that some tokens have. */
static const struct wrap_way ways[] = {
    { "aes-kwp", CKM_AES_KEY_WRAP_KWP, CKK_AES, WRAP_PLAIN, 0, true },
    { "aes-kw-pad", CKM_AES_KEY_WRAP_PAD, CKK_AES, WRAP_PLAIN, 0, true },
    { "aes-kw", CKM_AES_KEY_WRAP, CKK_AES, WRAP_PLAIN, 0, false },
    { "rsa-aes-kwp-sha256", CKM_RSA_AES_KEY_WRAP, CKK_RSA, WRAP_RSA_AES, DIGEST_SHA2_256, true },
    { "rsa-aes-kwp-sha1", CKM_RSA_AES_KEY_WRAP, CKK_RSA, WRAP_RSA_AES, DIGEST_SHA1, true },
    { "rsa-oaep-sha256", CKM_RSA_PKCS_OAEP, CKK_RSA, WRAP_OAEP, DIGEST_SHA2_256, false },
    { "rsa-oaep-sha1", CKM_RSA_PKCS_OAEP, CKK_RSA, WRAP_OAEP, DIGEST_SHA1, false },
};

const CK_MECHANISM_TYPE wrap_inner[WRAP_INNER_WAYS] = { CKM_AES_KEY_WRAP_KWP,
                                                        CKM_AES_KEY_WRAP_PAD };

const struct wrap_way *wrap_next(CK_KEY_TYPE with, const struct wrap_way *previous)
{
    for (const struct wrap_way *way = previous != NULL ? previous + 1 : ways;
         way < ways + COUNT(ways); way++)
        if (way->with == with)
            return way;
    return NULL;
}

const struct wrap_way *wrap_find(const char *name)
{
    for (size_t i = 0; i < COUNT(ways); i++)
        if (strcmp(ways[i].name, name) == 0)
            return &ways[i];
    return NULL;
}

static void set_oaep(const struct wrap_way *way, struct wrap_mechanism *out)
{
    out->oaep = (CK_RSA_PKCS_OAEP_PARAMS){ .hashAlg = digests[way->digest].mechanism,
                                           .mgf = digests[way->digest].mgf1,
                                           .source = CKZ_DATA_SPECIFIED };
}

void wrap_mechanism_outer(const struct wrap_way *way, struct wrap_mechanism *out)
{
    *out = (struct wrap_mechanism){ .ck = { .mechanism = CKM_RSA_PKCS_OAEP,
                                            .pParameter = &out->oaep,
                                            .ulParameterLen = sizeof(out->oaep) } };
    set_oaep(way, out);
}

void wrap_mechanism(const struct wrap_way *way, struct wrap_mechanism *out)
{
    if (way->form == WRAP_OAEP) {
        wrap_mechanism_outer(way, out);
        return;
    }
    *out = (struct wrap_mechanism){ .ck = { .mechanism = way->mechanism } };
    if (way->form != WRAP_RSA_AES)
        return;
    set_oaep(way, out);
    out->rsa_aes = (struct rsa_aes_params){ 8UL * WRAP_MIDDLE_LEN, &out->oaep };
    out->ck.pParameter = &out->rsa_aes;
    out->ck.ulParameterLen = sizeof(out->rsa_aes);
}
