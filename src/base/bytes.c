#include "base/bytes.h"

#include <string.h>

#include <openssl/crypto.h>

bool bytes_set(struct bytes *out, const void *data, size_t len)
{
    out->data = OPENSSL_malloc(len + 1);
    if (out->data == NULL)
        return false;
    if (len != 0)
        memcpy(out->data, data, len);
    out->data[len] = 0; /* labels and curve names can be printed as they are */
    out->len = len;
    return true;
}

bool bytes_copy(struct bytes *out, const struct bytes *from)
{
    *out = (struct bytes){ NULL, 0 };
    return from->data == NULL || bytes_set(out, from->data, from->len);
}

bool bytes_add(struct bytes *to, const void *data, size_t len)
{
    uint8_t *more = OPENSSL_realloc(to->data, to->len + len + 1);

    if (more == NULL)
        return false;
    if (len != 0)
        memcpy(more + to->len, data, len);
    *to = (struct bytes){ more, to->len + len };
    more[to->len] = 0;
    return true;
}

bool bytes_make(struct bytes *out, size_t len)
{
    *out = (struct bytes){ OPENSSL_zalloc(len + 1), len };
    if (out->data == NULL)
        out->len = 0;
    return out->data != NULL;
}

bool bytes_add_secret(struct bytes *to, size_t *room, const void *data, size_t len)
{
    struct bytes more;
    size_t wanted = to->len + len;

    if (to->data == NULL)
        *room = 0;
    if (to->data == NULL || wanted > *room) {
        wanted = wanted < 2 * *room ? 2 * *room : wanted;
        if (!bytes_make(&more, wanted))
            return false;
        more.len = to->data != NULL ? to->len : 0;
        if (more.len != 0)
            memcpy(more.data, to->data, more.len);
        bytes_wipe(to);
        *to = more;
        *room = wanted;
    }
    if (len != 0)
        memcpy(to->data + to->len, data, len);
    to->len += len;
    return true;
}

bool bytes_are(const struct bytes *a, const void *data, size_t len)
{
    return a->len == len && (len == 0 || memcmp(a->data, data, len) == 0);
}

bool bytes_equal(const struct bytes *a, const struct bytes *b)
{
    return bytes_are(a, b->data, b->len);
}

void bytes_free(struct bytes *b)
{
    OPENSSL_free(b->data);
    *b = (struct bytes){ NULL, 0 };
}

void bytes_wipe(struct bytes *b)
{
    OPENSSL_clear_free(b->data, b->len);
    *b = (struct bytes){ NULL, 0 };
}
