/*
 * mod_gitlab_gate.c: the module record and the hooks, in the order in which httpd runs them.
 * Read it as a contents page; what happens in each stands in the file named beside it.
 */
#include "shim.h"
#include "mpm_common.h"

static void register_hooks(apr_pool_t *pool)
{
    /* Another module's filter or setting may not see a header that the gate would have removed:
     * before everything else, mod_headers' and mod_setenvif's early work included. */
    static const char *const before_all[] = {
        "mod_setenvif.c", "mod_headers.c", "mod_remoteip.c", "mod_unique_id.c", NULL
    };
    /* The status and headers of a denial are the gate's, so it wraps mod_authz_core. */
    static const char *const before_authz[] = {"mod_authz_core.c", "mod_authn_core.c", NULL};

    static const char *const before_proxy[] = {"mod_proxy.c", NULL};
    static const char *const before_upgrade[] = {"core.c", "mod_http2.c", NULL};

    /* start */
    ap_hook_check_config(shim_check_config, NULL, NULL, APR_HOOK_MIDDLE);       /* start.c */
    ap_hook_test_config(shim_test_config, NULL, NULL, APR_HOOK_REALLY_LAST);    /* explain_offline.c */
    ap_hook_open_logs(shim_open_audit_log, NULL, NULL, APR_HOOK_MIDDLE);        /* start.c */
    ap_hook_post_config(shim_post_config, NULL, NULL, APR_HOOK_MIDDLE);         /* start.c */
    ap_hook_child_init(shim_child_init, NULL, NULL, APR_HOOK_MIDDLE);           /* start.c */
    ap_hook_child_stopping(shim_child_stopping, NULL, NULL, APR_HOOK_FIRST);    /* stopping.c */

    /* request */
    ap_hook_post_read_request(shim_clean, NULL, before_all, APR_HOOK_REALLY_FIRST); /* request.c */
    ap_hook_pre_translate_name(shim_explain_begin, NULL, NULL, APR_HOOK_REALLY_FIRST); /* explain.c */
    ap_hook_translate_name(shim_port_translate, NULL, NULL, APR_HOOK_REALLY_FIRST); /* port.c */
    ap_hook_map_to_storage(shim_port_storage, NULL, NULL, APR_HOOK_REALLY_FIRST); /* port.c */
    /* Last, so that a <GatePort> wins over every other section. */
    ap_hook_post_perdir_config(shim_port_place, NULL, NULL, APR_HOOK_REALLY_LAST); /* port.c */
    ap_hook_post_perdir_config(shim_explain_place, NULL, NULL, APR_HOOK_REALLY_LAST + 1); /* explain.c */
    ap_hook_check_access(shim_access, NULL, NULL, APR_HOOK_FIRST,
                         AP_AUTH_INTERNAL_PER_CONF);                            /* request.c */
    ap_hook_check_access_ex(shim_rules, NULL, before_authz, APR_HOOK_FIRST,
                            AP_AUTH_INTERNAL_PER_CONF);                         /* request.c */
    /* First, so that mod_headers' RequestHeader sees and may edit what the gate has set. */
    ap_hook_fixups(shim_fixups, NULL, NULL, APR_HOOK_REALLY_FIRST);             /* request.c */

    ap_hook_handler(shim_before_handler, NULL, before_upgrade, APR_HOOK_REALLY_FIRST - 1); /* request.c */
    /* Before mod_proxy, which takes CONNECT where ProxyRequests is on. */
    ap_hook_handler(shim_tunnel, NULL, NULL, APR_HOOK_REALLY_FIRST);            /* tunnel.c */
    /* Before mod_proxy, which would take every request that a ProxyPass covers. */
    ap_hook_handler(shim_handle, NULL, before_proxy, APR_HOOK_REALLY_FIRST);    /* handlers.c */
    /* Before mod_log_config. */
    ap_hook_log_transaction(shim_forget, NULL, NULL, APR_HOOK_REALLY_FIRST);    /* unlog.c */

    /* answer */
    ap_hook_insert_error_filter(shim_insert_error_filter, NULL, NULL, APR_HOOK_LAST); /* answer.c */
    shim_register_filters();
    shim_register_body_guard();                                                 /* body.c */
    shim_register_trailers();                                                   /* trailers.c */
    shim_register_upstream();                                                   /* upstream.c */
    shim_register_cut();                                                        /* cut.c */
    ap_hook_log_transaction(shim_log_transaction, NULL, NULL, APR_HOOK_MIDDLE); /* audit.c */

    /* Require gate-…, gate_claim() */
    shim_register_authz(pool);                                                  /* authz.c */
    ap_hook_expr_lookup(shim_expr_lookup, NULL, NULL, APR_HOOK_MIDDLE);         /* authz.c */
}

module AP_MODULE_DECLARE_DATA gitlab_gate_module = {
    STANDARD20_MODULE_STUFF,
    shim_create_dir,
    shim_merge_dir,
    shim_create_server,
    shim_merge_server,
    shim_commands,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
