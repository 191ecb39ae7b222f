/*
 * gate.h: the whole contract between the C shim and the Rust library.
 *
 * The shim knows httpd and decides nothing; the library decides and names no symbol of httpd's.
 * bindgen reads this file; src/boundary.rs exports the functions declared here and is checked against it.
 *
 * Conventions
 * - Text is NUL-terminated and need not be UTF-8. NULL means "not there".
 * - "borrowed": valid until the call returns, unless a longer life is written beside it.
 * - "pool": memory that the library took by gate_host.alloc from the pool it was handed.
 * - "counted": the receiver owns one reference and gives it back with the function named.
 * - Functions may be called from any thread after the fork; those under "configuration" only from
 *   the one thread that reads the configuration.
 * - No call unwinds into C. A panic is answered with the fallback written at the function: it
 *   always refuses.
 */
#ifndef GATE_H
#define GATE_H

#include <stddef.h>
#include <stdint.h>

/* What a directive of a section is worth at run time: one slot each, in the order of Rust's directive::Slot. A merge
 * takes the inner section's pointer where it has one. */
#define GATE_SLOTS 13

typedef struct gate_config gate_config;     /* one reading of the configuration */
typedef struct gate_setting gate_setting;   /* one value of a slot; owned by its gate_config */
typedef struct gate_rule gate_rule;         /* one compiled Require line */
typedef struct gate_identity gate_identity; /* who a verified token speaks for; counted */
typedef struct gate_body gate_body;         /* a request's body on its way */
typedef struct gate_process gate_process;   /* what one child has, made after the fork */
typedef struct gate_port gate_port;         /* an open port; owned: gate_port_close gives it back */
typedef struct gate_cut gate_cut;           /* a connection that is cut at its moment; owned: gate_cut_forget */

/* What the library needs of its host. Functions never fail: httpd aborts when memory is out. */
typedef struct gate_host {
    void *(*alloc)(void *pool, size_t size); /* apr_palloc */
    void (*log)(int level, const char *text); /* ap_log_error on the main server; APLOG_ levels */
    int (*stops)(void); /* httpd stops at once, and this child with it; from any thread */
    const char *(*realm)(void *httpd); /* AuthName of a gate_request's section; NULL: none */
    const char *(*id)(void *httpd);    /* its id, mod_unique_id's or made by gate_request_id */
} gate_host;

/* Where in the configuration a directive stands. Borrowed. */
typedef struct gate_place {
    int server;          /* what gate_config_server gave */
    const char *file;    /* configuration file */
    unsigned int line;
    const char *section; /* the section's argument, as "/" of <Location "/">; NULL outside of one */
    const char *container; /* its directive, as "<Location"; NULL outside of one */
    const char *group;   /* what groups the rule, as "<RequireAll"; NULL: nothing does */
    int port;            /* the section is a <GatePort> */
    const gate_setting *previous; /* the slot's value so far in this very section; NULL if none */
} gate_place;

/* GateHeader adds up over sections: the inner section's list comes before the outer's. */
typedef struct gate_chain {
    const gate_setting *own;
    const struct gate_chain *outer;
} gate_chain;

/* A header field. Laid out as apr_table_entry_t, so that a table is read in place. */
typedef struct gate_field {
    const char *name;
    const char *value;
    uint32_t checksum; /* APR's: the first four bytes of the name, without case */
} gate_field;

/* What a gate_edit changes. */
enum gate_edit_kind {
    GATE_EDIT_HEADER,       /* request header `name`: `value`, or gone where value is NULL */
    GATE_EDIT_ARGS,         /* r->args and parsed_uri.query; NULL: no query */
    GATE_EDIT_UNPARSED_URI, /* r->unparsed_uri */
    GATE_EDIT_THE_REQUEST,  /* r->the_request */
    GATE_EDIT_FILENAME      /* r->filename */
};

typedef struct gate_edit {
    int kind; /* enum gate_edit_kind */
    const char *name;
    const char *value;
} gate_edit;

/* A name and a value, for the environment, the upstream's headers and an answer's headers. */
typedef struct gate_pair {
    const char *name;
    const char *value;
} gate_pair;

/* What the library sees of a request. All borrowed. */
typedef struct gate_request {
    void *pool;  /* given back to gate_host.alloc */
    void *httpd; /* given back to gate_host.realm and gate_host.id */
    int gated;   /* AuthType Gate is in force */
    int document;    /* the ErrorDocument of a refusal: served anonymously */
    const char *port_name; /* the <GatePort> that the request is in */
    int server;
    int secure; /* the client's connection is TLS */
    int connect; /* the method is CONNECT, or the request goes through a forward proxy */
    int trace;   /* the method is TRACE */
    int port;    /* a CONNECT that the gate answers itself: the token is the proxy's */
    const gate_field *fields; /* r->headers_in */
    size_t field_count;
    const gate_field *client; /* the first request's headers before the gate took something out; "?" is its query */
    size_t client_count;
    const char *method;
    const char *uri;
    const char *args;
    const char *unparsed_uri;
    const char *the_request;
    const char *filename;
    const char *peer;  /* the client's address */
    const char *client_ip; /* the peer of the TCP connection */
    const char *user;  /* r->user: who another module says it is; NULL: nobody */
    const char *server_name; /* ServerName, never the client's Host */
    int server_port;
    const char *handler; /* as far as it is known already */
    int explain;       /* only asked: `token` is judged, whatever the request holds */
    const char *token; /* NULL: none */
    const gate_setting *const *slots; /* GATE_SLOTS of them */
    const gate_chain *headers;        /* GateHeader, inner section first */
} gate_request;

/* What was decided about a request so far. Each function below that takes one adds to it. */
typedef struct gate_verdict {
    int status; /* 0: the request goes on, with the identity if there is one; else it is answered with this status */
    const gate_pair *answer; /* the answer's headers; pool */
    size_t answer_count;
    const char *content_type; /* of `body`; lives for ever */
    const char *body;         /* pool; NULL: httpd's own */
    const char *line; /* for the error log: written once, then set to NULL; pool */
    int level;        /* APLOG_ level of that line */
    const char *reason; /* why it is refused; lives for ever; NULL: it is not */
    const char *detail; /* pool */
    const char *issuer; /* that a refused token named; pool */
    int observed;       /* it would have been refused, but for GateMode observe */
    gate_identity *identity; /* counted (gate_identity_release); NULL: none */
    const char *user;        /* these live as long as the identity, or are of the pool */
    const gate_pair *environment;
    size_t environment_count;
    const gate_pair *upstream; /* headers to set on the way to the upstream */
    size_t upstream_count;
    const gate_pair *credentials; /* what else is put in for the upstream alone; pool */
    size_t credential_count;
    int guard_body;         /* the body must be looked through (gate_body_new) */
    const gate_edit *edits; /* what must go out of the request now; pool */
    size_t edit_count;
    size_t edited; /* so many of them have been made */
} gate_verdict;

/* The first Require of the gate that was not fulfilled. */
typedef struct gate_denial {
    const char *reason; /* lives for ever; NULL: none */
    const char *detail; /* pool */
    int unknown; /* it can't be said whether the rule holds: refuse, whatever httpd makes of it */
    int nobody;  /* an expression asked for claims, and nobody is known */
} gate_denial;

/* What httpd found out, where a refusal follows from it. */
enum gate_fact {
    GATE_FACT_USER_NEEDED,   /* the rules want a user */
    GATE_FACT_NOT_JUDGED,    /* a gated request comes to its handler and was never looked at */
    GATE_FACT_OWN_HANDLER,   /* the handler is one of the gate, and a refusal was only observed */
    GATE_FACT_BODY,          /* gate_body_passes said no */
    GATE_FACT_UNWATCHED,     /* the end of a connection can not be watched */
    GATE_FACT_CONNECT_H2,    /* CONNECT over HTTP/2 */
    GATE_FACT_NO_PORTS,      /* CONNECT to a server without <GatePort> */
    GATE_FACT_EARLY_BYTES,   /* bytes came before the 200 of a CONNECT */
    GATE_FACT_NO_DESCRIPTOR  /* there is none left for a tunnel */
};

/* A finished request that the gate has decided on, with its final status. Borrowed. */
typedef struct gate_event {
    const gate_setting *const *slots;
    const gate_verdict *verdict;
    int status;
    const char *place; /* the section's argument */
    const char *id;
    const char *method;
    const char *path; /* without the query; NULL: a CONNECT, to `port` of `host` */
    const char *host;
    int port;
    const char *protocol; /* HTTP/1.1 */
    const char *agent;    /* User-Agent */
    const char *peer;     /* the client's address */
    int peer_port;
    int64_t time;     /* when it came, microseconds since the epoch */
    int64_t duration; /* microseconds */
} gate_event;

/* An open port. */
typedef struct gate_opening {
    gate_port *port;     /* NULL: refused, as the verdict says */
    int target;          /* the socket to the target, connected, non-blocking; the port's */
    const char *expires; /* Gate-Expires: seconds since the epoch; pool */
    const char *line;    /* for the error log; pool */
} gate_opening;

/* What was found out about a request that was only asked about. Borrowed. */
typedef struct gate_explained {
    const char *server;  /* which one would answer */
    const char *method;
    const char *path;
    const char *peer;
    const char *place;   /* the section's argument */
    const char *handler;
    const char *forward; /* the URL that it would be forwarded to; NULL: none */
    int gated;           /* AuthType Gate is in force */
    int status;          /* httpd's: 200 where it would be served */
    const char *checks; /* gate_explain_token's */
    const char *port;   /* gate_explain_port's */
    const gate_verdict *verdict; /* NULL: none */
    const gate_pair *rules; /* Require lines of the gate's, and what was missing; "" held */
    size_t rule_count;
} gate_explained;

/* --- configuration --------------------------------------------------------------------------- */

/* A new, empty configuration. `host` is copied. NULL: memory. */
gate_config *gate_config_new(const gate_host *host);
void gate_config_free(gate_config *config);

/* A server or virtual host; the number is its place. Fallback: -1, which every directive refuses. */
int gate_config_server(gate_config *config, int is_virtual);

/* A directive outside of <GateIssuer>. `*slot` gets the new value where the directive has a slot or
 * is GateHeader. Returns NULL, or what is wrong (lives as long as the configuration). */
const char *gate_directive(gate_config *config, const gate_place *place, const char *name,
                           int argc, const char *const *argv, const gate_setting **slot);
/* The slot of a directive; -1: it has none. Fallback: -2, which is an error at start. */
int gate_directive_slot(const char *name);

/* <GateIssuer name> … </GateIssuer>. Errors as above; where a line of the section is to blame,
 * `*line` is its number. */
const char *gate_issuer_open(gate_config *config, const gate_place *place, const char *name);
const char *gate_issuer_directive(gate_config *config, const gate_place *place, const char *name,
                                  int argc, const char *const *argv);
const char *gate_issuer_close(gate_config *config, const gate_place *place, unsigned int *line);

/* The arguments of `Require gate-role …`, `gate-claim …`, `gate-issuer …`. NULL and `*error` (pool),
 * or a rule to be freed. From any thread: httpd reads .htaccess files while it serves. */
gate_rule *gate_rule_new(const gate_config *config, const char *provider, int argc,
                         const char *const *argv, void *pool, const char **error);
void gate_rule_free(gate_rule *rule);

/* What a section holds: kept for gate_config_check. Never for a .htaccess file. */
void gate_note_rule(gate_config *config, const gate_place *place, const gate_rule *rule);
/* The same for httpd's own AuthType, Require and SetHandler. */
void gate_note(gate_config *config, const gate_place *place, const char *directive, const char *arguments);

/* Checks the whole, and logs what is wrong. `has_authz`: mod_authn_core and mod_authz_core are loaded. The number
 * of errors. Fallback: 1. */
int gate_config_check(gate_config *config, int has_authz);

/* Whether some place adds to what the upstream gets beside the identity: a credential, Sudo, an assertion, a
 * login. Where none does, gate_upstream has nothing to say. Fallback: 1. */
int gate_config_has_upstream(const gate_config *config);

/* GateAuditLog's words, as written; NULL: there is none. Live as long as the config. Fallback: "", which is
 * an error at start. */
const char *gate_config_audit_log(const gate_config *config);
/* The log is open for appending: to a file at `path`, or to a program (`path` NULL). Writes down
 * that the gate starts. The descriptor must stay open as long as the configuration and the
 * children live. 0, or what stands against a start has been said by the log. Fallback: 1. */
int gate_audit_open(gate_config *config, int descriptor, const char *path);
/* The configuration goes: `stopping`, or it is read anew. Only by the process that opened. */
void gate_audit_close(gate_config *config, int stopping);

/* NAME:PORT as sections and requests are compared: the name in small letters. NULL: it is none.
 * Pool. */
const char *gate_port_name(const gate_config *config, const char *text, void *pool);

/* The state directory that GateStateDir names; NULL: the default. Lives as long as the config. */
const char *gate_config_state_dir(const gate_config *config);
/* The state directory's whole path, which the configuration keeps; NULL: that is no path. It is looked at; with `make`
 * it is made too, and given to the run user. 0, or what stands against a start has been logged. Fallback: 1. */
int gate_state_dir(gate_config *config, const char *path, uint32_t user, uint32_t group, int make);

/* --- a child --------------------------------------------------------------------------------- */

/* Starts the threads. Borrows the configuration for the process's life. NULL: refuse everything. */
gate_process *gate_child_start(const gate_config *config);
/* Ends the threads, in a thread of its own: safe in a signal's handler. 0: not within 2.5 s, as where the handler
 * interrupted who holds a lock that is needed for it. Fallback: 1. */
int gate_child_stop(gate_process *process);

/* The server stops at once: no request waits for keys any more. Takes locks: not in a signal's handler. */
void gate_child_stopping(gate_process *process);

/* What all children share: counters, open ports, who waits for keys; made in the parent, once, before the first fork. */
void gate_ports_prepare(void);
/* How many requests the server can work on at once: GateMaxOpenTotal's default is half of it, and who may
 * wait for keys a part. */
void gate_ports_workers(gate_process *process, int workers);

/* --- a request ------------------------------------------------------------------------------- */

/* The first field at or after `from` that a client must not send; `count` if there is none. */
size_t gate_next_spoofed(const gate_config *config, const gate_field *fields, size_t count,
                         size_t from);
/* `Connection` without the names that the gate sets; NULL: it names none of them. Pool. */
const char *gate_connection_without(const gate_config *config, const char *value, void *pool);

/* Whether some place takes tokens from the query. Where none does, the next two have nothing to say.
 * Fallback: 1. */
int gate_reads_query(const gate_config *config);
/* Of the verdict the edits alone: no parameter that carries tokens somewhere stays where a log finds it. Fallback:
 * nothing of the target does. */
void gate_unlog(const gate_config *config, const gate_request *request, gate_verdict *verdict);
/* `Referer` without such parameters; NULL: it holds none. Pool. Fallback: "". */
const char *gate_referer(const gate_config *config, const char *value, void *pool);

/* A new id for a request that mod_unique_id gave none. Pool. */
const char *gate_request_id(const gate_config *config, void *pool);

/* Looks for a token, verifies it, says who it is. `process` NULL: the gate did not start in this child. Fallback:
 * refused, and every header that may hold a credential goes. */
void gate_judge(gate_process *process, const gate_request *request, gate_verdict *verdict);
/* httpd's rules have been asked and answered with `status`, a Require of the gate with `denial`. 0: that answer
 * stands; 1: the verdict has another. */
int gate_rules(const gate_request *request, int status, const gate_denial *denial, gate_verdict *verdict);
/* The last word before the handler: what goes on to the upstream beside the identity (credentials, and whether the body
 * is guarded), and what of the client must go (edits). Where mod_proxy will send the request (`proxied`): whether the
 * upstream would see another place than httpd, and whether the section's credential may go to that path. */
void gate_upstream(gate_process *process, const gate_request *request, int proxied, gate_verdict *verdict);
/* A refusal, as it follows from what httpd found out. */
void gate_refuse(const gate_request *request, enum gate_fact fact, gate_verdict *verdict);
/* Of these four: fallback refused, status 500. */

/* A body of that type and Content-Encoding (NULL: none was said), of a POST or of another method. NULL: memory,
 * and nothing may pass. */
gate_body *gate_body_new(const char *content_type, const char *coding, int post);
/* 1: these next bytes may go on; `data` NULL: the body may end here. Fallback: 0. */
int gate_body_passes(gate_body *body, const char *data, size_t length);
void gate_body_free(gate_body *body);

/* `SetHandler gate-…`: what the handler answers; status 404 where there is no such handler. Fallback: as above. */
void gate_handle(gate_process *process, const gate_request *request, const char *handler, gate_verdict *verdict);

/* Writes a finished request down. Never waits for the disk. */
void gate_audit(gate_process *process, const gate_event *event);

/* Each check of the token that `request` is asked about: a JSON object. NULL: there is no token. Pool. */
const char *gate_explain_token(gate_process *process, const gate_request *request);
/* What would become of the wish for the request's port: a JSON object; nobody outside is asked. Where it would be
 * refused the verdict says so. NULL: it can't be said. Pool. */
const char *gate_explain_port(gate_process *process, const gate_request *request, gate_verdict *verdict);
/* The whole answer as JSON. NULL: it can't be said. Pool. */
const char *gate_explain(const gate_explained *explained, void *pool);

/* Whether the rule holds. Where it does not `denial` says why, and what was wanted and what came. `negated`: httpd may
 * turn the answer round, and what can't be said refuses all the same. Fallback: 0, and unknown. */
int gate_rule_holds(const gate_config *config, const gate_rule *rule, int negated, const gate_identity *identity,
                    void *pool, gate_denial *denial);

/* A claim as text for gate_claim(); arrays joined by commas; "" where it is missing. Pool. Where its value can't be
 * said, `denial` becomes unknown. Fallback: as above. */
const char *gate_identity_claim(const gate_config *config, const gate_identity *identity,
                                const char *path, void *pool, gate_denial *denial);
/* The items of a claim (path given) or the roles (path NULL): how many; `*items` is of the pool.
 * `denial` as above. */
size_t gate_identity_list(const gate_config *config, const gate_identity *identity,
                          const char *path, void *pool, const char *const **items,
                          gate_denial *denial);
/* What is wrong with a claim's path; NULL: nothing. Pool. */
const char *gate_claim_path_wrong(const char *path, void *pool);
void gate_identity_release(gate_identity *identity);

/* --- a port ---------------------------------------------------------------------------------- */

/* Asks for the request's port: who it is, limits, the job, the target's address, the connection. Blocks, for some
 * seconds at most. The threads that it starts inherit the caller's signal mask: block all. Fallback: refused. */
void gate_port_open(gate_process *process, const gate_request *request, gate_opening *opening, gate_verdict *verdict);

/* NULL: the port stays open, and should be asked for again within `*wait` milliseconds; else the
 * reason for its close, which lives for ever. `moved`: bytes both ways so far. Fallback: a reason. */
const char *gate_port_check(gate_port *port, uint64_t moved, int stopping, int *wait);

/* Closes the target's socket and gives the port back. The line for the error log; pool. */
const char *gate_port_close(gate_port *port, const char *reason, uint64_t sent, uint64_t received,
                            void *pool);

/* A WebSocket in an ordinary section: the connection `socket` is cut when GateLifetime says so.
 * The descriptor is duplicated. NULL: nothing is to be cut, or it could not be watched (then
 * `*failed` is 1 and the request is refused). */
gate_cut *gate_cut_at(gate_process *process, const gate_request *request,
                      const gate_identity *identity, int socket, int *failed);
/* 1: its moment has come, and the socket has been shut down or is about to be. Fallback: 1. */
int gate_cut_fired(const gate_cut *cut);
void gate_cut_forget(gate_cut *cut);

#endif
