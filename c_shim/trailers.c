/* trailers.c: what a client sends after its body. httpd does not merge that into the headers (GATE208), but
 * mod_proxy_http2 sends it on: there it is no way to be somebody. */
#include "shim.h"
#include "util_filter.h"

static ap_filter_rec_t *trailers_filter;

/* httpd has the trailers once the end of the body has been read. */
static apr_status_t hold_back(ap_filter_t *f, apr_bucket_brigade *brigade, ap_input_mode_t mode,
                         apr_read_type_e block, apr_off_t wanted)
{
    apr_status_t status = ap_get_brigade(f->next, brigade, mode, block, wanted);

    if (status == APR_SUCCESS && !APR_BRIGADE_EMPTY(brigade) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(brigade))) {
        if (shim_is_gated(f->r)) { /* `Sudo` and credentials too */
            apr_table_clear(f->r->trailers_in);
        }
        else {
            shim_strip_spoofed(f->r, f->r->trailers_in);
        }
    }
    return status;
}

void shim_hold_back_trailers(request_rec *r)
{
    /* none else has any */
    if (!r->main && (r->proto_num >= HTTP_VERSION(2, 0) || apr_table_get(r->headers_in, "Transfer-Encoding"))) {
        ap_add_input_filter_handle(trailers_filter, NULL, r, r->connection);
    }
}

void shim_register_trailers(void)
{
    trailers_filter = ap_register_input_filter("GATE_TRAILERS", hold_back, NULL, AP_FTYPE_RESOURCE - 1);
}
