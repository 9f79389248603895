#include "key/pairing.h"

#include <string.h>

#include "key/proof.h"

struct key *pairing_new_half(const struct pairing *pairing)
{
    struct key *half = key_new(pairing->key->provider, pairing->key->type);

    if (half != NULL)
        half->curve = pairing->key->curve;
    return half;
}

/* The modulus, where a private RSA key shows that. */
static struct view own_modulus(const struct pairing *pairing)
{
    return view_strip(view_attribute(pairing->attributes, CKA_MODULUS));
}

static bool fits(const struct pairing *pairing, const struct key *half)
{
    struct view n = own_modulus(pairing);

    return half->curve == pairing->key->curve && (n.len == 0 || bytes_are(&half->n, n.data, n.len));
}

static enum bond bond_of(const struct attributes *private, const CK_ATTRIBUTE *label)
{
    const CK_ATTRIBUTE *own = attribute(private, CKA_LABEL);

    if (own == NULL || label == NULL)
        return BOND_NO_LABEL;
    return own->ulValueLen == label->ulValueLen &&
                   memcmp(own->pValue, label->pValue, own->ulValueLen) == 0
               ? BOND_SAME_LABEL
               : BOND_OTHER_LABEL;
}

/* An RSA key's modulus speaks for it as a label does, and better. */
static struct candidate half_of(const struct pairing *pairing, struct key *key,
                                const CK_ATTRIBUTE *label)
{
    bool rsa = own_modulus(pairing).len != 0;
    struct candidate half = { .key = key,
                              .bond = rsa ? BOND_SAME_LABEL : bond_of(pairing->attributes, label) };

    for (size_t i = 0; !rsa && i < pairing->rival_count; i++)
        half.contested |= bond_of(pairing->rivals[i], label) >= half.bond;
    return half;
}

static size_t find_same(const struct pairing *pairing, const struct key *key)
{
    size_t i = 0;

    while (i < pairing->count && !key_same_public(pairing->halves[i].key, key))
        i++;
    return i;
}

/* Takes the half at i out, if there is one; what is left of it and half, which is the same, is the
 * better bond. */
static struct candidate merge(struct pairing *pairing, size_t i, struct candidate half)
{
    struct candidate there;

    if (i == pairing->count)
        return half;
    there = pairing->halves[i];
    memmove(&pairing->halves[i], &pairing->halves[i + 1],
            (--pairing->count - i) * sizeof(pairing->halves[0]));
    if (there.bond < half.bond) {
        there.bond = half.bond;
        there.contested = half.contested;
    }
    key_free(half.key);
    return there;
}

void pairing_add(struct pairing *pairing, struct key *key, const CK_ATTRIBUTE *label)
{
    size_t i = find_same(pairing, key);
    struct candidate half;

    pairing->crowded = pairing->crowded || i == HALVES_MOST;
    if (!fits(pairing, key) || i < pairing->rejected || i == HALVES_MOST) {
        key_free(key);
        return;
    }
    half = merge(pairing, i, half_of(pairing, key, label));
    for (i = pairing->count++; i > pairing->rejected && pairing->halves[i - 1].bond < half.bond;
         i--)
        pairing->halves[i] = pairing->halves[i - 1];
    pairing->halves[i] = half;
}

/* Whether there is but one that it can be. */
static bool first_is_plain(const struct pairing *pairing)
{
    const struct candidate *first = &pairing->halves[0];

    return pairing->count == 1 && first->bond != BOND_OTHER_LABEL && !first->contested &&
           !pairing->doubt && !pairing->crowded;
}

/* Where nothing can be proved, the one with the same label is taken on trust, and one alone also
 * with another: cards that want a login for each use name the two halves differently. */
static bool first_is_trusted(const struct pairing *pairing)
{
    const struct candidate *first = &pairing->halves[0];
    bool best = pairing->count == 1 ||
                (first->bond == BOND_SAME_LABEL && pairing->halves[1].bond != BOND_SAME_LABEL);

    return best && !first->contested && !pairing->doubt && !pairing->crowded;
}

static CK_RV ask(struct pairing *pairing, enum proof *proof, size_t *which)
{
    struct key *keys[HALVES_MOST];
    size_t count = 0;
    CK_RV rv;

    for (size_t i = pairing->rejected; i < pairing->count; i++)
        keys[count++] = pairing->halves[i].key;
    rv = proof_ask(pairing->session, pairing->handle, pairing->attributes, keys, count, proof,
                   which);
    *which += pairing->rejected;
    pairing->asked = rv == CKR_OK && *proof == PROOF_FOUND;
    return rv;
}

CK_RV pairing_choose(struct pairing *pairing, const struct key **half, bool *ambiguous,
                     const char **unusable)
{
    enum proof proof = PROOF_FOUND;
    size_t which = 0;
    CK_RV rv = CKR_OK;

    *half = NULL;
    *ambiguous = false;
    if (pairing->count == pairing->rejected)
        return CKR_OK;
    if (!first_is_plain(pairing))
        rv = ask(pairing, &proof, &which);
    if (rv != CKR_OK)
        return rv;
    *ambiguous = proof == PROOF_IMPOSSIBLE && !first_is_trusted(pairing);
    if (proof != PROOF_NONE && !*ambiguous)
        *half = pairing->halves[which].key;
    else if (*ambiguous)
        *unusable = "several keys on the token have its CKA_ID, which of their public halves is "
                    "its own cannot be told, and it cannot be asked, which takes a signature or a "
                    "key agreement: give each key pair a CKA_ID of its own, or a label of its own "
                    "to both halves";
    else if (pairing->crowded)
        *unusable = "so many public keys and certificates on the token have its CKA_ID (or label, "
                    "where it has no CKA_ID) that its own was not found among the first of them: "
                    "give each key pair a CKA_ID of its own";
    else
        *unusable =
            "the public keys and certificates with its CKA_ID (or label, where it has no "
            "CKA_ID) belong to other keys, as it shows when it is asked: put its own public "
            "half on the token, and give each key pair a CKA_ID of its own";
    return CKR_OK;
}

void pairing_reject(struct pairing *pairing)
{
    pairing->rejected = pairing->count;
    pairing->doubt = pairing->doubt || pairing->count != 0;
}

void pairing_end(struct pairing *pairing)
{
    while (pairing->count != 0)
        key_free(pairing->halves[--pairing->count].key);
}
