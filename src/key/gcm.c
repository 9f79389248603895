#include "key/gcm.h"

#include <openssl/rand.h>

#include "base/scope.h"
#include "module/call.h"

/* SP 800-38D §8.2.2: 96 random bits, which are good for 2^32 encryptions with a key (§8.3). Nobody
 * else makes IVs: what counts them belongs here. */
bool gcm_iv_next(struct key *key, uint8_t iv[GCM_IV_LEN])
{
    HOST_WORK;
    const struct provider *provider = key->provider;
    bool made = RAND_bytes_ex(provider->host.libctx, iv, GCM_IV_LEN, 0) == 1;

    if (!made)
        error_raise(&provider->core, REASON_OPERATION,
                    "cannot encrypt: there are no random numbers for the IV");
    return made;
}
