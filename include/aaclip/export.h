/**
 * @file
 * Visibility and attribute helpers shared by every public header.
 */
#ifndef AACLIP_EXPORT_H
#define AACLIP_EXPORT_H

/**
 * Marks exported symbols. On Windows, a program that links the static library must define
 * AACLIP_STATIC before it includes a header.
 */
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

/**
 * Makes the compiler check argument `format_index`, from 1, as a standard C printf format,
 * whichever C library the program uses.
 */
#if defined(__MINGW32__) && !defined(__clang__)
#define AACLIP_PRINTF(format_index, first_argument)                                                \
    __attribute__((format(gnu_printf, format_index, first_argument)))
#elif defined(__GNUC__)
#define AACLIP_PRINTF(format_index, first_argument)                                                \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define AACLIP_PRINTF(format_index, first_argument)
#endif

/**
 * Marks what the next soversion removes; it still works, with a compiler warning where it is used:
 *
 *     AACLIP_DEPRECATED_SINCE("1.2", "use aaclip_other")
 *     AACLIP_API aaclip_status aaclip_old(void);
 *
 * On members and enumerators it follows the name. Defining AACLIP_NO_DEPRECATION_WARNINGS before
 * including a header silences the warnings.
 */
#if defined(AACLIP_NO_DEPRECATION_WARNINGS) || defined(AACLIP_BUILD) || !defined(__GNUC__)
#define AACLIP_DEPRECATED_SINCE(version, instead)
#else
#define AACLIP_DEPRECATED_SINCE(version, instead)                                                  \
    __attribute__((deprecated("since " version ": " instead)))
#endif

/** @cond internal to the headers */
#ifdef __cplusplus
#define AACLIP_BEGIN_DECLS extern "C" {
#define AACLIP_END_DECLS   }
#else
#define AACLIP_BEGIN_DECLS
#define AACLIP_END_DECLS
#endif
/** @endcond */

#endif
