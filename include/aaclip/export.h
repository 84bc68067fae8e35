/* Visibility and attribute helpers shared by every public header. */
#ifndef AACLIP_EXPORT_H
#define AACLIP_EXPORT_H

#if defined(AACLIP_STATIC)
#define AACLIP_API
#elif defined(_WIN32)
#ifdef AACLIP_BUILD
#define AACLIP_API __declspec(dllexport)
#else
#define AACLIP_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define AACLIP_API __attribute__((visibility("default")))
#else
#define AACLIP_API
#endif

#if defined(__GNUC__)
#define AACLIP_PRINTF(format_index, first_argument)                                                \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define AACLIP_PRINTF(format_index, first_argument)
#endif

#ifdef __cplusplus
#define AACLIP_BEGIN_DECLS extern "C" {
#define AACLIP_END_DECLS   }
#else
#define AACLIP_BEGIN_DECLS
#define AACLIP_END_DECLS
#endif

#endif
