/* pkcs11-bridge metrics: what the processes of pkcs11-metrics count, as OpenMetrics text. */
#include "metrics/metrics.h"

#include <stdlib.h>

#include <openssl/bio.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/file.h"
#include "cli/http.h"
#include "cli/json.h"
#include "cli/say.h"
#include "module/ckr.h"
#include "module/names.h"

enum { TEXTFILE, LISTEN };
static const struct option_row options[] = {
    [TEXTFILE] = { "textfile", "FILE", "write to it, for node_exporter's textfile collector" },
    [LISTEN] = { "listen", "[ADDRESS:]PORT", "serve it by HTTP until it is stopped" },
    { NULL, NULL, NULL },
};

static bool gather(const char *dir, struct sum *sum)
{
    char why[4600];

    if (sum_dir(sum, dir, why, sizeof(why)))
        return true;
    complain("%s", why);
    return false;
}

/* For free(3); NULL with words. */
static char *text_of(const char *dir)
{
    _cleanup_(sum_clear) struct sum sum = { .list = NULL };
    char *text = NULL;
    size_t len = 0;
    FILE *out;
    bool ok;

    meter_retire(dir);
    out = gather(dir, &sum) ? open_memstream(&text, &len) : NULL;
    if (out == NULL)
        return NULL;
    ok = metrics_write(&sum, out);
    if (fclose(out) == 0 && ok)
        return text;
    free(text);
    return NULL;
}

static bool to_file(const char *path, const char *text)
{
    BIO *memory = BIO_new_mem_buf(text, -1);
    bool ok = memory != NULL && file_write(path, 0644, memory);

    BIO_free(memory);
    return ok;
}

static void json_series(struct json *json, const struct series *series)
{
    static const char *const families[SERIES_FAMILIES] = {
        [SERIES_OTHER] = "uncounted",     [SERIES_CALL] = "call",
        [SERIES_OPERATION] = "operation", [SERIES_WAIT] = "session wait",
        [SERIES_RECOVERY] = "recovery",   [SERIES_SESSIONS] = "sessions",
    };

    json_object(json, NULL);
    json_text(json, "family", families[series->family]);
    json_text(json, "name", series->name);
    json_text(json, "token", series->token);
    json_text(json, "mechanism",
              series->mechanism != SERIES_NOTHING ? mechanism_name(series->mechanism) : NULL);
    json_text(json, "result", series->result != SERIES_NOTHING ? ckr_label(series->result) : NULL);
    json_number(json, "count", series->count);
    json_number(json, "tries", series->tries);
    json_decimal(json, "seconds", (double)series->ns / 1e9);
    json_end(json);
}

static enum status in_json(const char *dir)
{
    _cleanup_(sum_clear) struct sum sum = { .list = NULL };
    struct json json = { .out = stdout };

    meter_retire(dir);
    if (!gather(dir, &sum))
        return STATUS_FAILED;
    json_object(&json, NULL);
    json_number(&json, "processes", sum.processes);
    json_array(&json, "series");
    for (size_t i = 0; i < sum.count; i++)
        json_series(&json, &sum.list[i]);
    json_end(&json);
    json_end(&json);
    return STATUS_DONE;
}

static char *page(const void *arg)
{
    return text_of(arg);
}

static enum status metrics(struct call *call)
{
    const char *file = call_option(call, TEXTFILE), *address = call_option(call, LISTEN);
    const char *dir = call->operands[0];
    char *text;
    bool ok;

    if (address != NULL)
        return http_serve(address, page, dir);
    if (call->json)
        return in_json(dir);
    text = text_of(dir);
    ok = text != NULL && to_file(file, text);
    free(text);
    return ok ? STATUS_DONE : STATUS_FAILED;
}

const struct subcommand metrics_subcommand = {
    .name = "metrics",
    .operands = "DIR",
    .least = 1,
    .most = 1,
    .summary = "Tells what the processes of pkcs11-metrics = DIR count, for Prometheus",
    .options = options,
    .alone = true,
    .run = metrics,
};
