#include "cli/nearest.h"

#include <string.h>

#define NEAR_MOST 128

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to be put in, taken out, or changed. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NEAR_MOST + 1], len = least(strlen(b), NEAR_MOST);

    for (size_t j = 0; j <= len; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t before = row[0];

        row[0] = i + 1;
        for (size_t j = 1; j <= len; j++) {
            size_t here = least(before + (a[i] != b[j - 1]), least(row[j], row[j - 1]) + 1);

            before = row[j];
            row[j] = here;
        }
    }
    return row[len];
}

int nearest(const char *text, const char *const *texts, size_t count)
{
    size_t most = strlen(text) / 3 + 1; /* of what is farther, nobody was thinking */
    int found = -1;

    for (size_t i = 0; i < count; i++) {
        size_t here = distance(text, texts[i]);

        if (here > most)
            continue;
        most = here;
        found = (int)i;
    }
    return found;
}
