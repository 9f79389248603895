#include "seed.h"

static const char *const features[] = { "NO_PUBLIC_OBJECTS", "PUBLIC_KEY_INFO",
                                        "NO_RAW_RSA",        "ALWAYS_AUTHENTICATE",
                                        "TWO_TOKENS",        "TWINS",
                                        "NO_LOGIN",          "CANNOT_LOCK" };

static const char *const function_names[FUNCTIONS] = {
#define F(name, parameters, arguments) [INDEX_##name] = #name,
#include "functions.h"
#undef F
    [INDEX_C_GetFunctionList] = "C_GetFunctionList",
#define F(name, place, parameters, arguments) [INDEX_##name] = #name,
#include "functions_3.h"
#undef F
    [INDEX_C_GetInterface] = "C_GetInterface",
};

#define KIND(name) [name] = #name
static const char *const kinds[LIE_KINDS] = {
    KIND(HONEST),    KIND(ANSWER),   KIND(ANSWER_AFTER), KIND(LENGTH),    KIND(CONTENT),
    KIND(FLIP),      KIND(FILL),     KIND(EMPTY),        KIND(NOT_THERE), KIND(TYPE),
    KIND(MISSING),   KIND(EXCHANGE), KIND(REMOVE),       KIND(DROP),      KIND(LOGOUT),
    KIND(FINALIZED), KIND(RENUMBER), KIND(CALL_BACK),
};

static const char *feature_name(unsigned number)
{
    return number < COUNT_OF(features) ? features[number] : NULL;
}

static const char *function_name(unsigned number)
{
    return number < FUNCTIONS ? function_names[number] : NULL;
}

static const char *kind_name(unsigned number)
{
    return number < LIE_KINDS ? kinds[number] : NULL;
}

static uint8_t named(const char *word, const char *(*name)(unsigned number))
{
    unsigned number = 0;

    while (name(number) != NULL && strcmp(name(number), word) != 0)
        number++;
    if (name(number) == NULL)
        (void)fprintf(stderr, "no such word in a seed: %s\n", word);
    hold(name(number) != NULL);
    return (uint8_t)number;
}

static uint8_t number_of(const char *word)
{
    char *end;
    unsigned long number = strtoul(word, &end, 10);

    hold(end != word && *end == '\0' && number <= 0xff);
    return (uint8_t)number;
}

static uint8_t call_of(const char *word)
{
    return strcmp(word, "*") == 0 ? ALL : number_of(word);
}

static uint8_t which_of(const char *word)
{
    return *word >= 'A' ? (uint8_t)(BY_TYPE + named(word, lie_type_name)) : call_of(word);
}

/* What is being written. */
struct seed {
    uint8_t *out;
    size_t room, len; /* len: with the content */
    unsigned doings, lies;
};

static void read_token(struct seed *seed, char **words, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        seed->out[0] |= (uint8_t)(1u << named(words[i], feature_name));
}

static void read_world(struct seed *seed, char **words, unsigned count)
{
    hold(count == 1);
    seed->out[1] |= (uint8_t)(number_of(words[0]) * 2);
}

static void read_threads(struct seed *seed, char **words, unsigned count)
{
    hold(count == 1 && number_of(words[0]) == 2);
    seed->out[1] |= 1;
}

static void read_doing(struct seed *seed, char **words, unsigned count)
{
    uint8_t *doing = seed->out + TODO_AT + seed->doings++ * DOING_LEN;

    hold(count == 2 && seed->doings <= DOINGS);
    doing[0] = strcmp(words[0], "-") == 0 ? NO_DOING : named(words[0], doing_name);
    doing[1] = number_of(words[1]);
}

static void read_lie(struct seed *seed, char **words, unsigned count)
{
    uint8_t *lie = seed->out + LIES_AT + seed->lies++ * LIE_LEN;

    hold(count == 5 && seed->lies <= LIES);
    lie[0] = named(words[0], function_name);
    lie[1] = call_of(words[1]);
    lie[2] = named(words[2], kind_name);
    lie[3] = number_of(words[3]);
    lie[4] = which_of(words[4]);
}

static void read_content(struct seed *seed, char **words, unsigned count)
{
    unsigned byte;

    hold(count == 1 && strlen(words[0]) % 2 == 0);
    for (const char *hex = words[0]; *hex != '\0'; hex += 2) {
        hold(seed->len < seed->room && sscanf(hex, "%2x", &byte) == 1);
        seed->out[seed->len++] = (uint8_t)byte;
    }
}

static const struct {
    const char *name;
    void (*read)(struct seed *seed, char **words, unsigned count);
} lines[] = {
    { "token", read_token }, { "world", read_world }, { "threads", read_threads },
    { "do", read_doing },    { "lie", read_lie },     { "content", read_content },
};

static void read_line(struct seed *seed, char *line)
{
    char *words[16], *rest = NULL;
    unsigned count = 0;
    size_t i = 0;

    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        hold(count < COUNT_OF(words));
        words[count++] = word;
    }
    hold(count != 0);
    while (i < COUNT_OF(lines) && strcmp(lines[i].name, words[0]) != 0)
        i++;
    hold(i < COUNT_OF(lines));
    lines[i].read(seed, words + 1, count - 1);
}

size_t seed_bytes(const uint8_t *data, size_t size, uint8_t *out, size_t room)
{
    static const char head[] = "token";
    struct seed seed = { .out = out, .room = room, .len = CONTENT_AT };
    char *text, *rest = NULL;

    if (size < sizeof(head) || memcmp(data, head, sizeof(head) - 1) != 0)
        return 0;
    hold(room >= CONTENT_AT);
    memset(out, 0, CONTENT_AT);
    for (unsigned i = 0; i < DOINGS; i++)
        out[TODO_AT + i * DOING_LEN] = NO_DOING;
    text = strndup((const char *)data, size);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        read_line(&seed, line);
    free(text);
    return seed.len;
}

static void tell_number(uint8_t number)
{
    if (number >= ALL)
        (void)fprintf(stderr, " *");
    else
        (void)fprintf(stderr, " %u", number);
}

static void tell_lie(const uint8_t *lie)
{
    const char *type = lie[4] >= BY_TYPE ? lie_type_name(lie[4] - BY_TYPE) : NULL;

    if (lie[2] % LIE_KINDS == HONEST)
        return;
    (void)fprintf(stderr, "lie %s", function_names[lie[0] % FUNCTIONS]);
    tell_number(lie[1]);
    (void)fprintf(stderr, " %s %u", kinds[lie[2] % LIE_KINDS], lie[3]);
    if (type != NULL)
        (void)fprintf(stderr, " %s", type);
    else
        tell_number(lie[4]);
    (void)fprintf(stderr, "\n");
}

static void tell_doing(const uint8_t *doing)
{
    unsigned count = 0;

    while (doing_name(count) != NULL)
        count++;
    if (doing[0] == NO_DOING)
        (void)fprintf(stderr, "do - 0\n");
    else
        (void)fprintf(stderr, "do %s %u\n", doing_name(doing[0] % count), doing[1]);
}

void seed_tell(const uint8_t *data, size_t size)
{
    (void)fprintf(stderr, "token");
    for (unsigned i = 0; i < COUNT_OF(features); i++)
        if ((data[0] >> i & 1) != 0)
            (void)fprintf(stderr, " %s", features[i]);
    (void)fprintf(stderr, "\nworld %u\n%s", data[1] / 2, data[1] % 2 != 0 ? "threads 2\n" : "");
    for (unsigned i = 0; i < DOINGS; i++)
        tell_doing(data + TODO_AT + i * DOING_LEN);
    for (unsigned i = 0; i < LIES; i++)
        tell_lie(data + LIES_AT + i * LIE_LEN);
    if (size > CONTENT_AT)
        (void)fprintf(stderr, "content ");
    for (size_t i = CONTENT_AT; i < size; i++)
        (void)fprintf(stderr, "%02x", data[i]);
    (void)fprintf(stderr, size > CONTENT_AT ? "\n" : "");
}
