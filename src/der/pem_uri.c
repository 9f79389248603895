#include "der/pem_uri.h"

static const struct view description = { (const uint8_t *)PEM_URI_DESCRIPTION,
                                         sizeof(PEM_URI_DESCRIPTION) - 1 };

size_t pem_uri_write(struct view uri, uint8_t *der, size_t size)
{
    struct der_writer writer = der_begin(der, size);
    const uint8_t *end = der_mark(&writer);

    der_value(&writer, DER_UTF8_STRING, uri);
    der_value(&writer, DER_VISIBLE_STRING, description);
    der_wrap(&writer, DER_SEQUENCE, end);
    return der_done(&writer);
}

bool pem_uri_read(struct view der, struct view *uri)
{
    struct view content, text;

    return ber_read(&der, DER_SEQUENCE, &content) && der.len == 0 &&
           ber_read(&content, DER_VISIBLE_STRING, &text) && view_equal(text, description) &&
           ber_read(&content, DER_UTF8_STRING, uri) && content.len == 0;
}
