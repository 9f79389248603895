/* Which token: what tells it apart from all others. */
#ifndef BRIDGE_TOKEN_H
#define BRIDGE_TOKEN_H

#include <stdbool.h>

#include "module/cryptoki.h"

/* The identity is label, manufacturer, model and serial number; the rest of info is as it was when
 * the token was first seen. docs/adr/0014-which-token.md has what that tells apart. */
struct token {
    CK_TOKEN_INFO info;
    char label[33]; /* for people: printable */
};

struct token token_of(const CK_TOKEN_INFO *info);

bool token_is(const struct token *token, const CK_TOKEN_INFO *info);

/* Whether it has a serial number, without which two tokens of one kind and label look alike. */
bool token_has_serial(const struct token *token);

/* Whether it is one of SoftHSM 2, which has no count of wrong PINs and does not lock. */
bool token_is_softhsm(const CK_TOKEN_INFO *info);

/* The serial number, printable, into TOKEN_SERIAL_MAX bytes. */
#define TOKEN_SERIAL_MAX 17
void token_serial(const struct token *token, char *out);

/* Adds "'label' (serial number, slot)" to the list in text (size bytes), for a person who is to say
 * which token is meant. */
void token_tell(const CK_TOKEN_INFO *info, CK_SLOT_ID id, char *text, size_t size);

#endif
