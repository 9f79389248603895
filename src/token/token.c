#include "token/token.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* PKCS#11 pads its texts with blanks, PKCS#11 v3.1 §3.2. */
static size_t text_len(const CK_UTF8CHAR *text, size_t len)
{
    while (len > 0 && text[len - 1] == ' ')
        len--;
    return len;
}

struct token token_of(const CK_TOKEN_INFO *info)
{
    struct token token = { .info = *info };

    text_printable(info->label, text_len(info->label, sizeof(info->label)), token.label);
    return token;
}

bool token_is(const struct token *token, const CK_TOKEN_INFO *info)
{
    const CK_TOKEN_INFO *own = &token->info;

    return memcmp(own->label, info->label, sizeof(own->label)) == 0 &&
           memcmp(own->manufacturerID, info->manufacturerID, sizeof(own->manufacturerID)) == 0 &&
           memcmp(own->model, info->model, sizeof(own->model)) == 0 &&
           memcmp(own->serialNumber, info->serialNumber, sizeof(own->serialNumber)) == 0;
}

static bool begins(const CK_UTF8CHAR *text, const char *with)
{
    return memcmp(text, with, strlen(with)) == 0;
}

bool token_is_softhsm(const CK_TOKEN_INFO *info)
{
    return begins(info->manufacturerID, "SoftHSM project ") && begins(info->model, "SoftHSM v2 ");
}

void token_serial(const struct token *token, char *out)
{
    const CK_TOKEN_INFO *info = &token->info;

    text_printable(info->serialNumber, text_len(info->serialNumber, sizeof(info->serialNumber)),
                   out);
}

void token_tell(const CK_TOKEN_INFO *info, CK_SLOT_ID id, char *text, size_t size)
{
    size_t used = strlen(text);
    struct token token = token_of(info);
    char serial[TOKEN_SERIAL_MAX];

    token_serial(&token, serial);
    (void)snprintf(text + used, size - used, "%s'%s' (serial %s, slot %lu)", used != 0 ? ", " : "",
                   token.label, serial[0] != '\0' ? serial : "none", (unsigned long)id);
}

bool token_has_serial(const struct token *token)
{
    return text_len(token->info.serialNumber, sizeof(token->info.serialNumber)) != 0;
}
