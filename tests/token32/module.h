/* The token of this folder, used by its C_* functions: by its own tests, and behind the provider's
 * back by tests of the provider, which may have it initialised and its user logged in. Needs
 * BRIDGE_TOKEN32, the path of the module. */
#ifndef BRIDGE_TOKEN32_MODULE_H
#define BRIDGE_TOKEN32_MODULE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pkcs11_3.h"

#define OK(call)          assert_int_equal(call, CKR_OK)
#define REFUSED(call, rv) assert_int_equal(call, rv)

/* A string's or array's bytes but its last. */
#define BYTES(name) name, sizeof(name) - 1

extern void *module_library;
extern struct functions_3 *v3;      /* of v3.2 */
extern struct ck_function_list *v2; /* of v2.40 */

/* Loads the module. */
void module_open(void);

/* A session that may write; with the user logged in. */
ck_session_handle_t session_new(void);
ck_session_handle_t session_login(void);

/* The post-quantum algorithms, by libcrypto's names. */
struct algorithm32 {
    const char *name;
    ck_key_type_t type;
    unsigned long set; /* CKA_PARAMETER_SET */
};
#define ALGORITHMS32 18
extern const struct algorithm32 algorithms32[ALGORITHMS32];
const struct algorithm32 *algorithm32(const char *name);

/* Whether this libcrypto knows an algorithm. */
bool is_known(const char *algorithm);

/* For cases that libcrypto is too old for. */
#define NEEDS(algorithm)                                                                           \
    do {                                                                                           \
        if (!is_known(algorithm))                                                                  \
            skip();                                                                                \
    } while (0)

/* An object of one half of a key, with this value (CKA_VALUE; CKA_SEED of a private half that is a
 * seed). label: NULL, a session object without one; others are the token's. */
ck_object_handle_t object_import(ck_session_handle_t session, const char *algorithm,
                                 ck_object_class_t class, ck_attribute_type_t type,
                                 const void *value, size_t len, const char *label);

/* Makes a key pair of the token's, with this label for its id too. */
void object_generate(ck_session_handle_t session, const char *algorithm, const char *label);

/* How many objects of this class there are, up to 100. */
unsigned long object_count(ck_session_handle_t session, ck_object_class_t class);

#endif
