#include "token/token.h"

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

void token_serial(const struct token *token, char *out)
{
    const CK_TOKEN_INFO *info = &token->info;

    text_printable(info->serialNumber, text_len(info->serialNumber, sizeof(info->serialNumber)),
                   out);
}

bool token_has_serial(const struct token *token)
{
    return text_len(token->info.serialNumber, sizeof(token->info.serialNumber)) != 0;
}
