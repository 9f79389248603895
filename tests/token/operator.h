/* The token's operator, who works on it behind the provider's back: PKCS#11 by itself, in this
 * process, on the real module. */
#ifndef BRIDGE_OPERATOR_H
#define BRIDGE_OPERATOR_H

#include <stdbool.h>

#include <p11-kit/pkcs11.h>

extern CK_FUNCTION_LIST *p11;

/* What PKCS#11 and libcrypto call the numbers of an RSA key; first those of its public half. */
#define RSA_PUBLIC_NUMBERS 2
#define RSA_NUMBERS        8
extern const struct rsa_number {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
} rsa_numbers[RSA_NUMBERS];

/* Loads the module; whether it is initialised is for the program to see to. */
void operator_open(void);

/* The slots that have a token with this label, at most most of them; their number. */
CK_ULONG operator_slots(const char *label, CK_SLOT_ID *found, CK_ULONG most);

/* Makes a token of the free slot that SoftHSM has after the others, while the module is
 * initialised; the slot. The token is in another one when the module is initialised again. */
CK_SLOT_ID operator_init_token(const char *label, const char *pin);

/* A session that may write, on the token soft. login: as its user, where the program is not. */
CK_SESSION_HANDLE operator_session(bool login);

/* The same on another slot. */
CK_SESSION_HANDLE operator_session_on(CK_SLOT_ID slot, bool login);

/* Changes the user's PIN. */
void operator_set_pin(CK_SESSION_HANDLE session, const char *old, const char *pin);

/* The objects with this label, at most most of them; their number. */
CK_ULONG operator_find(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_HANDLE *objects,
                       CK_ULONG most);

/* Makes a P-256 key pair with this label, also for its id, and destroys what has the label. */
void operator_generate(CK_SESSION_HANDLE session, const char *label);
void operator_destroy(CK_SESSION_HANDLE session, const char *label);

/* Makes an RSA key pair with the label always that wants a login for each use, while the program is
 * logged in. */
void operator_generate_always(void);

/* Whether this error of the provider's says that the token does not have the mechanism: by its
 * CKR_, or by one that says nothing and that the module gives to a call of ours as well.
 * openCryptoki 3.23 answers CKR_ARGUMENTS_BAD to CTR. The program is logged in, and the module
 * initialised. */
bool operator_is_lack(const char *error);

#endif
