/* What to write in the configuration of the server that was named: docs/applications.md, where its
 * version was tried. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/environment.h"
#include "base/scope.h"
#include "cli/child.h"
#include "cli/doctor.h"
#include "cli/say.h"

struct server {
    const char *name;
    const char *programs[2]; /* what it is called; NULL: it has one name */
    const char *option;      /* with which it says its version */
    unsigned least[3];       /* the first that was seen to take a URI; 0: none does */
    const char *uri_line;    /* of its configuration, with a URI for %s */
    const char *pem_line;    /* the same with a file */
};

static const struct server servers[] = {
    { "apache",
      { "apache2", "httpd" },
      "-v",
      { 2, 4, 0 },
      "SSLCertificateKeyFile \"%s\"",
      "SSLCertificateKeyFile \"%s\"" },
    { "dovecot",
      { "dovecot" },
      "--version",
      { 0 },
      NULL,
      "ssl_key = <%s (from 2.4 on: ssl_server_key_file = the same without <)" },
    { "haproxy",
      { "haproxy" },
      "-v",
      { 0 },
      NULL,
      "crt /path/of/certificate.pem, and the key beside it: mv '%s' /path/of/certificate.pem.key" },
    { "lighttpd",
      { "lighttpd" },
      "-v",
      { 1, 4, 85 },
      "ssl.privkey = \"%s\"",
      "ssl.privkey = \"%s\"" },
    { "nginx",
      { "nginx" },
      "-v",
      { 1, 30, 0 },
      "ssl_certificate_key \"store:%s\";",
      "ssl_certificate_key %s;" },
    { "postfix", { "postconf" }, "mail_version", { 0 }, NULL, "smtpd_tls_key_file = %s" },
    { "stunnel", { "stunnel4", "stunnel" }, "-version", { 5, 82, 0 }, "key = %s", "key = %s" },
};

static const struct server *find(const char *name)
{
    for (size_t i = 0; i < COUNT(servers); i++)
        if (strcmp(servers[i].name, name) == 0)
            return &servers[i];
    return NULL;
}

bool doctor_knows_server(const char *name)
{
    if (find(name) != NULL)
        return true;
    complain("--server %s: known are apache, dovecot, haproxy, lighttpd, nginx, postfix, stunnel",
             name);
    return false;
}

/* "1.30.0": up to three numbers with dots between; false where there are not two. */
static bool read_numbers(const char *text, unsigned version[3])
{
    unsigned count = 0;
    char *end = NULL;

    version[2] = 0;
    while (count < 3 && text[0] >= '0' && text[0] <= '9') {
        version[count++] = (unsigned)strtoul(text, &end, 10);
        text = *end == '.' ? end + 1 : end;
        if (*end != '.')
            break;
    }
    return count >= 2;
}

/* The first such numbers in what the program says. */
static bool read_version(const char *text, unsigned version[3])
{
    while (*text != '\0') {
        if (read_numbers(text, version))
            return true;
        while (*text >= '0' && *text <= '9')
            text++;
        text += *text != '\0';
    }
    return false;
}

/* In the child: whichever of the names there is. */
static int say_version(const void *arg, int out)
{
    const struct server *server = arg;
    const char *path = environment("PATH");
    char all[4096];

    (void)snprintf(all, sizeof(all), "%s:/usr/sbin:/usr/local/sbin",
                   path != NULL ? path : "/usr/bin");
    if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0 || setenv("PATH", all, 1) != 0)
        return 1;
    for (size_t i = 0; i < COUNT(server->programs) && server->programs[i] != NULL; i++)
        (void)execlp(server->programs[i], server->programs[i], server->option, (char *)NULL);
    return 1;
}

static bool ask_version(const struct server *server, unsigned version[3])
{
    char text[4096];

    return child_run(say_version, server, text, sizeof(text)) && read_version(text, version);
}

static bool takes_uri(const struct server *server, const unsigned version[3])
{
    for (size_t i = 0; i < COUNT(server->least); i++)
        if (version[i] != server->least[i])
            return server->least[0] != 0 && version[i] > server->least[i];
    return true;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void write_line(const char *format, const char *value, char *out, size_t size)
{
    (void)snprintf(out, size, format, value);
}
#pragma GCC diagnostic pop

bool doctor_server(struct doctor *doctor)
{
    const struct server *server = doctor->server != NULL ? find(doctor->server) : NULL;
    unsigned version[3] = { 0, 0, 0 };
    char line[2048], file[512];
    bool there;

    if (server == NULL || doctor->key == NULL)
        return true;
    there = ask_version(server, version);
    (void)snprintf(file, sizeof(file), "/etc/ssl/private/%s.key", server->name);
    if (there && takes_uri(server, version)) {
        found(doctor, WELL, "server", "%s %u.%u.%u takes a URI in the place of a key's file",
              server->name, version[0], version[1], version[2]);
        write_line(server->uri_line, doctor->key, line, sizeof(line));
    } else {
        found(doctor, there ? WELL : NOTED, "server", "%s %s, and gets the URI in a PEM file",
              server->name,
              !there                  ? "is not installed here"
              : server->least[0] != 0 ? "takes a URI in later versions only"
                                      : "reads keys from files only");
        advise_run(doctor, "pkcs11-bridge pem '%s' --out %s", doctor->key, file);
        write_line(server->pem_line, file, line, sizeof(line));
    }
    advise(doctor, "in its configuration: %s", line);
    return true;
}
