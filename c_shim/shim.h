/* shim.h: what the C files of the shim share. The contract with Rust is gate.h. */
#ifndef GATE_SHIM_H
#define GATE_SHIM_H

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "ap_expr.h"
#include "mod_auth.h"
#include "apr_strings.h"

#include "gate.h"

#define GATE_AUTH_TYPE "Gate"

extern module AP_MODULE_DECLARE_DATA gitlab_gate_module;
APLOG_USE_MODULE(gitlab_gate);

/* What holds for all servers of a configuration. */
typedef struct shim_whole {
    int sealed;   /* it has been read. Later, .htaccess files are read by many threads at once */
    int ports;    /* some server has a <GatePort> */
    int upstream; /* some place adds to what the upstream gets beside the identity */
    int query;    /* some place takes tokens from the query */
} shim_whole;

/* A server's configuration: its place in the library's. */
typedef struct shim_server {
    gate_config *config;
    int index;
    int audit;              /* the audit log's descriptor; -1: none. The main server's */
    const char *audit_path; /* NULL: a program reads it */
    apr_array_header_t *ports;           /* of shim_port, its own */
    const struct shim_server *inherited; /* a virtual host's main server */
    shim_whole *whole;
} shim_server;

/* A <GatePort>. */
typedef struct shim_port {
    const char *name;
    ap_conf_vector_t *config;
} shim_port;

/* A section's. */
typedef struct shim_dir {
    const char *section;
    const char *rule;   /* the innermost of those with a Require */
    const char *gate;   /* the innermost of those with an AuthType */
    int has_require; /* a Require stands here or in a section that this one was merged with */
    const gate_setting *slot[GATE_SLOTS];
    const gate_chain *headers;
    const char *port; /* NAME:PORT of the <GatePort> that this is */
} shim_dir;

/* A question about a request that nobody sent (SetHandler gate-explain). */
typedef struct shim_question {
    const char *token;
    const char *checks;
    const char *port; /* NAME:PORT of a CONNECT, as it was written */
    apr_array_header_t *rules; /* of gate_pair */
} shim_question;

/* What is known of one request. Lives in its pool. */
typedef struct shim_state {
    const ap_conf_vector_t *judged_for; /* the section that the verdict is about; NULL: it was not judged */
    int gated;               /* AuthType Gate is in force there */
    int nested;              /* httpd's rules are being asked */
    apr_table_t *client;     /* of the first request: its headers and query before the gate took something out */
    gate_verdict verdict;    /* what was decided so far */
    gate_denial denied;      /* by the Require that failed first */
    const char *id;
    shim_question *question; /* the request asks about another: that is its sub-request */
    int audited;             /* its decision has been written down already, as a port's opening */
} shim_state;

#define SHIM_SERVER(s) ((shim_server *) ap_get_module_config((s)->module_config, &gitlab_gate_module))
#define SHIM_DIR(r) ((shim_dir *) ap_get_module_config((r)->per_dir_config, &gitlab_gate_module))
#define SHIM_STATE(r) ((shim_state *) ap_get_module_config((r)->request_config, &gitlab_gate_module))

/* conf.c */
extern const command_rec shim_commands[];
void *shim_create_server(apr_pool_t *pool, server_rec *server);
void *shim_merge_server(apr_pool_t *pool, void *base, void *add);
void *shim_create_dir(apr_pool_t *pool, char *section);
void *shim_merge_dir(apr_pool_t *pool, void *base, void *add);
/* Where a directive stands; 0: in a .htaccess file, which the library is not told of. */
int shim_place_of(cmd_parms *cmd, const shim_dir *dir, gate_place *place);
/* Why a directive of ours may not stand where it stands; NULL: it may. */
const char *shim_no_place(cmd_parms *cmd);

/* state.c */
extern gate_process *shim_process; /* this child's; NULL in the parent */
extern server_rec *shim_log_server; /* whose log takes the library's lines; NULL: stderr */
shim_state *shim_state_of(request_rec *r);
shim_state *shim_origin_of(request_rec *r);
shim_question *shim_question_of(request_rec *r);
int shim_is_port(request_rec *r);

/* port.c */
const char *shim_port_section(cmd_parms *cmd, void *dir_config, const char *line);
int shim_port_translate(request_rec *r);
int shim_port_storage(request_rec *r);
int shim_port_place(request_rec *r);

/* tunnel.c */
int shim_tunnel(request_rec *r);

/* stopping.c */
void shim_watch_stop(apr_pool_t *pchild);
void shim_child_stopping(apr_pool_t *pchild, int graceful);
int shim_stops_at_once(void);
/* A clock that nobody sets. */
apr_time_t shim_ticks(void);
/* `looked`: 0 at first; the caller keeps it. */
int shim_server_stops(apr_time_t *looked);

/* start.c */
int shim_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server);
int shim_open_audit_log(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server);
int shim_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server);
void shim_child_init(apr_pool_t *pchild, server_rec *server);
void shim_start_again(void);

/* request.c */
int shim_clean(request_rec *r);
int shim_is_gated(request_rec *r);
void shim_strip_spoofed(request_rec *r, apr_table_t *table);
int shim_access(request_rec *r);
int shim_rules(request_rec *r);
void shim_name_user(request_rec *r, const shim_state *state);
int shim_fixups(request_rec *r);
int shim_before_handler(request_rec *r);

/* cache.c */
void shim_keep_out_of_caches(request_rec *r);

/* document.c */
int shim_is_document(request_rec *r);
void shim_begin_document(request_rec *r);
void shim_clean_part(request_rec *r);
void shim_end_document(request_rec *r);

/* unlog.c */
void shim_clean_referer(request_rec *r);
int shim_forget(request_rec *r);

/* edits.c */
request_rec *shim_first_of(request_rec *r);
void shim_apply_edits(request_rec *r, gate_verdict *verdict);

/* upstream.c */
int shim_to_upstream(request_rec *r);
void shim_register_upstream(void);

/* cut.c */
/* 0: the connection should have an end, and can't be given one. */
int shim_limit_upgrade(request_rec *r, const shim_state *state);
void shim_register_cut(void);

/* body.c */
void shim_guard_body(request_rec *r);
void shim_register_body_guard(void);

/* trailers.c */
void shim_hold_back_trailers(request_rec *r);
void shim_register_trailers(void);

/* handlers.c */
void shim_choose_handler(request_rec *r);
int shim_handle(request_rec *r);
int shim_handler_refuses(request_rec *r);

/* answer.c */
/* What was decided is carried out: the log line, what must go out of the request, and a refusal: its status, else OK. */
int shim_carry_out(request_rec *r);
int shim_refuse(request_rec *r, enum gate_fact fact);
void shim_register_filters(void);
/* Whether the request's own answer is what a part of it was refused with; then it carries that refusal's headers. */
int shim_was_denied_by_part(request_rec *r);
void shim_say_part_s(request_rec *r);
void shim_begin_part_s_document(request_rec *r);
void shim_forget_part(request_rec *r);
void shim_insert_error_filter(request_rec *r);
const char *shim_id_of(request_rec *r);
void shim_view(request_rec *r, gate_request *view);

/* audit.c */
int shim_log_transaction(request_rec *r);
/* A sub-request has no log_transaction of its own. */
void shim_audit_sub(request_rec *r);

/* explain.c */
int shim_explain(request_rec *r);
const char *shim_explained(request_rec *r, const char *method, const char *path, const char *peer, const char *token,
                           int *status);
/* explain_offline.c */
void shim_test_config(apr_pool_t *pconf, server_rec *server);
int shim_explain_begin(request_rec *r);
int shim_explain_place(request_rec *r);

/* authz.c */
void shim_register_authz(apr_pool_t *pool);
int shim_is_negated(cmd_parms *cmd);
int shim_expr_lookup(ap_expr_lookup_parms *parms);

#endif
