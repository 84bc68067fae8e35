/* A program of parts with and without exceptions: each uses its own functions from the header. */
#include <aaclip/aaclip.hpp>

#include "expect.hpp"

aaclip_status open_quietly(const char *path);

int main()
{
    bool thrown = false;
    EXPECT(open_quietly("no-such-file.pt") == AACLIP_ERROR_NOT_FOUND);
    try {
        aaclip::model model("no-such-file.pt");
    } catch (const aaclip::error &error) {
        thrown = error.status() == AACLIP_ERROR_NOT_FOUND;
    }
    EXPECT(thrown);
    return failures != 0;
}
