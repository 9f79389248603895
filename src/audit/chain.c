#include "audit/chain.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void chain_begin(struct chain *chain)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    *chain = (struct chain){ .next = 0 };
    (void)snprintf(chain->name, sizeof(chain->name), "%ld-%lld.%09ld", (long)getpid(),
                   (long long)now.tv_sec, now.tv_nsec);
}

size_t chain_add(const struct chain *chain, char *text, size_t len, uint8_t *link)
{
    struct hmac_key key;

    len += (size_t)snprintf(text + len, CHAIN_ADDS, ",\"chain\":\"%s\",\"n\":%llu", chain->name,
                            (unsigned long long)chain->next);
    hmac_key(chain->last, &key);
    hmac(&key, (struct view){ (const uint8_t *)text, len }, link);
    len += (size_t)sprintf(text + len, ",\"link\":\"");
    for (size_t i = 0; i < HMAC_LEN; i++)
        len += (size_t)sprintf(text + len, "%02x", link[i]);
    return len + (size_t)sprintf(text + len, "\"}");
}

void chain_go_on(struct chain *chain, const uint8_t *link)
{
    chain->next++;
    memcpy(chain->last, link, HMAC_LEN);
}
