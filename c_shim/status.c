/* status.c: `SetHandler gate-status`. What it shows is made in Rust (src/status.rs). */
#include "shim.h"

int shim_status(request_rec *r)
{
    const char *type = NULL, *text;

    if (r->method_number != M_GET) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    text = shim_process ? gate_status(shim_process, r->args, r->pool, &type) : NULL;
    if (!text) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_content_type(r, type);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    ap_set_content_length(r, (apr_off_t) strlen(text));
    ap_rputs(text, r);
    return OK;
}
