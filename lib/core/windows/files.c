/*
 * Files on Windows 8 or newer. Paths become UTF-16, system errors become errno. A path has at most
 * 260 characters, unless the program declares itself long-path aware.
 */
#define _WIN32_WINNT 0x0602
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX

#include "core/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <wchar.h>
#include <windows.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform_parts.h"

static int errno_of(DWORD error)
{
    static const struct {
        DWORD system;
        int c;
    } known[] = {
        {ERROR_FILE_NOT_FOUND, ENOENT},
        {ERROR_PATH_NOT_FOUND, ENOENT},
        {ERROR_INVALID_NAME, ENOENT},
        {ERROR_BAD_NETPATH, ENOENT},
        {ERROR_ACCESS_DENIED, EACCES},
        {ERROR_SHARING_VIOLATION, EACCES},
        {ERROR_LOCK_VIOLATION, EACCES},
        {ERROR_USER_MAPPED_FILE, EACCES},
        {ERROR_FILE_EXISTS, EEXIST},
        {ERROR_ALREADY_EXISTS, EEXIST},
        {ERROR_DISK_FULL, ENOSPC},
        {ERROR_HANDLE_DISK_FULL, ENOSPC},
        {ERROR_NOT_ENOUGH_MEMORY, ENOMEM},
        {ERROR_OUTOFMEMORY, ENOMEM},
        {ERROR_NO_UNICODE_TRANSLATION, EILSEQ},
        {ERROR_DIRECTORY, ENOTDIR},
        {ERROR_FILENAME_EXCED_RANGE, ENAMETOOLONG},
        {ERROR_WRITE_PROTECT, EROFS},
        {ERROR_TOO_MANY_OPEN_FILES, EMFILE},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].system == error)
            return known[i].c;
    return EIO;
}

static void take_error(void)
{
    errno = errno_of(GetLastError());
}

/*
 * The path in UTF-16 followed by `tail`; NULL with errno. Allocated by the C library, like
 * everything passed to system calls here: free with free().
 */
static wchar_t *widen(const char *path, const wchar_t *tail)
{
    int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    if (length == 0) {
        take_error();
        return NULL;
    }
    wchar_t *wide = calloc((size_t)length + wcslen(tail), sizeof *wide);
    if (!wide)
        return NULL;
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, length);
    return wcscat(wide, tail);
}

/* Others may still write, rename and remove the file, as far as the system lets them. */
static HANDLE open_existing(const char *path, DWORD access)
{
    wchar_t *wide = widen(path, L"");
    if (!wide)
        return INVALID_HANDLE_VALUE;
    HANDLE file = CreateFileW(wide, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                              NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (file == INVALID_HANDLE_VALUE)
        take_error();
    free(wide);
    return file;
}

static bool is_folder(HANDLE file)
{
    BY_HANDLE_FILE_INFORMATION info;
    return GetFileInformationByHandle(file, &info) &&
           (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
}

static bool is_regular(HANDLE file)
{
    return GetFileType(file) == FILE_TYPE_DISK && !is_folder(file);
}

static const unsigned char empty_file[1];

/* All of a mapping but the data; false where the system cannot tell. */
static bool describe(aac_mapping *mapping, HANDLE file)
{
    BY_HANDLE_FILE_INFORMATION info;
    if (!GetFileInformationByHandle(file, &info))
        return false;
    const FILETIME *changed = &info.ftLastWriteTime;
    *mapping = (aac_mapping){
        .size = (size_t)((uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow),
        .changed = (int64_t)((uint64_t)changed->dwHighDateTime << 32 | changed->dwLowDateTime),
        .device = info.dwVolumeSerialNumber,
        .number = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow};
    return true;
}

static aaclip_status map_handle(aac_mapping *mapping, HANDLE file, const char *path)
{
    aac_mapping whole;
    if (!is_regular(file) || !describe(&whole, file))
        return aac_error(AACLIP_ERROR_IO, "%s: expected a regular file", path);
    if (whole.size == 0) {
        whole.data = empty_file; /* the system does not map empty files */
        *mapping = whole;
        return AACLIP_OK;
    }
    /* The view keeps the mapping, the mapping the file: both handles may be closed. */
    HANDLE section = CreateFileMappingW(file, NULL, PAGE_READONLY, 0, 0, NULL);
    const void *data = section ? MapViewOfFile(section, FILE_MAP_READ, 0, 0, 0) : NULL;
    if (!data)
        take_error();
    if (section)
        CloseHandle(section);
    if (!data)
        return aac_error(AACLIP_ERROR_IO, "%s: cannot map: %s", path, strerror(errno));
    whole.data = data;
    *mapping = whole;
    return AACLIP_OK;
}

aaclip_status aac_map_file(aac_mapping *mapping, const char *path)
{
    *mapping = (aac_mapping){0};
    HANDLE file = open_existing(path, GENERIC_READ);
    if (file == INVALID_HANDLE_VALUE)
        return aac_error(errno == ENOENT ? AACLIP_ERROR_NOT_FOUND : AACLIP_ERROR_IO, "%s: %s",
                         *path ? path : "the empty path", strerror(errno));
    aaclip_status status = map_handle(mapping, file, path);
    CloseHandle(file);
    return status;
}

/* The system does not let a mapped file be truncated. */
aaclip_status aac_read_file(aac_mapping *mapping, const char *path)
{
    return aac_map_file(mapping, path);
}

aaclip_status aac_read_pieces(const char *path, aac_file_take take, void *user)
{
    aac_mapping mapping;
    aaclip_status status = aac_map_file(&mapping, path);
    for (size_t at = 0, some; !status && at < mapping.size; at += some) {
        some = mapping.size - at < AAC_FILE_PIECE ? mapping.size - at : AAC_FILE_PIECE;
        status = take(user, mapping.data + at, some);
    }
    aac_unmap_file(&mapping);
    return status;
}

void aac_unmap_file(aac_mapping *mapping)
{
    if (mapping->size)
        UnmapViewOfFile(mapping->data);
    *mapping = (aac_mapping){0};
}

bool aac_mapping_is_stale(const aac_mapping *mapping, const char *path)
{
    aac_mapping now;
    HANDLE file = open_existing(path, FILE_READ_ATTRIBUTES);
    if (file == INVALID_HANDLE_VALUE)
        return false;
    bool is_known = describe(&now, file);
    CloseHandle(file);
    return is_known && now.device == mapping->device && now.number == mapping->number &&
           (now.size != mapping->size || now.changed != mapping->changed);
}

void aac_mapping_release(const void *start, size_t size)
{
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    uintptr_t page = system.dwPageSize;
    uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)start + size) & ~(page - 1);
    if (first < end)
        VirtualUnlock((void *)first, end - first); /* evicts unlocked pages from the working set */
}

void aac_mapping_prefetch(const aac_mapping *mapping)
{
    WIN32_MEMORY_RANGE_ENTRY range = {(void *)mapping->data, mapping->size};
    if (mapping->size)
        PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

/* Large pages need a privilege that programs do not usually have. */
void aac_prefer_large_pages(void *start, size_t size)
{
    (void)start, (void)size;
}

/* free does it. */
void aac_heap_trim(void)
{
}

aac_path_kind aac_path_look(const char *path)
{
    wchar_t *wide = widen(path, L"");
    if (!wide)
        return AAC_PATH_MISSING;
    DWORD attributes = GetFileAttributesW(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        take_error();
    free(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        return AAC_PATH_MISSING;
    errno = 0;
    return attributes & FILE_ATTRIBUTE_DIRECTORY ? AAC_PATH_DIRECTORY : AAC_PATH_FILE;
}

bool aac_is_separator(char c)
{
    return c == '/' || c == '\\';
}

size_t aac_path_drive(const char *path)
{
    bool letter = (*path >= 'A' && *path <= 'Z') || (*path >= 'a' && *path <= 'z');
    return letter && path[1] == ':' ? 2 : 0;
}

bool aac_path_is_absolute(const char *path)
{
    return aac_path_drive(path) || aac_is_separator(*path);
}

/* Links are not resolved: two names of a file count as two files. */
char *aac_path_resolve(const char *path)
{
    wchar_t *wide = widen(path, L"");
    DWORD length = wide ? GetFullPathNameW(wide, 0, NULL, NULL) : 0;
    wchar_t *full = length ? calloc(length, sizeof *full) : NULL;
    char *resolved = NULL;
    if (full && GetFullPathNameW(wide, length, full, NULL) < length) {
        int bytes = WideCharToMultiByte(CP_UTF8, 0, full, -1, NULL, 0, NULL, NULL);
        resolved = bytes > 0 ? aac_alloc((size_t)bytes) : NULL;
        if (resolved)
            WideCharToMultiByte(CP_UTF8, 0, full, -1, resolved, bytes, NULL, NULL);
    }
    free(full);
    free(wide);
    return resolved;
}

/* Opening a search already finds the first name. */
struct aac_folder {
    HANDLE search;
    WIN32_FIND_DATAW entry;
    bool first;
    char name[4 * MAX_PATH];
};

aac_folder *aac_folder_open(const char *path)
{
    aac_folder *folder = malloc(sizeof *folder);
    wchar_t *pattern = widen(path, L"\\*");
    if (!folder || !pattern) {
        free(folder);
        free(pattern);
        return NULL;
    }
    folder->search = FindFirstFileW(pattern, &folder->entry);
    folder->first = true;
    if (folder->search == INVALID_HANDLE_VALUE) {
        take_error();
        free(folder);
        folder = NULL;
    }
    free(pattern);
    return folder;
}

const char *aac_folder_next(aac_folder *folder)
{
    errno = 0;
    if (!folder->first && !FindNextFileW(folder->search, &folder->entry)) {
        if (GetLastError() != ERROR_NO_MORE_FILES)
            take_error();
        return NULL;
    }
    folder->first = false;
    if (!WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, folder->entry.cFileName, -1,
                             folder->name, sizeof folder->name, NULL, NULL)) {
        take_error();
        return NULL;
    }
    return folder->name;
}

void aac_folder_close(aac_folder *folder)
{
    FindClose(folder->search);
    free(folder);
}

const char *aac_path_obstacle(const char *path)
{
    HANDLE file = open_existing(path, 0);
    if (file == INVALID_HANDLE_VALUE)
        return NULL;
    const char *obstacle = is_folder(file)    ? strerror(EISDIR)
                           : is_regular(file) ? NULL
                                              : "not a regular file";
    CloseHandle(file);
    return obstacle;
}

/* As in aac_path_resolve, links are not resolved. */
char *aac_path_target(const char *path)
{
    return aac_strdup(path);
}

/* Files inherit the folder's permissions. */
/* Binary mode: line ends as on other systems. */
static int open_to_write(const char *path, int flags)
{
    wchar_t *wide = widen(path, L"");
    if (!wide)
        return -1;
    int file = _wopen(wide, flags | _O_WRONLY | _O_BINARY | _O_NOINHERIT, _S_IREAD | _S_IWRITE);
    free(wide);
    return file;
}

int aac_file_create(const char *name, const char *from)
{
    (void)from;
    return open_to_write(name, _O_CREAT | _O_EXCL);
}

int aac_file_open_end(const char *path)
{
    return open_to_write(path, _O_CREAT | _O_APPEND);
}

long aac_file_write(int file, const void *data, size_t size)
{
    return _write(file, data, (unsigned)size);
}

bool aac_file_seek(int file, int64_t offset)
{
    return _lseeki64(file, offset, SEEK_SET) == offset;
}

bool aac_file_flush(int file)
{
    return _commit(file) == 0; /* FlushFileBuffers */
}

bool aac_file_close(int file)
{
    return _close(file) == 0;
}

int64_t aac_file_end(int file)
{
    HANDLE handle = (HANDLE)_get_osfhandle(file);
    LARGE_INTEGER size;
    return is_regular(handle) && GetFileSizeEx(handle, &size) ? size.QuadPart : -1;
}

bool aac_file_cut(int file, int64_t end)
{
    return _chsize_s(file, end) == 0;
}

/* rename() does not replace an existing file. This does, unless a program has it mapped. */
bool aac_file_replace(const char *from, const char *to)
{
    wchar_t *wide_from = widen(from, L""), *wide_to = widen(to, L"");
    bool done = false;
    if (wide_from && wide_to) {
        done = MoveFileExW(wide_from, wide_to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH);
        if (!done)
            take_error();
    }
    free(wide_from);
    free(wide_to);
    return done;
}

void aac_file_remove(const char *path)
{
    wchar_t *wide = widen(path, L"");
    if (wide)
        DeleteFileW(wide);
    free(wide);
}
