/* cache.c: what is behind a gate is not kept by mod_cache, whose usual sign of it, Authorization, is gone
 * from the request by the time that it looks. */
#include "shim.h"
#include "util_filter.h"

void shim_keep_out_of_caches(request_rec *r)
{
    apr_table_setn(r->subprocess_env, "no-cache", "gate");
    /* Nor the page that it becomes a part of. What mod_cache has begun to keep has no end then, and
     * without one it is thrown away. */
    for (r = r->main; r; r = r->main) {
        apr_table_setn(r->subprocess_env, "no-cache", "gate");
        ap_remove_output_filter_byhandle(r->output_filters, "CACHE_SAVE");
    }
}
