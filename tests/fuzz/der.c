/* DER: everything that reads it, the curves that are made of it, and the writers, whose result fits
 * what was promised and is read as what was written. */
#include "fuzz.h"

#include "der/algorithm.h"
#include "der/ec_parameters.h"
#include "der/ecdsa.h"
#include "der/pem_uri.h"
#include "der/spki.h"
#include "mech/curve.h"

#define HALF_MAX 66

/* Reads each byte, so that one which is not there is noticed. */
static void touch(struct view view)
{
    static volatile uint8_t sum;

    for (size_t i = 0; i < view.len; i++)
        sum = (uint8_t)(sum ^ view.data[i]);
}

static bool within(struct view part, struct view whole)
{
    return part.data >= whole.data && part.len <= whole.len &&
           (size_t)(part.data - whole.data) <= whole.len - part.len;
}

static void read_values(struct view whole)
{
    static const enum der_tag tags[] = { DER_INTEGER,     DER_BIT_STRING, DER_OCTET_STRING, DER_OID,
                                         DER_UTF8_STRING, DER_SEQUENCE,   DER_CONTEXT };
    struct view in = whole, content;

    for (size_t i = 0; i < COUNT_OF(tags); i++) {
        in = whole;
        while (der_read(&in, tags[i], &content) || ber_read(&in, tags[i], &content) ||
               der_read_unsigned(&in, &content)) {
            hold(within(content, whole) && within(in, whole));
            touch(content);
            if (in.len < content.len) /* into it, then behind it */
                in = content;
        }
    }
}

static void read_structures(struct view der)
{
    struct ec_parameters parameters;
    const struct curve *curve = curve_by_params(der);
    struct view uri;

    if (ec_parameters_read(der, &parameters)) {
        const struct view *parts[] = { &parameters.p, &parameters.a, &parameters.b,
                                       &parameters.base, &parameters.order };

        for (size_t i = 0; i < COUNT_OF(parts); i++) {
            hold(within(*parts[i], der));
            touch(*parts[i]);
        }
    }
    if (pem_uri_read(der, &uri)) {
        hold(within(uri, der));
        touch(uri);
    }
    if (curve != NULL)
        (void)curve_point_fits(curve, der);
}

/* What is no number of this size is refused; what is read is written as the same bytes, since DER
 * has one form for each. */
static void read_signature(struct view der, size_t half)
{
    uint8_t *rs = malloc(2 * half), again[ECDSA_SIG_DER_MAX(HALF_MAX)];
    size_t len;

    if (ecdsa_sig_from_der(der, half, rs)) {
        touch((struct view){ rs, 2 * half });
        if (half != 0 && half <= HALF_MAX) {
            len = ecdsa_sig_to_der((struct view){ rs, 2 * half }, again, sizeof(again));
            hold(len == der.len && memcmp(again, der.data, len) == 0);
        }
    }
    free(rs);
}

static void write_signature(struct view rs, size_t size)
{
    uint8_t *der = malloc(size), back[2 * HALF_MAX];
    size_t len = ecdsa_sig_to_der(rs, der, size);

    hold(len <= size && len <= ECDSA_SIG_DER_MAX(rs.len / 2));
    hold(len != 0 || rs.len == 0 || rs.len % 2 != 0 || rs.len / 2 > HALF_MAX ||
         size < ECDSA_SIG_DER_MAX(rs.len / 2));
    if (len != 0) {
        hold(ecdsa_sig_from_der((struct view){ der, len }, rs.len / 2, back));
        hold(memcmp(back, rs.data, rs.len) == 0);
    }
    free(der);
}

static void write_structures(struct view a, struct view b, size_t size)
{
    uint8_t *der = malloc(size);
    struct view uri;
    size_t len;

    hold(spki_write_rsa(a, b, size % 2, der, size) <= size);
    hold(spki_write_ec(a, b, der, size) <= size);
    hold(spki_write_raw(a, b, der, size) <= size);
    hold(pkcs1_write(a, b, der, size) <= size);
    hold(digest_info_write(a, b, der, size) <= size);
    hold(algorithm_write(a, size % 2, der, size) <= size);
    hold(algorithm_write_pss(a, b, (unsigned)size, der, size) <= size);
    hold(size < a.len + b.len + SPKI_OVERHEAD || pkcs1_write(a, b, der, size) != 0);
    len = pem_uri_write(a, der, size);
    hold(len <= size && (len != 0 || size < a.len + PEM_URI_OVERHEAD));
    if (len != 0)
        hold(pem_uri_read((struct view){ der, len }, &uri) && view_equal(uri, a));
    free(der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    uint8_t how = input_byte(&input);
    size_t number = input_byte(&input), len = input.len, half = len / 2;
    uint8_t *copy, *other;

    if (how % 4 == 3) {
        copy = input_copy(&input, &half, false);
        other = input_copy(&input, &len, false);
        write_structures((struct view){ copy, half }, (struct view){ other, len }, 2 * number);
        write_signature((struct view){ copy, half }, number);
        free(other);
    } else {
        copy = input_copy(&input, &len, false);
        read_values((struct view){ copy, len });
        read_structures((struct view){ copy, len });
        read_signature((struct view){ copy, len }, number);
    }
    free(copy);
    return 0;
}
