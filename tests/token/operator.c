#include "operator.h"

#include <dlfcn.h>

#include <openssl/core_names.h>

#include "harness.h"

CK_FUNCTION_LIST *p11;

const struct rsa_number rsa_numbers[RSA_NUMBERS] = {
    { CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N },
    { CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E },
    { CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D },
    { CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1 },
    { CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2 },
    { CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1 },
    { CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2 },
    { CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
};

void operator_open(void)
{
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;

    assert_non_null(library);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    assert_int_equal(get(&p11), CKR_OK);
}

static bool has_label(CK_SLOT_ID slot, const char *label)
{
    CK_TOKEN_INFO info;

    assert_int_equal(p11->C_GetTokenInfo(slot, &info), CKR_OK);
    return memcmp(info.label, label, strlen(label)) == 0 && info.label[strlen(label)] == ' ';
}

CK_ULONG operator_slots(const char *label, CK_SLOT_ID *found, CK_ULONG most)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = COUNT_OF(slots), n = 0;

    assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    for (CK_ULONG i = 0; i < count && n < most; i++)
        if (has_label(slots[i], label))
            found[n++] = slots[i];
    return n;
}

CK_SLOT_ID operator_init_token(const char *label, const char *pin)
{
    CK_UTF8CHAR padded[33], so_pin[] = "12345678";
    CK_SLOT_ID slots[16], slot;
    CK_ULONG count = COUNT_OF(slots);
    CK_SESSION_HANDLE session;

    assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    slot = slots[count - 1];
    (void)snprintf((char *)padded, sizeof(padded), "%-32s", label);
    assert_int_equal(p11->C_InitToken(slot, so_pin, 8, padded), CKR_OK);
    assert_int_equal(
        p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session),
        CKR_OK);
    assert_int_equal(p11->C_Login(session, CKU_SO, so_pin, 8), CKR_OK);
    assert_int_equal(p11->C_InitPIN(session, (CK_UTF8CHAR *)(uintptr_t)pin, strlen(pin)), CKR_OK);
    assert_int_equal(p11->C_Logout(session), CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    return slot;
}

CK_SESSION_HANDLE operator_session_on(CK_SLOT_ID slot, bool login)
{
    CK_SESSION_HANDLE session;
    CK_RV rv = CKR_OK;

    assert_int_equal(
        p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session),
        CKR_OK);
    if (login)
        rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t) "1234", 4);
    assert_true(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
    return session;
}

CK_SESSION_HANDLE operator_session(bool login)
{
    CK_SLOT_ID slot;

    assert_int_equal(operator_slots("soft", &slot, 1), 1);
    return operator_session_on(slot, login);
}

void operator_set_pin(CK_SESSION_HANDLE session, const char *old, const char *pin)
{
    assert_int_equal(p11->C_SetPIN(session, (CK_UTF8CHAR *)(uintptr_t)old, strlen(old),
                                   (CK_UTF8CHAR *)(uintptr_t)pin, strlen(pin)),
                     CKR_OK);
}

CK_ULONG operator_find(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_HANDLE *objects,
                       CK_ULONG most)
{
    CK_ATTRIBUTE template = { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) };
    CK_ULONG count = 0;

    assert_int_equal(p11->C_FindObjectsInit(session, &template, 1), CKR_OK);
    assert_int_equal(p11->C_FindObjects(session, objects, most, &count), CKR_OK);
    assert_int_equal(p11->C_FindObjectsFinal(session), CKR_OK);
    return count;
}

void operator_destroy(CK_SESSION_HANDLE session, const char *label)
{
    CK_OBJECT_HANDLE objects[8];
    CK_ULONG count = operator_find(session, label, objects, COUNT_OF(objects));

    for (CK_ULONG i = 0; i < count; i++)
        assert_int_equal(p11->C_DestroyObject(session, objects[i]), CKR_OK);
}

void operator_generate(CK_SESSION_HANDLE session, const char *label)
{
    static CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                              { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
                              { CKA_ID, (void *)(uintptr_t)label, strlen(label) },
                              { CKA_EC_PARAMS, p256, sizeof(p256) } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                               { CKA_PRIVATE, &yes, sizeof(yes) },
                               { CKA_SIGN, &yes, sizeof(yes) },
                               { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
                               { CKA_ID, (void *)(uintptr_t)label, strlen(label) } };
    CK_OBJECT_HANDLE a, b;

    assert_int_equal(p11->C_GenerateKeyPair(session, &mechanism, public, COUNT_OF(public), private,
                                            COUNT_OF(private), &a, &b),
                     CKR_OK);
}

void operator_generate_always(void)
{
    CK_SESSION_HANDLE session = operator_session(false);
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG bits = 2048;
    CK_BYTE exponent[] = { 1, 0, 1 };
    CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                              { CKA_LABEL, (void *)(uintptr_t) "always", 6 },
                              { CKA_ID, (void *)(uintptr_t) "always", 6 },
                              { CKA_MODULUS_BITS, &bits, sizeof(bits) },
                              { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                               { CKA_PRIVATE, &yes, sizeof(yes) },
                               { CKA_SIGN, &yes, sizeof(yes) },
                               { CKA_DECRYPT, &yes, sizeof(yes) },
                               { CKA_LABEL, (void *)(uintptr_t) "always", 6 },
                               { CKA_ID, (void *)(uintptr_t) "always", 6 },
                               { CKA_ALWAYS_AUTHENTICATE, &yes, sizeof(yes) } };
    CK_OBJECT_HANDLE a, b;

    assert_int_equal(p11->C_GenerateKeyPair(session, &mechanism, public, COUNT_OF(public), private,
                                            COUNT_OF(private), &a, &b),
                     CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

/* What comes of two blocks and a key of the session, on the token that the tests use. */
static CK_RV encrypt_ctr(void)
{
    static CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static CK_KEY_TYPE type = CKK_AES;
    static CK_BBOOL yes = CK_TRUE;
    CK_BYTE value[32] = { 1 }, in[32] = { 2 }, out[32];
    CK_AES_CTR_PARAMS params = { 128, { 3 } };
    CK_MECHANISM mechanism = { CKM_AES_CTR, &params, sizeof(params) };
    CK_ATTRIBUTE list[] = { { CKA_CLASS, &class, sizeof(class) },
                            { CKA_KEY_TYPE, &type, sizeof(type) },
                            { CKA_VALUE, value, sizeof(value) },
                            { CKA_ENCRYPT, &yes, sizeof(yes) } };
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    CK_SLOT_ID slot;
    CK_ULONG len = sizeof(out);
    char label[33] = "soft";
    CK_RV rv;

    if (getenv("BRIDGE_TOKEN_URI") != NULL)
        assert_int_equal(sscanf(getenv("BRIDGE_TOKEN_URI"), "pkcs11:token=%32[^;]", label), 1);
    assert_int_equal(operator_slots(label, &slot, 1), 1);
    session = operator_session_on(slot, false);
    assert_int_equal(p11->C_CreateObject(session, list, COUNT_OF(list), &key), CKR_OK);
    rv = p11->C_EncryptInit(session, &mechanism, key);
    if (rv == CKR_OK)
        rv = p11->C_Encrypt(session, in, sizeof(in), out, &len);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    return rv;
}

bool operator_is_lack(const char *error)
{
    if (strstr(error, "CKR_MECHANISM_INVALID") != NULL ||
        strstr(error, "CKR_KEY_FUNCTION_NOT_PERMITTED") != NULL)
        return true;
    if (strstr(error, "(CKM_AES_CTR)") == NULL || strstr(error, "CKR_ARGUMENTS_BAD") == NULL)
        return false;
    operator_open();
    return encrypt_ctr() == CKR_ARGUMENTS_BAD;
}
