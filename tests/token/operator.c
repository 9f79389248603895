#include "operator.h"

#include <dlfcn.h>

#include "harness.h"

CK_FUNCTION_LIST *p11;

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
