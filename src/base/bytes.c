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

static bool grow(struct pieces *to, size_t wanted)
{
    const size_t room = wanted < 2 * to->room ? 2 * to->room : wanted;
    struct bytes more;

    if (!bytes_make(&more, room))
        return false;
    more.len = to->all.data != NULL ? to->all.len : 0;
    if (more.len != 0)
        memcpy(more.data, to->all.data, more.len);
    bytes_wipe(&to->all);
    *to = (struct pieces){ more, room };
    return true;
}

bool pieces_add(struct pieces *to, const void *data, size_t len)
{
    const size_t wanted = to->all.len + len;

    if ((to->all.data == NULL || wanted > to->room) && !grow(to, wanted))
        return false;
    if (len != 0)
        memcpy(to->all.data + to->all.len, data, len);
    to->all.len = wanted;
    return true;
}

bool pieces_copy(struct pieces *out, const struct pieces *from)
{
    out->room = from->all.len;
    return bytes_copy(&out->all, &from->all);
}

void pieces_wipe(struct pieces *pieces)
{
    bytes_wipe(&pieces->all);
    pieces->room = 0;
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
