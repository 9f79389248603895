/* The file of pkcs11-token-pins. */
#include "fuzz.h"

#include <openssl/crypto.h>

#include "token/pin_file.h"

/* Fits in the way that the first byte of the input says. */
static bool fits(void *arg, const struct uri *uri)
{
    static const CK_TOKEN_INFO token = { .label = "ca                              ",
                                         .serialNumber = "0123456789abcdef" };
    const uint8_t *how = arg;

    return *how % 2 != 0 || uri_matches_token(uri, *how, &token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    uint8_t how = input_byte(&input);
    struct pin pin = { .secret = NULL };
    size_t room = 1 + 2 * (size_t)input_byte(&input);
    char *why = malloc(room);

    why[0] = '\0';
    if (pin_file_find(fuzz_file(input.data, input.len), fits, &how, &pin, why, room)) {
        hold(pin.secret == NULL || pin.file == NULL);
        hold(pin.file == NULL || pin.file[0] == '/');
        hold(pin.secret == NULL || secret_len(pin.secret) == strlen(secret_data(pin.secret)));
    } else {
        hold(strlen(why) < room && strstr(why, PIN_MARK) == NULL);
        hold(room < 10 || why[0] != '\0');
    }
    pin_scoped(&pin);
    free(why);
    return 0;
}
