/* URIs: parsed, matched, searched by, shortened for people; what is written of a token and an
 * object is read as the same. */
#include "fuzz.h"

#include "uri/uri.h"

/* Whether all marks in text are the value of pin-value, or were meant so. */
static bool marks_are_pins(const char *text)
{
    static const char name[] = "pin-value";
    const size_t len = sizeof(name) - 1;
    bool any = false;

    for (const char *mark = strstr(text, PIN_MARK); mark != NULL;
         mark = strstr(mark + 1, PIN_MARK)) {
        if ((size_t)(mark - text) < len + 1 || memcmp(mark - len - 1, name, len) != 0 ||
            strchr("=:", mark[-1]) == NULL)
            return false;
        any = true;
    }
    return any;
}

static void read_all(const struct uri *uri)
{
    static const CK_TOKEN_INFO token = { .label = "a" };
    static const CK_SLOT_INFO slot = { .flags = CKF_TOKEN_PRESENT };
    static const CK_INFO library = { .cryptokiVersion = { 2, 40 } };
    CK_ATTRIBUTE template[3];
    CK_OBJECT_CLASS class;

    (void)uri_matches_token(uri, 1, &token);
    (void)uri_matches_slot(uri, &slot);
    (void)uri_matches_library(uri, &library);
    (void)uri_names_one_token(uri);
    (void)uri_class(uri, &class);
    hold(uri_add_names(uri, template, 0) <= 2);
}

static void parse(const char *text, bool allow_module)
{
    struct uri uri, again;
    char why[512] = "";

    if (uri_parse(text, allow_module, &uri, why, sizeof(why))) {
        hold(uri.p11 != NULL && uri.text != NULL);
        hold(allow_module || uri.module_path == NULL);
        read_all(&uri);
        hold(!marks_are_pins(text) || strstr(uri.text, PIN_MARK) == NULL);
        hold(!marks_are_pins(text) || uri.impossible == NULL ||
             strstr(uri.impossible, PIN_MARK) == NULL);
        if (strlen(uri.text) < URI_SHOWN_MAX) { /* else it is cut */
            hold(uri_parse(uri.text, false, &again, why, sizeof(why)));
            hold(again.pin == NULL && again.pin_file == NULL && strcmp(again.text, uri.text) == 0);
            uri_clear(&again);
        }
        uri_default_slot(&uri, 1);
        hold(uri_names_one_token(&uri) || uri.names_token || uri.names_slot);
    } else {
        hold(why[0] != '\0' && strlen(why) < sizeof(why));
        hold(!marks_are_pins(text) || strstr(why, PIN_MARK) == NULL);
        hold(uri.p11 == NULL && uri.pin == NULL);
    }
    uri_clear(&uri);
}

static void shorten(const char *text, size_t size)
{
    char *out = malloc(size);

    uri_shorten(text, out, size);
    hold(strlen(out) < size);
    free(out);
}

static bool same(const CK_ATTRIBUTE *attribute, const void *value, size_t len)
{
    if (len == 0)
        return attribute == NULL || attribute->ulValueLen == 0;
    return attribute != NULL && attribute->ulValueLen == len &&
           memcmp(attribute->pValue, value, len) == 0;
}

static void token_fill(struct input *input, CK_TOKEN_INFO *token)
{
    uint8_t *texts[] = { token->label, token->manufacturerID, token->model, token->serialNumber };
    const size_t sizes[] = { 32, 32, 16, 16 };

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        for (size_t k = 0; k < sizes[i]; k++)
            texts[i][k] = input->len != 0 ? input_byte(input) : ' ';
}

static void format(struct input *input)
{
    CK_TOKEN_INFO token = { .flags = 0 };
    size_t id_len = input_below(input, 40), label_len = input_below(input, 300);
    uint8_t *id = input_copy(input, &id_len, false);
    uint8_t *label = input_copy(input, &label_len, false);
    char *text, *brief, why[512];
    struct uri uri;

    token_fill(input, &token);
    text = uri_format(&token, CKO_PRIVATE_KEY, id, id_len, label, label_len);
    brief = uri_format_short(&token, id, id_len, label, label_len);
    hold(text != NULL && brief != NULL);
    if (!uri_parse(text, false, &uri, why, sizeof(why)))
        hold(strstr(why, "a PIN stands within") != NULL); /* pin-value%3D is the whole of a label */
    hold(uri.p11 == NULL || uri.impossible != NULL ||
         (same(uri_id(&uri), id, id_len) && same(uri_label(&uri), label, label_len)));
    uri_clear(&uri);
    shorten(text, 1 + id_len);
    free(text);
    free(brief);
    free(id);
    free(label);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return setenv("PIN", PIN_MARK, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    uint8_t how = input_byte(&input);
    size_t room = 1 + input_byte(&input), len = input.len;
    char *text;

    if (how % 4 == 3) {
        format(&input);
        return 0;
    }
    text = (char *)input_copy(&input, &len, true);
    parse(text, how % 4 == 1);
    shorten(text, room);
    free(text);
    return 0;
}
