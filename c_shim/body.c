/* body.c: where the gate says whom GitLab acts for, bodies are looked through as they stream by.
 * What is looked for is decided in Rust; nothing is buffered. */
#include "shim.h"
#include "util_filter.h"

static ap_filter_rec_t *body_guard;

/* What a guard's body is once it has refused: mod_proxy_http2 asks again after an error, and must get nothing. */
static char refused_before;

static apr_status_t free_body(void *data)
{
    gate_body_free(data);
    return APR_SUCCESS;
}

static apr_status_t guard(ap_filter_t *f, apr_bucket_brigade *brigade, ap_input_mode_t mode,
                          apr_read_type_e block, apr_off_t wanted)
{
    apr_bucket *bucket;
    apr_status_t status;

    if (f->ctx == &refused_before) {
        return APR_EGENERAL;
    }
    status = ap_get_brigade(f->next, brigade, mode, block, wanted);
    for (bucket = APR_BRIGADE_FIRST(brigade);
         status == APR_SUCCESS && bucket != APR_BRIGADE_SENTINEL(brigade);
         bucket = APR_BUCKET_NEXT(bucket)) {
        const char *data = NULL;
        apr_size_t length = 0;
        if (!APR_BUCKET_IS_METADATA(bucket)) {
            status = apr_bucket_read(bucket, &data, &length, APR_BLOCK_READ);
        }
        else if (!APR_BUCKET_IS_EOS(bucket)) {
            continue;
        }
        /* no data: the end */
        if (status == APR_SUCCESS && !gate_body_passes(f->ctx, data, length)) {
            apr_brigade_cleanup(brigade);
            f->ctx = &refused_before;
            (void) shim_refuse(f->r, GATE_FACT_BODY);
            return APR_EGENERAL; /* mod_proxy answers 400, as that reason does */
        }
    }
    return status;
}

void shim_guard_body(request_rec *r)
{
    gate_body *body;
    void *before = NULL;

    /* mod_proxy_http would send what it had read for the request before this one (ErrorDocument), past every filter. */
    if (r->prev && apr_pool_userdata_get(&before, "proxy-req-input", r->pool) == APR_SUCCESS && before) {
        apr_pool_userdata_setn(NULL, "proxy-req-input", NULL, r->pool);
        apr_table_unset(r->headers_in, "Content-Length");
        apr_table_unset(r->headers_in, "Transfer-Encoding");
    }
    body = gate_body_new(apr_table_get(r->headers_in, "Content-Type"), apr_table_get(r->headers_in, "Content-Encoding"),
                         r->method_number == M_POST);
    if (body) {
        apr_pool_cleanup_register(r->pool, body, free_body, apr_pool_cleanup_null);
    }
    ap_add_input_filter_handle(body_guard, body, r, r->connection); /* NULL: nothing passes */
}

void shim_register_body_guard(void)
{
    /* the last before the handler: mod_request's kept body comes from a filter of AP_FTYPE_RESOURCE */
    body_guard = ap_register_input_filter("GATE_BODY_GUARD", guard, NULL, AP_FTYPE_RESOURCE - 1);
}
