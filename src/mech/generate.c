#include "mech/generate.h"

#include <string.h>

#include "base/scope.h"

/* PKCS#11 v3.1 §6.1.4, §6.3.5 to §6.3.8. SoftHSM 2.6 makes Montgomery keys with the Edwards
 * mechanism. */
static const struct generate_row rows[] = {
    { GENERATE_RSA, CURVE_EC, CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA, false },
    { GENERATE_RSA, CURVE_EC, CKM_RSA_X9_31_KEY_PAIR_GEN, CKK_RSA, false },
    { GENERATE_CURVE, CURVE_EC, CKM_EC_KEY_PAIR_GEN, CKK_EC, false },
    { GENERATE_CURVE, CURVE_ED25519, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, false },
    { GENERATE_CURVE, CURVE_ED25519, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, true },
    { GENERATE_CURVE, CURVE_ED448, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, false },
    { GENERATE_CURVE, CURVE_ED448, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, true },
    { GENERATE_CURVE, CURVE_X25519, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, false },
    { GENERATE_CURVE, CURVE_X25519, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, true },
    { GENERATE_CURVE, CURVE_X25519, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, false },
    { GENERATE_CURVE, CURVE_X448, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, false },
    { GENERATE_CURVE, CURVE_X448, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKK_EC_MONTGOMERY, true },
    { GENERATE_CURVE, CURVE_X448, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKK_EC_EDWARDS, false },
    { GENERATE_SET, CURVE_EC, CKM_ML_DSA_KEY_PAIR_GEN, CKK_ML_DSA, false },
    { GENERATE_SET, CURVE_EC, CKM_SLH_DSA_KEY_PAIR_GEN, CKK_SLH_DSA, false },
    { GENERATE_SET, CURVE_EC, CKM_ML_KEM_KEY_PAIR_GEN, CKK_ML_KEM, false },
};

static bool row_fits(const struct generate_row *row, const struct generate_kind *kind)
{
    switch (row->by) {
    case GENERATE_CURVE:
        return kind->curve != NULL && row->kind == kind->curve->kind;
    case GENERATE_SET:
        return kind->set != NULL && row->key_type == kind->set->algorithm->key_type;
    default:
        return kind->curve == NULL && kind->set == NULL;
    }
}

const struct generate_row *generate_next(const struct generate_kind *kind,
                                         const struct generate_row *previous)
{
    const struct generate_row *row = previous != NULL ? previous + 1 : rows;

    while (row < rows + COUNT(rows) && !row_fits(row, kind))
        row++;
    return row < rows + COUNT(rows) ? row : NULL;
}

bool generate_not_supported(CK_RV rv)
{
    return rv == CKR_MECHANISM_INVALID || rv == CKR_DOMAIN_PARAMS_INVALID ||
           rv == CKR_CURVE_NOT_SUPPORTED || rv == CKR_PARAMETER_SET_NOT_SUPPORTED ||
           rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_TEMPLATE_INCONSISTENT ||
           rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED;
}

size_t generate_params(const struct generate_row *row, const struct curve *curve, uint8_t *der,
                       size_t size)
{
    struct der_writer writer = der_begin(der, size);
    size_t name_len = curve->printable != NULL ? strcspn(curve->printable, ":") : 0;

    if (row->printable)
        der_value(&writer, DER_PRINTABLE_STRING,
                  (struct view){ (const uint8_t *)curve->printable, name_len });
    else
        der_value(&writer, DER_OID, curve->oid);
    return der_done(&writer);
}

static const struct {
    const char *name;
    struct usage usage;
} usages[] = {
    { "digitalSignature", { .sign = true } },
    { "nonRepudiation", { .sign = true } },
    { "contentCommitment", { .sign = true } },
    { "keyCertSign", { .sign = true } },
    { "cRLSign", { .sign = true } },
    { "dataEncipherment", { .decrypt = true } },
    { "keyEncipherment", { .decrypt = true, .unwrap = true, .decapsulate = true } },
    { "keyAgreement", { .derive = true } },
};

static bool usage_add(const char *name, size_t len, struct usage *out)
{
    for (size_t i = 0; i < COUNT(usages); i++)
        if (strlen(usages[i].name) == len && memcmp(usages[i].name, name, len) == 0) {
            out->sign |= usages[i].usage.sign;
            out->decrypt |= usages[i].usage.decrypt;
            out->unwrap |= usages[i].usage.unwrap;
            out->derive |= usages[i].usage.derive;
            out->decapsulate |= usages[i].usage.decapsulate;
            return true;
        }
    return false;
}

bool usage_parse(const char *names, struct usage *out)
{
    static const char blanks[] = " ,\t";

    *out = (struct usage){ .sign = false };
    for (names += strspn(names, blanks); *names != '\0'; names += strspn(names, blanks)) {
        size_t len = strcspn(names, blanks);

        if (!usage_add(names, len, out))
            return false;
        names += len;
    }
    return true;
}

bool generate_template_refused(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID ||
           rv == CKR_TEMPLATE_INCONSISTENT;
}
