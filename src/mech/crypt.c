#include "mech/crypt.h"

#include <string.h>

#include <openssl/evp.h>

/* Key wrapping: RFC 3394 §2.2.1, RFC 5649 §4.1. CTS: SP 800-38A addendum, as long as a block at
 * least. */
const struct crypt_row crypt_rows[CRYPT_MODES] = {
    [CRYPT_ECB] = { CKM_AES_ECB, CRYPT_BLOCKS, EVP_CIPH_ECB_MODE, 16, 0, 0 },
    [CRYPT_CBC] = { CKM_AES_CBC, CRYPT_BLOCKS, EVP_CIPH_CBC_MODE, 16, 16, 0 },
    [CRYPT_CTS] = { CKM_AES_CTS, CRYPT_WHOLE, EVP_CIPH_CBC_MODE, 16, 16, 16 },
    [CRYPT_CTR] = { CKM_AES_CTR, CRYPT_STREAM, EVP_CIPH_CTR_MODE, 1, 16, 0 },
    [CRYPT_CFB] = { CKM_AES_CFB128, CRYPT_STREAM, EVP_CIPH_CFB_MODE, 1, 16, 0 },
    [CRYPT_OFB] = { CKM_AES_OFB, CRYPT_STREAM, EVP_CIPH_OFB_MODE, 1, 16, 0 },
    [CRYPT_KW] = { CKM_AES_KEY_WRAP, CRYPT_WHOLE, EVP_CIPH_WRAP_MODE, 8, 8, 16 },
    [CRYPT_KWP] = { CKM_AES_KEY_WRAP_KWP, CRYPT_WHOLE, EVP_CIPH_WRAP_MODE, 8, 4, 1 },
    [CRYPT_CCM] = { CKM_AES_CCM, CRYPT_AEAD, EVP_CIPH_CCM_MODE, 1, 12, 0 },
    [CRYPT_GCM] = { CKM_AES_GCM, CRYPT_AEAD, EVP_CIPH_GCM_MODE, 1, 12, 0 },
};

bool crypt_wraps(const struct crypt_row *row)
{
    return row->number == EVP_CIPH_WRAP_MODE;
}

#define WRAP_BLOCK 8

size_t crypt_len(const struct crypt_row *row, bool encrypt, size_t len)
{
    if (!crypt_wraps(row))
        return len;
    if (encrypt)
        return (len + WRAP_BLOCK - 1) / WRAP_BLOCK * WRAP_BLOCK + WRAP_BLOCK;
    return len > WRAP_BLOCK ? len - WRAP_BLOCK : 0;
}

static void set(struct crypt_mechanism *out, void *params, size_t len)
{
    out->ck.pParameter = params;
    out->ck.ulParameterLen = len;
}

static void set_gcm(const struct crypt_request *request, struct crypt_mechanism *out)
{
    out->params.gcm = (struct gcm_params){
        .pIv = ck_input(request->iv.data),
        .ulIvLen = request->iv.len,
        .ulIvBits = request->iv.len * 8,
        .pAAD = request->aad.len != 0 ? ck_input(request->aad.data) : NULL,
        .ulAADLen = request->aad.len,
        .ulTagBits = request->tag_len * 8,
    };
    set(out, &out->params.gcm, sizeof(out->params.gcm));
}

static void set_ccm(const struct crypt_request *request, struct crypt_mechanism *out)
{
    out->params.ccm = (struct ccm_params){
        .ulDataLen = request->len,
        .pNonce = ck_input(request->iv.data),
        .ulNonceLen = request->iv.len,
        .pAAD = request->aad.len != 0 ? ck_input(request->aad.data) : NULL,
        .ulAADLen = request->aad.len,
        .ulMACLen = request->tag_len,
    };
    set(out, &out->params.ccm, sizeof(out->params.ccm));
}

static void set_ctr(const struct crypt_request *request, struct crypt_mechanism *out)
{
    out->params.ctr.ulCounterBits = 8UL * CRYPT_BLOCK;
    memcpy(out->params.ctr.cb, request->iv.data, CRYPT_BLOCK);
    set(out, &out->params.ctr, sizeof(out->params.ctr));
}

void crypt_mechanism(const struct crypt_request *request, struct crypt_mechanism *out)
{
    *out = (struct crypt_mechanism){ .ck = { .mechanism = request->row->mechanism } };
    switch (out->ck.mechanism) {
    case CKM_AES_GCM:
        set_gcm(request, out);
        break;
    case CKM_AES_CCM:
        set_ccm(request, out);
        break;
    case CKM_AES_CTR:
        set_ctr(request, out);
        break;
    default:
        if (request->iv.len != 0)
            set(out, ck_input(request->iv.data), request->iv.len);
        break;
    }
}

/* Adds to a big-endian counter of a block. */
static void count(uint8_t *counter, size_t blocks)
{
    for (size_t i = CRYPT_BLOCK; i-- > 0 && blocks != 0; blocks >>= 8) {
        blocks += counter[i];
        counter[i] = (uint8_t)blocks;
    }
}

/* SP 800-38A §6.2 to §6.5 */
void crypt_advance(const struct crypt_row *row, bool encrypt, uint8_t *iv, const uint8_t *in,
                   const uint8_t *out, size_t blocks)
{
    switch (row->mechanism) {
    case CKM_AES_CBC:
    case CKM_AES_CFB128:
        memcpy(iv, encrypt ? out : in, CRYPT_BLOCK);
        break;
    case CKM_AES_OFB:
        for (size_t i = 0; i < CRYPT_BLOCK; i++)
            iv[i] = in[i] ^ out[i];
        break;
    case CKM_AES_CTR:
        count(iv, blocks);
        break;
    default: /* ECB */
        break;
    }
}
