#include "cli/say.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/environment.h"
#include "base/scope.h"
#include "base/text.h"
#include "cli/cli.h"

#define LINE_MAX_ 4096

void complain(const char *format, ...)
{
    char line[LINE_MAX_], shown[LINE_MAX_ + 1];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    text_printable((const uint8_t *)line, strlen(line), shown);
    (void)fflush(stdout); /* in the order in which it was said */
    (void)fprintf(stderr, "%s" PROGRAM ":%s %s\n", colour(stderr, RED), colour(stderr, PLAIN),
                  shown);
}

/* The first entry with words of its own: libcrypto puts its own remarks behind it. */
const char *error_text(const char *otherwise, char *text, size_t size)
{
    const char *data = NULL;
    bool found = false;
    int flags = 0;

    (void)snprintf(text, size, "%s", otherwise);
    while (ERR_get_error_all(NULL, NULL, NULL, &data, &flags) != 0) {
        if (found || (flags & ERR_TXT_STRING) == 0 || data[0] == '\0')
            continue;
        (void)snprintf(text, size, "%s", data);
        found = true;
    }
    return text;
}

void complain_openssl(const char *otherwise)
{
    char text[2048];

    complain("%s", error_text(otherwise, text, sizeof(text)));
}

const char *colour(FILE *file, enum colour which)
{
    static const char *const codes[] = { [PLAIN] = "\033[0m",
                                         [RED] = "\033[31m",
                                         [GREEN] = "\033[32m",
                                         [YELLOW] = "\033[33m",
                                         [BOLD] = "\033[1m" };

    return isatty(fileno(file)) && environment("NO_COLOR") == NULL ? codes[which] : "";
}

static bool is_yes(const char *answer)
{
    return strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0;
}

bool confirmed(const char *question, const char *option)
{
    char answer[16] = "";

    if (!isatty(STDIN_FILENO)) {
        complain("nobody is there to be asked: %s (--%s says yes)", question, option);
        return false;
    }
    (void)fprintf(stderr, "%s [y/N] ", question);
    if (fgets(answer, sizeof(answer), stdin) != NULL && is_yes(answer))
        return true;
    complain("nothing was done");
    return false;
}
