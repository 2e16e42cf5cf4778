/* The public interface: versions, contexts. */
#include "runtime/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/utf8.h"

_Static_assert((int)QN_OK == (int)ST_ok && (int)QN_BAD_ARGUMENT == (int)ST_bad_argument &&
                   (int)QN_BAD_MODEL == (int)ST_bad_model &&
                   (int)QN_UNSUPPORTED == (int)ST_unsupported &&
                   (int)QN_OUT_OF_MEMORY == (int)ST_out_of_memory && (int)QN_IO == (int)ST_io &&
                   (int)QN_BAD_FILE == (int)ST_bad_file && (int)QN_DEVICE == (int)ST_device &&
                   (int)QN_BAD_INDEX == (int)ST_bad_index &&
                   (int)QN_CANCELLED == (int)ST_cancelled && (int)QN_LIMIT == (int)ST_limit &&
                   (int)QN_INTERNAL == (int)ST_internal && (int)QN_MISSING == (int)ST_missing &&
                   (int)QN_MISSING + 1 == (int)ST_count,
               "public and internal statuses are the same");
_Static_assert((int)QN_F32 == (int)DT_f32 && (int)QN_BF16 == (int)DT_bf16 &&
                   (int)QN_I2 == (int)DT_i2 && (int)QN_I2 + 1 == (int)DT_count,
               "public and internal element types are the same");
_Static_assert((int)QN_MAX_RANK == (int)PLAN_RANK, "ranks are the same");

#define STRING(x) STRING_OF(x)
#define STRING_OF(x) #x

const char *qn_version(void)
{
    return STRING(QN_VERSION_MAJOR) "." STRING(QN_VERSION_MINOR) "." STRING(QN_VERSION_PATCH);
}

const char *qn_status_text(qn_status status)
{
    return (unsigned)status < ST_count ? status_text((Status)status) : "unknown status";
}

const char *qn_dtype_name(qn_dtype dtype)
{
    return (unsigned)dtype < DT_count ? dtype_name((Dtype)dtype) : "none";
}

int32_t qn_dtype_bits(qn_dtype dtype)
{
    return (unsigned)dtype < DT_count ? dtype_bits((Dtype)dtype) : 0;
}

/* --- shared --- */

void *api_alloc(const qn_context *context, size_t size)
{
    void *memory = context->from.alloc(context->from.user, size, 64);
    return memory ? memset(memory, 0, size) : NULL;
}

void api_free(const qn_context *context, void *memory, size_t size)
{
    if (memory)
        context->from.release(context->from.user, memory, size);
}

qn_status api_status(Report *report, const Cx *cx)
{
    if (!cx_failed(cx))
        return QN_OK;
    report_fail(report, cx->status, "%s", cx->message ? cx->message : status_text(cx->status));
    return (qn_status)report->status;
}

qn_string api_string(const char *text)
{
    return qn_str(text ? text : "");
}

const char *api_text(Cx *cx, qn_string string)
{
    if (string.length && (!string.data || memchr(string.data, 0, string.length))) {
        cx_fail(cx, ST_bad_argument, "a string %s", string.data ? "with NUL inside" : "at NULL");
        return "";
    }
    char *copy = arena_array(cx->arena, string.length + 1, 1);
    if (string.length)
        memcpy(copy, string.data, string.length);
    return copy;
}

void api_warn_once(qn_context *context, atomic_bool *said, const char *fmt, ...)
{
    char text[600];
    if (!context->log || atomic_exchange(said, true))
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    utf8_make_plain(text, false);
    context->log(context->log_user, QN_LOG_WARNING, text);
}

double api_now_ms(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* --- contexts --- */

static char *copy_string(const qn_context *context, qn_string string)
{
    char *copy = api_alloc(context, string.length + 1);
    if (copy && string.length)
        memcpy(copy, string.data, string.length);
    return copy;
}

static void free_string(const qn_context *context, char *text)
{
    if (text)
        api_free(context, text, strlen(text) + 1);
}

static void destroy(qn_context *context)
{
    Allocator from = context->from;
    api_close_devices(context);
    pool_destroy(context->pool);
    customs_finish(&context->customs);
    api_close_packs(context);
    api_close_records(context);
    free_string(context, context->cache_dir);
    free_string(context, context->compiler_path);
    pthread_mutex_destroy(&context->lock);
    /* The compiler stays loaded: another context may be using it. */
    from.release(from.user, context, sizeof *context);
}

/* Fills what `options` say; false when memory runs out. */
static bool set_up(qn_context *c, const qn_context_options *o)
{
    c->log = o->log;
    c->log_user = o->log_user;
    c->cache_limit = o->cache_limit > 0 ? o->cache_limit : INT64_C(1) << 30;
    if (o->cache_dir.length && !(c->cache_dir = copy_string(c, o->cache_dir)))
        return false;
    if (o->compiler_path.length && !(c->compiler_path = copy_string(c, o->compiler_path)))
        return false;
    if (o->executor) {
        c->executor =
            (Executor){o->executor->user, o->executor->worker_count, o->executor->parallel_for};
    } else if (o->threads == 1) {
        c->executor = executor_inline;
    } else {
        c->pool = pool_create(&c->from, o->threads);
        if (!c->pool)
            return false;
        c->executor = pool_executor(c->pool);
    }
    return true;
}

static bool is_string(qn_string string)
{
    return string.data || !string.length;
}

qn_status api_context_create(const qn_context_options *options, const DeviceRow *more_devices,
                             qn_context **context)
{
    qn_context_options o = {0};
    if (!context)
        return QN_BAD_ARGUMENT;
    *context = NULL;
    if (options)
        memcpy(&o, options, options->size && options->size < sizeof o ? options->size : sizeof o);
    if (o.threads < 0 || (o.allocator && (!o.allocator->alloc || !o.allocator->release)) ||
        (o.executor && (!o.executor->worker_count || !o.executor->parallel_for)) ||
        !is_string(o.cache_dir) || !is_string(o.compiler_path))
        return QN_BAD_ARGUMENT;
    Allocator from = allocator_system;
    if (o.allocator)
        from = (Allocator){o.allocator->user, o.allocator->alloc, o.allocator->release};
    qn_context *c = from.alloc(from.user, sizeof *c, 64);
    if (!c)
        return QN_OUT_OF_MEMORY;
    memset(c, 0, sizeof *c);
    c->from = from;
    c->customs.from = &c->from;
    c->more_devices = more_devices;
    atomic_init(&c->refs, 1);
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        from.release(from.user, c, sizeof *c);
        return QN_OUT_OF_MEMORY;
    }
    if (!set_up(c, &o)) {
        destroy(c);
        return QN_OUT_OF_MEMORY;
    }
    *context = c;
    return QN_OK;
}

qn_context *qn_context_retain(qn_context *context)
{
    atomic_fetch_add(&context->refs, 1);
    return context;
}

void qn_context_release(qn_context *context)
{
    if (context && atomic_fetch_sub(&context->refs, 1) == 1)
        destroy(context);
}

const char *qn_context_message(const qn_context *context)
{
    return context ? context->report.text : API_NO_HANDLE;
}

qn_status qn_custom_operator(qn_context *context, const qn_operator *op)
{
    qn_operator given = {0};
    if (!context || !op)
        return QN_BAD_ARGUMENT;
    memcpy(&given, op, op->size && op->size < sizeof given ? op->size : sizeof given);
    return (qn_status)customs_add(&context->customs, &given, &context->report);
}

int32_t qn_context_threads(const qn_context *context)
{
    if (!context)
        return 0;
    return context->executor.worker_count(context->executor.user);
}

qn_status qn_cache_default_dir(char *path, size_t capacity)
{
    if (!path)
        return QN_BAD_ARGUMENT;
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = cache && cache[0] == '/';
    const char *base = own ? cache : home;
    if (!base || base[0] != '/')
        return QN_MISSING;
    int length = snprintf(path, capacity, "%s%s/quern", base, own ? "" : "/.cache");
    return length > 0 && (size_t)length < capacity ? QN_OK : QN_LIMIT;
}
