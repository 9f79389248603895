/* A token that has some keys and does what is asked of it, but for its lies (lies.h). */
#ifndef BRIDGE_HOSTILE_TOKEN_H
#define BRIDGE_HOSTILE_TOKEN_H

#include <stdbool.h>

#include "lies.h"

/* What honest tokens differ in. */
enum feature {
    NO_PUBLIC_OBJECTS = 1,
    PUBLIC_KEY_INFO = 2,
    NO_RAW_RSA = 4,
    ALWAYS_AUTHENTICATE = 8,
    TWO_TOKENS = 16,
    TWINS = 32, /* two EC keys with one CKA_ID and no labels that tell */
    NO_LOGIN = 64,
    CANNOT_LOCK = 128,
    NEWER = 256, /* it has secret keys for more than their bytes, and keys of parameter sets */
};

/* How long the token said in this thread that the value of a secret key is, which it wrote; since
 * SECRET_UNTOLD was set. */
#define SECRET_UNTOLD (~0UL - 1)
extern _Thread_local unsigned long hostile_secret_len;

/* How often the token wrote a CKA_PARAMETER_SET, for this input: with the length of a CK_ULONG, and
 * with another. */
extern _Atomic unsigned hostile_sets_right, hostile_sets_wrong;

/* For a new input, after lies_begin: as it was in the beginning, with these features. call_back:
 * what CALL_BACK calls. */
void hostile_begin(unsigned features, void (*call_back)(void));

/* For C_GetFunctionList. */
__attribute__((visibility("default"))) ck_rv_t hostile_list(struct ck_function_list **list);

/* For C_GetInterface. CK_INTERFACE of PKCS#11 v3.0, which p11-kit may not have. */
struct hostile_interface {
    unsigned char *name;
    void *list;
    ck_flags_t flags;
};

__attribute__((visibility("default"))) ck_rv_t hostile_interface(unsigned char *name,
                                                                 struct ck_version *version,
                                                                 struct hostile_interface **out,
                                                                 ck_flags_t flags);

/* Whether C_GetInterface lies: the provider keeps what it is told once. */
void hostile_interfaces_lie(bool lie);

#endif
