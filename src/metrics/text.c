#include "metrics/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "base/text.h"
#include "meter/meter.h"
#include "module/ckr.h"
#include "module/names.h"

enum kind { COUNTER, HISTOGRAM, GAUGE };
enum label { NAME = 1, TOKEN = 2, MECHANISM = 4, RESULT = 8 };
enum value { COUNT_OF_IT, TRIES_OF_IT };

/* One metric: of which series, under which of their labels, what is said. */
struct metric {
    const char *name;
    enum kind kind;
    enum series_family family;
    const char *only; /* series of this name; NULL: all */
    unsigned labels;
    const char *name_label; /* what the name is called */
    enum value value;
    const char *help;
};

static const struct metric metrics[] = {
    { "pkcs11_operations", COUNTER, SERIES_OPERATION, NULL, NAME | TOKEN | MECHANISM | RESULT,
      "operation", COUNT_OF_IT, "Uses of private and secret keys, logins, keys made and deleted." },
    { "pkcs11_operation_tries", COUNTER, SERIES_OPERATION, NULL, NAME | TOKEN, "operation",
      TRIES_OF_IT, "How often they were tried." },
    { "pkcs11_operation_duration_seconds", HISTOGRAM, SERIES_OPERATION, NULL, NAME | TOKEN,
      "operation", COUNT_OF_IT, "How long they took, with all tries, logins and waits." },
    { "pkcs11_logins", COUNTER, SERIES_OPERATION, "login", TOKEN | RESULT, NULL, COUNT_OF_IT,
      "Logins." },
    { "pkcs11_calls", COUNTER, SERIES_CALL, NULL, NAME | RESULT, "call", COUNT_OF_IT,
      "C_* calls." },
    { "pkcs11_call_duration_seconds", HISTOGRAM, SERIES_CALL, NULL, NAME, "call", COUNT_OF_IT,
      "How long they took." },
    { "pkcs11_session_waits", COUNTER, SERIES_WAIT, NULL, TOKEN | RESULT, NULL, COUNT_OF_IT,
      "Waits for a session where all were in use." },
    { "pkcs11_session_wait_duration_seconds", HISTOGRAM, SERIES_WAIT, NULL, TOKEN, NULL,
      COUNT_OF_IT, "How long they were." },
    { "pkcs11_recoveries", COUNTER, SERIES_RECOVERY, NULL, NAME | TOKEN | RESULT, "call",
      COUNT_OF_IT, "Times that all sessions were given up, by the call that led to it." },
    { "pkcs11_sessions_open", GAUGE, SERIES_SESSIONS, NULL, TOKEN, NULL, COUNT_OF_IT,
      "Sessions that are open." },
    { "pkcs11_sessions_in_use", GAUGE, SERIES_SESSIONS, NULL, TOKEN, NULL, TRIES_OF_IT,
      "Sessions that an operation has." },
    { "pkcs11_uncounted", COUNTER, SERIES_OTHER, NULL, 0, NULL, COUNT_OF_IT,
      "What had no place among the series of its process any more." },
};

/* A series with the labels of metric alone. */
static struct series project(const struct metric *metric, const struct series *series)
{
    struct series seen = *series;

    if ((metric->labels & NAME) == 0)
        memset(seen.name, 0, sizeof(seen.name));
    if ((metric->labels & TOKEN) == 0)
        memset(seen.token, 0, sizeof(seen.token));
    if ((metric->labels & MECHANISM) == 0)
        seen.mechanism = SERIES_NOTHING;
    if ((metric->labels & RESULT) == 0)
        seen.result = SERIES_NOTHING;
    return seen;
}

static bool is_of(const struct metric *metric, const struct series *series)
{
    return series->family == metric->family &&
           (metric->only == NULL || strcmp(series->name, metric->only) == 0);
}

static bool gather(const struct metric *metric, const struct sum *sum, struct sum *out)
{
    bool ok = true;

    for (size_t i = 0; ok && i < sum->count; i++)
        if (is_of(metric, &sum->list[i])) {
            const struct series seen = project(metric, &sum->list[i]);

            ok = sum_add(out, &seen);
        }
    return ok;
}

struct labels {
    FILE *out;
    bool some;
};

/* A token's label may have anything in it. */
static void label(struct labels *labels, const char *name, const char *value)
{
    char text[SERIES_TEXT + 64];
    size_t len = strlen(value);

    text_printable((const uint8_t *)value, len < sizeof(text) ? len : sizeof(text) - 1, text);
    (void)fprintf(labels->out, "%s%s=\"", labels->some ? "," : "{", name);
    for (const char *at = text; *at != '\0'; at++)
        (void)fprintf(labels->out, *at == '"' || *at == '\\' ? "\\%c" : "%c", *at);
    (void)fprintf(labels->out, "\"");
    labels->some = true;
}

static void label_result(struct labels *labels, uint64_t result)
{
    char text[32];

    if (ckr_label((CK_RV)result) != NULL) {
        label(labels, "result", ckr_label((CK_RV)result));
        return;
    }
    (void)snprintf(text, sizeof(text), "0x%08" PRIx64, result);
    label(labels, "result", text);
}

static void label_mechanism(struct labels *labels, uint64_t mechanism)
{
    label(labels, "mechanism",
          mechanism != SERIES_NOTHING ? mechanism_name((CK_MECHANISM_TYPE)mechanism) : "");
}

/* le: the bound of a bucket, or NULL. */
static void labels_write(const struct metric *metric, const struct series *series, const char *le,
                         FILE *out)
{
    struct labels labels = { .out = out };

    if ((metric->labels & NAME) != 0)
        label(&labels, metric->name_label, series->name);
    if ((metric->labels & TOKEN) != 0)
        label(&labels, "token", series->token);
    if ((metric->labels & MECHANISM) != 0)
        label_mechanism(&labels, series->mechanism);
    if ((metric->labels & RESULT) != 0)
        label_result(&labels, series->result);
    if (le != NULL)
        label(&labels, "le", le);
    if (labels.some)
        (void)fprintf(out, "}");
}

#define NS_DIGITS 9

static void seconds(uint64_t ns, char *text, size_t size)
{
    (void)snprintf(text, size, "%" PRIu64 ".%0*" PRIu64, ns / 1000000000U, NS_DIGITS,
                   ns % 1000000000U);
}

/* All from the buckets, which are not counted in one moment with the count. */
static void histogram_write(const struct metric *metric, const struct series *series, FILE *out)
{
    static const uint64_t bounds[SERIES_BOUNDS] = SERIES_BOUNDS_NS;
    uint64_t below = 0;
    char text[64];

    for (unsigned i = 0; i < SERIES_BUCKETS; i++) {
        below += series->buckets[i];
        if (i < SERIES_BOUNDS)
            seconds(bounds[i], text, sizeof(text));
        else
            (void)snprintf(text, sizeof(text), "+Inf");
        (void)fprintf(out, "%s_bucket", metric->name);
        labels_write(metric, series, text, out);
        (void)fprintf(out, " %" PRIu64 "\n", below);
    }
    (void)fprintf(out, "%s_count", metric->name);
    labels_write(metric, series, NULL, out);
    seconds(series->ns, text, sizeof(text));
    (void)fprintf(out, " %" PRIu64 "\n%s_sum", below, metric->name);
    labels_write(metric, series, NULL, out);
    (void)fprintf(out, " %s\n", text);
}

static void number_write(const struct metric *metric, const struct series *series, FILE *out)
{
    uint64_t value = metric->value == COUNT_OF_IT ? series->count : series->tries;

    (void)fprintf(out, "%s%s", metric->name, metric->kind == COUNTER ? "_total" : "");
    labels_write(metric, series, NULL, out);
    (void)fprintf(out, " %" PRIu64 "\n", value);
}

static bool metric_write(const struct metric *metric, const struct sum *sum, FILE *out)
{
    static const char *const kinds[] = { "counter", "histogram", "gauge" };
    _cleanup_(sum_clear) struct sum gathered = { .list = NULL };

    if (!gather(metric, sum, &gathered))
        return false;
    if (gathered.count == 0)
        return true;
    (void)fprintf(out, "# TYPE %s %s\n", metric->name, kinds[metric->kind]);
    if (metric->kind == HISTOGRAM)
        (void)fprintf(out, "# UNIT %s seconds\n", metric->name);
    (void)fprintf(out, "# HELP %s %s\n", metric->name, metric->help);
    for (size_t i = 0; i < gathered.count; i++)
        if (metric->kind == HISTOGRAM)
            histogram_write(metric, &gathered.list[i], out);
        else
            number_write(metric, &gathered.list[i], out);
    return true;
}

bool metrics_write(const struct sum *sum, FILE *out)
{
    (void)fprintf(out,
                  "# TYPE pkcs11_processes gauge\n"
                  "# HELP pkcs11_processes Processes that count.\npkcs11_processes %u\n",
                  sum->processes);
    for (size_t i = 0; i < COUNT(metrics); i++)
        if (!metric_write(&metrics[i], sum, out))
            return false;
    (void)fprintf(out, "# EOF\n");
    return ferror(out) == 0;
}

static bool write_here(FILE *out)
{
    const struct page *page = meter_page();
    _cleanup_(sum_clear) struct sum sum = { .processes = 1 };

    return page != NULL && sum_add_page(&sum, page, PAGE_SERIES, true) && metrics_write(&sum, out);
}

char *metrics_here(void)
{
    char *text = NULL, *copy = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return NULL;
    if (write_here(out) && fflush(out) == 0)
        copy = OPENSSL_strndup(text, len);
    (void)fclose(out);
    free(text);
    return copy;
}
