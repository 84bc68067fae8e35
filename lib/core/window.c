#include "core/window.h"

#include <math.h>

bool aac_window_is_valid(const aac_window *window)
{
    return isfinite(window->high - window->low) && window->low < window->high;
}

bool aac_window_is_given(const aac_window *window)
{
    return !(window->low <= 0 && window->low >= 0 && window->high <= 0 && window->high >= 0);
}
