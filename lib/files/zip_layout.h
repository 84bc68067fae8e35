/* The records of a zip archive, for reader and writer. */
#ifndef AAC_FILES_ZIP_LAYOUT_H
#define AAC_FILES_ZIP_LAYOUT_H

#define END_SIGNATURE           0x06054b50
#define END_SIZE                22
#define END64_SIGNATURE         0x06064b50
#define END64_SIZE              56
#define END64_LOCATOR_SIGNATURE 0x07064b50
#define END64_LOCATOR_SIZE      20
#define CENTRAL_SIGNATURE       0x02014b50
#define CENTRAL_SIZE            46
#define LOCAL_SIGNATURE         0x04034b50
#define LOCAL_SIZE              30
#define EXTRA_ZIP64             1
#define METHOD_STORED           0
#define SATURATED_16            0xffff
#define SATURATED_32            0xffffffff

#endif
