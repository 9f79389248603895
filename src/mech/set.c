#include "mech/set.h"

#include <strings.h>

#include "base/scope.h"

/* PKCS#11 v3.2 §6.67 and on */
static const struct set_algorithm algorithms[SET_ALGORITHMS] = {
    [ML_DSA] = { "ML-DSA", CKK_ML_DSA, CKM_ML_DSA, true },
    [SLH_DSA] = { "SLH-DSA", CKK_SLH_DSA, CKM_SLH_DSA, true },
    [ML_KEM] = { "ML-KEM", CKK_ML_KEM, CKM_ML_KEM, false },
};

/* 2.16.840.1.101.3.4.a.b */
#define OID(a, b)                                                                                  \
    {                                                                                              \
        (const uint8_t[]){ 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, (a), (b) }, 9                 \
    }

#define SET(id, algorithm, number, name, others, a, b, public_len, out_len, bits, security,        \
            category, tls_name, tls_number)                                                        \
    [SET_##id] = { name,       &algorithms[algorithm],                                             \
                   number,     OID(a, b),                                                          \
                   public_len, out_len,                                                            \
                   bits,       security,                                                           \
                   category,   tls_name,                                                           \
                   tls_number },

const struct set sets[SETS] = { SET_ROWS(SET) };

#define FITS(id, algorithm, number, name, others, a, b, public_len, ...)                           \
    _Static_assert((public_len) <= SET_PUBLIC_MAX, name);
SET_ROWS(FITS)

const struct set *set_find(CK_KEY_TYPE key_type, CK_ULONG number)
{
    for (size_t i = 0; i < COUNT(sets); i++)
        if (sets[i].algorithm->key_type == key_type && sets[i].number == number)
            return &sets[i];
    return NULL;
}

const struct set *set_by_name(const char *name)
{
    for (size_t i = 0; i < COUNT(sets); i++)
        if (strcasecmp(sets[i].name, name) == 0)
            return &sets[i];
    return NULL;
}

const struct set_algorithm *set_algorithm_of(CK_KEY_TYPE key_type)
{
    for (size_t i = 0; i < COUNT(algorithms); i++)
        if (algorithms[i].key_type == key_type)
            return &algorithms[i];
    return NULL;
}
