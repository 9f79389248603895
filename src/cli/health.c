/* pkcs11-bridge health: one signature, made and verified; for load balancers and probes. */
#include <openssl/err.h>

#include "base/clock.h"
#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/key.h"
#include "cli/say.h"
#include "instance/error.h"

enum { MAX_LATENCY };
static const struct option_row options[] = {
    [MAX_LATENCY] = { "max-latency", "MS", "slower than this is not healthy" },
    { NULL, NULL, NULL },
};

struct health {
    struct call *call;
    unsigned long long began;
    bool ok;
    double open_ms, latency_ms;
    char error[2048]; /* where it is not ok */
};

#define MS(ns) ((double)(ns) / (double)NS_PER_MS)

/* Whether it was the key, which may be for something else, and not the token that failed. */
static bool key_is_unfit(void)
{
    unsigned long error = ERR_peek_error();

    return ERR_GET_LIB(error) < ERR_LIB_USER || ERR_GET_REASON(error) == REASON_KEY;
}

/* A visitor's: true where another key may do better. */
static bool prove(EVP_PKEY *pkey, void *arg)
{
    struct health *health = arg;
    unsigned long long sign_ns = 0, verify_ns = 0;

    if (health->open_ms == 0)
        health->open_ms = MS(clock_ns() - health->began);
    ERR_clear_error();
    health->ok = key_prove(&health->call->context, pkey, &sign_ns, &verify_ns);
    health->latency_ms = MS(sign_ns + verify_ns);
    return !health->ok && key_is_unfit();
}

static void look(struct health *health)
{
    struct context *context = &health->call->context;
    const char *uri = health->call->operands[0];
    _cleanup_(pkey_scoped) EVP_PKEY *pkey = NULL;

    health->began = clock_ns();
    if (uri == NULL)
        key_visit(context, prove, health);
    else if ((pkey = key_open(context, uri)) != NULL)
        (void)prove(pkey, health);
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
    struct health health = { .call = call };
    unsigned long most;

    if (!call_number(call, MAX_LATENCY, 1, 3600000, 3600000, &most))
        return STATUS_USAGE;
    look(&health);
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
