/* The functions that say which parameters there are: libcrypto, and `openssl list -verbose`, call
 * them before there is any context. */
#include "unit.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "ops/algorithms.h"
#include "ops/signature.h"
#include "ops/skey.h"
#include "pkcs11_bridge.h"

OSSL_provider_init_fn OSSL_provider_init;

/* Newer than the oldest headers. */
#ifndef OSSL_FUNC_KEYMGMT_GEN_GETTABLE_PARAMS
#define OSSL_FUNC_KEYMGMT_GEN_GETTABLE_PARAMS 16
#endif
#ifndef OSSL_FUNC_KEYMGMT_IMPORT_TYPES_EX
#define OSSL_FUNC_KEYMGMT_IMPORT_TYPES_EX 45
#define OSSL_FUNC_KEYMGMT_EXPORT_TYPES_EX 46
#endif

/* What they take. */
enum shape {
    OF_PROVIDER,           /* provctx */
    OF_CONTEXT,            /* the operation's context */
    OF_CONTEXT_PROVIDER,   /* both */
    OF_SELECTION,          /* the parts of a key */
    OF_PROVIDER_SELECTION, /* provctx and these */
    OF_NOTHING,            /* gives names */
};

static const struct {
    int operation, function;
    enum shape shape;
} functions[] = {
    { OSSL_OP_DIGEST, OSSL_FUNC_DIGEST_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_DIGEST, OSSL_FUNC_DIGEST_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_DIGEST, OSSL_FUNC_DIGEST_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_CIPHER, OSSL_FUNC_CIPHER_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_CIPHER, OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_CIPHER, OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_MAC, OSSL_FUNC_MAC_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_MAC, OSSL_FUNC_MAC_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_MAC, OSSL_FUNC_MAC_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KDF, OSSL_FUNC_KDF_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_KDF, OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KDF, OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_RAND, OSSL_FUNC_RAND_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_RAND, OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_RAND, OSSL_FUNC_RAND_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_GEN_GETTABLE_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_IMPORT_TYPES, OF_SELECTION },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_EXPORT_TYPES, OF_SELECTION },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_IMPORT_TYPES_EX, OF_PROVIDER_SELECTION },
    { OSSL_OP_KEYMGMT, OSSL_FUNC_KEYMGMT_EXPORT_TYPES_EX, OF_PROVIDER_SELECTION },
    { OSSL_OP_KEYEXCH, OSSL_FUNC_KEYEXCH_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KEYEXCH, OSSL_FUNC_KEYEXCH_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_SIGNATURE, OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_SIGNATURE, OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_SIGNATURE, OSSL_FUNC_SIGNATURE_GETTABLE_CTX_MD_PARAMS, OF_CONTEXT },
    { OSSL_OP_SIGNATURE, OSSL_FUNC_SIGNATURE_SETTABLE_CTX_MD_PARAMS, OF_CONTEXT },
    { OSSL_OP_SIGNATURE, OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES, OF_NOTHING },
    { OSSL_OP_ASYM_CIPHER, OSSL_FUNC_ASYM_CIPHER_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_ASYM_CIPHER, OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KEM, OSSL_FUNC_KEM_GETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_KEM, OSSL_FUNC_KEM_SETTABLE_CTX_PARAMS, OF_CONTEXT_PROVIDER },
    { OSSL_OP_ENCODER, OSSL_FUNC_ENCODER_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_ENCODER, OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, OF_PROVIDER },
    { OSSL_OP_DECODER, OSSL_FUNC_DECODER_GETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_DECODER, OSSL_FUNC_DECODER_SETTABLE_CTX_PARAMS, OF_PROVIDER },
    { OSSL_OP_STORE, OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, OF_PROVIDER },
    { OSSL_OP_SKEYMGMT, OSSL_FUNC_SKEYMGMT_IMP_SETTABLE_PARAMS, OF_PROVIDER },
    { OSSL_OP_SKEYMGMT, OSSL_FUNC_SKEYMGMT_GEN_SETTABLE_PARAMS, OF_PROVIDER },
};

/* Whether the functions above have been thought of for an operation at all. */
static bool operation_known(int operation)
{
    for (size_t i = 0; i < COUNT_OF(functions); i++)
        if (functions[i].operation == operation)
            return true;
    return false;
}

/* Reads all that a list has: NULL is one without entries. */
static void read_params(const OSSL_PARAM *params)
{
    for (; params != NULL && params->key != NULL; params++)
        assert_int_not_equal(strlen(params->key), 0);
}

static void read_names(const char **names)
{
    for (; names != NULL && *names != NULL; names++)
        assert_int_not_equal(strlen(*names), 0);
}

#define SELECTIONS (OSSL_KEYMGMT_SELECT_ALL + 1)

static void call(void (*function)(void), enum shape shape, void *provctx)
{
    switch (shape) {
    case OF_PROVIDER:
    case OF_CONTEXT:
        read_params(
            ((const OSSL_PARAM *(*)(void *))function)(shape == OF_PROVIDER ? provctx : NULL));
        break;
    case OF_CONTEXT_PROVIDER:
        read_params(((const OSSL_PARAM *(*)(void *, void *))function)(NULL, provctx));
        break;
    case OF_SELECTION:
        for (int selection = 0; selection < SELECTIONS; selection++)
            read_params(((const OSSL_PARAM *(*)(int))function)(selection));
        break;
    case OF_PROVIDER_SELECTION:
        for (int selection = 0; selection < SELECTIONS; selection++)
            read_params(((const OSSL_PARAM *(*)(void *, int))function)(provctx, selection));
        break;
    case OF_NOTHING:
        read_names(((const char **(*)(void))function)());
        break;
    }
}

/* Calls those that an algorithm has; their number. */
static unsigned call_algorithm(int operation, const OSSL_ALGORITHM *algorithm, void *provctx)
{
    unsigned called = 0;

    for (const OSSL_DISPATCH *entry = algorithm->implementation; entry->function_id != 0; entry++)
        for (size_t i = 0; i < COUNT_OF(functions); i++) {
            if (functions[i].operation != operation || functions[i].function != entry->function_id)
                continue;
            printf("operation %d, %s: function %d\n", operation, algorithm->algorithm_names,
                   entry->function_id);
            (void)fflush(stdout); /* the last line is the one that crashed */
            call(entry->function, functions[i].shape, provctx);
            called++;
        }
    return called;
}

static unsigned call_table(int operation, const OSSL_ALGORITHM *table, void *provctx)
{
    unsigned called = 0;

    for (; table != NULL && table->algorithm_names != NULL; table++)
        called += call_algorithm(operation, table, provctx);
    return called;
}

/* All tables, also those that this libcrypto or the configuration would not get to see. */
static const struct {
    int operation;
    const OSSL_ALGORITHM *table;
    bool tells; /* has parameters at all */
} tables[] = {
    { OSSL_OP_STORE, store_algorithms, true },
    { OSSL_OP_DECODER, decoder_algorithms, false },
    { OSSL_OP_ENCODER, encoder_algorithms, true },
    { OSSL_OP_KEYMGMT, keymgmt_algorithms, true },
    { OSSL_OP_SIGNATURE, signature_algorithms, true },
    { OSSL_OP_SIGNATURE, sigalg_algorithms, true },
    { OSSL_OP_DECODER, decoder_algorithms_3_5, false },
    { OSSL_OP_ENCODER, encoder_algorithms_3_5, true },
    { OSSL_OP_KEYMGMT, keymgmt_algorithms_3_5, true },
    { OSSL_OP_SIGNATURE, sigalg_algorithms_3_5, true },
    { OSSL_OP_KEM, kem_algorithms_3_5, true },
    { OSSL_OP_SKEYMGMT, skeymgmt_algorithms, true },
    { OSSL_OP_CIPHER, cipher_algorithms, true },
    { OSSL_OP_MAC, mac_algorithms, true },
    { OSSL_OP_KDF, kdf_algorithms, true },
    { OSSL_OP_ASYM_CIPHER, asym_cipher_algorithms, true },
    { OSSL_OP_KEYEXCH, keyexch_algorithms, true },
    { OSSL_OP_RAND, rand_algorithms, true },
};

static void test_dispatch_without_contexts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        assert_int_equal(call_table(tables[i].operation, tables[i].table, NULL) != 0,
                         tables[i].tells);
}

static const OSSL_DISPATCH *own; /* the provider's functions themselves */

static int init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                void **provctx)
{
    int ok = OSSL_provider_init(handle, in, out, provctx);

    own = ok ? *out : NULL;
    return ok;
}

/* The provider of these objects in a library context. */
static OSSL_PROVIDER *load(OSSL_LIB_CTX *libctx)
{
    OSSL_PROVIDER *provider;

    assert_int_equal(OSSL_PROVIDER_add_builtin(libctx, "pkcs11", init), 1);
    provider = OSSL_PROVIDER_load(libctx, "pkcs11");
    assert_non_null(provider);
    return provider;
}

static void test_dispatch_without_operation(void **state)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider = load(libctx);
    void *provctx = OSSL_PROVIDER_get0_provider_ctx(provider);

    (void)state;
    read_params(OSSL_PROVIDER_gettable_params(provider));
    for (const OSSL_DISPATCH *entry = own; entry->function_id != 0; entry++)
        if (entry->function_id == OSSL_FUNC_PROVIDER_GETTABLE_PARAMS)
            call(entry->function, OF_PROVIDER, NULL);
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        assert_int_equal(call_table(tables[i].operation, tables[i].table, provctx) != 0,
                         tables[i].tells);
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(libctx);
}

static bool table_known(const OSSL_ALGORITHM *table)
{
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        if (tables[i].table == table)
            return true;
    return false;
}

/* There is no table, and no kind of operation, that these tests do not know. */
static void test_dispatch_complete(void **state)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider = load(libctx);

    (void)state;
    for (int operation = 1; operation < 64; operation++) {
        int no_cache = 0;
        const OSSL_ALGORITHM *table = OSSL_PROVIDER_query_operation(provider, operation, &no_cache);

        if (table == NULL)
            continue;
        assert_true(operation_known(operation));
        assert_true(table_known(table));
    }
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(libctx);
}

/* What can be set for a key that is to be generated does not depend on a context either. */
static void test_dispatch_keygen_settable(void **state)
{
    static const struct {
        const char *type, *has, *has_not;
    } cases[] = {
        { "RSA", OSSL_PKEY_PARAM_RSA_BITS, OSSL_PKEY_PARAM_GROUP_NAME },
        { "RSA-PSS", OSSL_PKEY_PARAM_RSA_DIGEST, OSSL_PKEY_PARAM_GROUP_NAME },
        { "EC", OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_PARAM_RSA_BITS },
        { "ED25519", OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_EC_ENCODING },
        { "ED448", OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_RSA_BITS },
        { "X25519", OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_EC_ENCODING },
        { "X448", OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_RSA_BITS },
    };
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider = load(libctx);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(libctx, cases[i].type, PROPERTIES);
        const OSSL_PARAM *params = EVP_KEYMGMT_gen_settable_params(keymgmt);

        check_case(params != NULL, cases[i].type);
        check_case(OSSL_PARAM_locate_const(params, PKCS11_BRIDGE_KEYGEN_URI) != NULL,
                   cases[i].type);
        check_case(OSSL_PARAM_locate_const(params, cases[i].has) != NULL, cases[i].type);
        check_case(OSSL_PARAM_locate_const(params, cases[i].has_not) == NULL, cases[i].type);
        EVP_KEYMGMT_free(keymgmt);
    }
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(libctx);
}

static int withheld; /* a function of libcrypto's that the provider is not given */

static int init_withheld(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                         const OSSL_DISPATCH **out, void **provctx)
{
    static OSSL_DISPATCH given[256];
    size_t count = 0;

    for (; in->function_id != 0 && count < COUNT_OF(given) - 1; in++)
        if (in->function_id != withheld)
            given[count++] = *in;
    given[count] = (OSSL_DISPATCH){ 0, NULL };
    return OSSL_provider_init(handle, given, out, provctx);
}

/* A core that lacks a function that is needed has no provider of it, but one without those for what
 * it is not does. */
static void test_dispatch_withheld(void **state)
{
    static const struct {
        int function;
        bool needed;
    } cases[] = {
        { OSSL_FUNC_CORE_GET_PARAMS, true },      { OSSL_FUNC_CORE_NEW_ERROR, true },
        { OSSL_FUNC_CORE_SET_ERROR_DEBUG, true }, { OSSL_FUNC_CORE_VSET_ERROR, true },
        { OSSL_FUNC_PROVIDER_UP_REF, true },      { OSSL_FUNC_BIO_READ_EX, true },
        { OSSL_FUNC_BIO_WRITE_EX, true },         { OSSL_FUNC_BIO_GETS, true },
        { OSSL_FUNC_CORE_THREAD_START, false },   { OSSL_FUNC_BIO_VPRINTF, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
        OSSL_PROVIDER *provider;

        withheld = cases[i].function;
        assert_int_equal(OSSL_PROVIDER_add_builtin(libctx, "pkcs11", init_withheld), 1);
        provider = OSSL_PROVIDER_load(libctx, "pkcs11");
        if ((provider == NULL) != cases[i].needed)
            fail_msg("without function %d: %s", withheld, provider == NULL ? "none" : "one");
        if (provider != NULL)
            OSSL_PROVIDER_unload(provider);
        OSSL_LIB_CTX_free(libctx);
    }
}

static unsigned wanted; /* how many more of a capability */

static int take(const OSSL_PARAM params[], void *arg)
{
    unsigned *taken = arg;

    read_params(params);
    ++*taken;
    return --wanted != 0;
}

/* What a program asks for of TLS is given until it has enough; what there is not, is not. */
static void test_dispatch_capabilities(void **state)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider = load(libctx);
    unsigned all = 0, some = 0, none = 0;

    (void)state;
    wanted = 1000;
    assert_int_equal(OSSL_PROVIDER_get_capabilities(provider, "TLS-GROUP", take, &all), 1);
    assert_true(all > 2);
    wanted = 2;
    assert_int_equal(OSSL_PROVIDER_get_capabilities(provider, "TLS-GROUP", take, &some), 0);
    assert_int_equal(some, 2);
    wanted = 1000;
    assert_int_equal(OSSL_PROVIDER_get_capabilities(provider, "TLS-NOTHING", take, &none), 0);
    assert_int_equal(none, 0);
    if (OPENSSL_version_major() == 3 && OPENSSL_version_minor() < 5) {
        assert_int_equal(OSSL_PROVIDER_get_capabilities(provider, "TLS-SIGALG", take, &none), 0);
        assert_int_equal(none, 0);
    }
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispatch_without_contexts),
        cmocka_unit_test(test_dispatch_without_operation),
        cmocka_unit_test(test_dispatch_complete),
        cmocka_unit_test(test_dispatch_keygen_settable),
        cmocka_unit_test(test_dispatch_withheld),
        cmocka_unit_test(test_dispatch_capabilities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
