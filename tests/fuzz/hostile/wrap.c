#include "wrap.h"

#include "key/wrap.h"

/* In any way, or in one that is named. */
unsigned char *hostile_wrap(OSSL_PROVIDER *provider, const char *key, unsigned how, size_t *len)
{
    static const char *const ways[] = { "aes-kwp", "rsa-aes-kwp-sha1", "rsa-oaep-sha256" };
    const struct wrap_order order = { .provider = OSSL_PROVIDER_get0_provider_ctx(provider),
                                      .key = key,
                                      .with = (how & 1) != 0 ? "pkcs11:token=soft;object=aes"
                                                             : "pkcs11:token=soft;object=rsa",
                                      .way = (how & 8) != 0 ? wrap_find(ways[how % 3]) : NULL };
    struct wrapped wrapped;

    if (!key_wrap(&order, &wrapped)) {
        wrapped_clear(&wrapped);
        return NULL;
    }
    *len = wrapped.blob.len;
    return wrapped.blob.data;
}
