#include "module.h"

#include <dlfcn.h>

#include <openssl/evp.h>

void *module_library;
struct functions_3 *v3;
struct ck_function_list *v2;

const struct algorithm32 algorithms32[ALGORITHMS32] = {
    { "ML-DSA-44", CKK_ML_DSA, CKP_ML_DSA_44 },
    { "ML-DSA-65", CKK_ML_DSA, CKP_ML_DSA_65 },
    { "ML-DSA-87", CKK_ML_DSA, CKP_ML_DSA_87 },
    { "ML-KEM-512", CKK_ML_KEM, CKP_ML_KEM_512 },
    { "ML-KEM-768", CKK_ML_KEM, CKP_ML_KEM_768 },
    { "ML-KEM-1024", CKK_ML_KEM, CKP_ML_KEM_1024 },
    { "SLH-DSA-SHA2-128s", CKK_SLH_DSA, CKP_SLH_DSA_SHA2_128S },
    { "SLH-DSA-SHAKE-128s", CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_128S },
    { "SLH-DSA-SHA2-128f", CKK_SLH_DSA, CKP_SLH_DSA_SHA2_128F },
    { "SLH-DSA-SHAKE-128f", CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_128F },
    { "SLH-DSA-SHA2-192s", CKK_SLH_DSA, CKP_SLH_DSA_SHA2_192S },
    { "SLH-DSA-SHAKE-192s", CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_192S },
    { "SLH-DSA-SHA2-192f", CKK_SLH_DSA, CKP_SLH_DSA_SHA2_192F },
    { "SLH-DSA-SHAKE-192f", CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_192F },
    { "SLH-DSA-SHA2-256s", CKK_SLH_DSA, CKP_SLH_DSA_SHA2_256S },
    { "SLH-DSA-SHAKE-256s", CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_256S },
    { "SLH-DSA-SHA2-256f", CKK_SLH_DSA, CKP_SLH_DSA_SHA2_256F },
    { "SLH-DSA-SHAKE-256f", CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_256F },
};

void module_open(void)
{
    ck_rv_t (*get)(unsigned char *, struct ck_version *, struct ck_interface **, ck_flags_t) = NULL;
    ck_rv_t (*get_v2)(struct ck_function_list **) = NULL;
    struct ck_interface *found;

    module_library = dlopen(getenv("BRIDGE_TOKEN32"), RTLD_NOW | RTLD_LOCAL);
    if (module_library == NULL)
        fail_msg("BRIDGE_TOKEN32: %s", dlerror());
    *(void **)&get = dlsym(module_library, "C_GetInterface");
    *(void **)&get_v2 = dlsym(module_library, "C_GetFunctionList");
    OK(get(NULL, NULL, &found, 0));
    OK(get_v2(&v2));
    v3 = found->function_list_ptr;
    assert_int_equal(v3->v2.version.minor, 2);
}

ck_session_handle_t session_new(void)
{
    ck_session_handle_t handle;

    OK(v2->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &handle));
    return handle;
}

ck_session_handle_t session_login(void)
{
    static unsigned char pin[] = "1234";
    const ck_session_handle_t session = session_new();
    const ck_rv_t rv = v2->C_Login(session, CKU_USER, BYTES(pin));

    assert_true(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
    return session;
}

const struct algorithm32 *algorithm32(const char *name)
{
    for (size_t i = 0; i < ALGORITHMS32; i++)
        if (strcmp(algorithms32[i].name, name) == 0)
            return &algorithms32[i];
    return NULL;
}

bool is_known(const char *algorithm)
{
    EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(NULL, algorithm, NULL);
    const bool known = keymgmt != NULL;

    EVP_KEYMGMT_free(keymgmt);
    return known;
}

ck_object_handle_t object_import(ck_session_handle_t session, const char *algorithm,
                                 ck_object_class_t class, ck_attribute_type_t type,
                                 const void *value, size_t len, const char *label)
{
    struct algorithm32 row = *algorithm32(algorithm);
    unsigned char yes = 1;
    char *copy = (char *)(uintptr_t)label;
    struct ck_attribute templ[] = {
        { CKA_CLASS, &class, sizeof(class) },
        { CKA_KEY_TYPE, &row.type, sizeof(row.type) },
        { CKA_PARAMETER_SET, &row.set, sizeof(row.set) },
        { type, (void *)(uintptr_t)value, len },
        { CKA_TOKEN, &yes, 1 },
        { CKA_LABEL, copy, label != NULL ? strlen(label) : 0 },
        { CKA_ID, copy, label != NULL ? strlen(label) : 0 },
    };
    ck_object_handle_t object;

    OK(v2->C_CreateObject(session, templ, label != NULL ? 7 : 4, &object));
    return object;
}

/* The mechanism that makes keys of a type. */
static ck_mechanism_type_t generation(ck_key_type_t type)
{
    static const ck_mechanism_type_t rows[][2] = {
        { CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN },
        { CKK_ML_KEM, CKM_ML_KEM_KEY_PAIR_GEN },
        { CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i][0] == type)
            return rows[i][1];
    return CKM_VENDOR_DEFINED;
}

void object_generate(ck_session_handle_t session, const char *algorithm, const char *label)
{
    struct algorithm32 row = *algorithm32(algorithm);
    struct ck_mechanism mechanism = { generation(row.type), NULL, 0 };
    unsigned char yes = 1;
    char *copy = (char *)(uintptr_t)label;
    struct ck_attribute templ[] = {
        { CKA_TOKEN, &yes, 1 },
        { CKA_LABEL, copy, strlen(label) },
        { CKA_ID, copy, strlen(label) },
        { CKA_PARAMETER_SET, &row.set, sizeof(row.set) },
    };
    ck_object_handle_t halves[2];

    OK(v2->C_GenerateKeyPair(session, &mechanism, templ, 4, templ, 3, &halves[0], &halves[1]));
}

unsigned long object_count(ck_session_handle_t session, ck_object_class_t class)
{
    struct ck_attribute templ[] = { { CKA_CLASS, &class, sizeof(class) } };
    ck_object_handle_t objects[100];
    unsigned long count;

    OK(v2->C_FindObjectsInit(session, templ, 1));
    OK(v2->C_FindObjects(session, objects, 100, &count));
    OK(v2->C_FindObjectsFinal(session));
    return count;
}
