#include "ops/offer.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "ops/algorithms.h"

/* since: the first version of libcrypto that knows what to do with them */
static const struct {
    int operation;
    unsigned long since;
    const OSSL_ALGORITHM *algorithms;
} tables[OFFER_TABLES] = {
    { OSSL_OP_STORE, 0, store_algorithms },
    { OSSL_OP_DECODER, 0, decoder_algorithms },
    { OSSL_OP_ENCODER, 0, encoder_algorithms },
    { OSSL_OP_KEYMGMT, 0, keymgmt_algorithms },
    { OSSL_OP_SIGNATURE, 0x30400000UL, sigalg_algorithms },
    { OSSL_OP_SIGNATURE, 0, signature_algorithms },
    { OSSL_OP_ASYM_CIPHER, 0, asym_cipher_algorithms },
    { OSSL_OP_KEYEXCH, 0, keyexch_algorithms },
    { OSSL_OP_RAND, 0, rand_algorithms },
};

#define FIPS ",fips=yes"

/* The same properties with FIPS in them; NULL when memory is short. */
static char *with_fips(const char *properties)
{
    const char *rest = properties + strlen(PROPERTIES);
    size_t size = strlen(properties) + sizeof(FIPS);
    char *text = OPENSSL_malloc(size);

    if (text != NULL)
        (void)snprintf(text, size, "%s" FIPS "%s", PROPERTIES, rest);
    return text;
}

static OSSL_ALGORITHM *table_copy(const OSSL_ALGORITHM *table)
{
    size_t count = 0;
    OSSL_ALGORITHM *copy;

    while (table[count].algorithm_names != NULL)
        count++;
    copy = OPENSSL_zalloc((count + 1) * sizeof(*copy));
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = table[i];
        copy[i].property_definition = with_fips(table[i].property_definition);
    }
    return copy;
}

static void table_free(OSSL_ALGORITHM *table)
{
    for (OSSL_ALGORITHM *one = table; one != NULL && one->algorithm_names != NULL; one++)
        OPENSSL_free((char *)(uintptr_t)one->property_definition);
    OPENSSL_free(table);
}

static bool is_whole(const OSSL_ALGORITHM *table)
{
    while (table != NULL && table->algorithm_names != NULL && table->property_definition != NULL)
        table++;
    return table != NULL && table->algorithm_names == NULL;
}

bool offer_begin(struct provider *provider)
{
    bool ok = true;

    for (size_t i = 0; provider->config.assume_fips && ok && i < OFFER_TABLES; i++) {
        provider->offered[i] = table_copy(tables[i].algorithms);
        ok = is_whole(provider->offered[i]);
    }
    return ok;
}

void offer_end(struct provider *provider)
{
    for (size_t i = 0; i < OFFER_TABLES; i++)
        table_free(MOVE(provider->offered[i]));
}

const OSSL_ALGORITHM *offer_of(const struct provider *provider, int operation)
{
    for (size_t i = 0; i < OFFER_TABLES; i++)
        if (tables[i].operation == operation && OpenSSL_version_num() >= tables[i].since)
            return provider->offered[i] != NULL ? provider->offered[i] : tables[i].algorithms;
    return NULL;
}
