/* Colours by their names, as initializers. */
#ifndef GENERATE_PALETTE_H
#define GENERATE_PALETTE_H

#define BLACK                                                                                      \
    {                                                                                              \
        "black", 0.018f, 0.018f, 0.020f                                                            \
    }
#define DARK_GREY                                                                                  \
    {                                                                                              \
        "dark grey", 0.065f, 0.066f, 0.070f                                                        \
    }
#define GREY                                                                                       \
    {                                                                                              \
        "grey", 0.20f, 0.20f, 0.21f                                                                \
    }
#define LIGHT_GREY                                                                                 \
    {                                                                                              \
        "light grey", 0.44f, 0.44f, 0.45f                                                          \
    }
#define WHITE                                                                                      \
    {                                                                                              \
        "white", 0.76f, 0.76f, 0.74f                                                               \
    }
#define CREAM                                                                                      \
    {                                                                                              \
        "cream", 0.74f, 0.66f, 0.48f                                                               \
    }
#define BEIGE                                                                                      \
    {                                                                                              \
        "beige", 0.55f, 0.43f, 0.29f                                                               \
    }
#define TAN                                                                                        \
    {                                                                                              \
        "tan", 0.40f, 0.24f, 0.12f                                                                 \
    }
#define BROWN                                                                                      \
    {                                                                                              \
        "brown", 0.17f, 0.075f, 0.032f                                                             \
    }
#define DARK_BROWN                                                                                 \
    {                                                                                              \
        "dark brown", 0.062f, 0.029f, 0.015f                                                       \
    }
#define RED                                                                                        \
    {                                                                                              \
        "red", 0.46f, 0.035f, 0.030f                                                               \
    }
#define DARK_RED                                                                                   \
    {                                                                                              \
        "dark red", 0.18f, 0.016f, 0.018f                                                          \
    }
#define ORANGE                                                                                     \
    {                                                                                              \
        "orange", 0.72f, 0.21f, 0.025f                                                             \
    }
#define YELLOW                                                                                     \
    {                                                                                              \
        "yellow", 0.76f, 0.52f, 0.050f                                                             \
    }
#define GREEN                                                                                      \
    {                                                                                              \
        "green", 0.060f, 0.27f, 0.075f                                                             \
    }
#define DARK_GREEN                                                                                 \
    {                                                                                              \
        "dark green", 0.018f, 0.085f, 0.035f                                                       \
    }
#define TURQUOISE                                                                                  \
    {                                                                                              \
        "turquoise", 0.045f, 0.38f, 0.36f                                                          \
    }
#define LIGHT_BLUE                                                                                 \
    {                                                                                              \
        "light blue", 0.24f, 0.44f, 0.70f                                                          \
    }
#define BLUE                                                                                       \
    {                                                                                              \
        "blue", 0.035f, 0.11f, 0.45f                                                               \
    }
#define DARK_BLUE                                                                                  \
    {                                                                                              \
        "dark blue", 0.014f, 0.030f, 0.12f                                                         \
    }
#define PURPLE                                                                                     \
    {                                                                                              \
        "purple", 0.19f, 0.055f, 0.32f                                                             \
    }
#define PINK                                                                                       \
    {                                                                                              \
        "pink", 0.74f, 0.28f, 0.34f                                                                \
    }
#define STEEL                                                                                      \
    {                                                                                              \
        "silver", 0.62f, 0.62f, 0.63f                                                              \
    }
#define BRASS                                                                                      \
    {                                                                                              \
        "golden", 0.72f, 0.52f, 0.22f                                                              \
    }
#define COPPER                                                                                     \
    {                                                                                              \
        "copper", 0.72f, 0.36f, 0.22f                                                              \
    }
#define GUNMETAL                                                                                   \
    {                                                                                              \
        "dark grey", 0.22f, 0.22f, 0.24f                                                           \
    }

#endif
