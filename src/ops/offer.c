#include "ops/offer.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "mech/set.h"
#include "ops/algorithms.h"
#include "ops/skey.h"

/* since: the first version of libcrypto that knows what to do with them; of an operation's tables
 * the first is offered that it knows */
static const struct {
    int operation;
    unsigned long since;
    const OSSL_ALGORITHM *algorithms;
} tables[OFFER_TABLES] = {
    { OSSL_OP_STORE, 0, store_algorithms },
    { OSSL_OP_DECODER, SINCE_3_5, decoder_algorithms_3_5 },
    { OSSL_OP_ENCODER, SINCE_3_5, encoder_algorithms_3_5 },
    { OSSL_OP_KEYMGMT, SINCE_3_5, keymgmt_algorithms_3_5 },
    { OSSL_OP_SIGNATURE, SINCE_3_5, sigalg_algorithms_3_5 },
    { OSSL_OP_KEM, SINCE_3_5, kem_algorithms_3_5 },
    { OSSL_OP_SKEYMGMT, SINCE_3_5, skeymgmt_algorithms },
    { OSSL_OP_CIPHER, SINCE_3_5, cipher_algorithms },
    { OSSL_OP_MAC, SINCE_3_5, mac_algorithms },
    { OSSL_OP_KDF, 0x30600000UL, kdf_algorithms },
    { OSSL_OP_DECODER, 0, decoder_algorithms },
    { OSSL_OP_ENCODER, 0, encoder_algorithms },
    { OSSL_OP_KEYMGMT, 0, keymgmt_algorithms },
    { OSSL_OP_SIGNATURE, 0x30400000UL, sigalg_algorithms },
    { OSSL_OP_SIGNATURE, 0, signature_algorithms },
    { OSSL_OP_ASYM_CIPHER, 0, asym_cipher_algorithms },
    { OSSL_OP_KEYEXCH, 0, keyexch_algorithms },
    { OSSL_OP_RAND, 0, rand_algorithms },
};

#define KEM_NAMES(id, algorithm, number, name, others, a, b, ...)                                  \
    { OSSL_OP_KEM, "PKCS11-PQ-KEM", SET_NAMES(name, others, a, b) },

/* The names by which libcrypto looks for what software keys can do, for who has these made session
 * keys (pkcs11-module-import); docs/adr/0002-names-of-operations.md has why others do without. */
static const struct {
    int operation;
    const char *own, *names;
} software[] = { { OSSL_OP_SIGNATURE, "PKCS11-RSA", "RSA:rsaEncryption:1.2.840.113549.1.1.1" },
                 { OSSL_OP_SIGNATURE, "PKCS11-ECDSA", "ECDSA" },
                 { OSSL_OP_SIGNATURE, "PKCS11-EDDSA", "ED25519:1.3.101.112" },
                 { OSSL_OP_SIGNATURE, "PKCS11-EDDSA", "ED448:1.3.101.113" },
                 { OSSL_OP_ASYM_CIPHER, "PKCS11-RSA", "RSA:rsaEncryption:1.2.840.113549.1.1.1" },
                 { OSSL_OP_KEYEXCH, "PKCS11-ECDH", "ECDH" },
                 { OSSL_OP_KEYEXCH, "PKCS11-ECDH", "X25519:1.3.101.110" },
                 { OSSL_OP_KEYEXCH, "PKCS11-ECDH", "X448:1.3.101.111" },
                 SET_ROWS_KEM(KEM_NAMES) };

static const OSSL_ALGORITHM *find(const OSSL_ALGORITHM *table, const char *name)
{
    size_t len = strcspn(name, ":");

    while (table->algorithm_names != NULL && (strncmp(table->algorithm_names, name, len) != 0 ||
                                              strchr(":", table->algorithm_names[len]) == NULL))
        table++;
    return table->algorithm_names != NULL ? table : NULL;
}

#define FIPS ",fips=yes"

/* A copy of properties, with FIPS in them where that is wanted; NULL when memory is short. */
static char *properties_copy(const char *properties, bool fips)
{
    const char *rest = properties + strlen(PROPERTIES);
    size_t size = strlen(properties) + sizeof(FIPS);
    char *text = OPENSSL_malloc(size);

    if (text != NULL)
        (void)snprintf(text, size, "%s%s%s", PROPERTIES, fips ? FIPS : "", rest);
    return text;
}

static void row_add(OSSL_ALGORITHM *copy, size_t *count, const OSSL_ALGORITHM *row,
                    const char *names, const struct config *config)
{
    copy[*count] = *row;
    copy[*count].algorithm_names = names;
    copy[*count].property_definition =
        properties_copy(row->property_definition, config->assume_fips);
    ++*count;
}

/* The rows by names of software keys' that table does not have already. */
static void software_add(OSSL_ALGORITHM *copy, size_t *count, const OSSL_ALGORITHM *table,
                         int operation, const struct config *config)
{
    for (size_t i = 0; i < COUNT(software); i++) {
        const OSSL_ALGORITHM *own = find(table, software[i].own);

        if (software[i].operation == operation && own != NULL &&
            find(table, software[i].names) == NULL)
            row_add(copy, count, own, software[i].names, config);
    }
}

/* A table's rows, as the configuration has them. */
static OSSL_ALGORITHM *table_copy(const OSSL_ALGORITHM *table, int operation,
                                  const struct config *config)
{
    size_t count = 0;
    OSSL_ALGORITHM *copy;

    while (table[count].algorithm_names != NULL)
        count++;
    copy = OPENSSL_zalloc((count + COUNT(software) + 1) * sizeof(*copy));
    if (copy == NULL)
        return NULL;
    count = 0;
    for (const OSSL_ALGORITHM *row = table; row->algorithm_names != NULL; row++)
        row_add(copy, &count, row, row->algorithm_names, config);
    if (config->import_session)
        software_add(copy, &count, table, operation, config);
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
    const struct config *config = &provider->config;
    bool copied = config->assume_fips || config->import_session, ok = true;

    for (size_t i = 0; copied && ok && i < OFFER_TABLES; i++) {
        provider->offered[i] = table_copy(tables[i].algorithms, tables[i].operation, config);
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
        if (tables[i].operation == operation && provider->core.version >= tables[i].since)
            return provider->offered[i] != NULL ? provider->offered[i] : tables[i].algorithms;
    return NULL;
}
