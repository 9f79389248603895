/* pkcs11-bridge health: one signature, made and verified; for load balancers and probes. */
#include <openssl/err.h>

#include "base/clock.h"
#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/key.h"
#include "cli/say.h"

enum { MAX_LATENCY };
static const struct option_row options[] = {
    [MAX_LATENCY] = { "max-latency", "MS", "slower than this is not healthy" },
    { NULL, NULL, NULL },
};

struct health {
    bool ok;
    double open_ms, latency_ms;
    char error[2048]; /* where it is not ok */
};

#define MS(ns) ((double)(ns) / (double)NS_PER_MS)

static void look(struct call *call, struct health *health)
{
    const char *uri = call->operands[0];
    unsigned long long began = clock_ns(), sign_ns = 0, verify_ns = 0;
    _cleanup_(pkey_scoped) EVP_PKEY *pkey =
        key_open(&call->context, uri != NULL ? uri : "pkcs11:", uri == NULL);

    health->open_ms = MS(clock_ns() - began);
    health->ok = pkey != NULL && key_prove(&call->context, pkey, &sign_ns, &verify_ns);
    health->latency_ms = MS(sign_ns + verify_ns);
    if (!health->ok)
        (void)error_text("the signature does not verify", health->error, sizeof(health->error));
}

static void judge(struct health *health, unsigned long most)
{
    if (!health->ok || health->latency_ms <= (double)most)
        return;
    health->ok = false;
    (void)snprintf(health->error, sizeof(health->error),
                   "one signature took %.1f ms, and --max-latency is %lu ms", health->latency_ms,
                   most);
}

/* JSON in any case: probes read it. */
static void report(const struct health *health)
{
    struct json json = { .out = stdout };

    json_object(&json, NULL);
    json_bool(&json, "ok", health->ok);
    json_decimal(&json, "open_ms", health->open_ms);
    json_decimal(&json, "latency_ms", health->latency_ms);
    json_text(&json, "error", health->ok ? NULL : health->error);
    json_end(&json);
}

static enum status health(struct call *call)
{
    struct health health = { .ok = false };
    unsigned long most;

    if (!call_number(call, MAX_LATENCY, 1, 3600000, 3600000, &most))
        return STATUS_USAGE;
    look(call, &health);
    judge(&health, most);
    report(&health);
    return health.ok ? STATUS_DONE : STATUS_FAILED;
}

const struct subcommand health_subcommand = {
    .name = "health",
    .operands = "[URI]",
    .most = 1,
    .summary = "Makes and verifies one signature, and says so in JSON",
    .options = options,
    .run = health,
};
