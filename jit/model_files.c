/* See model_files.h. */
#include "jit/model_files.h"

#include "jit/api.h"

int32_t model_file_number(const qn_model *model, const OsFileId *id)
{
    for (uint32_t i = 0; i < model->file_count; i++) {
        const OsFileId *own = model->files[i].id;
        if (own && own->device == id->device && own->inode == id->inode)
            return (int32_t)i;
    }
    return -1;
}
